//! What can go wrong on the way to a server, in words, each with what the user can do.

use std::time::Duration;

use ssh2::{Error, ErrorCode};

use crate::adapters::http_error::excerpt;
use crate::ports::SshHost;
use crate::ssh_keys::known_hosts::HostKeyCheck;
use autotag_base::{CallError, CallErrorKind};
use autotag_model::help::Topic;

// libssh2.h; the crate ssh2 does not hand the names on.
const BANNER_RECV: ErrorCode = ErrorCode::Session(-2);
const KEX_FAILURE: ErrorCode = ErrorCode::Session(-5);
const KEY_EXCHANGE_FAILURE: ErrorCode = ErrorCode::Session(-8);
const FILE: ErrorCode = ErrorCode::Session(-16);
const AUTHENTICATION_FAILED: ErrorCode = ErrorCode::Session(-18);
const PUBLICKEY_UNVERIFIED: ErrorCode = ErrorCode::Session(-19);
const CHANNEL_FAILURE: ErrorCode = ErrorCode::Session(-21);
const CHANNEL_REQUEST_DENIED: ErrorCode = ErrorCode::Session(-22);

/// How far a connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectStep {
    /// The name becomes addresses.
    Name,
    /// TCP.
    Connection,
    /// SSH's version lines and keys.
    KeyExchange,
    /// Public key authentication.
    Login,
}

fn connecting(host: &SshHost) -> String {
    format!("connecting to {} port {} as {}", host.host, host.port, host.user)
}

fn check_address(host: &SshHost) -> String {
    format!(
        "check the inputs `deploy-host` (now {}) and `deploy-port` (now {}), that the server runs, and that \
         its \
         firewall lets the machine in on which this runs",
        host.host, host.port
    )
}

/// A private key that cannot be used; `why` says what was expected.
pub(super) fn bad_key(host: &SshHost, why: &str) -> CallError {
    CallError::new(CallErrorKind::Rejected, connecting(host), format!("the key cannot be used: expected \
    {why}"))
        .with_remedy(
            "put the whole private key that `autotag-receiver init` printed into the secret of the input \
             `deploy-key`, with its first and last line (`-----BEGIN ...`, `-----END ...`) and no passphrase; \
             `autotag-receiver init APP --new-key` makes a new one",
        )
        .about(Topic::Inputs)
}

pub(super) fn no_such_name(host: &SshHost, why: &str) -> CallError {
    CallError::new(CallErrorKind::Unreachable, connecting(host), format!("the name has no address: {why}"))
        .with_remedy(format!(
            "check the input `deploy-host` (now {}): a host name or an address, without user, port or path",
            host.host
        ))
        .about(Topic::NoConnection)
}

/// `refusals` has a line for each address.
pub(super) fn no_connection(host: &SshHost, refusals: &[String]) -> CallError {
    let why = format!("no connection: {}", refusals.join("; "));
    CallError::new(CallErrorKind::Unreachable, connecting(host), why)
        .with_remedy(check_address(host))
        .about(Topic::NoConnection)
}

/// This machine itself could not go on.
pub(super) fn local(host: &SshHost, why: impl std::fmt::Display) -> CallError {
    CallError::new(CallErrorKind::Unreachable, connecting(host), format!("no connection: {why}"))
}

/// `heard` is what the other side said in place of an SSH version, or before it.
pub(super) fn too_slow(host: &SshHost, step: ConnectStep, heard: Option<&str>, limit: Duration) -> CallError {
    let why = match step {
        ConnectStep::Name => "the name was not resolved",
        ConnectStep::Connection => "nobody answered",
        ConnectStep::KeyExchange if heard.is_none() => "the connection is open, but no SSH server answered",
        ConnectStep::KeyExchange => "the SSH server did not finish the key exchange",
        ConnectStep::Login => "the SSH server did not finish the login",
    };
    let why = format!("{why} within {} s", limit.as_secs_f32());
    CallError::new(CallErrorKind::Unreachable, connecting(host), why)
        .with_remedy(check_address(host))
        .about(Topic::NoConnection)
}

