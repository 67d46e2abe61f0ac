//! The server's program. So far it checks app files and runs the traffic proxy; deploying comes next.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use autotag_deploy::proxy;
use autotag_deploy::receiver::app_file::AppFile;
use clap::{Arg, ArgMatches, Command, value_parser};

/// An app file with faults; likewise wrong arguments, as clap has it.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    let arguments = arguments().get_matches();
    let ended = match arguments.subcommand() {
        Some(("check", arguments)) => check(&path(arguments, "FILE")),
        Some(("proxy", arguments)) => run_proxy(arguments).map(|()| ExitCode::SUCCESS),
        Some(("serve", arguments)) => {
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stderr).init();
            let runtime = tokio::runtime::Runtime::new().expect("rt");
            let layout = autotag_deploy::receiver::layout::Layout::below(path(arguments, "root"));
            runtime.block_on(autotag_deploy::receiver::serve::run(layout, &path(arguments, "docker"))).map(|()| ExitCode::SUCCESS)
        }
        // clap demands one of those above.
        _ => Ok(ExitCode::from(UNUSABLE)),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn arguments() -> Command {
    let file = |name: &'static str| Arg::new(name).required(true).value_parser(value_parser!(PathBuf));
    Command::new("autotag-receiver")
        .version(env!("CARGO_PKG_VERSION"))
        .about("The server's side of autotag-deploy")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("check")
                .about("Checks an app file, and tells all its faults at once")
                .arg(file("FILE").help("Such as /etc/autotag/APP.yaml")),
        )
        .subcommand(
            Command::new("serve")
                .arg(file("root").long("root"))
                .arg(file("docker").long("docker")))
        .subcommand(
            Command::new("proxy")
                .about("Serves the applications' traffic; routes come by the admin socket")
                .arg(file("admin").long("admin").value_name("SOCKET").help("Where to open the admin socket"))
                .arg(Arg::new("via").long("via").value_name("NAME").help("Name to add to the field Via")),
        )
}

fn path(arguments: &ArgMatches, name: &str) -> PathBuf {
    arguments.get_one::<PathBuf>(name).cloned().unwrap_or_default()
}

/// Prints nothing but one line where the file is right; its faults on standard error otherwise.
fn check(file: &Path) -> anyhow::Result<ExitCode> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {shown}"))?;
    Ok(match AppFile::parse(&text) {
        Ok(_) => {
            println!("{shown} is right");
            ExitCode::SUCCESS
        }
        Err(faults) => {
            eprintln!("{shown} is not usable:\n{faults}");
            ExitCode::from(UNUSABLE)
        }
    })
}

fn run_proxy(arguments: &ArgMatches) -> anyhow::Result<()> {
    // On standard error, where journald takes one JSON object a line.
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(std::io::stderr).init();
    let mut options = proxy::Options::new(path(arguments, "admin"));
    options.via = arguments.get_one::<String>("via").cloned();
    options.notify = notify_socket();
    let runtime = tokio::runtime::Runtime::new().context("starting the runtime")?;
    runtime.block_on(proxy::run(options)).context("running the proxy")
}

#[expect(clippy::disallowed_methods, reason = "systemd's own variable; this program has no inputs")]
fn notify_socket() -> Option<String> {
    std::env::var("NOTIFY_SOCKET").ok().filter(|socket| !socket.is_empty())
}
