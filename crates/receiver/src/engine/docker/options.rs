//! The options that few containers have, in the Engine's words; and the bound of a log that has none.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, PortBinding, ResourcesUlimits,
};

use super::raw::{Call, encoded};
use super::{DockerEngine, ORDINARY};
use crate::engine::options::{EngineGpu, EngineOptions, ExistingPath, Port};
use autotag_base::{CallError, CallResult};

/// The Engine's driver that keeps everything for ever where nobody bounds it.
const UNBOUNDED: &str = "json-file";

/// What stands in the container's own part.
pub(super) fn body(options: &EngineOptions, body: ContainerCreateBody) -> ContainerCreateBody {
    ContainerCreateBody {
        hostname: options.hostname.clone(),
        tty: Some(options.tty),
        open_stdin: Some(options.open_stdin),
        exposed_ports: (!options.ports.is_empty()).then(|| options.ports.iter().map(inside).collect()),
        ..body
    }
}

/// What stands in the host's part.
pub(super) fn host_config(options: &EngineOptions, host: HostConfig) -> HostConfig {
    let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
    let log = &options.log;
    HostConfig {
        log_config: (log.driver.is_some() || !log.options.is_empty()).then(|| HostConfigLogConfig {
            typ: log.driver.clone(),
            config: Some(log.options.clone().into_iter().collect()),
        }),
        security_opt: some(&options.security),
        ulimits: Some(
            options
                .ulimits
                .iter()
                .map(|ulimit| ResourcesUlimits {
                    name: Some(ulimit.name.clone()),
                    soft: Some(ulimit.soft),
                    hard: Some(ulimit.hard),
                })
                .collect(),
        ),
        extra_hosts: some(&options.extra_hosts),
        dns: some(&options.dns),
        dns_search: some(&options.dns_search),
        dns_options: some(&options.dns_options),
        group_add: some(&options.group_add),
        devices: Some(
            options
                .devices
                .iter()
                .map(|device| DeviceMapping {
                    path_on_host: Some(device.host.clone()),
                    path_in_container: Some(device.container.clone()),
                    cgroup_permissions: Some(device.permissions.clone()),
                })
                .collect(),
        ),
        device_requests: (!options.gpus.is_empty()).then(|| options.gpus.iter().map(gpu).collect()),
        sysctls: (!options.sysctls.is_empty()).then(|| options.sysctls.clone().into_iter().collect()),
        memory_reservation: options.memory_reservation.map(clamped),
        memory_swap: options.memory_swap,
        cpu_shares: options.cpu_shares.map(i64::from),
        cpuset_cpus: options.cpuset.clone(),
        oom_score_adj: options.oom_score_adj,
        mounts: (!options.existing_paths.is_empty())
            .then(|| options.existing_paths.iter().map(existing_path).collect()),
        port_bindings: (!options.ports.is_empty()).then(|| port_bindings(&options.ports)),
        ..host
    }
}

fn gpu(gpu: &EngineGpu) -> DeviceRequest {
    DeviceRequest {
        driver: gpu.driver.clone(),
        count: Some(if gpu.ids.is_empty() { gpu.count } else { 0 }),
        device_ids: (!gpu.ids.is_empty()).then(|| gpu.ids.clone()),
        capabilities: Some(vec![gpu.capabilities.clone()]),
        options: None,
    }
}

fn existing_path(path: &ExistingPath) -> Mount {
    let propagation =
        path.propagation.as_deref().and_then(|word| word.parse::<MountBindOptionsPropagationEnum>().ok());
    Mount {
        source: Some(path.source.clone()),
        target: Some(path.target.clone()),
        typ: Some(MountType::BIND),
        read_only: Some(path.read_only),
        bind_options: propagation
            .map(|word| MountBindOptions { propagation: Some(word), ..MountBindOptions::default() }),
        ..Mount::default()
    }
}

fn inside(port: &Port) -> String {
    format!("{}/{}", port.container, port.protocol)
}

fn port_bindings(ports: &[Port]) -> HashMap<String, Option<Vec<PortBinding>>> {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in ports {
        let binding = PortBinding {
            host_ip: port.address.map(|address| address.to_string()),
            host_port: Some(port.host.to_string()),
        };
        bindings.entry(inside(port)).or_default().get_or_insert_default().push(binding);
    }
    bindings
}

/// The options that a log needs which the Engine would let grow without end. Only the container tells: the
/// Engine's own settings count too, and no question gives them. `None` where nothing is missing; otherwise the
/// container is gone, and is to be made again with them.
pub(super) async fn bound_log(
    engine: &DockerEngine,
    options: &EngineOptions,
    id: &str,
    doing: &str,
) -> CallResult<Option<EngineOptions>> {
    let log = &options.log;
    let may_grow = log.driver.as_deref().is_none_or(|driver| driver == UNBOUNDED);
    if !may_grow || log.bound.is_empty() || log.options.contains_key("max-size") {
        return Ok(None);
    }
    let path = format!("/containers/{}", encoded(id, b""));
    let made = engine.look(&format!("{path}/json"), doing).await.map_err(CallError::perhaps_done)?;
    let is = made.map(|made| made["HostConfig"]["LogConfig"].clone()).unwrap_or_default();
    if is["Type"] != UNBOUNDED || !is["Config"]["max-size"].is_null() {
        return Ok(None);
    }
    // It has not run: a volume that was made with it holds nothing of its own.
    let removed = engine.ask(Call::delete(&format!("{path}?force=1&v=1")), ORDINARY).await;
    removed.map_err(|error| engine.change_failed(&error, doing).perhaps_done())?;
    let mut bounded = options.clone();
    bounded.log.driver = Some(UNBOUNDED.to_owned());
    for (name, value) in &options.log.bound {
        bounded.log.options.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(Some(bounded))
}

/// The Engine's numbers are signed; what is more than they hold is no limit anyway.
pub(super) fn clamped(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
