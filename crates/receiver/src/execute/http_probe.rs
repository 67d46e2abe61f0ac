//! One HTTP question to an application: for its health, and for the smoke test of a deployment; and what is told
//! of an answer that was not expected.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use autotag_model::secret::Secret;

/// So much of an answer is read: a health page has a line, and a smoke test looks for a word.
const BODY: usize = 64 * 1024;

/// Where the question goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Where it says that the client should go.
    pub location: Option<String>,
    /// The body, or its first 64 KiB; bytes that are no UTF-8 are replaced.
    pub body: String,
}

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The Host.
    pub host: &'a str,
    /// The path, with its query.
    pub path: &'a str,
    /// Further headers, by their names in lower case.
    pub headers: &'a BTreeMap<String, Secret>,
}

/// The longest part of an answer that is told, in characters.
const TOLD: usize = 200;

/// So short a secret would be found everywhere.
const SHORTEST_SECRET: usize = 4;

impl<'a> Question<'a> {
    /// Where and as whom it is asked, for people.
    fn client(&self, target: &Target) -> String {
        match target {
            Target::Tcp(address) => format!("http://{address} with `Host: {}`", self.host),
            Target::Unix(path) => format!("{} with `Host: {}`", path.display(), self.host),
        }
    }

    /// Why there is no answer.
    pub fn unanswered(&self, target: &Target, why: &NoAnswer) -> String {
        format!("GET {}: {why} ({})", self.path, self.client(target))
    }

    /// Why an answer is not the one that was expected. An application can write its secrets anywhere, so none of
    /// these stays, nor what a redirect hands on as a query.
    pub fn unexpected(
        &self,
        target: &Target,
        answer: &Answer,
        expected: u16,
        secrets: impl Iterator<Item = &'a Secret>,
    ) -> String {
        let secrets: Vec<&str> = secrets
            .chain(self.headers.values())
            .flat_map(|secret| secret.reveal().lines())
            .map(str::trim)
            .filter(|secret| secret.len() >= SHORTEST_SECRET)
            .collect();
        let mut text = format!(
            "GET {} gave {}, expected {expected}. The request went to {}",
            self.path,
            answer.status,
            self.client(target)
        );
        if let Some(location) = &answer.location {
            let (place, query) =
                location.split_once(['?', '#']).map_or((location.as_str(), ""), |(place, _)| (place, "?..."));
            let _ = write!(text, "; Location: {}{query}", harmless(place, &secrets));
        }
        match first_line(&answer.body) {
            Some(line) => {
                let _ = write!(text, "; the body begins with \"{}\"", harmless(line, &secrets));
            }
            None => text.push_str("; the body is empty"),
        }
        match answer.status {
            300..=399 => text.push_str(
                ". If the application redirects to https, add `headers: {X-Forwarded-Proto: https}` next to \
                 `path`",
            ),
            400 | 403 | 404 | 421 => {
                text.push_str(". If the application expects another host, add `host: NAME` next to `path`");
            }
            401 => text.push_str(
                ". If the application expects a login, use a path without one, or add \
                                  `headers:` next to `path`",
            ),
            _ => {}
        }
        text
    }
}

/// The first line that says something: of a page its title.
fn first_line(body: &str) -> Option<&str> {
    let first = body.lines().map(str::trim).find(|line| !line.is_empty())?;
    let title = body.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    Some(
        title
            .map(|(title, _)| title.trim())
            .filter(|title| first.starts_with('<') && !title.is_empty())
            .unwrap_or(first),
    )
}

/// A part of others' text: without secrets and signs that a terminal obeys, and bounded.
fn harmless(text: &str, secrets: &[&str]) -> String {
    let mut secrets = secrets.to_vec();
    // A secret that begins with another one is found first.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let masked = secrets.into_iter().fold(text.to_owned(), |text, secret| text.replace(secret, "***"));
    let cut = masked.chars().count() > TOLD;
    let reported: String = masked.chars().take(TOLD).collect();
    let reported: String =
        reported.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    if cut { format!("{reported}...") } else { reported }
}

/// Why there is no answer, in words for people: `connection refused`, `no answer within 2 s`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(pub String);

/// Asks `GET path` over HTTP/1.1, on a connection of its own. Redirects are answers like any other.
///
/// The deadline covers all of it, from connecting to the last byte of the body.
pub async fn get(target: &Target, question: &Question<'_>, deadline: Duration) -> Result<Answer, NoAnswer> {
    let request = request(question)?;
    let exchange = async {
        match target {
            Target::Tcp(address) => {
                ask(TcpStream::connect(address).await.map_err(|error| refused(&error))?, request).await
            }
            Target::Unix(path) => {
                ask(UnixStream::connect(path).await.map_err(|error| refused(&error))?, request).await
            }
        }
    };
    let late = |_| NoAnswer(format!("no answer within {} s", deadline.as_secs_f64()));
    tokio::time::timeout(deadline, exchange).await.map_err(late)?
}

