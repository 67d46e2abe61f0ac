//! The admin socket: its language, its bounds, its rights, and the numbers.

use std::os::unix::fs::PermissionsExt as _;

use autotag_proxy::admin::{AdminAnswer, Command, ErrorCode, LONGEST_LINE};
use autotag_proxy::listen::Listen;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::app::App;
use super::stage::{Stage, soon, text};

/// Sends bytes, ends the sending side, and reads all answers.
async fn say(stage: &Stage, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(&stage.admin).await.expect("connected");
    // A line that is too long is answered before it has been read.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut all = Vec::new();
    let _ = soon(stream.read_to_end(&mut all)).await;
    String::from_utf8(all).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_as_it_stands_on_the_wire() {
    let app = App::start("a").await;
    let stage = Stage::new().await;
    let output = format!(
        "{{\"do\":\"swap\",\"app\":\"web\",\"to\":{{\"id\":\"a\",\"address\":\"{}\"}}}}\n\
         {{\"do\":\"swap\",\"app\":\"web\",\"to\":null}}\n\
         {{\"do\":\"drain\",\"app\":\"web\",\"id\":\"a\",\"deadline_ms\":1000}}\n\
         {{\"do\":\"status\"}}\n",
        app.address
    );
    let answers = say(&stage, output.as_bytes()).await;
    let lines: Vec<&str> = answers.lines().collect();
    let status = format!(
        "{{\"status\":{{\"serving\":true,\"connections\":0,\"listeners\":[\"{}\"],\"apps\":[{{\"app\":\"web\",\
         \"current\":null,\"leaving\":[],\"waiting\":0}}]}}}}",
        stage.address
    );
    assert_eq!(
        lines,
        [
            "{\"swapped\":{\"before\":null}}",
            "{\"swapped\":{\"before\":\"a\"}}",
            "{\"drained\":{\"milliseconds\":0,\"tunnels_closed\":0,\"requests_cut\":0,\"tunnels_cut\":0}}",
            &status,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_command_changes_nothing() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    for (line, part) in [
        ("hello\n", "not a command"),
        ("{\"do\":\"stop\"}\n", "unknown variant"),
        ("{\"do\":\"status\",\"extra\":1}\n", "unknown field"),
        (
            "{\"do\":\"swap\",\"app\":\"web\",\"to\":{\"id\":\"b\",\"address\":\"host:80\"}}\n",
            "socket address",
        ),
        ("{\"do\":\"swap\",\"app\":\"nobody\",\"to\":null}\n", "no route has an application `nobody`"),
        (
            "{\"do\":\"routes\",\"routes\":[{\"app\":\"web\",\"listen\":\"80\"}]}\n",
            "expected an address with port",
        ),
        ("{\"do\":\"status\"}", "line break"),
    ] {
        let answer = say(&stage, line.as_bytes()).await;
        assert!(
            answer.starts_with("{\"error\":{\"code\":\"refused\"") && answer.contains(part),
            "{line}: {answer}"
        );
    }
    // Nothing says that this line ends: it is not waited for.
    let mut endless = UnixStream::connect(&stage.admin).await.expect("connected");
    endless.write_all(&vec![b' '; LONGEST_LINE]).await.expect("sent");
    let mut answer = String::new();
    soon(endless.read_to_string(&mut answer)).await.expect("answered and closed");
    assert!(answer.contains("at most"), "{answer}");
    assert_eq!(text(&stage.get("/").await), "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_come_as_a_whole_or_not_at_all() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut second = stage.route("second");
    second.listen = Listen::Tcp(taken.local_addr().expect("an address"));
    let free = stage.directory.path().join("free.sock");
    let mut third = stage.route("third");
    third.listen = Listen::Unix(free.clone());
    let routes = |routes: &[&autotag_proxy::routes::Route]| Command::Routes {
        routes: routes.iter().copied().cloned().collect(),
    };
    match stage.call(&routes(&[&second, &third])).await {
        AdminAnswer::Error(error) => assert_eq!(error.code, ErrorCode::PortInUse, "{error:?}"),
        other => panic!("{other:?}"),
    }
    let status = stage.status().await;
    assert_eq!(status.listeners, [Listen::Tcp(stage.address)]);
    assert_eq!(text(&stage.get("/").await), "a");

    // Given again, an application keeps its container; one that is not given again is gone.
    drop(taken);
    assert_eq!(stage.call(&routes(&[&stage.route("web"), &second])).await, AdminAnswer::Done {});
    assert_eq!(text(&stage.get("/").await), "a");
    assert_eq!(stage.status().await.listeners.len(), 2);
    assert_eq!(stage.call(&routes(&[&second])).await, AdminAnswer::Done {});
    let status = stage.status().await;
    assert_eq!(status.apps.iter().map(|app| app.app.as_str()).collect::<Vec<_>>(), ["second"]);
    assert_eq!(status.listeners, [second.listen]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners() {
    let stage = Stage::new().await;
    let mode = std::fs::metadata(&stage.admin).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_reads_what_has_happened() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    for _ in 0..3 {
        stage.get("/").await;
    }
    stage.raw(b"GET / HTTP/1.1\r\n\r\n").await;
    stage.until(|app| app.current.as_ref().is_some_and(|current| current.requests == 0)).await;
    let answer = say(&stage, b"GET /metrics HTTP/1.1\r\nHost: proxy\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("version=0.0.4"), "{head}");
    for line in [
        "autotag_proxy_answers_total{app=\"web\",class=\"2xx\"} 3",
        "autotag_proxy_seconds_count{app=\"web\"} 3",
        "autotag_proxy_sent_bytes_total{app=\"web\"} 3",
        "autotag_proxy_refused_total 1",
        "autotag_proxy_swaps_total{app=\"web\"} 1",
        "autotag_proxy_up{app=\"web\"} 1",
    ] {
        assert!(body.lines().any(|found| found == line), "{line} is missing in\n{body}");
    }
    let other = say(&stage, b"GET / HTTP/1.1\r\nHost: proxy\r\n\r\n").await;
    assert!(other.starts_with("HTTP/1.1 404"), "{other}");
}
