//! Events of containers, without a gap.

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::answers::{Event, Info, read, texts};
use super::raw::{Call, filters};
use super::{DockerEngine, ORDINARY};
use crate::engine::{ContainerEvent, Events};
use autotag_base::{CallError, CallErrorKind, CallResult};

const DOING: &str = "listening to the Docker Engine's events";

/// Events as the Engine tells them, in a queue of their own: the Engine drops a listener's events where
/// it does not take them at once.
#[derive(Debug)]
pub struct DockerEvents {
    queue: mpsc::UnboundedReceiver<CallResult<ContainerEvent>>,
}

/// Subscribes.
///
/// The request leaves some time after this returns, and the Engine may listen later still. Nothing is
/// missed all the same: the Engine keeps its last 256 events, and is asked for those since the moment,
/// by its own clock, at which this call asked it for the hour.
pub(super) async fn subscribe(engine: &DockerEngine, label: &str) -> CallResult<DockerEvents> {
    let info = engine.ask(Call::get("/info"), ORDINARY).await;
    let info: Info = read(&info.map_err(|error| engine.call_error(&error, DOING))?);
    let since = since(info.system_time.as_deref().unwrap_or_default())?;
    let filters = filters(&json!({ "type": ["container"], "label": [label] }));
    let path = format!("/events?since={since}&filters={filters}");
    let (sender, queue) = mpsc::unbounded_channel();
    let engine = engine.clone();
    tokio::spawn(async move {
        let asked = tokio::select! {
            asked = engine.lines(&path) => asked,
            () = sender.closed() => return,
        };
        let mut messages = match asked {
            Ok(lines) => lines,
            Err(error) => return drop(sender.send(Err(engine.call_error(&error, DOING)))),
        };
        loop {
            let message = tokio::select! {
                message = messages.next() => message,
                () = sender.closed() => return,
            };
            let event = match message {
                Some(Ok(message)) => Ok(event(&message)),
                Some(Err(error)) => Err(engine.call_error(&error, DOING)),
                None => Err(ended()),
            };
            let last = event.is_err();
            if sender.send(event).is_err() || last {
                return;
            }
        }
    });
    Ok(DockerEvents { queue })
}

impl Events for DockerEvents {
    async fn next(&mut self) -> CallResult<ContainerEvent> {
        self.queue.recv().await.unwrap_or_else(|| Err(ended()))
    }
}

fn ended() -> CallError {
    CallError::new(CallErrorKind::Unreachable, DOING, "the Engine ended the connection")
}

/// The Engine reads `since` as seconds with a fraction, and tells the hour as RFC 3339.
fn since(hour: &str) -> CallResult<String> {
    let time: Timestamp = hour.parse().map_err(|_| {
        CallError::new(
            CallErrorKind::InvalidResponse,
            DOING,
            format!("the Engine's time is `{hour}`, which is not a time"),
        )
    })?;
    Ok(format!("{}.{:09}", time.as_second(), time.subsec_nanosecond()))
}

/// An event's attributes are the container's labels, and some words of the Engine's own (`image`, `name`,
/// `exitCode`).
fn event(message: &Value) -> ContainerEvent {
    let message: Event = read(message);
    let actor = message.actor.unwrap_or_default();
    ContainerEvent {
        id: actor.id.unwrap_or_default(),
        action: message.action.unwrap_or_default(),
        labels: texts(actor.attributes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hour_is_written_as_the_engine_reads_it() {
        assert_eq!(since("1970-01-01T00:00:02.000000003Z").as_deref(), Ok("2.000000003"));
        assert_eq!(since("1970-01-01T01:00:02.5+01:00").as_deref(), Ok("2.500000000"));
        assert!(since("").is_err());
    }
}
