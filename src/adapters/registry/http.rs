//! What every exchange with a registry or its token server keeps to: where it may go, and how much is read.

use reqwest::{Response, Url};

use crate::adapters::http_error;
use crate::adapters::retry::Idempotency;
use autotag_base::{CallError, CallErrorKind, CallResult};

/// http or https with a host, and without a login in it: reqwest would send that.
pub fn is_plain(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
}

/// The whole body, if it is not longer than the limit. No more than that is ever held.
pub async fn bounded_body(
    doing: &str,
    mut response: Response,
    limit: usize,
    repeat: Idempotency,
) -> CallResult<Vec<u8>> {
    let too_long = || {
        let call_error = CallError::new(
            CallErrorKind::InvalidResponse,
            doing,
            format!("an answer of more than {limit} bytes"),
        );
        if repeat == Idempotency::Read { call_error } else { call_error.perhaps_done() }
    };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_long());
    }
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(too_long()),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(http_error::from_reqwest(doing, error, repeat)),
        }
    }
}

/// The beginning of an error's body; that the rest does not come is no second error.
pub async fn beginning(mut response: Response, limit: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while body.len() < limit
        && let Ok(Some(chunk)) = response.chunk().await
    {
        body.extend_from_slice(&chunk[..chunk.len().min(limit - body.len())]);
    }
    body
}
