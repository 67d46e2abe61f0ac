//! What a deployment tells, from its first line on: whoever comes late hears all of it.
//!
//! A caller that lost its connection comes back with the same deployment id and follows on; the job itself
//! does not notice who listens.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::config::masks::Masks;
use autotag_protocol::{DeploymentId, Event, Outcome};

/// The most lines that are kept. A deployment tells some dozens, and its application's last lines.
const MOST: usize = 10_000;

/// One request at work.
#[derive(Debug)]
pub struct EventLog {
    /// Which deployment, if it is about one.
    pub deployment: Option<DeploymentId>,
    reported: Mutex<Vec<Event>>,
    masks: Mutex<Masks>,
    count: watch::Sender<usize>,
}

impl EventLog {
    /// One that has told nothing yet.
    pub fn new(deployment: Option<DeploymentId>) -> Self {
        Self { deployment, reported: Mutex::default(), masks: Mutex::default(), count: watch::Sender::new(0) }
    }

    /// What its owner keeps from CI, from now on.
    pub fn mask(&self, more: &Masks) {
        let mut masks = self.masks.lock().unwrap_or_else(PoisonError::into_inner);
        *masks = masks.and(more);
    }

    /// An answer as CI gets to see it.
    pub fn masked(&self, answer: Event) -> Event {
        self.masks.lock().unwrap_or_else(PoisonError::into_inner).answer(answer)
    }

    /// Tells something. After the result nothing is told any more.
    pub fn say(&self, answer: Event) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let over = matches!(reported.last(), Some(Event::Result(_)));
        let last = matches!(answer, Event::Result(_));
        if over || (reported.len() >= MOST && !last) {
            return;
        }
        reported.push(answer);
        self.count.send_replace(reported.len());
    }

    /// Tells the result.
    pub fn end(&self, outcome: Outcome) {
        self.say(Event::Result(Box::new(outcome)));
    }

    /// The answer of this number, as soon as there is one; `None` after the result.
    pub async fn answer(&self, number: usize) -> Option<Event> {
        let mut count = self.count.subscribe();
        {
            let reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
            if number >= reported.len() && matches!(reported.last(), Some(Event::Result(_))) {
                return None;
            }
        }
        // The sender lives in `self`, so this cannot fail.
        let _ = count.wait_for(|count| *count > number).await;
        self.reported.lock().unwrap_or_else(PoisonError::into_inner).get(number).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use autotag_protocol::End;

    fn outcome() -> Outcome {
        Outcome { end: End::Reported {}, running: None, deployment: None, milliseconds: 1 }
    }

    #[tokio::test]
    async fn who_comes_late_hears_all_and_the_end_ends() {
        let job = EventLog::new(None);
        job.say(Event::Heartbeat {});
        job.end(outcome());
        job.say(Event::Note { text: "too late".to_owned() });
        assert_eq!(job.answer(0).await, Some(Event::Heartbeat {}));
        assert_eq!(job.answer(1).await, Some(Event::Result(Box::new(outcome()))));
        assert_eq!(job.answer(2).await, None);
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let job = std::sync::Arc::new(EventLog::new(None));
        let waiting = tokio::spawn({
            let job = std::sync::Arc::clone(&job);
            async move { job.answer(0).await }
        });
        tokio::task::yield_now().await;
        job.say(Event::Heartbeat {});
        assert_eq!(waiting.await.unwrap(), Some(Event::Heartbeat {}));
    }

    #[tokio::test]
    async fn it_is_bounded_and_the_result_comes_through() {
        let job = EventLog::new(None);
        for _ in 0..MOST + 5 {
            job.say(Event::Heartbeat {});
        }
        job.end(outcome());
        assert_eq!(job.answer(MOST).await, Some(Event::Result(Box::new(outcome()))));
    }
}
