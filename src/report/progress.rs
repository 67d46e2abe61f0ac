//! What a run has done so far, and where its time went. A failure quotes it, the summary draws it.

use std::sync::Mutex;
use std::time::Duration;

use super::commands::{Level, annotation};
use super::screen::Screen;
use autotag_base::clock::Stopwatch;

/// A stage, and whether this run was asked for it.
pub type Intent = (&'static str, bool);

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
    annotates: bool,
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
    pub fn start() -> Self {
        Self::on(Screen::default())
    }

    /// Begins now, and draws the stage that is running.
    pub fn on(screen: Screen) -> Self {
        Self { stopwatch: Stopwatch::start(), screen, annotates: false, inner: Mutex::default() }
    }

    /// The same; what is remarked becomes an annotation on the run's page.
    #[must_use]
    pub fn annotating(self, annotates: bool) -> Self {
        Self { annotates, ..self }
    }

    /// Says something that fails nothing and that somebody should see.
    pub fn remark(&self, level: Level, title: &str, text: &str) {
        match level {
            _ if self.annotates => self.screen.line(&annotation(level, title, text)),
            Level::Notice => tracing::info!("{title}: {text}"),
            Level::Warning => tracing::warn!("{title}: {text}"),
            Level::Error => tracing::error!("{title}: {text}"),
        }
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
