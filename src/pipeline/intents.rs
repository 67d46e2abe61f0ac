//! Which stages a run was asked for: what was not reached is told apart from what nobody wanted.

use super::Job;
use crate::inputs::Command;
use crate::inputs::deploy::Deploy;
use crate::inputs::request::{ImageSource, LatestPolicy};

/// A stage, and whether this run was asked for it.
pub type Intent = (&'static str, bool);

/// All stages of the transaction, in order.
pub const STAGES: [&str; 8] = ["plan", "build", "stage", "claim", "publish", "latest", "release", "deploy"];

/// The stages of this run in their order, and whether each is wanted.
pub(super) fn of(job: Job<'_>) -> Vec<Intent> {
    let request = job.request;
    let publishes = job.mode.publishes();
    let wanted = |stage: &str| match stage {
        "plan" => true,
        "build" => request.command == Command::Release && matches!(request.source, ImageSource::Build(_)),
        "latest" => publishes && request.latest != LatestPolicy::Never,
        "release" => publishes && request.release.is_some(),
        "deploy" => publishes && matches!(request.deploy, Deploy::To(_)),
        _ => publishes,
    };
    match request.command {
        Command::Deploy => vec![("plan", true), ("deploy", true)],
        Command::Rollback => vec![("deploy", true)],
        Command::Status => Vec::new(),
        Command::Release | Command::Plan => STAGES.map(|stage| (stage, wanted(stage))).to_vec(),
    }
}
