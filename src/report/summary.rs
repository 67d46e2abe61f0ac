//! The step summary: one screen of GitHub's Markdown, the most important first.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::markdown::{BAD, GOOD, escaped, excerpt, fenced, folded, shortened};
use super::{plan, servers};
use crate::deploy::host_sequence;
use crate::failure::Failure;
use crate::inputs::request::Request;
use crate::inputs::run::Run;
use crate::pipeline::deployment::Deployment;
use crate::pipeline::{Planned, Released, Superseded};
use crate::release::latest::Latest;
use crate::release::publish::Help;
use autotag_model::text;
use autotag_model::text::Fit;

/// GitHub drops a summary of more than 1024 KiB, with an error.
const LONGEST: usize = 1000 * 1024;

/// Appends to the runner's file.
pub fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let text = text::fit(text, Fit::Lines);
    let mut cut = text.len().min(LONGEST);
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(&text.as_bytes()[..cut])?;
    file.write_all(b"\n")
}

/// A release, or one that was gone on with. The stages are a table of [`super::stages`].
pub fn released(request: &Request, run: &Run, released: &Released, stages: &str) -> String {
    let claim = &released.known.claim;
    let tag = request.version.prefix.tag_of(&claim.version);
    let word = if released.resumed { "Resumed" } else { "Released" };
    let what = match &released.release {
        Some(release) => format!("[{tag}]({})", release.html_url),
        None => tag,
    };
    let deployed = match &released.deployment {
        Some(deployment) if deployment.deployed() => " and deployed it",
        Some(_) => ", not deployed: something newer is live",
        None => "",
    };
    let mut text = format!("## {GOOD} {word} {what}{deployed}\n\n{}\n\n", escaped(&released.reason));
    let _ = writeln!(text, "| Image | `{}:{}` |\n|:--|:--|", claim.image, claim.version);
    let _ = writeln!(text, "| Digest | `{}` |", claim.digest);
    let _ = writeln!(text, "| `latest` | {} |", latest_words(released.latest.as_ref()));
    let _ = writeln!(text, "| Commit | {}, {} |\n", commit_link(run), since(request, run, released));
    if let Some(deployment) = &released.deployment {
        text.push_str(&servers::section(deployment));
    }
    text.push_str(stages);
    let by_digest = claim.image.with_digest(&claim.digest);
    let mut more = format!("```sh\ndocker pull {by_digest}\n```\n");
    if let Some(sha_tag) = &released.sha_tag {
        let _ = writeln!(more, "\nIts tag in the registry, besides the version: `{sha_tag}`");
    }
    text + &folded("Pull this very image", &more)
}

