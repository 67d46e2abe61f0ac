//! The two bodies that pass through, watched but not held: the request's and the answer's.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::record::Record;

/// How far a request's body has come; read by whoever waits for the answer.
#[derive(Debug, Default)]
pub struct Progress {
    bytes: AtomicU64,
    done: AtomicBool,
}

impl Progress {
    /// Bytes that went to the application, and whether that is all.
    pub fn so_far(&self) -> (u64, bool) {
        (self.bytes.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed))
    }
}

/// A request's body on its way to the application.
#[derive(Debug)]
pub struct Sending {
    inner: Incoming,
    progress: Option<Arc<Progress>>,
}

impl Sending {
    /// Watches a body; one that is empty needs no watching, and `None` says so.
    pub fn new(inner: Incoming) -> (Self, Option<Arc<Progress>>) {
        let progress = (!inner.is_end_stream()).then(Arc::default);
        (Self { inner, progress: progress.clone() }, progress)
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        if let Some(progress) = &self.progress {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => {
                    let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                    progress.bytes.fetch_add(length, Ordering::Relaxed);
                }
                Poll::Ready(None) => progress.done.store(true, Ordering::Relaxed),
                _ => {}
            }
            if self.inner.is_end_stream() {
                progress.done.store(true, Ordering::Relaxed);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body on its way to the client. With it goes the record of the exchange, which is closed
/// when the last byte has been handed on, or when the client is gone.
#[derive(Debug)]
pub struct Answer {
    inner: Source,
    record: Option<Record>,
}

#[derive(Debug)]
enum Source {
    /// A sentence of the proxy itself.
    Own(Full<Bytes>),
    /// What the application sends.
    App(Incoming),
}

impl Answer {
    /// A text of the proxy's own.
    pub fn own(text: impl Into<Bytes>, record: Option<Record>) -> Self {
        Self { inner: Source::Own(Full::new(text.into())), record }
    }

    /// The application's body.
    pub fn app(body: Incoming, record: Record) -> Self {
        Self { inner: Source::App(body), record: Some(record) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = match &mut self.inner {
            Source::Own(text) => Pin::new(text).poll_frame(context).map_err(|never| match never {}),
            Source::App(body) => Pin::new(body).poll_frame(context),
        };
        if let Some(record) = &mut self.record {
            match &polled {
                Poll::Ready(Some(Ok(frame))) => record.sent(frame.data_ref().map_or(0, Bytes::len)),
                Poll::Ready(Some(Err(_))) => record.cut_short(),
                _ => {}
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.inner {
            Source::Own(text) => text.is_end_stream(),
            Source::App(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Source::Own(text) => text.size_hint(),
            Source::App(body) => body.size_hint(),
        }
    }
}
