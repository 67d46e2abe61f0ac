//! The receiver's door to Docker, against a real Engine and real registries.

mod containers;
mod events;
mod images;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use autotag_base::CallErrorKind;
use autotag_base::clock::{Stopwatch, sleep};
use autotag_model::reference::{Digest, ImageName};
use autotag_receiver::engine::{ContainerFacts, ContainerSpec, DockerEngine, Engine, Id};
use serde_json::{Value, json};

use testkit::images::busybox_image::busybox_image;
use testkit::registry::{Auth, Registry};

const LABEL: &str = "autotag-deploy.test";

fn engine() -> DockerEngine {
    DockerEngine::at(DockerEngine::SOCKET)
}

fn unique(what: &str) -> String {
    format!("autotag-test-{what}-{:08x}", rand::random::<u32>())
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("Docker's client");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// What Docker's own client says of a container.
fn described(id: &str) -> Value {
    let described: Value = serde_json::from_str(&docker(&["inspect", id])).expect("JSON");
    described[0].clone()
}

/// A registry with one image of busybox, which no other test has.
struct Stage {
    registry: Registry,
    name: ImageName,
    digest: Digest,
    image_label: String,
    engine: DockerEngine,
    /// Removed at the end.
    containers: std::sync::Mutex<Vec<String>>,
    networks: std::sync::Mutex<Vec<String>>,
}

impl Stage {
    fn new(auth: &Auth, config: Value) -> Self {
        let mut config = config;
        let image_label = unique("image");
        config["Labels"][LABEL] = json!(image_label);
        let registry = Registry::start(auth);
        let digest = registry.put("org/app", "1", &busybox_image(&config));
        let name = registry.image("org/app");
        Self {
            registry,
            name,
            digest,
            image_label,
            engine: engine(),
            containers: Vec::new().into(),
            networks: Vec::new().into(),
        }
    }

    /// With the image pulled; it sleeps.
    async fn pulled(config: Value) -> Self {
        let stage = Self::new(&Auth::None, config);
        stage.engine.pull(&stage.name, &stage.digest, None).await.expect("the pull");
        stage
    }

    async fn sleeping() -> Self {
        Self::pulled(json!({ "Cmd": ["/bin/sleep", "1000"] })).await
    }

    async fn network(&self) -> String {
        let name = unique("net");
        self.networks.lock().expect("the list").push(name.clone());
        self.engine.ensure_network(&name, &labels()).await.expect("a network");
        name
    }

    async fn spec(&self) -> ContainerSpec {
        ContainerSpec {
            name: unique("app"),
            image: self.name.with_digest(&self.digest),
            labels: labels(),
            networks: vec![self.network().await],
            // busybox does not mind TERM as process 1.
            stop_signal: Some("KILL".to_owned()),
            ..ContainerSpec::default()
        }
    }

    async fn create(&self, spec: &ContainerSpec) -> Id {
        self.containers.lock().expect("the list").push(spec.name.clone());
        self.engine.create(spec).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn start(&self, spec: &ContainerSpec) -> Id {
        let id = self.create(spec).await;
        self.engine.start(&id).await.unwrap_or_else(|error| panic!("{error}"));
        id
    }

    async fn shell(&self, script: &str) -> Id {
        let spec = ContainerSpec { command: Some(shell(script)), ..self.spec().await };
        self.start(&spec).await
    }

    async fn facts(&self, id: &str) -> ContainerFacts {
        self.engine.inspect(id).await.expect("an answer").expect("a container")
    }

    /// The first facts that fit.
    async fn until(&self, id: &str, fits: impl Fn(&ContainerFacts) -> bool) -> ContainerFacts {
        let watch = Stopwatch::start();
        loop {
            let facts = self.facts(id).await;
            if fits(&facts) {
                return facts;
            }
            assert!(watch.elapsed() < Duration::from_mins(1), "not in time: {facts:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for name in self.containers.get_mut().expect("the list").iter() {
            docker(&["rm", "--force", "--volumes", name]);
        }
        for name in self.networks.get_mut().expect("the list").iter() {
            docker(&["network", "rm", name]);
        }
        // By its id: a test that failed may have left it another name.
        let filter = format!("label={LABEL}={}", self.image_label);
        let image = docker(&["image", "ls", "--quiet", "--filter", &filter]);
        if let Some(id) = image.lines().next() {
            docker(&["image", "rm", "--force", id]);
        }
    }
}

fn labels() -> BTreeMap<String, String> {
    static RUN: OnceLock<String> = OnceLock::new();
    BTreeMap::from([(LABEL.to_owned(), RUN.get_or_init(|| unique("run")).clone())])
}

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script].map(str::to_owned).into()
}

#[tokio::test]
async fn the_engine_tells_its_version() {
    let version = engine().version().await.unwrap_or_else(|error| panic!("a Docker Engine: {error}"));
    assert_eq!(version, docker(&["version", "--format", "{{.Server.Version}}"]));
}

#[tokio::test]
async fn an_absent_engine_is_reported_with_its_socket() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("docker.sock");
    let engine = DockerEngine::at(&socket);
    let missing = engine.version().await.expect_err("nothing is there");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket that nobody serves any more"));
    let dead = engine.start("app").await.expect_err("nobody listens");
    for error in [missing, dead] {
        assert_eq!(error.kind, CallErrorKind::Unreachable);
        assert!(error.why.contains(&socket.display().to_string()), "{error}");
        assert!(error.remedy.expect("a remedy").contains("systemctl start docker"));
    }
    // It came back: the same value works, for it holds no connection.
    std::fs::remove_file(&socket).expect("removed");
    std::os::unix::fs::symlink(DockerEngine::SOCKET, &socket).expect("a link");
    engine.version().await.expect("it is back");
}
