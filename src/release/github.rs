//! Release: the page on GitHub, and which one GitHub shows as Latest.

use semver::Version;

use super::notes::Block;
use super::survey;
use crate::failure::{Failure, Kind};
use crate::inputs::order::ReleaseOrder;
use crate::version::claim::{Claim, Kind as ClaimKind, Known};
use crate::version::git::RefName;
use crate::version::tag::{TagPrefix, is_stable};
use crate::world::{Effect, Forge, NewRelease, Outcome, Release, ReleaseEdit, TroubleKind};

/// What the release is made from.
#[derive(Debug, Clone, Copy)]
pub struct ReleaseFacts<'a> {
    /// The claim that is released.
    pub claim: &'a Claim,
    /// The prefix of its tag.
    pub prefix: &'a TagPrefix,
    /// What the user wants of it.
    pub order: &'a ReleaseOrder,
    /// The Git tags' versions: a previous version without a tag cannot be compared with.
    pub tagged: &'a [Version],
    /// Where the claims begin: other images of the version are found there.
    pub claim_ref: &'a RefName,
    /// The repository's page.
    pub repository_url: &'a str,
}

/// A second run of the same commit, an edit by hand, another image's block: each costs a round at most.
const ROUNDS: usize = 6;

/// GitHub refuses a longer text (125,000 characters); cut here, the end says so and our blocks stay.
const LONGEST_NOTES: usize = 100_000;

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
                Err(trouble) if trouble.effect == Effect::Unknown => {
                    tracing::warn!("{trouble}; looking whether the release is there");
                    continue;
                }
                Err(trouble) if trouble.kind == TroubleKind::Rejected => {
                    if find(forge, &tag).await?.is_none() {
                        return Err(trouble.into());
                    }
                    continue;
                }
                Err(trouble) => return Err(trouble.into()),
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
        Kind::Unavailable,
        what,
        format!("it did not stay as written in {ROUNDS} tries"),
        "something else keeps changing it: stop that and run the job again",
    )
}

/// A published release by its tag, else a draft.
async fn find(forge: &impl Forge, tag: &str) -> Outcome<Option<Release>> {
    if let Some(release) = forge.release_of(tag).await? {
        return Ok(Some(release));
    }
    Ok(forge.list_releases().await?.into_iter().find(|release| release.tag == tag))
}

/// The claims of this version, oldest first: the one that took it, and one for each image that joined.
async fn images(forge: &impl Forge, facts: &ReleaseFacts<'_>) -> Result<Vec<Claim>, Failure> {
    let mut claims = Vec::new();
    let mut next = survey::head(forge, facts.claim_ref).await?;
    while let Some(Known { claim, .. }) = next {
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

/// GitHub lets two runs make two drafts for one tag. Neither is published, so a person may choose.
async fn warn_of_second_draft(forge: &impl Forge, made: &Release) -> Outcome<()> {
    if made.draft {
        let drafts = forge.list_releases().await?;
        if drafts.iter().any(|release| release.tag == made.tag && release.id != made.id) {
            tracing::warn!("another run made a draft of {} at the same time: delete one of them", made.tag);
        }
    }
    Ok(())
}

async fn new_release(
    forge: &impl Forge,
    facts: &ReleaseFacts<'_>,
    images: &[Claim],
    tag: &str,
) -> Outcome<NewRelease> {
    let version = &facts.claim.version;
    let text = if let Some(text) = &facts.order.notes {
        text.clone()
    } else {
        let previous = tagged_before(facts).map(|version| facts.prefix.tag_of(version));
        forge.generate_notes(tag, previous.as_deref()).await?
    };
    Ok(NewRelease {
        tag: tag.to_owned(),
        name: facts.order.name.replace("{tag}", tag).replace("{version}", &version.to_string()),
        body: with_blocks(facts, images, tag, &shortened(text)),
        draft: facts.order.draft,
        // Whether it is the highest is seen afterwards, from the list.
        make_latest: false,
    })
}

fn tagged_before<'a>(facts: &ReleaseFacts<'a>) -> Option<&'a Version> {
    facts.claim.after.as_ref().filter(|version| facts.tagged.contains(version))
}

