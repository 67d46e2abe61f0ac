//! From the process's start to its exit code: masks, inputs, ports, pipeline, report, in that order.

use std::io::{self, IsTerminal as _, Write as _};

use tokio::signal::unix::{SignalKind, signal};

use crate::adapters::docker::lazy::LazyDocker;
use crate::adapters::github::{GitHub, GithubAccess};
use crate::adapters::registry::OciRegistry;
use crate::adapters::retry::RetryPolicy;
use crate::adapters::ssh::Libssh2;
use crate::cli::{self, Parsed, Printed};
use crate::failure::{Failure, FailureKind};
use crate::inputs::request::{LogFormat, Mode, log_format};
use crate::inputs::run::{Cause, Overrides};
use crate::inputs::{Command, Environment, InputErrors, RawInputs, Request, Run};
use crate::local::{checkout, local_logins};
use crate::pipeline::progress::Progress;
use crate::pipeline::{self, Ending, Job, Logs, Ports};
use crate::ports::{BuildLog, Forge as _};
use crate::release::survey;
use crate::report::commands;
use crate::report::console::Console;
use crate::report::log;
use crate::report::log::build::GroupedLog;
use crate::report::log::server::ServerLog;
use crate::report::log::terminal::TerminalLog;
use crate::report::screen::{Screen, ScreenLines};
use autotag_base::CallErrorKind;
use autotag_model::help::Topic;

/// The whole program. Gives the exit code.
pub async fn main(environment: Environment, arguments: &[String]) -> u8 {
    let mut raw = RawInputs::from_environment(&environment);
    // Before anything else is printed, and only where a runner takes the lines away again.
    if environment.in_actions() {
        for form in raw.to_mask(&environment) {
            Screen::default().line(&commands::mask(&form));
        }
    }
    // Nobody said anything: a person who wants to know what this is.
    if arguments.len() < 2 && !environment.in_ci() && !raw.names("command") {
        let colour = Screen::of_process(&environment, LogFormat::Text).has_colour();
        let _ = io::stderr().write_all(&printed(cli::short_help(), colour));
        return FailureKind::Input.exit_code();
    }
    let mut errors = InputErrors::default();
    let parsed = cli::parse(arguments, &mut raw, &mut errors);
    let format = log_format(&raw);
    let screen = Screen::of_process(&environment, format);
    let arguments = match parsed {
        Parsed::Run(arguments) => Ok(arguments),
        Parsed::Print(text) => {
            // A reader that has gone away (`| head`) has read enough.
            let _ = io::stdout().write_all(&printed(text, screen.has_colour()));
            return 0;
        }
        Parsed::Wrong(why) => Err(Failure::new(
            FailureKind::Input,
            "reading the arguments",
            why,
            "see `autotag-deploy --help`; nothing has been changed",
        )),
    };
    log::start(format, environment.get("RUNNER_DEBUG") == Some("1"), &screen);
    let console = Console { environment: &environment, format, screen };
    let progress = Progress::start(console.observer());
    match arguments.and_then(|it| inputs(&environment, &mut raw, it.overrides, errors)) {
        Err(failure) => console.failed(&failure, &progress),
        Ok((request, run)) => {
            let work = Box::pin(execute(&request, &run, &console, &progress));
            let result = until_interrupted(work, &progress).await;
            match result {
                Ok(ending) => console.ended(&ending, &request, &run, &progress),
                Err(failure) => console.failed(&failure, &progress),
            }
        }
    }
}

/// Help in its colours, or without them; anything else as it is.
fn printed(text: Printed, colour: bool) -> Vec<u8> {
    match text {
        Printed::Help(text) if colour => text.ansi().to_string().into_bytes(),
        Printed::Help(text) => text.to_string().into_bytes(),
        Printed::Bytes(bytes) => bytes,
    }
}

/// Everything that was said, understood; or one failure with all faults.
fn inputs(
    environment: &Environment,
    raw: &mut RawInputs,
    mut overrides: Overrides,
    mut errors: InputErrors,
) -> Result<(Request, Run), Failure> {
    let mut notices = Vec::new();
    let in_clone = !environment.in_actions() && environment.get("GITHUB_REPOSITORY").is_none();
    if in_clone {
        overrides = checkout::fill_in(environment, overrides, &mut errors);
        notices.extend(checkout::what_is_meant(&overrides));
    }
    // The clone's faults say more than that a variable is missing.
    let run = if errors.is_empty() { Run::read(environment, &overrides, &mut errors) } else { None };
    // A person who tries the program out must not find that it has released something.
    if !environment.in_ci() && !raw.names("command") {
        let expected = "`release` or `plan`: outside of CI the command must be named";
        errors.of_input("command", "", expected);
    }
    // A CI's own clone is detached and has its build products; what it builds from is its affair.
    let by_a_person = in_clone && !environment.in_ci();
    if by_a_person && raw.names("command") && raw.text("command") == "release" {
        let builds = raw.text("dry-run") != "true" && !raw.names("image-digest");
        checkout::check_for_release(environment, &overrides, builds, &mut errors);
    }
    if raw.secret("github-token").is_none() {
        let attended = io::stdin().is_terminal() || io::stderr().is_terminal();
        notices.extend(local_logins::find_github_token(environment, raw, attended));
    }
    // Without the run the inputs are still read, for their faults.
    let stand_in = || Run::stand_in(environment);
    let request = Request::parse(raw, &run.clone().unwrap_or_else(stand_in), &mut errors);
    match (request, run) {
        (Some(mut request), Some(run)) if errors.is_empty() => {
            // Servers are asked, and go back, without the registry.
            let asks_registry = !matches!(request.command, Command::Status | Command::Rollback);
            if asks_registry && request.registry.is_none() && !environment.in_ci() {
                notices.extend(local_logins::find_registry_login(environment, &mut request));
            }
            request.notices.extend(notices);
            Ok((request, run))
        }
        _ => Err(Failure::new(
            FailureKind::Input,
            "reading the inputs",
            errors.to_string(),
            "correct the inputs named above; docs/reference.md lists all of them",
        )
        .about(Topic::Inputs)),
    }
}

