//! One push: one tag of one image, and the digest that the registry knows it by.

use std::pin::pin;

use bollard::errors::Error;
use bollard::models::PushImageInfo;
use bollard::query_parameters::{PushImageOptionsBuilder, TagImageOptionsBuilder};
use futures_util::StreamExt;

use super::super::registry::{Parties, Permission};
use crate::ports::{BuildEvent, BuildLog};
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_docker::daemon;
use autotag_docker::daemon::engine_credentials;
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_model::secret::Credentials;

/// Pushes. Done twice it changes nothing: the layers are there, and the manifest has the same bytes.
pub(super) async fn push(
    client: &bollard::Docker,
    image: &Digest,
    (name, tag): (&ImageName, &ImageTag),
    credentials: Option<&Credentials>,
    log: &mut dyn BuildLog,
) -> CallResult<Digest> {
    let (repository, tag) = (name.to_string(), tag.as_str());
    let options = TagImageOptionsBuilder::default().repo(&repository).tag(tag).build();
    client
        .tag_image(image.as_str(), Some(options))
        .await
        .map_err(|error| daemon::of_client(&error, &format!("tagging {image} as {name}:{tag}")))?;

    match once(client, (name, tag), credentials, log).await {
        // With the classic image store the Engine gets one token for the whole push and no second one. It may have
        // run out on the way; a new push gets a new one, and sends nothing twice.
        Err(Stopped { error: call_error, midway: true })
            if call_error.kind == CallErrorKind::Denied && credentials.is_some() =>
        {
            log.event(BuildEvent::Note(format!("{call_error}; logging in again")));
            once(client, (name, tag), credentials, log).await
        }
        ended => ended,
    }
    .map_err(|stopped| stopped.error)
}

/// A push that did not get to its end.
struct Stopped {
    error: CallError,
    /// The registry had taken something already, or was being sent it.
    midway: bool,
}

async fn once(
    client: &bollard::Docker,
    (name, tag): (&ImageName, &str),
    credentials: Option<&Credentials>,
    log: &mut dyn BuildLog,
) -> Result<Digest, Stopped> {
    log.event(BuildEvent::Note(format!("pushing {name}:{tag}")));
    // Without a tag the Engine would push every tag of the repository that it has.
    let options = PushImageOptionsBuilder::default().tag(tag).build();
    let login = credentials.map(|credentials| engine_credentials(credentials, daemon::login_server(name)));
    let mut messages = pin!(client.push_image(&name.to_string(), Some(options), login));
    let (mut digest, mut sent, mut there, mut midway) = (None, 0_u32, 0_u32, false);
    while let Some(message) = messages.next().await {
        match message {
            Ok(message) => match message.status.as_deref().unwrap_or_default() {
                "Pushing" => {
                    midway = true;
                    if let Some(event) = sending(&message) {
                        log.event(event);
                    }
                }
                "Pushed" => sent += 1,
                "Layer already exists" => there += 1,
                status if status.starts_with("Mounted from") => there += 1,
                status => digest = digest_in(status, tag).or(digest),
            },
            Err(error) if digest.is_some() && daemon::is_leftover(&error) => break,
            Err(error) => {
                let call_error = explain(&error, name, tag, credentials.is_some());
                return Err(Stopped { error: call_error, midway: midway || sent + there > 0 });
            }
        }
    }
    let Some(digest) = digest else {
        let doing = format!("pushing {name}:{tag}");
        let why = "the Engine ended the push without naming a digest";
        let call_error = CallError::new(CallErrorKind::InvalidResponse, doing, why).perhaps_done();
        return Err(Stopped { error: call_error, midway });
    };
    log.event(BuildEvent::Note(format!("pushed (layers sent: {sent}, there already: {there})")));
    Ok(digest)
}

/// How far a layer is, where the Engine says it.
fn sending(message: &PushImageInfo) -> Option<BuildEvent> {
    let detail = message.progress_detail.as_ref()?;
    let bytes = u64::try_from(detail.current?).ok()?;
    Some(BuildEvent::Sent { bytes, of: u64::try_from(detail.total?).ok()? })
}

/// The line that closes a push: `TAG: digest: sha256:... size: N`.
fn digest_in(status: &str, tag: &str) -> Option<Digest> {
    let rest = status.strip_prefix(tag)?.strip_prefix(": digest: ")?;
    rest.split_once(" size: ")?.0.parse().ok()
}

fn explain(error: &Error, name: &ImageName, tag: &str, has_credentials: bool) -> CallError {
    let call_error = daemon::of_client(error, &format!("pushing {name}:{tag}"));
    // The registry may have taken the manifest before the line broke.
    let call_error = match call_error.kind {
        CallErrorKind::Unreachable | CallErrorKind::InvalidResponse => call_error.perhaps_done(),
        _ => call_error,
    };
    Parties { name: name.clone(), with_credentials: has_credentials }.explain(call_error, Permission::Push)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_read_from_the_closing_line_alone() {
        let digest = Digest::of(b"x");
        for (status, found) in [
            (format!("1.2.3: digest: {digest} size: 528"), Some(digest.clone())),
            (format!("1.2: digest: {digest} size: 528"), None),
            (format!("1.2.3: digest: {digest}"), None),
            ("1.2.3: digest: sha256:12 size: 1".to_owned(), None),
            ("Pushing".to_owned(), None),
        ] {
            assert_eq!(digest_in(&status, "1.2.3"), found, "{status}");
        }
    }
}
