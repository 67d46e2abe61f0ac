//! Who may have how many requests under way: in all, each application, each client of one.
//!
//! Half of all places is shared out: each application has an equal part that nobody else can take. The other
//! half goes to whoever comes first. So one application that is flooded, or that answers nobody, never takes
//! the others' part. Within an application no client has more than its own bound, so that one is not all.
//!
//! A place is one request, from its head to the last byte of its body and of its answer, or one tunnel; and
//! it is one connection to an application at most. The places are fewer than the clients' connections:
//! among those there is then always one that can be closed to let another in ([`super::crowd`]).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::limits::Limits;

/// All places.
#[derive(Debug)]
pub struct Places {
    /// Half of them, for whoever comes first.
    common: usize,
    taken: AtomicUsize,
    apps: AtomicUsize,
    each_client: usize,
    spare: AtomicUsize,
    spare_most: usize,
}

impl Places {
    /// As many as the bounds say.
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            common: limits.requests / 2,
            taken: AtomicUsize::new(0),
            apps: AtomicUsize::new(1),
            each_client: limits.requests_each_client,
            spare: AtomicUsize::new(0),
            spare_most: limits.spare,
        })
    }

    /// So many applications share them.
    pub fn share_among(&self, apps: usize) {
        self.apps.store(apps.max(1), Ordering::Relaxed);
    }

    /// Counts in a connection to an application that waits for its next request; `None`: there are enough.
    pub fn spare(self: &Arc<Self>) -> Option<Spare> {
        if self.spare.fetch_add(1, Ordering::Relaxed) < self.spare_most {
            return Some(Spare(Arc::clone(self)));
        }
        self.spare.fetch_sub(1, Ordering::Relaxed);
        None
    }
}

/// Proof that an idle connection is counted.
#[derive(Debug)]
pub struct Spare(Arc<Places>);

impl Drop for Spare {
    fn drop(&mut self) {
        self.0.spare.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A client as it is counted: an address, of IPv6 the network that one customer gets (RFC 6177).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientKey(IpAddr);

impl From<IpAddr> for ClientKey {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
            IpAddr::V4(v4) => IpAddr::V4(v4),
        })
    }
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The application has all that it can get.
    App,
    /// The client has.
    Client,
}

/// One application's share.
#[derive(Debug)]
pub struct Share {
    places: Arc<Places>,
    taken: AtomicUsize,
    clients: Mutex<HashMap<ClientKey, usize>>,
}

impl Share {
    /// Of these places.
    pub fn of(places: &Arc<Places>) -> Arc<Self> {
        Arc::new(Self { places: Arc::clone(places), taken: AtomicUsize::new(0), clients: Mutex::default() })
    }

    /// All places, of which this is a share.
    pub fn places(&self) -> &Arc<Places> {
        &self.places
    }

    /// Takes a place for a request of this client; one that is not known is not counted by itself.
    pub fn admit(self: &Arc<Self>, client: Option<ClientKey>) -> Result<Admitted, Full> {
        if let Some(client) = client
            && !self.count_in(client)
        {
            return Err(Full::Client);
        }
        // From here on it is given back when this is dropped.
        let mut admitted = Admitted { share: Arc::clone(self), client, common: false };
        let places = &self.places;
        let own = places.common / places.apps.load(Ordering::Relaxed);
        if self.taken.fetch_add(1, Ordering::Relaxed) >= own {
            let free = places.taken.fetch_add(1, Ordering::Relaxed) < places.common;
            admitted.common = true;
            if !free {
                return Err(Full::App);
            }
        }
        Ok(admitted)
    }

    fn count_in(&self, client: ClientKey) -> bool {
        let mut clients = self.clients();
        let count = clients.entry(client).or_default();
        let fits = *count < self.places.each_client;
        if fits {
            *count += 1;
        }
        fits
    }

    fn clients(&self) -> std::sync::MutexGuard<'_, HashMap<ClientKey, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place; dropping it gives it back.
#[derive(Debug)]
pub struct Admitted {
    share: Arc<Share>,
    client: Option<ClientKey>,
    /// It is one of those for whoever comes first.
    common: bool,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.share.taken.fetch_sub(1, Ordering::Relaxed);
        if self.common {
            self.share.places.taken.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(client) = self.client {
            let mut clients = self.share.clients();
            if let Some(count) = clients.get_mut(&client) {
                *count -= 1;
                if *count == 0 {
                    clients.remove(&client);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(address: &str) -> ClientKey {
        ClientKey::from(address.parse::<IpAddr>().expect(address))
    }

    fn places(requests: usize, requests_each_client: usize) -> Arc<Places> {
        Places::new(&Limits { requests, requests_each_client, spare: 1, ..Limits::default() })
    }

    fn take(share: &Arc<Share>, client: Option<ClientKey>) -> (Vec<Admitted>, Full) {
        let mut all = Vec::new();
        loop {
            match share.admit(client) {
                Ok(admitted) => all.push(admitted),
                Err(full) => return (all, full),
            }
        }
    }

    #[test]
    fn an_application_leaves_the_others_their_part() {
        let places = places(40, 100);
        places.share_among(4);
        let [a, b, c, d] = [(); 4].map(|()| Share::of(&places));
        let (of_a, full) = take(&a, Some(key("203.0.113.1")));
        assert_eq!((of_a.len(), full), (25, Full::App));
        // Everybody else floods too, and still each has its own.
        for other in [&b, &c, &d] {
            let (all, _) = take(other, None);
            assert_eq!(all.len(), 5);
        }
        drop(of_a);
        assert_eq!(take(&d, None).0.len(), 25);
    }

    #[test]
    fn a_client_leaves_the_others_theirs() {
        let places = places(40, 3);
        let share = Share::of(&places);
        let (first, full) = take(&share, Some(key("203.0.113.1")));
        assert_eq!((first.len(), full), (3, Full::Client));
        assert_eq!(take(&share, Some(key("203.0.113.2"))).0.len(), 3);
        let (one_network, _) = take(&share, Some(key("2001:db8::1")));
        assert_eq!(one_network.len(), 3);
        assert!(share.admit(Some(key("2001:db8::2"))).is_err(), "another address of the same customer");
        assert!(share.admit(Some(key("2001:db8:0:1::1"))).is_ok(), "another customer");
        assert!(share.admit(Some(key("::ffff:203.0.113.1"))).is_err(), "the same address in IPv6's form");
        drop(first);
        assert!(share.admit(Some(key("203.0.113.1"))).is_ok());
        drop(one_network);
        assert!(share.clients().is_empty());
    }

    #[test]
    fn what_is_turned_away_takes_nothing() {
        let places = places(4, 9);
        let share = Share::of(&places);
        let (all, _) = take(&share, Some(key("203.0.113.1")));
        for _ in 0..9 {
            assert_eq!(share.admit(Some(key("203.0.113.1"))).err(), Some(Full::App));
        }
        assert_eq!(all.len(), 4);
        drop(all);
        let counted = (share.taken.load(Ordering::Relaxed), places.taken.load(Ordering::Relaxed));
        assert_eq!((counted, share.clients().len()), ((0, 0), 0));
        let one = places.spare();
        assert!(one.is_some() && places.spare().is_none());
        drop(one);
        assert!(places.spare().is_some());
    }
}
