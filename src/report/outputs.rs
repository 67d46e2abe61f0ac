//! Outputs for later steps: `GITHUB_OUTPUT`, in the file format that the runner reads.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use rand::Rng as _;

use crate::inputs::request::Request;
use crate::inputs::spec::OUTPUTS;
use crate::pipeline::Ending;
use crate::versioning::plan::Plan;
use autotag_model::reference::{Digest, ImageName, ImageTag};

/// What later steps get. Empty texts are written too, so that an expression never sees an older value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outputs {
    /// `released`, `resumed`, `superseded`, `planned`, `deployed`, `rolled-back`, `reported` or `failed`.
    pub outcome: &'static str,
    /// The version.
    pub version: String,
    /// The Git tag.
    pub tag: String,
    /// The version before.
    pub previous_version: String,
    /// The image's name.
    pub image: Option<ImageName>,
    /// The image's digest.
    pub digest: Option<Digest>,
    /// The release's page.
    pub release_url: String,
    /// The release's number.
    pub release_id: String,
    /// The tag that holds the image.
    pub sha_tag: Option<ImageTag>,
    /// Every server serves what was asked for.
    pub deployed: bool,
    /// What all servers serve, by version.
    pub deployed_version: String,
    /// What all servers serve, by digest.
    pub deployed_digest: String,
    /// How long the deployment took.
    pub deploy_seconds: String,
}

impl Outputs {
    /// The outputs of a run that did not fail.
    ///
    /// A superseded run gives no version and no digest: a later step that deploys what it finds here must
    /// find nothing.
    pub fn of(ending: &Ending, request: &Request) -> Self {
        let outputs = Self::without_servers(ending, request);
        let Some(deployment) = ending.deployment() else { return outputs };
        let running = deployment.sequence.running();
        Self {
            outcome: if deployment.failure.is_some() { "failed" } else { outputs.outcome },
            deployed: deployment.deployed(),
            deployed_version: running.map(|running| running.version.to_string()).unwrap_or_default(),
            deployed_digest: running.map(|running| running.digest.to_string()).unwrap_or_default(),
            deploy_seconds: format!("{:.1}", deployment.took.as_secs_f64()),
            ..outputs
        }
    }

    fn without_servers(ending: &Ending, request: &Request) -> Self {
        let image = Some(request.version.image.clone());
        match ending {
            Ending::Superseded(_) => Self { outcome: "superseded", image, ..Self::default() },
            Ending::Released(released) => {
                let claim = &released.known.claim;
                Self {
                    outcome: if released.resumed { "resumed" } else { "released" },
                    version: claim.version.to_string(),
                    tag: request.version.prefix.tag_of(&claim.version),
                    previous_version: claim.after.as_ref().map(ToString::to_string).unwrap_or_default(),
                    image,
                    digest: Some(claim.digest.clone()),
                    release_url: released
                        .release
                        .as_ref()
                        .map(|found| found.html_url.clone())
                        .unwrap_or_default(),
                    release_id: released
                        .release
                        .as_ref()
                        .map(|found| found.id.to_string())
                        .unwrap_or_default(),
                    sha_tag: released.sha_tag.clone(),
                    ..Self::default()
                }
            }
            Ending::Deployed(deployment) => {
                let superseded = deployment.sequence.superseded().is_some();
                let outcome = if superseded { "superseded" } else { "deployed" };
                let release = deployment.release.as_ref().filter(|_| !superseded);
                Self {
                    outcome,
                    image,
                    version: release.map(|release| release.version.to_string()).unwrap_or_default(),
                    tag: release
                        .map(|release| request.version.prefix.tag_of(&release.version))
                        .unwrap_or_default(),
                    digest: release.map(|release| release.digest.clone()),
                    ..Self::default()
                }
            }
            Ending::RolledBack(_) => Self { outcome: "rolled-back", image, ..Self::default() },
            Ending::Reported(_) => Self { outcome: "reported", image, ..Self::default() },
            Ending::Planned(planned) => {
                let mut outputs = Self { outcome: "planned", image, ..Self::default() };
                let (version, previous) = match &planned.plan {
                    Plan::Claim(next) => (&next.version, next.previous.as_ref()),
                    Plan::Resume { known } => (&known.claim.version, known.claim.after.as_ref()),
                    Plan::Superseded { .. } => return outputs,
                };
                outputs.version = version.to_string();
                outputs.tag = request.version.prefix.tag_of(version);
                outputs.previous_version = previous.map(ToString::to_string).unwrap_or_default();
                outputs
            }
        }
    }

    /// Name and value, in the order of action.yml.
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let text = |value: Option<String>| value.unwrap_or_default();
        let reference = match (&self.image, &self.digest) {
            (Some(image), Some(digest)) => image.with_digest(digest),
            _ => String::new(),
        };
        let value = |name: &str| match name {
            "outcome" => self.outcome.to_owned(),
            "version" => self.version.clone(),
            "tag" => self.tag.clone(),
            "previous-version" => self.previous_version.clone(),
            "image" => text(self.image.as_ref().map(ToString::to_string)),
            "digest" => text(self.digest.as_ref().map(ToString::to_string)),
            "image-ref" => reference.clone(),
            "release-url" => self.release_url.clone(),
            "release-id" => self.release_id.clone(),
            "sha-tag" => text(self.sha_tag.as_ref().map(ToString::to_string)),
            "deployed" => self.deployed.to_string(),
            "deployed-version" => self.deployed_version.clone(),
            "deployed-digest" => self.deployed_digest.clone(),
            "deploy-seconds" => self.deploy_seconds.clone(),
            other => unreachable!("the table of outputs has {other}, which nothing fills in"),
        };
        OUTPUTS.iter().map(|name| (*name, value(name))).collect()
    }
}

/// Appends the outputs to the runner's file.
///
/// Each value stands between lines of a delimiter that nobody can guess, so that no value can end its own
/// output and begin another.
pub fn write(path: &Path, outputs: &Outputs) -> std::io::Result<()> {
    let mut text = String::new();
    for (name, value) in outputs.pairs() {
        let delimiter = delimiter_for(&value);
        let _ = write!(text, "{name}<<{delimiter}\n{value}\n{delimiter}\n");
    }
    OpenOptions::new().append(true).create(true).open(path)?.write_all(text.as_bytes())
}

fn delimiter_for(value: &str) -> String {
    loop {
        let delimiter = format!("autotag_{:032x}", rand::rng().random::<u128>());
        if !value.contains(&delimiter) {
            return delimiter;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // invariant no-foreign-commands
    #[test]
    fn a_value_cannot_become_another_output() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("output");
        let outputs = Outputs {
            outcome: "released",
            release_url: "x\nversion=9.9.9\nEOF\nversion<<EOF".to_owned(),
            ..Outputs::default()
        };
        write(&path, &outputs).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let mut names = Vec::new();
        while let Some(head) = lines.next() {
            let (name, delimiter) = head.split_once("<<").expect("every value is between delimiters");
            names.push(name);
            assert!(lines.any(|line| line == delimiter), "{name} is closed");
        }
        assert_eq!(names, OUTPUTS);
    }
}
