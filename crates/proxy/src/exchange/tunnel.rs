//! After an upgrade: bytes both ways until both sides are done, or the drain's end.
//!
//! A WebSocket ends with a Close of 1012 to each side, put between two frames; what the sides still send
//! after that is read and dropped until their own Close. Any other protocol has no goodbye that is known
//! here, and is cut.

use std::io;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::watch;

use crate::messages::websocket::{Advance, Frames, close_to_app, close_to_client};
use crate::upstream::Phase;

const BUFFER: usize = 16 * 1024;

/// Carries a tunnel to its end.
pub async fn run(client: Upgraded, app: Upgraded, websocket: bool, mut phase: watch::Receiver<Phase>) {
    let (mut client, mut app) = (TokioIo::new(client), TokioIo::new(app));
    if websocket {
        let (from_client, to_client) = tokio::io::split(client);
        let (from_app, to_app) = tokio::io::split(app);
        let down = pump(from_app, to_client, close_to_client(), phase.clone());
        let up = pump(from_client, to_app, close_to_app(), phase.clone());
        tokio::select! {
            // An error on one side ends both.
            _ = async { tokio::try_join!(down, up) } => {}
            _ = phase.wait_for(|phase| *phase == Phase::Cut) => {}
        }
    } else {
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut app) => {}
            _ = phase.wait_for(|phase| *phase >= Phase::CloseTunnels) => {}
        }
    }
}

/// Where one direction of a WebSocket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Everything goes through.
    Open,
    /// The frame under way goes through, then comes our Close.
    Closing,
    /// Our Close is sent; the other end's is awaited.
    Closed,
}

/// Carries one direction. It ends when its source is done, and, after our Close, has said Close itself.
async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    goodbye: Vec<u8>,
    mut phase: watch::Receiver<Phase>,
) -> io::Result<()> {
    let mut frames = Frames::default();
    let mut stage = Stage::Open;
    // A Close that the other end sent by itself has gone through; a second one would be one too many.
    let mut given = false;
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0..0;
    loop {
        if stage == Stage::Open && *phase.borrow() >= Phase::CloseTunnels {
            stage = Stage::Closing;
        }
        if stage == Stage::Closing && frames.at_boundary() {
            if given {
                return Ok(());
            }
            to.write_all(&goodbye).await?;
            to.flush().await?;
            stage = Stage::Closed;
        }
        let bytes = &buffer[filled.clone()];
        if stage == Stage::Closed {
            let mut answered = false;
            follow(&mut frames, bytes, false, &mut answered);
            if answered {
                return Ok(());
            }
        } else if !bytes.is_empty() {
            let through = follow(&mut frames, bytes, stage == Stage::Closing, &mut given);
            to.write_all(&bytes[..through]).await?;
            to.flush().await?;
            filled.start += through;
            continue;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer) => read?,
            _ = phase.wait_for(|phase| *phase >= Phase::CloseTunnels), if stage == Stage::Open => 0,
        };
        // Looked at again before anything else: what came in may be the answer to the Close that the other
        // direction has sent already, and then it is not to go through.
        filled = 0..read;
        if read == 0 && *phase.borrow() < Phase::CloseTunnels {
            return to.shutdown().await;
        }
        if read == 0 && stage != Stage::Open {
            return Ok(());
        }
    }
}

/// Reads on, to the end of the frame under way or of the bytes; how many they were, and whether a Close
/// was among the frames.
fn follow(frames: &mut Frames, bytes: &[u8], one_frame: bool, close: &mut bool) -> usize {
    let mut used = 0;
    while used < bytes.len() {
        match frames.advance(&bytes[used..]) {
            Advance::Within => return bytes.len(),
            Advance::Ended { bytes, close: closes } => {
                used += bytes;
                *close |= closes;
                if one_frame {
                    break;
                }
            }
        }
    }
    used
}
