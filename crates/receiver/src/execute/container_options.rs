//! What a container gets besides: the app file's rarer keys, and what is so where the owner says nothing. Pure.
//!
//! The defaults bound what one container can do to the machine. Each has a key that changes it; see
//! [`crate::config::app_file::Options`] for why they are no part of the configuration's hash.

use std::collections::BTreeMap;

use crate::config::app_file::{self, Container, Logging, Mount, SecurityOpt, Source};
use crate::engine::options::{EngineDevice, EngineGpu, EngineLog, EngineOptions, ExistingPath, Port, Ulimit};

/// The most processes and threads of a container.
pub const PIDS: i64 = 4096;
/// The bound of a log in files: the size of one, and how many there are.
const LOG: [(&str, &str); 2] = [("max-size", "10m"), ("max-file", "3")];

/// As `max-size`: no bound at all.
const UNLIMITED: &str = "-1";

/// From what the app file says.
pub fn options(config: &Container) -> EngineOptions {
    let of = &config.options;
    let hosts = of
        .extra_hosts
        .iter()
        .flat_map(|(name, addresses)| addresses.iter().map(move |address| format!("{name}:{address}")));
    EngineOptions {
        log: log(&of.logging),
        security: security(&of.security_opt),
        ulimits: of
            .ulimits
            .iter()
            .map(|(name, limit)| Ulimit { name: name.clone(), soft: limit.soft, hard: limit.hard })
            .collect(),
        extra_hosts: hosts.collect(),
        dns: of.dns.clone(),
        dns_search: of.dns_search.clone(),
        dns_options: of.dns_opt.clone(),
        group_add: of.group_add.iter().cloned().collect(),
        devices: of.devices.iter().map(device).collect(),
        gpus: of.gpus.iter().map(gpu).collect(),
        sysctls: of.sysctls.clone(),
        hostname: of.hostname.clone(),
        tty: of.tty,
        open_stdin: of.stdin_open,
        memory_reservation: of.mem_reservation,
        memory_swap: of.memswap_limit,
        cpu_shares: of.cpu_shares,
        cpuset: of.cpuset.clone(),
        oom_score_adj: of.oom_score_adj,
        existing_paths: config.volumes.iter().filter_map(existing_path).collect(),
        ports: of
            .ports
            .iter()
            .map(|port| Port {
                address: port.address,
                host: port.host,
                container: port.container,
                protocol: port.protocol.to_owned(),
            })
            .collect(),
    }
}

/// A directory of the machine that Docker is not to make.
fn existing_path(mount: &Mount) -> Option<ExistingPath> {
    let Source::Path(source) = &mount.source else { return None };
    mount.must_exist.then(|| ExistingPath {
        source: source.display().to_string(),
        target: mount.target.display().to_string(),
        read_only: mount.read_only,
        propagation: mount.propagation.map(str::to_owned),
    })
}

fn device(device: &app_file::Device) -> EngineDevice {
    EngineDevice {
        host: device.host.display().to_string(),
        container: device.container.display().to_string(),
        permissions: device.permissions.clone(),
    }
}

fn gpu(gpu: &app_file::Gpu) -> EngineGpu {
    EngineGpu {
        driver: gpu.driver.clone(),
        count: gpu.count,
        ids: gpu.device_ids.clone(),
        capabilities: gpu.capabilities.iter().cloned().collect(),
    }
}

fn log(container: &Logging) -> EngineLog {
    let mut options = container.options.clone();
    // Docker documents -1 as the default of `max-size`, and refuses it.
    if options.get("max-size").is_some_and(|size| size == UNLIMITED) {
        options.remove("max-size");
        return EngineLog { driver: container.driver.clone(), options, bound: BTreeMap::new() };
    }
    let bound: BTreeMap<String, String> =
        LOG.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    EngineLog { driver: container.driver.clone(), options, bound }
}

fn security(container: &SecurityOpt) -> Vec<String> {
    // Said in both cases: Docker's own settings may have the other as the default.
    let gain = if container.no_new_privileges.unwrap_or(true) {
        "no-new-privileges"
    } else {
        "no-new-privileges=false"
    };
    let mut words = vec![gain.to_owned()];
    words.extend(container.apparmor.iter().map(|profile| format!("apparmor={profile}")));
    words.extend(container.label.iter().map(|label| format!("label={label}")));
    words
}
