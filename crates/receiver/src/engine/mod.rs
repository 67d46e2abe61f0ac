//! The Docker Engine on a server, as far as a rollout needs it.
//!
//! The calls say what is wanted, not how: stopping what is stopped and removing what is gone succeed, so
//! that every step of a rollout can be repeated after a crash.

mod docker;
pub mod options;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use docker::{BlockingEngine, DockerEngine};

use autotag_base::{CallError, CallErrorKind, CallResult, Cause};
use autotag_model::help::Topic;
use autotag_model::reference::{Digest, ImageName};
use autotag_model::secret::{Credentials, Secret};

/// What to say where Podman stands behind Docker's socket.
fn podman(doing: &str, version: &str) -> CallError {
    CallError::new(
        CallErrorKind::Rejected,
        doing,
        format!("this is Podman {version}, which speaks only a part of Docker's API; expected Docker Engine 20.10 or later"),
    )
    .with_remedy("Install Docker Engine (`apt-get install docker.io`), or let DOCKER_HOST name its socket.")
    .about(Topic::ServerDocker)
    .caused_by(Cause::NoEngine)
}

/// A container's full id, as the Engine writes it.
pub type Id = String;

/// An image that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalImage {
    /// The image's own id: what `containers` name, and what is removed.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it brings a HEALTHCHECK that is not switched off.
    pub has_healthcheck: bool,
    /// The paths that it declares as `VOLUME`, as they are written there.
    pub volumes: BTreeSet<String>,
    /// The digests under which it was pulled, by repository (`RepoDigests`).
    pub digests: Vec<(ImageName, Digest)>,
    /// Where it is for another kind of machine than this one. Only [`Engine::image`] looks.
    pub foreign: Option<Foreign>,
}

/// An image that this machine cannot run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The platforms that it is for, as far as they are known.
    pub image: Vec<String>,
    /// This machine's.
    pub machine: String,
}

impl Foreign {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        format!(
            "Build the image for {0}: set the action's input `platforms: {0}`, or build on a runner of that \
             architecture.",
            self.machine
        )
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        if self.image.is_empty() {
            return write!(f, "the image has nothing for this server, which is {machine}");
        }
        write!(f, "the image is for {}, and this server is {machine}", self.image.join(", "))
    }
}

/// What a container is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Engine's API and the Compose specification document these names")]
pub struct ContainerSpec {
    pub name: String,
    /// `repository@digest`.
    pub image: String,
    pub labels: BTreeMap<String, String>,
    pub environment: BTreeMap<String, Secret>,
    pub entrypoint: Option<Vec<String>>,
    pub command: Option<Vec<String>>,
    pub user: Option<String>,
    pub working_dir: Option<PathBuf>,
    pub read_only: bool,
    pub init: bool,
    /// Paths, each with its options in the kernel's form.
    pub tmpfs: BTreeMap<String, String>,
    /// `SOURCE:TARGET[:MODE,...]` where the source is a path or a volume's name.
    pub binds: Vec<String>,
    /// At least one; the first is the container's own, the others are joined before it starts.
    pub networks: Vec<String>,
    /// The names that it has in them besides its own.
    pub aliases: BTreeMap<String, Vec<String>>,
    pub healthcheck: Option<HealthcheckSpec>,
    pub restart: RestartSpec,
    pub cap_drop: Vec<String>,
    pub cap_add: Vec<String>,
    /// Bytes.
    pub memory: Option<u64>,
    /// Billionths of a processor.
    pub nano_cpus: Option<u64>,
    /// -1: no limit.
    pub pids_limit: Option<i64>,
    /// Bytes.
    pub shm_size: Option<u64>,
    pub stop_grace_period: Option<Duration>,
    pub stop_signal: Option<String>,
    pub options: options::EngineOptions,
}

/// Docker's health check. Without a test the image's own runs, with what is set here (moby, `merge`).
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Engine's API documents these names")]
pub enum HealthcheckSpec {
    Disabled,
    Test {
        test: Vec<String>,
        interval: Option<Duration>,
        timeout: Option<Duration>,
        retries: Option<u32>,
        start_period: Option<Duration>,
        start_interval: Option<Duration>,
    },
}

/// When Docker starts a container again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the Engine's API documents these names")]
pub enum RestartSpec {
    #[default]
    No,
    Always,
    UnlessStopped,
    OnFailure(Option<u32>),
}

/// What Docker's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healthy {
    /// There is no check.
    Unchecked,
    /// It has not said yes yet; failures may not count yet.
    Starting,
    /// It says yes.
    Yes,
    /// It says no. Not final: it may say yes later.
    No,
}

