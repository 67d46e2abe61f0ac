//! Docker Engine: builds by the BuildKit in it, and pushes by bollard.

mod build;
mod buildkit;
mod explain;
pub mod lazy;
mod progress;
mod push;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use crate::ports::{BuildLog, BuildRequest, Builder};
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_docker::daemon;
use autotag_docker::daemon::with_url_safe_auth;
use autotag_model::help::Topic;
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_model::secret::Credentials;

/// For the first question: an Engine that is there answers at once.
const GREETING: Duration = Duration::from_secs(30);
/// bollard's one timeout, for which nothing may be heard of a push.
const PUSHING: Duration = Duration::from_hours(1);

/// A connection to a Docker Engine that has BuildKit.
#[derive(Debug, Clone)]
pub struct Docker {
    client: bollard::Docker,
    /// To the BuildKit inside of it.
    way: wire::Way,
}

impl Docker {
    /// Connects to the Engine that `DOCKER_HOST` names (`unix://`, `tcp://`; by TLS where `DOCKER_TLS_VERIFY`
    /// is set), or else to /var/run/docker.sock, and checks that it can build.
    ///
    /// Errors: [`CallErrorKind::Unreachable`] where nothing answers, [`CallErrorKind::Rejected`] where what
    /// answers has no BuildKit.
    pub async fn connect() -> CallResult<Self> {
        #[expect(clippy::disallowed_methods, reason = "as bollard reads it")]
        let host = std::env::var("DOCKER_HOST").ok();
        Self::connect_to(host.as_deref().unwrap_or("unix:///var/run/docker.sock")).await
    }

    /// The same, to an Engine at a certain address.
    pub async fn connect_to(address: &str) -> CallResult<Self> {
        // A client by TLS has none of its own.
        super::install_tls();
        let client = bollard::Docker::connect_with_host(address).map_err(|error| no_engine(&error))?;
        let certificates = certificates(address.starts_with("https:"));
        let unknown = || bollard::errors::Error::UnsupportedURISchemeError { uri: address.to_owned() };
        let way = wire::Way::to(address, certificates).ok_or_else(|| no_engine(&unknown()))?;
        let client = client.with_timeout(GREETING);
        let client = client.negotiate_version().await.map_err(|error| no_engine(&error))?;
        let version = client.version().await.map_err(|error| no_engine(&error))?;
        let components = version.components.unwrap_or_default();
        let names: Vec<&str> = components.iter().map(|component| component.name.as_str()).collect();
        require_buildkit(version.api_version.as_deref().unwrap_or_default(), &names)?;
        let client = client.with_timeout(PUSHING).with_request_modifier(with_url_safe_auth);
        Ok(Self { client, way })
    }
}

/// Where the certificates for TLS are, where it is used: the places are Docker's.
#[expect(clippy::disallowed_methods, reason = "as bollard reads them")]
fn certificates(always: bool) -> Option<PathBuf> {
    use std::env::{home_dir, var_os};
    if !always && var_os("DOCKER_TLS_VERIFY").is_none() {
        return None;
    }
    let named = ["DOCKER_CERT_PATH", "DOCKER_CONFIG"].iter().find_map(var_os).map(PathBuf::from);
    named.or_else(|| Some(home_dir()?.join(".docker")))
}

impl Builder for Docker {
    async fn build(&self, request: &BuildRequest, log: &mut dyn BuildLog) -> CallResult<Digest> {
        build::build(&self.way, request, log).await
    }

    async fn push(
        &self,
        image: &Digest,
        name: &ImageName,
        tag: &ImageTag,
        credentials: Option<&Credentials>,
        log: &mut dyn BuildLog,
    ) -> CallResult<Digest> {
        push::push(&self.client, image, (name, tag), credentials, log).await
    }
}

/// BuildKit takes calls through the Engine from 19.03 on, API 1.40. What else speaks the API, such as Podman, may
/// lack it at any version.
fn require_buildkit(api_version: &str, components: &[&str]) -> CallResult<()> {
    let number = api_version
        .split_once('.')
        .and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)));
    let refusal = if daemon::is_podman(components.iter().copied()) {
        "this is Podman, which has no BuildKit".to_owned()
    } else if number.is_none_or(|number| number < (1, 40)) {
        format!("its API version is `{api_version}`, and BuildKit needs 1.40 (Docker Engine 19.03)")
    } else {
        return Ok(());
    };
    Err(CallError::new(CallErrorKind::Rejected, "asking the Docker Engine for BuildKit", refusal)
        .with_remedy("use `runs-on: ubuntu-latest`, or install a current Docker Engine on the runner")
        .about(Topic::NoDocker))
}

fn no_engine(error: &bollard::errors::Error) -> CallError {
    use bollard::errors::Error;
    let (kind, why) = match error {
        Error::SocketNotFoundError(path) => {
            (CallErrorKind::Unreachable, format!("there is no socket at {path}"))
        }
        Error::UnsupportedURISchemeError { uri } => {
            (CallErrorKind::Rejected, format!("DOCKER_HOST is `{uri}`; expected unix://... or tcp://..."))
        }
        error => (CallErrorKind::Unreachable, daemon::chain(error)),
    };
    let remedy = remedy_for(&why);
    CallError::new(kind, "connecting to the Docker Engine", why).with_remedy(remedy).about(Topic::NoDocker)
}

fn remedy_for(why: &str) -> &'static str {
    if why.to_ascii_lowercase().contains("permission denied") {
        "let the runner's user reach Docker's socket: `sudo usermod --append --groups docker USER` on the runner's \
         machine, and start the runner again"
    } else {
        "use `runs-on: ubuntu-latest`, which has Docker; on a self-hosted runner start it (`sudo systemctl start \
         docker`), or let DOCKER_HOST name where it listens"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buildkit_is_required() {
        for (version, components, fits) in [
            ("1.40", &["Engine"][..], true),
            ("1.41", &["Engine", "containerd"], true),
            ("2.0", &["Engine"], true),
            ("1.39", &["Engine"], false),
            ("1.9", &["Engine"], false),
            ("", &[], false),
            ("1.41", &["Podman Engine", "Conmon"], false),
        ] {
            let outcome = require_buildkit(version, components);
            assert_eq!(outcome.is_ok(), fits, "{version}");
            if let Err(error) = outcome {
                assert_eq!(error.kind, CallErrorKind::Rejected);
                assert!(error.remedy.is_some());
            }
        }
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_explained() {
        for (address, kind, words) in [
            (
                "unix:///nowhere/docker.sock",
                CallErrorKind::Unreachable,
                "there is no socket at /nowhere/docker.sock",
            ),
            ("tcp://127.0.0.1:1", CallErrorKind::Unreachable, "onnection refused"),
            ("ssh://me@host", CallErrorKind::Rejected, "DOCKER_HOST is `ssh://me@host`"),
        ] {
            let error = Docker::connect_to(address).await.expect_err("nothing is there");
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.why.contains(words), "{error}");
            let remedy = error.remedy.expect("a remedy");
            for word in ["runs-on: ubuntu-latest", "DOCKER_HOST", "self-hosted"] {
                assert!(remedy.contains(word), "{remedy}");
            }
            assert_eq!(error.topic, Some(Topic::NoDocker));
        }
        // Who runs the tests may open any socket.
        assert!(remedy_for("no connection: Permission denied (os error 13)").contains("--groups docker"));
    }
}
