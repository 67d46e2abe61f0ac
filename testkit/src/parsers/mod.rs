//! Every parser that reads what others wrote, each with what must hold of it: the one list that the
//! property tests (`tests/all/parsers.rs`), the bounds of work and memory, and cargo-fuzz (`fuzz/`) share.
//!
//! A check takes any bytes and panics where something is not as it should be: what is printed and read again
//! is another value, what is accepted is not safe, a limit is not kept, a secret stands in an error.

mod action;
mod app_file;
mod build;
mod context;
mod deploy;
pub mod large;
mod names;
mod registry;
mod server;
mod traffic;

use http::{HeaderMap, HeaderName, HeaderValue};

/// One parser.
pub struct Entry {
    /// Its name, which is also its directory's in `fuzz/corpus/`.
    pub name: &'static str,
    /// Reads these bytes, and panics where something does not hold.
    pub check: fn(&[u8]),
    /// Words of its grammar: what the generator of texts puts together.
    pub words: &'static [&'static str],
    /// Texts of about this many bytes that are made to be slow, or to need much memory.
    pub large: fn(usize) -> Vec<Vec<u8>>,
}

/// All of them.
pub const ENTRIES: &[&[Entry]] = &[
    names::ENTRIES,
    deploy::ENTRIES,
    action::ENTRIES,
    build::ENTRIES,
    context::ENTRIES,
    server::ENTRIES,
    app_file::ENTRIES,
    registry::ENTRIES,
    traffic::ENTRIES,
];

/// One after another.
pub fn all() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter().flat_map(|group| group.iter())
}

/// An entry by its name.
pub fn find(name: &str) -> Option<&'static Entry> {
    all().find(|entry| entry.name == name)
}

/// A word that stands in the seeds where a secret would; no name, no key and no number can hold it.
pub const SECRET: &str = "hunter.2!";

/// What people get to read of a foreign text is bounded, whatever was read.
#[track_caller]
fn short(reported: &str, most: usize) {
    assert!(reported.len() <= most, "{} bytes are told: {}...", reported.len(), excerpt(reported));
}

/// Nothing of the secret is told.
#[track_caller]
fn keeps_the_secret(reported: &str) {
    assert!(!reported.contains(SECRET), "the secret is told: {}", excerpt(reported));
}

/// Printed and read again it is the same.
#[track_caller]
fn goes_round<T>(value: &T)
where
    T: std::str::FromStr + std::fmt::Display + PartialEq + std::fmt::Debug,
    T::Err: std::fmt::Debug,
{
    let printed = value.to_string();
    match printed.parse::<T>() {
        Ok(again) => assert_eq!(again, *value, "{printed:?} is read as another"),
        Err(error) => panic!("{printed:?} was printed and is refused: {error:?}"),
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(200).collect()
}

fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The first line, and what follows it.
fn first_line(text: &str) -> (&str, &str) {
    text.split_once('\n').unwrap_or((text, ""))
}

/// Letters of one kind, in these lengths.
fn letters(text: &str, lengths: std::ops::RangeInclusive<usize>, of: impl Fn(u8) -> bool) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(of)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Header lines of a text, those that a parser of HTTP would hand on.
fn headers(bytes: &[u8]) -> HeaderMap {
    let line = |line: &[u8]| {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..at]).ok()?;
        Some((name, HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?))
    };
    let mut headers = HeaderMap::new();
    // As many as hyper takes.
    for (name, value) in bytes.split(|byte| *byte == b'\n').filter_map(line).take(100) {
        headers.append(name, value);
    }
    headers
}
