//! What a proxy takes out of a message's fields and what it puts in (RFC 9110, 7.6): pure.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::trust::Peer;

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
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Who sent it.
    pub peer: Peer,
    /// Who that one says it comes from, as far as its word counts.
    pub visitor: Option<IpAddr>,
    /// Which words of that one's count.
    pub claims: &'a Claims,
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

/// Takes out what concerns this connection only: the standard fields and those that `Connection` names, but
/// for those that `kept` says no sender may take out.
fn strip_hop_by_hop(headers: &mut HeaderMap, kept: impl Fn(&HeaderName) -> bool) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> =
            tokens(headers, &header::CONNECTION).filter_map(|token| token.parse().ok()).collect();
        for name in named.into_iter().filter(|name| !kept(name)) {
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
    // What a front proxy says about a client is not for the client to take out.
    strip_hop_by_hop(headers, |name| origin.claims.concern(name));
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
    strip_hop_by_hop(headers, |_| false);
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

/// Fields that applications and their frameworks take for a word about where a request comes from, what was
/// asked for, or who asks, besides all that begin with `x-forwarded`.
const OF_ORIGIN: [&str; 38] = [
    "forwarded",
    "x-real-ip",
    "x-real-port",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-remote-ip",
    "x-remote-addr",
    "x-remote-user",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-original-host",
    "x-original-url",
    "x-original-uri",
    "x-original-method",
    "x-original-forwarded-for",
    "x-original-proto",
    "x-rewrite-url",
    "x-host",
    "x-http-host-override",
    "x-scheme",
    "x-url-scheme",
    "x-script-name",
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-azure-clientip",
    "x-appengine-user-ip",
    "x-authenticated-user",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-webauth-user",
    "client-ip",
    "true-client-ip",
    "cf-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "front-end-https",
    "remote-user",
    "remote-addr",
];

/// A name as servers of the CGI family make a variable of it: whatever is no letter and no digit is alike,
/// so `X_Forwarded_For` and `X.Forwarded.For` are the same to them.
fn folded(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
}

/// Which of a peer's words about the origin count. `X-Forwarded-For`, `-Proto` and `-Host` are a trusted
/// peer's, with what the app file names besides. All others are dropped, of everybody: a front proxy that does
/// not set them passes on what a stranger has sent.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    trusted: bool,
    further: Arc<[HeaderName]>,
}

impl Claims {
    /// Those of a peer that is trusted, or not, where these fields count besides.
    pub fn new(trusted: bool, further: &Arc<[HeaderName]>) -> Self {
        Self { trusted, further: Arc::clone(further) }
    }

    /// Whether the peer is trusted.
    pub fn trusted(&self) -> bool {
        self.trusted
    }

    /// Whether a field is, or looks like, a word about the origin.
    pub fn concern(&self, name: &HeaderName) -> bool {
        let name = folded(name);
        name.starts_with("x-forwarded")
            || OF_ORIGIN.contains(&name.as_ref())
            || self.further.iter().any(|further| folded(further) == name)
    }

    /// Whether it counts: written exactly as it is meant, by one who is trusted.
    fn count(&self, name: &HeaderName) -> bool {
        self.trusted
            && ([FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST].contains(name)
                || self.further.contains(name))
    }

    /// Takes out of a request's trailers what only its head may say: a server that puts them among the head's
    /// fields would believe it (RFC 9110, 6.5.1).
    pub fn clean_trailers(&self, trailers: &mut HeaderMap) {
        let bad: Vec<HeaderName> = trailers
            .keys()
            .filter(|name| {
                self.concern(name) || HOP_BY_HOP.contains(name) || HEAD_ONLY.contains(&folded(name).as_ref())
            })
            .cloned()
            .collect();
        for name in bad {
            trailers.remove(name);
        }
    }
}

/// Fields that say how a message is read, where it goes or who sends it.
const HEAD_ONLY: [&str; 10] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "content-range",
    "authorization",
    "cookie",
    "expect",
    "proxy",
    "trailer",
];

/// Who a request comes from: of the addresses that are told, the nearest whose word does not count. What
/// stands before that one, anybody could have written. `None`: nobody on a Unix socket says so.
pub fn visitor(headers: &HeaderMap, peer: Peer, trusts: impl Fn(Peer) -> bool) -> Option<IpAddr> {
    let mut nearest = match peer {
        Peer::Ip(address) => Some(address),
        Peer::Unix => None,
    };
    if !trusts(peer) {
        return nearest;
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    for member in lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(',')) {
        let Some(address) = address(member.trim()) else { break };
        nearest = Some(address);
        if !trusts(Peer::Ip(address)) {
            break;
        }
    }
    nearest
}

/// An address as front proxies write it, some with the port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse()
        .or_else(|_| with_port())
        .ok()
        .or_else(bracketed)
        .map(|address: IpAddr| address.to_canonical())
}

fn say_origin(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let claims = origin.claims;
    let dropped: Vec<HeaderName> =
        headers.keys().filter(|name| claims.concern(name) && !claims.count(name)).cloned().collect();
    for name in dropped {
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
    let real = origin.visitor.and_then(|visitor| HeaderValue::from_str(&visitor.to_string()).ok());
    if let Some(real) = real.filter(|_| !claims.count(&REAL_IP) || !headers.contains_key(REAL_IP)) {
        headers.insert(REAL_IP, real);
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
mod tests;
