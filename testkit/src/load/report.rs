//! What the clients have seen: counted by kind, and shown as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use super::ClientKind;

/// How an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// No connection.
    Connect,
    /// The request was sent, or some of it, and no answer came.
    NoAnswer,
    /// The answer began and broke off.
    CutShort,
    /// Another status than the one that was due.
    Status,
    /// The proxy's word that nothing serves, after it had waited for as long as it may.
    WaitedTooLong,
    /// Not the answer to what was asked.
    WrongAnswer,
    /// A WebSocket ended without the handshake, or with a code that means no restart.
    Unclean,
    /// Nothing for half a minute.
    Timeout,
}

/// Why an exchange failed, in words.
pub(super) type Lost = (Failure, String);

impl Failure {
    const fn name(self) -> &'static str {
        match self {
            Self::Connect => "no connection",
            Self::NoAnswer => "no answer",
            Self::CutShort => "cut short",
            Self::Status => "bad status",
            Self::WaitedTooLong => "waited too long",
            Self::WrongAnswer => "wrong answer",
            Self::Unclean => "unclean close",
            Self::Timeout => "timeout",
        }
    }
}

/// Examples that are kept of each failure.
const EXAMPLES: usize = 3;

/// One kind of client, all of them together.
#[derive(Debug, Clone, Default)]
pub struct KindReport {
    /// Exchanges that ended well.
    pub good: u64,
    /// Those that did not.
    pub failures: BTreeMap<Failure, u64>,
    /// The first words of each failure.
    pub examples: BTreeMap<Failure, Vec<String>>,
    /// WebSockets that the server closed by the rules.
    pub closed: u64,
    /// The longest that a good exchange took.
    pub longest: Duration,
    /// Good exchanges by how long they took, in steps of a quarter of their size.
    durations: BTreeMap<u32, u64>,
}

impl KindReport {
    /// All exchanges.
    pub fn done(&self) -> u64 {
        self.good + self.lost()
    }

    /// All that has happened: exchanges, and Closes by the rules.
    pub fn events(&self) -> u64 {
        self.done() + self.closed
    }

    /// Exchanges that failed.
    pub fn lost(&self) -> u64 {
        self.failures.values().sum()
    }

    /// How long this part (0 to 1) of the good exchanges took at most, to a quarter.
    pub fn quantile(&self, part: f64) -> Duration {
        let mut left = self.good;
        for (step, count) in &self.durations {
            left -= count;
            #[expect(clippy::cast_precision_loss, reason = "a share of a count")]
            if left as f64 <= self.good as f64 * (1.0 - part) {
                return Duration::from_secs_f64(1.25_f64.powi(i32::try_from(*step).unwrap_or(0)) / 1e6)
                    .min(self.longest);
            }
        }
        self.longest
    }

    fn succeeded(&mut self, took: Duration) {
        self.good += 1;
        self.longest = self.longest.max(took);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a logarithm of microseconds"
        )]
        let step = (took.as_secs_f64() * 1e6).max(1.0).log(1.25).ceil() as u32;
        *self.durations.entry(step).or_default() += 1;
    }
}

/// What all clients have seen.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// By kind; those that there were.
    pub kinds: BTreeMap<ClientKind, KindReport>,
    /// The versions that answered (the field `x-version`), each with its answers.
    pub versions: BTreeMap<String, u64>,
}

impl Report {
    /// All exchanges.
    pub fn exchanges(&self) -> u64 {
        self.kinds.values().map(KindReport::done).sum()
    }

    /// All that failed.
    pub fn lost(&self) -> u64 {
        self.kinds.values().map(KindReport::lost).sum()
    }

    /// The versions that answered.
    pub fn versions_seen(&self) -> BTreeSet<&str> {
        self.versions.keys().map(String::as_str).collect()
    }

    /// Every failure's first words.
    pub fn examples(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (kind, report) in &self.kinds {
            for (failure, examples) in &report.examples {
                let count = report.failures.get(failure).copied().unwrap_or_default();
                all.push(format!("{}: {} x {count}: {}", kind.name(), failure.name(), examples.join(" | ")));
            }
        }
        all
    }

    /// Panics with the table and the examples if anything was lost, or if a kind has done nothing.
    #[track_caller]
    pub fn assert_nothing_lost(&self) {
        self.assert_lost(0);
    }

    /// The same where at times nothing runs, and a busy machine may take longer to start it than the proxy waits.
    #[track_caller]
    pub fn assert_nothing_lost_without_a_wait(&self) {
        let waited_too_long = |report: &KindReport| report.failures.get(&Failure::WaitedTooLong).copied();
        self.assert_lost(self.kinds.values().filter_map(waited_too_long).sum());
    }

    #[track_caller]
    fn assert_lost(&self, expected: u64) {
        assert_eq!(self.lost(), expected, "lost:\n{self}");
        for (kind, report) in &self.kinds {
            assert!(report.good > 0, "{} has done nothing:\n{self}", kind.name());
        }
        assert!(!self.kinds.is_empty(), "there were no clients");
    }

    pub(super) fn expect(&mut self, kind: ClientKind) {
        self.kinds.entry(kind).or_default();
    }

    pub(super) fn succeeded(&mut self, kind: ClientKind, took: Duration, version: Option<&str>) {
        self.kinds.entry(kind).or_default().succeeded(took);
        if let Some(version) = version {
            *self.versions.entry(version.to_owned()).or_default() += 1;
        }
    }

    pub(super) fn closed(&mut self, kind: ClientKind) {
        self.kinds.entry(kind).or_default().closed += 1;
    }

    pub(super) fn failed(&mut self, kind: ClientKind, failure: Failure, words: String) {
        let report = self.kinds.entry(kind).or_default();
        *report.failures.entry(failure).or_default() += 1;
        let examples = report.examples.entry(failure).or_default();
        if examples.len() < EXAMPLES {
            examples.push(words);
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "clients     exchanges      lost   p50 ms   p99 ms   max ms")?;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        for (kind, report) in &self.kinds {
            let closed = if report.closed > 0 {
                format!("   {} closed by the rules", report.closed)
            } else {
                String::new()
            };
            writeln!(
                f,
                "{:<11} {:>9} {:>9} {:>8.1} {:>8.1} {:>8.1}{closed}",
                kind.name(),
                report.done(),
                report.lost(),
                ms(report.quantile(0.5)),
                ms(report.quantile(0.99)),
                ms(report.longest),
            )?;
        }
        writeln!(f, "{:<11} {:>9} {:>9}", "all", self.exchanges(), self.lost())?;
        for example in self.examples() {
            writeln!(f, "  {example}")?;
        }
        Ok(())
    }
}
