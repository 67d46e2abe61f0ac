//! Builds and pushes with a real Docker Engine and a real registry.

pub mod context;
pub mod image;
mod relay;
mod tls;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use autotag_base::{CallError, CallErrorKind, Effect};
use autotag_build_context::workspace::Workspace;
use autotag_deploy::adapters::docker::Docker;
use autotag_deploy::ports::{BuildEvent, BuildLog, BuildRequest, Builder as _};
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_model::secret::{Credentials, Secret};
use tempfile::TempDir;

use crate::action::context::directory;
use testkit::images::tiny_image::TinyImage;
use testkit::registry;

/// FROM scratch with one static program: no image can be pulled where these tests run.
pub const SHELL: &str =
    "FROM scratch AS base\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n";

#[derive(Default)]
pub struct Log(Vec<BuildEvent>);

impl BuildLog for Log {
    fn event(&mut self, event: BuildEvent) {
        self.0.push(event);
    }
}

impl Log {
    fn lines(&self) -> Vec<&str> {
        let lines = self.0.iter().filter_map(|event| match event {
            BuildEvent::Line { text, .. } => Some(text.as_str()),
            _ => None,
        });
        lines.collect()
    }

    /// The name of each step, and whether it came from the cache.
    fn ended(&self) -> Vec<(&str, bool)> {
        let name_of = |wanted: &str| {
            let names = self.0.iter().filter_map(|event| match event {
                BuildEvent::StepStarted { step, name } if step == wanted => Some(name.as_str()),
                _ => None,
            });
            let names: Vec<&str> = names.collect();
            assert_eq!(names.len(), 1, "{wanted} began once");
            names[0]
        };
        let ended = self.0.iter().filter_map(|event| match event {
            BuildEvent::StepEnded { step, cached, .. } => Some((name_of(step), *cached)),
            _ => None,
        });
        ended.collect()
    }
}

/// Removes the images that a test made.
#[derive(Default)]
pub struct Images(pub Vec<Digest>);

