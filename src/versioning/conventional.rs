//! `bump: auto`: what the commits since the last version ask for.
//!
//! Conventional Commits 1.0.0: `feat` raises minor, `!` before the colon or a `BREAKING CHANGE` footer raises
//! major, everything else a patch: every merge ships. While the major version is 0 nothing is stable yet
//! (SemVer 2, item 4), so a breaking change raises minor there.
//!
//! What counts, written as in RFC 5234:
//!
//! ```text
//! message     = *blank-line [merge 1*blank-line] title *( line )
//! merge       = "Merge pull request #" any        ; GitHub puts the pull request's title below it
//! title       = type ["(" scope ")"] ["!"] ":" *WSP description
//! type        = 1*word                             ; no white space, parenthesis, ":" or "!"; `feat` in any case
//! scope       = *any                               ; up to the last parenthesis that "!" or ":" follows
//! description = 1*any
//! breaking    = "BREAKING" (" " / "-") "CHANGE" (":" / " #") any    ; the start of any line below the title
//! ```
//!
//! Lines end by LF, CR LF or CR. The title counts whatever stands below it: type and `!` hang on it alone. A
//! commit without such a title (`update readme`, `Revert "feat: x"`, `fixup! feat: x`) asks for nothing, but for
//! what a line of it says is breaking.

use git_conventional::Commit;

use super::bump::Level;

/// The level that these commit messages ask for after a version of this major number, and the first line
/// of the message that asks for it (none where no commit follows the convention).
pub fn level_of<'a>(messages: impl IntoIterator<Item = &'a str>, major: u64) -> (Level, Option<String>) {
    let mut highest = (Level::Patch, None);
    for message in messages {
        let Some(asked) = asked_by(message) else { continue };
        let level = match asked {
            Level::Major if major == 0 => Level::Minor,
            level => level,
        };
        if highest.1.is_none() || level > highest.0 {
            highest = (level, Some(first_line(message).to_owned()));
        }
    }
    highest
}

/// The titles of the messages whose title counts and whose text below it does not follow the convention.
pub fn unread<'a>(messages: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let broken = |message: &&str| {
        let title = first_line(message);
        // A title that only this module reads says nothing of the rest.
        Commit::parse(title).is_ok() && Commit::parse(message.trim()).is_err()
    };
    messages.into_iter().filter(broken).map(|message| first_line(message).to_owned()).collect()
}

/// What one message asks for after a stable version; `None` where it does not follow the convention.
fn asked_by(message: &str) -> Option<Level> {
    let mut lines = lines(message);
    let mut title = lines.next().unwrap_or_default();
    if title.starts_with("Merge pull request #") {
        title = lines.find(|line| !line.is_empty()).unwrap_or_default();
    }
    let title = Title::of(title);
    let breaking = lines.any(is_breaking) || title.as_ref().is_some_and(|title| title.breaking);
    match title {
        _ if breaking => Some(Level::Major),
        Some(title) if title.kind.eq_ignore_ascii_case("feat") => Some(Level::Minor),
        Some(_) => Some(Level::Patch),
        None => None,
    }
}

/// The type and the `!` of a title.
struct Title<'a> {
    kind: &'a str,
    breaking: bool,
}

impl<'a> Title<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let ends = |letter: char| letter.is_whitespace() || "():!".contains(letter);
        let (kind, rest) = line.split_at(line.find(ends)?);
        // A description may hold parentheses too, so each one that could end the scope is tried.
        let behind_scope = rest.strip_prefix('(').map(|rest| {
            rest.match_indices(')').map(|(at, _)| &rest[at + 1..]).find(|rest| rest.starts_with([':', '!']))
        });
        let rest = match behind_scope {
            None => rest,
            Some(behind) => behind?,
        };
        let (breaking, rest) = match rest.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        let description = rest.strip_prefix(':')?;
        (!kind.is_empty() && !description.trim().is_empty()).then_some(Self { kind, breaking })
    }
}

/// Whether a line says that the change is breaking. In capitals, as the convention asks for.
fn is_breaking(line: &str) -> bool {
    ["BREAKING CHANGE", "BREAKING-CHANGE"]
        .iter()
        .filter_map(|token| line.strip_prefix(token))
        .any(|rest| rest.starts_with(':') || rest.starts_with(" #"))
}

/// The lines from the title on, without their ends.
fn lines(message: &str) -> impl Iterator<Item = &str> {
    message.trim().split(['\n', '\r']).map(str::trim_end)
}

