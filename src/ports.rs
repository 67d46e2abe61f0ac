//! What a release needs of the outside, as traits: GitHub, the registry, Docker, the servers. Everything else in the crate decides,
//! and speaks to the outside through these alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::ssh_keys::known_hosts::KnownHosts;
use crate::ssh_keys::private_key::PrivateKey;
use autotag_base::CallResult;
use autotag_build_context::workspace::Workspace;
use autotag_model::git::{ObjectId, RefName};
use autotag_model::reference::ImageName;
use autotag_model::reference::{Digest, ImageTag};
use autotag_model::secret::{Credentials, Secret};

/// What a ref points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitRef {
    /// The full name.
    pub name: RefName,
    /// The object; for an annotated tag this is the tag object, not its commit.
    pub target: ObjectId,
    /// Whether the object is an annotated tag.
    pub annotated: bool,
}

/// An annotated tag object (GET /git/tags/{sha}).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagObject {
    /// Its own name.
    pub id: ObjectId,
    /// The tag's name as written into the object.
    pub tag: String,
    /// The message, which for a claim holds the claim.
    pub message: String,
    /// What it tags.
    pub target: ObjectId,
    /// Whether that is a commit (a tag can tag a tag, a tree or a blob).
    pub targets_commit: bool,
}

/// How a commit relates to another, said of the head; in the words of GET /compare/{base}...{head}.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum Ancestry {
    /// The head has everything of the base, and more: it is newer.
    Ahead,
    /// The base has everything of the head, and more: the head is older.
    Behind,
    /// One commit.
    Identical,
    /// Each has commits that the other lacks.
    Diverged,
}

/// A commit, as far as a release needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its name.
    pub id: ObjectId,
    /// The whole message.
    pub message: String,
    /// The committer's date, RFC 3339 in UTC: the image's `created`, so that a rebuild has the same.
    pub date: String,
}

/// The repository's facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// GraphQL's node id.
    pub node_id: String,
    /// The branch that merges go to.
    pub default_branch: String,
    /// Its page.
    pub html_url: String,
}

/// One line of `updateRefs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Which ref.
    pub name: RefName,
    /// What it must be at; [`ObjectId::zero`]: it must not exist.
    pub before: ObjectId,
    /// What it becomes.
    pub after: ObjectId,
}

/// GitHub's answer to `updateRefs`, as far as somebody branches on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefsAnswer {
    /// All refs moved.
    Applied,
    /// None moved; GitHub's words.
    Refused(String),
}

/// A release, as GitHub has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its number.
    pub id: u64,
    /// The tag it belongs to.
    pub tag: String,
    /// The title.
    pub name: String,
    /// The notes, Markdown.
    pub body: String,
    /// Not published yet.
    pub draft: bool,
    /// Marked as a prerelease.
    pub prerelease: bool,
    /// Its page.
    pub html_url: String,
}

/// What a new release says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRelease {
    /// The tag, which exists.
    pub tag: String,
    /// The title.
    pub name: String,
    /// The notes, Markdown.
    pub body: String,
    /// Keep it unpublished.
    pub draft: bool,
    /// Let GitHub show it as Latest at once.
    pub make_latest: bool,
}

/// Changes to a release; `None` leaves a field alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseEdit {
    /// New notes.
    pub body: Option<String>,
    /// `Some(true)`: GitHub shows this one as Latest.
    pub make_latest: Option<bool>,
}

/// A deployment to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeployment {
    /// The commit.
    pub commit: ObjectId,
    /// Where to.
    pub environment: String,
    /// In words; cut at GitHub's 140 characters.
    pub description: String,
}

/// What becomes of a recorded deployment, in GitHub's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DeploymentState {
    /// It is under way.
    InProgress,
    /// It serves.
    Success,
    /// It does not.
    Failure,
    /// Nobody knows.
    Error,
    /// Something newer serves.
    Inactive,
}

/// One status of a recorded deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// What became of it.
    pub state: DeploymentState,
    /// In words; cut at GitHub's 140 characters.
    pub description: String,
    /// The log's address.
    pub log_url: Option<String>,
    /// Where what is deployed can be seen.
    pub environment_url: Option<String>,
}

