//! The transaction with nothing left out: the real program, a real build, a push with credentials.

mod layers;

use std::collections::BTreeSet;
use std::time::Duration;

use autotag_base::clock::Stopwatch;
use autotag_deploy::inputs::spec;
use autotag_model::reference::Digest;
use serde_json::Value;

use crate::action::docker_build::{SHELL, becomes, every_character, runs};
use crate::action::release::Project;
use crate::action::runner::leftovers::Leftovers;
use crate::action::runner::log::Reading;
use crate::action::workflow::{Finished, Running, Workflow, forms_of};
use testkit::github::Double;
use testkit::registry::{Auth, Registry};

/// What a build step prints to command the runner; `MARK` stands in every line of it.
const EVIL: &str = "::error::MARK\n  ::error file=a,line=1::MARK\n##[error]MARK\ntext ##[warning]MARK\n\
                    ::set-output name=version::MARK\n::add-mask::MARK\n::save-state name=a::MARK\n::group::MARK\n\
                    ::endgroup::\nMARK\r::notice::MARK\n::stop-commands::MARK\n::autotag-MARK::\n##[group]MARK\n";

/// A project whose images are built.
pub struct Built {
    pub project: Project,
    pub leftovers: Leftovers,
}

impl Built {
    pub fn new() -> Self {
        Self::with(&Auth::None, |workflow| workflow)
    }

    fn with(auth: &Auth, arrange: impl FnOnce(Workflow) -> Workflow) -> Self {
        let leftovers = Leftovers::new();
        let github = Double::start();
        let registry = Registry::start(auth);
        let workflow = Workflow::new(&github.url())
            .with("image", &registry.image("org/app").to_string())
            .with("labels", leftovers.label());
        Self { project: Project { github, registry, workflow: arrange(workflow) }, leftovers }
    }

    pub fn file(&self, name: &str, text: &str) {
        std::fs::write(self.project.workflow.workspace().join(name), text).expect("a file of the workspace");
    }

    /// A Dockerfile that runs steps: from scratch with a static busybox, since nothing can be pulled.
    pub fn runs(&self, steps: &str) {
        std::fs::copy("/bin/busybox", self.project.workflow.workspace().join("busybox"))
            .expect("busybox at /bin/busybox (Debian package busybox-static)");
        self.file("Dockerfile", &format!("{SHELL}{steps}"));
    }

    /// A step that prints [`EVIL`] on both streams and then does this. To be run with `no-cache`: what
    /// comes from the cache prints nothing.
    fn runs_evil(&self, then: &str) {
        self.file("evil", EVIL);
        self.runs(&format!("COPY evil /\nRUN busybox cat evil; busybox cat evil >&2; {then}\n"));
    }

    fn digest(&self, tag: &str) -> Digest {
        let digest = self.project.registry.digest("org/app", tag);
        digest.unwrap_or_else(|| panic!("{tag} is not in the registry"))
    }

    /// The labels of the image that a tag names, from the registry's own bytes.
    pub fn labels(&self, tag: &str) -> Value {
        let blob = |digest: &Digest| -> Value {
            let bytes = self.project.registry.manifest(digest).expect("a blob of the registry");
            serde_json::from_slice(&bytes).expect("JSON")
        };
        let config = blob(&self.digest(tag))["config"]["digest"].as_str().expect("a digest").to_owned();
        blob(&config.parse().expect("a digest"))["config"]["Labels"].clone()
    }

    /// Nobody who gets the one image that was built learns one of these from it.
    #[track_caller]
    fn assert_no_secret_in_the_image(&self, secrets: &[&str]) {
        let images = self.leftovers.images();
        assert_eq!(images.len(), 1, "{images:?}");
        let image = layers::of_image(&images[0]);
        // What is there is found, or nothing is proven: in a layer, in the configuration, in the history.
        for there in ["GREETING=hello=world\n", "\"team\":\"a b\"", "COPY app /app"] {
            assert!(layers::found(&image, there).is_some(), "{there:?} is not found");
        }
        for form in
            secrets.iter().flat_map(|secret| [forms_of(secret), layers::in_json(secret).into()].concat())
        {
            assert_eq!(layers::found(&image, &form), None, "a secret is in the image");
        }
    }

    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(self.project.registry.tags("org/app"), Vec::<String>::new(), "something was pushed");
        assert!(self.project.github.refs("refs/autotag/").is_empty(), "something was claimed");
        assert!(self.project.github.refs("refs/tags/").is_empty(), "something was tagged");
        assert_eq!(self.project.github.tag_objects(), 0);
    }
}

