//! HTTP/1.1 on the wire, read and written by hand: what is to be broken must not be put right by a library.

use std::io;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _};
use tokio::net::TcpStream;

/// What a client asks, read to its end.
#[derive(Debug)]
pub struct ClientRequest {
    /// GET, PUT ...
    pub method: String,
    /// Path and query, as they came.
    pub target: String,
    /// All headers, in small letters.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl ClientRequest {
    /// The next one on this connection; `None`: the client is done.
    pub async fn read(stream: &mut tokio::io::BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let first = line(stream).await?;
        let mut words = first.split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(None) };
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut headers = Vec::new();
        loop {
            let text = line(stream).await?;
            let Some((name, value)) = text.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut request = Self { method, target, headers, body: Vec::new() };
        request.body = request.read_body(stream).await?;
        Ok(Some(request))
    }

    async fn read_body(&self, stream: &mut tokio::io::BufReader<TcpStream>) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if self.header("transfer-encoding").is_some_and(|coding| coding.ends_with("chunked")) {
            loop {
                let size = line(stream).await?;
                let size = usize::from_str_radix(size.split(';').next().unwrap_or_default(), 16);
                let size = size.map_err(io::Error::other)?;
                let start = body.len();
                body.resize(start + size, 0);
                stream.read_exact(&mut body[start..]).await?;
                // After a chunk its line ends; after the last one come no trailers in these tests.
                line(stream).await?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let length = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
        Ok(body)
    }

    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }

    /// Takes a header away.
    pub fn remove(&mut self, name: &str) {
        self.headers.retain(|(header, _)| header != name);
    }

    /// `GET /path`, without the query.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target.split('?').next().unwrap_or_default())
    }
}

/// Up to the line's end, which is left out; empty at the end of the connection.
async fn line(stream: &mut tokio::io::BufReader<TcpStream>) -> io::Result<String> {
    let mut text = String::new();
    stream.read_line(&mut text).await?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// What a server answers.
#[derive(Debug, Clone)]
pub struct ServerAnswer {
    /// Its status.
    pub status: u16,
    /// All headers but those of the connection, in small letters.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// What `content-length` says where there is no body to count: the answer to HEAD.
    pub promised: Option<String>,
}

impl ServerAnswer {
    /// With a body.
    pub fn new(status: u16, content_type: &str, body: String) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: body.into_bytes(), promised: None }
    }

    /// Sets a header.
    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.retain(|(header, _)| header != name);
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    /// Whether it is an image's manifest.
    pub fn is_manifest(&self) -> bool {
        let kind = self.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value);
        kind.is_some_and(|kind| kind.contains("manifest") || kind.contains("image.index"))
    }

    /// Head and body as they go over the wire.
    pub fn on_the_wire(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// All but the body.
    pub fn head(&self) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} X\r\n", self.status);
        for (name, value) in &self.headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        let length = self.body.len().to_string();
        if self.status != 204 && self.status != 304 {
            head.extend(["content-length: ", self.promised.as_ref().unwrap_or(&length), "\r\n"]);
        }
        (head + "\r\n").into_bytes()
    }
}
