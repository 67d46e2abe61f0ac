//! Servers that are played: they read requests by the real protocol, and whatever it refuses fails the test.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_deploy::adapters::github::{GitHub, GithubAccess};
use autotag_deploy::adapters::registry::OciRegistry;
use autotag_deploy::adapters::retry::RetryPolicy;
use autotag_deploy::failure::Failure;
use autotag_deploy::inputs::run::Overrides;
use autotag_deploy::inputs::{self, Environment, InputErrors, RawInputs, Run};
use autotag_deploy::pipeline::progress::Progress;
use autotag_deploy::pipeline::{self, Ending, Job, Logs, Ports};
use autotag_deploy::ports::{BuildEvent, BuildLog, BuildRequest, Builder};
use autotag_deploy::ports::{Deadlines, Finished, RemoteExec, SshHost};
use autotag_deploy::report::log::build::Style;
use autotag_deploy::report::log::server::ServerLog;
use autotag_deploy::report::outputs::Outputs;
use autotag_deploy::report::{stages, summary};
use autotag_model::git::ObjectId;
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_model::secret::{Credentials, Secret};
use autotag_protocol::{
    Body, End, Event, Open, Outcome as Transcript, RefusalCode, Request, RolloutStep, Running, Source, Status,
};

use crate::action::release::Project;
use testkit::github::Double;

/// How a server's next turn goes, other than well.
pub enum Turn {
    /// It goes well, after all.
    GoesWell,
    /// The request ends like this.
    Ends(End),
    /// It says these lines and nothing else, and does nothing.
    Says(Vec<String>),
    /// It is done, and the connection is cut before the result.
    IsCut,
    /// The server lets nobody in.
    IsDenied,
}

/// All servers there are.
#[derive(Default)]
pub struct Servers {
    running: Mutex<BTreeMap<String, Running>>,
    before: Mutex<BTreeMap<String, Running>>,
    turns: Mutex<BTreeMap<String, VecDeque<Turn>>>,
    requests: Mutex<Vec<(String, Body)>>,
}

fn running(version: &str) -> Running {
    Running {
        version: version.parse().expect("a version"),
        digest: Digest::of(version.as_bytes()),
        commit: "c".repeat(40).parse().expect("a commit"),
        deployment: "run-0-1-00000000".parse().expect("an id"),
    }
}

impl Servers {
    pub fn new() -> Self {
        Self::default()
    }

    /// This version runs there already.
    pub fn serving(self, host: &str, version: &str) -> Self {
        self.running.lock().expect("not poisoned").insert(host.to_owned(), running(version));
        self
    }

    /// All that runs is of this commit, which GitHub knows.
    pub fn commits_are(&self, commit: &ObjectId) {
        for running in self.running.lock().expect("not poisoned").values_mut() {
            running.commit = commit.clone();
        }
    }

    /// How this server's next deployment, rollback or refusal goes.
    pub fn next(&self, host: &str, turn: Turn) {
        self.turns.lock().expect("not poisoned").entry(host.to_owned()).or_default().push_back(turn);
    }

    /// Every deployment and rollback that was asked for, in order.
    pub fn requests(&self) -> Vec<(String, Body)> {
        self.requests.lock().expect("not poisoned").clone()
    }

    /// A question takes no turn, unless the server lets nobody in.
    fn turn(&self, host: &str, asks: bool) -> Option<Turn> {
        let mut turns = self.turns.lock().expect("not poisoned");
        let turns = turns.get_mut(host)?;
        turns.pop_front_if(|turn| !asks || matches!(turn, Turn::IsDenied))
    }

    /// Does it, and gives the result.
    fn done(&self, host: &str, body: &Body) -> End {
        let mut all = self.running.lock().expect("not poisoned");
        match body {
            Body::Deploy(deploy) => {
                let next = Running {
                    version: deploy.version.clone(),
                    digest: deploy.digest.clone(),
                    commit: deploy.commit.clone(),
                    deployment: deploy.deployment.clone(),
                };
                let before = all.insert(host.to_owned(), next);
                let same = before.as_ref().is_some_and(|before| before.digest == deploy.digest);
                if let Some(before) = before {
                    self.before.lock().expect("not poisoned").insert(host.to_owned(), before);
                }
                if same { End::Unchanged {} } else { End::Deployed {} }
            }
            Body::Rollback(rollback) if rollback.reverts.is_some() => {
                let has_it = all.get(host).map(|now| &now.deployment) == rollback.reverts.as_ref();
                let before = self.before.lock().expect("not poisoned").get(host).cloned();
                match (has_it, before) {
                    (false, _) => End::Unchanged {},
                    (true, Some(before)) => {
                        all.insert(host.to_owned(), before);
                        End::RolledBack {}
                    }
                    (true, None) => End::Refused {
                        code: Open::Known(RefusalCode::NotRecorded),
                        message: "nothing that is recorded served before".to_owned(),
                    },
                }
            }
            Body::Rollback(rollback) => {
                let to = rollback.to.as_ref().map_or("0.0.0".to_owned(), ToString::to_string);
                let commit = all.get(host).map(|now| now.commit.clone());
                let mut next = running(&to);
                next.commit = commit.unwrap_or(next.commit);
                all.insert(host.to_owned(), next);
                End::RolledBack {}
            }
            _ => End::Reported {},
        }
    }

