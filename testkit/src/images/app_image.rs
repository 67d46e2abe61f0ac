//! Images of the test application, made from nothing: the example `test-app`, and the libraries it needs.
//!
//! ```ignore
//! let image = AppImage::new("1.2.3").commit(&"a".repeat(40)).healthcheck();
//! let digest = registry.put("org/app", "1.2.3", &image.for_registry());   // to be pulled
//! image.import("autotag-deploy-test/app:1.2.3");                          // or straight into Docker
//! ```
//!
//! Every image has the same one layer, so twenty versions take the room of one.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use autotag_model::reference::Digest;
use serde_json::{Map, Value, json};

use crate::images::tiny_image::{ARCHITECTURE, MANIFEST, TinyImage, descriptor};
use crate::programs::built;

/// The label on everything that tests leave in Docker.
pub const TEST_LABEL: &str = "autotag-deploy.test";

/// Where the application listens, unless told otherwise.
pub const PORT: u16 = 3000;

/// An image to be made.
#[derive(Debug, Clone)]
pub struct AppImage {
    environment: Vec<(String, String)>,
    labels: Vec<(String, String)>,
    healthcheck: bool,
    volumes: Vec<String>,
}

impl AppImage {
    /// One of this version, which it answers and has as its label.
    pub fn new(version: &str) -> Self {
        let plain =
            Self { environment: Vec::new(), labels: Vec::new(), healthcheck: false, volumes: Vec::new() };
        plain
            .environment("VERSION", version)
            .label("org.opencontainers.image.version", version)
            .label(TEST_LABEL, "")
    }

    /// One that was built before anybody knew its version: it answers this text, and its labels name none.
    pub fn answering(text: &str) -> Self {
        let plain =
            Self { environment: Vec::new(), labels: Vec::new(), healthcheck: false, volumes: Vec::new() };
        plain.environment("VERSION", text).label(TEST_LABEL, "")
    }

    /// With the label of the commit that it was built from.
    pub fn commit(self, commit: &str) -> Self {
        self.label("org.opencontainers.image.revision", commit)
    }

    /// With a variable: see `test_app.rs` for those that it obeys.
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a label; the last word of a name counts.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.retain(|(label, _)| label != name);
        self.labels.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a HEALTHCHECK of its own, each second.
    pub fn healthcheck(mut self) -> Self {
        self.healthcheck = true;
        self
    }

    /// With a `VOLUME`.
    pub fn volume(mut self, path: &str) -> Self {
        self.volumes.push(path.to_owned());
        self
    }

    /// For [`crate::registry::Registry::put`].
    pub fn for_registry(&self) -> TinyImage {
        self.packed(layer().to_vec(), "application/vnd.oci.image.layer.v1.tar")
    }

    /// The same with its layer compressed: other bytes of the same content.
    pub fn compressed_for_registry(&self) -> TinyImage {
        let mut gzip = Command::new("gzip");
        let gzip = gzip.args(["--no-name", "--stdout"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut gzip = gzip.spawn().expect("gzip");
        let mut input = gzip.stdin.take().expect("a pipe");
        let writer = std::thread::spawn(move || input.write_all(layer()));
        let packed = gzip.wait_with_output().expect("gzip ends").stdout;
        writer.join().expect("no panic").expect("gzip reads all");
        self.packed(packed, "application/vnd.oci.image.layer.v1.tar+gzip")
    }

    fn packed(&self, packed: Vec<u8>, media_type: &str) -> TinyImage {
        let pairs = |pairs: &[(String, String)]| -> Map<String, Value> {
            pairs.iter().map(|(name, value)| (name.clone(), json!(value))).collect()
        };
        let environment: Vec<_> =
            self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut config = json!({
            "Entrypoint": ["/test-app"],
            "Env": environment,
            "ExposedPorts": { format!("{PORT}/tcp"): {} },
            "Labels": pairs(&self.labels),
        });
        let volumes: Map<String, Value> = self.volumes.iter().map(|path| (path.clone(), json!({}))).collect();
        config["Volumes"] = json!(volumes);
        if self.healthcheck {
            let second = 1_000_000_000_u64;
            config["Healthcheck"] = json!({ "Test": ["CMD", "/test-app", "check"], "Interval": second, "Timeout": second, "Retries": 2 });
        }
        let configuration = json!({
            "created": "2026-01-01T00:00:00Z",
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(layer()).as_str()] },
        });
        let configuration = configuration.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &configuration),
            "layers": [descriptor(media_type, &packed)],
        });
        TinyImage {
            manifest: manifest.to_string().into_bytes(),
            media_type: MANIFEST,
            blobs: vec![configuration, packed],
            children: Vec::new(),
        }
    }

    /// Puts it into Docker under a name, without a registry.
    pub fn import(&self, name: &str) {
        let mut import = Command::new("docker");
        import.arg("import");
        let mut change = |text: String| {
            import.args(["--change", &text]);
        };
        change("ENTRYPOINT [\"/test-app\"]".to_owned());
        change(format!("EXPOSE {PORT}"));
        for (variable, value) in &self.environment {
            change(format!("ENV {variable}={value:?}"));
        }
        for (label, value) in &self.labels {
            change(format!("LABEL {label}={value:?}"));
        }
        if self.healthcheck {
            change(
                "HEALTHCHECK --interval=1s --timeout=1s --retries=2 CMD [\"/test-app\", \"check\"]"
                    .to_owned(),
            );
        }
        let child =
            import.args(["-", name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap_or_else(|error| panic!("docker: {error}"));
        // Should Docker not take it, its words say more than the broken pipe.
        let _ = child.stdin.take().expect("a pipe").write_all(layer());
        let output = child.wait_with_output().expect("docker import ends");
        assert!(output.status.success(), "docker import: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The layer's tar archive: the same bytes each time that the program is the same.
pub fn layer() -> &'static [u8] {
    static LAYER: OnceLock<Vec<u8>> = OnceLock::new();
    LAYER.get_or_init(|| {
        let program = stripped(Path::new(built("test-app")));
        let mut archive = tar::Builder::new(Vec::new());
        add(&mut archive, Path::new("/test-app"), &program);
        for library in libraries(Path::new(built("test-app"))) {
            add(&mut archive, &library, &std::fs::read(&library).expect("a library can be read"));
        }
        archive.into_inner().expect("an archive in memory")
    })
}

fn add(archive: &mut tar::Builder<Vec<u8>>, path: &Path, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(0);
    let relative = path.strip_prefix("/").expect("an absolute path");
    archive.append_data(&mut header, relative, bytes).expect("an archive in memory");
}

/// The program without its symbols, which are nine tenths of it.
fn stripped(program: &Path) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let small = directory.path().join("small");
    let strip = Command::new("strip").arg("-o").args([&small, program]).status();
    match strip {
        Ok(status) if status.success() => std::fs::read(small).expect("the stripped program"),
        _ => std::fs::read(program).expect("the program"),
    }
}

/// What the program has to be started with, the loader included.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().expect("ldd");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)`, or the loader's path alone.
    let paths = text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    let paths: Vec<_> = paths.map(PathBuf::from).collect();
    assert!(!paths.is_empty(), "ldd {}: {text}", program.display());
    paths
}
