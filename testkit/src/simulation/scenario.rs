//! What runs at the same time: commits, runs, and people who interfere.

use std::collections::BTreeSet;
use std::pin::Pin;

use autotag_deploy::inputs::run::Cause;
use autotag_deploy::inputs::{InputErrors, RawInputs, Request, Run};
use autotag_deploy::pipeline::progress::Progress;
use autotag_deploy::pipeline::{self, Job, Logs, Ports};
use autotag_deploy::ports::{BuildEvent, BuildLog, Forge as _, RefUpdate};
use autotag_deploy::ports::{Deadlines, RemoteExec as _, SshHost};
use autotag_deploy::ssh_keys::private_key::PrivateKey;
use autotag_model::git::{ObjectId, RefName};
use autotag_model::secret::Secret;
use autotag_protocol::{Body, Configuration, Rollback};

use super::ending::Ended;
use super::simulated_ports::SimulatedPorts;
use super::{Outside, registry};

/// The image of every scenario.
pub const IMAGE: &str = "registry.test/org/app";

/// A second image of the same commits; its runs deploy nothing.
pub const OTHER_IMAGE: &str = "registry.test/org/worker";

/// A run of the action.
#[derive(Debug, Clone)]
pub struct RunOf {
    /// Which of the scenario's commits.
    pub commit: usize,
    /// Inputs beside the usual ones.
    pub inputs: Vec<(&'static str, &'static str)>,
    /// It makes a GitHub release.
    pub releases: bool,
    /// It goes on to the server.
    pub deploys: bool,
}

/// Who does something.
#[derive(Debug, Clone)]
pub enum Actor {
    /// CI.
    Run(RunOf),
    /// Somebody pushes this tag at this commit, if it is not there.
    PushesTag(&'static str, usize),
    /// Somebody rolls the server back, to this version.
    RollsBack(&'static str),
    /// Somebody moves this tag to this commit, which nobody may: to see that it is seen.
    MovesTag(&'static str, usize),
}

/// Commits, and who acts on them at the same time.
pub struct Scenario {
    /// Its name, for replaying.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How the commits hang together: the parents of each, by number. The last one is main's.
    pub commits: &'static [&'static [usize]],
    /// Commits that were released before, one after another.
    pub before: Vec<RunOf>,
    /// What happens at once.
    pub actors: Vec<Actor>,
    /// The registry hides what does not exist.
    pub absent: registry::Absent,
}

/// What a scenario begins with.
#[derive(Clone)]
pub struct Start {
    pub outside: Outside,
    pub commits: Vec<ObjectId>,
    /// How many releases there were.
    pub released: usize,
    /// The commits that they are of, where GitHub has a page for them.
    pub releasing: BTreeSet<ObjectId>,
}

pub type Work = Pin<Box<dyn Future<Output = Ended>>>;

/// A run of this commit.
pub fn run_of(commit: usize, bump: &'static str) -> RunOf {
    RunOf { commit, inputs: vec![("bump", bump)], releases: true, deploys: true }
}

impl RunOf {
    /// The second image.
    #[must_use]
    pub fn of_the_other_image(self) -> Self {
        Self { deploys: false, ..self.with("image", OTHER_IMAGE) }
    }

    /// It ends with `latest`.
    #[must_use]
    pub fn without_release(self) -> Self {
        Self { releases: false, deploys: false, ..self.with("release", "false") }
    }

    /// One more input.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &'static str) -> Self {
        self.inputs.push((name, value));
        self
    }
}

impl Scenario {
    /// These runs, on a history of commits one after another, with nothing before.
    pub fn of(name: &'static str, about: &'static str, actors: Vec<Actor>) -> Self {
        Self {
            name,
            about,
            commits: &[&[], &[0], &[1], &[2]],
            before: Vec::new(),
            actors,
            absent: registry::Absent::NotFound,
        }
    }

    /// With these releases before.
    #[must_use]
    pub fn after(mut self, before: Vec<RunOf>) -> Self {
        self.before = before;
        self
    }

    /// With commits that hang together like this.
    #[must_use]
    pub fn on(mut self, commits: &'static [&'static [usize]]) -> Self {
        self.commits = commits;
        self
    }
}

