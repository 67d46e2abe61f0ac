//! Environment files, as Compose reads them (compose-go, `dotenv`), where that loses nothing in silence.
//!
//! ```text
//! file       = [BOM] { blank | comment | assignment }
//! comment    = "#" to the end of the line
//! assignment = ["export" space] NAME [space] ("=" | ": ") [space] value
//! value      = "'" text "'"      to the letter; may go over several lines; \' is a quote
//!            | '"' text '"'      escapes, then variables; may go over several lines
//!            | text              to the end of the line or to " #"; white space at its ends is lost; variables
//! escapes    = \n \r \t \a \b \f \v \" \\ \$; another backslash is itself
//! variables  = $NAME ${NAME} ${NAME:-text} ${NAME-text} ${NAME:+text} ${NAME+text} ${NAME:?text} ${NAME?text}
//!              and $$, which is one $; another $ is itself
//! ```
//!
//! Variables are those of the app file, of the lines above and of the files before. What Compose would take
//! from the shell that it runs in, there is nobody to give on a server: a fault, as all that Compose loses or
//! guesses. `tests/all/cases/receiver/env_files.rs` has each difference with its reason, beside Compose itself.

use super::expand::{self, Known};
use super::variable::{OwnVariables, VariableName};
use crate::config::app_file::syntax::fault::Fault;
use crate::config::app_file::syntax::tree::Place;
use crate::config::app_file::values::variable::variable;
use autotag_model::reference::ParseError;

/// The most bytes that all values may have, variables replaced: each line could double the one before.
const BYTES: usize = 1024 * 1024;

/// Reads a file that refers to no variable but its own.
pub fn parse(text: &str) -> Result<OwnVariables, Vec<Fault>> {
    parse_after(text, &OwnVariables::new(), &OwnVariables::new())
}

/// Reads a file's text; all faults at once, none of which shows a value. `own` are the app file's variables, `before`
/// those of the files before.
pub fn parse_after(
    text: &str,
    own: &OwnVariables,
    before: &OwnVariables,
) -> Result<OwnVariables, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut file = EnvReader {
        rest: text,
        line: 1,
        bytes: 0,
        open: false,
        known: Known { own, before, read: OwnVariables::new() },
        faults: Vec::new(),
    };
    while file.next_statement() {
        let line = file.line;
        if let Err((name, ParseError(expected))) = file.statement() {
            if expected.is_empty() {
                continue;
            }
            file.faults.push(Fault {
                place: Place { line, column: 1 },
                key: name,
                expected,
                found: None,
                example: String::new(),
            });
        }
    }
    if file.faults.is_empty() { Ok(file.known.read) } else { Err(file.faults) }
}

/// A file's text from its bytes; a fault names the line where it is none.
pub fn text_of(bytes: Vec<u8>) -> Result<String, Fault> {
    String::from_utf8(bytes).map_err(|error| {
        let bytes = error.as_bytes();
        let before = &bytes[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        let wide = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        let expected = if wide { "a file in UTF-8; this one is in UTF-16" } else { "a file in UTF-8" };
        Fault {
            place: Place { line, column: 1 },
            key: String::new(),
            expected: format!("{expected}: save it as UTF-8"),
            found: None,
            example: String::new(),
        }
    })
}

/// The name as far as it is known, and what was expected; nothing where a fault was told already.
type Failed = (String, ParseError);

struct EnvReader<'a> {
    rest: &'a str,
    line: usize,
    /// Of all values.
    bytes: usize,
    /// A quote was not closed: what follows may be the inside of a value.
    open: bool,
    known: Known<'a>,
    faults: Vec<Fault>,
}

