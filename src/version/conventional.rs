//! `bump: auto`: what the commits since the last version ask for.
//!
//! Conventional Commits 1.0.0: `feat` raises minor, `!` after the type or a `BREAKING CHANGE` footer raises
//! major, everything else a patch: every merge ships. While the major version is 0 nothing is stable yet
//! (SemVer 2, item 4), so a breaking change raises minor there.

use git_conventional::{Commit, Type};

use super::bump::Level;

/// The level that these commit messages ask for after a version of this major number, and the first line
/// of the message that asks for it (none where no commit follows the convention).
pub fn level_of<'a>(messages: impl IntoIterator<Item = &'a str>, major: u64) -> (Level, Option<String>) {
    let mut highest = (Level::Patch, None);
    for message in messages {
        let Ok(commit) = Commit::parse(message.trim()) else { continue };
        let level = if commit.breaking() {
            if major == 0 { Level::Minor } else { Level::Major }
        } else if commit.type_() == Type::FEAT {
            Level::Minor
        } else {
            Level::Patch
        };
        if highest.1.is_none() || level > highest.0 {
            highest = (level, Some(first_line(message)));
        }
    }
    highest
}

fn first_line(message: &str) -> String {
    message.trim().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_wish_wins() {
        for (messages, major, level) in [
            (&["fix: a"][..], 1, Level::Patch),
            (&["fix: a", "feat: b", "docs: c"], 1, Level::Minor),
            (&["feat(api): b (#12)"], 1, Level::Minor),
            (&["Feat: upper case counts"], 1, Level::Minor),
            (&["feat!: b"], 1, Level::Major),
            (&["feat: a", "feat!: b", "fix: c"], 1, Level::Major),
            (&["refactor: x\n\nbody\n\nBREAKING CHANGE: gone"], 1, Level::Major),
            (&["feat!: b"], 0, Level::Minor),
            (&["feat: b"], 0, Level::Minor),
            (&["Merge pull request #1 from a/b", "update readme", "", "feat"], 1, Level::Patch),
            (&["features: not the type feat"], 1, Level::Patch),
            (&[], 1, Level::Patch),
        ] {
            assert_eq!(level_of(messages.iter().copied(), major).0, level, "{messages:?}");
        }
    }

    #[test]
    fn the_reason_is_the_title_that_asked() {
        let messages = ["fix: a", "feat: b (#7)\n\nlong", "feat: c"];
        assert_eq!(level_of(messages, 1).1.as_deref(), Some("feat: b (#7)"));
        assert_eq!(level_of(["fix: a", "docs: b"], 1).1.as_deref(), Some("fix: a"));
        assert_eq!(level_of(["hello"], 1).1, None);
    }

    proptest::proptest! {
        #[test]
        fn no_message_panics(message in ".{0,200}") {
            let _ = level_of([message.as_str()], 1);
        }
    }
}
