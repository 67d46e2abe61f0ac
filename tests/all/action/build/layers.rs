//! What an image is made of, unpacked: every file of its layers, its configuration, its history.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};

/// All that `docker save` gives of an image, one piece after another, layers unpacked. Whatever store the Engine
/// has: a layer may be compressed.
pub fn of_image(id: &str) -> Vec<u8> {
    let saved = Command::new("docker").args(["image", "save", id]).output().expect("Docker's client");
    assert!(saved.status.success(), "docker image save: {}", String::from_utf8_lossy(&saved.stderr));
    let mut all = Vec::new();
    let mut archive = tar::Archive::new(saved.stdout.as_slice());
    for entry in archive.entries().expect("a tar") {
        let mut bytes = Vec::new();
        entry.expect("an entry").read_to_end(&mut bytes).expect("its bytes");
        // A layer's own tar names files and has them as they are.
        all.extend(if bytes.starts_with(&[0x1f, 0x8b]) { unzipped(bytes) } else { bytes });
    }
    all
}

fn unzipped(bytes: Vec<u8>) -> Vec<u8> {
    let mut gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gzip");
    let mut input = gzip.stdin.take().expect("a pipe");
    // Elsewhere: what comes out must be read meanwhile.
    let writer = std::thread::spawn(move || input.write_all(&bytes));
    let output = gzip.wait_with_output().expect("gzip ends");
    writer.join().expect("the writer ends").expect("gzip reads");
    assert!(output.status.success(), "a layer that is no gzip");
    output.stdout
}

/// Where a text stands in it, if it does: some of what is around.
pub fn found(bytes: &[u8], text: &str) -> Option<String> {
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes())?;
    let around = &bytes[at.saturating_sub(60)..(at + text.len()).min(bytes.len())];
    Some(String::from_utf8_lossy(around).into_owned())
}

/// A text as it stands in JSON, by Rust's writer and by Go's, which escapes what HTML reads.
pub fn in_json(text: &str) -> [String; 2] {
    let quoted = serde_json::to_string(text).expect("JSON");
    let inner = quoted[1..quoted.len() - 1].to_owned();
    let of_go = inner.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    [inner, of_go]
}
