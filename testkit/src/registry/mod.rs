//! A real registry (distribution 2.8, Debian's `docker-registry`) on a free loopback port.
//!
//! It is read and seeded through its storage, past the client under test and past its authentication.

mod storage;
mod tokens;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autotag_model::reference::{Digest, ImageName};
use serde_json::{Value, json};

use self::storage::Storage;
pub use self::tokens::{TokenRequest, TokenServer};
use crate::images::tiny_image::TinyImage;

/// How the registry asks who comes.
#[derive(Debug, Clone)]
pub enum Auth {
    /// Not at all.
    None,
    /// HTTP Basic, checked by the registry.
    Basic {
        /// The one user.
        user: String,
        /// The user's password.
        password: String,
    },
    /// Bearer tokens from a token server of the test's own, which takes Basic credentials.
    Token {
        /// The one user.
        user: String,
        /// The user's password.
        password: String,
    },
}

impl Auth {
    /// HTTP Basic.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    /// Bearer tokens.
    pub fn token(user: &str, password: &str) -> Self {
        Self::Token { user: user.to_owned(), password: password.to_owned() }
    }
}

/// A running registry. Dropped, it is killed and its storage is removed.
pub struct Registry {
    child: Child,
    address: String,
    directory: tempfile::TempDir,
    configuration: Value,
    storage: Storage,
    tokens: Option<TokenServer>,
    log: Arc<Mutex<String>>,
}

impl Registry {
    /// Starts one with empty storage, and comes back when it listens.
    pub fn start(auth: &Auth) -> Self {
        let directory = directory();
        let (auth, tokens) = auth_section(auth, directory.path());
        let storage = directory.path().join("storage");
        // JSON is YAML, which the registry reads.
        let configuration = json!({
            "version": 0.1,
            "log": { "level": "info", "accesslog": { "disabled": true } },
            "storage": {
                "filesystem": { "rootdirectory": storage },
                "delete": { "enabled": true },
                "maintenance": { "uploadpurging": { "enabled": false } },
            },
            "http": { "secret": "test" },
            "auth": auth,
        });
        let log = Arc::default();
        let (child, address) = launch(directory.path(), &configuration, "127.0.0.1:0", &log);
        Self { child, address, configuration, storage: Storage::new(&storage), tokens, log, directory }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.address
    }

    /// A repository of this registry.
    pub fn image(&self, repository: &str) -> ImageName {
        format!("{}/{repository}", self.address).parse().expect("an image's name")
    }

    /// The token server; panics where there is none.
    pub fn tokens(&self) -> &TokenServer {
        self.tokens.as_ref().expect("a registry with Auth::Token")
    }

    /// What the registry has logged.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// Kills it; storage and port stay its own.
    pub fn stop(&mut self) {
        // An error says that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub fn start_again(&mut self) {
        self.stop();
        (self.child, _) = launch(self.directory.path(), &self.configuration, &self.address, &self.log);
    }

    /// All tags of a repository, sorted; empty where there is no such repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.storage.tags(repository)
    }

    /// What a tag points at.
    pub fn digest(&self, repository: &str, tag: &str) -> Option<Digest> {
        self.storage.digest(repository, tag)
    }

    /// Everything that a tag has ever pointed at: the registry itself keeps this.
    pub fn history(&self, repository: &str, tag: &str) -> Vec<Digest> {
        self.storage.history(repository, tag)
    }

    /// How many uploads were begun and neither ended nor cancelled.
    pub fn open_uploads(&self, repository: &str) -> usize {
        self.storage.open_uploads(repository)
    }

    /// Takes an image's manifest out of a repository, as a clean-up does.
    pub fn remove_manifest(&self, repository: &str, digest: &Digest) {
        self.storage.remove_manifest(repository, digest);
    }

    /// A manifest's bytes.
    pub fn manifest(&self, digest: &Digest) -> Option<Vec<u8>> {
        self.storage.blob(digest)
    }

    /// Puts an image under a tag.
    pub fn put(&self, repository: &str, tag: &str, image: &TinyImage) -> Digest {
        self.storage.put_image(repository, image);
        let digest = image.digest();
        self.storage.tag(repository, tag, &digest);
        digest
    }

    /// Removes a tag; its manifest stays.
    pub fn remove_tag(&self, repository: &str, tag: &str) {
        self.storage.remove_tag(repository, tag);
    }

    /// Tags `0.0.1` to `0.0.n`, all of one tiny image; gives its digest.
    pub fn seed_tags(&self, repository: &str, count: usize) -> Digest {
        let image = TinyImage::labelled(&[]);
        self.storage.put_image(repository, &image);
        let digest = image.digest();
        for number in 1..=count {
            self.storage.tag(repository, &format!("0.0.{number}"), &digest);
        }
        digest
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A directory in memory where there is room: some disks take minutes to delete ten thousand tags.
fn directory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let asked = Command::new("df").args(["--output=avail", "--block-size=1M"]).arg(memory).output();
    let free = asked.ok().and_then(|output| String::from_utf8(output.stdout).ok());
    let free = free.and_then(|text| text.lines().last()?.trim().parse::<u64>().ok()).unwrap_or(0);
    let directory = if free > 1024 { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    directory.expect("a directory for the registry")
}

fn auth_section(auth: &Auth, directory: &Path) -> (Value, Option<TokenServer>) {
    match auth {
        Auth::None => (json!({}), None),
        Auth::Basic { user, password } => {
            // The lowest cost: this guards nothing, and every request pays it.
            let hash = bcrypt::hash_with_result(password, 4).expect("a hash");
            let file = directory.join("htpasswd");
            let line = format!("{user}:{}\n", hash.format_for_version(bcrypt::Version::TwoY));
            std::fs::write(&file, line).expect("the password file");
            (json!({ "htpasswd": { "realm": "test", "path": file } }), None)
        }
        Auth::Token { user, password } => {
            let tokens = TokenServer::start(user, password, directory);
            let section = json!({
                "realm": tokens.realm(),
                "service": tokens::SERVICE,
                "issuer": tokens::ISSUER,
                "rootcertbundle": tokens.certificate(),
            });
            (json!({ "token": section }), Some(tokens))
        }
    }
}

/// Starts the program and reads the address from its log: the port is chosen by the kernel, so no other
/// test can take it in between.
fn launch(
    directory: &Path,
    configuration: &Value,
    address: &str,
    log: &Arc<Mutex<String>>,
) -> (Child, String) {
    let file = directory.join("config.yml");
    let mut configuration = configuration.clone();
    configuration["http"]["addr"] = json!(address);
    std::fs::write(&file, configuration.to_string()).expect("the configuration");
    let mut child = Command::new("docker-registry")
        .args(["serve".as_ref(), file.as_os_str()])
        .env_clear()
        .env("OTEL_TRACES_EXPORTER", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("docker-registry (Debian package docker-registry): {error}"));
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let (sender, receiver) = mpsc::channel();
    let kept = Arc::clone(log);
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some((_, rest)) = line.split_once("listening on ") {
                let address = rest.split(['"', ' ', ',']).next().unwrap_or_default().to_owned();
                // Nobody waits any more after the first.
                let _ = sender.send(address);
            }
            let _ = writeln!(kept.lock().expect("the log"), "{line}");
        }
    });
    match receiver.recv_timeout(Duration::from_secs(20)) {
        Ok(address) => (child, address),
        Err(error) => {
            let _ = child.kill();
            panic!("docker-registry does not listen ({error}):\n{}", log.lock().expect("the log"));
        }
    }
}