fn first_line(message: &str) -> &str {
    lines(message).next().unwrap_or_default()
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

    // case A1; broken by: messages that do not parse as a whole are skipped
    #[test]
    fn the_title_counts_whatever_follows_it() {
        let rests = [
            "",
            "\n",
            "\n\nText.\n\nFixes #",
            "\nright below the title",
            "\nright below the title\n\nFixes #",
            "\n \ntext\n\nReviewed-by:",
            "\r\n\r\nCRLF\r\n\r\nRefs: #1\r\n",
            "\r\nright below, CRLF",
            "\rright below, CR",
            "\n\n* feat: one\n* fix: two (#3)\n\n---------\n\nCo-authored-by: A <a@b.c>",
            "\n\nbreaking change: in small letters\nNOT A BREAKING CHANGE: within a line",
            "\n\n```\nx: y\n```",
        ];
        for (title, level) in [
            ("feat!: drop the old API (#12)", Level::Major),
            ("feat(api)!: drop the old API", Level::Major),
            ("chore!:no space", Level::Major),
            ("FIX(api, web)!: two scopes", Level::Major),
            ("fix(@org/pkg)!: a scope with signs", Level::Major),
            ("fix(a(b))!: parentheses in the scope", Level::Major),
            ("fix()!: an empty scope", Level::Major),
            ("Merge pull request #12 from org/api\n\nfeat!: drop the old API", Level::Major),
            ("feat: find things", Level::Minor),
            ("Feat(search): find things (with words)!: really", Level::Minor),
            ("Merge pull request #12 from org/api\n\nfeat: find things", Level::Minor),
            ("fix: typo", Level::Patch),
            ("revert: feat!: drop the old API", Level::Patch),
            ("features: not the type", Level::Patch),
            ("Revert \"feat!: drop the old API\"", Level::Patch),
            ("fixup! feat!: drop the old API", Level::Patch),
            ("squash! feat: find things", Level::Patch),
            ("feat !: a space too many", Level::Patch),
            ("feat (api): a space too many", Level::Patch),
            ("feat!:", Level::Patch),
            ("feat(api!: never closed", Level::Patch),
            ("Merge branch 'feat!: x'", Level::Patch),
        ] {
            for rest in rests {
                for start in ["", "\n\n", "  \r\n"] {
                    let message = format!("{start}{title}{rest}");
                    assert_eq!(level_of([message.as_str()], 1).0, level, "{message:?}");
                }
            }
        }
    }

    // case A1; broken by: only footers that the parser knows count
    #[test]
    fn a_breaking_line_counts_wherever_it_stands() {
        for (message, level) in [
            ("fix: a\n\nBREAKING CHANGE: gone", Level::Major),
            ("fix: a\n\nBREAKING-CHANGE: gone", Level::Major),
            ("fix: a\n\nBREAKING CHANGE #12", Level::Major),
            ("fix: a\nBREAKING CHANGE: gone", Level::Major),
            ("fix: a\r\n\r\ntext\r\nBREAKING CHANGE: gone\r\n\r\nFixes #", Level::Major),
            ("update things\n\nBREAKING CHANGE: gone", Level::Major),
            ("fix: a\n\nNo BREAKING CHANGE: here", Level::Patch),
            ("fix: a\n\nBREAKING CHANGES are listed below", Level::Patch),
            ("fix: a\n\nBreaking Change: gone", Level::Patch),
        ] {
            assert_eq!(level_of([message], 1).0, level, "{message:?}");
        }
    }

    #[test]
    fn unparsable_text_below_a_title_is_reported() {
        let messages =
            ["feat!: a (#1)\n\ntext\n\nFixes #", "fix: b", "no title\nat all", "fix: c\nd", "fix()!: e"];
        assert_eq!(unread(messages), ["feat!: a (#1)", "fix: c"]);
    }

    proptest::proptest! {
        /// The title alone asks for no more than the whole, and the whole for more only by a breaking line.
        #[test]
        fn text_below_the_title_takes_nothing_away(
            title in "(feat|fix|docs)(\\([a-z]{1,5}\\))?!?: [a-z ]{0,9}[a-z]",
            rest in "([ -~\n\r]{0,80}|\n\n(BREAKING CHANGE|Fixes|a)[:#]? ?[a-z]{0,5}\n?){0,3}",
        ) {
            let alone = level_of([title.as_str()], 1).0;
            let whole = format!("{title}\n{rest}");
            let level = level_of([whole.as_str()], 1).0;
            proptest::prop_assert!(level >= alone, "{whole:?}");
            proptest::prop_assert!(level == alone || whole.contains("BREAKING"), "{whole:?}");
        }

        /// What the grammar's own parser reads, is read alike.
        #[test]
        fn a_parsable_message_gets_the_parsers_level(
            message in "(feat|fix|Feat|a-b)(\\([a-z ,/]{1,5}\\))?!?: ?[a-z()][a-z() ]{0,9}(\n\n([ -~]{0,20}\n){0,3})?(\nBREAKING[ -]CHANGE: x)?",
        ) {
            if let Ok(commit) = Commit::parse(message.trim()) {
                let level = level_of([message.as_str()], 1).0;
                if commit.breaking() {
                    proptest::prop_assert_eq!(level, Level::Major, "{:?}", message);
                } else if commit.type_() == git_conventional::Type::FEAT {
                    proptest::prop_assert!(level >= Level::Minor, "{:?}", message);
                }
            }
        }

        #[test]
        fn no_message_panics(message in ".{0,200}") {
            let _ = level_of([message.as_str()], 1);
        }
    }
}
