//! How a container finds others, and how it is found: `extra_hosts`, `dns`, `hostname`, `networks`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::network::HostName;
use crate::config::app_file::reading::reader::{Fields, Reader, Spec, key};
use crate::config::app_file::syntax::tree::{Node, Value};
use crate::config::app_file::words;
use autotag_model::reference::ParseError;

fn malformed<T>(expected: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(expected.into()))
}

/// An address of a name server.
pub(crate) fn address(text: &str) -> Result<String, ParseError> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.to_string()),
        Err(_) => malformed("an IP address without a port"),
    }
}

/// A domain in which short names are looked for; `.` for none.
pub(crate) fn search(text: &str) -> Result<String, ParseError> {
    if text == "." {
        Ok(text.to_owned())
    } else {
        text.parse::<HostName>().map(|name| name.as_str().to_owned())
    }
}

/// The name that the container has for itself (sethostname(2): 64 bytes).
pub(crate) fn hostname(text: &str) -> Result<String, ParseError> {
    match text.parse::<HostName>() {
        Ok(_) if text.len() <= 63 => Ok(text.to_owned()),
        _ => malformed("a host name of at most 63 letters, digits, `-` and `.`"),
    }
}

/// `NAME: ADDRESS`, or a list of `NAME:ADDRESS` and `NAME=ADDRESS`; a name may have several addresses.
pub(crate) fn extra_hosts(reader: &mut Reader, fields: &mut Fields) -> BTreeMap<String, BTreeSet<String>> {
    let mut hosts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let Some((node, spec)) = fields.take("extra_hosts") else { return hosts };
    let mut pairs = Vec::new();
    match node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                for item in Reader::items(value) {
                    let name = key.text.clone();
                    pairs.extend(reader.parse(&item, &spec, |text| host(&name, text)));
                }
            }
        }
        _ => {
            for item in Reader::items(node) {
                pairs.extend(reader.parse(&item, &spec, |text| match text.split_once(['=', ':']) {
                    Some((name, address)) => host(name, address),
                    None => malformed(""),
                }));
            }
        }
    }
    for (name, address) in pairs {
        hosts.entry(name).or_default().insert(address);
    }
    hosts
}

fn host(name: &str, text: &str) -> Result<(String, String), ParseError> {
    // Compose's own files have names with `_`.
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return malformed("a host name before the address");
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok((name.to_owned(), address.to_string())),
        Err(_) if text == "host-gateway" => Ok((name.to_owned(), text.to_owned())),
        Err(_) => malformed("an IP address, or `host-gateway` for this machine, behind the name"),
    }
}

const NETWORK: &[Spec] = &[key("aliases", "a list of names", "[app]")];

/// What needs an address or a place of its own: the old and the new container are there at the same time.
const ABSENT: &[(&str, &str)] = &[
    ("ipv4_address", "Docker gives the address; other containers find this one by its name"),
    ("ipv6_address", "Docker gives the address; other containers find this one by its name"),
    ("link_local_ips", "Compose has it, the app file does not"),
    ("mac_address", "Compose has it, the app file does not"),
    ("interface_name", "Compose has it, the app file does not"),
    ("driver_opts", "Compose has it, the app file does not"),
    ("priority", "the first network of the list is the container's own"),
    ("gw_priority", "the first network of the list is the container's own"),
];

/// Names under which a container is found in a network.
pub type Aliases = BTreeMap<String, BTreeSet<String>>;

/// The networks in their order, and the names that the container has in each.
pub(crate) fn networks(reader: &mut Reader, fields: &mut Fields) -> (Vec<String>, Aliases) {
    let (mut networks, mut aliases) = (Vec::new(), Aliases::new());
    let Some((node, spec)) = fields.take("networks") else { return (networks, aliases) };
    let Value::Map(entries) = node.value else {
        for item in Reader::items(node) {
            let name = reader.parse(&item, &spec, words::network);
            add(reader, &mut networks, name, &item, &spec);
        }
        return (networks, aliases);
    };
    for (key, value) in entries {
        let named = Node { value: Value::Text(key.text), ..value.clone() };
        let Some(name) = reader.parse(&named, &spec, words::network) else { continue };
        add(reader, &mut networks, Some(name.clone()), &named, &spec);
        if matches!(value.value, Value::Null) {
            continue;
        }
        let mut fields = reader.fields(value, NETWORK, ABSENT);
        let others: BTreeSet<String> = fields.many(reader, "aliases", words::name).into_iter().collect();
        if !others.is_empty() {
            aliases.insert(name, others);
        }
    }
    (networks, aliases)
}

fn add(reader: &mut Reader, networks: &mut Vec<String>, name: Option<String>, node: &Node, spec: &Spec) {
    let Some(name) = name else { return };
    if networks.contains(&name) {
        reader.fault(node, spec, "each network once");
    } else {
        networks.push(name);
    }
}
