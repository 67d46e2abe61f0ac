//! Options of a container that few applications need, in the Engine's words.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Engine's API documents these names")]
pub struct EngineOptions {
    pub log: EngineLog,
    pub security: Vec<String>,
    pub ulimits: Vec<Ulimit>,
    /// `NAME:ADDRESS`.
    pub extra_hosts: Vec<String>,
    pub dns: Vec<String>,
    pub dns_search: Vec<String>,
    pub dns_options: Vec<String>,
    pub group_add: Vec<String>,
    pub devices: Vec<EngineDevice>,
    pub gpus: Vec<EngineGpu>,
    pub sysctls: BTreeMap<String, String>,
    pub hostname: Option<String>,
    pub tty: bool,
    pub open_stdin: bool,
    pub memory_reservation: Option<u64>,
    /// Of memory and swap together; -1: no limit.
    pub memory_swap: Option<i64>,
    pub cpu_shares: Option<u32>,
    pub cpuset: Option<String>,
    pub oom_score_adj: Option<i64>,
    /// Paths of the host that must be there.
    pub existing_paths: Vec<ExistingPath>,
    pub ports: Vec<Port>,
}

/// Where the container's output goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EngineLog {
    /// The driver; none: the Engine's default.
    pub driver: Option<String>,
    /// Its options.
    pub options: BTreeMap<String, String>,
    /// Options for a log in files that has no bound otherwise: what the owner, or the Engine's own settings, say
    /// goes before them.
    pub bound: BTreeMap<String, String>,
}

/// A limit of single processes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Engine's API documents these names")]
pub struct Ulimit {
    pub name: String,
    pub soft: i64,
    pub hard: i64,
}

/// A device of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Engine's API documents these names")]
pub struct EngineDevice {
    pub host: String,
    pub container: String,
    pub permissions: String,
}

/// Some of the host's GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineGpu {
    /// Which of the Engine's drivers gives them; none: one that can.
    pub driver: Option<String>,
    /// How many; -1: all.
    pub count: i64,
    /// Or these.
    pub ids: Vec<String>,
    /// What they have to be able to do.
    pub capabilities: Vec<String>,
}

/// A path of the host that the Engine does not make where it is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Engine's API documents these names")]
pub struct ExistingPath {
    pub source: String,
    pub target: String,
    pub read_only: bool,
    pub propagation: Option<String>,
}

/// A port that the Engine publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// On this address; none: on all.
    pub address: Option<IpAddr>,
    /// There.
    pub host: u16,
    /// In the container.
    pub container: u16,
    /// `tcp`, `udp`, `sctp`.
    pub protocol: String,
}
