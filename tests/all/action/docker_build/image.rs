//! What an image holds, file by file.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::Command;

use autotag_model::reference::Digest;

/// One file of an image: its kind, mode, size, the second that it was changed in, its target, its content.
pub type Held = (u8, u32, u64, u64, String, Digest);

/// Everything below a directory of the image, by the names below it.
pub fn holds(image: &Digest, directory: &str) -> BTreeMap<String, Held> {
    let docker = |arguments: &[&str]| {
        let output = Command::new("docker").args(arguments).output().expect("Docker's client");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let container = String::from_utf8(docker(&["create", image.as_str(), "/none"])).expect("an id");
    let exported = docker(&["export", container.trim()]);
    docker(&["rm", "--force", container.trim()]);
    let mut held = BTreeMap::new();
    for entry in tar::Archive::new(exported.as_slice()).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = entry.path_bytes().into_owned();
        let path =
            String::from_utf8(path).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string());
        let Some(name) = path.trim_end_matches('/').strip_prefix(directory) else { continue };
        let name = name.trim_start_matches('/').to_owned();
        let target = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        let header = entry.header();
        let (mode, mtime) = (header.mode().expect("a mode") & 0o7777, header.mtime().expect("a time"));
        let kind = header.entry_type().as_byte();
        let size = content.len() as u64;
        held.insert(name, (kind, mode, size, mtime, target.unwrap_or_default(), Digest::of(&content)));
    }
    held.remove("");
    held
}

/// The names alone.
pub fn names(image: &Digest, directory: &str) -> Vec<String> {
    holds(image, directory).into_keys().collect()
}
