//! A person's terminal: what is under way is drawn on standard error and taken away again; lines go to
//! standard output. Elsewhere nothing is drawn.

use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::inputs::Environment;
use crate::inputs::request::LogFormat;
use autotag_base::terminal;
use autotag_base::terminal::Tone;

/// Where lines and progress go. Clones are the same screen.
#[derive(Debug, Clone, Default)]
pub struct Screen {
    bars: Option<MultiProgress>,
    colour: bool,
    attended: bool,
}

impl Screen {
    /// This process's.
    pub fn of_process(environment: &Environment, format: LogFormat) -> Self {
        Self::of(environment, format, [io::stdout().is_terminal(), io::stderr().is_terminal()])
    }

    /// `terminals`: whether standard output and standard error are ones. CI gets plain lines, whatever it
    /// connects; JSON is nothing but JSON.
    fn of(environment: &Environment, format: LogFormat, terminals: [bool; 2]) -> Self {
        if format == LogFormat::Json || environment.in_actions() {
            return Self::default();
        }
        let variable = |name: &str| environment.get(name).map(ToOwned::to_owned);
        let [out, err] = terminals.map(|terminal| terminal && !environment.in_ci());
        let draws = terminal::may_draw(err, variable);
        let target = || MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Self { bars: draws.then(target), colour: terminal::wants_colour(out, variable), attended: out }
    }

    /// Whether a person reads the lines as they come: then what is under way need not be a line.
    pub fn is_watched(&self) -> bool {
        self.attended && self.bars.is_some()
    }

    /// Whether standard output is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.attended
    }

    /// Whether lines have colours.
    pub fn has_colour(&self) -> bool {
        self.colour
    }

    /// The text in its colour, where there are colours.
    pub fn paint(&self, tone: Tone, text: &str) -> String {
        terminal::paint(self.colour, tone, text)
    }

    /// A line on standard output, or several. A reader that has gone away (`| head`) is no reason to stop a
    /// release.
    pub fn line(&self, text: &str) {
        self.print(format!("{text}\n").as_bytes());
    }

    /// Bytes on standard output; whole lines, since progress is drawn below them.
    fn print(&self, bytes: &[u8]) {
        let print = || {
            let mut out = io::stdout().lock();
            let _ = out.write_all(bytes).and_then(|()| out.flush());
        };
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }

    /// Draws that something is under way, until the value is dropped.
    pub fn busy(&self, text: &str) -> Busy {
        self.draw(ProgressBar::new_spinner, "{spinner} {elapsed:>4} {wide_msg}", text)
    }

    /// Likewise, with bytes that are counted.
    pub fn counting(&self, text: &str) -> Busy {
        self.draw(
            || ProgressBar::new(1),
            "{spinner} {elapsed:>4} {msg} [{bar:30}] {binary_bytes}/{binary_total_bytes}",
            text,
        )
    }

    fn draw(&self, bar: impl FnOnce() -> ProgressBar, template: &str, text: &str) -> Busy {
        Busy(self.bars.as_ref().map(|bars| {
            let bar = bars.add(bar());
            let usual = ProgressStyle::default_spinner;
            bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| usual()));
            bar.set_message(text.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        }))
    }
}

/// Something that is under way. Dropped, it is drawn no more.
#[derive(Debug, Default)]
pub struct Busy(Option<ProgressBar>);

impl Busy {
    /// What it is about now.
    pub fn say(&self, text: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(text);
        }
    }

    /// How far it is.
    pub fn count(&self, done: u64, of: u64) {
        if let Some(bar) = &self.0 {
            bar.set_length(of);
            bar.set_position(done);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Writes whole lines to a screen.
#[derive(Debug)]
pub struct ScreenLines {
    screen: Screen,
    begun: Vec<u8>,
}

impl ScreenLines {
    /// Nothing is written yet.
    pub fn on(screen: &Screen) -> Self {
        Self { screen: screen.clone(), begun: Vec::new() }
    }
}

impl Write for ScreenLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun.extend_from_slice(bytes);
        if let Some(end) = self.begun.iter().rposition(|byte| *byte == b'\n') {
            let lines: Vec<u8> = self.begun.drain(..=end).collect();
            self.screen.print(&lines);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_persons_terminal_is_drawn_on() {
        // Environment, format, standard output and error are terminals; drawn, coloured, watched.
        for (set, format, terminals, expected) in [
            (&[][..], LogFormat::Text, [true, true], [true, true, true]),
            (&[], LogFormat::Text, [false, true], [true, false, false]),
            (&[], LogFormat::Text, [true, false], [false, true, false]),
            (&[], LogFormat::Text, [false, false], [false, false, false]),
            (&[], LogFormat::Json, [true, true], [false, false, false]),
            (&[("CI", "true")], LogFormat::Text, [true, true], [false, false, false]),
            (&[("CI", "true"), ("FORCE_COLOR", "1")], LogFormat::Text, [true, true], [false, true, false]),
            (&[("GITHUB_ACTIONS", "true"), ("FORCE_COLOR", "1")], LogFormat::Text, [true, true], [false; 3]),
            (&[("NO_COLOR", "1")], LogFormat::Text, [true, true], [false, false, false]),
        ] {
            let screen = Screen::of(&Environment::of(set.iter().copied()), format, terminals);
            let found = [screen.bars.is_some(), screen.has_colour(), screen.is_watched()];
            assert_eq!(found, expected, "{set:?} {terminals:?}");
        }
    }
}
