//! The build's log as people like to read it: a group a step, lines as they come, durations at the end.
//!
//! BuildKit runs steps side by side; a log that mixes their lines is hard to read, and one that waits for
//! a step to end is hard to wait for. So one step at a time is shown live, in a group of its own, and the
//! lines of the others are kept until it is done.

use std::collections::BTreeMap;
use std::io::Write;

use crate::inputs::request::LogFormat;
use crate::ports::{BuildEvent, BuildLog};
use crate::report::commands::{END_GROUP, StopCommands, group};
use autotag_model::text;
use autotag_model::text::Fit;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Groups and guards for the runner.
    Actions,
    /// Plain lines, for terminals and other CI.
    Plain,
    /// Through `tracing`, one JSON object a line.
    Json,
}

impl Style {
    /// The style for a format and a place.
    pub fn for_run(format: LogFormat, in_actions: bool) -> Self {
        match (format, in_actions) {
            (LogFormat::Json, _) => Self::Json,
            (LogFormat::Text, true) => Self::Actions,
            (LogFormat::Text, false) => Self::Plain,
        }
    }
}

#[derive(Debug, Default)]
struct BuildStep {
    name: String,
    kept: Vec<String>,
    ending: Option<StepEnd>,
}

/// How a step ended.
#[derive(Debug)]
struct StepEnd {
    words: String,
    /// Worth seeing without opening the step's group: it failed, or took long.
    stands_out: bool,
}

impl StepEnd {
    fn of(seconds: f64, cached: bool, error: Option<&str>) -> Self {
        let words = match error {
            Some(error) => format!("failed after {seconds:.1} s: {error}"),
            None if cached => "cached".to_owned(),
            None => format!("done in {seconds:.1} s"),
        };
        Self { words, stands_out: error.is_some() || seconds >= 1.0 }
    }

    fn unfinished() -> Self {
        Self { words: "not finished".to_owned(), stands_out: true }
    }
}

/// Writes build events.
#[derive(Debug)]
pub struct GroupedLog<W: Write> {
    out: W,
    style: Style,
    steps: BTreeMap<String, BuildStep>,
    /// Steps that are not wholly written yet, oldest first; the first is the one shown live.
    waiting: Vec<String>,
    guard: Option<StopCommands>,
}

impl<W: Write> GroupedLog<W> {
    /// A log that writes to `out`.
    pub fn new(out: W, style: Style) -> Self {
        Self { out, style, steps: BTreeMap::new(), waiting: Vec::new(), guard: None }
    }

