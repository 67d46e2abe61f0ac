//! A claim: the one record that a version belongs to a commit and an image.
//!
//! Claims are the messages of annotated tag objects, chained by `previous` from the head ref. The head is
//! moved by compare-and-swap together with the version's tag, so the chain is the order in which versions
//! came to be: clocks, run numbers and Git history have no say in it. A claim is never changed or removed.

use std::fmt::Write as _;

use semver::Version;

use autotag_model::git::ObjectId;
use autotag_model::reference::{Digest, ImageName};

/// The format's number. A reader that meets a higher one refuses: it cannot know what it would miss.
const FORMAT: &str = "1";

/// The line of the main branch. Maintenance lines will have names of their own.
pub const MAIN_LINE: &str = "main";

/// What a claim does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum ClaimKind {
    /// Takes a new version for a commit.
    Version,
    /// Adds one more image to the version that its commit has already.
    Image,
}

/// The newest claimed commit of a line of descent.
///
/// A commit is older than some claim exactly if it is an ancestor of a tip: ancestry is transitive, so the
/// claims behind the tips need not be compared. Each claim carries the tips on, which makes judging a
/// commit one comparison for each tip (nearly always one) instead of one for each release ever made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tip {
    /// The commit.
    pub commit: ObjectId,
    /// The line it was claimed in.
    pub line: String,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Takes a version, or adds an image to one.
    pub kind: ClaimKind,
    /// The version.
    pub version: Version,
    /// The highest version claimed so far, this one among them. An image that joins an old version has a
    /// lower one itself; what comes after it must still rise above this.
    pub highest: Version,
    /// The highest stable version before it, for notes and outputs.
    pub after: Option<Version>,
    /// The prefix of its Git tag, `none` for an empty one: two prefixes never share a chain.
    pub prefix: String,
    /// Whose it is.
    pub commit: ObjectId,
    /// The image's name.
    pub image: ImageName,
    /// The image itself: it was in the registry before the claim was made.
    pub digest: Digest,
    /// Versions rise, and supersede, within a line.
    pub line: String,
    /// The head before this claim.
    pub previous: Option<ObjectId>,
    /// The newest commits, this claim's own among them.
    pub tips: Vec<Tip>,
    /// Who made it: a run's address, for people.
    pub run: String,
}

/// A claim and the tag object that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedClaim {
    /// The tag object.
    pub id: ObjectId,
    /// What it says.
    pub claim: Claim,
}

/// Why a tag object's message is no claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAClaim(String);

impl Claim {
    /// The tag object's message: a first line for people, then one trailer for each fact.
    pub fn message(&self, tag: &str) -> String {
        let mut text = format!(
            "{tag}: {}@{}\n\nClaimed by autotag-deploy. Later releases rest on this object: keep it.\n\n",
            self.image, self.digest
        );
        let mut put = |key: &str, value: &str| {
            // A line break would be the start of another trailer, and the rest nobody needs.
            let _ = writeln!(text, "Autotag-{key}: {}", value.replace(char::is_control, " "));
        };
        put("Claim", FORMAT);
        put("Kind", self.kind.into());
        put("Version", &self.version.to_string());
        put("Highest", &self.highest.to_string());
        put("After", &self.after.as_ref().map_or("none".to_owned(), ToString::to_string));
        put("Prefix", &self.prefix);
        put("Commit", self.commit.as_str());
        put("Image", &self.image.to_string());
        put("Digest", self.digest.as_str());
        put("Line", &self.line);
        put("Previous", self.previous.as_ref().map_or("none", ObjectId::as_str));
        for tip in &self.tips {
            put("Tip", &format!("{} {}", tip.commit, tip.line));
        }
        put("Run", &self.run);
        text
    }

    /// Reads a message back. Unknown trailers are passed over (a later release may add some without
    /// changing what these mean); a missing, doubled or malformed one is an error.
    pub fn parse(message: &str) -> Result<Self, NotAClaim> {
        let trailers = Trailers::of(message);
        let format = trailers.one("Claim")?;
        if format != FORMAT {
            return Err(NotAClaim(format!(
                "the claim has format {format}; this autotag-deploy knows {FORMAT}: update it to the version that made the claim"
            )));
        }
        // They are printed, and go on into later claims.
        if let Some((key, _)) = trailers.0.iter().find(|(_, value)| value.contains(char::is_control)) {
            return Err(NotAClaim(format!("`Autotag-{key}` holds control characters")));
        }
        Ok(Self {
            kind: trailers.parsed("Kind")?,
            version: trailers.parsed("Version")?,
            highest: trailers.parsed("Highest")?,
            after: trailers.optional("After")?,
            prefix: trailers.one("Prefix")?.to_owned(),
            commit: trailers.parsed("Commit")?,
            image: trailers.parsed("Image")?,
            digest: trailers.parsed("Digest")?,
            line: trailers.one("Line")?.to_owned(),
            previous: trailers.optional("Previous")?,
            tips: trailers.all("Tip").map(parse_tip).collect::<Result<_, _>>()?,
            run: trailers.one("Run")?.to_owned(),
        })
    }
}

