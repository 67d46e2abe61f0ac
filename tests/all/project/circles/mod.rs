//! No circle between modules: of two modules side by side, one may know the other, never both each other, whether at
//! once or by way of others. A module and the modules inside it are one part: `mod.rs` may use what it holds, and what
//! it holds may use `mod.rs`.
//!
//! Names are followed through `use` and re-exports to the module that declares them, so that a circle cannot hide
//! behind the module above.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tree::{Crate, Id};

mod tree;

/// Who refers to whom among the modules inside one module, with each place where it does.
type Edges = BTreeMap<(Id, Id), BTreeSet<String>>;

// invariant structure: No circle between modules; broken by: `crates/proxy/src/routes.rs` uses `crate::state`
#[test]
fn modules_form_no_circles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = std::fs::read_dir(root.join("crates")).expect("the crates");
    let crates = crates.map(|entry| entry.expect("an entry").path().join("src/lib.rs"));
    let mut all: Vec<_> = crates.chain([root.join("src/lib.rs"), root.join("testkit/src/lib.rs")]).collect();
    all.sort();
    assert!(all.len() > 8, "the crates are found: {all:?}");
    let found: Vec<String> = all
        .iter()
        .flat_map(|lib| {
            let tree = Crate::read(lib);
            let name = lib.strip_prefix(root).expect("below the root").display().to_string();
            circles(&tree).into_iter().map(move |circle| format!("{name}: {circle}"))
        })
        .collect();
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), found.join("\n"));
}

/// The check itself: a rule that reads nothing holds always.
#[test]
fn circles_are_seen_through_imports_groups_and_macros() {
    for (what, x, y, expected) in [
        ("one way", "use crate::y::Y;", "struct Y;", 0),
        ("both ways", "use crate::y::Y;", "use super::x::X;", 1),
        ("by a group", "use crate::{y::{Y, Z}};", "fn f() { crate::x::f() }", 1),
        ("by a re-export of the module above", "use super::Y;", "use super::X; pub struct Y;", 1),
        ("by a type", "struct X(super::y::Y);", "use super::x::X;", 1),
        ("in a macro", "fn f() { println!(\"{}\", crate::y::Z) }", "use super::x::X;", 1),
        ("in a test only", "use super::y::Y;", "#[cfg(test)] mod tests { use crate::x::X; }", 0),
        ("to the module above", "use super::f;", "use super::f;", 0),
    ] {
        let text = format!("mod x {{ {x} }} mod y {{ {y} }} use x::X; use y::Y; fn f() {{}}");
        assert_eq!(circles(&Crate::parse(&text)).len(), expected, "{what}");
    }
    let three =
        "mod x { use super::y; } mod y { use super::z; } mod z { use super::x; } mod w { use super::x; }";
    let found = circles(&Crate::parse(three));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("x, y, z"), "{found:?}");
}

/// A sentence for each set of modules that know each other.
fn circles(tree: &Crate) -> Vec<String> {
    tree.modules().flat_map(|parent| circles_inside(tree, parent)).collect()
}

fn circles_inside(tree: &Crate, parent: Id) -> Vec<String> {
    let edges = edges_inside(tree, parent);
    let mut left: BTreeSet<Id> = edges.keys().map(|(from, _)| *from).collect();
    let mut found = Vec::new();
    while let Some(start) = left.pop_first() {
        let circle: BTreeSet<Id> = reached(start, &edges)
            .into_iter()
            .filter(|other| reached(*other, &edges).contains(&start))
            .collect();
        if circle.contains(&start) {
            left.retain(|other| !circle.contains(other));
            let names: Vec<String> = circle.iter().map(|id| tree.path(*id)).collect();
            let within = |(from, to): &(Id, Id)| circle.contains(from) && circle.contains(to);
            let mut places = Vec::new();
            for ((from, to), at) in edges.iter().filter(|(edge, _)| within(edge)) {
                places.push(format!("    {} -> {}", tree.path(*from), tree.path(*to)));
                places.extend(at.iter().map(|place| format!("        by {place}")));
            }
            found.push(format!("{}\n{}", names.join(", "), places.join("\n")));
        }
    }
    found
}

fn edges_inside(tree: &Crate, parent: Id) -> Edges {
    let mut edges = Edges::new();
    for (from, to, place) in tree.references() {
        if let (Some(from), Some(to)) = (tree.child_towards(parent, from), tree.child_towards(parent, to))
            && from != to
        {
            edges.entry((from, to)).or_default().insert(place);
        }
    }
    edges
}

/// What can be reached from a module, which is itself among it if it lies on a circle.
fn reached(start: Id, edges: &Edges) -> BTreeSet<Id> {
    let mut seen = BTreeSet::new();
    let mut next = vec![start];
    while let Some(from) = next.pop() {
        for (_, to) in edges.keys().filter(|(it, _)| *it == from) {
            if seen.insert(*to) {
                next.push(*to);
            }
        }
    }
    seen
}
