//! `FileSync.DiffCopy`: BuildKit asks for a directory, learns what is in it, and then asks for the files that it
//! needs, by their numbers.
//!
//! A directory is announced by a packet for each entry, in order, and one without an entry at the end. What an
//! entry holds is sent in pieces, with an empty one at its end. Everything is read from the disk when it is sent.

use std::io::{self, Read as _};
use std::sync::Arc;

use bollard_buildkit_proto::fsutil::types::packet::PacketType;
use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
use bollard_buildkit_proto::moby::filesync::v1::file_sync_server::{FileSync, FileSyncServer};
use futures_util::stream;
use http::HeaderMap;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming};

use autotag_build_context::context::{
    ContextError, ContextFault, ContextPlan, Entry, EntryKind, Listing, Selection,
};

use super::channel::{Answers, ServiceResult};

/// One piece of a file, in bytes.
const PIECE: u64 = 64 * 1024;
/// How many packets may wait to be sent: enough for reading and sending to overlap.
const AHEAD: usize = 16;

/// The directories of one build.
pub(super) fn service(plan: Arc<ContextPlan>, fault: ContextFault) -> FileSyncServer<Directories> {
    FileSyncServer::new(Directories { plan, fault })
}

pub(super) struct Directories {
    plan: Arc<ContextPlan>,
    fault: ContextFault,
}

impl Directories {
    fn listing(&self, headers: &HeaderMap) -> Result<Listing, Status> {
        match headers.get("dir-name").map(http::HeaderValue::as_bytes) {
            Some(b"dockerfile") => Ok(Listing::of_the_dockerfile(Arc::clone(&self.plan))),
            Some(b"context") => Ok(Listing::of_the_context(Arc::clone(&self.plan), &selection(headers))),
            _ => Err(Status::not_found("no such directory is sent")),
        }
    }
}

#[tonic::async_trait]
impl FileSync for Directories {
    type DiffCopyStream = Answers<Packet>;
    type TarStreamStream = Answers<Packet>;

    async fn diff_copy(&self, request: Request<Streaming<Packet>>) -> ServiceResult<Self::DiffCopyStream> {
        let (metadata, _, packets) = request.into_parts();
        let listing = self.listing(&metadata.into_headers())?;
        let (asks, asked) = mpsc::unbounded_channel();
        // At once, also while a file is sent: they must not pile up on the connection.
        tokio::spawn(take(packets, asks));
        let (sender, mut packets) = mpsc::channel(AHEAD);
        let fault = self.fault.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(Stop::Fault(error)) = send(&listing, asked, &sender) {
                let data = fault.set(error).into_bytes();
                let _ = sender.blocking_send(Ok(Packet { data, ..packet(PacketType::PacketErr) }));
            }
        });
        Ok(Response::new(Box::pin(stream::poll_fn(move |context| packets.poll_recv(context)))))
    }

    async fn tar_stream(&self, _: Request<Streaming<Packet>>) -> ServiceResult<Self::TarStreamStream> {
        Err(Status::unimplemented("only DiffCopy"))
    }
}

/// The paths that are asked for, by either name; without any it is all.
fn selection(headers: &HeaderMap) -> Selection {
    let mut paths: Vec<Vec<u8>> = Vec::new();
    for name in ["followpaths", "include-patterns"] {
        for value in headers.get_all(name) {
            let value = value.as_bytes();
            // Names that are not ASCII come as in a query, which only newer ones say: both readings are meant.
            if value.iter().any(|byte| b"%+".contains(byte)) {
                let pairs = url::form_urlencoded::parse(value);
                paths.extend(pairs.map(|(path, _)| path.into_owned().into_bytes()));
            }
            paths.push(value.to_vec());
        }
    }
    if paths.is_empty() { Selection::all() } else { Selection::of(paths.iter().map(Vec::as_slice)) }
}

/// What BuildKit asks for.
enum SyncRequest {
    File(u32),
    End,
}

