//! The command line, for your own machine and other CI: flags of the inputs' own names.
//!
//! Flags, help, completions and man pages are made from the table of inputs, and the words from action.yml,
//! so that none of them can drift apart. A command takes every flag, as it takes every input: a line for
//! `release` becomes one for `plan` by its command alone. Its help shows those that count for it.

use std::fmt::Write as _;

use clap::builder::{PossibleValue, StyledStr, TypedValueParser, ValueParser};
use clap::error::{ContextKind, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};

use crate::failure::FailureKind;
use crate::inputs::run::Overrides;
use crate::inputs::spec::{self, COMMANDS, GROUPS, INPUTS, InputSpec, Takes};
use crate::inputs::{InputError, InputErrors, RawInputs};
use autotag_base::manual;
use autotag_base::manual::Section;

const PROGRAM: &str = "autotag-deploy";

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
    /// Print this and stop.
    Print(Printed),
    /// They cannot be understood, for this reason.
    Wrong(String),
}

/// A text of the command line's own.
pub enum Printed {
    /// For people; the terminal decides about its colours.
    Help(StyledStr),
    /// For files and shells, as it is.
    Bytes(Vec<u8>),
}

/// Reads the arguments over what the environment said. Faults are those of the arguments alone.
pub fn parse(arguments: &[String], raw: &mut RawInputs, errors: &mut InputErrors) -> Parsed {
    if let Some(spec) = secret_among(arguments) {
        errors.add(InputError {
            input: format!("--{}", spec.name),
            found: None,
            expected: "secrets in the environment: arguments are visible to every process".to_owned(),
            example: format!("{}=...", variable_of(spec)),
        });
        return Parsed::Run(Arguments::default());
    }
    let brief = arguments.iter().any(|argument| argument == "-h");
    match command(Flags::All { brief }).try_get_matches_from(arguments) {
        Ok(matches) => taken(&matches, raw),
        Err(error) if !error.use_stderr() => Parsed::Print(Printed::Help(error.render())),
        Err(error) => Parsed::Wrong(in_words(&error)),
    }
}

/// The short help: what a person gets who types the program's name alone.
pub fn short_help() -> Printed {
    Printed::Help(command(Flags::All { brief: true }).render_help())
}

/// clap's error without its own heading, its usage line and its hint: ours say so.
fn in_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let end = text.find("\nUsage:").or_else(|| text.find("\nFor more information")).unwrap_or(text.len());
    let text = text[..end].trim().trim_start_matches("error: ");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    // An unknown command has no tip where nothing is like it.
    let unknown = error.kind() == ErrorKind::InvalidSubcommand;
    if unknown && error.get(ContextKind::SuggestedSubcommand).is_none() {
        return format!("{} (commands: {})", lines.join("; "), words(COMMANDS.iter().map(|it| it.name)));
    }
    lines.join("; ")
}

fn words<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

fn secret_among(arguments: &[String]) -> Option<&'static InputSpec> {
    let flag = |argument: &String| {
        let name = argument.strip_prefix("--")?;
        spec::of(name.split('=').next().unwrap_or(name)).filter(|spec| spec.secret)
    };
    arguments.iter().find_map(flag)
}

/// Flags before the command count as well; those after it win.
fn taken(matches: &ArgMatches, raw: &mut RawInputs) -> Parsed {
    let mut places = vec![matches];
    if let Some((word, arguments)) = matches.subcommand() {
        match manual::answer(word, arguments, command(Flags::Counting), &sections()) {
            Ok(Some(text)) => return Parsed::Print(Printed::Bytes(text)),
            Ok(None) => places.push(arguments),
            Err(error) => return Parsed::Wrong(format!("the man pages cannot be written: {error}")),
        }
        raw.set("command", word.to_owned());
    }
    let mut overrides = Overrides::default();
    for place in places {
        for spec in flags() {
            if let Some(values) = place.get_many::<String>(spec.name) {
                let values: Vec<&str> = values.map(String::as_str).collect();
                raw.set(spec.name, values.join("\n"));
            }
        }
        let text = |name: &str, before| place.get_one::<String>(name).cloned().or(before);
        overrides = Overrides {
            repository: text("repository", overrides.repository),
            commit: text("commit", overrides.commit),
            branch: text("branch", overrides.branch),
        };
    }
    Parsed::Run(Arguments { overrides })
}

