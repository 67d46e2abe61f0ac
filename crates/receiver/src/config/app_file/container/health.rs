//! How a container shows that it works.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::config::app_file::reading::quantity::{duration, number, wait};
use crate::config::app_file::reading::reader::{Fields, Reader, Spec, key, secret};
use crate::config::app_file::syntax::tree::{Node, Value};
use crate::config::app_file::words::{command, line, request_header, request_host, url_path};
use autotag_model::duration;
use autotag_model::reference::ParseError;
use autotag_model::secret::Secret;

/// What has to be true before a container may serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Health {
    /// What shows it.
    pub proof: Proof,
    /// So long it may take.
    pub deadline: Duration,
    /// So long it must stay so, without a restart.
    pub stable: Duration,
}

/// What shows that a container works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Proof {
    /// Docker's health check, the image's or the app file's. An image without any is refused.
    Docker,
    /// A request; and Docker's health check too where there is one.
    Http(HttpProbe),
    /// `health: none`: it runs, and does not restart.
    Running,
}

/// A request to the container itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpProbe {
    /// The path.
    pub path: String,
    /// The status that is expected.
    pub status: u16,
    /// How it asks.
    #[serde(flatten)]
    pub client: Client,
}

/// What a request says of its client, where the usual is not enough: an application may answer 403 to a host
/// that it does not know, or redirect what did not come by https.
///
/// Left out of the hash as long as it is empty: an update of the receiver must not look like drift.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Client {
    /// The Host instead of the app file's first `host`, or `localhost`.
    #[serde(rename = "ask_host", skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Further headers; a password may stand in one.
    #[serde(rename = "ask_headers", skip_serializing_if = "BTreeMap::is_empty", serialize_with = "revealed")]
    pub headers: BTreeMap<String, Secret>,
}

/// For the hash alone.
fn revealed<S: Serializer>(headers: &BTreeMap<String, Secret>, into: S) -> Result<S::Ok, S::Error> {
    into.collect_map(headers.iter().map(|(name, value)| (name, value.reveal())))
}

fn client(reader: &mut Reader, fields: &mut Fields) -> Client {
    let host = fields.one(reader, "host", request_host);
    let headers = match fields.take("headers") {
        Some((node, spec)) => reader.pairs(node, &spec, request_header),
        None => BTreeMap::new(),
    };
    Client { host, headers }
}

/// A test of a version before and after it gets the traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Smoke {
    /// A request: to the container before the switch, through the proxy after it.
    Http {
        /// The path.
        path: String,
        /// The status that is expected.
        status: u16,
        /// A text that the answer holds.
        contains: Option<String>,
        /// How it asks.
        #[serde(flatten)]
        client: Client,
    },
    /// A command in the container that ends with 0; before the switch.
    Command(Vec<String>),
}

/// Docker's health check as the app file sets it; what is not said is the image's or Docker's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum Healthcheck {
    /// The image's is switched off.
    Disabled,
    /// This one.
    Test {
        /// `CMD` or `CMD-SHELL` and the command, as the Engine takes it; empty: the image's own, with these values.
        test: Vec<String>,
        /// Between two.
        interval: Option<Duration>,
        /// For one.
        timeout: Option<Duration>,
        /// So many failures in a row.
        retries: Option<u32>,
        /// At the start failures do not count so long.
        start_period: Option<Duration>,
        /// Between two in that time. Engines before 25 do not know it.
        #[serde(skip_serializing_if = "Option::is_none")]
        start_interval: Option<Duration>,
    },
}

impl Healthcheck {
    /// Whether it says itself what is tested.
    pub fn has_test(&self) -> bool {
        matches!(self, Self::Test { test, .. } if !test.is_empty())
    }
}

const HEALTH: &[Spec] = &[
    key("path", "a path", "/healthz"),
    key("status", "a status", "200"),
    key("deadline", "a duration", "60s"),
    key("stable", "a duration", "3s"),
    key("host", "the Host that the request asks for", "app.example.com"),
    secret("headers", "`name: value`, or a list of `name=value`", "{X-Forwarded-Proto: https}"),
];

const SMOKE: &[Spec] = &[
    key("path", "a path", "/"),
    key("status", "a status", "200"),
    key("contains", "a text that the answer holds", "Welcome"),
    key("host", "the Host that the request asks for", "app.example.com"),
    secret("headers", "`name: value`, or a list of `name=value`", "{X-Forwarded-Proto: https}"),
    key("command", "a command, or a list of its words", "[app, self-test]"),
];

const HEALTHCHECK: &[Spec] = &[
    key("test", "`[CMD, ...]`, `[CMD-SHELL, ...]`, or a text for a shell", "[CMD, app, check]"),
    key("interval", "a duration", "5s"),
    key("timeout", "a duration", "3s"),
    key("retries", "a number", "3"),
    key("start_period", "a duration", "10s"),
    key("start_interval", "a duration", "1s"),
    key("disable", "`true` or `false`", "true"),
];

const DEADLINE: Duration = Duration::from_mins(1);
const STABLE: Duration = Duration::from_secs(3);

