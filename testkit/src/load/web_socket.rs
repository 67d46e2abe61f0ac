//! A client's end of a WebSocket that knows a clean end from a cut.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Failure;
use super::report::Lost;

/// RFC 6455's own example; what the server proves with it is not this client's concern.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// The longest head or message that is taken.
const LONGEST: usize = 16 * 1024;

/// Whether it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SocketEnd {
    /// It does.
    NotYet,
    /// The server has closed it, with a code that tells clients to come back, and the handshake is done.
    Closed,
}

pub(super) struct WebSocket(TcpStream);

fn cut(error: &std::io::Error) -> Lost {
    (Failure::Unclean, format!("cut: {error}"))
}

impl WebSocket {
    pub(super) async fn open(address: SocketAddr, host: &str) -> Result<Self, Lost> {
        let connect = |error: &std::io::Error| (Failure::Connect, error.to_string());
        let mut stream = TcpStream::connect(address).await.map_err(|error| connect(&error))?;
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        let lost = |error: &std::io::Error| (Failure::NoAnswer, format!("no 101: {error}"));
        stream.write_all(request.as_bytes()).await.map_err(|error| lost(&error))?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST {
            head.push(stream.read_u8().await.map_err(|error| lost(&error))?);
        }
        if head.starts_with(b"HTTP/1.1 101 ") {
            return Ok(Self(stream));
        }
        let head = String::from_utf8_lossy(&head);
        Err((Failure::Status, format!("no 101 but {}", head.lines().next().unwrap_or_default())))
    }

    /// One short frame; clients must mask, and a mask of zeros changes nothing.
    async fn send(&mut self, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
        let length = u8::try_from(payload.len()).ok().filter(|length| *length < 126);
        let length = length.ok_or_else(|| std::io::Error::other("too long a message"))?;
        let mut frame = vec![0x80 | opcode, 0x80 | length, 0, 0, 0, 0];
        frame.extend(payload);
        self.0.write_all(&frame).await
    }

    async fn receive(&mut self) -> std::io::Result<(u8, Vec<u8>)> {
        let (first, second) = (self.0.read_u8().await?, self.0.read_u8().await?);
        let length = match second & 0x7f {
            126 => usize::from(self.0.read_u16().await?),
            127 => usize::try_from(self.0.read_u64().await?).unwrap_or(usize::MAX),
            short => usize::from(short),
        };
        if length > LONGEST {
            return Err(std::io::Error::other("too long a message"));
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await?;
        Ok((first & 0x0f, payload))
    }

    /// Sends a message and waits for it to come back, or for a Close.
    pub(super) async fn echo(&mut self, text: &str) -> Result<SocketEnd, Lost> {
        // A Close may be on its way already; then this fails, or goes nowhere, and the Close is read next.
        let sent = self.send(1, text.as_bytes()).await;
        match self.receive().await {
            Ok((8, payload)) => self.answer_close(&payload).await.map(|()| SocketEnd::Closed),
            Ok((1, payload)) if payload == text.as_bytes() => Ok(SocketEnd::NotYet),
            Ok((opcode, payload)) => Err((
                Failure::WrongAnswer,
                format!("opcode {opcode}: {:.40}", String::from_utf8_lossy(&payload)),
            )),
            Err(error) => Err(cut(&sent.err().unwrap_or(error))),
        }
    }

    /// The server says goodbye: it must be one that means "come back", and end in order.
    async fn answer_close(&mut self, payload: &[u8]) -> Result<(), Lost> {
        let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
        if code != 1001 && code != 1012 {
            return Err((Failure::Unclean, format!("Close {code}")));
        }
        self.send(8, &code.to_be_bytes()).await.map_err(|error| cut(&error))?;
        self.read_out().await
    }

    /// The client says goodbye. A Close of the server's own at the same moment is an answer as well.
    pub(super) async fn close(mut self) -> Result<(), Lost> {
        self.send(8, &1000_u16.to_be_bytes()).await.map_err(|error| cut(&error))?;
        match self.receive().await {
            Ok((8, _)) => self.read_out().await,
            Ok((opcode, _)) => Err((Failure::WrongAnswer, format!("opcode {opcode} after a Close"))),
            Err(error) => Err(cut(&error)),
        }
    }

    /// After both Closes: the connection's end, and nothing before it.
    async fn read_out(&mut self) -> Result<(), Lost> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await.map_err(|error| cut(&error))?;
        if rest.is_empty() { Ok(()) } else { Err((Failure::Unclean, "bytes after the Close".to_owned())) }
    }
}
