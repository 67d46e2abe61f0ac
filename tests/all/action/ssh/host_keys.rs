//! Only the known server is spoken to.

use autotag_base::{CallErrorKind, Effect};

use super::{ClientKey, PATIENT, Ran, host, run, run_within};
use testkit::processes::sshd::{Builder, Sshd};

const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILa7tlV1kwe8CFx1NLdUc2XiHaRViwg5IokETotQmYyW";

fn with_all_keys() -> (Sshd, ClientKey) {
    let key = ClientKey::ed25519();
    let sshd =
        Sshd::with_host_key("ed25519").host_key("ecdsa").host_key("rsa").authorize("root", "", &key).start();
    (sshd, key)
}

async fn hello(sshd: &Sshd, key: &ClientKey, known_hosts: &str) -> Ran {
    run(&host(sshd.port(), key, known_hosts), "echo hello", "").await
}

#[tokio::test]
async fn every_way_of_knowing_a_host_is_enough() {
    let (sshd, key) = with_all_keys();
    let port = sshd.port();
    let hashed = {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("known_hosts");
        std::fs::write(&file, sshd.known_hosts_line("ed25519") + "\n").expect("known_hosts");
        let hashing =
            std::process::Command::new("ssh-keygen").arg("-q").arg("-H").arg("-f").arg(&file).status();
        assert!(hashing.expect("ssh-keygen").success());
        std::fs::read_to_string(&file).expect("known_hosts")
    };
    assert!(hashed.starts_with("|1|"), "{hashed}");
    let bare = |kind: &str| sshd.fingerprint_line(kind).split(' ').nth(1).expect("a fingerprint").to_owned();
    for known in [
        sshd.known_hosts(),
        format!("# a comment\r\nelsewhere {OTHER}\r\n\r\n{}\r\n", sshd.known_hosts_line("ed25519")),
        hashed.clone(),
        format!("[*.0.0.1]:{port} {}", sshd.public_key("ed25519")),
        // The server would show its ED25519 key, if it were not asked for the other.
        sshd.known_hosts_line("rsa"),
        sshd.known_hosts_line("ecdsa"),
        sshd.fingerprint_line("ed25519"),
        sshd.fingerprint_line("rsa"),
        // Which type it is, nobody says.
        bare("ed25519"),
        bare("ecdsa"),
        bare("rsa"),
    ] {
        let ran = hello(&sshd, &key, &known).await;
        assert!(ran.outcome.is_ok(), "{known}: {:?}", ran.outcome);
        assert_eq!(ran.lines, ["hello"], "{known}");
    }
}

#[tokio::test]
async fn a_changed_key_is_never_trusted() {
    let (sshd, key) = with_all_keys();
    let line = format!("[127.0.0.1]:{} {OTHER}", sshd.port());
    let print = sshd.fingerprint_line("ed25519").split(' ').nth(1).expect("a fingerprint").to_owned();
    let ran = hello(&sshd, &key, &line).await;
    assert_eq!(ran.outcome.as_ref().map_err(|error| error.kind), Err(CallErrorKind::Denied));
    let words =
        ["is not the known one", &print, "SHA256:Q7Nl4Bx9piomy8oT6M8J3q2whjgLqtEWg/KroiR5dcs", "do not just"];
    ran.must_be_an_error(Effect::None, &words);
    assert!(!sshd.log().contains("Accepted publickey"), "nobody logged in:\n{}", sshd.log());
}

#[tokio::test]
async fn an_unknown_host_is_shown_and_not_trusted() {
    let (sshd, key) = with_all_keys();
    let print = sshd.fingerprint_line("ed25519").split(' ').nth(1).expect("a fingerprint").to_owned();
    for known in [format!("elsewhere {OTHER}"), format!("[127.0.0.1]:1 {}", sshd.public_key("ed25519"))] {
        let words =
            ["no host key is known for [127.0.0.1]", &print, "`deploy-known-hosts`", "ssh-keygen -lf"];
        hello(&sshd, &key, &known).await.must_be_an_error(Effect::None, &words);
    }
    assert!(!sshd.log().contains("Accepted publickey"), "nobody logged in:\n{}", sshd.log());
}

#[tokio::test]
async fn a_wrong_fingerprint_shows_all_keys_that_the_server_has() {
    let (sshd, key) = with_all_keys();
    let ran = hello(&sshd, &key, "SHA256:Q7Nl4Bx9piomy8oT6M8J3q2whjgLqtEWg/KroiR5dcs").await;
    ran.must_be_an_error(
        Effect::None,
        &["(ssh-ed25519)", "(ecdsa-sha2-nistp256)", "(ssh-rsa)", "do not just"],
    );
    assert!(!sshd.log().contains("Accepted publickey"), "nobody logged in:\n{}", sshd.log());
}

#[tokio::test]
async fn a_server_without_its_known_key_type_has_changed() {
    let key = ClientKey::ed25519();
    let builder: Builder = Sshd::with_host_key("ed25519").authorize("root", "", &key);
    let sshd = builder.start();
    let (other, _) = with_all_keys();
    let line = format!("[127.0.0.1]:{} {}", sshd.port(), other.public_key("rsa"));
    let ran = run_within(&host(sshd.port(), &key, &line), "echo hello", "", PATIENT).await;
    ran.must_be_an_error(Effect::None, &["is not the known one", "(ssh-ed25519)", "(ssh-rsa)"]);
}
