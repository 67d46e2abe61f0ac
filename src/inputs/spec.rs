//! The table of inputs. A test holds it, action.yml and the README's table together; descriptions and
//! defaults stand in action.yml alone, which is built into the program.

use std::collections::BTreeMap;
use std::sync::LazyLock;

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
}

const fn plain(group: &'static str, name: &'static str, example: &'static str) -> InputSpec {
    InputSpec { name, example, secret: false, group }
}

const fn secret(group: &'static str, name: &'static str, example: &'static str) -> InputSpec {
    InputSpec { name, example, secret: true, group }
}

const IMAGE: &str = "Image";
const ACCESS: &str = "Access";
const VERSION: &str = "Version";
const BUILD: &str = "Build";
const PUBLISH: &str = "Publish";
const DEPLOY: &str = "Deploy";
const RUN: &str = "Run";

/// Every input, in the order of action.yml.
pub const INPUTS: &[InputSpec] = &[
    plain(RUN, "command", "release"),
    plain(IMAGE, "image", "ghcr.io/org/app"),
    plain(ACCESS, "registry-username", "octocat"),
    secret(ACCESS, "registry-password", "${{ secrets.REGISTRY_PASSWORD }}"),
    secret(ACCESS, "github-token", "${{ github.token }}"),
    secret(ACCESS, "workflow-token", "${{ github.token }}"),
    plain(VERSION, "bump", "minor"),
    plain(VERSION, "version", "1.2.3"),
    plain(VERSION, "tag-prefix", "api-v"),
    plain(VERSION, "initial-version", "0.1.0"),
    plain(VERSION, "release-branches", "main, release/*"),
    plain(BUILD, "context", "services/api"),
    plain(BUILD, "file", "services/api/Dockerfile"),
    plain(BUILD, "target", "runtime"),
    plain(BUILD, "platforms", "linux/amd64"),
    plain(BUILD, "build-args", "RUST_LOG=info"),
    plain(BUILD, "labels", "com.example.team=web"),
    plain(BUILD, "cache", "inline"),
    plain(BUILD, "no-cache", "true"),
    plain(BUILD, "pull", "true"),
    plain(IMAGE, "image-digest", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    plain(PUBLISH, "latest", "auto"),
    plain(PUBLISH, "release", "true"),
    plain(PUBLISH, "release-draft", "false"),
    plain(PUBLISH, "release-notes", "What changed for you: ..."),
    plain(PUBLISH, "release-name", "Release {version}"),
    plain(PUBLISH, "claim-ref", "refs/autotag/v/head"),
    plain(DEPLOY, "deploy-host", "web1.example.com, web2.example.com:2222"),
    plain(DEPLOY, "deploy-port", "22"),
    plain(DEPLOY, "deploy-user", "autotag-app"),
    secret(DEPLOY, "deploy-key", "${{ secrets.DEPLOY_KEY }}"),
    plain(DEPLOY, "deploy-known-hosts", "web1.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI..."),
    plain(DEPLOY, "deploy-app", "app"),
    plain(DEPLOY, "deploy-timeout", "10m"),
    secret(DEPLOY, "deploy-environment", "FEATURE_X=on"),
    plain(DEPLOY, "deploy-registry-username", "octocat"),
    secret(DEPLOY, "deploy-registry-password", "${{ secrets.PULL_TOKEN }}"),
    plain(DEPLOY, "deploy-on-failure", "rollback"),
    plain(DEPLOY, "deploy-by-name", "true"),
    plain(DEPLOY, "environment", "production"),
    plain(DEPLOY, "environment-url", "https://app.example.com"),
    plain(RUN, "dry-run", "true"),
    plain(RUN, "log-format", "json"),
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
