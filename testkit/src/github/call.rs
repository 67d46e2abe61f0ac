//! One request as a handler sees it, and the paging that all lists share.

use std::ops::Range;

use autotag_model::git::ObjectId;
use serde_json::Value;

use super::answers::{GithubAnswer, Urls};
use super::openapi::Parameters;
use crate::network::http::HttpRequest;

/// The number of the repository in `/repositories/{id}`, which GitHub's own `Link` headers use.
pub const REPOSITORY_NUMBER: u32 = 1_296_269;

/// A request that has been admitted.
pub struct Call<'a> {
    /// As it came.
    pub asked: &'a HttpRequest,
    /// The path without `/api/v3`, in the form `/repos/{owner}/{repo}/...`.
    pub path: &'a str,
    /// From the path.
    pub parameters: Parameters,
    /// The body; `null` where there was none.
    pub body: Value,
    /// Addresses for the answer.
    pub urls: Urls,
    /// Whether the token may write contents: drafts are shown to nobody else.
    pub may_write: bool,
    /// No page is larger than this.
    pub largest_page: usize,
    /// GET matching-refs is not paged, as documented, but for this.
    pub matching_refs_page: Option<usize>,
}

impl Call<'_> {
    /// A parameter of the path.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.get(name).map_or("", String::as_str)
    }

    /// A number in the path.
    pub fn number(&self, name: &str) -> u64 {
        self.parameter(name).parse().unwrap_or(0)
    }

    /// A text in the body.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.body[name].as_str()
    }

    /// A flag in the body.
    pub fn flag(&self, name: &str) -> Option<bool> {
        self.body[name].as_bool()
    }

    /// The name of an object in the body.
    pub fn object(&self, name: &str) -> Option<ObjectId> {
        self.text(name)?.parse().ok()
    }

    /// The page that was asked for, of so many entries; 30 a page and at most 100, as GitHub has it.
    pub fn page_of(&self, entries: usize) -> Page {
        let wanted = self.asked.parameter("per_page").and_then(|text| text.parse().ok()).unwrap_or(30);
        self.page(entries, wanted.min(100))
    }

    /// The page that was asked for, with this size.
    pub fn page(&self, entries: usize, size: usize) -> Page {
        let size = size.clamp(1, self.largest_page);
        let number = self.asked.parameter("page").and_then(|text| text.parse().ok()).unwrap_or(1).max(1);
        let last = entries.div_ceil(size).max(1);
        let mut links = Vec::new();
        if number < last {
            links.extend([self.link(number + 1, "next"), self.link(last, "last")]);
        }
        if number > 1 {
            links.extend([self.link(1, "first"), self.link((number - 1).min(last), "prev")]);
        }
        let start = ((number - 1) * size).min(entries);
        Page {
            range: start..(start + size).min(entries),
            link: (!links.is_empty()).then(|| links.join(", ")),
        }
    }

    fn link(&self, page: usize, relation: &str) -> String {
        let rest = self.path.splitn(5, '/').nth(4).unwrap_or_default();
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (key, value) in url::form_urlencoded::parse(self.asked.query.as_bytes()) {
            if key != "page" {
                query.append_pair(&key, &value);
            }
        }
        let query = query.append_pair("page", &page.to_string()).finish();
        format!("<{}/repositories/{REPOSITORY_NUMBER}/{rest}?{query}>; rel=\"{relation}\"", self.urls.root)
    }
}

/// A page of a list.
pub struct Page {
    /// Which entries.
    pub range: Range<usize>,
    /// The `Link` header.
    pub link: Option<String>,
}

impl Page {
    /// An answer with these entries of the list.
    pub fn answer(self, entries: Vec<Value>) -> GithubAnswer {
        self.link_to(GithubAnswer::new(200, Value::Array(entries)))
    }

    /// Adds the `Link` header.
    pub fn link_to(self, answer: GithubAnswer) -> GithubAnswer {
        match self.link {
            Some(link) => answer.with("link", link),
            None => answer,
        }
    }
}
