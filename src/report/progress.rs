//! What a run has done so far, and where its time went. A failure quotes it, the summary draws it.

use std::sync::Mutex;
use std::time::Duration;

use super::screen::Screen;
use crate::world::clock::Stopwatch;

/// One stage of the transaction, as it was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// The stage's name.
    pub stage: &'static str,
    /// When it began, since the run's start.
    pub start: Duration,
    /// How long it took.
    pub took: Duration,
}

/// Shared by the pipeline and by whoever reports, also when the pipeline was dropped half-way.
#[derive(Debug)]
pub struct Progress {
    stopwatch: Stopwatch,
    screen: Screen,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    timings: Vec<Timing>,
    current: Option<&'static str>,
    done: Vec<String>,
}

impl Progress {
    /// Begins now.
    pub fn start() -> Self {
        Self::on(Screen::default())
    }

    /// Begins now, and draws the stage that is running.
    pub fn on(screen: Screen) -> Self {
        Self { stopwatch: Stopwatch::start(), screen, inner: Mutex::default() }
    }

    /// Runs one stage and notes its time, also where it fails.
    pub async fn stage<T>(&self, name: &'static str, work: impl Future<Output = T>) -> T {
        let start = self.stopwatch.elapsed();
        self.change(|inner| inner.current = Some(name));
        let drawn = self.screen.busy(name);
        let result = work.await;
        drop(drawn);
        let took = self.stopwatch.elapsed().saturating_sub(start);
        self.change(|inner| {
            inner.current = None;
            inner.timings.push(Timing { stage: name, start, took });
        });
        result
    }

    /// Notes something that is done for good and stays done if the run fails later.
    pub fn done(&self, fact: impl Into<String>) {
        let fact = fact.into();
        tracing::info!("{fact}");
        self.change(|inner| inner.done.push(fact));
    }

    /// Everything that is done.
    pub fn facts(&self) -> Vec<String> {
        self.read(|inner| inner.done.clone())
    }

    /// The stages so far, in order.
    pub fn timings(&self) -> Vec<Timing> {
        self.read(|inner| inner.timings.clone())
    }

    /// The stage that is running.
    pub fn current(&self) -> Option<&'static str> {
        self.read(|inner| inner.current)
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.stopwatch.elapsed()
    }

    fn change(&self, work: impl FnOnce(&mut Inner)) {
        work(&mut self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn read<T>(&self, work: impl FnOnce(&Inner) -> T) -> T {
        work(&self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}
