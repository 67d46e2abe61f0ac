//! The owner's questions and changes, as a client of `serve`.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::ArgMatches;
use semver::Version;

use super::exit::NotAnswered;
use super::surroundings::Surroundings;
use super::{Exit, app};
use crate::cli::client;
use crate::cli::client::NoResult;
use crate::cli::show;
use crate::cli::show::{Progress, Style, harmless};
use crate::config::app_file::AppFile;
use crate::paths::Paths;
use autotag_base::clock;
use autotag_model::git::ObjectId;
use autotag_model::reference::Digest;
use autotag_protocol::remedies;
use autotag_protocol::{
    AppName, Body, Configuration, Deploy, DeploymentId, End, Event, HISTORY_ENTRIES, HistoryEntry, Open,
    Outcome, RefusalCode, Request, Rollback, Running, Status,
};

/// Who deploys, in history and journal.
const BY_HAND: &str = "manually on the server";

struct Deployer<'a> {
    paths: &'a Paths,
    look: Style,
    json: bool,
}

/// One of the commands that ask `serve`.
pub(super) fn run(
    paths: &Paths,
    word: &str,
    arguments: &ArgMatches,
    surroundings: &Surroundings,
) -> anyhow::Result<ExitCode> {
    let json = arguments.get_flag("json");
    let look = Style { terminal: surroundings.terminal, colour: surroundings.colour, now: clock::now() };
    let owner = Deployer { paths, look, json };
    match word {
        "status" => owner.status(arguments.get_one::<AppName>("APP")),
        "history" => owner.history(app(arguments), number(arguments, "entries")),
        "logs" => owner.logs(app(arguments), number(arguments, "lines")),
        "deploy" => {
            let deploy = owner.what_to_deploy(app(arguments), arguments)?;
            owner.change(app(arguments), Body::Deploy(Box::new(deploy)))
        }
        "rollback" => {
            let then = arguments.get_one::<String>("configuration").is_some_and(|which| which == "then");
            let rollback = Rollback {
                deployment: new_id()?,
                to: arguments.get_one::<Version>("VERSION").cloned(),
                reverts: None,
                configuration: if then { Configuration::Then } else { Configuration::Today },
                credential: None,
                run: BY_HAND.to_owned(),
            };
            owner.change(app(arguments), Body::Rollback(Box::new(rollback)))
        }
        other => bail!("`{other}` is no command"),
    }
}

fn number(arguments: &ArgMatches, name: &str) -> u32 {
    arguments.get_one::<u32>(name).copied().unwrap_or(1)
}

/// Unique on this machine: the moment to the millisecond and the process.
fn new_id() -> anyhow::Result<DeploymentId> {
    let text = format!("by-hand-{}-{}", clock::now().as_millisecond(), std::process::id());
    text.parse().map_err(|expected| anyhow::anyhow!("`{text}`: expected {expected}"))
}

