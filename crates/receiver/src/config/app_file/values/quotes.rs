//! Values that YAML reads as something else than they look: what is wrong, and with which key.
//!
//! The library tells where it could not go on, which is at the value, behind it or some lines below, and what it
//! was looking for. People look for the value: so the lines before that place are searched for an entry whose
//! value begins with a sign that YAML has for itself, and the remedy is nearly always quotes.

use crate::config::app_file::syntax::fault::Fault;
use crate::config::app_file::syntax::tree::{Place, TOO_MUCH};

/// So many lines before the place are looked at.
const LINES: usize = 4;

/// What a value's spelling means to YAML, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Suspect {
    column: usize,
    key: String,
    expected: String,
    /// The value, which may be shown if its key may.
    value: String,
}

/// The fault of a text that the library does not read: `place` and `why` are its own words.
pub(crate) fn explain(text: &str, place: Place, why: &str, is_public: impl Fn(&str) -> bool) -> Fault {
    let lines: Vec<&str> = text.lines().collect();
    let last = place.line.min(lines.len());
    let first = last.saturating_sub(LINES);
    // What is too much is no matter of spelling.
    let found = (first..last)
        .rev()
        .filter(|_| !why.contains(TOO_MUCH))
        .find_map(|at| Some((at, suspect(lines[at])?)));
    let found =
        found.or_else(|| unclosed(&lines, why)).or_else(|| too_far_right(&lines, last.checked_sub(1)?));
    let Some((at, suspect)) = found else {
        return Fault {
            place,
            key: String::new(),
            expected: format!("YAML that can be read: {why}"),
            found: None,
            example: String::new(),
        };
    };
    let key = path(&lines[..at], indent(lines[at]), &suspect.key);
    let shown = if is_public(&key) { quoted(&suspect.value) } else { "\"...\"".to_owned() };
    let bare = suspect.key.is_empty() || suspect.value.is_empty();
    let example = if bare { String::new() } else { format!("{}: {shown}", suspect.key) };
    Fault {
        place: Place { line: at + 1, column: suspect.column },
        key,
        expected: suspect.expected,
        found: None,
        example,
    }
}

/// The fault of a file that is one text, because no key has a space behind its colon.
pub(crate) fn without_spaces(text: &str) -> Option<Fault> {
    let mut lines = text.lines().enumerate();
    let (at, key) = lines.find_map(|(at, line)| Some((at, without_space(line)?.0)))?;
    let expected = format!("a space behind `{key}:`");
    let place = Place { line: at + 1, column: 1 };
    Some(Fault { place, key: key.to_owned(), expected, found: None, example: String::new() })
}

/// A bracket or quote that nothing closes: the library sees it at the end of the file.
fn unclosed(lines: &[&str], why: &str) -> Option<(usize, Suspect)> {
    if !["end of stream", "',' or ']'", "',' or '}'"].iter().any(|words| why.contains(words)) {
        return None;
    }
    lines.iter().enumerate().rev().find_map(|(at, line)| {
        let (key, value) = entry(line)?;
        let first = value.chars().next()?;
        let (close, open) = match first {
            '[' => (']', value.matches('[').count() > value.matches(']').count()),
            '{' => ('}', value.matches('{').count() > value.matches('}').count()),
            '"' | '\'' => (first, value.matches(first).count() % 2 == 1),
            _ => return None,
        };
        let column = line.len() - value.len() - (line.len() - line.trim_end().len()) + 1;
        let expected = format!("a closing `{close}`");
        open.then(|| (at, Suspect { column, key: key.to_owned(), expected, value: String::new() }))
    })
}

/// A key that is further right than the one above, which has a value already.
fn too_far_right(lines: &[&str], at: usize) -> Option<(usize, Suspect)> {
    let (key, _) = entry(lines.get(at)?)?;
    let above = lines[..at].iter().rev().find(|line| !line.trim().is_empty())?;
    let (other, value) = entry(above)?;
    (!value.is_empty() && indent(lines[at]) > indent(above)).then(|| {
        let expected = format!("it as far left as `{other}` above");
        (at, Suspect { column: indent(lines[at]) + 1, key: key.to_owned(), expected, value: String::new() })
    })
}

/// What stands in the place of a value that YAML finds none in: a comment or an anchor.
pub(crate) fn in_place_of_nothing(text: &str, place: Place) -> Option<&'static str> {
    let line = text.lines().nth(place.line.checked_sub(1)?)?;
    let (_, value) = entry(line)?;
    match value.chars().next()? {
        '#' => Some("this value in quotes: YAML reads `#` at its start as the beginning of a comment"),
        '&' => Some("this value in quotes: YAML reads `&` at its start as a name for the value (an anchor)"),
        _ => None,
    }
}

