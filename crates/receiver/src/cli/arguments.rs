//! The command tree.

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, Command, ValueHint, value_parser};
use semver::Version;

use crate::config::app_file::{HostName, Listen};
use autotag_base::manual;
use autotag_base::manual::Section;
use autotag_model::git::ObjectId;
use autotag_model::reference::{Digest, ImageName};
use autotag_protocol::{AppName, HISTORY_ENTRIES, LOG_LINES};

use super::Exit;

/// Which commands and options there are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// All.
    All,
    /// What completions and man pages tell.
    ToPeople,
}

/// All of it, under the headings of the help.
pub(super) fn command(shown: Shown) -> Command {
    let groups = [
        ("Set up a server", setting_up().to_vec()),
        ("Look", asking().to_vec()),
        ("Act", changing().to_vec()),
        ("Services, which systemd and sshd start", roles().to_vec()),
        ("This program", manual::commands().to_vec()),
    ];
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}\n\n{}\n{{options}}{{after-help}}",
        groups.iter().map(|(heading, commands)| listed(heading, commands)).collect::<Vec<_>>().join("\n\n"),
        manual::heading("Options"),
    );
    let command = Command::new("autotag-receiver")
        .version(autotag_base::VERSION)
        .about("The server's side of autotag-deploy")
        .help_template(template)
        .after_help("`autotag-receiver COMMAND --help` tells a command's options, `autotag-receiver --help` the exit codes.")
        .after_long_help(manual::below(&sections()))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(groups.into_iter().flat_map(|(_, commands)| commands));
    if shown == Shown::ToPeople {
        return command;
    }
    let root = Arg::new("root").long("root").value_name("DIR").global(true).hide(true);
    command.arg(root.help("Takes this folder for /"))
}

/// clap knows one heading for all commands; people think in several.
fn listed(heading: &str, commands: &[Command]) -> String {
    let line = |command: &Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("\n  {:<13}  {about}", command.get_name())
    };
    format!("{}{}", manual::heading(heading), commands.iter().map(line).collect::<String>())
}

/// What help and man page say below the options.
pub(super) fn sections() -> [Section; 2] {
    let row = |name: &str, meaning: &str| (name.to_owned(), meaning.to_owned());
    [
        Section {
            heading: "Environment",
            rows: vec![row("NO_COLOR", "No colours; FORCE_COLOR=1 for colours without a terminal")],
        },
        Section {
            heading: "Exit codes",
            rows: Exit::ALL.iter().map(|exit| row(&exit.code().to_string(), exit.meaning())).collect(),
        },
    ]
}

fn app() -> Arg {
    Arg::new("APP")
        .required(true)
        .value_parser(parsed::<AppName>())
        .value_hint(ValueHint::Other)
        .help("The application, such as shop-api")
}

fn json() -> Arg {
    Arg::new("json")
        .long("json")
        .action(ArgAction::SetTrue)
        .help("Prints one JSON object a line, for programs")
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).value_hint(ValueHint::Other).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// By our own types, whose errors say what was expected.
fn parsed<T>() -> ValueParser
where
    T: std::str::FromStr + Clone + Send + Sync + 'static,
    T::Err: std::fmt::Display,
{
    ValueParser::new(|text: &str| text.parse::<T>().map_err(|expected| format!("expected {expected}")))
}

fn version() -> Arg {
    Arg::new("VERSION").value_parser(parsed::<Version>())
}

fn asking() -> [Command; 3] {
    let number = |most: u32| value_parser!(u32).range(1..=i64::from(most));
    [
        Command::new("status")
            .about("What should run, what does, and how the two differ; of all applications, or of one")
            .arg(app().required(false))
            .arg(json()),
        Command::new("history")
            .about("What was deployed when, the newest first")
            .arg(app())
            .arg(option("entries", "N", "How many").value_parser(number(HISTORY_ENTRIES)).default_value("20"))
            .arg(json()),
        Command::new("logs")
            .about("The application's last lines")
            .arg(app())
            .arg(option("lines", "N", "How many").value_parser(number(LOG_LINES)).default_value("100"))
            .arg(json()),
    ]
}

fn changing() -> [Command; 3] {
    [
        Command::new("deploy")
            .about("Rolls a version out; without VERSION again what serves, with today's configuration")
            .arg(app())
            .arg(version().help("Digest and commit of a recorded version are known; of another say them"))
            .arg(
                option("image-digest", "DIGEST", "The image, `sha256:...`")
                    .value_parser(parsed::<Digest>())
                    .requires("VERSION")
                    .requires("commit"),
            )
            .arg(
                option("commit", "COMMIT", "What it was built from, 40 digits")
                    .value_parser(parsed::<ObjectId>())
                    .requires("image-digest"),
            )
            .arg(flag("allow-downgrade", "Deploys it even if it is lower than what ran, or was rolled back"))
            .arg(json()),
        Command::new("rollback")
            .about("Goes back to VERSION, or to the last good one before what serves")
            .arg(app())
            .arg(version().help("A recorded version"))
            .arg(
                option("configuration", "WHICH", "App file and environment of today, or as they were then")
                    .value_parser(["today", "then"])
                    .default_value("today"),
            )
            .arg(json()),
        Command::new("reset-highest")
            .about("Lowers the highest version, above which CI may deploy, where it was a mistake")
            .after_help(
                "The server takes only versions from CI that are above every one that was live. Where one of those was\n\
                 none of yours (a stolen key, a typing error), roll back from it, and run this: the next real version\n\
                 is deployed again. `status` tells the highest one.",
            )
            .arg(app())
            .arg(version().help("The new highest version; the one that serves if not said")),
    ]
}

