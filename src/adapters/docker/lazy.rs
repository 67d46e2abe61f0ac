//! A Docker that is connected when it is first needed.

use tokio::sync::OnceCell;

use super::Docker;
use crate::adapters::retry::{Idempotency, RetryPolicy, with_retries};
use crate::ports::{BuildLog, BuildRequest, Builder};
use autotag_base::CallResult;
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_model::secret::Credentials;

/// Docker, connected when something is first built: a plan, a resumed and a superseded run need none.
#[derive(Debug, Default)]
pub struct LazyDocker(OnceCell<Docker>);

impl LazyDocker {
    async fn docker(&self) -> CallResult<&Docker> {
        self.0.get_or_try_init(Docker::connect).await
    }
}

impl Builder for LazyDocker {
    async fn build(&self, request: &BuildRequest, log: &mut dyn BuildLog) -> CallResult<Digest> {
        self.docker().await?.build(request, log).await
    }

    async fn push(
        &self,
        image: &Digest,
        name: &ImageName,
        tag: &ImageTag,
        credentials: Option<&Credentials>,
        log: &mut dyn BuildLog,
    ) -> CallResult<Digest> {
        let docker = self.docker().await?;
        // A layer that has arrived is not sent again, and the tag names these bytes alone.
        with_retries(&RetryPolicy::default(), Idempotency::Idempotent, async || {
            docker.push(image, name, tag, credentials, log).await
        })
        .await
    }
}
