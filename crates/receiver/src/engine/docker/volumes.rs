//! Which volumes of a container nobody named.
//!
//! Docker does not say so before 23.0 (the label `com.docker.volume.anonymous`), so it is read off the mounts:
//! a volume is named where the container was made with a mount at its place. Two cases are told apart below
//! it: a tmpfs at the place lies over the volume, and so does a mount over a relative `VOLUME` (see
//! `receiver/image_volumes.rs`); both hide it from the application.

use std::collections::BTreeSet;

use super::answers::{Container, Host, List, Mounted};
use crate::engine::{ContainerVolume, place};

/// Every volume that the application sees.
pub(super) fn of(container: &Container) -> Vec<ContainerVolume> {
    let asked = RequestedMounts::of(container);
    let mounts = mounts(container).iter();
    mounts.filter(|mount| !asked.hides(mount)).filter_map(|mount| volume(mount, &asked)).collect()
}

/// Those that nobody named and that may have data; and whether there are others that nobody named.
pub(super) fn unnamed(container: &Container) -> (Vec<ContainerVolume>, bool) {
    let asked = RequestedMounts::of(container);
    let mounts = mounts(container).iter();
    let found: Vec<(ContainerVolume, bool)> = mounts
        .filter_map(|mount| Some((volume(mount, &asked)?, asked.hides(mount) || never_ran(container))))
        .filter(|(volume, _)| volume.unnamed)
        .collect();
    let hidden = found.iter().any(|(_, hidden)| *hidden);
    (found.into_iter().filter(|(_, hidden)| !hidden).map(|(volume, _)| volume).collect(), hidden)
}

fn mounts(container: &Container) -> &[Mounted] {
    container.mounts.as_deref().unwrap_or_default()
}

/// What the container was made with, by place.
struct RequestedMounts {
    mounts: BTreeSet<String>,
    tmpfs: BTreeSet<String>,
}

impl RequestedMounts {
    fn of(container: &Container) -> Self {
        let host: Host = container.host_config.clone().unwrap_or_default();
        let binds = host.binds.as_deref().unwrap_or_default().iter();
        let binds = binds.filter_map(|bind| bind.split(':').nth(1).map(place));
        let (mut mounts, mut tmpfs): (BTreeSet<String>, BTreeSet<String>) =
            (binds.collect(), BTreeSet::new());
        for mount in host.mounts.map(|List(mounts)| mounts).into_iter().flatten() {
            let Some(target) = mount.target.as_deref().map(place) else { continue };
            // One without a source is a volume that nobody named.
            match mount.source {
                Some(source) if !source.is_empty() => mounts.insert(target),
                _ if mount.typ.as_deref() == Some("tmpfs") => tmpfs.insert(target),
                _ => false,
            };
        }
        tmpfs.extend(host.tmpfs.into_iter().flatten().map(|(target, _)| place(&target)));
        Self { mounts, tmpfs }
    }

    /// Whether something else lies over a volume that nobody named.
    fn hides(&self, mount: &Mounted) -> bool {
        let target = mount.destination.as_deref().unwrap_or_default();
        let at = place(target);
        let relative = !target.starts_with('/') && self.mounts.contains(&at);
        mount.typ.as_deref() == Some("volume")
            && (relative || self.tmpfs.contains(&at) && !self.mounts.contains(&at))
    }
}

fn volume(mount: &Mounted, asked: &RequestedMounts) -> Option<ContainerVolume> {
    if mount.typ.as_deref() != Some("volume") {
        return None;
    }
    let (name, target) = (mount.name.clone()?, mount.destination.clone()?);
    let named = target.starts_with('/') && asked.mounts.contains(&place(&target));
    Some(ContainerVolume { name, target, unnamed: !named })
}

/// Whether the Engine says that it never was started. What it does not say is not assumed: data hangs on it.
pub(super) fn never_ran(container: &Container) -> bool {
    container.state.as_ref().is_some_and(|state| state.started_at.as_deref() == Some(super::NEVER))
}

#[cfg(test)]
mod tests {
    use super::super::answers::read;
    use super::*;
    use serde_json::json;

    /// As Engine 20.10 describes a container of an image that declares `/a`, `/t` and `rel`.
    #[test]
    fn anonymous_volumes_are_recognised() {
        let read = |started: &str| {
            let volume =
                |name: &str, target: &str| json!({ "Type": "volume", "Name": name, "Destination": target });
            let described = json!({
                "Id": "x", "State": { "StartedAt": started },
                "HostConfig": {
                    "Binds": ["named:/n/:ro", "over:/rel", "/srv:/host"], "Tmpfs": { "/t/": "" },
                    "Mounts": [{ "Type": "volume", "Source": "long", "Target": "/l" }, { "Type": "volume", "Target": "/m" }],
                },
                "Mounts": [
                    volume("named", "/n"), volume("over", "/rel"), volume("long", "/l"), volume("u1", "/a"),
                    volume("u2", "/t"), volume("u3", "rel"), volume("u4", "/m"),
                    { "Type": "bind", "Source": "/srv", "Destination": "/host" },
                ],
            });
            read::<Container>(&described)
        };
        let names = |volumes: &[ContainerVolume]| -> Vec<String> {
            volumes.iter().map(|one| one.name.clone()).collect()
        };
        let ran = read("2026-01-01T00:00:00Z");
        assert_eq!(names(&of(&ran)), ["named", "over", "long", "u1", "u4"]);
        let (kept, hidden) = unnamed(&ran);
        assert_eq!((names(&kept), hidden), (vec!["u1".to_owned(), "u4".to_owned()], true));
        // What never ran has written nothing.
        let (kept, hidden) = unnamed(&read("0001-01-01T00:00:00Z"));
        assert_eq!((names(&kept), hidden), (vec![], true));
        // What is not known to have never run may have.
        let (kept, _) = unnamed(&read(""));
        assert_eq!(names(&kept), ["u1", "u4"]);
    }
}
