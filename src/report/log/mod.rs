//! The log: for people, or one JSON object a line.

pub mod build;
pub mod server;
pub mod terminal;

use std::fmt::{self, Write as _};
use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;

use super::commands::{defused, defused_json};
use super::screen::{self, Screen};
use crate::inputs::request::LogFormat;
use autotag_base::terminal::Tone;

/// Starts the log on standard output, where the runner reads commands too: one stream keeps their order.
///
/// `verbose` shows debugging lines (the runner's `RUNNER_DEBUG`). Other crates' lines are left out: some
/// of them print requests.
pub fn start(format: LogFormat, verbose: bool, screen: &Screen) {
    let level = if verbose { Level::DEBUG } else { Level::INFO };
    let own = tracing_subscriber::filter::filter_fn(move |meta| {
        meta.target().starts_with("autotag_") && *meta.level() <= level
    });
    let registry = tracing_subscriber::registry();
    // Set once; a second start (tests in one process) keeps the first.
    let _ = match format {
        LogFormat::Json => {
            let lines = tracing_subscriber::fmt::layer().json().flatten_event(true);
            let lines = lines.with_writer(|| JsonLines(io::stdout()));
            tracing::subscriber::set_global_default(registry.with(lines.with_filter(own)))
        }
        LogFormat::Text => {
            let (format, screen) = (LogLines(screen.clone()), screen.clone());
            let lines = tracing_subscriber::fmt::layer().event_format(format);
            let lines = lines.with_writer(move || screen::ScreenLines::on(&screen));
            tracing::subscriber::set_global_default(registry.with(lines.with_filter(own)))
        }
    };
}

/// Writes events of JSON, each of which comes in one piece, as lines that no runner obeys.
struct JsonLines(io::Stdout);

impl io::Write for JsonLines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let safe = defused_json(&String::from_utf8_lossy(event));
        self.0.write_all(safe.as_bytes()).map(|()| event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A message a line, then its fields; the level only where it is more than information. No time stamps:
/// the runner adds its own.
struct LogLines(Screen);

impl<S, N> FormatEvent<S, N> for LogLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = Text::default();
        event.record(&mut text);
        let (tone, level) = match *event.metadata().level() {
            Level::ERROR => (Tone::Bad, "error: "),
            Level::WARN => (Tone::Warning, "warning: "),
            Level::DEBUG => (Tone::Faint, "debug: "),
            _ => (Tone::Plain, ""),
        };
        let level = if level.is_empty() { String::new() } else { self.0.paint(tone, level) };
        writeln!(writer, "{level}{}", defused(&format!("{}{}", text.message, text.fields)))
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn add(&mut self, field: &Field, value: &dyn fmt::Display) {
        // Said in the message already; as a field it is for programs.
        if field.name() == "outcome" {
            return;
        }
        let separator = if self.fields.is_empty() { ": " } else { ", " };
        let _ = write!(self.fields, "{separator}{} {value}", field.name().replace('_', " "));
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, &value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.add(field, &format_args!("{value:?}"));
        }
    }
}
