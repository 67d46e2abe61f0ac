//! Durations, sizes and numbers as Compose writes them (Compose specification, "Specifying durations",
//! "Specifying byte values").

use std::time::Duration;

use autotag_model::reference::ParseError;

fn malformed<T>(expected: &str) -> Result<T, ParseError> {
    Err(ParseError(expected.to_owned()))
}

/// `1m30s`, `250ms`: see [`autotag_model::duration`].
pub(crate) fn duration(text: &str) -> Result<Duration, ParseError> {
    autotag_model::duration::duration(text)
        .ok_or_else(|| ParseError("a duration with its unit (`h`, `m`, `s`, `ms`, `us`)".to_owned()))
}

/// A duration of at most an hour: what a deployment may wait for.
pub(crate) fn wait(text: &str) -> Result<Duration, ParseError> {
    let time = duration(text)?;
    if time > Duration::from_hours(1) {
        return malformed("at most an hour");
    }
    Ok(time)
}

/// `512m`, `1gb`, `1073741824`: bytes, or a whole number with `b`, `k`, `m`, `g` (1024 each), a `b` behind.
pub(crate) fn size(text: &str) -> Result<u64, ParseError> {
    let expected = "a size in bytes, or with `k`, `m` or `g`";
    let lower = text.to_ascii_lowercase();
    let digits = lower.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = lower.split_at(digits);
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" | "kb" => 1 << 10,
        "m" | "mb" => 1 << 20,
        "g" | "gb" => 1 << 30,
        _ => return malformed(expected),
    };
    match number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)) {
        // The Engine keeps sizes in a signed number.
        Some(bytes) if i64::try_from(bytes).is_ok() => Ok(bytes),
        _ => malformed(expected),
    }
}

/// Memory for a container; the Engine refuses less than 6 MiB.
pub(crate) fn memory(text: &str) -> Result<u64, ParseError> {
    let bytes = size(text)?;
    if bytes < 6 << 20 { malformed("at least `6m`, the least that Docker takes") } else { Ok(bytes) }
}

/// `0.5`, `2`: processors, in billionths as the Engine counts them.
pub(crate) fn cpus(text: &str) -> Result<u64, ParseError> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || whole.len() > 4 || part.len() > 9 {
        return malformed("");
    }
    match (whole.parse::<u64>(), format!("{part:0<9}").parse::<u64>()) {
        (Ok(whole), Ok(part)) if whole + part > 0 => Ok(whole * 1_000_000_000 + part),
        _ => malformed(""),
    }
}

/// A whole number within bounds.
pub(crate) fn number(low: u32, high: u32) -> impl Fn(&str) -> Result<u32, ParseError> {
    move |text| match text.parse::<u32>() {
        // To some readers of YAML it is octal.
        Ok(_) if text.starts_with('0') && text.len() > 1 => {
            Err(ParseError(format!("a number from {low} to {high}, without a leading zero")))
        }
        Ok(number) if (low..=high).contains(&number) && !text.starts_with('+') => Ok(number),
        _ => Err(ParseError(format!("a number from {low} to {high}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_at_most_an_hour() {
        assert_eq!(wait("60m"), Ok(Duration::from_hours(1)));
        assert_eq!(wait("1h1us"), malformed("at most an hour"));
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("10b", 10),
            ("2k", 2048),
            ("512m", 512 << 20),
            ("512MB", 512 << 20),
            ("1g", 1 << 30),
            ("3Gb", 3 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "m", "1.5g", "-1", "1t", "1 g", "1gib", "9223372036854775808", "9999999999g"] {
            assert!(size(text).is_err(), "{text:?} was accepted");
        }
        assert_eq!(memory("6m"), Ok(6_291_456));
        assert!(memory("6291455").is_err());
        assert_eq!(size("9223372036854775807"), Ok(9_223_372_036_854_775_807));
    }

    #[test]
    fn processors_and_numbers() {
        for (text, nano) in [
            ("1", 1_000_000_000),
            ("0.5", 500_000_000),
            ("1.25", 1_250_000_000),
            ("0.000000001", 1),
            ("9999.5", 9_999_500_000_000),
        ] {
            assert_eq!(cpus(text), Ok(nano), "{text}");
        }
        for text in ["", "0", "0.0", ".5", "1.", "-1", "1e3", "99999", "1.0000000001"] {
            assert!(cpus(text).is_err(), "{text:?} was accepted");
        }
        assert_eq!(number(1, 9)("9"), Ok(9));
        for text in ["0", "10", "+1", "1.0", ""] {
            assert!(number(1, 9)(text).is_err(), "{text:?} was accepted");
        }
    }
}
