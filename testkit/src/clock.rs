//! The machine's clock, for servers that must agree with it, and for tests that measure.

use std::time::{Duration, Instant};

/// Now, in seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the owner of the clock in tests")]
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Starts a measurement.
#[expect(clippy::disallowed_methods, reason = "the owner of the clock in tests")]
pub fn start() -> Instant {
    Instant::now()
}

/// A moment between two looks at another process, which tells of nothing by itself.
#[expect(clippy::disallowed_methods, reason = "the owner of waiting in tests")]
pub fn look_again() {
    std::thread::sleep(Duration::from_millis(5));
}

/// Lets so many milliseconds pass: a moment that nothing marks, for a kill that may come at any, or for a line
/// that is slow on purpose.
#[expect(clippy::disallowed_methods, reason = "the moment is what is asked for")]
pub fn any_moment(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

/// Makes an answer late on purpose. No test waits by this.
#[expect(clippy::disallowed_methods, reason = "slowness is what is asked for")]
pub async fn be_late(by: Duration) {
    tokio::time::sleep(by).await;
}
