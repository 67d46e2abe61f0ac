//! The table of inputs, and of the commands. A test compares it with action.yml, from which docs/reference.md is generated;
//! descriptions and defaults stand in action.yml alone, which is built into the program.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use strum::VariantNames as _;

use super::choice::{Bump, Cache, LatestPolicy, LogFormat, OnFailure};
use super::command::Command;

/// A command of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandSpec {
    /// Its word, in the input `command` and on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
}

/// Every command, in the order in which a person meets them.
pub const COMMANDS: &[CommandSpec] = &[
    CommandSpec { name: "plan", about: "Show what `release` would do; changes nothing" },
    CommandSpec { name: "release", about: "Take the commit to a published release, and deploy it" },
    CommandSpec { name: "deploy", about: "Deploy a published version to the servers" },
    CommandSpec { name: "rollback", about: "Go back to an earlier version on the servers" },
    CommandSpec { name: "status", about: "Show what the servers run" },
];

/// What an input takes, as far as help and completions need to know. [`super::request`] judges the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// A text; in the help it is called this.
    Text(&'static str),
    /// One text a line, or one flag each; likewise.
    Lines(&'static str),
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`; the flag alone means `true`.
    Truth,
    /// A directory of this machine.
    Directory,
    /// A file of this machine.
    File,
}

/// One input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputSpec {
    /// Its name in action.yml, and of the flag.
    pub name: &'static str,
    /// A value that would do, for messages and help.
    pub example: &'static str,
    /// Never printed, and not accepted as a flag: arguments are visible to every process.
    pub secret: bool,
    /// Under which heading the help lists it.
    pub group: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// The commands that it counts for. The others pass it over, so that one workflow can give all inputs
    /// to any of them; their help leaves it out.
    pub counts_for: &'static [&'static str],
    /// One of the handful that the short help shows.
    pub common: bool,
}

const fn plain(group: &'static str, name: &'static str, example: &'static str, takes: Takes) -> InputSpec {
    InputSpec { name, example, secret: false, group, takes, counts_for: EVERY, common: false }
}

const fn secret(group: &'static str, name: &'static str, example: &'static str) -> InputSpec {
    InputSpec { secret: true, ..plain(group, name, example, Text("VALUE")) }
}

impl InputSpec {
    const fn of(self, counts_for: &'static [&'static str]) -> Self {
        Self { counts_for, ..self }
    }

    const fn common(self) -> Self {
        Self { common: true, ..self }
    }
}

/// The headings of the help, in its order.
pub const GROUPS: [&str; 7] = [VERSION, IMAGE, REGISTRY, RELEASE, DEPLOY, RUN, OUTPUT];
const VERSION: &str = "Version";
const IMAGE: &str = "Image and build";
const REGISTRY: &str = "Registry";
const RELEASE: &str = "Release";
const DEPLOY: &str = "Deploy";
/// What is run for; the facts about the run stand there too.
pub const RUN: &str = "Run";
const OUTPUT: &str = "Output";

const EVERY: &[&str] = Command::VARIANTS;
const ONLY_RELEASE: &[&str] = &["release"];
const PLANNING: &[&str] = &["plan", "release"];
/// Those that look a published version up.
const PUBLISHED: &[&str] = &["plan", "release", "deploy"];
/// Those that ask GitHub, and mean a version.
pub const VERSIONS: &[&str] = &["plan", "release", "deploy", "rollback"];
const SERVERS: &[&str] = &["release", "deploy", "rollback", "status"];
const CHANGES: &[&str] = &["release", "deploy", "rollback"];
const DEPLOYS: &[&str] = &["release", "deploy"];

use Takes::{Directory, File, Lines, Text, Truth, Word};

/// Every input, in the order of action.yml.
pub const INPUTS: &[InputSpec] = &[
    plain(RUN, "command", "release", Word(Command::VARIANTS)),
    plain(IMAGE, "image", "ghcr.io/org/app", Text("NAME")).common(),
    plain(REGISTRY, "registry-username", "octocat", Text("NAME")).of(PUBLISHED).common(),
    secret(REGISTRY, "registry-password", "${{ secrets.REGISTRY_PASSWORD }}").of(PUBLISHED),
    secret(RUN, "github-token", "${{ github.token }}").of(VERSIONS),
    secret(REGISTRY, "workflow-token", "${{ github.token }}").of(PUBLISHED),
    plain(VERSION, "bump", "minor", Word(Bump::VARIANTS)).of(PLANNING).common(),
    plain(VERSION, "version", "1.2.3", Text("VERSION")).of(VERSIONS).common(),
    plain(VERSION, "tag-prefix", "api-v", Text("PREFIX")).of(PUBLISHED).common(),
    plain(VERSION, "initial-version", "0.1.0", Text("VERSION")).of(PLANNING),
    plain(RELEASE, "release-branches", "main, release/*", Lines("BRANCH")).of(ONLY_RELEASE),
    plain(IMAGE, "context", "services/api", Directory).of(ONLY_RELEASE),
    plain(IMAGE, "file", "services/api/Dockerfile", File).of(ONLY_RELEASE),
    plain(IMAGE, "target", "runtime", Text("STAGE")).of(ONLY_RELEASE),
    plain(IMAGE, "platforms", "linux/amd64", Text("PLATFORM")).of(ONLY_RELEASE),
    plain(IMAGE, "build-args", "RUST_LOG=info", Lines("KEY=VALUE")).of(ONLY_RELEASE),
    plain(IMAGE, "version-build-arg", "APP_VERSION", Text("NAME")).of(ONLY_RELEASE),
    plain(IMAGE, "labels", "com.example.team=web", Lines("KEY=VALUE")).of(ONLY_RELEASE),
    plain(IMAGE, "cache", "inline", Word(Cache::VARIANTS)).of(ONLY_RELEASE),
    plain(IMAGE, "no-cache", "true", Truth).of(ONLY_RELEASE),
    plain(IMAGE, "pull", "true", Truth).of(ONLY_RELEASE),
    plain(
        IMAGE,
        "image-digest",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        Text("DIGEST"),
    )
    .of(PUBLISHED),
    plain(RELEASE, "latest", "auto", Word(LatestPolicy::VARIANTS)).of(ONLY_RELEASE),
    plain(RELEASE, "release", "true", Truth).of(ONLY_RELEASE),
    plain(RELEASE, "release-draft", "false", Truth).of(ONLY_RELEASE),
    plain(RELEASE, "release-notes", "What changed for you: ...", Text("TEXT")).of(ONLY_RELEASE),
    plain(RELEASE, "release-name", "Release {version}", Text("TEXT")).of(ONLY_RELEASE),
    plain(RELEASE, "claim-ref", "refs/autotag/v/head", Text("REF")).of(PLANNING),
    plain(DEPLOY, "deploy-host", "web1.example.com, web2.example.com:2222", Lines("HOST"))
        .of(SERVERS)
        .common(),
    plain(DEPLOY, "deploy-port", "22", Text("PORT")).of(SERVERS),
    plain(DEPLOY, "deploy-user", "autotag-app", Text("USER")).of(SERVERS),
    secret(DEPLOY, "deploy-key", "${{ secrets.DEPLOY_KEY }}").of(SERVERS),
    plain(
        DEPLOY,
        "deploy-known-hosts",
        "web1.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI...",
        Lines("LINE"),
    )
    .of(SERVERS)
    .common(),
    plain(DEPLOY, "deploy-app", "app", Text("APP")).of(SERVERS),
    plain(DEPLOY, "deploy-timeout", "10m", Text("TIME")).of(SERVERS),
    secret(DEPLOY, "deploy-environment", "FEATURE_X=on").of(DEPLOYS),
    plain(DEPLOY, "deploy-registry-username", "octocat", Text("NAME")).of(CHANGES),
    secret(DEPLOY, "deploy-registry-password", "${{ secrets.PULL_TOKEN }}").of(CHANGES),
    plain(DEPLOY, "deploy-on-failure", "rollback", Word(OnFailure::VARIANTS)).of(DEPLOYS),
    plain(DEPLOY, "deploy-allow-downgrade", "true", Truth).of(DEPLOYS),
    plain(DEPLOY, "environment", "production", Text("NAME")).of(CHANGES),
    plain(DEPLOY, "environment-url", "https://app.example.com", Text("URL")).of(CHANGES),
    plain(RUN, "dry-run", "true", Truth).of(ONLY_RELEASE).common(),
    plain(OUTPUT, "log-format", "json", Word(LogFormat::VARIANTS)).common(),
];

/// Every output, in the order of action.yml.
pub const OUTPUTS: &[&str] = &[
    "outcome",
    "version",
    "tag",
    "previous-version",
    "image",
    "digest",
    "image-ref",
    "release-url",
    "release-id",
    "sha-tag",
    "deployed",
    "deployed-version",
    "deployed-digest",
    "deploy-seconds",
];

/// An input by its name.
pub fn of(name: &str) -> Option<&'static InputSpec> {
    INPUTS.iter().find(|spec| spec.name == name)
}

/// What action.yml says of an input.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Documented {
    /// What it does.
    pub description: String,
    /// What it is where it is not given. Expressions such as `${{ github.token }}` are the runner's to fill in.
    #[serde(default)]
    pub default: String,
}

/// The part of action.yml that the program itself reads.
#[derive(Debug, Clone, serde::Deserialize)]
struct ActionFile {
    inputs: BTreeMap<String, Documented>,
}

/// What action.yml says of every input.
pub fn documented() -> &'static BTreeMap<String, Documented> {
    static INPUTS: LazyLock<BTreeMap<String, Documented>> = LazyLock::new(|| {
        let file: Result<ActionFile, _> = serde_yaml::from_str(include_str!("../../action.yml"));
        // The file is part of the program; a test reads it, so this cannot reach a user.
        file.map(|file| file.inputs).unwrap_or_default()
    });
    &INPUTS
}

/// What an input is where nothing was said: action.yml's default, unless the runner has to fill it in.
pub fn default_of(name: &str) -> &'static str {
    let default = documented().get(name).map_or("", |documented| documented.default.as_str());
    if default.contains("${{") { "" } else { default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_counts_for_the_commands_that_use_it() {
        for (name, expected) in [
            ("command", EVERY),
            ("registry-password", PUBLISHED),
            ("github-token", VERSIONS),
            ("deploy-host", SERVERS),
            ("deploy-environment", DEPLOYS),
        ] {
            assert_eq!(of(name).expect(name).counts_for, expected, "{name}");
        }
        assert!(INPUTS.iter().all(|spec| !spec.counts_for.is_empty()));
    }

    #[test]
    fn the_short_help_has_a_handful() {
        let common: Vec<&str> = INPUTS.iter().filter(|spec| spec.common).map(|spec| spec.name).collect();
        assert!(common.contains(&"image") && (4..=10).contains(&common.len()), "{common:?}");
    }
}
