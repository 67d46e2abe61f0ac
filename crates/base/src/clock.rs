//! The one owner of time: what the hour is, how long something took, and waiting.
//!
//! All of it but the hour goes through tokio's clock, so a test that pauses it (`tokio::time::pause`)
//! goes through minutes of waiting in no time.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use jiff::Timestamp;

/// The present moment, by this machine's clock. Never decide an order of releases by it.
#[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Waits.
#[expect(clippy::disallowed_methods, reason = "the owner of waiting")]
pub async fn sleep(pause: Duration) {
    tokio::time::sleep(pause).await;
}

/// Measures how long something takes; a change of the machine's clock does not disturb it.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(tokio::time::Instant);

impl Stopwatch {
    /// Begins now.
    #[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
    pub fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Rings after a while, for code that is polled and cannot await; it can be wound up again.
#[derive(Debug)]
pub struct Alarm(Pin<Box<tokio::time::Sleep>>);

impl Alarm {
    /// Rings `after` from now.
    #[expect(clippy::disallowed_methods, reason = "the owner of waiting")]
    pub fn new(after: Duration) -> Self {
        Self(Box::pin(tokio::time::sleep(after)))
    }

    /// Rings `after` from now instead.
    #[expect(clippy::disallowed_methods, reason = "the owner of the clock")]
    pub fn rewind(&mut self, after: Duration) {
        self.0.as_mut().reset(tokio::time::Instant::now() + after);
    }

    /// Whether it has rung; if not, the task is woken when it does.
    pub fn poll_ring(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waiting_moves_the_stopwatch_by_as_much() {
        let stopwatch = Stopwatch::start();
        sleep(Duration::from_hours(1)).await;
        assert_eq!(stopwatch.elapsed().as_secs(), 3600);
    }
}
