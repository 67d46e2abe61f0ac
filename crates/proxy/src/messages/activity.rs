//! What is in flight on a client's connection: its timeouts go by it, and whether it may be closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::interim::Interim;
use crate::bounds::crowd::{Guest, Seat};

/// What a client's connection has under way: what its timeouts go by, and whether it may be closed.
#[derive(Debug, Default)]
pub struct Activity {
    guest: Arc<Guest>,
    /// Its bodies, as far as they have come.
    pub uploads: Uploads,
    /// What the application says before its answer.
    pub interim: Interim,
    /// Here, so that a tunnel keeps it.
    seat: Option<Seat>,
}

impl Activity {
    /// A new connection's, with its place.
    pub fn new(seat: Seat) -> Arc<Self> {
        Arc::new(Self { guest: Arc::clone(&seat.guest), seat: Some(seat), ..Self::default() })
    }

    /// An exchange begins.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.guest.begin();
        Busy(Arc::clone(self))
    }

    /// What others may know of it.
    pub fn guest(&self) -> &Guest {
        &self.guest
    }

    /// Whether no exchange is under way.
    pub fn idle(&self) -> bool {
        self.guest.idle()
    }

    /// How many have ended.
    pub fn ended(&self) -> usize {
        self.guest.ended()
    }
}

/// Proof that a client's connection is in use.
#[derive(Debug)]
pub struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(seat) = &self.0.seat {
            seat.end();
        }
        self.0.guest.finish();
    }
}

/// The bodies that come in over one client's connection.
#[derive(Debug, Default)]
pub struct Uploads {
    open: AtomicUsize,
    left: AtomicBool,
}

impl Uploads {
    /// Another one comes.
    pub fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// One has ended.
    pub fn end(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether each has been read to its end: what comes next is a head.
    pub fn all_read(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0 && !self.left.load(Ordering::Relaxed)
    }

    /// What comes next is not to be read any more.
    pub fn leave(&self) {
        self.left.store(true, Ordering::Relaxed);
    }
}
