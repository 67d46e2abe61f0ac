//! What GitHub's page shows of a deployment. To record it is a courtesy: it never fails a deployment.

use super::hosts::DeployedRelease;
use crate::deploy::host_sequence::HostSequence;
use crate::inputs::deploy::{EnvironmentPage, Target};
use crate::ports::{DeploymentState, DeploymentStatus, Forge, NewDeployment};
use autotag_base::CallResult;
use autotag_protocol::DeploymentId;

/// A deployment that is recorded, or that could not be.
#[derive(Debug)]
pub struct Record<'a, F> {
    forge: &'a F,
    page: &'a EnvironmentPage,
    log_url: Option<String>,
    id: Option<u64>,
}

/// Begins to record, where an environment is given.
pub async fn begin<'a, F: Forge>(
    forge: &'a F,
    target: &'a Target,
    release: &DeployedRelease,
    (id, run): (&DeploymentId, &str),
) -> Option<Record<'a, F>> {
    let page = target.environment_page.as_ref()?;
    let hosts: Vec<String> = target.hosts.iter().map(ToString::to_string).collect();
    let deployment = NewDeployment {
        commit: release.commit.clone(),
        environment: page.name.clone(),
        description: format!("{} to {} ({id})", release.version, hosts.join(", ")),
    };
    // On your own machine there is no page of the run.
    let log_url = run.starts_with("http").then(|| run.to_owned());
    let id = warned(forge.create_deployment(&deployment).await);
    let record = Record { forge, page, log_url, id };
    record.say(DeploymentState::InProgress, "the servers are asked").await;
    Some(record)
}

impl<F: Forge> Record<'_, F> {
    async fn say(&self, state: DeploymentState, description: &str) {
        let Some(id) = self.id else { return };
        let status = DeploymentStatus {
            state,
            description: description.to_owned(),
            log_url: self.log_url.clone(),
            environment_url: self.page.url.clone(),
        };
        warned(self.forge.add_deployment_status(id, &status).await);
    }

    /// Says how it ended.
    pub async fn end(&self, sequence: &HostSequence) {
        let (state, words) = state_of(sequence);
        self.say(state, &words).await;
    }
}

/// Pure: the state that GitHub shows.
fn state_of(sequence: &HostSequence) -> (DeploymentState, String) {
    match (sequence.failure(), sequence.superseded()) {
        (Some(failure), _) if sequence.is_unknown() => {
            (DeploymentState::Error, one_line(&failure.to_string()))
        }
        (Some(failure), _) => (DeploymentState::Failure, one_line(&failure.to_string())),
        (None, Some(why)) => (DeploymentState::Inactive, one_line(why)),
        (None, None) => (DeploymentState::Success, "all servers serve it".to_owned()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn warned<T>(outcome: CallResult<T>) -> Option<T> {
    match outcome {
        Ok(value) => Some(value),
        Err(error) => {
            let remedy = error.remedy.as_deref().map_or(String::new(), |remedy| format!(": {remedy}"));
            // It may be there all the same, without what became of it, where the answer was lost.
            tracing::warn!("GitHub's record of the deployment is missing or not complete: {error}{remedy}");
            None
        }
    }
}
