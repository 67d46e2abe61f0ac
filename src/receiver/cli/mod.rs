//! From the arguments to the exit code.

mod arguments;
mod exit;
mod owner;
mod setup;
mod surroundings;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::ArgMatches;

use super::layout::Layout;
use super::{check, relay, serve};
use crate::deploy::protocol::AppName;
use crate::manual;
use crate::proxy;
pub use exit::Exit;
use surroundings::Surroundings;

/// The whole program. Errors are printed by the caller, and end it as [`Exit::of`] says.
pub fn main() -> anyhow::Result<ExitCode> {
    let matches = arguments::command(arguments::Shown::All).get_matches();
    let surroundings = Surroundings::read();
    let layout = matches.get_one::<String>("root").map_or_else(Layout::default, Layout::below);
    let Some((word, arguments)) = matches.subcommand() else { return Ok(Exit::Unusable.into()) };
    match word {
        "serve" => {
            log();
            let docker = arguments.get_one::<String>("docker").map_or_else(|| layout.docker(), Into::into);
            runtime()?.block_on(serve::run(layout, &docker))?;
            Ok(ExitCode::SUCCESS)
        }
        // Nothing of our own on standard output: that is the protocol's.
        "receive" => {
            let word = surroundings.ssh_command.as_deref();
            relay::run(&layout, app(arguments), word)?;
            Ok(ExitCode::SUCCESS)
        }
        "proxy" => {
            log();
            let admin = arguments.get_one::<String>("admin").map_or_else(|| layout.proxy_admin(), Into::into);
            let mut options = proxy::Options::new(admin);
            options.via = arguments.get_one::<String>("via").cloned();
            options.notify = surroundings.notify_socket;
            runtime()?.block_on(proxy::run(options)).context("running the proxy")?;
            Ok(ExitCode::SUCCESS)
        }
        "completions" | "man" => about_itself(word, arguments),
        "check" => check(&layout, arguments),
        "init" => setup::init(&layout, arguments),
        "remove" => setup::remove(&layout, arguments),
        _ => owner::run(&layout, word, arguments, &surroundings),
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
fn check(layout: &Layout, arguments: &ArgMatches) -> anyhow::Result<ExitCode> {
    let words: Vec<&String> = arguments.get_many::<String>("APP").into_iter().flatten().collect();
    let report = check::run(layout, &words)?;
    for note in &report.right {
        println!("{note}");
    }
    for fault in &report.faults {
        eprintln!("{fault}");
    }
    Ok(if report.faults.is_empty() { ExitCode::SUCCESS } else { Exit::Unusable.into() })
}
