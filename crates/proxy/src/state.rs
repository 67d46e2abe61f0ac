//! What all connections share: the routes, the applications, and how long the proxy itself lives.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use tokio::sync::{Semaphore, watch};

use super::counters::{self, Counter, Shown};
use super::error::{Error, ErrorCode};
use super::listen::{Inherited, Listen, Listener};
use super::routes::{Route, RouteTarget, Table};
use super::upstream::Phase;
use crate::bounds::crowd::Crowd;
use crate::bounds::limits::Limits;
use crate::bounds::shares::Places;
use crate::upstream::app::App;

/// How far the proxy's own end has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lifecycle {
    /// It serves.
    Serving,
    /// It accepts no more, and each answer says `Connection: close`.
    LameDuck,
    /// Idle connections are closed.
    Closing,
    /// Everything is.
    Over,
}

/// Begins to accept connections at an address, until the handle aborts it.
pub type Accept = fn(Arc<State>, Listener, Listen) -> tokio::task::AbortHandle;

/// The proxy, as its connections and its admin side see it.
#[derive(Debug)]
pub struct State {
    accept: Accept,
    /// All bounds.
    pub limits: Arc<Limits>,
    /// The name for `Via`, if it is to be sent.
    pub via: Option<String>,
    /// Requests that no application got to see.
    pub refused: Counter,
    /// A place for each connection from a client, and for the one that each listener is about to accept:
    /// when all are free, none is on its way either.
    pub seats: Arc<Semaphore>,
    /// The connections from clients.
    pub crowd: Arc<Crowd>,
    /// The requests of all applications.
    pub requests: Arc<Places>,
    /// As they were set, from which `table` is made; held while they change.
    routes: Mutex<Vec<Route>>,
    table: RwLock<Table>,
    apps: Mutex<HashMap<String, Arc<App>>>,
    listeners: Mutex<Listeners>,
    life: watch::Sender<Lifecycle>,
    /// Routes have been set once.
    routed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Listeners {
    open: HashMap<Listen, tokio::task::AbortHandle>,
    inherited: HashMap<Listen, Inherited>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// A proxy without routes.
    pub fn new(
        limits: Limits,
        via: Option<String>,
        inherited: HashMap<Listen, Inherited>,
        accept: Accept,
    ) -> Arc<Self> {
        Arc::new(Self {
            accept,
            seats: Arc::new(Semaphore::new(limits.connections)),
            crowd: Arc::default(),
            requests: Places::new(&limits),
            limits: Arc::new(limits),
            via,
            refused: Counter::default(),
            routes: Mutex::default(),
            table: RwLock::default(),
            apps: Mutex::default(),
            listeners: Mutex::new(Listeners { open: HashMap::new(), inherited }),
            life: watch::Sender::new(Lifecycle::Serving),
            routed: watch::Sender::new(false),
        })
    }

    /// Where a request goes.
    pub fn way(&self, listen: &Listen, host: Option<&str>) -> Option<Arc<RouteTarget>> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).find(listen, host).cloned()
    }

    /// An application by its name.
    pub fn app(&self, name: &str) -> Option<Arc<App>> {
        lock(&self.apps).get(name).cloned()
    }

    /// All applications, by name.
    pub fn apps(&self) -> Vec<Arc<App>> {
        let mut apps: Vec<_> = lock(&self.apps).values().cloned().collect();
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        apps
    }

    /// The addresses that are listened at.
    pub fn open_listeners(&self) -> Vec<Listen> {
        let mut open: Vec<_> = lock(&self.listeners).open.keys().cloned().collect();
        open.sort_by_key(ToString::to_string);
        open
    }

    /// Puts these routes in the place of all others: opens what they need, exchanges the table, closes
    /// what they no longer need. If anything is wrong nothing changes.
    pub fn set_routes(self: &Arc<Self>, routes: Vec<Route>) -> Result<(), Error> {
        self.change_routes(|kept| *kept = routes)
    }

    /// Puts this route in the place of its application's, and leaves all others alone.
    pub fn set_route(self: &Arc<Self>, route: Route) -> Result<(), Error> {
        self.change_routes(|routes| {
            routes.retain(|other| other.app != route.app);
            routes.push(route);
        })
    }

    /// Takes an application's routes away; one that has none has none.
    pub fn forget(self: &Arc<Self>, app: &str) -> Result<(), Error> {
        self.change_routes(|routes| routes.retain(|other| other.app != app))
    }

    fn change_routes(self: &Arc<Self>, change: impl FnOnce(&mut Vec<Route>)) -> Result<(), Error> {
        let mut kept = lock(&self.routes);
        let mut routes = kept.clone();
        change(&mut routes);
        if routes != *kept {
            self.exchange(&routes)?;
            *kept = routes;
        }
        Ok(())
    }

    /// For whoever holds the routes.
    fn exchange(self: &Arc<Self>, routes: &[Route]) -> Result<(), Error> {
        let mut listeners = lock(&self.listeners);
        let mut apps = HashMap::new();
        let table = {
            let known = lock(&self.apps);
            Table::new(routes, |name| {
                let app = apps.entry(name.to_owned()).or_insert_with(|| {
                    let known = known.get(name).cloned();
                    known.unwrap_or_else(|| {
                        App::new(name.to_owned(), Arc::clone(&self.limits), &self.requests)
                    })
                });
                Arc::clone(app)
            })?
        };
        let mut opened = Vec::new();
        for listen in table.listeners().filter(|listen| !listeners.open.contains_key(listen)) {
            let listener = match listeners.inherited.get(listen) {
                Some(inherited) => inherited.listener(),
                None => Listener::bind(listen),
            };
            opened.push((listen.clone(), listener.map_err(|error| cannot_listen(listen, &error))?));
        }
        let needed: Vec<Listen> = table.listeners().cloned().collect();
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        self.requests.share_among(apps.len());
        let before = std::mem::replace(&mut *lock(&self.apps), apps);
        for (name, app) in before {
            if self.app(&name).is_none() {
                app.swap(None);
            }
        }
        listeners.open.retain(|listen, accepting| {
            let keep = needed.contains(listen);
            if !keep {
                accepting.abort();
            }
            keep
        });
        for (listen, listener) in opened {
            let accepting = (self.accept)(Arc::clone(self), listener, listen.clone());
            listeners.open.insert(listen, accepting);
        }
        self.routed.send_replace(true);
        Ok(())
    }

    /// How far its end has come.
    pub fn life(&self) -> Lifecycle {
        *self.life.borrow()
    }

    /// To be told when that changes.
    pub fn watch_life(&self) -> watch::Receiver<Lifecycle> {
        self.life.subscribe()
    }

    /// The end comes nearer.
    pub fn set_life(&self, life: Lifecycle) {
        self.life.send_replace(life);
    }

    /// Waits until there are routes.
    pub async fn routed(&self) {
        // The sender lives in `self`, so this cannot fail.
        let _ = self.routed.subscribe().wait_for(|routed| *routed).await;
    }

    /// Connections from clients, tunnels included.
    pub fn connections(&self) -> usize {
        self.crowd.count()
    }

    /// Waits until there is none. For the end only, when none is accepted any more.
    pub async fn deserted(&self) {
        let all = u32::try_from(self.limits.connections).unwrap_or(u32::MAX);
        let _ = self.seats.acquire_many(all).await;
    }

    /// WebSockets and other tunnels of all applications are told to close.
    pub fn close_tunnels(&self) {
        self.advance_all(Phase::CloseTunnels);
    }

    /// Everything that is under way with any container ends.
    pub fn cut(&self) {
        self.advance_all(Phase::Cut);
    }

    fn advance_all(&self, phase: Phase) {
        for app in self.apps() {
            let (current, leaving) = app.upstreams();
            for upstream in current.iter().chain(&leaving) {
                upstream.advance(phase);
            }
        }
    }

    /// The counters, for Prometheus.
    pub fn prometheus(&self) -> String {
        let apps = self.apps();
        let shown: Vec<Shown<'_>> = apps
            .iter()
            .map(|app| {
                let (current, leaving) = app.upstreams();
                let uses = current.iter().chain(&leaving).map(|upstream| upstream.in_use());
                let (requests, tunnels) = uses.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                Shown {
                    app: &app.name,
                    counters: &app.counters,
                    requests,
                    tunnels,
                    waiting: app.waiting(),
                    up: current.is_some(),
                }
            })
            .collect();
        counters::prometheus(&shown, self.connections(), self.refused.get())
    }
}

fn cannot_listen(listen: &Listen, error: &io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::AddrInUse => ErrorCode::PortInUse,
        _ => ErrorCode::Refused,
    };
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "; ports below 1024 come from a systemd .socket unit",
        io::ErrorKind::AddrInUse => "; another program has it",
        _ => "",
    };
    Error { code, message: format!("cannot listen at {listen}: {error}{hint}") }
}
