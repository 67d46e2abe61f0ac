//! Podman at Docker's socket: who expects Docker there is told.
//!
//! `scripts/engine-tests podman` starts the real one. Elsewhere this stands in for it, with the real one's answer.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use autotag_deploy::adapters::docker::Docker;
use autotag_receiver::engine::{BlockingEngine, DockerEngine, Engine as _};

/// What Podman 5.4.2 of Debian 13 answers to `GET /version`, as far as it counts.
const VERSION: &str = r#"{"Platform":{"Name":"linux/amd64/debian-13"},"Components":[{"Name":"Podman Engine","Version":"5.4.2","Details":{"APIVersion":"5.4.2","Arch":"amd64","Os":"linux"}},{"Name":"Conmon","Version":"conmon version 2.1.12"}],"Version":"5.4.2","ApiVersion":"1.41","MinAPIVersion":"1.24","Arch":"amd64","Os":"linux"}"#;

/// The socket at which Podman answers.
fn socket(directory: &Path) -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "the script that starts it says so")]
    if std::env::var("AUTOTAG_DEPLOY_TEST_ENGINE").is_ok_and(|engine| engine == "podman") {
        return PathBuf::from(DockerEngine::SOCKET);
    }
    let path = directory.join("podman.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.expect("a client");
            let mut asked = [0; 4096];
            let _ = client.read(&mut asked);
            let length = VERSION.len();
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let _ = client.write_all(format!("{head}{VERSION}").as_bytes());
        }
    });
    path
}

// case podman; broken by: `is_podman` that knows no name
pub async fn podman_is_refused_by_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = socket(directory.path());
    let deploying = DockerEngine::at(&socket).version().await.expect_err("Podman");
    let plain = socket.clone();
    let checking =
        tokio::task::spawn_blocking(move || BlockingEngine::at(plain).ping()).await.expect("no panic");
    let building = Docker::connect_to(&format!("unix://{}", socket.display())).await.expect_err("Podman");
    for error in [deploying, checking.expect_err("Podman"), building] {
        assert!(error.why.contains("this is Podman"), "{error}");
        assert!(error.remedy.as_deref().unwrap_or_default().contains("Docker Engine"), "{error:?}");
    }
}
