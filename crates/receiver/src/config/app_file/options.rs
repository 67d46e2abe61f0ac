//! Compose's keys that few applications need, each with the default that it has where the owner says nothing.
//!
//! What is not said is left out of the serialised form, so that a key more does not change the hash of the
//! configurations that do not have it. A default of ours (`pids_limit`, the bounds of the log,
//! `no-new-privileges`) is "not said" too: a container that is there keeps what it was made with until its next
//! deployment, and an update of the receiver is no drift. Whoever writes the same value into the file says
//! something, and gets a new container.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::config::app_file::container::gpus;
use crate::config::app_file::container::gpus::Gpu;
use crate::config::app_file::container::ports::Published;
use crate::config::app_file::container::resources::UlimitEntry;
use crate::config::app_file::container::security::{Device, SecurityOpt};
use crate::config::app_file::container::{logging, names, resources, security};
use crate::config::app_file::reading::reader::{Fields, Reader};
use crate::config::app_file::words;
pub use logging::Logging;

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the Compose specification documents these names")]
pub struct ContainerOptions {
    #[serde(skip_serializing_if = "is_default")]
    pub logging: Logging,
    #[serde(skip_serializing_if = "is_default")]
    pub security_opt: SecurityOpt,
    #[serde(skip_serializing_if = "is_default")]
    pub ulimits: BTreeMap<String, UlimitEntry>,
    #[serde(skip_serializing_if = "is_default")]
    pub extra_hosts: BTreeMap<String, BTreeSet<String>>,
    #[serde(skip_serializing_if = "is_default")]
    pub dns: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub dns_search: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub dns_opt: Vec<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub group_add: BTreeSet<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub devices: Vec<Device>,
    #[serde(skip_serializing_if = "is_default")]
    pub gpus: Vec<Gpu>,
    #[serde(skip_serializing_if = "is_default")]
    pub sysctls: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "is_default")]
    pub hostname: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub tty: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub stdin_open: bool,
    #[serde(skip_serializing_if = "is_default")]
    pub mem_reservation: Option<u64>,
    /// -1: as much as the machine has.
    #[serde(skip_serializing_if = "is_default")]
    pub memswap_limit: Option<i64>,
    #[serde(skip_serializing_if = "is_default")]
    pub cpu_shares: Option<u32>,
    #[serde(skip_serializing_if = "is_default")]
    pub cpuset: Option<String>,
    #[serde(skip_serializing_if = "is_default")]
    pub oom_score_adj: Option<i64>,
    /// Ports that Docker itself publishes.
    #[serde(skip_serializing_if = "is_default")]
    pub ports: BTreeSet<Published>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// All but the ports, which go with how the application is reached.
pub(super) fn options(reader: &mut Reader, fields: &mut Fields, mem_limit: Option<u64>) -> ContainerOptions {
    let (mem_reservation, memswap_limit) = resources::memory(reader, fields, mem_limit);
    ContainerOptions {
        logging: logging::logging(reader, fields),
        security_opt: security::security_opt(reader, fields),
        ulimits: resources::ulimits(reader, fields),
        extra_hosts: names::extra_hosts(reader, fields),
        dns: fields.many(reader, "dns", names::address),
        dns_search: fields.many(reader, "dns_search", names::search),
        dns_opt: fields.many(reader, "dns_opt", words::word),
        group_add: fields.many(reader, "group_add", security::group).into_iter().collect(),
        devices: security::devices(reader, fields),
        gpus: gpus::gpus(reader, fields),
        sysctls: security::sysctls(reader, fields),
        hostname: fields.one(reader, "hostname", names::hostname),
        tty: fields.flag(reader, "tty"),
        stdin_open: fields.flag(reader, "stdin_open"),
        mem_reservation,
        memswap_limit,
        cpu_shares: fields.one(
            reader,
            "cpu_shares",
            crate::config::app_file::reading::quantity::number(2, 262_144),
        ),
        cpuset: fields.one(reader, "cpuset", resources::cpuset),
        oom_score_adj: fields.one(reader, "oom_score_adj", resources::oom_score_adj),
        ports: BTreeSet::new(),
    }
}
