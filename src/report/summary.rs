//! The step summary: one screen of GitHub's Markdown, the most important first.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::progress::Timing;
use super::{plan, servers};
use crate::failure::Failure;
use crate::inputs::order::Order;
use crate::inputs::run::Run;
use crate::pipeline::deployment::Deployment;
use crate::pipeline::{Planned, Released, Superseded};
use crate::release::latest::Latest;
use crate::release::publish::Help;

/// GitHub drops a summary of more than 1024 KiB, with an error.
const LONGEST: usize = 1000 * 1024;

/// Appends to the runner's file.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut cut = text.len().min(LONGEST);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(&text.as_bytes()[..cut])?;
    file.write_all(b"\n")
}

/// A release, or one that was gone on with.
pub fn released(order: &Order, run: &Run, released: &Released, timings: &[Timing]) -> String {
    let claim = &released.known.claim;
    let tag = order.wish.prefix.tag_of(&claim.version);
    let word = if released.resumed { "Resumed" } else { "Released" };
    let mut text = match &released.release {
        Some(release) => format!("## {word} [{tag}]({})\n\n", release.html_url),
        None => format!("## {word} {tag}\n\n"),
    };
    let _ = writeln!(text, "{}\n", escaped(&released.reason));
    let _ = writeln!(text, "| | |\n|---|---|");
    let _ = writeln!(text, "| Image | `{}:{}` |", claim.image, claim.version);
    let _ = writeln!(text, "| Digest | `{}` |", claim.digest);
    let _ = writeln!(text, "| `latest` | {} |", latest_words(released.latest.as_ref()));
    if let Some(sha_tag) = &released.sha_tag {
        let _ = writeln!(text, "| Held by | `{sha_tag}` |");
    }
    let _ = writeln!(text, "| Commit | {} |", commit_link(run));
    let _ = writeln!(text, "| Previous version | {} |", previous(order, run, released));
    let _ = writeln!(text, "\n```sh\ndocker pull {}\n```\n", claim.image.with_digest(&claim.digest));
    if let Some(deployment) = &released.deployment {
        text.push_str(&servers::section(deployment));
    }
    text + &gantt(timings)
}

fn previous(order: &Order, run: &Run, released: &Released) -> String {
    let claim = &released.known.claim;
    match &claim.after {
        None => "none".to_owned(),
        Some(before) => {
            let (from, to) = (order.wish.prefix.tag_of(before), order.wish.prefix.tag_of(&claim.version));
            format!("[{before}]({}/{}/compare/{from}...{to})", run.server_url, run.repository)
        }
    }
}

fn latest_words(latest: Option<&Latest>) -> String {
    match latest {
        None => "not touched".to_owned(),
        Some(Latest::Moved(version)) => format!("moved to {version}"),
        Some(Latest::Already(version)) => format!("is {version}"),
        Some(Latest::Foreign(version)) => format!("is {version}, which this action did not make; left alone"),
        Some(Latest::Refused(_)) => "not moved: the registry refuses it".to_owned(),
        Some(Latest::Nothing) => "left alone: no claimed version is published".to_owned(),
    }
}

fn commit_link(run: &Run) -> String {
    let commit = &run.commit;
    format!("[`{}`]({}/{}/commit/{commit})", commit.short(), run.server_url, run.repository)
}

/// A commit that came too late.
pub fn superseded(order: &Order, run: &Run, superseded: &Superseded, timings: &[Timing]) -> String {
    let by = &superseded.by.claim;
    let tag = order.wish.prefix.tag_of(&by.version);
    let mut text = format!(
        "## Superseded by [{tag}]({server}/{repository}/tree/{tag})\n\nA newer commit, [`{short}`]({server}/{repository}/commit/{commit}), contains {own} and has the version {tag}. Nothing was published for this one. If the release {tag} is missing, its own run was cut off: run that one again.\n\n",
        server = run.server_url,
        repository = run.repository,
        short = by.commit.short(),
        commit = by.commit,
        own = commit_link(run),
    );
    for help in &superseded.helped {
        if let Help::Published(version) = help {
            let _ = writeln!(text, "- Published {version}, which its own run had left.");
        }
    }
    let _ = writeln!(text, "- `latest`: {}\n", latest_words(superseded.latest.as_ref()));
    text + &gantt(timings)
}

