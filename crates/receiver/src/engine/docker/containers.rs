//! A container's end, and finding containers by their labels.

use std::time::Duration;

use bollard::errors::Error;
use bollard::query_parameters::{RemoveContainerOptionsBuilder, StopContainerOptionsBuilder};
use serde_json::json;

use super::answers::{Container, Identified, List, read};
use super::raw::{Call, encoded, filters};
use super::{DockerEngine, ORDINARY, PATIENT, facts, found, volumes};
use crate::engine::{ContainerFacts, ContainerVolume};
use autotag_base::CallResult;

/// Stops; the Engine kills after the grace period, which without one is the container's own.
pub(super) async fn stop(engine: &DockerEngine, id: &str, grace: Option<Duration>) -> CallResult<()> {
    let doing = format!("stopping the container {id}");
    // The Engine answers when the container has ended.
    let patience = grace.map_or(PATIENT, |grace| grace + ORDINARY);
    let mut options = StopContainerOptionsBuilder::default();
    if let Some(grace) = grace {
        options = options.t(whole_seconds(grace).try_into().unwrap_or(i32::MAX));
    }
    let client = engine.client(&doing, patience)?;
    // One that is stopped is answered with 304, which is a success.
    let outcome = found(client.stop_container(id, Some(options.build())).await);
    outcome.map(|_| ()).map_err(|error| engine.change_failed(&error, &doing))
}

/// The Engine counts in seconds; nobody gets less time than was promised.
pub(super) fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

/// Removes, running or not; gives the volumes without a name that stay. Docker would remove them too if it were
/// asked (`v`). It is asked only where none of them can have data: none has ever been seen by the application.
pub(super) async fn remove(engine: &DockerEngine, id: &str) -> CallResult<Vec<ContainerVolume>> {
    let doing = format!("removing the container {id}");
    let client = engine.client(&doing, ORDINARY)?;
    let described = engine.look(&format!("/containers/{}/json", encoded(id, b"")), &doing).await?;
    let Some(described) = described else { return Ok(Vec::new()) };
    let (kept, hidden) = volumes::unnamed(&read::<Container>(&described));
    let empty = kept.is_empty() && hidden;
    let options = RemoveContainerOptionsBuilder::default().force(true).v(empty).build();
    match found(client.remove_container(id, Some(options)).await) {
        // Somebody else is at it.
        Err(Error::DockerResponseServerError { status_code: 409, message })
            if message.contains("already in progress") =>
        {
            Ok(kept)
        }
        outcome => outcome.map(|_| kept).map_err(|error| engine.change_failed(&error, &doing)),
    }
}

/// All that carry all these labels.
pub(super) async fn labelled(
    engine: &DockerEngine,
    labels: &[(&str, &str)],
) -> CallResult<Vec<ContainerFacts>> {
    let doing = "listing the containers";
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut containers = Vec::new();
    for id in ids(engine, &json!({ "label": labels }), doing).await? {
        // One that went since it was listed is no longer one of them.
        let container = engine.look(&format!("/containers/{id}/json"), doing).await?;
        containers.extend(container.map(|container| facts::facts(&container)));
    }
    Ok(containers)
}

/// The ids of all containers that pass these filters, stopped ones included.
pub(super) async fn ids(
    engine: &DockerEngine,
    filtered: &serde_json::Value,
    doing: &str,
) -> CallResult<Vec<String>> {
    let path = format!("/containers/json?all=true&filters={}", filters(filtered));
    let listed = engine.ask(Call::get(&path), ORDINARY).await;
    let listed: List<Identified> = read(&listed.map_err(|error| engine.call_error(&error, doing))?);
    let ids = listed.0.into_iter().filter_map(|container| container.id);
    Ok(ids.map(|id| encoded(&id, b"")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_second_counts_as_one() {
        for (milliseconds, seconds) in [(0, 0), (1, 1), (1000, 1), (1500, 2)] {
            assert_eq!(whole_seconds(Duration::from_millis(milliseconds)), seconds);
        }
    }
}
