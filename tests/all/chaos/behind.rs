//! A project whose servers stand behind chaos proxies, and what must hold of its runs.

use std::collections::BTreeSet;
use std::sync::Mutex;

use autotag_model::git::ObjectId;
use autotag_model::reference::Digest;

use crate::action::release::Project;
use crate::action::workflow::{Finished, Run, Workflow};
use testkit::github::Double;
use testkit::network::chaos::{Chaos, Side};
use testkit::registry::{Auth, Registry};

/// Four cases at a time: most of their time is pauses before another try.
pub fn side_by_side<T: Send>(cases: Vec<T>, one: impl Fn(T) + Sync) {
    let next = Mutex::new(cases.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let case = next.lock().expect("not poisoned").next();
                    let Some(case) = case else { return };
                    one(case);
                }
            });
        }
    });
}

const PASSWORD: &str = "correct horse battery staple";

/// The project, with merges that wait for their release.
pub struct Behind {
    pub project: Project,
    pub github: Chaos,
    pub registry: Chaos,
    merges: Vec<Merge>,
    name: String,
}

/// A merge, with its image, which was built elsewhere.
struct Merge {
    commit: ObjectId,
    digest: Digest,
    bump: &'static str,
}

impl Behind {
    /// Nothing breaks yet. The name stands in whatever fails.
    pub fn new(name: String, auth: &Auth) -> Self {
        let (double, real) = (Double::start(), Registry::start(auth));
        let github = Chaos::before(Side::GitHub, double.url().trim_start_matches("http://"));
        let registry = Chaos::before(Side::Registry, real.host());
        let mut workflow =
            Workflow::new(&github.url()).with("image", &format!("{}/org/app", registry.host()));
        if !matches!(auth, Auth::None) {
            workflow = workflow.with("registry-username", "pusher").with("registry-password", PASSWORD);
        }
        let project = Project { github: double, registry: real, workflow };
        Self { project, github, registry, merges: Vec::new(), name }
    }

    /// How a registry may ask who comes: the user is that of every run.
    pub fn logins() -> [Auth; 3] {
        [Auth::None, Auth::basic("pusher", PASSWORD), Auth::token("pusher", PASSWORD)]
    }

    /// One more merge.
    pub fn merge(&mut self, bump: &'static str) {
        let commit = self.project.merge(&format!("merge {}", self.merges.len()));
        let digest = self.project.pushed("org/app", &commit);
        self.merges.push(Merge { commit, digest, bump });
    }

    /// How many merges there are.
    pub fn merges(&self) -> usize {
        self.merges.len()
    }

    /// A merge's commit and image, counted from the oldest.
    pub fn merged(&self, place: usize) -> (&ObjectId, &Digest) {
        let Merge { commit, digest, .. } = &self.merges[place];
        (commit, digest)
    }

    /// A run for a merge, counted from the oldest.
    pub fn run(&self, place: usize) -> Run {
        let Merge { commit, digest, bump } = &self.merges[place];
        let run = self.project.workflow.push(commit).without_docker();
        run.with("image-digest", digest.as_str()).with("bump", bump)
    }

    /// No more faults: every merge is run again, in their order, and then all must be whole.
    #[track_caller]
    pub fn converge(&self) {
        self.github.calm();
        self.registry.calm();
        self.project.github.lag_lists(0);
        for place in 0..self.merges() {
            let run = self.run(place).finish();
            assert_eq!(run.code, Some(0), "{}: without faults: {run}", self.name);
            self.must_be_true(place, &run);
        }
        self.must_be_whole();
    }

    /// A run may fail, in one of the ways that are documented; what it says is so.
    #[track_caller]
    pub fn must_be_true(&self, place: usize, run: &Finished) {
        let name = &self.name;
        match run.code {
            Some(0) => {}
            // Refused, not reachable, a conflict: what a broken network can look like.
            Some(3 | 4 | 6) => {
                assert_eq!(run.output("outcome"), "failed", "{name}: {run}");
                assert_eq!(run.annotations("error").len(), 1, "{name}: {run}");
                return;
            }
            // Killed.
            None => return,
            Some(_) => panic!("{name}: {run}"),
        }
        let Merge { commit, digest, .. } = &self.merges[place];
        let Project { github, registry, .. } = &self.project;
        let claims = self.project.claims();
        match run.output("outcome") {
            "released" | "resumed" => {
                let (version, tag) = (run.output("version"), run.output("tag"));
                let claim = claims.iter().find(|claim| claim.commit == *commit);
                let claim = claim.unwrap_or_else(|| panic!("{name}: it claimed nothing: {run}"));
                assert_eq!(claim.version.to_string(), version, "{name}: {run}");
                assert_eq!(run.output("digest"), digest.as_str(), "{name}: {run}");
                assert_eq!(registry.digest("org/app", version).as_ref(), Some(digest), "{name}: {run}");
                let object =
                    github.read_ref(&format!("refs/tags/{tag}")).and_then(|id| github.tag_object(&id));
                assert_eq!(object.map(|it| it.target).as_ref(), Some(commit), "{name}: {run}");
                let released = github.releases().into_iter().filter(|release| release.tag == tag).count();
                assert_eq!(released, 1, "{name}: releases of {tag}: {run}");
            }
            "superseded" => {
                let newer = claims.iter().any(|claim| self.place_of(&claim.commit) > place);
                assert!(newer, "{name}: superseded by nothing: {run}");
            }
            other => panic!("{name}: {other}: {run}"),
        }
    }

    fn place_of(&self, commit: &ObjectId) -> usize {
        self.merges.iter().position(|merge| merge.commit == *commit).expect("one of the merges")
    }

    /// As if nothing had ever gone wrong.
    #[track_caller]
    fn must_be_whole(&self) {
        let name = &self.name;
        let Project { github, registry, .. } = &self.project;
        self.project.assert_consistent();
        let claims = self.project.claims();
        // Newest claim first, so commits fall where versions do; each commit has one.
        let places: Vec<usize> = claims.iter().map(|claim| self.place_of(&claim.commit)).collect();
        assert!(places.is_sorted_by(|a, b| a > b), "{name}: versions rise along commit order: {places:?}");
        assert_eq!(places.first(), Some(&(self.merges() - 1)), "{name}: the newest is released");
        let versions: BTreeSet<String> = claims.iter().map(|claim| claim.version.to_string()).collect();
        for version in &versions {
            let history = registry.history("org/app", version);
            assert_eq!(history.len(), 1, "{name}: the image {version} has been {history:?}");
            let moves = github.moves(&format!("refs/tags/v{version}"));
            assert_eq!(moves.len(), 1, "{name}: the tag v{version} has been {moves:?}");
            let released = github.releases().iter().any(|release| release.tag == format!("v{version}"));
            assert!(released, "{name}: v{version} has no release");
        }
        // Nothing but what is claimed was ever tagged.
        let ours = |tag: &String| versions.contains(tag) || tag == "latest" || tag.starts_with("ci-");
        let tags = registry.tags("org/app");
        assert!(tags.iter().all(ours), "{name}: {tags:?}");
        assert_eq!(github.refs("refs/tags/").len(), versions.len(), "{name}");
        for chaos in [&self.github, &self.registry] {
            let seen = chaos.seen_elsewhere();
            assert!(seen.iter().all(|(_, login)| !login), "{name}: a login left its host: {seen:?}");
        }
    }
}
