//! The four traits of the ports, over the world in memory. Every call is one step: its run waits until
//! the schedule has carried it out, or not.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::rc::Rc;
use std::task::{Poll, Waker};

use autotag_base::{CallError, CallErrorKind, CallResult, Effect};
use autotag_deploy::ports::{
    Ancestry, BuildLog, BuildRequest, Builder, Commit, DeploymentStatus, Forge, GitRef, Manifest,
    ManifestName, NewDeployment, NewRelease, RefUpdate, RefsAnswer, Registry, Release, ReleaseEdit,
    Repository, TagListing, TagObject,
};
use autotag_deploy::ports::{Deadlines, Finished, RemoteExec, SshHost};
use autotag_model::git::{ObjectId, RefName};
use autotag_model::labels;
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_model::secret::{Credentials, Secret};
use autotag_protocol::{Body, Request};

use super::Outside;
use super::kind::{CallKind, ListOf};

/// What came back, or did not: a `CallResult` of the call's own type.
pub struct CallAnswer {
    pub value: Rc<dyn Any>,
    /// In words; with the call's own, all that a run can learn from it.
    pub shown: String,
    pub is_error: bool,
}

/// A call in a world; lists show what was there so many writes ago.
type Happens = dyn Fn(&mut Outside, usize) -> CallAnswer;

/// A call that waits to be let go. It may be carried out in many worlds.
pub struct PendingCall {
    pub what: String,
    pub kind: CallKind,
    effect: Box<Happens>,
    refusal: Box<dyn Fn(CallError) -> CallAnswer>,
}

impl PendingCall {
    /// It happens in this world; a list shows what was there `lag` writes ago.
    pub fn happens(&self, outside: &mut Outside, lag: usize) -> CallAnswer {
        (self.effect)(outside, lag)
    }

    /// What its maker is told where it gets no answer.
    pub fn fails(&self, why: &str, effect: Effect) -> CallAnswer {
        let error = CallError::new(CallErrorKind::Unreachable, self.what.as_str(), why);
        (self.refusal)(if effect == Effect::Unknown { error.perhaps_done() } else { error })
    }
}

fn answer<T: Debug + 'static>(outcome: CallResult<T>) -> CallAnswer {
    CallAnswer { shown: format!("{outcome:?}"), is_error: outcome.is_err(), value: Rc::new(outcome) }
}

/// What one run has been told so far, by the number of its calls, and the first call that waits.
#[derive(Default)]
pub struct Script {
    pub answers: Vec<Rc<dyn Any>>,
    pub waits: Option<(usize, Rc<PendingCall>)>,
    /// Who is to be told that there may be an answer.
    wakers: Vec<Waker>,
    calls: usize,
}

impl Script {
    /// Forgets who waits; they say so again once they are woken.
    pub fn ask_anew(&mut self) -> Vec<Waker> {
        self.waits = None;
        std::mem::take(&mut self.wakers)
    }
}

#[derive(Clone)]
enum Way {
    /// A schedule decides about every call.
    Scheduled(Rc<RefCell<Script>>),
    /// Every call happens at once.
    Straight(Rc<RefCell<Outside>>),
}

/// One run's way to the outside.
#[derive(Clone)]
pub struct SimulatedPorts {
    way: Way,
    /// Tells apart what this run makes from what another makes of the same.
    maker: String,
    calls: Rc<Cell<usize>>,
    image: Option<ImageName>,
}

impl SimulatedPorts {
    /// A schedule decides about every call.
    pub fn scheduled(script: &Rc<RefCell<Script>>, maker: String) -> Self {
        Self { way: Way::Scheduled(Rc::clone(script)), maker, calls: Rc::default(), image: None }
    }

    /// Every call happens at once.
    pub fn straight(outside: &Rc<RefCell<Outside>>) -> Self {
        let way = Way::Straight(Rc::clone(outside));
        Self { way, maker: "somebody".to_owned(), calls: Rc::default(), image: None }
    }

    /// The door to one image's repository.
    #[must_use]
    pub fn to(&self, image: &ImageName) -> Self {
        Self { image: Some(image.clone()), ..self.clone() }
    }

    /// Tells apart what one run makes of the same twice.
    fn mark(&self) -> String {
        format!("{} {}", self.maker, self.calls.get())
    }

