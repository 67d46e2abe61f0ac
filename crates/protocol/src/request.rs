//! The request: one bounded JSON line, read strictly.

use std::collections::BTreeMap;
use std::fmt;

use semver::Version;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codes::RefusalCode;
use super::names::{AppName, DeploymentId, EnvironmentKey};
use super::{PROTOCOL, Word, as_text};
use autotag_model::git::ObjectId;
use autotag_model::reference::{Digest, ImageName};
use autotag_model::secret::{Credentials, Secret};

/// The longest request line, in bytes: several of GitHub's largest secrets (48 KB each) fit.
pub const REQUEST_BYTES: usize = 256 * 1024;
/// The most environment variables that one request may set.
pub const ENVIRONMENT_ENTRIES: usize = 100;
/// The longest value of one, in bytes: the longest that a GitHub secret can be.
pub const ENVIRONMENT_VALUE_BYTES: usize = 48 * 1024;
/// The longest user name or password, in bytes.
pub const TEXT_BYTES: usize = 8 * 1024;
/// The longest address of a run, in bytes: the state remembers a thousand of them.
pub const RUN_BYTES: usize = 2 * 1024;
/// The longest version, in bytes: what an image's tag can hold.
pub const VERSION_BYTES: usize = 128;
/// The most lines that `logs` hands out.
pub const LOG_LINES: u32 = 5_000;
/// The most entries that `history` hands out.
pub const HISTORY_ENTRIES: u32 = 500;

/// What to do where the action is newer than the receiver.
const UPDATE_RECEIVER: &str = "update autotag-receiver on the server; if that was done, `serve` still runs \
                               the old one: systemctl restart autotag";

/// Why a request was not understood or not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// The kind, for programs.
    pub code: RefusalCode,
    /// What is wrong and what to do, for people. Never a secret's value.
    pub message: String,
}

impl Refused {
    /// A refusal.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which application; the receiver compares it with what the key's user may reach.
    pub app: AppName,
    /// What is asked for.
    pub body: Body,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Body {
    /// Roll a version out.
    Deploy(Box<Deploy>),
    /// Go back to a recorded version.
    Rollback(Box<Rollback>),
    /// What runs; with a deployment's id also what became of it.
    Status {
        /// The deployment that is asked about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deployment: Option<DeploymentId>,
    },
    /// The application's last lines.
    Logs {
        /// How many, at most [`LOG_LINES`].
        lines: u32,
    },
    /// What was deployed when, the newest first.
    History {
        /// How many, at most [`HISTORY_ENTRIES`].
        entries: u32,
    },
}

/// Roll a version out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Deploy {
    /// The deployment's name from now on.
    pub deployment: DeploymentId,
    /// The image's repository: only the app file's is accepted.
    #[serde(with = "as_text")]
    pub image: ImageName,
    /// The image itself. There is no other way to say which: tags move.
    #[serde(with = "as_text")]
    pub digest: Digest,
    /// Its version.
    pub version: Version,
    /// Its commit.
    pub commit: ObjectId,
    /// It may be lower than what ran, or have been rolled back. For the key only where the app file says so.
    #[serde(default)]
    pub allow_downgrade: bool,
    /// Variables for the application; only those that the app file allows.
    #[serde(default, with = "environment")]
    pub environment: BTreeMap<EnvironmentKey, Secret>,
    /// For this one pull; without it the host's own.
    #[serde(default, with = "credential", skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credentials>,
    /// The address of the run that asks, for people.
    #[serde(default)]
    pub run: String,
}

/// Go back to a recorded version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rollback {
    /// The deployment's name from now on.
    pub deployment: DeploymentId,
    /// Where to; the previous good one if not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Version>,
    /// Revert exactly this deployment: what served before it serves again, with the variables that it had then.
    /// Where it does not serve, nothing that does is touched, and it never will: neither it nor anything that goes
    /// back to it.
    /// Without `to`, and with [`Configuration::Then`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverts: Option<DeploymentId>,
    /// With which configuration.
    #[serde(default)]
    pub configuration: Configuration,
    /// For this one pull; without it the host's own.
    #[serde(default, with = "credential", skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credentials>,
    /// The address of the run that asks, for people.
    #[serde(default)]
    pub run: String,
}

