//! The build context: what is sent to the builder, read from the disk as it is taken and never whole in memory.
//!
//! Every path is followed by [`Workspace`](super::workspace::Workspace), so that nothing from outside of
//! the checkout is read. Links inside the context are sent as links, as Docker does: whatever they lead
//! to is looked for in the image, not on this machine.
//!
//! The ignore file is applied here. There are two ways to send what it leaves. BuildKit's own protocol takes a
//! [`Listing`]: what a Dockerfile names, and no more. A tar ([`ContextStream`]) holds any name, but has to hold
//! everything. Dockerfile and ignore file are sent for themselves, so that one that is ignored, or lies elsewhere,
//! is read and never copied.

mod content;
mod listing;
mod plan;
mod selection;
mod stream;

use std::io;
use std::path::{Path, PathBuf};

use super::workspace::PathFault;

pub use content::Content;
pub use listing::{Holding, Listing};
pub use plan::{ContextPlan, Entry, EntryKind};
pub use selection::Selection;
pub use stream::{ContextFault, ContextStream};

/// Why there is no context to send. Each text names the input at fault.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The context is not there, or no directory of the workspace.
    #[error(
        "input `context`: `{}` {fault}; expected a directory in the checked-out repository, for example `.` or `services/api`",
        path.display()
    )]
    NoDirectory {
        /// As it was given.
        path: PathBuf,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// The Dockerfile is not there, or no file of the workspace.
    #[error(
        "input `file`: `{}` {fault}; expected the path of a Dockerfile in the checked-out repository, for example \
         `docker/Dockerfile`{}",
        path.display(),
        suggestion(nearby.as_deref())
    )]
    NoDockerfile {
        /// As it was given.
        path: PathBuf,
        /// What is wrong with it.
        fault: PathFault,
        /// A Dockerfile that is there.
        nearby: Option<PathBuf>,
    },
    /// The ignore file is there and cannot be used. Without it too much would be sent.
    #[error("`{}` {fault}; expected a text file in the checked-out repository, with one pattern a line", path.display())]
    NoIgnoreFile {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// A line of the ignore file is no pattern.
    #[error("`{}`, {fault}", path.display())]
    BadPattern {
        /// The ignore file.
        path: PathBuf,
        /// The line.
        fault: super::ignore::BadPattern,
    },
    /// Something in the context cannot be read.
    #[error("cannot read `{}` of the build context: {source}; correct its permissions, or list it in .dockerignore", path.display())]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file became shorter or longer while it was sent, so that the image would hold half of it.
    #[error(
        "`{}` changed while it was sent to the builder (it had {planned} bytes, {change}); stop what writes to it before the build, or list it in .dockerignore",
        path.display()
    )]
    Changed {
        /// Which one.
        path: PathBuf,
        /// Its size when the build began, in bytes.
        planned: u64,
        /// What happened to it.
        change: String,
    },
}

fn suggestion(nearby: Option<&Path>) -> String {
    nearby.map(|path| format!("; there is one at `{}`", path.display())).unwrap_or_default()
}
