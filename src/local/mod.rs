//! A person's own machine and the runner's disk: the Git clone, and the logins of `gh` and Docker.

pub mod checkout;
pub mod clone;
pub mod head;
pub mod local_logins;
