//! What an HTTP answer, or none, means: the same for GitHub and for registries.

use std::error::Error;
use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use super::retry::{Idempotency, TryDeadlines};
use autotag_base::{CallError, CallErrorKind, clock};
use autotag_model::help::Topic;
use autotag_model::text;
use autotag_model::text::Fit;

/// GitHub's advice where a secondary rate limit names no time (REST, "Rate limits", "Exceeding").
const UNNAMED_WAIT: Duration = Duration::from_mins(1);

/// How many characters of somebody's words go into an error.
const EXCERPT: usize = 400;

/// What GitHub's client and the registry's have in common: each try ends in time.
pub fn client(deadlines: TryDeadlines) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("autotag-deploy/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(deadlines.connect)
        .read_timeout(deadlines.silence)
        .timeout(deadlines.whole)
}

/// The error of a request that got no whole answer.
///
/// The URL is left out: one that a redirect gave may carry a signature that opens the file.
pub fn from_reqwest(doing: &str, error: reqwest::Error, repeat: Idempotency) -> CallError {
    let error = error.without_url();
    let words = chain(&error);
    if let Some(certificate) = certificate_fault(&error) {
        return CallError::new(CallErrorKind::InvalidResponse, doing, format!("the connection is not trusted: {certificate}"))
            .with_remedy(
                "if a proxy or the server uses a certificate authority of your own, put its certificate into a file \
                 below the workspace and let the step's `env: SSL_CERT_FILE` name it",
            )
            .about(Topic::Certificate);
    }
    if error.is_builder() {
        return CallError::new(
            CallErrorKind::Rejected,
            doing,
            format!("not a request that can be sent: {words}"),
        );
    }
    let why = match () {
        () if error.is_connect() && error.is_timeout() => format!("no connection in time: {words}"),
        () if error.is_connect() => format!("no connection: {words}"),
        () if error.is_timeout() => format!("no answer in time: {words}"),
        () if error.is_body() || error.is_decode() => format!("the answer was cut short: {words}"),
        () => format!("the connection broke: {words}"),
    };
    let call_error = CallError::new(CallErrorKind::Unreachable, doing, why);
    if error.is_connect() || repeat == Idempotency::Read { call_error } else { call_error.perhaps_done() }
}

/// The error of an answer with a status that is none of those the caller expects.
///
/// `words` is what the other side says in the body, as far as the caller understood it.
pub fn from_status(
    doing: &str,
    status: StatusCode,
    headers: &HeaderMap,
    words: &str,
    repeat: Idempotency,
) -> CallError {
    let limited = is_rate_limit(status, headers, words);
    let kind = match status.as_u16() {
        _ if limited => CallErrorKind::Throttled,
        401 | 403 => CallErrorKind::Denied,
        // Not implemented, no such HTTP version, a captive portal: the next answer will be the same.
        501 | 505 | 511 => CallErrorKind::Rejected,
        408 | 500.. => CallErrorKind::Unreachable,
        400..=499 => CallErrorKind::Rejected,
        _ => CallErrorKind::InvalidResponse,
    };
    let words = excerpt(words);
    let why = if words.is_empty() { status.to_string() } else { format!("{status}: {words}") };
    let mut error = CallError::new(kind, doing, why);
    error.login_ran_out = status == StatusCode::UNAUTHORIZED;
    if matches!(kind, CallErrorKind::Throttled | CallErrorKind::Unreachable) {
        error.retry_after = asked_wait(headers).or(limited.then_some(UNNAMED_WAIT).filter(|_| {
            // A plain 429 says nothing of its length; then the usual pauses do.
            status == StatusCode::FORBIDDEN || words.to_ascii_lowercase().contains("secondary rate limit")
        }));
    }
    // A 5xx may come from a proxy that has passed the request on, or from a server that failed halfway.
    let answered_by_refusal = status.is_client_error();
    if answered_by_refusal || repeat == Idempotency::Read { error } else { error.perhaps_done() }
}

/// 429, or the 403 that GitHub gives for its rate limits.
fn is_rate_limit(status: StatusCode, headers: &HeaderMap, words: &str) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || (status == StatusCode::FORBIDDEN
            && (headers.contains_key(header::RETRY_AFTER)
                || text(headers, "x-ratelimit-remaining") == Some("0")
                || words.to_ascii_lowercase().contains("rate limit")))
}

/// How long the other side asks to be left alone: `Retry-After` (RFC 9110, 10.2.3: seconds or a date),
/// else `X-RateLimit-Reset` (seconds since 1970) where nothing remains.
///
/// Dates are compared with the answer's own `Date`, so that a wrong clock here does no harm.
pub fn asked_wait(headers: &HeaderMap) -> Option<Duration> {
    let now = text(headers, "date").and_then(http_date).unwrap_or_else(clock::now);
    if let Some(asked) = text(headers, "retry-after") {
        if let Ok(seconds) = asked.parse() {
            return Some(Duration::from_secs(seconds));
        }
        if let Some(date) = http_date(asked) {
            return Some(until(now, date));
        }
    }
    if text(headers, "x-ratelimit-remaining") != Some("0") {
        return None;
    }
    let reset = text(headers, "x-ratelimit-reset")?.parse().ok()?;
    Some(until(now, Timestamp::from_second(reset).ok()?))
}

