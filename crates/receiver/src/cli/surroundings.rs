//! What this program takes from its environment: the one place that reads it.

use std::io::IsTerminal as _;

use autotag_base::terminal;

/// The variables that mean something, and where the output goes.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// What the SSH client asked for (sshd(8)).
    pub(super) ssh_command: Option<String>,
    /// systemd's, sd_notify(3).
    pub(super) notify_socket: Option<String>,
    /// Standard output is a terminal, on which lines may be drawn over.
    pub(super) terminal: bool,
    /// Colours are wanted on it.
    pub(super) colour: bool,
}

impl Surroundings {
    #[expect(clippy::disallowed_methods, reason = "this program's owner of the environment")]
    pub(super) fn read() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let is_terminal = std::io::stdout().is_terminal();
        Self {
            // An empty command is none: both ask for a shell.
            ssh_command: variable("SSH_ORIGINAL_COMMAND"),
            notify_socket: variable("NOTIFY_SOCKET"),
            terminal: terminal::may_draw(is_terminal, variable),
            colour: terminal::wants_colour(is_terminal, variable),
        }
    }
}
