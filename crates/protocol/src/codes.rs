//! The codes of refusals and failures: what programs act on. A message is for people, and may change at any time.

use std::fmt;

/// An enumeration of codes, each with its name on the wire and a sentence for the documentation.
macro_rules! codes {
    ($(#[$about:meta])* $name:ident { $($code:ident $text:literal $meaning:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $(#[doc = $meaning] #[serde(rename = $text)] $code,)*
        }

        impl $name {
            /// All of them, in the order of docs/design/protocol.md.
            pub const ALL: &'static [Self] = &[$(Self::$code,)*];

            /// As it is written on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => $text,)* }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$code => $meaning,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

codes! {
    /// Why nothing was begun. The first two are outcomes that a caller may take for success, where something newer
    /// than what it asked for serves.
    RefusalCode {
        NewerIsLive "newer-is-live"
            "A version at least as high was live before; or what you want to revert has been replaced \
             since, or serves for another deployment too.",
        RolledBack "rolled-back" "The version was rolled back and is blocked.",
        Downgrade "downgrade" "The request allows a downgrade, and the app file does not let this key ask \
                   for one.",
        IdTaken "id-taken" "The deployment's id belongs to another request.",
        Malformed "malformed" "The request cannot be parsed, or exceeds a limit.",
        NewerRequest "newer-request" "The request has a command, a field or a value that this receiver does \
                      not know.",
        Protocol "protocol" "The request speaks another version of the protocol.",
        App "app" "The key's user may not reach this application.",
        Repository "repository" "The image is from another repository than the app file's.",
        Labels "labels" "The image's labels contradict the request.",
        Environment "environment" "The app file does not allow one of the variables.",
        AppFile "app-file" "The app file has errors.",
        NotRecorded "not-recorded" "The server has no record of what the request refers to: a rollback has \
                     nowhere to go.",
        Unfinished "unfinished" "An earlier deployment is not finished, and could not be.",
        Busy "busy" "This user has as many open requests, or this application as many open changes, as \
              allowed.",
        ReceiverDown "receiver-down" "The receiver's service does not run on the server.",
        HostDocker "host-docker" "Docker does not answer on the server.",
        HostProxy "host-proxy" "The proxy does not answer on the server.",
        HostDisk "host-disk" "The server's disk is full.",
        HostState "host-state" "The record of the application on the server is missing, damaged, or from a \
                   newer receiver.",
        Host "host" "Something else on the server does not work; the message names it.",
    }
}

codes! {
    /// Why a deployment that was begun did not succeed.
    FailureCode {
        NoImage "no-image" "The registry has no image of this digest.",
        PullRefused "pull-refused" "The registry does not let the server pull the image.",
        RegistryLimit "registry-limit" "The registry limits the server's requests.",
        RegistryUnreachable "registry-unreachable" "The server cannot reach the registry.",
        Platform "platform" "The image is for another platform than the server's.",
        ImageLabels "image-labels" "The image's labels contradict the request.",
        ImageHealthCheck "image-health-check" "Neither the image nor the app file has a health check.",
        ImageVolume "image-volume" "The image declares a volume that the app file does not mount.",
        DoesNotStart "does-not-start" "Docker cannot start the container.",
        Exited "exited" "The container started and exited.",
        Unhealthy "unhealthy" "The container did not become healthy in time, or did not stay healthy.",
        ContainerGone "container-gone" "Somebody removed the container during the deployment.",
        SmokeTest "smoke-test" "A smoke test failed.",
        PortInUse "port-in-use" "Another program on the server uses the port.",
        Cut "cut" "In-flight requests were cut off at the end of `drain`.",
        DiskFull "disk-full" "The server's disk is full.",
        DockerUnavailable "docker-unavailable" "Docker does not answer on the server.",
        Docker "docker" "Docker refuses a step, or gives an answer that makes no sense.",
        ProxyUnavailable "proxy-unavailable" "The proxy does not answer on the server.",
        Proxy "proxy" "The proxy refuses a step, or does not do what it was asked.",
        Interrupted "interrupted" "The receiver was interrupted before the new version had passed.",
        Storage "storage" "The server's record of the deployment cannot be read or written.",
    }
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
        let refusals =
            RefusalCode::ALL.iter().map(|code| (serde_json::to_value(code), code.as_str(), code.meaning()));
        let failures =
            FailureCode::ALL.iter().map(|code| (serde_json::to_value(code), code.as_str(), code.meaning()));
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