pub(crate) fn health(reader: &mut Reader, given: Option<(Node, Spec)>) -> Health {
    let mut health = Health { proof: Proof::Docker, deadline: DEADLINE, stable: STABLE };
    let Some((node, spec)) = given else { return health };
    match &node.value {
        Value::Text(text) if text == "none" => {
            health.proof = Proof::Running;
            return health;
        }
        Value::Map(_) => {}
        _ => {
            reader.fault(
                &node,
                &spec,
                "`none`, or a map with `path`, `status`, `deadline`, `stable`, `host`, `headers`",
            );
            return health;
        }
    }
    let whole = node.clone();
    let mut fields = reader.fields(node, HEALTH, &[]);
    let path = fields.one(reader, "path", url_path);
    for name in ["status", "host", "headers"] {
        if let (None, Some(stray)) = (&path, fields.get(name).cloned()) {
            reader.fault(&stray, &fields.spec(name), "a `path` beside it");
        }
    }
    let status = fields.one(reader, "status", status).unwrap_or(200);
    let client = client(reader, &mut fields);
    health.deadline = fields.one(reader, "deadline", wait).unwrap_or(DEADLINE);
    health.stable = fields.one(reader, "stable", wait).unwrap_or(STABLE);
    if health.stable >= health.deadline {
        let reported = Node { value: Value::Text(duration::text(health.stable)), ..whole };
        reader.fault(
            &reported,
            &spec,
            format!("a `stable` shorter than the `deadline` ({})", duration::text(health.deadline)),
        );
    }
    if let Some(path) = path {
        health.proof = Proof::Http(HttpProbe { path, status, client });
    }
    health
}

fn status(text: &str) -> Result<u16, ParseError> {
    number(100, 599)(text).map(|status| u16::try_from(status).unwrap_or(200))
}

/// A list of words, or one text that is split.
pub(crate) fn words(reader: &mut Reader, node: Node, spec: &Spec) -> Option<Vec<String>> {
    match node.value {
        Value::List(items) if !items.is_empty() => {
            items.iter().map(|item| reader.text(item, spec).map(str::to_owned)).collect()
        }
        _ => reader.parse(&node, spec, command),
    }
}

pub(crate) fn smoke(reader: &mut Reader, given: Option<(Node, Spec)>) -> Vec<Smoke> {
    let Some((node, spec)) = given else { return Vec::new() };
    let Value::List(items) = node.value else {
        reader.fault(&node, &spec, spec.expected);
        return Vec::new();
    };
    items.into_iter().filter_map(|item| one_smoke(reader, item, &spec)).collect()
}

fn one_smoke(reader: &mut Reader, node: Node, spec: &Spec) -> Option<Smoke> {
    let whole = node.clone();
    if !matches!(node.value, Value::Map(_)) {
        reader.fault(&node, spec, "a map with `path`, or with `command`");
        return None;
    }
    let mut fields: Fields = reader.fields(node, SMOKE, &[]);
    let http = ["path", "status", "contains", "host", "headers"].into_iter().any(|name| fields.has(name));
    match (fields.has("path"), fields.has("command")) {
        (true, false) => Some(Smoke::Http {
            status: fields.one(reader, "status", status).unwrap_or(200),
            contains: fields.one(reader, "contains", line),
            client: client(reader, &mut fields),
            path: fields.one(reader, "path", url_path)?,
        }),
        (false, true) if !http => {
            let (node, spec) = fields.take("command")?;
            words(reader, node, &spec).map(Smoke::Command)
        }
        _ => {
            reader.fault(
                &whole,
                &Spec { secret: true, ..*spec },
                "either `path`, with `status` and `contains`, or `command` alone",
            );
            None
        }
    }
}

/// Where nothing is said, Docker takes the image's value: without a `test` the image's own check runs, with what
/// is said.
pub(crate) fn healthcheck(reader: &mut Reader, given: Option<(Node, Spec)>) -> Option<Healthcheck> {
    let (node, _) = given?;
    let mut fields = reader.fields(node, HEALTHCHECK, &[]);
    let disabled = fields.flag(reader, "disable");
    let value = fields.has("test");
    let test = fields.take("test").and_then(|(node, spec)| health_test(reader, &node, &spec));
    let mut time = |reader: &mut Reader, name| fields.one(reader, name, duration);
    let (interval, timeout) = (time(reader, "interval"), time(reader, "timeout"));
    let (start_period, start_interval) = (time(reader, "start_period"), time(reader, "start_interval"));
    let retries = fields.one(reader, "retries", number(1, 1000));
    let times = [interval, timeout, start_period, start_interval];
    match test {
        _ if disabled => Some(Healthcheck::Disabled),
        Some(test) if test == ["NONE"] => Some(Healthcheck::Disabled),
        // The test has a fault.
        None if value => None,
        None if retries.is_none() && times.iter().all(Option::is_none) => None,
        test => Some(Healthcheck::Test {
            test: test.unwrap_or_default(),
            interval,
            timeout,
            retries,
            start_period,
            start_interval,
        }),
    }
}

fn health_test(reader: &mut Reader, node: &Node, spec: &Spec) -> Option<Vec<String>> {
    let Value::List(items) = &node.value else {
        let shell = reader.parse(node, spec, line)?;
        // Compose would look for a program of this name.
        let switches_off = shell == "NONE";
        return Some(if switches_off { vec![shell] } else { vec!["CMD-SHELL".to_owned(), shell] });
    };
    let words: Vec<String> =
        items.iter().map(|item| reader.text(item, spec).map(str::to_owned)).collect::<Option<_>>()?;
    let fits = match words.first().map(String::as_str) {
        Some("CMD") => words.len() > 1,
        Some("CMD-SHELL") => words.len() == 2,
        Some("NONE") => words.len() == 1,
        _ => false,
    };
    if !fits {
        reader.fault(node, spec, spec.expected);
    }
    fits.then_some(words)
}
