//! Who is next, and who goes back.

use super::*;
use autotag_model::reference::Digest;

fn running(version: &str) -> Running {
    Running {
        version: version.parse().unwrap(),
        digest: Digest::of(version.as_bytes()),
        commit: "a".repeat(40).parse().unwrap(),
        deployment: "run-1-1-00000000".parse().unwrap(),
    }
}

fn sequence(on_failure: OnFailure, stops: &[HostResult]) -> HostSequence {
    let mut sequence = HostSequence::new(["web1", "web2", "web3"].map(str::to_owned), on_failure);
    for (report, stop) in sequence.reports.iter_mut().zip(stops) {
        report.stop = stop.clone();
    }
    sequence
}

fn done(end: End) -> HostResult {
    HostResult::Done(end)
}

fn failed() -> HostResult {
    HostResult::Failed(Box::new(Failure::new(FailureKind::Deployment, "deploying", "no", "fix it")))
}

#[test]
fn one_after_another_and_the_first_failure_stops_the_rest() {
    let next = |stops: &[HostResult]| sequence(OnFailure::Keep, stops).next();
    assert_eq!(next(&[]), SequenceStep::Go(0));
    assert_eq!(next(&[done(End::Deployed {})]), SequenceStep::Go(1));
    assert_eq!(next(&[done(End::Deployed {}), done(End::Unchanged {})]), SequenceStep::Go(2));
    assert_eq!(next(&[done(End::Deployed {}), failed()]), SequenceStep::Home);
    assert_eq!(next(&[HostResult::Superseded("newer".to_owned())]), SequenceStep::Home);
    let all = [done(End::Deployed {}), done(End::Deployed {}), done(End::Deployed {})];
    assert_eq!(next(&all), SequenceStep::Home);
    assert!(sequence(OnFailure::Keep, &all).complete());
    assert!(!sequence(OnFailure::Keep, &all[..2]).complete(), "one was not touched");
}

#[test]
fn why_it_stopped_is_found_wherever_it_was() {
    let good = || done(End::Deployed {});
    let of = |stop: HostResult| sequence(OnFailure::Keep, &[good(), stop]);
    let HostResult::Failed(failure) = failed() else { panic!("a failure") };
    for (stop, fails, unknown, superseded) in [
        (good(), false, false, None),
        (failed(), true, false, None),
        (HostResult::Unheard(failure), true, true, None),
        (HostResult::Superseded("newer".to_owned()), false, false, Some("newer")),
    ] {
        let sequence = of(stop);
        assert_eq!((sequence.failure().is_some(), sequence.is_unknown()), (fails, unknown), "{sequence:?}");
        assert_eq!(sequence.superseded(), superseded, "{sequence:?}");
    }
}

#[test]
fn each_server_is_described_by_what_it_has() {
    let mut report = sequence(OnFailure::Keep, &[]).reports.remove(0);
    let HostResult::Failed(failure) = failed() else { panic!("a failure") };
    report.running = Some(running("1.0.0"));
    for (stop, words) in [
        (HostResult::Untouched, "web1: not touched"),
        (done(End::Unchanged {}), "web1: runs 1.0.0 already"),
        (done(End::Deployed {}), "web1: runs 1.0.0"),
        (HostResult::Superseded("newer".to_owned()), "web1: still runs 1.0.0 (newer)"),
        (HostResult::Failed(failure.clone()), "web1: failed; still runs 1.0.0"),
        (HostResult::Unheard(failure), "web1: no result; runs 1.0.0"),
        (HostResult::Reverted, "web1: reverted; runs 1.0.0"),
        (HostResult::Overtaken("newer".to_owned()), "web1: not reverted (newer); runs 1.0.0"),
        (HostResult::Stuck("lost".to_owned()), "web1: was not reverted (lost); runs 1.0.0"),
    ] {
        report.stop = stop;
        assert_eq!(describe(&report), words);
    }
    (report.running, report.stop) = (None, done(End::Deployed {}));
    assert_eq!(describe(&report), "web1: what runs there is not known");
}

#[test]
fn those_that_changed_are_reverted_the_last_one_first() {
    let next = |stops: &[HostResult]| sequence(OnFailure::Rollback, stops).next();
    assert_eq!(next(&[done(End::Deployed {}), done(End::Deployed {}), failed()]), SequenceStep::Revert(1));
    assert_eq!(next(&[done(End::Deployed {}), HostResult::Reverted, failed()]), SequenceStep::Revert(0));
    // What had the version before keeps it.
    assert_eq!(next(&[done(End::Unchanged {}), failed()]), SequenceStep::Home);
    assert_eq!(
        next(&[done(End::Deployed {}), HostResult::Overtaken("newer".to_owned()), failed()]),
        SequenceStep::Revert(0)
    );
    // One that cannot go back is not asked for ever.
    assert_eq!(next(&[HostResult::Stuck("lost".to_owned()), failed()]), SequenceStep::Home);
    assert_eq!(next(&[HostResult::Reverted, failed()]), SequenceStep::Home, "and nobody new is asked");
}

