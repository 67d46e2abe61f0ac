//! Smoke tests: on the new container itself before the switch, through the proxy after it.

use super::{Driver, REQUEST, address};
use crate::config::app_file::{Client, HttpProbe, Listen, Proof, Smoke, Traffic};
use crate::config::settings::Settings;
use crate::engine::Engine;
use crate::execute::errors::code_of;
use crate::execute::http_probe;
use crate::execute::http_probe::{Question, Target};
use crate::execute::proxy_client::entrance;
use crate::state::{Instance, StepError};
use autotag_protocol::{Event, FailureCode, Source};

impl<E: Engine> Driver<'_, E> {
    pub(super) async fn smoke(&self, instance: &Instance) -> Result<(), StepError> {
        let settings = self.settings(&instance.release.deployment)?;
        for smoke in &settings.file.smoke {
            match smoke {
                Smoke::Command(command) => self.run_in(instance, command, &settings).await?,
                Smoke::Http { path, status, contains, client } => {
                    let facts = self.facts(instance).await?;
                    let Some(port) = settings.file.traffic.port() else {
                        return Err(failed("the app file has no `port` to ask"));
                    };
                    let target = Target::Tcp((address(self.app, &settings, &facts)?, port).into());
                    let test = Test { client, path, status: *status, contains: contains.as_deref() };
                    test.ask(&target, &settings).await?;
                }
            }
        }
        Ok(())
    }

    async fn run_in(
        &self,
        instance: &Instance,
        command: &[String],
        settings: &Settings,
    ) -> Result<(), StepError> {
        let deadline = settings.file.health.deadline;
        let shown = command.join(" ");
        let executed =
            self.engine.execute(instance.container.as_str(), command, deadline).await.map_err(|error| {
                let code = code_of(&error).unwrap_or(FailureCode::SmokeTest);
                StepError::new(code, format!("`{shown}`: {error}"))
            })?;
        if executed.exit_code == 0 {
            return Ok(());
        }
        for line in executed.output.lines() {
            self.job.say(Event::log(Source::Smoke, line));
        }
        Err(failed(format!("`{shown}` ended with {}", executed.exit_code)))
    }

    /// Through the proxy. Where there is no smoke test by HTTP, the health request stands in for one;
    /// where there is none either, that the proxy has the container is all that can be seen.
    pub(super) async fn verify(&self, instance: &Instance) -> Result<(), StepError> {
        let settings = self.settings(&instance.release.deployment)?;
        let Traffic::Proxied { listen, .. } = &settings.file.traffic else { return Ok(()) };
        let known = self.proxy.status(self.app).await?;
        let current = known.and_then(|known| known.current).map(|current| current.id);
        if current.as_deref() != Some(instance.container.as_str()) {
            let why = "the proxy does not send requests to the new container";
            return Err(StepError::new(FailureCode::Proxy, why));
        }
        let target = match entrance(listen) {
            Listen::Tcp(address) => Target::Tcp(address),
            Listen::Unix(path) => Target::Unix(path),
        };
        let asked = settings.file.smoke.iter().filter_map(|smoke| match smoke {
            Smoke::Http { path, status, contains, client } => {
                Some(Test { client, path, status: *status, contains: contains.as_deref() })
            }
            Smoke::Command(_) => None,
        });
        let mut asked: Vec<_> = asked.collect();
        if let (true, Proof::Http(request)) = (asked.is_empty(), &settings.file.health.proof) {
            let HttpProbe { path, status, client } = request;
            asked.push(Test { client, path, status: *status, contains: None });
        }
        for test in asked {
            test.ask(&target, &settings)
                .await
                .map_err(|error| error.map(|why| format!("through the proxy, {listen}: {why}")))?;
        }
        Ok(())
    }
}

/// The name that requests of our own ask for.
pub(super) fn host_of(settings: &Settings) -> String {
    match &settings.file.traffic {
        Traffic::Proxied { hosts, .. } => hosts.first().map(|host| host.as_str().to_owned()),
        Traffic::Unproxied { .. } => None,
    }
    .unwrap_or_else(|| "localhost".to_owned())
}

fn failed(why: impl Into<String>) -> StepError {
    StepError::new(FailureCode::SmokeTest, why)
}

/// A test by a request.
struct Test<'a> {
    client: &'a Client,
    path: &'a str,
    status: u16,
    contains: Option<&'a str>,
}

impl Test<'_> {
    async fn ask(&self, target: &Target, settings: &Settings) -> Result<(), StepError> {
        let host = self.client.host.clone().unwrap_or_else(|| host_of(settings));
        let question = Question { host: &host, path: self.path, headers: &self.client.headers };
        let answer = http_probe::get(target, &question, REQUEST)
            .await
            .map_err(|why| failed(question.unanswered(target, &why)))?;
        if answer.status != self.status {
            let values = settings.environment.values();
            return Err(failed(question.unexpected(target, &answer, self.status, values)));
        }
        match self.contains {
            Some(text) if !answer.body.contains(text) => {
                Err(failed(format!("GET {} gave {}, without the text {text:?}", self.path, self.status)))
            }
            _ => Ok(()),
        }
    }
}