    /// One call.
    async fn call<T: Clone + Debug + 'static>(
        &self,
        what: String,
        kind: CallKind,
        effect: impl Fn(&mut Outside, usize) -> CallResult<T> + 'static,
    ) -> CallResult<T> {
        self.calls.set(self.calls.get() + 1);
        match &self.way {
            Way::Straight(outside) => effect(&mut outside.borrow_mut(), 0),
            Way::Scheduled(script) => scheduled(script, what, kind, effect).await,
        }
    }

    fn image(&self) -> String {
        self.image.as_ref().expect("the door to a repository").to_string()
    }
}

async fn scheduled<T: Clone + Debug + 'static>(
    script: &RefCell<Script>,
    what: String,
    kind: CallKind,
    effect: impl Fn(&mut Outside, usize) -> CallResult<T> + 'static,
) -> CallResult<T> {
    let number = {
        let mut script = script.borrow_mut();
        script.calls += 1;
        script.calls - 1
    };
    let call = Rc::new(PendingCall {
        what,
        kind,
        effect: Box::new(move |outside, lag| answer(effect(outside, lag))),
        refusal: Box::new(|error| answer::<T>(Err(error))),
    });
    std::future::poll_fn(|context| {
        let mut script = script.borrow_mut();
        if let Some(reported) = script.answers.get(number) {
            return Poll::Ready(
                reported.downcast_ref::<CallResult<T>>().expect("the answer to this call").clone(),
            );
        }
        // Of calls that are made side by side, the first one goes first.
        if script.waits.as_ref().is_none_or(|(waiting, _)| number < *waiting) {
            script.waits = Some((number, Rc::clone(&call)));
        }
        script.wakers.push(context.waker().clone());
        Poll::Pending
    })
    .await
}

impl Forge for SimulatedPorts {
    async fn repository(&self) -> CallResult<Repository> {
        self.call("GET the repository".to_owned(), CallKind::Fixed, |_, _| {
            Ok(Repository {
                node_id: "R_1".to_owned(),
                default_branch: "main".to_owned(),
                html_url: "https://github.com/org/app".to_owned(),
            })
        })
        .await
    }

    async fn commit(&self, id: &ObjectId) -> CallResult<Commit> {
        let wanted = id.clone();
        self.call(format!("GET commit {}", id.short()), CallKind::Fixed, move |outside, _| {
            outside.github.commit(&wanted)
        })
        .await
    }

    async fn read_ref(&self, name: &RefName) -> CallResult<Option<GitRef>> {
        let wanted = name.clone();
        self.call(format!("GET {name}"), CallKind::Read, move |outside, _| {
            Ok(outside.github.read_ref(&wanted))
        })
        .await
    }

    async fn list_tags(&self, prefix: &str) -> CallResult<Vec<GitRef>> {
        let wanted = prefix.to_owned();
        self.call(format!("LIST Git tags {prefix}*"), CallKind::List(ListOf::GitTags), move |outside, lag| {
            Ok(outside.github.list_tags(&wanted, lag))
        })
        .await
    }

    async fn tag_object(&self, id: &ObjectId) -> CallResult<Option<TagObject>> {
        let wanted = id.clone();
        self.call(format!("GET tag object {}", id.short()), CallKind::Fixed, move |outside, _| {
            Ok(outside.github.tag_object(&wanted))
        })
        .await
    }

    async fn compare(&self, base: &ObjectId, head: &ObjectId) -> CallResult<Ancestry> {
        let (base, head) = (base.clone(), head.clone());
        let what = format!("COMPARE {}...{}", base.short(), head.short());
        self.call(what, CallKind::Fixed, move |outside, _| Ok(outside.github.compare(&base, &head))).await
    }

    async fn messages_between(&self, base: &ObjectId, head: &ObjectId) -> CallResult<Vec<String>> {
        let (base, head) = (base.clone(), head.clone());
        let what = format!("GET messages {}...{}", base.short(), head.short());
        self.call(what, CallKind::Fixed, move |outside, _| Ok(outside.github.messages_between(&base, &head)))
            .await
    }

    /// Nothing depends on it, and it depends on nothing: no step of a schedule.
    async fn may_write(&self, _: &str, _: &ObjectId) -> CallResult<()> {
        Ok(())
    }

    async fn create_tag_object(&self, tag: &str, message: &str, commit: &ObjectId) -> CallResult<ObjectId> {
        let (tag, message, commit) = (tag.to_owned(), message.to_owned(), commit.clone());
        let maker = self.mark();
        self.call(format!("POST tag object {tag}"), CallKind::Unseen, move |outside, _| {
            Rc::make_mut(&mut outside.github).create_tag_object(&tag, &message, &commit, &maker)
        })
        .await
    }

