//! Whether sshd lets an application's user in, by its key and to its one command: what `sshd -T` says of the
//! user, what the machine's files say of the account, and whose the key file is.
//!
//! Everything that keeps CI out looks the same from outside: `Permission denied (publickey)`.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::Report;
use crate::host::init::sshd::{SSHD, reads_parts};
use crate::paths::{GROUP, Paths, user_of};
use autotag_base::clock;
use autotag_protocol::AppName;

/// An account as the machine's files have it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    name: String,
    uid: u32,
    groups: Vec<String>,
    home: String,
    shell: String,
    /// The fields of shadow(5); none where the account has no line there.
    shadow: Option<Vec<String>>,
}

impl Account {
    /// From passwd(5), group(5) and shadow(5).
    fn read(name: &str, passwd: &str, group: &str, shadow: &str) -> Option<Self> {
        let line = |text: &str| -> Option<Vec<String>> {
            let found = text.lines().find(|line| line.split(':').next() == Some(name))?;
            Some(found.split(':').map(str::to_owned).collect())
        };
        let fields = line(passwd)?;
        let field = |at: usize| fields.get(at).cloned().unwrap_or_default();
        let gid = field(3);
        let groups = group.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let member = fields.get(3).is_some_and(|members| members.split(',').any(|member| member == name));
            (member || fields.get(2) == Some(&gid.as_str())).then(|| fields[0].to_owned())
        });
        Some(Self {
            name: name.to_owned(),
            uid: field(2).parse().unwrap_or(u32::MAX),
            groups: groups.collect(),
            home: field(5),
            shell: field(6),
            shadow: line(shadow),
        })
    }

    /// The path of a key file, as `AuthorizedKeysFile` may have it (sshd_config(5), TOKENS).
    fn expand(&self, file: &str) -> PathBuf {
        let file = file
            .replace("%u", &self.name)
            .replace("%h", &self.home)
            .replace("%U", &self.uid.to_string())
            .replace("%%", "%");
        if file.starts_with('/') { PathBuf::from(file) } else { Path::new(&self.home).join(file) }
    }
}

/// What `sshd -T` prints: a key in lower case and its value on each line; some keys come several times.
#[derive(Debug, Default)]
struct Effective(Vec<(String, String)>);

impl Effective {
    fn read(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
        Self(lines.map(|(key, value)| (key.to_ascii_lowercase(), value.trim().to_owned())).collect())
    }

    /// All values of a key, split at white space.
    fn words<'s>(&'s self, key: &'s str) -> impl Iterator<Item = &'s str> {
        self.0.iter().filter(move |(known, _)| known == key).flat_map(|(_, value)| value.split_whitespace())
    }

    /// The same, as they would stand on one line.
    fn list(&self, key: &str) -> String {
        self.words(key).collect::<Vec<_>>().join(" ")
    }

    fn is(&self, key: &str, value: &str) -> bool {
        self.words(key).next() == Some(value)
    }

    /// The first value, where it is another than this.
    fn other_than(&self, key: &str, value: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == key)?;
        (found.1 != value).then_some(found.1.as_str())
    }
}

/// Checks one application's way in.
pub(super) fn look(paths: &Paths, app: &AppName, report: &mut Report) {
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let name = user_of(app);
    let shadow = read(paths.root().join("etc/shadow"));
    // That there is no such user is told elsewhere.
    let Some(account) = Account::read(&name, &read(paths.passwd()), &read(paths.group()), &shadow) else {
        return;
    };
    report.faults.extend(of_account(&account, days_since_1970()));
    let nologin = paths.root().join("etc/nologin");
    if nologin.exists() {
        report.fault(format!("{} lets only root log in: remove it", nologin.display()));
    }
    report.faults.extend(of_shell(&account, paths.root()));
    let config = paths.sshd().join("sshd_config");
    if !Path::new(SSHD).exists() || !config.exists() {
        report.right.push(format!("sshd was not asked: there is no {SSHD}, or no {}", config.display()));
        return;
    }
    match ask(&config, &name) {
        // Where systemd's socket starts sshd, its directory in /run comes with the first connection.
        Err(why) if why.contains("privilege separation directory") => {
            report.right.push(format!("sshd could not be asked yet: {why}"));
        }
        Err(why) => {
            report.fault(format!("sshd rejects its configuration, {}: {why}", config.display()));
        }
        Ok(output) => {
            let effective = Effective::read(&output);
            let mut faults = of_sshd(&effective, &account, &Ours::of(paths, app, &read(config)));
            if effective.is("strictmodes", "yes") {
                faults.extend(of_path(&paths.authorized_keys(app), account.uid));
            }
            if faults.is_empty() {
                report.right.push(format!("sshd lets {name} in by its key"));
            }
            report.faults.extend(faults);
        }
    }
}

