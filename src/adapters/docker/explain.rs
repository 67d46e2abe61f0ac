//! Why a build failed, and what to do: the line, the input or the Engine is named, whichever it was.
//!
//! The Engine's words differ with its version, so what can be told from the request and the Dockerfile is
//! told from them: which stages there are, which image reads the file, which step is the file's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bollard::errors::Error;

use super::buildkit::Failed;
use super::progress::{BuildProgress, FailedStep};
use crate::ports::BuildRequest;
use autotag_base::{CallError, CallErrorKind};
use autotag_build_context::context::{ContextError, ContextFault, ContextPlan};
use autotag_build_context::dockerfile::{Dockerfile, Instruction};
use autotag_docker::daemon;
use autotag_model::help::Topic;

/// The operation, as every error of the build names it.
pub(super) const DOING: &str = "building the image";

/// What to do about a context, a Dockerfile or an ignore file that cannot be used.
pub(super) fn context(request: &BuildRequest, error: &ContextError, call_error: CallError) -> CallError {
    const OUTSIDE: &str = "and what it names lie below the workspace: a link that leads out of it, a device \
                           or a \
                           pipe is not followed. Copy what lies elsewhere into the workspace in a step \
                           before this one";
    const NO_CHECKOUT: &str =
        "the workspace is empty: add the step `- uses: actions/checkout@v7` before this one";
    let context = &*request.context;
    let is_empty = |dir: &Path| std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    match error {
        ContextError::NoDirectory { fault, .. } if fault.is_refusal() => {
            refused(call_error, format!("let the input `context` {OUTSIDE}")).about(Topic::NoContext)
        }
        ContextError::NoDockerfile { fault, .. } if fault.is_refusal() => {
            refused(call_error, format!("let the input `file` {OUTSIDE}")).about(Topic::NoDockerfile)
        }
        ContextError::NoIgnoreFile { fault, .. } if fault.is_refusal() => {
            refused(call_error, format!("let the ignore file {OUTSIDE}"))
        }
        ContextError::NoIgnoreFile { .. } => call_error.with_remedy(
            "commit the ignore file as a regular file, or remove it; without it what it names would be in \
             the image",
        ),
        ContextError::BadPattern { .. } => call_error.with_remedy(
            "correct that line of the ignore file and push; until then what it names would be in the image",
        ),
        ContextError::NoDirectory { .. } => {
            let around = context.ancestors().skip(1).find(|directory| directory.is_dir());
            let remedy = if around.is_some_and(is_empty) {
                NO_CHECKOUT
            } else {
                "let the input `context` name a directory of the repository, relative to its root"
            };
            call_error.with_remedy(remedy).about(Topic::NoContext)
        }
        ContextError::NoDockerfile { nearby, .. } => {
            let remedy = match nearby {
                _ if is_empty(context) => NO_CHECKOUT.to_owned(),
                Some(there) if is_relative_to_the_context(request, there) => {
                    format!(
                        "let the input `file` be `{}`: it is relative to the workspace, and not to the \
                         input `context`",
                        request.below_workspace(there).display()
                    )
                }
                Some(there) => format!(
                    "let the input `file` be `{}`, relative to the workspace; or commit a Dockerfile there",
                    request.below_workspace(there).display()
                ),
                None => "commit a Dockerfile there, or let the input `file` name the one to build, relative \
                         to the repository's root"
                    .to_owned(),
            };
            call_error.with_remedy(remedy).about(Topic::NoDockerfile)
        }
        _ => call_error,
    }
}

/// Whether the file that is there was named as if the context were the workspace.
fn is_relative_to_the_context(request: &BuildRequest, there: &Path) -> bool {
    let below = there.strip_prefix(&request.context);
    !request.below_workspace(&request.context).as_os_str().is_empty()
        && below.is_ok_and(|below| request.dockerfile.ends_with(below))
}

/// It is not for the build to fail: somebody named, or planted, what must not be read.
fn refused(call_error: CallError, remedy: String) -> CallError {
    CallError { kind: CallErrorKind::Input, ..call_error }.with_remedy(remedy)
}

/// What is needed to explain a failed build.
pub(super) struct FailedBuild<'a> {
    pub(super) request: &'a BuildRequest,
    pub(super) plan: &'a ContextPlan,
    pub(super) context: ContextFault,
    pub(super) dockerfile: &'a Dockerfile,
    /// The build arguments that were given beside the user's own.
    pub(super) given: &'a BTreeMap<String, String>,
}

