//! Tags that read like versions and are none that counts: `v0.12`, `release-1.2.3`, `2024-05-01`.
//!
//! The grammar, written as in RFC 5234; a tag is read from its first place where it fits:
//!
//! ```text
//! tag       = word numbers [suffix]
//! word      = [name separator] [marker [separator]]   ; `v`, `release-`, `api-v`, `docker-rollout-`
//! name      = any characters
//! marker    = "v" / "ver" / "version" / "versions" / "r" / "rel" / "release" / "releases"   ; in any case
//! separator = 1*( "-" / "_" / "/" / "." / "@" / "+" )
//! numbers   = 1*DIGIT *( joint 1*DIGIT )               ; one kind of joint in each tag
//! joint     = "." / "-" / "_"
//! suffix    = ( "-" / "+" / "_" / "." / "~" ) *any / ALPHA *any   ; the second after two numbers or more
//! ```
//!
//! A number that stands alone is a version (`v12`), a date (`20240501`) or a moment (`20240501120000`); one of
//! another length is a commit's name or nothing. `latest`, `nightly`, `main`, `sha-0123456789ab` read like none.

use std::cmp::Ordering;

use semver::Version;

/// A tag, read by the grammar above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading<'a> {
    /// What stands before the numbers.
    pub word: &'a str,
    /// The numbers and what stands behind them.
    pub rest: &'a str,
    /// The numbers.
    pub numbers: Vec<u64>,
    /// Whether the numbers stand between dots, as a version's do.
    dotted: bool,
}

impl<'a> Reading<'a> {
    /// Reads a tag; `None` where it reads like no version.
    pub fn of(tag: &'a str) -> Option<Self> {
        let digit = |character: char| character.is_ascii_digit();
        tag.char_indices()
            .filter(|(at, character)| digit(*character) && !tag[..*at].ends_with(digit))
            .map(|(at, _)| tag.split_at(at))
            .filter(|(word, _)| ends_a_word(word))
            .find_map(|(word, rest)| {
                let (numbers, dotted) = numbers(rest)?;
                Some(Self { word, rest, numbers, dotted })
            })
    }

    /// What the word names, without marker and separators: nothing for `v`, `api` for `api-v`.
    pub fn name(&self) -> String {
        name_of(self.word)
    }

    /// Whether it is a version but for missing numbers or too many: `1.2`, `1.2.3.4`, and no date or lone number.
    pub fn is_nearly_a_version(&self) -> bool {
        self.dotted && self.numbers.len() > 1
    }

    /// How it stands to a version; missing numbers are 0.
    pub fn compare(&self, version: &Version) -> Ordering {
        self.three().cmp(&[version.major, version.minor, version.patch])
    }

    /// Whether a version begins with these numbers: then the tag may be a floating one of it.
    pub fn covers(&self, version: &Version) -> bool {
        [version.major, version.minor, version.patch].starts_with(&self.numbers)
    }

    /// A version above it, as it would be the next one.
    pub fn next(&self) -> Option<Version> {
        let [major, minor, patch] = self.three();
        Some(match self.numbers.len() {
            1 => Version::new(major.checked_add(1)?, 0, 0),
            2 => Version::new(major, minor.checked_add(1)?, 0),
            _ => Version::new(major, minor, patch.checked_add(1)?),
        })
    }

    fn three(&self) -> [u64; 3] {
        let number = |place: usize| self.numbers.get(place).copied().unwrap_or(0);
        [number(0), number(1), number(2)]
    }
}

const SEPARATORS: [char; 6] = ['-', '_', '/', '.', '@', '+'];
const MARKERS: [&str; 8] = ["v", "ver", "version", "versions", "r", "rel", "release", "releases"];

/// Whether numbers may begin after this text.
fn ends_a_word(text: &str) -> bool {
    text.is_empty() || text.ends_with(SEPARATORS) || without_marker(text).is_some()
}

/// The text without the marker at its end; `None` where none ends it, or only the end of a longer word.
fn without_marker(text: &str) -> Option<&str> {
    let before = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let marker = text[before.len()..].to_ascii_lowercase();
    let stands_alone = before.is_empty() || before.ends_with(SEPARATORS);
    (stands_alone && MARKERS.contains(&marker.as_str())).then_some(before)
}

/// What a word or a prefix names, in small letters: `` for `v`, `release/` and ``, `api` for `api-v` and `API@`.
pub fn name_of(word: &str) -> String {
    let trimmed = word.trim_end_matches(SEPARATORS);
    without_marker(trimmed).unwrap_or(trimmed).trim_end_matches(SEPARATORS).to_lowercase()
}