impl Deployer<'_> {
    fn ask(&self, app: &AppName, body: Body, hear: impl FnMut(&Event)) -> Result<Outcome, NoResult> {
        client::ask(self.paths, &Request { app: app.clone(), body }, hear)
    }

    fn status_of(&self, app: &AppName) -> anyhow::Result<Status> {
        let mut status = None;
        let outcome = self.ask(app, Body::Status { deployment: None }, |answer| {
            if let Event::Status(reported) = answer {
                status = Some((**reported).clone());
            }
        })?;
        status.ok_or_else(|| not_answered(app, &outcome).into())
    }

    fn status(&self, app: Option<&AppName>) -> anyhow::Result<ExitCode> {
        let apps = match app {
            Some(app) => vec![app.clone()],
            None => super::setup::apps(self.paths)?,
        };
        let mut reported = Vec::new();
        for app in apps {
            match self.status_of(&app) {
                Ok(status) => reported.push((app, status)),
                Err(error) if self.json => {
                    print(&format!(
                        "{}\n",
                        serde_json::json!({ "app": app, "error": format!("{error:#}") })
                    ))?;
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        if self.json {
            for (app, status) in &reported {
                print(&format!("{}\n", serde_json::json!({ "app": app, "status": status })))?;
            }
        } else {
            print(&show::status(&reported, &self.look))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn entries_of(&self, app: &AppName, entries: u32) -> anyhow::Result<Vec<HistoryEntry>> {
        let mut reported = Vec::new();
        let outcome = self.ask(app, Body::History { entries }, |answer| {
            if let Event::History(entry) = answer {
                reported.push((**entry).clone());
            }
        })?;
        match outcome.end {
            End::Reported {} => Ok(reported),
            _ => Err(not_answered(app, &outcome).into()),
        }
    }

    fn history(&self, app: &AppName, entries: u32) -> anyhow::Result<ExitCode> {
        let entries = self.entries_of(app, entries)?;
        if self.json {
            for entry in &entries {
                print(&format!("{}\n", serde_json::to_string(entry)?))?;
            }
        } else {
            print(&show::history(&entries, &self.look))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    fn logs(&self, app: &AppName, lines: u32) -> anyhow::Result<ExitCode> {
        let mut printed = Ok(());
        let outcome = self.ask(app, Body::Logs { lines }, |answer| {
            if let (Event::Log { line, .. }, Ok(())) = (answer, &printed) {
                let text =
                    if self.json { serde_json::json!({ "line": line }).to_string() } else { harmless(line) };
                printed = print(&format!("{text}\n"));
            }
        })?;
        printed?;
        self.exit_code(app, &outcome)
    }

    /// What the arguments, what serves, or the history say.
    fn what_to_deploy(&self, app: &AppName, arguments: &ArgMatches) -> anyhow::Result<Deploy> {
        let release = match arguments.get_one::<Version>("VERSION") {
            None => {
                let serves = match self.status_of(app)?.running {
                    Some(running) => Some(running),
                    None => self.served_last(app)?,
                };
                let release = serves.with_context(|| {
                    format!("nothing of {app} was deployed yet: pass a version, --image-digest and --commit")
                })?;
                (release.version, release.digest, release.commit)
            }
            Some(version) => {
                let digest = arguments.get_one::<Digest>("image-digest").cloned();
                let commit = arguments.get_one::<ObjectId>("commit").cloned();
                let (digest, commit) = match digest.zip(commit) {
                    Some(given) => given,
                    None => self.recorded(app, version).map(|it| (it.digest, it.commit))?,
                };
                (version.clone(), digest, commit)
            }
        };
        let file = self.paths.app_file(app);
        let text = std::fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let parsed = AppFile::parse(&text).with_context(|| format!("{} is not usable", file.display()))?;
        let (version, digest, commit) = release;
        Ok(Deploy {
            deployment: new_id()?,
            image: parsed.image,
            digest,
            version,
            commit,
            allow_downgrade: arguments.get_flag("allow-downgrade"),
            environment: std::collections::BTreeMap::new(),
            credential: None,
            run: BY_HAND.to_owned(),
        })
    }

    /// What came to serve last, where nothing serves: its container was removed.
    fn served_last(&self, app: &AppName) -> anyhow::Result<Option<Running>> {
        let entries = self.entries_of(app, HISTORY_ENTRIES)?.into_iter();
        let mut served = entries.filter(|entry| matches!(entry.end, End::Deployed {} | End::RolledBack {}));
        Ok(served.next().map(|entry| entry.release))
    }

    fn recorded(&self, app: &AppName, version: &Version) -> anyhow::Result<Running> {
        let entries = self.entries_of(app, HISTORY_ENTRIES)?;
        let found = entries.into_iter().find(|entry| entry.release.version == *version);
        found.map(|entry| entry.release).with_context(|| {
            format!("{version} of {app} is not recorded here: also pass --image-digest and --commit")
        })
    }

    fn change(&self, app: &AppName, body: Body) -> anyhow::Result<ExitCode> {
        let mut progress = Progress::new(self.look);
        let mut printed = Ok(());
        let outcome = self.ask(app, body, |answer| {
            let text = match answer {
                Event::Heartbeat {} | Event::Unknown(_) => return,
                other if self.json => other.to_line().unwrap_or_default(),
                other => progress.draw(other),
            };
            // Who does not read any more does not stop a deployment.
            printed = print(&text);
        });
        drop(printed);
        print(progress.clear())?;
        let outcome = outcome?;
        if self.json {
            print(&Event::Result(Box::new(outcome.clone())).to_line()?)?;
        } else {
            print(&show::outcome(app, &outcome, &self.look))?;
            if let End::Refused {
                code: Open::Known(RefusalCode::NewerIsLive | RefusalCode::RolledBack),
                ..
            } = outcome.end
            {
                print("Add --allow-downgrade to deploy it anyway.\n")?;
            }
            more_about(&outcome.end);
        }
        Ok(exit_code(&outcome.end))
    }

    /// For questions, which print their answers themselves.
    fn exit_code(&self, app: &AppName, outcome: &Outcome) -> anyhow::Result<ExitCode> {
        if self.json && !matches!(outcome.end, End::Reported {}) {
            print(&Event::Result(Box::new(outcome.clone())).to_line()?)?;
        } else if !matches!(outcome.end, End::Reported {}) {
            print(&show::outcome(app, outcome, &self.look))?;
            more_about(&outcome.end);
        }
        Ok(exit_code(&outcome.end))
    }
}

fn more_about(end: &End) {
    if !end.is_good() {
        super::more(remedies::topic(end));
    }
}

fn exit_code(end: &End) -> ExitCode {
    match end {
        End::Refused { .. } => Exit::Refused.into(),
        End::Failed { .. } | End::Unknown(_) => Exit::Failed.into(),
        End::Deployed {} | End::Unchanged {} | End::RolledBack {} | End::Reported {} => ExitCode::SUCCESS,
    }
}

fn not_answered(app: &AppName, outcome: &Outcome) -> NotAnswered {
    let message = match &outcome.end {
        End::Refused { message, .. } | End::Failed { message, .. } => harmless(message),
        End::Unknown(_) => harmless(&outcome.end.words()),
        _ => "`serve` did not answer the question".to_owned(),
    };
    NotAnswered { message: format!("{app}: {message}"), refused: matches!(outcome.end, End::Refused { .. }) }
}

/// A reader that went away (`| head`) is the end, and no fault of ours.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("printing")
}
