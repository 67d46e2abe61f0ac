//! What the project runs of itself is verified before it runs (`scripts/release/verify-image`).
//!
//! `gh` and `docker` are played: GitHub's attestations and its registry are nowhere but on github.com. What is played
//! refuses what it does not know, and writes down each call, so that a test sees what was asked and in which order.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_yaml::Value;

const REPOSITORY: &str = "Org/autotag-deploy";
const IMAGE: &str = "ghcr.io/org/autotag-deploy";

/// Knows one attestation, in the file `attested`: digest and source commit.
const GH: &str = r#"#!/usr/bin/env bash
echo "gh $*" >>"$PLAY/calls"
read -r digest source <"$PLAY/attested"
[[ "$*" == "attestation verify oci://ghcr.io/org/autotag-deploy@$digest --repo Org/autotag-deploy --signer-workflow Org/autotag-deploy/.github/workflows/release.yml --source-ref refs/heads/main --source-digest $source --deny-self-hosted-runners" ]]
"#;

/// Knows one image, whose labels stand in `labels`: revision and version. It starts nothing.
const DOCKER: &str = r#"#!/usr/bin/env bash
echo "docker $1" >>"$PLAY/calls"
read -r revision version <"$PLAY/labels"
case "$1 $*" in
    pull*) ;;
    *.revision*) echo "$revision" ;;
    *.version*) echo "$version" ;;
    *) exit 9 ;;
esac
"#;

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

/// A repository of this project's form, beside the two programs that are played.
struct Play {
    directory: tempfile::TempDir,
}

impl Play {
    fn new() -> Self {
        let play = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        for (name, text) in [("gh", GH), ("docker", DOCKER)] {
            let file = play.path().join(name);
            fs::write(&file, text).expect(name);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect(name);
        }
        fs::create_dir(play.clone_path()).expect("clone");
        play.git(&["init", "--quiet", "--initial-branch", "main"]);
        play.commit("Dockerfile", "first");
        play
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn clone_path(&self) -> std::path::PathBuf {
        self.path().join("clone")
    }

    fn git(&self, words: &[&str]) -> String {
        let mut git = Command::new("git");
        git.current_dir(self.clone_path()).env("GIT_CONFIG_GLOBAL", "/dev/null").args(words);
        for who in ["AUTHOR", "COMMITTER"] {
            git.env(format!("GIT_{who}_NAME"), "t").env(format!("GIT_{who}_EMAIL"), "t@example.com");
        }
        let output = git.output().expect("git");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits action.yml with this image, beside whatever else lies there.
    fn commit(&self, image: &str, subject: &str) {
        let action = format!("name: x\nruns:\n  using: docker\n  image: {image}\n");
        fs::write(self.clone_path().join("action.yml"), action).expect("action.yml");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", subject]);
    }

    /// A commit of source, and one that pins what was built from it; the source's id.
    fn release(&self, image: &str) -> String {
        fs::write(self.clone_path().join("source"), image).expect("source");
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "source"]);
        let source = self.git(&["rev-parse", "HEAD"]);
        self.commit(image, "pin");
        source
    }

    fn knows(&self, file: &str, what: &str, more: &str) {
        fs::write(self.path().join(file), format!("{what} {more}\n")).expect(file);
    }

    fn verify(&self) -> Output {
        let _ = fs::remove_file(self.path().join("calls"));
        let path = testkit::processes::act::path();
        let path =
            std::env::join_paths(std::iter::once(self.path().to_owned()).chain(std::env::split_paths(&path)));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/release/verify-image");
        Command::new(script)
            .current_dir(self.clone_path())
            .env("PATH", path.expect("a path"))
            .env("PLAY", self.path())
            .env("GITHUB_REPOSITORY", REPOSITORY)
            .output()
            .expect("scripts/release/verify-image")
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path().join("calls")).unwrap_or_default()
    }

    /// It is refused for this reason, and Docker was asked for nothing where `gh` did not agree.
    #[track_caller]
    fn is_refused(&self, why: &str, calls: &[&str]) {
        let output = self.verify();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(printed.contains(why), "no `{why}` in {printed}");
        assert!(output.stdout.is_empty(), "it names an image all the same: {output:?}");
        let asked = self.calls();
        let programs: Vec<&str> = asked.lines().filter_map(|call| call.split(' ').next()).collect();
        assert_eq!(programs, calls, "{asked}");
    }
}

