//! A failure in words: what, why, what is done already, what to do, where to read on.

use crate::failure::Failure;

/// For the log, where there is room.
pub fn text(failure: &Failure, done: &[String]) -> String {
    compose(failure, &failure.why, done)
}

/// For an annotation of at most so many characters. What has to give way is the middle of the reason: its end
/// has a build's last lines, and what to do must not be lost.
pub fn text_within(most: usize, failure: &Failure, done: &[String]) -> String {
    let whole = text(failure, done);
    let over = whole.chars().count().saturating_sub(most);
    if over == 0 {
        return whole;
    }
    let room = failure.why.chars().count().saturating_sub(over);
    compose(failure, &without_middle(&failure.why, room), done)
}

fn compose(failure: &Failure, why: &str, done: &[String]) -> String {
    let done = if done.is_empty() { "nothing".to_owned() } else { done.join("; ") };
    let separator = if why.contains('\n') { ":\n" } else { ": " };
    format!(
        "{}{separator}{why}\nDone already: {done}.\nWhat to do: {}.\nMore: {}",
        failure.what,
        failure.remedy.trim_end_matches('.'),
        failure.link()
    )
}

fn without_middle(text: &str, room: usize) -> String {
    const CUT: &str = "\n(cut here; the step's summary has all of it)\n";
    let room = room.saturating_sub(CUT.chars().count());
    let (start, end) = (room / 3, room - room / 3);
    let first: String = text.chars().take(start).collect();
    let last: String = text.chars().skip(text.chars().count() - end).collect();
    format!("{first}{CUT}{last}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;
    use autotag_model::help::Topic;

    #[test]
    fn the_remedy_is_one_sentence_and_the_link_comes_last() {
        let failure = Failure::new(FailureKind::Denied, "claiming v1", "no", "ask.").about(Topic::Ruleset);
        assert_eq!(
            text(&failure, &["pushed x".to_owned()]),
            "claiming v1: no\nDone already: pushed x.\nWhat to do: ask.\nMore: https://github.com/org/autotag-deploy/blob/main/docs/troubleshooting.md#a-ruleset-forbids-the-tag"
        );
        let other = Failure::new(FailureKind::Internal, "a", "b", "c");
        assert!(text(&other, &[]).ends_with("/docs/troubleshooting.md"), "every failure has a link");
    }

    // invariant failures-are-explained
    #[test]
    fn a_long_failure_is_cut_before_its_remedy() {
        let why = format!("the first line\n{}\nthe last line", "ä".repeat(9000));
        let failure = Failure::new(FailureKind::Build, "building", why, "fix it").about(Topic::BuildStep);
        let short = text_within(4000, &failure, &[]);
        assert_eq!(short.chars().count(), 4000);
        for words in ["the first line", "the last line", "What to do: fix it.", &Topic::BuildStep.link()] {
            assert!(short.contains(words), "{words}: {short}");
        }
        assert_eq!(text_within(90_000, &failure, &[]), text(&failure, &[]));
    }
}