/// GitHub, as far as a release needs it. A call that lists gives everything or an error.
#[expect(async_fn_in_trait, reason = "never spawned: the pipeline awaits in one task")]
pub trait Forge {
    /// GET /repos/{owner}/{repo}.
    async fn repository(&self) -> CallResult<Repository>;
    /// GET /commits/{sha}.
    async fn commit(&self, id: &ObjectId) -> CallResult<Commit>;
    /// GET /git/ref/{ref}; `None` where there is no such ref.
    async fn read_ref(&self, name: &RefName) -> CallResult<Option<GitRef>>;
    /// GET /git/matching-refs/tags/{prefix}: every tag whose name starts with the prefix.
    async fn list_tags(&self, prefix: &str) -> CallResult<Vec<GitRef>>;
    /// GET /git/tags/{sha}; `None` where the object is gone.
    async fn tag_object(&self, id: &ObjectId) -> CallResult<Option<TagObject>>;
    /// GET /compare/{base}...{head}, its verdict on the head.
    async fn compare(&self, base: &ObjectId, head: &ObjectId) -> CallResult<Ancestry>;
    /// GET /compare/{base}...{head}: the messages of all commits of the head that the base lacks.
    async fn messages_between(&self, base: &ObjectId, head: &ObjectId) -> CallResult<Vec<String>>;
    /// Whether the token may write, asked before there is anything to write. An error is GitHub's own refusal;
    /// `Ok` says only that nothing speaks against it. Changes nothing.
    async fn may_write(&self, tag: &str, commit: &ObjectId) -> CallResult<()>;
    /// POST /git/tags: makes the object, and no ref. Made twice it is two objects: harmless.
    async fn create_tag_object(&self, tag: &str, message: &str, commit: &ObjectId) -> CallResult<ObjectId>;
    /// GraphQL `updateRefs`: all of them in one step, or none. A lost answer has [`autotag_base::Effect::Unknown`].
    async fn update_refs(&self, updates: &[RefUpdate]) -> CallResult<RefsAnswer>;
    /// POST /releases/generate-notes.
    async fn generate_notes(&self, tag: &str, previous: Option<&str>) -> CallResult<String>;
    /// GET /releases/tags/{tag}: published ones only.
    async fn release_of(&self, tag: &str) -> CallResult<Option<Release>>;
    /// GraphQL `release(tagName:)`, then GET /releases/{id}: the first draft for a tag, which REST finds in lists
    /// alone.
    async fn draft_of(&self, tag: &str) -> CallResult<Option<Release>>;
    /// GET /releases/latest: the tag that GitHub shows as Latest.
    async fn shown_as_latest(&self) -> CallResult<Option<String>>;
    /// POST /releases.
    async fn create_release(&self, release: &NewRelease) -> CallResult<Release>;
    /// PATCH /releases/{id}.
    async fn edit_release(&self, id: u64, edit: &ReleaseEdit) -> CallResult<Release>;
    /// POST /deployments, of exactly this commit and whatever its checks say; gives its number.
    async fn create_deployment(&self, deployment: &NewDeployment) -> CallResult<u64>;
    /// POST /deployments/{id}/statuses.
    async fn add_deployment_status(&self, id: u64, status: &DeploymentStatus) -> CallResult<()>;
}

/// What a registry says when it is asked for its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagListing {
    /// All tags of an existing repository.
    Tags(Vec<String>),
    /// 404 NAME_UNKNOWN: nothing has been pushed yet.
    NoRepository,
    /// 401 or 403 with credentials: either "no such repository" or "not yours", and the registry
    /// does not say which. Good enough to build with; never good enough to claim with.
    Withheld(String),
}

/// A manifest or an index: its bytes are what a digest names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Exactly as the registry sent it.
    pub bytes: Vec<u8>,
    /// Its media type, which a PUT must repeat.
    pub media_type: String,
    /// The digest, computed here from the bytes.
    pub digest: Digest,
}

/// How to name a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ManifestName {
    /// By a tag, which somebody can move.
    Tag(ImageTag),
    /// By its digest.
    Digest(Digest),
}

/// One image repository in an OCI registry (distribution specification 1.1).
#[expect(async_fn_in_trait, reason = "never spawned: the pipeline awaits in one task")]
pub trait Registry {
    /// All tags, `Link` followed to the end.
    async fn list_tags(&self) -> CallResult<TagListing>;
    /// Whether the login may push, asked before there is anything to push: begins an upload and cancels it. An
    /// error is the registry's own refusal; `Ok` says only that nothing speaks against it. Leaves no image
    /// and no tag behind; a registry that cannot cancel an upload lets it expire.
    async fn may_push(&self) -> CallResult<()>;
    /// GET by name; `None` for 404. Bytes that do not fit a named digest are an error.
    async fn manifest(&self, name: &ManifestName) -> CallResult<Option<Manifest>>;
    /// PUT under a tag. Idempotent: the same bytes again change nothing.
    async fn put_manifest(&self, tag: &ImageTag, manifest: &Manifest) -> CallResult<()>;
    /// The labels of the image's configuration (of an index: of its first image).
    async fn labels(&self, manifest: &Manifest) -> CallResult<BTreeMap<String, String>>;
}

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRequest {
    /// What both paths lie below.
    pub workspace: Workspace,
    /// The context's directory.
    pub context: PathBuf,
    /// The Dockerfile: absolute, or relative to the working directory; may lie outside the context.
    pub dockerfile: PathBuf,
    /// The stage to stop at.
    pub target: Option<String>,
    /// `os/arch[/variant]`; `None`: the Engine's own.
    pub platform: Option<String>,
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// The version, by the name of its build argument: for a Dockerfile that asks for it.
    pub version_arg: Option<(String, String)>,
    /// The commit's time, as seconds since 1970: the build argument `SOURCE_DATE_EPOCH`, unless the
    /// Dockerfile has a value of its own for it.
    pub source_date: Option<i64>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// References to take cached layers from; one that is missing is no error.
    pub cache_from: Vec<String>,
    /// Write cache metadata into the image (BuildKit's inline cache).
    pub inline_cache: bool,
    /// Use no cache at all.
    pub no_cache: bool,
    /// Look for newer base images.
    pub pull: bool,
    /// For private base images and cache: registry (as in [`ImageName::registry`]) to credentials.
    pub credentials: BTreeMap<String, Credentials>,
}

