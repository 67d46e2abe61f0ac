//! The plan: from what was read to what this run is to do. Pure; the reads are in `release::survey`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use semver::Version;

use super::bump::Level;
use super::claim::{ClaimKind, MAIN_LINE, RecordedClaim, Tip};
use super::passed_over::{Floor, PassedOver, Tags};
use super::tag::{TagPrefix, highest_stable};
use autotag_model::git::ObjectId;
use autotag_model::help::Topic;
use autotag_model::reference::{ImageName, ImageTag};

/// How the version is chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionSelector {
    /// The input `bump`.
    Bump(Level),
    /// `bump: auto`: what the commits ask for.
    Auto,
    /// The input `version`.
    Exactly(Version),
    /// The run was started by pushing this version's tag.
    PushedTag(Version),
}

/// What a run wants, as far as the plan is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRequest {
    /// How the version is chosen.
    pub selector: VersionSelector,
    /// The version of a repository without any, if the input says one.
    pub initial: Option<Version>,
    /// What stands before versions in Git tags.
    pub prefix: TagPrefix,
    /// The image of this run.
    pub image: ImageName,
    /// The image was built elsewhere and comes by its digest.
    pub prebuilt: bool,
}

impl VersionRequest {
    /// The version of a repository without any.
    fn first(&self) -> Version {
        self.initial.clone().unwrap_or(Version::new(0, 0, 1))
    }
}

/// What the registry said about its tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryVersions {
    /// The tags of an existing repository.
    Known {
        /// The versions among them.
        versions: Vec<Version>,
        /// Those that hold images by commit and digest, `sha-…`.
        held: BTreeSet<String>,
        /// Those that read like versions in another form.
        others: Vec<String>,
    },
    /// The repository does not exist yet: the first push makes it.
    NoRepository,
    /// The registry did not say whether it does not exist or is not ours; its words.
    Withheld(String),
}

impl RegistryVersions {
    /// The versions that are known to be there.
    pub fn versions(&self) -> &[Version] {
        match self {
            Self::Known { versions, .. } => versions,
            Self::NoRepository | Self::Withheld(_) => &[],
        }
    }

    /// The tags that read like versions and are none.
    pub fn others(&self) -> &[String] {
        match self {
            Self::Known { others, .. } => others,
            Self::NoRepository | Self::Withheld(_) => &[],
        }
    }

    /// Whether this tag is known to hold an image.
    pub fn holds(&self, tag: &ImageTag) -> bool {
        matches!(self, Self::Known { held, .. } if held.contains(tag.as_str()))
    }
}

/// How this commit stands to all claims of its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommitStatus {
    /// No claim has it, and it is an ancestor of none.
    New {
        /// The tips that it does not descend from; they stay tips beside it.
        other_tips: Vec<Tip>,
    },
    /// It has been claimed.
    Claimed {
        /// The claims of this commit, newest first; the last one took the version.
        mine: Vec<RecordedClaim>,
        /// The claims after it, newest first.
        newer: Vec<RecordedClaim>,
    },
    /// A newer commit of its line has been claimed, and this one has not.
    Older {
        /// The newest claim of a commit that contains this one.
        by: Box<RecordedClaim>,
        /// All claims since the last one that this commit contains, newest first.
        newer: Vec<RecordedClaim>,
    },
}

/// Everything that was read, in the protocol's order: head and claims, then registry, then Git tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The commit of this run.
    pub commit: ObjectId,
    /// The newest claim; the claim's compare-and-swap rests on it.
    pub head: Option<RecordedClaim>,
    /// How the commit stands to the claims.
    pub standing: CommitStatus,
    /// The registry's versions.
    pub registry: RegistryVersions,
    /// The versions among the Git tags of the prefix.
    pub git: Vec<Version>,
    /// Git tags, of whatever prefix, that read like versions and are none of the prefix. Only looked for where
    /// nothing was claimed yet.
    pub git_others: Vec<String>,
    /// Those Git tags, among the highest and the pushed one, that point at this commit and that no
    /// claim made.
    pub tagged_here: Vec<Version>,
    /// For `bump: auto`: the level, and the commit title that asked for it.
    pub asked_by_commits: Option<(Level, Option<String>)>,
    /// The titles of those commits whose text below the title does not parse.
    pub unread: Vec<String>,
}

impl Survey {
    /// The highest stable version that is known anywhere.
    pub fn highest(&self) -> Option<&Version> {
        highest_stable(self.highest_claimed().into_iter().chain(self.registry.versions()).chain(&self.git))
    }