impl Drop for Images {
    fn drop(&mut self) {
        for image in &self.0 {
            let _ = docker(&["image", "rm", "--force", image.as_str()]);
        }
    }
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("Docker's client");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub async fn engine() -> Docker {
    Docker::connect().await.unwrap_or_else(|error| panic!("these tests need a Docker Engine: {error}"))
}

/// A context with busybox and this Dockerfile.
fn context(dockerfile: &str) -> TempDir {
    let directory = directory(&[("Dockerfile", dockerfile)]);
    fs::copy("/bin/busybox", directory.path().join("busybox")).expect("busybox-static at /bin/busybox");
    directory
}

pub fn request(context: &Path) -> BuildRequest {
    BuildRequest {
        workspace: Workspace::at(context),
        context: context.to_owned(),
        dockerfile: context.join("Dockerfile"),
        target: None,
        platform: None,
        build_args: BTreeMap::new(),
        version_arg: None,
        source_date: None,
        // With a number of its own no test's image is another's, which removes it.
        labels: BTreeMap::from([("autotag-deploy.test".to_owned(), unique().to_string())]),
        cache_from: Vec::new(),
        inline_cache: false,
        no_cache: false,
        pull: false,
        credentials: BTreeMap::new(),
    }
}

fn unique() -> u64 {
    rand::random::<u64>()
}

async fn fails(request: &BuildRequest) -> CallError {
    let outcome = engine().await.build(request, &mut Log::default()).await;
    outcome.expect_err("the build must fail")
}

#[tokio::test]
async fn a_build_honours_the_request_and_tells_its_story() {
    let (engine, mut images) = (engine().await, Images::default());
    let directory = context(&format!(
        "{SHELL}ARG SAID=nothing\nRUN echo \"said $SAID on $TARGETARCH\"; echo done >&2\nFROM base\nRUN never-reached\n"
    ));
    let mut request = request(directory.path());
    let word = format!("word-{}", unique());
    request.target = Some("base".to_owned());
    request.platform = Some("linux/amd64".to_owned());
    request.build_args = BTreeMap::from([("SAID".to_owned(), word.clone())]);
    request.labels.insert("a.b/c".to_owned(), "quotes \" and ünïcode $X".to_owned());
    request.cache_from = vec!["127.0.0.1:1/no/cache:here".to_owned()];
    let mut log = Log::default();
    let image = engine.build(&request, &mut log).await.unwrap_or_else(|error| panic!("{error}"));
    images.0.push(image.clone());

    let label =
        docker(&["image", "inspect", "--format", "{{index .Config.Labels \"a.b/c\"}}", image.as_str()]);
    assert_eq!(label.trim_end(), "quotes \" and ünïcode $X");
    // TARGETARCH without ARG is empty in the step: what counts is the word.
    assert!(log.lines().iter().any(|line| line.starts_with(&format!("said {word} on"))), "{:?}", log.lines());
    assert!(log.lines().contains(&"done"), "{:?}", log.lines());
    let ended = log.ended();
    let run = ended.iter().find(|(name, _)| name.contains("RUN echo")).expect("the step ended");
    assert!(!run.1, "not from the cache the first time");

    let mut again = Log::default();
    images.0.push(engine.build(&request, &mut again).await.expect("builds again"));
    let cached = |log: &Log| log.ended().iter().any(|(name, cached)| name.contains("RUN echo") && *cached);
    assert!(cached(&again), "the second time it comes from the cache");
    request.no_cache = true;
    let mut anew = Log::default();
    images.0.push(engine.build(&request, &mut anew).await.expect("builds anew"));
    assert!(!cached(&anew) && anew.lines().contains(&"done"), "no_cache runs it again");
}

#[tokio::test]
async fn another_platform_is_built_for() {
    let (engine, mut images) = (engine().await, Images::default());
    let directory = directory(&[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")]);
    let mut request = request(directory.path());
    request.platform = Some("linux/arm64".to_owned());
    let image = engine.build(&request, &mut Log::default()).await.expect("builds");
    images.0.push(image.clone());
    assert_eq!(
        docker(&["image", "inspect", "--format", "{{.Architecture}}", image.as_str()]).trim(),
        "arm64"
    );
}

#[tokio::test]
async fn a_dockerfile_outside_of_the_context_works() {
    let (engine, mut images) = (engine().await, Images::default());
    let outside = directory(&[("ctx/a", "inside"), ("app.Dockerfile", "FROM scratch\nCOPY a /\n")]);
    let mut request = request(&outside.path().join("ctx"));
    request.workspace = Workspace::at(outside.path());
    request.dockerfile = outside.path().join("app.Dockerfile");
    images.0.push(engine.build(&request, &mut Log::default()).await.expect("builds"));
}

// invariant failures-are-explained
#[tokio::test]
async fn a_failing_step_names_its_line_and_its_last_words() {
    let directory =
        context(&format!("{SHELL}\n# why not\nRUN echo before; \\\n    echo the last word; exit 7\n"));
    let error = fails(&request(directory.path())).await;
    assert_eq!((error.kind, error.effect), (CallErrorKind::Build, Effect::None), "{error}");
    let place = "Dockerfile line 6, `RUN echo before; echo the last word; exit 7`";
    assert!(error.why.starts_with(place), "{error}");
    assert!(error.why.contains("exit code: 7"), "{error}");
    assert!(error.why.ends_with("Its last lines:\nbefore\nthe last word"), "{error}");
}

#[tokio::test]
async fn a_dockerfile_that_makes_no_sense_is_named() {
    // A long one: newer Engines send the whole file back with their answer.
    let comment = "# why not\n".repeat(20_000);
    for (comment, line) in [("", 3), (comment.as_str(), 20_003)] {
        let directory = directory(&[("Dockerfile", &format!("{comment}FROM scratch\n\nFOO bar\n"))]);
        let error = fails(&request(directory.path())).await;
        assert_eq!(error.kind, CallErrorKind::Build);
        assert!(error.why.contains(&format!("Dockerfile line {line}, `FOO bar`")), "{error}");
    }
}

#[tokio::test]
async fn copying_what_is_ignored_is_explained() {
    let directory = directory(&[
        ("Dockerfile", "FROM scratch\nCOPY dist/app /\n"),
        ("dist/app", ""),
        (".dockerignore", "# built files\ndist\n"),
    ]);
    let error = fails(&request(directory.path())).await;
    assert!(error.why.contains("Dockerfile line 2, `COPY dist/app /`"), "{error}");
    let remedy = error.remedy.clone().unwrap_or_else(|| panic!("no remedy: {error}"));
    assert!(
        remedy.starts_with("`dist/app` is kept out") && remedy.contains(".dockerignore, line 2"),
        "{remedy}"
    );
}

/// Cuts the file between the plan and the sending of it.
struct Cut<'a>(&'a Path);

impl BuildLog for Cut<'_> {
    fn event(&mut self, event: BuildEvent) {
        if matches!(event, BuildEvent::Note(text) if text.starts_with("context: ")) {
            fs::write(self.0, "01234").expect("shorter");
        }
    }
}

#[tokio::test]
async fn inputs_and_files_at_fault_are_named() {
    let directory = directory(&[("Dockerfile", "FROM scratch\nCOPY big /\n"), ("big", "0123456789")]);
    let mut wrong = request(directory.path());
    wrong.dockerfile = directory.path().join("dockerfil");
    let error = fails(&wrong).await;
    assert_eq!(error.kind, CallErrorKind::Build);
    assert!(error.why.starts_with("input `file`: "), "{error}");

    let big = directory.path().join("big");
    let outcome = engine().await.build(&request(directory.path()), &mut Cut(&big)).await;
    let error = outcome.expect_err("half a file is no build");
    assert_eq!((error.kind, error.doing.as_str()), (CallErrorKind::Build, "sending the build context"));
    assert!(error.why.contains("big` changed while it was sent"), "{error}");
}

/// The arguments of every process on this machine: containers' are among them.
pub fn runs(argument: &str) -> bool {
    let processes = fs::read_dir("/proc").expect("Linux").flatten();
    let mut arguments = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    arguments.any(|line| line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes()))
}

