//! Where something is mounted in the container.

use std::path::{Path, PathBuf};

use super::network::path;
use autotag_model::reference::ParseError;

/// A place in the container: Docker's forms have no way to write one with a colon.
pub(crate) fn target(text: &str) -> Result<PathBuf, ParseError> {
    let target = path(text)?;
    if target == Path::new("/") {
        return expected("a directory below `/`");
    }
    if text.contains(':') { expected("an absolute path without `:`") } else { Ok(target) }
}

fn expected<T>(what: &str) -> Result<T, ParseError> {
    Err(ParseError(what.to_owned()))
}
