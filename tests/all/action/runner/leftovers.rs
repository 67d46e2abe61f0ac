//! What a test makes in Docker: under a label of its own, and gone when the test ends.

use std::process::Command;

/// A label that nobody else has. Dropped, it takes away every container and image that carries it.
pub struct Leftovers {
    label: String,
}

impl Leftovers {
    /// Nothing yet. Panics where there is no Docker.
    pub fn new() -> Self {
        let version = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
        let version = version.expect("Docker's client is on PATH (Debian package docker.io)");
        let problem = String::from_utf8_lossy(&version.stderr);
        assert!(version.status.success(), "this test needs a running Docker Engine: {problem}");
        Self { label: format!("autotag-deploy.test={:016x}", rand::random::<u64>()) }
    }

    /// `KEY=VALUE`, as `docker --label` and the input `labels` want it.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The ids of images that carry the label.
    pub fn images(&self) -> Vec<String> {
        self.ids(&["image", "ls"])
    }

    /// The ids of containers that carry the label, stopped ones included.
    pub fn containers(&self) -> Vec<String> {
        self.ids(&["container", "ls", "--all"])
    }

    fn ids(&self, list: &[&str]) -> Vec<String> {
        let filter = format!("label={}", self.label);
        let listed = docker(&[list, &["--quiet", "--no-trunc", "--filter", &filter]].concat());
        let mut ids: Vec<String> = listed.lines().map(ToOwned::to_owned).collect();
        ids.sort();
        ids.dedup();
        ids
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        for container in self.containers() {
            docker(&["container", "rm", "--force", "--volumes", &container]);
        }
        for image in self.images() {
            docker(&["image", "rm", "--force", &image]);
        }
    }
}

/// What Docker's client prints; nothing where it fails.
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("Docker's client");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
