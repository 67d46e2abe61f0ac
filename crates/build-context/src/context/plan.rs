//! What goes into the context: the walk over the directory, filtered and sorted.

use std::cell::Cell;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use super::ContextError;
use crate::ignore::{Ignore, Verdict};
use crate::workspace::{PathFault, Workspace};

/// Of a Dockerfile and an ignore file, in bytes: far more than anybody writes.
const LARGEST_TEXT: u64 = 16 * 1024 * 1024;

/// Everything that can be sent, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextPlan {
    pub(super) root: PathBuf,
    pub(super) entries: Vec<Entry>,
    /// The last part of the Dockerfile's path, as it was asked for.
    dockerfile_name: String,
    dockerfile_text: Vec<u8>,
    pub(super) ignore_file: Option<IgnoreFile>,
    ignore: Ignore,
}

/// The ignore file that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IgnoreFile {
    path: PathBuf,
    pub(super) text: Vec<u8>,
    /// `NAME.dockerignore`, beside the Dockerfile; otherwise it is the context's `.dockerignore`.
    pub(super) is_the_dockerfiles: bool,
}

/// One thing in the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the context, with `/`; not always UTF-8.
    pub path: Box<[u8]>,
    /// What it is.
    pub kind: EntryKind,
    /// The permission bits.
    pub mode: u32,
    /// When it was changed, in seconds since 1970.
    pub modified: u64,
    /// And the nanoseconds of it.
    pub nanoseconds: u32,
}

/// What can be in a context. Sockets cannot: as with Docker's client, they are left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file, and its size in bytes.
    File(u64),
    /// A Dockerfile or an ignore file, whose bytes are known already.
    Bytes(Box<[u8]>),
    /// A directory.
    Directory,
    /// A symbolic link, sent as a link, and its target.
    Link(Box<[u8]>),
    /// A named pipe.
    Fifo,
    /// A character device: major and minor number.
    CharDevice(u32, u32),
    /// A block device: major and minor number.
    BlockDevice(u32, u32),
}

impl ContextPlan {
    /// Walks the directory. Blocks; reads names and metadata, the ignore file and the Dockerfile.
    ///
    /// Both paths are absolute or relative to the working directory, as on Docker's command line, and
    /// lead to something in the workspace. `<Dockerfile>.dockerignore` has precedence over
    /// `.dockerignore`.
    pub fn read(workspace: &Workspace, context: &Path, dockerfile: &Path) -> Result<Self, ContextError> {
        let root = workspace
            .directory(context)
            .map_err(|fault| ContextError::NoDirectory { path: context.to_owned(), fault })?;
        let (_, dockerfile_text) =
            workspace.read(dockerfile, LARGEST_TEXT).map_err(|fault| ContextError::NoDockerfile {
                path: dockerfile.to_owned(),
                // A hint at what is there helps nobody whose link was refused.
                nearby: if fault.is_refusal() { None } else { dockerfile_nearby(context, dockerfile) },
                fault,
            })?;
        let (ignore_file, ignore) = ignore_file(workspace, &root, dockerfile)?;
        let dockerfile_name =
            dockerfile.file_name().and_then(OsStr::to_str).unwrap_or("Dockerfile").to_owned();
        let mut walk = Walk { root: &root, ignore: &ignore, entries: Vec::new() };
        walk.dir(b"", &Verdict::default(), None)?;
        let entries = walk.entries;
        Ok(Self { root, entries, dockerfile_name, dockerfile_text, ignore_file, ignore })
    }

    /// What is in the context, in order: a directory stands before what is in it.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The sum of all files, in bytes.
    pub fn total(&self) -> u64 {
        self.entries.iter().map(Entry::size).sum()
    }

    /// The Dockerfile's name in the directory that is sent for it alone.
    pub fn dockerfile_name(&self) -> &str {
        &self.dockerfile_name
    }

