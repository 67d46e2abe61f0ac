//! How much of one application's key may go wrong, and how it is written down: so that whoever has the key can
//! neither fill the journal nor turn it over.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use autotag_protocol::RefusalCode;

/// The unit that an application has again after this time.
const EACH: Duration = Duration::from_mins(1);

/// So many units it may spend at once.
const BURST: u32 = 120;

/// What a change costs that was refused, or went well. A repository deploys a few times an hour.
pub(crate) const CHEAP: u32 = 1;

/// What one costs that was begun and failed: it has written every step to the journal, and pulled an image.
pub(crate) const FAILED: u32 = 4;

/// How long refusals of one kind are summed up.
const HOUR: Duration = Duration::from_hours(1);

/// What one application's key has spent, on a clock that begins anywhere. Pure.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// When all of it is there again.
    full_at: Duration,
}

impl Quota {
    /// Whether there is something left; otherwise how long until there is.
    pub(crate) fn left(&self, now: Duration) -> Result<(), Duration> {
        let spent = self.full_at.saturating_sub(now);
        match (EACH * BURST).checked_sub(spent) {
            Some(left) if left >= EACH => Ok(()),
            _ => Err(spent.saturating_sub(EACH * (BURST - 1))),
        }
    }

    /// Takes so many units.
    pub(crate) fn spend(&mut self, units: u32, now: Duration) {
        self.full_at = self.full_at.max(now).saturating_add(EACH * units);
    }
}

/// Refusals that are summed up: of each kind the first one in an hour is told, the others are counted. Pure.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    kinds: BTreeMap<RefusalCode, Count>,
}

#[derive(Debug)]
struct Count {
    since: Duration,
    untold: u64,
}

impl Refusals {
    /// Counts one. Whether it is to be told by itself.
    pub(crate) fn count(&mut self, code: RefusalCode, now: Duration) -> bool {
        match self.kinds.entry(code) {
            Entry::Vacant(kind) => {
                kind.insert(Count { since: now, untold: 0 });
                true
            }
            Entry::Occupied(mut kind) => {
                kind.get_mut().untold += 1;
                false
            }
        }
    }

    /// What was not told by itself, in a line for each kind whose hour is over.
    pub(crate) fn summed(&mut self, now: Duration) -> Vec<String> {
        let over = |count: &Count| now.saturating_sub(count.since) >= HOUR;
        let ended = self.kinds.extract_if(.., |_, count| over(count));
        ended
            .filter(|(_, count)| count.untold > 0)
            .map(|(kind, count)| {
                format!("{} more requests of CI's key were refused since ({kind})", count.untold)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(77);

    #[test]
    fn so_much_at_once_and_then_so_much_an_hour() {
        let mut quota = Quota::default();
        for _ in 0..BURST {
            assert_eq!(quota.left(START), Ok(()));
            quota.spend(CHEAP, START);
        }
        assert_eq!(quota.left(START), Err(EACH));
        assert!(quota.left(START + EACH / 2).is_err());
        let hour = (1..=60).filter(|minute| {
            let now = START + EACH * *minute;
            let left = quota.left(now).is_ok();
            if left {
                quota.spend(CHEAP, now);
            }
            left
        });
        assert_eq!(hour.count(), 60);
        // After a quiet time there is no more than at first.
        let later = START + EACH * 10 * BURST;
        let all = (0..2 * BURST).take_while(|_| {
            let left = quota.left(later).is_ok();
            quota.spend(CHEAP, later);
            left
        });
        assert_eq!(all.count(), BURST as usize);
    }

    #[test]
    fn what_fails_costs_more() {
        let mut quota = Quota::default();
        let failures = (0..BURST).take_while(|_| {
            let left = quota.left(START).is_ok();
            if left {
                quota.spend(FAILED, START);
            }
            left
        });
        assert_eq!(failures.count(), (BURST / FAILED) as usize);
        assert!(quota.left(START + EACH * FAILED).is_ok());
    }

    #[test]
    fn refusals_of_a_kind_are_logged_once_then_counted() {
        let mut refusals = Refusals::default();
        assert!(refusals.count(RefusalCode::Repository, START));
        for second in 0..30 {
            assert!(!refusals.count(RefusalCode::Repository, START + Duration::from_secs(second)));
        }
        assert!(refusals.count(RefusalCode::NewerIsLive, START), "another kind");
        assert!(refusals.summed(START + HOUR / 2).is_empty());
        let lines = refusals.summed(START + HOUR);
        assert_eq!(lines, ["30 more requests of CI's key were refused since (repository)"]);
        assert!(refusals.summed(START + HOUR * 9).is_empty(), "once");
        assert!(refusals.count(RefusalCode::Repository, START + HOUR), "a new hour");
    }
}
