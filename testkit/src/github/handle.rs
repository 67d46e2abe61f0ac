//! What tests hold: the running double, and everything they may arrange and look at.

use std::collections::HashMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use autotag_model::git::ObjectId;
use serde_json::Value;

use super::import::Source;
use super::knobs::Knobs;
use super::model::Model;
use super::objects::{Commit, Deployment, Person, Release, TagObject};
use super::releases;
use super::server::{self, Access, DoubleShared, Permissions, Recorded, lock};
use crate::clock::now;
use crate::network::faults::{Fault, Gate, fits};
use crate::network::http::HttpServer;

/// How a double starts.
#[derive(Debug)]
pub struct DoubleOptions {
    /// The repository's owner.
    pub owner: String,
    /// The repository's name.
    pub name: String,
    /// Address and port; port 0: a free one.
    pub listen: String,
    /// A token that may write contents and deployments.
    pub token: String,
    /// A real repository that commits and refs come from.
    pub git: Option<PathBuf>,
    /// Write what the API makes into that repository.
    pub push_back: bool,
    /// Dates from the machine's clock; else from a count that starts at 2026-01-01.
    pub wall_clock: bool,
}

impl Default for DoubleOptions {
    fn default() -> Self {
        Self {
            owner: "org".to_owned(),
            name: "app".to_owned(),
            listen: "127.0.0.1:0".to_owned(),
            token: Double::TOKEN.to_owned(),
            git: None,
            push_back: false,
            wall_clock: false,
        }
    }
}

/// A running double. Its end fails the test if a client or the double itself went against GitHub's
/// description.
pub struct Double {
    handle: Handle,
    _server: HttpServer,
}

/// The same double, to be given to other tasks and threads.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<DoubleShared>,
}

impl Double {
    /// The token that every double knows, with `contents: write` and `deployments: write`.
    pub const TOKEN: &str = "ghs_double_token";

    /// An empty repository `org/app` with the default branch `main`.
    pub fn start() -> Self {
        Self::with(DoubleOptions::default())
    }

    /// A copy of a real repository, taken anew whenever it changes.
    pub fn import_git(path: &Path) -> Self {
        Self::with(DoubleOptions { git: Some(path.to_owned()), ..DoubleOptions::default() })
    }

    /// As the options say.
    pub fn with(options: DoubleOptions) -> Self {
        let mut model = Model::new(&options.owner, &options.name);
        model.wall_clock = options.wall_clock;
        let permissions = Permissions { contents: Access::Write, deployments: Access::Write };
        let mut source = options.git.as_deref().map(|path| Source::new(path, options.push_back));
        if let Some(source) = source.as_mut() {
            source.pull(&mut model, &[]);
        }
        let shared = Arc::new(DoubleShared {
            model: Mutex::new(model),
            knobs: Mutex::new(Knobs::new()),
            tokens: Mutex::new(HashMap::from([(options.token, permissions)])),
            recorded: Mutex::default(),
            violations: Mutex::default(),
            own_faults: Mutex::default(),
            source: Mutex::new(source),
            root: OnceLock::new(),
        });
        let behind = Arc::clone(&shared);
        let server =
            HttpServer::listen(&options.listen, move |asked| server::answer(Arc::clone(&behind), asked));
        shared.root.set(server.url()).expect("set once");
        Self { handle: Handle { shared }, _server: server }
    }

    /// For other tasks.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Ends it, and fails if somebody went against the description. Dropping does the same.
    pub fn finish(self) {
        drop(self);
    }
}

impl Deref for Double {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        lock(&self.shared.knobs).faults.open(None);
        let own = std::mem::take(&mut *lock(&self.shared.own_faults));
        let violations = self.take_violations();
        if !std::thread::panicking() {
            assert!(own.is_empty(), "the GitHub double broke GitHub's description: {own:#?}");
            assert!(violations.is_empty(), "requests broke GitHub's description: {violations:#?}");
        }
    }
}

/// Where it is, and who may come.
impl Handle {
    /// What `GITHUB_API_URL` is to be: no slash at the end.
    pub fn url(&self) -> String {
        self.shared.root.get().cloned().unwrap_or_default()
    }