/// Waits for what can only be looked at.
pub async fn becomes(what: &str, mut wanted: impl FnMut() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..20 * 60 {
        if wanted() {
            return;
        }
        look.tick().await;
    }
    panic!("not within a minute: {what}");
}

#[tokio::test]
async fn dropping_the_build_ends_it() {
    let engine = engine().await;
    // A number of seconds that no other process sleeps.
    let seconds = format!("{}", 1_000_000_000 + unique() % 1_000_000_000);
    let directory = context(&format!("{SHELL}RUN [\"/bin/busybox\", \"sleep\", \"{seconds}\"]\n"));
    let request = request(directory.path());
    let mut log = Log::default();
    tokio::select! {
        outcome = engine.build(&request, &mut log) => panic!("it sleeps for decades, and yet: {outcome:?}"),
        () = becomes("the step runs", || runs(&seconds)) => {}
    }
    becomes("the step is gone", || !runs(&seconds)).await;
}

/// A registry on a port of its own, with one user.
struct Registry {
    process: Child,
    address: String,
    _directory: TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    fn start(user: &Credentials) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut htpasswd = Command::new("htpasswd")
            .args(["-iBn", "-C4", &user.username])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("htpasswd, of apache2-utils");
        htpasswd.stdin.take().expect("stdin").write_all(user.password.reveal().as_bytes()).expect("written");
        let line = htpasswd.wait_with_output().expect("htpasswd ends").stdout;
        fs::write(directory.path().join("users"), line).expect("written");
        let root = directory.path().display();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {root}/data}}}}\n\
             http: {{addr: '127.0.0.1:0'}}\nauth: {{htpasswd: {{realm: test, path: {root}/users}}}}\n"
        );
        fs::write(directory.path().join("config.yml"), config).expect("written");
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .stdout(Stdio::null())
            .arg(directory.path().join("config.yml"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry");
        let mut printed = BufReader::new(process.stderr.take().expect("stderr")).lines();
        let address = printed
            .find_map(|line| {
                let line = line.ok()?;
                Some(line.split_once("listening on ")?.1.split(['"', ' ']).next()?.to_owned())
            })
            .expect("the registry says where it listens");
        // Read on, or it would block on a full pipe.
        std::thread::spawn(move || printed.for_each(drop));
        Self { process, address, _directory: directory }
    }

    fn image(&self, repository: &str) -> ImageName {
        format!("{}/{repository}", self.address).parse().expect("a name")
    }

    async fn get(&self, user: &Credentials, path: &str) -> reqwest::Response {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::new()
            .get(format!("http://{}/v2/{path}", self.address))
            .basic_auth(&user.username, Some(user.password.reveal()))
            .header(
                "accept",
                "application/vnd.docker.distribution.manifest.v2+json, application/vnd.oci.image.manifest.v1+json",
            )
            .send()
            .await
            .expect("the registry answers")
    }
}

fn user(password: &str) -> Credentials {
    Credentials { username: "pusher".to_owned(), password: Secret::new(password).expect("not empty") }
}

fn tag(text: &str) -> ImageTag {
    text.parse().expect("a tag")
}

/// Every printable ASCII character, a space inside included.
pub fn every_character() -> String {
    (' '..='~').rev().filter(|character| *character != ' ').collect::<String>().replace('A', "A A")
}

