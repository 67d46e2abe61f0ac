//! What the documents say, compared with what is there: action.yml, exit codes, files, tests, commands, links.

use std::path::{Path, PathBuf};

mod changelog;
mod commands;
mod generated;
mod invariants;
mod links;
mod pages;
mod project;
mod words;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
pub fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The fenced blocks of a language.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}");
    let mut lines = text.lines();
    let mut blocks = Vec::new();
    while let Some(opening) = lines.by_ref().find(|line| line.trim_start() == start) {
        let indent = &opening[..opening.len() - start.len()];
        let content = lines.by_ref().take_while(|line| line.trim_start() != "```");
        let content = content.map(|line| line.strip_prefix(indent).unwrap_or(line));
        blocks.push(content.collect::<Vec<_>>().join("\n"));
    }
    blocks
}

/// The project's files; what builds leave, and Git's own, are no part of it.
pub fn files() -> Vec<PathBuf> {
    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        let entries =
            std::fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        for path in entries.map(|entry| entry.expect("an entry").path()) {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_dir() && name != ".git" && !name.starts_with("target") {
                collect(&path, found);
            } else if path.is_file() && name != ".git" {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(root(), &mut found);
    found.sort();
    found
}

/// Name relative to the root, and text.
pub fn documents() -> Vec<(String, String)> {
    let documents = files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "md"));
    let documents =
        documents.map(|path| path.strip_prefix(root()).expect("below").to_string_lossy().into_owned());
    documents.map(|name| (name.clone(), read(&name))).collect()
}

/// The documents that people write: what runs printed is none.
fn written() -> Vec<(String, String)> {
    let printed = |name: &str| name.starts_with("docs/pictures/") && name != "docs/pictures/README.md";
    documents().into_iter().filter(|(name, _)| !printed(name)).collect()
}

/// The lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

/// Everything in backticks, fenced blocks aside.
fn code(text: &str) -> Vec<String> {
    prose(text)
        .flat_map(|(_, line)| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}
