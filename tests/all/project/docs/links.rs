//! Links, and names of files and tests: all of them lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use autotag_model::help::{self, Topic};

use super::{code, documents, files, prose, read, root};

#[test]
fn links_lead_somewhere() {
    let (mut seen, mut faults) = (0, Vec::new());
    for (name, text) in documents() {
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let directory = root().join(&name).parent().expect("a directory").to_owned();
            if let Err(fault) = follow(&root().join(&name), &directory, target) {
                faults.push(format!("{name}: {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 100, "only {seen} relative links are found");
}

/// Follows a link that stands in a page.
fn follow(page: &Path, directory: &Path, target: &str) -> Result<(), String> {
    let (file, anchor) = target.split_once('#').map_or((target, None), |(file, it)| (file, Some(it)));
    let path = if file.is_empty() { page.to_owned() } else { directory.join(file) };
    if !path.exists() {
        return Err(format!("{target} does not exist"));
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{target}: {error}"))?;
    if anchors(&text).contains(anchor) { Ok(()) } else { Err(format!("{target}: no such heading")) }
}

/// Links into this repository that programs, scripts, workflows and documents give as whole addresses.
#[test]
fn links_to_the_repository_lead_somewhere() {
    let repository = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/");
    let (mut seen, mut faults) = (0, Vec::new());
    for path in files() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for (at, _) in text.match_indices(repository) {
            let rest = &text[at + repository.len()..];
            let end = rest.find(|next: char| next.is_whitespace() || "\"')>`]".contains(next));
            let target = &rest[..end.unwrap_or(rest.len())];
            seen += 1;
            if let Err(fault) = follow(&path, root(), target) {
                faults.push(format!("{}: {fault}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 10, "only {seen} such links are found");
}

// invariant documents: Troubleshooting has a section for each topic, and a test produces it; broken by:
//   `docs/troubleshooting.md`: another heading
// invariant failures-are-explained
/// What an annotation links to is there, and each of them is produced, with its text, by a test.
#[test]
fn every_topic_has_a_section_and_a_test() {
    let page = read("docs/troubleshooting.md");
    let headings: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let expected: Vec<&str> = Topic::ALL.iter().map(|topic| topic.heading()).collect();
    assert_eq!(headings, expected, "the sections of docs/troubleshooting.md are the topics, in their order");
    let anchors = anchors(&page);
    let remedies = root().join("tests/all/remedies");
    let sources: String = std::fs::read_dir(remedies)
        .expect("the tests of remedies")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| std::fs::read_to_string(path).expect("a text"))
        .collect();
    for topic in Topic::ALL {
        let link = topic.link();
        let (page, anchor) = link.split_once('#').expect("a link to a section");
        assert_eq!(page, help::link());
        assert!(anchors.contains(anchor), "{link}: no such heading");
        let word = format!("Topic::{topic:?}");
        let named = sources.match_indices(&word);
        let named = named.filter(|(at, name)| {
            !sources[at + name.len()..].starts_with(|next: char| next.is_ascii_alphanumeric())
        });
        assert!(named.count() > 0, "no test in tests/all/remedies/ produces {topic:?}");
    }
    assert!(help::link().ends_with("/blob/main/docs/troubleshooting.md"));
}

/// The targets of `[text](target)`, fenced blocks aside.
fn links(text: &str) -> Vec<&str> {
    let in_line = |line| str::split(line, "](").skip(1).filter_map(|rest| rest.split(')').next());
    prose(text).flat_map(|(_, line)| in_line(line)).collect()
}

/// GitHub's names of headings: lower case, white space as `-`, other signs gone; a second one of a name gets `-1`.
fn anchors(text: &str) -> BTreeSet<String> {
    let sign = |character: char| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        other => other.is_alphanumeric().then_some(other),
    };
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    let headings = prose(text).filter(|(_, line)| line.starts_with('#'));
    let headings = headings.map(|(_, line)| line.trim_start_matches('#').trim().to_lowercase());
    let names = headings.map(|heading| heading.chars().filter_map(sign).collect::<String>());
    names
        .map(|name| {
            let before = times.entry(name.clone()).or_default();
            *before += 1;
            if *before == 1 { name } else { format!("{name}-{}", *before - 1) }
        })
        .collect()
}

#[test]
fn anchors_are_githubs() {
    let text = "# A `b`: c\n## A `b`: c\n```sh\n# no heading\n```\n";
    assert_eq!(anchors(text).into_iter().collect::<Vec<_>>(), ["a-b-c", "a-b-c-1"]);
}

/// Files that a page has its reader save in a repository of their own.
fn saved_by_readers() -> BTreeSet<String> {
    let saved = |line: &str| Some(line.strip_prefix("<!-- walk: file ")?.strip_suffix(" -->")?.to_owned());
    documents().iter().flat_map(|(_, text)| text.lines().filter_map(saved).collect::<Vec<_>>()).collect()
}

#[test]
fn files_that_are_named_exist() {
    let readers = saved_by_readers();
    let directories =
        ["src/", "crates/", "tests/", "scripts/", "fuzz/", "docs/", "testkit/", ".github/", ".ci/"];
    let (mut seen, mut faults) = (0, Vec::new());
    for (name, text) in documents() {
        for word in code(&text) {
            let path = word.split([' ', '*', '{', '<', '#']).next().unwrap_or_default();
            let path = path.trim_end_matches(|last: char| last == ':' || last.is_ascii_digit());
            let capitals = path.split('/').any(|part| part == "NAME" || part == "NNNN-");
            if directories.iter().any(|it| path.starts_with(it)) && !readers.contains(path) && !capitals {
                seen += 1;
                if !root().join(path).exists() {
                    faults.push(format!("{name}: `{word}` does not exist"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 100, "only {seen} files are named");
}

/// A test that is named must be there under that name, in a module of that name.
#[test]
fn tests_that_are_named_exist() {
    let tests = tests();
    let (mut seen, mut faults) = (0, Vec::new());
    for (document, text) in documents() {
        for word in code(&text) {
            let Some((_, test)) = word.rsplit_once("::") else { continue };
            // Tests have names of several words; `Kind::Image` and `world::retry` are no tests.
            if test.matches('_').count() < 2 || !word.chars().all(is_of_a_path) {
                continue;
            }
            seen += 1;
            if !tests.iter().any(|path| *path == word || path.ends_with(&format!("::{word}"))) {
                faults.push(format!("{document}: there is no test `{word}`"));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 15, "only {seen} tests are named");
}

fn is_of_a_path(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':'
}

/// The paths of all tests, as `cargo test` names them, with the crate's name in front.
pub fn tests() -> BTreeSet<String> {
    scan().into_iter().map(|test| test.path).collect()
}

/// A test, and the notes on invariants above it.
#[derive(Debug)]
pub struct Test {
    pub path: String,
    pub notes: Vec<String>,
}

/// All tests of the workspace, in the order of the files.
pub fn scan() -> Vec<Test> {
    let sources = files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).expect("a text");
    let scanned = sources.map(|path| of_source(path.strip_prefix(root()).expect("below"), &read(&path)));
    scanned.flatten().collect()
}

fn of_source(path: &Path, text: &str) -> Vec<Test> {
    let file = module(path);
    let (mut found, mut inner): (Vec<Test>, Vec<(usize, String)>) = (Vec::new(), Vec::new());
    let (mut is_test, mut notes): (bool, Vec<String>) = (false, Vec::new());
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let line = line.trim();
        inner.retain(|(of, _)| indent > *of || line.is_empty());
        if let Some(note) = line.strip_prefix("// invariant ") {
            notes.push(note.to_owned());
        } else if let Some((note, more)) = notes.last_mut().zip(line.strip_prefix("//   ")) {
            *note += " ";
            *note += more;
        } else if let Some(rest) = line.strip_prefix("#[") {
            is_test |= rest.starts_with("test") || rest.contains("::test");
        } else if let Some(name) = declared(line, "mod ").filter(|_| line.ends_with('{')) {
            inner.push((indent, name));
        } else if let Some(name) = declared(line, "fn ") {
            let notes = std::mem::take(&mut notes);
            if std::mem::take(&mut is_test) {
                let modules = file.iter().cloned().chain(inner.iter().map(|(_, name)| name.clone()));
                let path = modules.chain([name]).collect::<Vec<_>>().join("::");
                found.push(Test { path, notes });
            } else {
                assert!(notes.is_empty(), "{}: {name} is no test: {notes:?}", path.display());
            }
        }
    }
    found
}

/// The name that a line declares, whoever may see it.
fn declared(line: &str, word: &str) -> Option<String> {
    let line = line.trim_start_matches("pub ").trim_start_matches("pub(crate) ").trim_start_matches("async ");
    let rest = line.strip_prefix(word)?;
    let end = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '_')?;
    Some(rest[..end].to_owned())
}

/// The modules that a file's path stands for.
fn module(path: &Path) -> Vec<String> {
    let mut parts: Vec<String> =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    let is = |parts: &[String], at: usize, name: &str| parts.get(at).is_some_and(|part| part == name);
    if is(&parts, 0, "crates") {
        parts.remove(0);
        // `src` or `tests`, behind the crate's name.
        parts.remove(1);
    } else if is(&parts, 0, "src") || is(&parts, 0, "tests") {
        let all = is(&parts, 1, "all");
        parts.drain(..=usize::from(all));
    }
    if parts.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        parts.pop();
    }
    parts
}

#[test]
fn tests_are_found_by_their_paths() {
    let tests = tests();
    for path in [
        "project::docs::links::tests_are_found_by_their_paths",
        "model::help::tests::links_are_made_as_github_makes_them",
        // In a file of its own.
        "versioning::plan::tests::the_version_is_above_all_stable_ones",
    ] {
        assert!(tests.contains(path), "{path} is not among {} tests", tests.len());
    }
    assert!(tests.len() > 800, "only {} tests are found", tests.len());
}
