//! `volumes` and `tmpfs`: what is mounted into the container, in Compose's short and long forms.
//!
//! ```text
//! volume  = SOURCE ":" TARGET [ ":" mode *( "," mode ) ]
//! mode    = "ro" / "rw"                                    once
//!         / "z" / "Z"                                      once: SELinux
//!         / [ "r" ] ( "private" / "shared" / "slave" )     once, and of a path alone
//!         / "nocopy"                                       of a volume with a name alone
//! tmpfs   = TARGET [ ":" option *( "," option ) ]
//! option  = FLAG / NAME "=" VALUE                          see `super::tmpfs`
//! ```
//!
//! Whatever is none of these is a fault: Docker would take `/tmp:size=64m` for a directory of that name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::network::path;
use super::target::target;
use super::tmpfs::{self, Tmpfs};
use crate::config::app_file::reading::reader::{Fields, Reader, Spec, key};
use crate::config::app_file::syntax::tree::{Node, Value};
use crate::config::app_file::words::name;
use autotag_model::reference::ParseError;

/// Something mounted into the container.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Mount {
    /// What.
    pub source: Source,
    /// Where.
    pub target: PathBuf,
    /// Whether the container may only read it.
    pub read_only: bool,
    /// `z`: SELinux lets several containers at it; `Z`: this one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selinux: Option<&'static str>,
    /// Which mounts below it are seen on the other side.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation: Option<&'static str>,
    /// An empty volume is not filled with what the image has there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nocopy: bool,
    /// A path that is missing is an error; Docker makes a directory of it otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub must_exist: bool,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum Source {
    /// A volume that Docker keeps, by its name.
    Volume(String),
    /// A path of the host.
    Path(PathBuf),
}

impl Mount {
    fn plain(source: Source, target: PathBuf) -> Self {
        Self {
            source,
            target,
            read_only: false,
            selinux: None,
            propagation: None,
            nocopy: false,
            must_exist: false,
        }
    }

    /// What stands behind the target in Docker's own short form.
    pub fn modes(&self) -> Vec<&'static str> {
        let words = [self.read_only.then_some("ro"), self.selinux, self.propagation];
        words.into_iter().flatten().chain(self.nocopy.then_some("nocopy")).collect()
    }
}

const PROPAGATIONS: [&str; 6] = ["private", "rprivate", "shared", "rshared", "slave", "rslave"];

fn malformed<T>(expected: impl Into<String>) -> Result<T, ParseError> {
    Err(ParseError(expected.into()))
}

/// Compose's short syntax, `SOURCE:TARGET[:MODE,...]`.
pub(crate) fn mount(text: &str) -> Result<Mount, ParseError> {
    let parts: Vec<&str> = text.split(':').collect();
    let (from, to, modes) = match parts.as_slice() {
        [from, to] => (*from, *to, None),
        [from, to, modes] => (*from, *to, Some(*modes)),
        [to] if to.starts_with('/') => {
            return malformed(
                "a volume with a name, `NAME:TARGET`: one without is lost with its container at each \
                 deployment",
            );
        }
        _ => return malformed("`SOURCE:TARGET` or `SOURCE:TARGET:ro`"),
    };
    let mut mount = Mount::plain(source(from)?, target(to)?);
    let mut seen = BTreeSet::new();
    for word in modes.into_iter().flat_map(|modes| modes.split(',')) {
        let kind = mode(&mut mount, word)?;
        if !seen.insert(kind) {
            return malformed(format!("one option for {kind} after the target"));
        }
    }
    Ok(mount)
}

/// Sets one mode, and gives what it is about.
fn mode(mount: &mut Mount, word: &str) -> Result<&'static str, ParseError> {
    let of_path = matches!(mount.source, Source::Path(_));
    if let Some(known) = PROPAGATIONS.iter().find(|known| **known == word) {
        if !of_path {
            return malformed(format!("a path of this machine beside `{word}`: volumes have no propagation"));
        }
        mount.propagation = Some(known);
        return Ok("propagation");
    }
    Ok(match word {
        "ro" | "rw" => {
            mount.read_only = word == "ro";
            "reading and writing"
        }
        "z" | "Z" => {
            mount.selinux = Some(if word == "z" { "z" } else { "Z" });
            "SELinux"
        }
        "nocopy" if of_path => {
            return malformed("a volume with a name beside `nocopy`: nothing is copied to a path");
        }
        "nocopy" => {
            mount.nocopy = true;
            "copying"
        }
        "cached" | "delegated" | "consistent" => {
            return malformed(format!("no `{word}`: it means nothing on Linux"));
        }
        _ => {
            return malformed(
                "`ro` or `rw`, `z` or `Z`, a propagation such as `rslave`, or `nocopy` behind the target, \
                 with commas between them",
            );
        }
    })
}

