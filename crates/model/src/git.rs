//! Names of Git objects and refs.

use std::fmt;
use std::str::FromStr;

use crate::reference::ParseError;

/// The name of a Git object: 40 (SHA-1) or 64 (SHA-256) lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectId(String);

impl ObjectId {
    /// GitHub's word for "must not exist" in `beforeOid` (GraphQL reference, `RefUpdate`).
    pub fn zero() -> Self {
        Self("0".repeat(40))
    }

    /// All hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, for tags and for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ObjectId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError("a full commit or object name: 40 lower-case hexadecimal digits".to_owned()))
        }
    }
}

impl TryFrom<String> for ObjectId {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<ObjectId> for String {
    fn from(id: ObjectId) -> Self {
        id.0
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A full ref name, `refs/…`, by the rules of git-check-ref-format(1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName(String);

impl RefName {
    /// `refs/tags/NAME`.
    pub fn tag(name: &str) -> Result<Self, ParseError> {
        format!("refs/tags/{name}").parse()
    }

    /// The whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without `refs/`, as GitHub's REST paths want it.
    pub fn without_refs(&self) -> &str {
        &self.0["refs/".len()..]
    }
}

impl FromStr for RefName {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad_character =
            |character: char| character.is_ascii_control() || " ~^:?*[\\\u{7f}".contains(character);
        // Git looks for `.lock` in small letters only, so a tag `v1.LOCK` may be there.
        let parts_fit = text
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none());
        let fits = text.starts_with("refs/")
            && text.split('/').count() >= 3
            && parts_fit
            && !text.contains("..")
            && !text.contains("@{")
            && !text.ends_with('.')
            && !text.contains(bad_character);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError("a full ref name by git-check-ref-format, such as refs/autotag/v/head".to_owned()))
        }
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_ids_are_full_and_lower_case() {
        assert!("a".repeat(40).parse::<ObjectId>().is_ok());
        assert!("0".repeat(64).parse::<ObjectId>().is_ok());
        for text in ["", "abc", &"A".repeat(40), &"g".repeat(40), &"a".repeat(41)] {
            assert!(text.parse::<ObjectId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_written_as_they_were_read() {
        let text = "0123456789abcdef".repeat(3)[..40].to_owned();
        let id: ObjectId = text.parse().unwrap();
        assert_eq!((id.as_str(), id.to_string(), id.short()), (&*text, text.clone(), "0123456789ab"));
        assert_eq!(serde_json::to_value(&id).unwrap(), text);
        assert_eq!(serde_json::from_value::<ObjectId>(text.into()).unwrap(), id);
        assert!(serde_json::from_value::<ObjectId>("main".into()).is_err());
        let name: RefName = "refs/tags/v1".parse().unwrap();
        assert_eq!((name.as_str(), name.without_refs()), ("refs/tags/v1", "tags/v1"));
        assert_eq!((name.to_string(), RefName::tag("v1").unwrap()), ("refs/tags/v1".to_owned(), name));
    }

    #[test]
    fn ref_names_follow_check_ref_format() {
        for text in ["refs/tags/v1.2.3", "refs/autotag/api/v/head", "refs/heads/a@b", "refs/tags/v1.LOCK"] {
            assert!(text.parse::<RefName>().is_ok(), "{text:?}");
        }
        for text in [
            "",
            "tags/v1",
            "refs/",
            "refs/tags",
            "refs//v1",
            "refs/tags/",
            "refs/tags/.v",
            "refs/tags/a..b",
            "refs/tags/a.lock",
            "refs/tags/a b",
            "refs/tags/a~1",
            "refs/tags/a^",
            "refs/tags/a:b",
            "refs/tags/a?",
            "refs/tags/a*",
            "refs/tags/[a",
            "refs/tags/a\\b",
            "refs/tags/a\tb",
            "heads/tags/v1",
            "refs/tags/a@{1}",
            "refs/tags/a.",
        ] {
            assert!(text.parse::<RefName>().is_err(), "{text:?} was accepted");
        }
    }
}
