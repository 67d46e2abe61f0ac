//! What runs, what ran, and what a deployment is in the middle of: the only authority.
//!
//! Containers' labels, the proxy's routes and the journal are derived from it or beside it. It names
//! containers by id and never by address: two containers that are restarted in the other order can swap
//! their addresses.

pub mod missing_state;

pub mod highest;
pub mod journal;
pub mod labels;

mod step_error;
mod store;

pub use step_error::StepError;
pub use store::{FORMAT, Store, Unreadable, read, written};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::config::app_file::Order;
use crate::config::config_hash::ConfigHash;
use autotag_model::git::ObjectId;
use autotag_model::reference::{Digest, ImageName, ParseError};
use autotag_protocol::{AppName, DeploymentId, End, Event, FailureCode, RolloutStep, Running, as_text};

/// The most deployments that are remembered. At ten a day that is three months.
pub const REMEMBERED: usize = 1_000;

/// The most withdrawn deployments that are remembered. A request is late by minutes, not by so many others.
pub const WITHDRAWN: usize = 100;

/// A container's full id as the Engine writes it: 64 lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as `docker ps` shows them.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

impl FromStr for ContainerId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseError("a container's id: 64 lower-case hexadecimal digits".to_owned()))
        }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a release is rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// To go on.
    Deploy,
    /// To go back; the version that is left is bad.
    Rollback,
}

/// What is, was or shall be rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Release {
    /// The deployment's id. Its container carries it as a label, by which it is found again even where a
    /// crash came between the container's creation and its id.
    pub deployment: DeploymentId,
    /// The image's repository.
    #[serde(with = "as_text")]
    pub image: ImageName,
    /// The image.
    #[serde(with = "as_text")]
    pub digest: Digest,
    /// Its version.
    pub version: Version,
    /// Its commit.
    pub commit: ObjectId,
    /// The configuration it got.
    pub config: ConfigHash,
    /// As the app file said at the time: recovery goes on as the rollout began.
    pub order: Order,
    /// Why.
    pub purpose: Purpose,
    /// When it was asked for.
    pub at: Timestamp,
    /// Who asked: a run's address, for people.
    pub run: String,
}

impl Release {
    /// As the protocol tells it.
    pub fn running(&self) -> Running {
        Running {
            version: self.version.clone(),
            digest: self.digest.clone(),
            commit: self.commit.clone(),
            deployment: self.deployment.clone(),
        }
    }
}

/// A release and the container that it runs in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Instance {
    /// The container.
    pub container: ContainerId,
    /// What runs in it.
    pub release: Release,
}

/// How far the last change went.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display)]
#[serde(tag = "phase", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Phase {
    /// Nothing is under way.
    Steady {
        /// What serves; `None` before the first deployment that worked.
        #[serde(deserialize_with = "Option::deserialize")]
        active: Option<Instance>,
    },
    /// A new one is tried. It may have a container, found by its deployment's label; nobody was sent to it.
    Pending {
        /// What serves, or with [`Order::StopFirst`] may be stopped and must serve again if this fails.
        #[serde(deserialize_with = "Option::deserialize")]
        active: Option<Instance>,
        /// What is tried.
        new: Release,
    },
    /// The new one was committed to; traffic goes there, or is about to. Not yet seen through the proxy.
    Unverified {
        /// What shall serve.
        new: Instance,
        /// What served before, untouched (start-first) or stopped (stop-first).
        #[serde(deserialize_with = "Option::deserialize")]
        old: Option<Instance>,
    },
    /// It is decided what serves; the other one is on its way out.
    Leaving {
        /// What serves.
        #[serde(deserialize_with = "Option::deserialize")]
        active: Option<Instance>,
        /// What is drained, stopped and removed.
        leaving: Instance,
        /// Whether the one that leaves is the new one, which did not pass its verification.
        turned_back: bool,
        /// The order of this change.
        order: Order,
    },
}

/// A version that nobody gets unless they ask for it by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Blocked {
    /// Since when: the time of the deployment that left it.
    pub since: Timestamp,
    /// Why.
    pub why: String,
}

/// A step that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Failure {
    /// Which step.
    pub step: RolloutStep,
    /// The kind of reason.
    pub code: FailureCode,
    /// Why, in the driver's words.
    pub why: String,
}

/// One deployment of the past.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Record {
    /// What was deployed.
    pub release: Release,
    /// `None` where it came to serve.
    #[serde(deserialize_with = "Option::deserialize")]
    pub failure: Option<Failure>,
}

impl Record {
    /// How it ended, as the protocol tells it.
    pub fn end(&self) -> End {
        match (&self.failure, self.release.purpose) {
            (Some(failure), _) => {
                let message = Event::within_line(&failure.why);
                End::Failed { step: failure.step.into(), code: failure.code.into(), message }
            }
            (None, Purpose::Rollback) => End::RolledBack {},
            (None, Purpose::Deploy) => End::Deployed {},
        }
    }
}