impl BuildRequest {
    /// A path as it stands below the workspace, where it does.
    pub fn below_workspace<'a>(&self, path: &'a std::path::Path) -> std::borrow::Cow<'a, std::path::Path> {
        let resolved = std::fs::canonicalize(path).ok();
        let below = resolved.as_deref().and_then(|path| path.strip_prefix(self.workspace.root()).ok());
        below.map_or(path.into(), |below| below.to_owned().into())
    }

    /// The Dockerfile as its repository names it: below the context, where it lies there.
    pub fn file(&self) -> PathBuf {
        self.dockerfile.strip_prefix(&self.context).unwrap_or(&self.dockerfile).components().collect()
    }
}

/// Takes the build's log as it happens.
pub trait BuildLog {
    /// Something happened in the build.
    fn event(&mut self, event: BuildEvent);
}

/// What a build tells. Text in it was written by others and is not to be trusted.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildEvent {
    /// A step began: BuildKit's digest of it, its name (`[2/4] RUN make`).
    StepStarted {
        /// Names the step in later events.
        step: String,
        /// As BuildKit words it.
        name: String,
    },
    /// A step wrote a line.
    Line {
        /// Which step.
        step: String,
        /// Without its line break.
        text: String,
    },
    /// A step ended.
    StepEnded {
        /// Which step.
        step: String,
        /// Seconds it ran.
        seconds: f64,
        /// Taken from the cache.
        cached: bool,
        /// Why it failed, if it did.
        error: Option<String>,
    },
    /// A push sends a layer; told again whenever more of it is sent. The Engine's client says of which layer
    /// by its size alone.
    Sent {
        /// So many bytes of it.
        bytes: u64,
        /// Its size.
        of: u64,
    },
    /// Something about the build or push as a whole.
    Note(String),
}

/// Docker's builder and its push.
#[expect(async_fn_in_trait, reason = "never spawned: the pipeline awaits in one task")]
pub trait Builder {
    /// Builds and gives the image id (a digest). Dropping the future cancels the build.
    async fn build(&self, request: &BuildRequest, log: &mut dyn BuildLog) -> CallResult<Digest>;
    /// Pushes a local image under one tag and gives the manifest's digest.
    async fn push(
        &self,
        image: &Digest,
        name: &ImageName,
        tag: &ImageTag,
        credentials: Option<&Credentials>,
        log: &mut dyn BuildLog,
    ) -> CallResult<Digest>;
}

/// Where, as whom, and by which key.
#[derive(Debug, Clone)]
pub struct SshHost {
    /// A host name or an address.
    pub host: String,
    /// Usually 22.
    pub port: u16,
    /// The app's system user on the server.
    pub user: String,
    /// The private key.
    pub key: PrivateKey,
    /// The only host keys that are accepted.
    pub known_hosts: KnownHosts,
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// For the connection, the key exchange and the login together.
    pub connect: Duration,
    /// Between two lines, or two moments at which the server took some of the input; the receiver sends a
    /// heartbeat at least every ten seconds.
    pub idle: Duration,
    /// For all of it.
    pub whole: Duration,
}

/// The command ended in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard error, its last part where that is long.
    pub stderr: String,
}

/// SSH, as far as a deployment needs it.
#[expect(async_fn_in_trait, reason = "never spawned: the pipeline awaits in one task")]
pub trait RemoteExec {
    /// Runs one command with this standard input, and hands each line of its standard output over as it
    /// comes, without its line break and never longer than `limit` bytes.
    ///
    /// CallError before the command was asked for, and its refusal, have [`autotag_base::Effect::None`]; any later one
    /// has [`autotag_base::Effect::Unknown`], since the command may go on. Dropped, the connection is closed.
    async fn run(
        &self,
        host: &SshHost,
        command: &str,
        input: &Secret,
        limit: usize,
        deadlines: Deadlines,
        line: &mut dyn FnMut(&[u8]),
    ) -> CallResult<Finished>;
}
