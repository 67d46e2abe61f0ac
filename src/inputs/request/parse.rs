//! From raw inputs to a request.

use super::{Bump, LatestPolicy, ReleaseBranches, ReleaseSettings, Request, released_by};
use crate::inputs::access::own_registry;
use crate::inputs::command::Command;
use crate::inputs::error::InputErrors;
use crate::inputs::raw::RawInputs;
use crate::inputs::reader::Reader;
use crate::inputs::run::{Cause, Run};
use crate::versioning::bump::Level;
use crate::versioning::plan::{VersionRequest, VersionSelector};
use crate::versioning::tag::TagPrefix;
use autotag_model::git::RefName;
use autotag_model::reference::ImageName;

impl Request {
    /// Parses everything, and puts every fault into `faults`. `None` where there is any.
    pub fn parse(inputs: &RawInputs, run: &Run, errors: &mut InputErrors) -> Option<Self> {
        let mut reader = Reader { raw: inputs, errors, notices: Vec::new() };
        // Everything is read before anything is given up, so that all faults are told at once.
        let image = reader.image(run);
        let command = reader.command();
        let version = reader.version_request(image.clone(), command, run);
        let log_format = reader.word("log-format");
        let claim_ref = reader.claim_ref(version.as_ref());
        let source = reader.source(run);
        let latest = reader.latest();
        let release = reader.release();
        let dry_run = reader.flag("dry-run");
        let registry = reader.registry_credentials(image.as_ref(), run);
        let release_branches = reader.release_branches();
        let deploy = reader.deploy(image.as_ref(), run, command);
        let notices = reader.notices;
        if !errors.is_empty() {
            return None;
        }
        Some(Self {
            command: command?,
            version: version?,
            release_branches,
            source,
            latest,
            release,
            claim_ref: claim_ref?,
            dry_run,
            github_token: inputs.secret("github-token"),
            registry,
            deploy: deploy?,
            log_format: log_format?,
            notices,
        })
    }
}

impl Reader<'_> {
    fn command(&mut self) -> Option<Command> {
        let command = self.word("command");
        if self.raw.text("dry-run") == "true" && matches!(command, Some(Command::Deploy | Command::Rollback))
        {
            let expected = "`false`: servers have no dry run. `command: status` shows what runs";
            self.errors.of_input("dry-run", "true", expected);
        }
        command
    }

    fn image(&mut self, run: &Run) -> Option<ImageName> {
        let inputs = self.raw.given("image").map(ToOwned::to_owned);
        let text = inputs.unwrap_or_else(|| format!("{}/{}", own_registry(&run.server_url), run.repository));
        let lower = text.to_lowercase();
        if lower != text {
            self.notices
                .push(format!("`image`: {text} is used as {lower}, since image names have no upper case"));
        }
        lower
            .parse()
            .map_err(|error: autotag_model::reference::ParseError| {
                self.errors.of_input("image", &text, error.to_string());
            })
            .ok()
    }

    fn version_request(
        &mut self,
        image: Option<ImageName>,
        command: Option<Command>,
        run: &Run,
    ) -> Option<VersionRequest> {
        let bump = self.word("bump");
        let version = self.version("version");
        let initial = self.version("initial-version");
        let prefix: Option<TagPrefix> = self.parsed("tag-prefix");
        // A tag that was pushed names the version. Commands for servers go by the inputs alone.
        let releases = command.is_some_and(|command| !command.reaches_servers());
        let pushed = match (&run.cause, &prefix) {
            (Cause::Tag(tag), Some(prefix)) if releases => released_by(tag, prefix).ok(),
            _ => None,
        };
        let selector = match (version, bump?) {
            _ if pushed.is_some() => VersionSelector::PushedTag(pushed?),
            (Some(version), _) => VersionSelector::Exactly(version),
            (None, Bump::Patch) => VersionSelector::Bump(Level::Patch),
            (None, Bump::Minor) => VersionSelector::Bump(Level::Minor),
            (None, Bump::Major) => VersionSelector::Bump(Level::Major),
            (None, Bump::Auto) => VersionSelector::Auto,
        };
        let prebuilt = self.raw.given("image-digest").is_some();
        Some(VersionRequest { selector, initial, prefix: prefix?, image: image?, prebuilt })
    }

    fn latest(&mut self) -> LatestPolicy {
        self.word("latest").unwrap_or(LatestPolicy::Never)
    }

    fn release(&mut self) -> Option<ReleaseSettings> {
        let draft = self.flag("release-draft");
        self.flag("release").then(|| ReleaseSettings {
            draft,
            notes: self.raw.given("release-notes").map(ToOwned::to_owned),
            name: self.raw.given("release-name").unwrap_or("{tag}").to_owned(),
        })
    }

    fn claim_ref(&mut self, version: Option<&VersionRequest>) -> Option<RefName> {
        if self.raw.given("claim-ref").is_some() {
            return self.parsed("claim-ref");
        }
        // A wrong prefix has been noted; another name stands in so that the other inputs are read too.
        let prefix = version.map_or("v".parse(), |version| Ok(version.prefix.clone()));
        prefix.and_then(|prefix: TagPrefix| prefix.default_claim_ref()).ok()
    }

    fn release_branches(&mut self) -> ReleaseBranches {
        const NAME: &str = "release-branches";
        let patterns = self.words(NAME);
        // A pattern that fits no branch would release nothing, without a word.
        let never = |pattern: &str| {
            let name = format!("refs/heads/{}", pattern.replace('*', "x"));
            name.parse::<RefName>().is_err() || pattern.contains(['"', '\'', '\\'])
        };
        for pattern in patterns.iter().filter(|pattern| never(pattern)) {
            let expected =
                "names of branches, in which `*` alone stands for any text, separated by commas or lines";
            self.errors.of_input(NAME, pattern, expected);
        }
        if patterns.is_empty() { ReleaseBranches::Default } else { ReleaseBranches::Matching(patterns) }
    }
}
