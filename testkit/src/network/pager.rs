//! A front for a registry: cuts tag lists into pages as registries in the wild do, and breaks on purpose.
//!
//! distribution 2.8 itself gives all tags in one answer. Everything else passes through unchanged.

use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use crate::clock::be_late;
use crate::network::faults::{Fault, Faults, Gate, fits};
use crate::network::http::{HttpRequest, HttpServer, Reply, client};

/// What the `Link` header to the next page looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// `</v2/app/tags/list?last=b&n=2>; rel="next"`: the distribution specification's.
    Relative,
    /// With scheme and host.
    Absolute,
    /// The query has no `n`: who builds the URL anew instead of following it may lose the page's size.
    WithoutN,
    /// `last` is no tag but a token of the registry's own (ECR).
    Opaque,
    /// The last page points at the first one, which has been seen.
    Looping,
    /// Pages are on another host, which must not get the credentials.
    Elsewhere,
}

/// A request as the front, or the other host, saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// GET, PUT ...
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The Authorization header.
    pub authorization: Option<String>,
    /// The status of the answer; `None`: none was sent yet, or the connection was closed instead.
    pub status: Option<u16>,
}

/// The running front.
pub struct Pager {
    server: HttpServer,
    elsewhere: HttpServer,
    shared: Arc<PagerShared>,
}

struct PagerShared {
    http: reqwest::Client,
    registry: String,
    page_size: usize,
    links: Links,
    state: Mutex<PagerState>,
}

#[derive(Default)]
struct PagerState {
    faults: Faults,
    redirects: Vec<String>,
    unauthorized: Vec<String>,
    seen: Vec<Seen>,
    seen_elsewhere: Vec<Seen>,
    /// The last Authorization that came to the front, so that the other host can answer with real content.
    authorization: Option<String>,
    elsewhere: String,
}

impl Pager {
    /// Before a registry (`127.0.0.1:PORT`), with pages of at most so many tags.
    pub fn before(registry: &str, page_size: usize, links: Links) -> Self {
        let shared = Arc::new(PagerShared {
            http: client(),
            registry: registry.to_owned(),
            page_size,
            links,
            state: Mutex::default(),
        });
        let front = Arc::clone(&shared);
        let server = HttpServer::start(move |asked| Arc::clone(&front).answer(asked));
        let behind = Arc::clone(&shared);
        // Another loopback address, so that it is another host by any reading.
        let elsewhere =
            HttpServer::listen("127.0.0.2:0", move |asked| Arc::clone(&behind).answer_elsewhere(asked));
        shared.state().elsewhere = elsewhere.url();
        Self { server, elsewhere, shared }
    }

    /// `127.0.0.1:PORT`, to be used in place of the registry's.
    pub fn host(&self) -> String {
        self.server.address().to_string()
    }

    /// The other host, `127.0.0.2:PORT`.
    pub fn other_host(&self) -> String {
        self.elsewhere.address().to_string()
    }

    /// Something happens to requests, such as `GET *`, `GET */tags/list`, `PUT */manifests/1.0.0`; the
    /// query is no part of what is matched. Pages are requests: `nth(2)` is the second page.
    pub fn inject(&self, fault: Fault) {
        self.shared.state().faults.inject(fault);
    }

    /// Matching requests wait, before they reach the registry.
    pub fn hold(&self, pattern: &str) -> Gate {
        self.shared.state().faults.hold(pattern)
    }

    /// Matching requests get 307 to the other host, which answers them.
    pub fn redirect(&self, pattern: &str) {
        self.shared.state().redirects.push(pattern.to_owned());
    }

    /// The next matching request reaches the registry without its Authorization, as if the token had just
    /// run out: the answer is the registry's own 401 and challenge.
    pub fn forget_authorization(&self, pattern: &str) {
        self.shared.state().unauthorized.push(pattern.to_owned());
    }

    /// What came to the front.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// What came to the other host.
    pub fn seen_elsewhere(&self) -> Vec<Seen> {
        self.shared.state().seen_elsewhere.clone()
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.shared.state().faults.open(None);
    }
}

