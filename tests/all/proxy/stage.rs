//! A proxy for one test, with its own listener and admin socket, and plain ways to talk to it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use autotag_proxy as proxy;
use autotag_proxy::admin;
use autotag_proxy::admin::{AdminAnswer, AppStatus, Command, Status};
use autotag_proxy::bounds::limits::Limits;
use autotag_proxy::listen::{Inherited, Listen};
use autotag_proxy::routes::Route;
use autotag_proxy::upstream::{Drained, Target};
use autotag_proxy::{Options, Running};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::app::App;

/// No test waits longer for anything.
pub const LONG: Duration = Duration::from_secs(20);

/// Fails a test that would wait for ever.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, what).await.expect("it does not come")
}

/// A running proxy with one application `web`.
pub struct Stage {
    pub running: Option<Running>,
    pub address: SocketAddr,
    pub admin: PathBuf,
    pub directory: tempfile::TempDir,
}

/// Bounds that make tests quick and still leave room for a busy machine.
pub fn limits() -> Limits {
    Limits { hold: Duration::from_secs(5), close_grace: Duration::from_secs(5), ..Limits::default() }
}

impl Stage {
    /// A proxy whose listener is inherited, so that its port is free for sure.
    pub async fn with(options: impl FnOnce(&mut Options)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let admin = directory.path().join("admin.sock");
        let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let mut all = Options { limits: limits(), ..Options::new(&admin) };
        options(&mut all);
        let running = proxy::start(all, vec![Inherited::Tcp(socket)]).expect("the proxy starts");
        let stage = Self { running: Some(running), address, admin, directory };
        assert_eq!(
            stage.call(&Command::Routes { routes: vec![stage.route("web")] }).await,
            AdminAnswer::Done {}
        );
        stage
    }

    pub async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// With an application that serves at once.
    pub async fn serving(app: &App) -> Self {
        let stage = Self::new().await;
        stage.swap(app).await;
        stage
    }

    pub fn route(&self, app: &str) -> Route {
        Route {
            app: app.to_owned(),
            listen: Listen::Tcp(self.address),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            trusted_headers: Vec::new(),
            answer_timeout_ms: None,
        }
    }

    pub async fn call(&self, command: &Command) -> AdminAnswer {
        soon(admin::call(&self.admin, command)).await.expect("the admin socket answers")
    }

    pub async fn swap(&self, app: &App) {
        self.point_at(Some(Target { id: app.id.clone(), address: app.address })).await;
    }

    pub async fn point_at(&self, to: Option<Target>) -> Option<String> {
        match self.call(&Command::Swap { app: "web".to_owned(), to }).await {
            AdminAnswer::Swapped { before } => before,
            other => panic!("{other:?}"),
        }
    }

    pub async fn drain(&self, id: &str, deadline_ms: u64, tunnels_ms: Option<u64>) -> Drained {
        let (app, id) = ("web".to_owned(), id.to_owned());
        match self.call(&Command::Drain { app, id, deadline_ms, tunnels_ms }).await {
            AdminAnswer::Drained(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub async fn status(&self) -> Status {
        match self.call(&Command::Status {}).await {
            AdminAnswer::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Asks until the application is as wanted: what it shows changes when others get to run.
    pub async fn until(&self, wanted: impl Fn(&AppStatus) -> bool) {
        soon(async {
            while !wanted(&self.status().await.apps[0]) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    pub async fn connect(&self) -> SendRequest<Full<Bytes>> {
        client(self.address).await
    }

    /// A request on a connection of its own, read to its end.
    pub async fn get(&self, path: &str) -> Response<Bytes> {
        ask(&mut self.connect().await, get(path)).await.expect("an answer")
    }

    pub async fn raw(&self, bytes: &[u8]) -> String {
        raw(self.address, bytes).await
    }

    pub async fn stop(mut self) {
        soon(self.running.take().expect("it runs").stop()).await;
    }
}

pub async fn client(address: SocketAddr) -> SendRequest<Full<Bytes>> {
    let stream = soon(TcpStream::connect(address)).await.expect("connected");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
    tokio::spawn(connection.with_upgrades());
    sender
}

pub fn get(path: &str) -> Request<Full<Bytes>> {
    Request::builder().uri(path).header("host", "a.example").body(Full::default()).expect("a request")
}

pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    let request = Request::builder().method("POST").uri(path).header("host", "a.example");
    request.body(Full::new(body.into())).expect("a request")
}

/// A strict client: one try, and the answer to its end.
pub async fn ask(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, hyper::Error> {
    soon(async {
        sender.ready().await?;
        let (parts, body) = sender.send_request(request).await?.into_parts();
        Ok(Response::from_parts(parts, body.collect().await?.to_bytes()))
    })
    .await
}

pub fn text(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).expect("text")
}

/// Sends these bytes and gives all that comes back until the end of the connection.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = soon(TcpStream::connect(address)).await.expect("connected");
    stream.write_all(bytes).await.expect("sent");
    read_out(&mut stream).await
}

pub async fn read_out(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // A reset after the answer is an end as well.
    let _ = soon(stream.read_to_end(&mut all)).await;
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads until these bytes have come.
pub async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    soon(async {
        let mut all = Vec::new();
        while !all.ends_with(end.as_bytes()) {
            all.push(
                stream
                    .read_u8()
                    .await
                    .unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&all))),
            );
        }
        String::from_utf8(all).expect("text")
    })
    .await
}
