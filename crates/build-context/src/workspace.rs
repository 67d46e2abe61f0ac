//! The checkout, and the one way by which a path of an input or of the checkout is followed.
//!
//! A pull request decides what lies in the checkout, links included, and an input may name anything. So
//! a path counts for where it leads, not for how it is written: resolved, it lies below the workspace and
//! is a regular file on a disk (or a directory, where one is meant). Everything else is refused before
//! it is read: a link to `/proc/self/environ` would print the job's secrets, a device or a named pipe
//! would be waited for without end.
//!
//! Between a look and the opening a file can be exchanged. So a file is opened first, without waiting
//! and without following a last link, and then the open file is asked what it is and where it lies.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The directory that no path leads out of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// Resolved.
    root: PathBuf,
}

/// Why a path is not followed. Each text goes on after the path: `Dockerfile` does not exist.
#[derive(Debug, thiserror::Error)]
pub enum PathFault {
    /// There is nothing.
    #[error("does not exist (is the repository checked out?)")]
    Missing,
    /// A link is there, and nothing where it leads.
    #[error("is a link to `{}`, which does not exist", target.display())]
    Dangling {
        /// As the link has it.
        target: PathBuf,
    },
    /// It leads out of the workspace.
    #[error("leads to `{}`, outside of the workspace `{}`", target.display(), root.display())]
    Outside {
        /// Resolved.
        target: PathBuf,
        /// The workspace.
        root: PathBuf,
    },
    /// A file was meant.
    #[error("is a directory")]
    Directory,
    /// A directory was meant.
    #[error("is a file")]
    File,
    /// Neither a file nor a directory.
    #[error("is {0}, and no regular file")]
    Special(&'static str),
    /// More than anybody writes.
    #[error("has more than {0} bytes")]
    TooLarge(u64),
    /// Permissions.
    #[error("may not be read ({0})")]
    Forbidden(io::Error),
    /// The disk, or a loop of links.
    #[error("cannot be read ({0})")]
    Unreadable(io::Error),
}

impl PathFault {
    /// Whether somebody named, or planted, what must not be read; rather than nothing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Outside { .. } | Self::Special(_))
    }

    fn of(error: io::Error, path: &Path) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => match fs::read_link(path) {
                Ok(target) => Self::Dangling { target },
                Err(_) => Self::Missing,
            },
            io::ErrorKind::NotADirectory => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Forbidden(error),
            _ => Self::Unreadable(error),
        }
    }
}

impl Workspace {
    /// The workspace at this directory. Where the directory cannot be resolved, no path lies below it.
    pub fn at(directory: &Path) -> Self {
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        Self { root: fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned()) }
    }

    /// The directory itself, resolved.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a directory is.
    pub fn directory(&self, path: &Path) -> Result<PathBuf, PathFault> {
        let (real, metadata) = self.resolve(path)?;
        match what_it_is(&metadata) {
            Thing::Directory => Ok(real),
            Thing::File => Err(PathFault::File),
            Thing::Special(what) => Err(PathFault::Special(what)),
        }
    }

    /// Where a file is, and what it holds, up to so many bytes.
    pub fn read(&self, path: &Path, most: u64) -> Result<(PathBuf, Vec<u8>), PathFault> {
        let (real, metadata) = self.resolve(path)?;
        // Also before it is opened: the opening of a device can do something.
        regular(&metadata)?;
        let file = open(&real).map_err(|error| PathFault::of(error, &real))?;
        regular(&file.metadata().map_err(PathFault::Unreadable)?)?;
        self.holds(&place_of(&file).unwrap_or_else(|| real.clone()))?;
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(PathFault::Unreadable)?;
        if bytes.len() as u64 > most {
            return Err(PathFault::TooLarge(most));
        }
        Ok((real, bytes))
    }

    fn resolve(&self, path: &Path) -> Result<(PathBuf, Metadata), PathFault> {
        let real = fs::canonicalize(path).map_err(|error| PathFault::of(error, path))?;
        self.holds(&real)?;
        let metadata = fs::symlink_metadata(&real).map_err(|error| PathFault::of(error, path))?;
        Ok((real, metadata))
    }

    fn holds(&self, real: &Path) -> Result<(), PathFault> {
        if real.starts_with(&self.root) {
            Ok(())
        } else {
            Err(PathFault::Outside { target: real.to_owned(), root: self.root.clone() })
        }
    }
}

/// A file of a tree that was walked, which is resolved and whose last part was no link: `None` where
/// another one, or something else than a file, has come to its place.
pub fn open_as_planned(path: &Path) -> io::Result<Option<File>> {
    let file = open(path)?;
    let still_there = place_of(&file).is_none_or(|place| place == path);
    Ok((still_there && regular(&file.metadata()?).is_ok()).then_some(file))
}

/// Does not wait for the other end of a named pipe, and takes no link in the last place.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// Where the kernel says that an open file lies; `None` where no `/proc` is mounted.
fn place_of(file: &File) -> Option<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

