//! An image with one static busybox, made without Docker: a registry takes it as it is.

use autotag_model::reference::Digest;
use serde_json::{Value, json};

use crate::images::tiny_image::{ARCHITECTURE, MANIFEST, TinyImage};

/// busybox as `/bin/sh` and under a few more names; `config` is the image's `config` (`Cmd`, `Labels` ...).
pub fn busybox_image(config: &Value) -> TinyImage {
    let layer = layer();
    let configuration = json!({
        "created": "2026-01-01T00:00:00Z",
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [Digest::of(&layer).as_str()] },
    });
    let configuration = configuration.to_string().into_bytes();
    let part = |media_type: &str, bytes: &[u8]| json!({ "mediaType": media_type, "digest": Digest::of(bytes).as_str(), "size": bytes.len() });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": part("application/vnd.oci.image.config.v1+json", &configuration),
        "layers": [part("application/vnd.oci.image.layer.v1.tar", &layer)],
    });
    TinyImage {
        manifest: manifest.to_string().into_bytes(),
        media_type: MANIFEST,
        blobs: vec![configuration, layer],
        children: Vec::new(),
    }
}

fn layer() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static at /bin/busybox");
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_mode(0o755);
    header.set_size(busybox.len() as u64);
    archive.append_data(&mut header, "bin/busybox", busybox.as_slice()).expect("an entry");
    for name in ["sh", "sleep", "cat", "echo", "id", "pwd", "httpd", "true", "false", "test", "touch", "rm"] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        archive.append_link(&mut header, format!("bin/{name}"), "busybox").expect("a link");
    }
    archive.into_inner().expect("the archive")
}
