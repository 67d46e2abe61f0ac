//! A client's connection with its timeouts: none of hyper's own tells a client that keeps an idle
//! connection from one that sends its head byte by byte.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::bounds::limits::Limits;
use crate::bounds::pace::Pace;
use crate::exchange::record;
use crate::messages::activity::Activity;
use crate::messages::target::RequestTarget;
use crate::messages::validity;
use autotag_base::clock::{Alarm, Stopwatch};

/// What a client that sends nothing is thought to be doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// It keeps the connection for later.
    Between,
    /// It is in the middle of a head, or has not begun its first.
    InHead,
}

/// A stream that ends when its client dawdles. While an exchange is under way its reads wait: how slow a
/// body may be is decided where it is waited for ([`crate::messages::body`]).
#[derive(Debug)]
pub struct Guard<S> {
    stream: S,
    activity: Arc<Activity>,
    /// HTTP/2 sends frames between requests as well, answers to our own pings among them; only requests count
    /// there.
    http2: Arc<AtomicBool>,
    /// What is still to come of the first bytes by which HTTP/2 is recognised.
    preface: &'static [u8],
    seen: usize,
    waits: Waits,
    since: Stopwatch,
    /// Where in a head its next byte stands.
    target: RequestTarget,
    /// What has been read and is not handed on yet, since it became longer.
    rest: Vec<u8>,
    /// Bytes of a head have come, and no request was made of them yet.
    in_head: bool,
    head_timeout: Duration,
    idle_timeout: Duration,
    read_alarm: Option<Alarm>,
    writes: Pace,
    /// The last bytes that a client still sends, read so that the answer is not lost.
    linger: Option<Linger>,
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
            target: RequestTarget::new(),
            rest: Vec::new(),
            in_head: false,
            head_timeout: limits.head_timeout,
            idle_timeout: limits.idle_timeout,
            read_alarm: None,
            writes: Pace::new(limits.stall_timeout, limits.least_rate),
            linger: None,
        }
    }

    /// Bytes came in. Gives what is to be read in their place.
    fn on_read(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.recognise(bytes);
        let http2 = self.http2.load(Ordering::Relaxed);
        self.notice_exchanges();
        if http2 {
            if self.waits == Waits::InHead {
                self.waits = Waits::Between;
                self.read_alarm = None;
            }
            return None;
        }
        if bytes.is_empty() || !self.activity.idle() {
            return None;
        }
        if self.waits == Waits::Between {
            self.begin(Waits::InHead);
        }
        self.in_head = true;
        // Without an exchange and with all bodies read, hyper reads a head and nothing else.
        if self.activity.uploads.all_read() { self.target.encoded(bytes) } else { None }
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
            self.target = RequestTarget::new();
            self.in_head = false;
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

/// How long a client may go on sending after the last answer, and how long it may pause.
const LINGER: Duration = Duration::from_secs(30);
const LINGER_PAUSE: Duration = Duration::from_secs(2);

/// The end of a connection in stages (RFC 9112, 9.6): the writing side is closed, what still comes is read and
/// dropped, and only then all is closed. Otherwise a reset may overtake the answer.
#[derive(Debug)]
struct Linger {
    all: Stopwatch,
    pause: Alarm,
    buffer: Box<[u8; 8192]>,
}

impl Linger {
    fn new() -> Self {
        Self { all: Stopwatch::start(), pause: Alarm::new(LINGER_PAUSE), buffer: Box::new([0; 8192]) }
    }

    fn poll_end(&mut self, stream: &mut (impl AsyncRead + Unpin), context: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.all.elapsed() >= LINGER {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(self.buffer.as_mut());
            match Pin::new(&mut *stream).poll_read(context, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => self.pause.rewind(LINGER_PAUSE),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.pause.poll_ring(context),
            }
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
        if !this.rest.is_empty() {
            let length = this.rest.len().min(buffer.remaining());
            buffer.put_slice(&this.rest[..length]);
            this.rest.drain(..length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(context, buffer) {
            Poll::Ready(done) => {
                if let Some(mut longer) = this.on_read(&buffer.filled()[before..]) {
                    buffer.set_filled(before);
                    let length = longer.len().min(buffer.remaining());
                    buffer.put_slice(&longer[..length]);
                    this.rest = longer.split_off(length);
                }
                Poll::Ready(done)
            }
            Poll::Pending => this.poll_silence(context).map(|()| Err(too_slow())),
        }
    }
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    /// Watches how long a write has been waiting.
    fn watch(
        &mut self,
        context: &mut Context<'_>,
        polled: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = &polled {
            self.writes.moved(*written.as_ref().unwrap_or(&0));
            return polled;
        }
        self.writes.poll_too_slow(context).map(|()| Err(too_slow()))
    }

    /// Writes what the application says before its answer; see [`crate::messages::interim`].
    fn poll_interim(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let activity = Arc::clone(&self.activity);
        activity.interim.poll_write(|bytes| {
            let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
            self.watch(context, polled)
        })
    }

    /// A refusal of hyper's own, which has no text: of a head that it could not read. Then this one, with a
    /// text, is sent in its place.
    fn refusal(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        // Where a request was made of the head, what is written is the answer to it.
        if !self.in_head || !self.activity.idle() || self.activity.ended() != self.seen {
            return None;
        }
        let (status, why) = validity::unreadable(bytes)?;
        self.in_head = false;
        self.activity.uploads.leave();
        record::unreadable(self.activity.guest().peer(), status.as_u16(), why);
        let text = format!("{status}: {why}\n");
        let head = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n\r\n",
            text.len()
        );
        Some((head + &text).into_bytes())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(ours) = self.refusal(bytes) {
            self.activity.interim.put(ours);
            // All of hyper's counts as written; ours goes out with the flush that follows.
            return Poll::Ready(Ok(bytes.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // hyper's refusals have no body, so they come in one piece.
        if let [only] = slices
            && let Some(ours) = self.refusal(only)
        {
            self.activity.interim.put(ours);
            return Poll::Ready(Ok(only.len()));
        }
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.interim.waits() {
            ready!(self.poll_interim(context))?;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            ready!(Pin::new(&mut this.stream).poll_shutdown(context))?;
            if this.activity.uploads.all_read() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(Linger::new);
        linger.poll_end(&mut this.stream, context).map(Ok)
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
                autotag_base::clock::sleep(Duration::from_secs(3)).await;
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
    async fn a_client_may_idle_between_exchanges_and_be_slow() {
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

    /// Answers to our own pings, or frames of any other kind, are no request.
    #[tokio::test(start_paused = true)]
    async fn only_requests_keep_an_http2_connection() {
        let (mut client, mut guard, activity) = guarded(64);
        client.write_all(b"PRI ").await.expect("room");
        let stopwatch = Stopwatch::start();
        let frames = tokio::spawn(async move {
            loop {
                autotag_base::clock::sleep(Duration::from_secs(20)).await;
                if client.write_all(b"x").await.is_err() {
                    return;
                }
            }
        });
        // A request that ends after half a minute.
        let busy = activity.begin();
        let half = Duration::from_secs(30);
        assert!(tokio::time::timeout(half, until_given_up(&mut guard)).await.is_err());
        drop(busy);
        until_given_up(&mut guard).await;
        let lasted = stopwatch.elapsed().as_secs();
        assert!((30 + 75..=40 + 75).contains(&lasted), "{lasted} s");
        drop(guard);
        frames.await.expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (_client, mut guard, _) = guarded(4);
        let stopwatch = Stopwatch::start();
        let error = guard.write_all(b"more than fits").await.expect_err("nobody reads");
        assert_eq!((error.kind(), stopwatch.elapsed().as_secs()), (io::ErrorKind::TimedOut, 60));
    }
}
