//! docs/design/invariants.md, made from comments above the tests and in scripts:
//!
//! ```text
//! // invariant SECTION: WHAT HOLDS; broken by: HOW
//! //   which may go on in lines like this one
//! // invariant SECTION
//! ```
//!
//! `SECTION` is the anchor of a section of the page. The second form names a test that holds the section's
//! invariant and has no words of its own.

use std::collections::BTreeMap;

use super::generated::check;
use super::links::{Test, scan};
use super::{files, read, root};

const PAGE: &str = "docs/design/invariants.md";

/// One row of the page.
#[derive(Debug, Default)]
struct Row {
    tests: Vec<String>,
    broken_by: Vec<String>,
}

/// What a note says: section, what holds, how it was broken.
fn parsed(note: &str) -> (&str, &str, Option<&str>) {
    let (head, how) = note.split_once("; broken by: ").map_or((note, None), |(head, how)| (head, Some(how)));
    let (section, holds) = head.split_once(": ").unwrap_or((head, ""));
    (section, holds, how)
}

/// The notes in the head of a script.
fn of_script(text: &str) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for line in text.lines().take_while(|line| line.starts_with('#')) {
        if let Some(note) = line.strip_prefix("# invariant ") {
            notes.push(note.to_owned());
        } else if let Some((note, more)) = notes.last_mut().zip(line.strip_prefix("#   ")) {
            *note += " ";
            *note += more;
        }
    }
    notes
}

#[test]
fn the_page_lists_what_stands_above_the_tests() {
    let mut noted = scan();
    for path in files().into_iter().filter(|path| path.starts_with(root().join("scripts"))) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        let path = path.strip_prefix(root()).expect("below").to_string_lossy().into_owned();
        noted.push(Test { path, notes: of_script(&text) });
    }
    let sections: Vec<String> = read(PAGE)
        .lines()
        .filter_map(|line| line.strip_prefix("<!-- generated: ")?.strip_suffix(" -->").map(str::to_owned))
        .collect();
    let mut rows: BTreeMap<&str, BTreeMap<&str, Row>> = BTreeMap::new();
    for Test { path, notes } in &noted {
        for note in notes {
            let (section, holds, how) = parsed(note);
            assert!(sections.iter().any(|it| it == section), "{path}: {PAGE} has no section `{section}`");
            assert!(holds.is_empty() == how.is_none() || !holds.is_empty(), "{path}: what holds? {note}");
            let row = rows.entry(section).or_default().entry(holds).or_default();
            row.tests.push(format!("`{path}`"));
            row.broken_by.extend(how.map(str::to_owned));
        }
    }
    for section in &sections {
        let mut of_section = rows.remove(section.as_str()).unwrap_or_default();
        assert!(!of_section.is_empty(), "no test names the section `{section}`");
        let also = of_section.remove("");
        let mut lines = Vec::new();
        if !of_section.is_empty() {
            lines.extend(["| What holds | Test | How it was broken |", "|---|---|---|"].map(str::to_owned));
        }
        for (holds, row) in &of_section {
            assert!(!row.broken_by.is_empty(), "`{holds}`: no test says how it was broken");
            lines.push(format!("| {holds} | {} | {} |", row.tests.join(", "), row.broken_by.join("; ")));
        }
        if let Some(row) = also {
            lines.extend(["", "Also held by:", ""].map(str::to_owned));
            lines.extend(row.tests.iter().map(|test| format!("- {test}")));
        }
        check(PAGE, section, &lines);
    }
    assert!(noted.iter().map(|test| test.notes.len()).sum::<usize>() > 150, "are notes still seen?");
}

#[test]
fn notes_are_read_as_they_are_meant() {
    assert_eq!(parsed("unique: One: two; broken by: x; y"), ("unique", "One: two", Some("x; y")));
    assert_eq!(parsed("unique"), ("unique", "", None));
    let script =
        "#!/bin/sh\n# Words.\n# invariant documents: It\n#   holds; broken by: that\n\n# invariant x: no\n";
    assert_eq!(of_script(script), ["documents: It holds; broken by: that"]);
}
