//! Which commit lies in the workspace, by Git's own files alone: no git is in the action's image.
//!
//! A checkout need not lie at the workspace's root (`actions/checkout` with `path:`), and what is built
//! may be a part of it. So the git directory is looked for from what is built upwards, as Git does, and
//! not beyond the workspace:
//!
//! - `.git` is a directory: the clone itself;
//! - `.git` is a file, `gitdir: PATH`, to a directory with a file `commondir`: a linked worktree, whose
//!   HEAD is its own and whose refs are the clone's;
//! - `.git` is a file to a directory below `.git/modules`: a submodule. Its commit belongs to another
//!   history, and the clone around it says which one it has;
//! - a clone of another repository, by its remote `origin`: likewise, where one of this repository lies
//!   around it.

use std::path::{Path, PathBuf};

use super::clone::{self, Head, repository_of};
use autotag_build_context::workspace::{PathFault, Workspace};
use autotag_model::git::{ObjectId, RefName};

/// What Git says about a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckedOut {
    /// No clone is around it.
    Nothing,
    /// The clone at this place has this commit.
    Commit(PathBuf, ObjectId),
    /// The clone at this place does not tell.
    Unknown(PathBuf, String),
}

/// Of which repository a checkout is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// `owner/name`.
    pub repository: &'a str,
    /// The host of the GitHub server.
    pub server_host: &'a str,
}

/// What is checked out around a directory of the workspace.
pub fn of(workspace: &Workspace, directory: &Path, whose: Whose<'_>) -> CheckedOut {
    let Ok(start) = workspace.directory(directory) else { return CheckedOut::Nothing };
    let mut of_another = CheckedOut::Nothing;
    for place in start.ancestors().take_while(|place| place.starts_with(workspace.root())) {
        let git = match Git::at(workspace, place) {
            Ok(Some(git)) => git,
            Ok(None) => continue,
            Err(why) => return CheckedOut::Unknown(place.to_owned(), why),
        };
        if git.is_submodule() {
            continue;
        }
        let found = match git.head(workspace) {
            Ok(commit) => CheckedOut::Commit(place.to_owned(), commit),
            Err(why) => CheckedOut::Unknown(place.to_owned(), why),
        };
        if git.is_of(workspace, whose) {
            return found;
        }
        if of_another == CheckedOut::Nothing {
            of_another = found;
        }
    }
    of_another
}

/// A git directory.
struct Git {
    /// Where its HEAD is.
    own: PathBuf,
    /// Where its refs are: another one for a linked worktree.
    common: PathBuf,
}

impl Git {
    /// That of a directory, if it has one.
    fn at(workspace: &Workspace, place: &Path) -> Result<Option<Self>, String> {
        let path = place.join(".git");
        let reported = |fault: PathFault| format!("`.git` {fault}");
        let own = match workspace.directory(&path) {
            Ok(own) => own,
            Err(PathFault::Missing) => return Ok(None),
            Err(PathFault::File) => {
                let text = text(workspace, &path).map_err(reported)?;
                let named = clone::git_directory(&text).ok_or("`.git` is a file without `gitdir:`")?;
                let directory = workspace.directory(&place.join(named));
                directory.map_err(|fault| format!("`.git` names `{named}`, which {fault}"))?
            }
            Err(fault) => return Err(reported(fault)),
        };
        let common = match text(workspace, &own.join("commondir")) {
            Ok(named) => {
                let directory = workspace.directory(&own.join(named.trim_end()));
                directory
                    .map_err(|fault| format!("`commondir` names `{}`, which {fault}", named.trim_end()))?
            }
            Err(PathFault::Missing) => own.clone(),
            Err(fault) => return Err(format!("`commondir` {fault}")),
        };
        Ok(Some(Self { own, common }))
    }

    fn is_submodule(&self) -> bool {
        let mut parts = self.own.components().map(std::path::Component::as_os_str);
        self.own == self.common && parts.any(|part| part == ".git") && parts.any(|part| part == "modules")
    }

    /// Whether it is this repository's; one without `origin` counts as such.
    fn is_of(&self, workspace: &Workspace, whose: Whose<'_>) -> bool {
        let Ok(config) = text(workspace, &self.common.join("config")) else { return true };
        let Some(address) = clone::origin(&config) else { return true };
        repository_of(address, whose.server_host)
            .is_none_or(|found| found.eq_ignore_ascii_case(whose.repository))
    }

