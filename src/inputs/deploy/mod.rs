//! What the inputs of the deployment mean: where to, as whom, with what, and what if it fails.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::time::Duration;

pub use super::choice::OnFailure;
use super::command::Command;
use super::list;
use super::reader::Reader;
use super::run::{Cause, Run};
use super::spec::{self, INPUTS};
use crate::ssh_keys::known_hosts::KnownHosts;
use crate::ssh_keys::private_key::PrivateKey;
use autotag_model::duration::duration;
use autotag_model::reference::{ImageName, ParseError};
use autotag_model::secret::{Credentials, Secret};
use autotag_protocol::{AppName, ENVIRONMENT_ENTRIES, ENVIRONMENT_VALUE_BYTES, EnvironmentKey};

/// Whether something is deployed, and where to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deploy {
    /// Nothing is.
    Off,
    /// To these hosts.
    To(Box<Target>),
}

/// Where to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The servers in their order, each once; at least one.
    pub hosts: Vec<HostName>,
    /// The system user on each.
    pub user: String,
    /// The private key.
    pub key: PrivateKey,
    /// The only host keys that are accepted.
    pub known_hosts: KnownHosts,
    /// The application's name on the servers.
    pub app: AppName,
    /// For each host, lost connections included.
    pub timeout: Duration,
    /// Variables for the application.
    pub environment: BTreeMap<EnvironmentKey, Secret>,
    /// For the servers' pull; without it their own.
    pub credential: Option<Credentials>,
    /// What becomes of the hosts that are done when a later one fails.
    pub on_failure: OnFailure,
    /// A person chose exactly this version.
    pub allow_downgrade: bool,
    /// The GitHub environment that a deployment is recorded for.
    pub environment_page: Option<EnvironmentPage>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName {
    /// A name or an address, without brackets.
    pub host: String,
    /// SSH's port there.
    pub port: u16,
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (false, 22) => f.write_str(&self.host),
            (true, 22) => write!(f, "[{}]", self.host),
            (false, port) => write!(f, "{}:{port}", self.host),
            (true, port) => write!(f, "[{}]:{port}", self.host),
        }
    }
}

/// A GitHub environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentPage {
    /// Its name.
    pub name: String,
    /// Where what is deployed can be seen.
    pub url: Option<String>,
}

/// A time such as `10m`, `90s` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Period(Duration);

/// Below it no container can start; above it GitHub ends the job first ("Usage limits").
const PERIODS: std::ops::RangeInclusive<u64> = 10..=6 * 3600;

impl FromStr for Period {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let fits = |time: &Duration| PERIODS.contains(&time.as_secs());
        let expected = || ParseError("a time of 10s to 6h, such as `90s`, `10m` or `1h30m`".to_owned());
        duration(text).filter(fits).map(Self).ok_or_else(expected)
    }
}

/// One entry of `deploy-host`. The error says what was expected.
fn host_of(text: &str, default_port: u16) -> Result<HostName, String> {
    if let Some((user, host)) = text.split_once('@') {
        return Err(format!("`{host}` alone; the user goes into `deploy-user: {user}`"));
    }
    if text.contains("://") || text.contains('/') {
        return Err("a host without a scheme and without a path".to_owned());
    }
    let port_of = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err("a port from 1 to 65535 after the `:`".to_owned()),
    };
    let v6 = |text: &str| text.parse::<Ipv6Addr>().map(|address| address.to_string());
    let expected = "`host`, `host:port` or `[IPv6]:port`".to_owned();
    if let Some(inner) = text.strip_prefix('[') {
        let (address, behind) = inner.split_once(']').ok_or_else(|| expected.clone())?;
        let host = v6(address).map_err(|_| "an IPv6 address between the brackets".to_owned())?;
        let port = match behind.strip_prefix(':') {
            Some(port) => port_of(port)?,
            None if behind.is_empty() => default_port,
            None => return Err(expected),
        };
        return Ok(HostName { host, port });
    }
    if let Ok(host) = v6(text) {
        return Ok(HostName { host, port: default_port });
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, port_of(port)?),
        None => (text, default_port),
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    if host.len() <= 253 && host.trim_end_matches('.').split('.').all(label) {
        Ok(HostName { host: host.to_ascii_lowercase(), port })
    } else {
        Err(expected)
    }
}

/// useradd(8): at most 32 characters, no capitals.
fn is_user(text: &str) -> bool {
    text.len() <= 32
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
}

