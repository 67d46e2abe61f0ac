//! Tells the proxy where each application's requests go, and what it was told.
//!
//! The proxy stores nothing, so this keeps the routes, to tell them again after its restart. After a restart of
//! its own it knows none, and the proxy knows all: so each application's route is told alone, and never the
//! whole table. Addresses are not kept: they are asked for when the proxy is told, and an address is a
//! container's only as long as it runs. Where applications share a network the next container may get it, and
//! would be sent the users of another; so the proxy has no address of a container that ended.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::Mutex;

use super::container;
use super::errors::code_of;
use crate::config::app_file::{Listen, Traffic};
use crate::config::settings::Settings;
use crate::engine::{ContainerFacts, Engine};
use crate::paths::Paths;
use crate::state::{ContainerId, StepError};
use autotag_base::CallError;
use autotag_protocol::{AppName, FailureCode};
use autotag_proxy::admin;
use autotag_proxy::admin::{AdminAnswer, AppStatus, Command, UpstreamStatus};
use autotag_proxy::listen::Listen as ProxyListen;
use autotag_proxy::routes::Route;
use autotag_proxy::trust::Trusted;
use autotag_proxy::upstream::{Drained, Target};

/// How long WebSockets go on after the switch. They do not end by waiting, and their clients come back at
/// once, to the new container: so no longer than a deployment should take anyway.
const TUNNELS: Duration = Duration::from_millis(500);

/// How long the proxy may take for anything but a drain.
const PATIENCE: Duration = Duration::from_secs(10);

/// The proxy, as `serve` sees it.
#[derive(Debug)]
pub struct ProxyClient {
    paths: Paths,
    admin: PathBuf,
    /// What it was told last. The lock is held while it is told: the later word is the one that stays.
    sent: Mutex<BTreeMap<AppName, SentRoute>>,
}

/// What the proxy was told about one application.
#[derive(Debug, Clone)]
struct SentRoute {
    route: Route,
    /// Who serves; none: requests wait.
    container: Option<ContainerId>,
    /// Where its address is looked up.
    network: String,
    port: u16,
}

impl ProxyClient {
    /// The proxy of this machine. Nobody is asked yet.
    pub fn new(paths: &Paths) -> Self {
        Self { paths: paths.clone(), admin: paths.proxy_admin(), sent: Mutex::default() }
    }

