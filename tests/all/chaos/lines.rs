//! Every way in which a line to sshd can break, in each part of a conversation; and lines that make no sense.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use autotag_protocol::End;

use crate::action::workflow::Run;
use crate::receiver::deployments::end_to_end::Way;
use testkit::network::chaos::relay::Relay;
use testkit::network::cutter::{Break, Cutter};
use testkit::processes::sshd::Sshd;
use testkit::torture::tally;

/// Where in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// In the key exchange or the authentication: nothing was asked yet.
    Login,
    /// The server tells of the deployment's steps.
    Conversation,
    /// All of it is told but the result, and the deployment is over.
    Result,
}

const PARTS: [Part; 3] = [Part::Login, Part::Conversation, Part::Result];

/// The bytes of an encrypted result and of the connection's end behind it; less than those of two results.
const RESULT_BYTES: u64 = 300;

/// A server with a line to it.
struct Line {
    way: Way,
    relay: Relay,
    /// How many bytes sshd sends where nothing but the status is asked.
    question: u64,
    /// And in a deployment.
    deployment: u64,
    deployed: usize,
}

impl Line {
    fn open() -> Self {
        let way = Way::open();
        let relay = Relay::start(way.sshd.port());
        let mut line = Self { way, relay, question: 0, deployment: 0, deployed: 0 };
        let whole = Cutter::start(line.way.sshd.port(), Break::Never, 0);
        let run = line.merge(whole.port()).finish().ended("released");
        assert_eq!(run.output("deployed"), "true", "{run}");
        let short = Cutter::start(line.way.sshd.port(), Break::Never, 0);
        let commit = line.way.project.merge("a question");
        line.way.run(&commit, short.port()).with("command", "status").finish().ended("reported");
        (line.deployment, line.question) = (whole.passed(), short.passed());
        assert!(line.deployment > line.question + 2 * RESULT_BYTES, "{} {}", line.deployment, line.question);
        line
    }

    /// A run that releases one more merge and deploys it, by way of this port.
    fn merge(&mut self, port: u16) -> Run {
        self.deployed += 1;
        let commit = self.way.project.merge(&format!("merge {}", self.deployed));
        let digest = self.way.pushed_unversioned(&commit, &[]);
        self.way.release(&commit, &digest, port)
    }

    fn place(&self, part: Part) -> u64 {
        match part {
            Part::Login => self.question / 2,
            Part::Conversation => self.question + (self.deployment - self.question) / 2,
            Part::Result => self.deployment - RESULT_BYTES,
        }
    }

    /// Logins that sshd let in so far.
    fn logins(&self) -> usize {
        self.way.sshd.log().matches("Accepted publickey").count()
    }

    /// It breaks so in this part: the run takes it up again, and knows what the server did, once.
    fn breaks(&mut self, kind: Break, part: Part) {
        let (connections, logins) = (self.way.sshd.connections(), self.logins());
        self.relay.snap(kind, self.place(part));
        let run = self.merge(self.relay.port()).finish();
        let run = run.ended("released");
        tally("runs", 1);
        let what = format!("{kind:?} in {part:?}");
        let version = format!("0.0.{}", self.deployed);
        assert_eq!(
            (run.output("deployed"), run.output("deployed-version")),
            ("true", version.as_str()),
            "{what}"
        );
        let connections = self.way.sshd.connections() - connections;
        let logins = self.logins() - logins;
        match (kind, part) {
            // Slow is not broken.
            (Break::Slow, _) => assert_eq!((connections, logins), (1, 1), "{what}: {run}"),
            (_, Part::Login) => assert_eq!((connections, logins), (2, 1), "{what}: {run}"),
            _ => assert_eq!((connections, logins), (2, 2), "{what}: {run}"),
        }
        if kind != Break::Slow {
            assert!(run.log.contains("asking again"), "{what}: {run}");
        }
        self.once(&what);
    }

    /// Each version was deployed once, and the last one serves.
    fn once(&self, what: &str) {
        let history = self.way.server.history();
        assert_eq!(history.len(), self.deployed, "{what}: {history:?}");
        assert!(history.iter().all(|entry| entry.end == End::Deployed {}), "{what}: {history:?}");
        let newest = history.first().expect("an entry");
        assert!(self.way.server.get("/").1.starts_with(newest.release.commit.short()), "{what}");
    }
}

// invariant no-guess: However a line to sshd breaks, the result is known; broken by:
//   `src/adapters/ssh/fault.rs`: a failed key exchange is final; an answer to the login that was lost is a
//   refusal
/// Silence takes its time: 20 s in the login, 35 s later. The others are tried meanwhile.
#[test]
fn the_result_is_known_wherever_a_connection_breaks() {
    std::thread::scope(|scope| {
        for part in PARTS {
            scope.spawn(move || Line::open().breaks(Break::Freeze, part));
        }
        for kinds in [[Break::Cut, Break::Reset], [Break::HalfClose, Break::Slow]] {
            scope.spawn(move || {
                let mut line = Line::open();
                for part in PARTS {
                    for kind in kinds {
                        line.breaks(kind, part);
                    }
                }
            });
        }
    });
}

/// A program in place of the relay, which does this to the relay's first conversation, and to no later one.
struct Spoiler {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Spoiler {
    fn that(spoils: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let program = directory.path().join("spoiler");
        let once = directory.path().join("once");
        let script = format!(
            "#!/bin/sh\nif mkdir {} 2>/dev/null; then {spoils}; else exec \"$@\"; fi\n",
            once.display()
        );
        std::fs::write(&program, script).expect("a script");
        // It runs as the key's user.
        for path in [directory.path(), &program] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).expect("a mode");
        }
        Self { directory, program }
    }

    fn has_spoiled(&self) -> bool {
        self.directory.path().join("once").exists()
    }
}

// invariant no-guess: A line that makes no sense is no result; broken by: `src/deploy/conversation/mod.rs`: such
//   lines are passed over
#[test]
fn a_line_that_makes_no_sense_is_never_the_result() {
    let mut line = Line::open();
    for (what, spoils, words) in [
        ("another program's words", "echo 'Welcome!'; exec \"$@\"", "answer of a receiver"),
        ("words in the middle", "\"$@\" | sed -u '2a <html>captive portal</html>'", "answer of a receiver"),
        ("bytes that are no text", "printf '\\377\\376\\000\\n'; exec \"$@\"", "answer of a receiver"),
        ("half of the result", "\"$@\" | sed -u '$s/.\\{40\\}$//'", "answer of a receiver"),
        ("a result without its end of line and its end", "\"$@\" | head -c -20", "answer of a receiver"),
        ("words behind the result", "\"$@\"; echo 'Connection closed.'", "answer of a receiver"),
        ("no result", "\"$@\" | sed -u '$d'", "no result"),
    ] {
        let spoiler = Spoiler::that(spoils);
        let sshd: Sshd = line.way.sshd_with(&spoiler.program);
        let run = line.merge(sshd.port()).with("deploy-known-hosts", &sshd.fingerprint_line("ed25519"));
        let run = run.finish().ended("released");
        assert!(spoiler.has_spoiled(), "{what}: {run}");
        assert_eq!(run.output("deployed"), "true", "{what}: {run}");
        let lost = run.log.lines().find(|line| line.contains("asking again"));
        let lost = lost.unwrap_or_else(|| panic!("{what} was taken for a result: {run}"));
        assert!(lost.contains(words), "{what}: {lost}");
        assert_eq!(sshd.connections(), 2, "{what}: {run}");
        line.once(what);
    }
}
