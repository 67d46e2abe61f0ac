//! The whole transaction: plan, build, stage, claim, publish, latest, release, deploy.
//!
//! [`run`] is the story. Each step may be the last one that a killed run took; what the next run does then
//! follows from what it reads, never from what this one meant to do.

mod building;
pub mod deployment;
pub mod intents;
pub mod progress;
mod publishing;

use std::time::Duration;

use self::building::{build_and_stage, request};
use self::deployment::{Deployment, HostStatus};
use self::progress::{Progress, Severity};
use self::publishing::{ResolvedClaim, finish, superseded};
use crate::deploy::conversation::DeployLog;
use crate::failure::{Failure, FailureKind};
use crate::inputs::Command;
use crate::inputs::request::{ImageSource, Mode, Request};
use crate::inputs::run::Run;
use crate::ports::RemoteExec;
use crate::ports::{BuildLog, Builder, Forge, Registry, Release};
use crate::release::claim::{self, ClaimRequest, Claimed};
use crate::release::latest::Latest;
use crate::release::publish::{self, Help};
use crate::release::stage::{self, Staged};
use crate::release::survey::{self, SurveyScope};
use crate::versioning::claim::RecordedClaim;
use crate::versioning::plan::{NextVersion, Plan, Survey, decide};
use autotag_base::clock;
use autotag_model::git::ObjectId;
use autotag_model::reference::{Digest, ImageTag};

/// The doors outside that a run needs.
#[derive(Debug)]
pub struct Ports<F, R, B, S> {
    /// GitHub.
    pub forge: F,
    /// The image's repository.
    pub registry: R,
    /// Docker.
    pub builder: B,
    /// The servers.
    pub remote: S,
}

/// Where the texts of others go as they come.
pub struct Logs<'a> {
    /// The build's.
    pub build: &'a mut dyn BuildLog,
    /// The servers'.
    pub deploy: &'a mut dyn DeployLog,
}

/// What a run is given.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// What was asked for.
    pub request: &'a Request,
    /// What GitHub says about the run.
    pub run: &'a Run,
    /// Publish or preview.
    pub mode: &'a Mode,
}

/// How a run ended, if nothing failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The version is out.
    Released(Box<Released>),
    /// A newer commit is out; this one is not, and will not be.
    Superseded(Box<Superseded>),
    /// Nothing was to be published.
    Planned(Box<Planned>),
    /// A version that was published before was taken to the servers.
    Deployed(Box<Deployment>),
    /// The servers were told to go back.
    RolledBack(Box<Deployment>),
    /// What the servers said.
    Reported(Vec<HostStatus>),
}

impl Ending {
    /// The deployment, where there was one.
    pub fn deployment(&self) -> Option<&Deployment> {
        match self {
            Self::Released(released) => released.deployment.as_ref(),
            Self::Deployed(deployment) | Self::RolledBack(deployment) => Some(deployment),
            Self::Superseded(_) | Self::Planned(_) | Self::Reported(_) => None,
        }
    }
}

/// A version that is out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The claim was there before this run.
    pub resumed: bool,
    /// The claim.
    pub known: RecordedClaim,
    /// The tag that holds the image by commit and digest, where there is one.
    pub sha_tag: Option<ImageTag>,
    /// The GitHub release, where one was wanted.
    pub release: Option<Release>,
    /// Where `latest` ended; `None`: not to be touched.
    pub latest: Option<Latest>,
    /// Why this version.
    pub reason: String,
    /// What came of taking it to the servers, where there are any.
    pub deployment: Option<Deployment>,
}

/// A commit that came too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superseded {
    /// The newest claim.
    pub by: RecordedClaim,
    /// What was done for newer versions.
    pub helped: Vec<Help>,
    /// Where `latest` ended; `None`: not to be touched.
    pub latest: Option<Latest>,
}

/// A plan that was not to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// The plan.
    pub plan: Plan,
    /// What it rests on.
    pub survey: Survey,
    /// Why nothing is published.
    pub why: String,
    /// The image id, where something was built.
    pub built: Option<Digest>,
}

