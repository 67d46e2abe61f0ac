//! What the owner's commands print: answers become text. Pure; the terminal is `cli`'s.

mod progress;
mod table;
#[cfg(test)]
mod tests;
mod time;

use jiff::Timestamp;

pub use progress::Progress;
pub use time::{ago, moment, took};

use autotag_base::terminal;
use autotag_base::terminal::Tone;
use autotag_model::text;
use autotag_protocol::{AppName, End, HistoryEntry, Outcome, Status};
use table::{Cell, Table};

/// For whom it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// A person at a terminal sees it as it grows.
    pub terminal: bool,
    /// With colours.
    pub colour: bool,
    /// The present moment.
    pub now: Timestamp,
}

impl Style {
    /// The text in its colour, where there are colours.
    pub(crate) fn paint(&self, tone: Tone, text: &str) -> String {
        terminal::paint(self.colour, tone, text)
    }
}

/// A foreign text on one line, without anything that a terminal would obey.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|letter| if text::misleads(letter) && letter != '\t' { '\u{fffd}' } else { letter })
        .collect()
}

/// A text of several lines, each of them harmless.
fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}

/// All applications: a table, and below it what should be looked at.
pub fn status(apps: &[(AppName, Status)], look: &Style) -> String {
    if apps.is_empty() {
        return "no application is set up here; run `autotag-receiver init APP --image REPOSITORY`\n"
            .to_owned();
    }
    let mut table = Table::new(&["APP", "STATE", "VERSION", "COMMIT", "DEPLOYMENT"]);
    let mut remarks = String::new();
    for (app, status) in apps {
        let (tone, state) = state(status);
        let running = status.running.as_ref();
        table.row(vec![
            Cell::plain(app.as_str()),
            Cell { tone, text: state.to_owned() },
            Cell::plain(running.map_or("-".to_owned(), |running| running.version.to_string())),
            Cell::plain(running.map_or("-".to_owned(), |running| short(running.commit.as_str()))),
            Cell { tone: Tone::Faint, text: running.map_or("-".to_owned(), |it| it.deployment.to_string()) },
        ]);
        remarks.push_str(&remarks_on(app, status, look));
    }
    let gap = if remarks.is_empty() { "" } else { "\n" };
    format!("{}{gap}{remarks}", table.draw(look))
}

fn state(status: &Status) -> (Tone, &'static str) {
    match status {
        Status { busy: Some(_), .. } => (Tone::Warning, "changing"),
        Status { drift, .. } if !drift.is_empty() => (Tone::Bad, "DRIFT"),
        Status { running: Some(_), .. } => (Tone::Good, "serves"),
        Status { .. } => (Tone::Plain, "empty"),
    }
}

fn remarks_on(app: &AppName, status: &Status, look: &Style) -> String {
    let mut lines = String::new();
    let mut line = |tone, text: String| {
        lines.push_str(&look.paint(tone, &text));
        lines.push('\n');
    };
    for difference in &status.drift {
        line(Tone::Bad, format!("! {app}: {}", harmless(difference)));
    }
    if let Some(holder) = &status.busy {
        let since = ago(holder.since, look.now);
        line(Tone::Warning, format!("~ {app}: {} is running, begun {since}", harmless(&holder.purpose)));
    }
    if !status.blocked.is_empty() {
        let blocked: Vec<String> = status.blocked.iter().map(ToString::to_string).collect();
        line(
            Tone::Plain,
            format!("  {app}: rolled back, and blocked without --allow-downgrade: {}", blocked.join(", ")),
        );
    }
    if let (Some(highest), Some(running)) = (&status.highest, &status.running)
        && *highest != running.version
    {
        line(Tone::Plain, format!("  {app}: the highest version that ever served is {highest}"));
    }
    lines
}

/// The first twelve digits of a commit.
fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

/// What was deployed when, the newest first.
pub fn history(entries: &[HistoryEntry], look: &Style) -> String {
    if entries.is_empty() {
        return "nothing was deployed yet\n".to_owned();
    }
    let mut table = Table::new(&["WHEN (UTC)", "AGE", "VERSION", "COMMIT", "END", "DEPLOYMENT"]);
    for entry in entries {
        let (tone, end) = end(&entry.end);
        table.row(vec![
            Cell::plain(moment(entry.at)),
            Cell { tone: Tone::Faint, text: ago(entry.at, look.now) },
            Cell::plain(entry.release.version.to_string()),
            Cell::plain(short(entry.release.commit.as_str())),
            Cell { tone, text: end },
            Cell { tone: Tone::Faint, text: entry.release.deployment.to_string() },
        ]);
    }
    table.draw(look)
}

fn end(end: &End) -> (Tone, String) {
    match end {
        End::Deployed {} => (Tone::Good, "deployed".to_owned()),
        End::Unchanged {} => (Tone::Plain, "unchanged".to_owned()),
        End::RolledBack {} => (Tone::Warning, "rolled back to".to_owned()),
        End::Refused { .. } => (Tone::Warning, "refused".to_owned()),
        End::Failed { step, .. } => (Tone::Bad, format!("failed at {}", step.word())),
        End::Reported {} => (Tone::Plain, "reported".to_owned()),
        End::Unknown(name) => (Tone::Bad, harmless(name.as_str())),
    }
}

/// The last lines of a deployment or rollback.
pub fn outcome(app: &AppName, outcome: &Outcome, look: &Style) -> String {
    let version = outcome.running.as_ref().map_or("nothing".to_owned(), |it| it.version.to_string());
    let time = took(outcome.milliseconds);
    let (tone, first) = match &outcome.end {
        End::Deployed {} => (Tone::Good, format!("{app}: {version} serves ({time})")),
        End::Unchanged {} => (Tone::Good, format!("{app}: {version} already serves, nothing changed")),
        End::RolledBack {} => (Tone::Good, format!("{app}: back at {version} ({time})")),
        End::Refused { message, .. } => {
            (Tone::Warning, format!("{app}: refused: {}", harmless_lines(message)))
        }
        End::Failed { step, message, .. } => {
            (Tone::Bad, format!("{app}: failed at {}: {}", step.word(), harmless_lines(message)))
        }
        End::Unknown(_) => (Tone::Bad, format!("{app}: {}", harmless_lines(&outcome.end.words()))),
        End::Reported {} => return String::new(),
    };
    let mut text = format!("{}\n", look.paint(tone, &first));
    if !outcome.end.is_good() {
        let serves = if outcome.running.is_some() { version.as_str() } else { "nothing" };
        text.push_str(serves);
        text.push_str(" serves\n");
    }
    text
}
