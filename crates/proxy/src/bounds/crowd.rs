//! The clients' connections, and which of them is closed when there is no place for another.
//!
//! A connection without a request under way is no reason to keep anybody out. When all places are taken, the
//! client that has most of such connections loses those of them that have rested longest. Ten thousand
//! connections that ask nothing, or send their heads byte by byte, then only push out each other.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::trust::Peer;

/// All connections from clients.
#[derive(Debug, Default)]
pub struct Crowd {
    guests: Mutex<HashMap<u64, Arc<Guest>>>,
    count: AtomicUsize,
    /// Numbers events, so that their order is known without a clock.
    turn: AtomicU64,
}

/// What is known of one of them.
#[derive(Debug, Default)]
pub struct Guest {
    peer: Option<Peer>,
    under_way: AtomicUsize,
    ended: AtomicUsize,
    /// The turn of its last exchange's end, or of its coming.
    since: AtomicU64,
    dismissed: AtomicBool,
    dismissal: Notify,
}

impl Guest {
    /// An exchange begins.
    pub fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether no exchange is under way.
    pub fn idle(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }

    /// How many have ended.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// Who it is.
    pub fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// It is to go.
    pub fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Relaxed);
        self.dismissal.notify_one();
    }

    /// Waits until it is to go.
    pub async fn dismissed(&self) {
        self.dismissal.notified().await;
    }

    fn can_go(&self) -> bool {
        self.idle() && !self.dismissed.load(Ordering::Relaxed)
    }
}

/// One of the connections that are allowed, counted as long as it lasts.
#[derive(Debug)]
pub struct Seat {
    _permit: OwnedSemaphorePermit,
    crowd: Arc<Crowd>,
    number: u64,
    /// Who has it.
    pub guest: Arc<Guest>,
}

impl Seat {
    /// An exchange has ended.
    pub fn end(&self) {
        let turn = self.crowd.turn.fetch_add(1, Ordering::Relaxed);
        self.guest.since.store(turn, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.crowd.lock().remove(&self.number);
        self.crowd.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Crowd {
    /// A connection comes in.
    pub fn seat(self: &Arc<Self>, permit: OwnedSemaphorePermit, peer: Peer) -> Seat {
        let number = self.turn.fetch_add(1, Ordering::Relaxed);
        let guest = Arc::new(Guest { peer: Some(peer), since: AtomicU64::new(number), ..Guest::default() });
        self.count.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(number, Arc::clone(&guest));
        Seat { _permit: permit, crowd: Arc::clone(self), number, guest }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Sends some away, so that the next few find a place; looking at all of them pays for more than one.
    pub fn make_room(&self) {
        let guests = self.lock();
        let mut idle: HashMap<Option<Peer>, Vec<&Arc<Guest>>> = HashMap::new();
        for guest in guests.values().filter(|guest| guest.can_go()) {
            idle.entry(guest.peer).or_default().push(guest);
        }
        let Some(mut most) = idle.into_values().max_by_key(Vec::len) else { return };
        most.sort_by_key(|guest| guest.since.load(Ordering::Relaxed));
        for guest in most.iter().take((most.len() / 16).max(1)) {
            guest.dismiss();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Arc<Guest>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Guest {
    /// An exchange ends; the last thing that is known of it.
    pub(crate) fn finish(&self) {
        self.ended.fetch_add(1, Ordering::Release);
        self.under_way.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd(peers: &[u8]) -> (Arc<Crowd>, Vec<Seat>) {
        let crowd = Arc::<Crowd>::default();
        let places = Arc::new(tokio::sync::Semaphore::new(peers.len()));
        let seats = peers
            .iter()
            .map(|peer| {
                let permit = Arc::clone(&places).try_acquire_owned().expect("a place");
                crowd.seat(permit, Peer::Ip([203, 0, 113, *peer].into()))
            })
            .collect();
        (crowd, seats)
    }

    fn gone(seats: &[Seat]) -> Vec<usize> {
        let gone = |seat: &Seat| seat.guest.dismissed.load(Ordering::Relaxed);
        (0..seats.len()).filter(|at| gone(&seats[*at])).collect()
    }

    #[test]
    fn who_has_most_loses_what_has_rested_longest() {
        let (crowd, seats) = crowd(&[1, 2, 2, 2, 1, 3]);
        seats[1].guest.begin();
        seats[1].guest.finish();
        seats[1].end();
        crowd.make_room();
        assert_eq!(gone(&seats), [2]);
        // Of 1 and of 2 two are left each.
        crowd.make_room();
        crowd.make_room();
        assert!(!gone(&seats).contains(&5), "{:?}", gone(&seats));
    }

    #[test]
    fn nobody_is_sent_away_in_the_middle_of_a_request() {
        let (crowd, seats) = crowd(&[1, 1, 2]);
        seats[0].guest.begin();
        seats[1].guest.begin();
        crowd.make_room();
        crowd.make_room();
        assert_eq!(gone(&seats), [2]);
        drop(seats);
        assert_eq!((crowd.count(), crowd.lock().len()), (0, 0));
    }

    #[test]
    fn many_make_room_for_many() {
        let (crowd, seats) = crowd(&[7; 160]);
        crowd.make_room();
        assert_eq!(gone(&seats), (0..10).collect::<Vec<_>>());
    }
}
