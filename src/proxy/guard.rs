//! A client's connection with its timeouts: none of hyper's own tells a client that keeps an idle
//! connection from one that sends its head byte by byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::limits::Limits;
use super::record::Activity;
use crate::world::clock::{Alarm, Stopwatch};

/// What a client that sends nothing is thought to be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// It keeps the connection for later.
    Between,
    /// It is in the middle of a head, or has not begun its first.
    InHead,
}

/// A stream that ends when its client dawdles. While an exchange is under way its reads wait for ever:
/// a body may take as long as it likes.
#[derive(Debug)]
pub struct Guard<S> {
    stream: S,
    activity: Arc<Activity>,
    /// HTTP/2 sends frames between requests as well; only silence counts there.
    http2: Arc<AtomicBool>,
    /// What is still to come of the first bytes by which HTTP/2 is recognised.
    preface: &'static [u8],
    seen: usize,
    waits: Waits,
    since: Stopwatch,
    head_timeout: Duration,
    idle_timeout: Duration,
    stall_timeout: Duration,
    read_alarm: Option<Alarm>,
    write_alarm: Option<Alarm>,
}

impl<S> Guard<S> {
    /// Guards a new connection. `http2` is set as soon as it is known to speak that.
    pub fn new(stream: S, activity: Arc<Activity>, http2: Arc<AtomicBool>, limits: &Limits) -> Self {
        Self {
            stream,
            activity,
            http2,
            preface: b"PRI",
            seen: 0,
            waits: Waits::InHead,
            since: Stopwatch::start(),
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            stall_timeout: limits.stall_timeout,
            read_alarm: None,
            write_alarm: None,
        }
    }

    /// Bytes came in.
    fn on_read(&mut self, bytes: &[u8]) {
        self.recognise(bytes);
        let http2 = self.http2.load(Ordering::Relaxed);
        self.notice_exchanges();
        if http2 {
            self.begin(Waits::Between);
        } else if self.waits == Waits::Between && self.activity.idle() {
            self.begin(Waits::InHead);
        }
    }

    /// Compares the connection's first bytes with those of HTTP/2 (RFC 9113, 3.4), however they are cut.
    fn recognise(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match self.preface.split_first() {
                Some((expected, rest)) if expected == byte => {
                    self.preface = rest;
                    if rest.is_empty() {
                        self.http2.store(true, Ordering::Relaxed);
                    }
                }
                _ => {
                    self.preface = &[];
                    return;
                }
            }
        }
    }

    /// After an exchange the client is between two.
    fn notice_exchanges(&mut self) {
        let ended = self.activity.ended();
        if ended != self.seen {
            self.seen = ended;
            self.begin(Waits::Between);
        }
    }

    fn begin(&mut self, waits: Waits) {
        if waits != self.waits {
            // It may be set for later than the new limit.
            self.read_alarm = None;
        }
        self.waits = waits;
        self.since = Stopwatch::start();
    }

    /// Nothing came in: whether that has lasted too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if !self.activity.idle() {
                // Its end is noticed below, at the next poll or when the alarm rings.
                self.begin(Waits::Between);
            }
            self.notice_exchanges();
            let limit = if self.waits == Waits::InHead { self.head_timeout } else { self.idle_timeout };
            let left = limit.saturating_sub(self.since.elapsed());
            if left.is_zero() {
                return Poll::Ready(());
            }
            let alarm = self.read_alarm.get_or_insert_with(|| Alarm::new(left));
            if alarm.poll_ring(context).is_pending() {
                return Poll::Pending;
            }
            alarm.rewind(left);
        }
    }
}

fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(done) => {
                this.on_read(&buffer.filled()[before..]);
                Poll::Ready(done)
            }
            Poll::Pending => this.poll_silence(context).map(|()| Err(too_slow())),
        }
    }
}

impl<S: Unpin> Guard<S> {
    /// Watches how long a write has been waiting.
    fn watch<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.write_alarm = None;
            return polled;
        }
        let limit = self.stall_timeout;
        self.write_alarm.get_or_insert_with(|| Alarm::new(limit)).poll_ring(context).map(|()| Err(too_slow()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;

    fn guarded(buffer: usize) -> (DuplexStream, Guard<DuplexStream>, Arc<Activity>) {
        let (client, server) = tokio::io::duplex(buffer);
        let activity = Arc::new(Activity::default());
        let guard = Guard::new(server, Arc::clone(&activity), Arc::default(), &Limits::default());
        (client, guard, activity)
    }

    /// Reads until the guard gives up; the seconds that took.
    async fn until_given_up(guard: &mut Guard<DuplexStream>) -> u64 {
        let stopwatch = Stopwatch::start();
        loop {
            match guard.read_u8().await {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return stopwatch.elapsed().as_secs();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_even_if_it_drips() {
        let (mut client, mut guard, _) = guarded(64);
        let drip = tokio::spawn(async move {
            loop {
                crate::world::clock::sleep(Duration::from_secs(3)).await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        assert_eq!(until_given_up(&mut guard).await, 10);
        drop(guard);
        drip.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn between_exchanges_a_client_may_rest_and_in_one_it_may_take_its_time() {
        let (mut client, mut guard, activity) = guarded(64);
        client.write_all(b"G").await.expect("room");
        assert_eq!(guard.read_u8().await.expect("a byte"), b'G');
        let busy = activity.begin();
        let hour = tokio::time::timeout(Duration::from_hours(1), guard.read_u8()).await;
        assert!(hour.is_err(), "cut off in the middle of an exchange");
        drop(busy);
        let waited = until_given_up(&mut guard).await;
        assert!((70..=75).contains(&waited), "{waited} s");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_head_has_its_own_time() {
        let (mut client, mut guard, activity) = guarded(64);
        drop(activity.begin());
        assert!(tokio::time::timeout(Duration::from_secs(30), guard.read_u8()).await.is_err());
        client.write_all(b"G").await.expect("room");
        assert_eq!(until_given_up(&mut guard).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn frames_of_http2_are_no_slow_head() {
        let (mut client, mut guard, activity) = guarded(64);
        client.write_all(b"PRI ").await.expect("room");
        drop(activity.begin());
        let stopwatch = Stopwatch::start();
        let pings = tokio::spawn(async move {
            for _ in 0..3 {
                crate::world::clock::sleep(Duration::from_secs(30)).await;
                client.write_all(b"x").await.expect("still open");
            }
            client
        });
        until_given_up(&mut guard).await;
        assert_eq!(stopwatch.elapsed().as_secs(), 90 + 75);
        pings.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, mut guard, _) = guarded(4);
        let stopwatch = Stopwatch::start();
        let error = guard.write_all(b"more than fits").await.expect_err("nobody reads");
        assert_eq!((error.kind(), stopwatch.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
    }
}