/// The job's own, which another registry than GitHub's never gets.
const WORKFLOW_TOKEN: &str = "ghs_of_the_workflow";

/// Waits for its end elsewhere: the servers' side of a test goes on meanwhile.
async fn ended(running: Running) -> Finished {
    tokio::task::spawn_blocking(move || running.finish()).await.expect("the run ends")
}

/// Released, then run again without Docker: every fact about the image, where it can be seen.
#[track_caller]
fn releases_and_resumes(auth: &Auth, password: &str) {
    let built = Built::with(auth, |workflow| {
        let labels = format!("team=a b\norg.opencontainers.image.title=My app\n{}", workflow.input("labels"));
        workflow
            .with("labels", &labels)
            .with("registry-username", "pusher")
            .with("registry-password", password)
            .with("workflow-token", WORKFLOW_TOKEN)
            .with("build-args", "GREETING=hello=world\nUNUSED=x")
    });
    // A step that keeps whatever it can see, and asks for secrets by every name that they could have.
    let names = spec::INPUTS.iter().filter(|spec| spec.secret).map(|spec| spec.name.replace('-', "_"));
    let asks: Vec<String> = names.flat_map(|name| [name.to_uppercase(), name]).collect();
    let asks = format!("ARG {}\n", asks.join("\nARG "));
    built.runs(&format!(
        "ARG VERSION\nARG GREETING\nARG SOURCE_DATE_EPOCH\n{asks}\
         LABEL as-built=\"$VERSION $GREETING\" dated=\"$SOURCE_DATE_EPOCH\"\nCOPY app /app\n\
         RUN busybox env >/seen; busybox cat /proc/self/mountinfo >>/seen; busybox find /run >>/seen || true\n"
    ));
    // One of its own: of a step that two builds share at the same time, one of them hears nothing.
    built.file("app", &format!("{:016x}\n", rand::random::<u64>()));
    let Project { github, registry, workflow } = &built.project;
    let commit = built.project.merge("one");
    let run = workflow.push(&commit).finish().ended("released");
    let digest = built.digest("0.0.1");
    assert_eq!(run.output("digest"), digest.as_str());
    assert_eq!(run.output("image-ref"), built.project.image().with_digest(&digest));
    let sha_tag = format!("sha-{}-{}", commit.short(), digest.short());
    assert_eq!(run.output("sha-tag"), sha_tag);
    assert_eq!((built.digest("latest"), built.digest(&sha_tag)), (digest.clone(), digest.clone()));
    let other = |tag: &&String| !["0.0.1", "latest"].contains(&tag.as_str());
    let held = format!("sha-{}-", commit.short());
    for tag in registry.tags("org/app").iter().filter(other) {
        assert!(tag.starts_with(&held), "{tag} was pushed too");
    }
    let labels = built.labels("0.0.1");
    let committer = github.find_commit(&commit).expect("it").committer;
    for (name, value) in [
        ("org.opencontainers.image.version", "0.0.1"),
        ("org.opencontainers.image.revision", commit.as_str()),
        ("org.opencontainers.image.source", "https://github.com/org/app"),
        ("org.opencontainers.image.title", "My app"),
        ("org.opencontainers.image.created", &committer.date()),
        ("dated", &committer.seconds.to_string()),
        ("team", "a b"),
        ("as-built", "0.0.1 hello=world"),
    ] {
        assert_eq!(labels[name], value, "{name} in {labels:#}");
    }
    built.assert_no_secret_in_the_image(&[password, Double::TOKEN, WORKFLOW_TOKEN]);
    let reading = Reading::of(&run.raw);
    reading.assert_only(&["add-mask", "group", "stop-commands", "endgroup"]);
    reading.assert_closed();
    assert!(reading.data("group").iter().any(|title| title.contains("COPY app /app")), "{run}");
    built.project.assert_consistent();

    let tags = registry.tags("org/app");
    let again = workflow.push(&commit).without_docker().finish().ended("resumed");
    for name in ["version", "tag", "digest", "image-ref", "sha-tag", "release-url"] {
        assert_eq!(again.output(name), run.output(name), "{name}");
    }
    assert_eq!(registry.tags("org/app"), tags);
}

