//! What a container is made of, in the Engine's words.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, EndpointSettings, HealthConfig, HostConfig, NetworkConnectRequest, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};

use super::answers::{Identified, read};
use super::containers::{remove, whole_seconds};
use super::options::{self, clamped};
use super::raw::{Call, encoded, without};
use super::{DockerEngine, ORDINARY};
use crate::engine::{ContainerSpec, HealthcheckSpec, Id, RestartSpec};
use autotag_base::{CallError, CallErrorKind, CallResult};

/// Makes it, in all its networks, or leaves nothing behind that took its name.
pub(super) async fn create(engine: &DockerEngine, spec: &ContainerSpec) -> CallResult<Id> {
    let doing = format!("making the container {}", spec.name);
    let client = engine.client(&doing, ORDINARY)?;
    for network in &spec.networks {
        require_network(engine, network, &doing).await?;
    }
    let mut id = make(engine, spec, &doing).await?;
    if let Some(options) = options::bound_log(engine, &spec.options, &id, &doing).await? {
        id = make(engine, &ContainerSpec { options, ..spec.clone() }, &doing).await?;
    }
    // Engines before 25 (API 1.44) take one network when they make a container.
    for network in spec.networks.iter().skip(1) {
        let endpoint_config = Some(endpoint(spec, network));
        let request = NetworkConnectRequest { container: id.clone(), endpoint_config };
        if let Err(error) = client.connect_network(network, request).await {
            let call_error = engine.change_failed(&error, &format!("{doing}: joining the network {network}"));
            return Err(match remove(engine, &id).await {
                Ok(_) => call_error,
                Err(_) => call_error.perhaps_done(),
            });
        }
    }
    Ok(id)
}

fn endpoint(spec: &ContainerSpec, network: &str) -> EndpointSettings {
    EndpointSettings { aliases: spec.aliases.get(network).cloned(), ..EndpointSettings::default() }
}

async fn make(engine: &DockerEngine, spec: &ContainerSpec, doing: &str) -> CallResult<Id> {
    let body = serde_json::to_value(body(spec))
        .map_err(|error| CallError::new(CallErrorKind::Rejected, doing, error.to_string()))?;
    let path = format!("/containers/create?name={}", encoded(&spec.name, b""));
    let made = engine.ask(Call::post(&path, body), ORDINARY).await;
    let made: Identified = read(&made.map_err(|error| engine.change_failed(&error, doing))?);
    made.id.ok_or_else(|| without("id", doing).perhaps_done())
}

/// The Engine lets a stopped container join a network that there is not, and refuses to start it later
/// (20.10): by then the deployment has gone a step too far.
async fn require_network(engine: &DockerEngine, network: &str, doing: &str) -> CallResult<()> {
    match engine.look(&format!("/networks/{}", encoded(network, b"")), doing).await? {
        Some(_) => Ok(()),
        None => Err(CallError::new(CallErrorKind::Rejected, doing, format!("there is no network {network}"))
            .with_remedy(format!("Make it: `docker network create {network}`."))),
    }
}

fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let own = spec.networks.first();
    let body = ContainerCreateBody {
        image: Some(spec.image.clone()),
        labels: Some(spec.labels.clone().into_iter().collect()),
        env: Some(
            spec.environment.iter().map(|(name, value)| format!("{name}={}", value.reveal())).collect(),
        ),
        entrypoint: spec.entrypoint.clone(),
        cmd: spec.command.clone(),
        user: spec.user.clone(),
        working_dir: spec.working_dir.as_ref().map(|path| path.to_string_lossy().into_owned()),
        healthcheck: spec.healthcheck.as_ref().map(healthcheck),
        stop_signal: spec.stop_signal.clone(),
        stop_timeout: spec.stop_grace_period.map(|grace| clamped(whole_seconds(grace))),
        host_config: Some(host_config(spec)),
        networking_config: own.map(|network| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(network.clone(), endpoint(spec, network))])),
        }),
        ..ContainerCreateBody::default()
    };
    options::body(&spec.options, body)
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let host = HostConfig {
        network_mode: spec.networks.first().cloned(),
        binds: Some(spec.binds.clone()),
        tmpfs: Some(spec.tmpfs.clone().into_iter().collect()),
        readonly_rootfs: Some(spec.read_only),
        init: spec.init.then_some(true),
        restart_policy: Some(restart_policy(spec.restart)),
        cap_drop: Some(spec.cap_drop.clone()),
        cap_add: Some(spec.cap_add.clone()),
        memory: spec.memory.map(clamped),
        nano_cpus: spec.nano_cpus.map(clamped),
        pids_limit: spec.pids_limit,
        shm_size: spec.shm_size.map(clamped),
        ..HostConfig::default()
    };
    options::host_config(&spec.options, host)
}

fn restart_policy(restart: RestartSpec) -> RestartPolicy {
    let (name, most) = match restart {
        RestartSpec::No => (RestartPolicyNameEnum::NO, None),
        RestartSpec::Always => (RestartPolicyNameEnum::ALWAYS, None),
        RestartSpec::UnlessStopped => (RestartPolicyNameEnum::UNLESS_STOPPED, None),
        RestartSpec::OnFailure(most) => (RestartPolicyNameEnum::ON_FAILURE, most),
    };
    RestartPolicy { name: Some(name), maximum_retry_count: most.map(i64::from) }
}

fn healthcheck(spec: &HealthcheckSpec) -> HealthConfig {
    match spec {
        HealthcheckSpec::Disabled => {
            HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() }
        }
        HealthcheckSpec::Test { test, interval, timeout, retries, start_period, start_interval } => {
            HealthConfig {
                test: (!test.is_empty()).then(|| test.clone()),
                interval: interval.map(nanoseconds),
                timeout: timeout.map(nanoseconds),
                retries: retries.map(i64::from),
                start_period: start_period.map(nanoseconds),
                start_interval: start_interval.map(nanoseconds),
            }
        }
    }
}

fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}
