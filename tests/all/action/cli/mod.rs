//! The command line as a person meets it: real programs, real clones, real terminals, real shells.

mod screen;
mod shells;
mod table;
mod workstation;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use autotag_model::git::ObjectId;

use testkit::github::Double;

/// A person's machine: a clone of `org/app` with one commit on main, a home, and programs on the PATH.
pub struct Workstation {
    directory: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    /// Where its repository is hosted.
    pub github: Double,
}

impl Workstation {
    /// The commit is pushed: the double has it.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["clone", "home", "bin"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let mut environment = BTreeMap::new();
        for (name, value) in [
            ("PATH", format!("{}:/usr/bin:/bin", path("bin"))),
            ("HOME", path("home")),
            ("SHELL", "/bin/sh".to_owned()),
            ("TERM", "xterm".to_owned()),
            ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
            // Commits have the same names every time.
            ("GIT_AUTHOR_DATE", "2026-01-02T03:04:05Z".to_owned()),
            ("GIT_COMMITTER_DATE", "2026-01-02T03:04:05Z".to_owned()),
            ("PROGRAM", env!("CARGO_BIN_EXE_autotag-deploy").to_owned()),
        ] {
            environment.insert(name.to_owned(), value);
        }
        let workstation = Self { github: Double::start(), directory, environment };
        workstation.git(&["init", "--quiet", "--initial-branch=main", "."]);
        workstation.commit();
        workstation.git(&["remote", "add", "origin", "https://github.com/org/app.git"]);
        let github = Double::import_git(&workstation.clone());
        workstation.with("GITHUB_API_URL", &github.url()).hosted_by(github)
    }

    fn hosted_by(self, github: Double) -> Self {
        Self { github, ..self }
    }

    /// A variable for every command.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The double's token.
    pub fn logged_in(self) -> Self {
        self.with("GH_TOKEN", Double::TOKEN)
    }

    /// Where the clone is.
    pub fn clone(&self) -> PathBuf {
        self.directory.path().join("clone")
    }

    /// A file below the home.
    pub fn home_file(&self, name: &str, text: &str) {
        let path = self.directory.path().join("home").join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    }

    /// A program on the PATH, as a script.
    pub fn program(&self, name: &str, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.directory.path().join("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// One more commit; the double takes it when it is next asked, as after a push.
    pub fn commit(&self) -> ObjectId {
        self.commit_as("feat: something")
    }

    /// Likewise, under this title.
    pub fn commit_as(&self, title: &str) -> ObjectId {
        let message = ["commit", "--quiet", "--allow-empty", "--message", title];
        self.git(&[&["-c", "user.name=me", "-c", "user.email=me@example.com"][..], &message].concat());
        self.head()
    }

    /// What the clone has checked out.
    pub fn head(&self) -> ObjectId {
        self.git(&["rev-parse", "HEAD"]).parse().expect("a commit")
    }

    /// Git in the clone; gives what it prints.
    #[track_caller]
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = self.command("git").args(arguments).output().expect("git");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Any program, in the clone.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.environment).current_dir(self.clone()).stdin(Stdio::null());
        command
    }

    /// The program without a terminal.
    pub fn run(&self, arguments: &[&str]) -> RawInputs {
        RawInputs::of(
            &self.command(env!("CARGO_BIN_EXE_autotag-deploy")).args(arguments).output().expect("it runs"),
        )
    }

    /// A line for the shell on a terminal of its own (script(1)); both streams come as one. `$PROGRAM` is the
    /// program.
    pub fn on_terminal(&self, line: &str) -> RawInputs {
        self.on_terminal_watched(line, |_| ())
    }

    /// The same; all that has been drawn is shown to `watch` whenever there is more of it.
    pub fn on_terminal_watched(&self, line: &str, mut watch: impl FnMut(&str)) -> RawInputs {
        let mut script = self.command("script");
        script.args(["--quiet", "--return", "--command", line, "/dev/null"]).stdout(Stdio::piped());
        let mut script = script.stderr(Stdio::piped()).spawn().expect("script");
        let mut drawn = script.stdout.take().expect("a pipe");
        let (mut out, mut buffer) = (Vec::new(), [0; 4096]);
        while let count @ 1.. = drawn.read(&mut buffer).expect("what is drawn") {
            out.extend_from_slice(&buffer[..count]);
            watch(&String::from_utf8_lossy(&out));
        }
        let ended = script.wait_with_output().expect("it ends");
        RawInputs::of(&Output { stdout: out, ..ended })
    }
}

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct RawInputs {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl RawInputs {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// It ended so; gives what it said.
    #[track_caller]
    pub fn ended(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self.out + &self.err
    }
}
