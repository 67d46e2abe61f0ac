//! `/etc/autotag/APP.yaml`: what the server's owner allows, with Compose's names for what Compose has.
//!
//! Two layers: `tree` is what the file says, with places; [`AppFile`] is what it means, and cannot be wrong.
//! Between them `reader` notes every fault, so that all are told at once.

pub mod container;
pub mod reading;
pub mod syntax;
pub mod values;

mod elsewhere;
mod keys;
mod options;
mod order;
#[cfg(test)]
mod spelling_tests;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

pub use container::gpus::Gpu;
pub use container::health::{Client, Health, Healthcheck, HttpProbe, Proof, Smoke};
pub use container::mounts::{Mount, Source};
pub use container::names::Aliases;
pub use container::network::{HeaderName, HostName, Listen, Network};
pub use container::ports::Published;
pub use container::resources::UlimitEntry;
pub use container::security::{Device, SecurityOpt};
pub use container::tmpfs::Tmpfs;
pub use options::{ContainerOptions, Logging};
pub use order::Order;
pub use syntax::fault::{Fault, Faults};
pub use syntax::tree::Place;
pub use values::variable::{OwnVariables, VariableName};
pub use words::LABEL_PREFIX;

use autotag_model::reference::{ImageName, ParseError};
use autotag_protocol::{EnvironmentKey, as_text};
use container::health;
use container::mounts;
use container::names;
use container::network;
use container::ports;
use container::resources;
use reading::quantity;
use reading::reader::{self, Fields, Reader};
use syntax::tree::{self, Value};
use values::dollar;
use values::quotes;

/// The longest file that is read, in bytes.
pub const FILE_BYTES: usize = 64 * 1024;

/// What may run, how, and how it is reached.
///
/// Its serialised form is what [`super::config_hash`] covers. A field that a later release adds is left out
/// there as long as it has its default: otherwise an update of the receiver would look like drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppFile {
    /// The only repository that may run here.
    #[serde(with = "as_text")]
    pub image: ImageName,
    /// How its clients reach it.
    pub traffic: Traffic,
    /// Which of the two comes first in a rollout.
    pub order: Order,
    /// How its container is made.
    pub container: Container,
    /// The owner's variables; they win over the files'.
    #[serde(skip)]
    pub environment: OwnVariables,
    /// Files with more of them, later ones win.
    #[serde(skip)]
    pub env_files: Vec<PathBuf>,
    /// What has to be true before a container may serve.
    pub health: Health,
    /// Tests before and after the switch.
    pub smoke: Vec<Smoke>,
    /// So many versions' images are kept.
    pub keep: u32,
    /// What CI may set with a deployment.
    pub allow_environment: BTreeSet<EnvironmentKey>,
    /// Whether CI's key may deploy a version that does not rise. No part of what a container is.
    #[serde(skip)]
    pub allow_downgrade: bool,
    /// Whether CI's key may deploy an image whose labels do not say version and commit.
    #[serde(skip)]
    pub allow_unlabelled: bool,
    /// Values that are right, and that Compose would read otherwise.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// One key of the app file, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What stands there.
    pub expected: &'static str,
    /// For example.
    pub example: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// All keys, in the order in which `init` writes them.
pub fn fields() -> impl Iterator<Item = Field> {
    keys::TOP.iter().zip(keys::MEANINGS).map(|(spec, meaning)| Field {
        name: spec.name,
        expected: spec.expected,
        example: spec.example,
        meaning,
    })
}

/// Whether a text needs `!literal` in front of it to be read to the letter.
pub fn has_composes_dollar(text: &str) -> bool {
    dollar::judge(text, false) != dollar::DollarSigns::Text
}

