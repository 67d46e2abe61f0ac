//! A proxy between the action and a server that speaks HTTP, which breaks exchanges at random; and one for
//! SSH ([`relay`]).
//!
//! It stands on bare sockets, so that it can do what no HTTP library does: reset a connection, close one
//! half of it, stop in the middle of a head. What is drawn follows from a seed alone; which request it
//! meets depends also on the order in which they come.

mod exchange;
mod harm;
pub mod relay;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use self::exchange::{ClientRequest, ServerAnswer};
pub use self::harm::{Dice, Harm, Wait, http_date};
use crate::clock::be_late;
use crate::network::faults::fits;
use crate::network::http::client;
use crate::torture::tally;

/// What stands behind the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A registry: what it redirects to serves blobs to whoever comes.
    Registry,
    /// GitHub.
    GitHub,
}

/// The running proxy. Dropped, it closes its ports and all connections.
#[derive(Debug)]
pub struct Chaos {
    address: SocketAddr,
    shared: Arc<ChaosShared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct ChaosShared {
    http: reqwest::Client,
    side: Side,
    upstream: String,
    own: String,
    elsewhere: String,
    state: Mutex<ChaosState>,
}

#[derive(Debug)]
struct ChaosState {
    dice: Dice,
    /// The harms that a test wants, with the pattern of the request that each of them waits for.
    wanted: Vec<(String, Harm)>,
    struck: Vec<(Harm, String)>,
    seen: tokio::sync::watch::Sender<usize>,
    /// The last login, so that the other host can answer with real content.
    login: Option<String>,
    /// The token that has run out.
    expired: Option<String>,
    /// The requests that came to the other host, and whether a login came with them.
    elsewhere: Vec<(String, bool)>,
}

impl Chaos {
    /// Before a server (`127.0.0.1:PORT`). Nothing breaks until more is said.
    pub fn before(side: Side, upstream: &str) -> Self {
        let listen = |address: &str| {
            let listener = std::net::TcpListener::bind(address).expect("a free port");
            listener.set_nonblocking(true).expect("a listener that does not block");
            (listener.local_addr().expect("an address"), listener)
        };
        let (address, own) = listen("127.0.0.1:0");
        // Another loopback address, so that it is another host by any reading.
        let (elsewhere, other) = listen("127.0.0.2:0");
        let shared = Arc::new(ChaosShared {
            http: client(),
            side,
            upstream: upstream.to_owned(),
            own: address.to_string(),
            elsewhere: elsewhere.to_string(),
            state: Mutex::new(ChaosState {
                dice: Dice::none(),
                wanted: Vec::new(),
                struck: Vec::new(),
                seen: tokio::sync::watch::Sender::new(0),
                login: None,
                expired: None,
                elsewhere: Vec::new(),
            }),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let behind = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                tokio::select! {
                    () = accept(own, |stream| serve(stream, Arc::clone(&behind))) => {}
                    () = accept(other, |stream| serve_elsewhere(stream, Arc::clone(&behind))) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`, to be used in place of the server's.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://` and the address, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on things go wrong as the dice fall.
    pub fn throw(&self, dice: Dice) {
        self.shared.state().dice = dice;
    }

    /// From now on nothing goes wrong.
    pub fn calm(&self) {
        self.throw(Dice::none());
    }

    /// This happens to the next request that fits, such as `PUT */manifests/*`.
    pub fn strike(&self, pattern: &str, harm: Harm) {
        self.shared.state().wanted.push((pattern.to_owned(), harm));
    }

    /// What went wrong since somebody last asked, with the requests.
    pub fn take_struck(&self) -> Vec<(Harm, String)> {
        std::mem::take(&mut self.shared.state().struck)
    }

    /// How many requests have come so far; counts on.
    pub fn seen(&self) -> tokio::sync::watch::Receiver<usize> {
        self.shared.state().seen.subscribe()
    }

    /// What came to the other host: each request's line, and whether a login came with it.
    pub fn seen_elsewhere(&self) -> Vec<(String, bool)> {
        self.shared.state().elsewhere.clone()
    }
}

impl Drop for Chaos {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error says that the thread has ended already.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the chaos proxy panicked");
        }
    }
}

async fn accept<F>(listener: std::net::TcpListener, serve: impl Fn(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("a listener");
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        connections.spawn(serve(stream));
        while let Some(ended) = connections.try_join_next() {
            // Errors of the connection are clients that left, or were thrown out.
            let _ = ended.expect("a connection's task does not panic");
        }
    }
}

/// The first byte of a client that begins with TLS (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// Tells a client that begins with TLS that nobody speaks it here, by an answer in HTTP, as servers do. Engines with
/// containerd's image store try TLS with every registry first, and go on without only after such an answer.
async fn plain(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    stream.write_all(&ServerAnswer::new(400, "text/plain", String::new()).on_the_wire()).await?;
    stream.get_mut().shutdown().await?;
    // Closed with something unread in it, the socket would be reset, and the answer lost.
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}

async fn serve(stream: TcpStream, shared: Arc<ChaosShared>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    if stream.fill_buf().await?.starts_with(&[TLS_HANDSHAKE]) {
        return plain(&mut stream).await;
    }
    while let Some(mut request) = ClientRequest::read(&mut stream).await? {
        let met = shared.meet(&request);
        if shared.state().expired.as_deref().is_some_and(|old| request.header("authorization") == Some(old)) {
            shared.expire(&mut request);
        }
        let Some((harm, chance)) = met else {
            let answer = shared.forward(request).await;
            stream.write_all(&answer.on_the_wire()).await?;
            continue;
        };
        if harm == Harm::Reset {
            return reset(&stream);
        }
        if harm == Harm::Expired {
            shared.expire(&mut request);
        }
        let answer = if harm == Harm::Redirected {
            shared.redirect(&request)
        } else if harm.strikes_first() {
            ServerAnswer::new(200, "", String::new())
        } else {
            shared.forward(request).await
        };
        if send(&mut stream, harm.spoil(answer, chance), harm, chance).await?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Sends an answer as this fault lets it through, and says whether the connection goes on.
async fn send(
    stream: &mut BufReader<TcpStream>,
    answer: ServerAnswer,
    harm: Harm,
    chance: u64,
) -> io::Result<ControlFlow<()>> {
    let bytes = answer.on_the_wire();
    match harm {
        Harm::LostByReset => reset(stream)?,
        Harm::Lost => {}
        Harm::HalfClosed => {
            stream.get_mut().shutdown().await?;
            // Until the client ends its half, too.
            while let Some(_late) = ClientRequest::read(stream).await? {}
        }
        Harm::Cut => stream.write_all(&bytes[..bytes.len() / 2]).await?,
        Harm::Silent => {
            // A client that has waited long enough ends it.
            let late = async { while let Ok(Some(_)) = ClientRequest::read(stream).await {} };
            tokio::select! {
                () = late => {}
                () = be_late(Duration::from_secs(30)) => {}
            }
        }
        Harm::Slow => {
            for piece in bytes.chunks(bytes.len().div_ceil(4)) {
                stream.write_all(piece).await?;
                stream.flush().await?;
                be_late(Duration::from_millis(20 + chance % 60)).await;
            }
            return Ok(ControlFlow::Continue(()));
        }
        Harm::Drip => {
            stream.write_all(&answer.head()).await?;
            let (slow, rest) = answer.body.split_at(answer.body.len().min(80));
            for byte in slow {
                be_late(Duration::from_millis(250)).await;
                stream.write_all(&[*byte]).await?;
            }
            stream.write_all(rest).await?;
            return Ok(ControlFlow::Continue(()));
        }
        _ => {
            stream.write_all(&bytes).await?;
            return Ok(ControlFlow::Continue(()));
        }
    }
    Ok(ControlFlow::Break(()))
}

/// The socket's end, which is near, is to be RST: what was not read yet is thrown away at both sides.
fn reset(stream: &BufReader<TcpStream>) -> io::Result<()> {
    socket2::SockRef::from(stream.get_ref()).set_linger(Some(Duration::ZERO))
}

async fn serve_elsewhere(stream: TcpStream, shared: Arc<ChaosShared>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(mut request) = ClientRequest::read(&mut stream).await? {
        let login = {
            let mut state = shared.state();
            state.elsewhere.push((request.line(), request.header("authorization").is_some()));
            state.login.clone()
        };
        request.remove("authorization");
        // Storage behind a registry's redirect needs no login: its URL itself is the right to read.
        if let (Side::Registry, Some(login)) = (shared.side, login) {
            request.headers.push(("authorization".to_owned(), login));
        }
        let answer = shared.forward(request).await;
        stream.write_all(&answer.on_the_wire()).await?;
    }
    Ok(())
}

impl ChaosShared {
    fn state(&self) -> MutexGuard<'_, ChaosState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Counts a request, and says what happens to it, which is counted for the table of `scripts/torture`.
    fn meet(&self, request: &ClientRequest) -> Option<(Harm, u64)> {
        let line = request.line();
        let mut state = self.state();
        state.seen.send_modify(|seen| *seen += 1);
        if let Some(login) = request.header("authorization") {
            state.login = Some(login.to_owned());
        }
        let wanted =
            state.wanted.iter().position(|(pattern, harm)| fits(pattern, &line) && harm.can_meet(request));
        let met = match wanted {
            Some(place) => Some((state.wanted.remove(place).1, 0)),
            None => state.dice.next(request),
        };
        if let Some((harm, _)) = met {
            tally(&format!("faults: {}", harm.name()), 1);
            state.struck.push((harm, line));
        }
        met
    }

    /// The request's login has run out: a registry's token for good, as it says with its refusal; anything else only now,
    /// because there is no other.
    fn expire(&self, request: &mut ClientRequest) {
        let login = request.header("authorization").map(str::to_owned);
        request.remove("authorization");
        if let (Side::Registry, Some(login)) = (self.side, login.filter(|login| login.starts_with("Bearer ")))
        {
            request.headers.push(("authorization".to_owned(), "Bearer expired".to_owned()));
            self.state().expired = Some(login);
        }
    }

    fn redirect(&self, request: &ClientRequest) -> ServerAnswer {
        let mut answer = ServerAnswer::new(307, "text/plain", String::new());
        answer.set("location", &format!("http://{}{}", self.elsewhere, request.target));
        answer
    }

    /// The server's own answer, in which it stands at this proxy's address.
    async fn forward(&self, request: ClientRequest) -> ServerAnswer {
        let url = format!("http://{}{}", self.upstream, request.target);
        let method = reqwest::Method::from_bytes(request.method.as_bytes()).expect("a method");
        let is_head = method == reqwest::Method::HEAD;
        let mut asked = self.http.request(method, url);
        for (name, value) in &request.headers {
            // The registry builds its addresses from `host`, which therefore stays the proxy's.
            if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
                asked = asked.header(name, value);
            }
        }
        let response = match asked.body(request.body).send().await {
            Ok(response) => response,
            Err(error) => return ServerAnswer::new(502, "text/plain", error.to_string()),
        };
        let status = response.status().as_u16();
        let (mut headers, mut promised) = (Vec::new(), None);
        for (name, value) in response.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            match name.as_str() {
                "content-length" => promised = is_head.then(|| value.into_owned()),
                "transfer-encoding" | "connection" => {}
                _ => headers.push((name.to_string(), value.replace(&self.upstream, &self.own))),
            }
        }
        match response.bytes().await {
            Ok(body) => ServerAnswer { status, headers, body: body.to_vec(), promised },
            Err(error) => ServerAnswer::new(502, "text/plain", error.to_string()),
        }
    }
}
