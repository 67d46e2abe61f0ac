//! Durations as people write them.

use std::time::Duration;

use jiff::fmt::friendly::{Designator, Spacing, SpanParser, SpanPrinter};

/// `90s`, `10m`, `1h30m`, `250ms`: numbers with their units, the longer unit first. `None` for anything else, for what
/// is negative, for what has days or more, whose length depends on the day, and for more than 292 years, which no
/// count of nanoseconds in 64 bits holds.
///
/// The grammar is jiff's "friendly" one without white space, so that a word of a list is one word.
pub fn duration(text: &str) -> Option<Duration> {
    if text.contains(char::is_whitespace) {
        return None;
    }
    let duration = Duration::try_from(SpanParser::new().parse_duration(text).ok()?).ok()?;
    i64::try_from(duration.as_nanos()).is_ok().then_some(duration)
}

/// In the same form, such as `1m30s`.
pub fn text(duration: Duration) -> String {
    let printer = SpanPrinter::new().spacing(Spacing::None).designator(Designator::Compact);
    printer.unsigned_duration_to_string(&duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_written_with_the_longest_units() {
        for (seconds, expected) in [(0, "0s"), (3, "3s"), (60, "1m"), (5_410, "1h30m10s")] {
            assert_eq!(text(Duration::from_secs(seconds)), expected);
        }
        assert_eq!(text(Duration::from_millis(250)), "250ms");
    }

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("1h", 3_600_000),
            ("0s", 0),
            ("1.5s", 1_500),
            ("1h0m1s5ms", 3_601_005),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(duration(text), Some(expected), "{text}");
            assert_eq!(duration(&super::text(expected)), Some(expected), "{text} as it is written");
        }
        for text in [
            "",
            "30",
            "s",
            "30s1m",
            "1s1s",
            "-1s",
            "1 s",
            "1d",
            "1w",
            "99999999999999999999s",
            "5124095576031h",
            "\u{e4}",
        ] {
            assert_eq!(duration(text), None, "{text:?} was accepted");
        }
    }
}
