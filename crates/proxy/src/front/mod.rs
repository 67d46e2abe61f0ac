//! The clients' side: accepting connections and speaking HTTP/1.1 or HTTP/2 on each.

mod guard;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OwnedSemaphorePermit;

use crate::exchange::forward::{Client, handle};
use crate::listen::{Accepted, Listen, Listener};
use crate::messages::activity::Activity;
use crate::state::{Lifecycle, State};
use crate::trust::Peer;
use guard::Guard;

use crate::bounds::crowd::Seat;
use crate::bounds::limits::Limits;
use autotag_base::clock;

/// After so long without a word the kernel asks whether a client is still there; a lost one is noticed a
/// minute later. Tunnels have no other timeout.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_mins(1)).with_interval(Duration::from_secs(15));

/// When there is no file descriptor left for a connection, others must end first.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// How long an HTTP/2 connection that is to go may take to do so.
const FAREWELL: Duration = Duration::from_secs(2);

/// Accepts connections in a task of its own.
pub fn open(state: Arc<State>, listener: Listener, listen: Listen) -> tokio::task::AbortHandle {
    tokio::spawn(accept(state, listener, listen)).abort_handle()
}

/// Accepts connections until the proxy's end begins.
async fn accept(state: Arc<State>, listener: Listener, listen: Listen) {
    let mut life = state.watch_life();
    loop {
        let next = async { (seat(&state).await, listener.accept().await) };
        let (permit, accepted) = tokio::select! {
            biased;
            _ = life.wait_for(|life| *life != Lifecycle::Serving) => return,
            next = next => next,
        };
        let Some(permit) = permit else { return };
        match accepted {
            Ok((stream, peer)) => {
                start(&state, stream, peer, listen.clone(), state.crowd.seat(permit, peer));
            }
            Err(error) => {
                tracing::warn!(%listen, %error, "cannot accept");
                // A client that is gone already says nothing about the next.
                if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
                {
                    state.crowd.make_room();
                    clock::sleep(EXHAUSTED).await;
                }
            }
        }
    }
}

/// A place for one more connection; where there is none, another connection has to go.
async fn seat(state: &State) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(&state.seats).try_acquire_owned() {
        return Some(permit);
    }
    let free = Arc::clone(&state.seats).acquire_owned();
    tokio::pin!(free);
    loop {
        state.crowd.make_room();
        if let Ok(permit) = tokio::time::timeout(EXHAUSTED, free.as_mut()).await {
            return permit.ok();
        }
    }
}

fn start(state: &Arc<State>, stream: Accepted, peer: Peer, listen: Listen, seat: Seat) {
    let client = Arc::new(Client { listen, peer, activity: Activity::new(seat) });
    let state = Arc::clone(state);
    match stream {
        Accepted::Tcp(stream) => {
            // Both only make things better; a socket that refuses them is about to fail anyway.
            let _ = stream.set_nodelay(true);
            let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
            tokio::spawn(serve(state, stream, client));
        }
        Accepted::Unix(stream) => {
            tokio::spawn(serve(state, stream, client));
        }
    }
}

/// Speaks with one client until it goes, or until the proxy's end.
async fn serve<S>(state: Arc<State>, stream: S, client: Arc<Client>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http2 = Arc::new(AtomicBool::new(false));
    let activity = Arc::clone(&client.activity);
    let io = TokioIo::new(Guard::new(stream, activity, Arc::clone(&http2), &state.limits));
    let builder = builder(&state.limits);
    let service = service_fn(|request| {
        let (state, client) = (Arc::clone(&state), Arc::clone(&client));
        async move { Ok::<_, Infallible>(handle(&state, &client, request).await) }
    });
    let connection = builder.serve_connection_with_upgrades(io, service);
    tokio::pin!(connection);
    let mut life = state.watch_life();
    let mut now = Lifecycle::Serving;
    loop {
        let next = tokio::select! {
            // The connection first: what has come is answered.
            biased;
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %client.peer, %error, "connection ended");
                }
                return;
            }
            next = life.wait_for(|life| *life > now) => Some(next.map_or(Lifecycle::Over, |life| *life)),
            () = client.activity.guest().dismissed() => None,
        };
        match next {
            Some(Lifecycle::Over) => return,
            // HTTP/2 can say which requests it still takes, so that none is lost.
            Some(Lifecycle::LameDuck) if http2.load(Ordering::Relaxed) => {
                connection.as_mut().graceful_shutdown();
            }
            Some(Lifecycle::Closing) => connection.as_mut().graceful_shutdown(),
            None if client.activity.idle() => {
                if !http2.load(Ordering::Relaxed) {
                    return;
                }
                connection.as_mut().graceful_shutdown();
                let ended = tokio::time::timeout(FAREWELL, connection.as_mut()).await.is_ok();
                if ended || client.activity.idle() {
                    return;
                }
            }
            _ => {}
        }
        now = next.unwrap_or(now);
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // The timeout of heads is `Guard`'s: hyper's would end idle connections as well.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.head_fields);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        // What one connection makes the proxy hold is a few of these, not 16 MiB for each stream.
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.stream_window.saturating_mul(4))
        .max_send_buf_size(64 * 1024)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
