//! One call of GitHub's API: sent, answered, understood or turned into an error.

use futures_util::StreamExt as _;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;

use super::answers::RefusalAnswer;
use super::pages::numbered;
use super::{GitHub, GithubAccess};
use crate::adapters::http_error;
use crate::adapters::registry::link;
use crate::adapters::retry::{Idempotency, RetryPolicy, with_retries};
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_model::help::{ALLOW_WRITING, Topic};

/// An answer longer than this is refused rather than read: 10,000 refs are about 5 MB.
const LONGEST_ANSWER: usize = 64 << 20;
/// Pages asked for side by side. GitHub asks integrations not to send many requests at once.
const SIDE_BY_SIDE: usize = 6;
/// How often a list that changes while it is read is read again.
const LISTINGS: usize = 4;

/// What is called, in words and on the wire.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// For errors: `reading the ref refs/tags/v1`.
    pub doing: &'a str,
    /// Whether twice is once.
    pub repeat: Idempotency,
    /// The method and the body.
    pub send: Send<'a>,
}

/// Method and body.
#[derive(Debug, Clone, Copy)]
pub enum Send<'a> {
    /// GET.
    Get,
    /// POST of JSON.
    Post(&'a serde_json::Value),
    /// PATCH of JSON.
    Patch(&'a serde_json::Value),
}

/// What came back.
struct ApiAnswer {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl ApiAnswer {
    /// The target of a link in the headers. One that cannot be read is an error: taken for "no further
    /// page" it would cut the list short.
    fn link(&self, doing: &str, relation: &str) -> CallResult<Option<String>> {
        let values: Result<Vec<&str>, _> =
            self.headers.get_all(header::LINK).iter().map(|value| value.to_str()).collect();
        let values = values.map_err(|_| odd_link(doing, "a header that is not text"))?;
        link::related(values, relation).map_err(|error| odd_link(doing, &error.to_string()))
    }
}

pub(super) fn connect(access: GithubAccess<'_>, patience: RetryPolicy) -> CallResult<GitHub> {
    let doing = "setting up the GitHub client";
    let internal = |why: String| CallError::new(CallErrorKind::Rejected, doing, why);
    crate::adapters::install_tls();
    // Built on reqwest, so that HTTPS_PROXY and SSL_CERT_FILE work as everywhere else.
    let client = http_error::client(patience.each)
        // A redirect is followed below: reqwest would make a GET of a POST, or not send its body again.
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| http_error::from_reqwest(doing, error, Idempotency::Read))?;
    let mut builder = octocrab::Octocrab::builder()
        .base_uri(access.api_url)
        .map_err(|error| internal(format!("GITHUB_API_URL {:?}: {error}", access.api_url)))?
        .add_header(header::HeaderName::from_static("x-github-api-version"), "2022-11-28".to_owned());
    if let Some(token) = access.token {
        builder = builder.personal_token(token.reveal().to_owned());
    }
    let crab = builder.build_with_reqwest(client).map_err(|error| internal(http_error::chain(&error)))?;
    Ok(GitHub {
        crab,
        root: format!("{}/repos/{}", access.api_url, access.repository),
        graphql_url: access.graphql_url.to_owned(),
        patience,
    })
}

impl GitHub {
    /// GET that must find something.
    pub(super) async fn get<T: DeserializeOwned>(&self, doing: &str, path: &str) -> CallResult<T> {
        self.find(doing, path).await?.ok_or_else(|| not_found(doing))
    }

    /// GET; `None` for 404.
    pub(super) async fn find<T: DeserializeOwned>(&self, doing: &str, path: &str) -> CallResult<Option<T>> {
        let call = Call { doing, repeat: Idempotency::Read, send: Send::Get };
        let answer = self.call(call, &format!("{}{path}", self.root)).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { understood(doing, &answer).map(Some) }
    }

    /// GET of a comparison; `None` where the two have no history in common, which GitHub says by a 404.
    pub(super) async fn related<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
    ) -> CallResult<Option<T>> {
        let call = Call { doing, repeat: Idempotency::Read, send: Send::Get };
        let answer = self.call(call, &format!("{}{path}", self.root)).await?;
        if answer.status == StatusCode::NOT_FOUND
            && RefusalAnswer::words(&answer.body).starts_with("No common ancestor")
        {
            return Ok(None);
        }
        understood(doing, &answer).map(Some)
    }

    /// POST or PATCH.
    pub(super) async fn write<T: DeserializeOwned>(&self, call: Call<'_>, path: &str) -> CallResult<T> {
        let answer = self.call(call, &format!("{}{path}", self.root)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(not_found(call.doing));
        }
        understood(call.doing, &answer).map_err(|error| perhaps_done(call, error))
    }

    /// Whether GitHub refuses a call for want of a permission. Asked once: any other answer, or none, tells
    /// nothing about that, and is not waited for.
    pub(super) async fn permitted(&self, call: Call<'_>, path: &str) -> CallResult<()> {
        let Ok(answer) = self.once(call, &format!("{}{path}", self.root)).await else { return Ok(()) };
        let words = RefusalAnswer::words(&answer.body);
        let error = http_error::from_status(call.doing, answer.status, &answer.headers, &words, call.repeat);
        let error = with_remedy(error, answer.status, &words);
        if error.topic == Some(Topic::MayNotWrite) { Err(error) } else { Ok(()) }
    }

    /// The repository's owner and name, as GraphQL asks for it.
    pub(super) fn owner_and_name(&self) -> (&str, &str) {
        let mut parts = self.root.rsplit('/');
        let name = parts.next().unwrap_or_default();
        (parts.next().unwrap_or_default(), name)
    }

    /// GraphQL: the whole answer, `errors` included.
    pub(super) async fn graphql(&self, call: Call<'_>) -> CallResult<serde_json::Value> {
        let answer = self.call(call, &self.graphql_url).await?;
        understood(call.doing, &answer).map_err(|error| perhaps_done(call, error))
    }

    /// All pages of a list. With `rel="last"` given, the pages between are asked for side by side.
    ///
    /// An entry added meanwhile pushes others to the next page, where they may be missed. It also changes
    /// the last page, so that one is read again at the end; where it differs the whole list is.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        doing: &str,
        path: &str,
        items: fn(serde_json::Value) -> Option<Vec<T>>,
    ) -> CallResult<Vec<T>> {
        let url = format!("{}{path}", self.root);
        for _ in 0..LISTINGS {
            let first = self.page(doing, &url).await?;
            let (next, last) = (first.link(doing, "next")?, first.link(doing, "last")?);
            let mut pages = vec![first];
            match (next, last) {
                (None, _) => return collect(doing, &pages, items),
                (Some(_), Some(last)) => {
                    let Some(urls) = numbered(&last) else { return Err(odd_link(doing, &last)) };
                    self.same_host(doing, &last)?;
                    let rest: Vec<CallResult<ApiAnswer>> = futures_util::stream::iter(&urls)
                        .map(|url| self.page(doing, url))
                        .buffered(SIDE_BY_SIDE)
                        .collect()
                        .await;
                    for page in rest {
                        pages.push(page?);
                    }
                    let again = self.page(doing, &last).await?;
                    let moved = pages.last().is_some_and(|page| page.body != again.body);
                    if !moved && again.link(doing, "next")?.is_none() {
                        return collect(doing, &pages, items);
                    }
                }
                (Some(next), None) => {
                    self.follow(doing, next, &mut pages).await?;
                    return collect(doing, &pages, items);
                }
            }
        }
        Err(CallError::new(
            CallErrorKind::Unreachable,
            doing,
            format!("the list changed while it was read, {LISTINGS} times"),
        ))
    }

    /// Page after page, as the links say.
    async fn follow(&self, doing: &str, mut next: String, pages: &mut Vec<ApiAnswer>) -> CallResult<()> {
        let mut seen = std::collections::BTreeSet::new();
        loop {
            self.same_host(doing, &next)?;
            if !seen.insert(next.clone()) {
                return Err(CallError::new(
                    CallErrorKind::InvalidResponse,
                    doing,
                    "the list's pages go round in circles",
                ));
            }
            let page = self.page(doing, &next).await?;
            let following = page.link(doing, "next")?;
            pages.push(page);
            match following {
                Some(url) => next = url,
                None => return Ok(()),
            }
        }
    }

    /// A link to another host would get the token.
    fn same_host(&self, doing: &str, url: &str) -> CallResult<()> {
        let host = |url: &str| url::Url::parse(url).ok().map(|url| url.origin());
        if host(url).is_some() && host(url) == host(&self.root) { Ok(()) } else { Err(odd_link(doing, url)) }
    }

    async fn page(&self, doing: &str, url: &str) -> CallResult<ApiAnswer> {
        let answer = self.call(Call { doing, repeat: Idempotency::Read, send: Send::Get }, url).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(not_found(doing));
        }
        Ok(answer)
    }

    /// Sends it, as often as [`Idempotency`] allows. An answer is a success or a 404; the rest is trouble.
    async fn call(&self, call: Call<'_>, url: &str) -> CallResult<ApiAnswer> {
        with_retries(&self.patience, call.repeat, async || {
            let answer = self.once(call, url).await?;
            if url == self.graphql_url && is_rate_limited(&answer.body) {
                // GraphQL says so with status 200 ("Rate limits and query limits for the GraphQL API").
                let why = "GitHub's GraphQL rate limit is used up";
                let mut error = CallError::new(CallErrorKind::Throttled, call.doing, why);
                error.retry_after = http_error::asked_wait(&answer.headers);
                return Err(limited(error));
            }
            if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
                return Ok(answer);
            }
            if answer.status.is_redirection() {
                return Err(sent_elsewhere(call, &answer.headers));
            }
            let words = RefusalAnswer::words(&answer.body);
            let error =
                http_error::from_status(call.doing, answer.status, &answer.headers, &words, call.repeat);
            Err(with_remedy(error, answer.status, &words))
        })
        .await
    }

    /// Sends it once; GitHub's redirects are followed, as its documentation asks every client to ("Using the
    /// REST API", "Follow redirects"): it answers 301 to a GET and 307 to whatever writes, where a repository was
    /// renamed. The request stays what it was. Elsewhere the token must not go.
    async fn once(&self, call: Call<'_>, url: &str) -> CallResult<ApiAnswer> {
        let mut answer = self.sent(call, url).await?;
        let mut at = url.to_owned();
        for _ in 0..MOST_REDIRECTS {
            let Some(next) = moved_to(&at, &answer) else { break };
            answer = self.sent(call, &next).await?;
            at = next;
        }
        Ok(answer)
    }

    async fn sent(&self, call: Call<'_>, url: &str) -> CallResult<ApiAnswer> {
        let response = match call.send {
            Send::Get => self.crab._get(url).await,
            Send::Post(body) => self.crab._post(url, Some(body)).await,
            Send::Patch(body) => self.crab._patch(url, Some(body)).await,
        };
        let response = response.map_err(|error| unanswered(call, error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|error| {
            // Cut short or too slow, which reqwest knows; or longer than is read.
            match error.downcast::<octocrab::Error>() {
                Ok(error) => unanswered(call, *error),
                Err(other) => {
                    lost(call, &format!("the answer was cut short: {}", http_error::chain(other.as_ref())))
                }
            }
        })?;
        Ok(ApiAnswer { status: head.status, headers: head.headers, body: body.to_bytes().to_vec() })
    }
}

