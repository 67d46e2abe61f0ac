//! The whole way: the action's real program, GitHub's double, a real registry, a real sshd, the real server.

use autotag_model::help::Topic;
use std::path::Path;

use autotag_model::git::ObjectId;
use autotag_model::reference::Digest;
use autotag_protocol::End;

use crate::action::release::Project;
use crate::action::workflow::Run;
use testkit::images::app_image::AppImage;
use testkit::network::cutter::{Break, Cutter};
use testkit::processes::sshd::{ClientKey, Sshd, SystemUser};
use testkit::server::Server;

/// A project, and a server that `init` set up for it.
pub struct Way {
    pub project: Project,
    pub server: Server,
    pub sshd: Sshd,
    pub user: SystemUser,
    key: ClientKey,
    /// Of the key's line, as `init` wrote them.
    options: String,
}

impl Way {
    pub fn open() -> Self {
        Self::of(Project::new())
    }

    /// Likewise, for a project with a registry of its own kind.
    pub fn of(project: Project) -> Self {
        let (user, key) = (SystemUser::create("w"), ClientKey::ed25519());
        let (server, options) = Server::set_up(&user, &key, &project.image());
        let path = server.paths.app_file(&server.app);
        let text = std::fs::read_to_string(&path).expect("the app file");
        let quick = "health: {path: /healthz, deadline: 3s, stable: 200ms}";
        let text: Vec<&str> =
            text.lines().map(|line| if line.starts_with("health:") { quick } else { line }).collect();
        // What an owner may allow, so that each run can be told what to do about it.
        let allowed = "allow_downgrade: true\nallow_unlabelled: true\n";
        std::fs::write(&path, text.join("\n") + "\n" + allowed).expect("the app file");
        let sshd = Sshd::with_host_key("ed25519").authorize(user.name(), &options, &key).start();
        Self { project, server, sshd, user, key, options }
    }

    /// Another sshd for the same key, with this program in place of the receiver's relay; it is given the
    /// relay's command line as its arguments.
    pub fn sshd_with(&self, program: &Path) -> Sshd {
        let command = format!("command=\"{} ", program.display());
        let options = self.options.replacen("command=\"", &command, 1);
        assert_ne!(options, self.options, "the forced command stands there");
        Sshd::with_host_key("ed25519").authorize(self.user.name(), &options, &self.key).start()
    }

    /// An image of this commit, which says that it is this version.
    pub fn pushed(&self, commit: &ObjectId, version: &str, environment: &[(&str, &str)]) -> Digest {
        let image =
            AppImage::new(version).commit(commit.as_str()).label("registry", self.project.registry.host());
        let image = environment.iter().fold(image, |image, (name, value)| image.environment(name, value));
        self.project.registry.put("org/app", &format!("ci-{}", commit.short()), &image.for_registry())
    }

    /// An image of this commit that was built before its version was known. It answers the commit's digits.
    pub fn pushed_unversioned(&self, commit: &ObjectId, environment: &[(&str, &str)]) -> Digest {
        let image = AppImage::answering(commit.short()).commit(commit.as_str());
        let image = environment.iter().fold(image, |image, (name, value)| image.environment(name, value));
        let image = image.label("registry", self.project.registry.host());
        self.project.registry.put("org/app", &format!("ci-{}", commit.short()), &image.for_registry())
    }

    /// A run for this commit that deploys, by SSH at this port.
    pub fn run(&self, commit: &ObjectId, port: u16) -> Run {
        self.project
            .workflow
            .push(commit)
            .without_docker()
            .with("deploy-host", "127.0.0.1")
            .with("deploy-port", &port.to_string())
            .with("deploy-user", self.user.name())
            .with("deploy-app", self.server.app.as_str())
            .with("deploy-key", &self.key.private)
            .with("deploy-known-hosts", &self.sshd.fingerprint_line("ed25519"))
    }

    pub fn release(&self, commit: &ObjectId, digest: &Digest, port: u16) -> Run {
        self.run(commit, port).with("image-digest", digest.as_str())
    }
}

