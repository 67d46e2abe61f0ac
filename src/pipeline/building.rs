//! From a plan to an image in the registry: what can be published at all, what is built, build, stage.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;

use super::progress::Progress;
use super::{Job, World};
use crate::failure::{Failure, Kind as FailureKind};
use crate::inputs::request::{BuildOrder, Source};
use crate::local::head::{self, CheckedOut, Whose};
use crate::ports::{BuildLog, BuildRequest, Builder, Forge, Registry};
use crate::release::stage::{self, PushOrder, Staged};
use crate::versioning::plan::Next;
use autotag_build_context::workspace::Workspace;
use autotag_model::help::Topic;
use autotag_model::labels;
use autotag_model::labels::Facts;

/// Build and push, or take what was built elsewhere. Either way the image is in the registry afterwards.
pub(super) async fn build_and_stage<F: Forge, R: Registry, B: Builder, S>(
    world: &World<F, R, B, S>,
    job: Job<'_>,
    next: &Next,
    progress: &Progress,
    log: &mut dyn BuildLog,
) -> Result<Staged, Failure> {
    let name = &job.order.wish.image;
    let order = match &job.order.source {
        Source::Digest(digest) => {
            return progress.stage("stage", stage::adopt(&world.registry, name, digest)).await;
        }
        Source::Build(order) => order,
    };
    // Part of the plan: what could never be published is not built.
    progress.stage("plan", may_publish(world, job, next)).await?;
    let request = progress.stage("build", request(world, job, order, next)).await?;
    let image = progress.stage("build", world.builder.build(&request, log)).await?;
    let push = PushOrder { name, commit: &job.run.commit, credentials: job.order.registry.as_ref() };
    let staged =
        progress.stage("stage", stage::push(&world.builder, &world.registry, &image, push, log)).await?;
    if let Some(tag) = staged.tag() {
        progress.done(format!("staged {}", name.with_tag(tag)));
    }
    Ok(staged)
}

/// A build may take long; that its image could never be pushed or claimed is told before it.
async fn may_publish<F: Forge, R: Registry, B, S>(
    world: &World<F, R, B, S>,
    job: Job<'_>,
    next: &Next,
) -> Result<(), Failure> {
    let tag = job.order.wish.prefix.tag_of(&next.version);
    world.forge.may_write(&tag, &job.run.commit).await?;
    Ok(world.registry.may_push().await?)
}

/// What is built has to be the commit that is claimed; a checkout of something else would be released under
/// its name. A workspace without `.git` says nothing.
fn same_commit(job: Job<'_>, order: &BuildOrder) -> Result<(), Failure> {
    let workspace = Workspace::at(&job.run.boundary);
    let server_host = job.run.server_url.split_once("://").map_or(&*job.run.server_url, |(_, host)| host);
    let whose = Whose { repository: &job.run.repository, server_host };
    // A Dockerfile from another checkout says what becomes of the context.
    for directory in [Some(&*order.context), order.dockerfile.parent()].into_iter().flatten() {
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
                    "remove `ref:` from the step actions/checkout, so that it checks out the run's own commit; or build elsewhere, and pass the image as `image-digest`",
                )
                .about(Topic::OtherCommit));
            }
            CheckedOut::Unknown(place, why) => tracing::warn!(
                "whether {} has the run's commit checked out cannot be said: {why}",
                of_place(&place)
            ),
            CheckedOut::Commit(..) | CheckedOut::Nothing => {}
        }
    }
    Ok(())
}

/// What is built: the order, with the version and the commit in it.
pub(super) async fn request<F: Forge, R: Registry, B: Builder, S>(
    world: &World<F, R, B, S>,
    job: Job<'_>,
    order: &BuildOrder,
    next: &Next,
) -> Result<BuildRequest, Failure> {
    let name = &job.order.wish.image;
    if job.purpose.preview.is_none() {
        same_commit(job, order)?;
    }
    let commit = world.forge.commit(&job.run.commit).await?;
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
    let credentials = job.order.registry.iter().map(|found| (name.registry().to_owned(), found.clone()));
    // The version before is a better cache than `latest`: nobody moves it in the middle of a build.
    let cache = order.cache && !order.no_cache;
    let cache_from = next.previous.iter().filter(|_| cache).map(|version| format!("{name}:{version}"));
    Ok(BuildRequest {
        workspace: Workspace::at(&job.run.boundary),
        context: order.context.clone(),
        dockerfile: order.dockerfile.clone(),
        target: order.target.clone(),
        platform: order.platform.clone(),
        build_args: order.build_args.clone(),
        version_arg: order.version_arg.clone().map(|name| (name, next.version.to_string())),
        source_date,
        labels: labels::labels(&facts, &order.labels),
        cache_from: cache_from.collect(),
        inline_cache: cache,
        no_cache: order.no_cache,
        pull: order.pull,
        credentials: credentials.collect::<BTreeMap<_, _>>(),
    })
}
