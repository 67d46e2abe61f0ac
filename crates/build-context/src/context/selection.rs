//! What a builder asks for of a context: the paths that a Dockerfile names.
//!
//! More than is asked for may always be sent, and less never: a file that is missing would fail the build, or be
//! missing in the image. So where a path cannot be followed to its end, which is where a link stands in it or a
//! wildcard that is not read here, all is sent that it can lead to.
//!
//! ```text
//! path      = component *( "/" component )     ; relative to the context
//! component = "**"                             ; any number of components
//!           / *byte                            ; `*`, `?`, `[`, `]` and `\` as Go's `filepath.Match` has them
//! ```

use super::plan::{Entry, EntryKind};

/// The paths that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection(Option<Vec<Vec<Component>>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Component {
    Literal(Vec<u8>),
    /// What it begins with and what it ends with; anything may stand between.
    Wild(Vec<u8>, Vec<u8>),
    /// Everything from here on.
    All,
}

impl Selection {
    /// All of the context.
    pub fn all() -> Self {
        Self(None)
    }

    /// These paths, and what lies below them; everything, where one of them is the context itself or leads out
    /// of it.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self(paths.into_iter().map(components).collect())
    }

    /// Whether it is this one file and nothing else.
    pub fn is_only(&self, name: &str) -> bool {
        let name = Component::Literal(name.as_bytes().to_vec());
        matches!(self.0.as_deref(), Some([path]) if *path == [name])
    }

    /// Which entries have to be sent: what was asked for, and the directories above it.
    pub fn choose(&self, entries: &[Entry]) -> Vec<bool> {
        let paths = match &self.0 {
            // What a link leads to may lie anywhere.
            Some(paths) if !entries.iter().any(|entry| leads_on(paths, entry)) => paths,
            _ => return vec![true; entries.len()],
        };
        entries.iter().map(|entry| paths.iter().any(|path| agree(path, &entry.path))).collect()
    }
}

/// `None` for what is no path below the context.
fn components(path: &[u8]) -> Option<Vec<Component>> {
    let mut found = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return None,
            b"**" => {
                found.push(Component::All);
                break;
            }
            part => found.push(component(part)),
        }
    }
    let begins = found.first().is_some_and(|first| *first != Component::All);
    begins.then_some(found)
}

fn component(part: &[u8]) -> Component {
    let is_special = |byte: &u8| b"*?[]\\".contains(byte);
    match (part.iter().position(is_special), part.iter().rposition(is_special)) {
        (Some(first), Some(last)) => Component::Wild(part[..first].to_vec(), part[last + 1..].to_vec()),
        _ => Component::Literal(part.to_vec()),
    }
}

/// Whether one of both lies below the other, or both are the same.
fn agree(path: &[Component], entry: &[u8]) -> bool {
    let parts = entry.split(|byte| *byte == b'/');
    path.iter().take_while(|part| **part != Component::All).zip(parts).all(
        |(component, part)| match component {
            Component::Literal(name) => name == part,
            Component::Wild(begin, end) => part.starts_with(begin) && part.ends_with(end),
            Component::All => true,
        },
    )
}

/// Whether a link stands in the way of one of these paths, or at its end.
fn leads_on(paths: &[Vec<Component>], entry: &Entry) -> bool {
    if !matches!(entry.kind, EntryKind::Link(_)) {
        return false;
    }
    let depth = entry.path.split(|byte| *byte == b'/').count();
    paths.iter().any(|path| {
        let is_open = path.contains(&Component::All);
        (is_open || depth <= path.len()) && agree(path, &entry.path)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        let entry = |name: &&str| {
            let (name, kind) = match name.split_once(" -> ") {
                Some((name, target)) => (name, EntryKind::Link(target.as_bytes().into())),
                None => (*name, EntryKind::File(1)),
            };
            let (modified, nanoseconds) = (0, 0);
            Entry { path: name.as_bytes().into(), kind, mode: 0o644, modified, nanoseconds }
        };
        names.iter().map(entry).collect()
    }

    fn chosen<'a>(paths: &[&str], names: &[&'a str]) -> Vec<&'a str> {
        let entries = entries(names);
        let selection = Selection::of(paths.iter().map(|path| path.as_bytes()));
        let chosen = selection.choose(&entries);
        names.iter().zip(chosen).filter(|(_, chosen)| *chosen).map(|(name, _)| *name).collect()
    }

    #[test]
    fn what_is_asked_for_is_selected_with_parents_and_children() {
        const NAMES: &[&str] =
            &[".git", ".git/x", "a", "a/b", "a/b/c", "a/bc", "package-lock.json", "package.json", "x"];
        for (paths, expected) in [
            (&["a/b"][..], &["a", "a/b", "a/b/c"][..]),
            (&["a"], &["a", "a/b", "a/b/c", "a/bc"]),
            (&["./x/", "/a/bc"], &["a", "a/bc", "x"]),
            (&["package*.json"], &["package-lock.json", "package.json"]),
            (&["package?json"], &["package-lock.json", "package.json"]),
            (&["[ax]"], NAMES),
            (&["a/[b]c"], &["a", "a/bc"]),
            (&["a/**/c"], &["a", "a/b", "a/b/c", "a/bc"]),
            (&["not-there"], &[]),
            (&["x\\"], &["x"]),
            // What is the context itself, or no path below it.
            (&["."], NAMES),
            (&[""], NAMES),
            (&["**/c"], NAMES),
            (&["x", "a/../.."], NAMES),
        ] {
            assert_eq!(chosen(paths, NAMES), expected, "{paths:?}");
        }
    }

    #[test]
    fn a_link_on_the_way_leads_anywhere() {
        const NAMES: &[&str] = &["a", "a/deep", "a/deep/link -> ../../x", "link -> a", "x"];
        for (paths, expected) in [
            (&["link"][..], NAMES),
            (&["link/deep"], NAMES),
            (&["l*"], NAMES),
            (&["a/**"], NAMES),
            (&["x"], &["x"][..]),
            // Below what is copied, a link is copied as a link.
            (&["a"], &["a", "a/deep", "a/deep/link -> ../../x"]),
        ] {
            assert_eq!(chosen(paths, NAMES), expected, "{paths:?}");
        }
    }

    #[test]
    fn one_file_alone_is_known_as_such() {
        let of = |paths: &[&str]| Selection::of(paths.iter().map(|path| path.as_bytes()));
        assert!(of(&[".dockerignore"]).is_only(".dockerignore"));
        for other in [&[".dockerignore", "x"][..], &[], &["."], &[".dockerignore/x"], &[".docker*"]] {
            assert!(!of(other).is_only(".dockerignore"), "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn a_path_chooses_itself(path in "[a-c*?\\[\\]\\\\é]{1,3}(/[a-c*é]{1,3}){0,2}") {
            let asked = path.replace(['*', '?', '[', ']', '\\'], "\\a");
            let name = asked.replace('\\', "");
            prop_assert!(!chosen(&[&path], &[name.as_str()]).is_empty() || path != name);
            prop_assert_eq!(chosen(&[asked.as_str()], &[name.as_str()]), [name.as_str()]);
        }

        #[test]
        fn nothing_panics(paths in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..4)) {
            let entries = entries(&["a", "a/b", "c -> a"]);
            Selection::of(paths.iter().map(Vec::as_slice)).choose(&entries);
        }
    }
}