/// Anchors that nothing refers to: most likely values that begin with `&`, of which YAML drops the first word.
///
/// `holds` says whether some value of the file has a text in it: then it is quoted, or a part of a longer text.
pub(crate) fn lonely_anchors(text: &str, holds: impl Fn(&str) -> bool) -> Vec<Fault> {
    let lines: Vec<&str> = text.lines().collect();
    let lonely = |(at, line): (usize, &&str)| {
        let (key, value) = entry(line)?;
        let anchor = value.strip_prefix('&')?;
        let (name, rest) = anchor.split_once([' ', '\t'])?;
        let used = text.contains(&format!("*{name}")) || holds(&format!("&{name}"));
        (!name.is_empty() && !rest.trim().is_empty() && !used).then(|| Fault {
            place: Place {
                line: at + 1,
                column: line.len() - line.find('&').map_or(0, |at| line.len() - at) + 1,
            },
            key: path(&lines[..at], indent(line), key),
            expected: "this value in quotes: YAML reads its first word as a name for the rest (an anchor)"
                .to_owned(),
            found: None,
            example: format!("{key}: \"...\""),
        })
    };
    // Each costs a look through the file.
    let anchors = lines.iter().enumerate().filter(|(_, line)| line.contains(": &")).take(20);
    anchors.filter_map(lonely).collect()
}

fn quoted(value: &str) -> String {
    let value = value.trim();
    if value.contains(['"', '\\']) {
        format!("'{}'", value.replace('\'', "''"))
    } else {
        format!("\"{value}\"")
    }
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-', '\t']).len()
}

/// `environment.PASSWORD`: the keys above that are further left.
fn path(above: &[&str], mut left: usize, key: &str) -> String {
    let mut names = Vec::from_iter((!key.is_empty()).then_some(key));
    for line in above.iter().rev() {
        if left == 0 {
            break;
        }
        let own = line.len() - line.trim_start().len();
        let opens = entry(line).filter(|(_, value)| value.is_empty() || value.starts_with('#'));
        if let Some((name, _)) = opens.filter(|_| own < left) {
            names.push(name);
            left = own;
        }
    }
    names.reverse();
    names.join(".")
}

/// A line's key and value: `- key: value`, `"key": value`, `key:`.
fn entry(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches([' ', '\t', '-']);
    let end = line
        .find(": ")
        .or_else(|| line.find(":\t"))
        .or_else(|| line.trim_end().strip_suffix(':').map(str::len))?;
    let key = line[..end].trim_matches(['"', '\'']);
    let plain =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-[]/<".contains(&byte));
    plain.then(|| (key, line[end + 1..].trim()))
}

fn suspect(line: &str) -> Option<Suspect> {
    let bare = line.trim_start();
    if bare.is_empty() || bare.starts_with('#') {
        return None;
    }
    let column = |part: &str| line.len() - line.find(part).map_or(part.len(), |at| line.len() - at) + 1;
    let of = |key: &str, value: &str, expected: String| {
        let column = column(if value.is_empty() { bare } else { value });
        Suspect { column, key: key.to_owned(), expected, value: value.to_owned() }
    };
    if line[..line.len() - bare.len()].contains('\t') {
        let key = entry(line).map_or("", |(key, _)| key);
        let expected = "spaces in front of it: YAML takes no tab there".to_owned();
        return Some(Suspect { column: 1, key: key.to_owned(), expected, value: String::new() });
    }
    let Some((key, value)) = entry(line) else {
        if let Some((key, value)) = without_space(bare) {
            let expected = format!("a space behind `{key}:`");
            return Some(Suspect {
                column: column(bare),
                key: key.to_owned(),
                expected,
                value: value.to_owned(),
            });
        }
        // A list's item.
        let item = bare.strip_prefix("- ")?.trim();
        return Some(of("", item, misread(item)?));
    };
    if let Some(expected) = misread(value) {
        return Some(of(key, value, expected));
    }
    // In braces or brackets, each part is one value.
    let inner = value.strip_prefix(['{', '['])?;
    inner.split(',').find_map(|part| {
        let part = part.trim().trim_start_matches(['{', '[']).trim_end_matches(['}', ']']).trim();
        let (inner_key, value) = entry(part).unwrap_or(("", part));
        let expected = misread(value)?;
        let key = if inner_key.is_empty() { key.to_owned() } else { format!("{key}.{inner_key}") };
        Some(Suspect { column: column(value), key, expected, value: value.to_owned() })
    })
}

/// `port:3000`; but not `http://x`.
fn without_space(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches("- ");
    let (key, value) = line.split_once(':')?;
    let plain = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (plain && !value.is_empty() && !value.starts_with("//")).then_some((key, value))
}

