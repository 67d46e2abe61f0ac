//! The app file that `init` writes: what was said, and every other key as a comment.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::config::app_file::{Field, HostName, Listen, fields, has_composes_dollar};
use autotag_model::reference::ImageName;
use autotag_model::secret::Secret;
use autotag_protocol::AppName;

use crate::host::init::options::InitOptions;

/// A new app file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAppFile {
    /// Its text.
    pub text: String,
    /// Its text without the variables' values.
    pub shown: String,
}

/// What is said; everything else is a comment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the app file's keys")]
pub struct Content {
    pub image: Option<ImageName>,
    pub port: Option<u16>,
    pub listen: Option<Listen>,
    pub hosts: Vec<HostName>,
    pub health: Option<String>,
    pub environment: BTreeMap<String, Secret>,
    /// Other keys, with their values in YAML.
    pub others: BTreeMap<&'static str, String>,
}

const PORT: u16 = 8080;
const LISTEN: &str = "127.0.0.1:8080";

impl Content {
    /// What the owner says goes over what was found.
    pub fn overlay(&mut self, options: &InitOptions) {
        fn over<T: Clone>(found: &mut Option<T>, given: Option<&T>) {
            if let Some(given) = given {
                *found = Some(given.clone());
            }
        }
        over(&mut self.image, options.image.as_ref());
        over(&mut self.port, options.port.as_ref());
        over(&mut self.listen, options.listen.as_ref());
        over(&mut self.health, options.health.as_ref());
        if !options.hosts.is_empty() {
            self.hosts.clone_from(&options.hosts);
        }
    }

    /// The value of a key in YAML, where it is said. Texts are in JSON's form, which is YAML too.
    fn value(&self, key: &str, hidden: bool) -> Option<String> {
        let listen = self.listen.as_ref().map_or_else(|| LISTEN.to_owned(), ToString::to_string);
        match key {
            "image" => self.image.as_ref().map(ToString::to_string),
            "port" => Some(self.port.unwrap_or(PORT).to_string()),
            "listen" => Some(quoted(&listen)),
            "host" => {
                let names: Vec<&str> = self.hosts.iter().map(HostName::as_str).collect();
                (!names.is_empty()).then(|| format!("[{}]", names.join(", ")))
            }
            // Who listens at the loopback has a front proxy on the same machine.
            "trusted_proxies" => {
                let local = listen
                    .parse::<Listen>()
                    .is_ok_and(|listen| matches!(listen, Listen::Tcp(_)) && listen.is_local());
                local.then(|| "[127.0.0.1, \"::1\"]".to_owned())
            }
            "health" => self.health.as_ref().map(|health| match health.as_str() {
                "none" => "none".to_owned(),
                path => format!("{{path: {}, deadline: 60s, stable: 3s}}", quoted(path)),
            }),
            "environment" if !self.environment.is_empty() => {
                Some(self.environment.iter().fold(String::new(), |mut lines, (name, value)| {
                    let value = if hidden { "***" } else { value.reveal() };
                    let _ = write!(lines, "\n  {name}: {}", quoted(value));
                    lines
                }))
            }
            other => self.others.get(other).cloned(),
        }
    }
}

/// A text in quotes that the app file's reader reads back to the letter.
pub(super) fn quoted(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    if has_composes_dollar(text) { format!("!literal {quoted}") } else { quoted }
}

/// The file's text; `hidden`: with `***` in the place of the variables' values.
pub fn render(app: &AppName, content: &Content, hidden: bool) -> String {
    let mut text = format!(
        "# What autotag-deploy may run here as `{app}`, and how. CI can neither read nor change it.\n\
         # After a change: autotag-receiver check {app} && autotag-receiver deploy {app}\n"
    );
    let mut rest = String::new();
    for Field { name, expected, example, meaning } in fields() {
        match content.value(name, hidden) {
            Some(value) => {
                let gap = if value.starts_with('\n') { "" } else { " " };
                let _ = write!(text, "\n# {meaning}\n{name}:{gap}{value}\n");
            }
            None => {
                let _ = write!(rest, "\n# {meaning} ({expected})\n#{name}: {example}\n");
            }
        }
    }
    let _ = write!(text, "\n# ---- what else you can set; the values are examples ----\n{rest}");
    text
}
