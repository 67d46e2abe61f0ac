//! From a release and its settings to the container that is made. Pure.

use std::collections::BTreeMap;

use super::app_file::{Container, Healthcheck, Restart, Source};
use super::settings::Settings;
use super::state::Release;
use crate::deploy::protocol::AppName;
use crate::world::engine::{ContainerSpec, HealthcheckSpec, RestartSpec};

/// Whose a container, a network or an image is.
pub const APP: &str = "autotag-deploy.app";
/// Which deployment made a container.
pub const DEPLOYMENT: &str = "autotag-deploy.deployment";
/// Which version a container has.
pub const VERSION: &str = "autotag-deploy.version";
const COMMIT: &str = "autotag-deploy.commit";
const CONFIG: &str = "autotag-deploy.config";

/// The network that an application has for itself, unless its file names others.
pub fn own_network(app: &AppName) -> String {
    format!("autotag-{app}")
}

/// The network in which the proxy, health requests and smoke tests reach a container.
pub fn network(app: &AppName, settings: &Settings) -> String {
    settings.file.container.networks.first().cloned().unwrap_or_else(|| own_network(app))
}

/// The labels of what belongs to an application.
pub fn app_labels(app: &AppName) -> BTreeMap<String, String> {
    BTreeMap::from([(APP.to_owned(), app.to_string())])
}

/// What is made.
pub fn spec(app: &AppName, release: &Release, settings: &Settings) -> ContainerSpec {
    let said: &Container = &settings.file.container;
    let mut labels = said.labels.clone();
    labels.extend(app_labels(app));
    labels.extend(
        [
            (DEPLOYMENT, release.deployment.to_string()),
            (VERSION, release.version.to_string()),
            (COMMIT, release.commit.to_string()),
            (CONFIG, release.config.to_string()),
        ]
        .map(|(label, value)| (label.to_owned(), value)),
    );
    let networks = if said.networks.is_empty() { vec![own_network(app)] } else { said.networks.clone() };
    let environment =
        settings.environment.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
    ContainerSpec {
        // A deployment's id is unique, so two containers never want one name.
        name: format!("autotag-{app}-{}", release.deployment),
        image: release.image.with_digest(&release.digest),
        labels,
        environment,
        entrypoint: said.entrypoint.clone(),
        command: said.command.clone(),
        user: said.user.clone(),
        working_dir: said.working_dir.clone(),
        read_only: said.read_only,
        init: said.init,
        tmpfs: said.tmpfs.iter().cloned().collect(),
        binds: said.volumes.iter().map(bind).collect(),
        networks,
        healthcheck: said.healthcheck.as_ref().map(healthcheck),
        restart: restart(said.restart),
        cap_drop: said.cap_drop.iter().cloned().collect(),
        cap_add: said.cap_add.iter().cloned().collect(),
        memory: said.mem_limit,
        nano_cpus: said.cpus,
        pids_limit: said.pids_limit,
        shm_size: said.shm_size,
        stop_grace_period: said.stop_grace_period,
        stop_signal: said.stop_signal.clone(),
    }
}

fn bind(mount: &super::app_file::Mount) -> String {
    let source = match &mount.source {
        Source::Volume(name) => name.clone(),
        Source::Path(path) => path.display().to_string(),
    };
    let mode = if mount.read_only { ":ro" } else { "" };
    format!("{source}:{}{mode}", mount.target.display())
}

fn healthcheck(said: &Healthcheck) -> HealthcheckSpec {
    match said {
        Healthcheck::Disabled => HealthcheckSpec::Disabled,
        Healthcheck::Test { test, interval, timeout, retries, start_period } => HealthcheckSpec::Test {
            test: test.clone(),
            interval: *interval,
            timeout: *timeout,
            retries: *retries,
            start_period: *start_period,
        },
    }
}

fn restart(said: Restart) -> RestartSpec {
    match said {
        Restart::No => RestartSpec::No,
        Restart::Always => RestartSpec::Always,
        Restart::UnlessStopped => RestartSpec::UnlessStopped,
        Restart::OnFailure(times) => RestartSpec::OnFailure(times),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receiver::app_file::LABEL_PREFIX;
    use crate::receiver::testing;

    #[test]
    fn the_labels_say_what_it_is_whatever_the_owner_says() {
        let app: AppName = "app".parse().unwrap();
        let settings =
            testing::settings("image: ghcr.io/org/app\nport: 80\nlisten: 8080\nlabels: {team: web}\n");
        let made = spec(&app, &testing::release("1.2.3"), &settings);
        for label in [APP, DEPLOYMENT, VERSION, COMMIT, CONFIG] {
            assert!(label.starts_with(LABEL_PREFIX), "{label} could be set by an app file");
            assert!(made.labels.contains_key(label), "{label}");
        }
        assert_eq!(made.labels["team"], "web");
        assert_eq!(made.networks, ["autotag-app"]);
        assert!(made.image.contains("@sha256:"), "{}", made.image);
    }
}