fn parse_tip(text: &str) -> Result<Tip, NotAClaim> {
    let broken = || NotAClaim(format!("Autotag-Tip: {text}"));
    let (commit, line) = text.split_once(' ').ok_or_else(broken)?;
    Ok(Tip { commit: commit.parse().map_err(|_| broken())?, line: line.to_owned() })
}

struct Trailers<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Trailers<'a> {
    fn of(message: &'a str) -> Self {
        let lines = message.lines().filter_map(|line| line.strip_prefix("Autotag-")?.split_once(": "));
        Self(lines.collect())
    }

    fn all(&self, key: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| *found == key).map(|(_, value)| *value)
    }

    fn one(&self, key: &str) -> Result<&'a str, NotAClaim> {
        let mut values = self.all(key);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            (None, _) => Err(NotAClaim(format!("there is no line `Autotag-{key}`"))),
            (Some(_), Some(_)) => Err(NotAClaim(format!("there are two lines `Autotag-{key}`"))),
        }
    }

    fn parsed<T: std::str::FromStr>(&self, key: &str) -> Result<T, NotAClaim> {
        let text = self.one(key)?;
        text.parse().map_err(|_| NotAClaim(format!("`Autotag-{key}: {text}` does not parse")))
    }

    fn optional<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, NotAClaim> {
        if self.one(key)? == "none" { Ok(None) } else { self.parsed(key).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn example() -> Claim {
        let commit: ObjectId = "a".repeat(40).parse().unwrap();
        Claim {
            kind: ClaimKind::Version,
            version: Version::new(1, 2, 3),
            highest: Version::new(1, 2, 3),
            after: Some(Version::new(1, 2, 2)),
            prefix: "v".to_owned(),
            commit: commit.clone(),
            image: "ghcr.io/org/app".parse().unwrap(),
            digest: Digest::of(b"x"),
            line: MAIN_LINE.to_owned(),
            previous: Some("b".repeat(40).parse().unwrap()),
            tips: vec![Tip { commit, line: MAIN_LINE.to_owned() }],
            run: "https://github.com/org/app/actions/runs/1".to_owned(),
        }
    }

    #[test]
    fn a_claim_survives_its_message() {
        let first = Claim { after: None, previous: None, kind: ClaimKind::Image, ..example() };
        for claim in [example(), first] {
            assert_eq!(Claim::parse(&claim.message("v1.2.3")), Ok(claim));
        }
    }

    #[test]
    fn what_is_missing_doubled_or_newer_is_refused() {
        let whole = example().message("v1.2.3");
        for key in [
            "Claim", "Kind", "Version", "Highest", "After", "Prefix", "Prefix", "Commit", "Image", "Digest",
            "Line", "Previous", "Run",
        ] {
            let start = format!("Autotag-{key}:");
            let without: Vec<&str> = whole.lines().filter(|line| !line.starts_with(&start)).collect();
            assert!(Claim::parse(&without.join("\n")).is_err(), "without {key}");
            let line = whole.lines().find(|line| line.starts_with(&start)).unwrap();
            assert!(Claim::parse(&format!("{whole}{line}\n")).is_err(), "{key} twice");
        }
        let newer = whole.replace("Autotag-Claim: 1", "Autotag-Claim: 2");
        assert!(Claim::parse(&newer).unwrap_err().to_string().contains("update"));
    }

    #[test]
    fn a_run_name_cannot_add_lines() {
        let claim = Claim { run: "x\nAutotag-Version: 9.9.9".to_owned(), ..example() };
        assert_eq!(Claim::parse(&claim.message("v1.2.3")).unwrap().version, Version::new(1, 2, 3));
    }

    proptest::proptest! {
        #[test]
        fn no_message_panics(message in "(Autotag-[A-Z][a-z]{2,8}: .{0,40}\n){0,14}|.{0,300}") {
            let _ = Claim::parse(&message);
        }
    }
}
