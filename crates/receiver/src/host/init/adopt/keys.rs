//! The app file's keys as they are found, with their values in YAML. One that the app file does not take is told.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::app_file::quoted;
use crate::config::app_file::AppFile;

/// The keys of the container, and what is to be told.
#[derive(Default)]
pub(super) struct AdoptedKeys {
    pub(super) found: BTreeMap<&'static str, String>,
    pub(super) notes: Vec<String>,
}

impl AdoptedKeys {
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// A value in YAML, where there is one. What the app file refuses is a note with its reason: whatever was
    /// found, the file that is written can be read.
    pub(super) fn set(&mut self, key: &'static str, value: Option<String>) {
        let Some(value) = value else { return };
        match self.refusal(key, &value) {
            None => drop(self.found.insert(key, value)),
            Some(why) => self.note(format!("`{key}` was left out: {why}")),
        }
    }

    /// A list of texts, each judged by itself.
    pub(super) fn list(&mut self, key: &'static str, items: impl IntoIterator<Item = String>) {
        let mut kept: Vec<String> = Vec::new();
        for item in items {
            let with = listed(kept.iter().chain([&item]));
            match self.refusal(key, &with) {
                None => kept.push(item),
                Some(why) => self.note(format!("`{key}` without one of its values: {why}")),
            }
        }
        self.set(key, (!kept.is_empty()).then(|| listed(&kept)));
    }

    /// `{name: value, ...}` of texts, each judged by itself.
    pub(super) fn map(&mut self, key: &'static str, items: impl IntoIterator<Item = (String, String)>) {
        let mut kept: Vec<(String, String)> = Vec::new();
        for item in items {
            let with = mapped(kept.iter().chain([&item]));
            match self.refusal(key, &with) {
                None => kept.push(item),
                Some(why) => self.note(format!("`{key}` without one of its values: {why}")),
            }
        }
        self.set(key, (!kept.is_empty()).then(|| mapped(&kept)));
    }

    /// Beside what is there already: some keys mean something with others only.
    fn refusal(&self, key: &str, value: &str) -> Option<String> {
        let mut text = "image: a/b\nport: 1\nlisten: 1\nhealth: {path: /}\n".to_owned();
        for (key, value) in self.found.iter().map(|(key, value)| (*key, value.as_str())).chain([(key, value)])
        {
            let _ = writeln!(text, "{key}: {value}");
        }
        let faults = AppFile::parse(&text).err()?;
        faults.as_slice().first().map(|fault| format!("expected {}", fault.expected))
    }
}

pub(super) fn listed<'a>(items: impl IntoIterator<Item = &'a String>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

pub(super) fn mapped<'a>(items: impl IntoIterator<Item = &'a (String, String)>) -> String {
    let items: Vec<String> =
        items.into_iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value))).collect();
    format!("{{{}}}", items.join(", "))
}
