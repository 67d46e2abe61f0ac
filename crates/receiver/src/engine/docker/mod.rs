//! The Engine over bollard, through its Unix socket.

mod answers;
mod blocking;
mod containers;
mod create;
mod events;
mod facts;
mod images;
mod options;
mod output;
mod platform;
mod raw;
mod volumes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::NetworkConnectRequest;
use bollard::query_parameters::RenameContainerOptionsBuilder;
use serde_json::json;

pub use events::DockerEvents;

use answers::{About, Network, read};
use raw::{Call, encoded, without};

pub use self::blocking::BlockingEngine;
use super::{ContainerFacts, ContainerSpec, ContainerVolume, Engine, Executed, Id, LocalImage};
use autotag_base::{CallError, CallErrorKind, CallResult, Cause};
use autotag_docker::daemon;
use autotag_docker::daemon::with_url_safe_auth;
use autotag_model::help::Topic;
use autotag_model::reference::{Digest, ImageName};
use autotag_model::secret::Credentials;

/// Go's zero time: it never happened.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

/// For a call that the Engine answers from what it has, on a machine that is busy.
const ORDINARY: Duration = Duration::from_mins(2);
/// For a call that lasts as long as a registry or an application takes. bollard's one timeout covers the
/// time to the first byte of the answer, and a pull gives none until the registry has answered.
const PATIENT: Duration = Duration::from_hours(1);

/// The Engine behind a Unix socket.
///
/// It holds no connection: the daemon may be restarted under a running receiver.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    socket: PathBuf,
}

impl DockerEngine {
    /// Where Docker's packages put the socket.
    pub const SOCKET: &str = "/var/run/docker.sock";

    /// The Engine behind this socket. Asks nothing: that it is down shows in the first call.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The Engine that `DOCKER_HOST` names, which must be a `unix://` address, or else that behind
    /// [`Self::SOCKET`].
    ///
    /// Errors: [`CallErrorKind::Rejected`] for another kind of address. The receiver manages this machine's
    /// containers, whose paths and addresses must be this machine's too.
    pub fn from_host(docker_host: Option<&str>) -> CallResult<Self> {
        let address = docker_host.filter(|host| !host.is_empty());
        match address.map(|address| (address, address.strip_prefix("unix://").map(Path::new))) {
            None => Ok(Self::at(Self::SOCKET)),
            Some((_, Some(path))) if path.is_absolute() => Ok(Self::at(path)),
            Some((address, _)) => Err(CallError::new(
                CallErrorKind::Rejected,
                "finding the Docker Engine",
                format!("DOCKER_HOST is `{address}`; expected this machine's socket, unix:///PATH"),
            )
            .with_remedy(
                "Leave DOCKER_HOST unset, or name a socket, for example unix:///var/run/docker.sock.",
            )),
        }
    }

    /// A connection for one call.
    fn client(&self, doing: &str, patience: Duration) -> CallResult<bollard::Docker> {
        let path = self.socket.to_string_lossy();
        bollard::Docker::connect_with_socket(&path, patience.as_secs(), bollard::API_DEFAULT_VERSION)
            .map(|client| client.with_request_modifier(with_url_safe_auth))
            .map_err(|error| self.call_error(&error, doing))
    }

    /// What went wrong in a call that only the Engine itself answers.
    fn call_error(&self, error: &Error, doing: &str) -> CallError {
        let kind = match error {
            Error::DockerResponseServerError { .. } | Error::DockerStreamError { .. } => {
                CallErrorKind::Rejected
            }
            Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::StrParseError { .. } => {
                CallErrorKind::InvalidResponse
            }
            _ => return self.silent(error, doing),
        };
        let why = daemon::chain(error);
        let cause = daemon::cause_of(&why);
        CallError::new(kind, doing, why).caused_by(cause)
    }

    /// The same for a call that changes something: where no answer came, it may have.
    fn change_failed(&self, error: &Error, doing: &str) -> CallError {
        let failure = self.call_error(error, doing);
        match (failure.kind, error) {
            (_, Error::SocketNotFoundError(_)) | (CallErrorKind::Rejected, _) => failure,
            _ => failure.perhaps_done(),
        }
    }

    fn silent(&self, error: &Error, doing: &str) -> CallError {
        let socket = self.socket.display();
        let cause = match error {
            Error::SocketNotFoundError(_) => "there is no such socket".to_owned(),
            Error::RequestTimeoutError => "it did not answer in time".to_owned(),
            error => daemon::chain(error),
        };
        let remedy = if cause.contains("ermission denied") {
            "Only root and the group `docker` may use the socket: `autotag-receiver serve` has to run as root."
        } else {
            "Start Docker (`systemctl start docker`) and see what it says (`journalctl -u docker`)."
        };
        let why = format!("no Docker Engine answers at {socket}: {cause}");
        let call_error = CallError::new(CallErrorKind::Unreachable, doing, why).caused_by(Cause::NoEngine);
        call_error.with_remedy(remedy).about(Topic::ServerDocker)
    }
}