/// Somebody's work, from its beginning.
pub fn work(actor: &Actor, commits: &[ObjectId], sim: SimulatedPorts) -> Work {
    match actor {
        Actor::Run(run) => run_work(run, commits[run.commit].clone(), sim),
        Actor::PushesTag(tag, commit) => {
            let (tag, commit) = (*tag, commits[*commit].clone());
            Box::pin(async move {
                let name = format!("refs/tags/{tag}").parse().expect("a ref's name");
                let push = RefUpdate { name, before: ObjectId::zero(), after: commit };
                sim.update_refs(&[push]).await?;
                Ok(None)
            })
        }
        Actor::MovesTag(tag, commit) => {
            let (tag, commit) = (*tag, commits[*commit].clone());
            Box::pin(async move {
                let name: RefName = format!("refs/tags/{tag}").parse().expect("a ref's name");
                let found = sim.read_ref(&name).await?.expect("the tag");
                sim.update_refs(&[RefUpdate { name, before: found.target, after: commit }]).await?;
                Ok(None)
            })
        }
        Actor::RollsBack(version) => {
            let version = *version;
            Box::pin(async move {
                let body = Body::Rollback(Box::new(Rollback {
                    deployment: "by-a-person".parse().expect("an id"),
                    to: Some(version.parse().expect("a version")),
                    reverts: None,
                    configuration: Configuration::Today,
                    credential: None,
                    run: String::new(),
                }));
                let request = autotag_protocol::Request { app: "app".parse().expect("a name"), body };
                let deadline = std::time::Duration::from_secs(1);
                let deadlines = Deadlines { connect: deadline, idle: deadline, whole: deadline };
                let line = request.to_line().expect("a request");
                sim.run(&host(), "rollback", &line, usize::MAX, deadlines, &mut |_| ()).await?;
                Ok(None)
            })
        }
    }
}

fn host() -> SshHost {
    SshHost {
        host: "server.test".to_owned(),
        port: 22,
        user: "autotag-app".to_owned(),
        key: PrivateKey::parse(&Secret::verbatim(
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".to_owned(),
        ))
        .expect("a key"),
        known_hosts: KNOWN_HOST.parse().expect("a host key"),
    }
}

const KNOWN_HOST: &str = "SHA256:uNiVztksCsDhcc0u9e8BrrUcLB3N6FWBEm9vyjNOgIs";

fn run_work(spec: &RunOf, commit: ObjectId, sim: SimulatedPorts) -> Work {
    let mut raw = RawInputs::default();
    let usual = [("command", "release"), ("image", IMAGE), ("github-token", "token")];
    let server = [
        ("deploy-host", "server.test"),
        ("deploy-key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"),
        ("deploy-known-hosts", KNOWN_HOST),
        ("environment", "production"),
    ];
    let server = server.iter().filter(|_| spec.deploys);
    for (name, value) in usual.iter().chain(server).chain(&spec.inputs) {
        raw.set(name, (*value).to_owned());
    }
    let run = run_facts(commit);
    let mut faults = InputErrors::default();
    let request = Request::parse(&raw, &run, &mut faults).unwrap_or_else(|| panic!("{faults}"));
    let mode = request.mode(&run, "main");
    let registry = sim.to(&request.version.image);
    Box::pin(async move {
        let ports = Ports { forge: sim.clone(), registry, builder: sim.clone(), remote: sim };
        let job = Job { request: &request, run: &run, mode: &mode };
        let mut logs = Logs { build: &mut Silent, deploy: &mut Silent };
        pipeline::run(&ports, job, &Progress::start(()), &mut logs).await.map(Some)
    })
}

fn run_facts(commit: ObjectId) -> Run {
    Run {
        repository: "org/app".to_owned(),
        commit,
        cause: Cause::Branch("main".to_owned()),
        default_branch: Some("main".to_owned()),
        api_url: "https://api.github.com".to_owned(),
        graphql_url: "https://api.github.com/graphql".to_owned(),
        server_url: "https://github.com".to_owned(),
        actor: "octocat".to_owned(),
        url: "a simulated run".to_owned(),
        number: Some((7, 1)),
        // Nothing is there, so nothing contradicts the commit.
        workspace: "no-workspace".into(),
        boundary: "no-workspace".into(),
    }
}

struct Silent;

impl BuildLog for Silent {
    fn event(&mut self, _event: BuildEvent) {}
}

impl autotag_deploy::deploy::conversation::DeployLog for Silent {
    fn event(&mut self, _host: &str, _event: autotag_deploy::deploy::conversation::DeployEvent<'_>) {}
}