    fn status(&self, host: &str) -> Event {
        let running = self.running.lock().expect("not poisoned").get(host).cloned();
        let drift = vec!["edited manually".to_owned()];
        Event::Status(Box::new(Status {
            running,
            drift,
            blocked: Vec::new(),
            busy: None,
            highest: None,
            asked: None,
        }))
    }
}

impl RemoteExec for &Servers {
    async fn run(
        &self,
        host: &SshHost,
        command: &str,
        input: &Secret,
        limit: usize,
        _deadlines: Deadlines,
        line: &mut dyn FnMut(&[u8]),
    ) -> CallResult<Finished> {
        let text = input.reveal().strip_suffix('\n').expect("one line with its break");
        let request = Request::parse(text.as_bytes()).expect("a request by the protocol");
        assert_eq!((command, request.app.as_str()), (request.word().as_str(), "app"));
        assert_eq!((host.user.as_str(), host.port), ("autotag-app", 22));
        let mut say = |answer: &Event| {
            let text = answer.to_line().expect("an answer");
            assert!(text.len() <= limit);
            line(text.trim_end().as_bytes());
        };
        let name = host.host.as_str();
        let asks = matches!(request.body, Body::Status { .. });
        if asks {
            say(&self.status(name));
        } else {
            self.requests.lock().expect("not poisoned").push((name.to_owned(), request.body.clone()));
        }
        let end = match self.turn(name, asks) {
            Some(Turn::IsDenied) => {
                return Err(CallError::new(
                    CallErrorKind::Denied,
                    format!("connecting to {name}"),
                    "no such key",
                ));
            }
            Some(Turn::Ends(end)) => end,
            Some(Turn::Says(lines)) => {
                for text in lines {
                    line(text.as_bytes());
                }
                return Ok(Finished { status: 0, stderr: String::new() });
            }
            other => {
                if !asks {
                    say(&Event::StepStarted { step: Open::Known(RolloutStep::Pull) });
                    say(&Event::StepEnded {
                        step: Open::Known(RolloutStep::Pull),
                        milliseconds: 1500,
                        failed: None,
                    });
                    say(&Event::log(Source::Application, "listening"));
                }
                if let Some(Turn::IsCut) = other {
                    let error =
                        CallError::new(CallErrorKind::Unreachable, "deploy", "the connection was lost");
                    return Err(error.perhaps_done());
                }
                self.done(name, &request.body)
            }
        };
        let status = i32::from(matches!(end, End::Refused { .. } | End::Failed { .. }));
        let running = self.running.lock().expect("not poisoned").get(name).cloned();
        say(&Event::Result(Box::new(Transcript { end, running, deployment: None, milliseconds: 7 })));
        Ok(Finished { status, stderr: String::new() })
    }
}

/// Images come by digest here.
struct NoBuilder;

impl Builder for NoBuilder {
    async fn build(&self, _request: &BuildRequest, _log: &mut dyn BuildLog) -> CallResult<Digest> {
        panic!("nothing is built")
    }

    async fn push(
        &self,
        _image: &Digest,
        _name: &ImageName,
        _tag: &ImageTag,
        _credentials: Option<&Credentials>,
        _log: &mut dyn BuildLog,
    ) -> CallResult<Digest> {
        panic!("nothing is pushed")
    }
}

struct Silent;

impl BuildLog for Silent {
    fn event(&mut self, _event: BuildEvent) {}
}

/// A repository, its registry, and its servers.
pub struct Stage {
    pub project: Project,
    pub servers: Servers,
}

/// What a run came to.
#[derive(Debug)]
pub struct Came {
    result: Result<Ending, Failure>,
    outputs: BTreeMap<&'static str, String>,
    /// What the servers' log shows.
    pub log: String,
    /// The step summary.
    pub summary: String,
    /// What was noted as done.
    pub done: Vec<String>,
}

impl Came {
    #[track_caller]
    pub fn ending(&self) -> &Ending {
        self.result.as_ref().expect("it ended")
    }

    #[track_caller]
    pub fn failure(self) -> Failure {
        self.result.expect_err("it failed")
    }

    pub fn output(&self, name: &str) -> String {
        self.outputs.get(name).cloned().unwrap_or_default()
    }
}

impl Stage {
    pub fn new(servers: Servers) -> Self {
        Self { project: Project::new(), servers }
    }

