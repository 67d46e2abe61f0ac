//! What sshd is told: one door for each application's key.

use std::path::Path;

use crate::paths::{GROUP, Paths, USER_PREFIX};
use autotag_protocol::AppName;

/// sshd, which wants to be called by its whole path.
pub const SSHD: &str = "/usr/sbin/sshd";

/// How a line of the key file begins. `restrict` takes away pty, every forwarding, agent and `~/.ssh/rc`,
/// also what later versions of sshd add; `command` is run whatever the client asks for.
pub fn line_start(paths: &Paths, app: &AppName) -> String {
    let root = root_option(paths);
    format!("restrict,command=\"{}{root} receive --app {app}\"", paths.program().display())
}

fn root_option(paths: &Paths) -> String {
    match paths.root() {
        root if root == Path::new("/") => String::new(),
        root => format!(" --root {}", root.display()),
    }
}

/// The part of sshd's configuration: the same again, from the other side, and no other way in.
///
/// A certificate of an authority that the machine trusts elsewhere is no way in: it would name a user and bring
/// no line of ours along. And whatever lets somebody in runs what the key's line runs: `ForceCommand` goes over
/// the command of a key or a certificate. sshd gives it to the user's shell, which is `/bin/sh`; the name in it is
/// the one that sshd has logged in, and `serve` asks the kernel for it anyway.
pub fn part(paths: &Paths) -> String {
    let root = root_option(paths);
    format!(
        "# Written by `autotag-receiver init`: the users that CI deploys as.\n\
         Match Group {GROUP}\n\
         \x20   AuthorizedKeysFile {keys}/%u\n\
         \x20   AuthorizedKeysCommand none\n\
         \x20   AuthorizedPrincipalsCommand none\n\
         \x20   AuthorizedPrincipalsFile none\n\
         \x20   TrustedUserCAKeys none\n\
         \x20   AuthenticationMethods publickey\n\
         \x20   PasswordAuthentication no\n\
         \x20   KbdInteractiveAuthentication no\n\
         \x20   PermitTTY no\n\
         \x20   PermitUserRC no\n\
         \x20   PermitTunnel no\n\
         \x20   AllowTcpForwarding no\n\
         \x20   AllowStreamLocalForwarding no\n\
         \x20   AllowAgentForwarding no\n\
         \x20   X11Forwarding no\n\
         \x20   ForceCommand {program}{root} receive --app \"${{USER#{USER_PREFIX}}}\"\n\
         Match all\n",
        keys = paths.keys().display(),
        program = paths.program().display(),
    )
}

/// Whether sshd's configuration reads the directory that the part lies in (Debian's and Ubuntu's does).
pub fn reads_parts(config: &str) -> bool {
    config.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next().is_some_and(|word| word.eq_ignore_ascii_case("include"))
            && words.any(|path| path.trim_matches('"').ends_with("sshd_config.d/*.conf"))
    })
}
