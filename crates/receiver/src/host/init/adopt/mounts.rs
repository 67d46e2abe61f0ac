//! What is mounted into the container, and the networks that it is in.

use serde_json::Value;

use super::super::app_file::quoted;
use super::keys::{AdoptedKeys, listed};
use super::walk::{UntakenFields, text};

/// `volumes` and `tmpfs`, from what is mounted and from what was asked for.
pub(super) fn mounts(name: &str, mounted: &Value, host: &mut UntakenFields, keys: &mut AdoptedKeys) {
    let (mut volumes, mut memory) = (Vec::new(), Vec::new());
    for (target, options) in host.map("Tmpfs") {
        let options = text(options);
        memory.push(if options.is_empty() { target } else { format!("{target}:{options}") });
    }
    for mount in host.list("Mounts") {
        asked(name, mount, &mut memory, keys);
    }
    // What was asked for stands among the mounts, as it came out.
    host.ignore(&["Binds"]);
    for mount in mounted.as_array().into_iter().flatten().cloned() {
        volumes.extend(volume(name, mount, keys));
    }
    keys.list("volumes", volumes);
    keys.list("tmpfs", memory);
}

/// The options of `--mount`, which what is mounted does not show.
fn asked(name: &str, mount: Value, memory: &mut Vec<String>, keys: &mut AdoptedKeys) {
    let mut mount = UntakenFields::of("HostConfig.Mounts", mount);
    let (kind, target) = (mount.text("Type"), mount.text("Target"));
    if kind == "tmpfs" {
        let mut options = UntakenFields::of("TmpfsOptions", mount.take("TmpfsOptions"));
        let (size, mode) = (options.number("SizeBytes"), options.number("Mode"));
        let size = (size > 0).then(|| format!("size={size}"));
        let mode = (mode > 0).then(|| format!("mode={mode:o}"));
        let read_only = mount.flag("ReadOnly").then(|| "ro".to_owned());
        let words: Vec<String> = [size, mode, read_only].into_iter().flatten().collect();
        let gap = if words.is_empty() { "" } else { ":" };
        memory.push(format!("{target}{gap}{}", words.join(",")));
        for field in options.rest(&[]) {
            keys.note(format!("{field} of {target} of {name} was left out: the app file has no key for it"));
        }
    }
    if let Value::Object(options) = mount.take("BindOptions") {
        let mut options = UntakenFields::of("BindOptions", Value::Object(options));
        options.ignore(&["Propagation", "CreateMountpoint"]);
        for field in options.rest(&[]) {
            keys.note(format!("{field} of {target} of {name} was left out: the app file has no key for it"));
        }
    }
    mount.ignore(&["Source", "ReadOnly", "Consistency", "TmpfsOptions"]);
    for field in mount.rest(&[]) {
        keys.note(format!("{field} of {target} of {name} was left out: the app file has no key for it"));
    }
}

fn volume(name: &str, mount: Value, keys: &mut AdoptedKeys) -> Option<String> {
    let mut mount = UntakenFields::of("Mounts", mount);
    let (kind, volume, source) = (mount.text("Type"), mount.text("Name"), mount.text("Source"));
    let target = mount.text("Destination");
    let source = match kind.as_str() {
        "volume" if volume.len() == 64 && volume.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            keys.note(format!(
                "{target} of {name} is a volume without a name, which a new container would not get: it is \
                 taken by its id"
            ));
            volume
        }
        "volume" => volume,
        "bind" => source,
        // With its options among what was asked for.
        "tmpfs" => return None,
        other => {
            keys.note(format!("{target} of {name} is a {other} mount and was left out"));
            return None;
        }
    };
    let driver = mount.text("Driver");
    if !matches!(driver.as_str(), "" | "local") {
        keys.note(format!("the volume {source} has the driver {driver}: it must exist before a deployment"));
    }
    let mode = mount.text("Mode");
    let mut words: Vec<&str> = (!mount.flag("RW")).then_some("ro").into_iter().collect();
    words.extend(mode.split(',').filter(|word| matches!(*word, "z" | "Z" | "nocopy")));
    let propagation = mount.text("Propagation");
    // Docker's default for paths.
    if kind == "bind" && !matches!(propagation.as_str(), "" | "rprivate") {
        words.push(&propagation);
    }
    let gap = if words.is_empty() { "" } else { ":" };
    Some(format!("{source}:{target}{gap}{}", words.join(",")))
}

/// What each container has of its own in a network, and what follows from the rest.
const OF_CONTAINER: [&str; 11] = [
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "MacAddress",
    "DNSNames",
    "IPAMOptions",
];

/// Docker's default network has no names: the application gets one of its own instead.
pub(super) fn networks(
    name: &str,
    own: &[&str; 2],
    id: &str,
    mode: &str,
    networks: &Value,
    keys: &mut AdoptedKeys,
) {
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        return keys.note(format!(
            "{name} has the network mode `{mode}`, which deployments do not offer: it \
                                  gets a network of its own"
        ));
    }
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut networks = UntakenFields::of("", serde_json::json!({ "all": networks }));
    for (network, endpoint) in networks.map("all") {
        let mut endpoint = UntakenFields::of(format!("Networks.{network}"), endpoint);
        // The container's name, the beginning of its id, and its host name: Docker adds them by itself.
        let by_docker = |alias: &String| {
            own.contains(&alias.as_str()) || (alias.len() >= 12 && id.starts_with(alias.as_str()))
        };
        let aliases: Vec<String> = endpoint.texts("Aliases").unwrap_or_default();
        endpoint.ignore(&OF_CONTAINER);
        for field in endpoint.rest(&[]) {
            keys.note(format!("{field} of {name} was left out: the app file has no key for it"));
        }
        if network != "bridge" {
            found.push((network, aliases.into_iter().filter(|alias| !by_docker(alias)).collect()));
        }
    }
    // The container's own comes first.
    found.sort_by_key(|(network, _)| network != mode);
    if found.iter().all(|(_, aliases)| aliases.is_empty()) {
        return keys.list("networks", found.into_iter().map(|(network, _)| network));
    }
    let entries: Vec<String> = found
        .iter()
        .map(|(network, aliases)| format!("{}: {{aliases: {}}}", quoted(network), listed(aliases)))
        .collect();
    keys.set("networks", Some(format!("{{{}}}", entries.join(", "))));
}
