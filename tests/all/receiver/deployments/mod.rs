//! Deployments and rollbacks: those that succeed, that fail, that are reverted, and whoever else is at work meanwhile.

mod addresses;
mod crash_loop;
pub mod end_to_end;
mod failing_versions;
mod manual_changes;
mod revert;
mod success;
mod two_receivers;
