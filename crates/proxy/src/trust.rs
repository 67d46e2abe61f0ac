//! Whose word counts about where a request came from.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address; an IPv4 address that came in over IPv6 (`::ffff:1.2.3.4`) is given as IPv4.
    Ip(IpAddr),
    /// Somebody on this machine, over a Unix socket.
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Peers whose `X-Forwarded-*` count: a network (`10.0.0.0/8`, `fd00::/8`), an address, or `unix` for
/// whoever comes over a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Trusted {
    /// A network, whose bits after the prefix are zero.
    Network(IpNet),
    /// Every peer on a Unix socket.
    Unix,
}

impl Trusted {
    /// Whether this peer is meant.
    pub fn covers(&self, peer: Peer) -> bool {
        match (self, peer) {
            (Self::Unix, Peer::Unix) => true,
            (Self::Network(network), Peer::Ip(peer)) => network.contains(&peer.to_canonical()),
            _ => false,
        }
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoNetwork {
    /// It reads as none.
    Unreadable,
    /// It is an IPv4 address in IPv6's form. Peers are known by their IPv4 address, this one, so such a network
    /// would cover nobody.
    Mapped(IpAddr),
    /// Bits are set after the prefix, a slip of one or the other; the network without them.
    HostBits(IpNet),
}

/// Reads a network (`10.0.0.0/8`), or an address, which is a network of one.
pub fn network(text: &str) -> Result<IpNet, NoNetwork> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address),
        Err(_) => text.parse().map_err(|_| NoNetwork::Unreadable)?,
    };
    let plain = network.addr().to_canonical();
    if plain != network.addr() {
        return Err(NoNetwork::Mapped(plain));
    }
    if network.trunc() == network { Ok(network) } else { Err(NoNetwork::HostBits(network.trunc())) }
}

impl FromStr for Trusted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let network = network(text).map_err(|why| match why {
            NoNetwork::Unreadable => {
                format!("`{text}`: expected a network such as 10.0.0.0/8, an address, or `unix`")
            }
            NoNetwork::Mapped(plain) => format!("`{text}`: write IPv4 addresses as such, {plain}"),
            NoNetwork::HostBits(network) => format!("`{text}`: bits are set after the prefix; {network}?"),
        })?;
        Ok(Self::Network(network))
    }
}

impl TryFrom<String> for Trusted {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Trusted> for String {
    fn from(trusted: Trusted) -> Self {
        match trusted {
            Trusted::Network(network) => network.to_string(),
            Trusted::Unix => "unix".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_cover_what_they_say() {
        for (network, peer, covered) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("127.0.0.1", "::ffff:127.0.0.1", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("192.168.1.128/25", "192.168.1.127", false),
        ] {
            let trusted: Trusted = network.parse().expect(network);
            let peer = Peer::Ip(peer.parse().expect(peer));
            assert_eq!(trusted.covers(peer), covered, "{network} {peer}");
            assert!(!trusted.covers(Peer::Unix), "{network}");
        }
        assert!(Trusted::Unix.covers(Peer::Unix));
        assert!(!Trusted::Unix.covers(Peer::Ip(IpAddr::from([127, 0, 0, 1]))));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "host",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.0/104",
        ] {
            assert!(text.parse::<Trusted>().is_err(), "{text}");
        }
    }
}
