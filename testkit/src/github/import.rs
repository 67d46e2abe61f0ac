//! A real Git repository behind the double: commits and refs come from it, and can go back.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use autotag_model::git::ObjectId;

use super::model::{Model, Written};
use super::objects::{Commit, TagObject};

/// The repository, and what was last seen of it.
#[derive(Debug)]
pub struct Source {
    path: PathBuf,
    push_back: bool,
    seen: BTreeMap<String, ObjectId>,
}

impl Source {
    /// A working tree or a bare repository.
    pub fn new(path: &Path, push_back: bool) -> Self {
        Self { path: path.to_owned(), push_back, seen: BTreeMap::new() }
    }

    /// Takes over what has changed in the repository since the last time, and objects that are asked
    /// for by name and reachable from no ref.
    pub fn pull(&mut self, model: &mut Model, asked_for: &[ObjectId]) {
        let refs = self.refs();
        let unknown: Vec<&ObjectId> =
            asked_for.iter().filter(|id| model.kind(id).is_none() && self.has(id)).collect();
        if refs == self.seen && unknown.is_empty() {
            return;
        }
        let mut changes: Vec<(String, Option<ObjectId>)> = refs
            .iter()
            .filter(|(name, id)| self.seen.get(*name) != Some(*id))
            .map(|(name, id)| (name.clone(), Some(id.clone())))
            .collect();
        changes.extend(
            self.seen.keys().filter(|name| !refs.contains_key(*name)).map(|name| (name.clone(), None)),
        );
        let mut wanted: Vec<String> = unknown.iter().map(ToString::to_string).collect();
        wanted.extend(changes.iter().filter_map(|(_, id)| Some(id.as_ref()?.to_string())));
        let (commits, tags) = self.objects(&wanted);
        model.take_in(commits, tags, changes);
        self.seen = refs;
    }

    /// Writes into the repository what the API wrote, if that was asked for.
    pub fn push(&mut self, written: Vec<Written>) {
        if !self.push_back {
            return;
        }
        for write in written {
            match write {
                Written::Tag(tag) => {
                    let id = self.git(&["hash-object", "-t", "tag", "-w", "--stdin"], tag.bytes().as_bytes());
                    assert_eq!(id.trim(), tag.id.as_str(), "Git names the tag object otherwise");
                }
                Written::Ref(name, Some(id)) => {
                    self.git(&["update-ref", &name, id.as_str()], b"");
                }
                Written::Ref(name, None) => {
                    self.git(&["update-ref", "-d", &name], b"");
                }
            }
        }
        self.seen = self.refs();
    }

    fn refs(&self) -> BTreeMap<String, ObjectId> {
        self.git(&["for-each-ref", "--format=%(objectname) %(refname)"], b"")
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(_, name)| !name.starts_with("refs/remotes/") && *name != "refs/stash")
            .map(|(id, name)| (name.to_owned(), id.parse().expect("an object's name")))
            .collect()
    }

    fn has(&self, id: &ObjectId) -> bool {
        let mut command = self.command(&["cat-file", "-e", id.as_str()]);
        command.stderr(Stdio::null()).status().expect("git runs").success()
    }

    /// The commits that these objects contain, and the tag objects among and below them.
    fn objects(&self, wanted: &[String]) -> (Vec<Commit>, Vec<TagObject>) {
        let listed = self.git(&["rev-list", "--stdin"], wanted.join("\n").as_bytes());
        let names: Vec<&str> = wanted.iter().map(String::as_str).chain(listed.lines()).collect();
        let (mut commits, mut tags) = (Vec::new(), Vec::new());
        let mut left = names.join("\n");
        // A tag can tag a tag: ask on until nothing new comes.
        while !left.is_empty() {
            let mut further = Vec::new();
            for (id, kind, text) in parse_batch(&self.git_bytes(&["cat-file", "--batch"], left.as_bytes())) {
                match kind.as_str() {
                    "commit" => commits.push(Commit::parse(&id, &text)),
                    "tag" => {
                        let tag = TagObject::parse(&id, &text);
                        if tag.target_type == "tag" {
                            further.push(tag.target.to_string());
                        }
                        tags.push(tag);
                    }
                    _ => {}
                }
            }
            left = further.join("\n");
        }
        (commits, tags)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        // A repository of another user is fine to read here; hooks and prompts are not wanted.
        command.args(["-c", "safe.directory=*", "-C"]).arg(&self.path).args(arguments);
        command.env("GIT_TERMINAL_PROMPT", "0").stdin(Stdio::null());
        command
    }

    fn git(&self, arguments: &[&str], input: &[u8]) -> String {
        String::from_utf8_lossy(&self.git_bytes(arguments, input)).into_owned()
    }

    fn git_bytes(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("git runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_owned();
        // Written aside: git answers while it reads, and both pipes would fill.
        let writer = std::thread::spawn(move || stdin.write_all(&input));
        let mut output = Vec::new();
        child.stdout.take().expect("a pipe").read_to_end(&mut output).expect("what git says");
        let mut complaint = String::new();
        child.stderr.take().expect("a pipe").read_to_string(&mut complaint).expect("what git complains of");
        let status = child.wait().expect("git's end");
        assert!(status.success(), "git {} in {}: {complaint}", arguments.join(" "), self.path.display());
        writer.join().expect("the writing thread").expect("writing to git");
        output
    }
}

/// `<id> <kind> <length>\n<bytes>\n`, repeated.
fn parse_batch(mut bytes: &[u8]) -> Vec<(ObjectId, String, String)> {
    let mut found = Vec::new();
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut words = head.split(' ');
        let (id, kind, length) = (words.next(), words.next(), words.next());
        let id = id.and_then(|id| id.parse().ok()).unwrap_or_else(|| panic!("git cat-file: {head}"));
        let length: usize =
            length.and_then(|length| length.parse().ok()).unwrap_or_else(|| panic!("git cat-file: {head}"));
        let text = String::from_utf8_lossy(&bytes[end + 1..][..length]).into_owned();
        found.push((id, kind.unwrap_or_default().to_owned(), text));
        bytes = &bytes[end + 1 + length + 1..];
    }
    found
}
