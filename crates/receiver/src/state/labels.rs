//! The labels by which Docker's objects say whose they are, and a container of which release. Pure.

use std::collections::BTreeMap;

use super::Release;
use autotag_protocol::AppName;

/// Whose a container, a network or an image is.
pub const APP: &str = "autotag-deploy.app";
/// Which deployment made a container.
pub const DEPLOYMENT: &str = "autotag-deploy.deployment";
/// Which version a container has.
pub const VERSION: &str = "autotag-deploy.version";
/// Which image a container runs, by its manifest: Docker itself names the image's configuration only.
pub const DIGEST: &str = "autotag-deploy.digest";
const COMMIT: &str = "autotag-deploy.commit";
const CONFIG: &str = "autotag-deploy.config";

/// The labels of what belongs to an application.
pub fn app_labels(app: &AppName) -> BTreeMap<String, String> {
    BTreeMap::from([(APP.to_owned(), app.to_string())])
}

/// The labels of what belongs to one release. They are no part of the configuration's hash: a receiver that
/// sets more of them than the last one did finds nothing changed.
pub fn release_labels(release: &Release) -> [(&'static str, String); 5] {
    [
        (DEPLOYMENT, release.deployment.to_string()),
        (VERSION, release.version.to_string()),
        (DIGEST, release.digest.to_string()),
        (COMMIT, release.commit.to_string()),
        (CONFIG, release.config.to_string()),
    ]
}

/// The labels by which a container says that it is of another release than this one, each with what it should
/// say. One that is missing says nothing: earlier receivers set fewer.
pub fn contradictions(release: &Release, labels: &BTreeMap<String, String>) -> Vec<(&'static str, String)> {
    let otherwise =
        |(label, expected): &(&str, String)| labels.get(*label).is_some_and(|given| given != expected);
    release_labels(release).into_iter().filter(otherwise).collect()
}
