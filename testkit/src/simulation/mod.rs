//! The pipeline against a world in memory, under a scheduler that decides every interleaving.
//!
//! A run is the real `pipeline::run`; its ports are [`simulated_ports::SimulatedPorts`], which stop at every call.
//! [`program`] makes a machine of it, that says for all that it was told what it calls next.
//! [`schedule::Simulation`] goes from one situation to the next by a [`choice`] (whose call happens, and whether
//! it fails, is lost, comes late, or the run is killed), [`explore`] goes through all choices or draws some by
//! chance, and [`verdict`] says what must hold afterwards.

pub mod choice;
pub mod ending;
pub mod explore;
pub mod github;
pub mod kind;
pub mod listing;
pub mod program;
pub mod registry;
pub mod scenario;
pub mod schedule;
pub mod server;
pub mod simulated_ports;
pub mod verdict;

use std::collections::BTreeMap;
use std::rc::Rc;

use autotag_model::reference::Digest;

/// Everything outside of a run. A copy shares what neither side changes.
#[derive(Debug, Clone)]
pub struct Outside {
    pub github: Rc<github::GitHub>,
    pub repositories: Rc<BTreeMap<String, Rc<registry::ImageRepository>>>,
    pub server: Rc<server::SimulatedServer>,
    /// What the builders hold, by image id; nobody sees it but who built it.
    pub built: Rc<BTreeMap<Digest, Vec<u8>>>,
    /// How the registry speaks of repositories that do not exist.
    pub absent: registry::Absent,
}

impl Outside {
    /// Nothing released, nothing pushed; the server may run this image.
    pub fn new(image: &str) -> Self {
        Self {
            github: Rc::default(),
            repositories: Rc::default(),
            server: Rc::new(server::SimulatedServer::new(image)),
            built: Rc::default(),
            absent: registry::Absent::NotFound,
        }
    }

    /// One image's repository, whether anything was pushed there or not.
    pub fn repository(&mut self, image: &str) -> &mut registry::ImageRepository {
        let absent = self.absent;
        let make = || Rc::new(registry::ImageRepository::new(absent));
        Rc::make_mut(Rc::make_mut(&mut self.repositories).entry(image.to_owned()).or_insert_with(make))
    }

    /// Long after the last write: lists show everything.
    pub fn settle(&mut self) {
        Rc::make_mut(&mut self.github).settle();
        for repository in Rc::make_mut(&mut self.repositories).values_mut() {
            Rc::make_mut(repository).settle();
        }
    }

    /// By how many writes a list can lag now.
    pub fn longest_lag(&self, list: &kind::ListOf) -> usize {
        match list {
            kind::ListOf::GitTags => self.github.longest_tag_lag(),
            kind::ListOf::ImageTags(image) => {
                self.repositories.get(image).map_or(0, |repository| repository.longest_lag())
            }
        }
    }

    /// Everything that decides how things go on.
    pub fn fingerprint(&self, lists_lag: bool) -> String {
        let repositories: Vec<String> =
            self.repositories.values().map(|repository| repository.fingerprint(lists_lag)).collect();
        format!("{}{repositories:?}{}", self.github.fingerprint(lists_lag), self.server.fingerprint())
    }
}
