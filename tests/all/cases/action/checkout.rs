//! Which commit a checkout has, as Git itself makes clones, worktrees and submodules.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use autotag_build_context::workspace::Workspace;
use autotag_deploy::local::head::{CheckedOut, Whose, of};
use autotag_model::git::ObjectId;

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

    /// Git below a directory, with a user and without the machine's configuration.
    fn git(&self, directory: &str, arguments: &[&str]) -> String {
        fs::create_dir_all(self.at(directory)).expect("a directory");
        let mut git = Command::new("git");
        git.current_dir(self.at(directory))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1");
        git.args([
            "-c",
            "user.name=me",
            "-c",
            "user.email=me@example.com",
            "-c",
            "protocol.file.allow=always",
        ]);
        let output = git.args(arguments).output().expect("git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A clone with one commit more.
    fn commit(&self, directory: &str) -> ObjectId {
        self.git(directory, &["init", "--quiet", "--initial-branch=main"]);
        self.git(directory, &["commit", "--quiet", "--allow-empty", "--message", "one"]);
        self.git(directory, &["rev-parse", "HEAD"]).parse().expect("a commit")
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

// case A10; broken by: `head::of` looks at the directory itself alone
pub fn a_clone_is_found_from_the_context_upwards() {
    let tree = Tree::new();
    let app = tree.commit("app");
    tree.file("app/services/api/Dockerfile", "");
    for directory in ["app", "app/services", "app/services/api"] {
        tree.has(directory, "app", &app);
    }
    assert_eq!(tree.of(""), CheckedOut::Nothing, "the workspace's own root has none");
    assert_eq!(tree.of("missing"), CheckedOut::Nothing);
    // Nearest first: an older checkout inside of a newer one is what is built.
    let around = tree.commit("");
    tree.has("app/services", "app", &app);
    tree.has("", "", &around);
    tree.git("", &["pack-refs", "--all"]);
    tree.has("", "", &around);
    tree.git("", &["checkout", "--quiet", "--detach"]);
    tree.has("", "", &around);
}

// case A10; broken by: `Git::is_submodule` is never true
pub fn a_worktree_has_a_head_of_its_own_and_a_submodule_has_none_that_counts() {
    let tree = Tree::new();
    let first = tree.commit("app");
    let second = tree.commit("app");
    tree.git("app", &["worktree", "add", "--quiet", "--detach", "../old", first.as_str()]);
    tree.has("old", "old", &first);
    tree.has("app", "app", &second);
    tree.git("app", &["worktree", "add", "--quiet", "-b", "side", "../side", first.as_str()]);
    tree.has("side", "side", &first);
    tree.commit("library");
    tree.git("app", &["submodule", "--quiet", "add", "../library", "vendor/library"]);
    tree.has("app/vendor/library", "app", &second);
    // Outside of the workspace nothing is read.
    let outside = Workspace::at(&tree.at("old"));
    assert!(matches!(of(&outside, &tree.at("old"), WHOSE), CheckedOut::Unknown(..)));
}

// case A10; broken by: `Git::is_of` is always true
pub fn another_repositorys_clone_counts_only_where_there_is_none_of_ours() {
    let tree = Tree::new();
    let shared = tree.commit("shared");
    tree.git("shared", &["remote", "add", "origin", "https://github.com/org/shared"]);
    tree.has("shared", "shared", &shared);
    let ours = tree.commit("");
    tree.git("", &["remote", "add", "origin", "https://github.com/Org/App.git"]);
    tree.has("shared", "", &ours);
    tree.git("shared", &["remote", "set-url", "origin", "git@github.com:org/app"]);
    tree.has("shared", "shared", &shared);
}
