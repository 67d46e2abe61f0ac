//! The build's log for a person at a terminal: what runs is drawn, what is done is a line.
//!
//! The output of steps that go well is shown only while they run, as its last line; the last lines of one that
//! fails are in the failure. Whoever wants all of it pipes it, and gets [`super::build`].

use std::collections::BTreeMap;

use super::build::{printable, title};
use crate::ports::{BuildEvent, BuildLog};
use crate::report::commands::defused;
use crate::report::screen::{Busy, Screen};
use autotag_base::terminal::Tone;

/// Draws build and push.
#[derive(Debug)]
pub struct TerminalLog {
    screen: Screen,
    /// Names, and what is drawn.
    steps: BTreeMap<String, (String, Busy)>,
    push: Option<Push>,
}

#[derive(Debug)]
struct Push {
    drawn: Busy,
    /// How much is sent of each layer, by its size; layers of one size are drawn as one.
    layers: BTreeMap<u64, u64>,
}

impl TerminalLog {
    /// A log on this screen.
    pub fn new(screen: Screen) -> Self {
        Self { screen, steps: BTreeMap::new(), push: None }
    }

    fn ended(&self, name: &str, seconds: f64, cached: bool, error: Option<&str>) {
        let (tone, sign, time) = match error {
            Some(_) => (Tone::Bad, "\u{2717}", format!("failed after {seconds:.1} s")),
            None if cached => (Tone::Faint, "\u{2713}", "cached".to_owned()),
            None => (Tone::Good, "\u{2713}", format!("{seconds:.1} s")),
        };
        let (sign, time) = (self.screen.paint(tone, sign), self.screen.paint(Tone::Faint, &time));
        self.screen.line(&format!("{sign} {name} {time}"));
    }
}

/// BuildKit's own steps, which say nothing about the Dockerfile.
fn is_internal(name: &str) -> bool {
    name.starts_with("[internal]")
}

impl BuildLog for TerminalLog {
    fn event(&mut self, event: BuildEvent) {
        match event {
            BuildEvent::StepStarted { step, name } => {
                let name = defused(&title(&name));
                let drawn = self.screen.busy(&name);
                self.steps.insert(step, (name, drawn));
            }
            BuildEvent::Line { step, text } => {
                if let Some((name, drawn)) = self.steps.get(&step) {
                    drawn.say(format!("{name}  {}", plain(&text)));
                }
            }
            BuildEvent::StepEnded { step, seconds, cached, error } => {
                let Some((name, drawn)) = self.steps.remove(&step) else { return };
                drop(drawn);
                if error.is_some() || !is_internal(&name) {
                    self.ended(&name, seconds, cached, error.as_deref());
                }
            }
            BuildEvent::Sent { bytes, of } => {
                let push = self.push.get_or_insert_with(|| Push {
                    drawn: self.screen.counting("pushing"),
                    layers: BTreeMap::new(),
                });
                push.layers.insert(of, bytes.min(of));
                push.drawn.count(push.layers.values().sum(), push.layers.keys().sum());
            }
            BuildEvent::Note(text) => {
                self.push = None;
                self.screen.line(&defused(&text));
            }
        }
    }
}

/// A foreign line that is drawn over must not move the cursor, so that not even colours stay.
fn plain(text: &str) -> String {
    printable(text).replace(['\u{1b}', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_line_moves_no_cursor() {
        assert_eq!(plain("a\u{1b}[2J\rb\nc\u{8}"), "a b c");
    }
}
