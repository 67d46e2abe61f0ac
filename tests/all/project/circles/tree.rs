//! The modules of a crate and what each of them refers to, read from its sources.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemMod, ItemUse, Macro, UseTree};

/// A module, by its place in the list.
pub type Id = usize;

pub struct Crate {
    modules: Vec<Module>,
}

#[derive(Default)]
struct Module {
    name: String,
    parent: Option<Id>,
    file: PathBuf,
    children: BTreeMap<String, Id>,
    /// What `use` brings in, by its name here.
    imports: BTreeMap<String, Vec<String>>,
    references: Vec<Vec<String>>,
}

impl Crate {
    pub fn read(lib: &Path) -> Self {
        let mut tree = Self { modules: Vec::new() };
        let items = parsed(lib);
        let directory = lib.parent().expect("a directory");
        tree.add(Module { file: lib.to_owned(), ..Module::default() }, &items, directory);
        tree
    }

    pub fn parse(text: &str) -> Self {
        let mut tree = Self { modules: Vec::new() };
        let items = syn::parse_file(text).expect("Rust").items;
        tree.add(Module::default(), &items, Path::new(""));
        tree
    }

    pub fn modules(&self) -> impl Iterator<Item = Id> {
        0..self.modules.len()
    }

    /// `serve::change`, as the crate names it.
    pub fn path(&self, id: Id) -> String {
        let module = &self.modules[id];
        match module.parent {
            Some(parent) if self.modules[parent].parent.is_some() => {
                format!("{}::{}", self.path(parent), module.name)
            }
            _ => module.name.clone(),
        }
    }

    /// Who refers to whom, and where.
    pub fn references(&self) -> impl Iterator<Item = (Id, Id, String)> {
        self.modules().flat_map(move |from| {
            let module = &self.modules[from];
            module.references.iter().filter_map(move |path| {
                let to = self.resolve(from, path, 0)?;
                Some((from, to, format!("`{}` in {}", path.join("::"), module.file.display())))
            })
        })
    }

    /// The module directly inside `parent` in which this one lies.
    pub fn child_towards(&self, parent: Id, id: Id) -> Option<Id> {
        let mut at = id;
        loop {
            let above = self.modules[at].parent?;
            if above == parent {
                return Some(at);
            }
            at = above;
        }
    }

    fn add(&mut self, module: Module, items: &[Item], directory: &Path) -> Id {
        let id = self.modules.len();
        let file = module.file.clone();
        self.modules.push(module);
        let mut found = Found::default();
        for item in items {
            found.visit_item(item);
        }
        for inner in &found.modules {
            let name = inner.ident.to_string();
            let beside = directory.join(&name);
            let (file, items) = if let Some((_, items)) = &inner.content {
                (file.clone(), items.clone())
            } else {
                let file = beside.with_extension("rs");
                let file = if file.is_file() { file } else { beside.join("mod.rs") };
                let items = parsed(&file);
                (file, items)
            };
            let child = Module { name: name.clone(), parent: Some(id), file, ..Module::default() };
            let child = self.add(child, &items, &beside);
            self.modules[id].children.insert(name, child);
        }
        self.modules[id].imports = found.imports;
        self.modules[id].references = found.references;
        id
    }

    /// The module in which a path ends, as seen from another; nothing for what is of another crate.
    fn resolve(&self, from: Id, path: &[String], depth: usize) -> Option<Id> {
        let (mut at, mut index, mut anchored) = (from, 0, false);
        while let Some(segment) = path.get(index) {
            match segment.as_str() {
                "crate" => (at, anchored) = (0, true),
                "self" => anchored = true,
                "super" => (at, anchored) = (self.modules[at].parent?, true),
                name => {
                    let module = &self.modules[at];
                    if let Some(child) = module.children.get(name) {
                        (at, anchored) = (*child, true);
                    } else if let Some(import) = module.imports.get(name).filter(|_| depth < 8) {
                        // `use a::b;` then `b::C`: on to where `b` came from.
                        let rest = [import.as_slice(), &path[index + 1..]].concat();
                        return self.resolve(at, &rest, depth + 1).or(anchored.then_some(at));
                    } else {
                        return anchored.then_some(at);
                    }
                }
            }
            index += 1;
        }
        anchored.then_some(at)
    }
}

fn parsed(file: &Path) -> Vec<Item> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display())).items
}

/// What one module holds, without the modules inside it and without what only tests see.
#[derive(Default)]
struct Found {
    modules: Vec<ItemMod>,
    imports: BTreeMap<String, Vec<String>>,
    references: Vec<Vec<String>>,
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_for_tests) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.modules.push(module.clone());
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.references.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

impl Found {
    fn import(&mut self, tree: &UseTree, prefix: &mut Vec<String>) {
        let mut bring = |name: String, path: Vec<String>| {
            self.references.push(path.clone());
            self.imports.insert(name, path);
        };
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.import(&path.tree, prefix);
                prefix.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.import(item, prefix)),
            // `use a::{self}` brings in `a`.
            UseTree::Name(name) if name.ident == "self" => {
                bring(prefix.last().cloned().unwrap_or_default(), prefix.clone());
            }
            UseTree::Name(name) => {
                bring(name.ident.to_string(), [prefix.as_slice(), &[name.ident.to_string()]].concat());
            }
            UseTree::Rename(name) => {
                bring(name.rename.to_string(), [prefix.as_slice(), &[name.ident.to_string()]].concat());
            }
            UseTree::Glob(_) => self.references.push(prefix.clone()),
        }
    }

    /// Paths in the words of a macro's call, which are not parsed: `a::b`, also inside brackets.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 2;
        for token in tokens {
            match token {
                TokenTree::Ident(word) if colons == 2 => {
                    path.push(word.to_string());
                    colons = 0;
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' => colons += 1,
                other => {
                    self.references.extend((!path.is_empty()).then(|| std::mem::take(&mut path)));
                    colons = 2;
                    match other {
                        TokenTree::Group(group) => self.tokens(group.stream()),
                        TokenTree::Ident(word) => {
                            path.push(word.to_string());
                            colons = 0;
                        }
                        TokenTree::Punct(_) | TokenTree::Literal(_) => {}
                    }
                }
            }
        }
        self.references.extend((!path.is_empty()).then_some(path));
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(it) => &it.attrs,
        Item::Enum(it) => &it.attrs,
        Item::Fn(it) => &it.attrs,
        Item::Impl(it) => &it.attrs,
        Item::Macro(it) => &it.attrs,
        Item::Mod(it) => &it.attrs,
        Item::Static(it) => &it.attrs,
        Item::Struct(it) => &it.attrs,
        Item::Trait(it) => &it.attrs,
        Item::Type(it) => &it.attrs,
        Item::Use(it) => &it.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, or `any` of what has `test` in it.
fn is_for_tests(attribute: &Attribute) -> bool {
    let named = |tokens: &TokenStream| {
        tokens.to_string().split(|sign: char| !sign.is_alphanumeric()).any(|word| word == "test")
    };
    attribute.path().is_ident("cfg") && attribute.meta.require_list().is_ok_and(|list| named(&list.tokens))
}