fn setting_up() -> [Command; 3] {
    let dry_run = || flag("dry-run", "Shows what would be done, and does nothing");
    [
        Command::new("init")
            .about("Sets this server up for an application; safe to run again")
            .after_help(
                "A file that is there already and is yours (the app file, keys) is left as it is.\n\
                 Run it again after an update of this program, or after a step that failed: it installs itself and\n\
                 restarts what runs.",
            )
            .arg(app())
            .arg(
                option("image", "REPOSITORY", "The only repository that may run, such as ghcr.io/org/app")
                    .value_parser(parsed::<ImageName>()),
            )
            .arg(option("port", "N", "Where the container listens; 8080 if not said").value_parser(value_parser!(u16).range(1..)))
            .arg(
                option("listen", "ADDRESS", "Where the proxy serves it; 127.0.0.1:8080 if not said. [::]:80 without a front proxy")
                    .value_parser(parsed::<Listen>()),
            )
            .arg(
                option("host", "NAME", "Only requests for this host; several apps may share an address")
                    .action(ArgAction::Append)
                    .value_parser(parsed::<HostName>()),
            )
            .arg(option("health", "PATH", "Where it answers 200 when it works; `none`; or Docker's HEALTHCHECK if not said"))
            .arg(option("key", "LINE", "A public key that may deploy; without it a pair is made").conflicts_with("new-key"))
            .arg(flag("new-key", "Makes a new pair; the keys before it are of no use any more"))
            .arg(option("adopt", "CONTAINER", "Writes the app file from a container that runs"))
            .arg(option("ssh-port", "N", "sshd's, for the lines to copy; 22 if not said").value_parser(value_parser!(u16).range(1..)))
            .arg(option("public-name", "HOST", "How CI reaches this server; its own name if not said"))
            .arg(dry_run()),
        Command::new("check")
            .about("Checks app files and this host, and tells all faults at once")
            .after_help(
                "Without arguments it checks all applications. A path (with a `/`, or ending in .yaml) is checked\n\
                 as an app file alone.",
            )
            .arg(Arg::new("APP").num_args(0..).value_name("APP|FILE").help("Such as shop-api, or ./app.yaml")),
        Command::new("remove")
            .about("Takes an application away: its container, user, key, app file and state; never its volumes")
            .arg(app())
            .arg(flag("keep-data", "Leaves the state, and the app file as APP.yaml.removed"))
            .arg(dry_run()),
    ]
}

fn roles() -> [Command; 3] {
    [
        Command::new("serve")
            .about("Root's part: owns Docker, app files and state; units start it")
            .arg(option("docker", "SOCKET", "Docker's socket, if not at its usual place")),
        Command::new("receive")
            .about("The forced command of CI's key: carries one request to `serve`; sshd starts it")
            .arg(
                Arg::new("APP")
                    .long("app")
                    .value_name("APP")
                    .required(true)
                    .value_parser(parsed::<AppName>())
                    .help("The application that the key is for"),
            ),
        Command::new("proxy")
            .about("Serves the applications' traffic; units start it")
            .arg(option("admin", "SOCKET", "Where to open the admin socket, if not at its usual place"))
            .arg(option("via", "NAME", "Name to add to the field Via")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_consistent() {
        for shown in [Shown::All, Shown::ToPeople] {
            command(shown).debug_assert();
        }
    }

    #[test]
    fn arguments_are_refused_with_what_was_expected() {
        for (line, said) in [
            ("status Bad_Name", "lower-case letters"),
            ("init home --image ghcr.io/org/app", "another name than `home`"),
            ("deploy app 1.2", "1.2"),
            ("deploy app 1.2.3 --commit 0123456789012345678901234567890123456789", "--image-digest"),
            ("history app --entries 0", "--entries"),
            ("init app --listen localhost:80", "127.0.0.1:8080"),
            ("init app --image ghcr.io/org/app:1", "--image"),
            ("rollback app --configuration maybe", "today"),
            ("receive", "--app"),
        ] {
            let words = std::iter::once("autotag-receiver").chain(line.split(' '));
            let error = command(Shown::All).try_get_matches_from(words).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(said), "{line}: {error}");
        }
    }
}
