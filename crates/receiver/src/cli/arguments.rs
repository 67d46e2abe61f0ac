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
        ("Inspect", asking().to_vec()),
        ("Change what runs", changing().to_vec()),
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
        .after_help(
            "`autotag-receiver COMMAND --help` shows a command's options, `autotag-receiver --help` \
                     the exit codes.",
        )
        .after_long_help(manual::below(&sections()))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(groups.into_iter().flat_map(|(_, commands)| commands));
    if shown == Shown::ToPeople {
        return command;
    }
    let root = Arg::new("root").long("root").value_name("DIR").global(true).hide(true);
    command.arg(root.help("Use this directory as /"))
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
            rows: vec![row("NO_COLOR", "No colors; FORCE_COLOR=1 for colors without a terminal")],
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
        .help("Print one JSON object a line, for programs")
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
            .about("Show what should run, what runs, and how they differ; for all applications, or for one")
            .arg(app().required(false))
            .arg(json()),
        Command::new("history")
            .about("Show what was deployed when, newest first")
            .arg(app())
            .arg(option("entries", "N", "How many").value_parser(number(HISTORY_ENTRIES)).default_value("20"))
            .arg(json()),
        Command::new("logs")
            .about("Show the application's last log lines")
            .arg(app())
            .arg(option("lines", "N", "How many").value_parser(number(LOG_LINES)).default_value("100"))
            .arg(json()),
    ]
}

fn changing() -> [Command; 3] {
    [
        Command::new("deploy")
            .about("Deploy a version; without VERSION, redeploy what serves with the current configuration")
            .arg(app())
            .arg(version().help("For a version that is not recorded, also give --image-digest and --commit"))
            .arg(
                option("image-digest", "DIGEST", "The image, `sha256:...`")
                    .value_parser(parsed::<Digest>())
                    .requires("VERSION")
                    .requires("commit"),
            )
            .arg(
                option("commit", "COMMIT", "The commit that it was built from, 40 digits")
                    .value_parser(parsed::<ObjectId>())
                    .requires("image-digest"),
            )
            .arg(flag("allow-downgrade", "Deploy it even if it is lower than what ran, or was rolled back"))
            .arg(json()),
        Command::new("rollback")
            .about("Go back to VERSION, or to the last good version before what serves")
            .arg(app())
            .arg(version().help("A recorded version"))
            .arg(
                option("configuration", "WHICH", "The current app file and environment, or those of then")
                    .value_parser(["today", "then"])
                    .default_value("today"),
            )
            .arg(json()),
        Command::new("reset-highest")
            .about("Lower the highest version, above which workflows may deploy, if it was a mistake")
            .after_help(
                "The server accepts only versions that are above every version that was live. If one of \
                 those was not\n\
                 yours (a stolen key, a typing error), roll back from it, and run this command: the next real version\n\
                 is deployed again. `status` shows the highest version.",
            )
            .arg(app())
            .arg(version().help("The new highest version; default: the version that serves")),
    ]
}

fn setting_up() -> [Command; 3] {
    let dry_run = || flag("dry-run", "Show what would be done, and do nothing");
    [
        Command::new("init")
            .about("Set this server up for an application; safe to run again")
            .after_help(
                "Files of yours that exist already (the app file, keys) stay as they are.\n\
                 Run it again after an update of this program, or after a step that failed: it installs itself and\n\
                 restarts what runs.",
            )
            .arg(app())
            .arg(
                option("image", "REPOSITORY", "The only repository that may run, such as ghcr.io/org/app")
                    .value_parser(parsed::<ImageName>()),
            )
            .arg(option("port", "N", "The port that the container listens on; default: \
                         8080").value_parser(value_parser!(u16).range(1..)))
            .arg(
                option("listen", "ADDRESS", "Where the proxy serves it; default: 127.0.0.1:8080. [::]:80 \
                        without a front proxy")
                    .value_parser(parsed::<Listen>()),
            )
            .arg(
                option("host", "NAME", "Serve only requests for this host, so that several apps can share \
                        an address")
                    .action(ArgAction::Append)
                    .value_parser(parsed::<HostName>()),
            )
            .arg(option("health", "PATH", "A path that answers 200 when it works, or `none`; default: \
                         Docker's HEALTHCHECK"))
            .arg(option("key", "LINE", "A public key that may deploy; default: creates a pair").conflicts_with("new-key"))
            .arg(flag("new-key", "Create a new pair; earlier keys stop working"))
            .arg(option("adopt", "CONTAINER", "Write the app file from a running container"))
            .arg(option("ssh-port", "N", "sshd's port, for the lines to copy; default: \
                         22").value_parser(value_parser!(u16).range(1..)))
            .arg(option("public-name", "HOST", "How workflows reach this server; default: its own name"))
            .arg(dry_run()),
        Command::new("check")
            .about("Check app files and this host, and list all problems at once")
            .after_help(
                "Without arguments it checks all applications. A path (with a `/`, or ending in .yaml) is \
                 checked\n\
                 only as an app file.",
            )
            .arg(Arg::new("APP").num_args(0..).value_name("APP|FILE").help("Such as shop-api, or \
                           ./app.yaml")),
        Command::new("remove")
            .about("Remove an application: its container, user, key, app file and state; never its volumes")
            .arg(app())
            .arg(flag("keep-data", "Keep the state, and the app file as APP.yaml.removed"))
            .arg(dry_run()),
    ]
}

fn roles() -> [Command; 3] {
    [
        Command::new("serve")
            .about("Run root's part, which owns Docker, app files and state; systemd units start it")
            .arg(option("docker", "SOCKET", "Docker's socket, if not at its default path")),
        Command::new("receive")
            .about("The forced command of the deploy key: relays one request to `serve`; sshd starts it")
            .arg(
                Arg::new("APP")
                    .long("app")
                    .value_name("APP")
                    .required(true)
                    .value_parser(parsed::<AppName>())
                    .help("The application that the key is for"),
            ),
        Command::new("proxy")
            .about("Carry the applications' traffic; systemd units start it")
            .arg(option("admin", "SOCKET", "Where to open the admin socket, if not at its default path"))
            .arg(option("via", "NAME", "Name to add to the header Via")),
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
        for (line, expected) in [
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
            assert!(error.to_string().contains(expected), "{line}: {error}");
        }
    }
}
