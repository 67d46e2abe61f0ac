//! What the builder and the receiver's engine share of speaking to Docker's daemon: logging in to a registry,
//! and what its words mean. It hands on what registries and networks said, as text.

mod lines;

use std::error::Error as _;

use bollard::BollardRequest;
use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use http::HeaderValue;

pub use self::lines::{Lines, broken, json, refused};
use autotag_base::{CallError, CallErrorKind, Cause};
use autotag_model::reference::ImageName;
use autotag_model::secret::Credentials;

/// Whether what answers as Docker is Podman, by the components that it names.
///
/// It speaks Docker's API, but not as the receiver needs it: it trusts no registry on loopback without TLS, keeps no
/// restart policy over a boot by itself, and has no BuildKit.
pub fn is_podman<'a>(mut components: impl Iterator<Item = &'a str>) -> bool {
    components.any(|name| name.contains("Podman"))
}

/// The kind that a text about a registry belongs to; `None` where it says nothing known.
///
/// The order counts: `toomanyrequests` comes with status 429 and may mention authentication, and a
/// refusal may come with a broken connection after it.
pub fn kind_of(text: &str) -> Option<CallErrorKind> {
    const WORDS: &[(CallErrorKind, &[&str])] = &[
        (CallErrorKind::Throttled, &["toomanyrequests", "too many requests", "rate limit", "429 "]),
        (
            CallErrorKind::Denied,
            &[
                "unauthorized",
                "denied",
                "no basic auth credentials",
                "authentication required",
                "incorrect username or password",
                "insufficient_scope",
                "authorization failed",
                "401 ",
                "403 ",
                "forbidden",
            ],
        ),
        (
            CallErrorKind::Unreachable,
            &[
                "connection refused",
                "connection reset",
                "no such host",
                "network is unreachable",
                "no route to host",
                "i/o timeout",
                "handshake timeout",
                "timeout exceeded",
                "deadline exceeded",
                "server misbehaving",
                "temporary failure",
                "broken pipe",
                "eof",
                "status: 5",
                "500 internal",
                "502 bad",
                "503 service",
                "504 gateway",
                "service unavailable",
            ],
        ),
    ];
    let text = text.to_ascii_lowercase();
    let known = || WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    kind_of_status(&text).or_else(|| known().map(|(kind, _)| *kind))
}

/// The kind of the status that a registry answered with, where the text says it: containerd names the request first,
/// whose path may have any words, and hands on those that the registry has for its status.
fn kind_of_status(text: &str) -> Option<CallErrorKind> {
    let (_, rest) = text.split_once("unexpected status")?;
    let is_status = |word: &&str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_digit());
    match rest.split_whitespace().find(is_status)?.parse() {
        Ok(429) => Some(CallErrorKind::Throttled),
        Ok(401 | 403) => Some(CallErrorKind::Denied),
        Ok(408 | 500..=599) => Some(CallErrorKind::Unreachable),
        _ => None,
    }
}

/// What a text of the daemon says exactly: in the words of the kernel, which it hands on, and its own.
pub fn cause_of(text: &str) -> Option<Cause> {
    const WORDS: &[(Cause, &[&str])] = &[
        (Cause::DiskFull, &["no space left on device", "disk quota exceeded"]),
        (Cause::PortInUse, &["address already in use", "port is already allocated"]),
    ];
    let text = text.to_ascii_lowercase();
    let known = WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    known.map(|(cause, _)| *cause)
}

/// An error of the client itself, as opposed to what was said in a stream.
pub fn of_client(error: &Error, doing: &str) -> CallError {
    let kind = match error {
        Error::DockerResponseServerError { status_code: 429, .. } => CallErrorKind::Throttled,
        Error::DockerResponseServerError { status_code: 401 | 403, .. } => CallErrorKind::Denied,
        Error::DockerResponseServerError { status_code: 502..=504, .. } => CallErrorKind::Unreachable,
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
            kind_of(message).unwrap_or(CallErrorKind::Rejected)
        }
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::StrParseError { .. } => {
            CallErrorKind::InvalidResponse
        }
        _ => CallErrorKind::Unreachable,
    };
    let why = chain(error);
    let cause = cause_of(&why);
    CallError::new(kind, doing, why).caused_by(cause)
}

