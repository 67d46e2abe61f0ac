//! Conversations with a scripted server.

use std::cell::RefCell;
use std::collections::VecDeque;

use super::*;
use crate::ssh_keys::known_hosts::KnownHosts;
use crate::ssh_keys::private_key::PrivateKey;
use autotag_protocol::{Body, End, Open, RefusalCode, RolloutStep};

/// One connection: the lines that arrive, and how it ends.
struct Connection(Vec<Vec<u8>>, CallResult<Finished>);

/// Plays connections in their order, and notes the requests.
struct Script {
    connections: RefCell<VecDeque<Connection>>,
    requests: RefCell<Vec<String>>,
}

impl RemoteExec for Script {
    async fn run(
        &self,
        _host: &SshHost,
        command: &str,
        input: &Secret,
        limit: usize,
        deadlines: Deadlines,
        line: &mut dyn FnMut(&[u8]),
    ) -> CallResult<Finished> {
        assert_eq!(limit, EVENT_BYTES);
        assert!(deadlines.connect <= deadlines.whole, "{deadlines:?}");
        let request = Request::parse(input.reveal().trim_end().as_bytes()).expect("a request");
        assert_eq!(command, request.word().as_str());
        self.requests.borrow_mut().push(input.reveal().to_owned());
        let Connection(lines, ended) =
            self.connections.borrow_mut().pop_front().expect("no more connections than there are");
        for text in &lines {
            line(text);
        }
        ended
    }
}

#[derive(Default)]
struct Noted(Vec<String>);

impl DeployLog for Noted {
    fn event(&mut self, _host: &str, event: DeployEvent<'_>) {
        self.0.push(match event {
            DeployEvent::Started(_) | DeployEvent::Ended(_) => return,
            DeployEvent::Received(answer) => answer.to_line().unwrap().trim_end().to_owned(),
            DeployEvent::Lost { why, .. } => format!("lost: {why}"),
        });
    }
}

fn host() -> SshHost {
    SshHost {
        host: "web1".to_owned(),
        port: 22,
        user: "autotag-app".to_owned(),
        key: PrivateKey::parse(&Secret::verbatim(
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----".to_owned(),
        ))
        .unwrap(),
        known_hosts: "SHA256:uNiVztksCsDhcc0u9e8BrrUcLB3N6FWBEm9vyjNOgIs".parse::<KnownHosts>().unwrap(),
    }
}

fn line(answer: &Event) -> Vec<u8> {
    answer.to_line().unwrap().trim_end().as_bytes().to_vec()
}

fn result(end: End) -> Vec<u8> {
    let outcome = Outcome { end, running: None, deployment: None, milliseconds: 5 };
    line(&Event::Result(Box::new(outcome)))
}

fn step() -> Vec<u8> {
    line(&Event::StepStarted { step: Open::Known(RolloutStep::Pull) })
}

fn finished(status: i32) -> Finished {
    Finished { status, stderr: String::new() }
}

fn lost() -> CallResult<Finished> {
    Err(CallError::new(CallErrorKind::Unreachable, "deploy on web1", "the connection was lost")
        .perhaps_done())
}

/// What came of it, what was logged, and the requests.
async fn played(connections: Vec<Connection>) -> (Result<Outcome, Failure>, Vec<String>, Vec<String>) {
    let script = Script { connections: RefCell::new(connections.into()), requests: RefCell::default() };
    let body = Body::Rollback(Box::new(autotag_protocol::Rollback {
        deployment: "run-1-1-0000abcd".parse().unwrap(),
        to: None,
        reverts: None,
        configuration: autotag_protocol::Configuration::Today,
        credential: None,
        run: String::new(),
    }));
    let request = Request { app: "app".parse().unwrap(), body };
    let mut log = Noted::default();
    let persistence = ReconnectPolicy::within(Duration::from_mins(10));
    let outcome = converse(&script, &host(), ("web1", &request), persistence, &mut log).await;
    (outcome, log.0, script.requests.into_inner())
}