fn request(question: &Question<'_>) -> Result<Request<Empty<Bytes>>, NoAnswer> {
    let Question { host, path, headers } = question;
    let wrong = |what: &str| NoAnswer(format!("nothing was asked: {what}"));
    let uri: Uri = path
        .parse()
        .map_err(|_| wrong(&format!("`{path}` is not a path; expected for example `/healthz`")))?;
    if !path.starts_with('/') {
        return Err(wrong(&format!("`{path}` does not begin with `/`")));
    }
    let mut request = Request::get(uri).header(header::HOST, *host).header(header::CONNECTION, "close");
    if !headers.contains_key("user-agent") {
        request = request.header(header::USER_AGENT, "autotag-receiver");
    }
    let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value.reveal()));
    request
        .body(Empty::new())
        .map_err(|_| wrong(&format!("`{host}` is not a host; expected for example `app.example.org`")))
}

async fn ask<S>(stream: S, request: Request<Empty<Bytes>>) -> Result<Answer, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        let location = head.headers.get(header::LOCATION);
        let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok(Answer { status: head.status.as_u16(), location, body: text(body, head.status).await? })
    };
    // The connection may end before the last of the body has been taken from it; its error, if any, comes
    // out of the answer.
    let driven = async {
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! { answer = answer => answer, never = driven => never }
}

async fn text(mut body: hyper::body::Incoming, status: StatusCode) -> Result<String, NoAnswer> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| NoAnswer(format!("status {status}, and {}", broken(&error))))?;
        if let Ok(data) = frame.into_data() {
            let room = BODY - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if bytes.len() == BODY {
                break;
            }
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn refused(error: &std::io::Error) -> NoAnswer {
    use std::io::ErrorKind;
    NoAnswer(match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::NotFound => "there is no such socket".to_owned(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "the address cannot be reached".to_owned()
        }
        _ => format!("no connection: {error}"),
    })
}