    fn head(&self, workspace: &Workspace) -> Result<ObjectId, String> {
        /// A branch may be another name of a branch; Git follows five.
        const LONGEST: usize = 5;
        let mut head =
            text(workspace, &self.own.join("HEAD")).map_err(|fault| format!("its HEAD {fault}"))?;
        for _ in 0..=LONGEST {
            let branch = match Head::parse(&head) {
                Some(Head::Commit(commit)) => return Ok(commit),
                Some(Head::Branch(branch)) => branch,
                None => return Err("its HEAD is neither a commit nor a branch".to_owned()),
            };
            match text(workspace, &self.common.join(branch.as_str())) {
                Ok(loose) => head = loose,
                Err(PathFault::Missing) => return self.packed(workspace, &branch),
                Err(fault) => return Err(format!("`{}` {fault}", branch.as_str())),
            }
        }
        Err("its HEAD leads from branch to branch".to_owned())
    }

    fn packed(&self, workspace: &Workspace, branch: &RefName) -> Result<ObjectId, String> {
        let packed = text(workspace, &self.common.join("packed-refs"));
        let found = packed.ok().and_then(|packed| clone::packed(&packed, branch));
        found.ok_or_else(|| format!("its branch {} has no commit", branch.as_str()))
    }
}

/// A file's text, up to a bound that a million refs do not reach.
fn text(workspace: &Workspace, path: &Path) -> Result<String, PathFault> {
    let (_, bytes) = workspace.read(path, 256 * 1024 * 1024)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const WHOSE: Whose<'static> = Whose { repository: "org/app", server_host: "github.com" };

    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn at(&self, name: &str) -> PathBuf {
            fs::canonicalize(self.0.path()).expect("there").join(name)
        }

        fn file(&self, name: &str, text: &str) {
            fs::create_dir_all(self.at(name).parent().expect("inside")).expect("a directory");
            fs::write(self.at(name), text).expect("a file");
        }

        fn of(&self, directory: &str) -> CheckedOut {
            of(&Workspace::at(self.0.path()), &self.at(directory), WHOSE)
        }

        fn has(&self, directory: &str, place: &str, commit: &ObjectId) {
            let place =
                if place.is_empty() { self.at("x").parent().expect("it").to_owned() } else { self.at(place) };
            assert_eq!(self.of(directory), CheckedOut::Commit(place, commit.clone()), "{directory}");
        }
    }

    #[test]
    fn the_checked_out_commit_is_read_without_git() {
        let tree = Tree::new();
        assert_eq!(tree.of(""), CheckedOut::Nothing);
        let (loose, packed) = ("a".repeat(40), "b".repeat(40));
        let id = |text: &str| text.parse::<ObjectId>().expect("an id");
        tree.file(".git/HEAD", &format!("{loose}\n"));
        tree.has("", "", &id(&loose));
        tree.file(".git/HEAD", "ref: refs/heads/main\n");
        assert!(matches!(tree.of(""), CheckedOut::Unknown(..)), "an unborn branch");
        tree.file(".git/packed-refs", &format!("# pack-refs\n{packed} refs/heads/main\n"));
        tree.has("", "", &id(&packed));
        tree.file(".git/refs/heads/main", &format!("{loose}\n"));
        tree.has("", "", &id(&loose));
        tree.file(".git/HEAD", "ref: refs/heads/other\n");
        tree.file(".git/refs/heads/other", "ref: refs/heads/main\n");
        tree.has("", "", &id(&loose));
        tree.file(".git/refs/heads/main", "ref: refs/heads/other\n");
        assert!(matches!(tree.of(""), CheckedOut::Unknown(..)), "a circle");
        tree.file("elsewhere", &format!("{loose}\n"));
        let elsewhere = tree.at("elsewhere").display().to_string();
        for name in ["../elsewhere", "refs/../../elsewhere", &elsewhere] {
            tree.file(".git/HEAD", &format!("ref: {name}\n"));
            assert!(
                matches!(tree.of(""), CheckedOut::Unknown(..)),
                "{name} is no ref, and nothing else is read"
            );
        }
    }
}
