//! How what runs differs from what should: in words, from facts. Pure.

use std::net::IpAddr;

use crate::config::config_hash::ConfigHash;
use crate::engine::{ContainerFacts, LocalImage};
use crate::state::labels::contradictions;
use crate::state::{Instance, State};
use autotag_proxy::admin::AppStatus;

/// What is known at this moment. An `Err` is a question that could not be answered; it is told, too.
#[derive(Debug)]
pub struct DriftFacts<'a> {
    /// The container that should serve.
    pub container: Result<Option<ContainerFacts>, String>,
    /// All containers with the application's label.
    pub labelled: Result<Vec<ContainerFacts>, String>,
    /// The image that should run.
    pub image: Result<Option<LocalImage>, String>,
    /// What the container was made as, as far as it was noted then.
    pub made_as: Option<String>,
    /// What the proxy knows; `None` where the application needs none.
    pub proxy: Option<Result<Option<AppStatus>, String>>,
    /// The address that the proxy should send requests to.
    pub address: Option<IpAddr>,
    /// The hash of today's app file and environment.
    pub today: Result<ConfigHash, String>,
    /// What should be.
    pub state: &'a State,
}

/// Each difference in a sentence; none where all is as it should be.
pub fn drift(facts: &DriftFacts<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let Some(active) = facts.state.active() else {
        if let Some(last) = facts.state.last_served() {
            found.push(format!(
                "nothing serves: the container of {} was removed; `autotag-receiver deploy {}` makes it \
                 again",
                last.version, facts.state.app
            ));
        }
        if let Ok(containers) = &facts.labelled {
            strangers(&mut found, containers, facts.state);
        }
        return found;
    };
    container(&mut found, facts, active);
    match &facts.labelled {
        Ok(containers) => strangers(&mut found, containers, facts.state),
        Err(why) => found.push(format!("the containers could not be listed: {why}")),
    }
    match &facts.image {
        Ok(Some(_)) => {}
        Ok(None) => found.push(format!(
            "the image {} is no longer on this machine; a restart would have to pull it",
            active.release.digest
        )),
        Err(why) => found.push(format!("the image could not be inspected: {why}")),
    }
    proxy(&mut found, facts, active);
    match &facts.today {
        Ok(today) if *today == active.release.config => {}
        Ok(_) => found.push(
            "the app file or its environment changed since the deployment: deploy again to apply it"
                .to_owned(),
        ),
        Err(why) => found.push(why.clone()),
    }
    found
}

fn container(found: &mut Vec<String>, facts: &DriftFacts<'_>, active: &Instance) {
    let short = active.container.short();
    match &facts.container {
        Err(why) => found.push(format!("the container {short} could not be inspected: {why}")),
        Ok(None) => found.push(format!(
            "the container {short} was removed; `autotag-receiver deploy {}` makes it again",
            facts.state.app
        )),
        Ok(Some(container)) => {
            if !container.running {
                let code = container.exit_code.map(|code| format!(" (exit code {code})")).unwrap_or_default();
                found.push(format!("the container {short} does not run{code}"));
            }
            if container.paused {
                found.push(format!("the container {short} is paused: `docker unpause {short}` resumes it"));
            }
            if container.health == crate::engine::Healthy::No {
                found.push(format!("the container {short} is unhealthy"));
            }
            if facts.made_as.as_ref().is_some_and(|made_as| *made_as != container.configuration) {
                found.push(format!(
                    "the container {short} was edited manually (docker update, docker network)"
                ));
            }
            for (label, expected) in contradictions(&active.release, &container.labels) {
                found.push(format!("the label {label} of the container {short} does not say {expected}"));
            }
            if let Ok(Some(image)) = &facts.image
                && image.id != container.image_id
            {
                found
                    .push(format!("the container {short} runs another image than {}", active.release.digest));
            }
        }
    }
}

/// Containers that carry the application's label and are none that the state knows.
fn strangers(found: &mut Vec<String>, containers: &[ContainerFacts], state: &State) {
    use crate::state::Phase;
    let known: Vec<&str> = match &state.change {
        Phase::Steady { active } => active.iter().map(|one| one.container.as_str()).collect(),
        // One is being tried, and has no id yet.
        Phase::Pending { .. } => return,
        Phase::Unverified { new, old } => old.iter().chain([new]).map(|one| one.container.as_str()).collect(),
        Phase::Leaving { active, leaving, .. } => {
            active.iter().chain([leaving]).map(|one| one.container.as_str()).collect()
        }
    };
    for container in containers.iter().filter(|one| !known.contains(&one.id.as_str())) {
        found.push(format!(
            "the container {} has this application's label, but no deployment created it",
            container.name
        ));
    }
}