    fn put(&mut self, line: &str) {
        // A log that cannot be written (a closed pipe) must not stop a release.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }

    fn open(&mut self, name: &str) {
        let name = title(name);
        if self.style == Style::Actions {
            self.put(&group(&name.replace("##[", "## [")));
            let guard = StopCommands::new();
            self.put(&guard.stop());
            self.guard = Some(guard);
        } else {
            self.put(&format!("=> {}", printable(&name)));
        }
    }

    fn close(&mut self, ending: &StepEnd) {
        if !ending.stands_out {
            self.put(&printable(&ending.words));
        }
        if let Some(guard) = self.guard.take() {
            self.put(&guard.resume());
            self.put(END_GROUP);
        }
        if ending.stands_out {
            self.put(&crate::report::commands::defused(&ending.words));
        }
    }

    /// Goes on to the next waiting steps for as long as they are finished.
    fn advance(&mut self) {
        while let Some(id) = self.waiting.first().cloned() {
            let Some(ending) = self.steps.get_mut(&id).and_then(|step| step.ending.take()) else { return };
            self.close(&ending);
            self.waiting.remove(0);
            self.steps.remove(&id);
            if let Some(next) = self.waiting.first().cloned() {
                self.show(&next);
            }
        }
    }

    fn show(&mut self, id: &str) {
        let Some(step) = self.steps.get_mut(id) else { return };
        let (name, kept) = (step.name.clone(), std::mem::take(&mut step.kept));
        self.open(&name);
        for line in kept {
            self.put(&line);
        }
    }

    fn started(&mut self, id: &str, name: String) {
        if self.steps.contains_key(id) {
            return;
        }
        self.steps.insert(id.to_owned(), BuildStep { name, ..BuildStep::default() });
        self.waiting.push(id.to_owned());
        if self.waiting.len() == 1 {
            self.show(id);
        }
    }

    fn line(&mut self, id: &str, text: &str) {
        let text = printable(text);
        if self.waiting.first().is_some_and(|first| first == id) {
            self.put(&text);
        } else if let Some(step) = self.steps.get_mut(id) {
            step.kept.push(text);
        } else {
            // A late line of a step that is done.
            self.note(&text);
        }
    }

    fn note(&mut self, text: &str) {
        if self.guard.is_some() {
            self.put(&printable(text));
        } else {
            self.put(&crate::report::commands::defused(text));
        }
    }
}

/// Without control characters but colours and tabs; a carriage return (progress bars) starts a new line.
pub(super) fn printable(text: &str) -> String {
    text::fit(text, Fit::Output)
}

/// A step's name on one line that fits a screen: a RUN over many lines has a name as long.
pub(super) fn title(name: &str) -> String {
    const LONGEST: usize = 120;
    let words: Vec<&str> = name.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= LONGEST {
        return line;
    }
    let cut: String = line.chars().take(LONGEST - 1).collect();
    cut + "\u{2026}"
}

impl<W: Write> BuildLog for GroupedLog<W> {
    fn event(&mut self, event: BuildEvent) {
        if self.style == Style::Json {
            return as_json(&event);
        }
        match event {
            BuildEvent::StepStarted { step, name } => self.started(&step, name),
            BuildEvent::Line { step, text } => self.line(&step, &text),
            BuildEvent::StepEnded { step, seconds, cached, error } => {
                if let Some(found) = self.steps.get_mut(&step) {
                    found.ending = Some(StepEnd::of(seconds, cached, error.as_deref()));
                    self.advance();
                }
            }
            BuildEvent::Note(text) => self.note(&text),
            // Not worth a line each.
            BuildEvent::Sent { .. } => {}
        }
    }
}

impl<W: Write> Drop for GroupedLog<W> {
    /// A build that is cut off leaves no group and no guard open: whatever is logged next would vanish
    /// in them.
    fn drop(&mut self) {
        while let Some(id) = self.waiting.first().cloned() {
            match self.steps.get_mut(&id) {
                Some(step) => drop(step.ending.get_or_insert_with(StepEnd::unfinished)),
                None => return,
            }
            self.advance();
        }
    }
}

fn as_json(event: &BuildEvent) {
    match event {
        BuildEvent::StepStarted { step, name } => tracing::info!(step, name, "build step started"),
        BuildEvent::Line { step, text } => tracing::info!(step, text, "build output"),
        BuildEvent::StepEnded { step, seconds, cached, error } => {
            tracing::info!(step, seconds, cached, error, "build step ended");
        }
        BuildEvent::Note(text) => tracing::info!(text, "build"),
        BuildEvent::Sent { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(style: Style, events: Vec<BuildEvent>) -> String {
        let mut out = Vec::new();
        let mut log = GroupedLog::new(&mut out, style);
        for event in events {
            log.event(event);
        }
        drop(log);
        String::from_utf8(out).unwrap()
    }

    fn start(step: &str, name: &str) -> BuildEvent {
        BuildEvent::StepStarted { step: step.into(), name: name.into() }
    }

    fn line(step: &str, text: &str) -> BuildEvent {
        BuildEvent::Line { step: step.into(), text: text.into() }
    }

    fn end(step: &str, seconds: f64) -> BuildEvent {
        BuildEvent::StepEnded { step: step.into(), seconds, cached: false, error: None }
    }

    #[test]
    fn steps_side_by_side_are_written_one_after_another() {
        let text = written(
            Style::Plain,
            vec![
                start("a", "[1/2] RUN a"),
                start("b", "[2/2] RUN b"),
                line("b", "b1"),
                line("a", "a1"),
                end("b", 0.5),
                line("a", "a2"),
                end("a", 2.0),
            ],
        );
        assert_eq!(text, "=> [1/2] RUN a\na1\na2\ndone in 2.0 s\n=> [2/2] RUN b\nb1\ndone in 0.5 s\n");
    }

    // invariant no-foreign-commands: A build's output cannot command the runner; broken by:
    //   `src/report/log/build.rs`: the guard is not printed
    #[test]
    fn foreign_lines_stand_between_guards_in_actions() {
        let text = written(
            Style::Actions,
            vec![
                start("a", "[1/1] RUN evil"),
                line("a", "::error::fake"),
                line("a", "x ##[error]y"),
                end("a", 1.0),
            ],
        );
        let lines: Vec<&str> = text.lines().collect();
        let token = lines[1].strip_prefix("::stop-commands::").expect("the guard comes before foreign lines");
        assert_eq!(lines[0], "::group::[1/1] RUN evil");
        assert_eq!(lines[2..4], ["::error::fake", "x ##[error]y"]);
        assert_eq!(lines[4], format!("::{token}::"));
        assert_eq!(lines[5..], [END_GROUP, "done in 1.0 s"]);
    }

    // invariant failures-are-explained: A failed build step is seen in the closed log; broken by:
    //   `src/report/log/build.rs`: its end stays inside of the group
    #[test]
    fn slow_or_failed_groups_report_their_end_outside() {
        let failed = BuildEvent::StepEnded {
            step: "b".into(),
            seconds: 0.1,
            cached: false,
            error: Some("x\n::error::y".into()),
        };
        let events =
            vec![start("a", "A"), end("a", 0.4), start("b", "B"), failed, start("c", "C"), end("c", 9.0)];
        let text = written(Style::Actions, events);
        let lines = text.lines().filter(|line| !line.contains("autotag-"));
        let reported = "::group::A\ndone in 0.4 s\n::endgroup::\n::group::B\n::endgroup::\nfailed after 0.1 s: x\n: :error::y\n\
                    ::group::C\n::endgroup::\ndone in 9.0 s";
        assert_eq!(lines.collect::<Vec<_>>().join("\n"), reported);
    }

    #[test]
    fn a_step_name_cannot_command() {
        let text = written(Style::Actions, vec![start("a", "RUN ##[error]x\n::error::y")]);
        assert!(!text.lines().any(|line| line.starts_with("::error")), "{text}");
    }

    #[test]
    fn a_build_cut_off_leaves_nothing_open() {
        let text = written(Style::Actions, vec![start("a", "A"), start("b", "B"), line("b", "kept")]);
        assert_eq!(text.matches("::group::").count(), 2);
        assert_eq!(text.matches(END_GROUP).count(), 2);
        assert!(text.contains("kept") && text.ends_with(&format!("{END_GROUP}\nnot finished\n")), "{text}");
    }
}
