//! What the documents say, held against what is there: action.yml, exit codes, tests, files, commands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use autotag_deploy::failure::Kind;
use autotag_deploy::inputs::spec::{INPUTS, OUTPUTS};
use autotag_model::help::Topic;
use autotag_protocol::{FailureCode, RefusalCode};
use autotag_receiver::cli;
use autotag_receiver::config::app_file;
use serde_yaml::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
pub fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

// ---- action.yml, the program's table, and the README's tables ----

/// Name, default, description, in the file's order.
fn listed(section: &str) -> Vec<[String; 3]> {
    let file: Value = serde_yaml::from_str(&read("action.yml")).expect("action.yml is YAML");
    let entries = file[section].as_mapping().expect("a mapping").clone();
    let text = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let entry =
        |(name, entry): (Value, Value)| [text(&name), text(&entry["default"]), text(&entry["description"])];
    entries.into_iter().map(entry).collect()
}

#[test]
fn action_yml_and_the_program_have_the_same_inputs_and_outputs() {
    let (inputs, outputs) = (listed("inputs"), listed("outputs"));
    let names = |list: &[[String; 3]]| list.iter().map(|[name, ..]| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&inputs), INPUTS.iter().map(|spec| spec.name).collect::<Vec<_>>());
    assert_eq!(names(&outputs), OUTPUTS);
    for [name, _, description] in inputs.iter().chain(&outputs) {
        assert!(description.ends_with('.') && description.len() > 15, "{name}: {description:?}");
    }
}

/// Likewise.
#[test]
fn the_documents_list_every_field_of_the_app_file() {
    let rows: Vec<String> = app_file::fields()
        .map(|field| format!("| `{}` | {} | `{}` |", field.name, field.meaning, field.example))
        .collect();
    assert_eq!(rows.join("\n"), table(&read("docs/app-file.md"), "## Fields").join("\n"));
}

/// Where this fails, the left side is what the README should say.
#[test]
fn the_readme_lists_what_action_yml_says() {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let row = |cells: &[String]| format!("| {} |", cells.join(" | ")).replace("|  |", "| |");
    let inputs: Vec<String> = listed("inputs")
        .into_iter()
        .map(|[name, default, description]| row(&[code(&name), code(&default), description]))
        .collect();
    assert_eq!(inputs.join("\n"), table(&read("README.md"), "## Inputs").join("\n"));
    let outputs: Vec<String> = listed("outputs")
        .into_iter()
        .map(|[name, _, description]| row(&[code(&name), description]))
        .collect();
    assert_eq!(outputs.join("\n"), table(&read("README.md"), "## Outputs").join("\n"));
}

#[test]
fn the_readme_lists_the_exit_codes() {
    let rows = table(&read("README.md"), "## Exit codes");
    let mut expected = vec![format!("| 0 | {} |", autotag_deploy::cli::DONE)];
    expected.extend(Kind::ALL.iter().map(|kind| format!("| {} | {} |", kind.exit_code(), kind.heading())));
    assert_eq!(rows.len(), expected.len(), "{rows:#?}");
    for (row, start) in rows.iter().zip(expected) {
        assert!(row.starts_with(&start), "{row:?} should start with {start:?}");
        assert!(row.len() > start.len() + 10, "{row:?} says nothing of what to do");
    }
}

#[test]
fn the_readme_lists_the_receivers_exit_codes() {
    let rows = table(&read("README.md"), "### On the server, of autotag-receiver");
    let expected: Vec<String> =
        cli::Exit::ALL.iter().map(|exit| format!("| {} | {} |", exit.code(), exit.meaning())).collect();
    assert_eq!(expected, rows);
}

/// What programs act on is documented as the code has it.
#[test]
fn the_protocol_page_lists_every_code() {
    let page = read("docs/protocol.md");
    let row = |code: &str, meaning: &str| format!("| `{code}` | {meaning} |");
    let refusals: Vec<String> =
        RefusalCode::ALL.iter().map(|code| row(code.as_str(), code.meaning())).collect();
    assert_eq!(refusals.join("\n"), table(&page, "### Refusals").join("\n"));
    let failures: Vec<String> =
        FailureCode::ALL.iter().map(|code| row(code.as_str(), code.meaning())).collect();
    assert_eq!(failures.join("\n"), table(&page, "### Failures").join("\n"));
}

