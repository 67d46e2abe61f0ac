//! Every interleaving: the invariants of a release, and of what serves, hold however runs meet, fail, or are killed.
//! A violation begins with the number that its invariant has in ARCHITECTURE.md.
//!
//! What is gone through completely here, and what for longer in `scripts/torture`, stands at each test. A
//! violation is shown as a story, with the command that tells it again.

use std::collections::BTreeSet;
use std::rc::Rc;

use testkit::simulation::choice::{Budget, Choice, Limits};
use testkit::simulation::explore::{self, Chance, Explored, SCHEDULE};
use testkit::simulation::registry::Absent;
use testkit::simulation::scenario::{Actor, IMAGE, RunOf, Scenario, run_of};
use testkit::simulation::schedule::{Simulation, Situation};
use testkit::torture::{at_length, rounds, tally, variable};

/// Runs that end with `latest`, and the same with release and deployment.
fn runs(whole: bool, runs: &[(usize, &'static str)]) -> Vec<Actor> {
    let run = |(commit, bump): &(usize, &'static str)| {
        let run = run_of(*commit, bump);
        Actor::Run(if whole { run } else { run.without_release() })
    };
    runs.iter().map(run).collect()
}

/// Two commits that nothing connects but the one before them.
const DIVERGED: &[&[usize]] = &[&[], &[0], &[0]];

fn first_release() -> Vec<RunOf> {
    vec![run_of(0, "patch")]
}

/// All pairs of runs that differ in kind.
fn pairs(whole: bool) -> Vec<Scenario> {
    let two = |name, about, bumps: [(usize, &'static str); 2]| Scenario::of(name, about, runs(whole, &bumps));
    let name = |plain: &'static str, with_all: &'static str| if whole { with_all } else { plain };
    vec![
        two(
            name("minor-patch", "minor-patch-whole"),
            "a minor races the patch of a newer commit",
            [(1, "minor"), (2, "patch")],
        )
        .after(first_release()),
        two(
            name("patch-minor", "patch-minor-whole"),
            "a patch races the minor of a newer commit",
            [(1, "patch"), (2, "minor")],
        )
        .after(first_release()),
        two(name("first", "first-whole"), "the first two releases of all", [(0, "patch"), (1, "patch")]),
        two(
            name("one-commit", "one-commit-whole"),
            "two runs of one commit want different versions",
            [(1, "minor"), (1, "patch")],
        )
        .after(first_release()),
        two(
            name("diverged", "diverged-whole"),
            "two branches, neither of which has the other",
            [(1, "patch"), (2, "minor")],
        )
        .on(DIVERGED)
        .after(first_release()),
        two(
            name("re-run", "re-run-whole"),
            "a released commit runs again while the next is released",
            [(0, "major"), (1, "patch")],
        )
        .after(first_release()),
        Scenario {
            absent: Absent::Withheld,
            ..two(
                name("withheld", "withheld-whole"),
                "the registry hides what does not exist",
                [(0, "patch"), (1, "minor")],
            )
        },
    ]
}

fn two_images() -> Scenario {
    let worker = run_of(1, "patch").of_the_other_image();
    let actors = vec![Actor::Run(run_of(1, "minor")), Actor::Run(worker)];
    Scenario::of("two-images", "two images of one commit join one version", actors).after(first_release())
}

/// Two merges are released already, and a second image of each joins in.
fn images_late() -> Scenario {
    let worker = |commit| Actor::Run(run_of(commit, "patch").of_the_other_image());
    let released = vec![run_of(0, "patch"), run_of(1, "patch"), run_of(2, "patch")];
    Scenario::of("images-late", "a second image of two released commits", vec![worker(1), worker(2)])
        .after(released)
}

fn three_whole() -> Scenario {
    let actors = runs(true, &[(1, "minor"), (2, "patch"), (3, "patch")]);
    Scenario::of("three-whole", "three merges, the oldest one a minor, with release and deployment", actors)
        .after(first_release())
}

/// Three runs of each kind that [`pairs`] has two of.
fn threes() -> Vec<Scenario> {
    /// A branch beside two merges, and one that has neither.
    const APART: &[&[usize]] = &[&[], &[0], &[1], &[0]];
    let three = |name, about, bumps: [(usize, &'static str); 3]| {
        Scenario::of(name, about, runs(false, &bumps)).after(first_release())
    };
    vec![
        three("three", "three merges, the oldest one a minor", [(1, "minor"), (2, "patch"), (3, "patch")]),
        three(
            "three-one-commit",
            "three runs of one commit want different versions",
            [(1, "major"), (1, "minor"), (1, "patch")],
        ),
        three(
            "three-diverged",
            "two merges, and a branch that has neither",
            [(1, "patch"), (2, "minor"), (3, "patch")],
        )
        .on(APART),
        three(
            "three-re-run",
            "a released commit runs again while the next two are released",
            [(0, "major"), (1, "minor"), (2, "patch")],
        ),
    ]
}

fn by_hand() -> [Scenario; 2] {
    let with = |actor| {
        let mut actors = runs(true, &[(1, "patch"), (2, "patch")]);
        actors.push(actor);
        actors
    };
    [
        Scenario::of(
            "tag-by-hand",
            "somebody pushes the tag that two runs are after",
            with(Actor::PushesTag("v0.0.2", 0)),
        )
        .after(first_release()),
        Scenario::of("rolled-back", "somebody rolls back while older and newer runs deploy", {
            let mut actors = runs(true, &[(1, "patch"), (3, "patch")]);
            actors.push(Actor::RollsBack("0.0.1"));
            actors
        })
        .after(vec![
            run_of(0, "patch"),
            RunOf { deploys: false, ..run_of(1, "patch") },
            run_of(2, "patch"),
        ]),
    ]
}

/// What must be found: the verdict sees it, and its story can be told again.
fn tag_moved() -> Scenario {
    let mut actors = runs(false, &[(1, "patch")]);
    actors.push(Actor::MovesTag("v0.0.1", 1));
    Scenario::of("tag-moved", "somebody moves a version's tag", actors).after(first_release())
}

fn eight() -> Scenario {
    const COMMITS: &[&[usize]] = &[&[], &[0], &[1], &[2], &[3], &[2], &[5], &[4]];
    let bumps = ["patch", "minor", "patch", "patch", "major", "patch", "minor", "patch"];
    let actors = bumps.iter().enumerate().map(|(commit, bump)| Actor::Run(run_of(commit, bump))).collect();
    Scenario::of("eight", "eight commits, two of them on a branch of their own", actors).on(COMMITS)
}

fn scenarios() -> Vec<Scenario> {
    let mut all = pairs(false);
    all.extend(pairs(true));
    all.extend(by_hand());
    all.extend(threes());
    all.extend([two_images(), images_late(), three_whole(), eight(), tag_moved()]);
    all
}

fn count(kind: &str, explored: &Explored) {
    tally(&format!("schedules: {kind}"), explored.schedules);
    if explored.situations > 0 {
        tally(&format!("situations: {kind}"), explored.situations);
    }
    for (what, times) in &explored.injected {
        tally(&format!("simulated faults: {what}"), *times);
    }
}

fn gone_through(kind: &str, scenario: &Scenario, limits: Limits) -> Explored {
    let explored = explore::all(scenario, limits);
    println!("{} ({}): {explored}", scenario.name, scenario.about);
    count(kind, &explored);
    explored
}

fn reduced() -> Limits {
    Limits { reduced: true, ..Limits::default() }
}

// invariant commit-order: Whatever the schedule: commit order; broken by: `src/release/claim.rs`: only the tag
//   is created, the head does not move
// invariant unique: Whatever the schedule: a lost race is no conflict; broken by: `src/pipeline/mod.rs`: a tag
//   that is taken ends the run, whoever has claimed since
// invariant latest: Whatever the schedule: `latest`; broken by: `src/release/latest.rs`: it ends after its PUT,
//   without another look
/// Complete: every schedule of two runs up to and with `latest`, calls that nobody can notice at once.
#[test]
fn all_schedules_of_two_runs_up_to_latest() {
    let mut outcomes = BTreeSet::new();
    for scenario in pairs(false) {
        outcomes.extend(gone_through("two runs, all", &scenario, reduced()).outcomes.into_keys());
    }
    // Else it was no race.
    for expected in [
        "released 0.1.0 | released 0.1.1",
        "superseded | released 0.0.2",
        "released 0.1.0 | resumed 0.1.0",
        "resumed 0.0.2 | released 0.0.2",
        "released 0.0.2 | released 0.1.0",
        "released 0.1.1 | released 0.1.0",
    ] {
        assert!(outcomes.contains(expected), "{expected} is missing in {outcomes:#?}");
    }
}

// invariant latest: Whatever the schedule: each image has its own `latest`; broken by: `src/release/latest.rs`:
//   the claims are looked at down to the first published one of the image
// invariant latest: Whatever the schedule: GitHub's Latest; broken by: `src/release/github.rs`: it ends after
//   its PATCH, without another look
// invariant known: Whatever the schedule: GitHub's page shows what became of a deployment; broken by:
//   `src/pipeline/deployment.rs`: the end is not recorded
// invariant commit-order
/// With release and deployment: one preemption here; in `scripts/torture` every schedule.
#[test]
fn schedules_of_two_whole_runs() {
    let limits = Limits { preemptions: (!at_length()).then_some(1), ..reduced() };
    for scenario in pairs(true).into_iter().chain([two_images(), images_late()]) {
        gone_through("two whole runs", &scenario, limits);
    }
}

// invariant latest: Whatever the schedule: GitHub's Latest
// invariant commit-order
/// At most one preemption; in `scripts/torture` three, and two with release and deployment.
#[test]
fn schedules_of_three_runs() {
    let at_most =
        |short, long| Limits { preemptions: Some(if at_length() { long } else { short }), ..reduced() };
    for (scenario, expected) in threes().iter().zip([
        "superseded | superseded | released 0.0.2",
        "released 1.0.0 | resumed 1.0.0 | resumed 1.0.0",
        "superseded | released 0.1.0 | released 0.1.1",
        "resumed 0.0.1 | superseded | released 0.0.2",
    ]) {
        let explored = gone_through("three runs", scenario, at_most(1, 3));
        assert!(explored.outcomes.contains_key(expected), "{expected} is missing: {explored}");
    }
    gone_through("three whole runs", &three_whole(), at_most(1, 2));
}

// invariant simulation: No call of the simulation is two; broken by: `src/release/publish.rs`: nothing is read
//   back
/// Each of these is one step of a schedule: what is folded into another, or taken apart, shows here.
#[test]
fn the_steps_of_a_whole_run_are_these() {
    let steps = explore::steps(&pairs(true)[0], 1);
    println!("the steps of one whole run:\n{steps}");
    insta::assert_snapshot!(steps, @r"
    Read   GET refs/autotag/v/head
    Fixed  GET tag object *
    Fixed  COMPARE *...*
    List   LIST image tags
    List   LIST Git tags v*
    Fixed  GET commit *
    Unseen build 0.0.2
    Write  push sha-*-*
    Fixed  GET manifest *
    Write  PUT manifest sha-*-* = *
    Read   GET manifest 0.0.2
    Unseen POST tag object v0.0.2
    Write  updateRefs refs/autotag/v/head: * to *, refs/tags/v0.0.2: * to *
    Read   GET refs/tags/v0.0.2
    Fixed  GET tag object *
    Read   GET manifest 0.0.2
    Fixed  GET manifest *
    Write  PUT manifest 0.0.2 = *
    Read   GET manifest 0.0.2
    Read   GET manifest latest
    Read   GET refs/autotag/v/head
    Fixed  GET tag object *
    Read   GET manifest 0.0.2
    Fixed  GET tag object *
    Write  PUT manifest latest = *
    Read   GET manifest latest
    Read   GET refs/autotag/v/head
    Fixed  GET tag object *
    Read   GET manifest 0.0.2
    Fixed  GET tag object *
    Read   GET refs/autotag/v/head
    Fixed  GET tag object *
    Read   GET release v0.0.2
    Read   GET draft v0.0.2
    Read   POST notes of v0.0.2
    Write  POST release v0.0.2
    Read   GET releases/latest
    Read   GET refs/autotag/v/head
    Fixed  GET tag object *
    Write  PATCH release 2 make_latest=true
    Read   GET releases/latest
    Read   GET refs/autotag/v/head
    Fixed  GET tag object *
    Unseen POST deployment
    Unseen POST deployment status InProgress
    Write  ssh deploy
    Unseen POST deployment status Success
    ");
}

// invariant no-guess: Whatever fails: no guess; broken by: `src/release/survey.rs`: a list of Git tags that
//   fails is empty; a comparison that fails counts as diverged
// invariant resumable: Whatever fails: a re-run makes the release; broken by: `src/pipeline/publishing.rs`: a
//   resumed run makes none
/// A fault, or a kill, at every single call of two runs, and a re-run. Reads of what never changes and objects
/// that nobody sees yet are calls as well.
#[test]
fn one_fault_or_kill_anywhere_in_two_runs() {
    let preemptions = Some(if at_length() { 2 } else { 1 });
    for budget in [Budget { faults: 1, ..Budget::default() }, Budget { kills: 1, ..Budget::default() }] {
        let limits = Limits { budget, preemptions, ..reduced() };
        for scenario in pairs(false).into_iter().take(2) {
            let explored = gone_through("two runs, one fault", &scenario, limits);
            assert!(explored.injected.values().any(|count| *count > 0), "something was done to them");
        }
    }
    // Both, of whole runs that go one after the other.
    let limits =
        Limits { budget: Budget { faults: 1, kills: 1, stale: 0 }, preemptions: Some(0), ..reduced() };
    gone_through("two whole runs, one fault", &pairs(true)[0], limits);
}

// invariant no-guess
/// Lists that show what was there one to three writes ago.
#[test]
fn lists_that_lag_in_two_runs() {
    let budget = Budget { stale: if at_length() { 2 } else { 1 }, ..Budget::default() };
    let limits = Limits { budget, preemptions: Some(1), ..reduced() };
    for scenario in pairs(false) {
        gone_through("two runs, lagging lists", &scenario, limits);
    }
}

// invariant server-order: Whatever people do: what lies between a rollback and its target stays out; broken by:
//   `crates/receiver/src/policy/admit/mod.rs`: a version is compared with what serves, not with the highest
/// People interfere; nothing is overwritten, and nothing goes back by accident.
#[test]
fn people_interfere() {
    let limits = Limits { preemptions: Some(if at_length() { 2 } else { 1 }), ..reduced() };
    let [tag_by_hand, rolled_back] = by_hand();
    let outcomes = gone_through("people interfere", &tag_by_hand, limits).outcomes;
    for expected in [
        // Too late: the version is claimed, and so is its tag.
        "released 0.0.2, deployed | released 0.0.3, deployed | done",
        // The tag is another commit's: whoever meets it takes the next version.
        "released 0.0.3, deployed | released 0.0.4, deployed | done",
    ] {
        assert!(outcomes.contains_key(expected), "{expected} is missing in {outcomes:#?}");
    }
    let outcomes = gone_through("people interfere", &rolled_back, limits).outcomes;
    // 0.0.2 lies between what was gone back to and what was left: it stays out, whenever it comes. Its job is green
    // where something newer serves by then, and red where what serves is lower.
    let expected = [
        "resumed 0.0.2, a newer one serves | released 0.0.4, deployed | done",
        "resumed 0.0.2, deployment failed | released 0.0.4, deployed | done",
    ];
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), expected);
}

/// What the reduction leaves out makes no difference to what can come of it.
#[test]
fn the_reduction_leaves_out_nothing_that_anybody_can_notice() {
    let scenario = &pairs(false)[0];
    let preemptions = Some(2);
    let all = explore::all(scenario, Limits { preemptions, ..Limits::default() });
    let reduced = explore::all(scenario, Limits { preemptions, ..reduced() });
    let outcomes = |explored: &Explored| explored.outcomes.keys().cloned().collect::<Vec<_>>();
    assert_eq!(outcomes(&all), outcomes(&reduced), "{all}\n{reduced}");
    assert!(all.situations > reduced.situations, "it does leave something out");
}

// invariant latest
/// Up to eight runs, several faults, kills and lagging lists at once, by chance.
#[test]
fn many_runs_and_many_faults_by_chance() {
    let budget = Budget { faults: 4, kills: 3, stale: 4 };
    let scenarios = [eight(), three_whole(), two_images()];
    for scenario in &scenarios {
        let chance = Chance { budget, faults: 15 };
        let explored = explore::by_chance(scenario, chance, rounds("simulation", 24));
        println!("{}: {explored}", scenario.name);
        count("by chance", &explored);
    }
}

/// The command that a violation prints; without one it shows what such a story looks like.
#[test]
fn a_schedule_is_replayed() {
    if let Some(given) = variable(SCHEDULE) {
        println!("{}", follow(&given));
        return;
    }
    let story = follow("minor-patch: 0 1 1 1 1 1 1 1 1 1 1 1 1 1 1 0k");
    println!("{story}");
    for part in
        ["1.1: GET refs/autotag/v/head", "1.1: build 0.0.2", "0 is killed", "Then every job is run again"]
    {
        assert!(story.contains(part), "{part} is missing in:\n{story}");
    }
    assert!(!story.contains("WRONG"), "{story}");
}

/// What is wrong is found, and the command that is printed with it tells the same again.
#[test]
fn a_find_is_replayed_by_the_printed_command() {
    let found = std::panic::catch_unwind(|| explore::all(&tag_moved(), reduced())).expect_err("it is found");
    let found = found.downcast::<String>().expect("a text");
    let wrong = |story: &str| -> Vec<String> {
        story.lines().filter(|line| line.starts_with("WRONG: ")).map(str::to_owned).collect()
    };
    assert!(
        wrong(&found).contains(&"WRONG: 1 (unique): the Git tag refs/tags/v0.0.1 was moved".to_owned()),
        "{found}"
    );
    let (_, command) = found.split_once(&format!("{SCHEDULE}='")).expect("the command");
    let (given, command) = command.split_once('\'').expect("its end");
    assert_eq!(command, " cargo test --test all simulation::a_schedule_is_replayed -- --nocapture");
    assert_eq!(wrong(&follow(given)), wrong(&found));
}

/// Follows `NAME: CHOICES`.
fn follow(text: &str) -> String {
    let (name, path) = text.split_once(':').unwrap_or_else(|| panic!("{SCHEDULE}: expected `NAME: CHOICES`"));
    let path: Vec<Choice> = path
        .split_whitespace()
        .map(|choice| choice.parse().unwrap_or_else(|error| panic!("{error}")))
        .collect();
    let all = scenarios();
    let scenario =
        all.iter().find(|scenario| scenario.name == name).unwrap_or_else(|| panic!("no scenario {name}"));
    explore::replay(scenario, &path)
}

/// Else a schedule in which somebody did what nobody may could be taken for one that is done with.
#[tokio::test(start_paused = true)]
async fn who_has_done_wrong_never_meets_who_has_not() {
    let scenario = &pairs(true)[0];
    let start = scenario.start().await;
    let mut simulation = Simulation::new(&start, scenario.actors.clone(), reduced());
    let innocent = simulation.beginning(&start).await;
    let wrong = || "1 (unique): something was overwritten".to_owned();
    let by: [fn(&mut Situation) -> &mut Vec<String>; 4] = [
        |situation| &mut situation.violations,
        |situation| &mut Rc::make_mut(&mut situation.outside.github).violations,
        |situation| &mut Rc::make_mut(&mut situation.outside.server).violations,
        |situation| &mut situation.outside.repository(IMAGE).violations,
    ];
    for violations in by {
        let mut guilty = innocent.clone();
        violations(&mut guilty).push(wrong());
        assert_ne!(simulation.key(&guilty), simulation.key(&innocent));
        assert_eq!(guilty.all_violations(), [wrong()]);
    }
}

#[test]
fn scenarios_have_names_of_their_own() {
    let all = scenarios();
    let names: BTreeSet<&str> = all.iter().map(|scenario| scenario.name).collect();
    assert_eq!(names.len(), all.len());
}
