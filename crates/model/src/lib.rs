//! What both programs speak of: names, digests, secrets, and the help that a failure points to. Values only: nothing
//! here reads a file, waits, or knows a network.

pub mod duration;
pub mod git;
pub mod help;
pub mod labels;
pub mod reference;
pub mod secret;
pub mod text;
