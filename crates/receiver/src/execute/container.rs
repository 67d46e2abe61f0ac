//! From a release and its settings to the container that is made. Pure.

use super::container_options;
use crate::config::app_file::{Container, Healthcheck, Restart, Source};
use crate::config::settings::Settings;
use crate::engine::{ContainerSpec, HealthcheckSpec, RestartSpec};
use crate::state::Release;
use crate::state::labels::{app_labels, release_labels};
use autotag_protocol::{AppName, DeploymentId};

/// The network that an application has for itself, unless its file names others.
pub fn own_network(app: &AppName) -> String {
    format!("autotag-{app}")
}

/// The name that a container is made with.
///
/// A deployment's id is unique in its application, and no application's name has `--` in it: so no id of `shop`
/// takes the name of a container of `shop-api`.
pub fn made_name(app: &AppName, deployment: &DeploymentId) -> String {
    format!("autotag-{app}--{deployment}")
}

/// The names of the container that serves: two, and one to Docker's DNS, which compares them without case.
pub fn names(app: &AppName) -> [String; 2] {
    let (first, rest) = app.as_str().split_at(1);
    [app.to_string(), format!("{}{rest}", first.to_ascii_uppercase())]
}

/// The network in which the proxy, health requests and smoke tests reach a container.
pub fn network(app: &AppName, settings: &Settings) -> String {
    settings.file.container.networks.first().cloned().unwrap_or_else(|| own_network(app))
}

/// What is made.
pub fn spec(app: &AppName, release: &Release, settings: &Settings) -> ContainerSpec {
    let config: &Container = &settings.file.container;
    let mut labels = config.labels.clone();
    labels.extend(app_labels(app));
    labels.extend(release_labels(release).map(|(label, value)| (label.to_owned(), value)));
    let networks = if config.networks.is_empty() { vec![own_network(app)] } else { config.networks.clone() };
    let environment =
        settings.environment.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    ContainerSpec {
        name: made_name(app, &release.deployment),
        image: release.image.with_digest(&release.digest),
        labels,
        environment,
        entrypoint: config.entrypoint.clone(),
        command: config.command.clone(),
        user: config.user.clone(),
        working_dir: config.working_dir.clone(),
        read_only: config.read_only,
        init: config.init,
        tmpfs: config.tmpfs.iter().map(|it| (it.target().display().to_string(), it.options())).collect(),
        binds: config.volumes.iter().filter(|mount| !mount.must_exist).map(bind).collect(),
        networks,
        aliases: config
            .aliases
            .iter()
            .map(|(network, names)| (network.clone(), names.iter().cloned().collect()))
            .collect(),
        healthcheck: config.healthcheck.as_ref().map(healthcheck),
        restart: restart(config.restart),
        cap_drop: config.cap_drop.iter().cloned().collect(),
        cap_add: config.cap_add.iter().cloned().collect(),
        memory: config.mem_limit,
        nano_cpus: config.cpus,
        pids_limit: Some(config.pids_limit.unwrap_or(container_options::PIDS)),
        shm_size: config.shm_size,
        stop_grace_period: config.stop_grace_period,
        stop_signal: config.stop_signal.clone(),
        options: container_options::options(config),
    }
}

fn bind(mount: &crate::config::app_file::Mount) -> String {
    let source = match &mount.source {
        Source::Volume(name) => name.clone(),
        Source::Path(path) => path.display().to_string(),
    };
    let modes = mount.modes().join(",");
    let gap = if modes.is_empty() { "" } else { ":" };
    format!("{source}:{}{gap}{modes}", mount.target.display())
}

fn healthcheck(container: &Healthcheck) -> HealthcheckSpec {
    match container {
        Healthcheck::Disabled => HealthcheckSpec::Disabled,
        Healthcheck::Test { test, interval, timeout, retries, start_period, start_interval } => {
            HealthcheckSpec::Test {
                test: test.clone(),
                interval: *interval,
                timeout: *timeout,
                retries: *retries,
                start_period: *start_period,
                start_interval: *start_interval,
            }
        }
    }
}

fn restart(container: Restart) -> RestartSpec {
    match container {
        Restart::No => RestartSpec::No,
        Restart::Always => RestartSpec::Always,
        Restart::UnlessStopped => RestartSpec::UnlessStopped,
        Restart::OnFailure(times) => RestartSpec::OnFailure(times),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::app_file::LABEL_PREFIX;
    use crate::state::labels::contradictions;
    use crate::testing;
    use autotag_model::reference::Digest;

    // invariant known: What runs is known by its container; broken by:
    //   `crates/receiver/src/execute/container.rs`: commit and configuration are exchanged; the digest is left
    //   out
    #[test]
    fn the_labels_say_what_it_is_whatever_the_owner_says() {
        let app: AppName = "app".parse().unwrap();
        let settings =
            testing::settings("image: ghcr.io/org/app\nport: 80\nlisten: 8080\nlabels: {team: web}\n");
        let digest = format!("sha256:{}", "d".repeat(64));
        let release = Release { digest: digest.parse().unwrap(), ..testing::release("1.2.3") };
        let made = spec(&app, &release, &settings);
        let config = Digest::of(b"config").to_string();
        let container = [
            ("autotag-deploy.app", "app"),
            ("autotag-deploy.commit", &"c".repeat(40)),
            ("autotag-deploy.config", &config),
            ("autotag-deploy.deployment", "deployment-1-2-3"),
            ("autotag-deploy.digest", &digest),
            ("autotag-deploy.version", "1.2.3"),
            ("team", "web"),
        ];
        let container = container.map(|(label, value)| (label.to_owned(), value.to_owned()));
        assert_eq!(made.labels, container.into());
        for label in made.labels.keys().filter(|label| *label != "team") {
            assert!(label.starts_with(LABEL_PREFIX), "{label} could be set by an app file");
        }
        assert_eq!(made.name, "autotag-app--deployment-1-2-3");
        assert_eq!(names(&app), ["app", "App"]);
        assert_eq!(made.networks, ["autotag-app"]);
        assert_eq!(made.image, format!("ghcr.io/org/app@{digest}"));
        assert_eq!(contradictions(&release, &made.labels), []);
    }
}
