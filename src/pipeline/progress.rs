//! What a run has done so far, and where its time went. A failure quotes it, the summary draws it.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Duration;

use super::intents::Intent;
use autotag_base::clock::Stopwatch;

/// Who is shown a run while it goes on.
pub trait Observer: Debug + Send + Sync {
    /// A stage has begun. What is returned is dropped at its end, however it ends.
    fn begins(&self, stage: &'static str) -> Box<dyn Any + Send>;

    /// Something that fails nothing and that somebody should see.
    fn remarks(&self, severity: Severity, title: &str, text: &str);
}

/// Nobody looks.
impl Observer for () {
    fn begins(&self, _: &'static str) -> Box<dyn Any + Send> {
        Box::new(())
    }

    fn remarks(&self, _: Severity, _: &str, _: &str) {}
}

/// How much something matters to whoever reads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Look at it.
    Warning,
    /// It failed.
    Error,
}

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
    observer: Box<dyn Observer>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    intents: Vec<Intent>,
    timings: Vec<Timing>,
    current: Option<&'static str>,
    done: Vec<String>,
}

impl Progress {
    /// Begins now.
    pub fn start(observer: impl Observer + 'static) -> Self {
        Self { stopwatch: Stopwatch::start(), observer: Box::new(observer), inner: Mutex::default() }
    }

    /// Says something that fails nothing and that somebody should see.
    pub fn remark(&self, severity: Severity, title: &str, text: &str) {
        self.observer.remarks(severity, title, text);
    }

    /// Notes which stages there are, and which of them this run was asked for.
    pub fn intends(&self, intents: Vec<Intent>) {
        self.change(|inner| inner.intents = intents);
    }

    /// What was noted by [`Self::intends`]; nothing before the pipeline begins.
    pub fn intents(&self) -> Vec<Intent> {
        self.read(|inner| inner.intents.clone())
    }

    /// Runs one stage and notes its time, also where it fails.
    pub async fn stage<T>(&self, name: &'static str, work: impl Future<Output = T>) -> T {
        let start = self.stopwatch.elapsed();
        self.change(|inner| inner.current = Some(name));
        let shown = self.observer.begins(name);
        let result = work.await;
        drop(shown);
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
        self.done_as_logged(fact);
    }

    /// The same, where the log has said it already.
    pub fn done_as_logged(&self, fact: impl Into<String>) {
        let fact = fact.into();
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
