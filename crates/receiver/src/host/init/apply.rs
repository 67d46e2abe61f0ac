//! Does the steps.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

use super::plan::SetupStep;
use super::program;
use super::sshd::SSHD;
use crate::paths::Paths;
use autotag_model::secret::Secret;

/// Does one step. A pair that was made gives its private half.
pub fn apply(paths: &Paths, step: &SetupStep) -> anyhow::Result<Option<Secret>> {
    match step {
        SetupStep::AddGroup(name) => run(&with_prefix(paths, &["groupadd", "--system", name]))?,
        SetupStep::AddUser { name, group, home, shell } => {
            let home = home.to_string_lossy();
            // `*`: no password fits, but unlike `!` the account is not locked, which sshd would refuse.
            let mut words = vec!["useradd", "--system", "--no-create-home", "--password", "*"];
            words.extend(["--home-dir", &home, "--shell", shell]);
            match group {
                Some(group) => words.extend(["--gid", group]),
                None => words.push("--user-group"),
            }
            words.push(name);
            run(&with_prefix(paths, &words))?;
        }
        SetupStep::Directory { path, owner, mode } => directory(paths, path, *owner, *mode)?,
        SetupStep::Install(to) => {
            let from = program()?;
            let bytes = std::fs::read(&from).with_context(|| format!("reading {}", from.display()))?;
            write(to, &bytes, 0o755)?;
        }
        SetupStep::Write { path, text, mode, .. } => write(path, text.as_bytes(), *mode)?,
        SetupStep::Remove(path) => remove(path)?,
        SetupStep::Run(words) => run(words)?,
        SetupStep::Prove { words, path, before } => prove(words, path, before.as_ref())?,
        SetupStep::Generate { path, start } => return generate(paths, path, start).map(Some),
    }
    Ok(None)
}

/// Users of another root are added to its files, by a program of this one.
fn with_prefix(paths: &Paths, words: &[&str]) -> Vec<String> {
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    if paths.root() != Path::new("/") {
        words.splice(1..1, ["--prefix".to_owned(), paths.root().to_string_lossy().into_owned()]);
    }
    words
}

/// Runs a command to its end; what it wrote is told where it fails.
pub fn run(words: &[String]) -> anyhow::Result<()> {
    let (name, rest) = words.split_first().context("a command without words")?;
    let output = Command::new(name)
        .args(rest)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{}` cannot be started", words.join(" ")))?;
    if !output.status.success() {
        let message = [output.stdout, output.stderr].concat();
        bail!(
            "`{}` failed ({}): {}",
            words.join(" "),
            output.status,
            String::from_utf8_lossy(&message).trim()
        );
    }
    Ok(())
}

/// What a file was before it has again where the command fails.
fn prove(words: &[String], path: &Path, before: Option<&(String, u32)>) -> anyhow::Result<()> {
    if words.first().is_some_and(|word| word == SSHD) {
        // sshd wants it, also for a look at its configuration; a started sshd made it itself.
        let _ = std::fs::create_dir_all("/run/sshd");
    }
    let Err(error) = run(words) else { return Ok(()) };
    let put_back = match before {
        Some((text, mode)) => write(path, text.as_bytes(), *mode),
        None => remove(path),
    };
    Err(match put_back {
        Ok(()) => error.context(format!("{} is what it was before", path.display())),
        Err(why) => error.context(format!(
            "{} must be restored or removed manually: it could not be done ({why:#})",
            path.display()
        )),
    })
}

fn directory(paths: &Paths, path: &Path, owner: Option<&str>, mode: u32) -> anyhow::Result<()> {
    let doing = || format!("creating the directory {}", path.display());
    std::fs::create_dir_all(path).with_context(doing)?;
    if let Some(name) = owner {
        let passwd = std::fs::read_to_string(paths.passwd()).with_context(doing)?;
        let mut fields = passwd.lines().map(|line| line.split(':')).filter_map(|mut fields| {
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse::<u32>().ok()).flatten()
        });
        let user = fields.next().with_context(|| format!("{}: there is no user {name}", doing()))?;
        std::os::unix::fs::chown(path, Some(user), None).with_context(doing)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).with_context(doing)
}

/// Beside it and renamed: nobody ever reads half a file, a running program can be replaced, and the rights
/// are there before the text is.
fn write(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let doing = || format!("writing {}", path.display());
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).with_context(doing)?;
    }
    let name = path.file_name().with_context(doing)?.to_string_lossy().into_owned();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&beside);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(bytes)?;
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        drop(file);
        std::fs::rename(&beside, path)
    };
    written().inspect_err(|_| drop(std::fs::remove_file(&beside))).with_context(doing)
}

/// A file or a directory with what is in it; gone is gone.
fn remove(path: &Path) -> anyhow::Result<()> {
    let removed = match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A directory in memory, where there is one: the private half never lies on a disk.
struct Scratch(PathBuf);

impl Scratch {
    fn make(paths: &Paths) -> anyhow::Result<Self> {
        let path = paths.root().join(format!("run/autotag-init-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn generate(paths: &Paths, path: &Path, start: &str) -> anyhow::Result<Secret> {
    let scratch = Scratch::make(paths)?;
    let file = scratch.0.join("key");
    let name = file.to_string_lossy().into_owned();
    let words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "autotag-deploy", "-f", &name];
    run(&words.map(str::to_owned)).context("making a key pair; or give a public key by --key")?;
    let read =
        |file: &Path| std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()));
    let (private, public) = (read(&file)?, read(&file.with_extension("pub"))?);
    write(path, format!("{start} {}\n", public.trim()).as_bytes(), 0o644)?;
    Ok(Secret::verbatim(private))
}
