//! GitHub as a stateful double: one repository, held against GitHub's own OpenAPI description.
//!
//! A [`Double`] listens on a free loopback port. Tests arrange the repository and look at it through its
//! methods ([`Handle`]), and turn its knobs (faults, gates, limits, lagging lists). A request that
//! the description does not allow is answered 422 and remembered: the double's end then fails the test.

mod ancestry;
mod answers;
mod call;
mod deployments;
mod git;
mod graphql;
mod handle;
mod import;
mod knobs;
mod model;
mod objects;
mod openapi;
mod releases;
mod server;

pub use answers::REPOSITORY_NODE;
pub use handle::{Double, DoubleOptions, Handle};
pub use objects::{Commit, Deployment, Person, Release, Status, TagObject};
pub use server::{Access, Permissions, Recorded};
