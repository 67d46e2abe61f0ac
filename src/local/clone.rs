//! What Git writes into a clone, and how it names remotes: the texts alone.

use autotag_model::git::{ObjectId, RefName};

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

/// Where the text of a `.git` file says that the git directory is (gitrepository-layout(5)): of a linked
/// worktree, or of a submodule. Relative to the file's own directory.
pub fn git_directory(text: &str) -> Option<&str> {
    let path = text.strip_prefix("gitdir:")?.trim_start_matches(' ').trim_end_matches(['\n', '\r']);
    (!path.is_empty() && !path.contains(['\n', '\0'])).then_some(path)
}

/// The address of the remote `origin` in the text of a clone's `config`, as actions/checkout writes it.
pub fn origin(config: &str) -> Option<&str> {
    let mut in_origin = false;
    let mut found = None;
    for line in config.lines().map(str::trim) {
        if line.starts_with('[') {
            in_origin = line == "[remote \"origin\"]";
        } else if in_origin
            && let Some((key, value)) = line.split_once('=')
            && key.trim().eq_ignore_ascii_case("url")
        {
            found = Some(value.trim().trim_matches('"'));
        }
    }
    found
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
    fn a_git_file_names_its_directory() {
        for (text, path) in [
            ("gitdir: ../.git/modules/a\n", Some("../.git/modules/a")),
            ("gitdir: /w/.git/worktrees/a b\r\n", Some("/w/.git/worktrees/a b")),
            ("gitdir:x", Some("x")),
            ("gitdir: \n", None),
            ("gitdir: a\nb\n", None),
            ("ref: refs/heads/main\n", None),
            ("", None),
        ] {
            assert_eq!(git_directory(text), path, "{text:?}");
        }
    }

    #[test]
    fn the_origin_is_read_from_its_own_section() {
        let config = "[core]\n\tbare = false\n[remote \"upstream\"]\n\turl = https://a/b/c\n[remote \"origin\"]\n\
                      \tfetch = +refs/*\n\turl = https://github.com/org/app\n[branch \"main\"]\n\turl = x\n";
        assert_eq!(origin(config), Some("https://github.com/org/app"));
        assert_eq!(
            origin("[remote \"origin\"]\nURL=\"git@github.com:org/app\"\n"),
            Some("git@github.com:org/app")
        );
        assert_eq!(origin("[core]\nurl = x\n"), None);
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
