//! What BuildKit asks for of a context.

use autotag_build_context::context::{Entry as InContext, EntryKind, Selection};

use super::{Entry, large};

pub(super) const ENTRIES: &[Entry] = &[Entry {
    name: "context-paths",
    check: context_paths,
    words: &["a", "b", "ab", "/", "*", "**", "?", "[ab]", "[^a]", "[", "\\", "..", ".", "\n", "é"],
    large: |size| {
        let mut all = large::plain(size);
        all.push(large::framed("a*a*a*a*a*b\n", "a", "b", size));
        all.push(large::framed("", "a*/", "\na", size));
        all.push(large::framed("a\n", "a/", "a", size));
        all
    },
}];

/// The first line is what is asked for, and the others are names in the context.
fn context_paths(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let asked = lines.next().unwrap_or_default();
    let entry = |name: &[u8]| InContext {
        path: name.into(),
        kind: EntryKind::File(0),
        mode: 0o644,
        modified: 0,
        nanoseconds: 0,
    };
    let entries: Vec<InContext> = lines.map(entry).collect();
    let chosen = Selection::of([asked]).choose(&entries);
    assert_eq!(chosen.len(), entries.len());
    for (entry, chosen) in entries.iter().zip(chosen) {
        // A name has no empty parts, and its size is bounded for the comparison alone.
        let is_name = entry.path.split(|byte| *byte == b'/').all(|part| !part.is_empty());
        if is_name && asked.len() + entry.path.len() < 64 && leads_to(asked, &entry.path) {
            assert!(chosen, "{} is missing under {}", entry.path.escape_ascii(), asked.escape_ascii());
        }
    }
}

/// Whether Docker would copy the entry, or something that lies in it, or that it lies in.
fn leads_to(asked: &[u8], entry: &[u8]) -> bool {
    let parts = asked.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    parts.zip(entry.split(|byte| *byte == b'/')).all(|(pattern, name)| matches(pattern, name))
}

/// Go's `filepath.Match`, one way after another; a set of characters takes any of them.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern {
        [] => name.is_empty(),
        [b'*', rest @ ..] => (0..=name.len()).any(|taken| matches(rest, &name[taken..])),
        [b'?', rest @ ..] => !name.is_empty() && matches(rest, &name[1..]),
        [b'[', rest @ ..] => {
            let end = rest.iter().position(|byte| *byte == b']');
            end.is_some_and(|end| !name.is_empty() && matches(&rest[end + 1..], &name[1..]))
        }
        [b'\\', literal, rest @ ..] | [literal, rest @ ..] => {
            name.first() == Some(literal) && matches(rest, &name[1..])
        }
    }
}