#[tokio::test(start_paused = true)]
async fn a_result_and_an_orderly_end_are_success() {
    let (outcome, log, _) =
        played(vec![Connection(vec![step(), result(End::Deployed {})], Ok(finished(0)))]).await;
    assert_eq!(outcome.unwrap().end, End::Deployed {});
    assert_eq!(log.len(), 2, "events are told as they come: {log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_asked_again_with_the_same_request() {
    let (outcome, log, requests) = played(vec![
        Connection(vec![step()], lost()),
        Connection(vec![], lost()),
        Connection(vec![result(End::Deployed {})], Ok(finished(0))),
    ])
    .await;
    assert_eq!(outcome.unwrap().end, End::Deployed {});
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| *request == requests[0]), "{requests:?}");
    assert!(log.contains(&"lost: the connection was lost".to_owned()), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn success_needs_a_final_result_and_an_orderly_end() {
    let good = || result(End::Deployed {});
    for (what, connection) in [
        ("a result, and then the connection is lost", Connection(vec![good()], lost())),
        ("a result of success with another status", Connection(vec![good()], Ok(finished(1)))),
        ("something behind the result", Connection(vec![good(), step()], Ok(finished(0)))),
        (
            "garbage behind the result",
            Connection(vec![good(), b"Connection closed".to_vec()], Ok(finished(0))),
        ),
        ("garbage before the result", Connection(vec![b"Welcome!".to_vec(), good()], Ok(finished(0)))),
        ("no result", Connection(vec![step()], Ok(finished(0)))),
        ("nothing at all", Connection(vec![], Ok(finished(0)))),
    ] {
        let refusal = End::Refused { code: Open::Known(RefusalCode::App), message: "no".to_owned() };
        let (outcome, _, requests) =
            played(vec![connection, Connection(vec![result(refusal.clone())], Ok(finished(1)))]).await;
        assert_eq!((outcome.unwrap().end, requests.len()), (refusal, 2), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_are_final() {
    let end = End::Refused { code: Open::Known(RefusalCode::IdTaken), message: "taken".to_owned() };
    let (outcome, _, requests) = played(vec![Connection(vec![result(end.clone())], Ok(finished(1)))]).await;
    assert_eq!((outcome.unwrap().end, requests.len()), (end, 1));
    let denied = CallError::new(CallErrorKind::Denied, "connecting to web1", "the host key is another one");
    let (outcome, _, requests) = played(vec![Connection(vec![], Err(denied))]).await;
    let failure = outcome.unwrap_err();
    assert_eq!((failure.kind, requests.len()), (FailureKind::Denied, 1));
}

#[tokio::test(start_paused = true)]
async fn patience_ends_and_says_whether_anybody_was_there() {
    let (outcome, _, requests) = played((0..4).map(|_| Connection(vec![], lost())).collect()).await;
    let failure = outcome.unwrap_err();
    assert_eq!((failure.topic, requests.len()), (Some(Topic::NoReceiver), 4), "{failure:?}");
    let (outcome, _, requests) = played((0..12).map(|_| Connection(vec![step()], lost())).collect()).await;
    let failure = outcome.unwrap_err();
    assert_eq!((failure.topic, requests.len()), (Some(Topic::ResultUnknown), 12), "{failure:?}");
}

/// Who waits for its turn and is then lost does not know that it only waited.
#[tokio::test(start_paused = true)]
async fn a_wait_that_was_lost_is_an_unknown_result() {
    let waiting = || vec![line(&Event::Waiting { holder: None })];
    let mut connections = vec![Connection(waiting(), lost())];
    connections.extend((0..11).map(|_| Connection(vec![], lost())));
    let failure = played(connections).await.0.unwrap_err();
    assert_eq!(failure.topic, Some(Topic::ResultUnknown), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn the_answers_of_another_receiver_say_so() {
    let strange = || vec![br#"["progress",7]"#.to_vec()];
    let (outcome, ..) = played((0..4).map(|_| Connection(strange(), Ok(finished(0)))).collect()).await;
    let failure = outcome.unwrap_err();
    assert_eq!(failure.topic, Some(Topic::NoReceiver), "{failure:?}");
    assert!(failure.why.contains("protocol 1"), "{failure:?}");
}

/// Somebody is there, and works on what was asked for: no reason to give up as where nobody answers, and none to
/// forget whom it waits for.
#[tokio::test(start_paused = true)]
async fn an_unknown_event_is_only_a_sign_of_life() {
    let unknown = || br#"{"progress":{"percent":7}}"#.to_vec();
    let (outcome, _, requests) = played((0..12).map(|_| Connection(vec![unknown()], lost())).collect()).await;
    assert_eq!((outcome.unwrap_err().topic, requests.len()), (Some(Topic::ResultUnknown), 12));
    let lines = vec![unknown(), result(End::Deployed {}), unknown()];
    assert_eq!(played(vec![Connection(lines, Ok(finished(0)))]).await.0.unwrap().end, End::Deployed {});
    let mut heard = Transcript::default();
    for text in [line(&Event::Waiting { holder: None }), unknown()] {
        heard.take(&text);
    }
    assert!(heard.waits_for.is_some(), "it still waits");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_end_is_a_result_and_no_success() {
    let line = br#"{"result":{"end":{"queued":{"until":"tomorrow"}},"milliseconds":5}}"#.to_vec();
    let outcome = played(vec![Connection(vec![line], Ok(finished(0)))]).await.0.expect("a result");
    assert!(matches!(&outcome.end, End::Unknown(name) if name.as_str() == "queued"), "{outcome:?}");
    assert!(!outcome.end.is_good());
}