/// The error and all that caused it: hyper keeps "connection refused" two levels down.
pub fn chain(error: &Error) -> String {
    let mut text = match error {
        Error::DockerResponseServerError { status_code, message } => {
            format!("{message} (status {status_code})")
        }
        Error::DockerStreamError { error } => error.clone(),
        error => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    // hyper's words for a connection that nobody takes.
    text.replace("Error in the hyper legacy client: client error (Connect)", "no connection")
}

/// bollard 0.21.1 reports the end of a stream that was complete as this, now and then; harmless once
/// what was waited for has been seen.
pub fn is_leftover(error: &Error) -> bool {
    chain(error).contains("bytes remaining on stream")
}

/// The name by which the Engine's own client keeps a registry's login.
pub fn login_server(name: &ImageName) -> &str {
    if name.registry() == "docker.io" { "https://index.docker.io/v1/" } else { name.registry() }
}

/// bollard 0.21.1 writes X-Registry-Auth in plain base64, and the Engine reads base64url: a `+` or `/`
/// in it, which depends on the password, would make the push anonymous without a word.
pub fn with_url_safe_auth(mut request: BollardRequest) -> BollardRequest {
    if let Some(value) = request.headers_mut().get_mut("X-Registry-Auth") {
        let safe: Vec<u8> = value
            .as_bytes()
            .iter()
            .map(|byte| match byte {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        if let Ok(mut replaced) = HeaderValue::from_bytes(&safe) {
            replaced.set_sensitive(true);
            *value = replaced;
        }
    }
    request
}

/// As the Engine takes them.
pub fn engine_credentials(credentials: &Credentials, server: &str) -> DockerCredentials {
    DockerCredentials {
        username: Some(credentials.username.clone()),
        password: Some(credentials.password.reveal().to_owned()),
        serveraddress: Some(server.to_owned()),
        ..DockerCredentials::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_registries_are_distinguished() {
        use CallErrorKind::{Denied, Throttled, Unreachable};
        for (text, kind) in [
            ("unauthorized: authentication required", Some(Denied)),
            ("denied: permission_denied: write_package", Some(Denied)),
            ("no basic auth credentials", Some(Denied)),
            ("denied: requested access to the resource is denied", Some(Denied)),
            ("unexpected status: 403 Forbidden", Some(Denied)),
            (
                "toomanyrequests: You have reached your pull rate limit. authentication required",
                Some(Throttled),
            ),
            ("429 Too Many Requests", Some(Throttled)),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                Some(Unreachable),
            ),
            ("dial tcp: lookup registry.invalid: no such host", Some(Unreachable)),
            ("received unexpected HTTP status: 503 Service Unavailable", Some(Unreachable)),
            (
                "failed commit on ref \"m\": unexpected status from PUT request to http://r:500/v2/denied/502/x: 520 Origin",
                Some(Unreachable),
            ),
            ("unexpected status from HEAD request to https://r/v2/a/blobs/x: 429", Some(Throttled)),
            ("unexpected status from POST request to https://r/v2/a/502/x: 404 Not Found", None),
            ("server message: invalid_token: authorization failed", Some(Denied)),
            ("net/http: TLS handshake timeout", Some(Unreachable)),
            ("Put \"https://r/v2/\": EOF", Some(Unreachable)),
            ("x509: certificate signed by unknown authority", None),
            ("manifest invalid: manifest invalid", None),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }

    #[test]
    fn what_the_kernel_says_is_known_in_the_daemons_words() {
        for (text, cause) in [
            ("write /var/lib/docker/tmp/x: no space left on device", Some(Cause::DiskFull)),
            ("mkdir /x: No space left on device (status 500)", Some(Cause::DiskFull)),
            (
                "driver failed programming external connectivity: Bind for 0.0.0.0:80 failed: port is already allocated",
                Some(Cause::PortInUse),
            ),
            ("listen tcp4 0.0.0.0:80: bind: address already in use", Some(Cause::PortInUse)),
            ("exec: \"/app\": no such file or directory", None),
        ] {
            assert_eq!(cause_of(text), cause, "{text}");
        }
    }

    #[test]
    fn the_registry_header_is_url_safe() {
        let request = http::Request::builder()
            .header("X-Registry-Auth", "ab+/cd==")
            .body(bollard::body_full(bytes::Bytes::new()))
            .expect("a request");
        let request = with_url_safe_auth(request);
        let value = &request.headers()["X-Registry-Auth"];
        assert_eq!((value.as_bytes(), value.is_sensitive()), (&b"ab-_cd=="[..], true));
    }
}