/// A lost race costs a rebuild from cache. So many in a row are no race.
const CLAIMS: u32 = 12;

/// Refusals of a claim although nothing had moved: a lock or a timeout at GitHub passes, a rule does not.
const REFUSALS: u32 = 3;

/// What was asked for: the transaction and the deployment, or one of the servers' commands.
///
/// A deployment that failed is part of the ending: the release stands, and what each server has is told.
pub async fn run<F: Forge, R: Registry, B: Builder, S: RemoteExec>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    progress: &Progress,
    logs: &mut Logs<'_>,
) -> Result<Ending, Failure> {
    progress.intends(intents::of(job));
    if job.request.command.reaches_servers() {
        return deployment::command(ports, job, progress, logs).await;
    }
    let mut ending = release(ports, job, progress, logs.build).await?;
    // A superseded run deploys nothing, and nor does a plan.
    if let Ending::Released(released) = &mut ending {
        released.deployment = deployment::after(ports, job, released, progress, logs).await?;
    }
    Ok(ending)
}

/// The transaction. See the module's head, and ARCHITECTURE.md for why the steps stand in this order.
async fn release<F: Forge, R: Registry, B: Builder, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    progress: &Progress,
    log: &mut dyn BuildLog,
) -> Result<Ending, Failure> {
    let mut race = Race::default();
    for attempt in 1..=CLAIMS {
        let survey =
            progress.stage("plan", survey::read(&ports.forge, &ports.registry, question(job))).await?;
        if attempt == 1 {
            remark_unread(&survey, progress);
        }
        let plan = match decide(&survey, &job.request.version) {
            Ok(plan) => plan,
            // The lists were read after the head: what speaks against a version may be what another run has
            // claimed and published since.
            Err(refusal) if moved_since(ports, job, &survey).await? => {
                tracing::info!("{}: planning again (try {attempt} of {CLAIMS})", refusal.why);
                continue;
            }
            Err(refusal) => return Err(refusal.into()),
        };
        if let Mode::Preview(why) = &job.mode {
            return preview(ports, job, Prepared { plan, survey, why }, progress, log).await;
        }
        let next = match plan {
            Plan::Superseded { by, newer } => {
                return superseded(ports, job, (*by, &newer), &survey.registry, progress).await;
            }
            Plan::Resume { known } => {
                let resumed = !race.own.contains(&known.id);
                let claimed = ResolvedClaim::found(job, known, resumed, &survey);
                return finish(ports, job, claimed, &survey, progress).await;
            }
            Plan::Claim(next) => next,
        };
        tracing::info!("{}", next.reason);
        let staged = build_and_stage(ports, job, &next, progress, log).await?;
        if let Some(why) = overtaken(ports, job, (&next, &staged), &survey, progress).await? {
            tracing::info!("{why}: planning again (try {attempt} of {CLAIMS})");
            continue;
        }
        match progress.stage("claim", claim::claim(&ports.forge, claim_order(job, &next), &staged)).await? {
            Claimed::Won(known) => {
                let tag = job.request.version.prefix.tag_of(&next.version);
                progress.done(format!("claimed {tag} for commit {}", job.run.commit.short()));
                let claimed = ResolvedClaim::won(*known, &staged, next.reason);
                return finish(ports, job, claimed, &survey, progress).await;
            }
            Claimed::Contended { object, why, unmoved } => {
                race.lost(object, unmoved.map(|failure| *failure))?;
                tracing::info!("{why}: planning again (try {attempt} of {CLAIMS})");
                clock::sleep(pause_after(attempt)).await;
            }
        }
    }
    Err(Failure::new(
        FailureKind::Unavailable,
        "claiming a version",
        format!("other runs were faster {CLAIMS} times in a row"),
        "run the job again; if this happens often, let runs queue with `concurrency:`",
    ))
}

/// What a run keeps of the claims that it tried and did not win.
#[derive(Default)]
struct Race {
    /// The claims that it made: one may stand after all, though the answer to it was lost.
    own: Vec<ObjectId>,
    /// How many were refused although nothing had moved.
    unmoved: u32,
}

