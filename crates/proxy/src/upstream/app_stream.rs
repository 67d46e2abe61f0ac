//! A connection to an application, with two things that hyper does not see for itself.
//!
//! Whether anything has come: a request may be sent again only where nothing has. And an application may
//! answer before it has read the request, and close (RFC 9112, 9.6): then writing fails while the answer waits
//! to be read. A write that fails is therefore no end; it waits, and what can still be read is read. The end
//! of that, or its error, ends the connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How many bytes have come over a connection.
#[derive(Debug, Clone, Default)]
pub struct Transcript(Arc<AtomicU64>);

impl Transcript {
    /// So many.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The connection.
#[derive(Debug)]
pub struct AppStream<S> {
    stream: S,
    heard: Transcript,
    /// There is nothing left to read, so a write that fails may say so.
    ended: bool,
    /// A write has failed; who waits to hear of it.
    failed: Option<Waker>,
}

impl<S> AppStream<S> {
    /// A new one.
    pub fn new(stream: S, heard: Transcript) -> Self {
        Self { stream, heard, ended: false, failed: None }
    }

    fn written<T>(&mut self, context: &Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if self.ended || !matches!(polled, Poll::Ready(Err(_))) {
            return polled;
        }
        if self.failed.is_none() {
            // So that what has come is read now.
            context.waker().wake_by_ref();
        }
        self.failed = Some(context.waker().clone());
        Poll::Pending
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for AppStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        if read > 0 {
            self.heard.0.fetch_add(read as u64, Ordering::Release);
        } else if polled.is_ready() && buffer.remaining() > 0 {
            self.ended = true;
            if let Some(writer) = self.failed.take() {
                writer.wake();
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for AppStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
