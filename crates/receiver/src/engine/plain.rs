//! Docker's answers to simple questions, without a runtime: what `init`, `check` and `remove` ask once.
//!
//! Plain HTTP/1.0 over the socket: the Engine then ends each answer by closing, in one piece.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_docker::daemon;
use autotag_model::help::Topic;

/// The longest answer that is read, in bytes.
const LONGEST: u64 = 4 * 1024 * 1024;
/// Stopping a container may take its grace period.
const PATIENCE: Duration = Duration::from_mins(2);

/// One container of a list.
#[derive(serde::Deserialize)]
struct Listed {
    #[serde(rename = "Id")]
    id: String,
}

/// Docker by its socket.
#[derive(Debug, Clone)]
pub struct PlainEngine {
    socket: PathBuf,
}

impl PlainEngine {
    /// The Engine at this socket; nothing is asked yet.
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// Whether it answers, and is Docker.
    pub fn ping(&self) -> CallResult<()> {
        let doing = "asking Docker whether it is there";
        let text = self.call("GET", "/version", doing)?.unwrap_or_default();
        // Whatever else it says, it answers.
        let given: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let components = given["Components"].as_array().into_iter().flatten();
        if daemon::is_podman(components.filter_map(|component| component["Name"].as_str())) {
            return Err(super::podman(doing, given["Version"].as_str().unwrap_or_default()));
        }
        Ok(())
    }

    /// What `docker inspect` shows of a container, as JSON; `None` where there is none.
    pub fn container(&self, name: &str) -> CallResult<Option<String>> {
        self.call(
            "GET",
            &format!("/containers/{}/json", encoded(name)),
            &format!("inspecting the container {name}"),
        )
    }

    /// What `docker image inspect` shows, as JSON; `None` where there is none.
    pub fn image(&self, id: &str) -> CallResult<Option<String>> {
        self.call("GET", &format!("/images/{}/json", encoded(id)), &format!("inspecting the image {id}"))
    }

    /// Whether there is a network of this name.
    pub fn has_network(&self, name: &str) -> CallResult<bool> {
        let answer = self.call(
            "GET",
            &format!("/networks/{}", encoded(name)),
            &format!("looking for the network {name}"),
        );
        answer.map(|answer| answer.is_some())
    }

    /// Whether there is a volume of this name.
    pub fn has_volume(&self, name: &str) -> CallResult<bool> {
        let answer = self.call(
            "GET",
            &format!("/volumes/{}", encoded(name)),
            &format!("looking for the volume {name}"),
        );
        answer.map(|answer| answer.is_some())
    }

    /// The ids of all containers with this label, stopped ones included.
    pub fn labelled(&self, label: &str) -> CallResult<Vec<String>> {
        let doing = format!("listing the containers with the label {label}");
        let filters = serde_json::json!({ "label": [label] }).to_string();
        let path = format!("/containers/json?all=1&filters={}", encoded(&filters));
        let text = self.call("GET", &path, &doing)?.unwrap_or_default();
        let listed: Vec<Listed> = serde_json::from_str(&text)
            .map_err(|error| CallError::new(CallErrorKind::InvalidResponse, doing, error.to_string()))?;
        Ok(listed.into_iter().map(|listed| listed.id).collect())
    }

    /// Stops a container within its grace period and removes it; its volumes stay.
    pub fn remove_container(&self, id: &str) -> CallResult<()> {
        self.call("POST", &format!("/containers/{id}/stop"), &format!("stopping the container {id}"))?;
        self.call("DELETE", &format!("/containers/{id}?force=1"), &format!("removing the container {id}"))
            .map(drop)
    }

    /// Removes a network; one that is gone is gone.
    pub fn remove_network(&self, name: &str) -> CallResult<()> {
        self.call("DELETE", &format!("/networks/{}", encoded(name)), &format!("removing the network {name}"))
            .map(drop)
    }

    /// The answer's body; `None` for 404.
    fn call(&self, method: &str, path: &str, doing: &str) -> CallResult<Option<String>> {
        let unreachable = |error: std::io::Error| {
            CallError::new(CallErrorKind::Unreachable, doing, format!("{}: {error}", self.socket.display()))
                .with_remedy("start Docker, such as by `systemctl start docker`; ask as root")
                .about(Topic::ServerDocker)
        };
        let mut stream = UnixStream::connect(&self.socket).map_err(unreachable)?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(unreachable)?;
        let request = format!("{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).map_err(unreachable)?;
        let mut answer = Vec::new();
        stream.take(LONGEST).read_to_end(&mut answer).map_err(unreachable)?;
        let answer = String::from_utf8_lossy(&answer);
        let garbled = || CallError::new(CallErrorKind::InvalidResponse, doing, "no HTTP answer came back");
        let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(garbled)?;
        let status = head.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok()).ok_or_else(garbled)?;
        match status {
            // 304: it is stopped already.
            200..=299 | 304 => Ok(Some(body.to_owned())),
            404 => Ok(None),
            _ => Err(CallError::new(
                CallErrorKind::Rejected,
                doing,
                format!("status {status}: {}", body.trim()),
            )),
        }
    }
}

/// Percent-encoded, so that a name stays one segment (RFC 3986, 2.3).
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_one_segment() {
        assert_eq!(encoded("a-b_c.d"), "a-b_c.d");
        assert_eq!(encoded("../x?y"), "..%2Fx%3Fy");
    }

    #[test]
    fn who_is_not_there_is_said() {
        let error = PlainEngine::at("/nowhere/docker.sock").ping().unwrap_err();
        assert!(error.to_string().contains("/nowhere/docker.sock"), "{error}");
    }
}
