//! Says how a run goes and how it ended: on the screen, in annotations, outputs and the summary.

use std::any::Any;
use std::path::Path;

use anyhow::Context as _;

use super::commands::{self, annotation, defused};
use super::log::build::Style;
use super::outputs::{self, Outputs};
use super::screen::Screen;
use super::{failed, plan, servers, stages, summary};
use crate::failure::{Failure, FailureKind};
use crate::inputs::request::LogFormat;
use crate::inputs::{Environment, Request, Run};
use crate::pipeline::deployment::{Deployment, HostStatus};
use crate::pipeline::progress::{Observer, Progress, Severity};
use crate::pipeline::{Ending, Planned};
use crate::versioning::claim::Claim;
use autotag_base::terminal::Tone;
use autotag_model::help::Topic;

/// Where reports go.
pub struct Console<'a> {
    /// Says whether a runner reads, and where its files are.
    pub environment: &'a Environment,
    /// As the input says.
    pub format: LogFormat,
    /// The terminal, or the runner's log.
    pub screen: Screen,
}

impl Console<'_> {
    /// How the logs of others are shown.
    pub fn style(&self) -> Style {
        Style::for_run(self.format, self.environment.in_actions())
    }

    /// What a run is observed by while it goes on.
    pub fn observer(&self) -> impl Observer + 'static {
        Shown { screen: self.screen.clone(), annotates: self.environment.in_actions() }
    }

    /// Says how it ended, and gives the exit code.
    pub fn ended(&self, ending: &Ending, request: &Request, run: &Run, progress: &Progress) -> u8 {
        if let Some(deployment) = ending.deployment()
            && let Some(failure) = &deployment.failure
        {
            let outputs = Outputs::of(ending, request);
            return self.tell_failure(failure, progress, (&outputs, Some(deployment)));
        }
        let stages = stages::table(&progress.intents(), &progress.timings(), None);
        let text = match ending {
            Ending::Released(released) => summary::released(request, run, released, &stages),
            Ending::Superseded(superseded) => summary::superseded(request, run, superseded, &stages),
            Ending::Planned(planned) => summary::planned(request, planned, &stages),
            Ending::Deployed(deployment) | Ending::RolledBack(deployment) => {
                summary::deployed(deployment, &stages)
            }
            Ending::Reported(answers) => servers::status_summary(answers),
        };
        let outputs = Outputs::of(ending, request);
        match ending {
            // What is superseded is announced below.
            Ending::Deployed(deployment) if !deployment.deployed() => {}
            Ending::Deployed(_) | Ending::RolledBack(_) => {
                let (outcome, seconds) = (outputs.outcome, &outputs.deploy_seconds);
                tracing::info!(outcome, "{outcome} {} in {seconds} s", outputs.deployed_version);
            }
            Ending::Reported(answers) => self.print_status(answers),
            Ending::Released(released) => {
                let word = if released.resumed { "resumed" } else { "released" };
                let seconds = progress.elapsed().as_secs_f64();
                let claim = &released.known.claim;
                let image = format!("{}:{}@{}", claim.image, claim.version, claim.digest);
                tracing::info!(
                    outcome = outputs.outcome,
                    "{word} {} in {seconds:.1} s: {image}",
                    outputs.tag
                );
            }
            Ending::Superseded(superseded) => self.announce_superseded(request, run, &superseded.by.claim),
            Ending::Planned(planned) => self.print_plan(request, planned),
        }
        if let Some(deployment) = ending.deployment() {
            self.announce_newer(deployment);
        }
        let written = self.write_files(&outputs, &text);
        let silent = match ending {
            Ending::Reported(answers) => answers.iter().find_map(|answer| answer.status.as_ref().err()),
            _ => None,
        };
        match silent {
            Some(failure) => {
                self.announce_failure(failure, &[]);
                failure.kind.exit_code()
            }
            None => written,
        }
    }

    /// A newer version is live: no failure, but nobody should believe that this one was deployed.
    fn announce_newer(&self, deployment: &Deployment) {
        let (Some(why), Some(release)) = (deployment.sequence.superseded(), &deployment.release) else {
            return;
        };
        let text = format!(
            "{} is not deployed: {why}.\nWhat to do: nothing, if the newer one is to stay. To deploy \
             exactly {0}, set `deploy-allow-downgrade: true`, which the server's app file has to \
             allow.\nMore: {}",
            release.version,
            Topic::NewerIsLive.link()
        );
        if self.environment.in_actions() {
            self.screen.line(&annotation(Severity::Notice, "Not deployed", &text));
        } else {
            tracing::info!(outcome = "superseded", "{text}");
        }
    }

    fn print_status(&self, answers: &[HostStatus]) {
        self.print_table(&servers::status_table(answers), &servers::status_json(answers));
    }

    fn announce_superseded(&self, request: &Request, run: &Run, by: &Claim) {
        let text = format!(
            "the newer commit {1} has the version {0}; commit {2} is not released, and will not be.",
            request.version.prefix.tag_of(&by.version),
            by.commit.short(),
            run.commit.short()
        );
        if self.environment.in_actions() {
            self.screen.line(&annotation(Severity::Notice, "Superseded", &text));
        } else {
            tracing::info!(outcome = "superseded", "superseded: {text}");
        }
    }

    fn print_plan(&self, request: &Request, planned: &Planned) {
        self.print_table(&plan::table(&plan::rows(request, planned)), &plan::json(request, planned));
    }

    /// For people a table, whose first line says most; for programs JSON, which no person at a terminal needs.
    fn print_table(&self, table: &str, json: &serde_json::Value) {
        if self.format != LogFormat::Json {
            let table = defused(table);
            let (first, rest) = table.split_once('\n').unwrap_or((&table, ""));
            self.screen.line(&format!("{}\n{rest}", self.screen.paint(Tone::Strong, first)));
        }
        if !self.screen.is_terminal() {
            self.screen.line(&commands::defused_json(&json.to_string()));
        }
    }

    /// Says what failed, once in each place, and gives the exit code.
    pub fn failed(&self, failure: &Failure, progress: &Progress) -> u8 {
        let outputs = Outputs { outcome: "failed", ..Outputs::default() };
        self.tell_failure(failure, progress, (&outputs, None))
    }

    fn tell_failure(
        &self,
        failure: &Failure,
        progress: &Progress,
        (outputs, deployment): (&Outputs, Option<&Deployment>),
    ) -> u8 {
        let done = progress.facts();
        let timings = progress.timings();
        let stage = progress.current().or_else(|| timings.last().map(|timing| timing.stage));
        let stages = stages::table(&progress.intents(), &timings, stage);
        self.announce_failure(failure, &done);
        self.write_files(outputs, &summary::failed(failure, &done, deployment, &stages));
        failure.kind.exit_code()
    }

    /// The one annotation of a run that fails; outside of Actions the same words in the log.
    fn announce_failure(&self, failure: &Failure, done: &[String]) {
        if self.environment.in_actions() {
            let text = failed::text_within(commands::LONGEST, failure, done);
            self.screen.line(&annotation(Severity::Error, failure.heading(), &text));
        } else {
            tracing::error!("{}: {}", failure.heading(), failed::text(failure, done));
        }
    }

    /// Outputs and summary, where a runner gave files for them. 0, or the exit code for a file that cannot
    /// be written: later steps would run on nothing.
    fn write_files(&self, outputs: &Outputs, text: &str) -> u8 {
        // Each is tried, whatever became of the other.
        let written = self.write_file("GITHUB_OUTPUT", |path| outputs::write(path, outputs));
        let summarised = self.write_file("GITHUB_STEP_SUMMARY", |path| summary::write(path, text));
        match written.and(summarised) {
            Ok(()) => 0,
            Err(error) => {
                tracing::error!("{error:#}");
                FailureKind::Internal.exit_code()
            }
        }
    }

    fn write_file(
        &self,
        variable: &str,
        write: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        let Some(path) = self.environment.get(variable) else { return Ok(()) };
        write(Path::new(path)).with_context(|| format!("writing the file that {variable} names, {path}"))
    }
}

/// Draws the stage that is running; a remark becomes an annotation where there is a runner.
#[derive(Debug)]
struct Shown {
    screen: Screen,
    annotates: bool,
}

impl Observer for Shown {
    fn begins(&self, stage: &'static str) -> Box<dyn Any + Send> {
        Box::new(self.screen.busy(stage))
    }

    fn remarks(&self, severity: Severity, title: &str, text: &str) {
        match severity {
            _ if self.annotates => self.screen.line(&annotation(severity, title, text)),
            Severity::Notice => tracing::info!("{title}: {text}"),
            Severity::Warning => tracing::warn!("{title}: {text}"),
            Severity::Error => tracing::error!("{title}: {text}"),
        }
    }
}
