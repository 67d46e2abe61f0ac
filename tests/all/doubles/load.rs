//! The tests' own application and clients: the clients see what is lost, and the application's image runs.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use testkit::images::app_image::{AppImage, TEST_LABEL};
use testkit::load::{ClientKind, Failure, Load, Mix};
use testkit::registry::{Auth, Registry};

/// A server that treats each request's connection in the same way.
fn server(treat: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let treat = std::sync::Arc::new(treat);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let treat = std::sync::Arc::clone(&treat);
            std::thread::spawn(move || {
                let mut stream = stream;
                // One request, as small as they are, comes in one piece.
                let _ = stream.read(&mut [0; 4096]);
                treat(&mut stream);
            });
        }
    });
    address
}

fn seen_by(kind: ClientKind, address: SocketAddr) -> testkit::load::KindReport {
    let load = Load::start(address, &Mix::only(kind, 2));
    load.warm_up(3);
    load.stop().kinds[&kind].clone()
}

#[test]
fn what_goes_wrong_is_counted_by_its_kind() {
    let say = |words: &'static str| move |stream: &mut TcpStream| _ = stream.write_all(words.as_bytes());
    let web_socket = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    for (kind, words, failure) in [
        (ClientKind::Busy, "", Failure::NoAnswer),
        (ClientKind::New, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Failure::CutShort),
        (ClientKind::Slow, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", Failure::Status),
        (ClientKind::Stream, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npiece;", Failure::WrongAnswer),
        (ClientKind::WebSocket, "HTTP/1.1 503 No\r\n\r\n", Failure::Status),
        (ClientKind::WebSocket, web_socket, Failure::Unclean),
    ] {
        let report = seen_by(kind, server(say(words)));
        assert_eq!(report.good, 0, "{kind:?}: {words:?} was taken for an answer");
        assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&failure], "{kind:?} {:?}", report.examples);
    }
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    assert!(seen_by(ClientKind::Idle, free).failures.contains_key(&Failure::Connect));
}

#[test]
fn a_close_counts_as_clean_only_by_the_rules() {
    let closing = |code: u16| {
        move |stream: &mut TcpStream| {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            let [high, low] = code.to_be_bytes();
            let _ = stream.write_all(&[0x88, 2, high, low]);
            // What the client says until its own Close, or until it leaves.
            let mut bytes = BufReader::new(stream).bytes().map_while(Result::ok);
            if bytes.any(|byte| byte == 0x88) {
                bytes.nth(6);
            }
        }
    };
    let report = seen_by(ClientKind::WebSocket, server(closing(1012)));
    assert!(report.closed > 0 && report.lost() == 0, "{report:?}");
    for wrong in [closing(1000), closing(1011)] {
        assert!(seen_by(ClientKind::WebSocket, server(wrong)).failures.contains_key(&Failure::Unclean));
    }
}

/// What a container says with these variables, run to its end.
fn run(image: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new("docker")
        .args(["run", "--rm", "--network=none", "--label", TEST_LABEL])
        .args(arguments)
        .arg(image)
        .output()
        .expect("docker");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), text + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_image_runs_out_of_a_registry_and_straight() {
    let registry = Registry::start(&Auth::None);
    let image =
        AppImage::new("1.2.3").commit(&"a".repeat(40)).environment("CRASH_AFTER_MS", "50").healthcheck();
    let digest = registry.put("org/app", "1.2.3", &image.for_registry());
    let pulled = format!("{}@{digest}", registry.image("org/app"));
    let imported = format!("autotag-deploy-test/load:{}", std::process::id());
    image.import(&imported);
    for name in [&pulled, &imported] {
        let (status, words) = run(name, &["--env", "SAY=::error::hello"]);
        assert_eq!(status, Some(3), "{name}: {words}");
        for expected in ["test-app 1.2.3", "::error::hello", "listening on", "told to crash"] {
            assert!(words.contains(expected), "{name}: {expected} is missing in {words}");
        }
        let (status, words) = run(name, &["--env", "MANNER=odd"]);
        assert_eq!(status, Some(2), "{name}: {words}");
        let inspected = Command::new("docker")
            .args([
                "image",
                "inspect",
                "--format",
                "{{json .Config.Labels}} {{json .Config.Healthcheck}}",
                name,
            ])
            .output()
            .expect("docker");
        let inspected = String::from_utf8_lossy(&inspected.stdout).into_owned();
        for expected in ["image.version\":\"1.2.3\"", "image.revision\":\"aaaa", TEST_LABEL, "\"check\"]"] {
            assert!(inspected.contains(expected), "{name}: {expected} is missing in {inspected}");
        }
    }
    let removed = Command::new("docker").args(["image", "rm", "--force", &pulled, &imported]).output();
    assert!(removed.expect("docker").status.success());
}
