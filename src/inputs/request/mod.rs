//! What the inputs mean, in types that cannot be wrong.

mod build;
mod parse;

use std::collections::BTreeMap;
use std::path::PathBuf;

use semver::Version;
use wildmatch::WildMatchPattern;

pub use super::choice::{Bump, Cache, LatestPolicy, LogFormat};
use super::command::Command;
use super::deploy::Deploy;
use super::raw::RawInputs;
use super::run::{Cause, Run};
use crate::versioning::plan::VersionRequest;
use crate::versioning::tag::{TagPrefix, is_stable};
use autotag_model::git::RefName;
use autotag_model::reference::Digest;
use autotag_model::secret::{Credentials, Secret};

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// It is built here.
    Build(BuildSettings),
    /// It was built elsewhere and is in the registry.
    Digest(Digest),
}

/// How to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildSettings {
    /// The context's directory.
    pub context: PathBuf,
    /// The Dockerfile.
    pub dockerfile: PathBuf,
    /// The stage.
    pub target: Option<String>,
    /// The platform.
    pub platform: Option<String>,
    /// The user's build arguments.
    pub build_args: BTreeMap<String, String>,
    /// The build argument that the version is given as, if any.
    pub version_arg: Option<String>,
    /// The user's labels.
    pub labels: BTreeMap<String, String>,
    /// Inline cache.
    pub cache: bool,
    /// Build every step anew.
    pub no_cache: bool,
    /// Look for newer bases.
    pub pull: bool,
}

/// What the GitHub release says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseSettings {
    /// Keep it unpublished.
    pub draft: bool,
    /// Own text instead of GitHub's.
    pub notes: Option<String>,
    /// The title, with `{tag}` and `{version}`.
    pub name: String,
}

/// A pattern of branches: `*` stands for any text, and every other character for itself. (No text of the
/// environment holds the character that would stand for any one.)
type BranchPattern = WildMatchPattern<'*', '\0'>;

/// Which branches release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleaseBranches {
    /// The repository's default branch.
    Default,
    /// Those that match one of these patterns.
    Matching(Vec<String>),
}

impl ReleaseBranches {
    /// Whether a branch releases.
    pub fn contains(&self, branch: &str, default_branch: &str) -> bool {
        match self {
            Self::Default => branch == default_branch,
            Self::Matching(patterns) => {
                patterns.iter().any(|pattern| BranchPattern::new(pattern).matches(branch))
            }
        }
    }
}

/// Everything that was asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub command: Command,
    /// Which version, of which image. A pushed tag has been taken into account.
    pub version: VersionRequest,
    /// Which branches release.
    pub release_branches: ReleaseBranches,
    /// Where the image comes from.
    pub source: ImageSource,
    /// What to do about `latest`.
    pub latest: LatestPolicy,
    /// The GitHub release, if one is wanted.
    pub release: Option<ReleaseSettings>,
    /// The ref that orders the releases.
    pub claim_ref: RefName,
    /// Publish nothing.
    pub dry_run: bool,
    /// For GitHub's API.
    pub github_token: Option<Secret>,
    /// For the registry; none means anonymous.
    pub registry: Option<Credentials>,
    /// Where it is deployed.
    pub deploy: Deploy,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Things to tell that are no faults.
    pub notices: Vec<String>,
}

/// The log's format alone, which has to be known before anything can be said about the rest.
pub fn log_format(raw: &RawInputs) -> LogFormat {
    if raw.text("log-format") == "json" { LogFormat::Json } else { LogFormat::Text }
}

impl Request {
    /// Whether it matters which branch is the default one.
    pub fn depends_on_default_branch(&self, run: &Run) -> bool {
        self.release_branches == ReleaseBranches::Default
            && matches!(run.cause, Cause::Branch(_))
            && !self.command.reaches_servers()
    }

    /// Whether what the run was started for is to be published.
    pub fn mode(&self, run: &Run, default_branch: &str) -> Mode {
        let preview = match &run.cause {
            _ if self.command == Command::Plan => Some("the command is `plan`".to_owned()),
            _ if self.command == Command::Release && self.dry_run => Some("`dry-run` is set".to_owned()),
            Cause::Branch(branch) if self.release_branches.contains(branch, default_branch) => None,
            Cause::Branch(branch) => Some(format!("branch {branch} is not one of `release-branches`")),
            Cause::Tag(tag) => released_by(tag, &self.version.prefix).err(),
            Cause::Other { event } => Some(format!("the event `{event}` releases nothing")),
        };
        preview.map_or(Mode::Publish, Mode::Preview)
    }
}

/// Whether a run publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Publish,
    /// It plans and builds, and publishes nothing; the reason for people.
    Preview(String),
}

impl Mode {
    /// Whether it does.
    pub fn publishes(&self) -> bool {
        *self == Self::Publish
    }
}

/// The version that a pushed tag names, if it can be released.
fn released_by(tag: &str, prefix: &TagPrefix) -> Result<Version, String> {
    match prefix.version_of(tag) {
        Some(version) if is_stable(&version) && version.build.is_empty() => Ok(version),
        Some(version) => Err(format!("tag {tag}: {version} is a prerelease or has build metadata")),
        None => Err(format!("tag {tag} is not a version with the prefix {prefix}")),
    }
}

#[cfg(test)]
mod tests;
