//! The stage itself: takes a request to all servers, and reports what each of them has.

use std::time::Duration;

use semver::Version;

use super::advice;
use super::caller::{DeployEvent, DeployLog, Persistence, converse};
use super::protocol::{
    Answer, Body, Configuration, Deploy, DeploymentId, Milestone, Request, Rollback, Status,
};
use super::tour::{HostReport, Step, Stop, Tour, stop_of, stop_of_rollback};
use super::words;
use crate::failure::{Failure, Kind};
use crate::image::reference::{Digest, ImageName};
use crate::inputs::deploy::{HostName, OnFailure, Target};
use crate::version::git::ObjectId;
use crate::world::clock::Stopwatch;
use crate::world::ssh::{Shell, SshHost};

/// What is deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
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
pub enum Wanted<'a> {
    /// Serve this.
    Release(&'a Release),
    /// Go back; to this one, or to the one before.
    Back(Option<&'a Version>),
}

/// A deployment on its way.
#[derive(Debug, Clone, Copy)]
pub struct Errand<'a> {
    /// Where to, and how.
    pub target: &'a Target,
    /// What.
    pub wanted: Wanted<'a>,
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
    let text = match run {
        Some((run, attempt)) => format!("run-{run}-{attempt}-{random:08x}"),
        None => format!("own-{:08x}-{random:08x}", rand::random::<u32>()),
    };
    let broken = |error: crate::image::reference::Malformed| {
        Failure::new(Kind::Internal, "naming the deployment", error.to_string(), "report this as a defect")
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

impl Errand<'_> {
    fn request(&self) -> Request {
        let body = match self.wanted {
            Wanted::Release(release) => Body::Deploy(Box::new(Deploy {
                deployment: self.id.clone(),
                image: release.image.clone(),
                digest: release.digest.clone(),
                version: release.version.clone(),
                commit: release.commit.clone(),
                by_name: self.target.by_name,
                environment: self.target.environment.clone(),
                credential: self.target.credential.clone(),
                run: self.run.to_owned(),
            })),
            Wanted::Back(to) => self.back(self.id.clone(), to),
        };
        Request { app: self.target.app.clone(), body }
    }

    fn back(&self, deployment: DeploymentId, to: Option<&Version>) -> Body {
        Body::Rollback(Box::new(Rollback {
            deployment,
            to: to.cloned(),
            configuration: Configuration::Today,
            credential: self.target.credential.clone(),
            run: self.run.to_owned(),
        }))
    }

    fn title(&self, host: &HostName) -> String {
        match self.wanted {
            Wanted::Release(release) => format!("Deploy {} to {host} ({})", release.version, self.id),
            Wanted::Back(Some(to)) => format!("Roll {host} back to {to} ({})", self.id),
            Wanted::Back(None) => format!("Roll {host} back ({})", self.id),
        }
    }
}

/// Takes the request to each server as [`Tour`] says. A failure is in the tour, with all that is known.
pub async fn run(shell: &impl Shell, errand: Errand<'_>, log: &mut dyn DeployLog) -> Tour {
    let hosts = &errand.target.hosts;
    // A rollback that failed half-way is not undone by a rollback.
    let on_failure = match errand.wanted {
        Wanted::Release(_) => errand.target.on_failure,
        Wanted::Back(_) => OnFailure::Keep,
    };
    let mut tour = Tour::new(hosts.iter().map(ToString::to_string), on_failure);
    loop {
        match tour.next() {
            Step::Go(place) => {
                let before = tour.needs_before();
                tour.reports[place] = go(shell, errand, &hosts[place], before, log).await;
            }
            Step::TakeBack(place) => {
                let report = tour.reports[place].clone();
                tour.reports[place] = take_back(shell, errand, (&hosts[place], report), log).await;
            }
            Step::Home => return tour,
        }
    }
}

/// One server's turn.
async fn go(
    shell: &impl Shell,
    errand: Errand<'_>,
    host: &HostName,
    ask_before: bool,
    log: &mut dyn DeployLog,
) -> HostReport {
    let name = host.to_string();
    let stopwatch = Stopwatch::start();
    log.event(&name, DeployEvent::Started(&errand.title(host)));
    let mut timed = Timed { log, steps: Vec::new() };
    let (mut before, mut running) = (None, None);
    let told = async {
        if ask_before {
            let status = status(shell, errand.target, host, timed.log).await?;
            running = status.running;
            before = running.as_ref().map(|running| running.version.clone());
        }
        let persistence = Persistence::within(errand.target.timeout);
        converse(shell, &ssh_host(errand.target, host), (&name, &errand.request()), persistence, &mut timed)
            .await
    };
    let stop = match told.await {
        Ok(outcome) => {
            let stop = match errand.wanted {
                Wanted::Release(_) => stop_of(&name, &outcome, before),
                Wanted::Back(_) => stop_of_rollback(&name, &outcome),
            };
            running = outcome.running;
            stop
        }
        Err(failure) => {
            // What ran before may not be what runs now.
            running = None;
            Stop::Unheard(Box::new(Failure { kind: kind_of(failure.kind), ..failure }))
        }
    };
    let steps = timed.steps;
    let report = HostReport { host: name, stop, running, took: stopwatch.elapsed(), steps };
    end(&report, log);
    report
}

/// Whatever kept a server from being deployed to, the release stands and the deployment failed; only faults of
/// the inputs are told as such.
fn kind_of(kind: Kind) -> Kind {
    if kind == Kind::Input { kind } else { Kind::Deployment }
}

fn end(report: &HostReport, log: &mut dyn DeployLog) {
    let words = format!("{}, after {:.1} s", super::tour::describe(report), report.took.as_secs_f64());
    log.event(&report.host, DeployEvent::Ended(&words));
}

/// Lets a server that is done go back to what it had.
async fn take_back(
    shell: &impl Shell,
    errand: Errand<'_>,
    (host, mut report): (&HostName, HostReport),
    log: &mut dyn DeployLog,
) -> HostReport {
    let Stop::Done { before: Some(before), .. } = &report.stop else {
        report.stop = Stop::Stuck("nothing ran there before".to_owned());
        return report;
    };
    let stopwatch = Stopwatch::start();
    log.event(&report.host, DeployEvent::Started(&format!("Take {host} back to {before}")));
    let outcome = match format!("{}-back", errand.id).parse() {
        Ok(id) => {
            let body = errand.back(id, Some(before));
            let request = Request { app: errand.target.app.clone(), body };
            let persistence = Persistence::within(errand.target.timeout);
            converse(shell, &ssh_host(errand.target, host), (&report.host, &request), persistence, log).await
        }
        Err(error) => Err(Failure::new(Kind::Internal, "naming the rollback", error.to_string(), "")),
    };
    match outcome {
        Ok(outcome) => {
            report.stop =
                if outcome.end.is_good() { Stop::TakenBack } else { Stop::Stuck(outcome.end.words()) };
            report.running = outcome.running;
        }
        Err(failure) => {
            report.stop = Stop::Stuck(failure.to_string());
            report.running = None;
        }
    }
    report.took += stopwatch.elapsed();
    end(&report, log);
    report
}

/// Asks one server what runs.
pub async fn status(
    shell: &impl Shell,
    target: &Target,
    host: &HostName,
    log: &mut dyn DeployLog,
) -> Result<Status, Failure> {
    let request = Request { app: target.app.clone(), body: Body::Status { deployment: None } };
    let name = host.to_string();
    let ssh = ssh_host(target, host);
    let mut catch = CatchStatus { status: None, log };
    let whole = QUESTION.min(target.timeout);
    let outcome = converse(shell, &ssh, (&name, &request), Persistence::within(whole), &mut catch).await?;
    let refused = |why: String| {
        Failure::new(Kind::Deployment, format!("asking {name} what runs"), why, advice::remedy(&outcome.end))
            .about(advice::topic(&outcome.end))
    };
    if !outcome.end.is_good() {
        return Err(refused(outcome.end.words()));
    }
    catch.status.ok_or_else(|| refused("it told nothing".to_owned()))
}

/// Notes the times of steps on their way to the log.
struct Timed<'a> {
    log: &'a mut dyn DeployLog,
    steps: Vec<(Milestone, Duration)>,
}

impl DeployLog for Timed<'_> {
    fn event(&mut self, host: &str, event: DeployEvent<'_>) {
        if let DeployEvent::Answer(Answer::StepEnded { step, milliseconds, .. }) = event {
            // A deployment that is followed again may tell its steps again.
            self.steps.retain(|(known, _)| known != step || matches!(step, Milestone::Save));
            self.steps.push((*step, Duration::from_millis(*milliseconds)));
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
            DeployEvent::Answer(Answer::Status(status)) => self.status = Some((**status).clone()),
            DeployEvent::Answer(Answer::Result(_)) => {}
            other => self.log.event(host, other),
        }
    }
}

/// What a status comes to, in words; for the log.
pub fn status_words(host: &str, status: &Status) -> String {
    format!("{host} {}", words::status(status))
}
