//! Some merges, whose runs meet faults and kills; and what must hold during and after.

use std::collections::BTreeSet;

use autotag_deploy::image::reference::Digest;
use autotag_deploy::version::git::ObjectId;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::action::{Finished, Run, Running, Workflow};
use crate::release::Project;
use crate::support::chaos::{Chaos, Dice, Side};
use crate::support::clock::look_again;
use crate::support::github::Double;
use crate::support::registry::{Auth, Registry};
use crate::support::torture::tally;

const PASSWORD: &str = "correct horse battery staple";

/// What a round does to its runs.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// So many faults at most on each side, for each run.
    pub faults: u32,
    /// Of so many runs, one is killed; 0: none.
    pub kill_one_in: u32,
}

/// A project behind two chaos proxies, with merges that wait for their release.
pub struct Round {
    seed: u64,
    random: StdRng,
    project: Project,
    github: Chaos,
    registry: Chaos,
    /// The oldest first; each with its image, built elsewhere, and what it asks to raise.
    merges: Vec<(ObjectId, Digest, &'static str)>,
}

impl Round {
    /// All of it follows from the seed, but for the order in which the requests of runs at the same time come.
    pub fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let auth = match random.random_range(0..3) {
            0 => Auth::None,
            1 => Auth::basic("pusher", PASSWORD),
            _ => Auth::token("pusher", PASSWORD),
        };
        let (double, real) = (Double::start(), Registry::start(&auth));
        let github = Chaos::before(Side::GitHub, double.url().trim_start_matches("http://"));
        let registry = Chaos::before(Side::Registry, real.host());
        let mut workflow =
            Workflow::new(&github.url()).with("image", &format!("{}/org/app", registry.host()));
        if !matches!(auth, Auth::None) {
            workflow = workflow.with("registry-username", "pusher").with("registry-password", PASSWORD);
        }
        let project = Project { github: double, registry: real, workflow };
        let merges = (0..random.random_range(2..5)).map(|number| {
            let commit = project.merge(&format!("merge {number}"));
            let digest = project.pushed("org/app", &commit);
            (commit, digest, ["patch", "patch", "minor", "major"][random.random_range(0..4)])
        });
        let merges = merges.collect();
        Self { seed, random, project, github, registry, merges }
    }

    /// From the first merge to the last check.
    pub fn play(mut self, plan: Plan) {
        self.under_faults(plan);
        self.github.calm();
        self.registry.calm();
        for place in 0..self.merges.len() {
            let run = self.run(place).finish();
            tally("runs", 1);
            self.must_be_true(place, &run);
            assert_eq!(run.code, Some(0), "seed {}: without faults: {run}", self.seed);
        }
        self.must_be_whole();
    }

    /// Each merge's run once, some twice, in any order, up to three at the same time.
    fn under_faults(&mut self, plan: Plan) {
        let mut order: Vec<usize> = (0..self.merges.len()).collect();
        order.extend_from_within(..self.random.random_range(0..self.merges.len()));
        order.shuffle(&mut self.random);
        while !order.is_empty() {
            let wave: Vec<usize> = order.drain(..self.random.random_range(1..=order.len().min(3))).collect();
            let most = plan.faults * u32::try_from(wave.len()).expect("small");
            for chaos in [&self.github, &self.registry] {
                chaos.throw(Dice::new(self.random.random(), most));
            }
            let running: Vec<(usize, Running)> =
                wave.into_iter().map(|place| (place, self.run(place).start())).collect();
            for (place, running) in running {
                let run = if plan.kill_one_in > 0 && self.random.random_ratio(1, plan.kill_one_in) {
                    self.kill(running)
                } else {
                    running.finish()
                };
                tally("runs", 1);
                println!(
                    "seed {}: merge {place} ended with {:?} {}",
                    self.seed,
                    run.code,
                    run.output("outcome")
                );
                self.must_be_true(place, &run);
            }
            for (harm, request) in [&self.github, &self.registry].into_iter().flat_map(Chaos::take_struck) {
                println!("seed {}: {} at {request}", self.seed, harm.name());
            }
        }
    }

    fn run(&self, place: usize) -> Run {
        let (commit, digest, bump) = &self.merges[place];
        let run = self.project.workflow.push(commit).without_docker();
        run.with("image-digest", digest.as_str()).with("bump", bump)
    }

