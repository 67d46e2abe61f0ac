//! A command's input and output, both at once, until it has ended in order.
//!
//! libssh2 must not block here: a side that writes all before it reads waits for ever once both windows are
//! full, and its session is one lock, so that a second thread would not help.

use std::io::{ErrorKind, Read as _, Write as _};
use std::time::Duration;

use ssh2::{Channel, Session};

use super::fault::RunningCommand;
use super::socket::Socket;
use crate::ports::Finished;
use autotag_base::clock::Stopwatch;
use autotag_base::{CallError, CallResult};
use autotag_protocol::Lines;

/// How much of standard error is kept, in bytes.
const STDERR_BYTES: usize = 8 * 1024;
/// How much is read at a time.
const CHUNK_BYTES: usize = 32 * 1024;

/// What goes in, and where the lines go.
pub(super) struct Talk<'a> {
    pub(super) running: RunningCommand<'a>,
    pub(super) input: &'a [u8],
    pub(super) limit: usize,
    pub(super) idle: Duration,
    pub(super) line: &'a mut dyn FnMut(&[u8]),
}

/// Whether anything moved.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// Input was taken, or a line came: the other side is alive.
    Alive,
    /// Bytes that are no line yet.
    Bytes,
    No,
}

impl Talk<'_> {
    /// Runs to the command's end.
    pub(super) async fn hold(mut self, socket: &Socket, channel: &mut Channel) -> CallResult<Finished> {
        let mut lines = Lines::new(self.limit);
        let mut stderr = Tail::default();
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut quiet = Stopwatch::start();
        let mut input_open = true;
        // The end counts even where input is left: the command has not read it, and will not.
        while !channel.eof() {
            let moved = [
                self.write(channel, &mut input_open)?,
                self.read(channel, &mut buffer, &mut lines)?,
                self.read_stderr(channel, &mut buffer, &mut stderr)?,
            ];
            if moved.contains(&Moved::Alive) {
                quiet = Stopwatch::start();
            }
            let left =
                self.idle.checked_sub(quiet.elapsed()).ok_or_else(|| self.running.silent(self.idle))?;
            if moved == [Moved::No; 3] && !channel.eof() {
                let changed = tokio::time::timeout(left, socket.changed()).await;
                let changed = changed.map_err(|_| self.running.silent(self.idle))?;
                changed.map_err(|error| self.running.lost(error.message()))?;
            } else {
                // A peer that never stops talking must not keep the deadlines from being looked at.
                tokio::task::yield_now().await;
            }
        }
        if !lines.unfinished().is_empty() {
            (self.line)(lines.unfinished());
        }
        self.end(socket, channel, &stderr.text()).await
    }

    fn write(&mut self, channel: &mut Channel, open: &mut bool) -> CallResult<Moved> {
        if !*open {
            return Ok(Moved::No);
        }
        if self.input.is_empty() {
            return match channel.send_eof().map_err(std::io::Error::from) {
                Ok(()) => {
                    *open = false;
                    Ok(Moved::Alive)
                }
                Err(error) => self.unless_waiting(&error),
            };
        }
        match channel.write(self.input) {
            Ok(written) => {
                self.input = &self.input[written..];
                Ok(if written > 0 { Moved::Alive } else { Moved::No })
            }
            Err(error) => self.unless_waiting(&error),
        }
    }

    fn read(&mut self, channel: &mut Channel, buffer: &mut [u8], lines: &mut Lines) -> CallResult<Moved> {
        let count = match channel.read(buffer) {
            // Nothing, which is not yet the end: that is asked for by itself.
            Ok(0) => return Ok(Moved::No),
            Ok(count) => count,
            Err(error) => return self.unless_waiting(&error),
        };
        let mut moved = Moved::Bytes;
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let next = lines.next(&mut rest).map_err(|_| self.running.line_too_long(self.limit))?;
            if let Some(line) = next {
                (self.line)(&line);
                moved = Moved::Alive;
            }
        }
        Ok(moved)
    }

    fn read_stderr(&self, channel: &Channel, buffer: &mut [u8], stderr: &mut Tail) -> CallResult<Moved> {
        match channel.stderr().read(buffer) {
            Ok(0) => Ok(Moved::No),
            Ok(count) => {
                stderr.add(&buffer[..count]);
                Ok(Moved::Bytes)
            }
            Err(error) => self.unless_waiting(&error),
        }
    }

    fn unless_waiting(&self, error: &std::io::Error) -> CallResult<Moved> {
        let waiting = error.kind() == ErrorKind::WouldBlock;
        if waiting { Ok(Moved::No) } else { Err(self.running.lost(&error.to_string())) }
    }

    /// Success needs all of it: libssh2 says "exit status 0" of a connection that was lost, too.
    async fn end(&self, socket: &Socket, channel: &mut Channel, stderr: &str) -> CallResult<Finished> {
        let closed = tokio::time::timeout(self.idle, socket.until(|| channel.wait_close())).await;
        let lost = |error: ssh2::Error| -> CallError { self.running.lost(error.message()) };
        closed.map_err(|_| self.running.silent(self.idle))?.map_err(lost)?;
        if let Some(signal) = channel.exit_signal().map_err(lost)?.exit_signal {
            return Err(self.running.killed(&signal, stderr));
        }
        let status = channel.exit_status().map_err(lost)?;
        Ok(Finished { status, stderr: stderr.to_owned() })
    }
}

/// Opens a channel and starts the command in it.
pub(super) async fn start(
    running: RunningCommand<'_>,
    socket: &Socket,
    session: &Session,
    idle: Duration,
) -> CallResult<Channel> {
    let starting = async {
        let mut channel = socket.until(|| session.channel_session()).await?;
        socket.until(|| channel.exec(running.command)).await?;
        Ok(channel)
    };
    let started = tokio::time::timeout(idle, starting).await.map_err(|_| running.silent(idle))?;
    started.map_err(|error: ssh2::Error| running.not_started(&error))
}

/// The last part of a stream.
#[derive(Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn add(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        let surplus = self.0.len().saturating_sub(STDERR_BYTES);
        self.0.drain(..surplus);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_keeps_the_last_part() {
        let mut tail = Tail::default();
        tail.add(&vec![b'a'; STDERR_BYTES]);
        tail.add(b"the end");
        assert_eq!(tail.text().len(), STDERR_BYTES);
        assert!(tail.text().ends_with("aathe end"));
    }
}