enum Thing {
    File,
    Directory,
    Special(&'static str),
}

fn regular(metadata: &Metadata) -> Result<(), PathFault> {
    match what_it_is(metadata) {
        Thing::File => Ok(()),
        Thing::Directory => Err(PathFault::Directory),
        Thing::Special(what) => Err(PathFault::Special(what)),
    }
}

fn what_it_is(metadata: &Metadata) -> Thing {
    let kind = metadata.file_type();
    if is_made_by_the_kernel(metadata) {
        // It looks like a regular file, of no bytes.
        Thing::Special("a view of the system")
    } else if kind.is_file() {
        Thing::File
    } else if kind.is_dir() {
        Thing::Directory
    } else if kind.is_fifo() {
        Thing::Special("a named pipe")
    } else if kind.is_socket() {
        Thing::Special("a socket")
    } else if kind.is_symlink() {
        Thing::Special("a link that was another file before")
    } else {
        Thing::Special("a device")
    }
}

/// On `/proc` or `/sys`, which lie below a workspace where that is `/` itself.
fn is_made_by_the_kernel(metadata: &Metadata) -> bool {
    let device = |path: &str| fs::metadata(path).map(|found| found.dev()).ok();
    let root = device("/");
    ["/proc/self", "/sys"].iter().any(|view| {
        let view = device(view);
        view.is_some() && view != root && view == Some(metadata.dev())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    type IsExpected = fn(&PathFault) -> bool;

    struct Tree(tempfile::TempDir);

    impl Tree {
        /// `out` lies beside the workspace, `ws` is it.
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().expect("a directory"));
            for name in ["ws", "ws/in", "out"] {
                fs::create_dir(tree.at(name)).expect("a directory");
            }
            fs::write(tree.at("ws/in/file"), "text").expect("a file");
            fs::write(tree.at("out/file"), "secret").expect("a file");
            tree
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn workspace(&self) -> Workspace {
            Workspace::at(&self.at("ws"))
        }
    }

    // case X6
    #[test]
    fn a_path_counts_for_where_it_leads() {
        let tree = Tree::new();
        let link = |target: &str, name: &str| symlink(target, tree.at(name)).expect("a link");
        link("in/file", "ws/good");
        link(&tree.at("ws/in").to_string_lossy(), "ws/absolute");
        link("../out", "ws/escape");
        link("../out/file", "ws/leak");
        link("leak", "ws/chain");
        link("/proc/self/environ", "ws/environ");
        link("/proc/self/cwd", "ws/cwd");
        link("/dev/zero", "ws/zero");
        link("/dev/stdin", "ws/stdin");
        link("nowhere", "ws/dangling");
        link("loop", "ws/loop");
        let _socket = std::os::unix::net::UnixListener::bind(tree.at("ws/socket")).expect("a socket");
        let read = |name: &str| tree.workspace().read(&tree.at(name), 100).map(|(_, bytes)| bytes);
        for name in ["ws/in/file", "ws/good", "ws/absolute/file", "ws/in/../in/file", "ws/../ws/good"] {
            assert_eq!(read(name).expect(name), b"text", "{name}");
        }
        let outside: IsExpected = |fault| matches!(fault, PathFault::Outside { .. });
        let missing: IsExpected = |fault| matches!(fault, PathFault::Missing);
        for (name, is_expected) in [
            ("out/file", outside),
            ("ws/../out/file", outside),
            ("ws/escape/file", outside),
            ("ws/leak", outside),
            ("ws/chain", outside),
            ("ws/environ", outside),
            ("ws/zero", outside),
            ("ws/socket", |fault| matches!(fault, PathFault::Special("a socket"))),
            ("ws/in", |fault| matches!(fault, PathFault::Directory)),
            (
                "ws/dangling",
                |fault| matches!(fault, PathFault::Dangling { target } if target == Path::new("nowhere")),
            ),
            ("ws/missing", missing),
            ("ws/in/file/below", missing),
            ("ws/loop", |fault| matches!(fault, PathFault::Unreadable(_))),
        ] {
            let fault = read(name).expect_err(name);
            assert!(is_expected(&fault), "{name}: {fault}");
        }
        assert!(read("ws/stdin").is_err());
        assert!(read("ws/leak").is_err_and(|fault| fault.is_refusal()));
        assert!(read("ws/missing").is_err_and(|fault| !fault.is_refusal()));
        let directory = |name: &str| tree.workspace().directory(&tree.at(name));
        let inside = fs::canonicalize(tree.at("ws/in")).expect("there");
        assert_eq!(directory("ws/absolute").expect("inside"), inside);
        assert_eq!(directory("ws").expect("itself"), tree.workspace().root());
        for name in ["ws/escape", "ws/cwd", "out", "ws/..", "ws/in/file", "ws/missing"] {
            assert!(directory(name).is_err(), "{name}");
        }
    }

    #[test]
    fn files_of_proc_are_refused_even_below_the_workspace() {
        let fault = Workspace::at(Path::new("/")).read(Path::new("/proc/self/environ"), 100);
        assert!(fault.is_err_and(|fault| matches!(fault, PathFault::Special(_))));
        assert!(Workspace::at(Path::new("/")).directory(Path::new("/proc/self")).is_err());
    }

    #[test]
    fn a_file_has_a_largest_size() {
        let tree = Tree::new();
        let path = tree.at("ws/in/file");
        assert!(tree.workspace().read(&path, 4).is_ok());
        assert!(matches!(tree.workspace().read(&path, 3), Err(PathFault::TooLarge(3))));
    }

    #[test]
    fn a_file_that_was_exchanged_is_noticed() {
        let tree = Tree::new();
        let (file, real) = (tree.at("ws/in/file"), fs::canonicalize(tree.at("ws/in/file")).expect("there"));
        assert!(open_as_planned(&real).expect("it opens").is_some());
        // The file itself, and a directory on the way to it, become links.
        fs::remove_file(&file).expect("gone");
        symlink(tree.at("out/file"), &file).expect("a link");
        assert!(open_as_planned(&real).is_err());
        fs::remove_file(&file).expect("gone");
        fs::remove_dir(tree.at("ws/in")).expect("gone");
        symlink(tree.at("out"), tree.at("ws/in")).expect("a link");
        assert!(open_as_planned(&real).expect("it opens").is_none());
        fs::remove_file(tree.at("ws/in")).expect("gone");
        fs::create_dir(tree.at("ws/in")).expect("a directory");
        fs::create_dir(&file).expect("a directory in its place");
        assert!(open_as_planned(&real).expect("it opens").is_none());
    }
}
