//! What people see, from real runs: `docs/pictures/` has the texts, and pictures of some of them.
//!
//! These tests run the programs and compare what they show with those texts, but for what is never the same
//! (times, ids). Where they differ `scripts/pictures` starts the tests with [`WRITE`] set, and renders what they
//! have written.

mod masks;
mod record;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::action::deploy::play::{Servers, Stage, Turn};
use crate::action::docker_build::SHELL;
use crate::action::release::Project;
use crate::action::runner::leftovers::Leftovers;
use crate::action::workflow::{Finished, Run, Workflow};
use crate::receiver::deployments::end_to_end::Way;
use autotag_deploy::pipeline::Ending;
use autotag_deploy::report::servers;
use autotag_protocol::{End, FailureCode, Open, RolloutStep};
use testkit::github::{Access, Double, Permissions};
use testkit::images::app_image;
use testkit::programs::receiver;

/// Set: the texts are written, all of them, so that those of one run stay together.
const WRITE: &str = "AUTOTAG_DEPLOY_PICTURES_WRITE";

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures")
}

/// Names of this machine, and what stands in their place.
#[derive(Default)]
struct Names(Vec<(String, &'static str)>);

impl Names {
    fn of(project: &Project) -> Self {
        Self(vec![(project.registry.host().to_owned(), "ghcr.io")])
    }

    fn and(mut self, name: &str, shown: &'static str) -> Self {
        self.0.push((name.to_owned(), shown));
        self
    }

    /// The text is what `docs/pictures/FILE` says.
    #[track_caller]
    fn show(&self, file: &str, text: &str) {
        let text = self.0.iter().fold(text.to_owned(), |text, (name, shown)| text.replace(name, shown));
        let text = text.trim_end().to_owned() + "\n";
        let path = directory().join(file);
        #[expect(clippy::disallowed_methods, reason = "the tests' own environment")]
        if std::env::var_os(WRITE).is_some() {
            return std::fs::write(&path, text).expect("the text is written");
        }
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let (before, text) = (masks::masked(&before), masks::masked(&text));
        assert!(
            before == text,
            "docs/pictures/{file} is no longer true: run scripts/pictures.\nIt says:\n{before}\nA run says:\n{text}"
        );
    }

    #[track_caller]
    fn summary(&self, file: &str, run: &Finished) {
        self.show(file, &run.summary);
    }
}

/// The directory that is built: the tests' application, and a step that says something.
fn fill(workflow: &Workflow, more: &str) {
    let workspace = workflow.workspace();
    let write = |name: &str, bytes: &[u8]| std::fs::write(workspace.join(name), bytes).expect("a file");
    std::fs::copy("/bin/busybox", workspace.join("busybox")).expect("busybox-static at /bin/busybox");
    write("app.tar", app_image::layer());
    write("build.sh", b"echo 'compiling the shop'\necho '17 tests passed'\n");
    let dockerfile = format!(
        "{SHELL}COPY build.sh /\nRUN busybox sh build.sh\nADD app.tar /\nARG VERSION\n\
         ENV VERSION=$VERSION\n{more}ENTRYPOINT [\"/test-app\"]\n"
    );
    write("Dockerfile", dockerfile.as_bytes());
}

/// A run that builds, also where the others are without Docker.
fn building(run: Run, leftovers: &Leftovers) -> Run {
    run.env("DOCKER_HOST", "unix:///var/run/docker.sock")
        .with("labels", leftovers.label())
        .with("no-cache", "true")
        .with("bump", "auto")
        .with("initial-version", "1.3.0")
}

/// What the server's owner sees: the commands as they are typed, and what they print.
fn owner(way: &Way, commands: &[&[&str]]) -> String {
    let mut text = String::new();
    for command in commands {
        let output = Command::new(receiver())
            .arg("--root")
            .arg(way.server.directory.path())
            .args(*command)
            .output()
            .expect("the receiver starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{command:?}: {printed}{}", String::from_utf8_lossy(&output.stderr));
        text += &["# autotag-receiver ", &command.join(" "), "\n", &printed, "\n"].concat();
    }
    text
}

// invariant failures-are-explained: What people see is what `docs/pictures/` says; broken by:
//   `src/deploy/hosts.rs`: what a container said last is not kept; `src/adapters/docker/push.rs`: another word
//   in the log
#[test]
fn a_good_release_a_failing_one_and_a_rollback() {
    let leftovers = Leftovers::new();
    let way = Way::open();
    let port = way.sshd.port();
    let app = way.server.app.as_str();
    let names = Names::of(&way.project)
        .and(&format!("127.0.0.1:{port}"), "web1.example.com")
        .and(&format!("127.0.0.1:{}", way.server.port), "127.0.0.1:8080")
        .and(app, "shop");
    fill(&way.project.workflow, "");
    let first = way.project.merge("feat: open the shop (#1)");
    building(way.run(&first, port), &leftovers).finish().ended("released");

    let second = way.project.merge("feat: sell books too (#12)");
    let run = building(way.run(&second, port), &leftovers).finish().ended("released");
    names.summary("released.md", &run);
    names.show("release.log", &run.log);
    let run = building(way.run(&second, port), &leftovers).finish().ended("resumed");
    names.summary("resumed.md", &run);

    fill(&way.project.workflow, "ENV FAIL_HEALTH=always SAY=\"cannot reach the database\"\n");
    let third = way.project.merge("fix: look into another database (#13)");
    let run = building(way.run(&third, port), &leftovers).finish().failed(7);
    names.summary("deployment-failed.md", &run);
    names.show("deployment-failed.log", &run.log);

    let run = way.run(&third, port).with("command", "rollback").finish().ended("rolled-back");
    names.summary("rolled-back.md", &run);
    let run = way.run(&third, port).with("command", "status").finish().ended("reported");
    names.summary("status.md", &run);
    let deploy = way.run(&second, port).with("command", "deploy").with("version", "1.4.0");
    names.summary("downgraded.md", &deploy.with("deploy-allow-downgrade", "true").finish().ended("deployed"));
    let text = owner(&way, &[&["status", app], &["history", app]]);
    // The column is as wide as the name that stands in it here.
    names.show("server.txt", &text.replace(&format!("{:<1$}", "APP", app.len()), "APP "));
}

// invariant failures-are-explained: A summary says what was skipped; broken by: `src/pipeline/intents.rs`: a
//   pull request wants a release
#[test]
fn a_pull_request_and_a_build_that_fails_at_length() {
    let leftovers = Leftovers::new();
    let project = Project::new();
    let names = Names::of(&project);
    let commit = project.merge("feat: open the shop (#1)");
    project.release(&commit).finish().ended("released");
    let commit = project.merge("feat: sell books too (#12)");
    fill(&project.workflow, "");
    let asked = project.workflow.run(&commit, "pull_request", "refs/pull/12/merge");
    names.summary("planned.md", &building(asked, &leftovers).finish().ended("planned"));

    let script = "for number in $(busybox seq 200); do echo \"src/shop.c:$number: error: 'price' undeclared\"; done\nexit 2\n";
    std::fs::write(project.workflow.workspace().join("build.sh"), script).expect("a file");
    let run = building(project.workflow.push(&commit), &leftovers).finish().failed(5);
    names.summary("build-failed.md", &run);
}

#[test]
fn the_other_endings() {
    let project = Project::new();
    let names = Names::of(&project);
    let older = project.merge("feat: open the shop (#1)");
    let newer = project.merge("feat: sell books too (#12)");
    project.release(&newer).finish().ended("released");
    names.summary("superseded.md", &project.release(&older).finish().ended("superseded"));

    let next = project.merge("fix: count the books (#14)");
    let gate = project.github.hold("POST */releases");
    let running = project.release(&next).start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(gate.arrived(1));
    running.signal("INT");
    names.summary("cancelled.md", &running.finish().failed(130));
    gate.open();

    let last = project.merge("fix: count them again (#15)");
    let permissions = Permissions { contents: Access::Read, deployments: Access::None };
    project.github.allow(Double::TOKEN, permissions);
    names.summary("refused.md", &project.release(&last).finish().failed(3));
}

#[test]
fn several_servers() {
    let servers = Servers::new().serving("web1", "0.0.0").serving("web2", "0.0.0");
    let stage = Stage::new(servers);
    let names = Names::of(&stage.project);
    let commit = stage.project.merge("feat: open the shop (#1)");
    let run = stage.release(&commit, &[("deploy-host", "web1, web2")]);
    names.show("two-servers.md", &run.summary);
    let run = stage.command("status", &commit, &[("deploy-host", "web1, web2")]);
    let Ending::Reported(answers) = run.ending() else { panic!("{run:?}") };
    names.show("drift.md", &servers::status_summary(answers));
    let commit = stage.project.merge("feat: sell books too (#12)");
    let message = "/healthz gave 503 for 60 s".to_owned();
    stage.servers.next(
        "web2",
        Turn::Ends(End::Failed {
            step: Open::Known(RolloutStep::Health),
            code: Open::Known(FailureCode::Unhealthy),
            message,
        }),
    );
    let run = stage.release(&commit, &[("deploy-host", "web1, web2, web3")]);
    names.show("one-of-three-failed.md", &run.summary);
}
