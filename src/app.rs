//! From the process's start to its exit code: masks, inputs, world, pipeline, report, in that order.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::OnceCell;

use crate::cli::{self, Parsed};
use crate::failure::{Failure, Kind};
use crate::image::reference::{Digest, ImageName, ImageTag};
use crate::inputs::order::{Command, LogFormat, Purpose, log_format};
use crate::inputs::run::Overrides;
use crate::inputs::{Environment, Faults, Order, Run, Said, checkout};
use crate::pipeline::deployment::{Deployment, HostStatus};
use crate::pipeline::{self, Ending, Job, Logs, Planned, World};
use crate::report::build_log::{GroupedLog, Style};
use crate::report::commands::{self, Level, annotation, defused};
use crate::report::deploy_log::ServerLog;
use crate::report::outputs::{self, Outputs};
use crate::report::progress::Progress;
use crate::report::{log, plan, servers, stages, summary};
use crate::secret::Credentials;
use crate::world::docker::Docker;
use crate::world::github::{Access, GitHub};
use crate::world::registry::OciRegistry;
use crate::world::retry::{Patience, Repeat, with_patience};
use crate::world::ssh::Libssh2;
use crate::world::{BuildLog, BuildRequest, Builder, Forge as _, Outcome};

/// The whole program. Gives the exit code.
pub async fn main(environment: Environment, arguments: &[String]) -> u8 {
    let mut said = Said::from_environment(&environment);
    // Before anything else is printed, and only where a runner takes the lines away again.
    if environment.in_actions() {
        for form in said.to_mask(&environment) {
            print_line(&commands::mask(&form));
        }
    }
    let mut faults = Faults::default();
    let arguments = match cli::parse(arguments, &mut said, &mut faults) {
        Parsed::Run(arguments) => arguments,
        Parsed::Print(text) => {
            print_line(text.trim_end());
            return 0;
        }
    };
    let format = log_format(&said);
    log::start(format, environment.get("RUNNER_DEBUG") == Some("1"));
    let progress = Progress::start();
    let console = Console { environment: &environment, format };
    match inputs(&environment, &mut said, arguments.overrides, faults) {
        Err(failure) => console.failed(&failure, &progress),
        Ok((order, run)) => {
            let work = Box::pin(execute(&order, &run, &console, &progress));
            let result = until_interrupted(work, &progress).await;
            match result {
                Ok(ending) => console.ended(&ending, &order, &run, &progress),
                Err(failure) => console.failed(&failure, &progress),
            }
        }
    }
}

/// Everything that was said, understood; or one failure with all faults.
fn inputs(
    environment: &Environment,
    said: &mut Said,
    overrides: Overrides,
    mut faults: Faults,
) -> Result<(Order, Run), Failure> {
    let mut overrides = overrides;
    if !environment.in_actions() && environment.get("GITHUB_REPOSITORY").is_none() {
        let server = environment.get("GITHUB_SERVER_URL").unwrap_or("https://github.com");
        let host = server.split_once("://").map_or(server, |(_, host)| host);
        overrides = checkout::fill_in(overrides, host.trim_end_matches('/'));
    }
    if !environment.in_actions()
        && said.secret("github-token").is_none()
        && let Some(token) = environment.get("GITHUB_TOKEN").or_else(|| environment.get("GH_TOKEN"))
    {
        said.set("github-token", token.to_owned());
    }
    // A person who tries the program out must not find that it has released something.
    if environment.get("CI").is_none() && !environment.in_actions() && !said.names("command") {
        faults.of_input(
            "command",
            "",
            "`release` or `plan` in so many words, since no CI started this program",
        );
    }
    let run = Run::read(environment, &overrides, &mut faults);
    // Without the run the inputs are still read, for their faults.
    let stand_in = || Run::stand_in(environment);
    let order = Order::parse(said, &run.clone().unwrap_or_else(stand_in), &mut faults);
    match (order, run) {
        (Some(order), Some(run)) if faults.is_empty() => Ok((order, run)),
        _ => Err(Failure::new(
            Kind::Input,
            "reading the inputs",
            faults.to_string(),
            "correct the inputs named above; nothing has been changed",
        )),
    }
}

