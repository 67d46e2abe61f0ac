//! What a plan rests on, read in the protocol's order: the head and its claims, THEN the registry's tags,
//! THEN the Git tags.
//!
//! The order is part of the protocol: whatever a concurrent run claims after the head was read makes this
//! run's compare-and-swap fail, so that a version seen too early or too late can never be claimed.

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use semver::Version;

use crate::failure::{Failure, FailureKind};
use crate::ports::{Ancestry, Forge, GitRef, Registry, TagListing};
use crate::versioning::claim::{Claim, ClaimKind, RecordedClaim};
use crate::versioning::conventional;
use crate::versioning::form::Reading;
use crate::versioning::plan::{CommitStatus, RegistryVersions, Survey, VersionSelector};
use crate::versioning::tag::{TagPrefix, highest_stable, is_stable, version_of};
use autotag_base::CallResult;
use autotag_model::git::{ObjectId, RefName};
use autotag_model::help::Topic;

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct SurveyScope<'a> {
    /// The commit of this run.
    pub commit: &'a ObjectId,
    /// The prefix of its tags.
    pub prefix: &'a TagPrefix,
    /// Where the claims begin.
    pub claim_ref: &'a RefName,
    /// How the version is chosen; decides which tags are looked at closely.
    pub selector: &'a VersionSelector,
}

/// Reads everything. A listing that fails is a failure; nothing is ever taken for empty that was not said
/// to be.
pub async fn read(
    forge: &impl Forge,
    registry: &impl Registry,
    question: SurveyScope<'_>,
) -> Result<Survey, Failure> {
    let head = head(forge, question.claim_ref).await?;
    if let Some(head) = &head
        && head.claim.prefix != question.prefix.to_string()
    {
        let why = format!("it is of the prefix {}, and this run has {}", head.claim.prefix, question.prefix);
        return Err(Failure::new(
            FailureKind::Conflict,
            format!("reading the claims at {}", question.claim_ref),
            why,
            "give each `tag-prefix` a `claim-ref` of its own",
        ));
    }
    let standing = match &head {
        None => CommitStatus::New { other_tips: Vec::new() },
        Some(head) => standing(forge, head, question.commit).await?,
    };
    let registry = registry_versions(registry).await?;
    // Whoever claims first sees the tags of every form, so as not to pass any over.
    let is_first =
        head.is_none() && matches!(question.selector, VersionSelector::Bump(_) | VersionSelector::Auto);
    let tags = forge.list_tags(if is_first { "" } else { question.prefix.as_str() }).await?;
    let git_others = if is_first { others_among(&tags, question.prefix) } else { Vec::new() };
    let tags = versions_among(tags, question.prefix);
    let mut survey = Survey {
        commit: question.commit.clone(),
        git: tags.keys().cloned().collect(),
        git_others,
        tagged_here: Vec::new(),
        asked_by_commits: None,
        unread: Vec::new(),
        head,
        standing,
        registry,
    };
    if matches!(survey.standing, CommitStatus::New { .. }) {
        nothing_blocks(forge, question.prefix).await?;
        survey.tagged_here = tagged_here(forge, &survey, &tags, question).await?;
        if *question.selector == VersionSelector::Auto {
            let messages = messages_since(forge, &survey, &tags).await?;
            if let Some((highest, messages)) = messages {
                let all = || messages.iter().map(String::as_str);
                survey.asked_by_commits = Some(conventional::level_of(all(), highest.major));
                survey.unread = conventional::unread(all());
            }
        }
    }
    Ok(survey)
}

/// Git keeps refs in files and directories: beside a tag `api` there is no place for a tag `api/v1.2.3`.
async fn nothing_blocks(forge: &impl Forge, prefix: &TagPrefix) -> Result<(), Failure> {
    for tag in prefix.blocking_tags() {
        let Ok(name) = RefName::tag(tag) else { continue };
        if forge.read_ref(&name).await?.is_some() {
            let wanted = prefix.tag_of(&Version::new(1, 2, 3));
            return Err(Failure::new(
                FailureKind::Conflict,
                "choosing the version",
                format!("the Git tag {tag} exists, and beside it Git can hold no tag such as {wanted}"),
                format!(
                    "delete or rename the tag {tag}, or choose a `tag-prefix` that does not begin with {tag}/"
                ),
            )
            .about(Topic::TagTaken));
        }
    }
    Ok(())
}

/// The newest claim.
pub async fn head(forge: &impl Forge, claim_ref: &RefName) -> Result<Option<RecordedClaim>, Failure> {
    match forge.read_ref(claim_ref).await? {
        None => Ok(None),
        Some(found) => claim_at(forge, &found.target).await.map(Some),
    }
}

