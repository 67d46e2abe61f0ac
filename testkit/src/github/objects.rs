//! Git's objects, byte for byte, so that their names are the ones Git would give.

use autotag_model::git::ObjectId;
use serde_json::Value;

/// The tree without files, which every commit made here has.
pub const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// Who, and when.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Person {
    /// The name.
    pub name: String,
    /// The address.
    pub email: String,
    /// Seconds since 1970.
    pub seconds: i64,
    /// The offset from UTC as Git writes it: `+0000`.
    pub zone: String,
}

impl Person {
    /// The date as GitHub shows it: RFC 3339 in UTC.
    pub fn date(&self) -> String {
        moment(self.seconds)
    }

    fn line(&self) -> String {
        format!("{} <{}> {} {}", self.name, self.email, self.seconds, self.zone)
    }

    fn parse(line: &str) -> Self {
        let (name, rest) = line.split_once(" <").unwrap_or(("", line.trim_start_matches('<')));
        let (email, when) = rest.rsplit_once("> ").expect("an address in a Git object");
        let (seconds, zone) = when.split_once(' ').expect("a date in a Git object");
        Self {
            name: name.to_owned(),
            email: email.to_owned(),
            seconds: seconds.parse().expect("seconds in a Git object"),
            zone: zone.to_owned(),
        }
    }
}

/// RFC 3339 in UTC.
pub fn moment(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).expect("a date").to_string()
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Commit {
    /// Its name.
    pub id: ObjectId,
    /// Its tree.
    pub tree: String,
    /// In order.
    pub parents: Vec<ObjectId>,
    /// Who wrote it.
    pub author: Person,
    /// Who committed it.
    pub committer: Person,
    /// The whole message.
    pub message: String,
}

impl Commit {
    /// A commit of an empty tree.
    pub fn new(message: &str, parents: &[ObjectId], author: &Person) -> Self {
        let mut text = format!("tree {EMPTY_TREE}\n");
        for parent in parents {
            text.push_str("parent ");
            text.push_str(parent.as_str());
            text.push('\n');
        }
        let line = author.line();
        text = format!("{text}author {line}\ncommitter {line}\n\n{message}");
        Self::parse(&object_id("commit", text.as_bytes()), &text)
    }

    /// Reads the object's bytes.
    pub fn parse(id: &ObjectId, text: &str) -> Self {
        let (head, message) = text.split_once("\n\n").unwrap_or((text, ""));
        let field = |name: &str| {
            head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or_default()
        };
        Self {
            id: id.clone(),
            tree: field("tree").to_owned(),
            parents: head
                .lines()
                .filter_map(|line| line.strip_prefix("parent "))
                .map(|parent| parent.parse().expect("a parent's name"))
                .collect(),
            author: Person::parse(field("author")),
            committer: Person::parse(field("committer")),
            message: message.strip_suffix('\n').unwrap_or(message).to_owned(),
        }
    }
}

/// An annotated tag.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct TagObject {
    /// Its own name.
    pub id: ObjectId,
    /// The tag's name as written into it.
    pub tag: String,
    /// The whole message, as it was sent.
    pub message: String,
    /// What it tags.
    pub target: ObjectId,
    /// `commit`, `tree`, `blob` or `tag`.
    pub target_type: String,
    /// Who made it.
    pub tagger: Person,
    #[serde(skip)]
    bytes: String,
}

impl TagObject {
    /// Makes the object; nothing points at it yet.
    pub fn new(tag: &str, message: &str, target: &ObjectId, target_type: &str, tagger: &Person) -> Self {
        let text =
            format!("object {target}\ntype {target_type}\ntag {tag}\ntagger {}\n\n{message}", tagger.line());
        Self::parse(&object_id("tag", text.as_bytes()), &text)
    }

    /// Reads the object's bytes.
    pub fn parse(id: &ObjectId, text: &str) -> Self {
        let (head, message) = text.split_once("\n\n").unwrap_or((text, ""));
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let nobody =
            || Person { name: String::new(), email: String::new(), seconds: 0, zone: "+0000".to_owned() };
        Self {
            id: id.clone(),
            tag: field("tag").unwrap_or_default().to_owned(),
            message: message.to_owned(),
            target: field("object").unwrap_or_default().parse().expect("a tagged object's name"),
            target_type: field("type").unwrap_or("commit").to_owned(),
            tagger: field("tagger").map_or_else(nobody, Person::parse),
            bytes: text.to_owned(),
        }
    }

    /// The object's bytes, without Git's header.
    pub fn bytes(&self) -> &str {
        &self.bytes
    }
}

/// The name that Git gives to an object: the SHA-1 of its kind, length and bytes.
pub fn object_id(kind: &str, bytes: &[u8]) -> ObjectId {
    use std::fmt::Write as _;
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(format!("{kind} {}\0", bytes.len()).as_bytes());
    context.update(bytes);
    let mut hex = String::new();
    for byte in context.finish().as_ref() {
        let _ = write!(hex, "{byte:02x}");
    }
    hex.parse().expect("40 hexadecimal digits")
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Release {
    /// Its number.
    pub id: u64,
    /// The tag.
    pub tag: String,
    /// The branch or commit it was asked for with.
    pub target: String,
    /// The title.
    pub name: Option<String>,
    /// The notes.
    pub body: Option<String>,
    /// Not published.
    pub draft: bool,
    /// A prerelease.
    pub prerelease: bool,
    /// It was said of this one that it is not the latest.
    pub never_latest: bool,
    /// The date of the tagged commit, in seconds since 1970 (GitHub's `created_at`).
    pub created: i64,
    /// When it was published.
    pub published: Option<i64>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Deployment {
    /// Its number.
    pub id: u64,
    /// The commit.
    pub sha: ObjectId,
    /// The branch, tag or commit that was asked for.
    pub reference: String,
    /// `deploy`, if nothing else was said.
    pub task: String,
    /// Whatever the client sent along.
    pub payload: Value,
    /// Where to.
    pub environment: String,
    /// In words.
    pub description: Option<String>,
    /// It will not exist for long.
    pub transient: bool,
    /// People use it.
    pub production: bool,
    /// When, in seconds since 1970.
    pub created: i64,
    /// What became of it, oldest first.
    pub statuses: Vec<Status>,
}

/// One status of a deployment.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Status {
    /// Its number.
    pub id: u64,
    /// `in_progress`, `success` ...
    pub state: String,
    /// In words, at most 140 characters.
    pub description: String,
    /// Where it can be seen.
    pub environment_url: String,
    /// Where its log is.
    pub log_url: String,
    /// When, in seconds since 1970.
    pub created: i64,
}
