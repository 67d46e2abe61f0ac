//! What is drawn, and where: a terminal of script(1)'s own, and pipes.

use super::Workstation;
use crate::action::runner::leftovers::Leftovers;
use testkit::network::faults::Gate;
use testkit::network::pager::{Links, Pager};
use testkit::registry::{Auth, Registry};

const ESCAPE: char = '\u{1b}';

fn planning() -> (Workstation, Registry) {
    let registry = Registry::start(&Auth::None);
    let workstation =
        Workstation::new().logged_in().with("INPUT_IMAGE", &registry.image("org/app").to_string());
    (workstation, registry)
}

// invariant command-line: A pipe and `NO_COLOR` get no escape sequence; broken by:
//   `crates/base/src/terminal.rs`: `NO_COLOR` is not looked at
#[test]
fn only_a_terminal_gets_colours_and_progress() {
    let (workstation, _registry) = planning();
    let drawn = workstation.on_terminal("$PROGRAM plan").ended(0);
    assert!(drawn.contains("\u{1b}[1m  Plan "), "the first line stands out: {drawn:?}");
    assert!(drawn.contains(" 0s plan"), "the stage is drawn while it runs: {drawn:?}");
    assert!(!drawn.contains("{\""), "JSON is for programs: {drawn:?}");
    for (line, json) in [
        ("NO_COLOR=1 $PROGRAM plan", false),
        ("TERM=dumb $PROGRAM plan", false),
        ("CI=true $PROGRAM plan", true),
        ("$PROGRAM plan --log-format json", true),
        ("$PROGRAM plan 2>&1 | cat", true),
    ] {
        let plain = workstation.on_terminal(line).ended(0);
        assert!(!plain.contains(ESCAPE), "{line}: {plain:?}");
        assert_eq!(plain.contains(r#""version":"0.0.1""#), json, "{line}: {plain:?}");
    }
    // Progress on the terminal, and nothing of it in the pipe.
    let piped = workstation.on_terminal("$PROGRAM plan >out; cat out >&2").ended(0);
    let out = std::fs::read_to_string(workstation.clone().join("out")).expect("the pipe");
    assert!(
        piped.contains(" 0s plan") && !out.contains(ESCAPE) && out.contains("release 0.0.1"),
        "{piped:?}"
    );
    let forced = workstation.command("sh").args(["-c", "FORCE_COLOR=1 $PROGRAM plan"]).output().expect("sh");
    assert!(String::from_utf8_lossy(&forced.stdout).contains("\u{1b}[1m"), "{forced:?}");
}

#[test]
fn json_is_nothing_but_json() {
    let (workstation, _registry) = planning();
    for line in workstation.on_terminal("$PROGRAM plan --log-format json").ended(0).lines() {
        let parsed = serde_json::from_str::<serde_json::Value>(line);
        assert!(parsed.is_ok(), "{line:?}");
    }
}

#[test]
fn failures_and_help_have_colours_on_a_terminal_alone() {
    let workstation = Workstation::new();
    let failed = workstation.on_terminal("$PROGRAM plan --imge x").ended(2);
    assert!(failed.contains("\u{1b}[1;31merror: \u{1b}[0m") && failed.contains("'--image'"), "{failed:?}");
    assert!(workstation.on_terminal("$PROGRAM --help").ended(0).contains(ESCAPE));
    for line in ["NO_COLOR=1 $PROGRAM --help", "$PROGRAM --help | cat", "NO_COLOR=1 $PROGRAM plan --imge x"] {
        let printed = workstation.on_terminal(line).out;
        assert!(!printed.contains(ESCAPE), "{line}: {printed:?}");
    }
    let receiver = testkit::programs::receiver();
    for (line, coloured) in [("$RECEIVER --help", true), ("NO_COLOR=1 $RECEIVER --help", false)] {
        let printed = workstation.on_terminal(&line.replace("$RECEIVER", receiver)).ended(0);
        assert_eq!(printed.contains(ESCAPE), coloured, "{line}: {printed:?}");
    }
    // The name alone is no success, and shows what there is.
    let alone = workstation.run(&[]).ended(2);
    assert!(alone.contains("Commands:") && alone.contains("plan ") && !alone.contains("error"), "{alone}");
}

#[test]
fn build_and_push_progress_is_drawn_for_people() {
    let (workstation, registry) = planning();
    let leftovers = Leftovers::new();
    let workstation = workstation.with("INPUT_LABELS", leftovers.label());
    std::fs::write(workstation.clone().join("app"), vec![7; 4_000_000]).expect("app");
    std::fs::write(workstation.clone().join("Dockerfile"), "FROM scratch\nCOPY app /app\n")
        .expect("Dockerfile");
    workstation.git(&["add", "--all"]);
    workstation.commit();
    // Engines with containerd's image store say only now and then how far a push is. So it waits for that.
    let pager = Pager::before(registry.host(), 100, Links::Relative);
    let layers = ["PATCH */blobs/uploads/*", "PUT */blobs/uploads/*"].map(|pattern| pager.hold(pattern));
    let line = format!("$PROGRAM release --no-cache --image {}/org/app", pager.host());
    let drawn = workstation.on_terminal_watched(&line, |so_far| {
        if so_far.contains("pushing [") {
            layers.iter().for_each(Gate::open);
        }
    });
    let drawn = drawn.ended(0);
    assert!(drawn.contains("released v0.0.1 in "), "{drawn:?}");
    assert!(drawn.contains("\u{1b}[32m\u{2713}\u{1b}[0m [1/1] COPY app /app"), "{drawn:?}");
    assert!(!drawn.contains("=> ") && !drawn.contains("\u{1b}[0m [internal]"), "{drawn:?}");
    assert!(drawn.contains("pushing ["), "a bar for what is sent: {drawn:?}");
    workstation.commit();
    let lines = workstation.on_terminal("NO_COLOR=1 $PROGRAM release --dry-run --no-cache").ended(0);
    assert!(lines.contains("=> [1/1] COPY app /app") && !lines.contains(ESCAPE), "{lines:?}");
    assert_eq!(registry.tags("org/app").iter().filter(|tag| *tag == "0.0.2").count(), 0);
}
