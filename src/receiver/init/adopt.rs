//! `--adopt`: what `docker inspect` shows of a container becomes an app file. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::app_file::{Content, quoted};
use crate::receiver::app_file::{Listen, VariableName};
use crate::secret::Secret;

/// What was found.
#[derive(Debug)]
pub struct Adopted {
    /// For the app file.
    pub content: Content,
    /// What could not be taken over, and what is to be done at the change.
    pub notes: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Container {
    image: String,
    config: Config,
    host_config: HostConfig,
    mounts: Vec<Mount>,
    network_settings: NetworkSettings,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Image {
    config: Config,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: String,
    env: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    user: String,
    working_dir: String,
    healthcheck: Option<Healthcheck>,
    exposed_ports: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Debug, Default, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Healthcheck {
    test: Vec<String>,
    interval: u64,
    timeout: u64,
    retries: u64,
    start_period: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    port_bindings: Option<BTreeMap<String, Option<Vec<Binding>>>>,
    restart_policy: RestartPolicy,
    memory: u64,
    nano_cpus: u64,
    pids_limit: Option<i64>,
    readonly_rootfs: bool,
    cap_drop: Option<Vec<String>>,
    cap_add: Option<Vec<String>>,
    init: Option<bool>,
    privileged: bool,
    network_mode: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Binding {
    host_ip: String,
    host_port: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RestartPolicy {
    name: String,
    maximum_retry_count: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mount {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Source")]
    source: String,
    #[serde(rename = "Destination")]
    destination: String,
    #[serde(rename = "RW")]
    writable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NetworkSettings {
    networks: Option<BTreeMap<String, serde_json::Value>>,
}

/// The id of its image.
pub fn image_of(container: &str) -> Option<String> {
    let container: Container = serde_json::from_str(container).ok()?;
    (!container.image.is_empty()).then_some(container.image)
}

/// Reads what Docker shows of a container and its image. What the image says itself is not repeated.
pub fn adopt(name: &str, container: &str, image: Option<&str>) -> anyhow::Result<Adopted> {
    let found: Container =
        serde_json::from_str(container).with_context(|| format!("reading what Docker says of {name}"))?;
    let image: Image = match image {
        Some(text) => serde_json::from_str(text).context("reading what Docker says of the image")?,
        None => Image::default(),
    };
    if found.host_config.privileged {
        bail!("{name} is privileged: no deployment may be, since its images would own this machine");
    }
    let mut notes = Vec::new();
    let mut content = Content { image: repository(&found.config.image), ..Content::default() };
    if content.image.is_none() {
        notes.push(format!("{name} runs `{}`, which names no repository: say --image", found.config.image));
    }
    ports(name, &found, &mut content, &mut notes);
    environment(&found.config, &image.config, &mut content, &mut notes);
    content.others = others(name, &found, &image.config, &mut notes);
    notes.push(format!(
        "{name} itself is left alone. When the first deployment serves, stop and remove it: docker rm --force {name}"
    ));
    Ok(Adopted { content, notes })
}

/// The repository of `repository:tag` or `repository@digest`.
fn repository(image: &str) -> Option<crate::image::reference::ImageName> {
    let name = image.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let name = match name[slash..].find(':') {
        Some(colon) => &name[..slash + colon],
        None => name,
    };
    name.parse().ok()
}

fn ports(name: &str, found: &Container, content: &mut Content, notes: &mut Vec<String>) {
    let published: Vec<(u16, Listen)> = found
        .host_config
        .port_bindings
        .iter()
        .flatten()
        .filter_map(|(port, bindings)| Some((port.strip_suffix("/tcp")?.parse().ok()?, bindings.as_ref()?)))
        .flat_map(|(port, bindings): (u16, &Vec<Binding>)| {
            bindings.iter().filter_map(move |binding| Some((port, listen(binding)?)))
        })
        .collect();
    if let Some((port, listen)) = published.first() {
        content.port = Some(*port);
        content.listen = Some(listen.clone());
        notes.push(format!(
            "{name} holds {listen}, where the proxy shall listen: the change is short if you stop it only right before the first deployment"
        ));
    } else {
        let mut exposed = found.config.exposed_ports.iter().flatten();
        content.port = exposed.find_map(|(port, _)| port.strip_suffix("/tcp")?.parse().ok());
        notes.push(format!("{name} publishes no port: look at `port` and `listen`"));
    }
    if published.len() > 1 {
        notes.push(format!("{name} publishes several ports; the proxy serves the first of them"));
    }
}

fn listen(binding: &Binding) -> Option<Listen> {
    let port = &binding.host_port;
    match binding.host_ip.as_str() {
        // All addresses, of both families.
        "" | "0.0.0.0" | "::" => port.parse().ok(),
        v6 if v6.contains(':') => format!("[{v6}]:{port}").parse().ok(),
        v4 => format!("{v4}:{port}").parse().ok(),
    }
}

fn environment(config: &Config, image: &Config, content: &mut Content, notes: &mut Vec<String>) {
    let of_image: BTreeSet<&String> = image.env.iter().flatten().collect();
    for variable in config.env.iter().flatten().filter(|variable| !of_image.contains(variable)) {
        let Some((name, value)) = variable.split_once('=') else { continue };
        if name.parse::<VariableName>().is_ok() {
            content.environment.insert(name.to_owned(), Secret::verbatim(value.to_owned()));
        } else {
            notes.push(format!("the variable `{name}` has no usual name and was left out"));
        }
    }
}

fn others(
    name: &str,
    found: &Container,
    image: &Config,
    notes: &mut Vec<String>,
) -> BTreeMap<&'static str, String> {
    let (config, host) = (&found.config, &found.host_config);
    let list = |words: &[String]| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("[{}]", words.join(", "))
    };
    let own = |of: &Option<Vec<String>>, images: &Option<Vec<String>>| {
        of.as_ref().filter(|words| of != images && !words.is_empty()).map(|words| list(words))
    };
    let some = |list_of: &Option<Vec<String>>| {
        list_of.as_ref().filter(|words| !words.is_empty()).map(|words| list(words))
    };
    let restart = match host.restart_policy.name.as_str() {
        "on-failure" if host.restart_policy.maximum_retry_count > 0 => {
            Some(format!("on-failure:{}", host.restart_policy.maximum_retry_count))
        }
        "" | "no" => Some("\"no\"".to_owned()),
        other => Some(other.to_owned()),
    };
    let text = |of: &str, images: &str| (of != images && !of.is_empty()).then(|| quoted(of));
    let keys = [
        ("entrypoint", own(&config.entrypoint, &image.entrypoint)),
        ("command", own(&config.cmd, &image.cmd)),
        ("user", text(&config.user, &image.user)),
        ("working_dir", text(&config.working_dir, &image.working_dir)),
        ("read_only", host.readonly_rootfs.then(|| "true".to_owned())),
        ("init", host.init.filter(|init| *init).map(|_| "true".to_owned())),
        ("volumes", some(&Some(volumes(name, &found.mounts, notes)))),
        ("networks", some(&Some(networks(name, found, notes)))),
        ("healthcheck", healthcheck(config, image)),
        ("restart", restart),
        ("cap_drop", some(&host.cap_drop)),
        ("cap_add", some(&host.cap_add)),
        ("mem_limit", (host.memory > 0).then(|| format!("{}b", host.memory))),
        ("cpus", (host.nano_cpus > 0).then(|| quoted(&cpus(host.nano_cpus)))),
        ("pids_limit", host.pids_limit.filter(|limit| *limit > 0).map(|limit| limit.to_string())),
    ];
    keys.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// Billionths as a decimal number.
fn cpus(nano: u64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn volumes(name: &str, mounts: &[Mount], notes: &mut Vec<String>) -> Vec<String> {
    let mut volumes = Vec::new();
    for mount in mounts {
        let source = match mount.kind.as_str() {
            "volume" if mount.name.len() == 64 && mount.name.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                notes.push(format!(
                    "{} of {name} is a volume without a name, which a new container would not get: it is taken by its id",
                    mount.destination
                ));
                &mount.name
            }
            "volume" => &mount.name,
            "bind" => &mount.source,
            other => {
                notes.push(format!("{} of {name} is a {other} mount and was left out", mount.destination));
                continue;
            }
        };
        let mode = if mount.writable { "" } else { ":ro" };
        volumes.push(format!("{source}:{}{mode}", mount.destination));
    }
    volumes
}

/// Docker's default network has no names: the application gets one of its own instead.
fn networks(name: &str, found: &Container, notes: &mut Vec<String>) -> Vec<String> {
    let mode = found.host_config.network_mode.as_str();
    if matches!(mode, "host" | "none") || mode.starts_with("container:") {
        notes.push(format!("{name} has the network mode `{mode}`, which deployments do not offer: it gets a network of its own"));
        return Vec::new();
    }
    let networks = found.network_settings.networks.iter().flatten();
    networks.map(|(network, _)| network.clone()).filter(|network| network != "bridge").collect()
}

fn healthcheck(config: &Config, image: &Config) -> Option<String> {
    let check = config.healthcheck.as_ref().filter(|_| config.healthcheck != image.healthcheck)?;
    if check.test.first().is_some_and(|word| word == "NONE") {
        return Some("{disable: true}".to_owned());
    }
    let words: Vec<String> = check.test.iter().map(|word| quoted(word)).collect();
    if words.is_empty() {
        return None;
    }
    let mut text = format!("{{test: [{}]", words.join(", "));
    let times =
        [("interval", check.interval), ("timeout", check.timeout), ("start_period", check.start_period)];
    for (key, nano) in times {
        if nano > 0 {
            let _ = write!(text, ", {key}: {}ms", nano / 1_000_000);
        }
    }
    if check.retries > 0 {
        let _ = write!(text, ", retries: {}", check.retries);
    }
    text.push('}');
    Some(text)
}
