//! What the servers tell, as it happens: a group for each, in which nothing that they say can command the runner.

use std::io::Write;
use std::time::Duration;

use super::build::{Style, printable, title};
use crate::deploy::conversation::{DeployEvent, DeployLog};
use crate::report::commands::{END_GROUP, StopCommands, group};
use crate::report::screen::{Busy, Screen};
use autotag_protocol::Event;
use autotag_protocol::labels;

/// Writes what servers tell.
#[derive(Debug)]
pub struct ServerLog<W: Write> {
    out: W,
    style: Style,
    guard: Option<StopCommands>,
    /// The last line of waiting: the receiver repeats it.
    waiting: String,
    /// The step that is under way, where a person watches.
    step: Option<Busy>,
    screen: Screen,
}

impl<W: Write> ServerLog<W> {
    /// A log that writes to `out`.
    pub fn new(out: W, style: Style) -> Self {
        Self { out, style, guard: None, waiting: String::new(), step: None, screen: Screen::default() }
    }

    /// Draws the step that is under way in place of a line that says so.
    #[must_use]
    pub fn on(mut self, screen: Screen) -> Self {
        self.screen = screen;
        self
    }

    fn put(&mut self, line: &str) {
        // A log that cannot be written (a closed pipe) must not stop a deployment.
        let _ = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
    }

    fn open(&mut self, name: &str) {
        self.close();
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

    fn close(&mut self) {
        self.step = None;
        if let Some(guard) = self.guard.take() {
            self.put(&guard.resume());
            self.put(END_GROUP);
        }
    }

    /// Whatever is written outside of a group is made harmless by itself.
    fn line(&mut self, text: &str) {
        let text =
            if self.guard.is_some() { printable(text) } else { crate::report::commands::defused(text) };
        self.put(&text);
    }

    fn answer(&mut self, answer: &Event) {
        match answer {
            Event::StepStarted { step } if self.screen.is_watched() => {
                self.step = Some(self.screen.busy(step.words()));
                return;
            }
            Event::StepEnded { .. } | Event::Result(_) => self.step = None,
            _ => {}
        }
        if let Event::Waiting { holder } = answer {
            let line = format!("waiting: {}", labels::holder(holder.as_ref()));
            if line != self.waiting {
                self.line(&line);
                self.waiting = line;
            }
        } else if let Some(text) = words_of(answer) {
            self.line(&text);
        }
    }
}

/// What an answer is in the log; nothing for those that only keep the connection alive.
fn words_of(answer: &Event) -> Option<String> {
    Some(match answer {
        Event::StepStarted { step } => format!("{:<8}{} ...", step.word(), step.words()),
        Event::StepEnded { step, milliseconds, failed } => {
            let seconds = Duration::from_millis(*milliseconds).as_secs_f64();
            match failed {
                None => format!("{:<8}done in {seconds:.1} s", step.word()),
                Some(why) => format!("{:<8}failed after {seconds:.1} s: {why}", step.word()),
            }
        }
        Event::Log { from, line } => format!("  {} | {line}", from.word()),
        Event::Note { text } => format!("note: {text}"),
        Event::Status(status) => labels::status(status),
        Event::History(entry) => labels::history(entry),
        Event::Result(outcome) => format!("{} ({:.1} s)", outcome.end.words(), outcome.took().as_secs_f64()),
        Event::Heartbeat {} | Event::Waiting { .. } | Event::Unknown(_) => return None,
    })
}

impl<W: Write> DeployLog for ServerLog<W> {
    fn event(&mut self, host: &str, event: DeployEvent<'_>) {
        if self.style == Style::Json {
            return as_json(host, event);
        }
        match event {
            DeployEvent::Started(title) => self.open(title),
            DeployEvent::Received(answer) => self.answer(answer),
            DeployEvent::Lost { why, pause } => {
                let seconds = pause.as_secs_f64();
                self.line(&format!("{host}: {why}; asking again in {seconds:.0} s"));
            }
            DeployEvent::Ended(words) => {
                self.close();
                self.line(words);
            }
        }
    }
}

fn as_json(host: &str, event: DeployEvent<'_>) {
    match event {
        DeployEvent::Started(title) => tracing::info!(host, title, "server asked"),
        DeployEvent::Received(Event::Log { from, line }) => {
            tracing::info!(host, from = from.word(), line, "application output");
        }
        DeployEvent::Received(Event::Heartbeat {} | Event::Unknown(_)) => {}
        DeployEvent::Received(answer) => {
            let answer = serde_json::to_string(answer).unwrap_or_default();
            tracing::info!(host, answer, "server answered");
        }
        DeployEvent::Lost { why, pause } => {
            tracing::warn!(host, why, pause = pause.as_secs_f64(), "connection lost");
        }
        DeployEvent::Ended(words) => tracing::info!(host, words, "server done"),
    }
}

impl<W: Write> Drop for ServerLog<W> {
    /// A deployment that is cut off leaves no group and no guard open.
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autotag_protocol::{Open, RolloutStep, Source};

    fn log_of(style: Style, events: &[DeployEvent<'_>]) -> String {
        let mut out = Vec::new();
        let mut log = ServerLog::new(&mut out, style);
        for event in events {
            log.event("web1", *event);
        }
        drop(log);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_an_application_writes_stands_between_guards() {
        let nasty = Event::log(Source::Application, "::set-output name=x::y\r::error::z");
        let events = [DeployEvent::Started("Deploy ##[error] to web1"), DeployEvent::Received(&nasty)];
        // Cut off in the middle, as by a signal.
        let text = log_of(Style::Actions, &events);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "::group::Deploy ## [error] to web1");
        let token = lines[1].strip_prefix("::stop-commands::").expect("a guard before anything else");
        assert!(lines[2].starts_with("  app | ::set-output"), "{text}");
        assert_eq!(lines[lines.len() - 2..], [format!("::{token}::").as_str(), END_GROUP]);
    }

    #[test]
    fn outside_of_a_group_every_line_is_harmless() {
        let note = Event::Note { text: "x\n::error::y".to_owned() };
        let text = log_of(Style::Actions, &[DeployEvent::Received(&note), DeployEvent::Ended("::debug::a")]);
        assert!(text.lines().all(|line| !line.starts_with("::")), "{text}");
    }

    #[test]
    fn steps_are_logged_with_times_and_waiting_once() {
        let answers = [
            Event::Waiting { holder: None },
            Event::Heartbeat {},
            Event::Waiting { holder: None },
            Event::StepStarted { step: Open::Known(RolloutStep::Pull) },
            Event::StepEnded { step: Open::Known(RolloutStep::Pull), milliseconds: 2150, failed: None },
            Event::StepEnded {
                step: Open::Known(RolloutStep::Health),
                milliseconds: 900,
                failed: Some("503".to_owned()),
            },
        ];
        let events: Vec<DeployEvent<'_>> = answers.iter().map(DeployEvent::Received).collect();
        assert_eq!(
            log_of(Style::Plain, &events),
            "waiting: another deployment is running\npull    pull the image ...\npull    done in 2.1 s\n\
             health  failed after 0.9 s: 503\n"
        );
    }
}
