//! One build: the context goes up, BuildKit's log comes down, an image id stands at the end.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{BuildInfo, BuildInfoAux};
use bollard::query_parameters::{BuildImageOptions, BuildImageOptionsBuilder, BuilderVersion};

use super::super::daemon::{self, engine_credentials};
use super::super::{BuildEvent, BuildLog, BuildRequest, Outcome, Trouble, TroubleKind};
use super::messages::Messages;
use super::progress::{FailedStep, Progress};
use super::wire::Way;
use crate::help::Topic;
use crate::image::context::{ContextError, ContextFault, ContextPlan};
use crate::image::dockerfile::{Dockerfile, Instruction};
use crate::image::reference::Digest;

const DOING: &str = "building the image";

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
    let context = Arc::clone(&plan).stream();
    let failure = Failure { request, plan: &plan, context: context.fault() };
    let options = options(request, plan.dockerfile());
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
        .map_err(|error| explain_context(&request.context, &error, failed(error.to_string())))
}

fn explain_context(context: &Path, error: &ContextError, trouble: Trouble) -> Trouble {
    const OUTSIDE: &str = "and what it names lie below the workspace: a link that leads out of it, a device or a \
                           pipe is not followed. Copy what lies elsewhere into the workspace in a step before this one";
    const NO_CHECKOUT: &str =
        "the workspace is empty: add the step `- uses: actions/checkout@v7` before this one";
    let is_empty =
        |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none());
    match error {
        ContextError::NoFolder { fault, .. } if fault.is_refusal() => {
            refused(trouble, format!("let the input `context` {OUTSIDE}")).about(Topic::NoContext)
        }
        ContextError::NoDockerfile { fault, .. } if fault.is_refusal() => {
            refused(trouble, format!("let the input `file` {OUTSIDE}")).about(Topic::NoDockerfile)
        }
        ContextError::NoIgnoreFile { fault, .. } if fault.is_refusal() => {
            refused(trouble, format!("let the ignore file {OUTSIDE}"))
        }
        ContextError::NoIgnoreFile { .. } => trouble.with_remedy(
            "commit the ignore file as a regular file, or remove it; without it what it names would be in the image",
        ),
        ContextError::BadPattern { .. } => trouble.with_remedy(
            "correct that line of the ignore file and push; until then what it names would be in the image",
        ),
        ContextError::NoFolder { .. } => {
            let around = context.ancestors().skip(1).find(|folder| folder.is_dir());
            let remedy = if around.is_some_and(is_empty) {
                NO_CHECKOUT
            } else {
                "let the input `context` name a directory of the repository, relative to its root"
            };
            trouble.with_remedy(remedy).about(Topic::NoContext)
        }
        ContextError::NoDockerfile { nearby, .. } => {
            let remedy = match nearby {
                _ if is_empty(context) => NO_CHECKOUT.to_owned(),
                Some(there) => format!(
                    "let the input `file` name {}, relative to the repository's root; or commit a Dockerfile at that \
                     place",
                    there.display()
                ),
                None => "commit a Dockerfile at that place, or let the input `file` name the one to build, relative \
                         to the repository's root"
                    .to_owned(),
            };
            trouble.with_remedy(remedy).about(Topic::NoDockerfile)
        }
        _ => trouble,
    }
}

/// It is not for the build to fail: somebody named, or planted, what must not be read.
fn refused(trouble: Trouble, remedy: String) -> Trouble {
    Trouble { kind: TroubleKind::Input, ..trouble }.with_remedy(remedy)
}

fn options(request: &BuildRequest, dockerfile: &str) -> BuildImageOptions {
    let mut build_args: HashMap<String, String> = request.build_args.clone().into_iter().collect();
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

/// What is needed to explain a failed build.
struct Failure<'a> {
    request: &'a BuildRequest,
    plan: &'a ContextPlan,
    context: ContextFault,
}

