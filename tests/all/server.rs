//! The server's side as a whole: real processes, real Docker, a real registry.

mod action;
mod broken;
mod crashes;
mod deployments;
mod faults;
mod key;
mod login;
mod moments;