impl Race {
    fn lost(&mut self, object: ObjectId, unmoved: Option<Failure>) -> Result<(), Failure> {
        if let Some(failure) = unmoved {
            self.unmoved += 1;
            if self.unmoved == REFUSALS {
                return Err(failure);
            }
        }
        self.own.push(object);
        Ok(())
    }
}

/// Why a plan no longer holds after the time that the build took, if it does not.
async fn overtaken<F: Forge, R: Registry, B, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    (next, staged): (&NextVersion, &Staged),
    survey: &Survey,
    progress: &Progress,
) -> Result<Option<String>, Failure> {
    let settled = progress.stage("stage", stage::settle(&ports.registry, &survey.registry)).await?;
    if settled.is_some_and(|listed| listed.versions().iter().any(|version| *version >= next.version)) {
        return Ok(Some("the registry's list, now readable, has higher versions".to_owned()));
    }
    let image = &job.request.version.image;
    let asking = publish::free(&ports.registry, image, &next.version, staged.digest());
    match progress.stage("claim", asking).await {
        // Whoever claimed it since may have published it already: that is a lost race and no conflict.
        Err(taken) if taken.kind == FailureKind::Conflict && moved_since(ports, job, survey).await? => {
            Ok(Some(taken.why))
        }
        free => free.map(|()| None),
    }
}

/// A title counts whatever follows it; that the rest says nothing is said once, since its author may have meant
/// something by it.
fn remark_unread(survey: &Survey, progress: &Progress) {
    let Some(first) = survey.unread.first() else { return };
    let others = match survey.unread.len() - 1 {
        0 => String::new(),
        others => format!(" and of {others} more"),
    };
    let text = format!(
        "the text below the title does not follow Conventional Commits in the message of \
         \u{201c}{first}\u{201d}{others}; the title counts all the same, and so does a line that begins \
         with `BREAKING CHANGE:`."
    );
    progress.remark(Severity::Notice, "Commit messages", &text);
}

/// Whether another run has claimed since this one looked.
async fn moved_since<F: Forge, R, B, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    survey: &Survey,
) -> Result<bool, Failure> {
    let seen = survey.head.as_ref().map(|head| &head.id);
    claim::has_moved(&ports.forge, &job.request.claim_ref, seen).await
}

/// Runs that lost together do not come back together; lists that lag get a moment to catch up.
fn pause_after(attempt: u32) -> Duration {
    Duration::from_millis(100 << attempt.min(5)).mul_f64(rand::random_range(0.5..1.0))
}

fn question(job: Job<'_>) -> SurveyScope<'_> {
    let version = &job.request.version;
    SurveyScope {
        commit: &job.run.commit,
        prefix: &version.prefix,
        claim_ref: &job.request.claim_ref,
        selector: &version.selector,
    }
}

fn claim_order<'a>(job: Job<'a>, next: &'a NextVersion) -> ClaimRequest<'a> {
    ClaimRequest {
        next,
        commit: &job.run.commit,
        image: &job.request.version.image,
        prefix: &job.request.version.prefix,
        claim_ref: &job.request.claim_ref,
        run: &job.run.url,
    }
}

struct Prepared<'a> {
    plan: Plan,
    survey: Survey,
    why: &'a str,
}

/// Plan and build, and publish nothing.
async fn preview<F: Forge, R: Registry, B: Builder, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    prepared: Prepared<'_>,
    progress: &Progress,
    log: &mut dyn BuildLog,
) -> Result<Ending, Failure> {
    let Prepared { plan, survey, why } = prepared;
    let mut built = None;
    if job.request.command == Command::Release
        && let (Plan::Claim(next), ImageSource::Build(settings)) = (&plan, &job.request.source)
    {
        tracing::info!("{}", next.reason);
        let request = progress.stage("build", request(ports, job, settings, next)).await?;
        let image = progress.stage("build", ports.builder.build(&request, log)).await?;
        progress.done(format!("built {} as {image}, published nothing", next.version));
        built = Some(image);
    }
    Ok(Ending::Planned(Box::new(Planned { plan, survey, why: why.to_owned(), built })))
}