/// Every printable character of ASCII, and such a run of some that its base64 has `+` and `/` wherever in
/// the Engine's header it comes to stand.
fn password() -> String {
    every_character() + ">>>>>?????"
}

// invariant secrets: No secret is in a built image; broken by: `src/pipeline/building.rs`: the token becomes a
//   build argument
// invariant builds: The commit's time reaches the build; broken by: `src/pipeline/building.rs`: no
//   `SOURCE_DATE_EPOCH` is given
#[test]
fn a_build_is_pushed_with_a_password_and_resumed() {
    releases_and_resumes(&Auth::basic("pusher", &password()), &password());
}

// invariant secrets: No secret is in a built image
/// bcrypt, behind the registry's Basic scheme, compares 72 characters; the token server all of them.
#[test]
fn a_build_is_pushed_with_tokens_and_resumed() {
    releases_and_resumes(&Auth::token("pusher", &password()), &password());
}

// invariant builds: A date that the user gives wins; broken by: `src/pipeline/building.rs`: it is overwritten
#[test]
fn a_build_date_set_by_the_user_wins() {
    let built = Built::with(&Auth::None, |workflow| workflow.with("build-args", "SOURCE_DATE_EPOCH=17"));
    built.file(
        "Dockerfile",
        "FROM scratch\nARG SOURCE_DATE_EPOCH\nLABEL dated=$SOURCE_DATE_EPOCH\nCOPY app /\n",
    );
    built.project.workflow.push(&built.project.merge("one")).finish().ended("released");
    assert_eq!(built.labels("0.0.1")["dated"], "17");
}

