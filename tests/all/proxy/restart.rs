//! The proxy's own restart and upgrade: a successor on the same socket, the predecessor as a lame duck.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use super::process::ProxyProcess;
use testkit::load::{ClientKind, Load, Mix};
use testkit::processes::app_process::AppProcess;

/// Handings-over from one process to the next.
const RESTARTS: usize = 4;

/// The socket is inherited by both, so what waits in its queue is taken by whoever is there; SIGTERM comes
/// once the successor has its routes and its container.
#[test]
fn a_successor_takes_over_and_no_client_notices() {
    let app = AppProcess::start(&[("VERSION", "1.0.0")]);
    let directory = tempfile::tempdir().expect("a directory");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut serving = ProxyProcess::start(&socket, directory.path());
    serving.swap("app", app.address);
    let load = Load::start(serving.address, &Mix::small());
    load.warm_up(2);
    for _ in 0..RESTARTS {
        let successor = ProxyProcess::start(&socket, directory.path());
        successor.swap("app", app.address);
        let predecessor = std::mem::replace(&mut serving, successor);
        assert!(predecessor.terminate().success());
    }
    load.warm_up(2);
    let report = load.stop();
    println!("{RESTARTS} restarts\n{report}");
    report.assert_nothing_lost();
    let closed = report.kinds[&ClientKind::WebSocket].closed;
    assert!(closed >= RESTARTS as u64, "only {closed} WebSockets lived through a restart");
}

/// With one service alone there is a gap: clients wait in the socket's queue, late but not lost.
#[test]
fn who_comes_between_two_processes_is_served_by_the_second() {
    let app = AppProcess::start(&[("VERSION", "1.0.0")]);
    let directory = tempfile::tempdir().expect("a directory");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let first = ProxyProcess::start(&socket, directory.path());
    first.swap("app", app.address);
    assert!(first.terminate().success());
    let mut client = TcpStream::connect(socket.local_addr().expect("an address")).expect("queued");
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("sent");
    let second = ProxyProcess::start(&socket, directory.path());
    second.swap("app", app.address);
    client.set_read_timeout(Some(super::stage::LONG)).expect("a timeout");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("1.0.0"), "{answer}");
}
