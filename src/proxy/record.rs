//! One exchange from its head to its last byte: what it holds while it lasts, and the line it leaves in
//! the access log (target `access`).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Method, StatusCode, Version};
use tokio::sync::OwnedSemaphorePermit;

use super::app::App;
use super::body::Progress;
use super::trust::Peer;
use super::upstream::Ticket;
use crate::world::clock::Stopwatch;

/// One of the connections that are allowed, counted as long as it lasts.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    taken: Arc<AtomicUsize>,
}

impl Place {
    /// Counts a connection in.
    pub fn take(permit: OwnedSemaphorePermit, taken: &Arc<AtomicUsize>) -> Self {
        taken.fetch_add(1, Ordering::Relaxed);
        Self { _permit: permit, taken: Arc::clone(taken) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many exchanges a client's connection has under way, and how many have ended: what its timeouts
/// go by.
#[derive(Debug, Default)]
pub struct Activity {
    under_way: AtomicUsize,
    ended: AtomicUsize,
    /// Here, so that a tunnel keeps it.
    _place: Option<Place>,
}

impl Activity {
    /// A new connection's, with its place.
    pub fn new(place: Place) -> Arc<Self> {
        Arc::new(Self { _place: Some(place), ..Self::default() })
    }

    /// An exchange begins.
    pub fn begin(self: &Arc<Self>) -> Busy {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether no exchange is under way.
    pub fn idle(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }

    /// How many have ended.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Proof that a client's connection is in use.
#[derive(Debug)]
pub struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Release);
        self.0.under_way.fetch_sub(1, Ordering::Release);
    }
}

/// An exchange. When it is dropped the exchange has ended, however it ended: it is counted and logged.
#[derive(Debug)]
pub struct Record {
    /// Keeps the client's connection from counting as idle.
    _busy: Busy,
    /// Keeps the upstream from counting as unused.
    pub ticket: Option<Ticket>,
    /// The application.
    pub app: Arc<App>,
    /// The answer's status.
    pub status: StatusCode,
    /// Bytes of the request's body.
    pub progress: Option<Arc<Progress>>,
    /// Who asked for what.
    pub asked: Asked,
    /// Since the request's head was read.
    pub stopwatch: Stopwatch,
    sent: u64,
    cut_short: bool,
}

/// The request's side of a line in the access log. The query is left out: secrets travel in it.
#[derive(Debug)]
pub struct Asked {
    /// Who.
    pub peer: Peer,
    /// How.
    pub method: Method,
    /// The host, if one was named.
    pub host: Option<String>,
    /// The path.
    pub path: String,
    /// The client's version of HTTP.
    pub version: Version,
}

impl Record {
    /// Begins one.
    pub fn new(busy: Busy, app: Arc<App>, asked: Asked, stopwatch: Stopwatch) -> Self {
        Self {
            _busy: busy,
            ticket: None,
            app,
            status: StatusCode::BAD_GATEWAY,
            progress: None,
            asked,
            stopwatch,
            sent: 0,
            cut_short: false,
        }
    }

    /// Bytes went to the client.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// The answer broke off.
    pub fn cut_short(&mut self) {
        self.cut_short = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.stopwatch.elapsed();
        let received = self.progress.as_ref().map_or(0, |progress| progress.so_far().0);
        let counters = &self.app.counters;
        counters.ended(self.status, took);
        counters.received.add(received);
        counters.sent.add(self.sent);
        if self.cut_short {
            counters.cut_short.one();
        }
        let upstream = self.ticket.as_ref().map(|ticket| ticket.upstream().target.id.as_str());
        tracing::info!(
            target: "access",
            app = %self.app.name,
            upstream = upstream.unwrap_or_default(),
            client = %self.asked.peer,
            protocol = ?self.asked.version,
            method = %self.asked.method,
            host = self.asked.host.as_deref().unwrap_or_default(),
            path = %self.asked.path,
            status = self.status.as_u16(),
            received,
            sent = self.sent,
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            cut_short = self.cut_short,
            "request"
        );
    }
}