/// `sshd -T` for a connection of this user's.
fn ask(config: &Path, user: &str) -> Result<String, String> {
    let connection = format!("user={user},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22");
    let output = Command::new(SSHD)
        .arg("-T")
        .arg("-f")
        .arg(config)
        .args(["-C", &connection])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    Err(lines.join("; "))
}

fn days_since_1970() -> i64 {
    clock::now().as_second() / 86_400
}

/// Where our part of the configuration lies, and whether it can count.
struct Ours {
    app: AppName,
    keys: PathBuf,
    program: PathBuf,
    part: PathBuf,
    written: bool,
    included: bool,
}

impl Ours {
    fn of(paths: &Paths, app: &AppName, config: &str) -> Self {
        let (keys, part) = (paths.authorized_keys(app), paths.sshd_part());
        let program = paths.program();
        Self { app: app.clone(), keys, program, written: part.exists(), part, included: reads_parts(config) }
    }
}

/// What the account itself keeps out.
fn of_account(account: &Account, today: i64) -> Vec<String> {
    let name = &account.name;
    let mut faults = Vec::new();
    let Some(shadow) = &account.shadow else { return faults };
    let days = |at: usize| shadow.get(at).and_then(|field| field.parse::<i64>().ok());
    if shadow.get(1).is_some_and(|password| password.starts_with('!')) {
        faults.push(format!("the user {name} is locked (`!` in /etc/shadow): usermod --password '*' {name}"));
    }
    if days(7).is_some_and(|expires| expires <= today) {
        faults.push(format!("the account of {name} has expired: chage --expiredate -1 {name}"));
    }
    let changed = days(2);
    // 99999 days and more is how shadow-utils say never.
    let outdated = changed
        .zip(days(4))
        .is_some_and(|(changed, most)| (0..99_999).contains(&most) && changed + most < today);
    if changed == Some(0) || outdated {
        faults.push(format!(
            "the password of {name} has expired, so that PAM lets it in by no key either: chage --lastday \
             -1 --maxdays -1 {name}"
        ));
    }
    faults
}

/// sshd runs the forced command by the account's shell.
fn of_shell(account: &Account, root: &Path) -> Option<String> {
    let shell = if account.shell.is_empty() { "/bin/sh" } else { account.shell.as_str() };
    let name = &account.name;
    let remedy = format!("usermod --shell /bin/sh {name}");
    if ["nologin", "false"].contains(&shell.rsplit('/').next().unwrap_or_default()) {
        return Some(format!("the shell of {name} is {shell}, which runs no commands: {remedy}"));
    }
    // Where another directory stands for `/`, shells are the machine's all the same.
    let shells = [root.join(shell.trim_start_matches('/')), PathBuf::from(shell)];
    let runs =
        |path: &PathBuf| path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
    (!shells.iter().any(runs)).then(|| format!("the shell of {name}, {shell}, is not a program: {remedy}"))
}

/// What sshd's configuration keeps out, or leads elsewhere.
fn of_sshd(output: &Effective, account: &Account, ours: &Ours) -> Vec<String> {
    of_part(ours)
        .into_iter()
        .chain(of_lists(output, account))
        .chain(of_keys(output, account, ours))
        .chain(of_session(output, &account.name, ours))
        .map(|fault| format!("sshd: {fault}"))
        .collect()
}

/// Whether our part of the configuration is there and read.
fn of_part(ours: &Ours) -> Option<String> {
    let part = ours.part.display();
    if !ours.written {
        return Some(format!("{part} is missing: `autotag-receiver init {}` writes it", ours.app));
    }
    (!ours.included).then(|| {
        format!(
            "its configuration does not read {part}: add `Include {}` as its first line",
            ours.part.with_file_name("*.conf").display()
        )
    })
}

