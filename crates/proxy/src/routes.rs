//! Which application a request is for, by the listener it came to and the host it asks for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use serde::{Deserialize, Serialize};

use super::listen::Listen;
use super::trust::{Peer, Trusted};
use crate::messages::headers::Claims;
use crate::messages::validity::host_name;
use crate::upstream::app::App;

/// One way to an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The application's name.
    pub app: String,
    /// Where its clients come in.
    pub listen: Listen,
    /// For which hosts, without port; none: for all that no other route on this listener names.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Whose `X-Forwarded-*` count.
    #[serde(default)]
    pub trusted_proxies: Vec<Trusted>,
    /// Which fields of theirs count besides `X-Forwarded-For`, `-Proto` and `-Host`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted_headers: Vec<String>,
    /// How long an answer may take to begin, instead of [`crate::bounds::limits::Limits::answer_timeout`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_timeout_ms: Option<u64>,
}

/// Where a request goes.
#[derive(Debug)]
pub struct RouteTarget {
    /// To whom.
    pub app: Arc<App>,
    /// How long an answer may take to begin.
    pub answer_timeout: Duration,
    trusted: Vec<Trusted>,
    believed: Claims,
    stranger: Claims,
}

impl RouteTarget {
    /// Whether this peer's word about the request's origin counts.
    pub fn trusts(&self, peer: Peer) -> bool {
        self.trusted.iter().any(|trusted| trusted.covers(peer))
    }

    /// What of it does.
    pub fn claims(&self, peer: Peer) -> &Claims {
        if self.trusts(peer) { &self.believed } else { &self.stranger }
    }

    fn new(route: &Route, app: Arc<App>) -> Result<Self, String> {
        let further: Result<Vec<HeaderName>, String> = route
            .trusted_headers
            .iter()
            .map(|name| name.parse().map_err(|_| format!("`{name}`: expected the name of a header")))
            .collect();
        let further = Arc::from(further?);
        let usual = app.limits().answer_timeout;
        Ok(Self {
            app,
            answer_timeout: route.answer_timeout_ms.map_or(usual, Duration::from_millis),
            trusted: route.trusted_proxies.clone(),
            believed: Claims::new(true, &further),
            stranger: Claims::new(false, &further),
        })
    }
}

#[derive(Debug, Default)]
struct Site {
    hosts: HashMap<String, Arc<RouteTarget>>,
    others: Option<Arc<RouteTarget>>,
}

/// All routes: one value, exchanged as a whole.
#[derive(Debug, Default)]
pub struct Table {
    sites: HashMap<Listen, Site>,
}

impl Table {
    /// Makes a table. The error names the two routes that want the same requests, or a name that is none.
    pub fn new(routes: &[Route], mut app: impl FnMut(&str) -> Arc<App>) -> Result<Self, String> {
        let mut table = Self::default();
        for route in routes {
            if route.app.is_empty()
                || !route.app.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            {
                return Err(format!(
                    "`{}`: an application's name has letters, digits, `-`, `_`, `.`",
                    route.app
                ));
            }
            let way = Arc::new(RouteTarget::new(route, app(&route.app))?);
            let site = table.sites.entry(route.listen.clone()).or_default();
            if route.hosts.is_empty()
                && let Some(other) = site.others.replace(Arc::clone(&way))
            {
                return Err(format!(
                    "`{}` and `{}` both want all hosts of {}",
                    other.app.name, route.app, route.listen
                ));
            }
            for host in &route.hosts {
                if let Some(other) = site.hosts.insert(host_name(host), Arc::clone(&way)) {
                    return Err(format!(
                        "`{}` and `{}` both want {host} at {}",
                        other.app.name, route.app, route.listen
                    ));
                }
            }
        }
        Ok(table)
    }

    /// The way for a request that came to this listener and asks for this host.
    pub fn find(&self, listen: &Listen, host: Option<&str>) -> Option<&Arc<RouteTarget>> {
        let site = self.sites.get(listen)?;
        // Most have one application on a listener, and then nothing is to be looked up.
        let named = host.filter(|_| !site.hosts.is_empty()).and_then(|host| site.hosts.get(&host_name(host)));
        named.or(site.others.as_ref())
    }

    /// All listeners that are needed.
    pub fn listeners(&self) -> impl Iterator<Item = &Listen> {
        self.sites.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::limits::Limits;
    use crate::bounds::shares::Places;

    fn table(routes: &[(&str, &str, &[&str])]) -> Result<Table, String> {
        let routes: Vec<Route> = routes
            .iter()
            .map(|(app, listen, hosts)| Route {
                app: (*app).to_owned(),
                listen: listen.parse().expect(listen),
                hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
                trusted_proxies: Vec::new(),
                trusted_headers: Vec::new(),
                answer_timeout_ms: None,
            })
            .collect();
        let places = Places::new(&Limits::default());
        Table::new(&routes, |name| App::new(name.to_owned(), Arc::new(Limits::default()), &places))
    }

    #[test]
    fn requests_find_their_application() {
        let table = table(&[
            ("a", "127.0.0.1:80", &["a.example", "www.A.example"][..]),
            ("b", "127.0.0.1:80", &[]),
            ("c", "[::]:81", &["c.example"]),
            ("d", "unix:/run/d.sock", &[]),
        ])
        .expect("no two want the same");
        for (listen, host, app) in [
            ("127.0.0.1:80", Some("a.example"), Some("a")),
            ("127.0.0.1:80", Some("WWW.a.example.:80"), Some("a")),
            ("127.0.0.1:80", Some("x.example"), Some("b")),
            ("127.0.0.1:80", None, Some("b")),
            ("[::]:81", Some("c.example:81"), Some("c")),
            ("[::]:81", Some("a.example"), None),
            ("[::]:81", None, None),
            ("unix:/run/d.sock", Some("anything"), Some("d")),
            ("127.0.0.1:82", Some("a.example"), None),
        ] {
            let found = table.find(&listen.parse().expect(listen), host).map(|way| way.app.name.as_str());
            assert_eq!(found, app, "{listen} {host:?}");
        }
    }

    #[test]
    fn two_that_want_the_same_are_named() {
        for routes in [
            [("a", "127.0.0.1:80", &[][..]), ("b", "127.0.0.1:80", &[][..])],
            [("a", "127.0.0.1:80", &["x.example"][..]), ("b", "127.0.0.1:80", &["X.example."][..])],
        ] {
            let error = table(&routes).expect_err("both want the same");
            assert!(error.contains("`a` and `b`") && error.contains("127.0.0.1:80"), "{error}");
        }
        assert!(table(&[("a\"b", "127.0.0.1:80", &[])]).is_err());
    }
}
