//! One request: checked, routed, sent to whoever serves now, and its answer handed back.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::request::Parts;
use http::{Request, Response, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;

use super::answer::ClientAnswer;
use super::record::{self, Asked, Exchange};
use super::spool::Spool;
use super::tunnel;
use crate::bounds::pace::Pace;
use crate::bounds::shares::{ClientKey, Full};
use crate::listen::Listen;
use crate::messages::activity::Activity;
use crate::messages::body::{Progress, Sending};
use crate::messages::headers;
use crate::messages::headers::Origin;
use crate::messages::validity;
use crate::messages::validity::Refusal;
use crate::routes::RouteTarget;
use crate::state::{Lifecycle, State};
use crate::trust::Peer;
use crate::upstream::app::{App, Hold};
use crate::upstream::pool;
use crate::upstream::pool::Unanswered;
use crate::upstream::{Ticket, Upstream};
use autotag_base::clock::Stopwatch;

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
pub async fn handle(
    state: &Arc<State>,
    client: &Client,
    request: Request<Incoming>,
) -> Response<ClientAnswer> {
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
        Err(refusal) => return refuse(state, client, &asked(None), refusal),
    };
    let Some(way) = state.way(&client.listen, host.as_deref()) else {
        let why = "no application has this host";
        return refuse(state, client, &asked(host), Refusal { status: StatusCode::NOT_FOUND, why });
    };
    let mut record = Exchange::new(busy, Arc::clone(&way.app), asked(host.clone()), stopwatch);
    let visitor = headers::visitor(&parts.headers, client.peer, |peer| way.trusts(peer));
    let claims = way.claims(client.peer);
    let origin = Origin { peer: client.peer, visitor, claims, host: host.as_deref().unwrap_or_default() };
    // A front proxy that does not say for whom it asks is not one client.
    let counted = visitor.filter(|visitor| !claims.trusted() || !way.trusts(Peer::Ip(*visitor)));
    let admitted = match way.app.share.admit(counted.map(ClientKey::from)) {
        Ok(admitted) => admitted,
        Err(full) => {
            client.activity.uploads.leave();
            return turn_away(&way.app, full, record);
        }
    };
    let protocols = head_to_app(&mut parts, &origin, host.as_deref(), state.via.as_deref());
    let body = if body.is_end_stream() {
        record.admitted = Some(admitted);
        Sending::empty()
    } else {
        if body.size_hint().exact().is_none() && !parts.headers.contains_key(header::CONTENT_LENGTH) {
            // hyper would take a GET for one without a body.
            parts.headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let progress = record.progress.insert(Progress::new(admitted));
        Sending::watched(body, progress, &client.activity, claims, &state.limits)
    };
    let mut request = Request::from_parts(parts, body);
    let upgrade = protocols.map(|_| hyper::upgrade::on(&mut request));
    let activity = (version == Version::HTTP_11).then_some(&client.activity);
    let mut response = match answer_after_early(&way, request, record.progress.as_deref(), activity).await {
        Ok((response, ticket)) => {
            record.ticket = Some(ticket);
            pass_on(state, version, response, upgrade, record)
        }
        Err(failure) => own(failure.status, failure.why, Some(record)),
    };
    if state.life() != Lifecycle::Serving && version != Version::HTTP_2 && !is_upgrade(&response) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Makes a client's head that of the request to the application. Gives what to upgrade to, if the client asks.
fn head_to_app(
    parts: &mut Parts,
    origin: &Origin<'_>,
    host: Option<&str>,
    via: Option<&str>,
) -> Option<HeaderValue> {
    let protocols = headers::to_app(&mut parts.headers, parts.version, origin);
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        parts.headers.insert(header::HOST, host);
    }
    if let Some(pseudonym) = via {
        headers::add_via(&mut parts.headers, parts.version, pseudonym);
    }
    parts.uri = parts.uri.path_and_query().cloned().map_or_else(|| Uri::from_static("/"), Uri::from);
    parts.version = Version::HTTP_11;
    protocols
}

/// Has what the application says before its answer put where the client's connection finds it.
fn hear_early(request: &mut Request<Sending>, activity: &Arc<Activity>) {
    let activity = Arc::clone(activity);
    hyper::ext::on_informational(request, move |early| {
        // 100 concerns the connection to the application, where nobody has asked for it.
        if early.status() != StatusCode::CONTINUE {
            activity.interim.say(early.status(), early.headers().clone());
        }
    });
}

/// The answer; where the client's activity is given, what comes before it as well.
async fn answer_after_early(
    way: &RouteTarget,
    mut request: Request<Sending>,
    progress: Option<&Progress>,
    activity: Option<&Arc<Activity>>,
) -> Result<(Response<Incoming>, Ticket), Refusal> {
    let Some(activity) = activity else { return answer(way, request, progress).await };
    hear_early(&mut request, activity);
    after_early(activity, answer(way, request, progress)).await
}

/// Waits for the answer, and lets the connection send what comes before it.
async fn after_early<T>(activity: &Activity, answering: impl Future<Output = T>) -> T {
    tokio::pin!(answering);
    let answered = loop {
        tokio::select! {
            biased;
            answered = answering.as_mut() => break answered,
            // Polled again by the connection, which then flushes.
            () = activity.interim.changed() => {}
        }
    };
    while activity.interim.waits() {
        activity.interim.changed().await;
    }
    answered
}

fn is_upgrade(response: &Response<ClientAnswer>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// No place for a request: one of so many of the same client, or of the application.
fn turn_away(app: &App, full: Full, record: Exchange) -> Response<ClientAnswer> {
    app.counters.over_bounds.inc();
    match full {
        Full::Client => {
            let why = "this client has too many requests in flight";
            own(StatusCode::TOO_MANY_REQUESTS, why, Some(record))
        }
        Full::App => {
            let why = "the application has too many requests in flight";
            own(StatusCode::SERVICE_UNAVAILABLE, why, Some(record))
        }
    }
}

/// Finds out who serves, waits while nobody does, and gets the answer's head.
async fn answer(
    way: &RouteTarget,
    mut request: Request<Sending>,
    progress: Option<&Progress>,
) -> Result<(Response<Incoming>, Ticket), Refusal> {
    let app = &way.app;
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
        match in_time(way, &upstream, request, progress).await? {
            Ok(response) => return Ok((response, ticket)),
            Err(Unanswered::Sent(..)) if progress.is_some_and(Progress::too_slow) => {
                let why = "the request's body came too slowly";
                return Err(Refusal { status: StatusCode::REQUEST_TIMEOUT, why });
            }
            Err(Unanswered::Sent(error, began)) => {
                app.counters.unanswered.inc();
                tracing::warn!(app = %app.name, upstream = %upstream.target.id, %error, "no answer");
                return Err(Refusal { status: StatusCode::BAD_GATEWAY, why: unanswered(&error, began) });
            }
            Err(Unanswered::NotSent(unsent, error)) => {
                app.counters.connect_failures.inc();
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

/// What was wrong with an answer that is none.
fn unanswered(error: &hyper::Error, began: bool) -> &'static str {
    if error.is_parse_too_large() {
        "the head of the application's answer is too large"
    } else if error.is_parse_status() {
        "the application's answer has an invalid status"
    } else if error.is_parse() {
        let text = error.to_string();
        if text.contains("version") {
            "the application's answer is not HTTP/1"
        } else if text.contains("content-length") || text.contains("transfer-encoding") {
            "the length of the application's answer cannot be read"
        } else {
            "the head of the application's answer has a line that cannot be read"
        }
    } else if began {
        "the application ended the connection in the middle of its answer's head"
    } else {
        "the application ended the connection without an answer"
    }
}

fn unserved(app: &App) -> Refusal {
    app.counters.unserved.inc();
    Refusal { status: StatusCode::SERVICE_UNAVAILABLE, why: "the application is not up" }
}

/// Sends a request and waits for the answer's head, as long as the request's body goes on moving and
/// then for the time that an application has.
async fn in_time(
    way: &RouteTarget,
    upstream: &Arc<Upstream>,
    request: Request<Sending>,
    progress: Option<&Progress>,
) -> Result<Result<Response<Incoming>, Unanswered>, Refusal> {
    let app = &way.app;
    let sending = pool::send(upstream, request, app.limits());
    tokio::pin!(sending);
    let mut before = progress.map(Progress::so_far);
    loop {
        if let Ok(answered) = tokio::time::timeout(way.answer_timeout, &mut sending).await {
            return Ok(answered);
        }
        let now = progress.map(Progress::so_far);
        if now == before {
            app.counters.unanswered.inc();
            let why = "the application did not answer in time";
            return Err(Refusal { status: StatusCode::GATEWAY_TIMEOUT, why });
        }
        before = now;
    }
}

/// Makes the application's answer the client's.
fn pass_on(
    state: &State,
    asked: Version,
    response: Response<Incoming>,
    upgrade: Option<OnUpgrade>,
    mut record: Exchange,
) -> Response<ClientAnswer> {
    let fields = response.headers();
    if fields.contains_key(header::CONTENT_LENGTH) && fields.contains_key(header::TRANSFER_ENCODING) {
        return own(StatusCode::BAD_GATEWAY, "the application's answer has two lengths", Some(record));
    }
    if !headers::tokens(fields, &header::TRANSFER_ENCODING)
        .all(|coding| coding.eq_ignore_ascii_case("chunked"))
    {
        let why = "the application's answer has a transfer coding other than `chunked`";
        return own(StatusCode::BAD_GATEWAY, why, Some(record));
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match upgrade {
            Some(client) => change_protocol(response, client, record),
            None => own(
                StatusCode::BAD_GATEWAY,
                "the application switched protocols without being \
                                                  asked",
                Some(record),
            ),
        };
    }
    let version = response.version();
    // An application that closes before it has read the request reads no more of it.
    let closes = record.progress.as_ref().is_some_and(|progress| !progress.so_far().1)
        && headers::tokens(fields, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("close"));
    let (mut parts, body) = response.into_parts();
    headers::to_client(&mut parts.headers);
    if closes && asked != Version::HTTP_2 {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(pseudonym) = &state.via {
        headers::add_via(&mut parts.headers, version, pseudonym);
    }
    parts.version = Version::HTTP_11;
    record.status = parts.status;
    let body = if asked == Version::HTTP_2 && !body.is_end_stream() {
        let pace = Pace::new(state.limits.stall_timeout, state.limits.least_rate);
        ClientAnswer::spooled(Spool::start(body, record, pace))
    } else {
        ClientAnswer::app(body, record)
    };
    Response::from_parts(parts, body)
}

/// Hands on a 101 and carries the tunnel behind it.
fn change_protocol(
    mut response: Response<Incoming>,
    client: OnUpgrade,
    mut record: Exchange,
) -> Response<ClientAnswer> {
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
    Response::from_parts(parts, ClientAnswer::own("", None))
}

/// Turns down what no application gets to see. The connection ends with it: its next bytes cannot be
/// trusted to be a request.
fn refuse(state: &State, client: &Client, asked: &Asked, refusal: Refusal) -> Response<ClientAnswer> {
    state.refused.inc();
    client.activity.uploads.leave();
    record::refused(asked, refusal.status, refusal.why);
    let mut response = own(refusal.status, refusal.why, None);
    if asked.version != Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An answer of the proxy's own.
fn own(status: StatusCode, why: &'static str, mut record: Option<Exchange>) -> Response<ClientAnswer> {
    if let Some(record) = &mut record {
        record.status = status;
    }
    let mut response = Response::new(ClientAnswer::own(format!("{status}: {why}\n"), record));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
        fields.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER.as_secs()));
    }
    response
}

/// When a client may come back that found no place, or nobody who serves.
const RETRY_AFTER: Duration = Duration::from_secs(2);