impl PagerShared {
    fn state(&self) -> MutexGuard<'_, PagerState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn answer(self: Arc<Self>, mut asked: HttpRequest) -> Reply {
        let request = format!("{} {}", asked.method, asked.path);
        let (place, gates, fault) = {
            let mut state = self.state();
            state.seen.push(seen(&asked));
            if let Some(header) = asked.header("authorization") {
                state.authorization = Some(header.to_owned());
            }
            (state.seen.len() - 1, state.faults.gates(&request), state.faults.strike(&request))
        };
        for gate in gates {
            gate.pass().await;
        }
        let own = match &fault {
            Some(fault) if fault.replaces() && !fault.is_after_effect() => None,
            _ => Some(self.own_answer(&request, &mut asked).await),
        };
        let reply = match fault {
            Some(fault) => {
                be_late(fault.wait()).await;
                fault.apply(own)
            }
            None => own.unwrap_or(Reply::HangUp),
        };
        self.state().seen[place].status = status(&reply);
        reply
    }

    async fn own_answer(&self, request: &str, asked: &mut HttpRequest) -> Reply {
        let location = {
            let mut state = self.state();
            if let Some(place) = state.unauthorized.iter().position(|pattern| fits(pattern, request)) {
                state.unauthorized.remove(place);
                asked.headers.remove("authorization");
            }
            let redirected = state.redirects.iter().any(|pattern| fits(pattern, request));
            redirected.then(|| format!("{}{}", state.elsewhere, asked.target()))
        };
        match location {
            Some(location) => {
                let response = Response::builder().status(307).header("location", location);
                Reply::Answer(response.body(Bytes::new()).expect("a response"))
            }
            None => self.content(asked).await,
        }
    }

    async fn answer_elsewhere(self: Arc<Self>, mut asked: HttpRequest) -> Reply {
        let (place, authorization) = {
            let mut state = self.state();
            state.seen_elsewhere.push(seen(&asked));
            (state.seen_elsewhere.len() - 1, state.authorization.clone())
        };
        // Storage behind a redirect needs no credentials: the URL itself is the right to read.
        asked.headers.remove("authorization");
        if let Some(authorization) = authorization {
            asked.headers.insert("authorization", authorization.parse().expect("a header"));
        }
        let reply = self.content(&asked).await;
        self.state().seen_elsewhere[place].status = status(&reply);
        reply
    }

    /// What the registry says, tag lists in pages.
    async fn content(&self, asked: &HttpRequest) -> Reply {
        let is_list =
            asked.method == "GET" && asked.path.starts_with("/v2/") && asked.path.ends_with("/tags/list");
        let query = if is_list { "" } else { &asked.query };
        let url = format!("http://{}{}?{query}", self.registry, asked.path);
        let mut headers = asked.headers.clone();
        headers.remove("content-length");
        let request = self.http.request(asked.method.clone(), url.trim_end_matches('?'));
        let response = match request.headers(headers).body(asked.body.clone()).send().await {
            Ok(response) => response,
            Err(error) => return Reply::json(502, &json!({ "message": error.to_string() })),
        };
        let (status, mut headers) = (response.status(), response.headers().clone());
        let Ok(mut body) = response.bytes().await else { return Reply::HangUp };
        if is_list && status.is_success() {
            let list: Value = serde_json::from_slice(&body).expect("the registry's list of tags");
            let (page, link) = self.page(asked, &list);
            body = Bytes::from(page.to_string());
            headers.remove("content-length");
            if let Some(link) = link {
                headers.insert("link", link.parse().expect("a header"));
            }
        }
        headers.remove("transfer-encoding");
        headers.remove("connection");
        let mut response = Response::new(body);
        (*response.status_mut(), *response.headers_mut()) = (status, headers);
        Reply::Answer(response)
    }

    fn page(&self, asked: &HttpRequest, list: &Value) -> (Value, Option<String>) {
        let Some(tags) = list["tags"].as_array() else { return (list.clone(), None) };
        // distribution 2.8 lists in the order of the directory's entries, where `last` has no meaning.
        let mut tags = tags.clone();
        tags.sort_by(|one, other| one.as_str().cmp(&other.as_str()));
        let asked_for = asked.parameter("n").and_then(|text| text.parse().ok()).unwrap_or(self.page_size);
        let size = self.page_size.min(asked_for).max(1);
        let start = asked.parameter("last").map_or(0, |last| match self.links {
            Links::Opaque => opaque(&last),
            _ => tags.iter().take_while(|tag| tag.as_str() <= Some(&last)).count(),
        });
        let end = (start + size).min(tags.len());
        let page = json!({ "name": list["name"], "tags": tags[start.min(end)..end] });
        let path = &asked.path;
        let newest = tags[..end].last().and_then(Value::as_str).unwrap_or_default();
        let follows = format!("{path}?last={newest}&n={size}");
        let more = end < tags.len();
        let target = match self.links {
            Links::Looping if !more => format!("{path}?n={size}"),
            _ if !more => return (page, None),
            Links::Relative | Links::Looping => follows,
            Links::Absolute => format!("http://{}{follows}", asked.header("host").unwrap_or_default()),
            Links::WithoutN => format!("{path}?last={newest}"),
            Links::Opaque => format!("{path}?n={size}&last=bmV4dA%3D%3D.{end}%2B"),
            Links::Elsewhere => format!("{}{follows}", self.state().elsewhere),
        };
        (page, Some(format!("<{target}>; rel=\"next\"")))
    }
}

/// Where the page of an opaque token begins; a token that was changed on the way begins nowhere.
fn opaque(token: &str) -> usize {
    let inner = token.strip_prefix("bmV4dA==.").and_then(|rest| rest.strip_suffix('+'));
    inner.and_then(|number| number.parse().ok()).unwrap_or(usize::MAX / 2)
}

fn seen(asked: &HttpRequest) -> Seen {
    Seen {
        method: asked.method.to_string(),
        target: asked.target(),
        authorization: asked.header("authorization").map(str::to_owned),
        status: None,
    }
}

fn status(reply: &Reply) -> Option<u16> {
    match reply {
        Reply::Answer(response) | Reply::Cut(response) => Some(response.status().as_u16()),
        Reply::HangUp => None,
    }
}