/// A container as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFacts {
    /// Its full id.
    pub id: Id,
    /// Its name, without the leading `/`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The id of its image.
    pub image_id: String,
    /// Whether it runs (a paused one runs, a restarting one does not).
    pub running: bool,
    /// Whether somebody has paused it: it runs and does nothing.
    pub paused: bool,
    /// The exit code of its last end, where it does not run and has run.
    pub exit_code: Option<i64>,
    /// Docker's words where it could not be started or was killed for want of memory.
    pub error: Option<String>,
    /// How often Docker has started it again.
    pub restarts: u64,
    /// What Docker's health check says.
    pub health: Healthy,
    /// The output of the last checks, the oldest first; each with its exit code.
    pub health_log: Vec<(i64, String)>,
    /// Its address in each network that it is in and has one in.
    pub addresses: BTreeMap<String, IpAddr>,
    /// The volumes of Docker's that are mounted into it.
    pub volumes: Vec<ContainerVolume>,
    /// Its environment, restart policy, limits, mounts and networks, in a form that can be compared with
    /// that of another moment: two containers made from equal specs have equal ones.
    pub configuration: String,
}

/// A volume of Docker's in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerVolume {
    /// Its name; Docker gives 64 hexadecimal digits to one that nobody named.
    pub name: String,
    /// Where it is mounted.
    pub target: String,
    /// Nobody named it: Docker made it with the container, because the image declares it.
    pub unnamed: bool,
}

/// A path in a container as Docker compares it: from `/`, without `.`, `..`, empty parts and a slash at the end.
pub fn place(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// What became of a command in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub exit_code: i64,
    /// What it wrote, both streams, its last part where that is long.
    pub output: String,
}

/// Something happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// Which.
    pub id: Id,
    /// The Engine's word: `start`, `die`, `health_status: healthy`, `destroy` ...
    pub action: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// Tells of events until it is dropped or the Engine goes away.
#[expect(async_fn_in_trait, reason = "awaited in the task that owns it")]
pub trait Events {
    /// The next one; an error means that the Engine went away, and some may have been missed.
    async fn next(&mut self) -> CallResult<ContainerEvent>;
}

/// The Docker Engine.
pub trait Engine: Send + Sync + 'static {
    /// Its events.
    type Events: Events + Send;

    /// Whether it answers, and its version.
    fn version(&self) -> impl Future<Output = CallResult<String>> + Send;
    /// Pulls `name@digest`. Without credentials it asks without.
    fn pull(
        &self,
        name: &ImageName,
        digest: &Digest,
        credentials: Option<&Credentials>,
    ) -> impl Future<Output = CallResult<()>> + Send;
    /// `name@digest` on this machine; `None` where it is not.
    fn image(
        &self,
        name: &ImageName,
        digest: &Digest,
    ) -> impl Future<Output = CallResult<Option<LocalImage>>> + Send;
    /// All images that were pulled from a repository.
    fn images(&self, name: &ImageName) -> impl Future<Output = CallResult<Vec<LocalImage>>> + Send;
    /// Removes `name@digest`; one that is gone or that a container uses is left, and `false` is told.
    fn remove_image(
        &self,
        name: &ImageName,
        digest: &Digest,
    ) -> impl Future<Output = CallResult<bool>> + Send;
    /// Makes a bridge network with these labels, unless there is one of the name.
    fn ensure_network(
        &self,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = CallResult<()>> + Send;
    /// Removes a network; one that is gone is gone.
    fn remove_network(&self, name: &str) -> impl Future<Output = CallResult<()>> + Send;
    /// Makes a container, and does not start it.
    fn create(&self, spec: &ContainerSpec) -> impl Future<Output = CallResult<Id>> + Send;
    /// Puts a container into a network, where it runs at once; one that is in it stays.
    fn connect(&self, id: &str, network: &str) -> impl Future<Output = CallResult<()>> + Send;
    /// Gives it another name; Docker's DNS follows at once.
    fn rename(&self, id: &str, name: &str) -> impl Future<Output = CallResult<()>> + Send;
    /// Starts it; one that runs is left alone, one that is paused goes on.
    fn start(&self, id: &str) -> impl Future<Output = CallResult<()>> + Send;
    /// Stops it: its signal, the grace period, SIGKILL. One that is stopped or gone is stopped.
    fn stop(&self, id: &str, grace: Option<Duration>) -> impl Future<Output = CallResult<()>> + Send;
    /// Removes it, running or not; one that is gone is gone. Volumes stay: gives those of them that nobody
    /// named and that may have data. One that another mount has always hidden goes.
    fn remove(&self, id: &str) -> impl Future<Output = CallResult<Vec<ContainerVolume>>> + Send;
    /// How it is, by id or name; `None` where there is none.
    fn inspect(&self, id: &str) -> impl Future<Output = CallResult<Option<ContainerFacts>>> + Send;
    /// All containers, stopped ones included, that carry all these labels.
    fn labelled(
        &self,
        labels: &[(&str, &str)],
    ) -> impl Future<Output = CallResult<Vec<ContainerFacts>>> + Send;
    /// Its last lines, both streams in order, the oldest first.
    fn logs(&self, id: &str, lines: u32) -> impl Future<Output = CallResult<Vec<String>>> + Send;
    /// Runs a command in it, to its end or to the deadline.
    fn execute(
        &self,
        id: &str,
        command: &[String],
        deadline: Duration,
    ) -> impl Future<Output = CallResult<Executed>> + Send;
    /// Events of containers with this label, from now on: nothing that happens after this returns is missed.
    fn events(&self, label: &str) -> impl Future<Output = CallResult<Self::Events>> + Send;
}
