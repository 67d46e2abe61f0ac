//! `$` in a value: Compose replaces variables there, an app file has none.
//!
//! What Compose replaces (compose-go, `template`): `$$` is one `$`; `$NAME` and `${...}` are variables, where a
//! name is a letter or `_`, then letters, digits and `_`. Any other `$` is itself, in Compose and here: `$1`,
//! `^a$`, `$(date)`, `$2y$10$`.
//!
//! A value that Compose would change must not arrive as it stands: a well-known text would become the password.
//! So here:
//!
//! | a value holds | it is |
//! |---|---|
//! | `${` or `$$` | a fault |
//! | `$NAME` in capitals, or nothing but `$name` | a fault |
//! | another `$name`, in a field of prose | text; `check` names it: passwords, hashes and shells have such |
//! | another `$name`, elsewhere | a fault |
//! | any other `$` | text |
//! | `!literal` in front of it, or of the list or map that it is in | text, whatever it holds |

/// Fields in which a `$` with a small name behind it may be meant: they hold secrets, hashes, code and paths of URLs.
pub(crate) const PROSE: &[&str] =
    &["environment", "labels", "command", "entrypoint", "healthcheck", "health", "smoke"];

/// A value that is taken as it stands.
pub(crate) const EXAMPLE: &str = "!literal 'echo $HOME'";

/// What a value's `$` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DollarSigns {
    /// Themselves, as in Compose.
    Text,
    /// Themselves, other than in Compose.
    Name,
    /// Compose's; with what is expected instead.
    Compose(&'static str),
}

const VARIABLE: &str = "the value itself: an app file has no variables, so `${NAME}` and `$NAME` are not \
                        replaced as in Compose; if you mean the `$`, write `!literal` in front of the value";
const DOUBLED: &str = "one `$` for Compose's `$$`; if you mean two, write `!literal` in front of the value";
const DOUBLED_NAME: &str =
    "`!literal` in front of the value, and in it one `$` for Compose's `$$`: an app file has no variables";

/// Judges a value that no `!literal` stands in front of.
pub(crate) fn judge(text: &str, prose: bool) -> DollarSigns {
    let (mut doubled, mut name) = (false, false);
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            doubled = true;
            rest = behind;
            continue;
        }
        let named = name_at(rest);
        let whole = text.len() == named.len() + 1;
        if rest.starts_with('{') || !named.is_empty() && (!prose || whole || is_in_capitals(named)) {
            return DollarSigns::Compose(VARIABLE);
        }
        name |= !named.is_empty();
        rest = &rest[named.len()..];
    }
    match (doubled, name) {
        (true, _) if matches!(judge(&text.replace("$$", "$"), prose), DollarSigns::Compose(_)) => {
            DollarSigns::Compose(DOUBLED_NAME)
        }
        (true, _) => DollarSigns::Compose(DOUBLED),
        (false, true) => DollarSigns::Name,
        (false, false) => DollarSigns::Text,
    }
}

/// The name that a text begins with; empty for none.
pub(crate) fn name_at(text: &str) -> &str {
    let end = text.char_indices().find(|(at, letter)| {
        // Compose's pattern ignores case, and to Go two more letters are an `s` and a `k`.
        let letter_fits = letter.is_ascii_alphabetic() || matches!(letter, '_' | '\u{17f}' | '\u{212a}');
        !(letter_fits || *at > 0 && letter.is_ascii_digit())
    });
    &text[..end.map_or(text.len(), |(at, _)| at)]
}

/// As variables of the environment are written.
fn is_in_capitals(name: &str) -> bool {
    name.contains(|letter: char| letter.is_ascii_uppercase())
        && !name.contains(|letter: char| !matches!(letter, 'A'..='Z' | '0'..='9' | '_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn faults(text: &str, prose: bool) -> bool {
        matches!(judge(text, prose), DollarSigns::Compose(_))
    }

    #[test]
    fn what_compose_replaces_is_a_fault() {
        for text in [
            "${A}",
            "${a}",
            "x${A}y",
            "${A:-b}",
            "${A-b}",
            "${A:?b}",
            "${A?b}",
            "${A:+b}",
            "${A+b}",
            "${A:-${B}}",
            "${}",
            "${",
            "${1}",
            "${A",
            "${A:-$2y}",
            "$A",
            "$AB",
            "$a",
            "$a_1",
            "$_A",
            "a $HOME",
            "$UID:$GID",
            "/srv/$APP/data",
            "postgres://$USER:$PASSWORD@db",
            "$1 $A",
            "$$",
            "a$$",
            "$$A",
            "$$$",
            "$$$$",
            "$$$A",
            "$${A}",
            "pa$$word",
            "$$2y$$10$$x",
            "\\$A",
            "$\u{17f}",
            "$\u{212a}",
        ] {
            assert!(faults(text, true), "{text:?} in prose");
            assert!(faults(text, false), "{text:?} elsewhere");
        }
    }

    #[test]
    fn any_other_dollar_is_itself() {
        for text in [
            "",
            "$",
            "a$",
            "$ A",
            "^a$",
            "a$|b$",
            "$1",
            "$(date)",
            "$?",
            "$@",
            "$-",
            "$2y$10$",
            "\u{20ac}$",
            "$\u{e9}",
            "100$",
        ] {
            assert_eq!(judge(text, true), DollarSigns::Text, "{text:?} in prose");
            assert_eq!(judge(text, false), DollarSigns::Text, "{text:?} elsewhere");
        }
    }

    #[test]
    fn in_prose_a_dollar_may_have_a_name_behind_it() {
        for text in [
            "pa$word",
            "$2y$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
            "for f in *; do echo $f; done",
            "/api/$metadata",
            "$Secr3t!",
        ] {
            assert_eq!(judge(text, true), DollarSigns::Name, "{text:?}");
            assert!(faults(text, false), "{text:?} elsewhere");
        }
    }

    /// What is told to write is accepted.
    #[test]
    fn remedies_lead_to_a_right_value() {
        for (text, remedy) in
            [("pa$$word", DOUBLED), ("^a$$", DOUBLED), ("test -n $$A", DOUBLED_NAME), ("$${A}", DOUBLED_NAME)]
        {
            assert_eq!(judge(text, true), DollarSigns::Compose(remedy), "{text:?}");
            assert_eq!(remedy == DOUBLED, !faults(&text.replace("$$", "$"), true), "{text:?}");
        }
    }

    /// Compose's own pattern, which is the regular expression that its `template` package is built on.
    fn is_changed_by_compose(text: &str) -> bool {
        let letters: Vec<char> = text.chars().collect();
        letters.windows(2).any(|pair| {
            pair[0] == '$'
                && (matches!(pair[1], '$' | '{' | '_' | '\u{17f}' | '\u{212a}')
                    || pair[1].is_ascii_alphabetic())
        })
    }

    proptest! {
        #[test]
        fn nothing_that_compose_changes_passes_unnoticed(text in "([a$]|[ \
                                                                  -~]|\\$\\{|[A-Z]|\u{17f}){0,12}", prose: bool) {
            prop_assert_eq!(judge(&text, prose) != DollarSigns::Text, is_changed_by_compose(&text));
        }

        #[test]
        fn no_text_panics(text: String, prose: bool) {
            judge(&text, prose);
        }
    }
}
