//! Receivers of other versions than the action's: newer ones say more, the first ones only what they have to.

use autotag_deploy::failure::Failure;
use autotag_deploy::pipeline::Ending;
use autotag_model::git::ObjectId;
use autotag_model::help::Topic;
use autotag_protocol::Body;

use super::play::{Came, Servers, Stage, Turn};

/// A release to a server that says these lines, whatever it is asked next.
fn reported(lines: impl Fn(&ObjectId) -> Vec<String>) -> Came {
    let stage = Stage::new(Servers::new());
    let commit = stage.project.merge("feat: begin");
    stage.servers.next("web1", Turn::Says(lines(&commit)));
    let run = stage.release(&commit, &[]);
    // Whoever is not understood is asked again, and then all goes well.
    assert_eq!(stage.servers.requests().len(), 1, "asked once: {}", run.log);
    run
}

/// The deployment's failure after this result.
fn failure(end: &str) -> Failure {
    let run = reported(|_| vec![format!(r#"{{"result":{{"end":{end},"milliseconds":1}}}}"#)]);
    assert_eq!(run.output("deployed"), "false", "{run:?}");
    let Ending::Released(released) = run.ending() else { panic!("{run:?}") };
    let deployment = released.deployment.as_ref().expect("a deployment");
    deployment.failure.clone().expect("it is no success")
}

// broken by: `deny_unknown_fields` on `Outcome`; by an unknown event that is an error; by a step that is an enum.
#[test]
fn a_newer_receiver_says_more_and_is_understood() {
    let run = reported(|commit| {
        let digest = format!("sha256:{}", "1".repeat(64));
        let running = format!(
            r#"{{"version":"0.0.1","digest":"{digest}","commit":"{commit}","deployment":"run-7-1-00000000","zone":"b"}}"#
        );
        vec![
            r#"{"progress":{"percent":5},"at":"2031-01-02T03:04:05Z"}"#.to_owned(),
            r#"{"step-started":{"step":"warm-up","of":12},"at":"2031-01-02T03:04:05Z"}"#.to_owned(),
            r#"{"step-ended":{"step":"warm-up","milliseconds":1500,"heat":{"degrees":90}}}"#.to_owned(),
            r#"{"log":{"from":"sidecar","line":"hello","level":3}}"#.to_owned(),
            r#"{"heartbeat":{"load":0.5}}"#.to_owned(),
            format!(
                r#"{{"result":{{"end":{{"deployed":{{"zones":2}}}},"running":{running},"milliseconds":7,"cost":1}}}}"#
            ),
        ]
    });
    let Ending::Released(released) = run.ending() else { panic!("{run:?}") };
    let deployment = released.deployment.as_ref().expect("a deployment");
    assert!(deployment.deployed() && deployment.failure.is_none(), "{deployment:#?}");
    assert_eq!(run.output("deployed-version"), "0.0.1");
    for line in ["warm-up done in 1.5 s", "  sidecar | hello"] {
        assert!(run.log.contains(line), "`{line}` is missing in {}", run.log);
    }
    assert!(!run.log.contains("progress"), "{}", run.log);
    assert!(run.summary.contains("warm-up 1.5 s"), "{}", run.summary);
}

#[test]
fn the_first_receivers_say_less_and_are_understood() {
    let run = reported(|_| vec![r#"{"result":{"end":{"deployed":{}},"milliseconds":7}}"#.to_owned()]);
    assert_eq!((run.output("outcome").as_str(), run.output("deployed").as_str()), ("released", "true"));
}

// broken by: a code that is an enum.
#[test]
fn an_unknown_code_counts_by_its_kind() {
    for (end, shown) in [
        (r#"{"refused":{"code":"too-many-today","message":"three a day"}}"#, "three a day"),
        (r#"{"failed":{"step":"warm-up","code":"too-cold","message":"12 degrees"}}"#, "warm-up: 12 degrees"),
    ] {
        let failure = failure(end);
        assert!(failure.why.contains(shown), "{failure:?}");
        assert_eq!((failure.kind.exit_code(), failure.topic), (7, None), "{failure:?}");
        assert!(!failure.remedy.is_empty());
    }
}

// broken by: `is_good` of an unknown end; by an unknown end that is `Stop::Failed`.
#[test]
fn an_unknown_end_is_no_success_and_named() {
    let failure = failure(r#"{"deployed-in-part":{"percent":5}}"#);
    assert!(failure.why.contains("`deployed-in-part`"), "{failure:?}");
    assert_eq!(failure.topic, Some(Topic::Protocol));
}

/// It may have the version, so it is asked to revert it like any server that told no result.
#[test]
fn a_server_with_an_unknown_end_is_asked_to_revert() {
    let stage = Stage::new(Servers::new().serving("web1", "0.0.0").serving("web2", "0.0.0"));
    let commit = stage.project.merge("feat: begin");
    let line = r#"{"result":{"end":{"deployed-in-part":{}},"milliseconds":1}}"#.to_owned();
    stage.servers.next("web2", Turn::Says(vec![line]));
    stage.release(&commit, &[("deploy-host", "web1, web2"), ("deploy-on-failure", "rollback")]);
    let reverted: Vec<String> = stage
        .servers
        .requests()
        .into_iter()
        .filter_map(|(host, body)| matches!(body, Body::Rollback(_)).then_some(host))
        .collect();
    assert_eq!(reverted, ["web2", "web1"]);
}
