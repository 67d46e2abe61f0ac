//! The knobs: requests that fail, get lost, come late or wait at a gate; limits; lists that lag.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};

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
    /// Nothing is answered: the connection ends.
    #[serde(default)]
    hang_up: bool,
    #[serde(default)]
    status: Option<u16>,
    #[serde(default)]
    body: Value,
    #[serde(default)]
    headers: BTreeMap<String, String>,
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
            hang_up: false,
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

    /// One more header of the answer.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The connection is closed without an answer.
    pub fn hang_up(mut self) -> Self {
        self.hang_up = true;
        self
    }

    /// The request took effect, and its answer is lost.
    pub fn lost_answer(pattern: &str) -> Self {
        Self::on(pattern).after_effect().hang_up()
    }

    /// The answer comes so much later.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay_ms = u64::try_from(delay.as_millis()).expect("a delay in milliseconds");
        self
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

    /// What it puts in the answer's place; `None`: the answer stays.
    pub fn replacement(&self) -> Option<Replacement<'_>> {
        if self.hang_up {
            return Some(Replacement::HangUp);
        }
        let status = self.status?;
        Some(Replacement::Answer { status, body: &self.body, headers: &self.headers })
    }
}

/// What stands where an answer would.
pub enum Replacement<'a> {
    /// Nothing.
    HangUp,
    /// Another answer.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: &'a Value,
        /// Its headers.
        headers: &'a BTreeMap<String, String>,
    },
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

/// The primary limit.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Requests an hour.
    pub limit: u64,
    /// How many are left.
    pub remaining: u64,
    /// When it starts anew, in seconds since 1970.
    pub reset: i64,
}

impl Limit {
    /// GITHUB_TOKEN's: 1,000 an hour and repository.
    pub fn new() -> Self {
        Self { limit: 1000, remaining: 1000, reset: now() + 3600 }
    }

    /// Counts a request; `false`: none was left.
    pub fn spend(&mut self) -> bool {
        if now() >= self.reset {
            *self = Self::new();
        }
        let had = self.remaining > 0;
        self.remaining = self.remaining.saturating_sub(1);
        had
    }

    /// The headers that every answer has.
    pub fn headers(&self) -> [(&'static str, String); 5] {
        [
            ("x-ratelimit-limit", self.limit.to_string()),
            ("x-ratelimit-remaining", self.remaining.to_string()),
            ("x-ratelimit-used", (self.limit - self.remaining).to_string()),
            ("x-ratelimit-reset", self.reset.to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
        ]
    }

    /// GET /rate_limit.
    pub fn json(&self) -> Value {
        let rate = json!({
            "limit": self.limit,
            "remaining": self.remaining,
            "reset": self.reset,
            "used": self.limit - self.remaining,
        });
        json!({ "resources": { "core": rate, "search": rate, "graphql": rate }, "rate": rate })
    }
}

/// The machine's clock, in seconds since 1970.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// A gate at which matching requests wait, before they take effect, until they are let through.
#[derive(Debug, Clone)]
pub struct Gate {
    pattern: Arc<str>,
    arrived: Arc<watch::Sender<usize>>,
    permits: Arc<Semaphore>,
}

impl Gate {
    /// Closed.
    pub fn new(pattern: &str) -> Self {
        let (arrived, _) = watch::channel(0);
        Self { pattern: pattern.into(), arrived: Arc::new(arrived), permits: Arc::new(Semaphore::new(0)) }
    }

    /// Its pattern.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Waits until so many requests have come to the gate, counted from its making.
    pub async fn arrived(&self, count: usize) {
        let mut watching = self.arrived.subscribe();
        watching.wait_for(|arrived| *arrived >= count).await.expect("the gate itself holds the sender");
    }

    /// Lets so many through: those that wait, or the next that come.
    pub fn release(&self, count: usize) {
        self.permits.add_permits(count);
    }

    /// Lets everything through from now on.
    pub fn open(&self) {
        self.permits.close();
    }

    /// Waits here.
    pub async fn pass(&self) {
        self.arrived.send_modify(|arrived| *arrived += 1);
        // An error says that the gate has been opened.
        if let Ok(permit) = self.permits.acquire().await {
            permit.forget();
        }
    }
}

/// Everything that can be set while the double runs.
pub struct Knobs {
    /// Faults, the oldest first; one request meets at most one.
    faults: Vec<Fault>,
    /// Gates.
    pub gates: Vec<Gate>,
    /// The primary limit.
    pub limit: Limit,
    /// No page of a list is larger.
    pub largest_page: usize,
    /// Pages of matching-refs.
    pub matching_refs_page: Option<usize>,
}

impl Knobs {
    /// Nothing out of the ordinary.
    pub fn new() -> Self {
        Self {
            faults: Vec::new(),
            gates: Vec::new(),
            limit: Limit::new(),
            largest_page: usize::MAX,
            matching_refs_page: None,
        }
    }

    /// Adds a fault.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
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

/// The body of POST /_knobs: one or several of the knobs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Turn {
    /// Adds a fault.
    pub fault: Option<Fault>,
    /// Lists lag behind by this many writes.
    pub lag_lists: Option<usize>,
    /// No page of a list is larger.
    pub largest_page: Option<usize>,
    /// Pages of matching-refs; 0: all in one.
    pub matching_refs_page: Option<usize>,
    /// Closes a gate for this pattern.
    pub hold: Option<String>,
    /// Opens the gates of this pattern.
    pub open: Option<String>,
    /// So many requests are left...
    pub remaining: Option<u64>,
    /// ... for so many seconds.
    pub reset_in: Option<i64>,
}
