//! The real `docker-registry` as a process of its own.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use autotag_model::reference::Digest;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// A running registry; it ends, and its files go, when this is dropped.
pub struct Distribution {
    /// `127.0.0.1:PORT`.
    pub address: String,
    _process: Child,
    _directory: TempDir,
}

impl Distribution {
    /// Starts one, with Basic authentication if there are users.
    pub async fn start(users: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().display();
        let login = if users.is_empty() {
            String::new()
        } else {
            htpasswd(&directory.path().join("users"), users);
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {path}/users\n")
        };
        let configuration = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {path}/data\nhttp:\n  addr: 127.0.0.1:0\n{login}"
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, configuration).expect("the configuration is written");
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("`docker-registry` (Debian: docker-registry) is installed");
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        let address = loop {
            let line = lines.next_line().await.expect("readable").expect("the registry starts");
            if let Some((_, rest)) = line.split_once("listening on ") {
                break rest.split(['"', ' ', ',']).next().expect("an address").to_owned();
            }
        };
        // Read on, or the registry stops when the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { address, _process: process, _directory: directory }
    }

    /// Uploads a blob to `org/app` (distribution specification, "Pushing a blob monolithically").
    pub async fn upload(&self, blob: &[u8]) -> Digest {
        autotag_deploy::adapters::install_tls();
        let client = reqwest::Client::new();
        let begun = client
            .post(format!("http://{}/v2/org/app/blobs/uploads/", self.address))
            .send()
            .await
            .expect("the upload begins");
        let location = begun.headers()["location"].to_str().expect("a URL").to_owned();
        let digest = Digest::of(blob);
        let mut url: reqwest::Url = location.parse().expect("a URL");
        url.query_pairs_mut().append_pair("digest", digest.as_str());
        let done = client.put(url).body(blob.to_vec()).send().await.expect("the upload ends");
        assert_eq!(done.status().as_u16(), 201);
        digest
    }
}

/// Writes the users with bcrypt, the only form that distribution reads.
fn htpasswd(file: &Path, users: &[(&str, &str)]) {
    std::fs::write(file, "").expect("writable");
    for (user, password) in users {
        let mut process = std::process::Command::new("htpasswd")
            .args(["-i", "-B"])
            .arg(file)
            .arg(user)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("`htpasswd` (Debian: apache2-utils) is installed");
        process.stdin.take().expect("piped").write_all(password.as_bytes()).expect("it reads");
        assert!(process.wait().expect("it ends").success(), "htpasswd for {user}");
    }
}
