//! The clients as a program, for scripts: loads a server until the time is over, or until SIGTERM or
//! SIGINT, prints what came out, and exits with 1 if anything was lost.
//!
//! `load --url http://127.0.0.1:8080 --seconds 10 --clients busy=4,idle=8,websocket=2`

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::process::ExitCode;
use std::time::Duration;

use testkit::load::{ClientKind, Load, Mix};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: load --url http://HOST:PORT [--seconds N] [--clients KIND=COUNT,...] \
                     [--pause MS] [--host NAME]\nkinds: busy, idle, new, post, slow, stream, websocket";

fn main() -> ExitCode {
    let (address, mix, time) = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let load = Load::start(address, &mix);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("a handler");
        let mut interrupt = signal(SignalKind::interrupt()).expect("a handler");
        tokio::select! {
            () = wait(time) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    });
    let report = load.stop();
    print!("{report}");
    for (version, answers) in &report.versions {
        println!("version {version}: {answers} answers");
    }
    if report.lost() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => autotag_base::clock::sleep(time).await,
        None => std::future::pending().await,
    }
}

type LoadOptions = (SocketAddr, Mix, Option<Duration>);

fn options(mut arguments: impl Iterator<Item = String>) -> Result<LoadOptions, String> {
    let (mut address, mut mix, mut time) = (None, Mix::default(), None);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{argument} wants a value"))?;
        match argument.as_str() {
            "--url" => address = Some(resolve(&value)?),
            "--seconds" => time = Some(Duration::from_secs(number(&value)?)),
            "--pause" => mix.pause = number(&value)?,
            "--host" => mix.host = Some(value),
            "--clients" => mix.clients = value.split(',').map(clients).collect::<Result<_, _>>()?,
            _ => return Err(format!("unknown argument: {argument}")),
        }
    }
    Ok((address.ok_or("--url is missing")?, mix, time))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("`{text}`: expected a number"))
}

fn resolve(url: &str) -> Result<SocketAddr, String> {
    let expected = || format!("`{url}`: expected http://HOST:PORT");
    let address = url.strip_prefix("http://").ok_or_else(expected)?.trim_end_matches('/');
    address.to_socket_addrs().ok().and_then(|mut all| all.next()).ok_or_else(expected)
}

fn clients(text: &str) -> Result<(ClientKind, usize), String> {
    let (name, count) = text.split_once('=').ok_or_else(|| format!("`{text}`: expected KIND=COUNT"))?;
    let kind = ClientKind::ALL.into_iter().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| format!("`{name}`: no such kind"))?;
    Ok((kind, count.parse().map_err(|_| format!("`{count}`: expected a number"))?))
}
