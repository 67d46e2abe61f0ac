//! GitHub in memory: commits, refs, tag objects, releases, deployments, as far as a release uses them.
//!
//! `contract` holds it, the double over HTTP, and the description of GitHub's API together.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_deploy::ports::{
    Ancestry, Commit, DeploymentState, DeploymentStatus, GitRef, NewDeployment, NewRelease, RefUpdate,
    RefsAnswer, Release, ReleaseEdit, TagObject,
};
use autotag_model::git::{ObjectId, RefName};
use autotag_model::reference::Digest;

use super::listing::Listing;

/// A commit's message and parents.
#[derive(Debug, Clone, Hash)]
struct CommitNode {
    message: String,
    parents: Vec<ObjectId>,
}

/// A release, and whether it was said of it that it is not the latest.
#[derive(Debug, Clone)]
struct CommitPage {
    release: Release,
    never_latest: bool,
}

/// A deployment that was recorded.
#[derive(Debug, Clone)]
pub struct DeploymentRecord {
    pub commit: ObjectId,
    /// Which call made it.
    pub maker: String,
    /// What its page shows.
    pub state: Option<DeploymentState>,
}

/// The repository.
#[derive(Debug, Clone, Default)]
pub struct GitHub {
    commits: Rc<BTreeMap<ObjectId, CommitNode>>,
    main: Option<ObjectId>,
    refs: BTreeMap<String, ObjectId>,
    objects: BTreeMap<ObjectId, Rc<TagObject>>,
    pages: Vec<CommitPage>,
    marked_latest: Option<u64>,
    deployments: BTreeMap<u64, DeploymentRecord>,
    tag_lists: Listing<String>,
    /// What nobody may ever do.
    pub violations: Vec<String>,
}

/// The name of an object with this content.
fn object_id(content: &str) -> ObjectId {
    let digest = Digest::of(content.as_bytes());
    digest.as_str()["sha256:".len()..][..40].parse().expect("40 digits")
}

impl GitHub {
    /// A commit; the branch stays where it is.
    pub fn commit_with(&mut self, message: &str, parents: &[ObjectId]) -> ObjectId {
        let id = object_id(&format!("commit {message} {parents:?}"));
        Rc::make_mut(&mut self.commits)
            .insert(id.clone(), CommitNode { message: message.to_owned(), parents: parents.to_vec() });
        id
    }

    /// A merge to main.
    pub fn merge(&mut self, message: &str) -> ObjectId {
        let parents: Vec<ObjectId> = self.main.clone().into_iter().collect();
        let id = self.commit_with(message, &parents);
        self.main = Some(id.clone());
        id
    }

    /// Where main is.
    pub fn set_main(&mut self, head: &ObjectId) {
        self.main = Some(head.clone());
    }

