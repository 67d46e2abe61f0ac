//! The words of the field, in pages, in the programs' texts, and in names.

use std::collections::BTreeMap;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, Lit, Macro};

use super::{files, prose, read, root, written};

/// Words of a private dialect, each with the field's own.
const GONE: &[(&str, &str)] = &[
    ("told", "reported"),
    ("mend", "fix"),
    ("mended", "fixed"),
    ("in vain", "failed"),
    ("at work", "running"),
    ("by hand", "manually"),
    ("laptop", "your own machine"),
    ("laptops", "people's own machines"),
    ("folder", "directory"),
    ("folders", "directories"),
    ("not wanted", "skipped"),
    ("so long", "how long"),
];

/// Parts of names that say nothing to a stranger.
const GONE_FROM_NAMES: [&str; 11] =
    ["desk", "folder", "laptop", "mend", "mended", "said", "told", "tour", "trouble", "vain", "world"];

/// The words of the dialect in a text, each with a better one.
fn dialect(text: &str) -> Vec<String> {
    let plain = text.to_lowercase();
    let stands = |word: &str| {
        plain.match_indices(word).any(|(at, _)| {
            !plain[..at].ends_with(char::is_alphanumeric)
                && !plain[at + word.len()..].starts_with(char::is_alphanumeric)
        })
    };
    let found = GONE.iter().filter(|(word, _)| stands(word));
    found.map(|(word, better)| format!("`{word}` should be `{better}`")).collect()
}

#[test]
fn documents_use_the_words_of_the_field() {
    let mut faults = Vec::new();
    let action = ("action.yml".to_owned(), read("action.yml"));
    for (name, text) in written().into_iter().chain([action]) {
        for (number, line) in prose(&text) {
            // Names in code are what they are.
            let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
            faults.extend(dialect(&plain).into_iter().map(|fault| format!("{name}:{number}: {fault}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The texts and the names of a source.
#[derive(Default)]
struct Words {
    texts: Vec<String>,
    names: Vec<String>,
    /// Texts of tests are read by nobody else.
    with_tests: bool,
}

impl Words {
    fn of(text: &str, with_tests: bool) -> Self {
        let mut words = Self { with_tests, ..Self::default() };
        words.visit_file(&syn::parse_file(text).expect("Rust"));
        words
    }

    fn add(&mut self, tokens: TokenStream) {
        for tree in tokens {
            match tree {
                TokenTree::Group(group) => self.add(group.stream()),
                TokenTree::Literal(literal) => self.visit_lit(&Lit::new(literal)),
                TokenTree::Ident(name) => self.names.push(name.to_string()),
                TokenTree::Punct(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Words {
    fn visit_lit(&mut self, literal: &'ast Lit) {
        if let Lit::Str(text) = literal {
            self.texts.push(text.value());
        }
    }

    fn visit_ident(&mut self, name: &'ast proc_macro2::Ident) {
        self.names.push(name.to_string());
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.add(called.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        let of_tests = module.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if self.with_tests || !of_tests {
            visit::visit_item_mod(self, module);
        }
    }
}

/// Every source, by its name in the project.
fn sources() -> BTreeMap<String, String> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    let name = |path: &Path| path.strip_prefix(root()).expect("below").to_string_lossy().into_owned();
    rust.map(|path| name(&path)).map(|name| (name.clone(), read(&name))).collect()
}

// broken by: `told` in a text of `src/report/summary/mod.rs`.
#[test]
fn the_programs_use_the_words_of_the_field() {
    let (mut seen, mut faults) = (0, Vec::new());
    let product =
        |name: &str| name.starts_with("src/") || (name.starts_with("crates/") && name.contains("/src/"));
    for (name, text) in sources().into_iter().filter(|(name, _)| product(name) && !name.contains("test")) {
        let texts = Words::of(&text, false).texts;
        seen += texts.len();
        for text in texts {
            faults.extend(dialect(&text).into_iter().map(|fault| format!("{name}: {fault}: {text:?}")));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 3_000, "only {seen} texts are found");
}

// broken by: a variable `told` in any source.
#[test]
fn names_are_words_of_the_field() {
    let (mut seen, mut faults) = (0, Vec::new());
    for (name, text) in sources() {
        let names = Words::of(&text, true).names;
        seen += names.len();
        for it in names {
            let gone = |part: &str| GONE_FROM_NAMES.contains(&part);
            if parts(&it).iter().any(|part| gone(part)) {
                faults.push(format!("{name}: {it}"));
            }
        }
    }
    faults.dedup();
    assert!(faults.is_empty(), "{} names:\n{}", faults.len(), faults.join("\n"));
    assert!(seen > 100_000, "only {seen} names are found");
}

/// `of_Told` and `NotToldYet` in lower case, word by word.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            parts.push(String::new());
        }
        if letter != '_' {
            parts.last_mut().expect("one").extend(letter.to_lowercase());
        }
    }
    parts
}

#[test]
fn names_are_taken_apart() {
    assert_eq!(parts("what_WasTold"), ["what", "", "was", "told"]);
}

/// The types that a source declares, at whatever depth.
#[derive(Default)]
struct Types(Vec<String>);

impl<'ast> Visit<'ast> for Types {
    fn visit_item(&mut self, item: &'ast Item) {
        let name = match item {
            Item::Struct(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            _ => None,
        };
        self.0.extend(name.map(ToString::to_string));
        visit::visit_item(self, item);
    }
}

/// One word, one meaning. broken by: `struct Answer` in any second file of `crates/proxy/src`.
#[test]
fn no_crate_has_two_types_of_one_name() {
    let mut places: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (name, text) in sources().into_iter().filter(|(name, _)| name.contains("src/")) {
        let mut types = Types::default();
        types.visit_file(&syn::parse_file(&text).expect("Rust"));
        let package = name.split_once("src/").expect("a crate's source").0.to_owned();
        for it in types.0 {
            places.entry((package.clone(), it)).or_default().push(name.clone());
        }
    }
    assert!(places.len() > 700, "only {} types are found", places.len());
    let twice: Vec<String> = places
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|((_, name), places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(twice.is_empty(), "two types of one name:\n{}", twice.join("\n"));
}
