//! What goes wrong at and in the build.

use autotag_model::help::Topic;

use super::annotated;
use crate::action::build::Built;
use testkit::images::tiny_image::TinyImage;
use testkit::registry::{Auth, Registry};

/// A run that builds; nothing is pushed or claimed.
#[track_caller]
fn fails(
    built: &Built,
    code: i32,
    topic: Topic,
    name: &str,
    inputs: &[(&str, &str)],
    replaced: &[(&str, &str)],
) {
    let run = built.project.workflow.push(&built.project.merge("one"));
    let run = inputs.iter().fold(run, |run, (input, value)| run.with(input, value)).finish();
    let workspace = built.project.workflow.workspace().to_string_lossy().into_owned();
    let replaced = [&[(workspace.as_str(), "WORKSPACE")], replaced].concat();
    annotated(&run, code, topic, name, &replaced);
    built.assert_untouched();
}

#[test]
fn docker_that_is_not_there() {
    let built = Built::new();
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("docker.sock");
    let commit = built.project.merge("one");
    let host = format!("unix://{}", socket.display());
    let at = socket.to_string_lossy().into_owned();
    let run = built.project.workflow.push(&commit).env("DOCKER_HOST", &host).finish();
    annotated(&run, 4, Topic::NoDocker, "docker_missing", &[(&at, "SOCKET")]);
    // A daemon that was killed leaves its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    let run = built.project.workflow.push(&commit).env("DOCKER_HOST", &host).finish();
    annotated(&run, 4, Topic::NoDocker, "docker_dead", &[(&at, "SOCKET")]);
}

#[test]
fn a_dockerfile_or_a_context_that_is_not_there() {
    let built = Built::new();
    let file = [("file", "docker/Dockerfil")];
    fails(&built, 5, Topic::NoDockerfile, "dockerfile_missing", &file, &[]);
    fails(&built, 5, Topic::NoContext, "context_missing", &[("context", "services/api")], &[]);
    for entry in std::fs::read_dir(built.project.workflow.workspace()).expect("the workspace") {
        std::fs::remove_file(entry.expect("an entry").path()).expect("a file");
    }
    fails(&built, 5, Topic::NoDockerfile, "checkout_missing", &[], &[]);
    fails(&built, 5, Topic::NoContext, "checkout_missing_for_the_context", &[("context", "api")], &[]);
}

// invariant failures-are-explained: An annotation keeps what to do; broken by: `src/report/failed.rs`: its end
//   is cut off
#[test]
fn a_step_that_fails() {
    let built = Built::new();
    // To one stream: two are not told in one order.
    let lines = "for i in 1 2 3; do busybox echo compiling $i; done; busybox echo \"main.c:3: expected ';'\"";
    built.runs(&format!("RUN {lines}; exit 3\n"));
    fails(&built, 5, Topic::BuildStep, "step_failed", &[("no-cache", "true")], &[]);
    // What is too long for an annotation loses its middle, and never what to do.
    built.runs("RUN busybox yes 0123456789 | busybox head -c 30000 | busybox tr -d '\\n'; exit 1\n");
    let run =
        built.project.workflow.push(&built.project.merge("two")).with("no-cache", "true").finish().failed(5);
    let (_, text) = super::text_of(run.annotations("error")[0]);
    assert!(text.chars().count() <= 4000, "{run}");
    assert!(text.contains("\nWhat to do: ") && text.ends_with(&Topic::BuildStep.link()), "{run}");
    built.file("app", "x");
    built.file(".dockerignore", "*\n!Dockerfile\n");
    built.file("Dockerfile", "FROM scratch\nCOPY app /app\n");
    let run = built.project.workflow.push(&built.project.merge("three")).finish().failed(5);
    let (_, text) = super::text_of(run.annotations("error")[0]);
    assert!(text.contains("/.dockerignore") && text.contains("`!app`"), "{text}");
}

#[test]
fn a_base_image_that_is_missing_or_private() {
    let built = Built::new();
    let host = built.project.registry.host().to_owned();
    built.file("Dockerfile", &format!("FROM {host}/org/base:1\nCOPY app /app\n"));
    fails(&built, 5, Topic::BaseImage, "base_missing", &[], &[(&host, "REGISTRY")]);
    let private = Registry::start(&Auth::basic("bot", "right-password"));
    private.put("org/base", "1", &TinyImage::labelled(&[]));
    built.file("Dockerfile", &format!("FROM {}/org/base:1\nCOPY app /app\n", private.host()));
    fails(&built, 3, Topic::BaseImage, "base_private", &[], &[(private.host(), "PRIVATE")]);
}
