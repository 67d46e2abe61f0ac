//! Whether a request may be passed on, and which host it asks for (RFC 9110 and 9112): pure.
//!
//! What cannot be read at all hyper refuses before (several differing lengths, a coding after `chunked`,
//! spaces before a colon). A request with both `Content-Length` and `Transfer-Encoding` it reads by the
//! latter alone, drops the former and closes the connection after the answer: the second of the two ways
//! that RFC 9112, 6.3 allows, and bytes that were meant as a smuggled request are never read.

use http::request::Parts;
use http::{Method, StatusCode, Version, header};

use super::headers::tokens;

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's text.
    pub why: &'static str,
}

fn bad<T>(why: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status: StatusCode::BAD_REQUEST, why })
}

/// A refusal of hyper's own: of what it cannot read, or what is too long. It has no text and comes with
/// nothing else, and so it is known by its bytes.
pub fn unreadable(answer: &[u8]) -> Option<(StatusCode, &'static str)> {
    let answer = answer.strip_prefix(b"HTTP/1.1 ").or_else(|| answer.strip_prefix(b"HTTP/1.0 "))?;
    let empty = answer.ends_with(b"\r\n\r\n")
        && answer.windows(17).any(|line| line.eq_ignore_ascii_case(b"content-length: 0"));
    let status = StatusCode::from_bytes(answer.get(..3)?).ok().filter(|_| empty)?;
    let why = match status {
        StatusCode::BAD_REQUEST => "the head of the request cannot be read",
        StatusCode::URI_TOO_LONG => "the target of the request is too long",
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "the head of the request is too long",
        _ => return None,
    };
    Some((status, why))
}

/// Checks a request and gives the host that it asks for, as it is to be sent on; `None` where HTTP/1.0
/// names none.
pub fn check(request: &Parts) -> Result<Option<String>, Refusal> {
    if request.method == Method::CONNECT {
        return Err(Refusal { status: StatusCode::NOT_IMPLEMENTED, why: "no tunnels here" });
    }
    let path = request.uri.path();
    if !(path.starts_with('/') || path.is_empty() || (path == "*" && request.method == Method::OPTIONS)) {
        return bad("the target is neither a path nor a full address");
    }
    check_length(request)?;
    let named =
        |field: &str| tokens(&request.headers, &header::CONNECTION).any(|t| t.eq_ignore_ascii_case(field));
    if named("host") || named("content-length") {
        return bad("Connection names a field that is not this connection's own");
    }
    host(request)
}

fn check_length(request: &Parts) -> Result<(), Refusal> {
    let mut lengths = request.headers.get_all(header::CONTENT_LENGTH).iter();
    let first = lengths.next();
    if lengths.any(|other| Some(other) != first) {
        return bad("several Content-Length fields");
    }
    if first.is_some_and(|length| {
        length.is_empty() || !length.as_bytes().iter().all(u8::is_ascii_digit) || length.len() > 19
    }) {
        return bad("Content-Length is not a number");
    }
    let mut codings = tokens(&request.headers, &header::TRANSFER_ENCODING);
    match (codings.next(), codings.next()) {
        (None, _) if !request.headers.contains_key(header::TRANSFER_ENCODING) => Ok(()),
        (Some(_), _) if first.is_some() => bad("both Content-Length and Transfer-Encoding"),
        (Some(coding), None) if coding.eq_ignore_ascii_case("chunked") => Ok(()),
        // Taken off here and not told to the application, a second coding would be lost.
        (Some(_), _) => Err(Refusal {
            status: StatusCode::NOT_IMPLEMENTED,
            why: "only the transfer coding `chunked` is known",
        }),
        (None, _) => bad("Transfer-Encoding says nothing"),
    }
}

