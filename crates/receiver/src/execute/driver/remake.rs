//! What somebody removed is made again: its release and the settings of then are recorded.

use super::{Done, Driver, words};
use crate::engine::Engine;
use crate::state::journal::What;
use crate::state::labels;
use crate::state::{ContainerId, Instance, State, StepError};
use autotag_protocol::{Event, FailureCode};

impl<E: Engine> Driver<'_, E> {
    /// Makes a container again that is gone; gives the new one's id. One that a killed receiver made already
    /// is found by its deployment's label.
    pub(super) async fn remake(
        &mut self,
        instance: &Instance,
        state: &State,
    ) -> Result<Option<ContainerId>, StepError> {
        if self.engine.inspect(instance.container.as_str()).await.map_err(words)?.is_some() {
            return Ok(None);
        }
        let release = &instance.release;
        let mut made = self.of_deployment(release).await?.into_iter();
        if let Some(made) = made.find(|made| labels::contradictions(release, &made.labels).is_empty()) {
            return id(&made.id).map(Some);
        }
        let text = format!(
            "the container {} of {} is gone: somebody removed it. Making it again as it was deployed",
            instance.container.short(),
            release.version
        );
        self.job.say(Event::Note { text: text.clone() });
        self.note(What::Noted { text });
        let again = |error: StepError| {
            error.map(|why| {
                format!("the container of {} is gone and cannot be made again: {why}", release.version)
            })
        };
        self.pull(release, state).await.map_err(again)?;
        self.create(release).await.map(Some).map_err(again)
    }

    /// The containers of an instance: one that was made in its place, before the state could name it, is its too.
    pub(super) async fn all_of(&self, instance: &Instance) -> Result<Vec<String>, StepError> {
        let named = instance.container.as_str();
        let mut all = vec![named.to_owned()];
        all.extend(
            self.of_deployment(&instance.release)
                .await?
                .into_iter()
                .map(|one| one.id)
                .filter(|id| id != named),
        );
        Ok(all)
    }

    pub(super) async fn remove_all_of(&mut self, instance: &Instance, state: &State) -> Done {
        for container in self.all_of(instance).await? {
            self.remove(&container, state).await?;
        }
        Ok(())
    }
}

pub(super) fn id(text: &str) -> Result<ContainerId, StepError> {
    text.parse().map_err(|expected| {
        StepError::new(FailureCode::Docker, format!("Docker gave {text}: expected {expected}"))
    })
}