    fn ancestors(&self, id: &ObjectId) -> BTreeSet<ObjectId> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![id.clone()]);
        while let Some(id) = open.pop() {
            if let Some(node) = self.commits.get(&id)
                && seen.insert(id)
            {
                open.extend(node.parents.iter().cloned());
            }
        }
        seen
    }

    /// Whether one commit contains another, itself included.
    pub fn contains(&self, newer: &ObjectId, older: &ObjectId) -> bool {
        self.ancestors(newer).contains(older)
    }

    fn exists(&self, id: &ObjectId) -> bool {
        self.commits.contains_key(id) || self.objects.contains_key(id)
    }

    /// The commit that an object means.
    pub fn peel<'a>(&'a self, id: &'a ObjectId) -> &'a ObjectId {
        self.objects.get(id).map_or(id, |object| &object.target)
    }

    /// Where a ref points.
    pub fn reference(&self, name: &str) -> Option<&ObjectId> {
        self.refs.get(name)
    }

    /// An annotated tag object.
    pub fn object(&self, id: &ObjectId) -> Option<&TagObject> {
        self.objects.get(id).map(Rc::as_ref)
    }

    /// All releases, the oldest first.
    pub fn releases(&self) -> impl Iterator<Item = &Release> {
        self.pages.iter().map(|page| &page.release)
    }

    /// One deployment, by its number.
    pub fn deployment(&self, id: u64) -> Option<&DeploymentRecord> {
        self.deployments.get(&id)
    }

    /// All deployments, in no order.
    pub fn deployments(&self) -> impl Iterator<Item = &DeploymentRecord> {
        self.deployments.values()
    }

    /// Somebody with the right to it moves, makes or deletes a ref by hand.
    pub fn set_ref(&mut self, name: &str, target: Option<&ObjectId>) {
        match target {
            Some(id) => self.refs.insert(name.to_owned(), id.clone()),
            None => self.refs.remove(name),
        };
        self.tag_lists.is_now(self.refs.keys().filter(|name| name.starts_with("refs/tags/")));
    }

    /// By how many writes the list of tags can lag.
    pub fn longest_tag_lag(&self) -> usize {
        self.tag_lists.longest_lag()
    }

    /// Long after the last write.
    pub fn settle(&mut self) {
        self.tag_lists.forget_the_past();
    }

    /// Everything that decides how things go on; numbers that only name something are left out.
    pub fn fingerprint(&self, lists_lag: bool) -> String {
        let pages: BTreeSet<_> = self
            .pages
            .iter()
            .map(|page| {
                let marked = self.marked_latest == Some(page.release.id);
                (&page.release.tag, &page.release.body, page.release.draft, page.never_latest, marked)
            })
            .collect();
        let past = if lists_lag { format!("{:?}", self.tag_lists) } else { String::new() };
        let by = |page: &DeploymentRecord| page.maker.split(' ').next().map(str::to_owned);
        let deployments: BTreeSet<_> =
            self.deployments().map(|page| format!("{:?}{:?}", by(page), page.state)).collect();
        // A tag object that no ref names is known to its maker alone.
        format!("{:?}{pages:?}{deployments:?}{past}", self.refs)
    }

    // What the trait `Forge` asks for, in its order.

    pub fn commit(&self, id: &ObjectId) -> CallResult<Commit> {
        let node = self.commits.get(id).ok_or_else(|| not_found(&format!("reading the commit {id}")))?;
        Ok(Commit { id: id.clone(), message: node.message.clone(), date: "2026-01-01T00:00:00Z".to_owned() })
    }

    pub fn read_ref(&self, name: &RefName) -> Option<GitRef> {
        self.refs.get(name.as_str()).map(|target| self.git_ref(name.as_str(), target))
    }

    fn git_ref(&self, name: &str, target: &ObjectId) -> GitRef {
        GitRef {
            name: name.parse().expect("a ref's name"),
            annotated: self.objects.contains_key(target),
            target: target.clone(),
        }
    }

    /// The tags of this prefix as they were so many writes ago.
    pub fn list_tags(&self, prefix: &str, lag: usize) -> Vec<GitRef> {
        let start = format!("refs/tags/{prefix}");
        let names = self.tag_lists.as_of(lag);
        let listed = names.iter().filter(|name| name.starts_with(&start));
        // A tag that is listed and gone by now is passed over, as one that was never there.
        listed.filter_map(|name| Some(self.git_ref(name, self.refs.get(name)?))).collect()
    }

    pub fn tag_object(&self, id: &ObjectId) -> Option<TagObject> {
        self.objects.get(id).map(|object| TagObject::clone(object))
    }

    pub fn compare(&self, base: &ObjectId, head: &ObjectId) -> Ancestry {
        match (self.contains(head, base), self.contains(base, head)) {
            (true, true) => Ancestry::Identical,
            (true, false) => Ancestry::Ahead,
            (false, true) => Ancestry::Behind,
            (false, false) => Ancestry::Diverged,
        }
    }

    pub fn messages_between(&self, base: &ObjectId, head: &ObjectId) -> Vec<String> {
        let old = self.ancestors(base);
        self.ancestors(head).difference(&old).map(|id| self.commits[id].message.clone()).collect()
    }

    /// `maker` tells apart what two runs make of the same text, as the tagger's date does at GitHub.
    pub fn create_tag_object(
        &mut self,
        tag: &str,
        message: &str,
        commit: &ObjectId,
        maker: &str,
    ) -> CallResult<ObjectId> {
        if !self.commits.contains_key(commit) {
            let doing = format!("making the tag object of {tag}");
            return Err(CallError::new(CallErrorKind::Rejected, doing, "the object does not exist"));
        }
        let id = object_id(&format!("tag {tag} {message} {commit} {maker}"));
        let object = TagObject {
            id: id.clone(),
            tag: tag.to_owned(),
            message: message.to_owned(),
            target: commit.clone(),
            targets_commit: true,
        };
        self.objects.insert(id.clone(), Rc::new(object));
        Ok(id)
    }

    /// All or none.
    pub fn update_refs(&mut self, updates: &[RefUpdate]) -> RefsAnswer {
        let zero = ObjectId::zero();
        for RefUpdate { name, before, after } in updates {
            let found = self.refs.get(name.as_str()).unwrap_or(&zero);
            if found != before {
                return RefsAnswer::Refused(format!(
                    "Reference '{name}' could not be updated: it is at {found}"
                ));
            }
            if !self.exists(after) {
                return RefsAnswer::Refused(format!("Reference '{name}': object {after} does not exist"));
            }
        }
        for RefUpdate { name, before, after } in updates {
            if name.as_str().starts_with("refs/tags/") && *before != zero {
                self.violations.push(format!("1 (unique): the Git tag {name} was moved"));
            }
            self.set_ref(name.as_str(), Some(after));
        }
        RefsAnswer::Applied
    }

    pub fn generate_notes(&self, tag: &str, previous: Option<&str>) -> CallResult<String> {
        if let Some(previous) = previous
            && !self.refs.contains_key(&format!("refs/tags/{previous}"))
        {
            let doing = format!("generating the notes of {tag}");
            return Err(CallError::new(CallErrorKind::Rejected, doing, "previous_tag_name: invalid"));
        }
        Ok(format!("What changed in {tag} since {}", previous.unwrap_or("the beginning")))
    }

    pub fn release_of(&self, tag: &str) -> Option<Release> {
        self.releases().find(|release| release.tag == tag && !release.draft).cloned()
    }

    /// The first draft for a tag.
    pub fn draft_of(&self, tag: &str) -> Option<Release> {
        self.releases().find(|release| release.tag == tag && release.draft).cloned()
    }

    pub fn shown_as_latest(&self) -> Option<String> {
        let public = || self.pages.iter().filter(|page| !page.release.draft && !page.release.prerelease);
        let marked = public().find(|page| Some(page.release.id) == self.marked_latest);
        // Without a mark GitHub goes by dates; who relies on that relies on a clock.
        let shown = marked.or_else(|| public().rfind(|page| !page.never_latest));
        shown.map(|page| page.release.tag.clone())
    }

    pub fn create_release(&mut self, new: &NewRelease) -> CallResult<Release> {
        let refused = |why: &str| {
            Err(CallError::new(CallErrorKind::Rejected, format!("creating the release {}", new.tag), why))
        };
        if !new.draft && self.releases().any(|other| other.tag == new.tag && !other.draft) {
            return refused("already_exists");
        }
        let name = format!("refs/tags/{}", new.tag);
        if !new.draft && !self.refs.contains_key(&name) {
            // GitHub makes the tag itself, at the head of the default branch: nobody should rely on that.
            let Some(main) = self.main.clone() else { return refused("target_commitish: invalid") };
            self.violations.push(format!("1 (unique): GitHub had to make the tag {}", new.tag));
            self.set_ref(&name, Some(&main));
        }
        let id = 1 + u64::try_from(self.pages.len()).expect("a few");
        let release = Release {
            id,
            tag: new.tag.clone(),
            name: new.name.clone(),
            body: new.body.clone(),
            draft: new.draft,
            prerelease: false,
            html_url: format!("https://github.com/org/app/releases/tag/{}", new.tag),
        };
        self.pages.push(CommitPage { release: release.clone(), never_latest: !new.make_latest });
        if new.make_latest && !new.draft {
            self.marked_latest = Some(id);
        }
        Ok(release)
    }

    pub fn edit_release(&mut self, id: u64, edit: &ReleaseEdit) -> CallResult<Release> {
        let Some(page) = self.pages.iter_mut().find(|page| page.release.id == id) else {
            return Err(not_found(&format!("editing the release with the id {id}")));
        };
        if let Some(body) = &edit.body {
            page.release.body.clone_from(body);
        }
        // Without a word GitHub takes an edited release for the latest one.
        page.never_latest = edit.make_latest == Some(false);
        let public = !page.release.draft && !page.release.prerelease;
        let release = page.release.clone();
        if edit.make_latest != Some(false) && public {
            self.marked_latest = Some(id);
        } else if self.marked_latest == Some(id) {
            self.marked_latest = None;
        }
        Ok(release)
    }

    /// Its number says who made it: numbers one after another would tell a run how many others there are.
    pub fn create_deployment(&mut self, new: &NewDeployment, maker: &str) -> CallResult<u64> {
        if !self.commits.contains_key(&new.commit) {
            return Err(CallError::new(CallErrorKind::Rejected, "recording the deployment", "no such ref"));
        }
        let digest = Digest::of(format!("{} {} {maker}", new.commit, new.environment).as_bytes());
        let id = u64::from_str_radix(digest.short(), 16).expect("12 digits");
        let deployment =
            DeploymentRecord { commit: new.commit.clone(), maker: maker.to_owned(), state: None };
        self.deployments.insert(id, deployment);
        Ok(id)
    }

    pub fn add_deployment_status(&mut self, id: u64, status: &DeploymentStatus) -> CallResult<()> {
        match self.deployments.get_mut(&id) {
            Some(deployment) => {
                deployment.state = Some(status.state);
                Ok(())
            }
            None => Err(not_found(&format!("recording the result of the deployment {id}"))),
        }
    }
}

/// GitHub says the same of what the token may not see.
fn not_found(doing: &str) -> CallError {
    CallError::new(CallErrorKind::Denied, doing, "404 Not Found")
}
