//! The table of inputs says which of them count for a command. Those that do not must make no difference.

use autotag_deploy::inputs::spec::{INPUTS, InputSpec};

use crate::action::deploy::play::{Servers, Stage};
use crate::action::release::Project;

/// Inputs that the table leaves out for a command, with values that would be taken.
fn of_no_account(command: &str) -> Vec<(&'static str, &'static str)> {
    // A dry run of servers is refused rather than passed over.
    let counts = |spec: &&InputSpec| spec.counts_for.contains(&command) || spec.name == "dry-run";
    INPUTS.iter().filter(|spec| !counts(spec)).map(|spec| (spec.name, spec.example)).collect()
}

// invariant command-line: A command's help leaves out nothing that counts for it; broken by:
//   `src/inputs/spec.rs`: `version` counts for releases only
#[test]
fn what_does_not_count_for_a_servers_command_changes_nothing() {
    for command in ["deploy", "rollback", "status"] {
        let more = of_no_account(command);
        assert!(more.len() > 10, "{command}: {more:?}");
        let stage = Stage::new(Servers::new());
        let commit = stage.project.merge("feat: begin");
        stage.release(&commit, &[]);
        // Once before: what is deployed a second time is unchanged.
        stage.command("deploy", &commit, &[]);
        let seen = |inputs: &[(&'static str, &str)]| {
            let before = stage.servers.requests().len();
            stage.project.github.forget_requests();
            let run = stage.command(command, &commit, inputs);
            let asked: Vec<String> =
                stage.servers.requests()[before..].iter().map(|it| format!("{it:?}")).collect();
            let github: Vec<String> = stage
                .project
                .github
                .requests()
                .iter()
                .map(|it| format!("{} {} {}", it.method, it.path, it.authorized))
                .collect();
            let ending = format!("{:?}", run.ending());
            without_ids(&format!("{ending}\n{asked:#?}\n{github:#?}"))
        };
        if command == "rollback" {
            // Back once: what it goes back to is the same from then on.
            seen(&[]);
        }
        assert_eq!(seen(&[]), seen(&more), "{command}");
    }
}

/// Every deployment has a random name, and takes its own time.
fn without_ids(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_end_matches([',', '}', ')', ']']);
        let is_time = bare.ends_with('s') && bare.starts_with(|first: char| first.is_ascii_digit());
        if is_time || word.contains("run-7-1-") { "-".to_owned() } else { word.to_owned() }
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

// invariant command-line: A command's help leaves out nothing that counts for it
#[test]
fn what_does_not_count_for_a_plan_changes_nothing() {
    let project = Project::new();
    project.release(&project.merge("one")).finish().ended("released");
    let commit = project.merge("feat: two");
    let planned = |more: &[(&str, &str)]| {
        project.github.forget_requests();
        let plan = project.workflow.push(&commit).with("command", "plan").without_docker();
        // A server whose key is wrong is a fault in every command: right ones are tried elsewhere.
        let more =
            more.iter().filter(|(name, _)| !name.starts_with("deploy-") && !name.starts_with("environment"));
        let plan = more.fold(plan, |plan, (name, value)| plan.with(name, value));
        let run = plan.finish().ended("planned");
        let asked: Vec<(String, String)> =
            project.github.requests().into_iter().map(|it| (it.method, it.path)).collect();
        let last = run.log.lines().last().map(str::to_owned);
        (last, run.outputs, asked)
    };
    let more = of_no_account("plan");
    assert!(more.len() > 15, "{more:?}");
    assert_eq!(planned(&[]), planned(&more));
    assert_ne!(planned(&[]).0, planned(&[("bump", "minor")]).0, "what counts does");
}
