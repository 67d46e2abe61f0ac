//! Answers to our own requests: for health and smoke tests.

use autotag_protocol::{End, RolloutStep};

use testkit::server::{Images, Server, Transcript, deploy};

#[track_caller]
fn failed(reported: &Transcript, at: RolloutStep) -> String {
    let End::Failed { step, message, .. } = &reported.outcome.end else { panic!("{}", reported.text()) };
    assert_eq!(*step, at, "{}", reported.text());
    message.clone()
}

// case S11; broken by: the message as it was, `GET /nothing gave 404, expected 200`.
pub fn an_unexpected_health_answer_is_reported_in_full() {
    let (images, server) = (Images::start(), Server::start());
    let one = images.push("1.0.0");
    // The test application answers its version everywhere; it is a secret here, so that it must not be told.
    server.app_file(
        images.name(),
        "health: {path: /, status: 403, deadline: 1s, stable: 100ms}\nenvironment: {VERSION: 'hunter2-as-a-version'}\n",
    );
    let message = failed(&server.deploy(deploy(images.name(), "1.0.0", &one)), RolloutStep::Health);
    for part in ["GET / ", "200", "403", ":3000 ", "`Host: localhost`", "\"*** "] {
        assert!(message.contains(part), "`{part}` is missing in {message}");
    }
    assert!(!message.contains("hunter2"), "{message}");
}

// case S11; broken by: `Client` left out of the question.
pub fn health_and_smoke_ask_with_the_host_and_headers_that_are_set() {
    let (images, server) = (Images::start(), Server::start());
    let (one, two) = (images.push("1.0.0"), images.push("1.0.1"));
    let smoke =
        "smoke: [{path: /head, host: shop.example, headers: {X-Probe: 'yes'}, contains: 'x-probe: yes'}]\n";
    let health = "health: {path: /healthz, host: shop.example, headers: {X-Probe: 'yes'}, deadline: 20s, stable: 100ms}\n";
    server.app_file(images.name(), &format!("{health}{smoke}"));
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    server.app_file(
        images.name(),
        &format!("{health}{}", smoke.replace("contains: 'x-probe: yes'", "status: 418")),
    );
    let message = failed(&server.deploy(deploy(images.name(), "1.0.1", &two)), RolloutStep::Smoke);
    assert!(["200", "418", "`Host: shop.example`"].iter().all(|part| message.contains(part)), "{message}");
}