    /// A release that goes on to `web1`, unless another host is given.
    pub fn release(&self, commit: &ObjectId, inputs: &[(&'static str, &str)]) -> Came {
        let digest = self.project.pushed("org/app", commit);
        let all = [&[("image-digest", digest.as_str())][..], inputs].concat();
        self.run("release", commit, &all)
    }

    /// A release without servers; gives the digest.
    pub fn release_only(&self, commit: &ObjectId) -> String {
        let run = self.project.release(commit).finish();
        assert_eq!(run.code, Some(0), "{run}");
        run.output("digest").to_owned()
    }

    /// One of the servers' commands.
    pub fn command(&self, command: &str, commit: &ObjectId, inputs: &[(&'static str, &str)]) -> Came {
        self.run(command, commit, inputs)
    }

    fn run(&self, command: &str, commit: &ObjectId, inputs: &[(&'static str, &str)]) -> Came {
        let all = [&[("command", command)][..], inputs].concat();
        run(&self.project, &self.servers, commit, &all, &RetryPolicy::quick())
    }
}

/// Any server's: who connects in these plays, is played too.
const FINGERPRINT: &str = "SHA256:uNiVztksCsDhcc0u9e8BrrUcLB3N6FWBEm9vyjNOgIs";

/// A run in this process, which can be given another patience than the program's; `release` where no command is
/// said.
pub fn run(
    project: &Project,
    servers: &Servers,
    commit: &ObjectId,
    inputs: &[(&'static str, &str)],
    patience: &RetryPolicy,
) -> Came {
    let usual = [
        ("command", "release"),
        ("image", project.workflow.input("image")),
        ("registry-username", project.workflow.input("registry-username")),
        ("registry-password", project.workflow.input("registry-password")),
        ("github-token", Double::TOKEN),
        ("deploy-host", "web1"),
        ("deploy-key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
    ];
    let url = project.workflow.github_url();
    let graphql = format!("{url}/graphql");
    let environment = Environment::of([
        ("GITHUB_REPOSITORY", "org/app"),
        ("GITHUB_API_URL", url),
        ("GITHUB_GRAPHQL_URL", &graphql),
        ("GITHUB_SHA", commit.as_str()),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_RUN_ID", "7"),
    ]);
    let mut printed = RawInputs::default();
    let mut hosts = "";
    for (name, value) in usual.iter().chain(inputs) {
        printed.set(name, (*value).to_owned());
        hosts = if *name == "deploy-host" { value } else { hosts };
    }
    if inputs.iter().all(|(name, _)| *name != "deploy-known-hosts") {
        let known = hosts.split(", ").map(|host| format!("{host} {FINGERPRINT}\n"));
        printed.set("deploy-known-hosts", known.collect());
    }
    let mut faults = InputErrors::default();
    let run = Run::read(&environment, &Overrides::default(), &mut faults).expect("a run");
    let request = inputs::Request::parse(&printed, &run, &mut faults).unwrap_or_else(|| panic!("{faults}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(play(servers, &request, &run, patience))
}

async fn play(servers: &Servers, request: &inputs::Request, run: &Run, patience: &RetryPolicy) -> Came {
    let access = GithubAccess {
        api_url: &run.api_url,
        graphql_url: &run.graphql_url,
        repository: &run.repository,
        token: request.github_token.as_ref(),
    };
    let ports = Ports {
        forge: GitHub::connect(access, patience.clone()).expect("a client"),
        registry: OciRegistry::new(
            request.version.image.clone(),
            request.registry.as_ref(),
            patience.clone(),
        )
        .expect("a client"),
        builder: NoBuilder,
        remote: servers,
    };
    let mode = request.mode(run, "main");
    let (progress, mut log) = (Progress::start(()), Vec::new());
    let mut reported = ServerLog::new(&mut log, Style::Actions);
    let mut logs = Logs { build: &mut Silent, deploy: &mut reported };
    let job = Job { request, run, mode: &mode };
    let result = pipeline::run(&ports, job, &progress, &mut logs).await;
    drop(reported);
    let stages = |failed| stages::table(&progress.intents(), &progress.timings(), failed);
    let facts = progress.facts();
    let summary = match &result {
        Ok(Ending::Released(released)) => {
            let deployment = released.deployment.as_ref();
            match deployment.and_then(|it| it.failure.as_ref()) {
                Some(failure) => summary::failed(failure, &facts, deployment, &stages(Some("deploy"))),
                None => summary::released(request, run, released, &stages(None)),
            }
        }
        _ => String::new(),
    };
    let outputs = result.as_ref().map(|ending| Outputs::of(ending, request).pairs()).unwrap_or_default();
    Came {
        result,
        outputs: outputs.into_iter().collect(),
        log: String::from_utf8(log).expect("text"),
        summary,
        done: facts,
    }
}