impl FailedBuild<'_> {
    pub(super) fn explain(&self, failed: &Failed, progress: &BuildProgress) -> CallError {
        if let Some(fault) = self.context.get() {
            return CallError::new(CallErrorKind::Build, "sending the build context", fault.to_string());
        }
        let Error::DockerStreamError { error: text } = &failed.error else {
            return daemon::of_client(&failed.error, DOING);
        };
        let at_fault = failed.line.and_then(|line| self.dockerfile.at_line(line));
        match progress.culprit() {
            Some(step) => {
                let instruction =
                    at_fault.filter(|_| !fetches(step)).or_else(|| self.dockerfile.locate(&step.name));
                self.explain_step(step, instruction)
            }
            None => self.explain_text(text, at_fault),
        }
    }

    fn explain_step(&self, step: &FailedStep, instruction: Option<&Instruction>) -> CallError {
        if let Some(call_error) = self.explain_syntax(step) {
            return call_error;
        }
        let place = match instruction {
            Some(instruction) => self.place(instruction),
            None => format!("step `{}`", step.name),
        };
        let mut why = format!("{place} failed: {}", step.error);
        if !step.tail.is_empty() {
            why = format!("{why}\nIts last lines:\n{}", step.tail.join("\n"));
        }
        let kind = kind_of_step(step);
        if fetches(step) {
            let remedy = remedy_for_base(kind);
            let why = why + &self.values_used(|text| text.to_ascii_uppercase().starts_with("FROM"));
            return CallError::new(kind, DOING, why).with_remedy(remedy).about(Topic::BaseImage);
        }
        if instruction.is_none() && is_the_engines(&step.name) {
            return CallError::new(kind, DOING, why).with_remedy(ENGINES_STEP).about(Topic::BuildStep);
        }
        let ignored = instruction.and_then(|instruction| self.ignored_source(instruction));
        let remedy = ignored.unwrap_or_else(|| {
            "fix that instruction, or the command that it runs; `docker build .` shows the same on your \
             machine"
                .to_owned()
        });
        let why = why + &instruction.map_or(String::new(), |it| self.values_used(|text| text == it.text));
        CallError::new(kind, DOING, why).with_remedy(remedy).about(Topic::BuildStep)
    }

    /// The image of `# syntax=` reads the Dockerfile: no FROM names it.
    fn explain_syntax(&self, step: &FailedStep) -> Option<CallError> {
        if !loads_a_frontend(&step.name) {
            return None;
        }
        let (place, remedy) = match (self.request.build_args.get("BUILDKIT_SYNTAX"), self.dockerfile.syntax())
        {
            (Some(image), _) => (
                format!("the build argument BUILDKIT_SYNTAX={image}"),
                "correct that line of the input `build-args`, or remove it".to_owned(),
            ),
            (None, Some((line, image))) => (
                format!("{} line {line}, `# syntax={image}`,", self.request.file().display()),
                format!(
                    "correct the image on line {line}, or remove that line: the Docker Engine then reads \
                     the file itself"
                ),
            ),
            (None, None) => return None,
        };
        let why = format!("{place} failed: {}", step.error);
        let kind = daemon::kind_of(&step.error).unwrap_or(CallErrorKind::Build);
        let remedy = match kind {
            CallErrorKind::Build | CallErrorKind::Denied => remedy,
            other => remedy_for_base(other).to_owned(),
        };
        Some(CallError::new(kind, DOING, why).with_remedy(remedy).about(Topic::BaseImage))
    }

    /// Which given build arguments stand in these instructions: their values are seen nowhere else.
    fn values_used(&self, concerned: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        for (name, value) in self.given.iter().filter(|(name, _)| self.dockerfile.uses(name, &concerned)) {
            let _ = write!(text, "\nThe build argument {name} was `{value}` (given by this action)");
        }
        text
    }

    fn place(&self, instruction: &Instruction) -> String {
        format!("{} line {}, `{}`,", self.request.file().display(), instruction.line, instruction.text)
    }

    /// No step failed: an input, the Dockerfile itself, or the Engine.
    fn explain_text(&self, text: &str, at_fault: Option<&Instruction>) -> CallError {
        if let Some(target) =
            self.request.target.as_deref().filter(|target| !self.dockerfile.has_stage(target))
        {
            let names: Vec<String> =
                self.dockerfile.stage_names().iter().map(|name| format!("`{name}`")).collect();
            let stages = if names.is_empty() { "none that has a name".to_owned() } else { names.join(", ") };
            let file = self.request.file();
            let why = format!(
                "input `target`: {} has no stage `{target}`; expected one of its stages: {stages}",
                file.display()
            );
            return CallError::new(CallErrorKind::Input, DOING, why)
                .with_remedy(
                    "let the input `target` name one of these stages, or leave it empty for the last one",
                )
                .about(Topic::Inputs);
        }
        let file = self.request.file();
        let at_fault = at_fault.or_else(|| self.dockerfile.at_line(line_number(text)?));
        let (why, remedy) = match at_fault {
            Some(instruction) => (format!("{}: {text}", self.place(instruction)), DOCKERFILES_FAULT),
            None if is_about_the_dockerfile(text) => {
                (format!("{}: {text}", file.display()), DOCKERFILES_FAULT)
            }
            None => (format!("the Docker Engine: {text}"), ENGINES_STEP),
        };
        CallError::new(CallErrorKind::Build, DOING, why).with_remedy(remedy)
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
                    "`{name}` is kept out of the build by {file}, line {line}: change that line, or add \
                     `!{name}` after it."
                )
            })
        })
    }
}

