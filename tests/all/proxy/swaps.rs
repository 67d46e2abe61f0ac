//! Twenty changes of the container under load: no client of any kind may notice, whatever the
//! containers do when they are stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use autotag_base::clock;
use autotag_base::clock::Stopwatch;

use super::app::{App, Manner};
use super::stage::{Stage, ask, client, get, post, soon, text};
use super::websocket::{Frame, WebSocket};

const SWAPS: usize = 20;

/// What the clients have to do with each other.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    exchanges: AtomicUsize,
    /// Of WebSockets, all clean.
    closed: AtomicUsize,
}

impl Load {
    fn goes_on(&self) -> bool {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        !self.over.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    KeepAlive,
    /// Keeps its connection and seldom asks: what a proxy that closes idle connections loses.
    Idle,
    NewConnection,
    Post,
    Slow,
    Streaming,
    WebSocket,
}

/// Clients that never try anything twice; the first failure is theirs.
async fn run(kind: Kind, address: SocketAddr, load: Arc<Load>) -> Result<(), String> {
    let failed = |error: hyper::Error| format!("{kind:?}: {error:?}");
    let mut kept = client(address).await;
    while load.goes_on() {
        match kind {
            Kind::KeepAlive | Kind::Idle | Kind::NewConnection | Kind::Slow => {
                match kind {
                    Kind::NewConnection => kept = client(address).await,
                    Kind::Idle => clock::sleep(Duration::from_millis(150)).await,
                    _ => {}
                }
                let path = if matches!(kind, Kind::Slow) { "/slow?120" } else { "/" };
                let answer = ask(&mut kept, get(path)).await.map_err(failed)?;
                check(kind, answer.status().is_success() && text(&answer).starts_with("app-"), &answer)?;
            }
            Kind::Post => {
                let body = "y".repeat(50_000);
                let answer = ask(&mut kept, post("/echo", body.clone())).await.map_err(failed)?;
                check(kind, *answer.body() == body, &answer)?;
            }
            Kind::Streaming => {
                let answer = ask(&mut kept, get("/stream?15")).await.map_err(failed)?;
                check(kind, text(&answer) == "piece;".repeat(15), &answer)?;
            }
            Kind::WebSocket => {
                talk(address, &load).await.map_err(|error| format!("{kind:?}: {error}"))?;
            }
        }
    }
    Ok(())
}

fn check(kind: Kind, right: bool, answer: &http::Response<bytes::Bytes>) -> Result<(), String> {
    if right { Ok(()) } else { Err(format!("{kind:?}: {} {:.80}", answer.status(), text(answer))) }
}

/// A WebSocket until its Close, which has to be there and be 1012.
async fn talk(address: SocketAddr, load: &Load) -> std::io::Result<()> {
    let mut socket = soon(WebSocket::open(address)).await?;
    for number in 0.. {
        if !load.goes_on() {
            break;
        }
        let text = number.to_string();
        match soon(socket.echo(&text)).await? {
            Frame::Data(echo) => assert_eq!(echo, text.as_bytes()),
            Frame::Close(1012) => {
                load.closed.fetch_add(1, Ordering::Relaxed);
                return soon(socket.answer_close()).await;
            }
            Frame::Close(code) => return Err(std::io::Error::other(format!("Close {code}"))),
        }
    }
    Ok(())
}

async fn nothing_is_lost(manner: Manner) {
    let first = App::start("app-0").await;
    let stage = Stage::serving(&first).await;
    let load = Arc::<Load>::default();
    let kinds = [
        (Kind::KeepAlive, 3),
        (Kind::Idle, 4),
        (Kind::NewConnection, 2),
        (Kind::Post, 2),
        (Kind::Slow, 3),
        (Kind::Streaming, 2),
        (Kind::WebSocket, 2),
    ];
    let clients: Vec<_> = kinds
        .iter()
        .flat_map(|(kind, count)| std::iter::repeat_n(*kind, *count))
        .map(|kind| tokio::spawn(run(kind, stage.address, Arc::clone(&load))))
        .collect();
    let stopwatch = Stopwatch::start();
    let mut serving = first;
    for number in 1..=SWAPS {
        let next = App::start(&format!("app-{number}")).await;
        stage.swap(&next).await;
        let report = stage.drain(&serving.id, 10_000, Some(50)).await;
        assert_eq!((report.requests_cut, report.tunnels_cut), (0, 0), "swap {number}: {report:?}");
        std::mem::replace(&mut serving, next).stop(manner).await;
    }
    let took = stopwatch.elapsed();
    load.over.store(true, Ordering::Relaxed);
    let mut failures = Vec::new();
    for client in clients {
        failures.extend(client.await.expect("no panic").err());
    }
    assert_eq!(failures, [""; 0], "{manner:?}: lost");
    let (exchanges, closed) = (load.exchanges.load(Ordering::Relaxed), load.closed.load(Ordering::Relaxed));
    println!(
        "{manner:?}: {SWAPS} swaps in {took:?}, {exchanges} exchanges, {closed} WebSockets closed, 0 lost"
    );
    assert!(exchanges > 500, "too little load to show anything: {exchanges}");
    assert!(closed >= SWAPS, "only {closed} WebSockets lived through a swap");
}

#[tokio::test(flavor = "multi_thread")]
async fn from_applications_that_end_gracefully() {
    nothing_is_lost(Manner::Graceful).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_applications_that_die_at_once() {
    nothing_is_lost(Manner::Rude).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_applications_that_are_deaf() {
    nothing_is_lost(Manner::Deaf).await;
}
