//! One line of an ignore file: what it says, and which paths it hits.

use std::iter::Peekable;
use std::str::Chars;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    /// It began with `!`: what it hits is kept.
    pub(super) exception: bool,
    shape: Shape,
    /// Which line of the file, from 1.
    pub(super) line: usize,
}

/// The three shapes that most lines have cost one comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// No wildcard.
    Exact(String),
    /// `text**`: everything that starts so (`dir/**` spares `dir` itself).
    Prefix(String),
    /// `**text`, with or without a `/`: everything that ends so.
    Suffix(String),
    Wild(Vec<Token>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This character.
    Just(char),
    /// `?`: one character that is not `/`.
    One,
    /// `[...]`: one character of these ranges, or with `[^...]` of none of them. As in Go's
    /// `filepath.Match`, `[^a]` takes a `/` too.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// `*`: any number of characters that are not `/`.
    Some,
    /// The start of `**`: nothing at all, or what [`Token::Directories`] takes.
    MaybeDirectories,
    /// Anything up to and with a `/`.
    Directories,
    /// `**` at the end: whatever is left.
    Rest,
}

impl Pattern {
    /// `None` for a blank line.
    pub(super) fn parse(line: &str, number: usize) -> Result<Option<Self>, &'static str> {
        let trimmed = line.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let (mark, rest) = match trimmed.strip_prefix('!') {
            Some(rest) => ("!", rest.trim()),
            None => ("", trimmed),
        };
        let cleaned = if rest.is_empty() { String::new() } else { clean(rest) };
        // One `/` is cut off, and none when it is all there is: `/` alone names no path inside. What
        // is left is read anew, as Docker's clients do it in two steps: `/!a` is `!a`.
        let relative = match cleaned.strip_prefix('/') {
            Some(relative) if !relative.is_empty() => relative,
            _ => &cleaned,
        };
        let whole = clean(format!("{mark}{relative}").trim());
        let (exception, relative) = match whole.strip_prefix('!') {
            Some(relative) => (true, relative),
            None => (false, whole.as_str()),
        };
        if exception && relative.is_empty() {
            return Err("`!` needs a pattern after it, for example `!keep.txt`");
        }
        Ok(Some(Self { exception, shape: Shape::parse(relative)?, line: number }))
    }

    /// Whether it hits the whole path.
    pub(super) fn matches(&self, path: &str) -> bool {
        self.shape.matches(path)
    }

    /// Whether it hits some path that starts with `prefix`.
    pub(super) fn may_continue(&self, prefix: &str) -> bool {
        self.shape.may_continue(prefix)
    }
}

/// Shortens a path by its text alone, as Go's `filepath.Clean` does: no empty parts, no `.`, and each
/// `..` takes the part before it away.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(".."),
            },
            _ => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

impl Shape {
    fn parse(pattern: &str) -> Result<Self, &'static str> {
        let tokens = tokens(pattern)?;
        let plain = !pattern.contains(['?', '[', ']', '\\']);
        if plain {
            let (open_start, middle) = match pattern.strip_prefix("**") {
                Some(middle) => (true, middle),
                None => (false, pattern),
            };
            let (middle, open_end) = match middle.strip_suffix("**") {
                Some(start) => (start, true),
                None => (middle, false),
            };
            if !middle.contains('*') {
                match (open_start, open_end) {
                    (false, false) => return Ok(Self::Exact(pattern.to_owned())),
                    (false, true) => return Ok(Self::Prefix(middle.to_owned())),
                    (true, false) => return Ok(Self::Suffix(middle.to_owned())),
                    (true, true) => {}
                }
            }
        }
        Ok(Self::Wild(tokens))
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text.as_str()),
            Self::Suffix(text) => path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path),
            Self::Wild(tokens) => reach(tokens, path).is_some_and(|places| places[tokens.len()]),
        }
    }

    /// Whether some path that starts with `prefix` matches.
    fn may_continue(&self, prefix: &str) -> bool {
        match self {
            Self::Exact(text) => text.starts_with(prefix),
            Self::Prefix(text) => text.starts_with(prefix) || prefix.starts_with(text.as_str()),
            Self::Suffix(_) => true,
            Self::Wild(tokens) => reach(tokens, prefix).is_some(),
        }
    }
}