/// Whether it has it, nobody knows; and it may get it when the others have gone back.
#[test]
fn a_server_without_a_result_is_reverted_first_and_once() {
    let HostResult::Failed(failure) = failed() else { panic!("a failure") };
    let unheard = HostResult::Unheard(failure);
    let mut sequence = sequence(OnFailure::Rollback, &[done(End::Deployed {}), unheard.clone()]);
    assert_eq!(sequence.next(), SequenceStep::Revert(1));
    sequence.reports[1].asked_back = true;
    assert_eq!(sequence.next(), SequenceStep::Revert(0), "whatever it said");
    sequence.reports[0].stop = HostResult::Reverted;
    assert_eq!(sequence.next(), SequenceStep::Home);
    sequence.on_failure = OnFailure::Keep;
    sequence.reports[1].asked_back = false;
    assert_eq!(sequence.next(), SequenceStep::Home);
    let mut alone = HostSequence::new(["web1".to_owned()], OnFailure::Rollback);
    alone.reports[0].stop = unheard;
    assert_eq!(alone.next(), SequenceStep::Home, "there is no other to be like");
}

#[test]
fn only_servers_that_went_back_count_as_reverted() {
    let HostResult::Failed(failure) = failed() else { panic!("a failure") };
    let refused = |code: RefusalCode| End::Refused { code: code.into(), message: "3.0.0 serves".to_owned() };
    let unhealthy = End::Failed {
        step: Open::Known(RolloutStep::Health),
        code: Open::Known(autotag_protocol::FailureCode::Unhealthy),
        message: "503".to_owned(),
    };
    let back = |stop: &HostResult, end: &End| result_of_revert(stop.clone(), Ok(&outcome(end.clone())));
    let (had, unheard) = (done(End::Deployed {}), HostResult::Unheard(failure.clone()));
    let newer = refused(RefusalCode::NewerIsLive);
    for (end, expected) in [
        (End::RolledBack {}, HostResult::Reverted),
        // Forward to a higher version, or to another configuration of the same one.
        (End::Deployed {}, HostResult::Reverted),
        (newer.clone(), HostResult::Overtaken("3.0.0 serves".to_owned())),
    ] {
        assert_eq!(back(&had, &end), expected);
    }
    for end in [End::Unchanged {}, refused(RefusalCode::NotRecorded), unhealthy.clone()] {
        assert!(matches!(back(&had, &end), HostResult::Stuck(_)), "{end:?}");
    }
    assert!(matches!(result_of_revert(had, Err(&failure)), HostResult::Stuck(_)));
    // Of the other one it is enough that it does not have it, and will not get it.
    for end in [End::RolledBack {}, End::Deployed {}, End::Unchanged {}, newer] {
        let HostResult::Failed(reported) = back(&unheard, &end) else { panic!("{end:?}") };
        assert!(reported.why.starts_with("no\nAsked to take it back: "), "{reported:?}");
        assert!(reported.remedy.contains("deploy-allow-downgrade"), "{reported:?}");
    }
    for end in [refused(RefusalCode::Unfinished), unhealthy] {
        assert!(matches!(back(&unheard, &end), HostResult::Unheard(_)), "{end:?}");
    }
    assert!(matches!(result_of_revert(unheard, Err(&failure)), HostResult::Unheard(_)));
}

/// A server that could not bring it to its end says that it shall serve, and tries again by itself.
#[test]
fn a_failure_that_may_still_serve_is_no_result() {
    let end =
        End::Refused { code: Open::Known(RefusalCode::Unfinished), message: "the disk is full".to_owned() };
    let outcome =
        |deployment: &str| Outcome { deployment: Some(deployment.parse().unwrap()), ..outcome(end.clone()) };
    let result_of = |deployment| result_of("web1", &Version::new(1, 9, 0), &outcome(deployment));
    assert!(matches!(result_of("run-1-1-00000000"), HostResult::Unheard(_)));
    assert!(matches!(result_of("run-2-1-00000000"), HostResult::Failed(_)));
}

