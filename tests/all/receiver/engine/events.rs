//! Events, of which none may be missed.

use std::time::Duration;

use autotag_receiver::engine::{ContainerEvent, ContainerSpec, Engine as _, Events, HealthcheckSpec};

use super::{Stage, docker, shell, unique};

async fn next(events: &mut impl Events) -> ContainerEvent {
    let event = tokio::time::timeout(Duration::from_secs(30), events.next()).await;
    event.expect("an event in time").expect("the Engine is there")
}

#[tokio::test]
async fn a_containers_events_arrive_from_the_subscription_on() {
    let stage = Stage::sleeping().await;
    let label = unique("listen");
    let mut spec = ContainerSpec { command: Some(shell("exit 5")), ..stage.spec().await };
    spec.labels.insert(label.clone(), "here".to_owned());
    let id = stage.create(&spec).await;
    // What was before the subscription is not told; what is at once after it is.
    let mut events = stage.engine.events(&label).await.expect("a subscription");
    stage.engine.start(&id).await.expect("started");
    // Another's, which carries no such label.
    stage.shell("exit 0").await;
    let mut reported = Vec::new();
    while reported.last().is_none_or(|action| action != "die") {
        let event = next(&mut events).await;
        assert_eq!((&event.id, event.labels.get(&label).map(String::as_str)), (&id, Some("here")));
        assert!(event.action != "die" || event.labels["exitCode"] == "5", "{event:?}");
        reported.push(event.action);
    }
    assert_eq!(reported, ["start", "die"]);
    stage.engine.remove(&id).await.expect("removed");
    assert_eq!(next(&mut events).await.action, "destroy");
}

#[tokio::test]
async fn health_is_reported_when_it_changes() {
    let stage = Stage::sleeping().await;
    let label = unique("listen");
    let check = HealthcheckSpec::Test {
        test: vec!["CMD".to_owned(), "/bin/true".to_owned()],
        interval: Some(Duration::from_millis(100)),
        timeout: None,
        retries: None,
        start_period: None,
        start_interval: None,
    };
    let mut spec = ContainerSpec { healthcheck: Some(check), ..stage.spec().await };
    spec.labels.insert(label.clone(), String::new());
    let mut events = stage.engine.events(&label).await.expect("a subscription");
    stage.start(&spec).await;
    while next(&mut events).await.action != "health_status: healthy" {}
}

#[tokio::test]
async fn nothing_is_missed_however_soon_it_comes() {
    let stage = Stage::sleeping().await;
    let (label, name) = (unique("soon"), unique("soon"));
    let image = stage.name.with_digest(&stage.digest);
    let mut events = stage.engine.events(&label).await.expect("a subscription");
    // This blocks the test's one thread: whatever the subscription has left to do comes after it.
    let id = docker(&["create", "--name", &name, "--label", &label, &image]);
    docker(&["rm", &name]);
    for action in ["create", "destroy"] {
        let event = next(&mut events).await;
        assert_eq!((event.id.as_str(), event.action.as_str()), (id.as_str(), action));
    }
}