/// Reads all of `path` against the tokens at once, as a set of places in them: no pattern can make
/// this slow, where going back and forth could. `places[n]`: what was read fits the first n tokens.
/// `None` as soon as nothing fits.
fn reach(tokens: &[Token], path: &str) -> Option<Vec<bool>> {
    let mut now = vec![false; tokens.len() + 1];
    now[0] = true;
    skip_what_may_be_empty(tokens, &mut now);
    let mut next = vec![false; tokens.len() + 1];
    for character in path.chars() {
        next.fill(false);
        for (place, token) in tokens.iter().enumerate().filter(|(place, _)| now[*place]) {
            let (stays, goes_on) = token.takes(character);
            next[place] |= stays;
            next[place + 1] |= goes_on;
        }
        skip_what_may_be_empty(tokens, &mut next);
        std::mem::swap(&mut now, &mut next);
        if !now.contains(&true) {
            return None;
        }
    }
    Some(now)
}

fn skip_what_may_be_empty(tokens: &[Token], places: &mut [bool]) {
    for (place, token) in tokens.iter().enumerate() {
        if places[place] {
            match token {
                Token::Some | Token::Rest => places[place + 1] = true,
                Token::MaybeDirectories => {
                    places[place + 1] = true;
                    places[place + 2] = true;
                }
                _ => {}
            }
        }
    }
}

impl Token {
    /// Whether it takes the character and wants more, and whether it takes it and is done.
    fn takes(&self, character: char) -> (bool, bool) {
        match self {
            Self::Just(wanted) => (false, character == *wanted),
            Self::One => (false, character != '/'),
            Self::Class { negated, ranges } => {
                let inside = ranges.iter().any(|(low, high)| (*low..=*high).contains(&character));
                (false, inside != *negated)
            }
            Self::Some => (character != '/', false),
            Self::MaybeDirectories => (false, false),
            Self::Directories => (true, character == '/'),
            Self::Rest => (true, false),
        }
    }
}

const OPEN_CLASS: &str = "a `[` begins a set of characters such as `[a-z]`; this one is not complete";

fn tokens(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                if rest.peek().is_none() {
                    tokens.push(Token::Rest);
                } else {
                    tokens.extend([Token::MaybeDirectories, Token::Directories]);
                }
            }
            '*' => tokens.push(Token::Some),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(class(&mut rest)?),
            '\\' => {
                let escaped = rest.next().ok_or("a `\\` at the end has nothing to escape")?;
                tokens.push(Token::Just(escaped));
            }
            _ => tokens.push(Token::Just(character)),
        }
    }
    Ok(tokens)
}

/// The inside of `[...]`, in Go's grammar: at least one character; `]` and `-` need a backslash.
fn class(rest: &mut Peekable<Chars<'_>>) -> Result<Token, &'static str> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || rest.next_if_eq(&']').is_none() {
        let low = class_character(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { class_character(rest)? } else { low };
        if high < low {
            return Err("a range such as `[a-z]` goes upwards");
        }
        ranges.push((low, high));
    }
    Ok(Token::Class { negated, ranges })
}

fn class_character(rest: &mut Peekable<Chars<'_>>) -> Result<char, &'static str> {
    match rest.next() {
        None | Some('-' | ']') => Err(OPEN_CLASS),
        Some('\\') => rest.next().ok_or(OPEN_CLASS),
        Some(character) => Ok(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cases of Go's own documentation and tests (path/filepath, Clean).
    #[test]
    fn paths_are_shortened_by_their_text() {
        for (path, expected) in [
            ("", "."),
            (".", "."),
            ("a//b/", "a/b"),
            ("./a/./b", "a/b"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("..", ".."),
            ("../../a", "../../a"),
            ("a/../../b", "../b"),
            ("/", "/"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("/a/../..//b", "/b"),
        ] {
            assert_eq!(clean(path), expected, "{path:?}");
        }
    }
}