async fn take(mut packets: Streaming<Packet>, asks: mpsc::UnboundedSender<SyncRequest>) {
    // An error is the end of the build, or of the connection: who holds it says why.
    while let Ok(Some(packet)) = packets.message().await {
        let ask = match packet.r#type() {
            PacketType::PacketReq => SyncRequest::File(packet.id),
            PacketType::PacketFin => SyncRequest::End,
            _ => continue,
        };
        if asks.send(ask).is_err() {
            return;
        }
    }
}

type Packets = mpsc::Sender<Result<Packet, Status>>;

/// Why the sending ended early.
enum Stop {
    /// Nobody wants the rest.
    ReceiverGone,
    Fault(ContextError),
}

fn send(
    listing: &Listing,
    mut asked: mpsc::UnboundedReceiver<SyncRequest>,
    packets: &Packets,
) -> Result<(), Stop> {
    let put = |packet| packets.blocking_send(Ok(packet)).map_err(|_| Stop::ReceiverGone);
    for entry in listing.entries() {
        put(Packet { stat: Some(stat(entry)), ..packet(PacketType::PacketStat) })?;
    }
    put(packet(PacketType::PacketStat))?;
    loop {
        match asked.blocking_recv().ok_or(Stop::ReceiverGone)? {
            SyncRequest::End => return put(packet(PacketType::PacketFin)),
            SyncRequest::File(id) => {
                let mut holding = listing.open(id).map_err(Stop::Fault)?;
                let size = listing.entry(id).map_or(0, Entry::size).min(PIECE);
                loop {
                    let mut data = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
                    // What cannot be read ends it here, and is said below.
                    let read = io::Read::by_ref(&mut holding).take(PIECE).read_to_end(&mut data);
                    if read.unwrap_or_default() == 0 {
                        break;
                    }
                    put(Packet { id, data, ..packet(PacketType::PacketData) })?;
                }
                holding.finish().map_err(Stop::Fault)?;
                put(Packet { id, ..packet(PacketType::PacketData) })?;
            }
        }
    }
}

fn packet(kind: PacketType) -> Packet {
    Packet { r#type: kind.into(), ..Packet::default() }
}

/// The mode as Go has it: the permissions of Unix, and bits of its own for everything else.
fn stat(entry: &Entry) -> Stat {
    const DIRECTORY: u32 = 1 << 31;
    const LINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26;
    const FIFO: u32 = 1 << 25;
    const CHARACTERS: u32 = 1 << 21;
    let (kind, link, device) = match &entry.kind {
        EntryKind::File(_) | EntryKind::Bytes(_) => (0, &b""[..], (0, 0)),
        EntryKind::Directory => (DIRECTORY, &b""[..], (0, 0)),
        EntryKind::Link(target) => (LINK, &**target, (0, 0)),
        EntryKind::Fifo => (FIFO, &b""[..], (0, 0)),
        EntryKind::CharDevice(major, minor) => (DEVICE | CHARACTERS, &b""[..], (*major, *minor)),
        EntryKind::BlockDevice(major, minor) => (DEVICE, &b""[..], (*major, *minor)),
    };
    let special = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];
    let special = special.iter().filter(|(unix, _)| entry.mode & unix != 0).map(|(_, go)| go).sum::<u32>();
    let nanoseconds = i128::from(entry.modified) * 1_000_000_000 + i128::from(entry.nanoseconds);
    Stat {
        // A context that has names which are no text is sent as an archive.
        path: String::from_utf8_lossy(&entry.path).into_owned(),
        mode: kind | special | (entry.mode & 0o777),
        size: i64::try_from(entry.size().max(link.len() as u64)).unwrap_or(i64::MAX),
        mod_time: i64::try_from(nanoseconds).unwrap_or(i64::MAX),
        linkname: String::from_utf8_lossy(link).into_owned(),
        devmajor: device.0.into(),
        devminor: device.1.into(),
        ..Stat::default()
    }
}