    async fn update_refs(&self, updates: &[RefUpdate]) -> CallResult<RefsAnswer> {
        let updates = updates.to_vec();
        let named: Vec<String> = updates
            .iter()
            .map(|update| format!("{}: {} to {}", update.name, update.before.short(), update.after.short()))
            .collect();
        self.call(format!("updateRefs {}", named.join(", ")), CallKind::Write, move |outside, _| {
            Ok(Rc::make_mut(&mut outside.github).update_refs(&updates))
        })
        .await
    }

    async fn generate_notes(&self, tag: &str, previous: Option<&str>) -> CallResult<String> {
        let (tag, previous) = (tag.to_owned(), previous.map(str::to_owned));
        self.call(format!("POST notes of {tag}"), CallKind::Read, move |outside, _| {
            outside.github.generate_notes(&tag, previous.as_deref())
        })
        .await
    }

    async fn release_of(&self, tag: &str) -> CallResult<Option<Release>> {
        let wanted = tag.to_owned();
        self.call(format!("GET release {tag}"), CallKind::Read, move |outside, _| {
            Ok(outside.github.release_of(&wanted))
        })
        .await
    }

    async fn draft_of(&self, tag: &str) -> CallResult<Option<Release>> {
        let wanted = tag.to_owned();
        self.call(format!("GET draft {tag}"), CallKind::Read, move |outside, _| {
            Ok(outside.github.draft_of(&wanted))
        })
        .await
    }

    async fn shown_as_latest(&self) -> CallResult<Option<String>> {
        self.call("GET releases/latest".to_owned(), CallKind::Read, |outside, _| {
            Ok(outside.github.shown_as_latest())
        })
        .await
    }

    async fn create_release(&self, release: &NewRelease) -> CallResult<Release> {
        let release = release.clone();
        self.call(format!("POST release {}", release.tag), CallKind::Write, move |outside, _| {
            Rc::make_mut(&mut outside.github).create_release(&release)
        })
        .await
    }

    async fn edit_release(&self, id: u64, edit: &ReleaseEdit) -> CallResult<Release> {
        let edit = edit.clone();
        let latest = edit.make_latest.map_or(String::new(), |latest| format!(" make_latest={latest}"));
        self.call(format!("PATCH release {id}{latest}"), CallKind::Write, move |outside, _| {
            Rc::make_mut(&mut outside.github).edit_release(id, &edit)
        })
        .await
    }

    async fn create_deployment(&self, deployment: &NewDeployment) -> CallResult<u64> {
        let (deployment, maker) = (deployment.clone(), self.mark());
        self.call("POST deployment".to_owned(), CallKind::Unseen, move |outside, _| {
            Rc::make_mut(&mut outside.github).create_deployment(&deployment, &maker)
        })
        .await
    }

    async fn add_deployment_status(&self, id: u64, status: &DeploymentStatus) -> CallResult<()> {
        let status = status.clone();
        self.call(
            format!("POST deployment status {:?}", status.state),
            CallKind::Unseen,
            move |outside, _| Rc::make_mut(&mut outside.github).add_deployment_status(id, &status),
        )
        .await
    }
}

impl Registry for SimulatedPorts {
    /// As [`Forge::may_write`].
    async fn may_push(&self) -> CallResult<()> {
        Ok(())
    }

    async fn list_tags(&self) -> CallResult<TagListing> {
        let image = self.image();
        self.call(
            "LIST image tags".to_owned(),
            CallKind::List(ListOf::ImageTags(image.clone())),
            move |outside, lag| Ok(outside.repository(&image).list_tags(lag)),
        )
        .await
    }

    async fn manifest(&self, name: &ManifestName) -> CallResult<Option<Manifest>> {
        let (image, wanted) = (self.image(), name.clone());
        let (what, kind) = match name {
            ManifestName::Tag(tag) => (format!("GET manifest {tag}"), CallKind::Read),
            ManifestName::Digest(digest) => (format!("GET manifest {}", digest.short()), CallKind::Fixed),
        };
        let found =
            self.call(what, kind, move |outside, _| Ok(Named(outside.repository(&image).manifest(&wanted))));
        Ok(found.await?.0)
    }