fn shortened(text: String) -> String {
    if text.chars().count() <= LONGEST_NOTES {
        return text;
    }
    let cut: String = text.chars().take(LONGEST_NOTES).collect();
    cut + "\n\n(cut: GitHub takes no longer text)"
}

fn with_blocks(facts: &ReleaseFacts<'_>, images: &[Claim], tag: &str, text: &str) -> String {
    let previous = tagged_before(facts).map(|version| {
        let before = facts.prefix.tag_of(version);
        (version, format!("{}/compare/{before}...{tag}", facts.repository_url))
    });
    let mut text = text.to_owned();
    for Claim { image, version, digest, .. } in images {
        text = Block { image, version, digest, previous: previous.clone() }.put_into(&text);
    }
    text
}

/// Makes GitHub show the highest release of this prefix as Latest, and gives the tag that it shows.
///
/// Written, then listed again until it holds: two runs that finish in the wrong order would otherwise
/// leave the lower one there.
pub async fn show_highest(
    forge: &impl Forge,
    own: &Release,
    prefix: &TagPrefix,
) -> Result<Option<String>, Failure> {
    for _ in 0..ROUNDS {
        let mut releases = forge.list_releases().await?;
        // A list may lag behind what this run has just made.
        if !releases.iter().any(|release| release.id == own.id) {
            releases.push(own.clone());
        }
        let shown = forge.shown_as_latest().await?;
        match to_show(&releases, shown.as_deref(), prefix) {
            None => return Ok(shown),
            Some(release) => {
                let edit = ReleaseEdit { body: None, make_latest: Some(true) };
                forge.edit_release(release.id, &edit).await?;
            }
        }
    }
    Err(unsettled("making GitHub show the highest release as Latest".to_owned()))
}

/// The release that should be shown as Latest and is not.
fn to_show<'a>(releases: &'a [Release], shown: Option<&str>, prefix: &TagPrefix) -> Option<&'a Release> {
    let stable = |tag: &str| prefix.version_of(tag).filter(is_stable);
    let (highest, release) = releases
        .iter()
        .filter(|release| !release.draft && !release.prerelease)
        .filter_map(|release| Some((stable(&release.tag)?, release)))
        .max_by(|(a, _), (b, _)| a.cmp_precedence(b))?;
    match shown {
        None => Some(release),
        Some(shown) => match stable(shown) {
            Some(version) => version.cmp_precedence(&highest).is_lt().then_some(release),
            // GitHub has one Latest for the whole repository: in a monorepo it may be another part's.
            None if is_other_part(shown, prefix) => None,
            None => Some(release),
        },
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

    fn published(id: u64, tag: &str) -> Release {
        Release {
            id,
            tag: tag.to_owned(),
            name: tag.to_owned(),
            body: String::new(),
            draft: false,
            prerelease: false,
            html_url: String::new(),
        }
    }

    #[test]
    fn the_highest_of_the_prefix_is_shown() {
        let mut all = vec![published(1, "v1.2.0"), published(2, "v1.10.0"), published(3, "api-v9.0.0")];
        all.push(Release { draft: true, ..published(4, "v3.0.0") });
        all.push(Release { prerelease: true, ..published(5, "v4.0.0") });
        all.push(published(6, "v5.0.0-rc.1"));
        for (of, shown, expected) in [
            ("v", None, Some(2)),
            ("v", Some("v1.2.0"), Some(2)),
            ("v", Some("v1.10.0"), None),
            ("v", Some("v2.0.0"), None),
            ("v", Some("1.0.0"), Some(2)),
            ("v", Some("api-v9.0.0"), None),
            ("v", Some("nightly"), Some(2)),
            ("api-v", Some("v1.10.0"), None),
            ("api-v", Some("nightly"), Some(3)),
            ("web-v", None, None),
        ] {
            let found = to_show(&all, shown, &of.parse().unwrap()).map(|release| release.id);
            assert_eq!(found, expected, "{of} {shown:?}");
        }
    }
}
