//! The smallest images that a registry and Docker take: an empty layer, a configuration, a manifest.

use autotag_model::reference::Digest;
use serde_json::{Value, json};

/// What images that are to run are for: the machine that tests run on.
pub const ARCHITECTURE: &str = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
/// The media type of an OCI manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The media type of an OCI index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An image, or an index over images, with everything that belongs to it.
#[derive(Debug, Clone)]
pub struct TinyImage {
    /// The manifest's bytes.
    pub manifest: Vec<u8>,
    /// Its media type.
    pub media_type: &'static str,
    /// Configuration and layers.
    pub blobs: Vec<Vec<u8>>,
    /// The images of an index.
    pub children: Vec<TinyImage>,
}

impl TinyImage {
    /// An image for linux/amd64 with these labels; other labels make another digest.
    pub fn labelled(labels: &[(&str, &str)]) -> Self {
        Self::of_architecture("amd64", labels)
    }

    /// An image for another architecture of Linux.
    pub fn of_architecture(architecture: &str, labels: &[(&str, &str)]) -> Self {
        // Two blocks of zeros are an archive without entries.
        let layer = vec![0; 1024];
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let configuration = json!({
            "created": "2026-01-01T00:00:00Z",
            "architecture": architecture,
            "os": "linux",
            "config": { "Labels": labels },
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer).as_str()] },
        });
        let configuration = configuration.to_string().into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &configuration),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        });
        Self {
            manifest: manifest.to_string().into_bytes(),
            media_type: MANIFEST,
            blobs: vec![configuration, layer],
            children: Vec::new(),
        }
    }

    /// An index over these images, which must have been made by [`TinyImage::of_architecture`].
    pub fn index(children: Vec<(&str, Self)>) -> Self {
        let entries: Vec<Value> = children
            .iter()
            .map(|(architecture, child)| {
                let mut entry = descriptor(child.media_type, &child.manifest);
                entry["platform"] = json!({ "os": "linux", "architecture": architecture });
                entry
            })
            .collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        Self {
            manifest: manifest.to_string().into_bytes(),
            media_type: INDEX,
            blobs: Vec::new(),
            children: children.into_iter().map(|(_, child)| child).collect(),
        }
    }

    /// The manifest's digest.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }
}

/// What a manifest says of a blob.
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len() })
}