// case X8; broken by: `verify-image` without the call of `gh`; without the name's comparison; without `--source-digest`
pub fn only_what_the_release_workflow_built_runs() {
    let play = Play::new();
    let own = format!("docker://{IMAGE}@{}", digest('a'));
    let source = play.release(&own);
    play.knows("attested", &digest('a'), &source);
    play.knows("labels", &source, "1.2.3");
    let output = play.verify();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("image={IMAGE}\ndigest={}\nversion=1.2.3\n", digest('a'))
    );

    // Later commits run the same image; its source stays the one before the commit that pins it.
    fs::write(play.clone_path().join("more"), "more").expect("more");
    play.commit(&own, "more source");
    assert!(play.verify().status.success());

    // Labels that say otherwise, although the attestation is right.
    play.knows("labels", &"0".repeat(40), "1.2.3");
    play.is_refused("says that it was built from", &["gh", "docker", "docker", "docker"]);
    play.knows("labels", &source, "1.2.3-rc.1");
    play.is_refused("names no stable version", &["gh", "docker", "docker", "docker"]);
    play.knows("labels", &source, "1.2.3");

    // The same digest pinned again over newer source: an older program under a newer commit.
    play.release("Dockerfile");
    play.release(&own);
    play.is_refused("no attestation", &["gh"]);
}

// case X8; broken by: `pin-image --pinned` alone decides what runs
pub fn a_foreign_digest_stops_the_run() {
    let play = Play::new();
    let source = play.release(&format!("docker://{IMAGE}@{}", digest('a')));
    play.knows("attested", &digest('a'), &source);
    play.knows("labels", &source, "1.2.3");
    assert!(play.verify().status.success());

    play.commit(&format!("docker://{IMAGE}@{}", digest('b')), "a foreign digest under our own name");
    play.is_refused("no attestation", &["gh"]);
    // And it stays out when ordinary merges lie over it.
    fs::write(play.clone_path().join("more"), "more").expect("more");
    play.commit(&format!("docker://{IMAGE}@{}", digest('b')), "more source");
    play.is_refused("no attestation", &["gh"]);

    for image in
        ["ghcr.io/evil/autotag-deploy", "docker.io/org/autotag-deploy", "ghcr.io/org/autotag-deploy/x"]
    {
        play.commit(&format!("docker://{image}@{}", digest('a')), "another name");
        play.is_refused("names another image", &[]);
    }
    for image in [
        format!("docker://{IMAGE}:v1"),
        format!("docker://{IMAGE}:v1@{}", digest('a')),
        format!("docker://{IMAGE}@sha256:12"),
        format!("'docker://{IMAGE}@{}'", digest('a')),
        "other/Dockerfile".to_owned(),
        format!("Dockerfile\n  image: docker://{IMAGE}@{}", digest('a')),
    ] {
        play.commit(&image, "another form");
        let output = play.verify();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(
            printed.contains("expected `image: docker://") || printed.contains("names another image"),
            "{image}: {printed}"
        );
        assert_eq!(play.calls(), "", "{image}");
    }

    fs::write(play.clone_path().join("source"), "changed with the pin").expect("source");
    play.commit(&format!("docker://{IMAGE}@{}", digest('a')), "source and image in one commit");
    play.is_refused("that no release pinned", &[]);

    play.commit("Dockerfile", "built from its Dockerfile");
    let output = play.verify();
    assert!(output.status.success() && output.stdout.is_empty() && play.calls().is_empty(), "{output:?}");
}

// case X8; broken by: the job `plan` needs only `test`, and that nothing; `look` without the script
pub fn the_workflow_verifies_before_it_runs() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows/release.yml");
    let workflow: Value =
        serde_yaml::from_str(&fs::read_to_string(file).expect("release.yml")).expect("YAML");
    let jobs = workflow["jobs"].as_mapping().expect("jobs");
    let needs = |job: &Value| -> Vec<String> {
        let needs = &job["needs"];
        let all = needs.as_sequence().into_iter().flatten().chain(needs.is_string().then_some(needs));
        all.map(|name| name.as_str().expect("a name").to_owned()).collect()
    };
    for (name, job) in jobs {
        let name = name.as_str().expect("a name");
        let mut behind = vec![name.to_owned()];
        while let Some(next) =
            behind.iter().flat_map(|name| needs(&jobs[name.as_str()])).find(|next| !behind.contains(next))
        {
            behind.push(next);
        }
        assert!(behind.iter().any(|job| job == "look"), "{name} does not wait for look");
        assert!(
            job.get("if").and_then(Value::as_str).is_none_or(|condition| !condition.contains("always()")),
            "{name}"
        );
    }
    let steps = jobs["look"]["steps"].as_sequence().expect("steps");
    let commands: Vec<&str> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
    assert!(
        commands[0].trim_start().starts_with("verified=$(scripts/release/verify-image)\n"),
        "{commands:?}"
    );
    assert!(steps.iter().all(|step| step["uses"].as_str() != Some("./")), "look runs the image itself");
}
