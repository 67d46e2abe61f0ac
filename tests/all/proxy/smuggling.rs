//! Requests that two readers could read differently: raw bytes, and what the application got to see.

use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::app::App;
use super::stage::{Stage, read_out, read_until, soon};
use autotag_proxy::upstream::Target;

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_are_refused_and_end_the_connection() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    // Behind each of them a second request, which nobody may answer.
    let second = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (head, status) in [
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nab", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\na", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "501"),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "501",
        ),
        ("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nX: 1\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Host\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: Content-Length\r\n\r\na", "400"),
        ("CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "501"),
        ("GET / HTTP/1.1\nX\rY: 1\r\nHost: a\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", "400"),
        ("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
    ] {
        let seen = stage.raw(format!("{head}{second}").as_bytes()).await;
        assert!(
            seen.starts_with(&format!("HTTP/1.1 {status}"))
                || seen.starts_with(&format!("HTTP/1.0 {status}")),
            "{head:?}: {seen}"
        );
        assert_eq!(seen.matches("HTTP/1.").count(), 1, "{head:?}: a second answer in {seen}");
    }
    assert_eq!(app.requests(), 0, "the application has seen one of them");
}

/// RFC 9112, 6.3: read by Transfer-Encoding alone, the length not passed on, the connection closed.
#[tokio::test(flavor = "multi_thread")]
async fn with_two_lengths_the_coding_counts_and_nothing_comes_after() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    for lengths in [
        "Content-Length: 45\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 45",
    ] {
        let before = app.requests();
        let seen = stage
            .raw(
                format!(
                    "POST /head HTTP/1.1\r\nHost: a\r\n{lengths}\r\n\r\n0\r\n\r\n\
                     GET /head?smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
                )
                .as_bytes(),
            )
            .await;
        assert_eq!(seen.matches("HTTP/1.1 ").count(), 1, "{seen}");
        assert!(!seen.contains("content-length: 45") && !seen.contains("smuggled"), "{seen}");
        assert!(seen.contains("transfer-encoding: chunked"), "{seen}");
        assert_eq!(app.requests(), before + 1);
    }
}

/// What the application may answer badly; each is the last thing that this connection carries.
#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_answer_is_not_forwarded() {
    let stage = Stage::new().await;
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        "no HTTP at all\r\n\r\n",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        stage.point_at(Some(Target { id: "odd".to_owned(), address })).await;
        let speak = async {
            let (mut stream, _) = soon(listener.accept()).await.expect("accepted");
            read_until(&mut stream, "\r\n\r\n").await;
            stream.write_all(answer.as_bytes()).await.expect("sent");
            // Held open until the proxy has made up its mind and closes.
            read_out(&mut stream).await;
        };
        let (seen, ()) =
            tokio::join!(stage.raw(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"), speak);
        assert!(seen.starts_with("HTTP/1.1 502"), "{answer:?}: {seen}");
    }
}

/// A connection to the application is not used again while it holds bytes that nobody asked for.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_an_answer_are_nobodys_answer() {
    let stage = Stage::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    stage.point_at(Some(Target { id: "odd".to_owned(), address })).await;
    let app = tokio::spawn(async move {
        for _ in 0..2 {
            let (mut stream, _) = soon(listener.accept()).await.expect("accepted");
            tokio::spawn(async move {
                read_until(&mut stream, "\r\n\r\n").await;
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood";
                let extra = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
                stream.write_all(format!("{answer}{extra}").as_bytes()).await.expect("sent");
                read_out(&mut stream).await;
            });
        }
    });
    let mut client = TcpStream::connect(stage.address).await.expect("connected");
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("sent");
        let seen = read_until(&mut client, "od").await;
        assert!(seen.ends_with("good") && !seen.contains("evil"), "{seen}");
    }
    app.await.expect("two connections");
}
