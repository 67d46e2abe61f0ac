//! What is wrong with an app file: all of it, each with its place.

use std::fmt;

use strsim::osa_distance;

use super::tree::Place;

/// Texts longer than this are cut in messages.
const SHOWN: usize = 60;
/// More faults than this are counted, not told.
pub(crate) const TOLD: usize = 40;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where; line 0 where nothing is, because something is missing.
    pub place: Place,
    /// Which key, with those above it: `health.path`. Empty for the file as a whole.
    pub key: String,
    /// What was expected, in words.
    pub expected: String,
    /// What was there; `None` where it is missing, long, or may be secret.
    pub found: Option<String>,
    /// What would do.
    pub example: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.line > 0 {
            write!(f, "line {}, column {}: ", self.place.line, self.place.column)?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}`: ", cut(&self.key))?;
        }
        write!(f, "expected {}", self.expected)?;
        if let Some(found) = &self.found {
            write!(f, ", found {:?}", cut(found))?;
        }
        if !self.example.is_empty() {
            write!(f, " (example: `{}`)", self.example)?;
        }
        Ok(())
    }
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('\u{2026}');
    }
    shown
}

/// All faults of a file, in the order of their places; what is missing comes last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    /// All of them; there is at least one.
    pub fn as_slice(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.0.iter().take(TOLD).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{fault}")?;
        }
        if self.0.len() > TOLD {
            write!(f, "\n... and {} more", self.0.len() - TOLD)?;
        }
        Ok(())
    }
}

/// The known word that was most likely meant: at most a third of the letters wrong, three at most, and seldom the
/// first one.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let first_two = |word: &str| word.to_ascii_lowercase().chars().take(2).collect::<Vec<_>>();
    let start = first_two(word);
    let begins_alike = |candidate: &&str| {
        let other = first_two(candidate);
        // Alike, with a letter too much or too little, or swapped.
        start.first() == other.first() || start.first() == other.get(1) || start.get(1) == other.first()
    };
    // So much of it is compared; no key is longer.
    let word: String = word.chars().take(64).collect();
    known
        .into_iter()
        .filter(begins_alike)
        .map(|candidate| (osa_distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(key: &str) -> Fault {
        let (found, place) = (Some(key.to_owned()), Place { line: 3, column: 7 });
        Fault { place, key: key.to_owned(), expected: "less".to_owned(), found, example: String::new() }
    }

    #[test]
    fn long_words_are_cut_and_others_are_not() {
        let fits = "\u{e9}".repeat(SHOWN);
        assert_eq!(cut(&fits), fits);
        assert_eq!(cut(&format!("{fits}x")), format!("{fits}\u{2026}"));
        let reported = fault("a").to_string();
        assert_eq!(reported, "line 3, column 7: `a`: expected less, found \"a\"");
    }

    #[test]
    fn the_first_faults_are_reported_and_the_rest_counted() {
        let reported = |count: usize| Faults(vec![fault("a"); count]).to_string();
        assert_eq!(reported(1).lines().count(), 1);
        assert_eq!(reported(TOLD).lines().count(), TOLD);
        let more = reported(TOLD + 2);
        assert_eq!((more.lines().count(), more.lines().last()), (TOLD + 1, Some("... and 2 more")));
    }

    #[test]
    fn a_suggestion_allows_at_most_three_wrong_letters() {
        for (word, known, meant) in [
            ("abcdef", "abcdxy", true),
            ("abcde", "abcxy", false),
            ("abc", "abx", true),
            ("ab", "ax", true),
            ("abcdefghi", "abcdefxyz", true),
            ("abcdefghijkl", "abcdefghwxyz", false),
        ] {
            assert_eq!(nearest(word, [known]).is_some(), meant, "{word} for {known}");
        }
    }

    #[test]
    fn the_nearest_word_is_suggested_and_nothing_far() {
        let known = ["image", "port", "listen", "order", "environment", "env_file", "health", "healthcheck"];
        for (word, meant) in [
            ("imgae", Some("image")),
            ("Image", Some("image")),
            ("ports", Some("port")),
            ("enviroment", Some("environment")),
            ("env-file", Some("env_file")),
            ("healtcheck", Some("healthcheck")),
            ("oder", Some("order")),
            ("x", None),
            ("privileged", None),
            ("rimage", Some("image")),
            ("mage", Some("image")),
            ("sort", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
