//! One build: the context goes up, BuildKit's log comes down, an image id stands at the end.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::buildkit::{Build, BuildSource};
use super::explain::{self, DOING, FailedBuild};
use super::progress::BuildProgress;
use super::wire::Way;
use crate::ports::{BuildEvent, BuildLog, BuildRequest};
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_build_context::context::{ContextPlan, ContextStream};
use autotag_build_context::dockerfile::{Asked, Dockerfile, is_a_version};
use autotag_model::reference::Digest;
use autotag_model::secret::Credentials;

/// Builds. The build lives as long as the returned future: the Engine ends it when the connection goes.
pub(super) async fn build(way: &Way, request: &BuildRequest, log: &mut dyn BuildLog) -> CallResult<Digest> {
    let plan = Arc::new(plan(request).await?);
    log.event(BuildEvent::Note(format!(
        "context: {} entries, {}; Dockerfile: {}",
        plan.entries().len(),
        size(plan.total()),
        request.file().display()
    )));
    let parsed = Dockerfile::parse(&String::from_utf8_lossy(plan.dockerfile_text()));
    let given = given(request, &parsed, log);
    // BuildKit asks for files by names, which are text: any other needs an archive of everything.
    let archive = plan.needs_an_archive().then(|| Arc::clone(&plan).stream());
    let fault = archive.as_ref().map(ContextStream::fault).unwrap_or_default();
    let source = BuildSource { plan: Arc::clone(&plan), archive, fault: fault.clone() };
    let failure = FailedBuild { request, plan: &plan, context: fault, dockerfile: &parsed, given: &given };
    let mut progress = BuildProgress::default();
    let order = Build { request, given: &given, source, logins: logins(request) };
    let answer = Box::pin(order.run(way, |status| progress.take(status, log))).await;
    let solved = answer.map_err(|error| failure.explain(&error, &progress))?;
    solved.image().and_then(|id| id.parse().ok()).ok_or_else(|| {
        CallError::new(
            CallErrorKind::InvalidResponse,
            DOING,
            "the Engine ended the build without naming an image",
        )
    })
}

async fn plan(request: &BuildRequest) -> CallResult<ContextPlan> {
    let (context, dockerfile) = (request.context.clone(), request.dockerfile.clone());
    let workspace = request.workspace.clone();
    let read =
        tokio::task::spawn_blocking(move || ContextPlan::read(&workspace, &context, &dockerfile)).await;
    let failed = |why: String| CallError::new(CallErrorKind::Build, "reading the build context", why);
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

/// By the names that BuildKit asks with. Docker Hub has one of its own.
fn logins(request: &BuildRequest) -> HashMap<String, Credentials> {
    let name =
        |registry: &str| if registry == "docker.io" { "registry-1.docker.io" } else { registry }.to_owned();
    request.credentials.iter().map(|(registry, login)| (name(registry), login.clone())).collect()
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
