//! Reads single inputs and collects what is wrong with them, so that all faults are told at once.

mod lists;

use std::str::FromStr;

use semver::Version;
use strum::VariantNames;

use super::error::InputErrors;
use super::raw::RawInputs;
use crate::versioning::tag::is_stable;

/// The inputs, and what has been found wrong with them so far.
pub(in crate::inputs) struct Reader<'a> {
    pub(in crate::inputs) raw: &'a RawInputs,
    pub(in crate::inputs) errors: &'a mut InputErrors,
    pub(in crate::inputs) notices: Vec<String>,
}

impl Reader<'_> {
    /// One of a few words.
    pub(in crate::inputs) fn word<T: FromStr + VariantNames>(&mut self, name: &str) -> Option<T> {
        let text = self.raw.text(name);
        let found = text.parse().ok();
        if found.is_none() {
            self.errors.of_input(name, text, format!("`{}`", T::VARIANTS.join("` or `")));
        }
        found
    }

    /// `true` or `false`, as YAML 1.2's core schema spells them; @actions/core's getBooleanInput takes the same.
    pub(in crate::inputs) fn flag(&mut self, name: &str) -> bool {
        const WORDS: &[(&str, bool)] = &[
            ("true", true),
            ("True", true),
            ("TRUE", true),
            ("false", false),
            ("False", false),
            ("FALSE", false),
        ];
        let text = self.raw.text(name);
        WORDS.iter().find(|(word, _)| *word == text).map_or_else(
            || {
                self.errors.of_input(name, text, "`true` or `false`");
                false
            },
            |(_, value)| *value,
        )
    }

    /// Anything that parses.
    pub(in crate::inputs) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
    ) -> Option<T> {
        let text = self.raw.given(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.errors.of_input(name, text, error.to_string());
                None
            }
        }
    }

    /// A stable version without build metadata.
    pub(in crate::inputs) fn version(&mut self, name: &str) -> Option<Version> {
        let text = self.raw.given(name)?;
        let expected = match Version::parse(text) {
            Ok(version) if !version.build.is_empty() => {
                "a version without `+build`, which no image tag can hold"
            }
            Ok(version) if !is_stable(&version) => {
                "a version without a prerelease part; prereleases are not released yet"
            }
            Ok(version) => return Some(version),
            Err(_) => "a version by SemVer 2 without the tag's prefix",
        };
        self.errors.of_input(name, text, expected);
        None
    }
}