/// How clients reach an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Traffic {
    /// By the receiver's proxy.
    Proxied {
        /// Where the container listens.
        port: u16,
        /// Where the proxy does.
        listen: Listen,
        /// For which hosts; none: for all.
        hosts: BTreeSet<HostName>,
        /// Whose X-Forwarded headers count.
        trusted_proxies: BTreeSet<Network>,
        /// What of theirs counts besides.
        #[serde(skip_serializing_if = "BTreeSet::is_empty")]
        trusted_headers: BTreeSet<HeaderName>,
        /// How long an answer may take to begin; none: as long as the proxy waits by default.
        #[serde(skip_serializing_if = "Option::is_none")]
        answer_timeout: Option<Duration>,
        /// So long requests in flight may take after the switch.
        drain: Duration,
    },
    /// `proxy: none`: workers, and front proxies that find containers by label.
    Unproxied {
        /// Where the container listens, for health and smoke requests.
        port: Option<u16>,
    },
}

impl Traffic {
    /// Where the container listens.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Proxied { port, .. } => Some(*port),
            Self::Unproxied { port } => *port,
        }
    }
}

/// How a container is made; the names are Compose's, the units bytes and billionths of a processor.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the Compose specification documents these names")]
pub struct Container {
    pub command: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub user: Option<String>,
    pub working_dir: Option<PathBuf>,
    pub read_only: bool,
    pub init: bool,
    pub tmpfs: BTreeSet<Tmpfs>,
    pub volumes: Vec<Mount>,
    /// Existing networks, the first one is the container's own; none: one that the receiver makes for the app.
    pub networks: Vec<String>,
    /// The names that it has there besides its own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: Aliases,
    pub healthcheck: Option<Healthcheck>,
    pub restart: Restart,
    pub cap_drop: BTreeSet<String>,
    pub cap_add: BTreeSet<String>,
    pub mem_limit: Option<u64>,
    pub cpus: Option<u64>,
    /// -1: no limit.
    pub pids_limit: Option<i64>,
    pub shm_size: Option<u64>,
    pub stop_grace_period: Option<Duration>,
    pub stop_signal: Option<String>,
    pub labels: BTreeMap<String, String>,
    #[serde(flatten)]
    pub options: ContainerOptions,
}

/// When Docker starts a container again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Restart {
    /// Never.
    No,
    /// Always, also what was stopped by hand, after a reboot.
    Always,
    /// Unless it was stopped: Docker's start after a reboot leaves alone what the receiver stopped.
    #[default]
    UnlessStopped,
    /// When it ends with an error, so often; without end if not said.
    OnFailure(Option<u32>),
}

const DRAIN: Duration = Duration::from_secs(30);
const KEEP: u32 = 5;

impl AppFile {
    /// Reads a file's text. Where it is no YAML, that is the one fault; otherwise all are told.
    pub fn parse(text: &str) -> Result<Self, Faults> {
        Self::read_text(text, true)
    }

    /// Reads a text that was accepted once, when a container was made by it: by the grammar alone, so that a
    /// judgement that a later release adds keeps no version from coming back.
    pub fn parse_recorded(text: &str) -> Result<Self, Faults> {
        Self::read_text(text, false)
    }

    fn read_text(text: &str, judged: bool) -> Result<Self, Faults> {
        let not_yaml = |place, expected: String| {
            let (key, found, example) = (String::new(), None, String::new());
            Faults(vec![Fault { place, key, expected, found, example }])
        };
        if text.len() > FILE_BYTES {
            let expected = format!("at most {FILE_BYTES} bytes");
            return Err(not_yaml(Place { line: 1, column: 1 }, expected));
        }
        let is_public = |key: &str| keys::TOP.iter().any(|spec| spec.name == key && !spec.secret);
        let root = tree::parse(text)
            .map_err(|(place, why)| Faults(vec![quotes::explain(text, place, &why, is_public)]))?;
        if let (Value::Text(_), Some(fault)) = (&root.value, quotes::without_spaces(text)) {
            return Err(Faults(vec![fault]));
        }
        let lonely = if judged { quotes::lonely_anchors(text, |part| root.holds(part)) } else { Vec::new() };
        let mut reader = Reader::default();
        // An empty file lacks everything; it is not of the wrong kind.
        let root = match root.value {
            Value::Null => tree::Node { value: Value::Map(Vec::new()), ..root },
            _ => root,
        };
        let fields = reader.fields(root, keys::TOP, elsewhere::ELSEWHERE);
        if judged {
            reader.judge_spelling(&fields, dollar::PROSE);
        }
        let file = Self::read(&mut reader, fields);
        match (reader.faults(text), file) {
            (None, Some(file)) if lonely.is_empty() => Ok(file),
            (faults, _) if faults.is_some() || !lonely.is_empty() => {
                let faults = faults.into_iter().flat_map(|faults| faults.0);
                Err(Faults(faults.chain(lonely).collect()))
            }
            // What is missing was noted as a fault, so this is not reached; it must not pass for a file.
            _ => Err(not_yaml(Place::default(), "an app file".to_owned())),
        }
    }