    /// Whether a name, or the target of a link, is no text, which BuildKit's own protocol has there.
    pub fn needs_an_archive(&self) -> bool {
        let is_text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        self.entries.iter().any(|entry| {
            !is_text(&entry.path) || matches!(&entry.kind, EntryKind::Link(target) if !is_text(target))
        })
    }

    /// The Dockerfile's content.
    pub fn dockerfile_text(&self) -> &[u8] {
        &self.dockerfile_text
    }

    /// Which ignore file was applied, and the line of it that keeps `path` at home, if one does.
    pub fn ignored_by(&self, path: &str) -> Option<(&Path, usize)> {
        Some((&self.ignore_file.as_ref()?.path, self.ignore.line_that_ignores(path.as_bytes())?))
    }
}

impl Entry {
    /// In bytes; 0 for what has no content.
    pub fn size(&self) -> u64 {
        match &self.kind {
            EntryKind::File(size) => *size,
            EntryKind::Bytes(bytes) => bytes.len() as u64,
            _ => 0,
        }
    }

    /// A file that is read already, and that the image does not get.
    pub(super) fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self {
            path: name.as_bytes().into(),
            kind: EntryKind::Bytes(bytes.into()),
            mode: 0o644,
            modified: 0,
            nanoseconds: 0,
        }
    }

    /// `None` for a socket.
    fn new(path: Vec<u8>, full: &Path, metadata: &Metadata) -> io::Result<Option<Self>> {
        let file_type = metadata.file_type();
        let kind = if file_type.is_file() {
            EntryKind::File(metadata.len())
        } else if file_type.is_dir() {
            EntryKind::Directory
        } else if file_type.is_symlink() {
            EntryKind::Link(fs::read_link(full)?.into_os_string().into_vec().into())
        } else if file_type.is_fifo() {
            EntryKind::Fifo
        } else if file_type.is_char_device() || file_type.is_block_device() {
            let (major, minor) = device_numbers(metadata.rdev());
            if file_type.is_char_device() {
                EntryKind::CharDevice(major, minor)
            } else {
                EntryKind::BlockDevice(major, minor)
            }
        } else {
            return Ok(None);
        };
        let modified = u64::try_from(metadata.mtime()).unwrap_or_default();
        Ok(Some(Self {
            path: path.into(),
            kind,
            mode: metadata.mode() & 0o7777,
            modified,
            nanoseconds: u32::try_from(metadata.mtime_nsec()).unwrap_or_default(),
        }))
    }
}

/// Linux packs both into one number: makedev(3).
fn device_numbers(device: u64) -> (u32, u32) {
    let part = |bits: u64| u32::try_from(bits).unwrap_or_default();
    let major = part((device >> 8) & 0xfff) | part((device >> 32) & 0xffff_f000);
    let minor = part(device & 0xff) | part((device >> 12) & 0xffff_ff00);
    (major, minor)
}

struct Walk<'a> {
    root: &'a Path,
    ignore: &'a Ignore,
    entries: Vec<Entry>,
}

/// Ignored directories on the way down, innermost first: they are sent only if something in them is.
struct Pending<'a> {
    entry: &'a Entry,
    sent: Cell<bool>,
    above: Option<&'a Pending<'a>>,
}

