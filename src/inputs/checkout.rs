//! On a laptop: what the clone around the working directory says about repository, commit and branch.
//!
//! Only asked where no CI says it. Tags are never read from here: a clone may be shallow or old.

use std::path::Path;
use std::process::Command;

use super::run::Overrides;
use crate::version::git::ObjectId;

/// Fills in what the flags left open. What git does not know stays open, and is reported as missing.
///
/// A remote on another host than the GitHub server is somebody else's `owner/name`, and is left out.
pub fn fill_in(mut overrides: Overrides, server_host: &str) -> Overrides {
    if overrides.repository.is_none() {
        let remote = git(&["remote", "get-url", "origin"]);
        overrides.repository = remote.and_then(|url| repository_of(&url, server_host));
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
fn repository_of(url: &str, server_host: &str) -> Option<String> {
    let (authority, path) = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?,
        None => url.split_once(':')?,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    if !host.eq_ignore_ascii_case(server_host) {
        return None;
    }
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    (path.split('/').count() == 2).then(|| path.to_owned())
}

/// The commit that a folder has checked out, by its `.git` alone (no git is in the action's image); `None`
/// where there is none or it cannot be told.
pub fn head_of(folder: &Path) -> Option<ObjectId> {
    let git = folder.join(".git");
    let head = std::fs::read_to_string(git.join("HEAD")).ok()?;
    let Some(name) = head.trim().strip_prefix("ref: ") else { return head.trim().parse().ok() };
    if let Ok(loose) = std::fs::read_to_string(git.join(name)) {
        return loose.trim().parse().ok();
    }
    let packed = std::fs::read_to_string(git.join("packed-refs")).ok()?;
    let line = packed.lines().find(|line| line.split_once(' ').is_some_and(|(_, found)| found == name))?;
    line.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_out_commit_is_read_without_git() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(head_of(folder.path()), None);
        let git = folder.path().join(".git");
        std::fs::create_dir_all(git.join("refs/heads")).unwrap();
        let (loose, packed) = ("a".repeat(40), "b".repeat(40));
        std::fs::write(git.join("HEAD"), format!("{loose}\n")).unwrap();
        assert_eq!(head_of(folder.path()).unwrap().as_str(), loose, "detached");
        std::fs::write(git.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        assert_eq!(head_of(folder.path()), None, "an unborn branch");
        std::fs::write(git.join("packed-refs"), format!("# pack-refs\n{packed} refs/heads/main\n")).unwrap();
        assert_eq!(head_of(folder.path()).unwrap().as_str(), packed);
        std::fs::write(git.join("refs/heads/main"), format!("{loose}\n")).unwrap();
        assert_eq!(head_of(folder.path()).unwrap().as_str(), loose, "a loose ref wins");
    }

    #[test]
    fn remotes_are_read_in_every_spelling() {
        for url in [
            "https://github.com/org/app.git",
            "https://github.com/org/app",
            "https://user@github.com/org/app/",
            "git@github.com:org/app.git",
            "ssh://git@github.com:22/org/app.git",
        ] {
            assert_eq!(repository_of(url, "github.com").as_deref(), Some("org/app"), "{url}");
            assert_eq!(repository_of(url, "git.example"), None, "another host's {url}");
        }
        for url in ["/srv/git/app.git", "https://github.com/org", "https://host/a/b/c", ""] {
            assert_eq!(repository_of(url, "github.com"), None, "{url}");
        }
    }
}
