//! The project as a whole: what the Marketplace takes, licences, and what must not stand in any file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::{files, read, root};

/// What the Marketplace refuses is seen only on the page where a release is listed there.
#[test]
fn action_yml_is_what_the_marketplace_takes() {
    let file: Value = serde_yaml::from_str(&read("action.yml")).expect("action.yml is YAML");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(text(&file["name"]), "autotag-deploy", "a new name is a new listing");
    let description = text(&file["description"]).chars().count();
    assert!((20..125).contains(&description), "the description has {description} characters");
    for filled in [&file["author"], &file["branding"]["icon"], &file["branding"]["color"]] {
        assert!(!text(filled).is_empty(), "author, icon or color is missing");
    }
    assert!(!root().join("action.yaml").exists() && root().join("README.md").exists());
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    // In two halves, or this file would name them.
    let forbidden = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];
    for path in files() {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for word in forbidden {
            // A path of its own, not the middle of one (`docs/root/`).
            let named = text.match_indices(word).any(|(start, _)| {
                !text[..start].ends_with(|before: char| before.is_ascii_alphanumeric() || before == '.')
            });
            assert!(!named, "{} names {word}", path.display());
        }
    }
}

#[test]
fn both_licences_are_there() {
    assert!(read("Cargo.toml").contains("license = \"MIT OR Apache-2.0\""));
    assert!(read("LICENSE-MIT").contains("Permission is hereby granted, free of charge"));
    let apache = read("LICENSE-APACHE");
    assert!(apache.contains("Version 2.0, January 2004") && apache.contains("END OF TERMS AND CONDITIONS"));
}

/// It installs, adds a user and starts servers: an option that it does not know must not do any of that.
#[test]
fn the_demo_explains_itself_and_refuses_unknown_arguments() {
    let demo = |option: &str| {
        let output =
            std::process::Command::new(root().join("scripts/demo")).arg(option).output().expect("the demo");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, usage, errors) = demo("--help");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(usage.starts_with("usage: scripts/demo [--self]\n") && usage.contains("minutes"), "{usage}");
    let (code, printed, errors) = demo("--sefl");
    assert_eq!((code, printed.as_str()), (Some(2), ""));
    assert_eq!(errors, format!("error: unknown option: --sefl\n\n{usage}"));
}

/// Who reads a red line of CI understands it at once. broken by: a name of eleven words.
#[test]
fn no_test_has_a_name_of_more_than_ten_words() {
    let tests = super::links::tests();
    assert!(tests.len() > 1_000, "only {} tests are found", tests.len());
    let words = |path: &String| path.rsplit("::").next().unwrap_or_default().split('_').count();
    let long: Vec<&String> = tests.iter().filter(|path| words(path) > 10).collect();
    assert!(long.is_empty(), "{long:#?}");
}

/// Directories that may be large: the root, where tools look for their files, and what programs write.
const LARGE: [&str; 4] = ["", "docs/pictures", "fuzz/corpus", "tests/all/remedies/snapshots"];

/// Who opens a directory sees at once what is in it. broken by: a sixteenth file in `src/report`.
#[test]
fn no_directory_has_more_than_fifteen_entries() {
    let mut entries: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for file in files() {
        let file = file.strip_prefix(root()).expect("below");
        if !file.components().any(|part| part.as_os_str() == "node_modules") {
            for path in file.ancestors().filter(|path| path.parent().is_some()) {
                entries.entry(path.parent().expect("one").to_owned()).or_default().insert(path.to_owned());
            }
        }
    }
    assert!(entries.len() > 100, "only {} directories are found", entries.len());
    for (directory, inside) in entries {
        let large = inside.len() > 15;
        let listed = LARGE.iter().any(|name| directory == Path::new(name));
        assert_eq!(large, listed, "{}: {} entries; group them", directory.display(), inside.len());
    }
}

/// The tests of the index, with the checks that each calls: the file, and the function.
fn cases(index: &str) -> Vec<(String, Vec<(String, String)>)> {
    let call = |path: &str| -> Option<(String, String)> {
        let path = path.trim_end_matches([';', ',']).trim_end_matches(".await").trim_end_matches("()");
        let (module, function) = path.rsplit_once("::")?;
        let file = format!("tests/all/cases/{}.rs", module.replace("::", "/"));
        root().join(&file).is_file().then(|| (file, function.to_owned()))
    };
    let mut cases: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for line in index.lines().map(str::trim) {
        let begun =
            line.trim_start_matches("async ").strip_prefix("fn ").and_then(|rest| rest.split_once('('));
        if let Some((name, _)) = begun {
            cases.push((name.to_owned(), Vec::new()));
        } else if let Some((name, path)) = line.split_once(": ").filter(|(_, path)| path.ends_with(';')) {
            // A line of `traffic!`.
            cases.push((name.to_owned(), call(path).into_iter().collect()));
        } else if let Some((_, checks)) = cases.last_mut() {
            checks.extend(call(line));
        }
    }
    cases
}

/// A row's number at the start of a test's name, as the notes above the checks write it: `A2` for `a2_...`.
fn row_of(test: &str) -> Option<String> {
    let (row, _) = test.split_once('_')?;
    let number = row.strip_prefix(['a', 's', 'x'])?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then(|| row.to_uppercase())
}

/// Each right value of a case was seen to be missed. broken by: a `// case` comment taken away, or given another row; a
/// test without its call.
#[test]
fn each_case_says_how_it_was_seen_to_fail() {
    let index = read("tests/all/cases/mod.rs");
    let cases = cases(&index);
    let checks = cases.iter().map(|(_, checks)| checks.len()).sum::<usize>();
    assert!(checks > 90, "only {checks} checks are found");
    for (test, checks) in cases {
        let row = row_of(&test);
        assert!(row.is_none() || !checks.is_empty(), "{test} calls no check");
        for (file, function) in checks {
            let text = read(&file);
            let place = text.find(&format!("fn {function}(")).unwrap_or_else(|| panic!("{file}: {function}"));
            let above = text[..place].rsplit("\n\n").next().unwrap_or_default();
            let note = row.as_ref().map_or_else(|| "// case ".to_owned(), |row| format!("// case {row}; "));
            let noted = above.contains(&note) && above.contains("broken by: ");
            assert!(noted, "{file}: {function}: no `{note}...; broken by: ...` above it, as {test} needs it");
        }
    }
}