/// As many as a repository that was renamed again and again could need.
const MOST_REDIRECTS: usize = 5;

/// Where an answer sends the same request, if that is on the host that was asked.
fn moved_to(asked: &str, answer: &ApiAnswer) -> Option<String> {
    if !matches!(answer.status.as_u16(), 301 | 302 | 307 | 308) {
        return None;
    }
    let asked = url::Url::parse(asked).ok()?;
    let target = asked.join(answer.headers.get(header::LOCATION)?.to_str().ok()?).ok()?;
    (target.origin() == asked.origin()).then(|| target.to_string())
}

/// What is answered elsewhere, or in circles, is not GitHub's.
fn sent_elsewhere(call: Call<'_>, headers: &HeaderMap) -> CallError {
    let target = headers.get(header::LOCATION).map_or_else(String::new, |target| {
        http_error::excerpt(String::from_utf8_lossy(target.as_bytes()).split('?').next().unwrap_or_default())
    });
    CallError::new(
        CallErrorKind::InvalidResponse,
        call.doing,
        format!("it redirects to {target}, which is not GitHub"),
    )
}

/// A success that cannot be read is one all the same, unless nothing was to be changed.
fn perhaps_done(call: Call<'_>, error: CallError) -> CallError {
    let is_success = error.kind == CallErrorKind::InvalidResponse;
    if is_success && call.repeat != Idempotency::Read { error.perhaps_done() } else { error }
}