/// From now until then; nothing if that is past.
fn until(now: Timestamp, then: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or(Duration::ZERO)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// The three forms of a date that RFC 9110, 5.6.7 asks every reader to know.
fn http_date(text: &str) -> Option<Timestamp> {
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
        .iter()
        .find_map(|form| DateTime::strptime(form, text).ok())
        .and_then(|date| TimeZone::UTC.to_timestamp(date).ok())
}

/// The first words of what somebody else wrote, on one line and without control characters, so that
/// they can stand in an error.
pub fn excerpt(words: &str) -> String {
    let plain = text::fit(words, Fit::Line);
    let mut line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = line.char_indices().nth(EXCERPT) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// An error with its causes, each said once.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        next = cause.source();
    }
    excerpt(&words)
}

/// Whether the certificate is the reason, in words.
fn certificate_fault(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(fault @ rustls::Error::InvalidCertificate(_)) = cause.downcast_ref() {
            return Some(fault.to_string());
        }
        // `io::Error::source` passes over the error that it holds.
        next = match cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(held) => Some(held),
            None => cause.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use autotag_base::Effect;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| (name.parse().expect(name), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn each_status_has_its_kind_and_its_effect() {
        use CallErrorKind::{Denied, InvalidResponse, Rejected, Throttled, Unreachable};
        use Effect::{None as Untouched, Unknown};
        for (status, lines, words, kind, effect) in [
            (400, &[][..], "", Rejected, Untouched),
            (401, &[], "", Denied, Untouched),
            (403, &[], "Resource not accessible by integration", Denied, Untouched),
            (403, &[("retry-after", "5")], "", Throttled, Untouched),
            (403, &[("x-ratelimit-remaining", "0")], "", Throttled, Untouched),
            (403, &[("x-ratelimit-remaining", "1")], "", Denied, Untouched),
            (403, &[], "You have exceeded a secondary rate limit.", Throttled, Untouched),
            (404, &[], "", Rejected, Untouched),
            (408, &[], "", Unreachable, Untouched),
            (409, &[], "", Rejected, Untouched),
            (422, &[], "", Rejected, Untouched),
            (429, &[], "", Throttled, Untouched),
            (500, &[], "", Unreachable, Unknown),
            (501, &[], "", Rejected, Unknown),
            (502, &[], "", Unreachable, Unknown),
            (503, &[], "", Unreachable, Unknown),
            (504, &[], "", Unreachable, Unknown),
            (511, &[], "", Rejected, Unknown),
            (522, &[], "", Unreachable, Unknown),
            (302, &[], "", InvalidResponse, Unknown),
            (204, &[], "", InvalidResponse, Unknown),
        ] {
            let code = StatusCode::from_u16(status).expect("a status");
            let error = from_status("asking", code, &headers(lines), words, Idempotency::Idempotent);
            assert_eq!((error.kind, error.effect), (kind, effect), "{status} {lines:?} {words}");
            assert!(error.why.starts_with(&status.to_string()) && error.why.contains(words), "{error}");
            let read = from_status("asking", code, &headers(lines), words, Idempotency::Read);
            assert_eq!(read.effect, Untouched, "{status}");
        }
    }

    #[test]
    fn the_wait_is_what_was_asked_for() {
        const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (lines, seconds) in [
            (&[][..], None),
            (&[("retry-after", "120")], Some(120)),
            (&[("retry-after", " 0 ")], Some(0)),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "soon")], None),
            (&[DATE, ("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT")], Some(60)),
            (&[DATE, ("retry-after", "Sunday, 06-Nov-94 08:50:37 GMT")], Some(60)),
            (&[DATE, ("retry-after", "Sun Nov  6 08:50:37 1994")], Some(60)),
            (&[DATE, ("retry-after", "Sun, 06 Nov 1994 08:49:36 GMT")], Some(0)),
            (&[DATE, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111787")], Some(10)),
            (&[DATE, ("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "784111787")], None),
            (&[DATE, ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "99999999999999")], None),
            (
                &[
                    DATE,
                    ("retry-after", "7"),
                    ("x-ratelimit-remaining", "0"),
                    ("x-ratelimit-reset", "784111787"),
                ],
                Some(7),
            ),
        ] {
            assert_eq!(asked_wait(&headers(lines)), seconds.map(Duration::from_secs), "{lines:?}");
        }
    }

    #[test]
    fn a_github_limit_without_a_time_waits_one_minute() {
        let wait = |status, words| {
            from_status("asking", status, &HeaderMap::new(), words, Idempotency::Read)
                .retry_after
                .map(|it| it.as_secs())
        };
        assert_eq!(wait(StatusCode::FORBIDDEN, "API rate limit exceeded"), Some(60));
        assert_eq!(wait(StatusCode::TOO_MANY_REQUESTS, "secondary rate limit"), Some(60));
        assert_eq!(wait(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS"), None);
        assert_eq!(wait(StatusCode::FORBIDDEN, "no"), None);
    }

    #[test]
    fn excerpts_are_one_bounded_line() {
        assert_eq!(excerpt(" a\r\n::error::b\u{1b}[31m\tc "), "a ::error::b [31m c");
        assert_eq!(excerpt(&"é".repeat(1000)).chars().count(), EXCERPT + 1);
    }

    #[test]
    fn a_certificate_is_found_however_deep() {
        use std::io::Error as Io;
        let fault = || rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        for (error, found) in [
            (Io::other(fault()), true),
            (Io::other(Io::other(fault())), true),
            (Io::other(rustls::Error::DecryptError), false),
            (Io::other("other"), false),
            (Io::from_raw_os_error(104), false),
        ] {
            assert_eq!(certificate_fault(&error).is_some(), found, "{error:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_header_makes_it_panic(value in "[ -~]{0,40}", date in "[ -~]{0,40}") {
            let _ = asked_wait(&headers(&[("date", &date), ("retry-after", &value)]));
        }
    }
}