fn source(text: &str) -> Result<Source, ParseError> {
    if text.starts_with('/') {
        if text.contains(':') {
            return malformed("an absolute path without `:`");
        }
        Ok(Source::Path(path(text)?))
    } else if text.starts_with(['.', '~']) {
        malformed("an absolute path: there is no directory that a relative one could start from")
    } else {
        name(text).map(Source::Volume)
    }
}

const VOLUME: &[Spec] = &[
    key("type", "`volume`, `bind` or `tmpfs`", "volume"),
    key("source", "a volume's name, or an absolute path", "data"),
    key("target", "an absolute path", "/var/lib/app"),
    key("read_only", "`true` or `false`", "true"),
    key("bind", "a map with `propagation`, `create_host_path`, `selinux`", "{propagation: rslave}"),
    key("volume", "a map with `nocopy`", "{nocopy: true}"),
    key("tmpfs", "a map with `size`, `mode`", "{size: 64m}"),
];
const ABSENT: &[(&str, &str)] = &[("consistency", "it means nothing on Linux; leave it out")];
const BIND: &[Spec] = &[
    key("propagation", "`rprivate`, `private`, `rshared`, `shared`, `rslave` or `slave`", "rslave"),
    key("create_host_path", "`true` or `false`", "false"),
    key("selinux", "`z` or `Z`", "z"),
];
const OF_VOLUME: &[Spec] = &[key("nocopy", "`true` or `false`", "true")];
const OF_TMPFS: &[Spec] =
    &[key("size", "a size", "64m"), key("mode", "permissions in octal, such as `0o1777`", "0o1777")];

/// All mounts of the container. Two at one place are a fault, as Docker has it.
pub(crate) fn mounts(reader: &mut Reader, fields: &mut Fields) -> (Vec<Mount>, BTreeSet<Tmpfs>) {
    let (mut volumes, mut memory) = (Vec::new(), BTreeSet::new());
    let mut places = BTreeSet::new();
    let mut free = |reader: &mut Reader, node: &Node, spec: &Spec, target: &Path| {
        let new = places.insert(target.to_owned());
        if !new {
            reader.fault(node, spec, format!("one mount at {}", target.display()));
        }
        new
    };
    for (node, spec) in each(fields, "volumes") {
        match one(reader, node.clone(), &spec) {
            Some(Mounted::Volume(mount)) if free(reader, &node, &spec, &mount.target) => volumes.push(mount),
            Some(Mounted::Memory(tmpfs)) if free(reader, &node, &spec, tmpfs.target()) => {
                memory.insert(tmpfs);
            }
            _ => {}
        }
    }
    for (node, spec) in each(fields, "tmpfs") {
        if let Some(tmpfs) = reader.parse(&node, &spec, tmpfs::short)
            && free(reader, &node, &spec, tmpfs.target())
        {
            memory.insert(tmpfs);
        }
    }
    (volumes, memory)
}

fn each(fields: &mut Fields, name: &'static str) -> Vec<(Node, Spec)> {
    let Some((node, spec)) = fields.take(name) else { return Vec::new() };
    Reader::items(node).into_iter().map(|item| (item, spec)).collect()
}

enum Mounted {
    Volume(Mount),
    Memory(Tmpfs),
}

fn one(reader: &mut Reader, node: Node, spec: &Spec) -> Option<Mounted> {
    if matches!(node.value, Value::Map(_)) {
        return long(reader, node, spec);
    }
    reader.parse(&node, spec, mount).map(Mounted::Volume)
}

/// The long syntax. What belongs to another type is a fault.
fn long(reader: &mut Reader, node: Node, spec: &Spec) -> Option<Mounted> {
    let whole = node.clone();
    let mut fields = reader.fields(node, VOLUME, ABSENT);
    let missing =
        |reader: &mut Reader, what: &str| reader.fault(&whole, spec, format!("a `{what}` in the map"));
    if !fields.has("type") {
        missing(reader, "type");
    }
    let kind = fields.one(reader, "type", |text| match text {
        "volume" | "bind" | "tmpfs" => Ok(text.to_owned()),
        _ => malformed(""),
    });
    if !fields.has("target") {
        missing(reader, "target");
    }
    let to = fields.one(reader, "target", target);
    let stated_source = fields.has("source");
    let from = fields.get("source").cloned().zip(Some(fields.spec("source")));
    let from_what = fields.one(reader, "source", source);
    let read_only = fields.flag(reader, "read_only");
    let kind = kind?;
    for other in ["bind", "volume", "tmpfs"].into_iter().filter(|other| *other != kind) {
        if let Some((node, spec)) = fields.take(other) {
            reader.fault(&node, &spec, format!("no `{other}` beside `type: {kind}`"));
        }
    }
    if kind == "tmpfs" {
        if let Some((node, spec)) = from {
            reader.fault(&node, &spec, "no `source` beside `type: tmpfs`");
        }
        let (size, mode) = of_tmpfs(reader, &mut fields);
        return Some(Mounted::Memory(Tmpfs::long(to?, read_only, size, mode)));
    }
    if !stated_source {
        missing(reader, "source");
    }
    let mut mount = Mount { read_only, ..Mount::plain(from_what?, to?) };
    if let Some((node, spec)) = from
        && (kind == "bind") != matches!(mount.source, Source::Path(_))
    {
        let expected = if kind == "bind" { "an absolute path" } else { "a volume's name" };
        reader.fault(&node, &spec, format!("{expected} beside `type: {kind}`"));
    }
    of_bind(reader, &mut fields, &mut mount);
    if let Some((node, _)) = fields.take("volume") {
        mount.nocopy = reader.fields(node, OF_VOLUME, OF_VOLUME_ABSENT).flag(reader, "nocopy");
    }
    Some(Mounted::Volume(mount))
}

