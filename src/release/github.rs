//! Release: the page on GitHub, and which one GitHub shows as Latest.

use semver::Version;

use super::notes::{self, Block};
use super::survey;
use crate::failure::{Failure, FailureKind};
use crate::inputs::request::ReleaseSettings;
use crate::ports::{Forge, NewRelease, Release, ReleaseEdit};
use crate::versioning::claim::{Claim, ClaimKind, RecordedClaim};
use crate::versioning::tag::{TagPrefix, is_stable};
use autotag_base::{CallErrorKind, CallResult, Effect};
use autotag_model::git::RefName;

/// What the release is made from.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseFacts<'a> {
    /// The claim that is released.
    pub claim: &'a Claim,
    /// The prefix of its tag.
    pub prefix: &'a TagPrefix,
    /// What the user wants of it.
    pub settings: &'a ReleaseSettings,
    /// The Git tags' versions: a previous version without a tag cannot be compared with.
    pub tagged: &'a [Version],
    /// Where the claims begin: other images of the version are found there.
    pub claim_ref: &'a RefName,
    /// The repository's page.
    pub repository_url: &'a str,
}

/// A second run of the same commit, an edit by hand, another image's block: each costs a round at most.
const ROUNDS: usize = 6;

/// Creates the release, or brings our blocks in its text up to date.
///
/// Every run writes the blocks of all images that have joined the version, read anew in each round: GitHub
/// knows no conditional edit, so the run of another image may have its block overwritten by one that read
/// the text before. Whoever writes last has read the claims after that, and puts it back.
pub async fn release(forge: &impl Forge, facts: ReleaseFacts<'_>) -> Result<Release, Failure> {
    let tag = facts.prefix.tag_of(&facts.claim.version);
    for _ in 0..ROUNDS {
        let images = images(forge, &facts).await?;
        let Some(found) = find(forge, &tag).await? else {
            match forge.create_release(&new_release(forge, &facts, &images, &tag).await?).await {
                Ok(release) => {
                    warn_of_second_draft(forge, &release).await?;
                    return Ok(release);
                }
                // Another run made it, or ours was made and the answer lost: look again. What is refused
                // for another reason is still absent then.
                Err(error) if error.effect == Effect::Unknown => {
                    tracing::warn!("{error}; looking whether the release is there");
                    continue;
                }
                Err(error) if error.kind == CallErrorKind::Rejected => {
                    if find(forge, &tag).await?.is_none() {
                        return Err(error.into());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
        };
        let body = with_blocks(&facts, &images, &tag, &found.body);
        if same_text(&body, &found.body) {
            return Ok(found);
        }
        // GitHub may take an edit for "this one is the latest" unless it is told; so it is told what is.
        let is_latest = !found.draft && forge.shown_as_latest().await?.as_deref() == Some(tag.as_str());
        let edit = ReleaseEdit { body: Some(body), make_latest: Some(is_latest) };
        // Written, then read again: another image's run may have written in between.
        forge.edit_release(found.id, &edit).await?;
    }
    Err(unsettled(format!("writing the release {tag}")))
}

/// GitHub stores line breaks as it gets them from its own editor, CR LF.
fn same_text(a: &str, b: &str) -> bool {
    a.replace("\r\n", "\n") == b.replace("\r\n", "\n")
}

fn unsettled(what: String) -> Failure {
    Failure::new(
        FailureKind::Unavailable,
        what,
        format!("it did not stay as written in {ROUNDS} tries"),
        "something else keeps changing it: stop that and run the job again",
    )
}

/// A published release by its tag, else a draft. By name: a list grows with the releases, and GitHub ends it
/// after some thousands.
async fn find(forge: &impl Forge, tag: &str) -> CallResult<Option<Release>> {
    match forge.release_of(tag).await? {
        Some(release) => Ok(Some(release)),
        None => forge.draft_of(tag).await,
    }
}

/// The claims of this version, oldest first: the one that took it, and one for each image that joined.
async fn images(forge: &impl Forge, facts: &ReleaseFacts<'_>) -> Result<Vec<Claim>, Failure> {
    let mut claims = Vec::new();
    let mut next = survey::head(forge, facts.claim_ref).await?;
    while let Some(RecordedClaim { claim, .. }) = next {
        let previous = claim.previous.clone();
        if claim.version == facts.claim.version {
            let takes_version = claim.kind == ClaimKind::Version;
            claims.push(claim);
            if takes_version {
                break;
            }
        }
        next = survey::claim_before(forge, previous.as_ref()).await?;
    }
    claims.reverse();
    Ok(claims)
}

/// GitHub lets two runs make two drafts for one tag. Neither is published, so a person may choose. Asked for by
/// its tag, the draft is the first one: whoever made another sees it.
async fn warn_of_second_draft(forge: &impl Forge, made: &Release) -> CallResult<()> {
    if made.draft && forge.draft_of(&made.tag).await?.is_some_and(|first| first.id != made.id) {
        tracing::warn!("another run made a draft of {} at the same time: delete one of them", made.tag);
    }
    Ok(())
}

async fn new_release(
    forge: &impl Forge,
    facts: &ReleaseFacts<'_>,
    images: &[Claim],
    tag: &str,
) -> CallResult<NewRelease> {
    let version = &facts.claim.version;
    let text = if let Some(text) = &facts.settings.notes {
        text.clone()
    } else {
        let previous = tagged_before(facts).map(|version| facts.prefix.tag_of(version));
        forge.generate_notes(tag, previous.as_deref()).await?
    };
    Ok(NewRelease {
        tag: tag.to_owned(),
        name: facts.settings.name.replace("{tag}", tag).replace("{version}", &version.to_string()),
        body: with_blocks(facts, images, tag, &text),
        draft: facts.settings.draft,
        // Whether it is the highest is seen afterwards, from the list.
        make_latest: false,
    })
}

fn tagged_before<'a>(facts: &ReleaseFacts<'a>) -> Option<&'a Version> {
    facts.claim.after.as_ref().filter(|version| facts.tagged.contains(version))
}

fn with_blocks(facts: &ReleaseFacts<'_>, images: &[Claim], tag: &str, text: &str) -> String {
    let previous = tagged_before(facts).map(|version| {
        let before = facts.prefix.tag_of(version);
        (version, format!("{}/compare/{before}...{tag}", facts.repository_url))
    });
    let blocks: Vec<Block<'_>> = images
        .iter()
        .map(|Claim { image, version, digest, .. }| Block {
            image,
            version,
            digest,
            previous: previous.clone(),
        })
        .collect();
    notes::with_blocks(&blocks, text)
}

/// Makes GitHub show the highest release of this prefix as Latest, and gives the tag that it shows.
///
/// Written, then looked at again until it holds: two runs that finish in the wrong order would otherwise leave the
/// lower one there. What is highest is told by the claims, each of whose releases is asked for by its name: whoever
/// releases a higher version has claimed it before, and looks after its own release is there.
pub async fn show_highest(
    forge: &impl Forge,
    own: &Release,
    prefix: &TagPrefix,
    claim_ref: &RefName,
) -> Result<Option<String>, Failure> {
    for _ in 0..ROUNDS {
        let shown = forge.shown_as_latest().await?;
        let highest = highest_released(forge, own, prefix, claim_ref).await?;
        match highest.filter(|highest| gives_way(shown.as_deref(), &highest.version, prefix)) {
            None => return Ok(shown),
            Some(highest) => {
                let edit = ReleaseEdit { body: None, make_latest: Some(true) };
                forge.edit_release(highest.id, &edit).await?;
            }
        }
    }
    Err(unsettled("making GitHub show the highest release as Latest".to_owned()))
}

/// A published release and its version.
struct Highest {
    version: Version,
    id: u64,
}

/// How many claims are looked at for a release above one's own: those of runs that are under way, or died, or were
/// to make none.
const ABOVE: usize = 20;

/// The highest claim that has a release, or this run's own. Versions fall along the chain, but for images that
/// joined an old version.
async fn highest_released(
    forge: &impl Forge,
    own: &Release,
    prefix: &TagPrefix,
    claim_ref: &RefName,
) -> Result<Option<Highest>, Failure> {
    let counts = |release: &Release| !release.draft && !release.prerelease;
    let own_version = prefix.version_of(&own.tag).filter(is_stable);
    let own_id = Some(own).filter(|own| counts(own)).map(|own| own.id);
    let mut next = survey::head(forge, claim_ref).await?;
    for _ in 0..ABOVE {
        let Some(RecordedClaim { claim, .. }) = next else { break };
        let is_above = own_version.as_ref().is_none_or(|own| claim.version > *own);
        if is_above {
            let found = forge.release_of(&prefix.tag_of(&claim.version)).await?;
            if let Some(release) = found.filter(counts) {
                return Ok(Some(Highest { version: claim.version, id: release.id }));
            }
        } else if claim.kind == ClaimKind::Version {
            break;
        }
        next = survey::claim_before(forge, claim.previous.as_ref()).await?;
    }
    Ok(own_version.zip(own_id).map(|(version, id)| Highest { version, id }))
}

/// Whether what is shown as Latest gives way to a release of this version.
fn gives_way(shown: Option<&str>, highest: &Version, prefix: &TagPrefix) -> bool {
    let Some(shown) = shown else { return true };
    match prefix.version_of(shown).filter(is_stable) {
        Some(version) => version.cmp_precedence(highest).is_lt(),
        // GitHub has one Latest for the whole repository: in a monorepo it may be another part's.
        None => !is_other_part(shown, prefix),
    }
}

/// Whether a tag looks like a version with a word of its own before it (`api-v1.2.3`): another part of a
/// monorepo. Between bare `1.2.3` and `v1.2.3` there is no such word: that is one project's older habit,
/// and it gives way.
fn is_other_part(tag: &str, prefix: &TagPrefix) -> bool {
    let Some(start) = tag.find(|character: char| character.is_ascii_digit()) else { return false };
    let (word, version) = tag.split_at(start);
    let plain = |word: &str| matches!(word, "" | "v" | "V");
    Version::parse(version).is_ok() && !(plain(word) && plain(prefix.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_the_prefix_is_shown() {
        for (of, shown, expected) in [
            ("v", None, true),
            ("v", Some("v1.2.0"), true),
            ("v", Some("v1.10.0"), false),
            ("v", Some("v2.0.0"), false),
            ("v", Some("v2.0.0-rc.1"), true),
            ("v", Some("1.0.0"), true),
            ("v", Some("api-v9.0.0"), false),
            ("v", Some("nightly"), true),
            ("api-v", Some("v1.10.0"), false),
            ("api-v", Some("nightly"), true),
            ("web-v", None, true),
        ] {
            let found = gives_way(shown, &Version::new(1, 10, 0), &of.parse().unwrap());
            assert_eq!(found, expected, "{of} {shown:?}");
        }
    }
}