fn outcome(end: End) -> Outcome {
    Outcome { end, running: Some(running("2.0.0")), deployment: None, milliseconds: 1 }
}

/// A green job says that its version serves, or a newer one.
// case X3; broken by: `serves_above` is always true
#[test]
fn a_job_fails_where_a_lower_version_serves() {
    for code in [RefusalCode::NewerIsLive, RefusalCode::RolledBack] {
        for (asked, serves, green) in [
            ("1.4.1", Some("1.4.2"), true),
            ("1.4.1-rc.1", Some("1.4.1"), true),
            // Something higher was live and was rolled back, or was never a real one.
            ("1.4.1", Some("1.4.0"), false),
            // Another image under the same version.
            ("1.4.1", Some("1.4.1"), false),
            ("1.4.1", None, false),
        ] {
            let end = End::Refused { code: code.into(), message: "999.0.0 was live".to_owned() };
            let outcome = Outcome { running: serves.map(running), ..outcome(end) };
            match result_of("web1", &asked.parse().unwrap(), &outcome) {
                HostResult::Superseded(_) if green => {}
                HostResult::Failed(failure) if !green => {
                    assert!(failure.remedy.contains("reset-highest"), "{failure:?}");
                }
                other => panic!("{asked} asked for, {serves:?} serves, {code:?}: {other:?}"),
            }
        }
    }
}

#[test]
fn only_a_newer_version_is_no_failure() {
    let asked = Version::new(1, 9, 0);
    let refused = |code: RefusalCode| {
        let end = End::Refused { code: code.into(), message: "2.0.0 is live".to_owned() };
        result_of("web1", &asked, &outcome(end))
    };
    for code in [RefusalCode::NewerIsLive, RefusalCode::RolledBack] {
        assert_eq!(refused(code), HostResult::Superseded("2.0.0 is live".to_owned()));
    }
    for code in [
        RefusalCode::IdTaken,
        RefusalCode::Malformed,
        RefusalCode::Protocol,
        RefusalCode::App,
        RefusalCode::Repository,
        RefusalCode::Labels,
        RefusalCode::Environment,
        RefusalCode::AppFile,
        RefusalCode::NotRecorded,
        RefusalCode::Unfinished,
        RefusalCode::Busy,
        RefusalCode::Downgrade,
    ] {
        let HostResult::Failed(failure) = refused(code) else { panic!("{code:?} is no success") };
        assert_eq!(failure.kind, FailureKind::Deployment);
        assert!(failure.why.contains("web1 serves 2.0.0") && !failure.remedy.is_empty(), "{failure:?}");
    }
    let remedy = |code| match refused(code) {
        HostResult::Failed(failure) => failure.remedy,
        other => panic!("{code:?} is no failure: {other:?}"),
    };
    assert!(remedy(RefusalCode::Environment).contains("allow_environment"));
    assert!(remedy(RefusalCode::App).contains("deploy-app"));
    assert!(remedy(RefusalCode::Busy).contains("run the job again"));
    for end in [End::Deployed {}, End::Unchanged {}] {
        assert_eq!(result_of("web1", &asked, &outcome(end.clone())), done(end.clone()));
        assert_eq!(result_of_rollback("web1", &outcome(end.clone())), done(end));
    }
    // A server that will not go back has failed to.
    let end = End::Refused {
        code: Open::Known(RefusalCode::RolledBack),
        message: "1.0.0 was rolled back".to_owned(),
    };
    assert!(matches!(result_of_rollback("web1", &outcome(end)), HostResult::Failed(_)));
    let end = End::Failed {
        step: Open::Known(RolloutStep::Health),
        code: Open::Known(autotag_protocol::FailureCode::Unhealthy),
        message: "503".to_owned(),
    };
    assert!(matches!(result_of("web1", &asked, &outcome(end)), HostResult::Failed(_)));
}

#[test]
fn the_running_version_is_reported_only_if_all_agree() {
    let mut sequence = sequence(OnFailure::Keep, &[]);
    for report in &mut sequence.reports {
        report.running = Some(running("1.0.0"));
    }
    assert_eq!(sequence.running().map(|running| running.version.to_string()), Some("1.0.0".to_owned()));
    let other = Running { digest: Digest::of(b"rebuilt"), ..running("1.0.0") };
    sequence.reports[2].running = Some(other);
    assert_eq!(sequence.running(), None, "one version, and another image");
    sequence.reports[2].running = Some(running("1.0.1"));
    assert_eq!(sequence.running(), None);
    sequence.reports[2].running = None;
    assert_eq!(sequence.running(), None);
}
