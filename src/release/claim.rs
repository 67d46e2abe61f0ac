//! Claim: the one step that decides, for all runs at once, whose a version is.
//!
//! One `updateRefs` moves the head ref from the very claim that was read while planning, and creates the
//! version's tag, both or neither. Creating the tag alone would order nothing: a minor and a patch, racing,
//! take different names and never meet. The head is where they meet.

use super::stage::Staged;
use crate::failure::{Failure, Kind as FailureKind};
use crate::image::reference::ImageName;
use crate::version::claim::{Claim, Known, MAIN_LINE};
use crate::version::git::{ObjectId, RefName};
use crate::version::plan::Next;
use crate::version::tag::TagPrefix;
use crate::world::{Effect, Forge, RefUpdate, RefsAnswer};

/// How a claim went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// It is ours.
    Won(Box<Known>),
    /// Somebody else was faster, or the answer was lost: look again. The tag object that was made, so that
    /// it is known again where the claim took effect after all.
    LookAgain {
        /// The tag object.
        object: ObjectId,
        /// Why, in words.
        why: String,
    },
}

/// What is claimed, and where.
#[derive(Debug, Clone, Copy)]
pub struct ClaimOrder<'a> {
    /// The version and the state it rests on.
    pub next: &'a Next,
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
pub async fn claim(forge: &impl Forge, order: ClaimOrder<'_>, staged: &Staged) -> Result<Claimed, Failure> {
    let tag = order.prefix.tag_of(&order.next.version);
    let claim = write_down(&order, staged);
    let object = forge.create_tag_object(&tag, &claim.message(&tag), order.commit).await?;
    let updates = updates(&order, &object)?;
    let answer = forge.update_refs(&updates).await;
    let look_again = |why: String| Claimed::LookAgain { object: object.clone(), why };
    match answer {
        Ok(RefsAnswer::Applied) => Ok(Claimed::Won(Box::new(Known { id: object, claim }))),
        Ok(RefsAnswer::Refused(words)) => {
            if nothing_moved(forge, &order).await? {
                return Err(forbidden(&order, &tag, words));
            }
            Ok(look_again(format!("another run claimed first ({words})")))
        }
        Err(trouble) if trouble.effect == Effect::Unknown => {
            Ok(look_again(format!("the answer to the claim was lost ({})", trouble.why)))
        }
        Err(trouble) => Err(trouble.into()),
    }
}

fn write_down(order: &ClaimOrder<'_>, staged: &Staged) -> Claim {
    Claim {
        kind: order.next.kind,
        version: order.next.version.clone(),
        highest: order.next.highest.clone(),
        after: order.next.previous.clone(),
        commit: order.commit.clone(),
        image: order.image.clone(),
        digest: staged.digest().clone(),
        line: MAIN_LINE.to_owned(),
        previous: order.next.head.clone(),
        tips: order.next.tips.clone(),
        run: order.run.to_owned(),
    }
}

fn updates(order: &ClaimOrder<'_>, object: &ObjectId) -> Result<Vec<RefUpdate>, Failure> {
    let mut updates = vec![RefUpdate {
        name: order.claim_ref.clone(),
        before: order.next.head.clone().unwrap_or_else(ObjectId::zero),
        after: object.clone(),
    }];
    // A tag that is there already, made by hand or by the claim that this image joins, stays as it is.
    if !order.next.tag_exists {
        updates.push(RefUpdate { name: tag_ref(order)?, before: ObjectId::zero(), after: object.clone() });
    }
    Ok(updates)
}

fn tag_ref(order: &ClaimOrder<'_>) -> Result<RefName, Failure> {
    order.prefix.ref_of(&order.next.version).map_err(|error| {
        Failure::new(FailureKind::Internal, "naming the tag", error.to_string(), "report this as a defect")
    })
}

/// Whether a refusal was for no race: head and tag are as they were when the claim was sent.
async fn nothing_moved(forge: &impl Forge, order: &ClaimOrder<'_>) -> Result<bool, Failure> {
    let head = forge.read_ref(order.claim_ref).await?.map(|found| found.target);
    let tag = forge.read_ref(&tag_ref(order)?).await?;
    Ok(head == order.next.head && tag.is_some() == order.next.tag_exists)
}

fn forbidden(order: &ClaimOrder<'_>, tag: &str, words: String) -> Failure {
    let what = format!("claiming {tag} (refs {} and refs/tags/{tag})", order.claim_ref);
    if words.contains("doesn't exist on type") {
        let remedy = "this GitHub server is too old: `updateRefs` came with GitHub Enterprise Server 3.16";
        return Failure::new(FailureKind::Denied, what, words, remedy);
    }
    Failure::new(
        FailureKind::Denied,
        what,
        words,
        format!(
            "give the job `permissions: contents: write`; where a ruleset keeps the workflow's token from creating tags, pass an App's token as `github-token`; where it forbids the ref {}, choose another by `claim-ref`",
            order.claim_ref
        ),
    )
}