fn proxy(found: &mut Vec<String>, facts: &DriftFacts<'_>, active: &Instance) {
    let Some(proxy) = &facts.proxy else { return };
    let current = match proxy {
        Err(why) => return found.push(why.clone()),
        Ok(known) => known.as_ref().and_then(|known| known.current.as_ref()),
    };
    match (current, facts.address) {
        (None, _) => found.push("the proxy sends requests nowhere".to_owned()),
        (Some(current), _) if current.id != active.container.as_str() => {
            found.push(format!("the proxy sends requests to another container, {:.12}", current.id));
        }
        (Some(current), Some(address)) if current.address.ip() != address => {
            found.push(format!(
                "the proxy sends requests to {}, the container is at {address}",
                current.address
            ));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::Healthy;
    use crate::execute::container;
    use crate::testing;
    use crate::testing::{facts as running, steady};
    use autotag_proxy::admin::UpstreamStatus;

    type Reached = Result<Option<AppStatus>, String>;

    #[expect(clippy::unnecessary_wraps, reason = "as the proxy's answer comes")]
    fn serving(id: &str, address: &str) -> Reached {
        let current =
            UpstreamStatus { id: id.to_owned(), address: address.parse().unwrap(), requests: 0, tunnels: 0 };
        Ok(Some(AppStatus { app: "app".to_owned(), current: Some(current), leaving: vec![], waiting: 0 }))
    }

    fn well(state: &State) -> DriftFacts<'_> {
        let config = state.active().expect("it serves").release.config.clone();
        DriftFacts {
            container: Ok(Some(running())),
            labelled: Ok(vec![running()]),
            image: Ok(Some(LocalImage {
                volumes: [].into(),
                id: "sha256:1".to_owned(),
                labels: [].into(),
                has_healthcheck: true,
                digests: Vec::new(),
                foreign: None,
            })),
            made_as: Some("as made".to_owned()),
            proxy: Some(serving(&"a".repeat(64), "10.0.0.2:80")),
            address: Some("10.0.0.2".parse().unwrap()),
            today: Ok(config),
            state,
        }
    }

    #[test]
    fn where_all_is_well_there_is_none() {
        assert_eq!(drift(&well(&steady("1.0.0"))), [""; 0]);
        let nothing = State::new("app".parse().unwrap());
        let serving = steady("1.0.0");
        assert_eq!(drift(&DriftFacts { labelled: Ok(vec![]), state: &nothing, ..well(&serving) }), [""; 0]);
        let lost = serving.in_phase(crate::state::Phase::Steady { active: None });
        let found = drift(&DriftFacts { labelled: Ok(vec![]), state: &lost, ..well(&serving) });
        assert!(found.len() == 1 && found[0].contains("1.0.0"), "{found:?}");
    }

    // invariant known: A container of another release is named, one of an earlier receiver is not; broken by:
    //   `crates/receiver/src/execute/container.rs`: a label that is missing contradicts; none contradicts
    /// A container's labels cannot be changed, so one that earlier receivers made lacks those of today for good.
    #[test]
    fn labels_may_be_missing_and_must_not_say_otherwise() {
        let state = steady("1.0.0");
        let release = &state.active().expect("it serves").release;
        let app = "app".parse().unwrap();
        let settings = testing::settings("image: ghcr.io/org/app\nport: 80\nlisten: 8080\n");
        let [made, of_another] =
            [release, &testing::release("2.0.0")].map(|it| container::spec(&app, it, &settings).labels);
        let labelled = |labels: BTreeMap<String, String>| {
            let container = Ok(Some(ContainerFacts { labels, ..running() }));
            drift(&DriftFacts { container, ..well(&state) })
        };
        assert_eq!(labelled(made.clone()), [""; 0]);
        for label in made.keys() {
            let mut without = made.clone();
            without.remove(label);
            assert_eq!(labelled(without), [""; 0], "{label} is missing");
        }
        let mut otherwise = 0;
        for (label, value) in of_another.into_iter().filter(|(label, value)| made[label] != *value) {
            let found =
                labelled([made.clone(), [(label.clone(), value)].into()].into_iter().flatten().collect());
            assert!(
                found.len() == 1 && found[0].contains(&label) && found[0].contains(&made[&label]),
                "{found:?}"
            );
            otherwise += 1;
        }
        assert_eq!(otherwise, 3, "deployment, version and digest of another release are others");
    }

    // invariant known
    #[test]
    fn each_difference_is_named() {
        let state = steady("1.0.0");
        let container = |change: &dyn Fn(&mut ContainerFacts)| {
            let mut facts = running();
            change(&mut facts);
            Ok(Some(facts))
        };
        let stranger = ContainerFacts { id: "b".repeat(64), name: "by-hand".to_owned(), ..running() };
        let other = "sha256:".to_owned() + &"0".repeat(64);
        let cases = [
            DriftFacts { container: Ok(None), ..well(&state) },
            DriftFacts { container: container(&|it| it.running = false), ..well(&state) },
            DriftFacts { container: container(&|it| it.paused = true), ..well(&state) },
            DriftFacts { container: container(&|it| it.health = Healthy::No), ..well(&state) },
            DriftFacts { container: container(&|it| it.configuration.clear()), ..well(&state) },
            DriftFacts { container: container(&|it| it.image_id.clear()), ..well(&state) },
            DriftFacts { container: Err("Docker is down".to_owned()), ..well(&state) },
            DriftFacts { labelled: Ok(vec![running(), stranger]), ..well(&state) },
            DriftFacts { image: Ok(None), ..well(&state) },
            DriftFacts { proxy: Some(Ok(None)), ..well(&state) },
            DriftFacts { proxy: Some(Err("no proxy".to_owned())), ..well(&state) },
            DriftFacts { proxy: Some(serving(&"b".repeat(64), "10.0.0.2:80")), ..well(&state) },
            DriftFacts { proxy: Some(serving(&"a".repeat(64), "10.0.0.9:80")), ..well(&state) },
            DriftFacts { today: Ok(other.parse().unwrap()), ..well(&state) },
        ];
        let all = cases.map(|facts| {
            let found = drift(&facts);
            assert_eq!(found.len(), 1, "{found:?}");
            found.concat()
        });
        insta::assert_snapshot!(all.join("\n"));
    }
}
