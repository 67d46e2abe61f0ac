//! Each application's turn: one change at a time, in the order in which they were asked for; the owner's come first.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard, watch};
use tokio_util::task::TaskTracker;

use super::quota::{Quota, Refusals};
use crate::event_log::EventLog;
use crate::policy::admit::Asker;
use autotag_base::clock;
use autotag_base::clock::Stopwatch;
use autotag_protocol::{AppName, DeploymentId, Holder, RefusalCode};

/// Changes of one application that may be at work or wait, at its key's wish. Each goes on without its caller
/// and holds its request (256 KiB at most), so without a bound a key could fill the server's memory. Sixteen
/// are far more than a repository with a `concurrency` group ever has.
pub(crate) const CHANGES: usize = 16;

/// Before what could not be finished is tried again, for the first time.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Each further pause is twice as long, up to this. A container that ends whenever it is started would fill the
/// journal within two days at one try every five seconds. Docker's own restarts come to the same pause
/// (<https://docs.docker.com/reference/cli/docker/container/run/#restart>).
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The queues of all applications.
#[derive(Debug)]
pub(crate) struct AppQueues {
    places: Mutex<HashMap<AppName, Arc<AppQueue>>>,
    /// Changes that run or wait: a stop waits for them.
    pub(crate) in_flight: TaskTracker,
    /// Applications whose last change could not be brought to its end, with the time on `clock` at which it is
    /// to be taken up again.
    unfinished: Mutex<HashMap<AppName, Duration>>,
    more_unfinished: Notify,
    clock: Stopwatch,
}

impl Default for AppQueues {
    fn default() -> Self {
        Self {
            places: Mutex::default(),
            in_flight: TaskTracker::new(),
            unfinished: Mutex::default(),
            more_unfinished: Notify::new(),
            clock: Stopwatch::start(),
        }
    }
}

/// One application's.
#[derive(Debug, Default)]
pub(crate) struct AppQueue {
    turn: Arc<tokio::sync::Mutex<()>>,
    /// Those that are not the owner's wait here, so that at most one of them is next.
    others: tokio::sync::Mutex<()>,
    /// So many of the owner's wait.
    owners: watch::Sender<usize>,
    /// What its key has spent, and what of its refusals was not told.
    key: Mutex<(Quota, Refusals)>,
    holder: Mutex<Option<Holder>>,
    /// Changes that run or wait, by deployment, with what each is about.
    jobs: Mutex<HashMap<DeploymentId, (Arc<EventLog>, String)>>,
    /// Held while its last change is taken up again.
    retry: tokio::sync::Mutex<()>,
    /// How many retries in a row have failed.
    failed_retries: Mutex<u32>,
}

/// What becomes of a change that is asked for.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It is to be done.
    New(Arc<EventLog>),
    /// It was asked for before.
    InFlight(Arc<EventLog>),
    /// Its id belongs to another one, which is running.
    Another,
    /// As many as may be run or wait already.
    TooMany,
}

/// The turn, held as long as this lives.
#[derive(Debug)]
pub(crate) struct QueueGuard {
    place: Arc<AppQueue>,
    _guard: OwnedMutexGuard<()>,
}

/// The pause before the next try, after this many failed ones.
fn pause(failed: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(failed)).min(LONGEST_PAUSE)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        *lock(&self.place.holder) = None;
    }
}

impl AppQueues {
    /// An application's place.
    pub(crate) fn of(&self, app: &AppName) -> Arc<AppQueue> {
        Arc::clone(lock(&self.places).entry(app.clone()).or_default())
    }

    /// The time on the clock that all queues share, for quotas.
    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// An application's last change has to be taken up again, soon.
    pub(crate) fn schedule_retry(&self, app: &AppName) {
        self.finished(app);
        self.take_up(app, pause(0));
    }

    /// The retry failed: the next pause is longer.
    pub(crate) fn retry_failed(&self, app: &AppName) {
        let place = self.of(app);
        let mut failed = lock(&place.failed_retries);
        *failed = failed.saturating_add(1);
        self.take_up(app, pause(*failed));
    }

    /// There is nothing to be taken up any more.
    pub(crate) fn finished(&self, app: &AppName) {
        *lock(&self.of(app).failed_retries) = 0;
    }

    /// After this pause, or earlier where somebody asked for that.
    fn take_up(&self, app: &AppName, after: Duration) {
        let due = self.clock.elapsed() + after;
        lock(&self.unfinished).entry(app.clone()).and_modify(|asked| *asked = due.min(*asked)).or_insert(due);
        self.more_unfinished.notify_one();
    }

    /// An application whose last change has to be taken up again now, as soon as there is one.
    pub(crate) async fn unfinished(&self) -> AppName {
        loop {
            match self.first_due() {
                Some((app, due)) if due <= self.clock.elapsed() => {
                    lock(&self.unfinished).remove(&app);
                    return app;
                }
                Some((_, due)) => tokio::select! {
                    () = clock::sleep(due.saturating_sub(self.clock.elapsed())) => {}
                    () = self.more_unfinished.notified() => {}
                },
                None => self.more_unfinished.notified().await,
            }
        }
    }