async fn execute(
    order: &Order,
    run: &Run,
    console: &Console<'_>,
    progress: &Progress,
) -> Result<Ending, Failure> {
    for notice in &order.notices {
        tracing::info!("{notice}");
    }
    let access = Access {
        api_url: &run.api_url,
        graphql_url: &run.graphql_url,
        repository: &run.repository,
        token: order.github_token.as_ref(),
    };
    let world = World {
        forge: GitHub::connect(access, Patience::default())?,
        registry: OciRegistry::new(order.wish.image.clone(), order.registry.as_ref(), Patience::default())?,
        builder: LazyDocker::default(),
        shell: Libssh2,
    };
    let purpose = purpose(order, run, &world.forge).await?;
    if let Some(why) = &purpose.preview
        && order.command == Command::Release
    {
        tracing::info!("nothing will be published: {why}");
    }
    let job = Job { order, run, purpose: &purpose };
    let mut build = GroupedLog::new(std::io::stdout(), console.style());
    let mut deploy = ServerLog::new(std::io::stdout(), console.style());
    let mut logs = Logs { build: &mut build, deploy: &mut deploy };
    pipeline::run(&world, job, progress, &mut logs).await
}

/// The default branch is asked for only where the event did not say it and something depends on it.
async fn purpose(order: &Order, run: &Run, forge: &GitHub) -> Result<Purpose, Failure> {
    let default_branch = match &run.default_branch {
        Some(branch) => branch.clone(),
        None if order.depends_on_default_branch(run) => forge.repository().await?.default_branch,
        None => String::new(),
    };
    Ok(order.purpose(run, &default_branch))
}

/// Drops the work on SIGINT or SIGTERM. The runner gives ten seconds; nothing here needs one: each step
/// that took effect is found again by the next run, and dropping a build cancels it.
async fn until_interrupted(
    work: impl Future<Output = Result<Ending, Failure>>,
    progress: &Progress,
) -> Result<Ending, Failure> {
    let broken = |error: std::io::Error| {
        Failure::new(Kind::Internal, "listening for signals", error.to_string(), "report this as a defect")
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(broken)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(broken)?;
    let name = tokio::select! {
        result = work => return result,
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    };
    let stage = progress.current().unwrap_or("start");
    let remedy = match stage {
        "deploy" => "the server goes on by itself: see what runs by `command: status`, or run the job again",
        _ => "run the job again if the release is still wanted: it goes on from what is done",
    };
    Err(Failure::new(
        Kind::Interrupted,
        format!("the stage {stage}"),
        format!("{name}: the run was cancelled"),
        remedy,
    ))
}

/// Docker, connected when something is first built: a plan, a resumed and a superseded run need none.
#[derive(Debug, Default)]
struct LazyDocker(OnceCell<Docker>);

impl LazyDocker {
    async fn docker(&self) -> Outcome<&Docker> {
        self.0.get_or_try_init(Docker::connect).await
    }
}

impl Builder for LazyDocker {
    async fn build(&self, request: &BuildRequest, log: &mut dyn BuildLog) -> Outcome<Digest> {
        self.docker().await?.build(request, log).await
    }

    async fn push(
        &self,
        image: &Digest,
        name: &ImageName,
        tag: &ImageTag,
        credentials: Option<&Credentials>,
        log: &mut dyn BuildLog,
    ) -> Outcome<Digest> {
        let docker = self.docker().await?;
        // A layer that has arrived is not sent again, and the tag names these bytes alone.
        with_patience(&Patience::default(), Repeat::Idempotent, async || {
            docker.push(image, name, tag, credentials, log).await
        })
        .await
    }
}

/// Where reports go.
struct Console<'a> {
    environment: &'a Environment,
    format: LogFormat,
}

