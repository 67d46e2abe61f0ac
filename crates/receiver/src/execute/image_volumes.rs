//! Volumes that an image declares (`VOLUME`): none may be left to Docker, which makes a new one without a name
//! for each container. Pure.
//!
//! What Docker does, as tried on Engine 20.10 (`daemon/create_unix.go`):
//!
//! ```text
//! declared   = any text: `/data`, `/data/`, `//data`, `/x/../data`, `data`; several, compared with case
//! place      = declared, from `/`, without `.`, `..`, empty parts and a slash at the end
//! covered    = a volume, a path of the host or a tmpfs is mounted at the same place
//! otherwise  = a new volume without a name, also where something is mounted at a parent of the place
//! ```
//!
//! A relative `data` gets a volume without a name even where something is mounted at `/data`; what is mounted
//! there lies over it, so the application never sees it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::config::app_file::{Container, Source};
use crate::engine::{ContainerVolume, place};
use autotag_protocol::AppName;

/// The places that the image declares and the app file mounts nothing at.
pub fn uncovered(declared: &BTreeSet<String>, container: &Container) -> Vec<String> {
    let volumes = container.volumes.iter().map(|mount| mount.target.as_path());
    let mounted: BTreeSet<String> = volumes
        .chain(container.tmpfs.iter().map(AsRef::as_ref))
        .map(|path| place(&path.to_string_lossy()))
        .collect();
    let declared: BTreeSet<String> = declared.iter().map(|path| place(path)).collect();
    declared.difference(&mounted).cloned().collect()
}

/// Where the lines are to be written, and what is there already.
#[derive(Debug)]
pub struct VolumeHint<'a> {
    /// Whose app file.
    pub app: &'a AppName,
    /// The app file's path.
    pub file: &'a Path,
    /// What the app file says now.
    pub container: &'a Container,
    /// The volumes of the container that serves: its data are in them.
    pub serving: &'a [ContainerVolume],
}

/// Why nothing is made, and the lines that the app file needs.
pub fn refusal(places: &[String], owner: &VolumeHint<'_>) -> String {
    let shown: Vec<String> =
        places.iter().map(|place| format!("`VOLUME {}`", place.escape_debug())).collect();
    let mut text = format!(
        "the image declares {}, and the app file mounts nothing there. Docker would make a new, empty volume for each deployment, and what the application writes there would be lost with the next one",
        shown.join(", ")
    );
    let (possible, impossible): (Vec<&String>, Vec<&String>) = places
        .iter()
        .partition(|place| *place != "/" && !place.contains(':') && !place.contains(char::is_control));
    for place in impossible {
        let _ = write!(
            text,
            ". Nothing can be mounted at {}: remove that VOLUME from the image's Dockerfile",
            place.escape_debug()
        );
    }
    if possible.is_empty() {
        return text;
    }
    let _ = write!(text, ". Add to `volumes:` in {}:", owner.file.display());
    for (at, name) in possible.iter().zip(names(&possible, owner)) {
        let _ = write!(text, "\n  - {}", scalar(&format!("{name}:{at}")));
    }
    let kept: Vec<&ContainerVolume> = possible
        .iter()
        .filter_map(|at| owner.serving.iter().find(|volume| place(&volume.target) == **at))
        .collect();
    if !kept.is_empty() {
        text.push_str("\nThe volumes named there are those of the container that serves: its data stay");
    }
    text.push_str("\nFor data that may be lost with each deployment, add the path to `tmpfs:` instead");
    text
}

/// A volume's name for each place: that of the volume which the serving container has there, or else one made
/// of the application's name and the last part of the path; of the whole path where that is taken.
fn names(places: &[&String], owner: &VolumeHint<'_>) -> Vec<String> {
    let mut taken: BTreeSet<String> = owner
        .container
        .volumes
        .iter()
        .filter_map(|mount| match &mount.source {
            Source::Volume(name) => Some(name.clone()),
            Source::Path(_) => None,
        })
        .collect();
    let mut names = Vec::new();
    for at in places {
        let serving = owner.serving.iter().find(|volume| place(&volume.target) == **at);
        let name = serving.map_or_else(|| free_name(owner.app, at, &taken), |volume| volume.name.clone());
        taken.insert(name.clone());
        names.push(name);
    }
    names
}

fn free_name(app: &AppName, at: &str, taken: &BTreeSet<String>) -> String {
    let plain = |text: &str| -> String {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || "_.".contains(letter);
        text.trim_matches('/')
            .chars()
            .map(|letter| if fits(letter) { letter } else { '-' })
            .take(48)
            .collect()
    };
    let last = at.rsplit('/').next().unwrap_or_default();
    let candidates = [format!("{app}-{}", plain(last)), format!("{app}-{}", plain(at))];
    let numbered = (2..).map(|number| format!("{app}-{}-{number}", plain(last)));
    candidates.into_iter().chain(numbered).find(|name| !taken.contains(name)).unwrap_or_default()
}

