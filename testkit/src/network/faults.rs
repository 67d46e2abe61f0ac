//! What happens to requests on purpose: they fail, get lost, come late, or wait at a gate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

use crate::network::http::Reply;

/// Something that happens to requests that match.
///
/// `on` is a pattern for `METHOD /path` (`/api/v3` and the query are left out); `*` stands for any text:
/// `POST */git/refs`, `GET *`, `POST /graphql`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    on: String,
    /// How many matching requests pass before it begins.
    #[serde(default)]
    skip: usize,
    /// How many it hits.
    #[serde(default = "once")]
    times: usize,
    /// It strikes when the request has taken effect already.
    #[serde(default)]
    after: bool,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    sent: Sent,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// How much of the answer arrives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sent {
    #[default]
    Whole,
    /// Half of the body, then the connection ends.
    Cut,
    /// Half of the body, as if it were all.
    Truncated,
    /// The connection ends at once.
    Nothing,
}

fn once() -> usize {
    1
}

impl Fault {
    /// Hits the next matching request, once; until more is said, nothing happens to it.
    pub fn on(pattern: &str) -> Self {
        Self {
            on: pattern.to_owned(),
            skip: 0,
            times: 1,
            after: false,
            delay_ms: 0,
            sent: Sent::Whole,
            status: None,
            body: Value::Null,
            headers: BTreeMap::new(),
        }
    }

    /// Begins with the nth matching request from now, the first being 1.
    pub fn nth(mut self, n: usize) -> Self {
        self.skip = n.checked_sub(1).expect("counting starts at 1");
        self
    }

    /// Hits so many.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Hits all.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// The request takes effect first.
    pub fn after_effect(mut self) -> Self {
        self.after = true;
        self
    }

    /// The answer is this one. `null` is an empty body; a text is sent as it is.
    pub fn answer(mut self, status: u16, body: Value) -> Self {
        (self.status, self.body) = (Some(status), body);
        self
    }

    /// One more header of the answer, or another value of one: of its own or of the real one.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The connection is closed without an answer.
    pub fn hang_up(mut self) -> Self {
        self.sent = Sent::Nothing;
        self
    }

    /// Half of the body arrives, then the connection ends.
    pub fn cut(mut self) -> Self {
        self.sent = Sent::Cut;
        self
    }

    /// Half of the body arrives, and looks like all of it.
    pub fn truncate(mut self) -> Self {
        self.sent = Sent::Truncated;
        self
    }

    /// The request took effect, and its answer is lost.
    pub fn lost_answer(pattern: &str) -> Self {
        Self::on(pattern).after_effect().hang_up()
    }

    /// A secondary limit as GitHub has it: 403 or 429, with `retry-after` in seconds.
    pub fn secondary_limit(pattern: &str, status: u16, retry_after: u32) -> Self {
        let body = json!({
            "message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.",
            "documentation_url":
                "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits",
            "status": status.to_string(),
        });
        Self::on(pattern).answer(status, body).header("retry-after", &retry_after.to_string())
    }

    /// Whether it strikes after the effect.
    pub fn is_after_effect(&self) -> bool {
        self.after
    }

    /// How long it holds the request up.
    pub fn wait(&self) -> Duration {
        Duration::from_millis(self.delay_ms)
    }

    /// Whether there is an answer of its own, or none: the request's own effect then stays out, unless it
    /// comes first.
    pub fn replaces(&self) -> bool {
        self.sent == Sent::Nothing || self.status.is_some()
    }

    /// What is sent in the end. `reply` is `None` where the request was not carried out.
    pub fn apply(&self, reply: Option<Reply>) -> Reply {
        let mut response = match (self.sent, self.status, reply) {
            (Sent::Nothing, ..) | (_, None, None | Some(Reply::HangUp)) => return Reply::HangUp,
            (_, Some(status), _) => self.own_answer(status),
            (_, None, Some(Reply::Answer(response) | Reply::Cut(response))) => response,
        };
        for (name, value) in &self.headers {
            let name: http::HeaderName = name.parse().expect("a header's name");
            response.headers_mut().insert(name, value.parse().expect("a header's value"));
        }
        if self.sent != Sent::Whole {
            let half = response.body().len() / 2;
            response = response.map(|body| body.slice(..half));
        }
        if self.sent == Sent::Cut { Reply::Cut(response) } else { Reply::Answer(response) }
    }

