//! Variables in the values of environment files, by the rules of Compose's templates (compose-go, `template`).

use super::dollar::name_at;
use super::variable::OwnVariables;
use crate::config::app_file::values::variable::VARIABLE_BYTES;
use autotag_model::reference::ParseError;
use autotag_model::secret::Secret;

/// So deep defaults may stand in defaults.
const DEPTH: usize = 16;

/// What is set where a value stands.
pub(crate) struct Known<'a> {
    /// The app file's, which win.
    pub(crate) own: &'a OwnVariables,
    /// Those of the files before.
    pub(crate) before: &'a OwnVariables,
    /// Those of the lines above.
    pub(crate) read: OwnVariables,
}

impl Known<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let name = name.parse().ok()?;
        [self.own, &self.read, self.before]
            .into_iter()
            .find_map(|variables| variables.get(&name))
            .map(Secret::reveal)
    }
}

/// Replaces the variables of a value.
pub(crate) fn expand(text: &str, known: &Known) -> Result<String, ParseError> {
    let mut value = String::new();
    Expansion { rest: text, known, depth: 0 }.run(Some(&mut value))?;
    Ok(value)
}

struct Expansion<'a, 'k> {
    rest: &'a str,
    known: &'a Known<'k>,
    /// Of braces that are open.
    depth: usize,
}

/// What stands behind the name in `${NAME...}`.
#[derive(Clone, Copy)]
struct Operator {
    sign: char,
    /// `:`, an empty value is as none.
    or_empty: bool,
}

impl Expansion<'_, '_> {
    /// To the end of the text, or of the braces. `into` is `None` where a default is not needed.
    fn run(&mut self, mut into: Option<&mut String>) -> Result<(), ParseError> {
        // Braces without a `$` count in Compose as well.
        let mut plain_braces = 0_usize;
        loop {
            let end = self.rest.find(['$', '{', '}']).unwrap_or(self.rest.len());
            if self.depth > 0 && self.rest[..end].contains('\n') {
                return Err(unclosed());
            }
            push(into.as_deref_mut(), &self.rest[..end])?;
            self.rest = &self.rest[end..];
            let mut letters = self.rest.chars();
            match letters.next() {
                None if self.depth == 0 => return Ok(()),
                None => return Err(unclosed()),
                Some('}') if self.depth > 0 && plain_braces == 0 => return Ok(()),
                Some('$') => self.dollar(into.as_deref_mut())?,
                Some(brace) => {
                    plain_braces =
                        if brace == '{' { plain_braces + 1 } else { plain_braces.saturating_sub(1) };
                    push(into.as_deref_mut(), &self.rest[..1])?;
                    self.rest = letters.as_str();
                }
            }
        }
    }

    fn dollar(&mut self, into: Option<&mut String>) -> Result<(), ParseError> {
        let behind = &self.rest[1..];
        if let Some(rest) = behind.strip_prefix('$') {
            self.rest = rest;
            return push(into, "$");
        }
        if let Some(rest) = behind.strip_prefix('{') {
            self.rest = rest;
            return self.braces(into);
        }
        let name = name_at(behind);
        self.rest = &behind[name.len()..];
        if name.is_empty() {
            return push(into, "$");
        }
        match self.known.get(name) {
            Some(value) => push(into, value),
            None if into.is_none() => Ok(()),
            None => Err(unset(name, false)),
        }
    }

    fn braces(&mut self, mut into: Option<&mut String>) -> Result<(), ParseError> {
        let name = name_at(self.rest);
        if name.is_empty() || self.depth >= DEPTH {
            return Err(unclosed());
        }
        self.rest = &self.rest[name.len()..];
        let value = self.known.get(name);
        let Some(operator) = self.operator()? else {
            return match value {
                Some(value) => push(into, value),
                None if into.is_none() => Ok(()),
                None => Err(unset(name, true)),
            };
        };
        let set = value.filter(|value| !operator.or_empty || !value.is_empty());
        let (is_set, wanted) = (set.is_some(), into.is_some());
        // Whether what follows the operator becomes the value.
        let takes = wanted && is_set == (operator.sign == '+');
        if operator.sign == '?' && wanted && !is_set {
            return Err(unset(name, true));
        }
        self.depth += 1;
        self.run(if takes { into.as_deref_mut() } else { None })?;
        self.depth -= 1;
        self.rest = self.rest.strip_prefix('}').ok_or_else(unclosed)?;
        match set {
            Some(value) if operator.sign != '+' => push(into, value),
            _ => Ok(()),
        }
    }

    /// `None` for `}`.
    fn operator(&mut self) -> Result<Option<Operator>, ParseError> {
        if let Some(rest) = self.rest.strip_prefix('}') {
            self.rest = rest;
            return Ok(None);
        }
        let bare = self.rest.strip_prefix(':').unwrap_or(self.rest);
        let or_empty = bare.len() < self.rest.len();
        let mut letters = bare.chars();
        match letters.next() {
            Some(sign @ ('-' | '+' | '?')) => {
                self.rest = letters.as_str();
                Ok(Some(Operator { sign, or_empty }))
            }
            _ => Err(unclosed()),
        }
    }
}

fn push(into: Option<&mut String>, text: &str) -> Result<(), ParseError> {
    let Some(into) = into else { return Ok(()) };
    if into.len() + text.len() > VARIABLE_BYTES {
        return Err(ParseError(
            "less than 128 KiB in one variable: Linux starts no program with more".to_owned(),
        ));
    }
    into.push_str(text);
    Ok(())
}

fn unclosed() -> ParseError {
    ParseError(
        "a variable as `${NAME}` or `${NAME:-default}`; for a literal `$`, use single quotes".to_owned(),
    )
}

/// The name is shown where it is one for certain: behind a lonely `$` may stand the rest of a password.
fn unset(name: &str, braces: bool) -> ParseError {
    let shown = if braces && !name.contains(|letter: char| letter.is_ascii_lowercase()) {
        format!("`${{{name}}}`")
    } else {
        "the variable after `$`".to_owned()
    };
    ParseError(format!(
        "{shown} to be set in the app file or on a line above (Compose takes it from the shell, and a \
         server has none); for a literal `$`, use single quotes"
    ))
}