    /// What the proxy knows of an application; `None` where it knows nothing.
    pub async fn status(&self, app: &AppName) -> Result<Option<AppStatus>, StepError> {
        match self.call(&Command::Status {}).await? {
            AdminAnswer::Status(status) => {
                Ok(status.apps.into_iter().find(|found| found.app == app.as_str()))
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Lets this container serve, at the address that it has now. The route is told along with it: it may
    /// be another than before, and the proxy may be a new one.
    pub async fn switch_to<E: Engine>(
        &self,
        engine: &E,
        app: &AppName,
        settings: &Settings,
        container: &ContainerId,
    ) -> Result<(), StepError> {
        let (Some(route), Some(port)) = (route(app, &settings.file.traffic), settings.file.traffic.port())
        else {
            return self.forget(app).await;
        };
        let network = container::network(app, settings);
        let mut sent = self.sent.lock().await;
        // Asked under the lock: an end that comes after this is heard of after it, see `ended`.
        let Some(address) = address(engine, container, &network).await? else {
            let why = format!("the container {} has ended", container.short());
            return Err(StepError::new(FailureCode::Exited, why));
        };
        self.tell_route(&route).await?;
        self.swap(app, Some(target(container, address, port))).await?;
        // Kept only now: what was not taken must not be told again.
        sent.insert(app.clone(), SentRoute { route, container: Some(container.clone()), network, port });
        Ok(())
    }

    /// Opens an application's address before its first deployment, with nobody behind it: requests wait up to
    /// the proxy's limit, where they would wait for ever in the queue of a socket that systemd opened.
    pub async fn open(&self, app: &AppName, traffic: &Traffic) -> Result<(), StepError> {
        let sent = self.sent.lock().await;
        match route(app, traffic) {
            Some(route) if !sent.contains_key(app) => self.tell_route(&route).await,
            _ => Ok(()),
        }
    }

    /// Lets requests wait, up to the proxy's limit.
    pub async fn hold(&self, app: &AppName) -> Result<(), StepError> {
        let mut sent = self.sent.lock().await;
        if self.status(app).await?.is_none() {
            return Ok(());
        }
        self.swap(app, None).await?;
        if let Some(sent) = sent.get_mut(app) {
            sent.container = None;
        }
        Ok(())
    }

    /// Takes an application's route away: it is gone, or needs the proxy no more.
    pub async fn forget(&self, app: &AppName) -> Result<(), StepError> {
        let mut sent = self.sent.lock().await;
        let known = sent.remove(app).is_some();
        match self.tell_to_forget(app).await {
            // One without a proxy may need none on this machine.
            Err(_) if !known => Ok(()),
            done => done,
        }
    }

    /// A container has ended: nobody is sent to its address any more, and requests wait. Without a look at it,
    /// which would take as long as it takes to give the address away; if it is started again, that is told next.
    pub async fn ended(&self, app: &AppName, container: &str) -> Result<(), StepError> {
        let sent = self.sent.lock().await;
        match self.current(app, &sent).await? {
            Some(current) if current.id == container => self.swap(app, None).await,
            _ => Ok(()),
        }
    }

    /// Tells the proxy again where a container listens now: it may have been started again by Docker, and
    /// have another address. One that does not run has none.
    pub async fn refresh<E: Engine>(&self, engine: &E, app: &AppName) -> Result<(), StepError> {
        let sent = self.sent.lock().await;
        if let Some(one) = sent.get(app) {
            return self.refresh_one(engine, app, one).await;
        }
        // A predecessor has told it. Which network it meant is not known here, and the recovery will tell anew;
        // until then nobody may be sent to what is not the container's address any more.
        let Some(current) = self.current(app, &sent).await? else { return Ok(()) };
        let facts = engine.inspect(&current.id).await.map_err(|error| of_engine(&error))?;
        let has = |facts: &ContainerFacts| facts.addresses.values().any(|it| *it == current.address.ip());
        if facts.is_some_and(|facts| facts.running && has(&facts)) {
            return Ok(());
        }
        self.swap(app, None).await
    }

    /// Where the proxy sends an application's requests. One that does not answer, and that was told nothing
    /// about it, may not be needed on this machine.
    async fn current(
        &self,
        app: &AppName,
        sent: &BTreeMap<AppName, SentRoute>,
    ) -> Result<Option<UpstreamStatus>, StepError> {
        match self.status(app).await {
            Ok(known) => Ok(known.and_then(|known| known.current)),
            Err(_) if !sent.contains_key(app) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells everything again, to a proxy that was started anew. One application's trouble is not another's.
    pub async fn tell_all<E: Engine>(&self, engine: &E) -> Result<(), String> {
        let mut sent = self.sent.lock().await;
        // `remove` has told the proxy itself.
        sent.retain(|app, _| self.paths.app_file(app).exists());
        let mut errors = Vec::new();
        for (app, one) in sent.iter() {
            let done = match self.tell_route(&one.route).await {
                Ok(()) => self.refresh_one(engine, app, one).await,
                Err(why) => Err(why),
            };
            if let Err(why) = done {
                errors.push(format!("{app}: {why}"));
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    async fn refresh_one<E: Engine>(
        &self,
        engine: &E,
        app: &AppName,
        sent: &SentRoute,
    ) -> Result<(), StepError> {
        let Some(container) = &sent.container else { return Ok(()) };
        let address = address(engine, container, &sent.network).await?;
        self.swap(app, address.map(|address| target(container, address, sent.port))).await
    }

    /// Waits for what is under way with a container that serves no more, and ends it at the deadline.
    pub async fn drain(
        &self,
        app: &AppName,
        container: &ContainerId,
        deadline: Duration,
    ) -> Result<Drained, StepError> {
        if self.status(app).await?.is_none() {
            return Ok(Drained::default());
        }
        let command = Command::Drain {
            app: app.to_string(),
            id: container.to_string(),
            deadline_ms: milliseconds(deadline),
            tunnels_ms: Some(milliseconds(deadline.min(TUNNELS))),
        };
        match self.ask(&command, deadline + PATIENCE).await? {
            AdminAnswer::Drained(drained) => Ok(drained),
            other => Err(unexpected(&other)),
        }
    }

    async fn tell_route(&self, route: &Route) -> Result<(), StepError> {
        let mut route = route.clone();
        loop {
            match self.tell(&Command::Route { route: route.clone() }).await {
                // A proxy that was started before this program was updated, and goes on until it is restarted.
                Err(error) if forget_unknown(&mut route, &error.why) => {
                    tracing::warn!(
                        app = route.app,
                        %error,
                        "the running proxy is older: systemctl restart autotag-proxy"
                    );
                }
                sent => return sent,
            }
        }
    }

    async fn tell_to_forget(&self, app: &AppName) -> Result<(), StepError> {
        self.tell(&Command::Forget { app: app.to_string() }).await
    }

    async fn tell(&self, command: &Command) -> Result<(), StepError> {
        match self.call(command).await? {
            AdminAnswer::Done {} => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn swap(&self, app: &AppName, to: Option<Target>) -> Result<(), StepError> {
        match self.call(&Command::Swap { app: app.to_string(), to }).await? {
            AdminAnswer::Swapped { .. } => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn call(&self, command: &Command) -> Result<AdminAnswer, StepError> {
        self.ask(command, PATIENCE).await
    }

    async fn ask(&self, command: &Command, patience: Duration) -> Result<AdminAnswer, StepError> {
        let unreachable = |why: String| {
            let why = format!(
                "the proxy does not answer at {}: {why}. Start it: systemctl start autotag-proxy",
                self.admin.display()
            );
            StepError::new(FailureCode::ProxyUnavailable, why)
        };
        match tokio::time::timeout(patience, admin::call(&self.admin, command)).await {
            Ok(Ok(AdminAnswer::Error(error))) => Err(refused(&error)),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("nothing arrived within {} s", patience.as_secs()))),
        }
    }
}

/// Takes out of a route what a proxy says it does not know, where requests can be served without. Whether
/// there was something.
fn forget_unknown(route: &mut Route, why: &str) -> bool {
    let unknown = |field: &str| why.contains(&format!("unknown field `{field}`"));
    if unknown("answer_timeout_ms") {
        return route.answer_timeout_ms.take().is_some();
    }
    unknown("trusted_headers") && !std::mem::take(&mut route.trusted_headers).is_empty()
}

/// Where a container is reached now; `None` where it does not run, or is not in the network.
async fn address<E: Engine>(
    engine: &E,
    container: &ContainerId,
    network: &str,
) -> Result<Option<IpAddr>, StepError> {
    let facts = engine.inspect(container.as_str()).await.map_err(|error| of_engine(&error))?;
    let running = facts.filter(|facts| facts.running);
    Ok(running.and_then(|facts| facts.addresses.get(network).copied()))
}

fn target(container: &ContainerId, address: IpAddr, port: u16) -> Target {
    Target { id: container.to_string(), address: SocketAddr::new(address, port) }
}

fn unexpected(answer: &AdminAnswer) -> StepError {
    let why = format!("the proxy gave an unexpected answer: {answer}");
    StepError::new(FailureCode::Proxy, why)
}

fn refused(error: &admin::Error) -> StepError {
    let code = match error.code {
        admin::ErrorCode::PortInUse => FailureCode::PortInUse,
        admin::ErrorCode::Refused => FailureCode::Proxy,
    };
    StepError::new(code, format!("the proxy refuses: {}", error.message))
}

fn of_engine(error: &CallError) -> StepError {
    StepError::new(code_of(error).unwrap_or(FailureCode::Docker), error.to_string())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The route that an app file asks for; `None` for `proxy: none`.
pub fn route(app: &AppName, traffic: &Traffic) -> Option<Route> {
    let Traffic::Proxied { listen, hosts, trusted_proxies, trusted_headers, answer_timeout, .. } = traffic
    else {
        return None;
    };
    let listen = match listen {
        Listen::Tcp(address) => ProxyListen::Tcp(*address),
        Listen::Unix(path) => ProxyListen::Unix(path.clone()),
    };
    // Both sides write networks alike; a test holds them to it.
    let networks = trusted_proxies.iter().filter_map(|network| network.to_string().parse().ok());
    // A Unix socket is there for a front proxy on this machine: nobody else can come in by it.
    let unix = matches!(listen, ProxyListen::Unix(_)).then_some(Trusted::Unix);
    Some(Route {
        app: app.to_string(),
        listen,
        hosts: hosts.iter().map(|host| host.as_str().to_owned()).collect(),
        trusted_proxies: networks.chain(unix).collect(),
        trusted_headers: trusted_headers.iter().map(|name| name.as_str().to_owned()).collect(),
        answer_timeout_ms: answer_timeout.map(milliseconds),
    })
}

/// Where a request of this machine's own goes in through the proxy.
pub fn entrance(listen: &Listen) -> Listen {
    match listen {
        Listen::Tcp(address) if address.ip().is_unspecified() => {
            let local: IpAddr = match address.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            };
            Listen::Tcp(SocketAddr::new(local, address.port()))
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// The commands of a proxy that was released before these fields.
    #[derive(Debug, serde::Deserialize)]
    #[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
    enum OldCommand {
        Route { route: OldRoute },
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only whether it can be read matters")]
    struct OldRoute {
        app: String,
        listen: String,
        hosts: Vec<String>,
        trusted_proxies: Vec<String>,
    }

    // case S15; broken by: a route that was told only once, with all of its fields.
    #[test]
    fn an_older_proxy_gets_what_it_understands() {
        let settings = testing::settings(
            "image: x.io/app\nport: 80\nlisten: 8080\ntrusted_proxies: 127.0.0.1\n\
             trusted_headers: [X-Tenant]\nanswer_timeout: 5m\n",
        );
        let app = "app".parse().unwrap();
        let mut route = route(&app, &settings.file.traffic).expect("it is proxied");
        assert_eq!((route.answer_timeout_ms, route.trusted_headers.len()), (Some(300_000), 1));
        let mut sent = 0;
        let understood = loop {
            let line = serde_json::to_vec(&Command::Route { route: route.clone() }).expect("JSON");
            sent += 1;
            match serde_json::from_slice::<OldCommand>(&line) {
                Ok(OldCommand::Route { route }) => break route,
                Err(error) => {
                    assert!(forget_unknown(&mut route, &format!("not a command: {error}")), "{error}");
                }
            }
        };
        assert_eq!((sent, understood.trusted_proxies), (3, vec!["127.0.0.1/32".to_owned()]));
        assert!(!forget_unknown(&mut route, "cannot listen"), "another trouble is one");
    }

    #[test]
    fn a_route_says_what_the_app_file_says() {
        let settings = testing::settings(
            "image: x.io/app\nport: 80\nlisten: '[::]:8080'\nhost: [a.example, b.example]\ntrusted_proxies: \
             [10.0.0.0/8, '::1', 127.0.0.1]\n",
        );
        let app = "app".parse().unwrap();
        let route = route(&app, &settings.file.traffic).expect("it is proxied");
        assert_eq!((route.listen.to_string().as_str(), route.hosts.len()), ("[::]:8080", 2));
        assert_eq!(route.trusted_proxies.len(), 3, "none is lost on the way");
    }

    #[test]
    fn the_entrance_can_be_connected_to() {
        for (listen, expected) in [
            ("8080", "[::1]:8080"),
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("10.1.2.3:80", "10.1.2.3:80"),
            ("/run/x.sock", "/run/x.sock"),
        ] {
            assert_eq!(entrance(&listen.parse().unwrap()).to_string(), expected);
        }
    }
}
