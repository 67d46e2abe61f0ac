//! The proxy's own end, and its successor on the same socket.

use std::time::Duration;

use autotag_proxy as proxy;
use autotag_proxy::Options;
use autotag_proxy::admin;
use autotag_proxy::admin::{AdminAnswer, Command};
use autotag_proxy::bounds::limits::Limits;
use autotag_proxy::listen::Inherited;
use autotag_proxy::upstream::Target;
use http::header;

use super::app::App;
use super::stage::{Stage, ask, client, get, limits, soon, text};
use super::websocket::{Frame, WebSocket};

fn bounds() -> Limits {
    Limits { lame_duck: Duration::from_millis(500), ..limits() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_requests_and_closes_connections() {
    let app = App::start("a").await;
    let mut stage = Stage::with(|options| options.limits = bounds()).await;
    stage.swap(&app).await;
    let address = stage.address;
    let slow = tokio::spawn(async move { ask(&mut client(address).await, get("/slow?1000")).await });
    let mut socket = soon(WebSocket::open(address)).await.expect("open");
    let mut kept = stage.connect().await;
    let before = ask(&mut kept, get("/")).await.expect("an answer");
    assert_eq!(before.headers().get(header::CONNECTION), None);
    stage.until(|app| app.current.as_ref().is_some_and(|app| (app.requests, app.tunnels) == (1, 1))).await;
    let running = stage.running.take().expect("it runs");
    let stopping = tokio::spawn(running.stop());
    soon(async {
        while stage.status().await.serving {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let last = ask(&mut kept, get("/")).await.expect("a connection that is kept still works");
    assert_eq!(
        (text(&last), &last.headers()[header::CONNECTION]),
        ("a", &header::HeaderValue::from_static("close"))
    );
    assert_eq!(soon(socket.receive()).await.expect("a Close"), Frame::Close(1012));
    soon(socket.answer_close()).await.expect("a clean end");
    let response = slow.await.expect("no panic").expect("an answer");
    assert_eq!(text(&response), "a");
    soon(stopping).await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_for_ever() {
    let app = App::start("a").await;
    let short =
        Limits { lame_duck: Duration::from_millis(10), shutdown: Duration::from_millis(100), ..limits() };
    let stage = Stage::with(|options| options.limits = short).await;
    stage.swap(&app).await;
    let address = stage.address;
    let never = tokio::spawn(async move { ask(&mut client(address).await, get("/never")).await });
    stage.until(|app| app.current.as_ref().is_some_and(|app| app.requests == 1)).await;
    stage.stop().await;
    let response = never.await.expect("no panic").expect("the proxy's own answer");
    assert_eq!(response.status(), http::StatusCode::BAD_GATEWAY);
    app.connections(0).await;
}

/// Clients with new connections and with kept ones, while one proxy hands over to the next.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_on_the_same_socket_loses_nothing() {
    let app = App::start("a").await;
    let directory = tempfile::tempdir().expect("a directory");
    let admin = directory.path().join("admin.sock");
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    let begin = async || {
        let options = Options { limits: bounds(), ..Options::new(&admin) };
        let socket = socket.try_clone().expect("a copy, as a process inherits one");
        let running = proxy::start(options, vec![Inherited::Tcp(socket)]).expect("the proxy starts");
        let route =
            serde_json::from_value(serde_json::json!({ "app": "web", "listen": address })).expect("a route");
        let target = Target { id: app.id.clone(), address: app.address };
        for command in [
            Command::Routes { routes: vec![route] },
            Command::Swap { app: "web".to_owned(), to: Some(target) },
        ] {
            let answer = admin::call(&admin, &command).await.expect("an answer");
            assert!(!matches!(answer, AdminAnswer::Error(_)), "{answer:?}");
        }
        running
    };
    let over = tokio::sync::watch::Sender::new(false);
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let over = over.subscribe();
            tokio::spawn(async move {
                let mut kept = client(address).await;
                let mut asked = 0_usize;
                while !*over.borrow() {
                    // Half of them open a connection for each request, the others when they are told to.
                    let answer =
                        ask(&mut kept, get("/")).await.unwrap_or_else(|error| panic!("{number}: {error:?}"));
                    assert_eq!(text(&answer), "a");
                    asked += 1;
                    if number % 2 == 0 || answer.headers().contains_key(header::CONNECTION) {
                        kept = client(address).await;
                    }
                }
                asked
            })
        })
        .collect();
    let mut running = begin().await;
    for _ in 0..20 {
        let successor = begin().await;
        soon(running.stop()).await;
        running = successor;
    }
    over.send_replace(true);
    let mut asked = 0;
    for client in clients {
        asked += client.await.expect("no request is lost");
    }
    assert!(asked > 100, "only {asked} requests");
}