/// The key exchange failed. `heard` as in [`too_slow`].
pub(super) fn handshake(host: &SshHost, error: &Error, heard: Option<&str>) -> CallError {
    let doing = connecting(host);
    let call_error = match heard {
        Some(heard) if !heard.starts_with("SSH-") => {
            let why = format!("what answers there is not an SSH server; it says: {}", excerpt(heard));
            CallError::new(CallErrorKind::InvalidResponse, doing, why).with_remedy(check_address(host))
        }
        // libssh2 says the same of both; so it is asked again, which ends the one and costs seconds with the other.
        _ if is_disagreement(error) => CallError::new(
            CallErrorKind::Unreachable,
            doing,
            format!(
                "the connection broke during the key exchange, or the two sides have no algorithms in \
                 common: {}",
                error.message()
            ),
        )
        .with_remedy(
            "if it happens again, look at the server's log of sshd; where that finds no method in common, \
             let sshd offer a current key exchange, cipher and host key type (OpenSSH 7.4 and later do by \
             default)",
        ),
        Some(_) => CallError::new(
            CallErrorKind::Unreachable,
            doing,
            format!("the connection broke during the key exchange: {}", error.message()),
        )
        .with_remedy("if it happens again, look at the server's log of sshd"),
        None if error.code() == BANNER_RECV => {
            CallError::new(CallErrorKind::InvalidResponse, doing, "what answers there is not an SSH server")
                .with_remedy(check_address(host))
        }
        None => CallError::new(
            CallErrorKind::Unreachable,
            doing,
            format!("the connection was closed before an SSH server answered: {}", error.message()),
        )
        .with_remedy(
            "check that sshd listens there, and that neither its MaxStartups, nor fail2ban, nor a firewall \
             rejects this machine",
        ),
    };
    call_error.about(Topic::NoConnection)
}

/// Both sides spoke SSH, and found nothing in common; or the connection was lost while they looked.
pub(super) fn is_disagreement(error: &Error) -> bool {
    matches!(error.code(), KEX_FAILURE | KEY_EXCHANGE_FAILURE)
}

/// The host key is not among the accepted ones. `presented` are fingerprints with types.
pub(super) fn host_key(host: &SshHost, presented: &[String], verdict: &HostKeyCheck) -> CallError {
    let shown = presented.join(" and ");
    let name = if host.port == 22 { host.host.clone() } else { format!("[{}]:{}", host.host, host.port) };
    let compare = "on the server itself, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows the right \
                   one \
                   (each type has a file)";
    let (why, remedy, topic) = match verdict {
        HostKeyCheck::Changed { known } => (
            format!(
                "the server's host key is not the known one: it shows {shown}, known are {}; it was \
                 reinstalled, or somebody else answers in its place",
                known.join(", ")
            ),
            format!(
                "do not just accept the new key: {compare}; only if it is the same, put the new line into \
                 the input `deploy-known-hosts`"
            ),
            Topic::HostKeyChanged,
        ),
        HostKeyCheck::Unknown | HostKeyCheck::Known => (
            format!("no host key is known for {name}; the server shows {shown}"),
            format!(
                "{compare}; if it is the same, put it, or the lines that `ssh-keyscan -p {} {}` prints, into \
                 the input `deploy-known-hosts`",
                host.port, host.host
            ),
            Topic::HostKeyUnknown,
        ),
    };
    CallError::new(CallErrorKind::Denied, connecting(host), why).with_remedy(remedy).about(topic)
}

