//! Workflow commands: lines by which a program talks to the runner.
//!
//! Syntax and escapes are those of "Workflow commands for GitHub Actions" and of the runner's
//! `ActionCommand`. The runner obeys any line that looks like one, whoever wrote it: text that is not
//! ours never reaches the log without [`defused`] or between [`StopCommands`].

use rand::Rng as _;

use crate::pipeline::progress::Severity;
use autotag_model::text;
use autotag_model::text::Fit;

/// GitHub cuts an annotation's text at 4096 characters; cut here, the end says so.
pub const LONGEST: usize = 4000;

/// An annotation on the run's page. The command is named as the severity is.
pub fn annotation(severity: Severity, title: &str, text: &str) -> String {
    let text = text::fit(text, Fit::Lines);
    let mut cut: String = text.chars().take(LONGEST).collect();
    if cut.len() < text.len() {
        cut.push_str("\n(cut; the log has all of it)");
    }
    format!("::{severity} title={}::{}", property(title), data(&cut))
}

/// Keeps a value out of the log from here on. Several lines are masked as a whole and each for itself.
pub fn mask(value: &str) -> String {
    format!("::add-mask::{}", data(value))
}

/// Opens a group.
pub fn group(title: &str) -> String {
    format!("::group::{}", data(&text::fit(title, Fit::Line)))
}

/// Closes the open group.
pub const END_GROUP: &str = "::endgroup::";

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// A pair of lines between which the runner obeys nothing but the second one.
#[derive(Debug)]
pub struct StopCommands(String);

impl StopCommands {
    /// A pair with a token that nobody can guess, made anew for each use.
    pub fn new() -> Self {
        Self(format!("autotag-{:032x}", rand::rng().random::<u128>()))
    }

    /// The first line.
    pub fn stop(&self) -> String {
        format!("::stop-commands::{}", self.0)
    }

    /// The second line.
    pub fn resume(&self) -> String {
        format!("::{}::", self.0)
    }
}

impl Default for StopCommands {
    fn default() -> Self {
        Self::new()
    }
}

/// Somebody else's text for a line of our own: no line of it can be a command, and no control character
/// but the line break gets through. (`##[` is obeyed anywhere in a line, `::` at its start.)
pub fn defused(text: &str) -> String {
    let calm = text::fit(text, Fit::Lines);
    let lines: Vec<String> = calm
        .split('\n')
        .map(|line| {
            let line = line.replace("##[", "## [");
            if line.trim_start().starts_with("::") { line.replacen("::", ": :", 1) } else { line }
        })
        .collect();
    lines.join("\n")
}

/// JSON that means the same, that no runner obeys and that misleads nobody: whoever wrote its texts, `##[` and
/// what [`text::misleads`] are spelled otherwise.
/// (A line of JSON never starts with `::`.)
pub fn defused_json(json: &str) -> String {
    let json = json.replace("##[", "#\\u0023[");
    if !json.contains(|one| text::misleads(one) && one != '\n') {
        return json;
    }
    let spelled = |one: char| match one {
        '\n' => "\n".to_owned(),
        // All of them are of the first plane, which one escape spells.
        one if text::misleads(one) => format!("\\u{:04x}", u32::from(one)),
        one => one.to_string(),
    };
    json.chars().map(spelled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_escaped_as_the_runner_reads_them() {
        assert_eq!(
            annotation(Severity::Error, "a: b, c", "100%\nof it"),
            "::error title=a%3A b%2C c::100%25%0Aof it"
        );
        assert_eq!(mask("a\nb"), "::add-mask::a%0Ab");
        assert_eq!(group("50% done"), "::group::50%25 done");
    }

    #[test]
    fn long_annotations_say_that_they_are_cut() {
        let text = annotation(Severity::Notice, "t", &"ä".repeat(5000));
        assert!(text.chars().count() < 4096 && text.ends_with("(cut; the log has all of it)"));
    }

    // invariant no-foreign-commands
    #[test]
    fn foreign_lines_cannot_command() {
        for text in
            ["::error::x", "  ::add-mask::x", "ok\n::stop-commands::x", "\r::error::x", "a ##[error]b"]
        {
            let safe = defused(text);
            for line in safe.split(['\n', '\r']) {
                assert!(
                    !line.trim_start().starts_with("::") && !line.contains("##["),
                    "{text:?} became {safe:?}"
                );
            }
        }
        assert_eq!(defused("std::fmt stays"), "std::fmt stays");
    }

    // case X9
    #[test]
    fn what_misleads_a_reader_reaches_no_line() {
        let evil = "a\u{202e}b\u{2066}c\u{9b}d";
        for line in [annotation(Severity::Error, "t", evil), group(evil), defused(evil), defused_json(evil)] {
            assert!(!line.chars().any(text::misleads), "{line:?}");
        }
    }

    #[test]
    fn defused_json_means_the_same() {
        let value =
            serde_json::json!({ "a ##[error]b": "###[group]", "c": ["#", "[", "##[", "x\u{202e}\u{85}"] });
        let safe = defused_json(&value.to_string());
        assert!(!safe.contains("##["), "{safe}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
    }

    #[test]
    fn stop_tokens_are_never_the_same() {
        assert_ne!(StopCommands::new().stop(), StopCommands::new().stop());
    }
}