/// The claim in a tag object.
pub async fn claim_at(forge: &impl Forge, id: &ObjectId) -> Result<RecordedClaim, Failure> {
    let broken = |why: String| broken_chain(id, why);
    let Some(object) = forge.tag_object(id).await? else {
        return Err(broken("the tag object is gone".to_owned()));
    };
    let claim = Claim::parse(&object.message).map_err(|error| broken(error.to_string()))?;
    if object.target != claim.commit {
        return Err(broken(format!("it says commit {}, but tags {}", claim.commit, object.target)));
    }
    Ok(RecordedClaim { id: id.clone(), claim })
}

/// One step back along the chain: the claim that `previous` names, if there is one.
pub async fn claim_before(
    forge: &impl Forge,
    previous: Option<&ObjectId>,
) -> Result<Option<RecordedClaim>, Failure> {
    match previous {
        Some(id) => claim_at(forge, id).await.map(Some),
        None => Ok(None),
    }
}

fn broken_chain(id: &ObjectId, why: String) -> Failure {
    Failure::new(
        FailureKind::Conflict,
        format!("reading the claim {id}"),
        why,
        "somebody changed the claims manually; restore the ref and the tags that were deleted, or choose a fresh `claim-ref` and a `version` above all that exist",
    )
}

/// Comparisons asked for at once.
const SIDE_BY_SIDE: usize = 6;

/// How the commit stands to the claims. One comparison a tip where it is new; only where it is not, the
/// chain is walked back to the last claim that the commit contains.
async fn standing(
    forge: &impl Forge,
    head: &RecordedClaim,
    commit: &ObjectId,
) -> Result<CommitStatus, Failure> {
    let mut relations = BTreeMap::new();
    let mut other_tips = Vec::new();
    let mut is_new = true;
    // Side by side: a branch that was never merged leaves its tip for good.
    let tips = futures_util::stream::iter(&head.claim.tips)
        .map(|tip| async move {
            let known = tip.commit == *commit;
            Ok(if known { Ancestry::Identical } else { forge.compare(&tip.commit, commit).await? })
        })
        .buffered(SIDE_BY_SIDE)
        .collect::<Vec<CallResult<Ancestry>>>()
        .await;
    for (tip, relation) in head.claim.tips.iter().zip(tips) {
        let relation = relation?;
        relations.insert(tip.commit.clone(), relation);
        match relation {
            // The tip is an ancestor of this commit, which will be the tip in its place.
            Ancestry::Ahead => {}
            Ancestry::Diverged => other_tips.push(tip.clone()),
            Ancestry::Behind | Ancestry::Identical => is_new = false,
        }
    }
    if is_new {
        return Ok(CommitStatus::New { other_tips });
    }
    walk(forge, head, commit, &mut relations).await
}

async fn walk(
    forge: &impl Forge,
    head: &RecordedClaim,
    commit: &ObjectId,
    relations: &mut BTreeMap<ObjectId, Ancestry>,
) -> Result<CommitStatus, Failure> {
    let (mut mine, mut newer) = (Vec::new(), Vec::new());
    let mut by = None;
    let mut next = Some(head.clone());
    while let Some(known) = next {
        let takes_version = known.claim.kind == ClaimKind::Version;
        let previous = known.claim.previous.clone();
        if known.claim.commit == *commit {
            mine.push(known);
            // Further images of this commit were claimed after its version, so none is left behind it.
            if takes_version {
                break;
            }
        } else {
            let relation = relation(forge, relations, &known.claim.commit, commit).await?;
            // A version claim of an ancestor is older than anything of this commit: had this commit been
            // claimed before it, that ancestor would have been superseded. An image claim says nothing, since
            // one may be added to an old version at any time.
            if takes_version && relation == Ancestry::Ahead {
                break;
            }
            if relation == Ancestry::Behind && by.is_none() {
                by = Some(Box::new(known.clone()));
            }
            newer.push(known);
        }
        next = claim_before(forge, previous.as_ref()).await?;
    }
    match by {
        _ if !mine.is_empty() => Ok(CommitStatus::Claimed { mine, newer }),
        Some(by) => Ok(CommitStatus::Older { by, newer }),
        None => Err(broken_chain(&head.id, "its tips name a newer commit that no claim has".to_owned())),
    }
}

async fn relation(
    forge: &impl Forge,
    known: &mut BTreeMap<ObjectId, Ancestry>,
    base: &ObjectId,
    commit: &ObjectId,
) -> Result<Ancestry, Failure> {
    if base == commit {
        return Ok(Ancestry::Identical);
    }
    if let Some(relation) = known.get(base) {
        return Ok(*relation);
    }
    let relation = forge.compare(base, commit).await?;
    known.insert(base.clone(), relation);
    Ok(relation)
}

/// The versions among the registry's tags.
pub async fn registry_versions(registry: &impl Registry) -> Result<RegistryVersions, Failure> {
    Ok(match registry.list_tags().await? {
        TagListing::Tags(tags) => {
            let versions = tags.iter().filter_map(|tag| version_of(tag)).collect();
            let (held, rest): (Vec<_>, Vec<_>) = tags.into_iter().partition(|tag| tag.starts_with("sha-"));
            let other = |tag: &String| version_of(tag).is_none() && Reading::of(tag).is_some();
            let others = rest.into_iter().filter(other).collect();
            RegistryVersions::Known { versions, held: held.into_iter().collect(), others }
        }
        TagListing::NoRepository => RegistryVersions::NoRepository,
        TagListing::Withheld(words) => RegistryVersions::Withheld(words),
    })
}