/// All that is known of one application.
///
/// `Option::deserialize` makes a field that may be `null` one that must be there: a missing one is damage, and
/// must not be taken for "nothing serves".
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// Which.
    pub app: AppName,
    /// How far the last change went.
    pub change: Phase,
    /// The highest version that was ever committed to, whether it stayed or not.
    #[serde(deserialize_with = "Option::deserialize")]
    pub highest: Option<Version>,
    /// Versions that were rolled back, or did not pass their verification.
    pub blocked: BTreeMap<Version, Blocked>,
    /// [`REMEMBERED`] deployments, the oldest first: the last ones, and what a rollback needs before what failed.
    pub history: Vec<Record>,
    /// The last [`WITHDRAWN`] deployments that were to be reverted when they did not serve, the oldest first:
    /// none of them is done any more, and nothing goes back to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withdrawn: Vec<DeploymentId>,
    /// The last deployment that another one found serving what it was to bring, and left alone: it serves for both
    /// and is not reverted for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<DeploymentId>,
}

impl State {
    /// Of an application that was never deployed.
    pub fn new(app: AppName) -> Self {
        Self {
            app,
            change: Phase::Steady { active: None },
            highest: None,
            blocked: BTreeMap::new(),
            history: Vec::new(),
            withdrawn: Vec::new(),
            shared: None,
        }
    }

    /// Whether it is that of an application that was never deployed.
    pub fn is_new(&self) -> bool {
        *self == Self::new(self.app.clone())
    }

    /// What serves or shall serve, as far as it is committed.
    pub fn active(&self) -> Option<&Instance> {
        match &self.change {
            Phase::Steady { active } | Phase::Pending { active, .. } | Phase::Leaving { active, .. } => {
                active.as_ref()
            }
            Phase::Unverified { new, .. } => Some(new),
        }
    }

    /// The last record of a deployment.
    pub fn record_of(&self, deployment: &DeploymentId) -> Option<&Record> {
        self.history.iter().rev().find(|record| record.release.deployment == *deployment)
    }

    /// Every container that is mentioned.
    pub fn containers(&self) -> Vec<&ContainerId> {
        let instances: Vec<&Instance> = match &self.change {
            Phase::Steady { active } | Phase::Pending { active, .. } => active.iter().collect(),
            Phase::Unverified { new, old } => old.iter().chain([new]).collect(),
            Phase::Leaving { active, leaving, .. } => active.iter().chain([leaving]).collect(),
        };
        instances.into_iter().map(|instance| &instance.container).collect()
    }

    /// Every release that a change is about, or that serves.
    pub fn releases(&self) -> Vec<&Release> {
        let (serves, changes) = match &self.change {
            Phase::Steady { active } => (active, None),
            Phase::Pending { active, new } => (active, Some(new)),
            Phase::Unverified { new, old } => (old, Some(&new.release)),
            Phase::Leaving { active, leaving, .. } => (active, Some(&leaving.release)),
        };
        serves.iter().map(|instance| &instance.release).chain(changes).collect()
    }

    /// The same where another container has taken the place of one that was removed.
    pub(super) fn renamed(&self, gone: &ContainerId, made: &ContainerId) -> Self {
        let mut state = self.clone();
        let instances: Vec<&mut Instance> = match &mut state.change {
            Phase::Steady { active } | Phase::Pending { active, .. } => active.iter_mut().collect(),
            Phase::Unverified { new, old } => old.iter_mut().chain([new]).collect(),
            Phase::Leaving { active, leaving, .. } => active.iter_mut().chain([leaving]).collect(),
        };
        for instance in instances.into_iter().filter(|instance| instance.container == *gone) {
            instance.container = made.clone();
        }
        state
    }

    /// The last release that came to serve, whether it still does or not.
    pub fn last_served(&self) -> Option<&Release> {
        self.history.iter().rev().find(|record| record.failure.is_none()).map(|record| &record.release)
    }

    /// What came to serve before this deployment did, the latest first.
    pub fn served_before(&self, deployment: &DeploymentId) -> impl Iterator<Item = &Record> {
        let later = |record: &&Record| record.release.deployment != *deployment;
        self.history.iter().rev().skip_while(later).skip(1).filter(|record| record.failure.is_none())
    }

    /// What serves again where this deployment is reverted.
    pub fn to_go_back_to(&self, deployment: &DeploymentId) -> Option<&Record> {
        self.served_before(deployment).find(|record| !self.withdrawn.contains(&record.release.deployment))
    }

    /// The same with this deployment withdrawn; `None` where it is already.
    pub fn with_withdrawn(&self, deployment: &DeploymentId) -> Option<Self> {
        if self.withdrawn.contains(deployment) {
            return None;
        }
        let mut state = self.clone();
        state.withdrawn.push(deployment.clone());
        let surplus = state.withdrawn.len().saturating_sub(WITHDRAWN);
        state.withdrawn.drain(..surplus);
        Some(state)
    }

    /// The same in another phase.
    pub(super) fn in_phase(&self, change: Phase) -> Self {
        Self { change, ..self.clone() }
    }

