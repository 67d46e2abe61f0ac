//! On a laptop: what the clone around the working directory says about repository, commit and branch.
//!
//! Only asked where no CI says it. Tags are never read from here: a clone may be shallow or old.

use std::process::Command;

use super::run::Overrides;

/// Fills in what the flags left open. What git does not know stays open, and is reported as missing.
pub fn fill_in(mut overrides: Overrides) -> Overrides {
    if overrides.repository.is_none() {
        overrides.repository = git(&["remote", "get-url", "origin"]).and_then(|url| repository_of(&url));
    }
    if overrides.commit.is_none() {
        overrides.commit = git(&["rev-parse", "HEAD"]);
    }
    if overrides.branch.is_none() {
        overrides.branch = git(&["branch", "--show-current"]);
    }
    overrides
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}

/// `owner/name` from a remote's address: `https://host/owner/name.git`, `git@host:owner/name`,
/// `ssh://git@host/owner/name`.
fn repository_of(url: &str) -> Option<String> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once(':')?.1,
    };
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (path.split('/').count() == 2).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_are_read_in_every_spelling() {
        for url in [
            "https://github.com/org/app.git",
            "https://github.com/org/app",
            "https://user@github.com/org/app/",
            "git@github.com:org/app.git",
            "ssh://git@github.com:22/org/app.git",
        ] {
            assert_eq!(repository_of(url).as_deref(), Some("org/app"), "{url}");
        }
        for url in ["/srv/git/app.git", "https://github.com/org", "https://host/a/b/c", ""] {
            assert_eq!(repository_of(url), None, "{url}");
        }
    }
}
