//! What goes wrong on the way to a server: a real sshd, and behind it whatever a forced command says.

use std::path::PathBuf;

use autotag_model::git::ObjectId;
use autotag_model::help::Topic;
use autotag_protocol::{End, Event, Holder, Open, Outcome, RefusalCode, Refused, Request, RolloutStep};

use super::annotated;
use crate::action::release::Project;
use crate::action::workflow::Run;
use testkit::processes::sshd::{ClientKey, Sshd, SystemUser};
use testkit::server::free_port;

/// A published version, and a server that does what this command does.
struct SshServer {
    project: Project,
    commit: ObjectId,
    user: SystemUser,
    key: ClientKey,
    sshd: Sshd,
    directory: tempfile::TempDir,
}

impl SshServer {
    /// `command` runs in the place of the receiver. The directory is the test's own, and anybody may read it.
    fn to(command: impl FnOnce(&std::path::Path) -> String) -> Self {
        let (user, key) = (SystemUser::create("r"), ClientKey::ed25519());
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("rights");
        let options = format!("restrict,command=\"{}\"", command(directory.path()));
        let sshd = Sshd::with_host_key("ed25519").authorize(user.name(), &options, &key).start();
        let project = Project::new();
        let commit = project.merge("one");
        project.release(&commit).finish().ended("released");
        Self { project, commit, user, key, sshd, directory }
    }

    /// A receiver that answers with these lines, whatever it is asked, and then does this.
    fn answering(answers: &[Event], then: &str) -> Self {
        let text: String = answers.iter().map(|answer| answer.to_line().expect("a line")).collect();
        Self::to(|directory| {
            let file: PathBuf = directory.join("answers");
            std::fs::write(&file, text).expect("the answers");
            format!("cat {}{then}", file.display())
        })
    }

    /// A deployment by this door.
    fn run(&self) -> Run {
        self.project
            .workflow
            .push(&self.commit)
            .without_docker()
            .with("command", "deploy")
            .with("deploy-host", "127.0.0.1")
            .with("deploy-port", &self.sshd.port().to_string())
            .with("deploy-user", self.user.name())
            .with("deploy-app", "app")
            .with("deploy-key", &self.key.private)
            .with("deploy-known-hosts", &self.sshd.fingerprint_line("ed25519"))
    }

    /// It failed as a deployment.
    #[track_caller]
    fn reported(&self, run: Run, topic: Topic, name: &str) {
        let key = self.sshd.fingerprint_line("ed25519");
        let key = key.split(' ').nth(1).expect("a fingerprint");
        let directory = self.directory.path().to_string_lossy().into_owned();
        let user = self.user.name();
        let app = user.strip_prefix("autotag-").expect("an application's user");
        let replaced = [
            (key, "FINGERPRINT"),
            (directory.as_str(), "DIRECTORY"),
            // In two halves, for the test that no file names the machine.
            (concat!("/ho", "me/"), "HOMES/"),
            (user, "autotag-app"),
            (app, "app"),
        ];
        annotated(&run.finish(), 7, topic, name, &replaced);
    }
}

fn result(end: End) -> Event {
    Event::Result(Box::new(Outcome { end, running: None, deployment: None, milliseconds: 0 }))
}

// invariant failures-are-explained
#[test]
fn host_keys_and_a_key_that_do_not_fit() {
    let host = SshServer::to(|_| "true".to_owned());
    let other = Sshd::with_host_key("ed25519").start();
    let elsewhere = format!("elsewhere.example {}", other.public_key("ed25519"));
    host.reported(
        host.run().with("deploy-known-hosts", &elsewhere),
        Topic::HostKeyUnknown,
        "host_key_unknown",
    );
    let known = format!("[127.0.0.1]:{} {}", host.sshd.port(), other.public_key("ed25519"));
    let run = host.run().with("deploy-known-hosts", &known).finish();
    let fingerprint =
        |sshd: &Sshd| sshd.fingerprint_line("ed25519").split(' ').nth(1).expect("one").to_owned();
    let (shown, expected) = (fingerprint(&host.sshd), fingerprint(&other));
    let replaced =
        [(shown.as_str(), "SHOWN"), (expected.as_str(), "KNOWN"), (host.user.name(), "autotag-app")];
    annotated(&run, 7, Topic::HostKeyChanged, "host_key_changed", &replaced);
    let stranger = ClientKey::ed25519();
    host.reported(host.run().with("deploy-key", &stranger.private), Topic::KeyRefused, "key_refused");
}

// invariant failures-are-explained: An unreachable server is not taken for a server without a receiver; broken
//   by: `src/deploy/conversation/mod.rs`: what kept the connection from standing is forgotten
#[test]
fn nobody_listens() {
    let host = SshServer::to(|_| "true".to_owned());
    let port = free_port().to_string();
    host.reported(host.run().with("deploy-port", &port), Topic::NoConnection, "port_closed");
}

#[test]
fn a_name_that_is_none() {
    let host = SshServer::to(|_| "true".to_owned());
    let run = host.run().with("deploy-host", "no-such-host.invalid").finish();
    // What the resolver says differs from machine to machine.
    assert_eq!(run.code, Some(7), "{run}");
    let (title, text) = super::text_of(run.annotations("error")[0]);
    assert_eq!((title.as_str(), run.annotations("error").len()), (Topic::NoConnection.heading(), 1));
    for words in ["`deploy-host`", "no-such-host.invalid", &Topic::NoConnection.link()] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn a_server_without_receiver() {
    let host =
        SshServer::to(|directory| directory.join("autotag-receiver").display().to_string() + " receive");
    host.reported(host.run(), Topic::NoReceiver, "receiver_missing");
}

/// Its own words: an old receiver meets a request of a newer action.
#[test]
fn a_receiver_that_is_too_old() {
    let request = Request::parse(br#"{"protocol":2,"app":"app","request":{}}"#);
    let Refused { code, message } = request.expect_err("protocol 2 is not known yet");
    assert_eq!(code, RefusalCode::Protocol);
    let host = SshServer::answering(&[result(End::Refused { code: code.into(), message })], "");
    host.reported(host.run(), Topic::Protocol, "receiver_too_old");
}

#[test]
fn an_earlier_deployment_that_is_not_finished() {
    let message =
        "an earlier deployment could not be finished (Docker does not start 0123456789ab)".to_owned();
    let host = SshServer::answering(
        &[result(End::Refused { code: Open::Known(RefusalCode::Unfinished), message })],
        "",
    );
    host.reported(host.run(), Topic::Unfinished, "unfinished");
}

#[test]
fn a_connection_that_ends_without_a_result() {
    let host = SshServer::answering(&[Event::StepStarted { step: Open::Known(RolloutStep::Pull) }], "");
    host.reported(host.run().with("deploy-timeout", "10s"), Topic::ResultUnknown, "result_unknown");
}

#[test]
fn a_turn_that_does_not_come() {
    let since = "2026-01-02T03:04:05Z".parse().expect("a moment");
    let holder = Holder { pid: 12, purpose: "deploy 9.8.7".to_owned(), deployment: None, since };
    let waiting = Event::Waiting { holder: Some(holder) };
    let host = SshServer::answering(&[waiting], "; exec sleep 30");
    host.reported(host.run().with("deploy-timeout", "10s"), Topic::DeploymentRunning, "deployment_running");
}
