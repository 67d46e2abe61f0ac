//! The parts of pages that are made from tables in the code, between marks:
//!
//! ```text
//! <!-- generated: NAME -->
//! ...
//! <!-- end of generated: NAME -->
//! ```
//!
//! `UPDATE_DOCS=1 cargo test --locked --test all docs::generated` writes them anew.

use autotag_deploy::failure::FailureKind;
use autotag_deploy::inputs::spec::{INPUTS, OUTPUTS};
use autotag_protocol::{FailureCode, RefusalCode};
use autotag_receiver::{cli, config::app_file};
use serde_yaml::Value;
use strum::VariantArray as _;

use super::{read, root};

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
fn action_yml_has_the_programs_inputs_and_outputs() {
    let (inputs, outputs) = (listed("inputs"), listed("outputs"));
    let names = |list: &[[String; 3]]| list.iter().map(|[name, ..]| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&inputs), INPUTS.iter().map(|spec| spec.name).collect::<Vec<_>>());
    assert_eq!(names(&outputs), OUTPUTS);
    for [name, _, description] in inputs.iter().chain(&outputs) {
        assert!(description.ends_with('.') && description.len() > 15, "{name}: {description:?}");
    }
}

// invariant documents: The reference lists what action.yml says; broken by: `action.yml`: another default
// invariant documents: The reference has the exit codes; broken by: `src/failure.rs`: another code
// invariant documents: The receiver's exit codes are what reference and help say; broken by:
//   `crates/receiver/src/cli/exit.rs`: another code; a refused question is a failure
#[test]
fn the_reference_lists_inputs_outputs_and_exit_codes() {
    let code = |text: &str| if text.is_empty() { String::new() } else { format!("`{text}`") };
    let mut inputs = vec!["| Input | Default | Description |".to_owned(), "|---|---|---|".to_owned()];
    inputs.extend(listed("inputs").into_iter().map(|[name, default, description]| {
        format!("| `{name}` | {} | {description} |", code(&default)).replace("|  |", "| |")
    }));
    check("docs/reference.md", "inputs", &inputs);
    let mut outputs = vec!["| Output | Description |".to_owned(), "|---|---|".to_owned()];
    let rows = listed("outputs").into_iter();
    outputs.extend(rows.map(|[name, _, description]| format!("| `{name}` | {description} |")));
    check("docs/reference.md", "outputs", &outputs);
    let mut codes = vec!["| Code | Meaning | What to do |".to_owned(), "|---|---|---|".to_owned()];
    codes.push(format!("| 0 | {} | The output `outcome` says which. |", autotag_deploy::cli::DONE));
    codes.extend(
        FailureKind::ALL
            .iter()
            .map(|kind| format!("| {} | {} | {} |", kind.exit_code(), kind.heading(), advice(*kind))),
    );
    check("docs/reference.md", "exit-codes", &codes);
    let mut codes = vec!["| Code | Meaning |".to_owned(), "|---|---|".to_owned()];
    codes.extend(cli::Exit::ALL.iter().map(|exit| format!("| {} | {} |", exit.code(), exit.meaning())));
    check("docs/reference.md", "receivers-exit-codes", &codes);
}

/// What a user does about an exit code; each failure says more.
fn advice(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Internal => "This is a bug. Please report it.",
        FailureKind::Input => "All errors are listed at once, each with an example. Nothing was changed.",
        FailureKind::Denied => {
            "Credentials are missing or wrong, or a rule forbids the operation. The message names the input or the permission."
        }
        FailureKind::Unavailable => {
            "GitHub, the registry or Docker did not answer, or the answer made no sense. Run the job again."
        }
        FailureKind::Build => {
            "The message shows the failing instruction and its last lines. Nothing was published."
        }
        FailureKind::Conflict => {
            "What exists contradicts what you asked for, for example a version that is taken. Nothing was overwritten."
        }
        FailureKind::Deployment => {
            "The version is released. The message says what each server serves and what to do. A failed server serves what it served before."
        }
        FailureKind::Interrupted => {
            "The run was canceled by SIGINT or SIGTERM. Run the job again to continue."
        }
    }
}

#[test]
fn the_page_on_the_app_file_lists_every_field() {
    let mut rows = vec!["| Field | Description | Example |".to_owned(), "|---|---|---|".to_owned()];
    let field =
        |field: app_file::Field| format!("| `{}` | {} | `{}` |", field.name, field.meaning, field.example);
    rows.extend(app_file::fields().map(field));
    check("docs/app-file.md", "fields", &rows);
}

/// What programs act on is documented as the code has it.
#[test]
fn the_page_on_the_protocol_lists_every_code() {
    let head = ["| Code | Meaning |".to_owned(), "|---|---|".to_owned()];
    let row = |code: &str, meaning: &str| format!("| `{code}` | {meaning} |");
    let refusals = RefusalCode::VARIANTS.iter().map(|code| row(code.as_str(), code.meaning()));
    check("docs/design/protocol.md", "refusals", &head.iter().cloned().chain(refusals).collect::<Vec<_>>());
    let failures = FailureCode::VARIANTS.iter().map(|code| row(code.as_str(), code.meaning()));
    check("docs/design/protocol.md", "failures", &head.iter().cloned().chain(failures).collect::<Vec<_>>());
}

/// Compares the part of a page that has this name with what the code says, or writes it.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "who runs the tests says whether pages are to be written")]
pub fn check(page: &str, name: &str, lines: &[String]) {
    let text = read(page);
    let (start, end) =
        (format!("<!-- generated: {name} -->\n"), format!("<!-- end of generated: {name} -->"));
    let parts = text.split_once(&start).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let Some((before, (now, after))) = parts else { panic!("{page} has no part `{name}`: {start}{end}") };
    let expected = format!("\n{}\n\n", lines.join("\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() && now != expected {
        std::fs::write(root().join(page), format!("{before}{start}{expected}{end}{after}")).expect(page);
        return;
    }
    assert_eq!(
        now, expected,
        "{page}: the part `{name}` is not what the code says; write it with \
         `UPDATE_DOCS=1 cargo test --locked --test all docs::generated`"
    );
}
