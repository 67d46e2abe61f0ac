//! The action's own image, started as GitHub's runner starts a container action.
//!
//! The same mounts, the same environment, inputs with their hyphens, a closed standard input, no `--user`.
//! One thing is different: the container has the host's network, because the test's GitHub and registry
//! listen on the loopback device alone, so that nobody else on the network can reach them.

mod container;
pub mod leftovers;
pub mod log;

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use autotag_base::clock::Stopwatch;

use self::container::Step;
pub use self::container::image;
use self::leftovers::{Leftovers, docker};
use self::log::Reading;
use crate::action::docker_build::{SHELL, becomes, every_character, runs};
use crate::action::release::Project;
use crate::action::workflow::Workflow;
use testkit::github::Double;
use testkit::registry::{Auth, Registry};

fn project(password: &str) -> Project {
    let github = Double::start();
    let registry = Registry::start(&Auth::basic("pusher", password));
    let workflow = Workflow::new(&github.url());
    Project { github, registry, workflow }
}

/// A push of a new commit; the workspace has this Dockerfile.
fn push(project: &Project, leftovers: &Leftovers, password: &str, dockerfile: &str) -> Step {
    let step = Step::of_push(&project.github.url(), &project.merge("one"))
        .with("image", &project.image().to_string())
        .with("labels", leftovers.label())
        .with("registry-username", "pusher")
        .with("registry-password", password);
    std::fs::write(step.workspace().join("Dockerfile"), dockerfile).expect("Dockerfile");
    step
}

#[test]
fn a_release_from_inside_of_the_container() {
    let (leftovers, password) = (Leftovers::new(), every_character());
    let project = project(&password);
    let dockerfile = "FROM scratch\nARG VERSION\nLABEL as-built=$VERSION\nCOPY Dockerfile /\n";
    let running = push(&project, &leftovers, &password, dockerfile).start(&leftovers);
    let name = running.name().to_owned();
    let run = running.finish().ended("released");
    let digest = project.registry.digest("org/app", "0.0.1").expect("0.0.1 is published");
    assert_eq!((run.output("version"), run.output("digest")), ("0.0.1", digest.as_str()));
    assert_eq!(run.output("image-ref"), project.image().with_digest(&digest));
    assert!(run.summary.contains("Released [v0.0.1]"), "{}", run.summary);
    let reading = Reading::of(&run.raw);
    reading.assert_only(&["add-mask", "group", "stop-commands", "endgroup"]);
    reading.assert_closed();
    // Masks come first: what is printed before them is not masked.
    let first = run.raw.lines().position(|line| !line.starts_with("::add-mask::"));
    let last = run.raw.lines().filter(|line| line.starts_with("::add-mask::")).count();
    assert!(last > 0 && first == Some(last), "{run}");
    assert!(reading.data("add-mask").contains(&password.as_str()), "the password is masked as it is");
    project.assert_consistent();
    assert!(!leftovers.containers().contains(&name) && leftovers.containers().is_empty());
}

// invariant resumable
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_ends_by_itself_within_the_runners_grace() {
    let (leftovers, project) = (Leftovers::new(), project("pa55-word"));
    // A number of seconds that no other process sleeps.
    let seconds = (1_000_000_000 + rand::random::<u32>() / 5).to_string();
    let dockerfile = format!("{SHELL}RUN echo it has begun; busybox sleep {seconds}\n");
    let step = push(&project, &leftovers, "pa55-word", &dockerfile);
    std::fs::copy("/bin/busybox", step.workspace().join("busybox"))
        .expect("busybox at /bin/busybox (Debian package busybox-static)");
    let mut running = step.start(&leftovers);
    becomes("the step runs and its line is shown", || {
        running.log_so_far().contains("\nit has begun\n") && runs(&seconds)
    })
    .await;
    assert_eq!(leftovers.containers().len(), 1, "the action's container");
    let since = Stopwatch::start();
    running.cancel();
    becomes("the action ends", || running.has_ended()).await;
    // After 7.5 s the runner sends SIGTERM, after 10 s it kills the client and the container runs on.
    assert!(since.elapsed() < Duration::from_secs(7), "{:?}", since.elapsed());
    let run = running.finish().failed(130);
    assert!(run.annotations("error")[0].contains("SIGINT") && run.summary.contains("SIGINT"), "{run}");
    Reading::of(&run.raw).assert_closed();
    becomes("the container is gone", || leftovers.containers().is_empty()).await;
    becomes("the build is gone", || !runs(&seconds)).await;
    assert_eq!(project.registry.tags("org/app"), Vec::<String>::new());
}

#[test]
fn the_image_is_one_program_and_the_ca_certificates() {
    /// Which certificates they are, where scanners look for it.
    const DEBIANS_WORD: &str = "var/lib/dpkg/status.d/ca-certificates";
    let leftovers = Leftovers::new();
    let config = docker(&["image", "inspect", "--format", "{{json .Config}}", &image()]);
    let config: serde_json::Value = serde_json::from_str(&config).expect("the image is in Docker");
    assert_eq!(
        config["Entrypoint"],
        serde_json::json!(["/autotag-deploy"]),
        "no shell, which would lose names"
    );
    // GitHub wants container actions to run as root.
    assert_eq!(config["User"].as_str().unwrap_or_default(), "");

    let container = docker(&["create", "--label", leftovers.label(), &image()]);
    let mut export = Command::new("docker")
        .args(["export", container.trim()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("Docker's client");
    let mut archive = tar::Archive::new(export.stdout.take().expect("a pipe"));
    let mut files = Vec::new();
    for entry in archive.entries().expect("an archive") {
        let mut entry = entry.expect("a file");
        // Docker adds empty files of its own, such as /etc/hosts.
        if !entry.header().entry_type().is_file() || entry.size() == 0 {
            continue;
        }
        let path = entry.path().expect("a path").display().to_string();
        if path == "etc/ssl/certs/ca-certificates.crt" {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("certificates are text");
            assert!(text.matches("BEGIN CERTIFICATE").count() > 50, "the whole bundle");
        }
        if path == DEBIANS_WORD {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("a stanza is text");
            let says = |start: &str| text.lines().any(|line| line.starts_with(start));
            assert!(text.starts_with("Package: ca-certificates\n") && says("Version: 20"), "{text}");
        }
        files.push(path);
    }
    assert!(export.wait().expect("it ends").success());
    files.sort();
    assert_eq!(files, ["autotag-deploy", "etc/ssl/certs/ca-certificates.crt", DEBIANS_WORD]);
}
