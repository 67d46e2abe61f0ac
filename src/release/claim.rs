//! Claim: the one step that decides, for all runs at once, whose a version is.
//!
//! One `updateRefs` moves the head ref from the very claim that was read while planning, and creates the
//! version's tag, both or neither. Creating the tag alone would order nothing: a minor and a patch, racing,
//! take different names and never meet. The head is where they meet.

use semver::Version;

use super::stage::Staged;
use crate::failure::{Failure, FailureKind};
use crate::ports::{Forge, RefUpdate, RefsAnswer};
use crate::versioning::claim::{Claim, MAIN_LINE, RecordedClaim};
use crate::versioning::plan::NextVersion;
use crate::versioning::tag::TagPrefix;
use autotag_base::Effect;
use autotag_model::git::{ObjectId, RefName};
use autotag_model::help::{ALLOW_WRITING, Topic};
use autotag_model::reference::ImageName;

/// How a claim went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is ours.
    Won(Box<RecordedClaim>),
    /// Somebody else was faster, or the answer was lost: look again. The tag object that was made, so that
    /// it is known again where the claim took effect after all.
    Contended {
        /// The tag object.
        object: ObjectId,
        /// Why, in words.
        why: String,
        /// Set where it was refused although nothing had moved: what to fail with if that goes on.
        unmoved: Option<Box<Failure>>,
    },
}

/// What is claimed, and where.
#[derive(Debug, Clone, Copy)]
pub struct ClaimRequest<'a> {
    /// The version and the state it rests on.
    pub next: &'a NextVersion,
    /// The commit.
    pub commit: &'a ObjectId,
    /// The image's name.
    pub image: &'a ImageName,
    /// The tag's prefix.
    pub prefix: &'a TagPrefix,
    /// The ref that orders releases.
    pub claim_ref: &'a RefName,
    /// Who claims: the run's address.
    pub run: &'a str,
}

/// Claims the version for an image that is staged.
pub async fn claim(forge: &impl Forge, order: ClaimRequest<'_>, staged: &Staged) -> Result<Claimed, Failure> {
    let tag = order.prefix.tag_of(&order.next.version);
    let claim = write_down(&order, staged);
    let object = forge.create_tag_object(&tag, &claim.message(&tag), order.commit).await?;
    let updates = updates(&order, &object)?;
    let answer = forge.update_refs(&updates).await;
    let look_again = |why: String, unmoved: Option<Failure>| {
        Ok(Claimed::Contended { object: object.clone(), why, unmoved: unmoved.map(Box::new) })
    };
    match answer {
        Ok(RefsAnswer::Applied) => Ok(Claimed::Won(Box::new(RecordedClaim { id: object, claim }))),
        Ok(RefsAnswer::Refused(words)) => {
            if !nothing_moved(forge, &order).await? {
                return look_again(format!("another run claimed first ({words})"), None);
            }
            let failure = forbidden(&order, &tag, words.clone());
            if is_final(&words) {
                return Err(failure);
            }
            look_again(format!("the claim was refused ({words})"), Some(failure))
        }
        Err(error) if error.effect == Effect::Unknown => {
            look_again(format!("the answer to the claim was lost ({})", error.why), None)
        }
        Err(error) => Err(error.into()),
    }
}

fn write_down(order: &ClaimRequest<'_>, staged: &Staged) -> Claim {
    Claim {
        kind: order.next.kind,
        version: order.next.version.clone(),
        highest: order.next.highest.clone(),
        after: order.next.previous.clone(),
        prefix: order.prefix.to_string(),
        commit: order.commit.clone(),
        image: order.image.clone(),
        digest: staged.digest().clone(),
        line: MAIN_LINE.to_owned(),
        previous: order.next.head.clone(),
        tips: order.next.tips.clone(),
        run: order.run.to_owned(),
    }
}

fn updates(order: &ClaimRequest<'_>, object: &ObjectId) -> Result<Vec<RefUpdate>, Failure> {
    let mut updates = vec![RefUpdate {
        name: order.claim_ref.clone(),
        before: order.next.head.clone().unwrap_or_else(ObjectId::zero),
        after: object.clone(),
    }];
    // A tag that is there already, made by hand or by the claim that this image joins, stays as it is. The
    // claim then needs a ref of its own: once the head has moved on nothing else would keep its object.
    let name = if order.next.tag_exists {
        kept_as(order.claim_ref, object)?
    } else {
        tag_ref(order.prefix, &order.next.version)?
    };
    updates.push(RefUpdate { name, before: ObjectId::zero(), after: object.clone() });
    Ok(updates)
}