    /// SIGKILL after some more requests of anybody's, if it still runs then.
    fn kill(&mut self, mut running: Running) -> Finished {
        let seen = [self.github.seen(), self.registry.seen()];
        let requests = || seen.iter().map(|seen| *seen.borrow()).sum::<usize>();
        let enough = requests() + self.random.random_range(0..28);
        while requests() < enough && !running.has_ended() {
            look_again();
        }
        let run = running.kill();
        tally("kills: action", u64::from(run.code.is_none()));
        println!("seed {}: killed after {} requests: {:?}", self.seed, requests(), run.code);
        run
    }

    /// A run may fail, in one of the ways that are documented; what it says is so.
    #[track_caller]
    fn must_be_true(&self, place: usize, run: &Finished) {
        let Project { github, registry, .. } = &self.project;
        let (commit, digest, _) = &self.merges[place];
        let seed = self.seed;
        match run.code {
            Some(0) => {}
            // Refused, not reachable, a conflict: what a broken network can look like.
            Some(3 | 4 | 6) => {
                assert_eq!(run.output("outcome"), "failed", "seed {seed}: {run}");
                assert_eq!(run.annotations("error").len(), 1, "seed {seed}: {run}");
                return;
            }
            None => return,
            Some(_) => panic!("seed {seed}: {run}"),
        }
        let claims = self.project.claims();
        match run.output("outcome") {
            "released" | "resumed" => {
                let (version, tag) = (run.output("version"), run.output("tag"));
                let claim = claims.iter().find(|claim| claim.commit == *commit);
                let claim = claim.unwrap_or_else(|| panic!("seed {seed}: it claimed nothing: {run}"));
                assert_eq!(claim.version.to_string(), version, "seed {seed}: {run}");
                assert_eq!(run.output("digest"), digest.as_str(), "seed {seed}: {run}");
                assert_eq!(registry.digest("org/app", version).as_ref(), Some(digest), "seed {seed}: {run}");
                let object =
                    github.read_ref(&format!("refs/tags/{tag}")).and_then(|id| github.tag_object(&id));
                assert_eq!(object.map(|it| it.target).as_ref(), Some(commit), "seed {seed}: {run}");
                let released = github.releases().into_iter().filter(|release| release.tag == tag).count();
                assert_eq!(released, 1, "seed {seed}: releases of {tag}: {run}");
            }
            "superseded" => {
                let newer = |commit| self.place_of(commit) > place;
                assert!(claims.iter().any(|claim| newer(&claim.commit)), "seed {seed}: by nothing: {run}");
            }
            other => panic!("seed {seed}: {other}: {run}"),
        }
    }

    fn place_of(&self, commit: &ObjectId) -> usize {
        self.merges.iter().position(|(merge, ..)| merge == commit).expect("one of the merges")
    }

    /// When all is over: as if nothing had ever gone wrong.
    #[track_caller]
    fn must_be_whole(&self) {
        let Project { github, registry, .. } = &self.project;
        let seed = self.seed;
        self.project.assert_consistent();
        let claims = self.project.claims();
        // Newest claim first, so commits fall where versions do; each commit has one.
        let places: Vec<usize> = claims.iter().map(|claim| self.place_of(&claim.commit)).collect();
        assert!(
            places.is_sorted_by(|a, b| a > b),
            "seed {seed}: versions rise along commit order: {places:?}"
        );
        assert_eq!(places.first(), Some(&(self.merges.len() - 1)), "seed {seed}: the newest is released");
        let versions: BTreeSet<String> = claims.iter().map(|claim| claim.version.to_string()).collect();
        for version in &versions {
            let history = registry.history("org/app", version);
            assert_eq!(history.len(), 1, "seed {seed}: the image {version} has been {history:?}");
            let moves = github.moves(&format!("refs/tags/v{version}"));
            assert_eq!(moves.len(), 1, "seed {seed}: the tag v{version} has been {moves:?}");
            assert!(
                github.releases().iter().any(|release| release.tag == format!("v{version}")),
                "seed {seed}"
            );
        }
        // Nothing but what is claimed was ever tagged.
        let ours = |tag: &String| versions.contains(tag) || tag == "latest" || tag.starts_with("ci-");
        let tags = registry.tags("org/app");
        assert!(tags.iter().all(ours), "seed {seed}: {tags:?}");
        assert_eq!(github.refs("refs/tags/").len(), versions.len(), "seed {seed}");
        for chaos in [&self.github, &self.registry] {
            let seen = chaos.seen_elsewhere();
            assert!(seen.iter().all(|(_, login)| !login), "seed {seed}: a login left its host: {seen:?}");
        }
    }
}
