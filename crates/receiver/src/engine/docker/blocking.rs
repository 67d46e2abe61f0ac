//! The Engine for programs that have no runtime: what `init`, `check` and `remove` ask once.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::raw::{Call, encoded, filters, without};
use super::{DockerEngine, ORDINARY, found};
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_docker::daemon;

/// Stopping a container may take its grace period.
const STOPPING: Duration = Duration::from_mins(2);

/// [`DockerEngine`], whose calls wait. Not to be used inside a runtime.
#[derive(Debug, Clone)]
pub struct BlockingEngine(DockerEngine);

impl BlockingEngine {
    /// The Engine at this socket; nothing is asked yet.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self(DockerEngine::at(socket))
    }

    /// Whether it answers, and is Docker.
    pub fn ping(&self) -> CallResult<()> {
        let doing = "asking Docker whether it is running";
        // Whatever else it says, it answers.
        let about = self.call(Call::get("/version"), ORDINARY, doing)?.unwrap_or_default();
        let components = about["Components"].as_array().into_iter().flatten();
        if daemon::is_podman(components.filter_map(|component| component["Name"].as_str())) {
            return Err(crate::engine::podman(doing, about["Version"].as_str().unwrap_or_default()));
        }
        Ok(())
    }

    /// What `docker inspect` shows of a container, as JSON; `None` where there is none.
    pub fn container(&self, name: &str) -> CallResult<Option<String>> {
        let path = format!("/containers/{}/json", encoded(name, b""));
        Ok(self.look(&path, &format!("inspecting the container {name}"))?.map(|it| it.to_string()))
    }

    /// What `docker image inspect` shows, as JSON; `None` where there is none.
    pub fn image(&self, id: &str) -> CallResult<Option<String>> {
        let path = format!("/images/{}/json", encoded(id, b""));
        Ok(self.look(&path, &format!("inspecting the image {id}"))?.map(|it| it.to_string()))
    }

    /// Whether there is a network of this name.
    pub fn has_network(&self, name: &str) -> CallResult<bool> {
        let answer = self
            .look(&format!("/networks/{}", encoded(name, b"")), &format!("looking for the network {name}"));
        answer.map(|answer| answer.is_some())
    }

    /// Whether there is a volume of this name.
    pub fn has_volume(&self, name: &str) -> CallResult<bool> {
        let answer =
            self.look(&format!("/volumes/{}", encoded(name, b"")), &format!("looking for the volume {name}"));
        answer.map(|answer| answer.is_some())
    }

    /// The ids of all containers with this label, stopped ones included.
    pub fn labelled(&self, label: &str) -> CallResult<Vec<String>> {
        let doing = format!("listing the containers with the label {label}");
        let path = format!("/containers/json?all=1&filters={}", filters(&json!({ "label": [label] })));
        let listed = self.look(&path, &doing)?.unwrap_or_default();
        let id = |one: &Value| one["Id"].as_str().map(str::to_owned);
        let ids = listed.as_array().and_then(|all| all.iter().map(id).collect());
        ids.ok_or_else(|| without("list of containers with their ids", &doing))
    }

    /// Stops a container within its grace period and removes it; its volumes stay.
    pub fn remove_container(&self, id: &str) -> CallResult<()> {
        let id = encoded(id, b"");
        let (stop, remove) = (format!("/containers/{id}/stop"), format!("/containers/{id}?force=1"));
        self.call(Call::post(&stop, Value::Null), STOPPING, &format!("stopping the container {id}"))?;
        self.call(Call::delete(&remove), STOPPING, &format!("removing the container {id}")).map(drop)
    }

    /// Removes a network; one that is gone is gone.
    pub fn remove_network(&self, name: &str) -> CallResult<()> {
        let path = format!("/networks/{}", encoded(name, b""));
        self.call(Call::delete(&path), ORDINARY, &format!("removing the network {name}")).map(drop)
    }

    fn look(&self, path: &str, doing: &str) -> CallResult<Option<Value>> {
        self.call(Call::get(path), ORDINARY, doing)
    }

    /// The answer; `None` for what is not there.
    fn call(&self, call: Call<'_>, patience: Duration, doing: &str) -> CallResult<Option<Value>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| CallError::new(CallErrorKind::Unreachable, doing, error.to_string()))?;
        found(runtime.block_on(self.0.ask(call, patience))).map_err(|error| self.0.call_error(&error, doing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_is_not_there_is_named() {
        let error = BlockingEngine::at("/nowhere/docker.sock").ping().unwrap_err();
        assert!(error.to_string().contains("/nowhere/docker.sock"), "{error}");
    }
}
