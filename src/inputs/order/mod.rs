//! What the inputs mean, in types that cannot be wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;

use semver::Version;
use wildmatch::WildMatchPattern;

use super::access::own_registry;
use super::deploy::Deploy;
use super::fault::Faults;
use super::raw::RawInputs;
use super::run::{Cause, Run};
use crate::versioning::bump::Level;
use crate::versioning::plan::{Wanted, Wish};
use crate::versioning::tag::{TagPrefix, is_stable};
use autotag_model::git::RefName;
use autotag_model::reference::{Digest, ImageName};
use autotag_model::secret::{Credentials, Secret};

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The whole transaction.
    Release,
    /// Print what `release` would do.
    Plan,
    /// Bring a version that is published to the servers.
    Deploy,
    /// Let the servers go back.
    Rollback,
    /// Ask the servers what runs.
    Status,
}

impl Command {
    /// Whether it is about servers and nothing else, so that it needs one.
    pub fn reaches_servers(self) -> bool {
        matches!(self, Self::Deploy | Self::Rollback | Self::Status)
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do about `latest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LatestPolicy {
    /// Keep it at the highest version; warn where the registry forbids to move it.
    Auto,
    /// Keep it there; fail where that is forbidden.
    Must,
    /// Leave it alone.
    Never,
}

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// It is built here.
    Build(BuildOrder),
    /// It was built elsewhere and is in the registry.
    Digest(Digest),
}

/// How to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOrder {
    /// The context's folder.
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
pub struct ReleaseOrder {
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
pub struct Order {
    /// What to do.
    pub command: Command,
    /// The version's choice, prefix and image. `wanted` still lacks what a pushed tag says.
    pub wish: Wish,
    /// Which branches release.
    pub release_branches: ReleaseBranches,
    /// Where the image comes from.
    pub source: Source,
    /// What to do about `latest`.
    pub latest: LatestPolicy,
    /// The GitHub release, if one is wanted.
    pub release: Option<ReleaseOrder>,
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
pub fn log_format(said: &RawInputs) -> LogFormat {
    if said.text("log-format") == "json" { LogFormat::Json } else { LogFormat::Text }
}

impl Order {
    /// Parses everything, and puts every fault into `faults`. `None` where there is any.
    pub fn parse(said: &RawInputs, run: &Run, faults: &mut Faults) -> Option<Self> {
        let mut reader = Reader { said, faults, notices: Vec::new() };
        // Everything is read before anything is given up, so that all faults are told at once.
        let image = reader.image(run);
        let wish = reader.wish(image.clone());
        let command = reader.command();
        let log_format = reader.word("log-format", &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let claim_ref = reader.claim_ref(wish.as_ref());
        let source = reader.source(run);
        let latest = reader.latest();
        let release = reader.release();
        let dry_run = reader.flag("dry-run");
        let registry = reader.registry_credentials(image.as_ref(), run);
        let release_branches = reader.release_branches();
        let deploy = reader.deploy(image.as_ref(), run, command);
        let notices = reader.notices;
        if !faults.is_empty() {
            return None;
        }
        Some(Self {
            command: command?,
            wish: wish?,
            release_branches,
            source,
            latest,
            release,
            claim_ref: claim_ref?,
            dry_run,
            github_token: said.secret("github-token"),
            registry,
            deploy: deploy?,
            log_format: log_format?,
            notices,
        })
    }

    /// Whether it matters which branch is the default one.
    pub fn depends_on_default_branch(&self, run: &Run) -> bool {
        self.release_branches == ReleaseBranches::Default
            && matches!(run.cause, Cause::Branch(_))
            && !self.command.reaches_servers()
    }

    /// What the run is for: what is wished for, and whether it is published.
    pub fn purpose(&self, run: &Run, default_branch: &str) -> Purpose {
        let wish = self.wish.clone();
        let purpose = match &run.cause {
            Cause::Branch(branch) if self.release_branches.contains(branch, default_branch) => {
                Purpose { wish, preview: None }
            }
            Cause::Branch(branch) => {
                Purpose::preview(wish, format!("branch {branch} is not one of `release-branches`"))
            }
            Cause::Tag(tag) => match self.wish.prefix.version_of(tag) {
                Some(version) if is_stable(&version) && version.build.is_empty() => {
                    Purpose { wish: Wish { wanted: Wanted::PushedTag(version), ..wish }, preview: None }
                }
                Some(version) => Purpose::preview(
                    wish,
                    format!("tag {tag}: {version} is a prerelease or has build metadata"),
                ),
                None => {
                    let why = format!("tag {tag} is no version with the prefix {}", self.wish.prefix);
                    Purpose::preview(wish, why)
                }
            },
            Cause::Other { event } => Purpose::preview(wish, format!("the event `{event}` releases nothing")),
        };
        match self.command {
            Command::Plan => Purpose::preview(purpose.wish, "the command is `plan`".to_owned()),
            Command::Release if self.dry_run => Purpose::preview(purpose.wish, "`dry-run` is set".to_owned()),
            _ => purpose,
        }
    }
}

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// What is wished for; a pushed tag's version stands here.
    pub wish: Wish,
    /// Plan and build, publish nothing; and why no more.
    pub preview: Option<String>,
}

impl Purpose {
    /// The same, for a tag whose release is marked as a prerelease.
    #[must_use]
    pub fn held_back(self, tag: &str) -> Self {
        Self::preview(self.wish, format!("GitHub's release of the tag {tag} is marked as a prerelease"))
    }

    fn preview(wish: Wish, why: String) -> Self {
        Self { wish, preview: Some(why) }
    }
}

/// Parses single inputs and collects what is wrong with them.
pub(super) struct Reader<'a> {
    pub(super) said: &'a RawInputs,
    pub(super) faults: &'a mut Faults,
    pub(super) notices: Vec<String>,
}

impl Reader<'_> {
    fn command(&mut self) -> Option<Command> {
        let command = self.word(
            "command",
            &[
                ("release", Command::Release),
                ("plan", Command::Plan),
                ("deploy", Command::Deploy),
                ("rollback", Command::Rollback),
                ("status", Command::Status),
            ],
        );
        if self.said.text("dry-run") == "true" && matches!(command, Some(Command::Deploy | Command::Rollback))
        {
            let expected = "`false`: servers try nothing out. `command: status` shows what runs";
            self.faults.of_input("dry-run", "true", expected);
        }
        command
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.said.text(name);
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.faults.of_input(name, text, list.join(" or "));
        }
        found
    }

    /// `true` or `false`, as YAML 1.2's core schema spells them; @actions/core's getBooleanInput takes the same.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        const WORDS: &[(&str, bool)] = &[
            ("true", true),
            ("True", true),
            ("TRUE", true),
            ("false", false),
            ("False", false),
            ("FALSE", false),
        ];
        let text = self.said.text(name);
        WORDS.iter().find(|(word, _)| *word == text).map_or_else(
            || {
                self.faults.of_input(name, text, "`true` or `false`");
                false
            },
            |(_, value)| *value,
        )
    }

    /// Anything that parses.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, name: &str) -> Option<T> {
        let text = self.said.given(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.faults.of_input(name, text, error.to_string());
                None
            }
        }
    }

    fn image(&mut self, run: &Run) -> Option<ImageName> {
        let said = self.said.given("image").map(ToOwned::to_owned);
        let text = said.unwrap_or_else(|| format!("{}/{}", own_registry(&run.server_url), run.repository));
        let lower = text.to_lowercase();
        if lower != text {
            self.notices
                .push(format!("`image`: {text} is used as {lower}, since image names have no upper case"));
        }
        lower
            .parse()
            .map_err(|error: autotag_model::reference::ParseError| {
                self.faults.of_input("image", &text, error.to_string());
            })
            .ok()
    }

    fn wish(&mut self, image: Option<ImageName>) -> Option<Wish> {
        let bump = self.word(
            "bump",
            &[
                ("patch", Some(Level::Patch)),
                ("minor", Some(Level::Minor)),
                ("major", Some(Level::Major)),
                ("auto", None),
            ],
        );
        let version = self.version("version");
        let initial = self.version("initial-version");
        let prefix: Option<TagPrefix> = self.parsed("tag-prefix");
        let wanted = match (version, bump?) {
            (Some(version), _) => Wanted::Exactly(version),
            (None, Some(level)) => Wanted::Bump(level),
            (None, None) => Wanted::Auto,
        };
        let prebuilt = self.said.given("image-digest").is_some();
        Some(Wish { wanted, initial, prefix: prefix?, image: image?, prebuilt })
    }

    /// A stable version without build metadata.
    fn version(&mut self, name: &str) -> Option<Version> {
        let text = self.said.given(name)?;
        let expected = match Version::parse(text) {
            Ok(version) if !version.build.is_empty() => {
                "a version without `+build`, which no image tag can hold"
            }
            Ok(version) if !is_stable(&version) => {
                "a version without a prerelease part; prereleases are not released yet"
            }
            Ok(version) => return Some(version),
            Err(_) => "a version by SemVer 2 without the tag's prefix",
        };
        self.faults.of_input(name, text, expected);
        None
    }

    fn source(&mut self, run: &Run) -> Source {
        let digest: Option<Digest> = self.parsed("image-digest");
        let build = self.build(run);
        digest.map_or(Source::Build(build), Source::Digest)
    }

    fn build(&mut self, run: &Run) -> BuildOrder {
        // Without the `.` of the default, which would stand in every message.
        let context: PathBuf = run.workspace.join(self.said.text("context")).components().collect();
        let dockerfile = match self.said.given("file") {
            Some(file) => run.workspace.join(file),
            None => context.join("Dockerfile"),
        };
        let version_arg = self.version_arg();
        let cache = self.word("cache", &[("inline", true), ("none", false)]).unwrap_or(false);
        BuildOrder {
            context,
            dockerfile,
            target: self.said.given("target").map(ToOwned::to_owned),
            platform: self.platform(),
            build_args: self.build_args(version_arg.as_deref()),
            version_arg,
            labels: self.labels(),
            cache,
            no_cache: self.flag("no-cache"),
            pull: self.flag("pull"),
        }
    }

    fn platform(&mut self) -> Option<String> {
        let text = self.said.given("platforms")?;
        if text.contains([',', '\n']) {
            self.faults.of_input("platforms", text, "one platform: images for several are not built yet");
            return None;
        }
        let parts: Vec<&str> = text.split('/').collect();
        let word = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        };
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(word) {
            self.faults.of_input("platforms", text, "`os/architecture` or `os/architecture/variant`");
            return None;
        }
        Some(text.to_owned())
    }

    fn latest(&mut self) -> LatestPolicy {
        let words =
            [("auto", LatestPolicy::Auto), ("true", LatestPolicy::Must), ("false", LatestPolicy::Never)];
        self.word("latest", &words).unwrap_or(LatestPolicy::Never)
    }

    fn release(&mut self) -> Option<ReleaseOrder> {
        let draft = self.flag("release-draft");
        self.flag("release").then(|| ReleaseOrder {
            draft,
            notes: self.said.given("release-notes").map(ToOwned::to_owned),
            name: self.said.given("release-name").unwrap_or("{tag}").to_owned(),
        })
    }

    fn claim_ref(&mut self, wish: Option<&Wish>) -> Option<RefName> {
        if self.said.given("claim-ref").is_some() {
            return self.parsed("claim-ref");
        }
        // A wrong prefix has been noted; another name stands in so that the other inputs are read too.
        let prefix = wish.map_or("v".parse(), |wish| Ok(wish.prefix.clone()));
        prefix.and_then(|prefix: TagPrefix| prefix.default_claim_ref()).ok()
    }
}

#[cfg(test)]
mod tests;
