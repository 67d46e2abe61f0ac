//! What both sides' own connections to the Engine share: answers of lines, and refusals.

use bollard::errors::Error;
use bytes::{Buf as _, BytesMut};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A longer answer is none: a container's description has some kilobytes, a list of all of them some megabytes.
pub const LONGEST: usize = 64 * 1024 * 1024;

/// JSON, a line each. Dropped, it ends what the Engine does for it.
pub struct Lines {
    body: Incoming,
    read: BytesMut,
}

impl Lines {
    /// The lines of this answer.
    pub fn of(body: Incoming) -> Self {
        Self { body, read: BytesMut::new() }
    }

    /// The next one; `None` at the end. What is no JSON is an error.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Option<Result<T, Error>> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(end);
                self.read.advance(1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return Some(serde_json::from_slice(&line).map_err(Error::from));
            }
            if self.read.len() > LONGEST {
                return Some(Err(broken("a line that does not end")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.read.extend_from_slice(&frame.into_data().unwrap_or_default()),
                Some(Err(error)) => return Some(Err(broken(error))),
                None if self.read.trim_ascii().is_empty() => return None,
                // Podman ends the last one with the answer.
                None => self.read.extend_from_slice(b"\n"),
            }
        }
    }
}

/// An answer that is one JSON text; one without a body is `null`.
pub async fn json(body: Incoming) -> Result<Value, Error> {
    let bytes = Limited::new(body, LONGEST).collect().await.map_err(broken)?.to_bytes();
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&bytes).map_err(Error::from)
}

/// What an answer that is no success says.
pub async fn refused(status: http::StatusCode, body: Incoming) -> Error {
    let answer = Limited::new(body, LONGEST).collect().await;
    let answer = answer.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let message = serde_json::from_slice::<Value>(&answer).ok().and_then(|answer| {
        ["message", "cause"].iter().find_map(|key| answer.get(key)?.as_str().map(str::to_owned))
    });
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(&answer).trim().to_owned());
    Error::DockerResponseServerError { status_code: status.as_u16(), message }
}

/// A connection that does not do what it should.
pub fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::from(std::io::Error::other(error))
}
