//! The registry's storage: distribution's file layout, version 2.

use std::fs;
use std::path::{Path, PathBuf};

use autotag_model::reference::Digest;

use crate::images::tiny_image::TinyImage;

/// `docker/registry/v2` under the configured root.
#[derive(Debug)]
pub struct Storage(PathBuf);

impl Storage {
    /// Of this root.
    pub fn new(root: &Path) -> Self {
        Self(root.join("docker/registry/v2"))
    }

    fn repository(&self, name: &str) -> PathBuf {
        self.0.join("repositories").join(name)
    }

    fn tag_directory(&self, repository: &str, tag: &str) -> PathBuf {
        self.repository(repository).join("_manifests/tags").join(tag)
    }

    fn blob_file(&self, digest: &Digest) -> PathBuf {
        let hex = hex(digest);
        self.0.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// Sorted.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.repository(repository).join("_manifests/tags")) else {
            return Vec::new();
        };
        let mut tags: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a tag")).collect();
        tags.sort();
        tags
    }

    /// What a tag points at.
    pub fn digest(&self, repository: &str, tag: &str) -> Option<Digest> {
        let link = fs::read_to_string(self.tag_directory(repository, tag).join("current/link")).ok()?;
        Some(link.trim().parse().expect("a digest"))
    }

    /// How many uploads were begun and neither ended nor cancelled.
    pub fn open_uploads(&self, repository: &str) -> usize {
        let Ok(entries) = fs::read_dir(self.repository(repository).join("_uploads")) else { return 0 };
        // Distribution 2.8 leaves the checksum's state of a cancelled one behind, and nothing else.
        entries.filter(|entry| entry.as_ref().expect("an entry").path().join("startedat").exists()).count()
    }

    /// Takes an image's manifest out of a repository, as a clean-up does.
    pub fn remove_manifest(&self, repository: &str, digest: &Digest) {
        let revision = self.repository(repository).join("_manifests/revisions/sha256").join(hex(digest));
        fs::remove_dir_all(revision).expect("a manifest of this repository");
    }

    /// Everything that a tag has ever pointed at.
    pub fn history(&self, repository: &str, tag: &str) -> Vec<Digest> {
        let Ok(entries) = fs::read_dir(self.tag_directory(repository, tag).join("index/sha256")) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name().into_string();
        entries
            .map(|entry| format!("sha256:{}", name(entry).expect("hex")).parse().expect("a digest"))
            .collect()
    }

    /// The bytes of a blob or manifest.
    pub fn blob(&self, digest: &Digest) -> Option<Vec<u8>> {
        fs::read(self.blob_file(digest)).ok()
    }

    /// An image with all that belongs to it, under no tag.
    pub fn put_image(&self, repository: &str, image: &TinyImage) {
        for child in &image.children {
            self.put_image(repository, child);
        }
        let directory = self.repository(repository);
        for blob in &image.blobs {
            let digest = self.put_blob(blob);
            write_link(&directory.join("_layers/sha256").join(hex(&digest)), &digest);
        }
        let digest = self.put_blob(&image.manifest);
        write_link(&directory.join("_manifests/revisions/sha256").join(hex(&digest)), &digest);
    }

    fn put_blob(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let file = self.blob_file(&digest);
        fs::create_dir_all(file.parent().expect("a directory")).expect("the blob's directory");
        fs::write(file, bytes).expect("the blob");
        digest
    }

    /// Points a tag at a manifest.
    pub fn tag(&self, repository: &str, tag: &str, digest: &Digest) {
        let directory = self.tag_directory(repository, tag);
        write_link(&directory.join("index/sha256").join(hex(digest)), digest);
        write_link(&directory.join("current"), digest);
    }

    /// Takes a tag away.
    pub fn remove_tag(&self, repository: &str, tag: &str) {
        fs::remove_dir_all(self.tag_directory(repository, tag)).expect("the tag");
    }
}

fn hex(digest: &Digest) -> &str {
    digest.as_str().trim_start_matches("sha256:")
}

fn write_link(directory: &Path, digest: &Digest) {
    fs::create_dir_all(directory).expect("a link's directory");
    fs::write(directory.join("link"), digest.as_str()).expect("a link");
}