const OF_VOLUME_ABSENT: &[(&str, &str)] =
    &[("subpath", "Compose has it, the app file does not; mount the whole volume")];

fn of_bind(reader: &mut Reader, fields: &mut Fields, mount: &mut Mount) {
    let Some((node, spec)) = fields.take("bind") else { return };
    let whole = node.clone();
    let mut fields = reader.fields(node, BIND, &[]);
    let propagation = |text: &str| {
        let known = PROPAGATIONS.iter().find(|known| **known == text);
        known.copied().ok_or_else(|| ParseError(String::new()))
    };
    mount.propagation = fields.one(reader, "propagation", propagation);
    mount.selinux = fields.one(reader, "selinux", |text| match text {
        "z" => Ok("z"),
        "Z" => Ok("Z"),
        _ => malformed(""),
    });
    mount.must_exist = fields.has("create_host_path") && !fields.flag(reader, "create_host_path");
    if mount.must_exist && mount.selinux.is_some() {
        reader.fault(
            &whole,
            &spec,
            "either `create_host_path: false` or `selinux`: Docker has no form for both",
        );
    }
}

fn of_tmpfs(reader: &mut Reader, fields: &mut Fields) -> (Option<u64>, Option<String>) {
    let Some((node, _)) = fields.take("tmpfs") else { return (None, None) };
    let mut fields = reader.fields(node, OF_TMPFS, &[]);
    (
        fields.one(reader, "size", crate::config::app_file::reading::quantity::size),
        fields.one(reader, "mode", tmpfs::long_mode),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(source: &str) -> Source {
        if source.starts_with('/') { Source::Path(source.into()) } else { Source::Volume(source.to_owned()) }
    }

    #[test]
    fn short_volumes() {
        let plain = |source: &str, target: &str| Mount::plain(volume(source), target.into());
        for (text, meant) in [
            ("data:/var/lib/app", plain("data", "/var/lib/app")),
            ("data:/var/lib/app:rw", plain("data", "/var/lib/app")),
            ("/etc/app:/etc/app:ro", Mount { read_only: true, ..plain("/etc/app", "/etc/app") }),
            ("/a:/b:z", Mount { selinux: Some("z"), ..plain("/a", "/b") }),
            ("a:/b:Z,ro", Mount { selinux: Some("Z"), read_only: true, ..plain("a", "/b") }),
            ("/a:/b:rshared,rw", Mount { propagation: Some("rshared"), ..plain("/a", "/b") }),
            ("a:/b:nocopy", Mount { nocopy: true, ..plain("a", "/b") }),
        ] {
            assert_eq!(mount(text), Ok(meant), "{text}");
        }
        for text in [
            "",
            "data",
            "/data",
            "./a:/b",
            "~/a:/b",
            "a:b",
            "a:/",
            "a:/b:x",
            "a:/b:",
            "a:/b:ro,",
            "a:/b:ro:z",
            "a:/b:ro,ro",
            "a:/b:z,Z",
            "/a:/b:slave,shared",
            "a:/b:slave",
            "/a:/b:nocopy",
            "/a:/b:cached",
            ":/b",
            "a b:/c",
            "/a/../b:/c",
            "-a:/b",
        ] {
            assert!(mount(text).is_err(), "{text:?} was accepted");
        }
    }

    /// What is written for Docker means the same again.
    #[test]
    fn modes_are_read_back() {
        for text in ["a:/b", "a:/b:ro", "a:/b:ro,z", "/a:/b:ro,Z,rslave", "a:/b:nocopy"] {
            let read = mount(text).unwrap();
            let modes = read.modes().join(",");
            assert_eq!(text.splitn(3, ':').nth(2).unwrap_or_default(), modes, "{text}");
        }
    }
}
