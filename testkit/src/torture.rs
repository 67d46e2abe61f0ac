//! How long the randomised parts go on, and what they count.
//!
//! `scripts/test` runs each part for a fixed number of rounds with fixed seeds, so that it ends the same
//! way each time. `scripts/torture` gives each part a time instead, and seeds that nobody has tried. Either
//! way a round that fails is run again, alone, by its seed:
//!
//!     AUTOTAG_DEPLOY_SEED=17 cargo test --test all NAME -- --nocapture

use std::fmt::Display;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Run for so many seconds in place of a fixed number of rounds.
const SECONDS: &str = "AUTOTAG_DEPLOY_TORTURE_SECONDS";
/// Run this one seed alone.
const SEED: &str = "AUTOTAG_DEPLOY_SEED";
/// A file that takes a line `WHAT<TAB>COUNT` for each count.
const REPORT: &str = "AUTOTAG_DEPLOY_TORTURE_REPORT";

/// The seeds of a part's rounds.
#[derive(Debug)]
pub struct Rounds {
    part: &'static str,
    next: u64,
    end: RunLimit,
}

#[derive(Debug)]
enum RunLimit {
    After(u64),
    At(Instant),
}

/// The seeds of this part: `usual` many, or as many as the time allows, and at least one.
pub fn rounds(part: &'static str, usual: u64) -> Rounds {
    if let Some(seed) = number(SEED) {
        return Rounds { part, next: seed, end: RunLimit::After(1) };
    }
    match number(SECONDS) {
        None => Rounds { part, next: 0, end: RunLimit::After(usual) },
        // Any start will do that the last run did not have.
        Some(seconds) => Rounds {
            part,
            next: u64::from(rand::random::<u32>()),
            end: RunLimit::At(now() + Duration::from_secs(seconds)),
        },
    }
}

/// Whether the long parts are asked for, which are complete and take minutes.
pub fn at_length() -> bool {
    number(SECONDS).is_some()
}

impl Iterator for Rounds {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        match &mut self.end {
            RunLimit::After(0) => return None,
            RunLimit::After(left) => *left -= 1,
            RunLimit::At(end) if now() >= *end => return None,
            RunLimit::At(_) => {}
        }
        let seed = self.next;
        self.next += 1;
        // Shown where the round fails.
        println!("{}: seed {seed}", self.part);
        Some(seed)
    }
}

/// Counts something for the table of `scripts/torture`.
pub fn tally(what: &str, count: impl Display) {
    let Some(path) = variable(REPORT) else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    // One write for a line, so that parts that run side by side do not mix theirs.
    file.and_then(|mut file| file.write_all(format!("{what}\t{count}\n").as_bytes()))
        .unwrap_or_else(|error| panic!("{path}: {error}"));
}

/// Real time: some parts pause tokio's.
#[expect(clippy::disallowed_methods, reason = "the owner of how long the tests go on")]
fn now() -> Instant {
    Instant::now()
}

fn number(name: &str) -> Option<u64> {
    let text = variable(name)?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text}: expected a whole number")))
}

/// A variable that scripts/torture, or a person who looks at one case, has set.
#[expect(clippy::disallowed_methods, reason = "the owner of what scripts/torture says")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
