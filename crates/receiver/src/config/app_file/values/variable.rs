//! Names of variables that the owner sets.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use autotag_model::reference::ParseError;
use autotag_model::secret::Secret;
use autotag_protocol::EnvironmentKey;

/// The owner's variables by their names.
pub type OwnVariables = BTreeMap<VariableName, Secret>;

/// The name of a variable in the owner's files: a letter or `_`, then letters, digits, `_`, `.`, `-`, `[` and `]`;
/// at most 128. Elasticsearch reads `discovery.type`, Spring `my.list[0]`.
///
/// What CI may set is stricter ([`EnvironmentKey`]): those names go through shells and GitHub's own files.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VariableName(String);

impl VariableName {
    /// The text itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VariableName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = (1..=128).contains(&text.len())
            && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-[]".contains(&byte));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError(
                "a variable's name: letters, digits, `_`, `.` and `-`, a letter or `_` first".to_owned(),
            ))
        }
    }
}

impl From<EnvironmentKey> for VariableName {
    /// Each name that CI may set is one.
    fn from(key: EnvironmentKey) -> Self {
        Self(key.into())
    }
}

impl TryFrom<String> for VariableName {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<VariableName> for String {
    fn from(name: VariableName) -> Self {
        name.0
    }
}

impl fmt::Display for VariableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The most bytes of `NAME=value` and its end: Linux starts no program with a longer text (`MAX_ARG_STRLEN`).
pub(in crate::config::app_file) const VARIABLE_BYTES: usize = 128 * 1024;

/// A variable and its value.
pub(in crate::config::app_file) fn variable(
    name: &str,
    value: &str,
) -> Result<(VariableName, Secret), ParseError> {
    let key = name.parse()?;
    if value.contains('\0') {
        return expected("a value without NUL");
    }
    if name.len() + value.len() + 2 > VARIABLE_BYTES {
        return expected("less than 128 KiB in one variable: Linux starts no program with more");
    }
    Ok((key, Secret::verbatim(value.to_owned())))
}

fn expected<T>(what: &str) -> Result<T, ParseError> {
    Err(ParseError(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_programs_read() {
        for text in ["A", "a", "_", "RUST_LOG", "discovery.type", "xpack.security-enabled", "list[0]", "A1"] {
            assert_eq!(text.parse::<VariableName>().map(String::from).as_deref(), Ok(text));
        }
        for text in ["", "1A", ".a", "-a", "[a", "a b", "a=b", "a:b", "a\tb", "a\0", "\u{e4}", "a$", "a'"] {
            assert!(text.parse::<VariableName>().is_err(), "{text:?} was accepted");
        }
        let of = |length: usize| "a".repeat(length).parse::<VariableName>();
        assert!(of(128).is_ok() && of(129).is_err());
    }

    proptest::proptest! {
        #[test]
        fn what_ci_may_set_is_one(text in "[A-Za-z0-9_.-]{0,12}") {
            if let Ok(key) = text.parse::<EnvironmentKey>() {
                proptest::prop_assert_eq!(VariableName::from(key), text.parse().unwrap());
            }
        }
    }

    #[test]
    fn a_variable_has_a_valid_name_and_value() {
        assert!(variable("A", "a\0b").is_err() && variable("A B", "").is_err());
        assert_eq!(variable("A", " b ").map(|(_, value)| value.reveal().to_owned()), Ok(" b ".to_owned()));
    }
}
