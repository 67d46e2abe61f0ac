//! A server that gives the answers of a script: what no real registry can be made to do.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request that came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// `GET /v2/`.
    pub line: String,
    /// The `Authorization` header.
    pub login: Option<String>,
    /// How many came before it.
    pub number: usize,
}

/// An answer: head and body as bytes; one that is shorter than it promises is cut off.
pub struct Reply(Vec<u8>);

impl Reply {
    /// With a body of type JSON.
    pub fn json(status: u16, body: &str) -> Self {
        Self::with(status, &[("content-type", "application/json")], body)
    }

    /// With these headers and a whole body.
    pub fn with(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        Self::promising(body.len(), status, headers, body)
    }

    /// The same, with a `content-length` of its own.
    pub fn promising(length: usize, status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n");
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        Self(format!("{head}\r\n{body}").into_bytes())
    }

    /// The same, without any: the end of the connection is its end.
    pub fn of_no_length(headers: &[(&str, &str)], body: &str) -> Self {
        let Self(bytes) = Self::with(200, headers, body);
        let promise = format!("content-length: {}\r\n", body.len());
        Self(String::from_utf8(bytes).expect("text").replacen(&promise, "", 1).into_bytes())
    }

    /// No answer: the connection ends.
    pub fn hang_up() -> Self {
        Self(Vec::new())
    }

    /// A registry's error.
    pub fn error(status: u16, code: &str) -> Self {
        Self::json(status, &format!(r#"{{"errors":[{{"code":"{code}","message":"words"}}]}}"#))
    }
}

/// The server; it ends when this is dropped.
pub struct Scripted {
    /// `127.0.0.1:PORT`.
    pub address: String,
    seen: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Starts; the script gets each request and the server's own address.
    pub async fn start(script: impl Fn(&Asked, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (own, log) = (address.clone(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                let Some((line, login)) = read_request(&mut stream).await else { continue };
                let asked = {
                    let mut log = log.lock().expect("no panic before");
                    let asked = Asked { line, login, number: log.len() };
                    log.push(asked.clone());
                    asked
                };
                let Reply(bytes) = script(&asked, &own);
                // The other side may hang up on an answer that is too long.
                let _ = stream.write_all(&bytes).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { address, seen, task }
    }

    /// What has come in so far.
    pub fn seen(&self) -> Vec<Asked> {
        self.seen.lock().expect("no panic before").clone()
    }

    /// Method and path of what has come in so far.
    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|asked| asked.line).collect()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a whole request and gives its first line, without the version, and its login.
async fn read_request(stream: &mut TcpStream) -> Option<(String, Option<String>)> {
    let mut bytes = Vec::new();
    let head = loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break String::from_utf8_lossy(&bytes[..end]).into_owned();
        }
    };
    let header = |name: &str| {
        head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let length = header("content-length").map_or(0, |length| length.parse().expect("a number"));
    while bytes.len() < head.len() + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    Some((line, header("authorization")))
}