async fn execute(
    request: &Request,
    run: &Run,
    console: &Console<'_>,
    progress: &Progress,
) -> Result<Ending, Failure> {
    for notice in &request.notices {
        tracing::info!("{notice}");
    }
    let access = GithubAccess {
        api_url: &run.api_url,
        graphql_url: &run.graphql_url,
        repository: &run.repository,
        token: request.github_token.as_ref(),
    };
    let ports = Ports {
        forge: GitHub::connect(access, GitHub::patience())?,
        registry: OciRegistry::new(
            request.version.image.clone(),
            request.registry.as_ref(),
            RetryPolicy::default(),
        )?,
        builder: LazyDocker::default(),
        remote: Libssh2,
    };
    if !console.environment.in_ci() && !request.command.reaches_servers() {
        is_pushed(request, run, &ports.forge).await?;
    }
    let mode = mode(request, run, &ports.forge).await?;
    if let Mode::Preview(why) = &mode
        && request.command == Command::Release
    {
        tracing::info!("nothing will be published: {why}");
    }
    let job = Job { request, run, mode: &mode };
    let lines = || ScreenLines::on(&console.screen);
    let mut build: Box<dyn BuildLog> = if console.screen.is_watched() {
        Box::new(TerminalLog::new(console.screen.clone()))
    } else {
        Box::new(GroupedLog::new(lines(), console.style()))
    };
    let mut deploy = ServerLog::new(lines(), console.style()).on(console.screen.clone());
    let mut logs = Logs { build: &mut *build, deploy: &mut deploy };
    pipeline::run(&ports, job, progress, &mut logs).await
}

/// A person's clone may be ahead of GitHub, and a person may have no login there: neither is a new repository.
async fn is_pushed(request: &Request, run: &Run, forge: &GitHub) -> Result<(), Failure> {
    let Err(error) = forge.commit(&run.commit).await else { return Ok(()) };
    let (kind, remedy) = match error.kind {
        CallErrorKind::Rejected => (
            FailureKind::Input,
            "push the commit first; the order of versions is that of GitHub's commits".to_owned(),
        ),
        CallErrorKind::Denied if request.github_token.is_none() => {
            let remedy = "GitHub shows {} only to those who are logged in, or there is no such repository: \
                          set GH_TOKEN, or log in with `gh auth login`";
            (FailureKind::Denied, remedy.replace("{}", &run.repository))
        }
        _ => return Err(error.into()),
    };
    Err(Failure::new(kind, error.doing, error.why, remedy))
}

/// The default branch is asked for only where the event did not say it and something depends on it.
async fn mode(request: &Request, run: &Run, forge: &GitHub) -> Result<Mode, Failure> {
    let default_branch = match &run.default_branch {
        Some(branch) => branch.clone(),
        None if request.depends_on_default_branch(run) => forge.repository().await?.default_branch,
        None => String::new(),
    };
    let mode = request.mode(run, &default_branch);
    // The push of a tag says nothing of the release that it may have come with.
    match &run.cause {
        Cause::Tag(tag) if mode.publishes() && !request.command.reaches_servers() => {
            let is_prerelease = survey::is_prerelease(forge, tag).await?;
            let why = || format!("GitHub's release of the tag {tag} is marked as a prerelease");
            Ok(if is_prerelease { Mode::Preview(why()) } else { mode })
        }
        _ => Ok(mode),
    }
}

/// Drops the work on SIGINT or SIGTERM. The runner gives ten seconds; nothing here needs one: each step
/// that took effect is found again by the next run, and dropping a build cancels it.
async fn until_interrupted(
    work: impl Future<Output = Result<Ending, Failure>>,
    progress: &Progress,
) -> Result<Ending, Failure> {
    let broken = |error: std::io::Error| {
        Failure::new(FailureKind::Internal, "listening for signals", error.to_string(), "report a bug")
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
        "deploy" => {
            "the server continues by itself: check what runs with `command: status`, or run the job again"
        }
        _ => "run the job again if you still want the release: it continues from what is done",
    };
    Err(Failure::new(
        FailureKind::Interrupted,
        format!("the stage {stage}"),
        format!("{name}: the run was cancelled"),
        remedy,
    ))
}
