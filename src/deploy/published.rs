//! A version that is published already: which one is meant, its digest, and its commit.

use std::collections::BTreeMap;

use semver::Version;

use super::hosts::DeployedRelease;
use crate::failure::{Failure, FailureKind};
use crate::ports::{Forge, ManifestName, Registry, TagListing};
use crate::release::survey;
use crate::versioning::tag::{TagPrefix, highest_stable, image_tag_of, version_of};
use autotag_model::git::ObjectId;
use autotag_model::help::Topic;
use autotag_model::labels;
use autotag_model::reference::{Digest, ImageName};

/// Which version is meant.
#[derive(Debug, Clone, Copy)]
pub struct WantedVersion<'a> {
    /// The image's name.
    pub image: &'a ImageName,
    /// This one, or the highest.
    pub version: Option<&'a Version>,
    /// What it has to be, if that was said.
    pub digest: Option<&'a Digest>,
    /// The prefix of its Git tag.
    pub prefix: &'a TagPrefix,
}

/// Finds it. The registry says what the version is; a digest that was given may only agree.
pub async fn find(
    forge: &impl Forge,
    registry: &impl Registry,
    question: WantedVersion<'_>,
) -> Result<DeployedRelease, Failure> {
    let version = match question.version {
        Some(version) => version.clone(),
        None => highest(registry, question.image).await?,
    };
    let doing = || format!("looking for {}:{version}", question.image);
    let tag = image_tag_of(&version).map_err(|error| {
        Failure::new(FailureKind::Input, doing(), format!("expected {error}"), "choose another `version`")
    })?;
    let Some(manifest) = registry.manifest(&ManifestName::Tag(tag)).await? else {
        return Err(Failure::new(
            FailureKind::Conflict,
            doing(),
            "it is not published",
            "choose a `version` that the registry has, or release it first",
        )
        .about(Topic::NoImage));
    };
    if let Some(wanted) = question.digest
        && *wanted != manifest.digest
    {
        let why = format!("its tag names {}, and `image-digest` is {wanted}", manifest.digest);
        let remedy = "somebody moved the tag, or the digest is another version's: leave one of the two out";
        return Err(Failure::new(FailureKind::Conflict, doing(), why, remedy).about(Topic::ImageTagTaken));
    }
    let labels = registry.labels(&manifest).await?;
    let commit = match commit_of(&labels) {
        Some(commit) => commit,
        None => claimed_commit(forge, question, &version, &manifest.digest).await?,
    };
    Ok(DeployedRelease { image: question.image.clone(), digest: manifest.digest, version, commit })
}

/// The commit that an image of this action carries.
fn commit_of(labels: &BTreeMap<String, String>) -> Option<ObjectId> {
    labels.get(labels::REVISION)?.parse().ok()
}

/// The highest published version.
async fn highest(registry: &impl Registry, image: &ImageName) -> Result<Version, Failure> {
    let doing = || format!("looking for the highest version of {image}");
    let tags = match registry.list_tags().await? {
        TagListing::Tags(tags) => tags,
        TagListing::NoRepository => Vec::new(),
        TagListing::Withheld(words) => {
            let remedy = "add the line `packages: read` to this job's `permissions:`; for another registry than ghcr.io, correct `registry-username` and `registry-password`";
            return Err(Failure::new(FailureKind::Denied, doing(), words, remedy).about(Topic::RegistryLogin));
        }
    };
    let versions: Vec<Version> = tags.iter().filter_map(|tag| version_of(tag)).collect();
    highest_stable(&versions).cloned().ok_or_else(|| {
        Failure::new(FailureKind::Conflict, doing(), "no version is published", "release one first")
    })
}

/// An image that was built elsewhere may lack the label: then the claim says whose it is.
async fn claimed_commit(
    forge: &impl Forge,
    question: WantedVersion<'_>,
    version: &Version,
    digest: &Digest,
) -> Result<ObjectId, Failure> {
    let tag = question.prefix.tag_of(version);
    let doing = format!("looking for the commit of {}:{version}", question.image);
    let unknown = |why: String| {
        let remedy = "deploy an image that carries the label org.opencontainers.image.revision, or one that this action released";
        Failure::new(FailureKind::Conflict, doing.clone(), why, remedy)
    };
    let name = question.prefix.ref_of(version).map_err(|error| unknown(error.to_string()))?;
    let found = forge.read_ref(&name).await?.filter(|found| found.annotated);
    let Some(found) = found else {
        return Err(unknown(format!("it has no label that says so, and the tag {tag} is no claim")));
    };
    let claim = survey::claim_at(forge, &found.target).await?.claim;
    if claim.image == *question.image && claim.digest != *digest {
        return Err(unknown(format!(
            "{tag} was claimed with {}, and the registry has {digest}",
            claim.digest
        )));
    }
    Ok(claim.commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_commit_is_taken_from_the_label() {
        let of = |value: &str| commit_of(&[(labels::REVISION.to_owned(), value.to_owned())].into());
        assert_eq!(of(&"a".repeat(40)).map(|commit| commit.to_string()), Some("a".repeat(40)));
        assert_eq!(of("main"), None);
        assert_eq!(commit_of(&BTreeMap::new()), None);
    }
}
