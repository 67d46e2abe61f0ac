//! An answer's body on its way to the client: watched, not held. With it goes the record of the exchange,
//! which is closed when the last byte has been handed on, or when the client is gone.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::record::Exchange;
use super::spool::{Cut, Spool};

/// What the client gets.
#[derive(Debug)]
pub struct ClientAnswer {
    inner: Source,
    record: Option<Exchange>,
}

#[derive(Debug)]
enum Source {
    /// A sentence of the proxy itself.
    Own(Full<Bytes>),
    /// What the application sends.
    App(Incoming),
    /// The same, by a task that waits for the client.
    Spooled(Spool),
}

impl ClientAnswer {
    /// A text of the proxy's own.
    pub fn own(text: impl Into<Bytes>, record: Option<Exchange>) -> Self {
        Self { inner: Source::Own(Full::new(text.into())), record }
    }

    /// The application's body.
    pub fn app(body: Incoming, record: Exchange) -> Self {
        Self { inner: Source::App(body), record: Some(record) }
    }

    /// The application's body by a task that has its record.
    pub fn spooled(spool: Spool) -> Self {
        Self { inner: Source::Spooled(spool), record: None }
    }
}

impl Body for ClientAnswer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let polled = match &mut self.inner {
            Source::Own(text) => Pin::new(text).poll_frame(context).map_err(|never| match never {}),
            Source::App(body) => Pin::new(body).poll_frame(context).map_err(Cut::App),
            Source::Spooled(spool) => spool.poll_frame(context),
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
            Source::Spooled(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inner {
            Source::Own(text) => text.size_hint(),
            Source::App(body) => body.size_hint(),
            Source::Spooled(_) => SizeHint::default(),
        }
    }
}
