//! Where everything of the receiver lies on a server.

use std::path::{Path, PathBuf};

use autotag_protocol::{AppName, HOME};

/// The system user of the proxy. No application's user can have this name: it has a `_`.
pub const PROXY_USER: &str = "autotag_proxy";
/// The group of those who may open the receiver's socket.
pub const GROUP: &str = "autotag";
/// What stands before an application's name in that of its system user.
pub const USER_PREFIX: &str = "autotag-";

/// The places, below `/` or below another directory (tests, `--root`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

impl Default for Paths {
    fn default() -> Self {
        Self::below("/")
    }
}

impl Paths {
    /// As if this directory were `/`.
    pub fn below(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The directory that is taken for `/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The app files' directory, root's.
    pub fn app_files(&self) -> PathBuf {
        self.at("etc/autotag")
    }

    /// An application's app file.
    pub fn app_file(&self, app: &AppName) -> PathBuf {
        self.at(&format!("etc/autotag/{app}.yaml"))
    }

    /// An application's state, journal, lock and snapshots, root's, mode 0700.
    pub fn state(&self, app: &AppName) -> PathBuf {
        self.at(&format!("var/lib/autotag/{app}"))
    }

    /// The file whose lock an application's changes take.
    pub fn lock(&self, app: &AppName) -> PathBuf {
        self.state(app).join("lock")
    }

    /// The file whose lock `serve` holds: two would tell one proxy different things.
    pub fn serve_lock(&self) -> PathBuf {
        self.at("var/lib/autotag/serve.lock")
    }

    /// An application's journal.
    pub fn journal(&self, app: &AppName) -> PathBuf {
        self.state(app).join("journal.jsonl")
    }

    /// The directory of the socket of `serve`: root's, of the group [`GROUP`], mode 0750.
    pub fn run(&self) -> PathBuf {
        self.at("run/autotag")
    }

    /// The socket of `serve`.
    pub fn socket(&self) -> PathBuf {
        self.at("run/autotag/serve.sock")
    }

    /// The directory of the proxy's admin socket: the proxy's user's, mode 0700.
    pub fn proxy_run(&self) -> PathBuf {
        self.at("run/autotag-proxy")
    }

    /// The proxy's admin socket.
    pub fn proxy_admin(&self) -> PathBuf {
        self.at("run/autotag-proxy/admin.sock")
    }

    /// The keys that may log in as an application's user: root's, and read by sshd, which knows the user only
    /// (`AuthorizedKeysFile /etc/autotag/keys/%u`).
    pub fn authorized_keys(&self, app: &AppName) -> PathBuf {
        self.at(&format!("etc/autotag/keys/{USER_PREFIX}{app}"))
    }

    /// The directory of the keys.
    pub fn keys(&self) -> PathBuf {
        self.at("etc/autotag/keys")
    }

    /// What belongs to all applications together, and the directories of each. It may be entered by all, since
    /// the applications' users have their empty home below it.
    pub fn all_state(&self) -> PathBuf {
        self.at("var/lib/autotag")
    }

    /// The home of the applications' users: empty, root's. It lies among the applications' own directories, so
    /// no application has its name.
    pub fn home(&self) -> PathBuf {
        self.all_state().join(HOME)
    }

    /// The program itself.
    pub fn program(&self) -> PathBuf {
        self.at("usr/local/bin/autotag-receiver")
    }

    /// systemd's units that a machine's owner adds.
    pub fn units(&self) -> PathBuf {
        self.at("etc/systemd/system")
    }

    /// What sshd is told about the applications' users.
    pub fn sshd_part(&self) -> PathBuf {
        self.at("etc/ssh/sshd_config.d/autotag.conf")
    }

    /// sshd's configuration, and the directory of the host's keys.
    pub fn sshd(&self) -> PathBuf {
        self.at("etc/ssh")
    }

    /// Docker's socket.
    pub fn docker(&self) -> PathBuf {
        PathBuf::from("/var/run/docker.sock")
    }

    /// The users of this machine, passwd(5).
    pub fn passwd(&self) -> PathBuf {
        self.at("etc/passwd")
    }

    /// The groups of this machine, group(5).
    pub fn group(&self) -> PathBuf {
        self.at("etc/group")
    }

    /// The host's own Docker configuration, for pulls that bring no credentials.
    pub fn docker_config(&self) -> PathBuf {
        self.at("root/.docker/config.json")
    }
}

/// The system user of an application.
pub fn user_of(app: &AppName) -> String {
    format!("{USER_PREFIX}{app}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // invariant one-door: No application lies on what belongs to all; broken by:
    //   `crates/protocol/src/names.rs`: `home` is a name like any other
    /// `remove` takes away what is an application's, so nothing else may lie there.
    #[test]
    fn no_applications_directory_is_one_that_belongs_to_all() {
        let paths = Paths::default();
        let app: AppName = "shop".parse().unwrap();
        for shared in [paths.home(), paths.serve_lock()] {
            assert_eq!(shared.parent(), paths.state(&app).parent(), "they lie side by side");
            let name = shared.file_name().and_then(|name| name.to_str()).unwrap();
            assert!(name.parse::<AppName>().is_err(), "an application may be called {name}");
        }
    }
}
