//! Upgrades: bytes both ways, and the end of a tunnel when its container goes.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::app::{App, Manner};
use super::stage::{Stage, read_out, read_until, soon};

/// A client's end of a WebSocket: just enough to send text and to tell an answer from a Close.
pub struct WebSocket(TcpStream);

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Data(Vec<u8>),
    Close(u16),
}

impl WebSocket {
    pub async fn open(address: std::net::SocketAddr) -> std::io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        let head = "GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101") && head.contains("upgrade: websocket"), "{head}");
        Ok(Self(stream))
    }

    /// One frame, its mask zero; `last` as the FIN bit.
    pub async fn send(&mut self, opcode: u8, last: bool, payload: &[u8]) -> std::io::Result<()> {
        let mut frame = vec![opcode | if last { 0x80 } else { 0 }, 0xfe];
        frame.extend(u16::try_from(payload.len()).expect("two bytes").to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        self.0.write_all(&frame).await
    }

    /// The next frame; the application sends frames back as they came, so those are masked with zero.
    pub async fn receive(&mut self) -> std::io::Result<Frame> {
        let (first, second) = (self.0.read_u8().await?, self.0.read_u8().await?);
        let length = match second & 0x7f {
            126 => usize::from(self.0.read_u16().await?),
            short => usize::from(short),
        };
        if second & 0x80 != 0 {
            assert_eq!(self.0.read_u32().await?, 0, "not a mask of ours");
        }
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).await?;
        Ok(match first & 0x0f {
            8 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]])),
            _ => Frame::Data(payload),
        })
    }

    pub async fn echo(&mut self, text: &str) -> std::io::Result<Frame> {
        self.send(1, true, text.as_bytes()).await?;
        self.receive().await
    }

    /// Answers a Close and waits for the connection's end, which must be a clean one.
    pub async fn answer_close(mut self) -> std::io::Result<()> {
        self.send(8, true, &1012_u16.to_be_bytes()).await?;
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).await?;
        assert_eq!(rest, b"", "something after the Close");
        Ok(())
    }
}

async fn opened(stage: &Stage) -> WebSocket {
    soon(WebSocket::open(stage.address)).await.expect("open")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_keeps_its_container_until_the_drain_ends() {
    let (old, new) = (App::start("old").await, App::start("new").await);
    let stage = Stage::serving(&old).await;
    let mut socket = opened(&stage).await;
    stage.swap(&new).await;
    let echo = soon(socket.echo("still here")).await.expect("an echo");
    assert_eq!(echo, Frame::Data(b"still here".to_vec()));
    let client = async {
        assert_eq!(soon(socket.receive()).await.expect("a Close"), Frame::Close(1012));
        soon(socket.answer_close()).await.expect("a clean end");
    };
    let (report, ()) = tokio::join!(stage.drain("old", 10_000, Some(100)), client);
    assert_eq!((report.tunnels_closed, report.tunnels_cut, report.requests_cut), (1, 0, 0));
    assert!(report.milliseconds >= 100, "{report:?}");
    old.connections(0).await;
    old.stop(Manner::Rude).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_close_comes_between_two_frames() {
    let (old, new) = (App::start("old").await, App::start("new").await);
    let stage = Stage::serving(&old).await;
    let mut socket = opened(&stage).await;
    // A frame of which half has come: the application sends it back as far as it has it.
    let payload = vec![b'x'; 1000];
    let mut frame = vec![0x81, 0xfe];
    frame.extend(1000_u16.to_be_bytes());
    frame.extend([0; 4]);
    frame.extend(&payload);
    socket.0.write_all(&frame[..500]).await.expect("sent");
    let mut half = vec![0; 500];
    soon(socket.0.read_exact(&mut half)).await.expect("echoed");
    stage.swap(&new).await;
    let client = async {
        // Told to close by now; the rest of the frame goes through all the same, and the Close follows.
        stage.until(|app| app.leaving.first().is_some_and(|old| old.tunnels == 1)).await;
        autotag_base::clock::sleep(std::time::Duration::from_millis(200)).await;
        socket.0.write_all(&frame[500..]).await.expect("sent");
        let mut rest = vec![0; frame.len() - 500];
        soon(socket.0.read_exact(&mut rest)).await.expect("the frame's other half");
        assert_eq!(rest, &frame[500..]);
        assert_eq!(soon(socket.receive()).await.expect("a Close"), Frame::Close(1012));
        soon(socket.answer_close()).await.expect("a clean end");
    };
    let (report, ()) = tokio::join!(stage.drain("old", 10_000, Some(0)), client);
    assert_eq!((report.tunnels_closed, report.tunnels_cut), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ignores_the_close_delays_nothing() {
    let (old, new) = (App::start("old").await, App::start("new").await);
    let bounds = autotag_proxy::bounds::limits::Limits {
        close_grace: std::time::Duration::from_millis(200),
        ..super::stage::limits()
    };
    let stage = Stage::with(|options| options.limits = bounds).await;
    stage.swap(&old).await;
    let mut socket = opened(&stage).await;
    stage.swap(&new).await;
    let report = stage.drain("old", 100, None).await;
    assert_eq!((report.tunnels_closed, report.tunnels_cut), (1, 1));
    assert_eq!(soon(socket.receive()).await.expect("a Close"), Frame::Close(1012));
    old.connections(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_of_the_clients_own_is_left_alone() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let mut socket = opened(&stage).await;
    socket.send(8, true, &1000_u16.to_be_bytes()).await.expect("sent");
    assert_eq!(soon(socket.receive()).await.expect("echoed"), Frame::Close(1000));
    drop(socket);
    stage.until(|app| app.current.as_ref().is_some_and(|current| current.tunnels == 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_protocol_is_carried_and_cut_at_the_end() {
    let (old, new) = (App::start("old").await, App::start("new").await);
    let stage = Stage::serving(&old).await;
    let mut stream = TcpStream::connect(stage.address).await.expect("connected");
    stream
        .write_all(b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat/2\r\n\r\nearly")
        .await
        .expect("sent");
    let head = read_until(&mut stream, "\r\n\r\nearly").await;
    assert!(head.contains("upgrade: chat/2"), "{head}");
    stream.write_all(&[0x88, 0x00, 0xff]).await.expect("sent");
    let mut bytes = [0; 3];
    soon(stream.read_exact(&mut bytes)).await.expect("echoed");
    assert_eq!(bytes, [0x88, 0x00, 0xff]);
    stage.swap(&new).await;
    let report = stage.drain("old", 50, None).await;
    assert_eq!((report.tunnels_closed, report.tunnels_cut), (1, 0));
    assert_eq!(read_out(&mut stream).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_side_may_stop_sending_and_still_be_sent_to() {
    let app = App::start("a").await;
    let stage = Stage::serving(&app).await;
    let mut stream = TcpStream::connect(stage.address).await.expect("connected");
    stream
        .write_all(
            b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nlast words",
        )
        .await
        .expect("sent");
    stream.shutdown().await.expect("half closed");
    let all = read_out(&mut stream).await;
    assert!(all.ends_with("\r\n\r\nlast words"), "{all}");
    stage.until(|app| app.current.as_ref().is_some_and(|current| current.tunnels == 0)).await;
}
