//! The stages of a run as one narrow table: what is done, what failed, what was not reached, and the times.

use std::fmt::Write as _;
use std::time::Duration;

use crate::pipeline::intents::Intent;
use crate::pipeline::progress::Timing;

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Done,
    Failed,
    NotReached,
    /// What it would do was done before, or by a newer run.
    NotNeeded,
    Skipped,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => ":x: **failed**",
            Self::NotReached => "not reached",
            Self::NotNeeded => "not needed",
            Self::Skipped => "skipped",
        }
    }
}

/// A column for each stage, so that it takes three lines of the screen. Empty where nothing was begun.
///
/// A stage that came twice, since a race was lost, has the time of both.
pub fn table(intents: &[Intent], timings: &[Timing], failed: Option<&str>) -> String {
    if intents.is_empty() || (timings.is_empty() && failed.is_none()) {
        return String::new();
    }
    let [mut names, mut states, mut times] = ["| |", "| |", "| Time |"].map(str::to_owned);
    for (index, (name, _)) in intents.iter().enumerate() {
        let took: Duration = timings.iter().filter(|timing| timing.stage == *name).map(|it| it.took).sum();
        let time = if took.is_zero() { String::new() } else { in_one_line(took) };
        let _ = write!(names, " {name} |");
        let _ = write!(states, " {} |", state(intents, index, timings, failed).words());
        let _ = write!(times, " {time} |");
    }
    let all: Duration = timings.iter().map(|timing| timing.took).sum();
    let line = "---|".repeat(intents.len() + 2);
    format!("{names} all |\n|{line}\n{states} |\n{times} **{}** |\n\n", in_one_line(all))
}

fn state(intents: &[Intent], index: usize, timings: &[Timing], failed: Option<&str>) -> State {
    let (name, wanted) = intents[index];
    let place = |stage: &str| intents.iter().position(|(name, _)| *name == stage);
    // What fails outside of these stages fails behind the last one that began.
    let last = || timings.iter().filter_map(|timing| place(timing.stage)).max();
    let end = failed.and_then(|stage| place(stage).or_else(last));
    if failed == Some(name) {
        State::Failed
    } else if timings.iter().any(|timing| timing.stage == name) {
        State::Done
    } else if !wanted {
        State::Skipped
    } else if end.is_some_and(|end| index > end) {
        State::NotReached
    } else {
        State::NotNeeded
    }
}

/// In a narrow cell a number and its unit would be parted.
fn in_one_line(time: Duration) -> String {
    seconds(time).replace(' ', "&nbsp;")
}

/// `12.3 s`, or `3 min 20 s` where seconds alone would have to be counted.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..100 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} min {} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(stage: &'static str, milliseconds: u64) -> Timing {
        Timing { stage, start: Duration::ZERO, took: Duration::from_millis(milliseconds) }
    }

    // invariant failures-are-explained: A summary says what was not reached; broken by: `src/report/stages.rs`:
    //   what comes after the failure counts as not needed
    #[test]
    fn a_failure_shows_done_failed_and_skipped_stages() {
        let mut intents = crate::pipeline::intents::STAGES.map(|name| (name, true));
        intents[6].1 = false;
        let timings = [("plan", 100), ("build", 12_340), ("stage", 0), ("plan", 200), ("publish", 250)];
        let timings = timings.map(|(stage, milliseconds)| timing(stage, milliseconds));
        assert_eq!(
            table(&intents, &timings, Some("publish")),
            "| | plan | build | stage | claim | publish | latest | release | deploy | all |\n\
             |---|---|---|---|---|---|---|---|---|---|\n\
             | | done | done | done | not needed | :x: **failed** | not reached | skipped | not reached | |\n\
             | Time | 0.3&nbsp;s | 12.3&nbsp;s |  |  | 0.2&nbsp;s |  |  |  | **12.9&nbsp;s** |\n\n"
        );
    }

    #[test]
    fn no_stage_is_no_table_and_times_use_minutes() {
        assert_eq!(table(&[], &[timing("plan", 1)], None), "");
        assert_eq!(table(&[("plan", true)], &[], None), "");
        assert_eq!(seconds(Duration::from_millis(99_960)), "100.0 s");
        assert_eq!(seconds(Duration::from_secs(200)), "3 min 20 s");
    }
}