/// A deployment of a version that was published before, or a rollback.
pub fn deployed(deployment: &Deployment, timings: &[Timing]) -> String {
    let running = deployment.tour.running().map(|running| running.version.to_string());
    let heading = match (&deployment.release, deployment.tour.superseded(), running) {
        (Some(release), Some(_), _) => {
            format!("Not deployed: something newer than {} is live", release.version)
        }
        (Some(release), None, _) => format!("Deployed {}", release.version),
        (None, None, Some(version)) => format!("Rolled back to {version}"),
        (None, ..) => "Rolled back".to_owned(),
    };
    format!("## {heading}\n\n{}{}", servers::section(deployment), gantt(timings))
}

/// A plan that was not carried out.
pub fn planned(order: &Order, planned: &Planned, timings: &[Timing]) -> String {
    let mut text = format!("## Planned: {}\n\n| | |\n|---|---|\n", escaped(&plan::sentence(&planned.plan)));
    for (name, value) in plan::rows(order, planned).iter().skip(1) {
        let _ = writeln!(text, "| {name} | {} |", escaped(value));
    }
    let json = serde_json::to_string_pretty(&plan::json(order, planned)).unwrap_or_default();
    let _ =
        writeln!(text, "\n<details><summary>As JSON</summary>\n\n{}\n</details>\n", fenced("json", &json));
    text + &gantt(timings)
}

/// A failure: what, why, what is done, what to do.
pub fn failed(
    failure: &Failure,
    stage: Option<&str>,
    done: &[String],
    deployment: Option<&Deployment>,
    timings: &[Timing],
) -> String {
    let stage = stage.map_or(String::new(), |stage| format!(" in the stage *{stage}*"));
    let mut text = format!("## {}{stage}\n\n**{}**\n\n", failure.kind.heading(), escaped(&failure.what));
    text.push_str(&fenced("", &failure.why));
    let _ = writeln!(text, "\n**What to do:** {} ([more]({}))\n", escaped(&failure.remedy), failure.link());
    if done.is_empty() {
        text.push_str("Nothing had been changed.\n\n");
    } else {
        text.push_str("**What is done already**\n\n");
        for fact in done {
            let _ = writeln!(text, "- {}", escaped(fact));
        }
        text.push_str("\nRunning the job again goes on from there.\n\n");
    }
    if let Some(deployment) = deployment {
        text.push_str(&servers::section(deployment));
    }
    text + &gantt(timings)
}

/// Text of others as a code block, in a fence longer than any in it.
fn fenced(language: &str, text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}\n")
}

/// Text of others inside Markdown: nothing in it is markup, and it keeps to its line and cell.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' => safe.push(' '),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' | '$' => {
                safe.push('\\');
                safe.push(character);
            }
            // An `@name` in a summary would read as a mention.
            '@' => safe.push_str("&#64;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Where the time went. Stages of the same name (a lost race plans twice) are drawn one by one.
fn gantt(timings: &[Timing]) -> String {
    if timings.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "```mermaid\ngantt\n    title Where the time went (seconds)\n    dateFormat x\n    axisFormat %M:%S\n",
    );
    for timing in timings {
        let start = timing.start.as_millis();
        // Mermaid draws nothing for a bar without length.
        let end = start + timing.took.as_millis().max(1);
        let _ = writeln!(text, "    {} ({:.1} s) :{start}, {end}", timing.stage, timing.took.as_secs_f64());
    }
    text + "```\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;
    use std::time::Duration;

    #[test]
    fn what_others_wrote_stays_text() {
        assert_eq!(escaped("a|b\n<img> `x` @me"), "a\\|b &lt;img&gt; \\`x\\` &#64;me");
        assert_eq!(fenced("", "x\n````\ny"), "`````\nx\n````\ny\n`````\n");
    }

    #[test]
    fn a_failure_says_what_is_done_and_what_to_do() {
        let failure = Failure::new(Kind::Denied, "claiming v1.2.3", "no\n```\nreally", "ask");
        let timings = [Timing { stage: "plan", start: Duration::ZERO, took: Duration::from_millis(1250) }];
        insta::assert_snapshot!(failed(&failure, Some("claim"), &["pushed x".to_owned()], None, &timings));
    }
}