/// What is expected of a value that YAML does not read as a text; `None` for others.
fn misread(value: &str) -> Option<String> {
    let start = |sign: char, as_what: &str| {
        Some(format!("this value in quotes: YAML reads `{sign}` at its start as {as_what}"))
    };
    let mut letters = value.chars();
    let first = letters.next()?;
    let next = letters.next();
    match first {
        '@' | '`' => start(first, "a reserved character"),
        '%' => start(first, "a directive"),
        '*' => start(first, "a reference to another value (an alias)"),
        '&' => start(first, "a name for the value (an anchor)"),
        '!' if !value.starts_with("!literal ") => start(first, "a tag"),
        '[' if behind_brackets(value) => start(first, "a list"),
        '{' if behind_brackets(value) => start(first, "a map"),
        '|' | '>'
            if !value
                .trim_start_matches(['|', '>', '-', '+'])
                .trim_start_matches(|letter: char| letter.is_ascii_digit())
                .trim()
                .is_empty() =>
        {
            start(first, "a text of several lines")
        }
        '-' | '?' | ':' if next == Some(' ') || next.is_none() => start(first, "a part of a list or map"),
        ',' | ']' | '}' => start(first, "a part of a list or map"),
        '"' | '\'' => misquoted(value, first),
        '[' | '{' | '!' | '|' | '>' | '#' => None,
        _ if without_comment(value).contains(": ") || without_comment(value).ends_with(':') => {
            Some("this value in quotes: YAML reads `: ` in it as the end of a key".to_owned())
        }
        _ => None,
    }
}

fn without_comment(value: &str) -> &str {
    value.split(" #").next().unwrap_or(value).trim_end()
}

/// Whether something stands behind the bracket that closes the first one: `[::]:80`.
fn behind_brackets(value: &str) -> bool {
    let mut open = 0_usize;
    for (at, letter) in value.char_indices() {
        match letter {
            '[' | '{' => open += 1,
            ']' | '}' => open = open.saturating_sub(1),
            '"' | '\'' => return false,
            _ => {}
        }
        if open == 0 {
            let behind = &value[at + letter.len_utf8()..];
            let end = behind.trim_start();
            return !(end.is_empty()
                || end.starts_with('#') && end.len() < behind.len()
                || end.starts_with([',', '}', ']']));
        }
    }
    false
}

