//! The way to the server, and in: each obstacle has its words.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use autotag_base::{CallErrorKind, Effect};

use super::{ClientKey, Deadlines, PATIENT, Server, Sshd, host, private_key, run, run_within};
use testkit::processes::sshd::SystemUser;

const SHORT: Deadlines = Deadlines { connect: Duration::from_millis(700), ..PATIENT };

#[tokio::test]
async fn keys_of_all_usual_kinds_log_in_as_pasted() {
    let kinds: [&[&str]; 5] = [
        &["-t", "ed25519", "-N", ""],
        &["-t", "rsa", "-b", "2048", "-N", ""],
        &["-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"],
        &["-t", "ecdsa", "-N", ""],
        &["-t", "ecdsa", "-N", "", "-m", "PKCS8"],
    ];
    let keys = kinds.map(ClientKey::generate);
    let builder =
        keys.iter().fold(Sshd::with_host_key("ed25519"), |sshd, key| sshd.authorize("root", "", key));
    let sshd = builder.start();
    for key in &keys {
        let mut host = host(sshd.port(), key, &sshd.known_hosts());
        for pasted in
            [key.private.clone(), key.private.replace('\n', "\r\n"), key.private.trim().replace('\n', " ")]
        {
            host.key = private_key(&pasted);
            let ran = run(&host, "echo hello", "").await;
            assert!(ran.outcome.is_ok(), "{}: {:?}", key.public, ran.outcome);
            assert_eq!(ran.lines, ["hello"]);
        }
    }
}

#[tokio::test]
async fn a_restricted_user_gets_the_forced_command_whatever_is_asked() {
    let key = ClientKey::ed25519();
    let user = SystemUser::create("ssh");
    let options = "restrict,command=\"printf '%s as %s\\n' \\\"$SSH_ORIGINAL_COMMAND\\\" $(id -un)\"";
    let sshd = Sshd::with_host_key("ed25519").authorize(user.name(), options, &key).start();
    let mut host = host(sshd.port(), &key, &sshd.known_hosts());
    host.user = user.name().to_owned();
    let ran = run(&host, "deploy; rm -rf /", "").await;
    assert!(ran.outcome.is_ok(), "{:?}\n{}", ran.outcome, sshd.log());
    assert_eq!(ran.lines, [format!("deploy; rm -rf / as {}", user.name())]);
}

#[tokio::test]
async fn a_refused_key_is_reported_with_the_fixing_command() {
    let server = Server::start();
    let mut host = server.host();
    host.key = private_key(&ClientKey::ed25519().private);
    host.user = "autotag-shop".to_owned();
    let ran = run(&host, "status", "").await;
    assert_eq!(ran.outcome.as_ref().map_err(|error| error.kind), Err(CallErrorKind::Denied));
    ran.must_be_an_error(Effect::None, &["autotag-shop", "autotag-receiver init shop --key", "`deploy-key`"]);
}

#[tokio::test]
async fn an_unusable_key_is_reported_before_connecting() {
    let server = Server::start();
    let mut host = server.host();
    // The right form, and no key in it.
    let text = "-----BEGIN RSA PRIVATE KEY-----\nMIICXAIBAAKBgQ==\n-----END RSA PRIVATE KEY-----";
    host.key = private_key(text);
    run(&host, "status", "")
        .await
        .must_be_an_error(Effect::None, &["the key cannot be used", "`deploy-key`"]);
}

#[tokio::test]
async fn a_server_that_runs_nothing_says_so() {
    let key = ClientKey::ed25519();
    let sshd = Sshd::with_host_key("ed25519").directive("MaxSessions 0").authorize("root", "", &key).start();
    let ran = run(&host(sshd.port(), &key, &sshd.known_hosts()), "status", "").await;
    assert_eq!(ran.outcome.as_ref().map_err(|error| error.kind), Err(CallErrorKind::Denied));
    ran.must_be_an_error(Effect::None, &["runs no command", "autotag-receiver init"]);
}

#[tokio::test]
async fn an_address_without_a_server_is_recognised() {
    let server = Server::start();
    let closed =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port").local_addr().expect("one").port();
    let words = ["no connection", "127.0.0.1", "refused", "`deploy-port`"];
    run(&server.host_at(closed), "status", "").await.must_be_an_error(Effect::None, &words);
    let mut host = server.host();
    host.host = "no-such-host.invalid".to_owned();
    run(&host, "status", "").await.must_be_an_error(Effect::None, &["has no address", "`deploy-host`"]);
}

#[tokio::test]
async fn a_silent_ssh_server_times_out() {
    let server = Server::start();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let host = server.host_at(silent.local_addr().expect("an address").port());
    let words = ["within 0.7 s", "`deploy-port`"];
    run_within(&host, "status", "", SHORT).await.must_be_an_error(Effect::None, &words);
}

#[tokio::test]
async fn what_is_no_ssh_server_is_shown() {
    let server = Server::start();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let host = server.host_at(listener.local_addr().expect("an address").port());
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    let ran = run(&host, "status", "").await;
    assert_eq!(ran.outcome.as_ref().map_err(|error| error.kind), Err(CallErrorKind::InvalidResponse));
    ran.must_be_an_error(Effect::None, &["SSH server", "`deploy-port`"]);
}
