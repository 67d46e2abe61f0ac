//! `ports`: what Docker itself publishes on this machine, past the proxy.
//!
//! Two containers cannot hold one port, so it goes with `order: stop-first` alone.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use super::network::port;
use crate::config::app_file::reading::reader::{Fields, Reader, Spec, key};
use crate::config::app_file::syntax::tree::{Node, Value};
use crate::config::app_file::{Listen, Order, Traffic};
use autotag_model::reference::ParseError;

/// One port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Published {
    /// Where on this machine; none: on all addresses.
    pub address: Option<IpAddr>,
    /// There.
    pub host: u16,
    /// In the container.
    pub container: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            Some(address) => write!(f, "{address}:")?,
            None => {}
        }
        write!(f, "{}:{}/{}", self.host, self.container, self.protocol)
    }
}

impl Serialize for Published {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

const PORT: &[Spec] = &[
    key("target", "a port from 1 to 65535", "53"),
    key("published", "a port from 1 to 65535", "53"),
    key("host_ip", "an IP address", "127.0.0.1"),
    key("protocol", "`tcp`, `udp` or `sctp`", "udp"),
    key("mode", "`host`", "host"),
];
const ABSENT: &[(&str, &str)] =
    &[("name", "it has no effect; leave it out"), ("app_protocol", "it has no effect; leave it out")];

fn malformed<T>(expected: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(expected.into()))
}

pub(crate) fn ports(
    reader: &mut Reader,
    fields: &mut Fields,
    order: Order,
    traffic: Option<&Traffic>,
) -> BTreeSet<Published> {
    let mut all = BTreeSet::new();
    let Some((node, spec)) = fields.take("ports") else { return all };
    if order != Order::StopFirst {
        reader.fault(
            &node,
            &spec,
            "`order: stop-first` beside it: two versions cannot hold one port at the same time. Clients of \
             HTTP come in by the proxy: say `port` and `listen`",
        );
        return all;
    }
    for item in Reader::items(node) {
        let read = if matches!(item.value, Value::Map(_)) {
            long(reader, item.clone(), &spec).map(|port| vec![port])
        } else {
            reader.parse(&item, &spec, short)
        };
        for port in read.into_iter().flatten() {
            if traffic.is_some_and(|traffic| holds(traffic, &port)) {
                reader.fault(&item, &spec, "another port than the proxy's own: it listens there (`listen`)");
            } else if all.iter().any(|other| collide(other, &port)) {
                reader.fault(&item, &spec, "each port of this machine once");
            } else {
                all.insert(port);
            }
        }
    }
    all
}

fn collide(one: &Published, other: &Published) -> bool {
    let same = one.address.is_none() || other.address.is_none() || one.address == other.address;
    (one.host, one.protocol) == (other.host, other.protocol) && same
}

fn holds(traffic: &Traffic, port: &Published) -> bool {
    let Traffic::Proxied { listen: Listen::Tcp(listen), .. } = traffic else { return false };
    let overlap = port.address.is_none_or(|address| {
        address == listen.ip() || address.is_unspecified() || listen.ip().is_unspecified()
    });
    port.protocol == "tcp" && port.host == listen.port() && overlap
}

/// `[ADDRESS:]HOST:CONTAINER[/PROTOCOL]`, either port a range `N-M` where both are.
fn short(text: &str) -> Result<Vec<Published>, ParseError> {
    let form =
        || ParseError("`HOST:CONTAINER`, optionally with `ADDRESS:` before and `/udp` after".to_owned());
    let (rest, protocol) = match text.split_once('/') {
        Some((rest, name)) => (rest, protocol(name)?),
        None => (text, "tcp"),
    };
    let Some((before, container)) = rest.rsplit_once(':') else {
        return malformed("`HOST:CONTAINER`: a port that Docker chooses would be another at each deployment");
    };
    let (address, host) = match before.rsplit_once(':') {
        Some((address, host)) => (Some(address), host),
        None => (None, before),
    };
    let address = address.map(|text| ip(text).map_err(|_| form())).transpose()?;
    let range = |text: &str| match text.split_once('-') {
        Some((from, to)) => Ok(port(from)?..=port(to)?),
        None => port(text).map(|port| port..=port),
    };
    let (host, container) = (range(host)?, range(container)?);
    if host.is_empty() || host.len() != container.len() || host.len() > 1000 {
        return malformed("ranges of one length, at most 1000 ports");
    }
    Ok(host
        .zip(container)
        .map(|(host, container)| Published { address, host, container, protocol })
        .collect())
}

fn ip(text: &str) -> Result<IpAddr, ParseError> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| ParseError(String::new()))
}

fn protocol(text: &str) -> Result<&'static str, ParseError> {
    let known = ["tcp", "udp", "sctp"].into_iter().find(|known| *known == text);
    known.ok_or_else(|| ParseError("`tcp`, `udp` or `sctp` after the `/`".to_owned()))
}

fn long(reader: &mut Reader, node: Node, spec: &Spec) -> Option<Published> {
    let whole = node.clone();
    let mut fields = reader.fields(node, PORT, ABSENT);
    for name in ["target", "published"] {
        if !fields.has(name) {
            reader.fault(&whole, spec, format!("a `{name}` in the map"));
        }
    }
    let (container, host) = (fields.one(reader, "target", port), fields.one(reader, "published", port));
    let address = fields.one(reader, "host_ip", ip);
    let protocol = fields.one(reader, "protocol", protocol).unwrap_or("tcp");
    fields.one(reader, "mode", |text| if text == "host" { Ok(()) } else { malformed("") });
    Some(Published { address, host: host?, container: container?, protocol })
}
