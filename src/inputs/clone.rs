//! What Git writes into a clone, and how it names remotes: the texts alone.

use crate::version::git::{ObjectId, RefName};

/// What `.git/HEAD` says (gitrepository-layout(5)).
#[derive(Debug, PartialEq, Eq)]
pub enum Head {
    /// A commit is checked out, and no branch.
    Commit(ObjectId),
    /// This branch is, which may have no commit yet.
    Branch(RefName),
}

impl Head {
    /// `None` for anything else, such as a name that leads out of the clone.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim_end().strip_prefix("ref: ") {
            Some(name) => name.parse().ok().map(Self::Branch),
            None => text.trim_end().parse().ok().map(Self::Commit),
        }
    }
}

/// What a ref is in the text of `packed-refs` (gitrepository-layout(5)): lines of an object and a name.
pub fn packed(text: &str, wanted: &RefName) -> Option<ObjectId> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(_, name)| *name == wanted.as_str())?.0.parse().ok()
}

/// `owner/name` from a remote's address: `https://host/owner/name.git`, `git@host:owner/name`,
/// `ssh://git@host/owner/name`.
pub fn repository_of(url: &str, server_host: &str) -> Option<String> {
    let (authority, path) = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?,
        None => url.split_once(':')?,
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    // Where port 22 is closed GitHub speaks SSH at `ssh.github.com:443`.
    let host = host.strip_prefix("ssh.").filter(|host| *host == server_host).unwrap_or(host);
    if !host.eq_ignore_ascii_case(server_host) {
        return None;
    }
    let path = path.trim_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    let (owner, name) = path.split_once('/')?;
    (!owner.is_empty() && !name.is_empty() && !name.contains('/')).then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_a_commit_or_a_branch() {
        let id = "a".repeat(40);
        assert_eq!(Head::parse(&format!("{id}\n")), Some(Head::Commit(id.parse().unwrap())));
        let branch = Head::Branch("refs/heads/feature/a".parse().unwrap());
        assert_eq!(Head::parse("ref: refs/heads/feature/a\n"), Some(branch));
        for text in ["", "ref: ", "ref: ../../secret", "ref: refs/heads/../../../a", "ref: /etc/a", "main"] {
            assert_eq!(Head::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_packed_ref_is_found_by_its_whole_name() {
        let [main, other, peeled] = ["a", "b", "c"].map(|digit| digit.repeat(40));
        let text = format!(
            "# pack-refs with: peeled fully-peeled sorted \n{other} refs/heads/main2\n{main} refs/heads/main\n\
             {other} refs/tags/v1.0.0\n^{peeled}\nbroken refs/heads/broken\n"
        );
        let found = |name: &str| packed(&text, &name.parse().unwrap()).map(|id| id.as_str().to_owned());
        assert_eq!(found("refs/heads/main"), Some(main));
        assert_eq!(found("refs/tags/v1.0.0"), Some(other), "and not what it points at");
        assert_eq!(found("refs/heads/mai"), None);
        assert_eq!(found("refs/heads/broken"), None);
    }

    #[test]
    fn remotes_are_read_in_every_spelling() {
        for url in [
            "https://github.com/org/app.git",
            "https://github.com/org/app",
            "https://user@github.com/org/app/",
            "git@github.com:org/app.git",
            "ssh://git@github.com:22/org/app.git",
            "ssh://git@ssh.github.com:443/org/app.git",
        ] {
            assert_eq!(repository_of(url, "github.com").as_deref(), Some("org/app"), "{url}");
            assert_eq!(repository_of(url, "git.example"), None, "another host's {url}");
        }
        for url in [
            "/srv/git/app.git",
            "https://github.com/org",
            "https://github.com/a/b/c",
            "https://github.com/org/.git",
            "",
        ] {
            assert_eq!(repository_of(url, "github.com"), None, "{url}");
        }
    }
}
