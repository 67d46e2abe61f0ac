//! A list that may lag behind what was written.

use std::collections::BTreeSet;

/// The most writes that a list lags behind.
pub const LONGEST_LAG: usize = 3;

/// What a list shows, now and after the last few writes.
#[derive(Debug, Clone, Default)]
pub struct Listing<T> {
    /// The newest last, at most one more than the longest lag.
    versions: Vec<BTreeSet<T>>,
}

impl<T: Clone + Ord> Listing<T> {
    /// After a write.
    pub fn is_now<'a>(&mut self, entries: impl Iterator<Item = &'a T>)
    where
        T: 'a,
    {
        let now: BTreeSet<T> = entries.cloned().collect();
        if self.versions.is_empty() {
            self.versions.push(BTreeSet::new());
        }
        if self.versions.last() != Some(&now) {
            self.versions.push(now);
        }
        let surplus = self.versions.len().saturating_sub(LONGEST_LAG + 1);
        self.versions.drain(..surplus);
    }

    /// As it was so many writes ago, or as long ago as is known.
    pub fn as_of(&self, lag: usize) -> BTreeSet<T> {
        let place = self.versions.len().saturating_sub(1 + lag);
        self.versions.get(place).cloned().unwrap_or_default()
    }

    /// By how many writes it can lag behind at most.
    pub fn longest_lag(&self) -> usize {
        self.versions.len().saturating_sub(1)
    }

    /// What is shown long after the last write.
    pub fn forget_the_past(&mut self) {
        let surplus = self.versions.len().saturating_sub(1);
        self.versions.drain(..surplus);
    }
}
