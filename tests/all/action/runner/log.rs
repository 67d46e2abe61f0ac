//! A log as GitHub's runner reads it: which lines are commands that it obeys, and which are only shown.
//!
//! The rules are those of the runner's `ActionCommand` (two syntaxes: `::name::` at a line's start,
//! `##[name]` anywhere in it) and `ActionCommandManager` (`stop-commands`).

/// The commands that the runner knows; anything else of that form is text.
const KNOWN: [&str; 16] = [
    "add-mask",
    "add-matcher",
    "add-path",
    "debug",
    "echo",
    "endgroup",
    "error",
    "group",
    "internal-set-repo-path",
    "notice",
    "remove-matcher",
    "save-state",
    "set-env",
    "set-output",
    "stop-commands",
    "warning",
];

/// A command that was obeyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// `error`, `group` ...
    pub name: String,
    /// What stands after it, without its escapes.
    pub data: String,
}

/// What a log did to the runner.
#[derive(Debug, Default)]
pub struct Reading {
    /// In order, masks included.
    pub obeyed: Vec<Command>,
    /// All other lines.
    pub shown: Vec<String>,
    stopped_by: Option<String>,
}

impl Reading {
    /// Reads the raw log.
    pub fn of(raw: &str) -> Self {
        let mut reading = Self::default();
        // The runner reads by .NET's rules: a carriage return ends a line too.
        for line in raw.split(['\n', '\r']) {
            reading.line(line);
        }
        reading
    }

    fn line(&mut self, line: &str) {
        let resume = self.stopped_by.clone();
        let known = |name: &str| {
            KNOWN.contains(&name.to_ascii_lowercase().as_str()) || resume.as_deref() == Some(name)
        };
        let command = double_colon(line).filter(|command| known(&command.name));
        let command = command.or_else(|| brackets(line).filter(|command| known(&command.name)));
        match (command, resume) {
            (Some(command), Some(token)) if command.name == token => self.stopped_by = None,
            (Some(command), None) => {
                if command.name.eq_ignore_ascii_case("stop-commands") {
                    self.stopped_by = Some(command.data.clone());
                }
                self.obeyed.push(command);
            }
            _ => self.shown.push(line.to_owned()),
        }
    }

    /// The data of all commands of a name.
    pub fn data(&self, name: &str) -> Vec<&str> {
        self.obeyed
            .iter()
            .filter(|command| command.name == name)
            .map(|command| command.data.as_str())
            .collect()
    }

    /// Groups are opened one at a time, and nothing is left open at the end: neither a group, in which the
    /// next step's lines would vanish, nor a guard, after which the runner is deaf.
    #[track_caller]
    pub fn assert_closed(&self) {
        let mut open: Option<&str> = None;
        for command in &self.obeyed {
            match command.name.as_str() {
                "group" => assert_eq!(open.replace(&command.data), None, "a group inside of a group"),
                "endgroup" => assert!(open.take().is_some(), "a group was closed that was not open"),
                _ => {}
            }
        }
        assert_eq!(open, None, "the group stays open");
        assert_eq!(self.stopped_by, None, "commands stay stopped");
        let tokens = self.data("stop-commands");
        let mut unique = tokens.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), tokens.len(), "a guard's token was used twice: {tokens:?}");
    }

    /// Nothing was obeyed but what the action itself has to say.
    #[track_caller]
    pub fn assert_only(&self, names: &[&str]) {
        let foreign: Vec<&Command> =
            self.obeyed.iter().filter(|command| !names.contains(&command.name.as_str())).collect();
        assert!(foreign.is_empty(), "the runner obeyed {foreign:#?}");
    }
}

/// `::name key=value,...::data`.
fn double_colon(line: &str) -> Option<Command> {
    let rest = line.trim_start().strip_prefix("::")?;
    let (head, data) = rest.split_once("::")?;
    Some(Command { name: first_word(head), data: unescaped(data) })
}

/// `##[name key=value;...]data`, which some keep for older runners' sake.
fn brackets(line: &str) -> Option<Command> {
    let (_, rest) = line.split_once("##[")?;
    let (head, data) = rest.split_once(']')?;
    Some(Command { name: first_word(head), data: unescaped(data) })
}

fn first_word(head: &str) -> String {
    head.split(' ').next().unwrap_or_default().to_owned()
}

fn unescaped(data: &str) -> String {
    data.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
}

#[test]
fn commands_are_obeyed_until_they_are_stopped() {
    let reading = Reading::of(
        "::group::a%0Ab\nx ##[error]bracketed\n::stop-commands::t0\n::error::x\n::t1::\ny\r::warning::z\n \
         ::t0::\n  ::Notice title=t::end\n::unknown::x\n::endgroup::",
    );
    let names: Vec<&str> = reading.obeyed.iter().map(|command| command.name.as_str()).collect();
    assert_eq!(names, ["group", "error", "stop-commands", "Notice", "endgroup"]);
    assert_eq!(reading.data("group"), ["a\nb"]);
    assert_eq!(reading.shown, ["::error::x", "::t1::", "y", "::warning::z", "::unknown::x"]);
    reading.assert_closed();
}