impl<'a> EnvReader<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.bytes().filter(|byte| *byte == b'\n').count();
        self.rest = rest;
        taken
    }

    /// To the next line.
    fn take_line(&mut self) -> &'a str {
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        self.take(end)
    }

    /// Goes to where one begins; `false` at the end.
    fn next_statement(&mut self) -> bool {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.take_line();
        }
    }

    fn statement(&mut self) -> Result<(), Failed> {
        let line = self.rest.lines().next().unwrap_or_default();
        let (name, to_value) = match assignment(line) {
            Ok(read) => read,
            Err(why) => {
                self.take_line();
                let why = if self.open { String::new() } else { why };
                return Err((String::new(), ParseError(why)));
            }
        };
        self.take(to_value);
        let value = self.value();
        let shown = name.as_str().to_owned();
        let reported = |why| (shown.clone(), why);
        let value = value.map_err(reported)?;
        let (name, secret) = variable(name.as_str(), &value).map_err(reported)?;
        self.bytes += value.len();
        if self.bytes > BYTES {
            self.take(self.rest.len());
            return Err(reported(ParseError(format!("at most {BYTES} bytes in all values"))));
        }
        if self.known.read.insert(name, secret).is_some() {
            return Err(reported(ParseError("each variable once; it is set above already".to_owned())));
        }
        Ok(())
    }

    /// The value that the text begins with, and the rest of its line.
    fn value(&mut self) -> Result<String, ParseError> {
        match self.rest.chars().next() {
            Some(quote @ ('\'' | '"')) => self.quoted(quote),
            _ => self.unquoted(),
        }
    }

    fn unquoted(&mut self) -> Result<String, ParseError> {
        let line = self.take_line();
        let end = line.find(" #").unwrap_or(line.len());
        let value = line[..end].trim_end();
        if value.contains('\r') {
            return Err(malformed(
                "lines that end in a line feed; this one has a carriage return in the middle",
            ));
        }
        expand::expand(value, &self.known)
    }

    /// What stands between two quotes, which may be on different lines.
    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let mut inside = String::new();
        let mut escaped = false;
        let mut end = None;
        for (at, letter) in self.rest.char_indices().skip(1) {
            match letter {
                _ if letter == quote && escaped => inside.push(letter),
                _ if letter == quote => {
                    end = Some(at);
                    break;
                }
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                _ => {
                    inside.extend(escaped.then_some('\\'));
                    inside.push(letter);
                }
            }
            escaped = false;
        }
        let Some(end) = end else {
            self.take_line();
            self.open = true;
            return Err(ParseError(format!("a closing `{quote}`; none follows")));
        };
        self.take(end + 1);
        let behind = self.take_line().trim();
        if !behind.is_empty() && !behind.starts_with('#') {
            return Err(malformed("nothing but a comment after the closing quote"));
        }
        if quote == '\'' {
            return Ok(inside);
        }
        expand::expand(&unescaped(&inside)?, &self.known)
    }
}

fn malformed(expected: &str) -> ParseError {
    ParseError(expected.to_owned())
}

/// White space within a line, as Compose knows it.
fn is_space(letter: char) -> bool {
    matches!(letter, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

/// A line's name, and where its value begins.
fn assignment(line: &str) -> Result<(VariableName, usize), String> {
    let mut at = 0;
    if let Some(behind) = line.strip_prefix("export").filter(|behind| behind.starts_with(is_space)) {
        at = line.len() - behind.trim_start_matches(is_space).len();
    }
    let rest = &line[at..];
    let Some(sign) = rest.find(['=', ':']) else {
        return Err(no_sign(rest));
    };
    let name = rest[..sign].trim_end_matches(is_space);
    if let Some(first) = name.split_whitespace().next().filter(|first| *first != name) {
        return Err(match first {
            "set" | "setx" | "declare" | "local" | "readonly" | "typeset" | "env" => {
                "`KEY=VALUE` without a shell command in front of it (`export` is allowed)".to_owned()
            }
            _ => "`KEY=VALUE`: a name without white space".to_owned(),
        });
    }
    let read = name.parse::<VariableName>().map_err(|ParseError(expected)| match name {
        "" => "`KEY=VALUE`: the name is missing".to_owned(),
        _ => expected,
    })?;
    let behind = &rest[sign + 1..];
    if rest[sign..].starts_with(':') && !behind.is_empty() && !behind.starts_with(is_space) {
        return Err("`KEY=VALUE`, or `KEY: VALUE` with a space: a name cannot hold a `:`".to_owned());
    }
    let value = behind.trim_start_matches(is_space);
    let gap = behind.len() - value.len();
    if gap > 0 && value.starts_with('#') {
        return Err("a comment on a line of its own, or a value that begins with `#` in quotes: Compose \
                    takes this one for the value, other programs for a comment"
            .to_owned());
    }
    Ok((read, at + sign + 1 + gap))
}

/// What a line without `=` may be.
fn no_sign(line: &str) -> String {
    let name = line.trim();
    if name.parse::<VariableName>().is_ok() {
        return "`KEY=VALUE`: Compose takes a name alone from the shell, and a server has none; `KEY=` is an \
                empty value"
            .to_owned();
    }
    "`KEY=VALUE`; put a value of several lines in quotes".to_owned()
}

/// The first of Compose's two steps in double quotes; the second are the variables, so `\$` is `$$` in between.
fn unescaped(text: &str) -> Result<String, ParseError> {
    let mut read = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            read.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => read.push('\n'),
            Some('r') => read.push('\r'),
            Some('t') => read.push('\t'),
            Some('a') => read.push('\u{7}'),
            Some('b') => read.push('\u{8}'),
            Some('f') => read.push('\u{c}'),
            Some('v') => read.push('\u{b}'),
            Some('$') => read.push_str("$$"),
            Some(same @ ('"' | '\\')) => read.push(same),
            Some('0') => {
                return Err(malformed(
                    "no `\\0`: write the character itself, or `\\\\0` for a backslash and a zero",
                ));
            }
            Some(other) => read.extend(['\\', other]),
            None => read.push('\\'),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests;
