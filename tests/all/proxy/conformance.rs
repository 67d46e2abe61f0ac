//! HTTP as the RFCs want it, seen from both ends.

use std::fmt::Write as _;
use std::time::Duration;

use autotag_proxy::admin::{AdminAnswer, Command};
use autotag_proxy::listen::Listen;
use bytes::Bytes;
use http::{Request, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::app::{App, Chunks};
use super::stage::{Stage, ask, get, post, read_out, read_until, soon, text};

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_serves_many_requests_and_both_sides_keep_theirs() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let mut client = stage.connect().await;
    for _ in 0..20 {
        let response = ask(&mut client, get("/")).await.expect("an answer");
        assert_eq!((response.status(), text(&response)), (StatusCode::OK, "a"));
    }
    assert_eq!(app.requests(), 20);
    // One connection, or a second one where a request came before the first was put back.
    let status = stage.status().await;
    assert_eq!(status.connections, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_application_sees_the_request_and_where_it_came_from() {
    let app = App::start("a").await;
    let stage = Stage::with(|options| options.via = Some("autotag".to_owned())).await;
    stage.swap(&app).await;
    let seen = stage
        .raw(
            b"GET http://a.example:81/head?x=1 HTTP/1.1\r\nHost: other\r\nConnection: close, x-mine\r\n\
              X-Mine: 1\r\nX-Forwarded-For: 6.6.6.6\r\nCookie: a=1\r\n\r\n",
        )
        .await;
    let (head, body) = seen.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("via: 1.1 autotag"), "{head}");
    let mut lines: Vec<&str> = body.lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "GET /head?x=1 HTTP/1.1",
            "cookie: a=1",
            "host: a.example:81",
            "via: 1.1 autotag",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: a.example:81",
            "x-forwarded-proto: http",
            "x-real-ip: 127.0.0.1",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_in_front_is_believed() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let mut route = stage.route("web");
    route.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
    assert_eq!(stage.call(&Command::Routes { routes: vec![route] }).await, AdminAnswer::Done {});
    let mut request = get("/head");
    for (name, value) in [("x-forwarded-for", "198.51.100.7"), ("x-forwarded-proto", "https")] {
        request.headers_mut().insert(name, value.parse().expect("a value"));
    }
    let response = ask(&mut stage.connect().await, request).await.expect("an answer");
    let seen = text(&response);
    assert!(seen.contains("x-forwarded-for: 198.51.100.7, 127.0.0.1"), "{seen}");
    assert!(seen.contains("x-forwarded-proto: https"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_loses_what_was_the_connections_own() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let response = stage.get("/hop").await;
    let names: Vec<&str> = response.headers().keys().map(http::HeaderName::as_str).collect();
    for gone in ["connection", "keep-alive", "x-gone"] {
        assert!(!names.contains(&gone), "{names:?}");
    }
    assert_eq!(response.headers()["x-kept"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_arrive_whole_with_a_length_and_in_chunks() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let mut client = stage.connect().await;
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
    let response = ask(&mut client, post("/echo", body.clone())).await.expect("an answer");
    assert_eq!(response.body(), &body);
    let seen = stage
        .raw(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
              5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n",
        )
        .await;
    assert!(seen.contains("hello") && seen.contains(", world") && seen.ends_with("0\r\n\r\n"), "{seen}");
    let empty =
        stage.raw(b"POST /head HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
    assert!(
        empty.contains("content-length: 0") && !empty.contains("transfer-encoding: chunked\n"),
        "{empty}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_flow_both_ways_before_either_side_is_done() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let stream = TcpStream::connect(stage.address).await.expect("connected");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let (sender, body) = Chunks::new();
    let request = Request::post("/echo").header("host", "a").body(body).expect("a request");
    let mut response =
        soon(client.send_request(request)).await.expect("the head comes before the body is sent");
    for piece in ["one", "two", "three"] {
        sender.send(Some(hyper::body::Frame::data(Bytes::from(piece)))).await.expect("taken");
        let frame = soon(response.frame()).await.expect("more").expect("whole").into_data().expect("data");
        assert_eq!(frame, piece);
    }
    sender.send(None).await.expect("taken");
    assert!(soon(response.frame()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn continue_is_sent_when_the_body_is_wanted() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let mut stream = TcpStream::connect(stage.address).await.expect("connected");
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    assert_eq!(read_until(&mut stream, "\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.expect("sent");
    let rest = read_out(&mut stream).await;
    assert!(rest.starts_with("HTTP/1.1 200 OK") && rest.ends_with("hello"), "{rest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_have_none() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    for (request, status, length) in [
        ("HEAD / HTTP/1.1", "200", Some("content-length: 1")),
        ("GET /status?204 HTTP/1.1", "204", None),
        ("GET /status?304 HTTP/1.1", "304", None),
    ] {
        let seen = stage.raw(format!("{request}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await;
        assert!(seen.starts_with(&format!("HTTP/1.1 {status}")) && seen.ends_with("\r\n\r\n"), "{seen}");
        assert_eq!(seen.matches("\r\n\r\n").count(), 1, "{seen}");
        assert!(!seen.contains("transfer-encoding"), "{seen}");
        assert!(length.is_none_or(|length| seen.contains(length)), "{seen}");
    }
    // The connection is still in step afterwards.
    let mut client = stage.connect().await;
    for path in ["/status?204", "/status?304", "/"] {
        ask(&mut client, get(path)).await.expect("an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clients_get_what_they_can_read() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let seen = stage.raw(b"GET /stream?2 HTTP/1.0\r\n\r\n").await;
    assert!(seen.starts_with("HTTP/1.0 200 OK") && seen.ends_with("\r\n\r\npiece;piece;"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_may_be_large_but_not_endless() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let head = |bytes: usize, fields: usize| {
        let mut head = "GET /head HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".to_owned();
        for field in 0..fields {
            let value = "v".repeat(bytes / fields);
            write!(head, "x-{field}: {value}\r\n").expect("room");
        }
        head + "\r\n"
    };
    let large = stage.raw(head(40_000, 5).as_bytes()).await;
    assert!(large.starts_with("HTTP/1.1 200") && large.len() > 40_000, "{}", &large[..100]);
    for (bytes, fields) in [(200_000, 2), (2000, 150)] {
        let refused = stage.raw(head(bytes, fields).as_bytes()).await;
        assert!(refused.starts_with("HTTP/1.1 431"), "{bytes} in {fields}: {refused}");
    }
    assert_eq!(app.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_read_slowly() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let mut stream = TcpStream::connect(stage.address).await.expect("connected");
    let body = "x".repeat(300_000);
    let head = format!(
        "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let (mut reader, mut writer) = stream.split();
    let send = async {
        writer.write_all(head.as_bytes()).await.expect("sent");
        for piece in body.as_bytes().chunks(10_000) {
            writer.write_all(piece).await.expect("sent");
            autotag_base::clock::sleep(Duration::from_millis(2)).await;
        }
    };
    let read = async {
        let mut all = Vec::new();
        let mut piece = vec![0; 4096];
        loop {
            match reader.read(&mut piece).await.expect("read") {
                0 => return all,
                read => all.extend_from_slice(&piece[..read]),
            }
            autotag_base::clock::sleep(Duration::from_millis(2)).await;
        }
    };
    let ((), all) = soon(async { tokio::join!(send, read) }).await;
    let all = String::from_utf8(all).expect("text");
    assert_eq!(all.split_once("\r\n\r\n").expect("a head").1.matches('x').count(), body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let seen = stage
        .raw(b"GET /trailers HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n")
        .await;
    assert!(seen.ends_with("4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls_is_spoken_in_front() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let stream = TcpStream::connect(stage.address).await.expect("connected");
    let (mut client, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = |path: &str, body: &'static str| {
        let request =
            Request::post(format!("http://a.example{path}")).header("cookie", "a=1").header("cookie", "b=2");
        request.body(Full::new(Bytes::from(body))).expect("a request")
    };
    let answers = (0..20).map(|_| client.send_request(request("/echo", "hello"))).collect::<Vec<_>>();
    for answer in answers {
        let answer = soon(answer).await.expect("an answer");
        assert_eq!((answer.version(), answer.status()), (Version::HTTP_2, StatusCode::OK));
        assert_eq!(answer.collect().await.expect("whole").to_bytes(), "hello");
    }
    let seen = soon(client.send_request(request("/head", ""))).await.expect("an answer");
    let seen = seen.collect().await.expect("whole").to_bytes();
    let seen = std::str::from_utf8(&seen).expect("text");
    assert!(seen.starts_with("POST /head HTTP/1.1\n") && seen.contains("host: a.example"), "{seen}");
    assert!(seen.contains("cookie: a=1; b=2"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_and_listeners_lead_to_their_applications() {
    let (a, b) = (App::start("a").await, App::start("b").await);
    let stage = Stage::new().await;
    let socket = stage.directory.path().join("b.sock");
    let mut first = stage.route("web");
    first.hosts = vec!["a.example".to_owned()];
    let mut second = stage.route("other");
    second.listen = Listen::Unix(socket.clone());
    assert_eq!(stage.call(&Command::Routes { routes: vec![first, second] }).await, AdminAnswer::Done {});
    stage.swap(&a).await;
    let to = Some(autotag_proxy::upstream::Target { id: "b".to_owned(), address: b.address });
    stage.call(&Command::Swap { app: "other".to_owned(), to }).await;

    assert_eq!(text(&stage.get("/").await), "a");
    let nobody = stage.raw(b"GET / HTTP/1.1\r\nHost: x.example\r\n\r\n").await;
    assert!(nobody.starts_with("HTTP/1.1 404"), "{nobody}");
    let stream = UnixStream::connect(&socket).await.expect("connected");
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection);
    let response = ask(&mut client, get("/head")).await.expect("an answer");
    assert!(!text(&response).contains("x-forwarded-for"), "{}", text(&response));
    assert_eq!((a.requests(), b.requests()), (1, 1));
    assert_eq!(response.headers().get(header::CONNECTION), None);
}