fn is_rate_limited(body: &[u8]) -> bool {
    let answer: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let errors =
        answer.as_ref().and_then(|answer| answer.get("errors")).and_then(serde_json::Value::as_array);
    errors.is_some_and(|errors| {
        errors.iter().any(|error| error.get("type").is_some_and(|kind| kind == "RATE_LIMITED"))
    })
}

/// octocrab wraps reqwest's error in a service error; inside it stands whether anything was sent.
fn unanswered(call: Call<'_>, error: octocrab::Error) -> CallError {
    match error {
        octocrab::Error::Reqwest { source, .. } => http_error::from_reqwest(call.doing, source, call.repeat),
        octocrab::Error::Service { source, .. } => match source.downcast::<octocrab::Error>() {
            Ok(inner) => unanswered(call, *inner),
            Err(other) => lost(call, &http_error::chain(other.as_ref())),
        },
        other => lost(call, &http_error::chain(&other)),
    }
}

fn lost(call: Call<'_>, why: &str) -> CallError {
    let error = CallError::new(CallErrorKind::Unreachable, call.doing, why);
    if call.repeat == Idempotency::Read { error } else { error.perhaps_done() }
}

fn understood<T: DeserializeOwned>(doing: &str, answer: &ApiAnswer) -> CallResult<T> {
    if answer.status == StatusCode::NOT_FOUND {
        return Err(not_found(doing));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        CallError::new(
            CallErrorKind::InvalidResponse,
            doing,
            format!("not the JSON that GitHub documents: {error}"),
        )
    })
}

