//! One request: checked, routed, sent to whoever serves now, and its answer handed back.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use super::app::{App, Hold};
use super::body::{Answer, Progress, Sending};
use super::headers::{self, Origin};
use super::listen::Listen;
use super::pool::{self, Unanswered};
use super::record::{Activity, Asked, Record};
use super::state::{Life, State};
use super::trust::Peer;
use super::tunnel;
use super::upstream::{Ticket, Upstream};
use super::validity::{self, Refusal};
use crate::world::clock::Stopwatch;

/// A client's connection, as far as its requests need to know it.
#[derive(Debug)]
pub struct Client {
    /// Where it came in.
    pub listen: Listen,
    /// Who it is.
    pub peer: Peer,
    /// What it has under way.
    pub activity: Arc<Activity>,
}

/// Answers a request.
pub async fn handle(state: &Arc<State>, client: &Client, request: Request<Incoming>) -> Response<Answer> {
    let busy = client.activity.begin();
    let stopwatch = Stopwatch::start();
    let version = request.version();
    let (mut parts, body) = request.into_parts();
    let asked = |host: Option<String>| Asked {
        peer: client.peer,
        method: parts.method.clone(),
        host,
        path: parts.uri.path().to_owned(),
        version,
    };
    let host = match validity::check(&parts) {
        Ok(host) => host,
        Err(refusal) => return refuse(state, &asked(None), refusal),
    };
    let Some(way) = state.way(&client.listen, host.as_deref()) else {
        let why = "no application has this host";
        return refuse(state, &asked(host), Refusal { status: StatusCode::NOT_FOUND, why });
    };
    let mut record = Record::new(busy, Arc::clone(&way.app), asked(host.clone()), stopwatch);
    let origin = Origin {
        peer: client.peer,
        trusted: way.trusts(client.peer),
        host: host.as_deref().unwrap_or_default(),
    };
    let protocols = headers::to_app(&mut parts.headers, version, &origin);
    if let Some(host) = host.as_deref().and_then(|host| HeaderValue::from_str(host).ok()) {
        parts.headers.insert(header::HOST, host);
    }
    if let Some(pseudonym) = &state.via {
        headers::add_via(&mut parts.headers, version, pseudonym);
    }
    parts.uri = parts.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
    parts.version = Version::HTTP_11;
    let (body, progress) = Sending::new(body);
    record.progress.clone_from(&progress);
    let mut request = Request::from_parts(parts, body);
    let upgrade = protocols.map(|_| hyper::upgrade::on(&mut request));
    let mut response = match answer(&way.app, request, progress.as_deref()).await {
        Ok((response, ticket)) => {
            record.ticket = Some(ticket);
            pass_on(response, upgrade, record, state.via.as_deref())
        }
        Err(failure) => own(failure.status, failure.why, Some(record)),
    };
    if state.life() != Life::Serving && version != Version::HTTP_2 && !is_upgrade(&response) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn is_upgrade(response: &Response<Answer>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// Finds out who serves, waits while nobody does, and gets the answer's head.
async fn answer(
    app: &Arc<App>,
    mut request: Request<Sending>,
    progress: Option<&Progress>,
) -> Result<(Response<Incoming>, Ticket), Refusal> {
    let mut hold = Hold::default();
    loop {
        let Some(upstream) = app.current() else {
            if hold.wait(app, None).await {
                continue;
            }
            return Err(unserved(app));
        };
        // Retired since: whoever follows it was named before.
        let Some(ticket) = upstream.enter() else {
            continue;
        };
        match in_time(app, &upstream, request, progress).await? {
            Ok(response) => return Ok((response, ticket)),
            Err(Unanswered::Sent(error)) => {
                app.counters.unanswered.one();
                tracing::warn!(app = %app.name, upstream = %upstream.target.id, %error, "no answer");
                let why = "the application ended the connection without an answer";
                return Err(Refusal { status: StatusCode::BAD_GATEWAY, why });
            }
            Err(Unanswered::NotSent(unsent, error)) => {
                app.counters.connect_failures.one();
                tracing::debug!(app = %app.name, upstream = %upstream.target.id, %error, "no connection");
                request = *unsent;
                drop(ticket);
                if !hold.wait(app, Some(&upstream)).await {
                    return Err(unserved(app));
                }
            }
        }
    }
}

fn unserved(app: &App) -> Refusal {
    app.counters.unserved.one();
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, why: "the application is not up" }
}

/// Sends a request and waits for the answer's head, as long as the request's body goes on moving and
/// then for the time that an application has.
async fn in_time(
    app: &App,
    upstream: &Arc<Upstream>,
    request: Request<Sending>,
    progress: Option<&Progress>,
) -> Result<Result<Response<Incoming>, Unanswered>, Refusal> {
    let limits = app.limits();
    let sending = pool::send(upstream, request, limits);
    tokio::pin!(sending);
    let mut before = progress.map(Progress::so_far);
    loop {
        if let Ok(answered) = tokio::time::timeout(limits.answer_timeout, &mut sending).await {
            return Ok(answered);
        }
        let now = progress.map(Progress::so_far);
        if now == before {
            app.counters.unanswered.one();
            let why = "the application did not answer in time";
            return Err(Refusal { status: StatusCode::GATEWAY_TIMEOUT, why });
        }
        before = now;
    }
}

/// Makes the application's answer the client's.
fn pass_on(
    response: Response<Incoming>,
    upgrade: Option<OnUpgrade>,
    mut record: Record,
    via: Option<&str>,
) -> Response<Answer> {
    let fields = response.headers();
    if fields.contains_key(header::CONTENT_LENGTH) && fields.contains_key(header::TRANSFER_ENCODING) {
        return own(StatusCode::BAD_GATEWAY, "the application's answer has two lengths", Some(record));
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match upgrade {
            Some(client) => change_protocol(response, client, record),
            None => own(StatusCode::BAD_GATEWAY, "the application changes protocol unasked", Some(record)),
        };
    }
    let version = response.version();
    let (mut parts, body) = response.into_parts();
    headers::to_client(&mut parts.headers);
    if let Some(pseudonym) = via {
        headers::add_via(&mut parts.headers, version, pseudonym);
    }
    parts.version = Version::HTTP_11;
    record.status = parts.status;
    Response::from_parts(parts, Answer::app(body, record))
}

/// Hands on a 101 and carries the tunnel behind it.
fn change_protocol(
    mut response: Response<Incoming>,
    client: OnUpgrade,
    mut record: Record,
) -> Response<Answer> {
    let app = hyper::upgrade::on(&mut response);
    let (mut parts, _) = response.into_parts();
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    headers::to_client(&mut parts.headers);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    let websocket =
        protocol.as_ref().is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"));
    if let Some(protocol) = protocol {
        parts.headers.insert(header::UPGRADE, protocol);
    }
    record.status = parts.status;
    record.ticket = record.ticket.take().map(Ticket::into_tunnel);
    tokio::spawn(async move {
        // A client that is gone before the 101 reaches it makes its side fail; the other is then dropped.
        if let (Ok(client), Ok(app), Some(ticket)) = (client.await, app.await, &record.ticket) {
            let phase = ticket.upstream().phase();
            tunnel::run(client, app, websocket, phase).await;
        }
        drop(record);
    });
    Response::from_parts(parts, Answer::own("", None))
}

/// Turns down what no application gets to see. The connection ends with it: its next bytes cannot be
/// trusted to be a request.
fn refuse(state: &State, asked: &Asked, refusal: Refusal) -> Response<Answer> {
    state.refused.one();
    tracing::info!(
        target: "access",
        client = %asked.peer,
        protocol = ?asked.version,
        method = %asked.method,
        host = asked.host.as_deref().unwrap_or_default(),
        path = %asked.path,
        status = refusal.status.as_u16(),
        why = refusal.why,
        "refused"
    );
    let mut response = own(refusal.status, refusal.why, None);
    if asked.version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An answer of the proxy's own.
fn own(status: StatusCode, why: &'static str, mut record: Option<Record>) -> Response<Answer> {
    if let Some(record) = &mut record {
        record.status = status;
    }
    let mut response = Response::new(Answer::own(format!("{status}: {why}\n"), record));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        fields.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
    }
    response
}

/// When a client may come back that waited in vain.
const RETRY_AFTER: Duration = Duration::from_secs(2);