impl Failure<'_> {
    fn explain(&self, error: &Error, progress: &Progress) -> Trouble {
        if let Some(fault) = self.context.get() {
            return Trouble::new(TroubleKind::Build, "sending the build context", fault.to_string());
        }
        let Error::DockerStreamError { error: text } = error else {
            return daemon::of_client(error, DOING);
        };
        let dockerfile = Dockerfile::parse(&String::from_utf8_lossy(self.plan.dockerfile_text()));
        match progress.culprit() {
            Some(step) => self.explain_step(step, dockerfile.locate(&step.name)),
            None => self.explain_text(text, &dockerfile),
        }
    }

    fn explain_step(&self, step: &FailedStep, instruction: Option<&Instruction>) -> Trouble {
        let place = match instruction {
            Some(instruction) => self.place(instruction),
            None => format!("step `{}`", step.name),
        };
        let mut why = format!("{place} failed: {}", step.error);
        if !step.tail.is_empty() {
            why = format!("{why}\nIts last lines:\n{}", step.tail.join("\n"));
        }
        let kind = kind_of_step(step);
        let trouble = Trouble::new(kind, DOING, why);
        if fetches(step) {
            return trouble.with_remedy(remedy_for_base(kind)).about(Topic::BaseImage);
        }
        let ignored = instruction.and_then(|instruction| self.ignored_source(instruction));
        let remedy = ignored.unwrap_or_else(|| {
            "mend that instruction, or what it runs; `docker build .` shows the same on your machine"
                .to_owned()
        });
        trouble.with_remedy(remedy).about(Topic::BuildStep)
    }

    /// The Dockerfile as its repository names it: below the context, where it lies there.
    fn file(&self) -> PathBuf {
        let (file, context) = (&self.request.dockerfile, &self.request.context);
        file.strip_prefix(context).unwrap_or(file).components().collect()
    }

    fn place(&self, instruction: &Instruction) -> String {
        format!("{} line {}, `{}`,", self.file().display(), instruction.line, instruction.text)
    }

    /// No step failed: the Dockerfile itself, or what the build was asked for.
    fn explain_text(&self, text: &str, dockerfile: &Dockerfile) -> Trouble {
        let why = match line_number(text).and_then(|line| dockerfile.at_line(line)) {
            Some(instruction) => format!("{}: {text}", self.place(instruction)),
            None => format!("{}: {text}", self.file().display()),
        };
        Trouble::new(TroubleKind::Build, DOING, why)
            .with_remedy("correct the Dockerfile; `docker build .` shows the same on your machine")
    }

    /// A failed `COPY` of something that stands there, and that `.dockerignore` keeps at home, is a
    /// riddle: the Engine says "not found", in words that change with its version.
    fn ignored_source(&self, copy: &Instruction) -> Option<String> {
        let sources = copy.copied_from_context();
        sources.into_iter().find_map(|name| {
            let (file, line) = self.plan.ignored_by(name)?;
            let exists = self.request.context.join(name).symlink_metadata().is_ok();
            exists.then(|| {
                let file = file.display();
                format!(
                    "`{name}` is kept out of the build by {file}, line {line}: change that line, or add `!{name}` after it."
                )
            })
        })
    }
}

/// A step that fetches fails for the registry's reasons, and trying again may help; any other is the
/// user's own, whatever words it printed.
fn kind_of_step(step: &FailedStep) -> TroubleKind {
    if fetches(step) {
        daemon::kind_of(&step.error).unwrap_or(TroubleKind::Build)
    } else {
        TroubleKind::Build
    }
}

fn fetches(step: &FailedStep) -> bool {
    ["load metadata for", "importing cache manifest", "resolve image config", "] FROM "]
        .iter()
        .any(|word| step.name.contains(word))
}

fn remedy_for_base(kind: TroubleKind) -> &'static str {
    match kind {
        TroubleKind::Denied => {
            "check the name after FROM; a private image has to lie in the registry of the input `image`, where the \
             account of `registry-username` and `registry-password` may read it"
        }
        TroubleKind::Throttled => {
            "run the job again when that registry's limit is over; where this is usual, copy the base image into the \
             registry of the input `image` and name it there after FROM"
        }
        TroubleKind::Unreachable => {
            "run the job again; if it stays, see that the runner reaches that registry"
        }
        _ => "correct the name and the tag after FROM: that registry has no such image",
    }
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

/// `dockerfile parse error line 3:` or, in newer versions, `parse error on line 3:`.
fn line_number(text: &str) -> Option<usize> {
    let rest = text.split_once("parse error")?.1.split_once("line ")?.1;
    rest[..rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, error: &str) -> FailedStep {
        FailedStep { name: name.to_owned(), error: error.to_owned(), tail: Vec::new() }
    }

    #[test]
    fn only_a_step_that_fetches_can_be_the_registrys_fault() {
        for (name, error, kind) in [
            (
                "[internal] load metadata for docker.io/library/x:1",
                "429 Too Many Requests",
                TroubleKind::Throttled,
            ),
            ("[1/2] FROM ghcr.io/o/a", "dial tcp: i/o timeout", TroubleKind::Unreachable),
            ("[internal] load metadata for ghcr.io/o/a", "denied", TroubleKind::Denied),
            ("[internal] load metadata for ghcr.io/o/a", "ghcr.io/o/a: not found", TroubleKind::Build),
            ("[2/2] RUN curl x", "connection refused: exit code: 7", TroubleKind::Build),
        ] {
            assert_eq!(kind_of_step(&step(name, error)), kind, "{name}: {error}");
        }
    }

    #[test]
    fn sizes_are_for_people() {
        assert_eq!(
            [0, 999, 1000, 1_999, 9_292_902].map(size),
            ["0 B", "999 B", "1.0 kB", "1.9 kB", "9.2 MB"]
        );
    }

    #[test]
    fn the_line_is_read_from_old_and_new_words() {
        for (text, line) in [
            (
                "failed to create LLB definition: dockerfile parse error line 3: unknown instruction: FOO",
                Some(3),
            ),
            ("dockerfile parse error on line 12: x", Some(12)),
            ("parse error line", None),
            ("line 3", None),
        ] {
            assert_eq!(line_number(text), line, "{text}");
        }
    }
}
