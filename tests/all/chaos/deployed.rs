//! Runs that deploy, to one real server by a real sshd: at once, in order, cut off, cancelled.

use autotag_model::git::ObjectId;
use autotag_model::reference::Digest;
use autotag_protocol::End;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::signals::cancelled;
use crate::action::docker_build::becomes;
use crate::action::workflow::{Finished, Running};
use crate::receiver::deployments::end_to_end::Way;
use testkit::network::chaos::relay::Relay;
use testkit::torture::{at_length, rounds, tally};

/// How many merges come together.
const MERGES: usize = 20;

/// The newest commit serves, alone; what was deployed before it rose along the versions, each one once.
#[track_caller]
fn the_newest_serves(way: &Way, newest: &ObjectId) {
    let (status, body) = way.server.get("/");
    assert!(status == 200 && body.starts_with(newest.short()), "{status} {body}, not {newest}");
    assert_eq!(way.server.containers().len(), 1);
    assert_eq!(way.server.status().drift, [""; 0]);
    // The newest first.
    let history = way.server.history();
    assert!(history.iter().all(|entry| entry.end == End::Deployed {}), "{history:#?}");
    let versions: Vec<_> = history.iter().map(|entry| &entry.release.version).collect();
    assert!(versions.is_sorted_by(|a, b| a > b), "versions rise: {versions:?}");
}

// invariant commit-order: Of twenty at once the newest serves; broken by:
//   `crates/receiver/src/policy/admit/mod.rs`: older versions are admitted
/// All twenty are under way at the same time. The oldest are slow: they have claimed, and come to their
/// release and deployment when the newest one serves.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_concurrent_runs_deploy_the_newest() {
    const SLOW: usize = 4;
    let way = Way::open();
    let merges: Vec<_> = (0..MERGES)
        .map(|number| {
            let commit = way.project.merge(&format!("merge {number}"));
            let digest = way.pushed_unversioned(&commit, &[]);
            (commit, digest)
        })
        .collect();
    let start = |(commit, digest): &(ObjectId, Digest)| -> Running {
        way.release(commit, digest, way.sshd.port()).start()
    };
    let gate = way.project.github.hold("POST */releases");
    let mut running = Vec::new();
    for (number, merge) in merges[..SLOW].iter().enumerate() {
        running.push(start(merge));
        gate.arrived(number + 1).await;
    }
    gate.let_later_ones_pass();
    running.extend(merges[SLOW..].iter().map(start));
    becomes("the newest ends", || running[MERGES - 1].has_ended()).await;
    gate.open();
    let ended = tokio::task::spawn_blocking(|| running.into_iter().map(Running::finish).collect());
    let ended: Vec<Finished> = ended.await.expect("all end");
    tally("runs", MERGES as u64);
    for (number, run) in ended.iter().enumerate() {
        assert_eq!(run.code, Some(0), "{run}");
        match run.output("outcome") {
            "superseded" => assert_eq!(run.output("deployed"), "false", "{run}"),
            // A newer one may be live before this one's turn comes.
            "released" => {}
            other => panic!("{other}: {run}"),
        }
        if number < SLOW {
            assert_eq!((run.output("outcome"), run.output("deployed")), ("released", "false"), "{run}");
        }
    }
    let newest = ended.last().expect("twenty runs");
    assert_eq!((newest.output("outcome"), newest.output("deployed")), ("released", "true"), "{newest}");
    let place = |commit| merges.iter().position(|(merge, _)| merge == commit).expect("one of the merges");
    // Newest claim first, so commits fall where versions do.
    let claimed: Vec<usize> = way.project.claims().iter().map(|claim| place(&claim.commit)).collect();
    assert!(claimed.is_sorted_by(|a, b| a > b), "versions rise along commit order: {claimed:?}");
    way.project.assert_consistent();
    let deployed = ended.iter().filter(|run| run.output("deployed") == "true").count();
    assert_eq!(way.server.history().len(), deployed, "each that says so was deployed, and no other");
    the_newest_serves(&way, &merges[MERGES - 1].0);
    println!("released: {}, deployed: {deployed}", claimed.len());
}