    fn read(reader: &mut Reader, mut fields: Fields) -> Option<Self> {
        let image = required(reader, &mut fields, "image", str::parse::<ImageName>);
        let order = fields.one(reader, "order", order).unwrap_or(Order::StartFirst);
        let mut container = container(reader, &mut fields);
        let health_value = fields.get("health").cloned();
        let given = fields.take("health");
        let health = health::health(reader, given);
        if let (Some(value), Proof::Running, Some(Healthcheck::Test { .. })) =
            (&health_value, &health.proof, &container.healthcheck)
        {
            let spec = fields.spec("health");
            reader.fault(value, &spec, "no `healthcheck` beside `none`: one of the two is not meant");
        }
        let given = fields.take("smoke");
        let smoke = health::smoke(reader, given);
        let asks = matches!(health.proof, Proof::Http(_))
            || smoke.iter().any(|smoke| matches!(smoke, Smoke::Http { .. }));
        let traffic = traffic(reader, &mut fields, asks);
        container.options.ports = ports::ports(reader, &mut fields, order, traffic.as_ref());
        let environment = match fields.take("environment") {
            Some((node, spec)) => reader.pairs(node, &spec, values::variable::variable),
            None => BTreeMap::new(),
        };
        let env_files = fields.many(reader, "env_file", network::path);
        let keep = fields.one(reader, "keep", quantity::number(1, 100)).unwrap_or(KEEP);
        let allow_environment = fields.many(reader, "allow_environment", str::parse).into_iter().collect();
        let allow_downgrade = fields.flag(reader, "allow_downgrade");
        let allow_unlabelled = fields.flag(reader, "allow_unlabelled");
        Some(Self {
            image: image?,
            traffic: traffic?,
            order,
            container,
            environment,
            env_files,
            health,
            smoke,
            keep,
            allow_environment,
            allow_downgrade,
            allow_unlabelled,
            notes: notes(&reader.dollars),
        })
    }
}

/// About values whose `$` Compose would take for a variable's.
fn notes(dollars: &[String]) -> Vec<String> {
    /// More are counted.
    const NAMED: usize = 5;
    if dollars.is_empty() {
        return Vec::new();
    }
    let named: Vec<String> = dollars.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = match dollars.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let named = named.join(", ");
    vec![format!("{named}{more}: the `$` is text here; Compose would put a variable in its place")]
}

/// A value that must be there; its absence is a fault.
fn required<T>(
    reader: &mut Reader,
    fields: &mut Fields,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, ParseError>,
) -> Option<T> {
    if !fields.has(name) {
        let spec = fields.spec(name);
        reader.missing(&spec, format!("{}: it is missing", spec.expected));
    }
    fields.one(reader, name, parse)
}