fn versions_among(tags: Vec<GitRef>, prefix: &TagPrefix) -> BTreeMap<Version, GitRef> {
    let named = tags.into_iter().filter_map(|tag| {
        let name = tag.name.as_str().strip_prefix("refs/tags/")?;
        Some((prefix.version_of(name)?, tag))
    });
    named.collect()
}

/// Tags that read like versions and are none of the prefix.
fn others_among(tags: &[GitRef], prefix: &TagPrefix) -> Vec<String> {
    let names = tags.iter().filter_map(|tag| tag.name.as_str().strip_prefix("refs/tags/"));
    let others = names.filter(|name| prefix.version_of(name).is_none() && Reading::of(name).is_some());
    others.map(ToOwned::to_owned).collect()
}

/// Which of the tags that matter point at this commit: the highest one above all claims, and the one that
/// was pushed or asked for.
async fn tagged_here(
    forge: &impl Forge,
    survey: &Survey,
    tags: &BTreeMap<Version, GitRef>,
    question: SurveyScope<'_>,
) -> Result<Vec<Version>, Failure> {
    let claimed = survey.highest_claimed();
    let mut candidates: Vec<&Version> = highest_stable(tags.keys())
        .filter(|highest| highest.build.is_empty())
        .filter(|highest| claimed.is_none_or(|claimed| highest.cmp_precedence(claimed).is_gt()))
        .into_iter()
        .collect();
    let mut pushed = None;
    match question.selector {
        VersionSelector::Exactly(version) => {
            candidates.extend(tags.get_key_value(version).map(|(version, _)| version));
        }
        // A list may lag behind the push that started this run; the ref by its name does not.
        VersionSelector::PushedTag(version) => pushed = Some(version),
        VersionSelector::Bump(_) | VersionSelector::Auto => {}
    }
    // What somebody marked as a prerelease is taken up only by its name.
    let asked_for = matches!(question.selector, VersionSelector::Exactly(_));
    let mut here = Vec::new();
    for version in candidates {
        if let Some(tag) = tags.get(version)
            && commit_of(forge, tag).await?.as_ref() == Some(question.commit)
            && (asked_for || !is_prerelease(forge, &question.prefix.tag_of(version)).await?)
        {
            here.push(version.clone());
        }
    }
    if let Some(version) = pushed
        && let Ok(name) = question.prefix.ref_of(version)
        && let Some(tag) = forge.read_ref(&name).await?
        && commit_of(forge, &tag).await?.as_ref() == Some(question.commit)
    {
        here.push(version.clone());
    }
    Ok(here)
}

/// Whether GitHub's release of a tag is marked as a prerelease, whatever its number says.
pub async fn is_prerelease(forge: &impl Forge, tag: &str) -> Result<bool, Failure> {
    Ok(forge.release_of(tag).await?.is_some_and(|release| release.prerelease))
}

/// The commit that a tag means, tags of tags followed; `None` where it is no commit.
pub(super) async fn commit_of(forge: &impl Forge, tag: &GitRef) -> Result<Option<ObjectId>, Failure> {
    /// Git itself has no limit; nobody nests tags deeper by anything but mischief.
    const DEPTH: usize = 5;
    if !tag.annotated {
        return Ok(Some(tag.target.clone()));
    }
    let mut id = tag.target.clone();
    for _ in 0..DEPTH {
        match forge.tag_object(&id).await? {
            Some(object) if object.targets_commit => return Ok(Some(object.target)),
            Some(object) => id = object.target,
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// The highest version, and the messages of the commits since. Where that version has no Git tag (the registry is
/// ahead), since the highest that has one.
async fn messages_since(
    forge: &impl Forge,
    survey: &Survey,
    tags: &BTreeMap<Version, GitRef>,
) -> Result<Option<(Version, Vec<String>)>, Failure> {
    let Some(highest) = survey.highest() else { return Ok(None) };
    // The newest claim may be an image's that joined an old version; its commit says nothing then.
    let claimed = survey.head.as_ref().map(|head| &head.claim).filter(|claim| claim.version == claim.highest);
    let tagged = tags.iter().rev().find(|(version, _)| is_stable(version));
    let base = match (claimed, tagged) {
        (Some(claim), Some((version, _))) if claim.version.cmp_precedence(version).is_ge() => {
            Some(claim.commit.clone())
        }
        (_, Some((_, tag))) => commit_of(forge, tag).await?,
        (Some(claim), None) => Some(claim.commit.clone()),
        (None, None) => None,
    };
    let Some(base) = base else { return Ok(None) };
    let messages = forge.messages_between(&base, &survey.commit).await?;
    Ok(Some((highest.clone(), messages)))
}
