//! A connection that is lost, at whatever moment and in whatever way, is never success.

use std::time::Duration;

use autotag_base::{CallErrorKind, Effect};

use super::{Deadlines, Finished, Libssh2, PATIENT, Secret, Server, run, run_within};
use autotag_deploy::ports::RemoteExec as _;

use testkit::network::cutter::{Break, Cutter};

/// Idle for at most this long; longer than a slow machine takes for a command's first word.
const IMPATIENT: Deadlines = Deadlines { idle: Duration::from_secs(3), ..PATIENT };

// invariant no-guess: However a line to sshd breaks, the result is known
// invariant no-guess: A lost connection is never success; broken by: `src/adapters/ssh`: what `wait_close` says
//   is not looked at
#[tokio::test]
async fn cut_at_any_byte_it_is_never_success() {
    let server = Server::start();
    // One write, so that each run has the same packets.
    let command = "cat >/dev/null; echo working; exit 0";
    let whole = Cutter::start(server.sshd.port(), Break::Never, 0);
    let ran = run(&server.host_at(whole.port()), command, "input\n").await;
    assert_eq!(ran.outcome, Ok(Finished { status: 0, stderr: String::new() }));
    let all = whole.passed();
    assert!(all > 1000, "{all} bytes");
    // The last packet says that the channel is closed; without its last byte it says nothing.
    let places =
        (0..all).step_by(usize::try_from(all / 24).expect("small")).chain([all - 40, all - 8, all - 1]);
    for place in places {
        let cutter = Cutter::start(server.sshd.port(), Break::Cut, place);
        let ran = run(&server.host_at(cutter.port()), command, "input\n").await;
        let lines = ran.lines.clone();
        let Err(error) = ran.outcome else {
            panic!("success after {} of {all} bytes, cut at {place}", cutter.passed());
        };
        // Whoever asks again must not be told that it is of no use.
        let is_final = matches!(error.kind, CallErrorKind::Denied | CallErrorKind::Rejected);
        assert!(!is_final, "cut after {place} of {all} bytes: {error}");
        if lines.iter().any(|line| line == "working") {
            assert_eq!(error.effect, Effect::Unknown, "after {place} of {all} bytes: {error}");
        }
    }
}

#[tokio::test]
async fn cut_in_the_middle_of_much_output_it_is_lost() {
    let server = Server::start();
    let cutter = Cutter::start(server.sshd.port(), Break::Cut, 300_000);
    let command = "yes line | head -n 1000000; exit 0";
    let ran = run(&server.host_at(cutter.port()), command, &"x".repeat(256 * 1024)).await;
    assert!(!ran.lines.is_empty() && ran.lines.len() < 100_000, "{} lines", ran.lines.len());
    ran.must_be_an_error(Effect::Unknown, &["the connection was lost"]);
}

#[tokio::test]
async fn half_closed_in_the_middle_it_is_lost() {
    let server = Server::start();
    let cutter = Cutter::start(server.sshd.port(), Break::HalfClose, 300_000);
    let ran = run(&server.host_at(cutter.port()), "yes line | head -n 1000000; exit 0", "").await;
    ran.must_be_an_error(Effect::Unknown, &["the connection was lost"]);
}

#[tokio::test]
async fn a_silent_network_is_noticed_at_the_idle_deadline() {
    let server = Server::start();
    let cutter = Cutter::start(server.sshd.port(), Break::Freeze, 300_000);
    let host = server.host_at(cutter.port());
    let ran = run_within(&host, "yes line | head -n 1000000; exit 0", "", IMPATIENT).await;
    ran.must_be_an_error(Effect::Unknown, &["nothing for 3 s"]);
}

#[tokio::test]
async fn only_a_silent_command_times_out() {
    let server = Server::start();
    let ran = run_within(&server.host(), "echo one; exec sleep 30", "", IMPATIENT).await;
    assert_eq!(ran.lines, ["one"]);
    ran.must_be_an_error(Effect::Unknown, &["nothing for 3 s"]);
    // What is no line is no sign of life.
    let ran =
        run_within(&server.host(), "while :; do printf .; echo . >&2; sleep 0.1; done", "", IMPATIENT).await;
    ran.must_be_an_error(Effect::Unknown, &["nothing for 3 s"]);
    let beats = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.5; done";
    assert_eq!(run_within(&server.host(), beats, "", IMPATIENT).await.outcome.map(|end| end.status), Ok(0));
}

#[tokio::test]
async fn the_whole_deadline_ends_what_goes_on_for_ever() {
    let server = Server::start();
    let deadlines = Deadlines { whole: Duration::from_secs(6), ..PATIENT };
    let ran = run_within(&server.host(), "yes", "", deadlines).await;
    assert!(ran.lines.len() > 1000, "{} lines", ran.lines.len());
    ran.must_be_an_error(Effect::Unknown, &["did not end within 6 s", "`deploy-timeout`"]);
}

// invariant no-guess: A command that was killed has not worked; broken by: `src/adapters/ssh`: the exit signal
//   is not looked at
#[tokio::test]
async fn a_command_that_a_signal_ended_is_no_success() {
    let server = Server::start();
    let ran = run(&server.host(), "echo dying >&2; kill -KILL $$", "").await;
    ran.must_be_an_error(Effect::Unknown, &["the signal KILL", "dying"]);
}

#[tokio::test]
async fn a_dropped_future_closes_the_connection() {
    let server = Server::start();
    let host = server.host();
    let first;
    {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut sender = Some(sender);
        let mut take = |line: &[u8]| {
            if let Some(sender) = sender.take() {
                sender.send(line.to_vec()).expect("a listener");
            }
        };
        let input = Secret::verbatim("x".repeat(4 * 1024 * 1024));
        let run = Libssh2.run(&host, "echo here; exec sleep 60", &input, 1000, PATIENT, &mut take);
        tokio::select! {
            outcome = run => panic!("it ended: {outcome:?}"),
            line = receiver => first = line.ok(),
        }
    }
    assert_eq!(first.as_deref(), Some(b"here".as_slice()));
    let gone = async {
        while server.sshd.open_connections() > 0 {
            autotag_base::clock::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("sshd notices the end");
}
