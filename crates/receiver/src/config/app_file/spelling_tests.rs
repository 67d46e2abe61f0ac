//! Values whose spelling means something else in Compose, or in YAML.

use super::*;
use autotag_model::secret::Secret;

const LEAST: &str = "image: ghcr.io/org/app\nport: 3000\nlisten: 8080\n";

fn with(more: &str) -> String {
    format!("{LEAST}{more}\n")
}

/// The one fault of a file with one line more.
#[track_caller]
fn one_fault(more: &str) -> String {
    match AppFile::parse(&with(more)) {
        Ok(_) => panic!("{more:?} was accepted"),
        Err(faults) => {
            assert_eq!(faults.as_slice().len(), 1, "{more:?}: {faults}");
            faults.to_string()
        }
    }
}

#[test]
fn composes_variables_are_a_fault_in_every_field() {
    for (more, key) in [
        ("environment: {A: \"${A}\"}", "environment.A"),
        ("environment: {A: $HUNTER2}", "environment.A"),
        ("environment: [A=$HUNTER2]", "environment[0]"),
        ("environment: [\"${A}=x\"]", "environment[0]"),
        ("env_file: /etc/${A}.env", "env_file"),
        ("env_file: [/etc/$name.env]", "env_file[0]"),
        ("command: serve $PORT", "command"),
        ("command: [sh, -c, \"echo ${A:-b}\"]", "command[2]"),
        ("entrypoint: [/app, $$]", "entrypoint[1]"),
        ("user: \"${UID}:${GID}\"", "user"),
        ("user: $uid", "user"),
        ("working_dir: /srv/$name", "working_dir"),
        ("volumes: [\"/srv/$name:/data\"]", "volumes[0]"),
        ("volumes: [\"${DATA}:/data\"]", "volumes[0]"),
        ("tmpfs: /run/$name", "tmpfs"),
        ("networks: [$NET]", "networks[0]"),
        ("healthcheck: {test: test -n $HUNTER2}", "healthcheck.test"),
        ("healthcheck: {test: [CMD-SHELL, \"test -n \\\"$${HUNTER2}\\\"\"]}", "healthcheck.test[1]"),
        ("healthcheck: {test: [CMD, a], interval: \"${A}\"}", "healthcheck.interval"),
        ("health: {path: \"/${A}\"}", "health.path"),
        ("smoke: [{path: $PATH}]", "smoke[0].path"),
        ("smoke: [{command: [a, \"${A}\"]}]", "smoke[0].command[1]"),
        ("labels: {a: \"x${HUNTER2}\"}", "labels.a"),
        ("labels: [a=$$x]", "labels[0]"),
        ("keep: ${KEEP}", "keep"),
        ("mem_limit: ${MEM:-512m}", "mem_limit"),
        ("restart: ${RESTART}", "restart"),
        ("read_only: ${RO}", "read_only"),
        ("cap_add: [\"${CAP}\"]", "cap_add[0]"),
        ("allow_environment: [$A]", "allow_environment[0]"),
    ] {
        let reported = one_fault(more);
        assert!(reported.starts_with("line 4, column "), "{more}: {reported}");
        assert!(reported.contains(&format!("`{key}`: expected ")), "{more}: {reported}");
        assert!(reported.contains("`!literal`") && !reported.contains("HUNTER2"), "{more}: {reported}");
    }
    let reported =
        AppFile::parse("image: ghcr.io/org/${APP}\nport: ${PORT}\nlisten: $LISTEN\nhost: ${HOST}\n")
            .expect_err("nothing of it is right")
            .to_string();
    assert_eq!(reported.lines().count(), 4, "{reported}");
}

#[test]
fn two_dollars_are_explained() {
    insta::assert_snapshot!(one_fault("environment: {A: pa$$word}"), @"line 4, column 18: `environment.A`: expected one `$` for Compose's `$$`; if you mean two, write `!literal` in front of the value (example: `!literal 'echo $HOME'`)");
    insta::assert_snapshot!(one_fault("environment: {A: $$HOME}"), @"line 4, column 18: `environment.A`: expected `!literal` in front of the value, and in it one `$` for Compose's `$$`: an app file has no variables (example: `!literal 'echo $HOME'`)");
}

#[test]
fn a_dollar_that_is_meant_is_text() {
    let file = AppFile::parse(&with(
        "environment:\n  A: pa$word\n  B: !literal ${HOME}\n  C: '^a$'\n  D: !literal \"$$\"\nlabels: \
         !literal {a: $HOME, b: [\"x\"]}\ncommand: [sh, -c, !literal \"echo $HOME\"]\nentrypoint: !literal \
         [/app, \"${X:-y}\", \"$$\"]",
    ));
    let reported = file.expect_err("a label is no list").to_string();
    assert!(reported.contains("`labels.b`") && reported.lines().count() == 1, "{reported}");
    let file = AppFile::parse(&with(
        "environment:\n  A: pa$word\n  B: !literal ${HOME}\n  C: '^a$'\n  D: !literal \"$$\"\n  E: !literal \
         1.10\nlabels: !literal {a: $HOME}\ncommand: [sh, -c, !literal \"echo $HOME\"]\nentrypoint: \
         !literal [/app, \"${X:-y}\", \"$$\"]",
    ))
    .unwrap_or_else(|faults| panic!("{faults}"));
    let values: Vec<&str> = file.environment.values().map(Secret::reveal).collect();
    assert_eq!(values, ["pa$word", "${HOME}", "^a$", "$$", "1.10"]);
    assert_eq!(file.container.labels["a"], "$HOME");
    assert_eq!(file.container.command.unwrap(), ["sh", "-c", "echo $HOME"]);
    assert_eq!(file.container.entrypoint.unwrap(), ["/app", "${X:-y}", "$$"]);
    assert_eq!(
        file.notes,
        ["`environment.A`: the `$` is text here; Compose would put a variable in its place"]
    );
}

/// What a container was made by comes back with it, whatever is judged today.
#[test]
fn a_recorded_file_is_read_by_its_grammar_alone() {
    let text = with("environment: {A: \"${A}\", B: a$$b}");
    assert!(AppFile::parse(&text).is_err());
    let file = AppFile::parse_recorded(&text).unwrap_or_else(|faults| panic!("{faults}"));
    let values: Vec<&str> = file.environment.values().map(Secret::reveal).collect();
    assert_eq!(values, ["${A}", "a$$b"]);
}

#[test]
fn a_text_that_begins_with_an_exclamation_mark_needs_quotes() {
    for (more, key) in [
        ("environment:\n  A: !hunter2", "environment.A"),
        ("environment:\n  A: !hunter2 x", "environment.A"),
        ("environment:\n  - !hunter2", "environment[0]"),
        ("labels: !hunter2 {a: b}", "labels"),
        ("user: !hunter2 a", "user"),
    ] {
        let reported = one_fault(more);
        assert!(
            reported.contains(&format!("`{key}`: expected a text that begins with `!` in quotes")),
            "{reported}"
        );
        assert!(!reported.contains("hunter2"), "{reported}");
    }
}
