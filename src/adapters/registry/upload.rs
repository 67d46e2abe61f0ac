//! Whether a push would be let in, by the first step of one.

use ::http::{Method, StatusCode, header};
use reqwest::Url;

use super::access::Permission;
use super::connection::{RegistryAnswer, RegistryConnection, RegistryRequest};
use crate::adapters::retry::Idempotency;
use autotag_base::{CallErrorKind, CallResult};
use autotag_model::reference::ImageName;

/// Answers to uploads that begin or end have no body that matters.
const ANSWER_BYTES: usize = 64 << 10;

/// Begins an upload, which is where registries refuse who may not push, and cancels it. The token alone would
/// not tell: it is given to anybody, with fewer rights than were asked for. (Distribution specification, "Pushing a
/// blob in chunks".)
pub async fn may_push(connection: &RegistryConnection, image: &ImageName) -> CallResult<()> {
    let doing = format!("asking whether the login may push to {image}");
    let begin = RegistryRequest {
        method: Method::POST,
        // Some registries want to be told that nothing comes.
        body: Some((b"", "application/octet-stream")),
        ..ask(&doing, connection.url(&format!("{}/blobs/uploads/", image.repository())))
    };
    let error = match connection.ask_once(&begin).await {
        Ok(answer) if answer.status.is_success() => {
            cancel(connection, &begin, &answer).await;
            return Ok(());
        }
        Ok(answer) => connection.refusal(&begin, &answer),
        Err(error) => error,
    };
    // An outage or an answer of another kind says nothing about rights; the push itself will tell.
    if error.kind == CallErrorKind::Denied { Err(error) } else { Ok(()) }
}

/// One that cannot be cancelled (GitHub's registry knows no DELETE here) ends by itself, at the registry's own
/// deadline for uploads.
async fn cancel(connection: &RegistryConnection, begun: &RegistryRequest<'_>, answer: &RegistryAnswer) {
    if answer.status != StatusCode::ACCEPTED {
        return;
    }
    let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
    let Some(upload) = location.and_then(|location| connection.next_url(&answer.url, location)) else {
        return;
    };
    let cancelled =
        connection.ask_once(&RegistryRequest { method: Method::DELETE, ..ask(begun.doing, upload) }).await;
    if let Err(error) = cancelled {
        tracing::debug!("the upload is left to the registry: {error}");
    }
}

fn ask(doing: &str, url: Url) -> RegistryRequest<'_> {
    RegistryRequest {
        doing,
        method: Method::GET,
        url,
        access: Permission::Push,
        accept: "application/json",
        body: None,
        limit: ANSWER_BYTES,
        repeat: Idempotency::Read,
    }
}