/// Which configuration a rollback uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Configuration {
    /// The app file and environment as they are.
    #[default]
    Today,
    /// As they were when the version was deployed: for root all of it, for the key the variables that CI gave.
    Then,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    protocol: u32,
    app: AppName,
    request: Body,
}

/// Read first, and leniently: another version's request may have any shape.
#[derive(Deserialize)]
struct AnyVersion {
    protocol: u64,
}

impl Request {
    /// The word that goes with it.
    pub fn word(&self) -> Word {
        match self.body {
            Body::Deploy(_) => Word::Deploy,
            Body::Rollback(_) => Word::Rollback,
            Body::Status { .. } => Word::Status,
            Body::Logs { .. } => Word::Logs,
            Body::History { .. } => Word::History,
        }
    }

    /// The line, with its line break. It holds secrets in clear: for the SSH channel's stdin only.
    pub fn to_line(&self) -> Result<Secret, Refused> {
        self.check()?;
        let envelope = Envelope { protocol: PROTOCOL, app: self.app.clone(), request: self.body.clone() };
        let mut line = serde_json::to_string(&envelope)
            .map_err(|error| Refused::new(RefusalCode::Malformed, error.to_string()))?;
        if line.len() > REQUEST_BYTES {
            return Err(too_long(line.len()));
        }
        line.push('\n');
        Ok(Secret::verbatim(line))
    }

    /// Reads a line, given without its line break.
    ///
    /// The error never holds what was read: a secret may stand anywhere in a malformed line.
    pub fn parse(line: &[u8]) -> Result<Self, Refused> {
        if line.len() > REQUEST_BYTES {
            return Err(too_long(line.len()));
        }
        let any: AnyVersion = serde_json::from_slice(line).map_err(|error| malformed(&error))?;
        if any.protocol != u64::from(PROTOCOL) {
            return Err(other_protocol(any.protocol));
        }
        let envelope: Envelope = serde_json::from_slice(line).map_err(|error| malformed(&error))?;
        let request = Self { app: envelope.app, body: envelope.request };
        request.check()?;
        Ok(request)
    }

    /// The limits that the types do not hold by themselves.
    fn check(&self) -> Result<(), Refused> {
        match &self.body {
            Body::Deploy(deploy) => {
                check_text("run", &deploy.run, RUN_BYTES)?;
                check_version(&deploy.version)?;
                check_credential(deploy.credential.as_ref())?;
                if !deploy.version.build.is_empty() {
                    return Err(limit("`version` has no `+build`: no image tag can hold it"));
                }
                check_environment(&deploy.environment)
            }
            Body::Rollback(rollback) => {
                check_text("run", &rollback.run, RUN_BYTES)?;
                rollback.to.as_ref().map_or(Ok(()), check_version)?;
                check_revert(rollback)?;
                check_credential(rollback.credential.as_ref())
            }
            Body::Status { .. } => Ok(()),
            Body::Logs { lines } if (1..=LOG_LINES).contains(lines) => Ok(()),
            Body::Logs { .. } => Err(limit(&format!("`lines` is 1 to {LOG_LINES}"))),
            Body::History { entries } if (1..=HISTORY_ENTRIES).contains(entries) => Ok(()),
            Body::History { .. } => Err(limit(&format!("`entries` is 1 to {HISTORY_ENTRIES}"))),
        }
    }
}

fn limit(rule: &str) -> Refused {
    Refused::new(RefusalCode::Malformed, format!("the request exceeds a limit: {rule}"))
}

fn too_long(length: usize) -> Refused {
    limit(&format!("a request has at most {REQUEST_BYTES} bytes, this one {length}"))
}

/// Only where it went wrong: serde's own words can quote the value that it met.
fn malformed(error: &serde_json::Error) -> Refused {
    use serde_json::error::Category;
    // The one place that reads serde's words, which have no type: what it does not know comes from a newer action.
    let words = error.to_string();
    if words.starts_with("unknown field ") || words.starts_with("unknown variant ") {
        let text = format!(
            "the request has a field or a value that this receiver does not know (column {}): \
             {UPDATE_RECEIVER}",
            error.column()
        );
        return Refused::new(RefusalCode::NewerRequest, text);
    }
    let what = match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => "it is not JSON",
        Category::Data => "a field is missing, repeated or of the wrong type",
    };
    Refused::new(
        RefusalCode::Malformed,
        format!("the request cannot be read: {what} (column {})", error.column()),
    )
}

