//! The failures that users meet most, each with the section of docs/troubleshooting.md about it. Pure.
//!
//! A topic's heading is three things at once: the title of the annotation, the heading in docs/troubleshooting.md, and so
//! the end of the link that the annotation gives.

/// Where the project lives: `repository` in Cargo.toml.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// What to do where a token lacks the permission to write. GitHub refuses it in two forms, by REST and GraphQL.
pub const ALLOW_WRITING: &str = "add the line `contents: write` to this job's `permissions:` in the \
                                 workflow; an App's \
                                 or a person's token that is passed as `github-token` needs \u{201c}Contents: \
                                 write\u{201d}";

macro_rules! topics {
    ($($topic:ident $heading:literal,)*) => {
        /// What a failure is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Topic {
            $(#[doc = $heading] $topic,)*
        }

        impl Topic {
            /// All of them, for the documentation's test.
            pub const ALL: &'static [Self] = &[$(Self::$topic,)*];

            /// As it stands over the annotation and in docs/troubleshooting.md.
            pub fn heading(self) -> &'static str {
                match self { $(Self::$topic => $heading,)* }
            }
        }
    };
}

topics! {
    // GitHub.
    MayNotWrite "The job may not write to the repository",
    TokenRefused "GitHub refuses the token",
    Ruleset "A ruleset forbids the tag",
    GitHubLimit "GitHub's rate limit is used up",
    GitHubTooOld "GitHub Enterprise Server is too old",
    TagTaken "The Git tag belongs to another commit",
    VersionTooLow "The version is not above what exists",
    OtherForm "Existing versions have another form",
    OtherCommit "The workspace has another commit checked out",
    Inputs "The inputs are not valid",
    // The build.
    NoDocker "Docker cannot be reached",
    NoDockerfile "There is no Dockerfile",
    NoContext "There is no build context",
    BuildStep "A build step failed",
    BaseImage "A base image cannot be pulled",
    // The registry.
    MayNotPush "The job may not push to ghcr.io",
    NotLinked "The package is not linked to the repository",
    RegistryLogin "The registry refuses the login",
    RegistryFull "The registry is full",
    RegistryLimit "The registry limits requests",
    ImmutableTags "The registry's tags are immutable",
    ImageTagTaken "The image's tag is taken",
    NoImage "The registry does not have the image",
    Certificate "The connection is not trusted",
    // The way to the server.
    HostKeyUnknown "No host key is known for the server",
    HostKeyChanged "The server's host key is not the known one",
    KeyRefused "The server does not let the key in",
    NoConnection "No connection to the server",
    NoReceiver "No receiver answers on the server",
    Protocol "The action and the receiver speak different protocols",
    ResultUnknown "The result of the deployment is not known",
    // On the server.
    NoApplication "The server does not have this application",
    OtherImage "The app file names another image",
    Variable "The app file does not allow a variable",
    AppFile "The app file has errors",
    ServerDocker "Docker does not answer on the server",
    PullRefused "The server may not pull the image",
    Unhealthy "The new version is not healthy",
    SmokeTest "A smoke test failed",
    PortInUse "A port on the server is in use",
    DiskFull "The server's disk is full",
    NotRecorded "The version to go back to is not recorded",
    NewerIsLive "A newer version is live",
    DeploymentRunning "Another deployment is running",
    Unfinished "An earlier deployment could not be finished",
}

impl Topic {
    /// The section about it.
    pub fn link(self) -> String {
        format!("{}#{}", link(), anchor(self.heading()))
    }
}

/// The page on what to do about failures.
pub fn link() -> String {
    format!("{REPOSITORY}/blob/main/docs/troubleshooting.md")
}

/// GitHub's name of a heading: lower case, white space as `-`, other signs gone.
fn anchor(heading: &str) -> String {
    let sign = |character: char| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        other => other.is_alphanumeric().then_some(other),
    };
    heading.to_lowercase().chars().filter_map(sign).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn links_are_made_as_github_makes_them() {
        assert_eq!(
            Topic::GitHubLimit.link(),
            "https://github.com/org/autotag-deploy/blob/main/docs/troubleshooting.md#githubs-rate-limit-is-used-up"
        );
        assert_eq!(anchor("No `a_b`: c-d"), "no-a_b-c-d");
        let links: BTreeSet<String> = Topic::ALL.iter().map(|topic| topic.link()).collect();
        assert_eq!(links.len(), Topic::ALL.len(), "no two lead to one section");
    }
}
