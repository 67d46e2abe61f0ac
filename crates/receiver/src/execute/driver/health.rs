//! Waiting until a container is healthy, and has been for its stability window.

use std::time::Duration;

use super::{Driver, REQUEST, address};
use crate::config::app_file::{Healthcheck, HttpProbe, Proof};
use crate::config::settings::Settings;
use crate::engine::{ContainerFacts, Engine, Healthy};
use crate::execute::http_probe;
use crate::execute::http_probe::{Question, Target};
use crate::state::{Instance, StepError};
use autotag_base::clock;
use autotag_base::clock::Stopwatch;
use autotag_model::duration;
use autotag_protocol::FailureCode;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// What one look says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HealthLook {
    /// All is well.
    Well,
    /// Not yet, or not any more; it may still come.
    NotYet(String),
    /// It cannot come any more.
    Never(StepError),
}

impl<E: Engine> Driver<'_, E> {
    /// The deadline is for the first moment of health; the stability window follows it.
    pub(super) async fn await_healthy(&self, instance: &Instance) -> Result<(), StepError> {
        let settings = self.settings(&instance.release.deployment)?;
        let health = &settings.file.health;
        let began = Stopwatch::start();
        let mut well: Option<Stopwatch> = None;
        loop {
            match self.look(instance, &settings).await? {
                HealthLook::Never(error) => return Err(error),
                HealthLook::Well => {
                    let since = *well.get_or_insert_with(Stopwatch::start);
                    if since.elapsed() >= health.stable {
                        return Ok(());
                    }
                }
                HealthLook::NotYet(why) => {
                    let lost = well.take().is_some();
                    if began.elapsed() >= health.deadline {
                        let within =
                            format!("within {} (`health: deadline`)", duration::text(health.deadline));
                        let why = if lost {
                            format!("it was healthy and did not stay so {within}: {why}")
                        } else {
                            format!("it did not become healthy {within}: {why}")
                        };
                        return Err(StepError::new(FailureCode::Unhealthy, why));
                    }
                }
            }
            clock::sleep(PAUSE).await;
        }
    }

    async fn look(&self, instance: &Instance, settings: &Settings) -> Result<HealthLook, StepError> {
        let facts = self.facts(instance).await?;
        let baseline = self.restarts.get(&instance.container).copied().unwrap_or(0);
        let look = by_docker(&facts, baseline, settings);
        let Proof::Http(request) = &settings.file.health.proof else { return Ok(look) };
        if look != HealthLook::Well {
            return Ok(look);
        }
        Ok(self
            .by_request(request, settings, &facts)
            .await
            .map_or_else(HealthLook::NotYet, |()| HealthLook::Well))
    }

    async fn by_request(
        &self,
        request: &HttpProbe,
        settings: &Settings,
        facts: &ContainerFacts,
    ) -> Result<(), String> {
        let Some(port) = settings.file.traffic.port() else {
            return Err("the app file has no `port` to ask".to_owned());
        };
        let address = address(self.app, settings, facts).map_err(|error| error.why)?;
        let target = Target::Tcp((address, port).into());
        let host = request.client.host.clone().unwrap_or_else(|| super::smoke::host_of(settings));
        let question = Question { host: &host, path: &request.path, headers: &request.client.headers };
        let answer = http_probe::get(&target, &question, REQUEST)
            .await
            .map_err(|why| question.unanswered(&target, &why))?;
        if answer.status == request.status {
            return Ok(());
        }
        Err(question.unexpected(&target, &answer, request.status, settings.environment.values()))
    }
}

/// What Docker knows. `baseline`: so many restarts are none of this start's.
fn by_docker(facts: &ContainerFacts, baseline: u64, settings: &Settings) -> HealthLook {
    let call_error = facts.error.as_ref().map(|call_error| format!(" ({call_error})")).unwrap_or_default();
    let code = facts.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
    if facts.restarts > baseline {
        let why = format!("it ended{code}{call_error}, and Docker started it again");
        return HealthLook::Never(StepError::new(FailureCode::Exited, why));
    }
    if !facts.running {
        return HealthLook::Never(StepError::new(FailureCode::Exited, format!("it ended{code}{call_error}")));
    }
    if facts.paused {
        return HealthLook::NotYet("somebody has paused it (docker pause)".to_owned());
    }
    // Where the app file asks for a request, the image's own check may be slow to come round (30 s by
    // default), so it is only a veto; one that the app file sets itself is meant.
    let demanded = match settings.file.health.proof {
        Proof::Docker => true,
        Proof::Http(_) => settings.file.container.healthcheck.as_ref().is_some_and(Healthcheck::has_test),
        Proof::Running => false,
    };
    match facts.health {
        Healthy::No if settings.file.health.proof != Proof::Running => {
            let text = facts
                .health_log
                .last()
                .map(|(code, output)| format!(": exit code {code}, {}", output.trim()));
            HealthLook::NotYet(format!("Docker's health check says unhealthy{}", text.unwrap_or_default()))
        }
        Healthy::Starting if demanded => {
            HealthLook::NotYet("Docker's health check has not succeeded yet".to_owned())
        }
        Healthy::Unchecked if demanded => {
            let why = "it has no health check that could succeed";
            HealthLook::Never(StepError::new(FailureCode::ImageHealthCheck, why))
        }
        Healthy::Yes | Healthy::No | Healthy::Starting | Healthy::Unchecked => HealthLook::Well,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    const HEAD: &str = "image: x.io/app\nport: 80\nlisten: 8080\n";

    #[test]
    fn what_docker_says_counts_as_the_app_file_says() {
        let well = testing::facts();
        let dead = ContainerFacts { running: false, exit_code: Some(3), ..well.clone() };
        let again = ContainerFacts { restarts: 1, ..well.clone() };
        let paused = ContainerFacts { paused: true, ..well.clone() };
        let with = |health| ContainerFacts { health, ..well.clone() };
        let check = "healthcheck: {test: [CMD, x]}\n";
        let http = "health: {path: /up}\n";
        for (text, facts, expected) in [
            ("", with(Healthy::Yes), "well"),
            ("", with(Healthy::Starting), "not yet"),
            ("", with(Healthy::No), "not yet"),
            ("", with(Healthy::Unchecked), "never"),
            (http, with(Healthy::Starting), "well"),
            (http, with(Healthy::No), "not yet"),
            (http, with(Healthy::Unchecked), "well"),
            (&format!("{http}{check}"), with(Healthy::Starting), "not yet"),
            ("health: none\n", with(Healthy::No), "well"),
            ("health: none\n", dead.clone(), "never"),
            ("health: none\n", again.clone(), "never"),
            (http, dead, "never"),
            (http, again, "never"),
            (http, paused.clone(), "not yet"),
            ("health: none\n", paused, "not yet"),
        ] {
            let settings = testing::settings(&format!("{HEAD}{text}"));
            let look = match by_docker(&facts, 0, &settings) {
                HealthLook::Well => "well",
                HealthLook::NotYet(_) => "not yet",
                HealthLook::Never(_) => "never",
            };
            assert_eq!(look, expected, "{text}{facts:?}");
        }
        let settings = testing::settings(&format!("{HEAD}health: none\n"));
        let rebooted = ContainerFacts { restarts: 4, ..well };
        assert_eq!(by_docker(&rebooted, 4, &settings), HealthLook::Well, "earlier restarts are none of ours");
    }
}
