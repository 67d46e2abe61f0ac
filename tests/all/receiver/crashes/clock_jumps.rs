//! The machine's clock jumps between and during deployments: nothing that is decided depends on it.
//!
//! Debian's `faketime` gives `serve` and the proxy a clock that a file moves; their monotonic one stays true.

use std::path::PathBuf;
use std::time::Duration;

use autotag_protocol::{Body, Configuration, End, Event, Open, RefusalCode, RolloutStep};

use crate::receiver::crashes::held::{one_of_the_right_version, refused};
use testkit::clock;
use testkit::load::{Load, Mix};
use testkit::server::{Images, Server, deploy};

/// A clock that is wrong by as much as a file says.
struct Clock {
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Clock {
    fn with_server() -> (Self, Server) {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Self { file: directory.path().join("clock"), _directory: directory };
        clock.jump("+0d");
        let mut libraries = std::fs::read_dir("/usr/lib").expect("/usr/lib").filter_map(Result::ok);
        let library = libraries.find_map(|directory| {
            let file = directory.path().join("faketime/libfaketimeMT.so.1");
            file.exists().then_some(file)
        });
        let library = library.expect("these tests need Debian's package faketime").display().to_string();
        let file = clock.file.display().to_string();
        let server = Server::with_environment(&[
            ("LD_PRELOAD", &library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
        (clock, server)
    }

    fn jump(&self, by: &str) {
        // As a whole: it is read at any moment.
        let beside = self.file.with_extension("new");
        std::fs::write(&beside, by).expect("written");
        std::fs::rename(beside, &self.file).expect("in its place");
    }
}

const QUICK: &str = "health: {path: /healthz, deadline: 6s, stable: 300ms}\ndrain: 20s\n";

// invariant server-order
#[test]
fn order_and_deadlines_do_not_depend_on_it() {
    let (clock, server) = Clock::with_server();
    let images = Images::start();
    server.app_file(images.name(), QUICK);
    let digests = ["1.0.0", "1.0.1", "1.0.2", "1.0.3"].map(|version| (version, images.push(version)));
    // A request that takes longer than a deployment is under way at each switch.
    let mix = Mix { slow: 800..1500, ..Mix::small() };
    server.deploy(deploy(images.name(), "1.0.0", &digests[0].1)).ended(&End::Deployed {});
    let load = Load::start(([127, 0, 0, 1], server.port).into(), &mix);
    load.warm_up(1);
    for ((version, digest), [before, during]) in
        digests[1..].iter().zip([["-3650d", "-3650d"], ["-3650d", "+3650d"], ["+3650d", "-3650d"]])
    {
        clock.jump(before);
        let mut conversation = server.ask(Body::Deploy(Box::new(deploy(images.name(), version, digest))));
        conversation.until(|answer| *answer == Event::StepStarted { step: Open::Known(RolloutStep::Health) });
        clock.jump(during);
        let reported = conversation.finish().ended(&End::Deployed {});
        let cut = reported.answers.iter().any(|answer| matches!(answer, Event::Note { .. }));
        assert!(!cut && reported.outcome.milliseconds < 60_000, "{}", reported.text());
        one_of_the_right_version(&server, &format!("{before}, then {during}"));
    }
    load.stop().assert_nothing_lost();

    // The clock did jump, and the history is in the order of what was done.
    let history = server.history();
    let years: Vec<i16> =
        history.iter().map(|entry| entry.at.to_zoned(jiff::tz::TimeZone::UTC).year()).collect();
    assert!(years[0] > years[1] + 15 && years[1] == years[2] && years[3] > years[2] + 5, "{years:?}");
    let versions: Vec<String> = history.iter().map(|entry| entry.release.version.to_string()).collect();
    assert_eq!(versions, ["1.0.3", "1.0.2", "1.0.1", "1.0.0"]);

    // A delayed run is told so, and the version before is the one that was before.
    let reported = server.deploy(deploy(images.name(), "1.0.2", &digests[2].1));
    refused(&reported.outcome.end, RefusalCode::NewerIsLive);
    server.roll_back(None, Configuration::Today).ended(&End::RolledBack {});
    let state = one_of_the_right_version(&server, "rolled back");
    assert_eq!(state.active().expect("it serves").release.version.to_string(), "1.0.2");
    let reported = server.deploy(deploy(images.name(), "1.0.3", &digests[3].1));
    refused(&reported.outcome.end, RefusalCode::RolledBack);
}

// invariant recovery: No deadline follows the clock; broken by: `crates/base/src/clock.rs`: the stopwatch reads
//   the hour
#[test]
fn a_health_deadline_is_kept_and_heartbeats_come() {
    let (clock, server) = Clock::with_server();
    let images = Images::start();
    server.app_file(images.name(), QUICK);
    let one = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let broken = images.push_with("1.0.1", &[("FAIL_HEALTH", "always")]);
    let mut conversation = server.ask(Body::Deploy(Box::new(deploy(images.name(), "1.0.1", &broken))));
    conversation.until(|answer| *answer == Event::StepStarted { step: Open::Known(RolloutStep::Health) });
    let since = clock::start();
    // Far ahead: a deadline by the clock would be over at once. Then back: it would never come.
    clock.jump("+3650d");
    conversation.heartbeat();
    clock.jump("-3650d");
    let reported = conversation.finish();
    assert!(
        matches!(reported.outcome.end, End::Failed { step: Open::Known(RolloutStep::Health), .. }),
        "{}",
        reported.text()
    );
    let took = since.elapsed();
    assert!(took > Duration::from_secs(5) && took < Duration::from_mins(1), "{took:?}");
    one_of_the_right_version(&server, "after the failure");
}