    /// The highest version that was ever claimed.
    pub fn highest_claimed(&self) -> Option<&Version> {
        self.head.as_ref().map(|head| &head.claim.highest)
    }
}

/// A version that this run is to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextVersion {
    /// The version.
    pub version: Version,
    /// The highest version claimed, with this one.
    pub highest: Version,
    /// The highest stable one before it.
    pub previous: Option<Version>,
    /// A new version, or one more image for this commit's.
    pub kind: ClaimKind,
    /// The Git tag is there already (made by hand): only the head moves.
    pub tag_exists: bool,
    /// The head that was read.
    pub head: Option<ObjectId>,
    /// The tips that the claim carries on, this commit's among them.
    pub tips: Vec<Tip>,
    /// Why this version, in words.
    pub reason: String,
}

/// What a run is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Claim this version, with an image of its own.
    Claim(NextVersion),
    /// This commit and image have their claim: go on from there.
    Resume {
        /// The claim.
        known: RecordedClaim,
    },
    /// A newer commit has been released: help it, and leave.
    Superseded {
        /// The newest claim of a commit that contains this one.
        by: Box<RecordedClaim>,
        /// The claims since, newest first.
        newer: Vec<RecordedClaim>,
    },
}

/// Why no version can be chosen. It names the input that has to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct PlanRefusal {
    /// What is in the way.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
    /// The section of the documentation about it, where there is one.
    pub topic: Option<Topic>,
}

fn refuse<T>(
    topic: impl Into<Option<Topic>>,
    why: impl Into<String>,
    remedy: impl Into<String>,
) -> Result<T, PlanRefusal> {
    Err(PlanRefusal { why: why.into(), remedy: remedy.into(), topic: topic.into() })
}

/// The plan for what was read. That a commit has been claimed is judged before anything else: a commit
/// gets one version, ever.
pub fn decide(survey: &Survey, request: &VersionRequest) -> Result<Plan, PlanRefusal> {
    match &survey.standing {
        CommitStatus::Claimed { mine, .. } => resume_or_join(survey, request, mine),
        CommitStatus::Older { by, .. } if matches!(request.selector, VersionSelector::PushedTag(_)) => {
            refuse(
                Topic::VersionTooLow,
                format!(
                    "the pushed tag is on commit {}, and the newer commit {} has the version {} already",
                    survey.commit.short(),
                    by.claim.commit.short(),
                    by.claim.version
                ),
                "an older commit is not released over a newer one: delete the tag, and tag a commit that is \
                 not released yet",
            )
        }
        CommitStatus::Older { by, newer } => Ok(Plan::Superseded { by: by.clone(), newer: newer.clone() }),
        CommitStatus::New { other_tips } => {
            let (version, tag_exists, reason) = choose(survey, request)?;
            let mut tips = other_tips.clone();
            tips.push(Tip { commit: survey.commit.clone(), line: MAIN_LINE.to_owned() });
            Ok(Plan::Claim(NextVersion {
                highest: highest_with(survey, &version),
                previous: highest_below(survey, &version),
                kind: ClaimKind::Version,
                tag_exists,
                head: survey.head.as_ref().map(|head| head.id.clone()),
                tips,
                reason,
                version,
            }))
        }
    }
}

fn resume_or_join(
    survey: &Survey,
    request: &VersionRequest,
    mine: &[RecordedClaim],
) -> Result<Plan, PlanRefusal> {
    let Some(owner) = mine.last() else {
        return refuse(None, "a commit counts as claimed, but no claim has it", "report a bug");
    };
    let version_here = &owner.claim.version;
    if let VersionSelector::Exactly(version) | VersionSelector::PushedTag(version) = &request.selector
        && version != version_here
    {
        return refuse(
            None,
            format!(
                "commit {} is version {version_here} already, and {version} is asked for",
                survey.commit.short()
            ),
            "a commit has one version for good: release another commit (an empty one will do) as the new \
             version",
        );
    }
    if let Some(known) = mine.iter().find(|known| known.claim.image == request.image) {
        return Ok(Plan::Resume { known: known.clone() });
    }
    let Some(head) = &survey.head else {
        return refuse(None, "a commit counts as claimed, but there is no head", "report a bug");
    };
    Ok(Plan::Claim(NextVersion {
        version: version_here.clone(),
        highest: highest_with(survey, version_here),
        previous: owner.claim.after.clone(),
        kind: ClaimKind::Image,
        tag_exists: true,
        head: Some(head.id.clone()),
        tips: head.claim.tips.clone(),
        reason: format!("{version_here}: this commit's version, for one more image"),
    }))
}

