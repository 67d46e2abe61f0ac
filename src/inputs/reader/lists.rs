//! Inputs that are lists: what their entries have to be.

use std::collections::BTreeMap;

use super::Reader;
use crate::inputs::list::{Unquotable, lines, words};

/// Why a key is not taken: what is expected in its place.
type KeyRefusal<'a> = &'a dyn Fn(&str) -> Option<&'static str>;

impl Reader<'_> {
    /// `KEY=VALUE` lines.
    pub(in crate::inputs) fn pairs(
        &mut self,
        name: &str,
        refused: KeyRefusal<'_>,
    ) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::new();
        for item in lines(self.raw.text(name)) {
            let item = match item {
                Ok(item) => item,
                Err(Unquotable { line }) => {
                    self.errors.of_input(name, &format!("line {line}"), Unquotable::EXPECTED);
                    continue;
                }
            };
            match item.text.split_once('=').map(|(key, value)| (key.trim(), value)) {
                Some((key, value)) if !key.is_empty() && !key.contains(char::is_whitespace) => {
                    if let Some(expected) = refused(key) {
                        self.errors.of_input(name, key, expected);
                    } else if pairs.insert(key.to_owned(), value.to_owned()).is_some() {
                        self.errors.of_input(name, key, "each key once");
                    }
                }
                // The line is not shown: people do put secrets into build arguments.
                _ => self.errors.of_input(name, &format!("line {}", item.line), "one `KEY=VALUE` a line"),
            }
        }
        pairs
    }

    /// Words of a list; a line that cannot be read is a fault.
    pub(in crate::inputs) fn words(&mut self, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        for item in words(self.raw.text(name)) {
            match item {
                Ok(item) => found.push(item.text),
                Err(Unquotable { line }) => {
                    self.errors.of_input(name, &format!("line {line}"), Unquotable::EXPECTED);
                }
            }
        }
        found
    }
}
