//! Each application's turn: one change at a time, in the order in which they were asked for.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedMutexGuard, watch};

use crate::deploy::protocol::{AppName, DeploymentId, Holder};
use crate::receiver::job::Job;

/// Changes of one application that may be at work or wait, at its key's wish. Each goes on without its caller
/// and holds its request (256 KiB at most), so without a bound a key could fill the server's memory. Sixteen
/// are far more than a repository with a `concurrency` group ever has.
pub(crate) const CHANGES: usize = 16;

/// All applications' turns.
#[derive(Debug)]
pub(crate) struct Desk {
    places: Mutex<HashMap<AppName, Arc<Place>>>,
    /// So many jobs are at work or wait.
    at_work: watch::Sender<usize>,
    /// Applications whose last change could not be brought to its end.
    unfinished: Mutex<BTreeSet<AppName>>,
    more_unfinished: Notify,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            places: Mutex::default(),
            at_work: watch::Sender::new(0),
            unfinished: Mutex::default(),
            more_unfinished: Notify::new(),
        }
    }
}

/// One application's.
#[derive(Debug, Default)]
pub(crate) struct Place {
    turn: Arc<tokio::sync::Mutex<()>>,
    holder: Mutex<Option<Holder>>,
    /// Changes that are at work or wait, by deployment, with what each is about.
    jobs: Mutex<HashMap<DeploymentId, (Arc<Job>, String)>>,
    /// Held while its last change is taken up again.
    retry: tokio::sync::Mutex<()>,
}

/// What becomes of a change that is asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    /// It is to be done.
    New(Arc<Job>),
    /// It was asked for before.
    AtWork(Arc<Job>),
    /// Its id was given to another one, which is at work.
    Another,
    /// So many are at work or wait already.
    TooMany,
}

/// The turn, held as long as this lives.
#[derive(Debug)]
pub(crate) struct Turn {
    place: Arc<Place>,
    _guard: OwnedMutexGuard<()>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&self.place.holder) = None;
    }
}

impl Desk {
    /// An application's place.
    pub(crate) fn place(&self, app: &AppName) -> Arc<Place> {
        Arc::clone(lock(&self.places).entry(app.clone()).or_default())
    }

    /// Counts a job in for as long as the value lives.
    pub(crate) fn count_in(&self) -> AtWork<'_> {
        self.at_work.send_modify(|count| *count += 1);
        AtWork(self)
    }

    /// An application's last change has to be taken up again.
    pub(crate) fn again(&self, app: &AppName) {
        lock(&self.unfinished).insert(app.clone());
        self.more_unfinished.notify_one();
    }

    /// The applications whose last change has to be taken up again, as soon as there is one.
    pub(crate) async fn unfinished(&self) -> BTreeSet<AppName> {
        loop {
            let apps = std::mem::take(&mut *lock(&self.unfinished));
            if !apps.is_empty() {
                return apps;
            }
            self.more_unfinished.notified().await;
        }
    }

    /// Waits until nothing is at work.
    pub(crate) async fn idle(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.at_work.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// See [`Desk::count_in`].
#[derive(Debug)]
pub(crate) struct AtWork<'a>(&'a Desk);

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.0.at_work.send_modify(|count| *count -= 1);
    }
}

impl Place {
    /// Who changes the application now.
    pub(crate) fn holder(&self) -> Option<Holder> {
        lock(&self.holder).clone()
    }

    /// Waits for the turn, first come, first served; `on_wait` is told who is before us.
    pub(crate) async fn turn(self: &Arc<Self>, holder: Holder, on_wait: impl FnOnce(Option<Holder>)) -> Turn {
        let guard = if let Ok(guard) = Arc::clone(&self.turn).try_lock_owned() {
            guard
        } else {
            on_wait(self.holder());
            Arc::clone(&self.turn).lock_owned().await
        };
        *lock(&self.holder) = Some(holder);
        Turn { place: Arc::clone(self), _guard: guard }
    }

    /// The job of this deployment, if it is at work already or there are fewer than `most`.
    pub(crate) fn job(&self, deployment: &DeploymentId, about: &str, most: usize) -> Asked {
        let mut jobs = lock(&self.jobs);
        match jobs.get(deployment) {
            Some((job, known)) if known == about => Asked::AtWork(Arc::clone(job)),
            Some(_) => Asked::Another,
            None if jobs.len() >= most => Asked::TooMany,
            None => {
                let job = Arc::new(Job::new(Some(deployment.clone())));
                jobs.insert(deployment.clone(), (Arc::clone(&job), about.to_owned()));
                Asked::New(job)
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
        let desk = Desk::default();
        let place = desk.place(&"app".parse().unwrap());
        let first = place.turn(holder("first"), |_| panic!("nobody is before it")).await;
        let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
        let mut waiting = Vec::new();
        for number in 0..5 {
            let (place, say) = (Arc::clone(&place), say.clone());
            waiting.push(tokio::spawn(async move {
                let turn = place.turn(holder("later"), |before| say.send((number, before)).unwrap()).await;
                say.send((number, None)).unwrap();
                drop(turn);
            }));
            let told = said.recv().await.unwrap();
            assert_eq!((told.0, told.1.map(|holder| holder.purpose)), (number, Some("first".to_owned())));
        }
        drop(first);
        for number in 0..5 {
            assert_eq!(said.recv().await.unwrap().0, number);
        }
        for task in waiting {
            task.await.unwrap();
        }
        assert_eq!(place.holder(), None);
    }

    #[tokio::test]
    async fn a_deployment_has_one_job_until_it_is_over() {
        let place = Place::default();
        let id: DeploymentId = "deployment-1".parse().unwrap();
        let Asked::New(first) = place.job(&id, "deploy 1.0.0", 1) else { panic!("it is free") };
        let Asked::AtWork(again) = place.job(&id, "deploy 1.0.0", 1) else { panic!("it is the same") };
        assert!(Arc::ptr_eq(&first, &again));
        let another = place.job(&id, "deploy 2.0.0", 1);
        assert!(matches!(another, Asked::Another), "nobody hears of another's: {another:?}");
        place.over(&id);
        assert!(matches!(place.job(&id, "deploy 2.0.0", 1), Asked::New(_)));
    }

    #[tokio::test]
    async fn changes_that_wait_are_bounded_and_those_that_wait_are_still_heard() {
        let place = Place::default();
        let id = |number: usize| format!("deployment-{number}").parse::<DeploymentId>().unwrap();
        for number in 0..CHANGES {
            assert!(matches!(place.job(&id(number), "deploy", CHANGES), Asked::New(_)), "{number}");
        }
        assert!(matches!(place.job(&id(CHANGES), "deploy", CHANGES), Asked::TooMany));
        assert!(matches!(place.job(&id(0), "deploy", CHANGES), Asked::AtWork(_)));
        assert!(matches!(place.job(&id(CHANGES), "deploy", usize::MAX), Asked::New(_)), "the owner's");
        place.over(&id(0));
        place.over(&id(1));
        assert!(matches!(place.job(&id(0), "deploy", CHANGES), Asked::New(_)));
    }

    #[tokio::test]
    async fn it_is_idle_when_the_last_one_is_done() {
        let desk = Desk::default();
        let (one, two) = (desk.count_in(), desk.count_in());
        drop(one);
        assert!(futures_util::FutureExt::now_or_never(desk.idle()).is_none());
        drop(two);
        desk.idle().await;
    }
}