    pub(super) fn remember(&mut self, release: &Release, failure: Option<Failure>) {
        let failure = failure.map(|failure| Failure { why: in_short(&failure.why), ..failure });
        self.history.push(Record { release: release.clone(), failure });
        while self.history.len() > REMEMBERED {
            self.history.remove(self.least_needed());
        }
    }

    /// What is forgotten first, so that neither failures nor a to and fro between two versions erase what a rollback
    /// needs: the oldest failure; then the oldest time that a version served which has served again since; then the
    /// oldest of all. What was just added stays.
    fn least_needed(&self) -> usize {
        let older = &self.history[..self.history.len().saturating_sub(1)];
        let failed = older.iter().position(|record| record.failure.is_some());
        let again = || {
            let mut later: BTreeSet<&Version> =
                self.history.last().into_iter().map(|record| &record.release.version).collect();
            let newest_first = older.iter().enumerate().rev();
            let repeated = newest_first.filter(|(_, record)| !later.insert(&record.release.version));
            repeated.last().map(|(place, _)| place)
        };
        failed.or_else(again).unwrap_or(0)
    }
}

/// The longest reason that is remembered, in bytes: with [`REMEMBERED`] of them the file stays far below what
/// is read back, whatever an application wrote. The journal and CI's log have the whole.
const REASON_BYTES: usize = 1024;

/// A reason, bounded; each control character, which JSON would make six bytes of, is a space.
pub(super) fn in_short(why: &str) -> String {
    let end = (0..=REASON_BYTES.min(why.len())).rev().find(|at| why.is_char_boundary(*at)).unwrap_or(0);
    why[..end].replace(|letter: char| letter.is_control() && letter != '\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{release, steady};
    use autotag_protocol::RUN_BYTES;

    #[test]
    fn a_thousand_failures_can_be_read_again() {
        let mut state = steady("1.0.0");
        // The longest that a request may bring, and what an application may write.
        let release = Release { run: "\"".repeat(RUN_BYTES), ..release("2.0.0") };
        for number in 0..REMEMBERED {
            let why = format!("{number}: {}", "\u{1}é".repeat(5_000));
            state.remember(
                &release,
                Some(Failure { step: RolloutStep::Health, code: FailureCode::Unhealthy, why }),
            );
        }
        let text = written(&state).unwrap();
        assert!(text.len() < 8 << 20, "{} bytes", text.len());
        assert_eq!(read(std::path::Path::new("state.json"), &text).unwrap(), state);
    }

    // case X5; broken by: `least_needed` is always 0
    #[test]
    fn neither_failures_nor_a_to_and_fro_erase_what_served() {
        let versions = |state: &State| {
            let served = state.history.iter().filter(|record| record.failure.is_none());
            served.map(|record| record.release.version.to_string()).collect::<BTreeSet<_>>()
        };
        let mut state = steady("1.0.0");
        state.remember(&release("1.1.0"), None);
        let before = versions(&state);
        for number in 0..2 * REMEMBERED {
            let failure =
                Failure { step: RolloutStep::Health, code: FailureCode::Unhealthy, why: String::new() };
            state.remember(&release(&format!("2.0.{number}")), Some(failure));
        }
        assert_eq!((versions(&state), state.history.len()), (before.clone(), REMEMBERED));
        let last = &state.history.last().unwrap().release.version;
        assert_eq!(last.to_string(), format!("2.0.{}", 2 * REMEMBERED - 1), "the last one is known");
        for number in 0..2 * REMEMBERED {
            state.remember(&release(if number % 2 == 0 { "1.2.0" } else { "1.3.0" }), None);
        }
        let kept = versions(&state);
        assert!(before.is_subset(&kept) && state.history.len() == REMEMBERED, "{kept:?}");
        // As many versions as are remembered, and one more: the oldest goes.
        for number in 0..REMEMBERED {
            state.remember(&release(&format!("3.0.{number}")), None);
        }
        let first = &state.history[0].release.version;
        assert_eq!(first.to_string(), "3.0.0", "all of them are different");
    }

    #[test]
    fn a_recreated_container_is_renamed_in_every_phase() {
        let [gone, made, other] =
            ["f", "d", "e"].map(|letter| letter.repeat(64).parse::<ContainerId>().unwrap());
        let of =
            |container: &ContainerId| Instance { container: container.clone(), release: release("1.0.0") };
        let (some, new, order) = (Some(of(&gone)), release("2.0.0"), Order::StartFirst);
        for change in [
            Phase::Steady { active: some.clone() },
            Phase::Pending { active: some.clone(), new },
            Phase::Unverified { new: of(&other), old: some.clone() },
            Phase::Leaving { active: some, leaving: of(&other), turned_back: true, order },
        ] {
            let state = steady("1.0.0").in_phase(change);
            let renamed = state.renamed(&gone, &made);
            assert!(
                renamed.containers().contains(&&made) && !renamed.containers().contains(&&gone),
                "{renamed:?}"
            );
            assert_eq!(renamed.renamed(&made, &gone), state);
        }
    }
}