    fn first_due(&self) -> Option<(AppName, Duration)> {
        let unfinished = lock(&self.unfinished);
        unfinished.iter().min_by_key(|(_, due)| **due).map(|(app, due)| (app.clone(), *due))
    }

    /// Waits until nothing is at work.
    pub(crate) async fn idle(&self) {
        // A tracker that is not closed is never done. Closed, it takes further ones all the same.
        self.in_flight.close();
        self.in_flight.wait().await;
    }
}

/// One of the owner's that waits.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn count_in(owners: &'a watch::Sender<usize>) -> Self {
        owners.send_modify(|count| *count += 1);
        Self(owners)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl AppQueue {
    /// Who changes the application now.
    pub(crate) fn holder(&self) -> Option<Holder> {
        lock(&self.holder).clone()
    }

    /// Waits for the turn, first come, first served, but for the owner, and what this program has to bring to its
    /// end by itself: they wait for nothing but what is at work. `on_wait` is told who is before us.
    pub(crate) async fn turn(
        self: &Arc<Self>,
        asker: Asker,
        holder: Holder,
        on_wait: impl FnOnce(Option<Holder>),
    ) -> QueueGuard {
        if self.turn.try_lock().is_err() {
            on_wait(self.holder());
        }
        let guard = match asker {
            Asker::Owner => self.owners_turn().await,
            Asker::Key => self.others_turn().await,
        };
        *lock(&self.holder) = Some(holder);
        QueueGuard { place: Arc::clone(self), _guard: guard }
    }

    async fn owners_turn(&self) -> OwnedMutexGuard<()> {
        let _waits = Waits::count_in(&self.owners);
        Arc::clone(&self.turn).lock_owned().await
    }

    /// Whoever had the turn and found that an owner waits gives it on: that one is behind it in the queue.
    async fn others_turn(&self) -> OwnedMutexGuard<()> {
        let _next = self.others.lock().await;
        let mut owners = self.owners.subscribe();
        loop {
            // The sender lives in `self`, so this cannot fail.
            let _ = owners.wait_for(|owners| *owners == 0).await;
            let guard = Arc::clone(&self.turn).lock_owned().await;
            if *self.owners.borrow() == 0 {
                return guard;
            }
        }
    }

    /// Whether its key may ask for another change now; otherwise how long until it may.
    pub(crate) fn quota_left(&self, now: Duration) -> Result<(), Duration> {
        lock(&self.key).0.left(now)
    }

    /// Its key has spent so much.
    pub(crate) fn spend(&self, units: u32, now: Duration) {
        lock(&self.key).0.spend(units, now);
    }

    /// Counts a refusal of its key's. Whether it is to be told by itself.
    pub(crate) fn refused(&self, code: RefusalCode, now: Duration) -> bool {
        lock(&self.key).1.count(code, now)
    }

    /// A line for each kind of refusals that were not told by themselves.
    pub(crate) fn refusals(&self, now: Duration) -> Vec<String> {
        lock(&self.key).1.summed(now)
    }

    /// The job of this deployment, if it is at work already or there are fewer than `most`.
    pub(crate) fn job(&self, deployment: &DeploymentId, about: &str, most: usize) -> Admission {
        let mut jobs = lock(&self.jobs);
        match jobs.get(deployment) {
            Some((job, known)) if known == about => Admission::InFlight(Arc::clone(job)),
            Some(_) => Admission::Another,
            None if jobs.len() >= most => Admission::TooMany,
            None => {
                let job = Arc::new(EventLog::new(Some(deployment.clone())));
                jobs.insert(deployment.clone(), (Arc::clone(&job), about.to_owned()));
                Admission::New(job)
            }
        }
    }

    /// The right to take its last change up again, unless somebody does.
    pub(crate) fn retry(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.retry.try_lock().ok()
    }

    /// The job is over; its result is in the state or, for a refusal, was the same whenever it was asked for.
    pub(crate) fn over(&self, deployment: &DeploymentId) {
        lock(&self.jobs).remove(deployment);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn holder(purpose: &str) -> Holder {
        Holder {
            pid: 1,
            purpose: purpose.to_owned(),
            deployment: None,
            since: "2026-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn turns_come_in_the_order_of_asking() {
        let queues = AppQueues::default();
        let place = queues.of(&"app".parse().unwrap());
        let first = place.turn(Asker::Key, holder("first"), |_| panic!("nobody is before it")).await;
        let (say, mut given) = tokio::sync::mpsc::unbounded_channel();
        let mut waiting = Vec::new();
        for number in 0..5 {
            let (place, say) = (Arc::clone(&place), say.clone());
            waiting.push(tokio::spawn(async move {
                let turn = place
                    .turn(Asker::Key, holder("later"), |before| say.send((number, before)).unwrap())
                    .await;
                say.send((number, None)).unwrap();
                drop(turn);
            }));
            let reported = given.recv().await.unwrap();
            assert_eq!(
                (reported.0, reported.1.map(|holder| holder.purpose)),
                (number, Some("first".to_owned()))
            );
        }
        drop(first);
        for number in 0..5 {
            assert_eq!(given.recv().await.unwrap().0, number);
        }
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(place.holder(), None);
    }

    #[tokio::test]
    async fn a_deployment_has_one_job_until_it_is_over() {
        let place = AppQueue::default();
        let id: DeploymentId = "deployment-1".parse().unwrap();
        let Admission::New(first) = place.job(&id, "deploy 1.0.0", 1) else { panic!("it is free") };
        let Admission::InFlight(again) = place.job(&id, "deploy 1.0.0", 1) else { panic!("it is the same") };
        assert!(Arc::ptr_eq(&first, &again));
        let another = place.job(&id, "deploy 2.0.0", 1);
        assert!(matches!(another, Admission::Another), "nobody hears of another's: {another:?}");
        place.over(&id);
        assert!(matches!(place.job(&id, "deploy 2.0.0", 1), Admission::New(_)));
    }

    #[tokio::test]
    async fn queued_changes_are_limited_and_still_answered() {
        let place = AppQueue::default();
        let id = |number: usize| format!("deployment-{number}").parse::<DeploymentId>().unwrap();
        for number in 0..CHANGES {
            assert!(matches!(place.job(&id(number), "deploy", CHANGES), Admission::New(_)), "{number}");
        }
        assert!(matches!(place.job(&id(CHANGES), "deploy", CHANGES), Admission::TooMany));
        assert!(matches!(place.job(&id(0), "deploy", CHANGES), Admission::InFlight(_)));
        assert!(matches!(place.job(&id(CHANGES), "deploy", usize::MAX), Admission::New(_)), "the owner's");
        place.over(&id(0));
        place.over(&id(1));
        assert!(matches!(place.job(&id(0), "deploy", CHANGES), Admission::New(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_retries_pause_longer_each_time() {
        let (queues, app) = (AppQueues::default(), "app".parse().unwrap());
        queues.schedule_retry(&app);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let stopwatch = Stopwatch::start();
            assert_eq!(queues.unfinished().await, app);
            pauses.push(stopwatch.elapsed().as_secs());
            queues.retry_failed(&app);
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_or_a_success_resets_the_pause() {
        let (queues, app, other) = (AppQueues::default(), "app".parse().unwrap(), "other".parse().unwrap());
        (0..7).for_each(|_| queues.retry_failed(&app));
        let stopwatch = Stopwatch::start();
        queues.retry_failed(&other);
        // While one waits already: the shorter pause counts, and each is taken up once.
        let both = async { (queues.unfinished().await, queues.unfinished().await) };
        let (both, ()) = tokio::join!(both, async { queues.schedule_retry(&app) });
        assert_eq!((both, stopwatch.elapsed().as_secs()), ((app.clone(), other), 10));
        assert!(futures_util::FutureExt::now_or_never(queues.unfinished()).is_none());
        (0..7).for_each(|_| queues.retry_failed(&app));
        assert_eq!(queues.unfinished().await, app);
        queues.finished(&app);
        let stopwatch = Stopwatch::start();
        queues.retry_failed(&app);
        assert_eq!((queues.unfinished().await, stopwatch.elapsed().as_secs()), (app, 10));
    }

    // case X5; broken by: the owner's turn is taken as the others' is
    #[tokio::test]
    async fn the_owner_waits_for_the_running_change_alone() {
        let queues = AppQueues::default();
        let place = queues.of(&"app".parse().unwrap());
        let first = place.turn(Asker::Key, holder("first"), |_| ()).await;
        let (say, mut given) = tokio::sync::mpsc::unbounded_channel();
        let wait = |asker, name: String| {
            let (place, say) = (Arc::clone(&place), say.clone());
            async move {
                let turn = place.turn(asker, holder(&name), |_| ()).await;
                say.send(name).expect("somebody listens");
                drop(turn);
            }
        };
        let keys = (0..5).map(|number| tokio::spawn(wait(Asker::Key, format!("key {number}"))));
        let keys: Vec<_> = keys.collect();
        // All of them have asked before the owner does.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let owner = tokio::spawn(wait(Asker::Owner, "owner".to_owned()));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        drop(first);
        for task in keys.into_iter().chain([owner]) {
            task.await.expect("it had its turn");
        }
        let mut order = Vec::new();
        while let Ok(name) = given.try_recv() {
            order.push(name);
        }
        assert_eq!(order, ["owner", "key 0", "key 1", "key 2", "key 3", "key 4"]);
    }

    #[tokio::test]
    async fn it_is_idle_when_the_last_one_is_done() {
        let queues = AppQueues::default();
        let (one, (end, ended)) = (queues.in_flight.token(), tokio::sync::oneshot::channel::<()>());
        // It counts before it was polled.
        queues.in_flight.spawn(ended);
        drop(one);
        assert!(queues.idle().now_or_never().is_none());
        drop(end);
        queues.idle().await;
    }
}