impl Walk<'_> {
    fn dir(
        &mut self,
        path: &[u8],
        verdict: &Verdict,
        pending: Option<&Pending<'_>>,
    ) -> Result<(), ContextError> {
        let full = self.root.join(OsStr::from_bytes(path));
        let unreadable = |source| ContextError::Unreadable { path: full.clone(), source };
        let mut names = fs::read_dir(&full)
            .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>())
            .map_err(unreadable)?;
        names.sort_unstable();
        for name in names {
            let mut child = path.to_vec();
            if !child.is_empty() {
                child.push(b'/');
            }
            child.extend_from_slice(name.as_bytes());
            self.child(child, verdict, pending)?;
        }
        Ok(())
    }

    fn child(
        &mut self,
        path: Vec<u8>,
        parent: &Verdict,
        pending: Option<&Pending<'_>>,
    ) -> Result<(), ContextError> {
        let verdict = self.ignore.judge(&path, parent);
        let kept = !verdict.is_ignored();
        let look_inside = kept || self.ignore.may_keep_inside(&path);
        if !look_inside {
            return Ok(());
        }
        let full = self.root.join(OsStr::from_bytes(&path));
        let entry = fs::symlink_metadata(&full)
            .and_then(|metadata| Entry::new(path, &full, &metadata))
            .map_err(|source| ContextError::Unreadable { path: full, source })?;
        let Some(entry) = entry else { return Ok(()) };
        let is_directory = entry.kind == EntryKind::Directory;
        if kept {
            self.send_pending(pending);
            let path = is_directory.then(|| entry.path.clone());
            self.entries.push(entry);
            path.map_or(Ok(()), |path| self.dir(&path, &verdict, None))
        } else if is_directory {
            self.dir(
                &entry.path,
                &verdict,
                Some(&Pending { entry: &entry, sent: Cell::new(false), above: pending }),
            )
        } else {
            Ok(())
        }
    }

    fn send_pending(&mut self, pending: Option<&Pending<'_>>) {
        let Some(pending) = pending else { return };
        if pending.sent.replace(true) {
            return;
        }
        self.send_pending(pending.above);
        self.entries.push(pending.entry.clone());
    }
}

/// The asked path below the context, where it lies there; else the first Dockerfile in the asked directory, the
/// context, the working directory, or one directory below.
fn dockerfile_nearby(context: &Path, asked: &Path) -> Option<PathBuf> {
    let parts: Vec<_> = asked.components().filter(|part| matches!(part, Component::Normal(_))).collect();
    let ends = (0..parts.len()).map(|from| context.join(parts[from..].iter().collect::<PathBuf>()));
    if let Some(there) = ends.into_iter().find(|path| path != asked && path.is_file()) {
        return Some(there);
    }
    let directories = [asked, asked.parent().unwrap_or(asked), context, Path::new(".")];
    directories.iter().find_map(|dir| {
        let here = children(dir);
        here.iter().find(|path| looks_like_dockerfile(path)).cloned().or_else(|| {
            let below = here.iter().filter(|path| path.is_dir());
            below.flat_map(|path| children(path)).find(|path| looks_like_dockerfile(path))
        })
    })
}

/// Visible ones, sorted; at most a thousand, for a hint is not worth more.
fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { dir }) else {
        return Vec::new();
    };
    let paths = entries.take(1000).flatten().map(|entry| entry.path());
    let visible = |path: &PathBuf| path.file_name().is_some_and(|name| !name.as_bytes().starts_with(b"."));
    let mut paths: Vec<PathBuf> = paths.filter(visible).collect();
    paths.sort();
    paths
}

fn looks_like_dockerfile(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let named_so = matches!(name.as_str(), "dockerfile" | "containerfile")
        || (name.starts_with("dockerfile.") && !name.ends_with(".dockerignore"))
        || name.ends_with(".dockerfile");
    named_so && path.is_file()
}

/// The ignore file that counts: the first one that is there. One that is there and cannot be read is an
/// error, never "none": what it names would be in the image.
fn ignore_file(
    workspace: &Workspace,
    root: &Path,
    dockerfile: &Path,
) -> Result<(Option<IgnoreFile>, Ignore), ContextError> {
    let mut own = dockerfile.as_os_str().to_owned();
    own.push(".dockerignore");
    for (path, is_the_dockerfiles) in [(PathBuf::from(own), true), (root.join(".dockerignore"), false)] {
        match workspace.read(&path, LARGEST_TEXT) {
            Ok((_, text)) => {
                let ignore = Ignore::parse(&text)
                    .map_err(|fault| ContextError::BadPattern { path: path.clone(), fault })?;
                return Ok((Some(IgnoreFile { path, text, is_the_dockerfiles }), ignore));
            }
            Err(PathFault::Missing) => {}
            Err(fault) => return Err(ContextError::NoIgnoreFile { path, fault }),
        }
    }
    Ok((None, Ignore::default()))
}