/// The version, whether its Git tag exists, and the reason in words.
fn choose(survey: &Survey, request: &VersionRequest) -> Result<(Version, bool, String), PlanRefusal> {
    match &request.selector {
        VersionSelector::PushedTag(version) => pushed(survey, request, version)
            .map(|()| (version.clone(), true, format!("{version}: the tag that was pushed"))),
        VersionSelector::Exactly(version) => {
            let tag_exists = survey.tagged_here.contains(version);
            exactly(survey, request, version, tag_exists)?;
            Ok((version.clone(), tag_exists, format!("{version}: set by the input `version`")))
        }
        VersionSelector::Bump(_) | VersionSelector::Auto => match tagged_highest(survey) {
            Some(version) => {
                free_in_registry(survey, request, version)?;
                let reason = format!(
                    "{version}: this commit carries the tag {} already",
                    request.prefix.tag_of(version)
                );
                Ok((version.clone(), true, reason))
            }
            None => bumped(survey, request).map(|(version, reason)| (version, false, reason)),
        },
    }
}

/// A tag made by hand on this very commit, if nothing is higher than it.
fn tagged_highest(survey: &Survey) -> Option<&Version> {
    let highest = survey.highest()?;
    survey.tagged_here.iter().find(|version| *version == highest)
}

fn pushed(survey: &Survey, request: &VersionRequest, version: &Version) -> Result<(), PlanRefusal> {
    let tag = request.prefix.tag_of(version);
    if !survey.tagged_here.contains(version) {
        return refuse(
            Topic::TagTaken,
            format!(
                "the run was started by the tag {tag}, but that tag does not point at commit {}",
                survey.commit.short()
            ),
            "the tag was moved or deleted since: push it again, under a version that was not used yet",
        );
    }
    free_in_registry(survey, request, version)?;
    // With an image built elsewhere the registry may hold this very version; a claim never may.
    let rivals = survey.registry.versions().iter().filter(|rival| *rival != version || !request.prebuilt);
    above(version, rivals.chain(survey.highest_claimed()), &format!("the pushed tag {tag}"))
}

fn exactly(
    survey: &Survey,
    request: &VersionRequest,
    version: &Version,
    tag_exists: bool,
) -> Result<(), PlanRefusal> {
    let tag = request.prefix.tag_of(version);
    if survey.git.contains(version) && !tag_exists {
        return refuse(
            Topic::TagTaken,
            format!("`version: {version}` is asked for, but the Git tag {tag} belongs to another commit"),
            "choose a higher version, or leave `version` empty to have the next one computed",
        );
    }
    free_in_registry(survey, request, version)?;
    let rivals = (survey.registry.versions().iter().chain(&survey.git))
        .filter(|rival| *rival != version || !(tag_exists || request.prebuilt))
        .chain(survey.highest_claimed());
    above(version, rivals, "`version`")
}

/// A version that exists in the registry is never overwritten. What is there may be this commit's or not:
/// that is not guessed; who knows says so with `image-digest`.
fn free_in_registry(survey: &Survey, request: &VersionRequest, version: &Version) -> Result<(), PlanRefusal> {
    if request.prebuilt || !survey.registry.versions().contains(version) {
        return Ok(());
    }
    refuse(
        Topic::ImageTagTaken,
        format!("{}:{version} exists in the registry already, and no claim says whose it is", request.image),
        "if that image is this commit's, pass its digest as `image-digest`; otherwise release a higher \
         version",
    )
}

fn above<'a>(
    version: &Version,
    rivals: impl Iterator<Item = &'a Version>,
    what: &str,
) -> Result<(), PlanRefusal> {
    match highest_stable(rivals) {
        Some(highest) if version.cmp_precedence(highest).is_le() => refuse(
            Topic::VersionTooLow,
            format!("{what} is {version}, which is not higher than {highest}, the highest there is"),
            format!("versions only rise: choose one above {highest}"),
        ),
        _ => Ok(()),
    }
}

