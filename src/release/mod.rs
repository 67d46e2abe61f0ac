//! The stages that change something, in the order of the transaction: survey (read), stage, claim,
//! publish, latest, release.

pub mod claim;
pub mod github;
pub mod latest;
pub mod notes;
pub mod publish;
pub mod stage;
pub mod survey;