/// What a call for one thing gave, where that it is not there is an answer too.
fn found<T>(outcome: Result<T, Error>) -> Result<Option<T>, Error> {
    match outcome {
        Ok(thing) => Ok(Some(thing)),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

impl Engine for DockerEngine {
    type Events = DockerEvents;

    async fn version(&self) -> CallResult<String> {
        let doing = "asking the Docker Engine for its version";
        let version = self.ask(Call::get("/version"), ORDINARY).await;
        let version: About = read(&version.map_err(|error| self.call_error(&error, doing))?);
        let components = version.components.as_deref().into_iter().flatten();
        if daemon::is_podman(components.filter_map(|component| component.name.as_deref())) {
            return Err(super::podman(doing, version.version.as_deref().unwrap_or_default()));
        }
        version.version.ok_or_else(|| without("version", doing))
    }

    async fn pull(
        &self,
        name: &ImageName,
        digest: &Digest,
        credentials: Option<&Credentials>,
    ) -> CallResult<()> {
        images::pull(self, name, digest, credentials).await
    }

    async fn image(&self, name: &ImageName, digest: &Digest) -> CallResult<Option<LocalImage>> {
        let doing = format!("looking for the image {}", name.with_digest(digest));
        images::known(self, name, digest, &doing).await
    }

    async fn images(&self, name: &ImageName) -> CallResult<Vec<LocalImage>> {
        images::of_repository(self, name).await
    }

    async fn remove_image(&self, name: &ImageName, digest: &Digest) -> CallResult<bool> {
        images::remove(self, name, digest).await
    }

    async fn ensure_network(&self, name: &str, labels: &BTreeMap<String, String>) -> CallResult<()> {
        let doing = format!("making the network {name}");
        // It finds networks by a part of their id as well.
        let present = self.look(&format!("/networks/{}", encoded(name, b"")), &doing).await?;
        if present.is_some_and(|it| read::<Network>(&it).name.as_deref() == Some(name)) {
            return Ok(());
        }
        let request = json!({ "Name": name, "Driver": "bridge", "Labels": labels });
        match self.ask(Call::post("/networks/create", request), ORDINARY).await {
            // Somebody made it in the meantime.
            Ok(_) | Err(Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
            Err(error) => Err(self.change_failed(&error, &doing)),
        }
    }

    async fn remove_network(&self, name: &str) -> CallResult<()> {
        let doing = format!("removing the network {name}");
        let outcome = found(self.client(&doing, ORDINARY)?.remove_network(name).await);
        outcome.map(|_| ()).map_err(|error| self.change_failed(&error, &doing))
    }

    async fn create(&self, spec: &ContainerSpec) -> CallResult<Id> {
        create::create(self, spec).await
    }

    async fn connect(&self, id: &str, network: &str) -> CallResult<()> {
        let doing = format!("putting the container {id} into the network {network}");
        let request = NetworkConnectRequest { container: id.to_owned(), endpoint_config: None };
        match self.client(&doing, ORDINARY)?.connect_network(network, request).await {
            Err(Error::DockerResponseServerError { message, .. }) if message.contains("already exists") => {
                Ok(())
            }
            outcome => outcome.map_err(|error| self.change_failed(&error, &doing)),
        }
    }

    async fn rename(&self, id: &str, name: &str) -> CallResult<()> {
        let doing = format!("calling the container {id} {name}");
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        let outcome = self.client(&doing, ORDINARY)?.rename_container(id, options).await;
        outcome.map_err(|error| self.change_failed(&error, &doing))
    }

    async fn start(&self, id: &str) -> CallResult<()> {
        let doing = format!("starting the container {id}");
        let client = self.client(&doing, ORDINARY)?;
        // One that runs is answered with 304, which is a success; one that is paused is not.
        let outcome = match client.start_container(id, None).await {
            Err(Error::DockerResponseServerError { status_code: 409, message })
                if message.contains("unpause") =>
            {
                client.unpause_container(id).await
            }
            outcome => outcome,
        };
        outcome.map_err(|error| self.change_failed(&error, &doing))
    }

    async fn stop(&self, id: &str, grace: Option<Duration>) -> CallResult<()> {
        containers::stop(self, id, grace).await
    }

    async fn remove(&self, id: &str) -> CallResult<Vec<ContainerVolume>> {
        containers::remove(self, id).await
    }

    async fn inspect(&self, id: &str) -> CallResult<Option<ContainerFacts>> {
        let doing = format!("looking at the container {id}");
        let container = self.look(&format!("/containers/{}/json", encoded(id, b"")), &doing).await?;
        Ok(container.map(|container| facts::facts(&container)))
    }

    async fn labelled(&self, labels: &[(&str, &str)]) -> CallResult<Vec<ContainerFacts>> {
        containers::labelled(self, labels).await
    }

    async fn logs(&self, id: &str, lines: u32) -> CallResult<Vec<String>> {
        output::logs(self, id, lines).await
    }

    async fn execute(&self, id: &str, command: &[String], deadline: Duration) -> CallResult<Executed> {
        output::execute(self, id, command, deadline).await
    }

    async fn events(&self, label: &str) -> CallResult<DockerEvents> {
        events::subscribe(self, label).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_this_machines() {
        for (host, socket) in [
            (None, Some("/var/run/docker.sock")),
            (Some(""), Some("/var/run/docker.sock")),
            (Some("unix:///run/user/1000/docker.sock"), Some("/run/user/1000/docker.sock")),
            (Some("tcp://10.0.0.1:2375"), None),
            (Some("unix://relative.sock"), None),
        ] {
            match (DockerEngine::from_host(host), socket) {
                (Ok(engine), Some(socket)) => assert_eq!(engine.socket, Path::new(socket)),
                (Err(error), None) => {
                    assert_eq!(error.kind, CallErrorKind::Rejected);
                    assert!(error.why.contains(host.unwrap_or_default()), "{error}");
                }
                (outcome, _) => panic!("{host:?}: {outcome:?}"),
            }
        }
    }
}