fn broken(error: &hyper::Error) -> NoAnswer {
    let words = if error.is_incomplete_message() {
        "the connection was closed before the answer was complete".to_owned()
    } else if error.is_parse() {
        "the answer is not HTTP/1.1".to_owned()
    } else {
        let cause = std::error::Error::source(error).map(|cause| format!(" ({cause})")).unwrap_or_default();
        format!("the connection broke: {error}{cause}")
    };
    NoAnswer(words)
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    async fn get(target: &Target, host: &str, path: &str, deadline: Duration) -> Result<Answer, NoAnswer> {
        super::get(target, &Question { host, path, headers: &BTreeMap::new() }, deadline).await
    }

    fn secret(text: &str) -> Secret {
        Secret::verbatim(text.to_owned())
    }

    fn reported(status: u16, location: Option<&str>, body: &str) -> String {
        let headers = BTreeMap::from([("authorization".to_owned(), secret("Bearer hunter2"))]);
        let question = Question { host: "localhost", path: "/healthz", headers: &headers };
        let target = Target::Tcp(([172, 18, 0, 3], 3000).into());
        let answer = Answer { status, location: location.map(str::to_owned), body: body.to_owned() };
        let secrets = [secret("correct horse"), secret("yes"), secret("line one\nline two")];
        question.unexpected(&target, &answer, 200, secrets.iter())
    }

    #[test]
    fn an_unexpected_answer_is_reported_with_its_context() {
        let asked = "GET /healthz gave ";
        for (status, location, body, expected) in [
            (
                403,
                None,
                "\n  Invalid HTTP_HOST header\nmore\n",
                "403, expected 200. The request went to http://172.18.0.3:3000 with `Host: localhost`; the body \
                 begins with \"Invalid HTTP_HOST header\". If the application expects another host, add \
                 `host: NAME`",
            ),
            (
                301,
                Some("https://localhost/healthz?token=1"),
                "",
                "; Location: https://localhost/healthz?...; the body is empty. If the application redirects \
                 to https, add `headers: {X-Forwarded-Proto: https}`",
            ),
            (500, None, "<!doctype html>\n<html><title> Oops </title>", "; the body begins with \"Oops\""),
            (
                500,
                None,
                "the password is correct horse, yes",
                "the body begins with \"the password is ***, yes\"",
            ),
            (500, None, "line two", "begins with \"***\""),
            (500, None, "Bearer hunter2", "begins with \"***\""),
            (500, None, "\u{1b}[31mred", "begins with \" [31mred\""),
        ] {
            let text = reported(status, location, body);
            assert!(text.starts_with(asked) && text.contains(expected), "{text}");
            assert!(!text.contains("hunter2") && !text.contains("horse"), "{text}");
        }
        let long = reported(500, Some(&"l".repeat(9000)), &"b".repeat(9000));
        assert!(long.len() < 700 && long.contains("bbb..."), "{long}");
        // A secret is masked before the text is cut.
        let at_the_end = reported(500, None, &format!("{}correct horse", "b".repeat(TOLD - 4)));
        assert!(!at_the_end.contains("corr"), "{at_the_end}");
    }

    #[tokio::test]
    async fn host_and_headers_are_asked_with_as_they_are_set() {
        let (target, asked) =
            server(answer("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n")).await;
        let headers = ["x-forwarded-proto", "user-agent"].map(|name| (name.to_owned(), secret("https")));
        let headers = BTreeMap::from(headers);
        let question = Question { host: "app.example.org:8080", path: "/", headers: &headers };
        let got = super::get(&target, &question, SOON).await.expect("an answer");
        assert_eq!((got.status, got.location.as_deref()), (302, Some("/login")));
        let asked = asked.await.to_lowercase();
        for line in ["host: app.example.org:8080", "x-forwarded-proto: https", "user-agent: https"] {
            assert_eq!(asked.matches(&format!("\r\n{line}\r\n")).count(), 1, "{asked}");
        }
        assert!(!asked.contains("autotag"), "{asked}");
    }

    /// Answers one connection with these bytes; gives the address, and what was asked.
    async fn server(answer: Vec<u8>) -> (Target, impl Future<Output = String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = Target::Tcp(listener.local_addr().expect("its address"));
        let served = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let asked = head(&mut stream).await;
            // The client may have heard enough.
            let _ = stream.write_all(&answer).await;
            asked
        });
        (target, async { served.await.expect("served") })
    }

    async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut asked = Vec::new();
        while !asked.ends_with(b"\r\n\r\n") {
            asked.push(stream.read_u8().await.expect("a head"));
        }
        String::from_utf8(asked).expect("text")
    }

    fn answer(text: &str) -> Vec<u8> {
        text.as_bytes().to_vec()
    }

    #[tokio::test]
    async fn status_and_body_come_back() {
        let (target, asked) = server(answer("HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy")).await;
        let got = get(&target, "app.example.org", "/health?deep=1", SOON).await;
        assert_eq!(got, Ok(Answer { status: 503, location: None, body: "busy".to_owned() }));
        let asked = asked.await.to_lowercase();
        assert!(asked.starts_with("get /health?deep=1 http/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nhost: app.example.org\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_read_to_its_limit() {
        let (target, _) = server(answer("HTTP/1.0 200 OK\r\n\r\nhello")).await;
        assert_eq!(get(&target, "a", "/", SOON).await.expect("an answer").body, "hello");
        let (target, _) = server([answer("HTTP/1.1 200 OK\r\n\r\n"), vec![b'x'; 3 * BODY]].concat()).await;
        assert_eq!(get(&target, "a", "/", SOON).await.expect("an answer").body.len(), BODY);
    }

    #[tokio::test]
    async fn a_unix_socket_is_asked_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("http.sock");
        let missing = get(&Target::Unix(path.clone()), "a", "/", SOON).await;
        assert_eq!(missing, Err(NoAnswer("there is no such socket".to_owned())));
        let listener = UnixListener::bind(&path).expect("a socket");
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("written");
        };
        let target = Target::Unix(path.clone());
        let (got, ()) = tokio::join!(get(&target, "a", "/", SOON), serve);
        assert_eq!(got, Ok(Answer { status: 204, location: None, body: String::new() }));
    }

    #[tokio::test]
    async fn failed_probes_are_explained() {
        for (bytes, words) in [
            ("", "closed before the answer was complete"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", "status 200 OK, and the connection"),
            ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP/1.1"),
        ] {
            let (target, _) = server(answer(bytes)).await;
            let refusal = get(&target, "a", "/", SOON).await.expect_err(words);
            assert!(refusal.0.contains(words), "{refusal}");
        }
        for (host, path) in [("a", "health"), ("a", "/ /"), ("a\nb", "/")] {
            let target = Target::Tcp(([127, 0, 0, 1], 1).into());
            let refusal = get(&target, host, path, SOON).await.expect_err("not asked");
            assert!(refusal.0.contains("nothing was asked"), "{refusal}");
        }
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address");
        let refusal = get(&Target::Tcp(free), "a", "/", SOON).await.expect_err("nobody listens");
        assert_eq!(refusal.0, "connection refused");
    }

    #[tokio::test]
    async fn silence_ends_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let target = Target::Tcp(listener.local_addr().expect("its address"));
        let refusal = get(&target, "a", "/", Duration::from_millis(100)).await.expect_err("no answer");
        assert_eq!(refusal.0, "no answer within 0.1 s");
    }
}
