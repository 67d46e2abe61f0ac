//! From the arguments to the exit code.

pub mod client;
pub mod show;

mod arguments;
mod exit;
mod owner;
mod setup;
mod surroundings;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ArgMatches;

use crate::cli::client::NoResult;
use crate::config::app_file::Faults;
use crate::host::check;
use crate::paths::Paths;
use crate::serve;
use crate::serve::forced_command;
use autotag_base::manual;
use autotag_model::help;
use autotag_model::help::Topic;
use autotag_protocol::AppName;
use autotag_proxy as proxy;
pub use exit::Exit;
use surroundings::Surroundings;

/// The whole program. Errors are printed by the caller, and end it as [`Exit::of`] says.
pub fn main() -> anyhow::Result<ExitCode> {
    let matches = arguments::command(arguments::Shown::All).get_matches();
    let surroundings = Surroundings::read();
    let paths = matches.get_one::<String>("root").map_or_else(Paths::default, Paths::below);
    let Some((word, arguments)) = matches.subcommand() else { return Ok(Exit::Unusable.into()) };
    match word {
        "serve" => {
            log();
            let docker = arguments.get_one::<String>("docker").map_or_else(|| paths.docker(), Into::into);
            runtime()?.block_on(serve::run(paths, &docker))?;
            Ok(ExitCode::SUCCESS)
        }
        // Nothing of our own on standard output: that is the protocol's.
        "receive" => {
            let word = surroundings.ssh_command.as_deref();
            forced_command::run(&paths, app(arguments), word)?;
            Ok(ExitCode::SUCCESS)
        }
        "proxy" => {
            log();
            let admin = arguments.get_one::<String>("admin").map_or_else(|| paths.proxy_admin(), Into::into);
            let mut options = proxy::Options::new(admin);
            options.via = arguments.get_one::<String>("via").cloned();
            options.notify = surroundings.notify_socket;
            runtime()?.block_on(proxy::run(options)).context("running the proxy")?;
            Ok(ExitCode::SUCCESS)
        }
        "completions" | "man" => print_error(about_itself(word, arguments)),
        "check" => print_error(check(&paths, arguments)),
        "init" => print_error(setup::init(&paths, arguments)),
        "remove" => print_error(setup::remove(&paths, arguments)),
        "reset-highest" => print_error(setup::reset_highest(&paths, arguments)),
        _ => print_error(owner::run(&paths, word, arguments, &surroundings)),
    }
}

/// Completions and man pages. A reader that has gone away (`| head`) has read enough.
fn about_itself(word: &str, arguments: &ArgMatches) -> anyhow::Result<ExitCode> {
    let command = arguments::command(arguments::Shown::ToPeople);
    let text = manual::answer(word, arguments, command, &arguments::sections())
        .context("writing the man pages")?
        .unwrap_or_default();
    let _ = std::io::stdout().write_all(&text);
    Ok(ExitCode::SUCCESS)
}

/// What went wrong, and where to read on: for people, so not where `receive` speaks with the action.
fn print_error(result: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    result.or_else(|error| {
        let unheard = matches!(error.downcast_ref(), Some(NoResult::NotRunning { .. }));
        let topic = if unheard {
            Some(Topic::NoReceiver)
        } else {
            error.downcast_ref::<Faults>().map(|_| Topic::AppFile)
        };
        eprintln!("error: {error:#}");
        more(topic);
        Ok(Exit::of(&error).into())
    })
}

/// On standard error: the section of the documentation.
fn more(topic: Option<Topic>) {
    eprintln!("More: {}", topic.map_or_else(help::link, Topic::link));
}

/// On standard error, where journald takes one JSON object a line.
fn log() {
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stderr).init();
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Runtime::new().context("starting the runtime")
}

/// The application; clap has demanded it.
fn app(arguments: &ArgMatches) -> &AppName {
    arguments.get_one::<AppName>("APP").expect("a required argument")
}

/// Faults on standard error, the rest on standard output.
fn check(paths: &Paths, arguments: &ArgMatches) -> anyhow::Result<ExitCode> {
    let words: Vec<&String> = arguments.get_many::<String>("APP").into_iter().flatten().collect();
    let report = check::run(paths, &words)?;
    for note in &report.right {
        println!("{note}");
    }
    for fault in &report.faults {
        eprintln!("{fault}");
    }
    if report.faults.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    more(None);
    Ok(Exit::Unusable.into())
}
