//! The stage itself: takes a request to all servers, and reports what each of them has.

use std::collections::VecDeque;
use std::time::Duration;

use semver::Version;

use crate::deploy::conversation::{DeployEvent, DeployLog, ReconnectPolicy, converse};
use crate::deploy::host_sequence::{
    HostReport, HostResult, HostSequence, SequenceStep, result_of, result_of_revert, result_of_rollback,
};
use crate::failure::{Failure, FailureKind};
use crate::inputs::deploy::{HostName, OnFailure, Target};
use crate::ports::{RemoteExec, SshHost};
use autotag_base::clock::Stopwatch;
use autotag_model::git::ObjectId;
use autotag_model::reference::{Digest, ImageName};
use autotag_protocol::labels;
use autotag_protocol::remedies;
use autotag_protocol::{
    Body, Configuration, Deploy, DeploymentId, Event, Open, Request, Rollback, RolloutStep, Status,
};

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeployedRelease {
    /// The image's name.
    pub image: ImageName,
    /// The image itself.
    pub digest: Digest,
    /// Its version.
    pub version: Version,
    /// Its commit.
    pub commit: ObjectId,
}

/// What the servers are asked to do.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// Serve this.
    Deploy(&'a DeployedRelease),
    /// Go back; to this one, or to the one before.
    RollBack(Option<&'a Version>),
}

/// A deployment on its way.
#[derive(Debug, Clone, Copy)]
pub struct HostDeployment<'a> {
    /// Where to, and how.
    pub target: &'a Target,
    /// What.
    pub change: Change<'a>,
    /// Its name.
    pub id: &'a DeploymentId,
    /// The run's address, for people.
    pub run: &'a str,
}

/// For questions, which the receiver answers at once.
const QUESTION: Duration = Duration::from_mins(1);

/// A new deployment's name: the run, its attempt, and something that no other step of it has.
pub fn new_id(run: Option<(u64, u32)>) -> Result<DeploymentId, Failure> {
    let random: u32 = rand::random();
    match run {
        Some((run, attempt)) => id(&format!("run-{run}-{attempt}-{random:08x}")),
        None => id(&format!("own-{:08x}-{random:08x}", rand::random::<u32>())),
    }
}

fn id(text: &str) -> Result<DeploymentId, Failure> {
    let broken = |error: autotag_model::reference::ParseError| {
        Failure::new(FailureKind::Internal, "naming the deployment", error.to_string(), "report a bug")
    };
    text.parse().map_err(broken)
}

fn ssh_host(target: &Target, host: &HostName) -> SshHost {
    SshHost {
        host: host.host.clone(),
        port: host.port,
        user: target.user.clone(),
        key: target.key.clone(),
        known_hosts: target.known_hosts.clone(),
    }
}

impl HostDeployment<'_> {
    fn request(&self) -> Request {
        let body = match self.change {
            Change::Deploy(release) => Body::Deploy(Box::new(Deploy {
                deployment: self.id.clone(),
                image: release.image.clone(),
                digest: release.digest.clone(),
                version: release.version.clone(),
                commit: release.commit.clone(),
                allow_downgrade: self.target.allow_downgrade,
                environment: self.target.environment.clone(),
                credential: self.target.credential.clone(),
                run: self.run.to_owned(),
            })),
            Change::RollBack(to) => Body::Rollback(Box::new(Rollback {
                deployment: self.id.clone(),
                to: to.cloned(),
                reverts: None,
                configuration: Configuration::Today,
                credential: self.target.credential.clone(),
                run: self.run.to_owned(),
            })),
        };
        Request { app: self.target.app.clone(), body }
    }

    /// To revert what this deployment brought. Where to, and with which configuration, the server knows.
    fn revert(&self) -> Result<Request, Failure> {
        let body = Body::Rollback(Box::new(Rollback {
            deployment: id(&format!("{}-back", self.id))?,
            to: None,
            reverts: Some(self.id.clone()),
            configuration: Configuration::Then,
            credential: self.target.credential.clone(),
            run: self.run.to_owned(),
        }));
        Ok(Request { app: self.target.app.clone(), body })
    }

    fn title(&self, host: &HostName) -> String {
        match self.change {
            Change::Deploy(release) => format!("Deploy {} to {host} ({})", release.version, self.id),
            Change::RollBack(Some(to)) => format!("Roll {host} back to {to} ({})", self.id),
            Change::RollBack(None) => format!("Roll {host} back ({})", self.id),
        }
    }
}

/// Takes the request to each server as [`HostSequence`] says. A failure is in the tour, with all that is known.
pub async fn run(
    shell: &impl RemoteExec,
    deployment: HostDeployment<'_>,
    log: &mut dyn DeployLog,
) -> HostSequence {
    let hosts = &deployment.target.hosts;
    // A rollback that failed half-way is not undone by a rollback.
    let on_failure = match deployment.change {
        Change::Deploy(_) => deployment.target.on_failure,
        Change::RollBack(_) => OnFailure::Keep,
    };
    let mut sequence = HostSequence::new(hosts.iter().map(ToString::to_string), on_failure);
    loop {
        match sequence.next() {
            SequenceStep::Go(place) => {
                sequence.reports[place] = go(shell, deployment, &hosts[place], log).await;
            }
            SequenceStep::Revert(place) => {
                let report = sequence.reports[place].clone();
                sequence.reports[place] = revert(shell, deployment, (&hosts[place], report), log).await;
            }
            SequenceStep::Home => return sequence,
        }
    }
}

