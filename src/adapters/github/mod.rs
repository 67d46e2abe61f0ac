//! GitHub over octocrab: REST and GraphQL, each answer cut down to what somebody branches on.
//!
//! Requests go through octocrab's untyped calls, because its typed ones drop what decides here: the status,
//! the `Link` and rate-limit headers, and GitHub's own words. octocrab's retries are not even compiled in:
//! they would repeat a POST blindly; [`super::retry`] does it instead.

mod answers;
mod client;
mod forge;
mod pages;

use std::time::Duration;

pub use answers::RefusalAnswer;

use super::retry::{RetryPolicy, TryDeadlines};
use autotag_base::CallResult;
use autotag_model::secret::Secret;

/// One repository on a GitHub server.
#[derive(Debug, Clone)]
pub struct GitHub {
    crab: octocrab::Octocrab,
    /// `https://api.github.com/repos/OWNER/NAME`.
    root: String,
    graphql_url: String,
    patience: RetryPolicy,
}

/// Where and as whom.
#[derive(Debug, Clone, Copy)]
pub struct GithubAccess<'a> {
    /// The REST API's root, without a slash at its end.
    pub api_url: &'a str,
    /// GraphQL's address.
    pub graphql_url: &'a str,
    /// `owner/name`.
    pub repository: &'a str,
    /// The token; none reads public repositories only.
    pub token: Option<&'a Secret>,
}

impl GitHub {
    /// The usual one. GitHub itself ends a request after 10 s ("Rate limits and timeouts").
    pub fn patience() -> RetryPolicy {
        let usual = RetryPolicy::default();
        let each =
            TryDeadlines { silence: Duration::from_secs(30), whole: Duration::from_mins(1), ..usual.each };
        RetryPolicy { each, ..usual }
    }

    /// A client; nothing is sent yet.
    pub fn connect(access: GithubAccess<'_>, patience: RetryPolicy) -> CallResult<Self> {
        client::connect(access, patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_try_ends_and_leaves_time_for_another() {
        for RetryPolicy { each, deadline, .. } in [RetryPolicy::default(), GitHub::patience()] {
            assert!(each.connect < each.silence && each.silence < each.whole, "{each:?}");
            assert!(each.silence < deadline && each.whole <= deadline, "{each:?} within {deadline:?}");
        }
    }
}
