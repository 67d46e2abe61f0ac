//! All tags of a repository: every page, or an error.

use std::collections::HashSet;

use ::http::{HeaderMap, Method, StatusCode, header};
use reqwest::Url;
use serde::{Deserialize, Deserializer};

use super::access::Permission;
use super::connection::{RegistryAnswer, RegistryConnection, RegistryRequest};
use super::{is_absent, link, media_type};
use crate::adapters::http_error::excerpt;
use crate::adapters::retry::Idempotency;
use crate::ports::TagListing;
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_model::reference::ImageName;

/// Tags to a page. Most registries give at most 100 or 1,000 whatever is asked for.
const PAGE: &str = "1000";

/// Bytes of one page. Distribution gives all tags at once where it is asked for no number.
const PAGE_BYTES: usize = 32 << 20;

/// A list of more pages than this does not end.
const PAGES: usize = 10_000;

/// Lists.
pub async fn list(connection: &RegistryConnection, name: &ImageName) -> CallResult<TagListing> {
    let doing = format!("listing the tags of {name}");
    let whole = connection.url(&format!("{}/tags/list", name.repository()));
    let mut numbered = whole.clone();
    numbered.query_pairs_mut().append_pair("n", PAGE);

    let ask = |url| RegistryRequest {
        doing: &doing,
        method: Method::GET,
        url,
        access: Permission::Pull,
        accept: "application/json",
        body: None,
        limit: PAGE_BYTES,
        repeat: Idempotency::Read,
    };
    let mut question = ask(numbered);
    let mut answer = connection.ask(&question).await;
    if matches!(&answer, Ok(answer) if answer.status == StatusCode::BAD_REQUEST) {
        // PAGINATION_NUMBER_INVALID, by whatever name: the number is above this registry's limit.
        question = ask(whole);
        answer = connection.ask(&question).await;
    }
    let answer = match first_page(connection, &question, answer)? {
        First::Page(answer) => answer,
        First::Else(listing) => return Ok(listing),
    };
    follow(connection, &ask, question.url, answer).await.map(TagListing::Tags)
}

/// What came in the place of the first page.
enum First {
    Page(RegistryAnswer),
    Else(TagListing),
}

/// Only here "no such repository" and "not yours" are answers; on a later page they are errors.
fn first_page(
    connection: &RegistryConnection,
    question: &RegistryRequest<'_>,
    answer: CallResult<RegistryAnswer>,
) -> CallResult<First> {
    let error = match answer {
        Ok(answer) if answer.status == StatusCode::OK => return Ok(First::Page(answer)),
        Ok(answer) if is_absent(&answer) => return Ok(First::Else(TagListing::NoRepository)),
        Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
            let words = connection.refusal(question, &answer).why;
            return Err(CallError::new(
                CallErrorKind::InvalidResponse,
                question.doing,
                format!("a 404 that does not come from a registry: {words}"),
            )
            .with_remedy("check the registry's host in the image's name"));
        }
        Ok(answer) => connection.refusal(question, &answer),
        Err(error) => error,
    };
    if error.kind != CallErrorKind::Denied {
        return Err(error);
    }
    let remedy = error.remedy.as_deref().map(|remedy| format!("; {remedy}")).unwrap_or_default();
    Ok(First::Else(TagListing::Withheld(format!("{error}{remedy}"))))
}

/// Goes along the `Link`s to the end.
async fn follow<'a>(
    connection: &RegistryConnection,
    ask: &impl Fn(Url) -> RegistryRequest<'a>,
    first: Url,
    mut answer: RegistryAnswer,
) -> CallResult<Vec<String>> {
    let mut tags = Vec::new();
    let mut known = HashSet::new();
    let mut visited = HashSet::from([first.clone()]);
    let mut question = ask(first);
    loop {
        let garbled = |why: String| CallError::new(CallErrorKind::InvalidResponse, question.doing, why);
        for tag in tags_in(&answer.headers, &answer.body).map_err(&garbled)? {
            if known.insert(tag.clone()) {
                tags.push(tag);
            }
        }
        let links = answer.headers.get_all(header::LINK);
        let links: Vec<_> = links.iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        let Some(target) =
            link::next(links.iter().map(AsRef::as_ref)).map_err(|bad| garbled(bad.to_string()))?
        else {
            return Ok(tags);
        };
        let next = connection
            .next_url(&answer.url, &target)
            .ok_or_else(|| garbled(format!("its next page is not on the same host: {}", excerpt(&target))))?;
        if !visited.insert(next.clone()) {
            return Err(garbled(format!(
                "the registry's list goes round in circles, at {}",
                excerpt(&target)
            )));
        }
        if visited.len() > PAGES {
            return Err(garbled(format!("the list has more than {PAGES} pages")));
        }
        question = ask(next);
        answer = connection.ask(&question).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(CallError::new(
                CallErrorKind::InvalidResponse,
                question.doing,
                "a page in the middle of the list is missing (404)",
            ));
        }
        if answer.status != StatusCode::OK {
            return Err(connection.refusal(&question, &answer));
        }
    }
}

/// `{"name": …, "tags": […]}`. `null` is an empty list (distribution 2.8 writes it so); a missing field
/// is not: that is some other document.
#[derive(Deserialize)]
struct Page {
    #[serde(deserialize_with = "null_is_empty")]
    tags: Vec<String>,
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The tags of a page; else what is wrong with it.
pub fn tags_in(headers: &HeaderMap, body: &[u8]) -> Result<Vec<String>, String> {
    // Without a type of their own, programs in Go send JSON as text/plain.
    let kind = media_type(headers);
    if let Some(kind) = kind.filter(|kind| kind != "text/plain" && !kind.ends_with("json")) {
        return Err(format!("a page of type {} instead of JSON", excerpt(&kind)));
    }
    let page: Page = serde_json::from_slice(body)
        .map_err(|error| format!("a page that is not a list of tags: {}", excerpt(&error.to_string())))?;
    Ok(page.tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(kind: Option<&str>, body: &str) -> Result<Vec<String>, String> {
        let headers = kind.map(|kind| (header::CONTENT_TYPE, kind.parse().expect("a header")));
        tags_in(&headers.into_iter().collect(), body.as_bytes())
    }

    #[test]
    fn pages_are_lists_or_errors() {
        const JSON: Option<&str> = Some("application/json; charset=utf-8");
        for (kind, body, tags) in [
            (JSON, r#"{"name":"a","tags":["1","2"]}"#, Some(vec!["1", "2"])),
            (JSON, r#"{"name":"a","tags":null}"#, Some(vec![])),
            (JSON, r#"{"tags":[]}"#, Some(vec![])),
            (None, r#"{"tags":["1"]}"#, Some(vec!["1"])),
            (Some("text/plain; charset=utf-8"), r#"{"tags":["1"]}"#, Some(vec!["1"])),
            (Some("application/vnd.x+json"), r#"{"tags":["1"]}"#, Some(vec!["1"])),
            (JSON, r#"{"name":"a"}"#, None),
            (JSON, "{}", None),
            (JSON, "null", None),
            (JSON, "", None),
            (JSON, r#"{"tags":["1","2"#, None),
            (JSON, r#"{"tags":["1",2]}"#, None),
            (JSON, r#"{"tags":["1"]}{}"#, None),
            (JSON, "<html>", None),
            (Some("text/html"), r#"{"tags":["1"]}"#, None),
        ] {
            let tags = tags.map(|tags| tags.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(page(kind, body).ok(), tags, "{kind:?} {body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_page_makes_it_panic(body in "[{}\\[\\]\",:a-z0-9 ]{0,60}") {
            let _ = page(None, &body);
        }
    }
}
