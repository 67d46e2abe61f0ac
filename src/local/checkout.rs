//! On your own machine: what the clone around the working directory says about repository, commit and branch.
//!
//! Only asked where no CI says it. Tags are never read from here: a clone may be shallow or old.

use super::clone::repository_of;
use super::local_logins;
use crate::inputs::error::{InputError, InputErrors};
use crate::inputs::raw::Environment;
use crate::inputs::run::Overrides;

/// Fills in what the flags left open; what cannot be told becomes a fault that says why.
///
/// A remote on another host than the GitHub server is somebody else's `owner/name`, and is left out. A
/// branch that is missing is no fault here: only a release needs one.
pub fn fill_in(environment: &Environment, mut overrides: Overrides, errors: &mut InputErrors) -> Overrides {
    let git = |arguments: &[&str]| git(environment, arguments);
    if (overrides.repository.is_none() || overrides.commit.is_none())
        && let Err(why) = git(&["rev-parse", "--git-dir"])
    {
        errors.add(InputError {
            input: "this directory".to_owned(),
            found: None,
            expected: format!("a clone, or --repository and --commit; {why}"),
            example: "--repository org/app --commit 1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c".to_owned(),
        });
        return overrides;
    }
    if overrides.repository.is_none() {
        match repository(environment) {
            Ok(repository) => overrides.repository = Some(repository),
            Err(why) => errors.add(missing("--repository", "the repository as OWNER/NAME", &why, "org/app")),
        }
    }
    if overrides.commit.is_none() {
        match git(&["rev-parse", "HEAD"]) {
            Ok(commit) => overrides.commit = Some(commit),
            Err(why) => {
                let example = "1f2e3d4c5b6a79881f2e3d4c5b6a79881f2e3d4c";
                errors.add(missing("--commit", "the commit in full", &why, example));
            }
        }
    }
    if overrides.branch.is_none() {
        overrides.branch = git(&["branch", "--show-current"]).ok().filter(|branch| !branch.is_empty());
    }
    overrides
}

/// What keeps a clone from being released from: no branch; another commit, or changes that are in no commit, which
/// would be in the image all the same. (What Git ignores is not looked at: that is for `.dockerignore`.)
pub fn check_for_release(
    environment: &Environment,
    overrides: &Overrides,
    builds: bool,
    errors: &mut InputErrors,
) {
    let git = |arguments: &[&str]| git(environment, arguments);
    if overrides.branch.is_none() {
        errors.add(missing("--branch", "the branch that is released", "no branch is checked out", "main"));
    }
    if !builds {
        return;
    }
    let mut of_directory = |found: String, expected: &str, example: String| {
        let (input, expected) = ("this directory".to_owned(), expected.to_owned());
        errors.add(InputError { input, found: Some(found), expected, example });
    };
    if let (Some(commit), Ok(head)) = (&overrides.commit, git(&["rev-parse", "HEAD"]))
        && *commit != head
    {
        let expected = "the commit that is released, since the image is built from what is checked out";
        of_directory(head, expected, format!("git switch --detach {commit}"));
    }
    match git(&["status", "--porcelain"]) {
        Err(why) => of_directory(why, "a clone whose changes git can list", "git status".to_owned()),
        Ok(changes) => {
            if let Some(first) = changes.lines().next() {
                let expected = "a clean working tree: uncommitted changes would be built into the image but \
                                are not in the commit";
                of_directory(first.to_owned(), expected, "git stash --include-untracked".to_owned());
            }
        }
    }
}

/// What was found: whoever stands in another directory than they think sees it.
pub fn what_is_meant(overrides: &Overrides) -> Option<String> {
    let (repository, commit) = (overrides.repository.as_ref()?, overrides.commit.as_ref()?);
    let short: String = commit.chars().take(12).collect();
    let branch = overrides.branch.as_ref().map_or("no branch".to_owned(), |name| format!("branch {name}"));
    Some(format!("{repository}, commit {short} of {branch}"))
}

fn missing(flag: &str, expected: &str, why: &str, example: &str) -> InputError {
    let expected = format!("{expected}, since this directory does not tell: {why}");
    InputError { input: flag.to_owned(), found: None, expected, example: example.to_owned() }
}

/// What git prints, or why it does not.
fn git(environment: &Environment, arguments: &[&str]) -> Result<String, String> {
    let output = environment.command("git").args(arguments).output();
    let output = output.map_err(|error| format!("git cannot be started ({error})"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let first = message.lines().next().unwrap_or_default();
    Err(format!("git says \"{}\"", first.trim_start_matches("fatal: ")))
}

/// The remote `origin`, or the only repository of this server that the other remotes name.
fn repository(environment: &Environment) -> Result<String, String> {
    let git = |arguments: &[&str]| git(environment, arguments);
    let server_host = local_logins::server_host(environment);
    let remotes = git(&["remote"])?;
    let mut found: Vec<(String, String)> = Vec::new();
    for name in remotes.lines() {
        // By git itself, which knows the rewritten addresses (`url.BASE.insteadOf`).
        let address = git(&["remote", "get-url", name])?;
        if let Some(repository) = repository_of(&address, server_host) {
            if name == "origin" {
                return Ok(repository);
            }
            found.push((name.to_owned(), repository));
        }
    }
    let same = found.windows(2).all(|pair| pair[0].1 == pair[1].1);
    match found.pop() {
        Some((_, repository)) if same => Ok(repository),
        Some(last) => {
            found.push(last);
            let all: Vec<String> = found.iter().map(|(name, it)| format!("{name} is {it}")).collect();
            Err(format!("of its remotes none is `origin`, and {}", all.join(", ")))
        }
        None if remotes.is_empty() => Err("the clone has no remote".to_owned()),
        None => Err(format!("no remote is a repository of {server_host}")),
    }
}