/// The lists of who may log in.
fn of_lists(output: &Effective, account: &Account) -> Vec<String> {
    let name = &account.name;
    let is_user = |pattern: &str| matches(pattern.split('@').next().unwrap_or_default(), name);
    let is_group = |pattern: &str| account.groups.iter().any(|group| matches(pattern, group));
    let denied = |keyword: &str, pattern: &str| {
        format!("`{keyword} {pattern}` keeps {name} out: take it out of the list")
    };
    let mut faults = Vec::new();
    if let Some(pattern) = output.words("denyusers").find(|pattern| is_user(pattern)) {
        faults.push(denied("DenyUsers", pattern));
    }
    if output.words("allowusers").next().is_some() && !output.words("allowusers").any(is_user) {
        let list = output.list("allowusers");
        faults.push(format!("`AllowUsers {list}` keeps {name} out: add {name} to the list"));
    }
    if let Some(pattern) = output.words("denygroups").find(|pattern| is_group(pattern)) {
        faults.push(denied("DenyGroups", pattern));
    }
    if output.words("allowgroups").next().is_some() && !output.words("allowgroups").any(is_group) {
        let list = output.list("allowgroups");
        faults.push(format!("`AllowGroups {list}` keeps {name} out: add {GROUP} to the list"));
    }
    faults
}

/// Whether keys are accepted, and whether the application's are those.
fn of_keys(output: &Effective, account: &Account, ours: &Ours) -> Vec<String> {
    let name = &account.name;
    let mut faults = Vec::new();
    if output.is("pubkeyauthentication", "no") {
        faults.push(format!(
            "`PubkeyAuthentication no` keeps every key out: add `PubkeyAuthentication yes` below a `Match User {name}`, or take the line away"
        ));
    }
    let is_read = output.words("authorizedkeysfile").any(|file| account.expand(file) == ours.keys);
    if ours.written && ours.included && !is_read {
        faults.push(format!(
            "it looks for the keys of {name} in `{}` instead of {}: another `Match` with `AuthorizedKeysFile` comes before {}",
            output.list("authorizedkeysfile"),
            ours.keys.display(),
            ours.part.display()
        ));
    }
    faults
}

/// What else is asked, hidden or run once the key has been accepted.
fn of_session(output: &Effective, name: &str, ours: &Ours) -> Vec<String> {
    let mut faults = Vec::new();
    for (key, expected, why) in [
        ("authorizedkeyscommand", "none", "may let other keys in, to more than one command"),
        ("chrootdirectory", "none", "hides the receiver's program and socket"),
    ] {
        if let Some(value) = output.other_than(key, expected) {
            faults.push(format!("`{}` {value} {why}: exempt {name} by a `Match` before it", keyword(key)));
        }
    }
    // Our own part forces the same command as the key's line.
    let forced = output.other_than("forcecommand", "none");
    if let Some(value) = forced.filter(|value| !value.starts_with(&format!("{} ", ours.program.display()))) {
        faults.push(format!(
            "`ForceCommand {value}` is run instead of the receiver: exempt {name} by a `Match` before it"
        ));
    }
    let methods = output.words("authenticationmethods").collect::<Vec<_>>();
    if !methods.is_empty() && !methods.iter().any(|method| ["any", "publickey"].contains(method)) {
        faults
            .push(format!("`AuthenticationMethods {}` asks {name} for more than its key", methods.join(" ")));
    }
    faults
}

fn keyword(key: &str) -> &str {
    match key {
        "authorizedkeyscommand" => "AuthorizedKeysCommand",
        "chrootdirectory" => "ChrootDirectory",
        other => other,
    }
}

/// sshd's patterns (ssh_config(5), PATTERNS): `*` for any text, `?` for one sign.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[read] => (at, read) = (at + 1, read + 1),
            _ => match &mut star {
                Some((from, taken)) => {
                    *taken += 1;
                    (at, read) = (*from + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

/// `StrictModes`: the key file and every directory above it are root's or the user's, and nobody else's to
/// write; and the user, as whom sshd reads it, can.
fn of_path(keys: &Path, uid: u32) -> Vec<String> {
    let mut faults = Vec::new();
    for path in keys.ancestors() {
        // What is missing is told elsewhere.
        let Ok(metadata) = path.metadata() else { continue };
        let (shown, mode) = (path.display(), metadata.mode());
        if ![0, uid].contains(&metadata.uid()) {
            faults.push(format!(
                "sshd refuses keys below {shown}, which is neither root's nor the user's: chown root {shown}"
            ));
        }
        if mode & 0o022 != 0 {
            faults.push(format!(
                "sshd refuses keys below {shown}, which others may write ({:04o}): chmod go-w {shown}",
                mode & 0o7777
            ));
        }
        let needed = if metadata.is_dir() { 0o001 } else { 0o004 };
        if mode & needed == 0 && metadata.uid() != uid {
            let right = if metadata.is_dir() { "o+x" } else { "o+r" };
            faults
                .push(format!("sshd reads keys as the user, who cannot read {shown}: chmod {right} {shown}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests;
