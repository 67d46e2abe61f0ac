//! The bytes of one file of the context, held to the size that was announced for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use super::ContextError;
use crate::workspace::open_as_planned;

/// As many bytes as were announced, or an error: a tar with fewer or more would put the end of one file into
/// the next, and an image would hold half a file.
#[derive(Debug)]
pub struct Content {
    path: PathBuf,
    planned: u64,
    file: File,
    left: u64,
    failure: Option<Failure>,
}

#[derive(Debug)]
enum Failure {
    Read(io::Error),
    Shrank { missing: u64 },
    Grew,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.failure.is_some() {
            return Ok(0);
        }
        if self.left == 0 {
            let mut beyond = [0];
            match self.file.read(&mut beyond) {
                Ok(0) => {}
                Ok(_) => self.failure = Some(Failure::Grew),
                Err(error) => self.failure = Some(Failure::Read(error)),
            }
            return Ok(0);
        }
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        match self.file.read(&mut buffer[..most]) {
            Ok(0) => {
                self.failure = Some(Failure::Shrank { missing: self.left });
                Ok(0)
            }
            Ok(count) => {
                self.left -= count as u64;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.failure = Some(Failure::Read(error));
                Ok(0)
            }
        }
    }
}

impl Content {
    /// Opens a file of the plan.
    pub(super) fn open(path: PathBuf, planned: u64) -> Result<Self, ContextError> {
        match open_as_planned(&path) {
            Ok(Some(file)) => Ok(Self { path, planned, file, left: planned, failure: None }),
            Ok(None) => {
                let change = "another one is in its place now".to_owned();
                Err(ContextError::Changed { path, planned, change })
            }
            Err(source) => Err(ContextError::Unreadable { path, source }),
        }
    }

    /// Whether all was read that was announced, and no more was there.
    pub fn finish(self) -> Result<(), ContextError> {
        let Self { path, planned, failure, .. } = self;
        Err(match failure {
            None => return Ok(()),
            Some(Failure::Read(source)) => ContextError::Unreadable { path, source },
            Some(Failure::Shrank { missing }) => {
                ContextError::Changed { path, planned, change: format!("the last {missing} are gone") }
            }
            Some(Failure::Grew) => ContextError::Changed { path, planned, change: "it grew".to_owned() },
        })
    }
}
