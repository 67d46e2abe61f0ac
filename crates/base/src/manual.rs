//! What both programs say about themselves, from one `clap::Command` each: the sections below the options,
//! shell completions, man pages.

use std::io;
use std::path::Path;

use clap::builder::{Styles, ValueParser};
use clap::{Arg, ArgMatches, Command, ValueHint, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// A section of help and man page that is no option's: names, and what they mean.
#[derive(Debug, Clone)]
pub struct Section {
    /// `Exit codes`.
    pub heading: &'static str,
    /// A row each.
    pub rows: Vec<(String, String)>,
}

/// So wide is help that goes to no terminal (clap's own measure).
const WIDTH: usize = 100;

/// What stands below the options in the help: two columns, or where a line would be too long, two lines.
pub fn below(sections: &[Section]) -> String {
    let section = |section: &Section| {
        let length = |text: &str| text.chars().count();
        let width = section.rows.iter().map(|(name, _)| length(name)).max().unwrap_or(0);
        let narrow = section.rows.iter().all(|(_, meaning)| width + length(meaning) + 4 <= WIDTH);
        let row = |(name, meaning): &(String, String)| {
            if narrow {
                format!("  {name:<width$}  {meaning}")
            } else {
                format!("  {name}\n          {meaning}")
            }
        };
        let rows: Vec<String> = section.rows.iter().map(row).collect();
        format!("{}\n{}", heading(section.heading), rows.join("\n"))
    };
    sections.iter().map(section).collect::<Vec<_>>().join("\n\n")
}

/// A heading as clap draws its own; where there are no colours clap takes them away.
pub fn heading(text: &str) -> String {
    let styles = Styles::styled();
    let style = styles.get_header();
    format!("{style}{text}:{style:#}")
}

/// The two commands by which a program tells about itself.
pub fn commands() -> [Command; 2] {
    [
        Command::new("completions")
            .about("Print the completions for a shell")
            .arg(Arg::new("SHELL").required(true).value_parser(value_parser!(Shell))),
        Command::new("man").about("Print the man page, or write all pages into a directory").arg(
            Arg::new("to")
                .long("to")
                .value_name("DIRECTORY")
                .value_hint(ValueHint::DirPath)
                .value_parser(ValueParser::path_buf())
                .help("The directory, such as ~/.local/share/man/man1"),
        ),
    ]
}

/// The answer to one of [`commands`], to be printed; `None` for other words.
///
/// `command` is the program with what is to be shown, and nothing else.
pub fn answer(
    word: &str,
    arguments: &ArgMatches,
    mut command: Command,
    sections: &[Section],
) -> io::Result<Option<Vec<u8>>> {
    let mut text = Vec::new();
    match word {
        "completions" => {
            if let Some(shell) = arguments.get_one::<Shell>("SHELL") {
                let name = command.get_name().to_owned();
                clap_complete::generate(*shell, &mut command, name.clone(), &mut text);
                if *shell == Shell::Bash {
                    text = consistent(&name, &String::from_utf8_lossy(&text)).into_bytes();
                }
            }
        }
        "man" => {
            // A page for `help` would say nothing.
            let mut command = command.disable_help_subcommand(true);
            command.build();
            match arguments.get_one::<std::path::PathBuf>("to") {
                Some(directory) => write_all(&command, sections, directory)?,
                None => text = page(&command, sections)?,
            }
        }
        _ => return Ok(None),
    }
    Ok(Some(text))
}

/// clap_complete 4.6.11 names a program with a hyphen in two ways in its bash script: where a command is
/// recognised and where its words are. With one name both are the same.
fn consistent(name: &str, script: &str) -> String {
    let [there, here] = ["__subcmd__", "__"].map(|hyphen| name.replace('-', hyphen));
    script.replace(&there, &here)
}

fn write_all(command: &Command, sections: &[Section], directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    for command in std::iter::once(command).chain(shown(command)) {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        std::fs::write(directory.join(format!("{name}.1")), page(command, sections)?)?;
    }
    Ok(())
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// The page of a command: its own options, the program's sections.
fn page(command: &Command, sections: &[Section]) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone().subcommand_help_heading("COMMANDS"));
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if shown(command).next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    let mut rest = Roff::default();
    for section in sections {
        rest.control("SH", [section.heading.to_uppercase().as_str()]);
        for (name, meaning) in &section.rows {
            rest.control("TP", []);
            rest.text([bold(name.as_str())]);
            rest.text([roman(meaning.as_str())]);
        }
    }
    rest.to_writer(&mut page)?;
    Ok(page)
}
