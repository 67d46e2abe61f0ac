//! Everything after the claim: the version's tag, `latest`, the GitHub release; and what a superseded run does for
//! newer ones.

use super::progress::{Progress, Severity};
use super::{Ending, Job, Ports, Released, Superseded};
use crate::failure::Failure;
use crate::inputs::request::{ImageSource, LatestPolicy};
use crate::ports::{Forge, Registry, Release};
use crate::release::claim;
use crate::release::github::{self, ReleaseFacts};
use crate::release::latest::{self, Latest};
use crate::release::publish::{self, Help, Published};
use crate::release::stage::{self, Staged};
use crate::versioning::claim::{Claim, RecordedClaim};
use crate::versioning::plan::{RegistryVersions, Survey};
use autotag_base::{CallError, CallErrorKind};
use autotag_model::reference::ImageTag;

/// A claim that stands, whoever made it.
pub(super) struct ResolvedClaim {
    resumed: bool,
    known: RecordedClaim,
    sha_tag: Option<ImageTag>,
    reason: String,
}

impl ResolvedClaim {
    /// The one that this commit had already; `resumed` if an earlier run had made it.
    pub(super) fn found(job: Job<'_>, known: RecordedClaim, resumed: bool, survey: &Survey) -> Self {
        let reason = format!("{}: this commit's version", known.claim.version);
        tracing::info!("{reason}; going on from its claim");
        if let ImageSource::Digest(given) = &job.request.source
            && *given != known.claim.digest
        {
            tracing::warn!(
                "`image-digest` is {given}, but {} was claimed with {}, and that stays",
                known.claim.version,
                known.claim.digest
            );
        }
        let sha_tag = held_by(survey, &known);
        Self { resumed, known, sha_tag, reason }
    }

    /// The one that this run has made.
    pub(super) fn won(known: RecordedClaim, staged: &Staged, reason: String) -> Self {
        Self { resumed: false, known, sha_tag: staged.tag().cloned(), reason }
    }
}

/// The tag that holds a claimed image, if the registry's list shows that there is one.
fn held_by(survey: &Survey, known: &RecordedClaim) -> Option<ImageTag> {
    let tag = stage::tag_for(&known.claim.commit, &known.claim.digest).ok()?;
    survey.registry.holds(&tag).then_some(tag)
}

/// Everything after the claim. Each step looks first and does only what is missing.
pub(super) async fn finish<F: Forge, R: Registry, B, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    settled: ResolvedClaim,
    survey: &Survey,
    progress: &Progress,
) -> Result<Ending, Failure> {
    let claim = &settled.known.claim;
    let holding = claim::hold_tag(&ports.forge, &job.request.version.prefix, &settled.known);
    progress.stage("publish", holding).await?;
    let published = progress.stage("publish", publish::publish(&ports.registry, claim)).await?;
    let since = if published == Published::Now { "published" } else { "is published already" };
    progress.done(format!("{}:{} {since}, {}", claim.image, claim.version, claim.digest));
    let latest = settle_latest(ports, job, &survey.registry, progress).await?;
    let release = release_page(ports, job, claim, survey, progress).await?;
    Ok(Ending::Released(Box::new(Released {
        resumed: settled.resumed,
        sha_tag: settled.sha_tag,
        reason: settled.reason,
        known: settled.known,
        release,
        latest,
        deployment: None,
    })))
}

/// The page on GitHub, and which one GitHub shows as Latest.
async fn release_page<F: Forge, R, B, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    claim: &Claim,
    survey: &Survey,
    progress: &Progress,
) -> Result<Option<Release>, Failure> {
    let Some(settings) = &job.request.release else { return Ok(None) };
    let mut tagged = survey.git.clone();
    tagged.push(claim.version.clone());
    let (prefix, claim_ref) = (&job.request.version.prefix, &job.request.claim_ref);
    let repository_url = &format!("{}/{}", job.run.server_url, job.run.repository);
    let facts = ReleaseFacts { claim, prefix, settings, tagged: &tagged, claim_ref, repository_url };
    let made = progress.stage("release", github::release(&ports.forge, facts)).await;
    let Some(release) = forgiven(made, "There is no GitHub release", progress)? else { return Ok(None) };
    progress.done(format!("release {}: {}", release.tag, release.html_url));
    if !release.draft && !release.prerelease && job.request.latest != LatestPolicy::Never {
        let shown = github::show_highest(&ports.forge, &release, prefix, claim_ref);
        let shown = progress.stage("release", shown).await;
        forgiven(shown, "GitHub's Latest was not moved", progress)?;
    }
    Ok(Some(release))
}

/// The version is out. What a further run would meet again keeps nobody from deploying it, and is said; only what
/// running again can change fails the run.
fn forgiven<T>(result: Result<T, Failure>, title: &str, progress: &Progress) -> Result<Option<T>, Failure> {
    match result {
        Err(failure) if failure.is_for_good() => {
            let Failure { what, why, remedy, .. } = &failure;
            let text = format!(
                "{what}: {why}\nThe version is published all the same, and deployed where that was asked for.\nWhat to do: {remedy}. Then run the job again: it does only what is missing.\nMore: {}",
                failure.link()
            );
            progress.remark(Severity::Warning, title, &text);
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// `latest`, as the input says. Only a refusal by the registry is forgiven, and only under `auto`.
async fn settle_latest<F: Forge, R: Registry, B, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    listed: &RegistryVersions,
    progress: &Progress,
) -> Result<Option<Latest>, Failure> {
    if job.request.latest == LatestPolicy::Never {
        return Ok(None);
    }
    let image = &job.request.version.image;
    let settling = latest::settle(&ports.forge, &ports.registry, image, &job.request.claim_ref, listed);
    match progress.stage("latest", settling).await {
        Ok(latest) => {
            match &latest {
                Latest::Refused(error) if job.request.latest == LatestPolicy::Must => {
                    return Err((**error).clone().into());
                }
                Latest::Refused(error) => tracing::warn!("latest was not moved: {error}"),
                Latest::Moved(version) => progress.done(format!("latest is {version} now")),
                Latest::Already(version) => progress.done(format!("latest was {version} already")),
                Latest::Foreign(version) => {
                    tracing::warn!("latest is {version}, which this action did not make: left alone");
                }
                Latest::Nothing => tracing::warn!("no claimed version is published: latest was left alone"),
            }
            Ok(Some(latest))
        }
        Err(failure) if failure.is_for_good() && job.request.latest != LatestPolicy::Must => {
            let why = format!("{}: {}", failure.what, failure.why);
            forgiven::<()>(Err(failure), "`latest` was not moved", progress)?;
            Ok(Some(Latest::Refused(Box::new(CallError::new(CallErrorKind::Denied, "moving `latest`", why)))))
        }
        Err(failure) => Err(failure),
    }
}

/// A newer commit is out. Its run may have died after the claim, so this one helps before it leaves.
pub(super) async fn superseded<F: Forge, R: Registry, B, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    (by, newer): (RecordedClaim, &[RecordedClaim]),
    listed: &RegistryVersions,
    progress: &Progress,
) -> Result<Ending, Failure> {
    let helping = publish::help(&ports.registry, &job.request.version.image, newer, listed);
    let helped = progress.stage("publish", helping).await?;
    for help in &helped {
        match help {
            Help::Published(version) => {
                progress.done(format!("published {version}, which its own run had left"));
            }
            Help::Left(why) => tracing::warn!("{why}"),
        }
    }
    let latest = settle_latest(ports, job, listed, progress).await?;
    Ok(Ending::Superseded(Box::new(Superseded { by, helped, latest })))
}