    async fn put_manifest(&self, tag: &ImageTag, manifest: &Manifest) -> CallResult<()> {
        let (image, wanted, manifest) = (self.image(), tag.clone(), manifest.clone());
        let what = format!("PUT manifest {tag} = {}", manifest.digest.short());
        self.call(what, CallKind::Write, move |outside, _| {
            outside.repository(&image).put_manifest(&wanted, &manifest);
            Ok(())
        })
        .await
    }

    async fn labels(&self, manifest: &Manifest) -> CallResult<BTreeMap<String, String>> {
        let revision = String::from_utf8_lossy(&manifest.bytes).split(' ').next().map(str::to_owned);
        let revision = revision.map(|commit| (labels::REVISION.to_owned(), commit));
        self.call("GET labels".to_owned(), CallKind::Fixed, move |_, _| {
            Ok(revision.clone().into_iter().collect())
        })
        .await
    }
}

impl Builder for SimulatedPorts {
    /// No two builds are the same bytes, which is the harder case.
    async fn build(&self, request: &BuildRequest, _log: &mut dyn BuildLog) -> CallResult<Digest> {
        let label = |name: &str| request.labels.get(name).cloned().unwrap_or_default();
        let (commit, version) = (label(labels::REVISION), label(labels::VERSION));
        let content = format!("{commit} {version} {}", self.mark());
        let what = format!("build {version}");
        self.call(what, CallKind::Unseen, move |outside, _| {
            let image = Digest::of(content.as_bytes());
            Rc::make_mut(&mut outside.built).insert(image.clone(), content.clone().into_bytes());
            Ok(image)
        })
        .await
    }

    async fn push(
        &self,
        image: &Digest,
        name: &ImageName,
        tag: &ImageTag,
        _credentials: Option<&Credentials>,
        _log: &mut dyn BuildLog,
    ) -> CallResult<Digest> {
        let (built, name, wanted) = (image.clone(), name.to_string(), tag.clone());
        self.call(format!("push {tag}"), CallKind::Write, move |outside, _| {
            let bytes = [outside.built[&built].as_slice(), b" manifest"].concat();
            let digest = Digest::of(&bytes);
            let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
            let manifest = Manifest { bytes, media_type, digest: digest.clone() };
            outside.repository(&name).put_manifest(&wanted, &manifest);
            Ok(digest)
        })
        .await
    }
}

impl RemoteExec for SimulatedPorts {
    async fn run(
        &self,
        _host: &SshHost,
        command: &str,
        input: &Secret,
        _limit: usize,
        _deadlines: Deadlines,
        line: &mut dyn FnMut(&[u8]),
    ) -> CallResult<Finished> {
        let text = input.reveal().trim_end().to_owned();
        let mut request = Request::parse(text.as_bytes()).expect("a request by the protocol");
        // Drawn by chance, it would be another one each time that this place is worked out.
        if let Body::Deploy(deploy) = &mut request.body {
            deploy.deployment = format!("run-{}", self.maker.replace('.', "-")).parse().expect("an id");
        }
        let kind = if command == "status" { CallKind::Read } else { CallKind::Write };
        let answers = self
            .call(format!("ssh {command}"), kind, move |outside, _| {
                Ok(Unnamed(Rc::make_mut(&mut outside.server).ask(&request)))
            })
            .await?;
        for answer in &answers.0 {
            let text = answer.to_line().expect("an answer");
            line(text.trim_end().as_bytes());
        }
        Ok(Finished { status: 0, stderr: String::new() })
    }
}

/// A manifest, shown by its digest.
#[derive(Clone)]
struct Named(Option<Manifest>);

impl Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0.as_ref().map(|manifest| manifest.digest.short()))
    }
}

/// Answers, shown without the names of deployments, which are drawn by chance.
#[derive(Clone)]
struct Unnamed(Vec<autotag_protocol::Event>);

impl Debug for Unnamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use autotag_protocol::Event;
        for answer in &self.0 {
            match answer {
                Event::Result(outcome) => write!(
                    f,
                    "{:?}, {:?} runs",
                    outcome.end,
                    outcome.running.as_ref().map(|running| running.version.to_string())
                )?,
                Event::Status(status) => write!(
                    f,
                    "{:?} runs, ",
                    status.running.as_ref().map(|running| running.version.to_string())
                )?,
                other => write!(f, "{other:?}, ")?,
            }
        }
        Ok(())
    }
}