fn misquoted(value: &str, quote: char) -> Option<String> {
    let mut letters = value.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quote == '"' => match letters.next() {
                Some((_, escaped)) if !"0abt\tnvfre \"/\\N_LPxuU\n".contains(escaped) => {
                    return Some(format!(
                        "single quotes around this value, or `\\\\` for a backslash: in double quotes \
                         `\\{escaped}` means nothing"
                    ));
                }
                _ => {}
            },
            '\'' if quote == '\'' && letters.peek().is_some_and(|(_, next)| *next == '\'') => {
                letters.next();
            }
            _ if letter == quote => {
                let behind = value[at + 1..].trim();
                let ends = behind.is_empty() || behind.starts_with(['#', ',', '}', ']', ':']);
                return (!ends).then(|| {
                    format!(
                        "one pair of quotes around the whole value: something follows its second \
                             `{quote}`"
                    )
                });
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::app_file::AppFile;

    const LEAST: &str = "image: ghcr.io/org/app\nport: 3000\n";

    fn reported(more: &str) -> String {
        match AppFile::parse(&format!("{LEAST}{more}\n")) {
            Ok(_) => panic!("{more:?} was accepted"),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn each_reserved_sign_of_yaml_is_reported_with_its_key() {
        let quotes = "expected this value in quotes: YAML reads";
        for (more, key, expected) in [
            ("listen: [::]:80", "listen", quotes),
            ("listen: [::]:80\nkeep: 5", "listen", quotes),
            ("host: *.example.com\nlisten: 80", "host", quotes),
            ("host: *", "host", quotes),
            ("environment:\n  A: 1\n  PASSWORD: @hunter2\nlisten: 80", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: `hunter2", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: %hunter2", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: *hunter2", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: {hunter2}x", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: [hunter2]x", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: |hunter2", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: >hunter2", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: - hunter2", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: hunter2: x", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: ]hunter2", "environment.PASSWORD", quotes),
            ("environment:\n  PASSWORD: !hunter2}", "environment.PASSWORD", quotes),
            ("environment: {A: b, PASSWORD: @hunter2}", "environment.PASSWORD", quotes),
            ("environment: {PASSWORD: !hunter2}", "environment.PASSWORD", quotes),
            ("environment:\n  - @hunter2", "environment", quotes),
            ("labels:\n  a: @x", "labels.a", quotes),
            (
                "environment:\n  PASSWORD: \"hunter2\" x",
                "environment.PASSWORD",
                "expected one pair of quotes",
            ),
            ("environment:\n  PASSWORD: 'hunter2's'", "environment.PASSWORD", "expected one pair of quotes"),
            ("environment:\n  PASSWORD: \"hunter2\\d\"", "environment.PASSWORD", "expected single quotes"),
            ("environment:\n\tA: hunter2", "environment.A", "expected spaces in front of it"),
            ("listen: 80 # a: b\nkeep:5", "keep", "expected a space behind `keep:`"),
            ("listen: \"80", "listen", "expected a closing `\"`"),
            ("host: [a, b\nlisten: 80", "host", "expected a closing `]`"),
            ("environment: {A: hunter2\nlisten: 80", "environment", "expected a closing `}`"),
            ("  listen: 80", "listen", "expected it as far left as `port` above"),
            ("keep:5\nlisten: 80", "keep", "expected a space behind `keep:`"),
            ("health:\n  path:/hunter2\n  status: 200", "health.path", "expected"),
        ] {
            let reported = reported(more);
            assert!(reported.contains(&format!("`{key}`: {expected}")), "{more}: {reported}");
            assert!(!reported.contains("hunter2"), "{more}: {reported}");
            assert_eq!(reported.lines().count(), 1, "{more}: {reported}");
        }
    }

    #[test]
    fn a_file_without_spaces_after_colons_is_reported() {
        let reported = AppFile::parse("image:a/b\nport:1\n").expect_err("a text").to_string();
        assert!(
            reported.starts_with("line 1, column 1: `image`: expected a space behind `image:`"),
            "{reported}"
        );
    }

    #[test]
    fn the_remedy_is_shown_where_nothing_is_secret() {
        assert!(
            reported("listen: [::]:80").ends_with("(example: `listen: \"[::]:80\"`)"),
            "{}",
            reported("listen: [::]:80")
        );
        assert!(reported("listen: [::]:80").starts_with("line 3, column 9: "));
        assert!(reported("environment:\n  A: @b").ends_with("(example: `A: \"...\"`)"));
    }

    #[test]
    fn values_that_yaml_reads_as_empty_are_reported() {
        let all = [
            "environment:\n  PASSWORD: #hunter2",
            "environment:\n  PASSWORD: &hunter2",
            "user: #hunter2",
            "listen: &hunter2",
            "user: ~",
        ]
        .map(|more| {
            let reported = reported(more);
            assert!(!reported.contains("hunter2"), "{more}: {reported}");
            format!("{more:?}\n    {reported}")
        });
        insta::assert_snapshot!(all.join("\n"));
        let lonely = reported("listen: 80\nenvironment:\n  A: b\n  PASSWORD: &hunter2 x");
        assert!(
            lonely.starts_with("line 6, column 13: `environment.PASSWORD`: expected this value in quotes"),
            "{lonely}"
        );
        assert!(lonely.lines().count() == 1 && !lonely.contains("hunter2"), "{lonely}");
        for right in [
            "user: &a b\nworking_dir: /x\nstop_signal: *a",
            "environment:\n  A: |\n    B: &c d",
            "user: '&a b'",
        ] {
            assert!(AppFile::parse(&format!("{LEAST}listen: 80\n{right}\n")).is_ok(), "{right}");
        }
    }

    #[test]
    fn texts_that_look_like_others_are_texts() {
        for more in [
            "stop_signal: yes",
            "working_dir: /on",
            "user: no",
            "environment: {A: on, B: 12:30:45, C: 1_000, D: 0o17, E: =, F: ~x}",
        ] {
            assert!(AppFile::parse(&format!("{LEAST}listen: 80\n{more}\n")).is_ok(), "{more}");
        }
        let all = [
            "listen: 80\nkeep: 08",
            "listen: 080",
            "listen: 80\nread_only: yes",
            "listen: 80\ncommand: [echo, true]",
            "listen: 80\nuser: true",
            "listen: 80\nhealth: &a {path: /}\n<<: *a",
        ]
        .map(|more| {
            let reported = reported(more);
            assert_eq!(reported.lines().count(), 1, "{more}: {reported}");
            format!("{more:?}\n    {reported}")
        });
        insta::assert_snapshot!(all.join("\n"));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([a-z]+:|[ \
                                   -~]|\n|\t|\u{e9}|[@`%*&!\\[\\]{}|>'\"#]){0,40}", line in 0..9_usize, column in 0..9_usize) {
            let fault = explain(&text, Place { line, column }, "why", |_| true);
            prop_assert!(fault.place.line <= text.lines().count().max(line));
            let _ = in_place_of_nothing(&text, Place { line, column });
        }
    }
}