#[tokio::test]
async fn a_push_gives_the_digest_that_the_registry_has() {
    let (engine, mut images) = (engine().await, Images::default());
    let directory = directory(&[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")]);
    let mut request = request(directory.path());
    request.inline_cache = true;
    let image = engine.build(&request, &mut Log::default()).await.expect("builds");
    images.0.push(image.clone());

    // Which characters end up as `+` or `/` in the header depends on where they stand: several.
    for password in
        [every_character(), "???>>>~~~".to_owned(), "\u{fb}ÿ~?>x".to_owned(), "pa:ss \"\\ '$`".to_owned()]
    {
        let user = user(&password);
        let registry = Registry::start(&user);
        let name = registry.image("org/app");
        docker(&["tag", image.as_str(), &name.with_tag(&tag("another"))]);
        let mut log = Log::default();
        let digest = engine.push(&image, &name, &tag("1.2.3"), Some(&user), &mut log).await;
        let digest = digest.unwrap_or_else(|error| panic!("{password}: {error}"));
        let again = engine.push(&image, &name, &tag("1.2.3"), Some(&user), &mut Log::default()).await;
        assert_eq!(again.as_ref(), Ok(&digest), "a second push changes nothing");

        let manifest =
            registry.get(&user, "org/app/manifests/1.2.3").await.bytes().await.expect("a manifest");
        assert_eq!(Digest::of(&manifest), digest);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
        let config = manifest["config"]["digest"].as_str().expect("a digest");
        let config =
            registry.get(&user, &format!("org/app/blobs/{config}")).await.text().await.expect("a config");
        assert!(config.contains("moby.buildkit.cache.v0"), "inline cache: {config}");
        let tags: serde_json::Value =
            registry.get(&user, "org/app/tags/list").await.json().await.expect("tags");
        assert_eq!(tags["tags"], serde_json::json!(["1.2.3"]), "one tag, and no other that the Engine has");
        let notes = log.0.iter().filter(|event| matches!(event, BuildEvent::Note(_))).count();
        assert!(notes <= 3, "{notes} notes for one push: {:?}", log.0);
    }
}

// invariant secrets
#[tokio::test]
async fn a_refused_push_names_the_inputs_and_never_the_password() {
    let (engine, mut images) = (engine().await, Images::default());
    let directory = directory(&[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")]);
    let image = engine.build(&request(directory.path()), &mut Log::default()).await.expect("builds");
    images.0.push(image.clone());
    let registry = Registry::start(&user("right"));
    let name = registry.image("org/app");
    let wrong = user("wr0ng-secret");
    for credentials in [Some(&wrong), None] {
        let outcome = engine.push(&image, &name, &tag("1"), credentials, &mut Log::default()).await;
        let error = outcome.expect_err("not allowed");
        assert_eq!((error.kind, error.effect), (CallErrorKind::Denied, Effect::None), "{error}");
        let remedy = error.remedy.clone().expect("a remedy");
        assert!(remedy.contains("`registry-username` and `registry-password`"), "{remedy}");
        assert!(!format!("{error:?}").contains("wr0ng-secret"), "{error:?}");
    }
    let nowhere: ImageName = "127.0.0.1:1/org/app".parse().expect("a name");
    let error =
        engine.push(&image, &nowhere, &tag("1"), None, &mut Log::default()).await.expect_err("nobody");
    assert_eq!((error.kind, error.effect), (CallErrorKind::Unreachable, Effect::Unknown), "{error}");
    let unknown = Digest::of(b"no image has this id");
    let error =
        engine.push(&unknown, &name, &tag("1"), None, &mut Log::default()).await.expect_err("no image");
    assert_eq!(error.kind, CallErrorKind::Rejected, "{error}");
}

#[tokio::test]
async fn a_private_base_needs_its_credentials() {
    let (engine, mut images) = (engine().await, Images::default());
    let user = user("base-secret");
    let registry = registry::Registry::start(&registry::Auth::basic("pusher", "base-secret"));
    let name = registry.image("org/base");
    // One that no Engine has seen: what lies in its build cache is taken from there, whoever asks.
    let unique = format!("{:032x}", rand::random::<u128>());
    let digest = registry.put("org/base", "1", &TinyImage::labelled(&[("unique", &unique)]));

    let directory =
        directory(&[("Dockerfile", &format!("FROM {}\nCOPY Dockerfile /\n", name.with_digest(&digest)))]);
    let mut request = request(directory.path());
    request.pull = true;
    let error = fails(&request).await;
    assert_eq!(error.kind, CallErrorKind::Denied, "{error}");
    assert!(error.remedy.as_ref().is_some_and(|remedy| remedy.contains("`registry-username`")), "{error:?}");
    request.credentials = BTreeMap::from([(name.registry().to_owned(), user)]);
    let image = engine.build(&request, &mut Log::default()).await.unwrap_or_else(|error| panic!("{error}"));
    images.0.push(image);
}
