//! Every fault at every request that changes something, one at a time: none is left to chance.
//!
//! All of them at length; a third of them, in a fixed pattern, where time is short.

use super::behind::{Behind, side_by_side};
use crate::support::chaos::{Harm, Wait};
use crate::support::torture::at_length;

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
    Harm::Malformed,
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
        Harm::Truncated | Harm::Malformed => matches!(effect, "POST /graphql" | "POST */releases"),
        _ => true,
    }
}

#[test]
fn each_fault_at_each_effect_is_sat_out_or_said_and_then_converges() {
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
