//! The request's body on its way to the application: watched, not held.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::activity::Activity;
use super::headers::Claims;
use crate::bounds::limits::Limits;
use crate::bounds::pace::Pace;
use crate::bounds::shares::Admitted;

/// How far a request's body has come; read by whoever waits for the answer.
#[derive(Debug)]
pub struct Progress {
    bytes: AtomicU64,
    done: AtomicBool,
    too_slow: AtomicBool,
    answered: AtomicBool,
    /// The place is taken until both the body and the answer have ended.
    _admitted: Admitted,
}

impl Progress {
    /// Nothing has come yet.
    pub fn new(admitted: Admitted) -> Arc<Self> {
        Arc::new(Self {
            bytes: AtomicU64::new(0),
            done: AtomicBool::new(false),
            too_slow: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            _admitted: admitted,
        })
    }

    /// Bytes that went to the application, and whether that is all.
    pub fn so_far(&self) -> (u64, bool) {
        (self.bytes.load(Ordering::Relaxed), self.done.load(Ordering::Relaxed))
    }

    /// Whether the client was too slow with it.
    pub fn too_slow(&self) -> bool {
        self.too_slow.load(Ordering::Relaxed)
    }

    /// The answer has ended.
    pub fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// Whether it has.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

/// Why a body broke off.
#[derive(Debug)]
pub enum Broken {
    /// The client ended it, or what it sent was none.
    Client(hyper::Error),
    /// It came too slowly.
    TooSlow,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::TooSlow => f.write_str("the request's body came too slowly"),
        }
    }
}

impl std::error::Error for Broken {}

/// What is known of a body that is not empty.
#[derive(Debug)]
struct Upload {
    progress: Arc<Progress>,
    activity: Arc<Activity>,
    claims: Claims,
    pace: Pace,
    over: bool,
}

impl Upload {
    fn finish(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            self.progress.done.store(true, Ordering::Relaxed);
            self.activity.uploads.end();
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.over {
            self.activity.uploads.leave();
            self.activity.uploads.end();
        }
    }
}

/// A request's body on its way to the application.
#[derive(Debug, Default)]
pub struct Sending {
    inner: Option<Incoming>,
    upload: Option<Box<Upload>>,
}

impl Sending {
    /// A body that is empty.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Watches a body that is not.
    pub fn watched(
        inner: Incoming,
        progress: &Arc<Progress>,
        activity: &Arc<Activity>,
        claims: &Claims,
        limits: &Limits,
    ) -> Self {
        activity.uploads.begin();
        let upload = Upload {
            progress: Arc::clone(progress),
            activity: Arc::clone(activity),
            claims: claims.clone(),
            pace: Pace::new(limits.stall_timeout, limits.least_rate),
            over: false,
        };
        Self { inner: Some(inner), upload: Some(Box::new(upload)) }
    }

    /// Whether it can be sent again, because there is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.inner.is_none()
    }

    /// What is known of how far it has come.
    pub fn progress(&self) -> Option<Arc<Progress>> {
        self.upload.as_ref().map(|upload| Arc::clone(&upload.progress))
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let (Some(inner), Some(upload)) = (&mut this.inner, &mut this.upload) else {
            return Poll::Ready(None);
        };
        let polled = match Pin::new(&mut *inner).poll_frame(context) {
            Poll::Pending if upload.pace.poll_too_slow(context).is_ready() => {
                upload.progress.too_slow.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(Broken::TooSlow)))
            }
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => {
                upload.finish();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(Broken::Client(error)))),
            Poll::Ready(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                upload.progress.bytes.fetch_add(length as u64, Ordering::Relaxed);
                upload.pace.moved(length);
                Poll::Ready(Some(Ok(match frame.into_trailers() {
                    Ok(mut trailers) => {
                        upload.claims.clean_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    }
                    Err(frame) => frame,
                })))
            }
        };
        if inner.is_end_stream() {
            upload.finish();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
