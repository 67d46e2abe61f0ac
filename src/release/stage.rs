//! Stage: the image goes into the registry under a name that nobody else uses, before any version is
//! claimed for it. A claim can then always be fulfilled, by whoever finds it.

use crate::failure::{Failure, FailureKind};
use crate::ports::{BuildLog, Builder, Manifest, ManifestName, Registry};
use crate::versioning::plan::RegistryVersions;
use autotag_model::git::ObjectId;
use autotag_model::help::Topic;
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_model::secret::Credentials;

/// An image that is in the registry, all layers included: what a claim may name.
///
/// Only this module makes one, so a claim of something that was never pushed cannot be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    digest: Digest,
    tag: Option<ImageTag>,
}

impl Staged {
    /// The manifest's digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The tag that holds it; none for an image that was built elsewhere.
    pub fn tag(&self) -> Option<&ImageTag> {
        self.tag.as_ref()
    }
}

/// `sha-<12 of the commit>-<12 of the digest>`.
///
/// The commit's digits tell people where an image comes from; the digest's make the name that of these
/// bytes alone, so that two builds of one commit never fight for it and a registry with immutable tags
/// has nothing to refuse.
pub fn tag_for(commit: &ObjectId, digest: &Digest) -> Result<ImageTag, Failure> {
    format!("sha-{}-{}", commit.short(), digest.short()).parse().map_err(|error| {
        Failure::new(FailureKind::Internal, "naming the staged image", format!("{error}"), "report a bug")
    })
}

/// Pushes an image that was built here.
///
/// The manifest's digest is known only after Docker has pushed, and Docker pushes under a tag only. So the
/// push goes under the image id's digits, and the manifest is then named by its own. With Docker's
/// containerd image store the two are the same, and so is the tag.
pub async fn push(
    builder: &impl Builder,
    registry: &impl Registry,
    image: &Digest,
    order: PushOrder<'_>,
    log: &mut dyn BuildLog,
) -> Result<Staged, Failure> {
    let pushed_as = tag_for(order.commit, image)?;
    let digest = builder.push(image, order.name, &pushed_as, order.credentials, log).await?;
    let manifest = by_digest(registry, order.name, &digest).await?;
    let tag = tag_for(order.commit, &digest)?;
    if tag != pushed_as {
        registry.put_manifest(&tag, &manifest).await?;
    }
    Ok(Staged { digest, tag: Some(tag) })
}

/// Where to push to.
#[derive(Debug, Clone, Copy)]
pub struct PushOrder<'a> {
    /// The image's name.
    pub name: &'a ImageName,
    /// The commit it was built from.
    pub commit: &'a ObjectId,
    /// For the registry.
    pub credentials: Option<&'a Credentials>,
}

/// Takes an image that somebody else built and pushed, once it is seen to be there.
pub async fn adopt(registry: &impl Registry, name: &ImageName, digest: &Digest) -> Result<Staged, Failure> {
    by_digest(registry, name, digest).await?;
    Ok(Staged { digest: digest.clone(), tag: None })
}

async fn by_digest(registry: &impl Registry, name: &ImageName, digest: &Digest) -> Result<Manifest, Failure> {
    registry.manifest(&ManifestName::Digest(digest.clone())).await?.ok_or_else(|| {
        Failure::new(
            FailureKind::Conflict,
            format!("looking for {}", name.with_digest(digest)),
            "the registry has no such manifest",
            "push the image to this very repository first; `image-digest` is the digest that the push \
             printed",
        )
        .about(Topic::NoImage)
    })
}

/// Asks again for the list that the registry withheld while planning.
///
/// A repository that did not exist then exists now that something was pushed, so a second refusal means
/// that its versions are kept from us: claiming one would be a guess. `None`: the list is as it was.
pub async fn settle(
    registry: &impl Registry,
    seen: &RegistryVersions,
) -> Result<Option<RegistryVersions>, Failure> {
    if !matches!(seen, RegistryVersions::Withheld(_)) {
        return Ok(None);
    }
    listed_now(registry).await.map(Some)
}

/// The registry's tags once something is known to be there: a list that is withheld then is a failure.
pub async fn listed_now(registry: &impl Registry) -> Result<RegistryVersions, Failure> {
    match super::survey::registry_versions(registry).await? {
        RegistryVersions::Withheld(words) => Err(Failure::new(
            FailureKind::Denied,
            "listing the registry's tags",
            format!("refused although the image's repository exists: {words}"),
            "give the account of `registry-username` the right to read (pull) the repository as well as to \
             write it",
        )
        .about(Topic::RegistryLogin)),
        listed => Ok(listed),
    }
}