fn since(request: &Request, run: &Run, released: &Released) -> String {
    let claim = &released.known.claim;
    match &claim.after {
        None => "the first version".to_owned(),
        Some(before) => {
            let (from, to) =
                (request.version.prefix.tag_of(before), request.version.prefix.tag_of(&claim.version));
            format!(
                "[what changed since {before}]({}/{}/compare/{from}...{to})",
                run.server_url, run.repository
            )
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
pub fn superseded(request: &Request, run: &Run, superseded: &Superseded, stages: &str) -> String {
    let by = &superseded.by.claim;
    let tag = request.version.prefix.tag_of(&by.version);
    let mut text = format!(
        "## Superseded by [{tag}]({server}/{repository}/tree/{tag})\n\nThe newer commit \
         [`{short}`]({server}/{repository}/commit/{commit}) contains {own} and has the version {tag}: this \
         merge goes out with it. Nothing was released for this one, and there is nothing to do.\n\n",
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
    let _ = writeln!(text, "- `latest` {}", latest_words(superseded.latest.as_ref()));
    let _ =
        writeln!(text, "- If the release {tag} is missing, its own run was cut off: run that one again.\n");
    text + stages
}

/// A deployment of a version that was published before, or a rollback.
pub fn deployed(deployment: &Deployment, stages: &str) -> String {
    let running = deployment.sequence.running().map(|running| running.version.to_string());
    let heading = match (&deployment.release, deployment.sequence.superseded(), running) {
        (Some(release), Some(_), _) => {
            format!("Not deployed: something newer than {} is live", release.version)
        }
        (Some(release), None, _) => format!("{GOOD} Deployed {}", release.version),
        (None, None, Some(version)) => format!("{GOOD} Rolled back to {version}"),
        (None, ..) => format!("{GOOD} Rolled back"),
    };
    format!("## {heading}\n\n{}{stages}", servers::section(deployment))
}

/// A plan that was not carried out.
pub fn planned(request: &Request, planned: &Planned, stages: &str) -> String {
    let mut text = format!("## Planned: {}\n\n", escaped(&plan::sentence(&planned.plan)));
    let built = if planned.built.is_some() { "The image was built. " } else { "" };
    let _ = writeln!(text, "{built}Nothing was published: {}.\n", escaped(&planned.why));
    let rows = plan::rows(request, planned);
    let mut head = "|:--|:--|\n";
    for (name, value) in rows.iter().filter(|(name, _)| !["Plan", "Published"].contains(name)) {
        let _ = write!(text, "| {name} | {} |\n{}", escaped(value), std::mem::take(&mut head));
    }
    let json = serde_json::to_string_pretty(&plan::json(request, planned)).unwrap_or_default();
    text.push('\n');
    text + stages + &folded("As JSON", &fenced("json", &json))
}

/// A failure: what, why, what to do, how far the run came.
pub fn failed(failure: &Failure, done: &[String], deployment: Option<&Deployment>, stages: &str) -> String {
    let mut text = format!("## {BAD} {}: {}\n\n", failure.heading(), escaped(&failure.what));
    // The first line is a sentence, which may be long; what follows is what others said, or a list.
    let (first, rest) = failure.why.split_once('\n').unwrap_or((&failure.why, ""));
    let rest = without_servers(rest, deployment);
    let (first_short, rest_short) = (shortened(first), excerpt(&rest));
    let _ = writeln!(text, "{}\n", escaped(&first_short));
    if !rest.is_empty() {
        let _ = writeln!(text, "{}", fenced("", &rest_short));
    }
    let _ = writeln!(text, "**What to do:** {} ([more]({}))\n", escaped(&failure.remedy), failure.link());
    if let Some(deployment) = deployment {
        text.push_str(&servers::section(deployment));
    }
    text.push_str(stages);
    if done.is_empty() {
        text.push_str("Nothing had been changed.\n\n");
    } else {
        text.push_str("Done already, and a new run of the job continues from there:\n\n");
        for fact in done {
            let _ = writeln!(text, "- {}", escaped(fact));
        }
        text.push('\n');
    }
    if first_short != first || rest_short != rest {
        text.push_str(&folded("The whole message", &fenced("", &failure.why)));
    }
    text
}

/// Without the lines that the table of servers has.
fn without_servers(text: &str, deployment: Option<&Deployment>) -> String {
    let reports = deployment.map(Deployment::reports).unwrap_or_default();
    let in_table = |line: &&str| {
        reports.iter().any(|report| {
            *line == host_sequence::describe(report) || line.starts_with(&format!("{} serves ", report.host))
        })
    };
    text.lines().filter(|line| !in_table(line)).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    // invariant failures-are-explained
    #[test]
    fn a_failure_says_what_is_done_and_what_to_do() {
        let failure = Failure::new(FailureKind::Denied, "claiming v1.2.3", "no\n```\nreally", "ask");
        insta::assert_snapshot!(failed(&failure, &["pushed x".to_owned()], None, "| the stages |\n\n"));
    }

    // invariant failures-are-explained: A long message leaves room for what to do; broken by:
    //   `src/report/summary.rs`: nothing is cut
    #[test]
    fn a_long_message_leaves_room_for_what_to_do() {
        let lines: Vec<String> = (1..=200).map(|number| format!("line {number}")).collect();
        let failure = Failure::new(FailureKind::Build, "building", lines.join("\n"), "fix it");
        let text = failed(&failure, &[], None, "| the stages |\n\n");
        let (screen, folded) = text.split_once("<details>").expect("a folded part");
        assert!(screen.lines().count() < 30 && screen.contains("**What to do:** fix it"), "{screen}");
        assert!(screen.contains("line 2\n[185 more lines: see below]\nline 188\n"), "{screen}");
        assert!(folded.contains("line 100\n"), "nothing is lost");
    }
}