    /// Makes a token known, or changes what it may do.
    pub fn allow(&self, token: &str, permissions: Permissions) {
        lock(&self.shared.tokens).insert(token.to_owned(), permissions);
    }
}

/// Arranging the repository.
impl Handle {
    /// Makes the repository a public one: whoever gives no token may read.
    pub fn make_public(&self) {
        self.allow("", Permissions { contents: Access::Read, deployments: Access::Read });
    }

    /// A commit that no branch points at yet.
    pub fn commit(&self, message: &str, parents: &[&ObjectId]) -> ObjectId {
        let mut model = lock(&self.shared.model);
        let parents: Vec<ObjectId> = parents.iter().copied().cloned().collect();
        let author =
            Person { name: "octocat".to_owned(), email: "octocat@github.com".to_owned(), ..model.person() };
        model.add_commit(message, &parents, &author)
    }

    /// A commit on top of a branch, which is made if it is not there.
    pub fn commit_on(&self, branch: &str, message: &str) -> ObjectId {
        let name = format!("refs/heads/{branch}");
        let parent = self.read_ref(&name);
        let id = self.commit(message, &parent.iter().collect::<Vec<_>>());
        self.set_ref(&name, &id);
        id
    }

    /// Points a ref (full name) at an object, as a push by hand would.
    pub fn set_ref(&self, name: &str, target: &ObjectId) {
        let mut model = lock(&self.shared.model);
        assert!(model.kind(target).is_some(), "{target} is no object of the double");
        model.write_refs(vec![(name.to_owned(), Some(target.clone()))]);
    }

    /// Deletes a ref (full name).
    pub fn delete_ref(&self, name: &str) {
        lock(&self.shared.model).write_refs(vec![(name.to_owned(), None)]);
    }

    /// An annotated tag and its ref `refs/tags/{name}`; gives the tag object's name.
    pub fn annotated_tag(&self, name: &str, message: &str, target: &ObjectId) -> ObjectId {
        let id = self.loose_tag_object(name, message, target);
        self.set_ref(&format!("refs/tags/{name}"), &id);
        id
    }

    /// An annotated tag object without a ref.
    pub fn loose_tag_object(&self, name: &str, message: &str, target: &ObjectId) -> ObjectId {
        let mut model = lock(&self.shared.model);
        let kind = model.kind(target).expect("an object of the double");
        let tagger = model.person();
        let tag = TagObject::new(name, message, target, kind, &tagger);
        let id = tag.id.clone();
        model.add_tag_object(tag);
        id
    }

    /// A person edits the notes of a release; gives the new ones.
    pub fn edit_notes(&self, tag: &str, edit: impl FnOnce(String) -> String) -> String {
        lock(&self.shared.model).write_releases(|releases| {
            let release = releases.iter_mut().find(|release| release.tag == tag).expect("the release");
            let edited = edit(release.body.take().unwrap_or_default());
            release.body = Some(edited.clone());
            edited
        })
    }

    /// A release that a person published for a tag, marked as a prerelease or not.
    pub fn published_release(&self, tag: &str, prerelease: bool) {
        lock(&self.shared.model).publish_release(tag, prerelease);
    }

    /// A person marks a release as a prerelease, or takes the mark away.
    pub fn mark_prerelease(&self, tag: &str, prerelease: bool) {
        lock(&self.shared.model).write_releases(|releases| {
            let release = releases.iter_mut().find(|release| release.tag == tag).expect("the release");
            release.prerelease = prerelease;
        });
    }

    /// Releases that were published one after another, for tags with these names, in one write.
    pub fn seed_releases(&self, names: impl IntoIterator<Item = String>) {
        let mut model = lock(&self.shared.model);
        for name in names {
            model.publish_release(&name, false);
        }
    }

    /// The repository gets another name; GitHub redirects from the old one.
    pub fn rename(&self, name: &str) {
        let mut model = lock(&self.shared.model);
        let old = std::mem::replace(&mut model.name, name.to_owned());
        model.former_names.push(old);
    }

    /// Lightweight tags with these names, in one write.
    pub fn seed_tags(&self, names: impl IntoIterator<Item = String>, target: &ObjectId) {
        let changes = names.into_iter().map(|name| (format!("refs/tags/{name}"), Some(target.clone())));
        lock(&self.shared.model).write_refs(changes.collect());
    }
}