    fn own_answer(&self, status: u16) -> Response<Bytes> {
        let response = Response::builder().status(status);
        let (response, body) = match &self.body {
            Value::Null => (response, Bytes::new()),
            Value::String(text) => (response, Bytes::from(text.clone())),
            body => {
                (response.header("content-type", "application/json; charset=utf-8"), body.to_string().into())
            }
        };
        response.body(body).expect("a response")
    }
}

/// Whether the pattern fits the text; `*` stands for any text.
pub fn fits(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, rest)) => text.strip_prefix(start).is_some_and(|text| {
            rest.is_empty()
                || text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| fits(rest, &text[at..]))
        }),
    }
}

/// A gate at which matching requests wait, before they take effect, until they are let through.
#[derive(Debug, Clone)]
pub struct Gate {
    pattern: Arc<str>,
    arrived: Arc<watch::Sender<usize>>,
    permits: Arc<Semaphore>,
    later_ones_pass: Arc<AtomicBool>,
}

impl Gate {
    /// Closed.
    fn new(pattern: &str) -> Self {
        let (arrived, _) = watch::channel(0);
        Self {
            pattern: pattern.into(),
            arrived: Arc::new(arrived),
            permits: Arc::new(Semaphore::new(0)),
            later_ones_pass: Arc::default(),
        }
    }

    /// Waits until so many requests have come to the gate, counted from its making. Panics after a
    /// minute: a test that waits for nobody must not hang.
    pub async fn arrived(&self, count: usize) {
        let mut watching = self.arrived.subscribe();
        let coming = watching.wait_for(|arrived| *arrived >= count);
        let came = tokio::time::timeout(Duration::from_mins(1), coming).await;
        let came =
            came.unwrap_or_else(|_| panic!("fewer than {count} requests came to the gate {}", self.pattern));
        came.expect("the gate itself holds the sender");
    }

    /// Lets so many through: those that wait, or the next that come.
    pub fn release(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.permits.close();
    }

    /// Goes on holding those that are here, and nobody who comes from now on: they overtake.
    pub fn let_later_ones_pass(&self) {
        self.later_ones_pass.store(true, Ordering::SeqCst);
    }

    /// Waits here.
    pub async fn pass(&self) {
        // Looked at first: whoever counts this one as arrived may let later ones pass, and not this one.
        let overtakes = self.later_ones_pass.load(Ordering::SeqCst);
        self.arrived.send_modify(|arrived| *arrived += 1);
        if overtakes {
            return;
        }
        // An error says that the gate has been opened.
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }
}

/// The faults and gates of one server.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<Fault>,
    gates: Vec<Gate>,
}

impl Faults {
    /// From now on this happens; of several that fit a request, the oldest does.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Closes a gate.
    pub fn hold(&mut self, pattern: &str) -> Gate {
        let gate = Gate::new(pattern);
        self.gates.push(gate.clone());
        gate
    }

    /// Opens the gates of this pattern; `None`: all.
    pub fn open(&mut self, pattern: Option<&str>) {
        self.gates.retain(|gate| {
            let stays = pattern.is_some_and(|pattern| *gate.pattern != *pattern);
            if !stays {
                gate.open();
            }
            stays
        });
    }

    /// The gates that this request meets.
    pub fn gates(&self, request: &str) -> Vec<Gate> {
        self.gates.iter().filter(|gate| fits(&gate.pattern, request)).cloned().collect()
    }

    /// What happens to this request. Counts it.
    pub fn strike(&mut self, request: &str) -> Option<Fault> {
        let mut struck = None;
        for fault in self.faults.iter_mut().filter(|fault| fits(&fault.on, request)) {
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if struck.is_none() && fault.times > 0 {
                if fault.times != usize::MAX {
                    fault.times -= 1;
                }
                struck = Some(fault.clone());
            }
        }
        self.faults.retain(|fault| fault.times > 0);
        struck
    }
}