#[test]
fn the_next_merge_takes_its_cache_from_the_registry() {
    let password = "pa55-word";
    let built = Built::with(&Auth::basic("pusher", password), |workflow| {
        workflow.with("registry-username", "pusher").with("registry-password", password)
    });
    built.project.workflow.push(&built.project.merge("one")).finish().ended("released");
    built.file("app", "second\n");
    let run = built.project.workflow.push(&built.project.merge("two")).finish().ended("released");
    let from = format!("importing cache manifest from {}:0.0.1", built.project.image());
    let reading = Reading::of(&run.raw);
    assert!(reading.data("group").iter().any(|title| title.contains(&from)), "{run}");
    assert!(!run.log.contains("failed after"), "the cache could be read: {run}");
    assert_eq!(built.labels("0.0.2")["org.opencontainers.image.version"], "0.0.2");
    assert_ne!(built.digest("0.0.1"), built.digest("0.0.2"));
    built.project.assert_consistent();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_race_rebuilds_so_that_label_and_tag_agree() {
    let built = Built::new();
    let (old, new) = (built.project.merge("one"), built.project.merge("two"));
    let gate = built.project.github.hold("POST /graphql");
    let winner = built.project.workflow.push(&old).start();
    gate.arrived(1).await;
    let loser = built.project.workflow.push(&new).start();
    gate.arrived(2).await;
    // First come, first served: the older commit claims 0.0.1, which the newer one was built as.
    gate.release(1);
    let winner = ended(winner).await.ended("released");
    gate.open();
    let loser = ended(loser).await.ended("released");
    assert_eq!((winner.output("version"), loser.output("version")), ("0.0.1", "0.0.2"));
    assert!(loser.log.contains("planning again (try 1"), "{loser}");
    for (run, commit) in [(&winner, &old), (&loser, &new)] {
        let labels = built.labels(run.output("version"));
        assert_eq!(labels["org.opencontainers.image.version"], run.output("version"));
        assert_eq!(labels["org.opencontainers.image.revision"], commit.as_str());
        assert_eq!(run.output("digest"), built.digest(run.output("version")).as_str());
    }
    let staged = format!("sha-{}-", new.short());
    let tags = built.project.registry.tags("org/app");
    let staged = tags.iter().filter(|tag| tag.starts_with(&staged));
    let versions: BTreeSet<String> =
        staged.map(|tag| built.labels(tag)["org.opencontainers.image.version"].to_string()).collect();
    let twice = BTreeSet::from(["\"0.0.1\"".to_owned(), "\"0.0.2\"".to_owned()]);
    assert_eq!(versions, twice, "the newer one was built as both");
    Reading::of(&loser.raw).assert_closed();
    built.project.assert_consistent();
}

#[test]
fn a_failing_step_is_one_annotation_with_its_line() {
    let built = Built::new();
    built.runs("# why not\nRUN echo before; \\\n    echo the last words; exit 7\n");
    let run = built.project.workflow.push(&built.project.merge("one")).finish().failed(5);
    let reading = Reading::of(&run.raw);
    reading.assert_only(&["add-mask", "group", "stop-commands", "endgroup", "error"]);
    reading.assert_closed();
    let errors = reading.data("error");
    assert_eq!(errors.len(), 1, "{run}");
    let place = "Dockerfile line 5, `RUN echo before; echo the last words; exit 7`";
    for words in [place, "exit code: 7", "before\nthe last words"] {
        assert!(errors[0].contains(words), "{words:?} is missing: {run}");
    }
    let place = "Dockerfile line 5, <code>RUN echo before; echo the last words; exit 7</code>";
    for words in [place, "the last words"] {
        assert!(run.summary.contains(words), "{words:?} is missing: {}", run.summary);
    }
    built.assert_untouched();
}

/// Nothing that a build prints is obeyed, and all of it is shown.
#[track_caller]
fn assert_only_ours(run: &Finished, ours: &[&str]) {
    let reading = Reading::of(&run.raw);
    reading.assert_only(ours);
    reading.assert_closed();
    for name in ["add-mask", "stop-commands", "endgroup"] {
        assert!(!reading.data(name).iter().any(|data| data.contains("MARK")), "{name} was obeyed: {run}");
    }
    for line in ["::error::MARK", "##[error]MARK", "::set-output name=version::MARK", "::add-mask::MARK"] {
        let shown = reading.shown.iter().filter(|shown| shown.contains(line)).count();
        assert!(shown >= 2, "{line} was printed on both streams and shown {shown} times: {run}");
    }
    assert_ne!(run.output("version"), "MARK");
}

// invariant no-foreign-commands
#[test]
fn a_build_cannot_command_the_runner() {
    let built = Built::new();
    let run = |title: &str| {
        let commit = built.project.merge(title);
        built.project.workflow.push(&commit).with("no-cache", "true").finish()
    };
    built.runs_evil("true '##[error]MARK'");
    let run_well = run("one").ended("released");
    assert_only_ours(&run_well, &["add-mask", "group", "stop-commands", "endgroup"]);
    built.runs_evil("exit 1");
    let run = run("two").failed(5);
    assert_only_ours(&run, &["add-mask", "group", "stop-commands", "endgroup", "error"]);
    assert_eq!(run.annotations("error").len(), 1, "{run}");
}

// invariant no-foreign-commands
#[test]
fn json_logs_are_json_and_commands_no_runner_obeys() {
    let built = Built::new();
    for (then, ending) in [("true '##[error]MARK'", 0), ("exit 1", 5)] {
        built.runs_evil(then);
        let commit = built.project.merge("##[error]MARK in a title");
        let run =
            built.project.workflow.push(&commit).with("log-format", "json").with("no-cache", "true").finish();
        assert_eq!(run.code, Some(ending), "{run}");
        let reading = Reading::of(&run.raw);
        reading.assert_only(&["add-mask", "error"]);
        assert_eq!(reading.data("error").len(), usize::from(ending != 0), "{run}");
        let lines = reading.shown.iter().filter(|line| !line.is_empty());
        let lines: Vec<Value> = lines
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        let printed = |text: &str| lines.iter().any(|line| line["text"] == text);
        assert!(printed("::error::MARK") && printed("text ##[warning]MARK"), "{run}");
        assert!(lines.iter().any(|line| line["message"] == "build step ended"), "{run}");
    }
}

/// Titles of commits stand in the plan, in its table and in its JSON.
#[test]
fn a_plan_cannot_command_the_runner() {
    let built = Built::new();
    let first = built.project.merge("one");
    built.project.github.set_ref("refs/tags/v0.0.1", &first);
    let commit = built.project.merge("feat: ##[error]MARK");
    for format in ["text", "json"] {
        let run = built.project.workflow.push(&commit).with("command", "plan").with("bump", "auto");
        let run = run.with("log-format", format).without_docker().finish().ended("planned");
        assert!(run.log.matches("[error]MARK").count() >= 1, "{run}");
        Reading::of(&run.raw).assert_only(&["add-mask"]);
        let json = run.log.lines().rfind(|line| line.starts_with('{')).expect("a line of JSON");
        let plan: Value = serde_json::from_str(json).expect("JSON");
        assert!(plan.to_string().contains("##[error]MARK"), "JSON says it as it is: {plan}");
    }
}

#[test]
fn a_missing_dockerfile_or_docker_has_a_remedy() {
    let built = Built::new();
    let commit = built.project.merge("one");
    let run = built.project.workflow.push(&commit).with("file", "docker/Dockerfil").finish().failed(5);
    let annotation = run.annotations("error")[0];
    assert!(annotation.contains("input `file`") && annotation.contains("docker/Dockerfil"), "{run}");
    let run = built.project.workflow.push(&commit).without_docker().finish().failed(4);
    let annotation = run.annotations("error")[0];
    for words in ["Docker Engine", "onnection refused", "ubuntu-latest", "DOCKER_HOST"] {
        assert!(annotation.contains(words), "{words} is missing: {run}");
    }
    built.assert_untouched();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_build_is_over_within_the_runners_grace() {
    for signal in ["TERM", "INT"] {
        let built = Built::new();
        // A number of seconds that no other process sleeps.
        let seconds = (1_000_000_000 + rand::random::<u32>() / 5).to_string();
        built.runs(&format!("RUN echo it has begun; busybox sleep {seconds}\n"));
        let mut running = built.project.workflow.push(&built.project.merge("one")).start();
        becomes("the step runs and its line is shown", || {
            running.log_so_far().contains("\nit has begun\n") && runs(&seconds)
        })
        .await;
        let since = Stopwatch::start();
        running.signal(signal);
        becomes("the run ends", || running.has_ended()).await;
        assert!(since.elapsed() < Duration::from_secs(7), "{signal}: {:?}", since.elapsed());
        let run = running.finish().failed(130);
        let reading = Reading::of(&run.raw);
        reading.assert_closed();
        assert_eq!(reading.data("error").len(), 1, "{run}");
        for text in [reading.data("error")[0], &run.summary] {
            assert!(text.contains(&format!("SIG{signal}")) && text.contains("the stage build"), "{text}");
        }
        becomes("the step is gone", || !runs(&seconds)).await;
        built.assert_untouched();
    }
}

#[test]
fn a_pull_request_builds_and_publishes_nothing() {
    let built = Built::new();
    let commit = built.project.merge("one");
    let run = built.project.workflow.run(&commit, "pull_request", "refs/pull/1/merge").finish();
    let run = run.ended("planned");
    assert!(run.log.contains("COPY app /app"), "it was built: {run}");
    assert_eq!(built.leftovers.images().len(), 1, "one image stands in Docker");
    assert_eq!((run.output("version"), run.output("digest"), run.output("image-ref")), ("0.0.1", "", ""));
    assert_eq!(run.output("sha-tag"), "");
    built.assert_untouched();
    assert!(built.project.github.requests().iter().all(|request| request.method == "GET"));
}
