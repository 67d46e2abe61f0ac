//! Where clients come in, and whose word about them counts.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use autotag_model::reference::ParseError;
use autotag_proxy::trust;
use autotag_proxy::trust::NoNetwork;

/// Where the proxy serves an application.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Listen {
    /// An address and port. `[::]` takes IPv4 clients too.
    Tcp(SocketAddr),
    /// A Unix socket, for a front proxy on the same machine.
    Unix(PathBuf),
}

impl Listen {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl FromStr for Listen {
    type Err = ParseError;

    /// `127.0.0.1:8080`, `[::]:80`, `8080` (as in Compose: on all addresses), `/run/app.sock`.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let expected = || {
            ParseError(
                "an address with a port (`127.0.0.1:8080`, `[::]:80`), a port alone for all addresses, or the absolute path of a Unix socket"
                    .to_owned(),
            )
        };
        if text.starts_with('/') {
            return path(text).map(Self::Unix);
        }
        let address = match port(text) {
            Ok(port) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            Err(zero) if text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(zero);
            }
            Err(_) => text.parse().map_err(|_| expected())?,
        };
        if address.port() == 0 { Err(expected()) } else { Ok(Self::Tcp(address)) }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

impl Serialize for Listen {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A port's number.
pub(crate) fn port(text: &str) -> Result<u16, ParseError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits && text.starts_with('0') && text.len() > 1 {
        return Err(ParseError("a port from 1 to 65535, without a leading zero".to_owned()));
    }
    match text.parse() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(ParseError("a port from 1 to 65535".to_owned())),
    }
}

/// An absolute path without detours or control characters.
pub(crate) fn path(text: &str) -> Result<PathBuf, ParseError> {
    let plain = text.starts_with('/')
        && !text.chars().any(char::is_control)
        && text.len() <= 4096
        && !text.split('/').any(|part| matches!(part, "." | ".."));
    if plain { Ok(PathBuf::from(text)) } else { Err(ParseError("an absolute path".to_owned())) }
}

/// The name that clients ask for, in lower case, without a port (RFC 1123, 2.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct HostName(String);

impl HostName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if text.len() <= 253 && text.split('.').all(label) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(ParseError(
                "a host name without scheme, port or `*` (internationalised ones as `xn--...`)".to_owned(),
            ))
        }
    }
}

/// The name of a header, in lower case. None that the connection to the container needs for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct HeaderName(String);

impl HeaderName {
    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HeaderName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        const OWN: [&str; 11] = [
            "connection",
            "content-length",
            "expect",
            "host",
            "keep-alive",
            "proxy",
            "proxy-connection",
            "te",
            "trailer",
            "transfer-encoding",
            "upgrade",
        ];
        let name = text.to_ascii_lowercase();
        let plain = (1..=64).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if plain && !OWN.contains(&name.as_str()) {
            Ok(Self(name))
        } else {
            Err(ParseError("the name of a header with letters, digits and `-`".to_owned()))
        }
    }
}

/// How long an answer may take to begin.
pub(crate) fn answer_timeout(text: &str) -> Result<Duration, ParseError> {
    let longest = Duration::from_hours(24);
    match crate::config::app_file::reading::quantity::duration(text)? {
        Duration::ZERO => Err(ParseError("a duration of at least 1s".to_owned())),
        wait if wait > longest => Err(ParseError("a duration of at most 24h".to_owned())),
        wait => Ok(wait),
    }
}

/// Some addresses: `10.0.0.0/8`, `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let network = trust::network(text).map_err(|why| {
            ParseError(match why {
                NoNetwork::Unreadable => {
                    "an address, or a network such as `10.0.0.0/8` or `fd00::/8`".to_owned()
                }
                NoNetwork::Mapped(plain) => format!("IPv4 addresses in their own form, such as `{plain}`"),
                NoNetwork::HostBits(..) => {
                    "a network whose host part is zero, such as `10.0.0.0/8`".to_owned()
                }
            })
        })?;
        Ok(Self(network))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners() {
        for (text, shown, local) in [
            ("8080", "[::]:8080", false),
            ("127.0.0.1:8080", "127.0.0.1:8080", true),
            ("[::]:80", "[::]:80", false),
            ("[::1]:80", "[::1]:80", true),
            ("0.0.0.0:80", "0.0.0.0:80", false),
            ("/run/app.sock", "/run/app.sock", true),
        ] {
            let listen: Listen = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((listen.to_string().as_str(), listen.is_local()), (shown, local), "{text}");
        }
        for text in [
            "",
            "0",
            "65536",
            "+80",
            ":80",
            "127.0.0.1",
            "127.0.0.1:0",
            "localhost:80",
            "::1:80",
            "run/x",
            "/run/../x",
            "unix:/x",
            "8080:80",
        ] {
            assert!(text.parse::<Listen>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn ports_and_paths() {
        assert_eq!((port("1"), port("65535")), (Ok(1), Ok(65_535)));
        for text in ["", "0", "65536", "+80", "-1", "8o", " 80"] {
            assert!(port(text).is_err(), "{text:?} was accepted");
        }
        let longest = format!("/{}", "a".repeat(4095));
        for text in ["/", "/a", "/a/b.c", "/..a/b..", &longest] {
            assert_eq!(path(text), Ok(PathBuf::from(text)));
        }
        for text in ["", "a", "/a/..", "/./a", "/a\n", "/a\0", &format!("{longest}a")] {
            assert!(path(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn hosts() {
        let long = ["a".repeat(63), "a".repeat(63), "a".repeat(63), "a".repeat(61)].join(".");
        assert_eq!(long.parse::<HostName>().map(|name| name.as_str().len()), Ok(253));
        assert!(format!("{long}a").parse::<HostName>().is_err());
        assert_eq!("App.Example.COM".parse::<HostName>().unwrap().as_str(), "app.example.com");
        for text in [
            "",
            ".",
            "a..b",
            "a.",
            "-a.b",
            "a-.b",
            "a_b.c",
            "*.a.b",
            "a:80",
            "https://a",
            "[::1]",
            "ä.b",
            &"a".repeat(64),
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn names_of_headers_and_times_of_answers() {
        for (text, name) in [("X-Forwarded-Prefix", "x-forwarded-prefix"), ("x1", "x1")] {
            assert_eq!(text.parse::<HeaderName>().unwrap().as_str(), name);
        }
        for text in
            ["", "X Tenant", "X_Tenant", "X:", "Host", "connection", "Transfer-Encoding", &"a".repeat(65)]
        {
            assert!(text.parse::<HeaderName>().is_err(), "{text:?} was accepted");
        }
        assert_eq!(answer_timeout("5m"), Ok(Duration::from_mins(5)));
        assert_eq!(answer_timeout("24h"), Ok(Duration::from_hours(24)));
        for text in ["0s", "25h", "5", "-1s", "soon"] {
            assert!(answer_timeout(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn networks() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("fd00::/8", "fd00::/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(
                text.parse::<Network>().unwrap_or_else(|error| panic!("{text}: {error}")).to_string(),
                shown
            );
        }
        for text in
            ["", "10.0.0.1/8", "10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10/8", "a", "fd00::1/8"]
        {
            assert!(text.parse::<Network>().is_err(), "{text:?} was accepted");
        }
    }
}