/// One server's turn.
async fn go(
    shell: &impl RemoteExec,
    deployment: HostDeployment<'_>,
    host: &HostName,
    log: &mut dyn DeployLog,
) -> HostReport {
    let name = host.to_string();
    let stopwatch = Stopwatch::start();
    log.event(&name, DeployEvent::Started(&deployment.title(host)));
    let mut timed = Timed { log, steps: Vec::new(), last_words: VecDeque::new() };
    let (ssh, persistence) =
        (ssh_host(deployment.target, host), ReconnectPolicy::within(deployment.target.timeout));
    let reported = converse(shell, &ssh, (&name, &deployment.request()), persistence, &mut timed).await;
    let (stop, running) = match reported {
        Ok(outcome) => {
            let stop = match deployment.change {
                Change::Deploy(release) => result_of(&name, &release.version, &outcome),
                Change::RollBack(_) => result_of_rollback(&name, &outcome),
            };
            (stop, outcome.running)
        }
        Err(failure) => {
            (HostResult::Unheard(Box::new(Failure { kind: kind_of(failure.kind), ..failure })), None)
        }
    };
    let (steps, last_words) = (timed.steps, timed.last_words.into());
    let took = stopwatch.elapsed();
    let report = HostReport { host: name, stop, running, asked_back: false, took, steps, last_words };
    end(&report, log);
    report
}

/// Whatever kept a server from being deployed to, the release stands and the deployment failed; only faults of
/// the inputs are told as such.
fn kind_of(kind: FailureKind) -> FailureKind {
    if kind == FailureKind::Input { kind } else { FailureKind::Deployment }
}

fn end(report: &HostReport, log: &mut dyn DeployLog) {
    let words = format!(
        "{}, after {:.1} s",
        crate::deploy::host_sequence::describe(report),
        report.took.as_secs_f64()
    );
    log.event(&report.host, DeployEvent::Ended(&words));
}

/// Lets a server go back to what it had before this deployment. The request waits for its turn behind the deployment's own,
/// so what is answered holds, whatever became of that one.
async fn revert(
    shell: &impl RemoteExec,
    deployment: HostDeployment<'_>,
    (host, mut report): (&HostName, HostReport),
    log: &mut dyn DeployLog,
) -> HostReport {
    let stopwatch = Stopwatch::start();
    log.event(&report.host, DeployEvent::Started(&format!("Revert what {host} got ({})", deployment.id)));
    let reported = match deployment.revert() {
        Ok(request) => {
            let persistence = ReconnectPolicy::within(deployment.target.timeout);
            converse(shell, &ssh_host(deployment.target, host), (&report.host, &request), persistence, log)
                .await
        }
        Err(failure) => Err(failure),
    };
    report.stop = result_of_revert(report.stop, reported.as_ref());
    report.running = reported.ok().and_then(|outcome| outcome.running);
    report.asked_back = true;
    report.took += stopwatch.elapsed();
    end(&report, log);
    report
}

/// Asks one server what runs.
pub async fn status(
    shell: &impl RemoteExec,
    target: &Target,
    host: &HostName,
    log: &mut dyn DeployLog,
) -> Result<Status, Failure> {
    let request = Request { app: target.app.clone(), body: Body::Status { deployment: None } };
    let name = host.to_string();
    let ssh = ssh_host(target, host);
    let mut catch = CatchStatus { status: None, log };
    let whole = QUESTION.min(target.timeout);
    let outcome =
        converse(shell, &ssh, (&name, &request), ReconnectPolicy::within(whole), &mut catch).await?;
    let refused = |why: String| {
        Failure::new(
            FailureKind::Deployment,
            format!("asking {name} what runs"),
            why,
            remedies::remedy(&outcome.end),
        )
        .about(remedies::topic(&outcome.end))
    };
    if !outcome.end.is_good() {
        return Err(refused(outcome.end.words()));
    }
    catch.status.ok_or_else(|| refused("it answered nothing".to_owned()))
}

/// So many lines of a container say why it failed, where anything does.
const LAST_WORDS: usize = 10;

/// Notes the times of steps on their way to the log, and what a container said last.
struct Timed<'a> {
    log: &'a mut dyn DeployLog,
    steps: Vec<(Open<RolloutStep>, Duration)>,
    last_words: VecDeque<String>,
}

impl DeployLog for Timed<'_> {
    fn event(&mut self, host: &str, event: DeployEvent<'_>) {
        if let DeployEvent::Received(Event::StepEnded { step, milliseconds, .. }) = event {
            // A deployment that is followed again may tell its steps again.
            self.steps.retain(|(known, _)| known != step || *step == RolloutStep::Save);
            self.steps.push((step.clone(), Duration::from_millis(*milliseconds)));
        }
        if let DeployEvent::Received(Event::Log { from, line }) = event {
            self.last_words.push_back(format!("{} | {line}", from.word()));
            if self.last_words.len() > LAST_WORDS {
                self.last_words.pop_front();
            }
        }
        self.log.event(host, event);
    }
}

/// Keeps the status out of the log, where whoever asked shows it.
struct CatchStatus<'a> {
    status: Option<Status>,
    log: &'a mut dyn DeployLog,
}

impl DeployLog for CatchStatus<'_> {
    fn event(&mut self, host: &str, event: DeployEvent<'_>) {
        match event {
            DeployEvent::Received(Event::Status(status)) => self.status = Some((**status).clone()),
            DeployEvent::Received(Event::Result(_)) => {}
            other => self.log.event(host, other),
        }
    }
}

/// What a status comes to, in words; for the log.
pub fn status_words(host: &str, status: &Status) -> String {
    format!("{host} {}", labels::status(status))
}
