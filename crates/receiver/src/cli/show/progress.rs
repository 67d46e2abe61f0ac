//! A deployment as it goes on: one line a step.

use super::{Style, ago, harmless, took};
use autotag_base::terminal::Tone;
use autotag_protocol::Event;

/// Draws the answers of one deployment, in order.
#[derive(Debug)]
pub struct Progress {
    look: Style,
    /// A line on the terminal that is to be written over.
    open: bool,
}

impl Progress {
    /// Nothing is drawn yet.
    pub fn new(look: Style) -> Self {
        Self { look, open: false }
    }

    /// What is to be printed for this answer, line breaks included.
    pub fn draw(&mut self, answer: &Event) -> String {
        let line = match answer {
            Event::StepStarted { step } if self.look.terminal => {
                let over = self.clear();
                self.open = true;
                return format!(
                    "{over}{}",
                    self.look.paint(Tone::Faint, &format!("\u{2026} {}", step.word()))
                );
            }
            // The last two are asked for by other commands.
            Event::StepStarted { .. }
            | Event::Heartbeat {}
            | Event::Unknown(_)
            | Event::Result(_)
            | Event::Status(_)
            | Event::History(_) => return String::new(),
            Event::StepEnded { step, milliseconds, failed: None } => {
                let sign = self.look.paint(Tone::Good, if self.look.terminal { "\u{2713}" } else { "done" });
                format!("{sign} {} {}", step.word(), took(*milliseconds))
            }
            Event::StepEnded { step, milliseconds, failed: Some(why) } => {
                let sign = self.look.paint(Tone::Bad, if self.look.terminal { "\u{2717}" } else { "failed" });
                format!("{sign} {} {}: {}", step.word(), took(*milliseconds), harmless(why))
            }
            Event::Log { from, line } => {
                let whose = from.word();
                self.look.paint(Tone::Faint, &format!("  {whose} | {}", harmless(line)))
            }
            Event::Note { text } => self.look.paint(Tone::Warning, &format!("note: {}", harmless(text))),
            Event::Waiting { holder: Some(holder) } => {
                let since = ago(holder.since, self.look.now);
                let purpose = harmless(&holder.purpose);
                self.look.paint(Tone::Warning, &format!("waiting for {purpose}, begun {since}"))
            }
            Event::Waiting { holder: None } => {
                self.look.paint(Tone::Warning, "waiting for another deployment")
            }
        };
        format!("{}{line}\n", self.clear())
    }

    /// Before anything else is printed.
    pub fn clear(&mut self) -> &'static str {
        if std::mem::take(&mut self.open) { "\r\u{1b}[K" } else { "" }
    }
}
