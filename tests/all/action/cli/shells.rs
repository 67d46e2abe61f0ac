//! Completions in a real bash, man pages through a real groff.

use std::path::Path;
use std::process::{Command, Stdio};
use testkit::programs::receiver;

const ACTION: &str = env!("CARGO_BIN_EXE_autotag-deploy");

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).env_remove("CI").output().expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What bash offers at the end of this line.
fn offered(program: &str, line: &str) -> Vec<String> {
    let script = r#"
        . /dev/stdin
        read -ra COMP_WORDS <<<"$1"
        [[ $1 == *" " ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        function=$(complete -p "${COMP_WORDS[0]}" | sed 's/.*-F \([^ ]*\).*/\1/')
        compopt() { :; }
        "$function" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let completions = output(program, &["completions", "bash"]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("completions");
    std::fs::write(&file, completions).expect("a file");
    let stdin = std::fs::File::open(&file).expect("the file");
    let bash = Command::new("bash")
        .args(["--norc", "--noprofile", "-c", script, "bash", line])
        .current_dir(directory.path())
        .stdin(stdin)
        .stderr(Stdio::inherit())
        .output()
        .expect("bash");
    let text = String::from_utf8(bash.stdout).expect("text");
    text.lines().map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

// invariant command-line: Completions offer the words that are accepted
#[test]
fn bash_completes_commands_flags_and_words() {
    for (program, line, expected) in [
        (ACTION, "autotag-deploy pl", &["plan"][..]),
        (ACTION, "autotag-deploy ro", &["rollback"]),
        (ACTION, "autotag-deploy plan --bu", &["--bump"]),
        (ACTION, "autotag-deploy plan --bump m", &["minor", "major"]),
        (ACTION, "autotag-deploy release --latest ", &["auto", "true", "false"]),
        (ACTION, "autotag-deploy plan --log-format ", &["text", "json"]),
        (ACTION, "autotag-deploy deploy --deploy-on-failure r", &["rollback"]),
        // What does not count for a command, and what must not stand on a command line.
        (ACTION, "autotag-deploy plan --deploy-", &[]),
        (ACTION, "autotag-deploy deploy --deploy-k", &["--deploy-known-hosts"]),
        (ACTION, "autotag-deploy release --registry-p", &[]),
        (ACTION, "autotag-deploy completions f", &["fish"]),
        (receiver(), "autotag-receiver hi", &["history"]),
        (receiver(), "autotag-receiver rollback --configuration ", &["today", "then"]),
        (receiver(), "autotag-receiver init --ad", &["--adopt"]),
        (receiver(), "autotag-receiver status --ro", &[]),
    ] {
        assert_eq!(offered(program, line), expected, "{line}");
    }
}

#[test]
fn there_are_completions_for_other_shells() {
    for program in [ACTION, receiver()] {
        for (shell, word) in [("zsh", "#compdef autotag-"), ("fish", "complete -c autotag-")] {
            assert!(output(program, &["completions", shell]).contains(word), "{shell}");
        }
    }
}

/// The page as a terminal shows it, without overstrikes; groff's warnings are faults.
fn shown(page: &Path) -> String {
    let mut groff = Command::new("groff");
    let run = groff.args(["-man", "-ww", "-Tascii", "-P-cbou"]).arg(page).output().expect("groff");
    let warnings = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && warnings.is_empty(), "{}: {warnings}", page.display());
    String::from_utf8_lossy(&run.stdout).into_owned()
}

/// Without the spaces that groff adds.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn man_pages_are_whole_and_right() {
    for (program, name, pages, expected) in [
        (
            ACTION,
            "autotag-deploy",
            &["plan", "release", "deploy", "rollback", "status"][..],
            &["--tag-prefix <PREFIX>", "autotag-deploy-plan(1)", "130 Interrupted", "INPUT_DEPLOY_KEY"][..],
        ),
        (
            receiver(),
            "autotag-receiver",
            &["status", "init", "serve"],
            &["autotag-receiver-init(1)", "3 Refused"],
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().to_string_lossy().into_owned();
        assert_eq!(output(program, &["man", "--to", &path]), "");
        let main = directory.path().join(format!("{name}.1"));
        assert_eq!(std::fs::read_to_string(&main).expect("the page"), output(program, &["man"]));
        let text = shown(&main);
        for heading in ["NAME", "SYNOPSIS", "COMMANDS", "ENVIRONMENT", "EXIT CODES"] {
            assert!(text.lines().any(|line| line == heading), "{heading} is missing in {text}");
        }
        for word in expected {
            assert!(words(&text).contains(word), "{word} is missing in {text}");
        }
        for page in pages {
            let text = words(&shown(&directory.path().join(format!("{name}-{page}.1"))));
            assert!(
                text.contains(&format!("{name} {page}")) && text.contains("EXIT CODES"),
                "{page}: {text}"
            );
        }
        // What is referred to is there.
        for word in text.split_whitespace().filter(|word| word.starts_with(name) && word.ends_with("(1)")) {
            let page = directory.path().join(word.replace("(1)", ".1"));
            assert!(page.exists(), "{word} is referred to");
        }
    }
}
