//! Latest: the tag `latest` ends at the highest version that is published, whoever runs last.

use semver::Version;

use super::{stage, survey};
use crate::failure::{Failure, FailureKind};
use crate::ports::{Forge, Manifest, ManifestName, Registry};
use crate::versioning::claim::{ClaimKind, RecordedClaim};
use crate::versioning::plan::RegistryVersions;
use crate::versioning::tag::{highest_stable, image_tag_of};
use autotag_base::{CallError, CallErrorKind};
use autotag_model::git::RefName;
use autotag_model::help::Topic;
use autotag_model::reference::{Digest, ImageName, ImageTag};

/// Where `latest` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Latest {
    /// It was moved to this version.
    Moved(Version),
    /// It was at this version already.
    Already(Version),
    /// It names a version above every claim, which no claim made; it was left alone.
    Foreign(Version),
    /// No claim is published: there is nothing it could name.
    Nothing,
    /// The registry does not let it be moved; its words.
    Refused(Box<CallError>),
}

/// More rounds than runs that could ever meet here; what goes beyond is no race.
const ROUNDS: usize = 20;

/// Moves `latest` until it names the highest published claim.
///
/// `latest` is read BEFORE the claims: whatever it named then has its claim among those read after, so a
/// higher one is never taken for unknown. After each PUT everything is read again, since a higher version
/// may have been published, and `latest` moved, between our look and our PUT; OCI registries know no
/// conditional PUT.
///
/// What `latest` named may be no claim's: then somebody else moved it, and `listed`, which was read before
/// the build, may lack the version that they moved it to.
pub async fn settle(
    forge: &impl Forge,
    registry: &impl Registry,
    image: &ImageName,
    claim_ref: &RefName,
    listed: &RegistryVersions,
) -> Result<Latest, Failure> {
    let mut moved = false;
    for _ in 0..ROUNDS {
        let shown = registry.manifest(&ManifestName::Tag(ImageTag::latest())).await?;
        let Some((HighestPublished { version, manifest }, below)) =
            highest_published(forge, registry, image, claim_ref).await?
        else {
            return Ok(Latest::Nothing);
        };
        let shown = shown.map(|manifest| manifest.digest);
        if shown.as_ref() == Some(&manifest.digest) {
            return Ok(if moved { Latest::Moved(version) } else { Latest::Already(version) });
        }
        if let Some(shown) = &shown {
            let mut foreign = foreign_above(registry, listed, &version, shown).await?;
            if foreign.is_none() && !is_claimed(forge, image, below, shown).await? {
                let now = stage::listed_now(registry).await?;
                foreign = foreign_above(registry, &now, &version, shown).await?;
            }
            if let Some(foreign) = foreign {
                return Ok(Latest::Foreign(foreign));
            }
        }
        match registry.put_manifest(&ImageTag::latest(), &manifest).await {
            Ok(()) => moved = true,
            // A registry without room forbids nothing: `latest` is late, and stays to be moved.
            Err(error) if error.topic == Some(Topic::RegistryFull) => return Err(error.into()),
            Err(error) if matches!(error.kind, CallErrorKind::Rejected | CallErrorKind::Denied) => {
                return Ok(Latest::Refused(Box::new(error)));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(
        FailureKind::Unavailable,
        format!("moving {}", image.with_tag(&ImageTag::latest())),
        format!("it did not stay at the highest version in {ROUNDS} tries"),
        "something else keeps moving `latest`: stop that, or set `latest: false` here",
    ))
}

/// The highest claim of this image whose version tag names what was claimed.
struct HighestPublished {
    version: Version,
    manifest: Manifest,
}

/// Finds it; and the claim that the search ended at, which is below it.
///
/// Versions fall along the chain, but for images that joined an old version: so the walk ends at the
/// first version claim that is not above what was found.
async fn highest_published(
    forge: &impl Forge,
    registry: &impl Registry,
    image: &ImageName,
    claim_ref: &RefName,
) -> Result<Option<(HighestPublished, Option<RecordedClaim>)>, Failure> {
    let mut best: Option<HighestPublished> = None;
    let mut next = survey::head(forge, claim_ref).await?;
    while let Some(RecordedClaim { claim, .. }) = &next {
        let above = best.as_ref().is_none_or(|best| claim.version > best.version);
        if !above && claim.kind == ClaimKind::Version {
            break;
        }
        if above && claim.image == *image {
            let manifest = by_version(registry, &claim.version).await?;
            if let Some(manifest) = manifest.filter(|manifest| manifest.digest == claim.digest) {
                best = Some(HighestPublished { version: claim.version.clone(), manifest });
            }
        }
        next = survey::claim_before(forge, claim.previous.as_ref()).await?;
    }
    Ok(best.map(|best| (best, next)))
}

/// How many claims below the highest one `latest` may have stayed behind before somebody else is suspected,
/// which costs one more list and nothing else.
const BEHIND: usize = 8;

/// Whether one of the claims from here down is of this digest.
async fn is_claimed(
    forge: &impl Forge,
    image: &ImageName,
    mut next: Option<RecordedClaim>,
    shown: &Digest,
) -> Result<bool, Failure> {
    for _ in 0..BEHIND {
        let Some(RecordedClaim { claim, .. }) = next else { break };
        if claim.image == *image && claim.digest == *shown {
            return Ok(true);
        }
        next = survey::claim_before(forge, claim.previous.as_ref()).await?;
    }
    Ok(false)
}

/// A version above all claims that `latest` names: made by hand or by another tool, and higher, so moving
/// `latest` off it would move it back.
async fn foreign_above(
    registry: &impl Registry,
    listed: &RegistryVersions,
    version: &Version,
    shown: &Digest,
) -> Result<Option<Version>, Failure> {
    let above = listed.versions().iter().filter(|other| other.cmp_precedence(version).is_gt());
    let Some(highest) = highest_stable(above) else { return Ok(None) };
    let names = by_version(registry, highest).await?;
    Ok(names.filter(|manifest| manifest.digest == *shown).map(|_| highest.clone()))
}

async fn by_version(registry: &impl Registry, version: &Version) -> Result<Option<Manifest>, Failure> {
    // A version with build metadata is no tag, so nothing can be published under it.
    let Ok(tag) = image_tag_of(version) else { return Ok(None) };
    Ok(registry.manifest(&ManifestName::Tag(tag)).await?)
}
