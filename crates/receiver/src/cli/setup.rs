//! `init` and `remove`: shows the steps, does them, says what comes next.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::ArgMatches;
use semver::Version;

use super::{Exit, app};
use crate::host::init;
use crate::host::init::next_steps;
use crate::host::init::next_steps::NextSteps;
use crate::host::init::options::{InitOptions, PublicKey};
use crate::host::init::plan::SetupStep;
use crate::host::init::{apply, sshd};
use crate::host::remove;
use crate::paths::Paths;
use crate::state::highest;
use autotag_model::secret::Secret;

pub(super) use crate::host::init::apps;

fn options(arguments: &ArgMatches) -> Result<InitOptions, String> {
    let key = match arguments.get_one::<String>("key") {
        None => None,
        Some(text) => {
            Some(text.parse::<PublicKey>().map_err(|expected| format!("--key: expected {expected}"))?)
        }
    };
    let public_name = arguments.get_one::<String>("public-name").cloned();
    if let Some(name) = &public_name
        && (name.is_empty()
            || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(&byte)))
    {
        return Err(
            "--public-name: expected a host name or an address, such as deploy.example.com".to_owned()
        );
    }
    let health = arguments.get_one::<String>("health").cloned();
    if health.as_ref().is_some_and(|health| health != "none" && !health.starts_with('/')) {
        return Err("--health: expected a path such as /healthz, or none".to_owned());
    }
    Ok(InitOptions {
        app: app(arguments).clone(),
        image: arguments.get_one("image").cloned(),
        port: arguments.get_one("port").copied(),
        listen: arguments.get_one("listen").cloned(),
        hosts: arguments.get_many("host").into_iter().flatten().cloned().collect(),
        health,
        key,
        new_key: arguments.get_flag("new-key"),
        adopt: arguments.get_one("adopt").cloned(),
        ssh_port: arguments.get_one("ssh-port").copied().unwrap_or(22),
        public_name,
    })
}

pub(super) fn init(paths: &Paths, arguments: &ArgMatches) -> anyhow::Result<ExitCode> {
    let options = match options(arguments) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("error: {fault}");
            return Ok(Exit::Unusable.into());
        }
    };
    let prepared = init::prepare(paths, &options)?;
    let notes = || prepared.notes.iter().for_each(|note| println!("note: {note}"));
    if arguments.get_flag("dry-run") {
        notes();
        if prepared.steps.is_empty() {
            println!("nothing to do");
        }
        prepared.steps.iter().for_each(show);
        return Ok(ExitCode::SUCCESS);
    }
    notes();
    let mut private_key = None;
    for step in &prepared.steps {
        println!("{step}");
        let made = apply::apply(paths, step).with_context(|| {
            format!("{step}: the steps before it stay done; fix the cause and run `init` again")
        })?;
        private_key = private_key.or(made);
    }
    if prepared.steps.is_empty() {
        println!("nothing to do: {} is set up", options.app);
    }
    if let Some(listen) = &prepared.listen {
        println!("{} will be served at {listen}", options.app);
    }
    if !prepared.systemd {
        print!("{}", next_steps::without_systemd(paths));
    }
    print!("{}", last_words(paths, &options, prepared.first, private_key.as_ref()));
    Ok(ExitCode::SUCCESS)
}

/// A step, and below it what a file will say.
fn show(step: &SetupStep) {
    println!("{step}");
    if let SetupStep::Write { shown, .. } = step {
        shown.lines().for_each(|line| println!("    | {line}"));
    }
}

fn last_words(paths: &Paths, options: &InitOptions, first: bool, private_key: Option<&Secret>) -> String {
    let kinds = ["ed25519", "ecdsa", "rsa"];
    let files = kinds.map(|kind| paths.sshd().join(format!("ssh_host_{kind}_key.pub")));
    let host_keys: Vec<String> = files.iter().filter_map(|file| std::fs::read_to_string(file).ok()).collect();
    let own = || std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    // Later on the name that was said at first would be lost by pasting this machine's own.
    let host = options.public_name.clone().or_else(|| first.then(own));
    let mut text = next_steps::text(&NextSteps {
        app: &options.app,
        host: host.as_deref(),
        port: options.ssh_port,
        host_keys: &host_keys,
        private_key,
    });
    let config = std::fs::read_to_string(paths.sshd().join("sshd_config"));
    if config.is_ok_and(|config| !sshd::reads_parts(&config)) {
        text.push_str(
            "\nsshd does not read the directory sshd_config.d: add `Include /etc/ssh/sshd_config.d/*.conf` \
             as the first line of /etc/ssh/sshd_config, and reload it.\n",
        );
    }
    text
}

pub(super) fn remove(paths: &Paths, arguments: &ArgMatches) -> anyhow::Result<ExitCode> {
    let app = app(arguments);
    let removal = remove::prepare(paths, app, arguments.get_flag("keep-data"))?;
    removal.notes.iter().for_each(|note| println!("note: {note}"));
    let nothing = removal.containers.is_empty()
        && removal.network.is_none()
        && removal.before.is_empty()
        && removal.after.is_empty();
    if nothing {
        println!("nothing to do: {app} is not set up here");
    } else if arguments.get_flag("dry-run") {
        removal.before.iter().for_each(|step| println!("{step}"));
        removal.containers.iter().for_each(|id| println!("stop and remove the container {id}"));
        removal.network.iter().for_each(|network| println!("remove the network {network}"));
        removal.after.iter().for_each(|step| println!("{step}"));
    } else {
        remove::apply(paths, app, &removal, |step| println!("{step}"))?;
        println!("{app} is removed; its volumes are left");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn reset_highest(paths: &Paths, arguments: &ArgMatches) -> anyhow::Result<ExitCode> {
    let output = highest::reset(paths, app(arguments), arguments.get_one::<Version>("VERSION"))?;
    println!("{output}");
    Ok(ExitCode::SUCCESS)
}
