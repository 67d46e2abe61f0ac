//! The codes of refusals and failures: what programs act on. A message is for people, and may change at any time.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumMessage, IntoStaticStr, VariantArray};

/// A code as text, and what it means: its own documentation, in the list of docs/design/protocol.md too.
macro_rules! texts {
    ($($name:ident),*) => {$(
        impl $name {
            /// As it is written on the wire.
            pub fn as_str(self) -> &'static str {
                self.into()
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                self.get_documentation().unwrap_or_default().trim_end()
            }
        }
    )*};
}

texts!(RefusalCode, FailureCode);

/// Why nothing was begun. The first two are outcomes that a caller may take for success, where something newer
/// than what it asked for serves.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    EnumMessage,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum RefusalCode {
    /// A version at least as high was live before; or what you want to revert has been replaced since, or serves for another deployment too.
    NewerIsLive,
    /// The version was rolled back and is blocked.
    RolledBack,
    /// The request allows a downgrade, and the app file does not let this key ask for one.
    Downgrade,
    /// The deployment's id belongs to another request.
    IdTaken,
    /// The request cannot be parsed, or exceeds a limit.
    Malformed,
    /// The request has a command, a field or a value that this receiver does not know.
    NewerRequest,
    /// The request speaks another version of the protocol.
    Protocol,
    /// The key's user may not reach this application.
    App,
    /// The image is from another repository than the app file's.
    Repository,
    /// The image's labels contradict the request.
    Labels,
    /// The app file does not allow one of the variables.
    Environment,
    /// The app file has errors.
    AppFile,
    /// The server has no record of what the request refers to: a rollback has nowhere to go.
    NotRecorded,
    /// An earlier deployment is not finished, and could not be.
    Unfinished,
    /// This user has as many open requests, or this application as many open changes, as allowed.
    Busy,
    /// The receiver's service does not run on the server.
    ReceiverDown,
    /// Docker does not answer on the server.
    HostDocker,
    /// The proxy does not answer on the server.
    HostProxy,
    /// The server's disk is full.
    HostDisk,
    /// The record of the application on the server is missing, damaged, or from a newer receiver.
    HostState,
    /// Something else on the server does not work; the message names it.
    Host,
}

/// Why a deployment that was begun did not succeed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    IntoStaticStr,
    EnumMessage,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FailureCode {
    /// The registry has no image of this digest.
    NoImage,
    /// The registry does not let the server pull the image.
    PullRefused,
    /// The registry limits the server's requests.
    RegistryLimit,
    /// The server cannot reach the registry.
    RegistryUnreachable,
    /// The image is for another platform than the server's.
    Platform,
    /// The image's labels contradict the request.
    ImageLabels,
    /// Neither the image nor the app file has a health check.
    ImageHealthCheck,
    /// The image declares a volume that the app file does not mount.
    ImageVolume,
    /// Docker cannot start the container.
    DoesNotStart,
    /// The container started and exited.
    Exited,
    /// The container did not become healthy in time, or did not stay healthy.
    Unhealthy,
    /// Somebody removed the container during the deployment.
    ContainerGone,
    /// A smoke test failed.
    SmokeTest,
    /// Another program on the server uses the port.
    PortInUse,
    /// In-flight requests were cut off at the end of `drain`.
    Cut,
    /// The server's disk is full.
    DiskFull,
    /// Docker does not answer on the server.
    DockerUnavailable,
    /// Docker refuses a step, or gives an answer that makes no sense.
    Docker,
    /// The proxy does not answer on the server.
    ProxyUnavailable,
    /// The proxy refuses a step, or does not do what it was asked.
    Proxy,
    /// The receiver was interrupted before the new version had passed.
    Interrupted,
    /// The server's record of the deployment cannot be read or written.
    Storage,
}

impl FailureCode {
    /// The code of a refusal, where the same thing is found before anything was begun.
    #[must_use]
    pub fn of_host(self) -> RefusalCode {
        match self {
            Self::DiskFull => RefusalCode::HostDisk,
            Self::DockerUnavailable => RefusalCode::HostDocker,
            Self::ProxyUnavailable => RefusalCode::HostProxy,
            Self::Storage => RefusalCode::HostState,
            _ => RefusalCode::Host,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Whoever acts on a code compares its text: none may change, and none may stand for two things.
    #[test]
    fn codes_are_different_words_as_on_the_wire() {
        let refusals = RefusalCode::VARIANTS
            .iter()
            .map(|code| (serde_json::to_value(code), code.as_str(), code.meaning()));
        let failures = FailureCode::VARIANTS
            .iter()
            .map(|code| (serde_json::to_value(code), code.as_str(), code.meaning()));
        let mut different = BTreeSet::new();
        for (written, name, meaning) in refusals.chain(failures) {
            assert_eq!(written.expect("JSON"), name);
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}");
            assert!(meaning.ends_with('.') && !meaning.contains('|'), "{name}: a sentence for a table");
            assert!(different.insert(name), "{name} twice");
        }
    }

    #[test]
    fn a_host_error_before_the_start_keeps_its_kind() {
        for (failure, refusal) in [
            (FailureCode::DiskFull, RefusalCode::HostDisk),
            (FailureCode::DockerUnavailable, RefusalCode::HostDocker),
            (FailureCode::ProxyUnavailable, RefusalCode::HostProxy),
            (FailureCode::Storage, RefusalCode::HostState),
            (FailureCode::Docker, RefusalCode::Host),
        ] {
            assert_eq!(failure.of_host(), refusal);
        }
    }
}
