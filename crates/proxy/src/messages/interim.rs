//! What an application says before its answer (103 Early Hints), on its way to a client of HTTP/1.1.
//!
//! A proxy passes such answers on (RFC 9110, 15.2), and hyper's server has no way to send one. So they are
//! written beside it, at the one moment that cannot be inside of a message: hyper flushes when it has written
//! all that it has, and as long as a request has no answer yet, that is the end of the message before. The
//! answer itself waits until they are out.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, ready};

use http::{HeaderMap, StatusCode};
use tokio::sync::Notify;

/// What waits at most, in bytes. An application that says more gets it dropped.
const MOST: usize = 64 * 1024;

/// What is said before the answer, on one connection.
#[derive(Debug, Default)]
pub struct Interim {
    waiting: AtomicBool,
    bytes: Mutex<Vec<u8>>,
    /// Something has come, or all has gone.
    changed: Notify,
}

impl Interim {
    /// An application says this.
    pub fn say(&self, status: StatusCode, mut fields: HeaderMap) {
        super::headers::to_client(&mut fields);
        let mut message = Vec::with_capacity(128);
        let reason = status.canonical_reason().unwrap_or_default();
        message.extend_from_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_str()).as_bytes());
        for (name, value) in &fields {
            message.extend_from_slice(name.as_str().as_bytes());
            message.extend_from_slice(b": ");
            message.extend_from_slice(value.as_bytes());
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(b"\r\n");
        self.put(message);
    }

    /// A whole message that is written at the next flush.
    pub fn put(&self, mut message: Vec<u8>) {
        let mut bytes = self.lock();
        if bytes.len() + message.len() <= MOST {
            bytes.append(&mut message);
            self.waiting.store(true, Ordering::Release);
            self.changed.notify_one();
        }
    }

    /// Whether something waits.
    pub fn waits(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Waits for the next change.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Writes all that waits.
    pub fn poll_write(
        &self,
        mut write: impl FnMut(&[u8]) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = self.lock();
        while !bytes.is_empty() {
            let written = ready!(write(&bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.drain(..written);
        }
        self.waiting.store(false, Ordering::Release);
        self.changed.notify_one();
        Poll::Ready(Ok(()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
