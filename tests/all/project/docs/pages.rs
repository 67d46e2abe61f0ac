//! The pages: their sizes, their words, their blocks.

use std::process::Command;

use autotag_deploy::inputs::spec::{INPUTS, OUTPUTS};
use serde_yaml::Value;

use super::{blocks, documents, prose, read, root, written};

/// What a newcomer has to read stays short; the rest stands in docs/.
#[test]
fn the_first_pages_are_short_and_no_page_is_long() {
    for (name, bytes, lines) in
        [("README.md", 14_336, 250), ("ARCHITECTURE.md", 12_288, 250), ("CONTRIBUTING.md", 6_144, 150)]
    {
        let text = read(name);
        assert!(text.len() <= bytes, "{name}: {} bytes are more than {bytes}", text.len());
        assert!(
            text.lines().count() <= lines,
            "{name}: {} lines are more than {lines}",
            text.lines().count()
        );
    }
    for (name, text) in written() {
        // Tables that are made from the tests grow with them.
        let lines = text.lines().filter(|line| !line.starts_with('|')).count();
        assert!(lines <= 500, "{name}: {lines} lines are more than 500: split it");
    }
}

/// Whole lines are compared in reviews: a line with five sentences hides which of them has changed.
#[test]
fn one_sentence_stands_on_a_line() {
    let mut faults = Vec::new();
    for (name, text) in written() {
        for (number, line) in prose(&text) {
            if !line.trim_start().starts_with(['|', '!', '<', '#']) && sentences(line) > 1 {
                faults.push(format!("{name}:{number}: {line}"));
            }
        }
    }
    assert!(faults.is_empty(), "more than one sentence on a line:\n{}", faults.join("\n"));
}

/// How many sentences begin on a line: at its start, and behind a full stop and a space.
fn sentences(line: &str) -> usize {
    let mut plain = String::new();
    for (number, part) in line.split('`').enumerate() {
        plain.push_str(if number % 2 == 0 { part } else { "Code" });
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    let ends = |word: &str| {
        let bare = word.trim_end_matches(['*', ')', '"', '_']);
        let digits = |text: &str| text.chars().all(|character| character.is_ascii_digit());
        bare.ends_with(['.', '?', '!'])
            && !bare.ends_with("...")
            && !["e.g.", "i.e.", "etc.", "vs."].contains(&bare)
            && !digits(bare.trim_end_matches('.'))
    };
    let begins = |word: &str| {
        word.trim_start_matches(['*', '(', '"', '[', '_']).starts_with(|first: char| first.is_uppercase())
    };
    1 + words.windows(2).filter(|pair| ends(pair[0]) && begins(pair[1])).count()
}

#[test]
fn the_count_of_sentences_sees_what_it_should() {
    for (line, expected) in [
        ("One sentence.", 1),
        ("One. Two.", 2),
        ("- **One.** Two `a. B` words. (Three.)", 3),
        ("Version 1.2. and `x`. `Two`.", 2),
        ("1. A step", 1),
        ("Write `...` and e.g. This.", 1),
    ] {
        assert_eq!(sentences(line), expected, "{line}");
    }
}

#[test]
fn workflows_use_what_exists() {
    let (mut steps, mut outputs) = (0, 0);
    for (name, text) in written() {
        for block in blocks(&text, "yaml") {
            let workflow: Value =
                serde_yaml::from_str(&block).unwrap_or_else(|error| panic!("{name}: {error}:\n{block}"));
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
                    assert!(
                        INPUTS.iter().any(|spec| spec.name == input),
                        "{name}: {input} is no input:\n{block}"
                    );
                }
            }
            for output in block.split("steps.release.outputs.").skip(1) {
                let end = output.find(|next: char| !next.is_ascii_lowercase() && next != '-');
                let output = &output[..end.unwrap_or(output.len())];
                assert!(OUTPUTS.contains(&output), "{name}: {output} is no output:\n{block}");
                outputs += 1;
            }
        }
    }
    assert!(steps >= 10 && outputs >= 3, "{steps} steps and {outputs} outputs are shown");
}

/// `scripts/release/test-release-files` runs those of docs/install.md; a copy that differs is tested by nobody.
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

/// What the README shows of a server's set-up is what the walk runs.
#[test]
fn the_readme_sets_a_server_up_as_the_walk_does() {
    let shown = blocks(&read("README.md"), "sh");
    let walked = blocks(&read("docs/getting-started.md"), "sh");
    assert!(!shown.is_empty());
    for block in shown {
        assert!(walked.contains(&block), "not in docs/getting-started.md:\n{block}");
    }
}

// invariant documents: The pages' commands work, word for word
/// `scripts/walk` runs the pages' blocks; here only that each of them has somebody who speaks for it.
#[test]
fn every_block_is_walked_or_says_why_not() {
    let directory = tempfile::tempdir().expect("a directory");
    let listed = |page: &std::path::Path| {
        let mut blocks = Command::new(root().join("scripts/parts/blocks"));
        let output = blocks.arg(directory.path()).arg(page).output().expect("python3 is installed");
        let texts = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        (output.status.success(), texts)
    };
    let mut all = String::new();
    for (name, _) in written().iter().filter(|(name, _)| name == "README.md" || name.starts_with("docs/")) {
        let (good, [blocks, faults]) = listed(&root().join(name));
        assert!(good, "{faults}");
        all += &blocks;
    }
    for place in ["\tworkstation\t", "\tserver\t", "\tfile\t", "\tprinted\t"] {
        assert!(all.contains(place), "no block for {place:?}: {all}");
    }
    let page = read("docs/getting-started.md");
    for (block, fault) in [
        ("```sh\ntrue\n```\n", "no `<!-- walk: ... -->` says"),
        ("<!-- walk: moon -->\n```sh\ntrue\n```\n", "another of the six forms"),
        ("<!-- walk: server -->\nA word.\n", "no block follows it"),
        ("<!-- walk: server -->\n```sh\ntrue\n", "is not closed"),
        (
            "<!-- walk: no block of this page, why -->\n<!-- walk: server -->\n```sh\n```\n",
            "no block of this page is run",
        ),
    ] {
        let file = directory.path().join("page.md");
        std::fs::write(&file, format!("{page}\n{block}")).expect("a file");
        let (good, [_, faults]) = listed(&file);
        assert!(!good && faults.contains(fault), "{block}: {faults}");
    }
}