/// The numbers, and whether dots join them.
fn numbers(text: &str) -> Option<(Vec<u64>, bool)> {
    let length =
        |text: &str| text.len() - text.trim_start_matches(|digit: char| digit.is_ascii_digit()).len();
    let (first, mut rest) = text.split_at(length(text));
    let mut numbers = vec![first.parse().unwrap_or(u64::MAX)];
    let joint = rest.chars().next().filter(|joint| matches!(joint, '.' | '-' | '_'));
    while let Some(behind) = joint.and_then(|joint| rest.strip_prefix(joint))
        && length(behind) > 0
    {
        let (number, after) = behind.split_at(length(behind));
        numbers.push(number.parse().unwrap_or(u64::MAX));
        rest = after;
    }
    let alone = numbers.len() == 1;
    let ends = match rest.chars().next() {
        None | Some('-' | '+' | '_' | '.' | '~') => true,
        Some(letter) => letter.is_ascii_alphabetic() && !alone,
    };
    let is_year = first.starts_with("19") || first.starts_with("20");
    let fits = !alone || matches!(first.len(), 1..=6) || (is_year && matches!(first.len(), 8 | 12 | 14));
    (ends && fits).then_some((numbers, joint == Some('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    // case A3; broken by: markers are not looked for, so that `v0.12` reads like nothing
    #[test]
    fn tags_read_like_versions_or_not() {
        for (tag, expected) in [
            ("v0.12", Some(("", &[0, 12][..]))),
            ("V1", Some(("", &[1]))),
            ("1.2.3", Some(("", &[1, 2, 3]))),
            ("v1.2.3.4", Some(("", &[1, 2, 3, 4]))),
            ("v01.2.3", Some(("", &[1, 2, 3]))),
            ("v.1.2", Some(("", &[1, 2]))),
            ("release-1.2.3", Some(("", &[1, 2, 3]))),
            ("release/2.0", Some(("", &[2, 0]))),
            ("REL_16_1", Some(("", &[16, 1]))),
            ("version-7", Some(("", &[7]))),
            ("v1.0rc1", Some(("", &[1, 0]))),
            ("v1.0-rc.1", Some(("", &[1, 0]))),
            ("1.4-alpine", Some(("", &[1, 4]))),
            ("2024-05-01", Some(("", &[2024, 5, 1]))),
            ("2024.05.01", Some(("", &[2024, 5, 1]))),
            ("v20240501", Some(("", &[20_240_501]))),
            ("release-20240501120000", Some(("", &[20_240_501_120_000]))),
            ("api-v1.2.3", Some(("api", &[1, 2, 3]))),
            ("API@1.2", Some(("api", &[1, 2]))),
            ("api/v1.2", Some(("api", &[1, 2]))),
            ("web2-v1.0", Some(("web2", &[1, 0]))),
            ("log4j-2.17", Some(("log4j", &[2, 17]))),
            ("docker-rollout-v0.9", Some(("docker-rollout", &[0, 9]))),
            ("server1.2", Some(("server1", &[2]))),
            ("pr-12", Some(("pr", &[12]))),
            ("latest", None),
            ("nightly", None),
            ("v-next", None),
            ("vscode", None),
            ("mv1", None),
            ("1234567", None),
            ("0123456789", None),
            ("7f3e2a1", None),
            ("sha-0a1b2c3d4e5f-0a1b2c3d4e5f", None),
            ("", None),
        ] {
            let found = Reading::of(tag);
            let found = found.as_ref().map(|found| (found.name(), &found.numbers[..]));
            assert_eq!(found, expected.map(|(name, numbers)| (name.to_owned(), numbers)), "{tag}");
        }
    }

    #[test]
    fn prefixes_name_what_their_tags_name() {
        for (prefix, name) in [
            ("", ""),
            ("v", ""),
            ("release-", ""),
            ("rel/v", "rel"),
            ("api-v", "api"),
            ("api/", "api"),
            ("dev", "dev"),
            ("API_r", "api"),
        ] {
            assert_eq!(name_of(prefix), name, "{prefix:?}");
        }
    }

    #[test]
    fn missing_numbers_are_zero_and_the_next_one_is_above() {
        for (tag, below, next) in [
            ("v0.13", "0.12.9", Some("0.14.0")),
            ("v12", "11.9.9", Some("13.0.0")),
            ("1.2.3.4", "1.2.2", Some("1.2.4")),
            ("2024-05-01", "2024.4.30", Some("2024.5.2")),
            ("v18446744073709551615.1.2", "1.0.0", Some("18446744073709551615.1.3")),
        ] {
            let reading = Reading::of(tag).unwrap();
            assert_eq!(reading.compare(&below.parse().unwrap()), Ordering::Greater, "{tag}");
            assert_eq!(reading.next().map(|next| next.to_string()).as_deref(), next, "{tag}");
        }
        assert!(Reading::of("v1.2").unwrap().covers(&Version::new(1, 2, 9)));
        assert!(!Reading::of("v1.2").unwrap().covers(&Version::new(1, 20, 0)));
        let nearly = |tag: &str| Reading::of(tag).unwrap().is_nearly_a_version();
        assert!(nearly("v1.2") && nearly("1.2.3.4") && !nearly("v1") && !nearly("2024-05-01"));
    }

    proptest::proptest! {
        #[test]
        fn no_tag_panics_and_the_parts_are_the_tag(tag in ".{0,60}|[vr0-9._/-]{0,30}|[a-z]{0,5}[-/@]v?[0-9.]{1,9}") {
            if let Some(reading) = Reading::of(&tag) {
                proptest::prop_assert_eq!(format!("{}{}", reading.word, reading.rest), tag.as_str());
                if let Some(next) = reading.next() {
                    proptest::prop_assert_eq!(reading.compare(&next), Ordering::Less);
                }
            }
        }

        /// Every strict version reads like itself, whatever word stands before it.
        #[test]
        fn versions_read_like_themselves(
            word in "(v|release-|api-v|a/|)", major in 0_u64..999, minor in 0_u64..99, patch in 0_u64..99,
        ) {
            let tag = format!("{word}{major}.{minor}.{patch}");
            let reading = Reading::of(&tag).expect("a reading");
            proptest::prop_assert_eq!(reading.compare(&Version::new(major, minor, patch)), Ordering::Equal);
            proptest::prop_assert_eq!(reading.word, word);
        }
    }
}