fn traffic(reader: &mut Reader, fields: &mut Fields, asks: bool) -> Option<Traffic> {
    let without = fields.one(reader, "proxy", |text| {
        let expected = "`none`, or no such key: there is a proxy by default";
        if text == "none" { Ok(()) } else { Err(ParseError(expected.to_owned())) }
    });
    if without.is_none() {
        let port = required(reader, fields, "port", network::port);
        let listen = required(reader, fields, "listen", str::parse);
        let hosts = fields.many(reader, "host", str::parse).into_iter().collect();
        let trusted_proxies = fields.many(reader, "trusted_proxies", str::parse).into_iter().collect();
        let drain = fields.one(reader, "drain", quantity::wait).unwrap_or(DRAIN);
        let trusted_headers = fields.many(reader, "trusted_headers", str::parse).into_iter().collect();
        let answer_timeout = fields.one(reader, "answer_timeout", network::answer_timeout);
        return Some(Traffic::Proxied {
            port: port?,
            listen: listen?,
            hosts,
            trusted_proxies,
            trusted_headers,
            answer_timeout,
            drain,
        });
    }
    for name in ["listen", "host", "trusted_proxies", "trusted_headers", "answer_timeout", "drain"] {
        if let Some((node, spec)) = fields.take(name) {
            let spec = reader::Spec { example: "", secret: true, ..spec };
            reader.fault(&node, &spec, "no such key beside `proxy: none`");
        }
    }
    if asks {
        return required(reader, fields, "port", network::port)
            .map(|port| Traffic::Unproxied { port: Some(port) });
    }
    Some(Traffic::Unproxied { port: fields.one(reader, "port", network::port) })
}

fn order(text: &str) -> Result<Order, ParseError> {
    // The key's own words say what is expected.
    text.parse().map_err(|_| ParseError(String::new()))
}

fn restart(text: &str) -> Result<Restart, ParseError> {
    Ok(match text {
        "no" => Restart::No,
        "always" => Restart::Always,
        "unless-stopped" => Restart::UnlessStopped,
        "on-failure" => Restart::OnFailure(None),
        _ => match text.strip_prefix("on-failure:") {
            Some(times) => Restart::OnFailure(Some(quantity::number(1, 1000)(times)?)),
            None => return Err(ParseError(String::new())),
        },
    })
}

fn container(reader: &mut Reader, fields: &mut Fields) -> Container {
    let entrypoint = fields.take("entrypoint").and_then(|(node, spec)| match &node.value {
        // The image's is switched off.
        Value::List(items) if items.is_empty() => Some(Vec::new()),
        Value::Text(text) if text.is_empty() => Some(Vec::new()),
        _ => health::words(reader, node, &spec),
    });
    let command = fields.take("command").and_then(|(node, spec)| health::words(reader, node, &spec));
    let given = fields.take("healthcheck");
    let healthcheck = health::healthcheck(reader, given);
    let labels = match fields.take("labels") {
        Some((node, spec)) => reader.pairs(node, &spec, words::label),
        None => BTreeMap::new(),
    };
    let (volumes, tmpfs) = mounts::mounts(reader, fields);
    let (networks, aliases) = names::networks(reader, fields);
    let mem_limit = fields.one(reader, "mem_limit", quantity::memory);
    Container {
        command,
        entrypoint,
        volumes,
        tmpfs,
        networks,
        aliases,
        mem_limit,
        options: options::options(reader, fields, mem_limit),
        healthcheck,
        labels,
        user: fields.one(reader, "user", words::line),
        working_dir: fields.one(reader, "working_dir", network::path),
        read_only: fields.flag(reader, "read_only"),
        init: fields.flag(reader, "init"),
        restart: fields.one(reader, "restart", restart).unwrap_or_default(),
        cap_drop: fields.many(reader, "cap_drop", words::capability).into_iter().collect(),
        cap_add: fields.many(reader, "cap_add", words::capability).into_iter().collect(),
        cpus: fields.one(reader, "cpus", quantity::cpus),
        pids_limit: fields.one(reader, "pids_limit", resources::pids),
        shm_size: fields.one(reader, "shm_size", quantity::size),
        stop_grace_period: fields.one(reader, "stop_grace_period", quantity::wait),
        stop_signal: fields.one(reader, "stop_signal", words::name),
    }
}