fn host(request: &Parts) -> Result<Option<String>, Refusal> {
    let mut fields = request.headers.get_all(header::HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return bad("several Host fields");
    }
    let field = match field.map(http::HeaderValue::to_str) {
        Some(Err(_)) => return bad("Host is not a host"),
        Some(Ok(text)) => Some(text),
        None => None,
    };
    let host = match (request.uri.authority(), field) {
        // A full address beats the field (RFC 9112, 3.2.2); HTTP/2's must not contradict it.
        (Some(authority), Some(field))
            if request.version == Version::HTTP_2 && !authority.as_str().eq_ignore_ascii_case(field) =>
        {
            return bad(":authority and Host differ");
        }
        (Some(authority), field) => {
            if request.version == Version::HTTP_11 && field.is_none() {
                return bad("no Host");
            }
            authority.as_str()
        }
        (None, Some(field)) => field,
        (None, None) if request.version == Version::HTTP_10 => return Ok(None),
        (None, None) => return bad("no Host"),
    };
    if is_host(host) { Ok(Some(host.to_owned())) } else { bad("Host is not a host") }
}

/// A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port. Names are held to what
/// exists (letters, digits, `-`, `_`, `.`), not to all that a URI would allow.
fn is_host(text: &str) -> bool {
    let (name, port) = split_port(text);
    let port_fits = port.is_none_or(|port| {
        port.bytes().all(|b| b.is_ascii_digit()) && (port.is_empty() || port.parse::<u16>().is_ok())
    });
    let name_fits = if let Some(inner) = name.strip_prefix('[') {
        inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok())
    } else {
        !name.is_empty()
            && name.len() <= 255
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    port_fits && name_fits
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    }
}

/// The host as it is looked up: without the port and a name's last dot, in lower case.
pub fn host_name(host: &str) -> String {
    let (name, _) = split_port(host);
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(version: Version, target: &str, fields: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::builder().version(version).uri(target);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn checked(target: &str, fields: &[(&str, &str)]) -> Result<Option<String>, u16> {
        check(&parts(Version::HTTP_11, target, fields)).map_err(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn the_host_is_found() {
        for (target, fields, host) in [
            ("/", &[("host", "a.example")][..], "a.example"),
            ("/", &[("host", "A.example:8080")], "A.example:8080"),
            ("/", &[("host", "[::1]:80")], "[::1]:80"),
            ("/", &[("host", "my_app")], "my_app"),
            ("http://b.example/x", &[("host", "a.example")], "b.example"),
        ] {
            assert_eq!(checked(target, fields), Ok(Some(host.to_owned())), "{target} {fields:?}");
        }
        assert_eq!(check(&parts(Version::HTTP_10, "/", &[])), Ok(None));
        assert_eq!(check(&parts(Version::HTTP_2, "http://a.example/", &[])), Ok(Some("a.example".into())));
        assert_eq!(host_name("A.Example.:8080"), "a.example");
        assert_eq!(host_name("[::1]:80"), "[::1]");
    }

    #[test]
    fn doubtful_requests_are_refused() {
        for (target, fields, status) in [
            ("/", &[][..], 400),
            ("/", &[("host", "")], 400),
            ("/", &[("host", "a b")], 400),
            ("/", &[("host", "a/b")], 400),
            ("/", &[("host", "user@a")], 400),
            ("/", &[("host", "a:b")], 400),
            ("/", &[("host", "a:65536")], 400),
            ("/", &[("host", "[::1")], 400),
            ("/", &[("host", "a"), ("host", "a")], 400),
            ("http://b/", &[], 400),
            ("http://user@b/", &[("host", "b")], 400),
            ("*", &[("host", "a")], 400),
            ("/", &[("host", "a"), ("content-length", "1"), ("content-length", "2")], 400),
            ("/", &[("host", "a"), ("content-length", "+1")], 400),
            ("/", &[("host", "a"), ("content-length", "1, 1")], 400),
            ("/", &[("host", "a"), ("content-length", "1"), ("transfer-encoding", "chunked")], 400),
            ("/", &[("host", "a"), ("transfer-encoding", "gzip, chunked")], 501),
            ("/", &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], 501),
            ("/", &[("host", "a"), ("transfer-encoding", "")], 400),
            ("/", &[("host", "a"), ("connection", "close, Host")], 400),
            ("/", &[("host", "a"), ("connection", "content-length")], 400),
        ] {
            assert_eq!(checked(target, fields), Err(status), "{target} {fields:?}");
        }
        let contradicts = parts(Version::HTTP_2, "http://a.example/", &[("host", "b.example")]);
        assert_eq!(check(&contradicts).map_err(|refusal| refusal.status.as_u16()), Err(400));
    }
}
