//! The event's payload: the few fields that are read, whatever else people wrote into it.
//!
//! Most of a payload is text of others: titles, messages, inputs. JSON lets them hold half of a pair of surrogates
//! (`"\ud83d"`), which no Rust text can; lists may be nested deeper than a reader likes. None of that is read here.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// The fields of a payload that somebody asks for. What else is there is passed over unread.
#[derive(Deserialize)]
struct Payload {
    action: Option<Lenient>,
    repository: Option<Lenient>,
    release: Option<Lenient>,
    workflow_run: Option<Lenient>,
}

/// A field of any type; one that cannot be read counts as absent.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lenient {
    Read(Value),
    Not(IgnoredAny),
}

/// Reads a payload down to its fields.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let text = String::from_utf8_lossy(bytes);
    let text = with_whole_characters(text.trim_start_matches('\u{feff}'));
    let payload: Payload = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let fields = [
        ("action", payload.action),
        ("repository", payload.repository),
        ("release", payload.release),
        ("workflow_run", payload.workflow_run),
    ];
    let read = fields.into_iter().filter_map(|(name, field)| match field? {
        Lenient::Read(value) => Some((name.to_owned(), value)),
        Lenient::Not(_) => None,
    });
    Ok(Value::Object(read.collect::<Map<_, _>>()))
}

/// The text with U+FFFD in place of each escape that is half of a pair of surrogates (RFC 8259, section 8.2).
fn with_whole_characters(text: &str) -> String {
    let mut whole = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        whole.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => {
                whole.push_str("\\ufffd");
                rest = &rest[6..];
                continue;
            }
            (Some(_), _) => 6,
            // An escape of one character, `\\` among them: what follows it is none.
            (None, _) => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
        };
        whole.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    whole + rest
}

/// The code unit that an escape `\uXXXX` at the start of this text means.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let all_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    all_hex.then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branch(text: &str) -> Option<String> {
        let payload = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
        Some(payload.pointer("/repository/default_branch")?.as_str()?.to_owned())
    }

    #[test]
    fn what_is_not_asked_for_is_not_read() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let with = |field: &str| format!("{{{field}, \"repository\": {{\"default_branch\": \"main\"}}}}");
        for field in [
            r#""head_commit": {"message": "half \ud83d of a pair"}"#,
            r#""inputs": {"\udc00": "\ude00\ud83d"}"#,
            r#""x": "\\\ud83d""#,
            r#""action": "\ud83d""#,
            r#""action": 7"#,
            r#""release": "none""#,
            &format!("\"client_payload\": {deep}"),
        ] {
            assert_eq!(branch(&with(field)).as_deref(), Some("main"), "{field:.80}");
        }
        assert_eq!(branch(&format!("\u{feff}{}", with("\"a\": 1"))).as_deref(), Some("main"));
        for text in ["", "no JSON", "[]", "{\"repository\": {}", "{} {}"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        let invalid = [b"{\"x\": \"".as_slice(), &[0xff], b"\", \"action\": \"published\"}"].concat();
        assert_eq!(parse(&invalid).unwrap()["action"], "published");
    }

    #[test]
    fn whole_pairs_and_other_escapes_stay() {
        for (text, expected) in [
            (r"\ud83d\ude00", r"\ud83d\ude00"),
            (r"\ud83d", r"\ufffd"),
            (r"\ude00\ud83d", r"\ufffd\ufffd"),
            (r"\ud83d\ud83d\ude00", r"\ufffd\ud83d\ude00"),
            (r"\\ud83d", r"\\ud83d"),
            (r"\\\ud83d", r"\\\ufffd"),
            (r"\u00e4\n\u12", r"\u00e4\n\u12"),
            ("\\", "\\"),
            ("\\ä", "\\ä"),
            ("", ""),
        ] {
            assert_eq!(with_whole_characters(text), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn what_json_reads_is_read_alike(text in "(\\\\u[dD][89a-fA-F][0-9]{2}|\\\\\\\\|\\\\n|[a-zä]){0,8}") {
            let json = format!("{{\"action\": \"{text}\"}}");
            let read = parse(json.as_bytes()).map_err(proptest::test_runner::TestCaseError::fail)?;
            if let Ok(strict) = serde_json::from_str::<Value>(&json) {
                proptest::prop_assert_eq!(read, strict);
            }
        }
    }
}
