//! `--adopt`: what `docker inspect` shows of a container becomes an app file. Pure.
//!
//! Everything that Docker says of how the container is made is gone through: a field becomes a key, or it is
//! told by its name, also one that this program does not know. Left unsaid are only fields with the value that
//! Docker has there by itself, and what the image says.

mod config;
mod host;
mod keys;
mod mounts;
mod walk;

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::app_file::Content;
use crate::config::app_file::{Listen, VariableName};
use autotag_model::secret::Secret;
use keys::AdoptedKeys;
use walk::{UntakenFields, text};

/// What was found.
#[derive(Debug)]
pub struct Adopted {
    /// For the app file.
    pub content: Content,
    /// What could not be taken over, and what is to be done at the change.
    pub notes: Vec<String>,
}

/// The id of its image.
pub fn image_of(container: &str) -> Option<String> {
    let container: Value = serde_json::from_str(container).ok()?;
    Some(text(container["Image"].clone())).filter(|id| !id.is_empty())
}

/// Reads what Docker shows of a container and its image. What the image says itself is not repeated.
pub fn adopt(name: &str, container: &str, image: Option<&str>) -> anyhow::Result<Adopted> {
    let mut found: Value =
        serde_json::from_str(container).with_context(|| format!("reading what Docker says of {name}"))?;
    let image: Value = match image {
        Some(text) => serde_json::from_str(text).context("reading what Docker says of the image")?,
        None => Value::Null,
    };
    if host::is_privileged(&found["HostConfig"]) {
        bail!("{name} is privileged: no deployment may be, since its images would own this machine");
    }
    let id = text(found["Id"].take());
    let mut config = UntakenFields::of("Config", found["Config"].take());
    let mut host = UntakenFields::of("HostConfig", found["HostConfig"].take());
    let mut keys = AdoptedKeys::default();
    let of_image = config.text("Image");
    let mut content = Content { image: repository(&of_image), ..Content::default() };
    if content.image.is_none() {
        keys.note(format!("{name} runs `{of_image}`, which names no repository: pass --image"));
    }
    ports(name, &mut config, &mut host, &mut content, &mut keys);
    environment(&mut config, &image["Config"], &mut content, &mut keys);
    let hostname = config::config(name, &id, &mut config, &image["Config"], &mut keys);
    mounts::mounts(name, &found["Mounts"], &mut host, &mut keys);
    let networks = found["NetworkSettings"]["Networks"].take();
    mounts::networks(name, &[name, &hostname], &id, &host.text("NetworkMode"), &networks, &mut keys);
    host::host(name, &mut host, &mut keys);
    let rest: Vec<String> = host::rest(host).into_iter().chain(config::rest(config)).collect();
    if !rest.is_empty() {
        keys.note(format!(
            "{} of {name}: the app file has no key for it, so it was left out",
            rest.join(", ")
        ));
    }
    keys.note(format!(
        "{name} itself is left alone. When the first deployment serves, stop and remove it: docker rm \
         --force {name}"
    ));
    content.others = keys.found;
    Ok(Adopted { content, notes: keys.notes })
}

/// The repository of `repository:tag` or `repository@digest`.
fn repository(image: &str) -> Option<autotag_model::reference::ImageName> {
    let name = image.split('@').next().unwrap_or_default();
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let name = match name[slash..].find(':') {
        Some(colon) => &name[..slash + colon],
        None => name,
    };
    name.parse().ok()
}

/// The first TCP port is the proxy's to serve; Docker can publish others only where two versions never run at once.
fn ports(
    name: &str,
    config: &mut UntakenFields,
    host: &mut UntakenFields,
    content: &mut Content,
    keys: &mut AdoptedKeys,
) {
    let mut published: Vec<(String, String, String)> = Vec::new();
    for (inside, bindings) in host.map("PortBindings") {
        for binding in bindings.as_array().into_iter().flatten().cloned() {
            let mut binding = UntakenFields::of("", binding);
            published.push((inside.clone(), binding.text("HostIp"), binding.text("HostPort")));
        }
    }
    let served = published.iter().position(|(inside, address, port)| {
        inside.strip_suffix("/tcp").is_some_and(|port| port.parse::<u16>().is_ok())
            && listen(address, port).is_some()
    });
    if let Some((inside, address, port)) = served.map(|at| published.remove(at)) {
        content.port = inside.strip_suffix("/tcp").and_then(|port| port.parse().ok());
        content.listen = listen(&address, &port);
        let listen = content.listen.as_ref().map(ToString::to_string).unwrap_or_default();
        keys.note(format!(
            "{name} holds {listen}, where the proxy is to listen: to keep the gap short, stop it only right \
             before the first deployment"
        ));
    } else {
        let exposed = config.map("ExposedPorts");
        content.port = exposed.iter().find_map(|(port, _)| port.strip_suffix("/tcp")?.parse().ok());
        keys.note(format!(
            "{name} publishes no port that the proxy could serve: look at `port` and `listen`"
        ));
    }
    config.ignore(&["ExposedPorts"]);
    if !published.is_empty() {
        let others = published.iter().map(|(inside, address, port)| {
            let address = match address.as_str() {
                "" | "0.0.0.0" | "::" => String::new(),
                v6 if v6.contains(':') => format!("[{v6}]:"),
                v4 => format!("{v4}:"),
            };
            format!("{address}{port}:{inside}")
        });
        // One binding for each family is one port.
        let others: BTreeSet<String> = others.collect();
        keys.note(format!(
            "{name} publishes several ports; the proxy serves the first TCP port. Docker can publish the \
             others beside `order: stop-first`: `ports: {}`",
            keys::listed(&others)
        ));
    }
}

fn listen(address: &str, port: &str) -> Option<Listen> {
    match address {
        // All addresses, of both families.
        "" | "0.0.0.0" | "::" => port.parse().ok(),
        v6 if v6.contains(':') => format!("[{v6}]:{port}").parse().ok(),
        v4 => format!("{v4}:{port}").parse().ok(),
    }
}

fn environment(config: &mut UntakenFields, image: &Value, content: &mut Content, keys: &mut AdoptedKeys) {
    let of_image: BTreeSet<&str> =
        image["Env"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for variable in config.texts("Env").unwrap_or_default() {
        if of_image.contains(variable.as_str()) {
            continue;
        }
        let Some((name, value)) = variable.split_once('=') else { continue };
        if name.parse::<VariableName>().is_ok() {
            content.environment.insert(name.to_owned(), Secret::verbatim(value.to_owned()));
        } else {
            keys.note(format!("the variable `{name}` has no usual name and was left out"));
        }
    }
}