/// Inputs that mean nothing without a host. The runner hands defaults over as if they had been given.
fn given_without_host<'a>(reader: &'a Reader<'_>) -> impl Iterator<Item = &'static str> + 'a {
    let of_deployment = |name: &str| {
        (name.starts_with("deploy-") && name != "deploy-host")
            || matches!(name, "environment" | "environment-url")
    };
    let names = INPUTS.iter().map(|spec| spec.name).filter(move |name| of_deployment(name));
    names.filter(|name| reader.raw.names(name) && reader.raw.text(name) != spec::default_of(name))
}

impl Reader<'_> {
    /// All inputs of the deployment, and whether they fit to each other and to the command.
    pub(super) fn deploy(
        &mut self,
        image: Option<&ImageName>,
        run: &Run,
        command: Option<Command>,
    ) -> Option<Deploy> {
        let needed = command.is_some_and(Command::reaches_servers);
        if self.raw.given("deploy-host").is_none() {
            let given: Vec<&str> = given_without_host(self).collect();
            if needed || !given.is_empty() {
                let reason = match given.as_slice() {
                    [] => format!("`command: {}`", self.raw.text("command")),
                    names => format!("`{}`", names.join("`, `")),
                };
                self.errors.of_input("deploy-host", "", format!("a server, since there is {reason}"));
                return None;
            }
            return Some(Deploy::Off);
        }
        // Pull requests of forks and of Dependabot get no secrets; they deploy nothing either.
        if self.raw.secret("deploy-key").is_none() && !needed && matches!(run.cause, Cause::Other { .. }) {
            self.notices.push("`deploy-key` is empty: nothing can be deployed from here".to_owned());
            return Some(Deploy::Off);
        }
        let target = self.target(image)?;
        if command == Some(Command::Release) && self.is_the_jobs_own(target.credential.as_ref()) {
            self.notices.push(
                "the servers pull with the token of this job, which may push images and write to the \
                 repository until the job ends: release and deploy in two jobs, or give \
                 `deploy-registry-password` a token that may only read"
                    .to_owned(),
            );
        }
        Some(Deploy::To(Box::new(target)))
    }

    /// Whether this is the job's token. A job that releases has one that may write.
    fn is_the_jobs_own(&self, credential: Option<&Credentials>) -> bool {
        let tokens = ["workflow-token", "github-token"].map(|name| self.raw.secret(name));
        credential.is_some_and(|credential| tokens.contains(&Some(credential.password.clone())))
    }

    fn target(&mut self, image: Option<&ImageName>) -> Option<Target> {
        // Everything is read before anything is given up.
        let hosts = self.hosts();
        let app = self.app(image);
        let user = self.user(app.as_ref());
        let key = self.key();
        let known_hosts = self.known_hosts(hosts.as_ref().map_or(0, Vec::len));
        let timeout: Option<Period> = self.parsed("deploy-timeout");
        let environment = self.environment();
        let credential = self.pull_credential();
        let on_failure = self.word("deploy-on-failure");
        let allow_downgrade = self.flag("deploy-allow-downgrade");
        let environment_page = self.environment_page();
        Some(Target {
            hosts: hosts?,
            user: user?,
            key: key?,
            known_hosts: known_hosts?,
            app: app?,
            timeout: timeout?.0,
            environment,
            credential,
            on_failure: on_failure?,
            allow_downgrade,
            environment_page,
        })
    }

    fn hosts(&mut self) -> Option<Vec<HostName>> {
        let port = self.raw.text("deploy-port");
        let default_port = port.parse::<u16>().ok().filter(|port| *port > 0);
        if default_port.is_none() {
            self.errors.of_input("deploy-port", port, "a port from 1 to 65535");
        }
        let mut hosts = Vec::new();
        let text = self.raw.text("deploy-host");
        let entries = self.words("deploy-host");
        for entry in &entries {
            match host_of(entry, default_port.unwrap_or(22)) {
                Ok(host) if hosts.contains(&host) => {
                    self.errors.of_input("deploy-host", entry, "each host once");
                }
                Ok(host) => hosts.push(host),
                Err(expected) => self.errors.of_input("deploy-host", entry, expected),
            }
        }
        if list::words(text).is_empty() {
            self.errors.of_input("deploy-host", text, "at least one server");
        }
        default_port.and(Some(hosts))
    }

    fn app(&mut self, image: Option<&ImageName>) -> Option<AppName> {
        if self.raw.given("deploy-app").is_some() {
            return self.parsed("deploy-app");
        }
        let name = image?.repository().rsplit('/').next().unwrap_or_default();
        let unusable = |why: ParseError| {
            let expected = format!(
                "the application's name on the server, since the image's own, `{name}`, is not one: \
                 expected {why}"
            );
            self.errors.of_input("deploy-app", "", expected);
        };
        name.parse().map_err(unusable).ok()
    }

    fn user(&mut self, app: Option<&AppName>) -> Option<String> {
        match self.raw.given("deploy-user") {
            Some(user) if is_user(user) => Some(user.to_owned()),
            Some(user) => {
                let expected = "a system user: at most 32 lower-case letters, digits, `_` and `-`";
                self.errors.of_input("deploy-user", user, expected);
                None
            }
            None => app.map(|app| format!("autotag-{app}")),
        }
    }

    fn needed_secret(&mut self, name: &str, expected: &str) -> Option<Secret> {
        let secret = self.raw.secret(name);
        if secret.is_none() {
            self.errors.of_input(name, "", expected);
        }
        secret
    }

    /// A key that no server could take is a fault of the input, not of the first connection.
    fn key(&mut self) -> Option<PrivateKey> {
        let key = self.needed_secret("deploy-key", "the private key that `autotag-receiver init` printed")?;
        let refuse = |why: ParseError| self.errors.of_input("deploy-key", "", why.to_string());
        PrivateKey::parse(&key).map_err(refuse).ok()
    }

    fn known_hosts(&mut self, servers: usize) -> Option<KnownHosts> {
        if self.raw.given("deploy-known-hosts").is_none() {
            let expected = "the servers' host keys, as `autotag-receiver init` printed them: no key is \
                            trusted at first sight";
            self.errors.of_input("deploy-known-hosts", "", expected);
            return None;
        }
        // What was given is not shown: a private key may have been pasted into the wrong secret.
        let refuse = |error: ParseError| {
            self.errors.of_input("deploy-known-hosts", "", error.to_string());
        };
        let known: KnownHosts = self.raw.text("deploy-known-hosts").parse().map_err(refuse).ok()?;
        // One server's key would be believed at every other one.
        if servers > 1 && known.has_fingerprints_of_no_host() {
            let expected = "each fingerprint after the name of its server, since there are several: \
                            `web1.example.com SHA256:...`";
            self.errors.of_input("deploy-known-hosts", "", expected);
            return None;
        }
        Some(known)
    }

    fn environment(&mut self) -> BTreeMap<EnvironmentKey, Secret> {
        const NAME: &str = "deploy-environment";
        let mut variables = BTreeMap::new();
        for (key, value) in self.pairs(NAME, &|_| None) {
            // A key is no secret, but a line that was meant otherwise may have one in its place: not shown.
            match key.parse() {
                Ok(_) if value.len() > ENVIRONMENT_VALUE_BYTES || value.contains('\0') => {
                    let expected = format!("values of at most {ENVIRONMENT_VALUE_BYTES} bytes without NUL");
                    self.errors.of_input(NAME, "", expected);
                }
                Ok(key) => drop(variables.insert(key, Secret::verbatim(value))),
                Err(error) => self.errors.of_input(NAME, "", format!("before each `=` {error}")),
            }
        }
        if variables.len() > ENVIRONMENT_ENTRIES {
            self.errors.of_input(NAME, "", format!("at most {ENVIRONMENT_ENTRIES} variables"));
        }
        variables
    }

    fn pull_credential(&mut self) -> Option<Credentials> {
        let username = self.username("deploy-registry-username");
        let password = self.raw.secret("deploy-registry-password");
        match (username, password) {
            (Some(username), Some(password)) => Some(Credentials { username: username.to_owned(), password }),
            (None, None) => None,
            (Some(_), None) => {
                let expected = "the password that belongs to `deploy-registry-username`";
                self.errors.of_input("deploy-registry-password", "", expected);
                None
            }
            (None, Some(_)) => {
                let expected = "the user name that `deploy-registry-password` belongs to";
                self.errors.of_input("deploy-registry-username", "", expected);
                None
            }
        }
    }

    fn environment_page(&mut self) -> Option<EnvironmentPage> {
        let url = self.raw.given("environment-url");
        if let Some(url) = url
            && !url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
        {
            self.errors.of_input("environment-url", url, "a URL that begins with https:// or http://");
        }
        match (self.raw.given("environment"), url) {
            (Some(name), url) if name.chars().count() <= 255 && !name.contains('\n') => {
                Some(EnvironmentPage { name: name.to_owned(), url: url.map(ToOwned::to_owned) })
            }
            (Some(name), _) => {
                self.errors.of_input("environment", name, "a name of at most 255 characters");
                None
            }
            (None, Some(_)) => {
                self.errors.of_input("environment", "", "the environment that `environment-url` belongs to");
                None
            }
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests;
