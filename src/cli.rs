//! The command line, for laptops and other CI: flags of the inputs' own names.
//!
//! The flags are made from the table of inputs, and their help from action.yml, so that the three cannot
//! drift apart.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches};

use crate::failure::Kind;
use crate::inputs::run::Overrides;
use crate::inputs::spec::{self, INPUTS, InputSpec};
use crate::inputs::{Fault, Faults, Said};

/// What the arguments said.
#[derive(Clone, Default)]
pub struct Arguments {
    /// Facts about the run that no CI told.
    pub overrides: Overrides,
}

/// What came of parsing the arguments.
pub enum Parsed {
    /// Go on.
    Run(Arguments),
    /// Print this and stop: help or version.
    Print(String),
}

/// Reads the arguments over what the environment said. Faults are those of the arguments alone.
pub fn parse(arguments: &[String], said: &mut Said, faults: &mut Faults) -> Parsed {
    if let Some(spec) = secret_among(arguments) {
        faults.add(Fault {
            input: format!("--{}", spec.name),
            found: None,
            expected: "secrets in the environment: arguments are visible to every process".to_owned(),
            example: format!("INPUT_{}=...", spec.name.to_uppercase().replace('-', "_")),
        });
        return Parsed::Run(Arguments::default());
    }
    match command().try_get_matches_from(arguments) {
        Ok(matches) => Parsed::Run(taken(&matches, said)),
        Err(error) if !error.use_stderr() => Parsed::Print(error.to_string()),
        Err(error) => {
            faults.add(Fault {
                input: "arguments".to_owned(),
                found: None,
                expected: error.to_string().trim().trim_start_matches("error: ").to_owned(),
                example: String::new(),
            });
            Parsed::Run(Arguments::default())
        }
    }
}

fn secret_among(arguments: &[String]) -> Option<&'static InputSpec> {
    let flag = |argument: &String| {
        let name = argument.strip_prefix("--")?;
        spec::of(name.split('=').next().unwrap_or(name)).filter(|spec| spec.secret)
    };
    arguments.iter().find_map(flag)
}

fn taken(matches: &ArgMatches, said: &mut Said) -> Arguments {
    for spec in INPUTS.iter().filter(|spec| !spec.secret) {
        if let Some(value) = matches.get_one::<String>(spec.name) {
            said.set(spec.name, value.clone());
        }
    }
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    Arguments {
        overrides: Overrides {
            repository: text("repository"),
            commit: text("commit"),
            branch: text("branch"),
        },
    }
}

fn command() -> clap::Command {
    let mut command = clap::Command::new("autotag-deploy")
        .version(crate::VERSION)
        // `--version` is the input of that name.
        .disable_version_flag(true)
        .arg(
            Arg::new("own-version")
                .short('V')
                .action(ArgAction::Version)
                .help("Print this program's version"),
        )
        .about("From a merge to a released image in one step")
        .after_help(after_help())
        .arg(run_fact(
            "repository",
            "OWNER/NAME",
            "The repository (GITHUB_REPOSITORY, else the clone's origin)",
        ))
        .arg(run_fact("commit", "SHA", "The commit (GITHUB_SHA, else the clone's HEAD)"))
        .arg(run_fact("branch", "NAME", "The branch (from GITHUB_REF, else the clone's)"));
    for spec in INPUTS.iter().filter(|spec| !spec.secret) {
        let about =
            spec::documented().get(spec.name).map_or("", |documented| documented.description.as_str());
        let mut help = about.trim().to_owned();
        let default = spec::default_of(spec.name);
        if !default.is_empty() {
            let _ = write!(help, " [default: {default}]");
        }
        let argument = Arg::new(spec.name).help(help).value_name("VALUE");
        command = command.arg(if spec.name == "command" {
            argument.value_name("COMMAND").index(1)
        } else {
            argument.long(spec.name).help_heading(spec.group)
        });
    }
    command
}

fn run_fact(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).help_heading("Run")
}

fn after_help() -> String {
    let secrets: Vec<String> = INPUTS
        .iter()
        .filter(|spec| spec.secret)
        .map(|spec| format!("  INPUT_{}", spec.name.to_uppercase().replace('-', "_")))
        .collect();
    let codes: Vec<String> =
        Kind::ALL.iter().map(|kind| format!("  {:>3}  {}", kind.exit_code(), kind.heading())).collect();
    format!(
        "Secrets come from the environment:\n{}\n  GITHUB_TOKEN or GH_TOKEN (for github-token, outside Actions)\n\nExit codes:\n    0  Released, resumed, superseded, planned, deployed, rolled back or told\n{}",
        secrets.join("\n"),
        codes.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> (Parsed, Said, Faults) {
        let (mut said, mut faults) = (Said::default(), Faults::default());
        let arguments: Vec<String> =
            ["autotag-deploy"].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        let parsed = parse(&arguments, &mut said, &mut faults);
        (parsed, said, faults)
    }

    #[test]
    fn flags_have_the_inputs_names() {
        let (_, said, faults) = parsed(&["plan", "--image", "ghcr.io/org/app", "--tag-prefix=api-v"]);
        assert!(faults.is_empty(), "{faults}");
        assert_eq!((said.text("command"), said.text("image")), ("plan", "ghcr.io/org/app"));
        assert_eq!(said.text("tag-prefix"), "api-v");
    }

    #[test]
    fn secrets_are_no_flags_and_not_repeated() {
        for arguments in [&["--registry-password", "hunter2"][..], &["--github-token=hunter2"]] {
            let text = parsed(arguments).2.to_string();
            assert!(text.contains("environment") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn unknown_flags_are_faults_with_a_suggestion() {
        let text = parsed(&["--imge", "x"]).2.to_string();
        assert!(text.contains("--image"), "{text}");
    }

    #[test]
    fn help_lists_every_input_and_exit_code() {
        let Parsed::Print(text) = parsed(&["--help"]).0 else { panic!("help is printed") };
        for spec in INPUTS.iter().filter(|spec| !spec.secret && spec.name != "command") {
            assert!(text.contains(&format!("--{}", spec.name)), "{} is missing", spec.name);
        }
        assert!(text.contains("130  Interrupted"), "{text}");
    }
}