/// Inputs that are flags.
fn flags() -> impl Iterator<Item = &'static InputSpec> {
    INPUTS.iter().filter(|spec| !spec.secret && spec.name != "command")
}

/// Which flags a command has.
#[derive(Clone, Copy)]
enum Flags {
    /// All; those that do not count are hidden. In the short help the others stand under one heading.
    All { brief: bool },
    /// Those that count for it: clap's generators do not leave hidden ones out.
    Counting,
}

fn command(flags: Flags) -> Command {
    let commands = COMMANDS.iter().map(|it| {
        let command = Command::new(it.name)
            .about(it.about)
            .override_usage(format!("{PROGRAM} {} [OPTIONS]", it.name))
            .disable_version_flag(true);
        let secrets = INPUTS.iter().filter(|spec| spec.secret && spec.counts_for.contains(&it.name));
        let secrets: Vec<String> = secrets.map(variable_of).collect();
        with_flags(command, flags, Some(it.name)).after_help(format!(
            "Secrets, from the environment alone: {}.\n\nIt takes the flags of all commands; these count. \
             `{PROGRAM} --help` shows the rest.",
            secrets.join(", ")
        ))
    });
    let program = Command::new(PROGRAM)
        .version(autotag_base::VERSION)
        // `--version` is the input of that name.
        .disable_version_flag(true)
        .about("From a merge to a running, verified, reversible release in one step")
        .override_usage(format!("{PROGRAM} COMMAND [OPTIONS]"))
        .subcommand_value_name("COMMAND")
        .subcommand_help_heading("Commands")
        .after_help(format!("`{PROGRAM} COMMAND --help` shows a command's options, `{PROGRAM} --help` all."))
        .after_long_help(manual::below(&sections()))
        .subcommands(commands)
        .subcommands(manual::commands().map(|it| it.disable_version_flag(true)));
    let own_version = Arg::new("own-version").short('V').action(ArgAction::Version);
    with_flags(program, flags, None).arg(own_version.help("Print this program's version"))
}

/// The flags in the order of the help's headings.
fn with_flags(mut command: Command, shown: Flags, of: Option<&str>) -> Command {
    for group in GROUPS {
        let inputs = flags().filter(|spec| spec.group == group);
        let inputs = inputs.map(|spec| (flag(spec), spec.counts_for, spec.common));
        // Facts about the run count wherever GitHub is asked.
        let facts = (group == spec::RUN).then(facts).into_iter().flatten();
        for (argument, counts_for, common) in inputs.chain(facts.map(|it| (it, spec::VERSIONS, false))) {
            let counts = of.is_none_or(|name| counts_for.contains(&name));
            let argument = argument.help_heading(group);
            command = match shown {
                Flags::Counting if !counts => command,
                Flags::All { brief: true } if of.is_none() => {
                    command.arg(argument.help_heading("Options most used").hide_short_help(!common))
                }
                _ => command.arg(argument.hide(!counts)),
            };
        }
    }
    command
}

fn flag(spec: &InputSpec) -> Arg {
    let mut argument = Arg::new(spec.name).long(spec.name);
    let about = spec::documented().get(spec.name).map_or("", |documented| documented.description.as_str());
    let mut help = about.trim().to_owned();
    let default = spec::default_of(spec.name);
    if !default.is_empty() {
        let _ = write!(help, " [default: {default}]");
    }
    argument = argument.help(first_sentence(about)).long_help(help);
    match spec.takes {
        Takes::Text(name) => argument.value_name(name).value_hint(ValueHint::Other),
        Takes::Lines(name) => {
            argument.value_name(name).value_hint(ValueHint::Other).action(ArgAction::Append)
        }
        Takes::Word(words) => {
            argument.value_name(words.join("|")).value_parser(ValueParser::new(Words(words)))
        }
        Takes::Truth => argument
            .value_name("true|false")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_parser(ValueParser::new(Words(&["true", "false"]))),
        Takes::Directory => argument.value_name("DIRECTORY").value_hint(ValueHint::DirPath),
        Takes::File => argument.value_name("FILE").value_hint(ValueHint::FilePath),
    }
    .hide_possible_values(true)
}

