//! The knobs that only GitHub has: limits, sizes of pages; and all of them as JSON.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::now;
use crate::network::faults::{Fault, Faults};

/// The primary limit.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Requests an hour.
    pub hourly: u64,
    /// How many are left.
    pub remaining: u64,
    /// When it starts anew, in seconds since 1970.
    pub reset: i64,
}

impl Limit {
    /// GITHUB_TOKEN's: 1,000 an hour and repository.
    pub fn new() -> Self {
        Self { hourly: 1000, remaining: 1000, reset: now() + 3600 }
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
            ("x-ratelimit-limit", self.hourly.to_string()),
            ("x-ratelimit-remaining", self.remaining.to_string()),
            ("x-ratelimit-used", (self.hourly - self.remaining).to_string()),
            ("x-ratelimit-reset", self.reset.to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
        ]
    }

    /// GET /rate_limit.
    pub fn json(&self) -> Value {
        let rate = json!({
            "limit": self.hourly,
            "remaining": self.remaining,
            "reset": self.reset,
            "used": self.hourly - self.remaining,
        });
        json!({ "resources": { "core": rate, "search": rate, "graphql": rate }, "rate": rate })
    }
}

/// Everything that can be set while the double runs.
pub struct Knobs {
    /// Faults and gates.
    pub faults: Faults,
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
            faults: Faults::default(),
            limit: Limit::new(),
            largest_page: usize::MAX,
            matching_refs_page: None,
        }
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
