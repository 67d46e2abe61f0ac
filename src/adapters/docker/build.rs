//! One build: the context goes up, BuildKit's log comes down, an image id stands at the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bollard::auth::DockerCredentials;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion};

use super::explain::{self, Failure};
use super::messages::Messages;
use super::progress::Progress;
use super::wire::Way;
use crate::ports::{BuildEvent, BuildLog, BuildRequest};
use autotag_base::{Outcome, Trouble, TroubleKind};
use autotag_build_context::context::ContextPlan;
use autotag_build_context::dockerfile::{Asked, Dockerfile, is_a_version};
use autotag_docker::daemon;
use autotag_docker::daemon::engine_credentials;
use autotag_model::reference::Digest;

pub(super) const DOING: &str = "building the image";

/// Builds. The build lives as long as the returned future: the Engine ends it when the connection goes.
pub(super) async fn build(
    engine: (&bollard::Docker, Option<&Way>),
    request: &BuildRequest,
    log: &mut dyn BuildLog,
) -> Outcome<Digest> {
    let plan = Arc::new(plan(request).await?);
    log.event(BuildEvent::Note(format!(
        "context: {} entries, {}; Dockerfile: {}",
        plan.entries().len(),
        size(plan.total()),
        plan.dockerfile()
    )));
    let dockerfile = Dockerfile::parse(&String::from_utf8_lossy(plan.dockerfile_text()));
    let given = given(request, &dockerfile, log);
    let context = Arc::clone(&plan).stream();
    let failure =
        Failure { request, plan: &plan, context: context.fault(), dockerfile: &dockerfile, given: &given };
    let options = options(request, &given, plan.dockerfile());
    let begun = Messages::begin(engine, options, credentials(request), context).await;
    let mut messages = begun.map_err(|error| daemon::of_client(&error, DOING))?;
    let mut progress = Progress::default();
    let mut image: Option<Digest> = None;
    while let Some(message) = messages.next().await {
        match message {
            Ok(BuildInfo { aux: Some(BuildInfoAux::BuildKit(status)), .. }) => progress.take(&status, log),
            Ok(BuildInfo { aux: Some(BuildInfoAux::Default(found)), .. }) => {
                image = found.id.and_then(|id| id.parse().ok()).or(image);
            }
            Ok(_) => {}
            Err(error) if image.is_some() && daemon::is_leftover(&error) => break,
            Err(error) => return Err(failure.explain(&error, &progress)),
        }
    }
    image.ok_or_else(|| {
        Trouble::new(TroubleKind::Garbled, DOING, "the Engine ended the build without naming an image")
    })
}

async fn plan(request: &BuildRequest) -> Outcome<ContextPlan> {
    let (context, dockerfile) = (request.context.clone(), request.dockerfile.clone());
    let workspace = request.workspace.clone();
    let read =
        tokio::task::spawn_blocking(move || ContextPlan::read(&workspace, &context, &dockerfile)).await;
    let failed = |why: String| Trouble::new(TroubleKind::Build, "reading the build context", why);
    read.map_err(|panic| failed(panic.to_string()))?
        .map_err(|error| explain::context(request, &error, failed(error.to_string())))
}

/// The build arguments that are given beside the user's own: what the Dockerfile has a value of its own for
/// is left to it, and said.
fn given(
    request: &BuildRequest,
    dockerfile: &Dockerfile,
    log: &mut dyn BuildLog,
) -> BTreeMap<String, String> {
    let target = request.target.as_deref();
    let mut given = BTreeMap::new();
    let mut own = |name: &str, line: usize, text: &str| {
        log.event(BuildEvent::Note(format!(
            "build argument {name}: left to the Dockerfile, which has its own on line {line}, `{text}`"
        )));
    };
    if let Some((name, version)) = &request.version_arg {
        match dockerfile.asks_for(name, target, is_a_version) {
            Asked::Yes => drop(given.insert(name.clone(), version.clone())),
            Asked::Own { line, text } => own(name, line, &text),
            Asked::No => {}
        }
    }
    if let Some(seconds) = request.source_date
        && !request.build_args.contains_key(SOURCE_DATE)
    {
        match dockerfile.asks_for(SOURCE_DATE, target, |default| !default.is_empty()) {
            Asked::Own { line, text } => own(SOURCE_DATE, line, &text),
            // BuildKit itself reads it.
            Asked::Yes | Asked::No => drop(given.insert(SOURCE_DATE.to_owned(), seconds.to_string())),
        }
    }
    given
}

const SOURCE_DATE: &str = "SOURCE_DATE_EPOCH";

fn options(request: &BuildRequest, given: &BTreeMap<String, String>, dockerfile: &str) -> BuildImageOptions {
    let mut build_args: HashMap<String, String> = request.build_args.clone().into_iter().collect();
    build_args.extend(given.clone());
    if request.inline_cache {
        build_args.insert("BUILDKIT_INLINE_CACHE".to_owned(), "1".to_owned());
    }
    let labels: HashMap<String, String> = request.labels.clone().into_iter().collect();
    let mut options = BuildImageOptionsBuilder::default()
        .dockerfile(dockerfile)
        .buildargs(&build_args)
        .labels(&labels)
        .nocache(request.no_cache)
        .version(BuilderVersion::BuilderBuildKit)
        // One for each build: two with one name would be handed each other's credentials.
        .session(&format!("autotag-deploy-{:032x}", rand::random::<u128>()));
    if !request.cache_from.is_empty() {
        options = options.cachefrom(&request.cache_from);
    }
    if let Some(target) = &request.target {
        options = options.target(target);
    }
    if let Some(platform) = &request.platform {
        options = options.platform(platform);
    }
    if request.pull {
        options = options.pull("1");
    }
    options.build()
}

/// By the names that BuildKit asks with. Docker Hub has one of its own for each builder.
fn credentials(request: &BuildRequest) -> HashMap<String, DockerCredentials> {
    let mut found = HashMap::new();
    for (registry, credentials) in &request.credentials {
        let names: &[&str] = match registry.as_str() {
            "docker.io" => &["registry-1.docker.io", "https://index.docker.io/v1/"],
            other => &[other],
        };
        for name in names {
            found.insert((*name).to_owned(), engine_credentials(credentials, name));
        }
    }
    found
}

/// `12 B`, `3.4 kB`, `56.7 MB`: nobody counts digits in a log.
fn size(bytes: u64) -> String {
    let one_digit = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit / (unit / 10));
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{} kB", one_digit(1000)),
        _ => format!("{} MB", one_digit(1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(
            [0, 999, 1000, 1_999, 9_292_902].map(size),
            ["0 B", "999 B", "1.0 kB", "1.9 kB", "9.2 MB"]
        );
    }
}
