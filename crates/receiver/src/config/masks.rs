//! What the owner keeps from CI: the values of the app file's variables, in what a container or an error says.
//!
//! What is masked, of each value of at least [`LEAST`] bytes:
//!
//! ```text
//! value      = as given / trimmed / each of its lines
//! form       = value / JSON string / percent-encoded / hexadecimal / Base64, also within a longer text
//! ```
//!
//! Shorter values (`info`, `3000`, `true`) are settings rather than secrets, and would make every log unreadable.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use autotag_model::secret::Secret;
use autotag_protocol::{End, Event, HistoryEntry};

/// The shortest value that is masked, in bytes.
const LEAST: usize = 6;

/// What stands in the place of one.
const MASK: &str = "***";

/// How a text ends that was cut.
const CUT: char = '\u{2026}';

/// Texts that CI does not get to see.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Masks {
    /// The longest first: one may be a part of another.
    texts: Vec<String>,
}

impl fmt::Debug for Masks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masks({})", self.texts.len())
    }
}

impl Masks {
    /// Those of these values.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut texts = BTreeSet::new();
        for value in values {
            let value = value.reveal();
            for part in [value, value.trim()].into_iter().chain(value.lines().map(str::trim)) {
                if part.len() >= LEAST {
                    texts.extend(forms(part));
                }
            }
        }
        let mut texts: Vec<String> = texts.into_iter().collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self { texts }
    }

    /// These and those.
    #[must_use]
    pub fn and(&self, more: &Self) -> Self {
        let all: BTreeSet<&String> = self.texts.iter().chain(&more.texts).collect();
        let mut texts: Vec<String> = all.into_iter().cloned().collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self { texts }
    }

    /// A text without them.
    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for mask in &self.texts {
            if text.contains(mask.as_str()) {
                text = text.replace(mask.as_str(), MASK);
            }
        }
        self.without_cut_end(text)
    }

    /// Where a text was cut within one, its beginning stands there.
    fn without_cut_end(&self, text: String) -> String {
        let Some(kept) = text.strip_suffix(CUT) else { return text };
        let begun = self.texts.iter().filter_map(|mask| {
            let lengths = (LEAST / 2..mask.len()).rev().filter(|length| mask.is_char_boundary(*length));
            lengths.into_iter().find(|length| kept.ends_with(&mask[..*length]))
        });
        match begun.max() {
            Some(length) => format!("{}{MASK}{CUT}", &kept[..kept.len() - length]),
            None => text,
        }
    }

    /// An answer without them; what programs read in it stays.
    pub fn answer(&self, answer: Event) -> Event {
        if self.texts.is_empty() {
            return answer;
        }
        match answer {
            Event::Log { from, line } => Event::Log { from, line: self.text(&line) },
            Event::Note { text } => Event::Note { text: self.text(&text) },
            Event::StepEnded { step, milliseconds, failed } => {
                Event::StepEnded { step, milliseconds, failed: failed.map(|why| self.text(&why)) }
            }
            Event::Status(mut status) => {
                status.drift = status.drift.iter().map(|text| self.text(text)).collect();
                status.asked = status.asked.map(|entry| self.entry(entry));
                Event::Status(status)
            }
            Event::History(entry) => Event::History(Box::new(self.entry(*entry))),
            Event::Result(mut outcome) => {
                outcome.end = self.end(outcome.end);
                Event::Result(outcome)
            }
            other @ (Event::Heartbeat {}
            | Event::Waiting { .. }
            | Event::StepStarted { .. }
            | Event::Unknown(_)) => other,
        }
    }

    fn entry(&self, entry: HistoryEntry) -> HistoryEntry {
        HistoryEntry { end: self.end(entry.end), ..entry }
    }

    fn end(&self, end: End) -> End {
        match end {
            End::Refused { code, message } => End::Refused { code, message: self.text(&message) },
            End::Failed { step, code, message } => End::Failed { step, code, message: self.text(&message) },
            other @ (End::Deployed {}
            | End::Unchanged {}
            | End::RolledBack {}
            | End::Reported {}
            | End::Unknown(_)) => other,
        }
    }
}

/// A value, and what becomes of it on its way into a log.
fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    let json = serde_json::Value::from(value).to_string();
    forms.push(json[1..json.len() - 1].to_owned());
    // As programs print a text for people who debug them.
    let debug = format!("{value:?}");
    forms.push(debug[1..debug.len() - 1].to_owned());
    for (upper, space) in [(true, "%20"), (false, "%20"), (true, "+")] {
        forms.push(percent(value, upper, space));
    }
    let hex = hex(value);
    forms.push(hex.to_uppercase());
    forms.push(hex);
    forms.extend(base64(value.as_bytes()));
    forms
}

fn hex(value: &str) -> String {
    value.bytes().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// RFC 3986, 2.1: everything but the unreserved characters.
fn percent(value: &str, upper: bool, space: &str) -> String {
    value.bytes().fold(String::new(), |text, byte| match byte {
        b' ' => text + space,
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            text + &char::from(byte).to_string()
        }
        _ if upper => text + &format!("%{byte:02X}"),
        _ => text + &format!("%{byte:02x}"),
    })
}

