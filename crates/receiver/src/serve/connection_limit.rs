//! How many connections each user of this machine has. A crowd of one user's takes nobody else's place, and
//! root's least of all.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One connection's place, taken until the last copy is dropped: also what was asked and is still being
/// answered has it.
pub(super) type Permit = Arc<OwnedSemaphorePermit>;

/// So many places for each user.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    each: usize,
    /// By the kernel's number. Only who may open the socket gets here, so they are few.
    users: HashMap<u32, Arc<Semaphore>>,
}

impl ConnectionLimit {
    pub(super) fn for_each_user(each: usize) -> Self {
        Self { each, users: HashMap::new() }
    }

    /// A place, unless this user has taken all of its own.
    pub(super) fn take(&mut self, user: u32) -> Option<Permit> {
        let free = self.users.entry(user).or_insert_with(|| Arc::new(Semaphore::new(self.each)));
        Arc::clone(free).try_acquire_owned().ok().map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_takes_and_returns_only_its_own_slots() {
        let mut places = ConnectionLimit::for_each_user(2);
        let (one, _two) = (places.take(990).expect("free"), places.take(990).expect("free"));
        assert!(places.take(990).is_none(), "more than its own");
        assert!(places.take(0).is_some() && places.take(991).is_some(), "others have theirs");
        let copy = Arc::clone(&one);
        drop(one);
        assert!(places.take(990).is_none(), "it is still being answered");
        drop(copy);
        assert!(places.take(990).is_some(), "it is free again");
    }
}
