//! The context as a tar stream, read from disk as fast as it is taken.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tar::{EntryType, Header};
use tokio::sync::mpsc;

use super::ContextError;
use super::content::Content;
use super::plan::{ContextPlan, Entry, EntryKind};

const CHUNK: usize = 256 * 1024;
/// Enough for reading and sending to overlap; with [`CHUNK`] about 1 MiB.
const CHUNKS_AHEAD: usize = 4;

/// The tar, chunk by chunk. Dropping it ends the reading.
#[derive(Debug)]
pub struct ContextStream {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    fault: ContextFault,
}

/// Where the sender leaves its error. Who sends it on hands back "the body failed", and not how.
#[derive(Debug, Clone, Default)]
pub struct ContextFault(Arc<OnceLock<ContextError>>);

impl ContextFault {
    /// Why the sending ended early, if it did.
    pub fn get(&self) -> Option<&ContextError> {
        self.0.get()
    }

    /// Leaves the first error, and hands back its text.
    pub fn set(&self, error: ContextError) -> String {
        let text = error.to_string();
        let _ = self.0.set(error);
        text
    }
}

impl ContextStream {
    /// The place to look at when the stream's consumer has failed.
    pub fn fault(&self) -> ContextFault {
        self.fault.clone()
    }
}

impl Stream for ContextStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.poll_recv(context)
    }
}

impl ContextPlan {
    /// Begins to read. Owner and group are 0, as Docker's client sends them; permissions, times and
    /// links are kept. Must be called inside a tokio runtime.
    pub fn stream(self: Arc<Self>) -> ContextStream {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let fault = ContextFault::default();
        let left = fault.clone();
        tokio::task::spawn_blocking(move || {
            let mut out = Chunks { buffer: BytesMut::with_capacity(CHUNK), sender };
            match write(&self, &mut out) {
                Ok(()) | Err(Stop::ReceiverGone) => {}
                Err(Stop::Fault(error)) => {
                    let message = left.set(error);
                    let _ = out.sender.blocking_send(Err(io::Error::other(message)));
                }
            }
        });
        ContextStream { chunks, fault }
    }
}

/// Why the writing ended early.
enum Stop {
    /// Nobody wants the rest.
    ReceiverGone,
    Fault(ContextError),
}

fn write(plan: &ContextPlan, out: &mut Chunks) -> Result<(), Stop> {
    let mut tar = tar::Builder::new(out);
    for entry in &plan.entries {
        append(&mut tar, &plan.root, entry)?;
    }
    tar.into_inner().and_then(Write::flush).map_err(|_| Stop::ReceiverGone)
}

fn append(tar: &mut tar::Builder<&mut Chunks>, root: &Path, entry: &Entry) -> Result<(), Stop> {
    let name = Path::new(OsStr::from_bytes(&entry.path));
    let mut header = header_of(entry);
    match &entry.kind {
        EntryKind::File(size) => {
            let mut content = Content::open(root.join(name), *size).map_err(Stop::Fault)?;
            let written = tar.append_data(&mut header, name, &mut content);
            content.finish().map_err(Stop::Fault)?;
            written
        }
        EntryKind::Bytes(bytes) => tar.append_data(&mut header, name, bytes.as_ref()),
        // Literally where it fits: `append_link` would tidy the target up.
        EntryKind::Link(target) if header.set_link_name_literal(target).is_err() => {
            tar.append_link(&mut header, name, Path::new(OsStr::from_bytes(target)))
        }
        _ => tar.append_data(&mut header, name, io::empty()),
    }
    .map_err(|error| stop_of(error, root.join(name)))
}

/// A failure to write is nobody listening; anything else is the entry's own, such as a link target
/// that no tar can hold.
fn stop_of(error: io::Error, path: PathBuf) -> Stop {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Stop::ReceiverGone
    } else {
        Stop::Fault(ContextError::Unreadable { path, source: error })
    }
}

fn header_of(entry: &Entry) -> Header {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(entry.mode);
    header.set_mtime(entry.modified);
    header.set_size(entry.size());
    let mut devices = |kind, major, minor| {
        header.set_entry_type(kind);
        // Cannot fail: a GNU header has both fields.
        let _ = header.set_device_major(major).and_then(|()| header.set_device_minor(minor));
    };
    match entry.kind {
        EntryKind::File(_) | EntryKind::Bytes(_) => header.set_entry_type(EntryType::Regular),
        EntryKind::Directory => header.set_entry_type(EntryType::Directory),
        EntryKind::Link(_) => header.set_entry_type(EntryType::Symlink),
        EntryKind::Fifo => header.set_entry_type(EntryType::Fifo),
        EntryKind::CharDevice(major, minor) => devices(EntryType::Char, major, minor),
        EntryKind::BlockDevice(major, minor) => devices(EntryType::Block, major, minor),
    }
    header
}

/// Gathers what is written into chunks, and waits while too many are under way.
struct Chunks {
    buffer: BytesMut,
    sender: mpsc::Sender<io::Result<Bytes>>,
}

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        let full = std::mem::replace(&mut self.buffer, BytesMut::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(full.freeze())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() == CHUNK {
            self.send()?;
        }
        let count = bytes.len().min(CHUNK - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}
