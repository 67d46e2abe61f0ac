//! One exchange from its head to its last byte: what it holds while it lasts, and the line it leaves in
//! the access log (target `access`).

use std::borrow::Cow;
use std::sync::Arc;

use http::{Method, StatusCode, Version};

use crate::bounds::shares::Admitted;
use crate::messages::activity::Busy;
use crate::messages::body::Progress;
use crate::trust::Peer;
use crate::upstream::Ticket;
use crate::upstream::app::App;
use autotag_base::clock::Stopwatch;

/// An exchange. When it is dropped the exchange has ended, however it ended: it is counted and logged.
#[derive(Debug)]
pub struct Exchange {
    /// Keeps the client's connection from counting as idle.
    _busy: Busy,
    /// Its place among all requests; one with a body has it there.
    pub admitted: Option<Admitted>,
    /// Keeps the upstream from counting as unused.
    pub ticket: Option<Ticket>,
    /// The application.
    pub app: Arc<App>,
    /// The answer's status.
    pub status: StatusCode,
    /// Bytes of the request's body.
    pub progress: Option<Arc<Progress>>,
    /// Who asked for what.
    pub asked: Asked,
    /// Since the request's head was read.
    pub stopwatch: Stopwatch,
    sent: u64,
    cut_short: bool,
}

/// The longest text of a client's that a line of the access log has; what is longer is cut, and says so.
const LONGEST_TEXT: usize = 1024;

/// A client's text as it is logged.
fn shown(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST_TEXT {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(LONGEST_TEXT);
    Cow::Owned(format!("{}... (cut, {} bytes)", &text[..end], text.len()))
}

/// The line of a request that no application gets to see.
pub fn refused(asked: &Asked, status: StatusCode, why: &str) {
    tracing::info!(
        target: "access",
        client = %asked.peer,
        protocol = ?asked.version,
        method = %shown(asked.method.as_str()),
        host = %shown(asked.host.as_deref().unwrap_or_default()),
        path = %shown(&asked.path),
        status = status.as_u16(),
        why,
        "refused"
    );
}

/// The line of one whose head could not be read at all.
pub fn unreadable(peer: Option<Peer>, status: u16, why: &str) {
    let client = peer.map(|peer| peer.to_string()).unwrap_or_default();
    tracing::info!(target: "access", client, status, why, "refused");
}

/// The request's side of a line in the access log. The query is left out: secrets travel in it.
#[derive(Debug)]
pub struct Asked {
    /// Who.
    pub peer: Peer,
    /// How.
    pub method: Method,
    /// The host, if one was named.
    pub host: Option<String>,
    /// The path.
    pub path: String,
    /// The client's version of HTTP.
    pub version: Version,
}

impl Exchange {
    /// Begins one.
    pub fn new(busy: Busy, app: Arc<App>, asked: Asked, stopwatch: Stopwatch) -> Self {
        Self {
            _busy: busy,
            admitted: None,
            ticket: None,
            app,
            status: StatusCode::BAD_GATEWAY,
            progress: None,
            asked,
            stopwatch,
            sent: 0,
            cut_short: false,
        }
    }

    /// Bytes went to the client.
    pub fn sent(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    /// The answer broke off.
    pub fn cut_short(&mut self) {
        self.cut_short = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(progress) = &self.progress {
            progress.answered();
        }
        let took = self.stopwatch.elapsed();
        let received = self.progress.as_ref().map_or(0, |progress| progress.so_far().0);
        let counters = &self.app.counters;
        counters.ended(self.status, took);
        counters.received.add(received);
        counters.sent.add(self.sent);
        if self.cut_short {
            counters.cut_short.inc();
        }
        let upstream = self.ticket.as_ref().map(|ticket| ticket.upstream().target.id.as_str());
        tracing::info!(
            target: "access",
            app = %self.app.name,
            upstream = upstream.unwrap_or_default(),
            client = %self.asked.peer,
            protocol = ?self.asked.version,
            method = %shown(self.asked.method.as_str()),
            host = self.asked.host.as_deref().unwrap_or_default(),
            path = %shown(&self.asked.path),
            status = self.status.as_u16(),
            received,
            sent = self.sent,
            milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            cut_short = self.cut_short,
            "request"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_and_say_so() {
        assert_eq!(shown("/a"), "/a");
        assert_eq!(shown(&"a".repeat(1024)).len(), 1024);
        let cut = shown(&"a".repeat(65_534)).into_owned();
        assert!(cut.len() < 1100 && cut.ends_with("aaa... (cut, 65534 bytes)"), "{cut}");
        assert!(shown(&"ä".repeat(1000)).ends_with("... (cut, 2000 bytes)"));
        assert!(shown(&format!("a{}", "ä".repeat(1000))).ends_with("... (cut, 2001 bytes)"));
    }
}