fn other_protocol(theirs: u64) -> Refused {
    let update = if theirs > u64::from(PROTOCOL) {
        UPDATE_RECEIVER
    } else {
        "update the action (`uses:`) to the newest release"
    };
    Refused::new(
        RefusalCode::Protocol,
        format!("the request speaks protocol {theirs}, this receiver {PROTOCOL}: {update}"),
    )
}

fn check_text(field: &str, text: &str, most: usize) -> Result<(), Refused> {
    if text.len() > most || text.chars().any(char::is_control) {
        return Err(limit(&format!("`{field}` is one line of at most {most} bytes")));
    }
    Ok(())
}

fn check_version(version: &Version) -> Result<(), Refused> {
    if version.to_string().len() > VERSION_BYTES {
        return Err(limit(&format!("a version has at most {VERSION_BYTES} bytes, as an image's tag")));
    }
    Ok(())
}

/// What a deployment is reverted to is the server's to say.
fn check_revert(rollback: &Rollback) -> Result<(), Refused> {
    let Some(deployment) = &rollback.reverts else { return Ok(()) };
    if rollback.to.is_none()
        && rollback.configuration == Configuration::Then
        && *deployment != rollback.deployment
    {
        return Ok(());
    }
    Err(limit("`reverts` names another deployment, has no `to`, and takes the configuration of `then`"))
}

fn check_credential(credential: Option<&Credentials>) -> Result<(), Refused> {
    let Some(credential) = credential else { return Ok(()) };
    check_text("username", &credential.username, TEXT_BYTES)?;
    check_text("password", credential.password.reveal(), TEXT_BYTES)
}

fn check_environment(environment: &BTreeMap<EnvironmentKey, Secret>) -> Result<(), Refused> {
    if environment.len() > ENVIRONMENT_ENTRIES {
        return Err(limit(&format!("`environment` has at most {ENVIRONMENT_ENTRIES} variables")));
    }
    for (key, value) in environment {
        if value.reveal().len() > ENVIRONMENT_VALUE_BYTES || value.reveal().contains('\0') {
            return Err(limit(&format!("`{key}` has at most {ENVIRONMENT_VALUE_BYTES} bytes and no NUL")));
        }
    }
    Ok(())
}

/// A map that refuses a doubled key; serde's own takes the last one in silence.
mod environment {
    use super::{BTreeMap, Deserializer, EnvironmentKey, MapAccess, Secret, Serializer, Visitor, fmt};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<EnvironmentKey, Secret>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_map(map.iter().map(|(key, value)| (key.as_str(), value.reveal())))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<EnvironmentKey, Secret>, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = BTreeMap<EnvironmentKey, Secret>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("variables, each once")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut map = BTreeMap::new();
                while let Some((key, value)) = entries.next_entry::<EnvironmentKey, String>()? {
                    if map.insert(key, Secret::verbatim(value)).is_some() {
                        return Err(A::Error::custom("a variable twice"));
                    }
                }
                Ok(map)
            }
        }
        from.deserialize_map(Entries)
    }
}

mod credential {
    use super::{Credentials, Deserialize, Deserializer, Secret, Serialize, Serializer};
    use serde::de::Error as _;

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        username: String,
        password: String,
    }

    #[expect(clippy::ref_option, reason = "serde's `with` hands the field over as it is")]
    pub(super) fn serialize<S: Serializer>(value: &Option<Credentials>, to: S) -> Result<S::Ok, S::Error> {
        value
            .as_ref()
            .map(|it| Written { username: it.username.clone(), password: it.password.reveal().to_owned() })
            .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Credentials>, D::Error> {
        let Some(written) = Option::<Written>::deserialize(from)? else { return Ok(None) };
        let password = Secret::new(&written.password).ok_or_else(|| D::Error::custom("an empty password"))?;
        Ok(Some(Credentials { username: written.username, password }))
    }
}
