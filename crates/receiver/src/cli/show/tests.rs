//! Snapshots of what the owner sees.

use jiff::Timestamp;

use super::*;
use autotag_model::reference::Digest;
use autotag_protocol::{Event, FailureCode, Holder, Open, RefusalCode, RolloutStep, Running, Source};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn look(terminal: bool) -> Style {
    Style { terminal, colour: terminal, now: at("2026-01-02T12:00:00Z") }
}

fn running(version: &str) -> Running {
    Running {
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
        commit: "0123456789abcdef0123456789abcdef01234567".parse().unwrap(),
        deployment: format!("run-{}-1", version.replace('.', "-")).parse().unwrap(),
    }
}

fn holder() -> Holder {
    Holder { pid: 7, purpose: "deploy 1.5.0".to_owned(), deployment: None, since: at("2026-01-02T11:57:00Z") }
}

fn reported(running: Option<Running>) -> Status {
    let highest = running.as_ref().map(|it| it.version.clone());
    Status { running, drift: Vec::new(), blocked: Vec::new(), busy: None, highest, asked: None }
}

#[test]
fn status_shows_what_is_wrong_first() {
    let drifted = Status {
        drift: vec!["the container was stopped by hand\u{1b}[2J".to_owned()],
        ..reported(Some(running("2.0.10")))
    };
    let back = Status {
        blocked: vec!["1.5.0".parse().unwrap()],
        highest: Some("1.5.0".parse().unwrap()),
        busy: Some(holder()),
        ..reported(Some(running("1.4.2")))
    };
    let apps: Vec<(AppName, Status)> = [
        ("api", drifted),
        ("new", reported(None)),
        ("shop-front", back),
        ("web", reported(Some(running("0.0.1")))),
    ]
    .into_iter()
    .map(|(name, status)| (name.parse().unwrap(), status))
    .collect();
    insta::assert_snapshot!(status(&apps, &look(false)));
    let coloured = status(&apps, &look(true));
    assert!(coloured.contains("\u{1b}[1;31mDRIFT\u{1b}[0m"), "{coloured}");
    assert!(!coloured.contains("\u{1b}[2J"), "a foreign text commands nothing");
    assert!(status(&[], &look(false)).contains("init"));
}

#[test]
fn history_is_a_table() {
    let failed = End::Failed {
        step: Open::Known(RolloutStep::Health),
        code: Open::Known(FailureCode::Unhealthy),
        message: "never healthy".to_owned(),
    };
    let refused = End::Refused { code: Open::Known(RefusalCode::NewerIsLive), message: String::new() };
    let entries: Vec<HistoryEntry> = [
        ("1.10.0", "2026-01-02T11:59:58Z", End::Deployed {}),
        ("1.9.0", "2026-01-02T11:57:00Z", failed),
        ("1.8.0", "2026-01-02T02:00:00Z", refused),
        ("1.7.0", "2025-12-01T00:00:00Z", End::RolledBack {}),
    ]
    .into_iter()
    .map(|(version, when, end)| HistoryEntry { release: running(version), at: at(when), end })
    .collect();
    insta::assert_snapshot!(history(&entries, &look(false)));
}

fn story() -> Vec<Event> {
    let ended = |step: RolloutStep, milliseconds, failed: Option<&str>| Event::StepEnded {
        step: step.into(),
        milliseconds,
        failed: failed.map(str::to_owned),
    };
    vec![
        Event::Waiting { holder: Some(holder()) },
        Event::StepStarted { step: Open::Known(RolloutStep::Pull) },
        Event::Heartbeat {},
        ended(RolloutStep::Pull, 1_234, None),
        Event::Note { text: "no credentials came along".to_owned() },
        Event::StepStarted { step: Open::Known(RolloutStep::Health) },
        ended(RolloutStep::Health, 61_500, Some("never healthy")),
        Event::log(Source::Application, "panic\u{7}: \u{1b}]0;title"),
    ]
}

#[test]
fn progress_is_plain_lines_where_nobody_watches() {
    let mut progress = Progress::new(look(false));
    let drawn: String = story().iter().map(|answer| progress.draw(answer)).collect();
    insta::assert_snapshot!(drawn);
}

#[test]
fn progress_writes_over_itself_on_a_terminal() {
    let mut progress = Progress::new(look(true));
    let drawn: String = story().iter().map(|answer| progress.draw(answer)).collect();
    insta::assert_snapshot!(drawn.escape_debug().to_string().replace("\\n", "\\n\n"));
}

#[test]
fn outcomes_say_what_serves() {
    let failed = End::Failed {
        step: Open::Known(RolloutStep::Health),
        code: Open::Known(FailureCode::Unhealthy),
        message: "never healthy\nsee above".to_owned(),
    };
    let refused = End::Refused {
        code: Open::Known(RefusalCode::RolledBack),
        message: "1.5.0 was rolled back".to_owned(),
    };
    let app: AppName = "web".parse().unwrap();
    let drawn: String = [
        (End::Deployed {}, Some(running("1.5.0"))),
        (End::Unchanged {}, Some(running("1.5.0"))),
        (End::RolledBack {}, Some(running("1.4.0"))),
        (failed, Some(running("1.4.0"))),
        (refused, None),
    ]
    .into_iter()
    .map(|(end, running)| {
        let reported = Outcome { end, running, deployment: None, milliseconds: 12_340 };
        outcome(&app, &reported, &look(false))
    })
    .collect();
    insta::assert_snapshot!(drawn);
}

#[test]
fn durations_and_ages() {
    let now = at("2026-01-02T12:00:00Z");
    for (then, shown) in [
        ("2026-01-02T12:00:09Z", "just now"),
        ("2026-01-02T11:59:50Z", "10 seconds ago"),
        ("2026-01-02T11:59:00Z", "1 minute ago"),
        ("2026-01-02T10:00:00Z", "2 hours ago"),
        ("2025-12-02T12:00:00Z", "31 days ago"),
    ] {
        assert_eq!(ago(at(then), now), shown);
    }
    for (milliseconds, shown) in [(0, "0 ms"), (999, "999 ms"), (1_250, "1.2 s"), (125_000, "2 min 5 s")] {
        assert_eq!(took(milliseconds), shown);
    }
    assert_eq!(moment(at("2026-01-02T03:04:05.9Z")), "2026-01-02 03:04:05");
}
