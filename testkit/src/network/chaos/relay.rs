//! A relay for SSH whose connections break as a plan says, one after another.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::network::cutter::{Break, listen, pass};
use crate::torture::tally;

fn name(kind: Break) -> &'static str {
    match kind {
        Break::Never => "SSH connection left alone",
        Break::Cut => "SSH connection cut",
        Break::Reset => "SSH connection reset",
        Break::Freeze => "SSH connection frozen",
        Break::HalfClose => "SSH connection half closed",
        Break::Slow => "SSH connection slow, in small pieces",
    }
}

/// The relay. It lives for as long as the test's process.
pub struct Relay {
    port: u16,
    plan: Arc<Mutex<VecDeque<(Break, u64)>>>,
}

impl Relay {
    /// Relays to a loopback port. Nothing breaks until more is said.
    pub fn start(to: u16) -> Self {
        let plan: Arc<Mutex<VecDeque<(Break, u64)>>> = Arc::default();
        let next = Arc::clone(&plan);
        let port = listen(to, move |client, server| {
            let planned = next.lock().expect("not poisoned").pop_front().unwrap_or((Break::Never, 0));
            let breaks = || tally(&format!("faults: {}", name(planned.0)), 1);
            pass(client, server, planned, &AtomicU64::new(0), breaks);
        });
        Self { port, plan }
    }

    /// On 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The next connection breaks so, after so many bytes of the server's.
    pub fn snap(&self, kind: Break, after: u64) {
        self.plan.lock().expect("not poisoned").push_back((kind, after));
    }

    /// The next connection breaks, by chance: in the login, in the conversation, or (where it says less)
    /// not at all.
    pub fn snap_at_random(&self, random: &mut StdRng) -> (Break, u64) {
        let kind = [Break::Cut, Break::Reset, Break::HalfClose][random.random_range(0..3)];
        let after = random.random_range(0..9_000);
        self.snap(kind, after);
        (kind, after)
    }

    /// Breaks that were planned and met nobody are off.
    pub fn calm(&self) {
        self.plan.lock().expect("not poisoned").clear();
    }
}
