//! Publish: the claimed manifest gets the version's tag, byte for byte what was claimed.

use crate::failure::{Failure, FailureKind};
use crate::ports::{Manifest, ManifestName, Registry};
use crate::versioning::claim::{Claim, RecordedClaim};
use crate::versioning::plan::RegistryVersions;
use crate::versioning::tag::image_tag_of;
use autotag_model::help::Topic;
use autotag_model::reference::{Digest, ImageName, ImageTag};

/// What publishing did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The tag was set.
    Now,
    /// It was there, with the claimed digest.
    Already,
}

/// Puts the claimed manifest under its version, reads it back, and compares.
///
/// A tag that names something else is never overwritten: it is a conflict for a person to settle.
pub async fn publish(registry: &impl Registry, claim: &Claim) -> Result<Published, Failure> {
    let tag = version_tag(claim)?;
    if let Some(there) = registry.manifest(&ManifestName::Tag(tag.clone())).await? {
        return if there.digest == claim.digest {
            Ok(Published::Already)
        } else {
            Err(taken(claim, &tag, &there.digest))
        };
    }
    let Some(manifest) = claimed_manifest(registry, claim).await? else {
        return Err(Failure::new(
            FailureKind::Conflict,
            format!("publishing {}", claim.image.with_tag(&tag)),
            format!("the claimed image {} is not in the registry any more", claim.digest),
            "push that very image again if you have it; else release the next commit, which gets the next \
             version",
        )
        .about(Topic::NoImage));
    };
    registry.put_manifest(&tag, &manifest).await?;
    read_back(registry, claim, &tag).await
}

/// Before the claim: a version tag that names another image could never be published.
pub async fn free(
    registry: &impl Registry,
    image: &ImageName,
    version: &semver::Version,
    digest: &Digest,
) -> Result<(), Failure> {
    let Ok(tag) = image_tag_of(version) else { return Ok(()) };
    match registry.manifest(&ManifestName::Tag(tag.clone())).await? {
        Some(there) if there.digest != *digest => Err(Failure::new(
            FailureKind::Conflict,
            format!("claiming {}", image.with_tag(&tag)),
            format!("the tag exists and names {}, not {digest}; nothing was claimed", there.digest),
            "choose a higher `version`, or remove that tag from the registry and run the job again",
        )
        .about(Topic::ImageTagTaken)),
        _ => Ok(()),
    }
}

async fn read_back(registry: &impl Registry, claim: &Claim, tag: &ImageTag) -> Result<Published, Failure> {
    match registry.manifest(&ManifestName::Tag(tag.clone())).await? {
        Some(there) if there.digest == claim.digest => Ok(Published::Now),
        Some(there) => Err(taken(claim, tag, &there.digest)),
        None => Err(Failure::new(
            FailureKind::Unavailable,
            format!("reading back {}", claim.image.with_tag(tag)),
            "the registry accepted the tag and does not have it",
            "run the job again: it continues from here; if this continues, the registry or a proxy in front \
             of it loses writes",
        )),
    }
}

fn taken(claim: &Claim, tag: &ImageTag, there: &Digest) -> Failure {
    Failure::new(
        FailureKind::Conflict,
        format!("publishing {}", claim.image.with_tag(tag)),
        format!("the tag exists and names {there}, not the claimed {}; it was left as it is", claim.digest),
        "somebody pushed this tag manually or with another tool: release the next commit, or remove that \
         tag from the registry and run the job again",
    )
    .about(Topic::ImageTagTaken)
}

/// The claimed manifest by its digest, if it is still there.
async fn claimed_manifest(registry: &impl Registry, claim: &Claim) -> Result<Option<Manifest>, Failure> {
    Ok(registry.manifest(&ManifestName::Digest(claim.digest.clone())).await?)
}

fn version_tag(claim: &Claim) -> Result<ImageTag, Failure> {
    image_tag_of(&claim.version).map_err(|error| {
        Failure::new(FailureKind::Internal, "naming the image's tag", error.to_string(), "report a bug")
    })
}

/// What helping did, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Help {
    /// A version that its own run had left unpublished is published.
    Published(String),
    /// It could not be: the image is gone, or the tag names another.
    Left(String),
}

/// Publishes what newer runs claimed and left: a run that finds itself superseded owes its place to them,
/// and they may have died. Only versions that the registry's list lacks are looked at.
pub async fn help(
    registry: &impl Registry,
    image: &ImageName,
    newer: &[RecordedClaim],
    listed: &RegistryVersions,
) -> Result<Vec<Help>, Failure> {
    let mut helped = Vec::new();
    for RecordedClaim { claim, .. } in newer {
        if claim.image != *image || listed.versions().contains(&claim.version) {
            continue;
        }
        match publish(registry, claim).await {
            Ok(Published::Now) => helped.push(Help::Published(claim.version.to_string())),
            Ok(Published::Already) => {}
            // Somebody cleaned up, or took the tag: nothing that this run could mend.
            Err(failure) if failure.kind == FailureKind::Conflict => {
                helped.push(Help::Left(failure.to_string()));
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(helped)
}
