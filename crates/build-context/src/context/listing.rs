//! What one request of a builder is answered with: entries by number, and what they hold.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use super::ContextError;
use super::content::Content;
use super::plan::{ContextPlan, Entry, EntryKind};
use super::selection::Selection;

/// The context's own ignore file.
const IGNORE_FILE: &str = ".dockerignore";

/// Entries in order, a directory before what is in it; the number of one is its place.
#[derive(Debug)]
pub struct Listing {
    plan: Arc<ContextPlan>,
    chosen: Chosen,
}

#[derive(Debug)]
enum Chosen {
    /// Of the plan, by their places in it.
    OfThePlan(Vec<u32>),
    Own(Vec<Entry>),
}

/// What an entry holds.
#[derive(Debug)]
pub enum Holding<'a> {
    /// Bytes that are known.
    Bytes(&'a [u8]),
    /// A file on the disk.
    File(Content),
}

impl Listing {
    /// What was asked for of the context.
    pub fn of_the_context(plan: Arc<ContextPlan>, selection: &Selection) -> Self {
        // The builder reads the ignore file, which the image does not get where it names itself.
        if let Some(file) = plan.ignore_file.as_ref().filter(|file| !file.is_the_dockerfiles)
            && selection.is_only(IGNORE_FILE)
        {
            let entry = Entry::of_bytes(IGNORE_FILE, file.text.clone());
            return Self { plan, chosen: Chosen::Own(vec![entry]) };
        }
        let chosen = selection.choose(&plan.entries);
        let chosen = (0..).zip(chosen).filter(|(_, chosen)| *chosen).map(|(place, _)| place).collect();
        Self { plan, chosen: Chosen::OfThePlan(chosen) }
    }

    /// The directory that the Dockerfile is read from: itself, and its own ignore file.
    pub fn of_the_dockerfile(plan: Arc<ContextPlan>) -> Self {
        let name = plan.dockerfile_name();
        let mut own = vec![Entry::of_bytes(name, plan.dockerfile_text().to_vec())];
        if let Some(file) = plan.ignore_file.as_ref().filter(|file| file.is_the_dockerfiles) {
            own.push(Entry::of_bytes(&format!("{name}{IGNORE_FILE}"), file.text.clone()));
        }
        Self { plan, chosen: Chosen::Own(own) }
    }

    /// All of them.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        (0..).map_while(|number| self.entry(number))
    }

    /// The one of this number.
    pub fn entry(&self, number: u32) -> Option<&Entry> {
        let number = usize::try_from(number).ok()?;
        match &self.chosen {
            Chosen::OfThePlan(places) => self.plan.entries.get(usize::try_from(*places.get(number)?).ok()?),
            Chosen::Own(entries) => entries.get(number),
        }
    }

    /// What it holds; nothing where it is no file, or there is none of this number.
    pub fn open(&self, number: u32) -> Result<Holding<'_>, ContextError> {
        let Some(entry) = self.entry(number) else { return Ok(Holding::Bytes(b"")) };
        match &entry.kind {
            EntryKind::File(size) => {
                let path = self.plan.root.join(Path::new(OsStr::from_bytes(&entry.path)));
                Content::open(path, *size).map(Holding::File)
            }
            EntryKind::Bytes(bytes) => Ok(Holding::Bytes(bytes)),
            _ => Ok(Holding::Bytes(b"")),
        }
    }
}

impl Holding<'_> {
    /// Whether all was read that was announced.
    pub fn finish(self) -> Result<(), ContextError> {
        match self {
            Self::Bytes(_) => Ok(()),
            Self::File(content) => content.finish(),
        }
    }
}

impl Read for Holding<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bytes(bytes) => bytes.read(buffer),
            Self::File(content) => content.read(buffer),
        }
    }
}