fn bumped(survey: &Survey, request: &VersionRequest) -> Result<(Version, String), PlanRefusal> {
    none_is_passed_over(survey, request)?;
    let Some(base) = survey.highest() else {
        let first = request.first();
        let reason = format!("{first}: the first version (`initial-version`)");
        return Ok((first, reason));
    };
    let (level, asked_by) = match &request.selector {
        VersionSelector::Bump(level) => (*level, None),
        _ => survey.asked_by_commits.clone().unwrap_or((Level::Patch, None)),
    };
    let Some(version) = level.after(base) else {
        return refuse(
            None,
            format!("there is no {} after {base}", level.word()),
            "choose the version by `version`",
        );
    };
    let mut reason = format!("{version}: {} after {base}", level.word());
    if let Some(title) = asked_by {
        let _ = write!(reason, ", for \u{201c}{title}\u{201d}");
    } else if request.selector == VersionSelector::Auto {
        reason.push_str(", since no commit asks for more");
    }
    if let Some(behind) = who_is_behind(survey) {
        let _ = write!(reason, "; {behind}");
    }
    Ok((version, reason))
}

/// What was released under names that do not count is released all the same: the next version would be below
/// it, `latest` would go back, and a claim is for good. So whoever claims first has to say where to go on.
///
/// Afterwards the claims say what is highest, and tags of another form are of no consequence.
fn none_is_passed_over(survey: &Survey, request: &VersionRequest) -> Result<(), PlanRefusal> {
    let counted = survey.highest();
    if survey.head.is_some() || (counted.is_none() && request.initial.is_some()) {
        return Ok(());
    }
    let floor = counted.cloned().unwrap_or_else(|| request.first());
    let tags = Tags {
        git_others: &survey.git_others,
        registry_others: survey.registry.others(),
        git: &survey.git,
        registry: survey.registry.versions(),
    };
    let (prefix, image) = (&request.prefix, &request.image);
    let found =
        PassedOver::find(tags, Floor { prefix, image, version: &floor, some_count: counted.is_some() });
    let Some(next) = found.next() else { return Ok(()) };
    let why = match counted {
        None => format!(
            "no tag has the form of a version ({} in Git, 1.2.3 in the registry), and these read like \
             versions of another form",
            request.prefix.tag_of(&Version::new(1, 2, 3))
        ),
        Some(highest) => {
            format!("the highest version that counts is {highest}, and these read like higher ones")
        }
    };
    let mut remedy = match counted {
        None => format!(
            "say where to continue, above these versions, with `initial-version` (such as `initial-version: \
             {next}`), or with `version` for one run"
        ),
        Some(_) => format!(
            "say where to continue, above these versions, with `version` for one run (such as `version: \
             {next}`)"
        ),
    };
    if let Some(prefix) = found.prefix() {
        let _ = write!(remedy, "; or count these Git tags by `tag-prefix: {prefix}`");
    }
    refuse(Topic::OtherForm, format!("{why}: {found}"), remedy)
}

/// One side ahead of the other is normal after a run that stopped half-way; which one is worth saying.
fn who_is_behind(survey: &Survey) -> Option<String> {
    let git = highest_stable(&survey.git);
    let registry = highest_stable(survey.registry.versions());
    match (&survey.registry, git, registry) {
        (RegistryVersions::NoRepository, ..) => Some("the registry has no such repository yet".to_owned()),
        (RegistryVersions::Withheld(_), ..) => {
            Some("the registry did not show its tags, so this is provisional".to_owned())
        }
        (_, Some(git), Some(registry)) if git == registry => None,
        (_, Some(git), Some(registry)) => {
            let ((ahead, highest), (behind, lower)) = if git.cmp_precedence(registry).is_gt() {
                (("Git", git), ("the registry", registry))
            } else {
                (("the registry", registry), ("Git", git))
            };
            Some(format!("{ahead} was ahead with {highest}, {behind} had {lower}"))
        }
        (_, Some(git), None) => Some(format!("Git was ahead with {git}, the registry had no version")),
        (_, None, Some(registry)) => {
            Some(format!("the registry was ahead with {registry}, Git had no version"))
        }
        (_, None, None) => None,
    }
}

fn highest_with(survey: &Survey, version: &Version) -> Version {
    survey.highest_claimed().filter(|claimed| *claimed > version).unwrap_or(version).clone()
}

fn highest_below(survey: &Survey, version: &Version) -> Option<Version> {
    let all = survey.highest_claimed().into_iter().chain(survey.registry.versions()).chain(&survey.git);
    highest_stable(all.filter(|other| other.cmp_precedence(version).is_lt())).cloned()
}

#[cfg(test)]
mod tests;
