//! From a plan to an image in the registry: what can be published at all, what is built, build, stage.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::progress::Progress;
use super::{Job, Ports};
use crate::failure::{Failure, FailureKind};
use crate::inputs::request::{BuildSettings, ImageSource};
use crate::local::head::{self, CheckedOut, Whose};
use crate::ports::{BuildLog, BuildRequest, Builder, Forge, Registry};
use crate::release::stage::{self, PushOrder, Staged};
use crate::versioning::plan::NextVersion;
use autotag_build_context::workspace::Workspace;
use autotag_model::help::Topic;
use autotag_model::labels;
use autotag_model::labels::Facts;

/// Build and push, or take what was built elsewhere. Either way the image is in the registry afterwards.
pub(super) async fn build_and_stage<F: Forge, R: Registry, B: Builder, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    next: &NextVersion,
    progress: &Progress,
    log: &mut dyn BuildLog,
) -> Result<Staged, Failure> {
    let name = &job.request.version.image;
    let settings = match &job.request.source {
        ImageSource::Digest(digest) => {
            return progress.stage("stage", stage::adopt(&ports.registry, name, digest)).await;
        }
        ImageSource::Build(settings) => settings,
    };
    // Part of the plan: what could never be published is not built.
    progress.stage("plan", may_publish(ports, job, next)).await?;
    let request = progress.stage("build", request(ports, job, settings, next)).await?;
    let image = progress.stage("build", ports.builder.build(&request, log)).await?;
    let push = PushOrder { name, commit: &job.run.commit, credentials: job.request.registry.as_ref() };
    let staged =
        progress.stage("stage", stage::push(&ports.builder, &ports.registry, &image, push, log)).await?;
    if let Some(tag) = staged.tag() {
        progress.done(format!("staged {}", name.with_tag(tag)));
    }
    Ok(staged)
}

/// A build may take long; that its image could never be pushed or claimed is told before it.
async fn may_publish<F: Forge, R: Registry, B, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    next: &NextVersion,
) -> Result<(), Failure> {
    let tag = job.request.version.prefix.tag_of(&next.version);
    ports.forge.may_write(&tag, &job.run.commit).await?;
    Ok(ports.registry.may_push().await?)
}

/// What is built has to be the commit that is claimed; a checkout of something else would be released under
/// its name. A workspace without `.git` says nothing.
fn same_commit(job: Job<'_>, settings: &BuildSettings) -> Result<(), Failure> {
    let workspace = Workspace::at(&job.run.boundary);
    let server_host = job.run.server_url.split_once("://").map_or(&*job.run.server_url, |(_, host)| host);
    let whose = Whose { repository: &job.run.repository, server_host };
    // A Dockerfile from another checkout says what becomes of the context.
    for directory in [Some(&*settings.context), settings.dockerfile.parent()].into_iter().flatten() {
        let of_place = |place: &Path| match place.strip_prefix(workspace.root()) {
            Ok(below) if !below.as_os_str().is_empty() => format!("`{}`", below.display()),
            _ => "it".to_owned(),
        };
        match head::of(&workspace, directory, whose) {
            CheckedOut::Commit(place, head) if head != job.run.commit => {
                return Err(Failure::new(
                    FailureKind::Input,
                    "looking at the workspace",
                    format!(
                        "{} has commit {head} checked out, and the run is for {}",
                        of_place(&place),
                        job.run.commit
                    ),
                    "remove `ref:` from the step actions/checkout, so that it checks out the run's own \
                     commit; or build elsewhere, and pass the image as `image-digest`",
                )
                .about(Topic::OtherCommit));
            }
            CheckedOut::Unknown(place, why) => tracing::warn!(
                "it is not known whether {} has the run's commit checked out: {why}",
                of_place(&place)
            ),
            CheckedOut::Commit(..) | CheckedOut::Nothing => {}
        }
    }
    Ok(())
}

/// What is built: what the settings say, with the version and the commit in it.
pub(super) async fn request<F: Forge, R: Registry, B: Builder, S>(
    ports: &Ports<F, R, B, S>,
    job: Job<'_>,
    settings: &BuildSettings,
    next: &NextVersion,
) -> Result<BuildRequest, Failure> {
    let name = &job.request.version.image;
    if job.mode.publishes() {
        same_commit(job, settings)?;
    }
    let commit = ports.forge.commit(&job.run.commit).await?;
    let source = format!("{}/{}", job.run.server_url, job.run.repository);
    let facts = Facts {
        version: &next.version,
        commit: &job.run.commit,
        created: &commit.date,
        source: &source,
        repository: &job.run.repository,
    };
    // BuildKit dates the image by it, so that a rebuild of a commit can be the same bytes.
    let source_date = commit.date.parse::<Timestamp>().map(Timestamp::as_second).ok();
    let credentials = job.request.registry.iter().map(|found| (name.registry().to_owned(), found.clone()));
    // The version before is a better cache than `latest`: nobody moves it in the middle of a build.
    let cache = settings.cache && !settings.no_cache;
    let cache_from = next.previous.iter().filter(|_| cache).map(|version| format!("{name}:{version}"));
    Ok(BuildRequest {
        workspace: Workspace::at(&job.run.boundary),
        context: settings.context.clone(),
        dockerfile: settings.dockerfile.clone(),
        target: settings.target.clone(),
        platform: settings.platform.clone(),
        build_args: settings.build_args.clone(),
        version_arg: settings.version_arg.clone().map(|name| (name, next.version.to_string())),
        source_date,
        labels: labels::labels(&facts, &settings.labels),
        cache_from: cache_from.collect(),
        inline_cache: cache,
        no_cache: settings.no_cache,
        pull: settings.pull,
        credentials: credentials.collect::<BTreeMap<_, _>>(),
    })
}