/// Beside the head: `refs/autotag/v/claims/OBJECT`.
fn kept_as(claim_ref: &RefName, object: &ObjectId) -> Result<RefName, Failure> {
    let directory = claim_ref.as_str().rsplit_once('/').map_or("refs/autotag", |(directory, _)| directory);
    format!("{directory}/claims/{object}").parse().map_err(|error: autotag_model::reference::ParseError| {
        Failure::new(FailureKind::Internal, "naming the claim's ref", error.to_string(), "report a bug")
    })
}

/// How often a tag that is gone is made again before that is given up.
const HOLDS: usize = 3;

/// Makes sure that the version's tag is there and means the claimed commit: GitHub would make a missing one
/// for the release, at the head of the default branch.
pub async fn hold_tag(forge: &impl Forge, prefix: &TagPrefix, known: &RecordedClaim) -> Result<(), Failure> {
    let name = tag_ref(prefix, &known.claim.version)?;
    for _ in 0..HOLDS {
        if let Some(found) = forge.read_ref(&name).await? {
            let commit = super::survey::commit_of(forge, &found).await?;
            if commit.as_ref() == Some(&known.claim.commit) {
                return Ok(());
            }
            return Err(Failure::new(
                FailureKind::Conflict,
                format!("looking at {name}"),
                format!("it does not tag commit {}, which the version was claimed for", known.claim.commit),
                format!(
                    "somebody moved the tag: move it back (`git push --force origin {}:{name}`) and run the \
                     job again",
                    known.claim.commit
                ),
            )
            .about(Topic::TagTaken));
        }
        let again = RefUpdate { name: name.clone(), before: ObjectId::zero(), after: known.id.clone() };
        match forge.update_refs(&[again]).await {
            Ok(RefsAnswer::Applied) => tracing::warn!("{name} was missing: made it again"),
            Ok(RefsAnswer::Refused(words)) => {
                tracing::warn!("{name} is missing and was not made again: {words}");
            }
            Err(error) if error.effect == Effect::Unknown => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::new(
        FailureKind::Denied,
        format!("making {name} again"),
        "somebody deleted the tag, and GitHub refuses to have it made again",
        format!("push the tag at commit {} manually and run the job again", known.claim.commit),
    )
    .about(Topic::Ruleset))
}

fn tag_ref(prefix: &TagPrefix, version: &Version) -> Result<RefName, Failure> {
    prefix.ref_of(version).map_err(|error| {
        Failure::new(FailureKind::Internal, "naming the tag", error.to_string(), "report a bug")
    })
}

/// Whether GitHub will say the same again. Its words for refusals of `updateRefs` are not documented; those
/// of rules and permissions are known, and whatever else it says is asked for again a few times.
fn is_final(words: &str) -> bool {
    let words = words.to_lowercase();
    ["rule violation", "not accessible", "doesn't exist on type", "protected", "permission", "not authorized"]
        .iter()
        .any(|known| words.contains(known))
}

/// Whether somebody has claimed since the head was read.
pub async fn has_moved(
    forge: &impl Forge,
    claim_ref: &RefName,
    seen: Option<&ObjectId>,
) -> Result<bool, Failure> {
    let head = forge.read_ref(claim_ref).await?;
    Ok(head.as_ref().map(|found| &found.target) != seen)
}

/// Whether a refusal was for no race: head and tag are as they were when the claim was sent.
async fn nothing_moved(forge: &impl Forge, order: &ClaimRequest<'_>) -> Result<bool, Failure> {
    let moved = has_moved(forge, order.claim_ref, order.next.head.as_ref()).await?;
    let tag = forge.read_ref(&tag_ref(order.prefix, &order.next.version)?).await?;
    Ok(!moved && tag.is_some() == order.next.tag_exists)
}

fn forbidden(order: &ClaimRequest<'_>, tag: &str, words: String) -> Failure {
    let what = format!("claiming {tag} (refs {} and refs/tags/{tag})", order.claim_ref);
    let known = words.to_lowercase();
    let (remedy, topic) = if known.contains("doesn't exist on type") {
        let remedy =
            "update the server to GitHub Enterprise Server 3.16 or newer: claims need its `updateRefs`";
        (remedy.to_owned(), Topic::GitHubTooOld)
    } else if !["rule", "protected"].iter().any(|word| known.contains(word))
        && ["not accessible", "permission", "not authorized"].iter().any(|word| known.contains(word))
    {
        (ALLOW_WRITING.to_owned(), Topic::MayNotWrite)
    } else {
        let remedy = format!(
            "let a GitHub App bypass the ruleset that covers {tag}, and pass that App's token as \
             `github-token`; \
             if only {} is forbidden, choose another ref with `claim-ref`, permanently",
            order.claim_ref
        );
        (remedy, Topic::Ruleset)
    };
    Failure::new(FailureKind::Denied, what, words, remedy).about(topic)
}
