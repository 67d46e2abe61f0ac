//! Questions to the Engine whose answers are read by us, not by bollard.
//!
//! bollard reads an answer into a model of all that the Engine's description has, and refuses it where one field is
//! missing or of another kind. Engines of every age answer here, and Podman; what a deployment does not need must not
//! fail it. So these answers stay JSON, and [`super::answers`] takes out of it what is used.

use std::time::Duration;

use bollard::errors::Error;
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::DockerEngine;
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_docker::daemon;
use autotag_docker::daemon::{Lines, broken};

/// What is sent: a method, a path with its query, and JSON.
pub(super) struct Call<'a> {
    pub method: Method,
    pub path: &'a str,
    pub body: Option<Value>,
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: None }
    }

    pub(super) fn post(path: &'a str, body: Value) -> Self {
        Self { method: Method::POST, path, body: Some(body) }
    }

    pub(super) fn delete(path: &'a str) -> Self {
        Self { method: Method::DELETE, path, body: None }
    }

    fn request(self) -> Result<Request<Full<Bytes>>, http::Error> {
        let body = self.body.map(|body| body.to_string()).unwrap_or_default();
        let request = Request::builder().method(self.method).uri(self.path).header(header::HOST, "docker");
        // Only what has a body says of which kind: Podman and old Engines read it then.
        let request =
            if body.is_empty() { request } else { request.header(header::CONTENT_TYPE, "application/json") };
        request.body(Full::new(Bytes::from(body)))
    }
}

impl DockerEngine {
    /// What a call gave: JSON, or nothing where the answer has no body.
    ///
    /// Errors: bollard's own, so that one place says what they mean.
    pub(super) async fn ask(&self, call: Call<'_>, patience: Duration) -> Result<Value, Error> {
        let exchange = async { daemon::json(self.answer(call).await?).await };
        tokio::time::timeout(patience, exchange).await.unwrap_or(Err(Error::RequestTimeoutError))
    }

    /// The same, where that it is not there is an answer too.
    pub(super) async fn look(&self, path: &str, doing: &str) -> CallResult<Option<Value>> {
        super::found(self.ask(Call::get(path), super::ORDINARY).await)
            .map_err(|error| self.call_error(&error, doing))
    }

    /// The lines of an answer that goes on for as long as both want.
    pub(super) async fn lines(&self, path: &str) -> Result<Lines, Error> {
        Ok(Lines::of(self.answer(Call::get(path)).await?))
    }

    /// The answer's body, on a connection of its own, which ends with it.
    async fn answer(&self, call: Call<'_>) -> Result<Incoming, Error> {
        let request = call.request().map_err(|error| broken(error.to_string()))?;
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::SocketNotFoundError(self.socket.to_string_lossy().into_owned())
            }
            _ => Error::from(error),
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // It ends when the answer has been read or dropped; its error comes out of the answer as well.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broken)?;
        let (head, body) = response.into_parts();
        if head.status.is_success() || head.status == http::StatusCode::NOT_MODIFIED {
            return Ok(body);
        }
        Err(daemon::refused(head.status, body).await)
    }
}

/// Percent-encoded for a query or as one segment of a path (RFC 3986, 2.3); `:`, `@` and `/` stand in the names of
/// images, whose path the Engine takes to its end.
pub(super) fn encoded(text: &str, also: &[u8]) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || also.contains(&byte) {
            path.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

/// A query's `filters`, as the Engine reads them.
pub(super) fn filters(filters: &Value) -> String {
    encoded(&filters.to_string(), b"")
}

/// An answer from which what has to be in it is missing.
pub(super) fn without(what: &str, doing: &str) -> CallError {
    CallError::new(CallErrorKind::InvalidResponse, doing, format!("the Engine's answer has no {what}"))
}
