//! What is read of the Engine's answers, and nothing else of them.
//!
//! Every field may be missing, `null` or of another kind than in the Engine's description: then it is as if it had not
//! been said. Lists keep the entries that can be read. The names are the description's.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// Reads an answer. One that is no object has no field.
pub(super) fn read<T: for<'a> Deserialize<'a> + Default>(answer: &Value) -> T {
    T::deserialize(answer).unwrap_or_default()
}

macro_rules! answers {
    ($($(#[$about:meta])* $name:ident { $($field:ident: $type:ty = $key:literal,)* })*) => { $(
        $(#[$about])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default)]
        // The fields have the Engine's names.
        #[allow(clippy::struct_field_names)]
        pub(super) struct $name {
            $(#[serde(rename = $key, deserialize_with = "lenient")] pub $field: Option<$type>,)*
        }
    )* };
}

answers! {
    /// `GET /containers/ID/json`.
    Container {
        id: String = "Id",
        name: String = "Name",
        image: String = "Image",
        restart_count: i64 = "RestartCount",
        state: State = "State",
        config: Config = "Config",
        host_config: Host = "HostConfig",
        mounts: List<Mounted> = "Mounts",
        network_settings: NetworkSettings = "NetworkSettings",
        descriptor: Descriptor = "ImageManifestDescriptor",
    }
    State {
        running: bool = "Running",
        paused: bool = "Paused",
        restarting: bool = "Restarting",
        oom_killed: bool = "OOMKilled",
        exit_code: i64 = "ExitCode",
        error: String = "Error",
        started_at: String = "StartedAt",
        health: Health = "Health",
    }
    Health { status: String = "Status", log: List<Checked> = "Log", }
    Checked { exit_code: i64 = "ExitCode", output: String = "Output", }
    /// A container's or an image's.
    Config {
        labels: BTreeMap<String, Value> = "Labels",
        healthcheck: Healthcheck = "Healthcheck",
        env: List<String> = "Env",
        volumes: BTreeMap<String, Value> = "Volumes",
    }
    Healthcheck { test: List<String> = "Test", }
    Host { binds: List<String> = "Binds", mounts: List<Mount> = "Mounts", tmpfs: BTreeMap<String, Value> = "Tmpfs", }
    /// What a container was made with.
    Mount { typ: String = "Type", source: String = "Source", target: String = "Target", }
    /// What it has.
    Mounted { typ: String = "Type", name: String = "Name", destination: String = "Destination", rw: bool = "RW", }
    NetworkSettings { networks: BTreeMap<String, Value> = "Networks", }
    Endpoint { ip_address: String = "IPAddress", ipv6_address: String = "GlobalIPv6Address", }
    /// Which of an index's images a container is made of; Engines from 28 with containerd's store say it.
    Descriptor { platform: Platform = "platform", }
    Platform { os: String = "os", architecture: String = "architecture", }
    /// `GET /images/NAME/json`, and an entry of `GET /images/json`.
    Image {
        id: String = "Id",
        config: Config = "Config",
        architecture: String = "Architecture",
        os: String = "Os",
        repo_digests: List<String> = "RepoDigests",
    }
    /// What has an id and no more that counts: an entry of `GET /containers/json`, what was made.
    Identified { id: String = "Id", }
    Network { name: String = "Name", }
    Info { system_time: String = "SystemTime", }
    /// `GET /version`.
    About { version: String = "Version", arch: String = "Arch", components: List<Component> = "Components", }
    Component { name: String = "Name", }
    Exec { exit_code: i64 = "ExitCode", running: bool = "Running", }
    /// A line of `GET /events`.
    Event { action: String = "Action", actor: Actor = "Actor", }
    Actor { id: String = "ID", attributes: BTreeMap<String, Value> = "Attributes", }
    /// `GET /distribution/NAME/json`.
    Distribution { platforms: List<Platform> = "Platforms", }
}

/// A list, of which the entries that cannot be read are left out.
#[derive(Debug, Clone, Default)]
pub(super) struct List<T>(pub Vec<T>);

impl<T> std::ops::Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: for<'a> Deserialize<'a>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<Value>::deserialize(deserializer)?;
        Ok(Self(entries.iter().filter_map(|entry| T::deserialize(entry).ok()).collect()))
    }
}

/// What is of another kind than expected is not there.
fn lenient<'de, D: Deserializer<'de>, T: for<'a> Deserialize<'a>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(T::deserialize(&Value::deserialize(deserializer)?).ok())
}

/// Those of a table that are texts, such as labels.
pub(super) fn texts(table: Option<BTreeMap<String, Value>>) -> BTreeMap<String, String> {
    let entries = table.into_iter().flatten();
    entries
        .filter_map(|(key, value)| match value {
            Value::String(text) => Some((key, text)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As Docker 28 with containerd's store describes an image of which it has not fetched everything.
    #[test]
    fn an_image_with_few_fields_is_read() {
        let image: Image = read(&json!({
            "Id": "sha256:1", "Architecture": "", "Os": "", "RootFS": {}, "GraphDriver": { "Data": null },
            "Config": { "Labels": null, "Volumes": null, "Cmd": null }, "RepoDigests": ["a@b", 7, null],
        }));
        assert_eq!(image.id.as_deref(), Some("sha256:1"));
        assert_eq!(image.repo_digests.expect("a list").0, ["a@b"]);
        assert!(image.config.expect("one").labels.is_none());
    }

    /// Each field of an answer in turn is missing, `null` and of every other kind.
    #[test]
    fn no_field_fails_an_answer() {
        let whole = json!({
            "Id": "1", "Name": "/a", "RestartCount": 3, "State": { "Running": true, "Health": { "Log": [{ "ExitCode": 1 }] } },
            "Config": { "Labels": { "a": "b" }, "Healthcheck": { "Test": ["NONE"] } },
            "HostConfig": { "Binds": ["a:b"], "Mounts": [{ "Type": "volume" }] }, "Mounts": [{ "Type": "bind", "RW": true }],
        });
        let kinds =
            [json!(null), json!(true), json!(-1.5), json!("x"), json!([null, 1, "x", {}]), json!({ "x": 1 })];
        let keys: Vec<String> = whole.as_object().expect("an object").keys().cloned().collect();
        for key in &keys {
            for kind in &kinds {
                let mut answer = whole.clone();
                answer[key] = kind.clone();
                let read: Container = read(&answer);
                assert!(key == "Id" || read.id.as_deref() == Some("1"), "{answer}");
                assert!(key == "State" || read.state.expect("its state").running == Some(true), "{answer}");
                let label = read.config.and_then(|config| config.labels).map(|labels| labels["a"].clone());
                assert!(key == "Config" || label == Some(json!("b")), "{answer}");
            }
        }
        for kind in &kinds {
            assert!(read::<About>(kind).version.is_none());
        }
    }
}
