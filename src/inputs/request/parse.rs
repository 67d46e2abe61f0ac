//! From raw inputs to a request.

use super::{LatestPolicy, LogFormat, Order, ReleaseBranches, ReleaseOrder};
use crate::inputs::access::own_registry;
use crate::inputs::command::Command;
use crate::inputs::fault::Faults;
use crate::inputs::raw::RawInputs;
use crate::inputs::reader::Reader;
use crate::inputs::run::Run;
use crate::versioning::bump::Level;
use crate::versioning::plan::{Wanted, Wish};
use crate::versioning::tag::TagPrefix;
use autotag_model::git::RefName;
use autotag_model::reference::ImageName;

impl Order {
    /// Parses everything, and puts every fault into `faults`. `None` where there is any.
    pub fn parse(said: &RawInputs, run: &Run, faults: &mut Faults) -> Option<Self> {
        let mut reader = Reader { raw: said, faults, notices: Vec::new() };
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
        if self.raw.text("dry-run") == "true" && matches!(command, Some(Command::Deploy | Command::Rollback))
        {
            let expected = "`false`: servers try nothing out. `command: status` shows what runs";
            self.faults.of_input("dry-run", "true", expected);
        }
        command
    }

    fn image(&mut self, run: &Run) -> Option<ImageName> {
        let said = self.raw.given("image").map(ToOwned::to_owned);
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
        let prebuilt = self.raw.given("image-digest").is_some();
        Some(Wish { wanted, initial, prefix: prefix?, image: image?, prebuilt })
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
            notes: self.raw.given("release-notes").map(ToOwned::to_owned),
            name: self.raw.given("release-name").unwrap_or("{tag}").to_owned(),
        })
    }

    fn claim_ref(&mut self, wish: Option<&Wish>) -> Option<RefName> {
        if self.raw.given("claim-ref").is_some() {
            return self.parsed("claim-ref");
        }
        // A wrong prefix has been noted; another name stands in so that the other inputs are read too.
        let prefix = wish.map_or("v".parse(), |wish| Ok(wish.prefix.clone()));
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
            self.faults.of_input(NAME, pattern, expected);
        }
        if patterns.is_empty() { ReleaseBranches::Default } else { ReleaseBranches::Matching(patterns) }
    }
}
