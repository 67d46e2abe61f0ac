//! What servers have, for people (tables) and for programs (JSON).

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::markdown::{BAD, GOOD, escaped, excerpt, fenced};
use super::stages::seconds;
use crate::deploy::host_sequence;
use crate::deploy::host_sequence::{HostReport, HostResult};
use crate::pipeline::deployment::{Deployment, HostStatus};
use autotag_protocol::Running;
use autotag_protocol::labels;

/// A line for each server, and where its time went: Markdown.
pub fn section(deployment: &Deployment) -> String {
    let mut text = String::from("| | Server | Result | Time | Steps |\n|---|---|---|---|---|\n");
    for report in deployment.reports() {
        let line = host_sequence::describe(report);
        let words = line.strip_prefix(&format!("{}: ", report.host)).unwrap_or(&line);
        let steps = report.steps.iter().filter(|(_, took)| took.as_millis() >= 50);
        let steps: Vec<String> =
            steps.map(|(step, took)| format!("{} {:.1} s", step.word(), took.as_secs_f64())).collect();
        let (host, words) = (escaped(&report.host), escaped(words));
        let took = seconds(report.took);
        let _ = writeln!(
            text,
            "| {} | {host} | {words} | {took} | {} |",
            mark(&report.stop),
            escaped(&steps.join(", "))
        );
    }
    let silent = |report: &&HostReport| mark(&report.stop) != BAD || report.last_words.is_empty();
    for report in deployment.reports().iter().filter(|report| !silent(report)) {
        let words = fenced("", &excerpt(&report.last_words.join("\n")));
        let _ = writeln!(text, "\nLast log lines on {}:\n\n{words}", escaped(&report.host));
    }
    let _ = writeln!(text, "\nThe deployment's id in the server's history and labels: `{}`\n", deployment.id);
    text
}

fn mark(stop: &HostResult) -> &'static str {
    match stop {
        HostResult::Done(_) => GOOD,
        HostResult::Failed(_) | HostResult::Unheard(_) | HostResult::Stuck(_) => BAD,
        HostResult::Untouched
        | HostResult::Superseded(_)
        | HostResult::Reverted
        | HostResult::Overtaken(_) => "",
    }
}

/// What every server said, a row each.
pub fn status_rows(answers: &[HostStatus]) -> Vec<[String; 5]> {
    let none = || "-".to_owned();
    answers
        .iter()
        .map(|answer| match &answer.status {
            Err(failure) => {
                [answer.host.clone(), none(), none(), none(), format!("not known: {}", failure.why)]
            }
            Ok(status) => {
                let of = |part: fn(&Running) -> String| status.running.as_ref().map_or_else(none, part);
                let mut notes = status.drift.clone();
                if let Some(busy) = &status.busy {
                    notes.push(labels::holder(Some(busy)));
                }
                if !status.blocked.is_empty() {
                    let blocked: Vec<String> = status.blocked.iter().map(ToString::to_string).collect();
                    notes.push(format!("rolled back: {}", blocked.join(", ")));
                }
                let notes = if notes.is_empty() { "as it should be".to_owned() } else { notes.join("; ") };
                [
                    answer.host.clone(),
                    of(|running| running.version.to_string()),
                    of(|running| running.commit.short().to_owned()),
                    of(|running| running.digest.short().to_owned()),
                    notes,
                ]
            }
        })
        .collect()
}

const HEAD: [&str; 5] = ["Server", "Version", "Commit", "Digest", "State"];

/// The table, aligned.
pub fn status_table(answers: &[HostStatus]) -> String {
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(status_rows(answers));
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 5]| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("  {}", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The same as Markdown.
pub fn status_summary(answers: &[HostStatus]) -> String {
    let mut text =
        format!("## What the servers run\n\n| | {} |\n|---|---|---|---|---|---|\n", HEAD.join(" | "));
    for (row, answer) in status_rows(answers).into_iter().zip(answers) {
        let good = answer.status.as_ref().is_ok_and(|status| status.drift.is_empty());
        let mark = if good { GOOD } else { BAD };
        let _ = writeln!(text, "| {mark} | {} |", row.map(|cell| escaped(&cell)).join(" | "));
    }
    text.push('\n');
    text
}

/// For programs. Fields are only ever added.
pub fn status_json(answers: &[HostStatus]) -> Value {
    let one = |answer: &HostStatus| match &answer.status {
        Ok(status) => json!({ "host": answer.host, "status": status }),
        Err(failure) => json!({ "host": answer.host, "error": failure.to_string() }),
    };
    json!({ "servers": answers.iter().map(one).collect::<Vec<_>>() })
}