impl Console<'_> {
    fn style(&self) -> Style {
        Style::for_run(self.format, self.environment.in_actions())
    }

    /// Says how it ended, and gives the exit code.
    fn ended(&self, ending: &Ending, order: &Order, run: &Run, progress: &Progress) -> u8 {
        if let Some(deployment) = ending.deployment()
            && let Some(failure) = &deployment.failure
        {
            let outputs = Outputs::of(ending, order);
            return self.tell_failure(failure, progress, (&outputs, Some(deployment)));
        }
        let stages = stages::table(&progress.intents(), &progress.timings(), None);
        let text = match ending {
            Ending::Released(released) => summary::released(order, run, released, &stages),
            Ending::Superseded(superseded) => summary::superseded(order, run, superseded, &stages),
            Ending::Planned(planned) => summary::planned(order, planned, &stages),
            Ending::Deployed(deployment) | Ending::RolledBack(deployment) => {
                summary::deployed(deployment, &stages)
            }
            Ending::Told(answers) => servers::status_summary(answers),
        };
        let outputs = Outputs::of(ending, order);
        match ending {
            // What is superseded is announced below.
            Ending::Deployed(deployment) if !deployment.deployed() => {}
            Ending::Deployed(_) | Ending::RolledBack(_) => {
                let (outcome, seconds) = (outputs.outcome, &outputs.deploy_seconds);
                tracing::info!(outcome, "{outcome} {} in {seconds} s", outputs.deployed_version);
            }
            Ending::Told(answers) => self.print_status(answers),
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
            Ending::Superseded(superseded) => self.announce_superseded(order, run, &superseded.by.claim),
            Ending::Planned(planned) => self.print_plan(order, planned),
        }
        if let Some(deployment) = ending.deployment() {
            self.announce_newer(deployment);
        }
        let written = self.write_files(&outputs, &text);
        let silent = match ending {
            Ending::Told(answers) => answers.iter().find_map(|answer| answer.status.as_ref().err()),
            _ => None,
        };
        silent.map_or(written, |failure| failure.kind.exit_code())
    }

    /// A newer version is live: no failure, but nobody should believe that this one was deployed.
    fn announce_newer(&self, deployment: &Deployment) {
        let (Some(why), Some(release)) = (deployment.tour.superseded(), &deployment.release) else { return };
        let text = format!(
            "{} is not deployed: {why}. A person who wants exactly this version sets `deploy-by-name: true`.",
            release.version
        );
        if self.environment.in_actions() {
            print_line(&annotation(Level::Notice, "Not deployed", &text));
        } else {
            tracing::info!(outcome = "superseded", "{text}");
        }
    }

    fn print_status(&self, answers: &[HostStatus]) {
        if self.format != LogFormat::Json {
            print_line(&defused(&servers::status_table(answers)));
        }
        print_line(&commands::defused_json(&servers::status_json(answers).to_string()));
    }

    fn announce_superseded(&self, order: &Order, run: &Run, by: &crate::version::claim::Claim) {
        let text = format!(
            "the newer commit {1} has the version {0}; commit {2} is not released, and will not be.",
            order.wish.prefix.tag_of(&by.version),
            by.commit.short(),
            run.commit.short()
        );
        if self.environment.in_actions() {
            print_line(&annotation(Level::Notice, "Superseded", &text));
        } else {
            tracing::info!(outcome = "superseded", "superseded: {text}");
        }
    }

    fn print_plan(&self, order: &Order, planned: &Planned) {
        let json = commands::defused_json(&plan::json(order, planned).to_string());
        if self.format == LogFormat::Json {
            print_line(&json);
        } else {
            print_line(&defused(&plan::table(&plan::rows(order, planned))));
            print_line(&json);
        }
    }

    /// Says what failed, once in each place, and gives the exit code.
    fn failed(&self, failure: &Failure, progress: &Progress) -> u8 {
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
        let text = failure_text(failure, &done);
        let stages = stages::table(&progress.intents(), &timings, stage);
        if self.environment.in_actions() {
            print_line(&annotation(Level::Error, failure.kind.heading(), &text));
        } else {
            tracing::error!("{}: {text}", failure.kind.heading());
        }
        self.write_files(outputs, &summary::failed(failure, &done, deployment, &stages));
        failure.kind.exit_code()
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
                Kind::Internal.exit_code()
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

fn failure_text(failure: &Failure, done: &[String]) -> String {
    let done = if done.is_empty() { "nothing".to_owned() } else { done.join("; ") };
    let separator = if failure.why.contains('\n') { ":\n" } else { ": " };
    format!(
        "{}{separator}{}\nDone already: {done}.\nWhat to do: {}.",
        failure.what, failure.why, failure.remedy
    )
}

/// A line on standard output. A reader that has gone away (`| head`) is no reason to stop a release.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