fn collect<T: DeserializeOwned>(
    doing: &str,
    pages: &[ApiAnswer],
    items: fn(serde_json::Value) -> Option<Vec<T>>,
) -> CallResult<Vec<T>> {
    let mut all = Vec::new();
    for page in pages {
        let value: serde_json::Value = understood(doing, page)?;
        let found = items(value).ok_or_else(|| {
            CallError::new(
                CallErrorKind::InvalidResponse,
                doing,
                "a page is not the list that GitHub documents",
            )
        })?;
        all.extend(found);
    }
    Ok(all)
}

fn odd_link(doing: &str, target: &str) -> CallError {
    CallError::new(
        CallErrorKind::InvalidResponse,
        doing,
        format!("the list's next page is at {}", http_error::excerpt(target)),
    )
}

fn not_found(doing: &str) -> CallError {
    CallError::new(CallErrorKind::Denied, doing, "404 Not Found")
        .with_remedy(
            "GitHub gives the same answer for what does not exist and for what the token may not see: check \
             the repository's \
             name, add `contents: write` to the job's `permissions:`, and leave `github-token` out or renew \
             it",
        )
        .about(Topic::TokenRefused)
}

fn with_remedy(error: CallError, status: StatusCode, words: &str) -> CallError {
    if error.kind == CallErrorKind::Throttled {
        return limited(error);
    }
    let (remedy, topic) = match status.as_u16() {
        401 => (
            "`github-token` is missing, wrong or has expired: leave the input out, so that the job's own \
             token is \
             used, or renew the secret that is passed there (a pull request from a fork gets none)",
            Topic::TokenRefused,
        ),
        403 if words.contains("not accessible by") => (ALLOW_WRITING, Topic::MayNotWrite),
        403 => (
            "let whoever owns the token of `github-token` give it access to this repository \
             (\u{201c}Contents: \
             write\u{201d}, and single sign-on where the organization asks for it), or leave the input out",
            Topic::TokenRefused,
        ),
        422 if words.contains("rule violations") => (
            "let a GitHub App bypass the ruleset, and pass that App's token as `github-token`",
            Topic::Ruleset,
        ),
        _ => return error,
    };
    error.with_remedy(remedy).about(topic)
}

fn limited(error: CallError) -> CallError {
    error
        .with_remedy(
            "run the job again when the limit is over: it continues where this one stopped; if this happens \
             often, pass an App's token as `github-token`, which has a limit of its own",
        )
        .about(Topic::GitHubLimit)
}

#[cfg(test)]
mod tests {
    use super::*;

    // case A9; broken by: a redirect is only followed for 301; the origin is not compared
    #[test]
    fn a_redirect_is_followed_on_its_own_host_alone() {
        let asked = "https://api.example/repos/o/r/git/tags";
        for (status, location, expected) in [
            (
                301,
                "https://api.example/repositories/1/git/tags",
                Some("https://api.example/repositories/1/git/tags"),
            ),
            (302, "/repositories/1?x=1", Some("https://api.example/repositories/1?x=1")),
            (307, "https://api.example:443/repositories/1", Some("https://api.example/repositories/1")),
            (308, "https://api.example/repositories/1", Some("https://api.example/repositories/1")),
            (303, "https://api.example/repositories/1", None),
            (304, "https://api.example/repositories/1", None),
            (200, "https://api.example/repositories/1", None),
            (307, "http://api.example/repositories/1", None),
            (307, "https://api.example.evil/repositories/1", None),
            (307, "//evil.example/repositories/1", None),
            (307, "https://api.example:8443/repositories/1", None),
            (307, "https://[", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::LOCATION, location.parse().unwrap());
            let answer =
                ApiAnswer { status: StatusCode::from_u16(status).unwrap(), headers, body: Vec::new() };
            assert_eq!(moved_to(asked, &answer).as_deref(), expected, "{status} {location}");
        }
    }
}
