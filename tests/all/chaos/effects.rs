//! Every fault at every request that changes something, one at a time: none is left to chance.
//!
//! All of them at length; a third of them, in a fixed pattern, where time is short. Requests to GitHub about a
//! deployment come with a real server behind them.

use super::behind::{Behind, side_by_side};
use crate::action::release::Project;
use crate::action::workflow::Workflow;
use crate::receiver::deployments::end_to_end::Way;
use testkit::github::Double;
use testkit::network::chaos::{Chaos, Harm, Side, Wait};
use testkit::registry::{Auth, Registry};
use testkit::torture::at_length;

/// The requests of a release that change something, in their order.
const EFFECTS: [&str; 6] = [
    "POST */git/tags",
    "POST /graphql",
    "PUT */manifests/0.0.1",
    "PUT */manifests/latest",
    "POST */releases",
    "PATCH */releases/*",
];

const HARMS: [Harm; 17] = [
    Harm::Reset,
    Harm::LostByReset,
    Harm::Lost,
    Harm::HalfClosed,
    Harm::Slow,
    Harm::Busy(429, Wait::Unsaid),
    Harm::Busy(429, Wait::Seconds(0)),
    Harm::Busy(429, Wait::Date(0)),
    Harm::Busy(503, Wait::Unsaid),
    Harm::Busy(503, Wait::Seconds(0)),
    Harm::Truncated,
    Harm::ParseError,
    Harm::WrongType,
    Harm::Cut,
    Harm::Expired,
    Harm::Redirected,
    Harm::OtherDigest,
];

/// Those after which the same run must come to its end by itself: what was asked is known not to have
/// happened, or can be looked up.
fn is_sat_out(harm: Harm, effect: &str) -> bool {
    match harm {
        Harm::Redirected | Harm::OtherDigest | Harm::Expired => false,
        // The claim and the release are looked up. So is what can be put or posted twice; but an answer that
        // says "done" and nothing else is repeated by nobody.
        Harm::Truncated | Harm::ParseError => matches!(effect, "POST /graphql" | "POST */releases"),
        _ => true,
    }
}

// invariant resumable: Each fault at each effect is survived or reported; broken by:
//   `src/adapters/github/client.rs`: an answer that makes no sense counts as no effect
#[test]
fn each_fault_at_each_effect_is_retried_or_reported() {
    let mut cases = Vec::new();
    for (row, harm) in HARMS.into_iter().enumerate() {
        for (column, effect) in EFFECTS.into_iter().enumerate() {
            // Where time is short, a third of them: each fault at two effects.
            if harm.is_for(effect) && (at_length() || (row + column) % 3 == 0) {
                cases.push((harm, effect));
            }
        }
    }
    side_by_side(cases, |(harm, effect)| one(harm, effect));
}

fn one(harm: Harm, effect: &str) {
    let mut behind = Behind::new(format!("{} at {effect}", harm.name()), &Behind::logins()[2]);
    behind.merge("patch");
    let chaos = if effect.starts_with("PUT") { &behind.registry } else { &behind.github };
    chaos.strike(effect, harm);
    let run = behind.run(0).finish();
    assert_eq!(chaos.take_struck().len(), 1, "{} at {effect}: {run}", harm.name());
    behind.must_be_true(0, &run);
    if is_sat_out(harm, effect) {
        assert_eq!(run.output("outcome"), "released", "{} at {effect}: {run}", harm.name());
    }
    behind.converge();
}

/// The requests of a deployment that GitHub is told of, in their order.
const RECORDS: [&str; 2] = ["POST */deployments", "POST */deployments/*/statuses"];

/// Whether the same run comes to tell GitHub all of it. A deployment is recorded by a request that nobody repeats:
/// twice would be two. What became of it may be told twice.
fn is_recorded(harm: Harm, request: &str) -> bool {
    let again = request == RECORDS[1];
    match harm {
        Harm::Slow | Harm::WrongType | Harm::Busy(429, _) => true,
        Harm::Reset | Harm::LostByReset | Harm::Lost | Harm::HalfClosed | Harm::Cut | Harm::Busy(..) => again,
        _ => false,
    }
}

// invariant known: A deployment is recorded once, and a record that fails is reported; broken by:
//   `src/adapters/github/forge.rs`: it may be recorded twice
/// To be recorded is a courtesy: whatever breaks there, the deployment is what it is, and nobody is told more of it
/// than is so.
#[test]
fn faults_in_recording_a_deployment_on_github_are_only_warnings() {
    let (way, chaos) = way_behind();
    let commit = way.project.merge("feat: begin");
    let digest = way.pushed_unversioned(&commit, &[]);
    let run = |command: &str| {
        let run = way.run(&commit, way.sshd.port()).with("image-digest", digest.as_str());
        run.with("command", command).with("environment", "production").finish()
    };
    run("release").ended("released");
    for (row, harm) in HARMS.into_iter().enumerate() {
        for (column, request) in RECORDS.into_iter().enumerate() {
            if !harm.is_for(request) || !(at_length() || (row + column) % 3 == 0) {
                continue;
            }
            let what = format!("{} at {request}", harm.name());
            let before = way.project.github.deployments().len();
            chaos.strike(request, harm);
            let run = run("deploy").ended("deployed");
            assert_eq!(chaos.take_struck().len(), 1, "{what}: {run}");
            assert_eq!(run.output("deployed"), "true", "{what}: {run}");
            let recorded = way.project.github.deployments();
            let new = &recorded[before..];
            assert!(new.len() <= 1, "{what}: one deployment was recorded twice: {new:?}");
            let warned = run.log.contains("GitHub's record of the deployment");
            assert_eq!(warned, !is_recorded(harm, request), "{what}: {run}");
            // The last word arrives wherever there is a record to say it of.
            if !warned || request == RECORDS[1] {
                let state = new.first().and_then(|it| it.state());
                assert_eq!(state, Some("success"), "{what}: {run}");
            }
        }
    }
    let before = way.project.github.deployments().len();
    run("deploy").ended("deployed");
    let recorded = way.project.github.deployments();
    assert_eq!((recorded.len(), recorded[before].state()), (before + 1, Some("success")), "without faults");
    assert_eq!(way.server.history().len(), 1, "to be recorded is no reason to deploy again");
}

/// A server whose GitHub stands behind a chaos proxy.
fn way_behind() -> (Way, Chaos) {
    let (github, registry) = (Double::start(), Registry::start(&Auth::None));
    let chaos = Chaos::before(Side::GitHub, github.url().trim_start_matches("http://"));
    let image = registry.image("org/app").to_string();
    let workflow = Workflow::new(&chaos.url()).with("image", &image);
    (Way::of(Project { github, registry, workflow }), chaos)
}