/// The rows of the first table below a heading, without its head.
#[track_caller]
fn table(text: &str, heading: &str) -> Vec<String> {
    let mut lines = text.lines().skip_while(|line| *line != heading).skip(1);
    let head = lines
        .by_ref()
        .take_while(|line| !line.starts_with("## ") && !line.starts_with("### "))
        .find(|line| line.starts_with('|'));
    assert!(head.is_some(), "no table below {heading}");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

#[test]
fn the_readmes_workflows_use_what_exists() {
    let readme = read("README.md");
    let (mut steps, mut outputs) = (0, 0);
    for block in blocks(&readme, "yaml") {
        let workflow: Value =
            serde_yaml::from_str(&block).unwrap_or_else(|error| panic!("{error}:\n{block}"));
        let jobs = workflow["jobs"].as_mapping().into_iter().flat_map(|jobs| jobs.values());
        let of_jobs = jobs.filter_map(|job| job["steps"].as_sequence()).flatten();
        // A part of a workflow may be steps alone.
        for step in of_jobs.chain(workflow.as_sequence().into_iter().flatten()) {
            if !step["uses"].as_str().unwrap_or_default().starts_with("org/autotag-deploy@v1") {
                continue;
            }
            steps += 1;
            for (input, _) in step["with"].as_mapping().into_iter().flatten() {
                let input = input.as_str().expect("a name");
                assert!(INPUTS.iter().any(|spec| spec.name == input), "{input} is no input:\n{block}");
            }
        }
        for name in block.split("steps.release.outputs.").skip(1) {
            let end = name.find(|next: char| !next.is_ascii_lowercase() && next != '-').unwrap_or(name.len());
            assert!(OUTPUTS.contains(&&name[..end]), "{} is no output:\n{block}", &name[..end]);
            outputs += 1;
        }
    }
    assert!(steps >= 3 && outputs >= 1, "{steps} steps and {outputs} outputs are shown");
}

/// The fenced blocks of a language.
pub fn blocks(text: &str, language: &str) -> Vec<String> {
    let start = format!("```{language}");
    let mut lines = text.lines();
    let mut blocks = Vec::new();
    while lines.by_ref().any(|line| line == start) {
        blocks.push(lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n"));
    }
    blocks
}

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

/// `scripts/test-release-files` runs those of docs/install.md; a copy that differs is tested by nobody.
#[test]
fn the_lines_that_install_are_the_ones_that_are_tested() {
    let tested = read("docs/install.md");
    let installs =
        |line: &&str| line.contains("/releases/latest/download") || line.contains("| sha256sum --check");
    let known: Vec<&str> = tested.lines().filter(installs).map(str::trim).collect();
    assert!(known.len() >= 4, "only {known:?} were found: does this test still see them?");
    for (name, text) in documents() {
        for line in text.lines().filter(installs).map(str::trim) {
            assert!(known.contains(&line), "{name}: not as in docs/install.md: {line}");
        }
    }
}

// ---- the changelog ----

#[test]
fn the_changelog_has_its_form() {
    let text = read("CHANGELOG.md");
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings.first(), Some(&"[Unreleased]"), "what comes next stands first");
    let mut versions = Vec::new();
    for heading in &headings[1..] {
        let (version, date) = heading
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] - "))
            .unwrap_or_else(|| panic!("expected `## [1.2.3] - 2026-01-31`, found {heading:?}"));
        versions.push(version.parse::<semver::Version>().expect("a version"));
        let date: Vec<&str> = date.split('-').collect();
        assert_eq!(date.iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2], "{heading}");
    }
    assert!(versions.windows(2).all(|pair| pair[0] > pair[1]), "newest first, each once: {versions:?}");
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let mut empty_since = None;
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("### ") {
            assert!(kinds.contains(&kind), "{kind} is no kind of change (Keep a Changelog 1.1.0)");
            assert_eq!(empty_since, None, "nothing stands below it");
            empty_since = Some(kind);
        } else if line.starts_with("- ") {
            empty_since = None;
        }
    }
    assert_eq!(empty_since, None, "nothing stands below it");
    let current: semver::Version = env!("CARGO_PKG_VERSION").parse().expect("the package's version");
    let unreleased = text.split("## [Unreleased]").nth(1).and_then(|rest| rest.split("\n## ").next());
    assert!(
        versions.contains(&current) || unreleased.is_some_and(|changes| changes.contains("\n- ")),
        "neither a heading for {current} nor a change under Unreleased"
    );
}

// ---- failures ----

/// What an annotation links to is there, and each of them is produced, with its text, by a test.
#[test]
fn every_failure_that_has_a_topic_has_its_section_and_its_test() {
    let readme = read("README.md");
    let section = readme.split("\n## Troubleshooting\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().expect("its text");
    let headings: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let expected: Vec<&str> = Topic::ALL.iter().map(|topic| topic.heading()).collect();
    assert_eq!(headings, expected, "the sections below Troubleshooting are the topics, in their order");
    let anchors = anchors(&readme);
    let remedies = root().join("tests/all/remedies");
    let sources: String = std::fs::read_dir(remedies)
        .expect("the tests of remedies")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_file())
        .map(|path| std::fs::read_to_string(path).expect("a text"))
        .collect();
    for topic in Topic::ALL {
        let link = topic.link();
        let (repository, anchor) = link.split_once('#').expect("a link into the README");
        assert_eq!(repository, env!("CARGO_PKG_REPOSITORY"));
        assert!(anchors.contains(anchor), "{link}: no such heading");
        let word = format!("Topic::{topic:?}");
        let named = sources.match_indices(&word);
        let named = named.filter(|(at, name)| {
            !sources[at + name.len()..].starts_with(|next: char| next.is_ascii_alphanumeric())
        });
        assert!(named.count() > 0, "no test in tests/all/remedies/ produces {topic:?}");
    }
}

