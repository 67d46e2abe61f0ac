//! What is wrong with inputs, collected rather than thrown at the first.

use std::fmt;

use super::spec;

/// One fault of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputError {
    /// The input, or the environment variable, by name.
    pub input: String,
    /// What was there; `None` where it is missing or secret.
    pub found: Option<String>,
    /// What was expected, in words.
    pub expected: String,
    /// A value that would do.
    pub example: String,
}

/// Texts longer than this are cut in messages: a pasted file need not fill the log.
const SHOWN: usize = 80;

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: expected {}", self.input, self.expected)?;
        if let Some(found) = &self.found {
            let mut shown: String = found.chars().take(SHOWN).collect();
            if shown.len() < found.len() {
                shown.push('\u{2026}');
            }
            write!(f, ", found {shown:?}")?;
        }
        if !self.example.is_empty() {
            write!(f, " (example: `{}`)", self.example)?;
        }
        Ok(())
    }
}

/// All faults found so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InputErrors(Vec<InputError>);

impl InputErrors {
    /// Notes a fault of an input of the table; the example comes from there, and a secret's value stays out.
    pub fn of_input(&mut self, name: &str, found: &str, expected: impl Into<String>) {
        let spec = spec::of(name);
        let secret = spec.is_some_and(|spec| spec.secret);
        self.0.push(InputError {
            input: name.to_owned(),
            found: (!secret && !found.is_empty()).then(|| found.to_owned()),
            expected: expected.into(),
            example: spec.map_or(String::new(), |spec| spec.example.to_owned()),
        });
    }

    /// Notes a fault of something that is no input: a variable, a flag, the event's file.
    pub fn add(&mut self, error: InputError) {
        self.0.push(error);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn as_slice(&self) -> &[InputError] {
        &self.0
    }
}

impl fmt::Display for InputErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_and_secrets_are_hidden() {
        let reported = |name: &str, found: &str| {
            let mut errors = InputErrors::default();
            errors.of_input(name, found, "less");
            errors.to_string()
        };
        let fits = "\u{e9}".repeat(SHOWN);
        assert!(reported("image", &fits).contains(&format!("found {fits:?}")));
        assert!(reported("image", &format!("{fits}x")).contains(&format!("found \"{fits}\u{2026}\"")));
        let secret = reported("registry-password", "hunter2");
        assert!(!secret.contains("found") && secret.contains("(example: `"), "{secret}");
    }
}
