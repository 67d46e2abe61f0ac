//! A registry in memory: manifests by digest, tags, and a list of tags that may lag.

use std::collections::BTreeMap;
use std::rc::Rc;

use autotag_deploy::ports::{Manifest, ManifestName, TagListing};
use autotag_deploy::versioning::tag::version_of;
use autotag_model::reference::{Digest, ImageTag};

use super::listing::Listing;

/// What the registry says about a repository that does not exist.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Absent {
    /// 404 NAME_UNKNOWN.
    #[default]
    NotFound,
    /// 403, as for one that is somebody else's.
    Withheld,
}

/// One image repository.
#[derive(Debug, Clone, Default)]
pub struct ImageRepository {
    manifests: BTreeMap<Digest, Rc<Manifest>>,
    tags: BTreeMap<String, Digest>,
    list: Listing<String>,
    /// How it is not there before the first push.
    absent: Absent,
    /// What nobody may ever do.
    pub violations: Vec<String>,
}

impl ImageRepository {
    /// Nothing was pushed yet.
    pub fn new(absent: Absent) -> Self {
        Self { absent, ..Self::default() }
    }

    /// The digest under a tag.
    pub fn tagged(&self, tag: &str) -> Option<&Digest> {
        self.tags.get(tag)
    }

    pub fn list_tags(&self, lag: usize) -> TagListing {
        match (self.tags.is_empty(), self.absent) {
            (true, Absent::NotFound) => TagListing::NoRepository,
            (true, Absent::Withheld) => TagListing::Withheld("403 denied".to_owned()),
            (false, _) => TagListing::Tags(self.list.as_of(lag).into_iter().collect()),
        }
    }

    pub fn manifest(&self, name: &ManifestName) -> Option<Manifest> {
        let digest = match name {
            ManifestName::Tag(tag) => self.tags.get(tag.as_str())?,
            ManifestName::Digest(digest) => digest,
        };
        self.manifests.get(digest).map(|manifest| Manifest::clone(manifest))
    }

    pub fn put_manifest(&mut self, tag: &ImageTag, manifest: &Manifest) {
        let tag = tag.as_str();
        let before = self.tags.get(tag);
        if before.is_some_and(|before| *before != manifest.digest) && version_of(tag).is_some() {
            self.violations.push(format!("1 (unique): the image tag {tag} was overwritten"));
        }
        self.manifests.insert(manifest.digest.clone(), Rc::new(manifest.clone()));
        self.tags.insert(tag.to_owned(), manifest.digest.clone());
        self.list.is_now(self.tags.keys());
    }

    /// By how many writes the list of tags can lag.
    pub fn longest_lag(&self) -> usize {
        self.list.longest_lag()
    }

    /// Long after the last write.
    pub fn settle(&mut self) {
        self.list.forget_the_past();
    }

    /// Everything that decides how things go on.
    pub fn fingerprint(&self, lists_lag: bool) -> String {
        let past = if lists_lag { format!("{:?}", self.list) } else { String::new() };
        format!("{:?}{past}", self.tags)
    }
}