#[test]
fn a_merge_is_served_and_a_rollback_is_one_command() {
    let way = Way::open();
    let port = way.sshd.port();
    let one = way.project.merge("feat: begin");
    let digest = way.pushed(&one, "0.0.1", &[]);
    let run = way.release(&one, &digest, port).with("environment", "production").finish().ended("released");
    for (name, value) in
        [("deployed", "true"), ("deployed-version", "0.0.1"), ("deployed-digest", digest.as_str())]
    {
        assert_eq!(run.output(name), value, "{name}");
    }
    assert!(way.server.get("/").1.starts_with("0.0.1 "));
    let recorded = way.project.github.deployments();
    let states: Vec<&str> = recorded[0].statuses.iter().map(|status| status.state.as_str()).collect();
    assert_eq!(states, ["in_progress", "success"]);

    // The same run again: nothing is touched.
    let before = way.server.containers();
    way.release(&one, &digest, port).finish().ended("resumed");
    assert_eq!(way.server.containers(), before);

    // A broken one. What it says cannot command the runner.
    let two = way.project.merge("fix: break it");
    let printed = [("FAIL_HEALTH", "always"), ("SAY", "::error::not a command")];
    let digest = way.pushed(&two, "0.0.2", &printed);
    let run = way.release(&two, &digest, port).finish().failed(7);
    assert_eq!((run.output("deployed"), run.output("version")), ("false", "0.0.2"));
    assert!(run.raw.contains("not a command"), "its last words are shown: {run}");
    let errors = run.annotations("error");
    assert!(errors.len() == 1 && errors[0].contains("/healthz") && errors[0].contains("503"), "{errors:?}");
    assert!(errors[0].contains("0.0.1"), "what serves is said: {errors:?}");
    assert!(way.server.get("/").1.starts_with("0.0.1 "));

    let three = way.project.merge("fix: mend it");
    let digest = way.pushed(&three, "0.0.3", &[]);
    way.release(&three, &digest, port).finish().ended("released");
    assert!(way.server.get("/").1.starts_with("0.0.3 "));

    let run = way.run(&three, port).with("command", "rollback").finish().ended("rolled-back");
    assert_eq!(run.output("deployed-version"), "0.0.1");
    assert!(way.server.get("/").1.starts_with("0.0.1 "));
    // What was rolled back stays out, and no job is green for a version that does not serve.
    let run = way.run(&three, port).with("command", "deploy").with("version", "0.0.3").finish().failed(7);
    assert_eq!(run.output("deployed"), "false");
    let errors = run.annotations("error");
    assert!(errors.len() == 1 && errors[0].contains(&Topic::NewerIsLive.link()), "{errors:?}");
    assert!(way.server.get("/").1.starts_with("0.0.1 "));
    let run = way.run(&three, port).with("command", "status").finish().ended("reported");
    assert!(run.raw.contains("0.0.1"), "{run}");
}

#[test]
fn a_cut_connection_deploys_once_and_learns_the_result() {
    let way = Way::open();
    let one = way.project.merge("feat: begin");
    let digest = way.pushed(&one, "0.0.1", &[]);
    // How much the server says in a whole deployment, and how much where it has nothing to do.
    let whole = Cutter::start(way.sshd.port(), Break::Never, 0);
    way.release(&one, &digest, whole.port()).finish().ended("released");
    let short = Cutter::start(way.sshd.port(), Break::Never, 0);
    way.release(&one, &digest, short.port()).finish().ended("resumed");
    let (whole, short) = (whole.passed(), short.passed());
    assert!(whole > short + 500, "{whole} and {short} bytes");

    let mut deployed = 1;
    for (number, kind) in
        [Break::Cut, Break::HalfClose, Break::Cut, Break::HalfClose, Break::Cut].into_iter().enumerate()
    {
        // Behind the bytes of a short conversation, so that the one that asks again comes through.
        let after = short + 200 + (whole - short - 300) * number as u64 / 5;
        let version = format!("0.0.{}", number + 2);
        let commit = way.project.merge("fix: something");
        let digest = way.pushed(&commit, &version, &[]);
        let cutter = Cutter::start(way.sshd.port(), kind, after);
        let connections = way.sshd.connections();
        let run = way.release(&commit, &digest, cutter.port()).finish().ended("released");
        deployed += 1;
        assert_eq!((run.output("deployed"), run.output("deployed-version")), ("true", version.as_str()));
        assert!(way.server.get("/").1.starts_with(&format!("{version} ")));
        assert!(way.sshd.connections() >= connections + 2, "{kind:?} after {after} bytes was noticed");
        let history = way.server.history();
        assert_eq!(history.len(), deployed, "it was deployed once: {history:?}");
        assert!(history.iter().all(|entry| entry.end == End::Deployed {}), "{history:?}");
    }
}
