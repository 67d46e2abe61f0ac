//! What can be changed, and what a request for it says.

use autotag_model::secret::Credentials;
use autotag_protocol::{Deploy, DeploymentId, Rollback};

/// What is to be changed.
#[derive(Debug)]
pub(in crate::serve) enum Change {
    Deploy(Box<Deploy>),
    Rollback(Box<Rollback>),
}

impl Change {
    pub(in crate::serve) fn deployment(&self) -> &DeploymentId {
        match self {
            Self::Deploy(deploy) => &deploy.deployment,
            Self::Rollback(rollback) => &rollback.deployment,
        }
    }

    /// In a few words, by which two requests of one id are told apart.
    pub(in crate::serve) fn about(&self) -> String {
        match self {
            Self::Deploy(deploy) => format!("deploy {} {}", deploy.version, deploy.digest),
            Self::Rollback(rollback) => match (&rollback.reverts, &rollback.to) {
                (Some(deployment), _) => format!("revert {deployment}"),
                (None, Some(version)) => format!("rollback to {version}"),
                (None, None) => "rollback".to_owned(),
            },
        }
    }

    pub(super) fn purpose(&self) -> String {
        match self {
            Self::Deploy(deploy) => format!("deploy {}", deploy.version),
            Self::Rollback(_) => self.about(),
        }
    }

    pub(super) fn run(&self) -> &str {
        match self {
            Self::Deploy(deploy) => &deploy.run,
            Self::Rollback(rollback) => &rollback.run,
        }
    }

    pub(super) fn credentials(&self) -> Option<Credentials> {
        match self {
            Self::Deploy(deploy) => deploy.credential.clone(),
            Self::Rollback(rollback) => rollback.credential.clone(),
        }
    }
}
