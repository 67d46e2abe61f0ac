//! Clients of seven kinds that load a server for as long as is wanted, and are strict: none tries
//! anything twice, and whatever goes wrong is counted, with its kind and its first words.
//!
//! ```ignore
//! let load = Load::start(address, &Mix::default());
//! // ... switch containers ...
//! let report = load.stop();
//! report.assert_nothing_lost();
//! ```
//!
//! What is no failure: that a server ends an idle connection in a way that shows before the next request
//! (`Connection: close`, or the end seen while nothing was asked), and that it closes a WebSocket with
//! 1001 or 1012 and the handshake. The client then opens another. Everything else is one.

mod clients;
mod report;
mod web_socket;

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::watch;

pub use report::{Failure, KindReport, Report};

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientKind {
    /// One request after another on a connection that is kept.
    Busy,
    /// A request in a while on a connection that is kept: what a proxy that closes idle ones loses.
    Idle,
    /// A connection for each request.
    New,
    /// Sends a body and wants it back.
    Post,
    /// Requests whose answer takes its time.
    Slow,
    /// Answers that come in pieces.
    Stream,
    /// Messages to and fro.
    WebSocket,
}

impl ClientKind {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 7] =
        [Self::Busy, Self::Idle, Self::New, Self::Post, Self::Slow, Self::Stream, Self::WebSocket];

    /// Its name in tables, and in what the program `load` is told.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::New => "new",
            Self::Post => "post",
            Self::Slow => "slow",
            Self::Stream => "stream",
            Self::WebSocket => "websocket",
        }
    }
}

/// How many clients of each kind, and how they are paced.
#[derive(Debug, Clone)]
pub struct Mix {
    /// Clients of each kind; of those that are absent there are none.
    pub clients: Vec<(ClientKind, usize)>,
    /// Milliseconds between two requests of a client, where its kind does not say otherwise. Without a
    /// pause the clients measure the machine, and take it from the rest of a test.
    pub pause: u64,
    /// Milliseconds between two requests of an idle client, give or take a half.
    pub idle: u64,
    /// How long slow requests take, in milliseconds.
    pub slow: std::ops::Range<u64>,
    /// Pieces of a streamed answer, 20 ms apart.
    pub pieces: u64,
    /// The field `Host`; the address where none is given.
    pub host: Option<String>,
}

impl Default for Mix {
    /// The mix of the table in which ways of switching were first compared.
    fn default() -> Self {
        let clients = [
            (ClientKind::Busy, 16),
            (ClientKind::Idle, 32),
            (ClientKind::New, 4),
            (ClientKind::Post, 4),
            (ClientKind::Slow, 12),
            (ClientKind::Stream, 4),
            (ClientKind::WebSocket, 4),
        ];
        Self { clients: clients.to_vec(), pause: 5, idle: 1000, slow: 500..2000, pieces: 40, host: None }
    }
}

impl Mix {
    /// A few clients of each kind, whose requests are all short: for tests that share the machine.
    pub fn small() -> Self {
        let clients = ClientKind::ALL
            .iter()
            .map(|kind| (*kind, if *kind == ClientKind::Idle { 6 } else { 2 }))
            .collect();
        Self { clients, idle: 400, slow: 200..600, pieces: 15, ..Self::default() }
    }

    /// Clients of one kind alone.
    pub fn only(kind: ClientKind, count: usize) -> Self {
        Self { clients: vec![(kind, count)], ..Self::default() }
    }
}

/// Clients at work, on a thread of their own. Dropped, they stop as well.
pub struct Load {
    over: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
    tally: Arc<Tally>,
}

/// What the clients write to.
#[derive(Debug, Default)]
struct Tally {
    report: Mutex<Report>,
    /// Told of every exchange that has ended.
    ended: Condvar,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.lock());
        self.ended.notify_all();
    }
}

impl Load {
    /// Starts clients of the server at this address.
    pub fn start(address: SocketAddr, mix: &Mix) -> Self {
        let over = watch::Sender::new(false);
        let tally = Arc::<Tally>::default();
        let (mix, stop, kept) = (mix.clone(), over.subscribe(), Arc::clone(&tally));
        let thread = std::thread::Builder::new().name("load".to_owned()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(clients::run_all(address, &mix, &stop, &kept));
        });
        Self { over, thread: Some(thread.expect("a thread")), tally }
    }

    /// What has come out so far.
    pub fn so_far(&self) -> Report {
        self.tally.lock().clone()
    }

    /// Waits until so many more exchanges of every kind have ended, however they did: then the load is on.
    /// Blocks; panics after a minute.
    pub fn warm_up(&self, exchanges: u64) {
        let before = self.so_far();
        let lazy = |now: &mut Report| {
            let grown = |(kind, report): (&ClientKind, &KindReport)| {
                report.events() >= exchanges + before.kinds.get(kind).map_or(0, KindReport::events)
            };
            now.kinds.is_empty() || !now.kinds.iter().all(grown)
        };
        let minute = std::time::Duration::from_mins(1);
        let waited = self.tally.ended.wait_timeout_while(self.tally.lock(), minute, lazy);
        let (now, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "too few exchanges in a minute:\n{now}");
    }

    /// Lets every client finish what it has begun, and tells what came out.
    pub fn stop(mut self) -> Report {
        self.end();
        self.so_far()
    }

    fn end(&mut self) {
        self.over.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the clients have panicked");
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}
