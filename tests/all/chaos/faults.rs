//! Faults and kills at random.

use super::round::{Plan, Round};
use testkit::torture::rounds;

/// Rounds side by side: most of their time is pauses before another try.
const SIDE_BY_SIDE: usize = 4;

fn play(part: &'static str, usual: u64, plan: Plan) {
    let mut seeds = rounds(part, usual);
    loop {
        let together: Vec<u64> = seeds.by_ref().take(SIDE_BY_SIDE).collect();
        if together.is_empty() {
            return;
        }
        std::thread::scope(|scope| {
            for seed in together {
                scope.spawn(move || Round::new(seed).play(plan));
            }
        });
    }
}

// invariant resumable: A run under faults never lies; broken by: `src/release/claim.rs`: a claim whose answer
//   was lost counts as won
#[test]
fn runs_under_faults_never_lie_and_then_converge() {
    play("faults between the action and its servers", 8, Plan { faults: 3, kill_one_in: 0 });
}

// invariant resumable: Killed at any moment, the next run converges; broken by: `src/release/survey.rs`: a tip
//   that *is* this commit counts as nothing
#[test]
fn runs_that_are_killed_at_any_moment_converge() {
    play("kills of the action", 4, Plan { faults: 1, kill_one_in: 2 });
}
