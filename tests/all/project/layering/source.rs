//! The sources as words: enough of Rust to see which names stand in them.

use std::path::{Path, PathBuf};

use super::root;

/// One file of the sources, cut into words and signs; comments and literals are gone.
pub struct Source {
    pub name: String,
    pub tokens: Vec<Token>,
}

#[derive(Debug, PartialEq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

impl Source {
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        self.tokens.iter().filter(|token| token.text == word).map(|token| token.line).collect()
    }

    fn text(&self, index: usize) -> &str {
        self.tokens.get(index).map_or("", |token| token.text.as_str())
    }

    /// The modules of the standard library that are named, with the line.
    pub fn std_modules(&self) -> Vec<(String, usize)> {
        let starts = |index: &usize| self.text(*index) == "std" && self.text(*index + 1) == "::";
        (0..self.tokens.len()).filter(starts).flat_map(|index| self.heads(index + 2)).collect()
    }

    /// The crate's top-level modules that are named by `crate::` or by enough `super::`, with the line.
    pub fn modules_named(&self) -> Vec<(String, usize)> {
        let inner = self.name.split_once("src/").map_or("", |(_, inner)| inner);
        let depth = inner.trim_end_matches(".rs").trim_end_matches("/mod").split('/').count();
        let mut found = Vec::new();
        let mut index = 0;
        while index < self.tokens.len() {
            let mut up = 0;
            while self.text(index) == "super" && self.text(index + 1) == "::" {
                up += 1;
                index += 2;
            }
            // In a test module one more `super` is needed, so that this sees rather too much.
            if up >= depth || (self.text(index) == "crate" && self.text(index + 1) == "::") {
                index += if up >= depth { 0 } else { 2 };
                found.extend(self.heads(index));
            }
            index += 1;
        }
        found
    }

    /// The word at this place; of a group in braces the first word of each path.
    fn heads(&self, start: usize) -> Vec<(String, usize)> {
        let mut heads = Vec::new();
        let (mut depth, mut expected) = (0_usize, true);
        for token in self.tokens.iter().skip(start) {
            match token.text.as_str() {
                "{" => depth += 1,
                "}" => depth = depth.saturating_sub(1),
                "," if depth == 1 => expected = true,
                word if expected => {
                    heads.push((word.to_owned(), token.line));
                    expected = false;
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        heads
    }
}

/// The sources of all crates.
pub fn all() -> Vec<Source> {
    let crates = std::fs::read_dir(root().join("crates")).expect("crates");
    let of_crates =
        crates.map(|entry| format!("crates/{}/src", entry.expect("an entry").file_name().display()));
    of_crates.chain(["src".to_owned()]).flat_map(|part| sources(&part)).collect()
}

/// The files at or below a path.
pub fn sources(part: &str) -> Vec<Source> {
    let mut files = Vec::new();
    let start = root().join(part);
    if start.is_dir() {
        collect(&start, &mut files);
    } else {
        let beside = start.with_extension("rs");
        files.push(if start.is_file() { start } else { beside });
    }
    let read = |file: &PathBuf| {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let name = file.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        Source { name, tokens: tokens(&text) }
    };
    files.iter().map(read).collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in
        std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path())
    {
        if entry.is_dir() {
            collect(&entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
}

/// Words, `::`, braces and commas of Rust's text. Comments, texts and characters are passed over.
pub fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if first == '"' {
            text_length(rest)
        } else if first == '\'' {
            character_length(rest)
        } else if let Some(length) = raw_text_length(rest) {
            length
        } else if first.is_alphabetic() || first == '_' {
            rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if token == "::" || "{},".contains(token) || is_word(token) {
            found.push(Token { text: token.to_owned(), line });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    found
}

fn is_word(token: &str) -> bool {
    token.chars().all(|character| character.is_alphanumeric() || character == '_')
}

/// `"..."` with its escapes.
fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (index, character) in rest.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return index + 1,
            _ => {}
        }
    }
    rest.len()
}

/// `'x'`, `'\n'`; of a lifetime the quote alone.
fn character_length(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((next, _))) => {
            rest[next + 1..].find('\'').map_or(rest.len(), |end| next + end + 2)
        }
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 1,
    }
}

/// `r"..."`, `r#"..."#`, with a `b` before it or without.
fn raw_text_length(rest: &str) -> Option<usize> {
    let start = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = start.len() - start.trim_start_matches('#').len();
    let body = start[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = body.find(&end)? + end.len();
    Some(rest.len() - body.len() + length)
}
