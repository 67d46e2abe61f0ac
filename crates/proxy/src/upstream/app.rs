//! One application: which container serves it, which ones are on their way out, and who waits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::bounds::limits::Limits;
use crate::bounds::shares::{Places, Share};
use crate::counters::Counters;
use crate::upstream::{Drained, Target, Upstream};
use autotag_base::clock;
use autotag_base::clock::Stopwatch;

/// An application. It outlives its containers and every change of the routes.
#[derive(Debug)]
pub struct App {
    /// Its name.
    pub name: String,
    /// What happened with its requests.
    pub counters: Counters,
    /// Its part of all requests.
    pub share: Arc<Share>,
    current: watch::Sender<Option<Arc<Upstream>>>,
    /// Containers that served before and still have something under way.
    retired: Mutex<Vec<Arc<Upstream>>>,
    waiting: Arc<Semaphore>,
    limits: Arc<Limits>,
}

impl App {
    /// An application that no container serves yet.
    pub fn new(name: String, limits: Arc<Limits>, places: &Arc<Places>) -> Arc<Self> {
        Arc::new(Self {
            name,
            counters: Counters::default(),
            share: Share::of(places),
            current: watch::Sender::new(None),
            retired: Mutex::default(),
            waiting: Arc::new(Semaphore::new(limits.held)),
            limits,
        })
    }

    /// Who serves now.
    pub fn current(&self) -> Option<Arc<Upstream>> {
        self.current.borrow().clone()
    }

    /// Lets another container serve, or none (requests then wait), and retires the one before. Told the
    /// same container at the same address again, nothing changes. Gives the id of who served before.
    pub fn swap(&self, target: Option<Target>) -> Option<String> {
        let mut retired = self.lock();
        let before = self.current();
        let before_id = before.as_ref().map(|upstream| upstream.target.id.clone());
        if before.as_ref().map(|upstream| &upstream.target) == target.as_ref() {
            return before_id;
        }
        let next = target.map(|target| Upstream::new(target, self.limits.app_idle, self.share.places()));
        // First the new one, then the flag: whoever finds the flag set finds the new one as well.
        self.current.send_replace(next);
        self.counters.swaps.inc();
        retired.retain(|upstream| upstream.in_use() != (0, 0));
        if let Some(before) = before {
            before.retire();
            retired.push(before);
        }
        before_id
    }

    /// Drains a container that serves no more. `Err` if it still serves. One that is not known has
    /// nothing under way.
    pub async fn drain(&self, id: &str, requests: Duration, tunnels: Duration) -> Result<Drained, String> {
        if self.current().is_some_and(|upstream| upstream.target.id == id) {
            return Err(format!("`{id}` serves `{}`; swap first", self.name));
        }
        let leaving: Vec<_> =
            self.lock().iter().filter(|upstream| upstream.target.id == id).cloned().collect();
        let mut all = Drained::default();
        // One after another, but the time for the first is the time for all: they end together.
        let stopwatch = Stopwatch::start();
        for upstream in leaving {
            let spent = stopwatch.elapsed();
            let one = upstream
                .drain(requests.saturating_sub(spent), tunnels.saturating_sub(spent), self.limits.close_grace)
                .await;
            all.tunnels_closed += one.tunnels_closed;
            all.requests_cut += one.requests_cut;
            all.tunnels_cut += one.tunnels_cut;
        }
        all.milliseconds = u64::try_from(stopwatch.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.lock().retain(|upstream| upstream.target.id != id);
        Ok(all)
    }

    /// Every container that has something to do with it: who serves, then who is leaving.
    pub fn upstreams(&self) -> (Option<Arc<Upstream>>, Vec<Arc<Upstream>>) {
        let mut retired = self.lock();
        retired.retain(|upstream| upstream.in_use() != (0, 0));
        (self.current(), retired.clone())
    }

    /// All bounds.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Requests that wait now.
    pub fn waiting(&self) -> usize {
        self.limits.held.saturating_sub(self.waiting.available_permits())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Upstream>>> {
        self.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request's waiting for a container, with its bounds: taken at the first need, kept until it is served.
#[derive(Debug, Default)]
pub struct Hold(Option<Waiting>);

#[derive(Debug)]
struct Waiting {
    _place: OwnedSemaphorePermit,
    since: Stopwatch,
    pause: Duration,
}

/// The longest pause between two tries to connect.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

impl Hold {
    /// Waits until another container serves, or, where one does that cannot be reached, for a moment.
    /// `false`: there is no place to wait, or the time is over.
    pub async fn wait(&mut self, app: &App, failed: Option<&Arc<Upstream>>) -> bool {
        let waiting = match &mut self.0 {
            Some(waiting) => waiting,
            none => {
                let Ok(place) = Arc::clone(&app.waiting).try_acquire_owned() else {
                    return false;
                };
                app.counters.held.inc();
                none.insert(Waiting {
                    _place: place,
                    since: Stopwatch::start(),
                    pause: Duration::from_millis(10),
                })
            }
        };
        let left = app.limits.hold.saturating_sub(waiting.since.elapsed());
        if left.is_zero() {
            return false;
        }
        let mut current = app.current.subscribe();
        let other = current.wait_for(|now| match (now, failed) {
            (Some(now), Some(failed)) => !Arc::ptr_eq(now, failed),
            (now, _) => now.is_some(),
        });
        if failed.is_none() {
            return tokio::time::timeout(left, other).await.is_ok();
        }
        tokio::select! {
            _ = other => {}
            () = clock::sleep(waiting.pause.min(left)) => {
                waiting.pause = (waiting.pause * 2).min(LONGEST_PAUSE);
            }
        }
        true
    }
}
