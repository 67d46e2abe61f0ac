//! One word on a server, over SSH.
//!
//! A connection that is lost is never success: [`RemoteExec::run`] gives [`Finished`] only where the channel's
//! end was read, the other side closed it in order, and no signal ended the command. Whether the word
//! worked, the lines themselves say (`deploy::protocol`).

mod connect;
mod exchange;
mod fault;
mod libssh2;
mod socket;

use std::time::Duration;

pub use self::libssh2::Libssh2;
use crate::deploy::known_hosts::KnownHosts;
use autotag_base::CallResult;
use autotag_model::secret::Secret;

/// Where, as whom, and by which key.
#[derive(Debug, Clone)]
pub struct SshHost {
    /// A host name or an address.
    pub host: String,
    /// Usually 22.
    pub port: u16,
    /// The app's system user on the server.
    pub user: String,
    /// A private key in OpenSSH's or PEM form, without a passphrase.
    pub key: Secret,
    /// The only host keys that are accepted.
    pub known_hosts: KnownHosts,
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For the connection, the key exchange and the login together.
    pub connect: Duration,
    /// Between two lines, or two moments at which the server took some of the input; the receiver sends a
    /// heartbeat at least every ten seconds.
    pub idle: Duration,
    /// For all of it.
    pub whole: Duration,
}

/// The command ended in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard error, its last part where that is long.
    pub stderr: String,
}

/// SSH, as far as a deployment needs it.
#[expect(async_fn_in_trait, reason = "never spawned: the pipeline awaits in one task")]
pub trait RemoteExec {
    /// Runs one command with this standard input, and hands each line of its standard output over as it
    /// comes, without its line break and never longer than `limit` bytes.
    ///
    /// CallError before the command was asked for, and its refusal, have [`autotag_base::Effect::None`]; any later one
    /// has [`autotag_base::Effect::Unknown`], since the command may go on. Dropped, the connection is closed.
    async fn run(
        &self,
        host: &SshHost,
        command: &str,
        input: &Secret,
        limit: usize,
        deadlines: Deadlines,
        line: &mut dyn FnMut(&[u8]),
    ) -> CallResult<Finished>;
}
