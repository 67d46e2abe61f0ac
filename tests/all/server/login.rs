//! The registry login that a request brings: it opens one pull, and is nowhere afterwards.

use std::path::Path;

use autotag_deploy::deploy::protocol::{Body, End};
use autotag_deploy::secret::{Credentials, Secret};

use crate::support::registry::Auth;
use crate::support::server::{Images, deploy, docker};

use super::key::Door;

const PASSWORD: &str = "pa55-word-that-is-nowhere";

#[test]
fn a_login_opens_one_pull_and_is_nowhere_afterwards() {
    let door = Door::to(Images::with(&Auth::basic("reader", PASSWORD)));
    let (images, server) = (&door.images, &door.server);
    let digest = images.push("1.0.0");

    let end = server.deploy(deploy(images.name(), "1.0.0", &digest)).outcome.end;
    assert!(!matches!(end, End::Deployed {}), "the registry is closed: {end:?}");

    let mut with_login = deploy(images.name(), "1.0.0", &digest);
    let password = Secret::new(PASSWORD).expect("not empty");
    with_login.credential = Some(Credentials { username: "reader".to_owned(), password });
    let request = door.request(Body::Deploy(Box::new(with_login)));
    let output = door.ssh(&[], &["deploy"], &request);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(server.get("/").1.contains("1.0.0"), "{told}");

    let mut texts = vec![("the answers", told), ("sshd's log", door.sshd.log())];
    for container in server.containers() {
        texts.push(("docker inspect", docker(&["inspect", &container])));
        texts.push(("docker logs", docker(&["logs", &container])));
    }
    assert_eq!(texts.len(), 4, "one container runs");
    for (what, text) in texts {
        assert!(!text.contains(PASSWORD), "{what}: {text}");
    }
    let seen = search(server.folder.path());
    assert!(seen > 4, "only {seen} files: the journal, the state and the logs are among them");

    // Nor is it kept in memory for the next one.
    let next = images.push("1.0.1");
    let end = server.deploy(deploy(images.name(), "1.0.1", &next)).outcome.end;
    assert!(!matches!(end, End::Deployed {}), "the registry is closed again: {end:?}");
    assert!(server.get("/").1.contains("1.0.0"));
}

/// Reads all files below a folder; tells how many there are.
fn search(folder: &Path) -> usize {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let (path, kind) = entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))).expect("an entry");
        // The program itself is large, and was there before.
        if path.ends_with("usr") {
            continue;
        }
        if kind.is_dir() {
            count += search(&path);
        } else if kind.is_file() {
            let bytes = std::fs::read(&path).expect("a file");
            assert!(!String::from_utf8_lossy(&bytes).contains(PASSWORD), "it is in {}", path.display());
            count += 1;
        }
    }
    count
}