pub(super) fn login(host: &SshHost, error: &Error) -> CallError {
    let app = host.user.strip_prefix("autotag-").unwrap_or("APP");
    match error.code() {
        AUTHENTICATION_FAILED | PUBLICKEY_UNVERIFIED if !is_unanswered(error) => CallError::new(
            CallErrorKind::Denied,
            connecting(host),
            format!("the server does not let the user {} in with this key", host.user),
        )
        .with_remedy(format!(
            "let the input `deploy-user` name the application's user, and `deploy-key` hold the key that \
             `init` printed; \
             on the server `autotag-receiver init {app} --key '<the public key>'` allows a key that you \
             have, `--new-key` instead makes another, and sshd's log (`journalctl -u ssh`) says why it \
             refuses this one"
        ))
        .about(Topic::KeyRefused),
        FILE => bad_key(host, "an ED25519, ECDSA or RSA key that OpenSSL can read, without a passphrase"),
        _ => CallError::new(
            CallErrorKind::Unreachable,
            connecting(host),
            format!("the connection broke during the login: {}", error.message()),
        )
        .with_remedy("if it happens again, look at the server's log of sshd"),
    }
}

/// libssh2 gives an answer that was lost the number of a refusal, and other words.
fn is_unanswered(error: &Error) -> bool {
    error.message().starts_with("Waiting for")
}

/// Where a command runs, and which.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunningCommand<'a> {
    pub(super) host: &'a SshHost,
    pub(super) command: &'a str,
}

impl RunningCommand<'_> {
    fn doing(&self) -> String {
        format!("running `{}` on {} as {}", self.command, self.host.host, self.host.user)
    }

    /// Whether the command runs is known only where it was refused; where the answer got lost, it may.
    pub(super) fn not_started(&self, error: &Error) -> CallError {
        match error.code() {
            CHANNEL_FAILURE | CHANNEL_REQUEST_DENIED => CallError::new(
                CallErrorKind::Denied,
                self.doing(),
                "the server accepts the key, but runs no command for it",
            )
            .with_remedy(format!(
                "on the server, run `autotag-receiver init {}` again: the key's line must have \
                         `restrict,command=\"...\"`, and sshd's log says what is wrong",
                self.host.user.strip_prefix("autotag-").unwrap_or("APP")
            ))
            .about(Topic::NoReceiver),
            _ => self.lost(error.message()),
        }
    }

    /// The connection is gone; the command may go on.
    pub(super) fn lost(&self, why: &str) -> CallError {
        CallError::new(CallErrorKind::Unreachable, self.doing(), format!("the connection was lost: {why}"))
            .perhaps_done()
    }

    pub(super) fn silent(&self, idle: Duration) -> CallError {
        let why = format!("the server has sent nothing for {} s", idle.as_secs_f32());
        CallError::new(CallErrorKind::Unreachable, self.doing(), why).perhaps_done()
    }

    pub(super) fn too_long(&self, whole: Duration) -> CallError {
        let why = format!("it did not end within {} s", whole.as_secs_f32());
        CallError::new(CallErrorKind::Unreachable, self.doing(), why)
            .perhaps_done()
            .with_remedy(
                "the server continues by itself: check what runs with `command: status`; if that long is \
                 normal, allow more time with the input `deploy-timeout`",
            )
            .about(Topic::ResultUnknown)
    }

    pub(super) fn killed(&self, signal: &str, stderr: &str) -> CallError {
        let mut why = format!("the command was ended by the signal {signal}");
        if !stderr.trim().is_empty() {
            why = format!("{why}; it wrote: {}", excerpt(stderr));
        }
        CallError::new(CallErrorKind::Unreachable, self.doing(), why).perhaps_done()
    }

    pub(super) fn line_too_long(&self, limit: usize) -> CallError {
        let why = format!("the answer has a line of more than {limit} bytes");
        CallError::new(CallErrorKind::InvalidResponse, self.doing(), why)
            .perhaps_done()
            .with_remedy("check that the key's line on the server runs `autotag-receiver receive`")
            .about(Topic::NoReceiver)
    }
}
