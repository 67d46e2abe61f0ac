//! A build on its way: asked for in the form that the Engine can take, and what it tells meanwhile.

use std::collections::HashMap;
use std::pin::Pin;

use bollard::auth::DockerCredentials;
use bollard::errors::Error;
use bollard::models::{BuildInfo, ErrorDetail};
use bollard::query_parameters::BuildImageOptions;
use futures_util::{Stream, StreamExt as _};

use super::session::services;
use super::wire::{Session, Way};
use autotag_build_context::context::ContextStream;
use autotag_docker::daemon::Lines;

/// What the Engine tells of a build, which ends when this is dropped.
pub(super) enum Messages<'a> {
    /// The context goes along with the request.
    Sent(Pin<Box<dyn Stream<Item = Result<BuildInfo, Error>> + Send + 'a>>),
    /// BuildKit fetches it from the session.
    Fetched(Lines, #[expect(dead_code, reason = "it ends with the build")] Session),
}

impl<'a> Messages<'a> {
    /// Sends the request. Errors: the Engine, or the session, was not reached.
    pub(super) async fn begin(
        (client, way): (&'a bollard::Docker, Option<&Way>),
        mut options: BuildImageOptions,
        logins: HashMap<String, DockerCredentials>,
        context: ContextStream,
    ) -> Result<Self, Error> {
        let (Some(way), Some(id)) = (way, options.session.clone()) else {
            let body = bollard::body_try_stream(context);
            return Ok(Self::Sent(Box::pin(client.build_image(options, Some(logins), Some(body)))));
        };
        let session = way.session(&id, services(context, logins)).await?;
        options.remote = Some(format!("http://buildkit-session/{id}"));
        Ok(Self::Fetched(way.build(&query(&options)?).await?, session))
    }

    /// The next one; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<BuildInfo, Error>> {
        match self {
            Self::Sent(messages) => messages.next().await,
            Self::Fetched(lines, _) => match lines.next::<BuildInfo>().await? {
                Ok(BuildInfo { error_detail: Some(ErrorDetail { message: Some(error), .. }), .. }) => {
                    Some(Err(Error::DockerStreamError { error }))
                }
                message => Some(message),
            },
        }
    }
}

/// The options as the Engine reads them; bollard keeps its own way of writing them to itself.
fn query(options: &BuildImageOptions) -> Result<String, Error> {
    let options = serde_json::to_value(options)?;
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in options.as_object().into_iter().flatten() {
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::String(text) => drop(query.append_pair(key, text)),
            other => drop(query.append_pair(key, &other.to_string())),
        }
    }
    Ok(query.finish())
}
