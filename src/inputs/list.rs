//! Inputs that are lists: one entry a line, with comments, and with the quotes of CSV (RFC 4180).
//!
//! ```text
//! list    = line *( LF line )
//! line    = blank / comment / quoted / plain
//! comment = *WSP "#" *any
//! quoted  = *WSP DQUOTE *( any / 2DQUOTE ) DQUOTE *WSP   ; may go over several lines
//! plain   = *any                                         ; does not begin with DQUOTE
//! words   = word *( "," word )                           ; where commas separate as well
//! ```
//!
//! docker/build-push-action reads its lists as CSV, so its users quote what has commas, quotes or line
//! breaks: `"GREETING=say ""hello"""` is `GREETING=say "hello"`. A quote that opens and does not close is
//! a fault: taken to the letter it would be a key that nothing asks for.

/// One entry, and the line on which it begins, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// From 1.
    pub line: usize,
    /// Without quotes, and without white space around it.
    pub text: String,
}

/// A line that is no entry; the line's text stays out, since it may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unquotable {
    /// From 1.
    pub line: usize,
}

impl Unquotable {
    /// What was expected in its place.
    pub const EXPECTED: &str = "a quote at the end of what begins with one, with `\"\"` for a quote inside";
}

/// The entries, one a line.
pub fn lines(text: &str) -> Vec<Result<Item, Unquotable>> {
    let mut items = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while !rest.is_empty() {
        let (first, after) = rest.split_once('\n').unwrap_or((rest, ""));
        let trimmed = first.trim();
        let mut length = first.len();
        if trimmed.starts_with('"') {
            match quoted(&rest[first.len() - first.trim_start().len()..]) {
                Some((text, read)) => {
                    length = first.len() - first.trim_start().len() + read;
                    items.push(Ok(Item { line, text }));
                }
                None => items.push(Err(Unquotable { line })),
            }
        } else if !trimmed.is_empty() && !trimmed.starts_with('#') {
            items.push(Ok(Item { line, text: trimmed.to_owned() }));
        }
        line += rest[..length].matches('\n').count() + 1;
        rest = if length == first.len() { after } else { rest[length..].strip_prefix('\n').unwrap_or("") };
    }
    items
}

/// The entries, separated by lines and by commas. Quotes do not go over lines here.
pub fn words(text: &str) -> Vec<Result<Item, Unquotable>> {
    let mut items = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if text.trim_start().starts_with('#') {
            continue;
        }
        let mut rest = text;
        while !rest.is_empty() {
            let word = rest.trim_start();
            let plain = || {
                let (found, after) = word.split_once(',').unwrap_or((word, ""));
                Some((found.to_owned(), after))
            };
            let found = if word.starts_with('"') { quoted_word(word) } else { plain() };
            let Some((found, after)) = found else {
                items.push(Err(Unquotable { line }));
                break;
            };
            // As docker/build-push-action has it, commas separate inside of quotes too.
            let parts = found.split(',').map(str::trim).filter(|part| !part.is_empty());
            items.extend(parts.map(|part| Ok(Item { line, text: part.to_owned() })));
            rest = after;
        }
    }
    items
}

/// What stands between quotes at the text's start, and where its line ends; nothing may stand behind it.
fn quoted(text: &str) -> Option<(String, usize)> {
    let (found, end) = unquoted(text)?;
    let line_end = text[end..].find('\n').map_or(text.len(), |at| end + at);
    text[end..line_end].trim().is_empty().then_some((found, line_end))
}

/// Likewise up to the comma behind it.
fn quoted_word(text: &str) -> Option<(String, &str)> {
    let (found, end) = unquoted(text)?;
    let after = text[end..].trim_start();
    match after.strip_prefix(',') {
        Some(after) => Some((found, after)),
        None => after.is_empty().then_some((found, "")),
    }
}

/// What stands between quotes at the text's start, and the place behind the closing one.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let mut found = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != '"' {
            found.push(character);
        } else if characters.next_if(|(_, next)| *next == '"').is_some() {
            found.push('"');
        } else {
            return Some((found, at + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(items: Vec<Result<Item, Unquotable>>) -> Vec<String> {
        let shown = |item| match item {
            Ok(Item { line, text }) => format!("{line} {text}"),
            Err(Unquotable { line }) => format!("{line} !"),
        };
        items.into_iter().map(shown).collect()
    }

    // case A8
    #[test]
    fn lines_have_comments_and_quotes() {
        for (text, expected) in [
            ("", &[][..]),
            ("A=1\n\n  B=2  \r\n", &["1 A=1", "3 B=2"]),
            ("# all\nA=1\n  #B=2\nC=#3", &["2 A=1", "4 C=#3"]),
            ("\"A=1\"", &["1 A=1"]),
            ("  \"A=1, 2\"  \r\nB=2", &["1 A=1, 2", "2 B=2"]),
            ("\"A=say \"\"hi\"\"\"", &["1 A=say \"hi\""]),
            ("\"A=one\ntwo\n\"\nB=2", &["1 A=one\ntwo\n", "4 B=2"]),
            ("A=\"1\"", &["1 A=\"1\""]),
            ("A={\"a\": 1}", &["1 A={\"a\": 1}"]),
            ("A=1,B=2", &["1 A=1,B=2"]),
            ("\"A=1", &["1 !"]),
            ("\"A=1\nB=2", &["1 !", "2 B=2"]),
            ("\"A=1\" B=2\nC=3", &["1 !", "2 C=3"]),
            ("\"A=1\",\"B=2\"", &["1 !"]),
            ("\"\"", &["1 "]),
        ] {
            assert_eq!(shown(lines(text)), expected, "{text:?}");
        }
    }

    #[test]
    fn words_are_separated_by_commas_too() {
        for (text, expected) in [
            ("main, release/*", &["1 main", "1 release/*"][..]),
            ("main\n# dev\nnext,,x", &["1 main", "3 next", "3 x"]),
            ("\"main\", \"dev\"", &["1 main", "1 dev"]),
            ("\"main, dev\"", &["1 main", "1 dev"]),
            ("\"main\nnext", &["1 !", "2 next"]),
            ("\"main\" dev", &["1 !"]),
            (" , ,\n", &[]),
        ] {
            assert_eq!(shown(words(text)), expected, "{text:?}");
        }
    }

    proptest! {
        /// Whatever is quoted comes out as it was, and nothing is lost of what is not.
        #[test]
        fn what_is_quoted_comes_back(values in proptest::collection::vec("[A-Z]=[a-z\",# \n]{0,9}", 0..5)) {
            let quoted: Vec<String> = values.iter().map(|text| format!("\"{}\"", text.replace('"', "\"\""))).collect();
            let read: Vec<String> = lines(&quoted.join("\n")).into_iter().map(|item| item.expect("quoted").text).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn every_line_is_an_entry_a_comment_or_a_fault(text in "[A=\",# \n]{0,40}") {
            for list in [lines(&text), words(&text)] {
                let numbers: Vec<usize> =
                    list.iter().map(|item| item.as_ref().map_or_else(|bad| bad.line, |good| good.line)).collect();
                prop_assert!(numbers.is_sorted() && numbers.iter().all(|line| *line <= text.lines().count()));
            }
        }
    }
}
