//! What the repository holds: commits, refs, tag objects, releases, deployments.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use autotag_model::git::{ObjectId, RefName};

use super::ancestry::{self, Graph};
use super::objects::{Commit, Deployment, Person, Release, TagObject};

/// Refs by full name.
pub type Refs = BTreeMap<String, ObjectId>;

/// How many writes a list can lag behind.
const LONGEST_LAG: usize = 64;

/// One repository.
pub struct Model {
    /// Its owner.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// The names that it had.
    pub former_names: Vec<String>,
    /// Where merges go.
    pub default_branch: String,
    /// All commits.
    pub commits: Graph,
    /// All annotated tag objects.
    pub tag_objects: HashMap<ObjectId, TagObject>,
    /// Who is behind the tokens.
    pub actor: String,
    /// Dates come from the machine's clock; else from a count that starts at 2026 and makes ids repeatable.
    pub wall_clock: bool,
    /// What the API wrote since somebody last took it, for a push into a real repository.
    pub written: Vec<Written>,
    /// The release that was marked as the latest.
    pub marked_latest: Option<u64>,
    /// The deployments, oldest first.
    pub deployments: Vec<Deployment>,
    /// Every write of a ref there ever was.
    pub moves: Vec<(String, Option<ObjectId>)>,
    refs: Arc<Refs>,
    releases: Arc<Vec<Release>>,
    past: VecDeque<(Arc<Refs>, Arc<Vec<Release>>)>,
    lag: usize,
    ticks: i64,
    last_id: u64,
}

/// One write, as Git sees it.
#[derive(Debug)]
pub enum Written {
    /// A tag object was made.
    Tag(TagObject),
    /// A ref was set, or deleted.
    Ref(String, Option<ObjectId>),
}

