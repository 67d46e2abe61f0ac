//! What the Engine's words mean: it hands on what registries and networks said, as text.

use std::error::Error as _;

use bollard::errors::Error;

use super::super::{Trouble, TroubleKind};
use crate::image::reference::ImageName;

/// The kind that a text about a registry belongs to; `None` where it says nothing known.
///
/// The order counts: `toomanyrequests` comes with status 429 and may mention authentication, and a
/// refusal may come with a broken connection after it.
pub(super) fn kind_of(text: &str) -> Option<TroubleKind> {
    const WORDS: &[(TroubleKind, &[&str])] = &[
        (TroubleKind::Throttled, &["toomanyrequests", "too many requests", "rate limit", "429 "]),
        (
            TroubleKind::Denied,
            &[
                "unauthorized",
                "denied",
                "no basic auth credentials",
                "authentication required",
                "incorrect username or password",
                "insufficient_scope",
                "401 ",
                "403 ",
                "forbidden",
            ],
        ),
        (
            TroubleKind::Unreachable,
            &[
                "connection refused",
                "connection reset",
                "no such host",
                "network is unreachable",
                "no route to host",
                "i/o timeout",
                "handshake timeout",
                "timeout exceeded",
                "deadline exceeded",
                "server misbehaving",
                "temporary failure",
                "broken pipe",
                "eof",
                "status: 5",
                "500 internal",
                "502 bad",
                "503 service",
                "504 gateway",
                "service unavailable",
            ],
        ),
    ];
    let text = text.to_ascii_lowercase();
    let known = WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    known.map(|(kind, _)| *kind)
}

/// An error of the client itself, as opposed to what was said in a stream.
pub(super) fn of_client(error: &Error, doing: &str) -> Trouble {
    let kind = match error {
        Error::DockerResponseServerError { status_code: 429, .. } => TroubleKind::Throttled,
        Error::DockerResponseServerError { status_code: 401 | 403, .. } => TroubleKind::Denied,
        Error::DockerResponseServerError { status_code: 502..=504, .. } => TroubleKind::Unreachable,
        Error::DockerResponseServerError { message, .. } | Error::DockerStreamError { error: message } => {
            kind_of(message).unwrap_or(TroubleKind::Rejected)
        }
        Error::JsonDataError { .. } | Error::JsonSerdeError { .. } | Error::StrParseError { .. } => {
            TroubleKind::Garbled
        }
        _ => TroubleKind::Unreachable,
    };
    Trouble::new(kind, doing, chain(error))
}

/// The error and all that caused it: hyper keeps "connection refused" two levels down.
pub(super) fn chain(error: &Error) -> String {
    let mut text = match error {
        Error::DockerResponseServerError { status_code, message } => {
            format!("{message} (status {status_code})")
        }
        Error::DockerStreamError { error } => error.clone(),
        error => error.to_string(),
    };
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// bollard 0.21.1 reports the end of a stream that was complete as this, now and then; harmless once
/// what was waited for has been seen.
pub(super) fn is_leftover(error: &Error) -> bool {
    chain(error).contains("bytes remaining on stream")
}

/// What to do when a registry refuses a push.
pub(super) fn remedy_for_denied(name: &ImageName, has_credentials: bool) -> String {
    if name.registry() == "ghcr.io" {
        return "Give the job `permissions: packages: write`, and set the inputs `registry-username` and \
                `registry-password` to an account that may push, for example `${{ github.actor }}` and \
                `${{ secrets.GITHUB_TOKEN }}`. If the package exists already and is not linked to this \
                repository, open its settings and give the repository the role Write under \
                \"Manage Actions access\"."
            .to_owned();
    }
    if has_credentials {
        format!(
            "Check the inputs `registry-username` and `registry-password`: the account must exist at {} \
             and may push to {}.",
            name.registry(),
            name.repository()
        )
    } else {
        format!(
            "Set the inputs `registry-username` and `registry-password` to an account that may push to {name}."
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_registries_are_told_apart() {
        use TroubleKind::{Denied, Throttled, Unreachable};
        for (text, kind) in [
            ("unauthorized: authentication required", Some(Denied)),
            ("denied: permission_denied: write_package", Some(Denied)),
            ("no basic auth credentials", Some(Denied)),
            ("denied: requested access to the resource is denied", Some(Denied)),
            ("unexpected status: 403 Forbidden", Some(Denied)),
            (
                "toomanyrequests: You have reached your pull rate limit. authentication required",
                Some(Throttled),
            ),
            ("429 Too Many Requests", Some(Throttled)),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                Some(Unreachable),
            ),
            ("dial tcp: lookup registry.invalid: no such host", Some(Unreachable)),
            ("received unexpected HTTP status: 503 Service Unavailable", Some(Unreachable)),
            ("net/http: TLS handshake timeout", Some(Unreachable)),
            ("Put \"https://r/v2/\": EOF", Some(Unreachable)),
            ("x509: certificate signed by unknown authority", None),
            ("manifest invalid: manifest invalid", None),
        ] {
            assert_eq!(kind_of(text), kind, "{text}");
        }
    }

    #[test]
    fn a_refusal_names_the_inputs() {
        let remedy = |name: &str, has| remedy_for_denied(&name.parse().expect("a name"), has);
        for (name, has) in [("ghcr.io/o/a", true), ("docker.io/o/a", true), ("r.example/a", false)] {
            let remedy = remedy(name, has);
            assert!(
                remedy.contains("`registry-username`") && remedy.contains("`registry-password`"),
                "{remedy}"
            );
        }
        let ghcr = remedy("ghcr.io/o/a", true);
        assert!(ghcr.contains("packages: write") && ghcr.contains("Manage Actions access"), "{ghcr}");
    }
}
