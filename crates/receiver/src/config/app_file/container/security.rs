//! What a container may do beyond its capabilities: `security_opt`, `group_add`, `devices`, `sysctls`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Serialize;

use super::network::path;
use super::target::target;
use crate::config::app_file::reading::reader::{Fields, Reader, Spec, key};
use crate::config::app_file::syntax::tree::{Node, Value};
use crate::config::app_file::words;
use autotag_model::reference::ParseError;

fn malformed<T>(expected: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(expected.into()))
}

/// `security_opt`, understood.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SecurityOpt {
    /// Whether programs in the container can gain rights that their user has not (setuid, file capabilities);
    /// none: not said.
    pub no_new_privileges: Option<bool>,
    /// An AppArmor profile that is loaded on this machine.
    pub apparmor: Option<String>,
    /// SELinux labels, such as `type:svirt_apache_t`.
    pub label: BTreeSet<String>,
}

/// One of its words.
enum RawInputs {
    NoNewPrivileges(bool),
    Apparmor(String),
    Label(String),
}

pub(crate) fn security_opt(reader: &mut Reader, fields: &mut Fields) -> SecurityOpt {
    let mut options = SecurityOpt::default();
    let Some((node, spec)) = fields.take("security_opt") else { return options };
    for item in Reader::items(node) {
        let twice = match reader.parse(&item, &spec, one) {
            Some(RawInputs::NoNewPrivileges(on)) => options.no_new_privileges.replace(on).is_some(),
            Some(RawInputs::Apparmor(profile)) => options.apparmor.replace(profile).is_some(),
            Some(RawInputs::Label(label)) => !options.label.insert(label),
            None => false,
        };
        if twice {
            reader.fault(&item, &spec, "each option once");
        }
    }
    options
}

/// What takes the wall between image and machine away is refused: see SECURITY.md.
fn one(text: &str) -> Result<RawInputs, ParseError> {
    let (name, value) = match text.split_once(['=', ':']) {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    match (name, value) {
        ("no-new-privileges", None | Some("true")) => Ok(RawInputs::NoNewPrivileges(true)),
        ("no-new-privileges", Some("false")) => Ok(RawInputs::NoNewPrivileges(false)),
        ("no-new-privileges", _) => malformed("`no-new-privileges:true` or `no-new-privileges:false`"),
        ("seccomp" | "apparmor" | "systempaths", Some("unconfined")) | ("label", Some("disable")) => {
            malformed(format!(
                "no `{text}`: it takes away a wall between the image and this machine. A single right is given by `cap_add` or `devices`"
            ))
        }
        ("apparmor", Some(profile)) => words::word(profile).map(RawInputs::Apparmor),
        ("label", Some(label)) => match label.split_once(':') {
            Some(("user" | "role" | "type" | "level" | "filetype", value)) => {
                words::word(value).map(|_| RawInputs::Label(label.to_owned()))
            }
            _ => malformed("a label such as `label=type:svirt_apache_t`"),
        },
        ("seccomp", Some(_)) => malformed(
            "no profile of your own: Compose has it, the app file does not. Docker's own profile applies",
        ),
        _ => malformed("`no-new-privileges:false`, `apparmor=PROFILE` or `label=type:TYPE`"),
    }
}

/// A group in the container, by its number or name.
pub(crate) fn group(text: &str) -> Result<String, ParseError> {
    words::name(text).map_err(|_| ParseError(String::new()))
}

/// A device of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its path here.
    pub host: PathBuf,
    /// Its path in the container.
    pub container: PathBuf,
    /// Any of `r`, `w` and `m`.
    pub permissions: String,
}

const DEVICE: &[Spec] = &[
    key("source", "an absolute path", "/dev/ttyUSB0"),
    key("target", "an absolute path", "/dev/ttyUSB0"),
    key("permissions", "some of `r`, `w`, `m`", "rw"),
];

pub(crate) fn devices(reader: &mut Reader, fields: &mut Fields) -> Vec<Device> {
    let Some((node, spec)) = fields.take("devices") else { return Vec::new() };
    Reader::items(node).into_iter().filter_map(|item| device(reader, item, &spec)).collect()
}

fn device(reader: &mut Reader, node: Node, spec: &Spec) -> Option<Device> {
    if !matches!(node.value, Value::Map(_)) {
        return reader.parse(&node, spec, short_device);
    }
    let whole = node.clone();
    let mut fields = reader.fields(node, DEVICE, &[]);
    if !fields.has("source") {
        reader.fault(&whole, spec, "a `source` in the map");
    }
    let host = fields.one(reader, "source", path);
    let container = fields.one(reader, "target", path).or_else(|| host.clone());
    let permissions = fields.one(reader, "permissions", permissions).unwrap_or_else(|| "rwm".to_owned());
    Some(Device { host: host?, container: container?, permissions })
}

/// `HOST[:CONTAINER[:rwm]]`.
fn short_device(text: &str) -> Result<Device, ParseError> {
    if !text.starts_with('/') && text.contains('=') {
        return malformed("a path below /dev: devices by a vendor's name (CDI) are not offered");
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, rights) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, second] if !second.starts_with('/') => (*host, *host, *second),
        [host, container] => (*host, *container, "rwm"),
        [host, container, rights] => (*host, *container, *rights),
        _ => return malformed("`HOST:CONTAINER` or `HOST:CONTAINER:rwm`"),
    };
    let permissions = permissions(rights)?;
    Ok(Device { host: target(host)?, container: target(container)?, permissions })
}

fn permissions(text: &str) -> Result<String, ParseError> {
    let kept: String = "rwm".chars().filter(|right| text.contains(*right)).collect();
    if kept.len() == text.len() && !text.is_empty() {
        Ok(kept)
    } else {
        malformed("some of `r`, `w`, `m`, each once")
    }
}

/// Settings of the kernel that a container has for itself. The others are the machine's, and Docker refuses them
/// only when the container starts.
const OWN_SYSCTLS: [&str; 11] = [
    "kernel.domainname",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.msg_next_id",
];

pub(crate) fn sysctls(reader: &mut Reader, fields: &mut Fields) -> BTreeMap<String, String> {
    let Some((node, spec)) = fields.take("sysctls") else { return BTreeMap::new() };
    reader.pairs(node, &spec, |name, value| {
        let own = name.starts_with("net.") || name.starts_with("fs.mqueue.") || OWN_SYSCTLS.contains(&name);
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
        if !own || !plain {
            return malformed(
                "a setting that a container has for itself: `net.*`, `fs.mqueue.*`, or `kernel.sem`, `kernel.msg*`, `kernel.shm*`; others are the machine's",
            );
        }
        words::line(value).map_err(|_| ParseError("a value in one line".to_owned()))?;
        Ok((name.to_owned(), value.to_owned()))
    })
}
