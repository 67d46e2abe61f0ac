//! What a proxy takes out of a message's fields and what it puts in (RFC 9110, 7.6): pure.

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::trust::Peer;

/// Fields that concern one connection only, besides those that `Connection` names. `Trailer` is not
/// among them since RFC 9110: it announces fields that are forwarded.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Who sent it.
    pub peer: Peer,
    /// Whether that one's own words about the origin count.
    pub trusted: bool,
    /// The host that was asked for; empty where an HTTP/1.0 request names none.
    pub host: &'a str,
}

/// The members of a list of tokens that may be spread over several lines, such as `Connection`'s.
pub fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|token| token.trim_matches([' ', '\t']))
        .filter(|token| !token.is_empty())
}

/// Takes out what concerns this connection only: the standard fields and those that `Connection` names.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> =
            tokens(headers, &header::CONNECTION).filter_map(|token| token.parse().ok()).collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// The protocols that a message asks to change to, or has changed to; `None` if it does not.
///
/// `h2c` is not passed on: the application would then speak to the client in frames that nobody here
/// looks into, under a head that was never checked.
pub fn upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    let asked = version == Version::HTTP_11
        && tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let protocols = headers.get(header::UPGRADE).filter(|_| asked)?;
    let h2c = tokens(headers, &header::UPGRADE).any(|token| token.to_ascii_lowercase().starts_with("h2c"));
    (!h2c).then(|| protocols.clone())
}

/// Makes a client's fields those of the request to the application. Gives what to upgrade to, if the
/// client asks; the fields then ask for it as well.
pub fn to_app(headers: &mut HeaderMap, version: Version, origin: &Origin<'_>) -> Option<HeaderValue> {
    let upgrade = upgrade(headers, version);
    let trailers = tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    strip_hop_by_hop(headers);
    headers.remove(HTTP2_SETTINGS);
    // hyper answers 100 itself as soon as the body is asked for, and it is asked for only when the
    // application has a connection open for it.
    headers.remove(header::EXPECT);
    // CGI-like servers would make it the variable HTTP_PROXY (httpoxy, CVE-2016-5385).
    headers.remove("proxy");
    if let Some(protocols) = &upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocols.clone());
    } else if trailers {
        headers.insert(header::CONNECTION, HeaderValue::from_static("te"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(headers);
    say_origin(headers, origin);
    upgrade
}

/// Makes an application's fields those of the answer to the client.
pub fn to_client(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
}

/// Adds this proxy to `Via`, with the version in which the message reached it (RFC 9110, 7.6.3).
pub fn add_via(headers: &mut HeaderMap, version: Version, pseudonym: &str) {
    let number = match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    };
    if let Ok(value) = HeaderValue::from_str(&format!("{number} {pseudonym}")) {
        headers.append(header::VIA, value);
    }
}

/// HTTP/2 may send a cookie in crumbs; HTTP/1.1 has one line for all (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_some()
        && let Some(all) = joined(headers, &header::COOKIE, b"; ")
    {
        headers.insert(header::COOKIE, all);
    }
}

fn joined(headers: &HeaderMap, name: &HeaderName, separator: &[u8]) -> Option<HeaderValue> {
    let lines: Vec<&[u8]> = headers.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() { None } else { HeaderValue::from_bytes(&lines.join(separator)).ok() }
}

/// Whether applications take a field for a word about where the request came from. Servers of the CGI
/// family read `_` as `-`, so `X_Forwarded_For` must not slip through.
fn speaks_of_origin(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name.starts_with("x-forwarded-") || matches!(name.as_str(), "forwarded" | "x-real-ip" | "x-forwarded")
}

fn say_origin(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let doubtful: Vec<HeaderName> = headers
        .keys()
        .filter(|name| speaks_of_origin(name) && (!origin.trusted || name.as_str().contains('_')))
        .cloned()
        .collect();
    for name in doubtful {
        headers.remove(name);
    }
    if let Peer::Ip(address) = origin.peer {
        let mut chain = joined(headers, &FORWARDED_FOR, b", ").map_or_else(Vec::new, |value| {
            let mut chain = value.as_bytes().to_vec();
            chain.extend_from_slice(b", ");
            chain
        });
        chain.extend_from_slice(address.to_string().as_bytes());
        if let Ok(chain) = HeaderValue::from_bytes(&chain) {
            headers.insert(FORWARDED_FOR, chain);
        }
    }
    // This proxy ends no TLS: what reaches it without a trusted proxy's word came as plain HTTP.
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    if let Ok(host) = HeaderValue::from_str(origin.host)
        && !host.is_empty()
    {
        headers.entry(FORWARDED_HOST).or_insert(host);
    }
}

#[cfg(test)]
#[path = "headers_tests.rs"]
mod tests;
