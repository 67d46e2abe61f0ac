//! How slow the other end of a transfer may be: its least rate.
//!
//! RetryPolicy is a bucket. Waiting empties it, as long as the wait; each byte fills it, by what that byte may
//! take at the least rate; it never holds more than one full wait. So a transfer may pause, and for as long as
//! the bucket is deep, but one that drips ends. What the other side of the transfer waits for is not counted:
//! only the time that was spent on this one.

use std::task::{Context, Poll};
use std::time::Duration;

use autotag_base::clock::{Alarm, Stopwatch};

/// One direction's patience.
#[derive(Debug)]
pub struct Pace {
    full: Duration,
    /// Bytes a second.
    rate: u64,
    left: Duration,
    waits: Option<Stopwatch>,
    alarm: Option<Alarm>,
}

impl Pace {
    /// The longest wait, and how many bytes a second earn as much again.
    pub fn new(full: Duration, rate: u64) -> Self {
        Self { full, rate: rate.max(1), left: full, waits: None, alarm: None }
    }

    /// So many bytes have come or gone: a wait is over.
    pub fn moved(&mut self, bytes: usize) {
        if let Some(waited) = self.waits.take() {
            self.left = self.left.saturating_sub(waited.elapsed());
        } else if self.left == self.full {
            return;
        }
        let earned = Duration::from_millis((bytes as u64).saturating_mul(1000) / self.rate);
        self.left = self.left.saturating_add(earned).min(self.full);
    }

    /// Nothing moves: whether that has lasted too long. If not the task is woken when it has.
    pub fn poll_too_slow(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let begins = self.waits.is_none();
        let waited = self.waits.get_or_insert_with(Stopwatch::start).elapsed();
        let left = self.left.saturating_sub(waited);
        let alarm = self.alarm.get_or_insert_with(|| Alarm::new(left));
        if begins {
            // It may be the one of an earlier wait.
            alarm.rewind(left);
        }
        if left.is_zero() { Poll::Ready(()) } else { alarm.poll_ring(context) }
    }

    /// Waits for a step of so many bytes; `None`: it took too long.
    pub async fn step<T>(&mut self, bytes: usize, step: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(step);
        let done = std::future::poll_fn(|context| match step.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending => self.poll_too_slow(context).map(|()| None),
        })
        .await;
        self.moved(bytes);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autotag_base::clock;

    /// The seconds after which bytes that come in this way are too slow; none: they are not, within an hour.
    async fn lasts(bytes: usize, every: u64) -> Option<u64> {
        let mut pace = Pace::new(Duration::from_mins(1), 240);
        let all = Stopwatch::start();
        while all.elapsed() < Duration::from_hours(1) {
            let pause = clock::sleep(Duration::from_secs(every));
            if pace.step(bytes, pause).await.is_none() {
                return Some(all.elapsed().as_secs());
            }
        }
        None
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_may_pause_and_may_not_drip() {
        for (bytes, every, expected) in [
            (1, 1, Some(60)),
            (1, 45, Some(60)),
            (1, 61, Some(60)),
            (239, 1, None),
            (240, 1, None),
            (120, 1, Some(119)),
            (16_384, 59, None),
            (1_000_000, 61, Some(60)),
        ] {
            let seen = lasts(bytes, every).await;
            match (seen, expected) {
                // Just below the rate it takes long to notice.
                (None, None) => {}
                (Some(seen), Some(expected)) => {
                    assert!(seen.abs_diff(expected) <= 2, "{bytes} bytes every {every} s: {seen} s");
                }
                _ => panic!("{bytes} bytes every {every} s: {seen:?}"),
            }
        }
    }
}