/// A text as YAML reads it back: bare where no sign of YAML's is in it, otherwise as JSON writes it.
fn scalar(text: &str) -> String {
    let bare = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_.-:+@".contains(&byte));
    if bare { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// Told when a container is removed whose volume without a name stays.
pub fn kept(volume: &ContainerVolume, container: &str) -> String {
    format!(
        "the removed container {container} had a volume without a name at {}, which stays: {}. To use its data, mount it by this name in the app file; `docker volume rm` removes it",
        volume.target, volume.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn container(text: &str) -> Container {
        testing::settings(&format!("image: x.io/app\nport: 80\nlisten: 8080\n{text}")).file.container
    }

    fn declared(paths: &[&str]) -> BTreeSet<String> {
        paths.iter().map(|path| (*path).to_owned()).collect()
    }

    /// Each row as the Engine was seen to do it.
    #[test]
    fn only_a_mount_at_the_very_place_covers_it() {
        for (paths, text, expected) in [
            (&["/data"][..], "", &["/data"][..]),
            (&["/data"], "volumes: ['v:/data']\n", &[]),
            (&["/data/"], "volumes: ['v:/data']\n", &[]),
            (&["/data"], "volumes: ['v:/data/']\n", &[]),
            (&["//data"], "volumes: ['/srv/data:/data:ro']\n", &[]),
            (&["/x/../data"], "tmpfs: /data\n", &[]),
            (&["/data/"], "tmpfs: [/data/]\n", &[]),
            (&["data"], "volumes: ['v:/data']\n", &[]),
            (&["data", "./data", "/data/."], "", &["/data"]),
            // Docker still makes a volume below a parent that is mounted, and above a child.
            (&["/data/db"], "volumes: ['v:/data']\n", &["/data/db"]),
            (&["/data/db"], "tmpfs: /data\n", &["/data/db"]),
            (&["/data"], "volumes: ['v:/data/db']\n", &["/data"]),
            (&["/Data"], "volumes: ['v:/data']\n", &["/Data"]),
            (&["/a", "/b", "/c"], "volumes: ['v:/b']\n", &["/a", "/c"]),
        ] {
            assert_eq!(uncovered(&declared(paths), &container(text)), expected, "{paths:?} {text}");
        }
    }

    fn reported(paths: &[&str], text: &str, serving: &[(&str, &str)]) -> String {
        let (app, container) = ("shop".parse().unwrap(), container(text));
        let serving: Vec<ContainerVolume> = serving
            .iter()
            .map(|(name, target)| ContainerVolume {
                name: (*name).to_owned(),
                target: (*target).to_owned(),
                unnamed: true,
            })
            .collect();
        let file = Path::new("/etc/autotag/shop.yaml");
        let owner = VolumeHint { app: &app, file, container: &container, serving: &serving };
        refusal(&uncovered(&declared(paths), &container), &owner)
    }

    /// The lines that are told, put into an app file, leave nothing uncovered.
    #[test]
    fn the_suggested_lines_work() {
        let id = "0d6a8fad".repeat(8);
        for (paths, yaml, serving) in [
            (&["/data"][..], "", &[][..]),
            (&["/var/lib/a", "/srv/a", "/a"], "volumes: ['shop-a:/other']\n", &[]),
            (&["/mit leer"], "", &[]),
            (&["/a-b", "/a b", "/a,b", "/a\u{e9}\"#'"], "", &[]),
            (&["/data/", "rel"], "", &[(id.as_str(), "/data")]),
        ] {
            let text = reported(paths, yaml, serving);
            let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("  - ")).collect();
            let volumes = container(yaml).volumes.len();
            let file = format!(
                "volumes:\n{}{}\n",
                if volumes > 0 { "  - shop-a:/other\n" } else { "" },
                lines.join("\n")
            );
            let with = container(&file);
            assert_eq!(uncovered(&declared(paths), &with), [""; 0], "{text}");
            let sources: BTreeSet<String> =
                with.volumes.iter().map(|mount| format!("{:?}", mount.source)).collect();
            assert_eq!(sources.len(), with.volumes.len(), "each has a volume of its own: {text}");
        }
        assert!(reported(&["/data"], "", &[]).contains("\n  - shop-data:/data\n"));
        let kept = reported(&["/data"], "", &[(&id, "/data/")]);
        assert!(kept.contains(&format!("\n  - {id}:/data\n")) && kept.contains("its data stay"), "{kept}");
    }

    #[test]
    fn unmountable_paths_are_explained() {
        for path in ["/", "/a:b", "/a\u{1}b"] {
            let text = reported(&[path], "", &[]);
            assert!(text.contains("Dockerfile") && !text.contains("  - "), "{text}");
            assert!(!text.contains('\u{1}'), "{text:?}");
        }
    }
}
