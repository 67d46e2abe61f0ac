//! The last stage: from a published version to servers that serve it, and back.

use std::time::Duration;

use super::progress::Progress;
use super::{Ending, Job, Logs, Ports, Released};
use crate::deploy::host_sequence;
use crate::deploy::host_sequence::{HostReport, HostSequence};
use crate::deploy::hosts::{self, Change, DeployedRelease, HostDeployment};
use crate::deploy::{github, published};
use crate::failure::{Failure, FailureKind};
use crate::inputs::Command;
use crate::inputs::deploy::{Deploy, Target};
use crate::ports::RemoteExec;
use crate::ports::{Forge, Registry};
use crate::versioning::plan::VersionSelector;
use autotag_base::clock::Stopwatch;
use autotag_model::help::Topic;
use autotag_protocol::{DeploymentId, Status};

/// What came of a deployment or rollback, also where it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its name, here and on the servers.
    pub id: DeploymentId,
    /// What was deployed; `None` for a rollback.
    pub release: Option<DeployedRelease>,
    /// What each server has.
    pub sequence: HostSequence,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub failure: Option<Failure>,
}

/// What one server answered to `status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatus {
    /// As it was given.
    pub host: String,
    /// The answer.
    pub status: Result<Box<Status>, Failure>,
}

/// After the release: the same run takes it to the servers, if there are any.
pub(super) async fn after<F: Forge, R, B, S: RemoteExec>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    released: &Released,
    progress: &Progress,
    logs: &mut Logs<'_>,
) -> Result<Option<Deployment>, Failure> {
    let Deploy::To(target) = &job.request.deploy else { return Ok(None) };
    let claim = &released.known.claim;
    let release = DeployedRelease {
        image: claim.image.clone(),
        digest: claim.digest.clone(),
        version: claim.version.clone(),
        commit: claim.commit.clone(),
    };
    deploy(ports, job, (target, release), progress, logs).await.map(Some)
}

/// `deploy`, `rollback` and `status`.
pub(super) async fn command<F: Forge, R: Registry, B, S: RemoteExec>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    progress: &Progress,
    logs: &mut Logs<'_>,
) -> Result<Ending, Failure> {
    let Deploy::To(target) = &job.request.deploy else {
        // The inputs are refused without a host.
        return Err(Failure::new(
            FailureKind::Input,
            "looking for a server",
            "`deploy-host` is empty",
            "name one",
        )
        .about(Topic::Inputs));
    };
    let version = match &job.request.version.selector {
        VersionSelector::Exactly(version) => Some(version),
        _ => None,
    };
    match job.request.command {
        Command::Status => Ok(Ending::Reported(status(ports, target, progress, logs).await)),
        Command::Rollback => {
            let deployment = roll_back(ports, job, (target, version), progress, logs).await?;
            Ok(Ending::RolledBack(Box::new(deployment)))
        }
        _ => {
            let digest = match &job.request.source {
                crate::inputs::request::ImageSource::Digest(digest) => Some(digest),
                crate::inputs::request::ImageSource::Build(_) => None,
            };
            let prefix = &job.request.version.prefix;
            let question =
                published::WantedVersion { image: &job.request.version.image, version, digest, prefix };
            let finding = published::find(&ports.forge, &ports.registry, question);
            let release = progress.stage("plan", finding).await?;
            let deployment = deploy(ports, job, (target, release), progress, logs).await?;
            Ok(Ending::Deployed(Box::new(deployment)))
        }
    }
}

async fn deploy<F: Forge, R, B, S: RemoteExec>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    (target, release): (&Target, DeployedRelease),
    progress: &Progress,
    logs: &mut Logs<'_>,
) -> Result<Deployment, Failure> {
    let id = hosts::new_id(job.run.number)?;
    tracing::info!("deploying {}:{} as {id}", release.image, release.version);
    let record = github::begin(&ports.forge, target, &release, (&id, &job.run.url)).await;
    let deployment = HostDeployment { target, change: Change::Deploy(&release), id: &id, run: &job.run.url };
    let (sequence, took) = run_on_hosts(ports, deployment, progress, logs).await;
    if let Some(record) = &record {
        record.end(&sequence).await;
    }
    let failure = failure_of(&sequence, &format!("deploying {}", release.version));
    Ok(Deployment { id, release: Some(release), sequence, took, failure })
}

/// GitHub records a deployment by its commit, and which commit a server goes back to only the server knows:
/// so it is recorded afterwards.
async fn roll_back<F: Forge, R, B, S: RemoteExec>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    (target, to): (&Target, Option<&semver::Version>),
    progress: &Progress,
    logs: &mut Logs<'_>,
) -> Result<Deployment, Failure> {
    let id = hosts::new_id(job.run.number)?;
    let deployment = HostDeployment { target, change: Change::RollBack(to), id: &id, run: &job.run.url };
    let (sequence, took) = run_on_hosts(ports, deployment, progress, logs).await;
    if let (true, Some(running)) = (sequence.complete(), sequence.running()) {
        let release = DeployedRelease {
            image: job.request.version.image.clone(),
            digest: running.digest.clone(),
            version: running.version.clone(),
            commit: running.commit.clone(),
        };
        if let Some(record) = github::begin(&ports.forge, target, &release, (&id, &job.run.url)).await {
            record.end(&sequence).await;
        }
    }
    let failure = failure_of(&sequence, "rolling back");
    Ok(Deployment { id, release: None, sequence, took, failure })
}

async fn run_on_hosts<F, R, B, S: RemoteExec>(
    ports: &Ports<F, R, B, S>,
    deployment: HostDeployment<'_>,
    progress: &Progress,
    logs: &mut Logs<'_>,
) -> (HostSequence, Duration) {
    let stopwatch = Stopwatch::start();
    let sequence = progress.stage("deploy", hosts::run(&ports.remote, deployment, logs.deploy)).await;
    for report in &sequence.reports {
        if let host_sequence::HostResult::Done(_) | host_sequence::HostResult::Reverted = &report.stop {
            progress.done_as_logged(format!("server {}", host_sequence::describe(report)));
        }
    }
    (sequence, stopwatch.elapsed())
}

/// One failure for all servers, which says what each of them has.
fn failure_of(sequence: &HostSequence, what: &str) -> Option<Failure> {
    let failure = sequence.failure()?;
    let servers: Vec<String> = sequence.reports.iter().map(host_sequence::describe).collect();
    let why = format!("{}: {}\n{}", failure.what, failure.why, servers.join("\n"));
    Some(Failure::new(failure.kind, what, why, failure.remedy.clone()).about(failure.topic))
}

/// Asks all of them, also where one does not answer.
async fn status<F, R, B, S: RemoteExec>(
    ports: &Ports<F, R, B, S>,
    target: &Target,
    progress: &Progress,
    logs: &mut Logs<'_>,
) -> Vec<HostStatus> {
    let asking = async {
        let mut answers = Vec::new();
        for host in &target.hosts {
            let status = hosts::status(&ports.remote, target, host, logs.deploy).await;
            answers.push(HostStatus { host: host.to_string(), status: status.map(Box::new) });
        }
        answers
    };
    progress.stage("status", asking).await
}

impl Deployment {
    /// Whether every server serves what was asked for.
    pub fn deployed(&self) -> bool {
        self.sequence.complete()
    }

    /// A line for each server.
    pub fn reports(&self) -> &[HostReport] {
        &self.sequence.reports
    }
}
