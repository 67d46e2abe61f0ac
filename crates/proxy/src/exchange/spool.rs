//! An answer over HTTP/2, carried by a task of its own.
//!
//! A stream whose client grants no more window is not asked for its body again, and nothing here would be
//! polled: the request would be under way for ever, and the application's connection with it. So a task takes
//! the body from the application, waits for the client no longer than it may take, and then lets go of the
//! application. What is left is a stream with one piece in it, which ends with its connection.

use std::fmt;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Frame, Incoming};
use tokio::sync::mpsc;

use super::record::Exchange;
use crate::bounds::pace::Pace;

/// Why an answer broke off.
#[derive(Debug)]
pub enum Cut {
    /// The application, or the drain's deadline, ended it.
    App(hyper::Error),
    /// The client took none of it for too long.
    TooSlow,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(error) => error.fmt(f),
            Self::TooSlow => f.write_str("the client is too slow"),
        }
    }
}

impl std::error::Error for Cut {}

/// One step of the body; none: that was all.
type Step = Option<Result<Frame<Bytes>, hyper::Error>>;

/// The client's end.
#[derive(Debug)]
pub struct Spool(mpsc::Receiver<Step>);

impl Spool {
    /// Begins to carry this body.
    pub fn start(body: Incoming, record: Exchange, pace: Pace) -> Self {
        let (steps, taken) = mpsc::channel(1);
        tokio::spawn(carry(body, record, pace, steps));
        Self(taken)
    }

    /// The next piece.
    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(context).map(|step| match step {
            Some(step) => step.map(|piece| piece.map_err(Cut::App)),
            // Its end was not said.
            None => Some(Err(Cut::TooSlow)),
        })
    }
}

async fn carry(mut body: Incoming, mut record: Exchange, mut pace: Pace, steps: mpsc::Sender<Step>) {
    loop {
        let step = tokio::select! {
            step = body.frame() => step,
            () = steps.closed() => return,
        };
        let bytes = match &step {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len),
            _ => 0,
        };
        let over = !matches!(step, Some(Ok(_)));
        if matches!(step, Some(Err(_))) {
            record.cut_short();
        }
        match pace.step(bytes, steps.send(step)).await {
            Some(Ok(())) => record.sent(bytes),
            // The client has left.
            Some(Err(_)) => return,
            None => return record.cut_short(),
        }
        if over {
            return;
        }
    }
}