// ---- links, files, tests, commands ----

/// The project's files; what builds leave, and Git's own, are no part of it.
pub fn files() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        let entries =
            std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
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

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for (name, text) in documents() {
        for target in links(&text) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').map_or((target, None), |(file, it)| (file, Some(it)));
            let folder = root().join(&name).parent().expect("a folder").to_owned();
            let path = if file.is_empty() { root().join(&name) } else { folder.join(file) };
            assert!(path.exists(), "{name}: {target} does not exist");
            if let Some(anchor) = anchor {
                let text = std::fs::read_to_string(&path).expect("a text");
                assert!(anchors(&text).contains(anchor), "{name}: {target}: no such heading");
            }
        }
    }
    assert!(seen > 10, "only {seen} relative links are found");
}

/// The targets of `[text](target)`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// GitHub's names of headings: lower case, white space as `-`, other signs gone.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let headings = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let sign = |character: char| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        other => other.is_alphanumeric().then_some(other),
    };
    headings.map(|heading| heading.chars().filter_map(sign).collect()).collect()
}

/// Everything in backticks, fenced blocks aside.
fn code(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// Files that the README has its reader save in a repository of their own.
fn saved_by_readers() -> Vec<String> {
    let readme = read("README.md");
    let files = readme.lines().filter_map(|line| line.strip_prefix("<!-- walk: file ")?.strip_suffix(" -->"));
    files.map(str::to_owned).collect()
}

#[test]
fn files_that_are_named_exist() {
    let readers = saved_by_readers();
    let folders = ["src/", "tests/", "scripts/", ".github/", ".ci/"];
    let mut seen = 0;
    for (name, text) in documents() {
        for word in code(&text) {
            let path = word.split([' ', '*', '{']).next().unwrap_or_default();
            if folders.iter().any(|folder| path.starts_with(folder))
                && !readers.iter().any(|file| file == path)
            {
                seen += 1;
                assert!(root().join(path).exists(), "{name}: `{word}` does not exist");
            }
        }
    }
    assert!(seen > 20, "only {seen} files are named");
}

/// A test that is named as the keeper of an invariant must be there under that name.
#[test]
fn tests_that_are_named_exist() {
    let sources: Vec<String> = files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .map(|path| std::fs::read_to_string(path).expect("a text"))
        .collect();
    let mut seen = 0;
    for (document, text) in documents() {
        for word in code(&text) {
            let Some((_, test)) = word.rsplit_once("::") else { continue };
            // Tests have names of several words; `Kind::Image` and `world::retry` are no tests.
            if test.matches('_').count() < 2 {
                continue;
            }
            seen += 1;
            let declared = format!("fn {test}(");
            let is_test = |source: &String| {
                source.split(&declared).next().is_some_and(|before| {
                    before.len() < source.len()
                        && before.rsplit("#[").next().is_some_and(|attribute| attribute.contains("test"))
                })
            };
            assert!(sources.iter().any(is_test), "{document}: there is no test `{word}`");
        }
    }
    assert!(seen > 15, "only {seen} tests are named");
}

#[test]
fn commands_that_are_named_can_be_run() {
    use std::os::unix::fs::PermissionsExt as _;
    let readme = read("README.md");
    for command in ["scripts/demo", "scripts/test"] {
        assert!(
            readme.contains(&format!("\n{command}\n")),
            "the README shows {command} on a line of its own"
        );
        let mode =
            std::fs::metadata(root().join(command)).unwrap_or_else(|error| panic!("{command}: {error}"));
        assert_eq!(mode.permissions().mode() & 0o111, 0o111, "{command} is not executable");
    }
}

/// `scripts/walk` runs the README's blocks; here only that each of them has somebody who speaks for it.
#[test]
fn every_block_of_the_readme_is_walked_or_says_why_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let listed = |text: &str| {
        let file = folder.path().join("README.md");
        std::fs::write(&file, text).expect("a file");
        let mut blocks = std::process::Command::new(root().join("scripts/walk-parts/blocks"));
        let output = blocks.arg(&file).arg(folder.path()).output().expect("python3 is installed");
        (
            output.status.success(),
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()),
        )
    };
    let readme = read("README.md");
    let (good, [blocks, faults]) = listed(&readme);
    assert!(good, "{faults}");
    for place in ["\tlaptop\t", "\tserver\t", "\tfile\t"] {
        assert!(blocks.contains(place), "no block for {place:?}: {blocks}");
    }
    for (block, fault) in [
        ("```sh\ntrue\n```\n", "no `<!-- walk: ... -->` says"),
        ("<!-- walk: moon -->\n```sh\ntrue\n```\n", "another of the five forms"),
        ("<!-- walk: server -->\nA word.\n", "no block follows it"),
        ("<!-- walk: server -->\n```sh\ntrue\n", "is not closed"),
    ] {
        let (good, [_, faults]) = listed(&format!("{readme}\n{block}"));
        assert!(!good && faults.contains(fault), "{block}: {faults}");
    }
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
