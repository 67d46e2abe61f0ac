//! Waiting for a container, trying again, and the end of one that has served.

use std::time::Duration;

use autotag_proxy::bounds::limits::Limits;
use autotag_proxy::upstream::Target;
use http::{StatusCode, header};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::app::{App, Manner};
use super::stage::{Stage, ask, client, get, limits, post, read_out, read_until, soon, text};

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_while_nobody_serves() {
    let stage = Stage::new().await;
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let address = stage.address;
            tokio::spawn(async move { ask(&mut client(address).await, post("/echo", "kept")).await })
        })
        .collect();
    stage.until(|app| app.waiting == 5).await;
    let app = App::start("a").await;
    stage.swap(&app).await;
    for request in waiting {
        let response = request.await.expect("no panic").expect("an answer");
        assert_eq!((response.status(), text(&response)), (StatusCode::OK, "kept"));
    }
    assert_eq!(stage.status().await.apps[0].waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_has_an_end_and_a_number() {
    let bounds = Limits { hold: Duration::from_millis(300), held: 2, ..limits() };
    let stage = Stage::with(|options| options.limits = bounds).await;
    let address = stage.address;
    let two: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async move { ask(&mut client(address).await, get("/")).await }))
        .collect();
    stage.until(|app| app.waiting == 2).await;
    let third = stage.get("/").await;
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(third.headers()[header::RETRY_AFTER], "2");
    assert_eq!(stage.status().await.apps[0].waiting, 2, "the third did not wait");
    for request in two {
        let response = request.await.expect("no panic").expect("an answer");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_waiting_gives_its_place_back() {
    let stage = Stage::new().await;
    let mut stream = TcpStream::connect(stage.address).await.expect("connected");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    stage.until(|app| app.waiting == 1).await;
    drop(stream);
    stage.until(|app| app.waiting == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_fails_is_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let stage = Stage::new().await;
    stage.point_at(Some(Target { id: "late".to_owned(), address })).await;
    let proxy = stage.address;
    let request = tokio::spawn(async move { ask(&mut client(proxy).await, post("/echo", "once")).await });
    stage.until(|app| app.waiting == 1).await;
    let app = App::start_at("late", address).await;
    let response = request.await.expect("no panic").expect("an answer");
    assert_eq!((text(&response), app.requests()), ("once", 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_upstream_is_left_for_a_reachable_one() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = port.local_addr().expect("an address");
    drop(port);
    let stage = Stage::new().await;
    stage.point_at(Some(Target { id: "dead".to_owned(), address })).await;
    let proxy = stage.address;
    let request = tokio::spawn(async move { ask(&mut client(proxy).await, get("/")).await });
    stage.until(|app| app.waiting == 1).await;
    let app = App::start("b").await;
    stage.swap(&app).await;
    let response = request.await.expect("no panic").expect("an answer");
    assert_eq!(text(&response), "b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_sent_is_never_sent_again() {
    let stage = Stage::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    stage.point_at(Some(Target { id: "rude".to_owned(), address })).await;
    let app = async {
        let (mut stream, _) = soon(listener.accept()).await.expect("accepted");
        read_until(&mut stream, "\r\n\r\n").await;
        drop(stream);
    };
    let (response, ()) = tokio::join!(stage.get("/"), app);
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    // Had it been sent again it would be in the queue by now: the answer came after the try.
    let again = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(again.is_err(), "a second connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_come_is_given_up() {
    let app = App::start("a").await;
    let bounds = Limits { answer_timeout: Duration::from_millis(200), ..limits() };
    let stage = Stage::with(|options| options.limits = bounds).await;
    stage.swap(&app).await;
    assert_eq!(stage.get("/never").await.status(), StatusCode::GATEWAY_TIMEOUT);
    app.connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_upstream_connections_are_closed_first() {
    let app = App::start("a").await;
    let bounds = Limits { app_idle: Duration::from_millis(200), ..limits() };
    let stage = Stage::with(|options| options.limits = bounds).await;
    stage.swap(&app).await;
    stage.get("/").await;
    app.connections(1).await;
    app.connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swap_closes_only_idle_connections() {
    let (old, new) = (App::start("old").await, App::start("new").await);
    // Nothing but the swap closes an idle connection in this test.
    let patient = Limits { app_idle: Duration::from_mins(5), ..limits() };
    let stage = Stage::with(|options| options.limits = patient).await;
    stage.swap(&old).await;
    let address = stage.address;
    let slow = tokio::spawn(async move { ask(&mut client(address).await, get("/slow?800")).await });
    stage.until(|app| app.current.as_ref().is_some_and(|old| old.requests == 1)).await;
    stage.get("/").await;
    old.connections(2).await;
    stage.swap(&new).await;
    old.connections(1).await;
    assert_eq!(text(&stage.get("/").await), "new");
    let status = stage.status().await;
    assert_eq!(
        status.apps[0].leaving.iter().map(|old| (old.id.as_str(), old.requests)).collect::<Vec<_>>(),
        [("old", 1)]
    );
    let report = stage.drain("old", 10_000, None).await;
    assert_eq!((report.requests_cut, report.tunnels_cut), (0, 0));
    assert!(report.milliseconds > 100, "it has waited for the slow one: {report:?}");
    old.connections(0).await;
    let response = slow.await.expect("no panic").expect("an answer");
    assert_eq!(text(&response), "old");
    old.stop(Manner::Rude).await;
    assert_eq!(stage.status().await.apps[0].leaving, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_cut_at_the_deadline_are_visibly_incomplete() {
    let (old, new) = (App::start("old").await, App::start("new").await);
    let stage = Stage::serving(&old).await;
    let address = stage.address;
    let mut endless = TcpStream::connect(address).await.expect("connected");
    endless.write_all(b"GET /stream?100000 HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
    read_until(&mut endless, "piece;").await;
    let headless = tokio::spawn(async move { ask(&mut client(address).await, get("/never")).await });
    stage.until(|app| app.current.as_ref().is_some_and(|old| old.requests == 2)).await;
    stage.swap(&new).await;
    let report = stage.drain("old", 200, None).await;
    assert_eq!(report.requests_cut, 2);
    assert!(report.milliseconds < 10_000, "{report:?}");
    let rest = read_out(&mut endless).await;
    assert!(!rest.ends_with("0\r\n\r\n"), "a cut answer looks whole");
    let response = headless.await.expect("no panic").expect("an answer");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    old.connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_serving_nor_unknown_upstreams_are_drained() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let report = stage.drain("gone", 10_000, None).await;
    assert_eq!((report.requests_cut, report.tunnels_closed), (0, 0));
    let command = autotag_proxy::admin::Command::Drain {
        app: "web".to_owned(),
        id: "a".to_owned(),
        deadline_ms: 1,
        tunnels_ms: None,
    };
    match stage.call(&command).await {
        autotag_proxy::admin::AdminAnswer::Error(error) => {
            assert!(error.message.contains("swap first"), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(text(&stage.get("/").await), "a");
}
