//! One word on a server, over SSH.
//!
//! A connection that is lost is never success: [`RemoteExec::run`](crate::ports::RemoteExec::run) gives a result only
//! where the channel's end was read, the other side closed it in order, and no signal ended the command. Whether the
//! word worked, the lines themselves say (`autotag-protocol`).

mod connect;
mod exchange;
mod fault;
mod libssh2;
mod socket;

pub use self::libssh2::Libssh2;