impl Model {
    /// An empty repository.
    pub fn new(owner: &str, name: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            name: name.to_owned(),
            former_names: Vec::new(),
            default_branch: "main".to_owned(),
            commits: Graph::new(),
            tag_objects: HashMap::new(),
            actor: "github-actions[bot]".to_owned(),
            wall_clock: false,
            written: Vec::new(),
            marked_latest: None,
            deployments: Vec::new(),
            moves: Vec::new(),
            refs: Arc::default(),
            releases: Arc::default(),
            past: VecDeque::new(),
            lag: 0,
            ticks: 0,
            last_id: 0,
        }
    }

    /// Seconds since 1970, each time later.
    pub fn now(&mut self) -> i64 {
        self.ticks += 1;
        if self.wall_clock { crate::clock::now() } else { 1_767_225_600 + self.ticks }
    }

    /// A number that nothing else has.
    pub fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The actor, now.
    pub fn person(&mut self) -> Person {
        Person {
            name: self.actor.clone(),
            email: "41898282+github-actions[bot]@users.noreply.github.com".to_owned(),
            seconds: self.now(),
            zone: "+0000".to_owned(),
        }
    }

    /// The refs as they are.
    pub fn refs(&self) -> &Refs {
        &self.refs
    }

    /// The releases as they are, oldest first.
    pub fn releases(&self) -> &[Release] {
        &self.releases
    }

    /// The refs as lists show them, which can be some writes behind.
    pub fn listed_refs(&self) -> Arc<Refs> {
        self.behind().map_or_else(|| Arc::clone(&self.refs), |(refs, _)| Arc::clone(refs))
    }

    /// The releases as lists show them.
    pub fn listed_releases(&self) -> Arc<Vec<Release>> {
        self.behind().map_or_else(|| Arc::clone(&self.releases), |(_, releases)| Arc::clone(releases))
    }

    /// Lets lists lag behind by this many writes from now on; 0: fresh again.
    pub fn lag_lists(&mut self, writes: usize) {
        assert!(writes <= LONGEST_LAG, "lists can lag behind by at most {LONGEST_LAG} writes");
        self.lag = writes;
    }

    fn behind(&self) -> Option<&(Arc<Refs>, Arc<Vec<Release>>)> {
        // `past` ends with the state before the newest write.
        match self.lag {
            0 => None,
            lag => self.past.get(self.past.len().saturating_sub(lag)),
        }
    }

    fn remember(&mut self) {
        if self.past.len() == LONGEST_LAG {
            self.past.pop_front();
        }
        self.past.push_back((Arc::clone(&self.refs), Arc::clone(&self.releases)));
    }

    /// One write to refs.
    pub fn write_refs(&mut self, changes: Vec<(String, Option<ObjectId>)>) {
        self.remember();
        let refs = Arc::make_mut(&mut self.refs);
        for (name, target) in changes {
            match &target {
                Some(target) => refs.insert(name.clone(), target.clone()),
                None => refs.remove(&name),
            };
            self.moves.push((name.clone(), target.clone()));
            self.written.push(Written::Ref(name, target));
        }
    }

    /// One write to releases.
    pub fn write_releases<T>(&mut self, change: impl FnOnce(&mut Vec<Release>) -> T) -> T {
        self.remember();
        change(Arc::make_mut(&mut self.releases))
    }

    /// A release that somebody published, of a tag that is there.
    pub fn publish_release(&mut self, tag: &str, prerelease: bool) {
        let (id, now) = (self.next_id(), self.now());
        let release = Release {
            id,
            tag: tag.to_owned(),
            target: self.default_branch.clone(),
            name: Some(tag.to_owned()),
            body: None,
            draft: false,
            prerelease,
            never_latest: prerelease,
            created: now,
            published: Some(now),
        };
        // Without a copy for the past: thousands are seeded.
        Arc::make_mut(&mut self.releases).push(release);
    }

    /// Keeps a tag object.
    pub fn add_tag_object(&mut self, tag: TagObject) {
        self.written.push(Written::Tag(tag.clone()));
        self.tag_objects.insert(tag.id.clone(), tag);
    }

    /// Makes and keeps a commit.
    pub fn add_commit(&mut self, message: &str, parents: &[ObjectId], author: &Person) -> ObjectId {
        let commit = Commit::new(message, parents, author);
        let id = commit.id.clone();
        self.commits.insert(id.clone(), commit);
        id
    }

    /// `commit` or `tag`; `None`: no such object.
    pub fn kind(&self, id: &ObjectId) -> Option<&'static str> {
        if self.commits.contains_key(id) {
            Some("commit")
        } else {
            self.tag_objects.contains_key(id).then_some("tag")
        }
    }

    /// The commit that an object is, or tags.
    pub fn peel<'a>(&'a self, id: &'a ObjectId) -> Option<&'a Commit> {
        let mut id = id;
        while let Some(tag) = self.tag_objects.get(id) {
            id = &tag.target;
        }
        self.commits.get(id)
    }

    /// What `ref` in GitHub's API means: a branch, a tag, a full ref, a commit's name or its start.
    pub fn resolve(&self, text: &str) -> Option<&Commit> {
        let refs = &self.refs;
        ["refs/heads/", "refs/tags/", "refs/", ""]
            .iter()
            .find_map(|prefix| refs.get(&format!("{prefix}{text}")))
            .and_then(|id| self.peel(id))
            .or_else(|| self.by_name(text))
    }

    fn by_name(&self, text: &str) -> Option<&Commit> {
        if let Ok(id) = text.parse::<ObjectId>() {
            return self.commits.get(&id);
        }
        if text.len() < 7 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut found = self.commits.values().filter(|commit| commit.id.as_str().starts_with(text));
        let first = found.next()?;
        found.next().is_none().then_some(first)
    }

    /// Whether a ref can go from one object to another without force: forward, and between commits.
    pub fn is_fast_forward(&self, from: &ObjectId, to: &ObjectId) -> bool {
        from == to
            || (self.kind(from) == Some("commit")
                && self.kind(to) == Some("commit")
                && ancestry::ancestors(&self.commits, to).contains(from))
    }

    /// Why Git would not let this ref exist beside these; `None`: it would.
    pub fn misnamed(refs: &Refs, name: &str) -> Option<String> {
        if name.parse::<RefName>().is_err() {
            return Some(format!("{name} is not a valid ref name."));
        }
        let inside = format!("{name}/");
        let below = refs.range(inside.clone()..).next().filter(|(other, _)| other.starts_with(&inside));
        let above =
            name.match_indices('/').map(|(end, _)| &name[..end]).find(|parent| refs.contains_key(*parent));
        let other = below.map(|(other, _)| other.as_str()).or(above)?;
        Some(format!("cannot lock ref '{name}': '{other}' exists"))
    }

    /// Takes what a real repository has.
    pub fn take_in(
        &mut self,
        commits: Vec<Commit>,
        tags: Vec<TagObject>,
        refs: Vec<(String, Option<ObjectId>)>,
    ) {
        self.commits.extend(commits.into_iter().map(|commit| (commit.id.clone(), commit)));
        self.tag_objects.extend(tags.into_iter().map(|tag| (tag.id.clone(), tag)));
        if !refs.is_empty() {
            let before = self.written.len();
            self.write_refs(refs);
            // It came from there.
            self.written.truncate(before);
        }
    }
}