/// Looking at the repository.
impl Handle {
    /// Where a ref (full name) points.
    pub fn read_ref(&self, name: &str) -> Option<ObjectId> {
        lock(&self.shared.model).refs().get(name).cloned()
    }

    /// Everything that a ref (full name) was ever set to; `None`: it was deleted.
    pub fn moves(&self, name: &str) -> Vec<Option<ObjectId>> {
        let model = lock(&self.shared.model);
        let moves = model.moves.iter().filter(|(moved, _)| moved == name);
        moves.map(|(_, target)| target.clone()).collect()
    }

    /// All refs whose full names start so.
    pub fn refs(&self, prefix: &str) -> Vec<(String, ObjectId)> {
        let model = lock(&self.shared.model);
        let found = model.refs().iter().filter(|(name, _)| name.starts_with(prefix));
        found.map(|(name, id)| (name.clone(), id.clone())).collect()
    }

    /// A tag object.
    pub fn tag_object(&self, id: &ObjectId) -> Option<TagObject> {
        lock(&self.shared.model).tag_objects.get(id).cloned()
    }

    /// How many tag objects there are, with or without refs.
    pub fn tag_objects(&self) -> usize {
        lock(&self.shared.model).tag_objects.len()
    }

    /// A commit.
    pub fn find_commit(&self, id: &ObjectId) -> Option<Commit> {
        lock(&self.shared.model).commits.get(id).cloned()
    }

    /// All releases, drafts included, the oldest first.
    pub fn releases(&self) -> Vec<Release> {
        lock(&self.shared.model).releases().to_vec()
    }

    /// The tag of the release that GitHub would show as Latest.
    pub fn latest_release(&self) -> Option<String> {
        releases::latest(&lock(&self.shared.model)).map(|release| release.tag.clone())
    }

    /// All deployments with their statuses, the oldest first.
    pub fn deployments(&self) -> Vec<Deployment> {
        lock(&self.shared.model).deployments.clone()
    }

    /// Everything as JSON, as GET /_state gives it.
    pub fn state(&self) -> Value {
        server::state(&self.shared)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Recorded> {
        lock(&self.shared.recorded).clone()
    }

    /// How many requests fit a pattern, such as `POST */git/refs`.
    pub fn count(&self, pattern: &str) -> usize {
        let wanted = |request: &&Recorded| fits(pattern, &format!("{} {}", request.method, request.path));
        lock(&self.shared.recorded).iter().filter(wanted).count()
    }

    /// Forgets the requests so far.
    pub fn forget_requests(&self) {
        lock(&self.shared.recorded).clear();
    }

    /// What clients did against the description so far; afterwards it counts no more.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.shared.violations))
    }
}

/// The knobs.
impl Handle {
    /// From now on this happens.
    pub fn inject(&self, fault: Fault) {
        lock(&self.shared.knobs).faults.inject(fault);
    }

    /// Matching requests wait, before they take effect, until the gate lets them through.
    pub fn hold(&self, pattern: &str) -> Gate {
        lock(&self.shared.knobs).faults.hold(pattern)
    }

    /// Lists (matching-refs, tags, releases) show the state of so many writes ago; a GET by name is fresh.
    pub fn lag_lists(&self, writes: usize) {
        lock(&self.shared.model).lag_lists(writes);
    }

    /// No page of any list has more entries than this, whatever `per_page` says.
    pub fn largest_page(&self, entries: usize) {
        lock(&self.shared.knobs).largest_page = entries;
    }

    /// GET matching-refs comes in pages, against the documentation; `None`: in one.
    pub fn page_matching_refs(&self, entries: Option<usize>) {
        lock(&self.shared.knobs).matching_refs_page = entries;
    }

    /// The primary limit: so many requests are left, and in so many seconds there are 1,000 again.
    pub fn limit(&self, remaining: u64, reset_in_seconds: i64) {
        let mut knobs = lock(&self.shared.knobs);
        knobs.limit.remaining = remaining;
        knobs.limit.reset = now() + reset_in_seconds;
    }
}