/// A step that fetches fails for the registry's reasons, and trying again may help; any other is the
/// user's own, whatever words it printed.
fn kind_of_step(step: &FailedStep) -> CallErrorKind {
    if fetches(step) {
        daemon::kind_of(&step.error).unwrap_or(CallErrorKind::Build)
    } else {
        CallErrorKind::Build
    }
}

fn fetches(step: &FailedStep) -> bool {
    ["load metadata for", "importing cache manifest", "resolve image config", "] FROM ", "docker-image://"]
        .iter()
        .any(|word| step.name.contains(word))
}

const DOCKERFILES_FAULT: &str = "correct the Dockerfile; `docker build .` shows the same on your machine";
const ENGINES_STEP: &str = "this is a step of the Docker Engine itself, and not of the Dockerfile: see \
                            whether the \
                            Engine has room (`docker system df`) and what its log says, then run the job \
                            again";

/// A step of the Dockerfile has its place in a stage before it, `[build 2/5] RUN make`; every other one is the
/// Engine's: `copy /context /`, `exporting to image`, `[internal] load remote build context`.
fn is_the_engines(step: &str) -> bool {
    let place = step.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or("", |(place, _)| place);
    let number = place.rsplit(' ').next().unwrap_or_default();
    !number.split_once('/').is_some_and(|(number, of)| {
        let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        all_digits(number) && all_digits(of)
    })
}

/// The step that fetches what reads the Dockerfile, in the words of old and new Engines.
fn loads_a_frontend(step: &str) -> bool {
    step.contains("resolve image config for") || step.starts_with("docker-image://")
}

/// What BuildKit says before it has made steps of a Dockerfile.
fn is_about_the_dockerfile(text: &str) -> bool {
    ["LLB definition", "parse", "ockerfile", "frontend", "dispatch"].iter().any(|word| text.contains(word))
}

fn remedy_for_base(kind: CallErrorKind) -> &'static str {
    match kind {
        CallErrorKind::Denied => {
            "check the name after FROM; a private image must be in the registry of the input `image`, where \
             the account of `registry-username` and `registry-password` may read it"
        }
        CallErrorKind::Throttled => {
            "run the job again when that registry's limit is over; if this happens often, copy the base \
             image into the \
             registry of the input `image` and name it there after FROM"
        }
        CallErrorKind::Unreachable => {
            "run the job again; if it fails again, check that the runner reaches that registry"
        }
        _ => "correct the name and the tag after FROM: that registry has no such image",
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
                CallErrorKind::Throttled,
            ),
            ("[1/2] FROM ghcr.io/o/a", "dial tcp: i/o timeout", CallErrorKind::Unreachable),
            ("[internal] load metadata for ghcr.io/o/a", "denied", CallErrorKind::Denied),
            ("[internal] load metadata for ghcr.io/o/a", "ghcr.io/o/a: not found", CallErrorKind::Build),
            ("[2/2] RUN curl x", "connection refused: exit code: 7", CallErrorKind::Build),
        ] {
            assert_eq!(kind_of_step(&step(name, error)), kind, "{name}: {error}");
        }
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

    // case A11
    #[test]
    fn a_step_is_the_dockerfiles_or_the_engines() {
        for (step, engines) in [
            ("[2/3] RUN make", false),
            ("[build 2/3] COPY . .", false),
            ("[linux/arm64 build 12/13] RUN x", false),
            ("[stage-1 1/2] FROM a", false),
            ("copy /context /", true),
            ("exporting to image", true),
            ("[internal] load remote build context", true),
            ("[internal] load build definition from Dockerfile", true),
            ("[auth] org/app:pull token for ghcr.io", true),
            ("[a/b] x", true),
            ("", true),
        ] {
            assert_eq!(is_the_engines(step), engines, "{step}");
        }
    }

    #[test]
    fn the_dockerfile_frontend_is_no_base_image() {
        for (step, frontend) in [
            ("resolve image config for docker.io/docker/dockerfile:9.9", true),
            ("resolve image config for docker-image://docker.io/docker/dockerfile:9.9", true),
            ("docker-image://docker.io/docker/dockerfile:1@sha256:aa", true),
            ("[internal] load metadata for docker.io/library/x:1", false),
            ("[1/2] FROM docker.io/library/x:1", false),
        ] {
            assert_eq!(loads_a_frontend(step), frontend, "{step}");
        }
    }

    #[test]
    fn errors_of_the_dockerfile_and_the_engine_are_distinguished() {
        for (text, about) in [
            ("failed to solve with frontend dockerfile.v0: failed to create LLB definition: x", true),
            ("failed to solve: failed to read dockerfile: open x", true),
            ("dockerfile parse error on line 3: unknown instruction", true),
            ("the Dockerfile (Dockerfile) cannot be empty", true),
            ("write /var/lib/docker/tmp: no space left on device", false),
            ("failed to receive status: rpc error: code = Unavailable desc = closing transport", false),
        ] {
            assert_eq!(is_about_the_dockerfile(text), about, "{text}");
        }
    }
}