/// Up to the first full stop that ends one.
fn first_sentence(text: &str) -> String {
    let text = text.trim();
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.').to_owned()
}

/// What a CI would say about the run.
fn facts() -> [Arg; 3] {
    let fact = |name, value, help| {
        Arg::new(name).long(name).value_name(value).value_hint(ValueHint::Other).help(help)
    };
    [
        fact("repository", "OWNER/NAME", "The repository (GITHUB_REPOSITORY, else the clone's remote)"),
        fact("commit", "SHA", "The commit (GITHUB_SHA, else what the clone has checked out)"),
        fact("branch", "NAME", "The branch (from GITHUB_REF, else the clone's)"),
    ]
}

/// Words that help and completions offer. Others pass: they are judged where all inputs are, so that every
/// fault is told at once, and in the same words as in CI.
#[derive(Clone)]
struct Words(&'static [&'static str]);

impl TypedValueParser for Words {
    type Value = String;

    fn parse_ref(
        &self,
        _: &Command,
        _: Option<&Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        Ok(value.to_string_lossy().into_owned())
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

/// The variable that an input is taken from, as a shell can set it.
fn variable_of(spec: &InputSpec) -> String {
    format!("INPUT_{}", spec.name.to_uppercase().replace('-', "_"))
}

/// What help and man page say below the options.
fn sections() -> [Section; 4] {
    let row = |name: &str, meaning: &str| (name.to_owned(), meaning.to_owned());
    let of_secret = |spec: &InputSpec| {
        let about = spec::documented().get(spec.name).map_or("", |it| it.description.as_str());
        (variable_of(spec), first_sentence(about))
    };
    let mut secrets: Vec<_> = INPUTS.iter().filter(|spec| spec.secret).map(of_secret).collect();
    secrets.push(row("GITHUB_TOKEN, GH_TOKEN", "Likewise for GitHub's API, outside of Actions"));
    let mut codes = vec![row("0", DONE)];
    codes.extend(
        FailureKind::ALL.iter().map(|kind| (kind.exit_code().to_string(), kind.heading().to_owned())),
    );
    [
        Section { heading: "Secrets, from the environment alone", rows: secrets },
        Section {
            heading: "Environment",
            rows: vec![
                row("INPUT_...", "Any input, such as INPUT_TAG_PREFIX; flags win over it"),
                row("CI", "If set, `release` is the default command, and nothing is taken from this machine"),
                row("DOCKER_HOST", "Where Docker is asked to build; unset: its usual socket"),
                row(
                    "NO_COLOR",
                    "No colours and no progress bars; FORCE_COLOR=1 for colours without a terminal",
                ),
            ],
        },
        Section { heading: "Exit codes", rows: codes },
        Section {
            heading: "Examples",
            rows: vec![
                row("autotag-deploy plan", "In a clone: the next version, and why"),
                row("autotag-deploy plan --bump auto", "The same, decided by Conventional Commits"),
                row("autotag-deploy release --dry-run", "Build what would be released, publish nothing"),
                row("autotag-deploy plan --log-format json", "For programs: one JSON object a line"),
            ],
        },
    ]
}

/// What exit code 0 means.
pub const DONE: &str = "Released, resumed, superseded, planned, deployed, rolled back or reported";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> (Parsed, RawInputs, InputErrors) {
        let (mut raw, mut errors) = (RawInputs::default(), InputErrors::default());
        let arguments: Vec<String> =
            [PROGRAM].iter().chain(arguments).map(|text| (*text).to_owned()).collect();
        let parsed = parse(&arguments, &mut raw, &mut errors);
        (parsed, raw, errors)
    }

    fn help(arguments: &[&str]) -> String {
        match parsed(arguments).0 {
            Parsed::Print(Printed::Help(text)) => text.to_string(),
            _ => panic!("help is printed"),
        }
    }

    #[test]
    fn the_tree_is_consistent() {
        for flags in [Flags::All { brief: true }, Flags::All { brief: false }, Flags::Counting] {
            command(flags).debug_assert();
        }
    }

    #[test]
    fn flags_work_before_and_after_the_command() {
        for line in [
            &["plan", "--image", "ghcr.io/org/app", "--tag-prefix=api-v"][..],
            &["--image", "ghcr.io/org/app", "--tag-prefix=web-v", "plan", "--tag-prefix=api-v"],
        ] {
            let (_, raw, errors) = parsed(line);
            assert!(errors.is_empty(), "{errors}");
            assert_eq!((raw.text("command"), raw.text("image")), ("plan", "ghcr.io/org/app"));
            assert_eq!(raw.text("tag-prefix"), "api-v");
        }
        // CI need not say a command, and what is a command's own is taken by the others too.
        let (_, raw, _) = parsed(&["--image", "ghcr.io/org/app"]);
        assert!(!raw.names("command") && raw.names("image"));
        assert_eq!(parsed(&["rollback", "--bump", "major"]).1.text("bump"), "major");
    }

    #[test]
    fn list_flags_repeat_and_boolean_flags_need_no_value() {
        let line = ["release", "--build-args", "A=1", "--build-args", "B=2", "--dry-run", "--pull=false"];
        let (_, raw, errors) = parsed(&line);
        assert!(errors.is_empty(), "{errors}");
        assert_eq!(raw.text("build-args"), "A=1\nB=2");
        assert_eq!((raw.text("dry-run"), raw.text("pull")), ("true", "false"));
    }

    // invariant secrets
    #[test]
    fn secrets_are_no_flags_and_not_repeated() {
        for arguments in [&["--registry-password", "hunter2"][..], &["plan", "--github-token=hunter2"]] {
            let text = parsed(arguments).2.to_string();
            assert!(text.contains("environment") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn an_unknown_argument_is_refused_with_a_suggestion() {
        for (line, suggested) in [
            (&["--imge", "x"][..], "'--image'"),
            (&["plna"], "'plan'"),
            (&["frobnicate"], "rollback, status"),
        ] {
            let Parsed::Wrong(why) = parsed(line).0 else { panic!("{line:?} is understood") };
            assert!(why.contains(suggested) && !why.contains('\n'), "{why}");
        }
    }

    #[test]
    fn the_long_help_is_complete_and_the_short_one_fits() {
        let text = help(&["--help"]);
        for spec in flags() {
            assert!(text.contains(&format!("--{}", spec.name)), "{} is missing", spec.name);
        }
        for spec in INPUTS.iter().filter(|spec| spec.secret) {
            assert!(text.contains(&variable_of(spec)), "{} is missing", spec.name);
        }
        for heading in GROUPS.iter().chain(&["Commands", "Exit codes", "Examples"]) {
            assert!(text.contains(&format!("\n{heading}:\n")), "{heading} is missing in {text}");
        }
        assert!(text.contains("130  Interrupted"), "{text}");
        let short = help(&["-h"]);
        assert!(short.lines().count() <= 40, "{short}");
        assert!(short.contains("--image") && !short.contains("--claim-ref"), "{short}");
    }

    #[test]
    fn a_commands_help_has_the_flags_that_count_for_it() {
        for command in COMMANDS {
            let text = help(&[command.name, "--help"]);
            for spec in flags() {
                let counts = spec.counts_for.contains(&command.name);
                let shown = text.contains(&format!("--{} ", spec.name))
                    || text.contains(&format!("--{}[", spec.name));
                assert_eq!(shown, counts, "{} of {}:\n{text}", spec.name, command.name);
            }
            for spec in INPUTS.iter().filter(|spec| spec.secret) {
                let counts = spec.counts_for.contains(&command.name);
                assert_eq!(text.contains(&variable_of(spec)), counts, "{} of {}", spec.name, command.name);
            }
        }
    }
}