/// As `concurrency:` with `queue: max` has it: one after another, in order. At length each of them deploys,
/// else every fourth, since a deployment takes two seconds.
#[test]
fn twenty_queued_runs_deploy_the_newest() {
    let way = Way::open();
    let (mut newest, mut deployed) = (None, 0);
    for number in 1..=MERGES {
        let commit = way.project.merge(&format!("merge {number}"));
        let digest = way.pushed_unversioned(&commit, &[]);
        let deploys = at_length() || number % 4 == 0;
        let run = if deploys {
            way.release(&commit, &digest, way.sshd.port())
        } else {
            way.project.workflow.push(&commit).without_docker().with("image-digest", digest.as_str())
        };
        let run = run.finish().ended("released");
        assert_eq!(run.output("version"), format!("0.0.{number}"));
        assert_eq!(run.output("deployed"), deploys.to_string(), "{run}");
        deployed += usize::from(deploys);
        newest = Some(commit);
    }
    tally("runs", MERGES as u64);
    assert_eq!(way.project.claims().len(), MERGES);
    assert_eq!(way.server.history().len(), deployed);
    way.project.assert_consistent();
    the_newest_serves(&way, &newest.expect("a merge"));
}

// invariant resumable: A canceled deployment is found again; broken by: `src/app.rs`: the stage deploy has the
//   other stages' remedy
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_deployment_continues_for_the_next_run() {
    let way = Way::open();
    for (number, signal) in ["INT", "TERM"].into_iter().enumerate() {
        let commit = way.project.merge("feat: begin");
        // Slow enough to be cancelled in the middle.
        let digest = way.pushed_unversioned(&commit, &[("SLOW_START_MS", "1500")]);
        let running = way.release(&commit, &digest, way.sshd.port()).start();
        becomes("the container has started", || running.log_so_far().contains("health  ")).await;
        let run = cancelled(running, signal, "deploy").await;
        assert!(run.annotations("error")[0].contains("`command: status`"), "{run}");
        assert!(run.annotations("error")[0].contains("release v0."), "what is done is said: {run}");
        let again = way.release(&commit, &digest, way.sshd.port()).start();
        let again = tokio::task::spawn_blocking(move || again.finish()).await.expect("it ends");
        let again = again.ended("resumed");
        assert_eq!(again.output("deployed"), "true", "{again}");
        assert_eq!(way.server.history().len(), number + 1, "SIG{signal}: it was deployed once");
        the_newest_serves(&way, &commit);
    }
}

/// Connections that are cut, reset and half closed at random, and runs that are killed; afterwards each
/// merge is run again, in order, and the newest must serve.
#[test]
fn deployments_over_a_broken_connection_happen_once() {
    for seed in rounds("faults between the action and sshd", 1) {
        let mut random = StdRng::seed_from_u64(seed);
        let way = Way::open();
        let relay = Relay::start(way.sshd.port());
        let merges: Vec<_> = (0..3)
            .map(|number| {
                let commit = way.project.merge(&format!("merge {number}"));
                let digest = way.pushed_unversioned(&commit, &[]);
                (commit, digest)
            })
            .collect();
        for (commit, digest) in &merges {
            let (snap, after) = relay.snap_at_random(&mut random);
            let mut running = way.release(commit, digest, relay.port()).start();
            let run = if random.random_ratio(1, 3) {
                way.server.until("the deployment begins, or the run ends", || {
                    running.log_so_far().contains("create  ") || running.has_ended()
                });
                let run = running.kill();
                tally("kills: action", u64::from(run.code.is_none()));
                run
            } else {
                running.finish()
            };
            tally("runs", 1);
            println!("seed {seed}: {snap:?} after {after} bytes: {:?} {}", run.code, run.output("deployed"));
            // Nothing was broken for good, so the line is taken up again; a reset may look like a refusal.
            assert!(matches!(run.code, Some(0 | 7) | None), "seed {seed}: {run}");
            if run.output("deployed") == "true" {
                assert!(way.server.get("/").1.starts_with(commit.short()), "seed {seed}: it lied: {run}");
            }
            relay.calm();
        }
        for (commit, digest) in &merges {
            let run = way.release(commit, digest, relay.port()).finish();
            assert_eq!(run.code, Some(0), "seed {seed}: {run}");
            tally("runs", 1);
        }
        way.project.assert_consistent();
        the_newest_serves(&way, &merges.last().expect("three merges").0);
    }
}
