//! What the build is given, and what is said when it fails.

use std::fs;

use crate::action::build::Built;

/// The labels of what is released, where a run with these inputs succeeds.
#[track_caller]
fn labels(built: &Built, inputs: &[(&str, &str)]) -> serde_json::Value {
    let run = built.project.workflow.push(&built.project.merge("one"));
    let run = inputs.iter().fold(run, |run, (name, value)| run.with(name, value)).finish().ended("released");
    built.labels(run.output("version"))
}

/// The annotation of a run that ends so; nothing is published.
#[track_caller]
fn fails(built: &Built, inputs: &[(&str, &str)], code: i32, words: &[&str]) -> String {
    let run = built.project.workflow.push(&built.project.merge("one"));
    let run = inputs.iter().fold(run, |run, (name, value)| run.with(name, value)).finish().failed(code);
    let annotation = run.annotations("error")[0].to_owned();
    for word in words {
        assert!(annotation.contains(word), "{word:?} is missing in {annotation}");
    }
    built.assert_untouched();
    annotation
}

// case A8; broken by: `lines` takes a quote to the letter
pub fn a_quoted_line_has_its_effect() {
    let built = Built::new();
    built.file(
        "Dockerfile",
        "FROM scratch\nARG A\nARG B\nARG C=none\nLABEL a=\"$A\" b=\"$B\" c=\"$C\"\nCOPY app /\n",
    );
    let arguments = "\"A=1\"\n# C=3\n\"B=x, \"\"y\"\"\"";
    let labels = labels(&built, &[("build-args", arguments)]);
    assert_eq!((&labels["a"], &labels["b"], &labels["c"]), (&"1".into(), &"x, \"y\"".into(), &"none".into()));
}

// case A8; broken by: `pairs` takes every key
pub fn a_line_that_would_have_no_effect_is_an_input_error() {
    let built = Built::new();
    for (input, value) in [
        ("build-args", "'A=1'"),
        ("build-args", "\"A=1"),
        ("build-args", "my-arg=1"),
        ("labels", "'a=1'"),
        ("release-branches", "'main'"),
        ("release-branches", "main next"),
        ("deploy-host", "'web1'"),
    ] {
        fails(&built, &[(input, value)], 2, &[&format!("`{input}`: expected ")]);
    }
}

// case A13; broken by: `is_a_version` is never true
pub fn a_version_of_the_dockerfiles_own_stays() {
    for (dockerfile, version) in [
        ("ARG VERSION=base\nFROM scratch AS base\nFROM ${VERSION}\nCOPY app /\n", None),
        ("FROM scratch\nARG VERSION=3.20\nLABEL v=\"$VERSION\"\nCOPY app /\n", Some("3.20")),
        ("FROM scratch\nARG VERSION=dev\nLABEL v=\"$VERSION\"\nCOPY app /\n", Some("0.0.1")),
        ("FROM scratch\nARG VERSION\nLABEL v=\"$VERSION\"\nCOPY app /\n", Some("0.0.1")),
        (
            "FROM scratch AS a\nARG VERSION\nCOPY app /app$VERSION\nFROM scratch\nCOPY --from=a /app0.0.1 /\n",
            None,
        ),
    ] {
        let built = Built::new();
        built.file("Dockerfile", dockerfile);
        let labels = labels(&built, &[]);
        assert_eq!(labels["v"].as_str(), version, "{dockerfile}");
    }
    let built = Built::new();
    built.file(
        "Dockerfile",
        "FROM scratch\nARG VERSION=3\nARG APP\nARG SOURCE_DATE_EPOCH=5\n\
                              LABEL v=\"$VERSION\" app=\"$APP\" date=\"$SOURCE_DATE_EPOCH\"\nCOPY app /\n",
    );
    let named = labels(&built, &[("version-build-arg", "APP")]);
    assert_eq!((&named["v"], &named["app"], &named["date"]), (&"3".into(), &"0.0.1".into(), &"5".into()));
}

// case A13; broken by: `values_used` names none
pub fn a_failure_says_which_version_was_given() {
    let built = Built::new();
    let host = built.project.registry.host().to_owned();
    built.file("Dockerfile", &format!("ARG VERSION\nFROM {host}/org/base:$VERSION\nCOPY app /\n"));
    fails(&built, &[], 5, &["The build argument VERSION was `0.0.1`"]);
}

// case A11; broken by: `explain_syntax` explains nothing
pub fn a_missing_frontend_is_named_by_its_line() {
    let built = Built::new();
    let image = format!("{}/org/frontend:9", built.project.registry.host());
    built.file("Dockerfile", &format!("# syntax={image}\nFROM scratch\nCOPY app /\n"));
    let text =
        fails(&built, &[], 5, &["Dockerfile line 1", &format!("`# syntax={image}`"), "remove that line"]);
    assert!(!text.contains("FROM"), "{text}");
}

// case A11; broken by: `has_stage` is not asked
pub fn a_target_that_is_no_stage_names_those_that_are() {
    let built = Built::new();
    built.file("Dockerfile", "FROM scratch AS build\nCOPY app /\nFROM build AS Runtime\nCOPY app /b\n");
    fails(&built, &[("target", "runtim")], 2, &["input `target`", "`runtim`", "`build`, `runtime`"]);
}

// case A11; broken by: `is_relative_to_the_context` is never true
pub fn a_dockerfile_relative_to_the_context_is_explained() {
    let built = Built::new();
    let workspace = built.project.workflow.workspace();
    fs::create_dir_all(workspace.join("code/docker")).expect("a directory");
    fs::write(workspace.join("code/docker/web.Dockerfile"), "FROM scratch\n").expect("a file");
    fs::write(workspace.join("code/Dockerfile"), "FROM scratch\n").expect("a file");
    let inputs = [("context", "code"), ("file", "docker/web.Dockerfile")];
    let words =
        ["input `file`", "be `code/docker/web.Dockerfile`", "the workspace, and not to the input `context`"];
    let text = fails(&built, &inputs, 5, &words);
    assert!(!text.contains("code/Dockerfile"), "{text}");
}

// case X9; broken by: `is_invisible_mark` knows none
pub fn what_misleads_a_reader_is_in_no_log_and_no_summary() {
    let built = Built::new();
    built.file(
        "evil",
        "safe \u{202e}gnp.exe\u{202c} \u{2066}x\u{2069} \u{9b}31m \u{1b}[2J\u{1b}[31mred\u{1b}[0m\n",
    );
    built.runs("COPY evil /\nRUN busybox cat evil; exit 3\n");
    let run =
        built.project.workflow.push(&built.project.merge("one")).with("no-cache", "true").finish().failed(5);
    for text in [&run.raw, &run.summary] {
        assert!(text.contains("gnp.exe"), "{text}");
        let marks = |one: &char| matches!(*one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{80}'..='\u{9f}');
        assert!(!text.chars().any(|one| marks(&one)) && !text.contains("\u{1b}[2J"), "{text:?}");
    }
}

// case X9; broken by: fingerprints of no host are taken for any number of servers
pub fn with_several_servers_a_fingerprint_needs_its_host() {
    let built = Built::new();
    let print = "SHA256:uNiVztksCsDhcc0u9e8BrrUcLB3N6FWBEm9vyjNOgIs";
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
    let inputs = [("deploy-host", "web1, web2"), ("deploy-key", key), ("deploy-known-hosts", print)];
    fails(&built, &inputs, 2, &["`deploy-known-hosts`", "after the name of its server"]);
}