/// What of the Base64 of any text depends on this part of it alone, wherever the part begins: three bytes are four
/// letters, so there are three cases. `user:password`, as HTTP's Basic scheme has it, is such a text.
fn base64(value: &[u8]) -> Vec<String> {
    let mut forms = Vec::new();
    for before in 0..3_usize {
        let padded = [&[0; 2][..before], value].concat();
        // Letters that share a bit with a byte of others are left out.
        let (first, last) = ((before * 8).div_ceil(6), padded.len() * 8 / 6);
        for encoded in [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)] {
            let form = &encoded[first..last];
            if form.len() >= LEAST {
                forms.push(form.to_owned());
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;
    use autotag_protocol::{Outcome, RolloutStep, Source};

    fn masks(values: &[&str]) -> Masks {
        let values: Vec<Secret> = values.iter().map(|value| Secret::verbatim((*value).to_owned())).collect();
        Masks::of(&values)
    }

    const SECRET: &str = "pa55 w\u{f6}rd/\"?";

    #[test]
    fn a_value_is_masked_in_every_form() {
        let masks = masks(&[SECRET]);
        let hex = hex(SECRET);
        for text in [
            SECRET.to_owned(),
            format!("url=postgres://u:{SECRET}@db"),
            serde_json::Value::from(SECRET).to_string(),
            format!("{SECRET:?}"),
            "pa55%20w%C3%B6rd%2F%22%3F".to_owned(),
            "pa55%20w%c3%b6rd%2f%22%3f".to_owned(),
            "pa55+w%C3%B6rd%2F%22%3F".to_owned(),
            hex.to_uppercase(),
            hex,
        ] {
            let shown = masks.text(&text);
            assert!(
                shown.contains(MASK) && !shown.contains("pa55") && !shown.contains("706135"),
                "{text}: {shown}"
            );
        }
        // Basic's `user:password`, with users of every length.
        for user in ["", "u", "us", "use", "user"] {
            for after in ["", "a", "ab"] {
                let whole = format!("{user}:{SECRET}{after}");
                for encoded in [STANDARD_NO_PAD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                    let shown = masks.text(&format!("Basic {encoded}"));
                    // Three letters at each end may say something of a byte next to it.
                    assert!(shown.contains(MASK), "{whole}: {shown}");
                    assert!(
                        shown.len() <= "Basic ".len() + (user.len() + after.len() + 1) * 4 / 3 + 10,
                        "{shown}"
                    );
                }
            }
        }
    }

    #[test]
    fn short_values_are_no_secrets_and_longest_go_first() {
        let masks = masks(&["info", "3000", "true", "", "  12  ", "secret", "secret-and-more"]);
        assert_eq!(masks.text("info true 3000 12"), "info true 3000 12");
        assert_eq!(masks.text("a secret-and-more, a secret"), "a ***, a ***");
        assert_eq!(Masks::default().text("secret"), "secret");
        assert!(!format!("{masks:?}").contains("secret"));
    }

    #[test]
    fn each_line_of_a_key_is_masked_even_when_cut() {
        let masks = masks(&["-----BEGIN KEY-----\n  AAAABBBBCCCC\nDDDDEEEE\n-----END KEY-----\n"]);
        for line in ["AAAABBBBCCCC", "DDDDEEEE", "-----BEGIN KEY-----"] {
            assert_eq!(masks.text(line), MASK);
        }
        for length in 3..12 {
            let cut = format!("x={}{CUT}", &"AAAABBBBCCCC"[..length]);
            assert_eq!(masks.text(&cut), format!("x={MASK}{CUT}"), "{cut}");
        }
        assert_eq!(masks.text("plain\u{2026}"), "plain\u{2026}");
    }

    #[test]
    fn texts_of_events_are_masked_and_codes_stay() {
        let masks = masks(&["hunter22"]);
        let text = || "it is hunter22".to_owned();
        let failed = End::Failed {
            step: autotag_protocol::Open::Known(RolloutStep::Health),
            code: autotag_protocol::FailureCode::Unhealthy.into(),
            message: text(),
        };
        let outcome = Outcome { end: failed.clone(), running: None, deployment: None, milliseconds: 1 };
        for answer in [
            Event::log(Source::Application, "it is hunter22"),
            Event::Note { text: text() },
            Event::StepEnded {
                step: autotag_protocol::Open::Known(RolloutStep::Smoke),
                milliseconds: 1,
                failed: Some(text()),
            },
            Event::Result(Box::new(outcome.clone())),
        ] {
            let shown = format!("{:?}", masks.answer(answer.clone()));
            assert_eq!(shown, format!("{answer:?}").replace("hunter22", MASK));
        }
        assert_eq!(Masks::default().answer(Event::Note { text: text() }), Event::Note { text: text() });
    }

    #[test]
    fn masks_add_up() {
        let both = masks(&["first-one"]).and(&masks(&["second-one", "first-one-too"]));
        assert_eq!(both.text("first-one second-one first-one-too"), "*** *** ***");
    }
}
