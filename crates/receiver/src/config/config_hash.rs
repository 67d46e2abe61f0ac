//! One hash over all that shapes a container besides its image.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde_json::Value;

use super::app_file::{AppFile, VariableName};
use autotag_model::reference::{Digest, ParseError};
use autotag_model::secret::Secret;

/// The hash of a configuration. Two app files that mean the same have the same, whatever their comments,
/// the order of their keys or the files that their environment comes from.
///
/// It covers secret values, so it is for the root-owned state and for labels, which only those see who may
/// talk to Docker; the protocol does not carry it, lest a weak secret be guessed from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ConfigHash(Digest);

/// What is hashed. The number changes when old and new receivers must not agree.
#[derive(Serialize)]
struct Hashed<'a> {
    format: u32,
    file: &'a AppFile,
    environment: BTreeMap<&'a str, &'a str>,
}

impl ConfigHash {
    /// Of an app file and the environment that the container gets (`admit::environment`), wherever its
    /// parts come from.
    pub fn of(file: &AppFile, environment: &BTreeMap<VariableName, Secret>) -> Self {
        let environment = environment.iter().map(|(key, value)| (key.as_str(), value.reveal())).collect();
        // Its maps have texts as keys, so it always is JSON; `Null` would be one hash for all that is not.
        let value = serde_json::to_value(Hashed { format: 1, file, environment }).unwrap_or_default();
        let mut canonical = String::new();
        write_sorted(&value, &mut canonical);
        Self(Digest::of(canonical.as_bytes()))
    }

    /// `sha256:…`.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl FromStr for ConfigHash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for ConfigHash {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<ConfigHash> for String {
    fn from(hash: ConfigHash) -> Self {
        hash.0.to_string()
    }
}

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// JSON with sorted keys: whether `serde_json` keeps their order depends on what else is built with it, and
/// the order of a struct's fields is nobody's meaning.
fn write_sorted(value: &Value, into: &mut String) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            into.push('{');
            for (key, value) in entries {
                into.push_str(&Value::from(key.as_str()).to_string());
                into.push(':');
                write_sorted(value, into);
                into.push(',');
            }
            into.push('}');
        }
        Value::Array(items) => {
            into.push('[');
            for item in items {
                write_sorted(item, into);
                into.push(',');
            }
            into.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            into.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "image: ghcr.io/org/app\nport: 3000\nlisten: 8080\nlabels: {a: x, b: y}\ncap_drop: [NET_RAW, CHOWN]\nenvironment: {A: '1', B: two}\n";

    /// Each changes what [`FILE`] means.
    const MORE: &[&str] = &[
        "order: stop-first",
        "read_only: true",
        "volumes: [a:/b]",
        "volumes: [a:/b:ro]",
        "networks: [a, b]",
        "networks: [b, a]",
        "command: a b",
        "command: [a b]",
        "entrypoint: a b",
        "health: none",
        "health: {path: /}",
        "mem_limit: 10m",
        "restart: 'no'",
        "allow_environment: [X]",
        "keep: 6",
        "tmpfs: /tmp",
        "tmpfs: ['/tmp:size=1m']",
        "volumes: [/a:/b]",
        "volumes: ['/a:/b:z']",
        "volumes: ['/a:/b:rslave']",
        "volumes: ['a:/b:nocopy']",
        "volumes: [{type: bind, source: /a, target: /b, bind: {create_host_path: false}}]",
        "networks: {a: {aliases: [x]}}",
        "entrypoint: []",
        "logging: {driver: local}",
        "logging: {options: {max-size: 1m}}",
        "security_opt: [no-new-privileges]",
        "security_opt: ['no-new-privileges:false']",
        "security_opt: [apparmor=x]",
        "security_opt: ['label=type:x']",
        "pids_limit: 4096",
        "pids_limit: -1",
        "ulimits: {core: 0}",
        "ulimits: {core: {soft: 0, hard: 1}}",
        "extra_hosts: {a: 10.0.0.1}",
        "dns: 10.0.0.1",
        "dns_search: a.example",
        "dns_opt: ndots:1",
        "group_add: [1]",
        "devices: [/dev/null]",
        "devices: ['/dev/null:r']",
        "gpus: all",
        "gpus: [{device_ids: ['0']}]",
        "sysctls: {net.core.somaxconn: 1}",
        "hostname: a",
        "tty: true",
        "stdin_open: true",
        "mem_limit: 10m\nmem_reservation: 9m",
        "mem_limit: 10m\nmemswap_limit: 11m",
        "cpu_shares: 2",
        "cpuset: '0'",
        "oom_score_adj: 1",
        "order: stop-first\nports: ['53:53/udp']",
        "order: stop-first\nports: ['53:53/tcp']",
    ];

    fn hash(text: &str) -> ConfigHash {
        let file = AppFile::parse(text).unwrap_or_else(|faults| panic!("{text}: {faults}"));
        ConfigHash::of(&file, &file.environment)
    }

    #[test]
    fn what_means_the_same_has_the_same_hash() {
        for text in [
            "# a comment\nimage: \"ghcr.io/org/app\" # another\nport: 3000\nlisten: '[::]:8080'\nlabels: {b: y, a: x}\ncap_drop: [CAP_CHOWN, net_raw]\nenvironment: [B=two, A=1]\n",
            "environment: {B: two, A: 1}\ncap_drop: [NET_RAW, CHOWN]\nlabels: [a=x, b=y]\nlisten: 8080\nport: 3000\nimage: ghcr.io/org/app\nkeep: 5\ndrain: 30s\nrestart: unless-stopped\nread_only: false\n",
            "image: ghcr.io/org/app\nport: 3000\nlisten: 8080\nlabels: {a: x, b: y}\ncap_drop: [NET_RAW, CHOWN]\nenvironment: {A: '1', B: two}\nhealth: {deadline: 1m, stable: 3000ms}\n",
        ] {
            assert_eq!(hash(text), hash(FILE), "{text}");
        }
    }

    #[test]
    fn what_means_something_else_has_another() {
        let mut seen = vec![hash(FILE)];
        for (from, to) in [
            ("B: two", "B: tow"),
            ("B: two", "C: two"),
            ("A: '1', B: two", "A: '1B: two'"),
            ("A: '1'", "A: ''"),
            ("3000", "3001"),
            ("8080", "127.0.0.1:8080"),
            ("org/app", "org/other"),
            ("a: x", "a: y"),
            ("CHOWN", "ALL"),
        ] {
            assert!(FILE.contains(from), "{from}");
            seen.push(hash(&FILE.replacen(from, to, 1)));
        }
        for more in MORE {
            seen.push(hash(&format!("{FILE}{more}\n")));
        }
        let all = seen.len();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), all, "two configurations have the same hash");
    }

    /// An update of the receiver that changed this would call every container drifted.
    #[test]
    fn the_hash_outlives_releases() {
        let text = "sha256:310ad6a8183e2f69c4c328b3589374629677c9bb82af5ff7614754184311ea36";
        assert_eq!((hash(FILE).as_str(), hash(FILE).to_string().as_str()), (text, text));
    }
}
