//! May this be done? Decided from the request, the app file and the state alone, under the lock.
//!
//! Versions only rise: a delayed run of CI must not bring an older one back. What was rolled back is blocked.
//! Both yield to a request that allows a downgrade, where whoever asks may: the owner always, CI's key where the
//! app file says so. A version is CI's word alone, so it counts for no more than the image's labels agree to.

use std::collections::BTreeMap;

use jiff::Timestamp;
use semver::Version;

use crate::config::app_file::AppFile;
use crate::config::config_hash::ConfigHash;
use crate::state::{Instance, Phase, Purpose, Record, Release, State};
use autotag_model::labels;
use autotag_model::reference::ImageName;
use autotag_protocol::{Deploy, DeploymentId, End, Event, Open, RefusalCode, Refused, Rollback};

/// Who asks, as far as it decides what may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asker {
    /// root.
    Owner,
    /// CI's key.
    Key,
}

/// How much an image's labels must say before it is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelRule {
    /// Nothing, as long as they contradict nothing: the owner's word counts, and what served before may again.
    Optional,
    /// Version and commit, both as the request has them.
    Required,
    /// Images without them may run, in a version that is at most the next major one after the highest so far: a
    /// higher one would keep all real ones out.
    Bounded {
        /// That highest one.
        highest: Option<Version>,
    },
}

impl LabelRule {
    /// What counts for a deployment that this one asks for.
    pub fn of(asker: Asker, file: &AppFile, state: &State) -> Self {
        match asker {
            Asker::Owner => Self::Optional,
            Asker::Key if file.allow_unlabelled => Self::Bounded { highest: state.highest.clone() },
            Asker::Key => Self::Required,
        }
    }
}

/// What comes of a request that may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// Roll this out.
    RollOut(Release),
    /// It serves already, with the same configuration: touch nothing.
    Unchanged(Instance),
    /// The same deployment was asked for before, and ended like this: the caller lost its connection.
    Known(Record),
}

/// Which way a rollback goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WayBack<'a> {
    /// To this, if [`rollback`] admits it.
    To(&'a Record),
    /// Nowhere: what shall be reverted does not serve. It is to be withdrawn for good
    /// ([`State::with_withdrawn`]); then this is the answer.
    Withdraw(&'a DeploymentId, End),
}

/// Whether a version may be deployed. `config` is the hash of what it would get now.
pub fn deploy(
    request: &Deploy,
    asker: Asker,
    file: &AppFile,
    state: &State,
    config: &ConfigHash,
    at: Timestamp,
) -> Result<Admitted, Refused> {
    let release = Release {
        deployment: request.deployment.clone(),
        image: request.image.clone(),
        digest: request.digest.clone(),
        version: request.version.clone(),
        commit: request.commit.clone(),
        config: config.clone(),
        order: file.order,
        purpose: Purpose::Deploy,
        at,
        run: request.run.clone(),
    };
    if let Some(known) = known_deploy(request, state)? {
        return Ok(Admitted::Known(known));
    }
    let active = settled(state)?;
    own_repository(&release.image, file)?;
    let same_image = active.filter(|active| is_same_image(&active.release, &release));
    if let Some(active) = same_image.filter(|active| active.release.config == release.config) {
        return Ok(Admitted::Unchanged(active.clone()));
    }
    // Another configuration of what serves is no step back; nor is what served last, where nothing does.
    let served_last = state.last_served().filter(|last| active.is_none() && is_same_image(last, &release));
    if same_image.is_none()
        && served_last.is_none()
        && let Err(refused) =
            not_blocked(&release.version, state).and(higher(&release.version, active, state))
    {
        downgrade(request, asker, file, refused)?;
    }
    Ok(Admitted::RollOut(release))
}

/// What a version gets that does not rise: `refused`, unless a downgrade is asked for by who may.
fn downgrade(request: &Deploy, asker: Asker, file: &AppFile, refused: Refused) -> Result<(), Refused> {
    match asker {
        _ if !request.allow_downgrade => Err(refused),
        Asker::Key if !file.allow_downgrade => Err(Refused::new(
            RefusalCode::Downgrade,
            format!(
                "{}, and this server's app file does not let CI deploy it anyway. Its owner can: by \
                 `autotag-receiver deploy` with `--allow-downgrade`, or by `allow_downgrade: true` in the \
                 app file",
                refused.message
            ),
        )),
        Asker::Key | Asker::Owner => Ok(()),
    }
}

/// Which way a rollback goes.
pub fn way_back<'a>(request: &'a Rollback, asker: Asker, state: &'a State) -> Result<WayBack<'a>, Refused> {
    match &request.reverts {
        Some(deployment) => revert(deployment, state),
        None => rollback_target(request.to.as_ref(), asker, state).map(WayBack::To),
    }
}

/// Only what this deployment brought is reverted, never what came after it: not even where that is lower, or
/// has the same version. Whoever asks may not know how it ended, or whether it was ever begun.
fn revert<'a>(deployment: &'a DeploymentId, state: &'a State) -> Result<WayBack<'a>, Refused> {
    // Where the container was removed by hand, what served last is what would come again.
    let serves = settled(state)?.map(|active| &active.release).or_else(|| state.last_served());
    if let Some(serves) = serves.filter(|serves| serves.deployment == *deployment) {
        if state.shared.as_ref() == Some(deployment) {
            let text = format!(
                "another run found that {} ({deployment}) serves; it stays for that one",
                serves.version
            );
            return Err(Refused::new(RefusalCode::NewerIsLive, text));
        }
        return state.to_go_back_to(deployment).map(WayBack::To).ok_or_else(|| {
            let text =
                format!("nothing that is recorded served before {} ({deployment}); it stays", serves.version);
            Refused::new(RefusalCode::NotRecorded, text)
        });
    }
    let end = match (state.record_of(deployment), serves) {
        (Some(Record { release, failure: None }), Some(serves)) => {
            let text = format!(
                "{} ({deployment}) no longer serves: {} ({}) took its place, and stays",
                release.version, serves.version, serves.deployment
            );
            End::Refused { code: Open::Known(RefusalCode::NewerIsLive), message: Event::within_line(&text) }
        }
        // It failed, or did not come here so far.
        _ => End::Unchanged {},
    };
    Ok(WayBack::Withdraw(deployment, end))
}

/// Where a rollback goes: to the version that is named, or to the last good one below what serves.
///
/// The key does not get above the highest version this way, which its owner may have lowered since.
pub fn rollback_target<'a>(
    to: Option<&Version>,
    asker: Asker,
    state: &'a State,
) -> Result<&'a Record, Refused> {
    let active = settled(state)?;
    let above = |version: &Version| {
        state.highest.as_ref().is_some_and(|highest| version.cmp_precedence(highest).is_gt())
    };
    let served = || {
        let served = state.history.iter().rev().filter(|record| record.failure.is_none());
        served.filter(move |record| asker == Asker::Owner || !above(&record.release.version))
    };
    let target = match (to, active) {
        (Some(version), _) => served().find(|record| record.release.version == *version),
        (None, Some(active)) => served().find(|record| {
            let version = &record.release.version;
            version.cmp_precedence(&active.release.version).is_lt() && !state.blocked.contains_key(version)
        }),
        (None, None) => None,
    };
    target.ok_or_else(|| {
        let mut versions: Vec<&Version> = served().map(|record| &record.release.version).collect();
        versions.sort();
        versions.dedup();
        let names: Vec<String> = versions.into_iter().rev().take(10).map(ToString::to_string).collect();
        let wanted = to.map_or_else(
            || "there is no good version below the one that serves".to_owned(),
            |version| format!("{version} is not recorded here"),
        );
        let recorded = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        Refused::new(
            RefusalCode::NotRecorded,
            format!(
                "{wanted}; recorded are: {recorded}. Name one of them, or deploy a version by its digest"
            ),
        )
    })
}

/// Whether this target may be rolled back to. `config` is the hash of what it would get: of today's
/// configuration, or of then's, whichever was asked for.
pub fn rollback(
    request: &Rollback,
    target: &Record,
    file: &AppFile,
    state: &State,
    config: &ConfigHash,
    at: Timestamp,
) -> Result<Admitted, Refused> {
    let active = settled(state)?;
    own_repository(&target.release.image, file)?;
    let back =
        active.is_some_and(|active| target.release.version.cmp_precedence(&active.release.version).is_lt());
    let release = Release {
        deployment: request.deployment.clone(),
        config: config.clone(),
        order: file.order,
        // Forward to what was rolled back says nothing against the version that is left.
        purpose: if back { Purpose::Rollback } else { Purpose::Deploy },
        at,
        run: request.run.clone(),
        ..target.release.clone()
    };
    let is_same = |active: &&Instance| {
        is_same_image(&active.release, &release) && active.release.config == release.config
    };
    // What is reverted goes, also where it is the same again.
    match active.filter(is_same).filter(|_| request.reverts.is_none()) {
        Some(active) => Ok(Admitted::Unchanged(active.clone())),
        None => Ok(Admitted::RollOut(release)),
    }
}

/// A rollback that was asked for before. To be asked first: once it has worked, its target is another.
pub fn known_rollback(request: &Rollback, state: &State) -> Result<Option<Record>, Refused> {
    let Some(record) = state.record_of(&request.deployment) else { return Ok(None) };
    let same_target = request.to.as_ref().is_none_or(|to| *to == record.release.version);
    let left = || state.served_before(&request.deployment).next().map(|left| &left.release.deployment);
    let same_left = request.reverts.as_ref().is_none_or(|deployment| left() == Some(deployment));
    if same_target && same_left { Ok(Some(record.clone())) } else { Err(id_taken(&request.deployment)) }
}

/// A deployment that was asked for before. It needs no configuration, which may be broken by now.
pub fn known_deploy(request: &Deploy, state: &State) -> Result<Option<Record>, Refused> {
    match state.record_of(&request.deployment) {
        Some(record) => {
            let known = &record.release;
            let same = known.image == request.image
                && known.digest == request.digest
                && known.version == request.version
                && known.commit == request.commit;
            if same { Ok(Some(record.clone())) } else { Err(id_taken(&request.deployment)) }
        }
        None if state.withdrawn.contains(&request.deployment) => Err(Refused::new(
            RefusalCode::IdTaken,
            format!("the deployment {} was reverted before it arrived", request.deployment),
        )),
        None => Ok(None),
    }
}

/// Whether the image's labels say the same as the request. Images that this action built have both; others may
/// lack them, and a label that is missing agrees to nothing.
pub fn labels(release: &Release, labels: &BTreeMap<String, String>, rule: &LabelRule) -> Result<(), Refused> {
    let mut missing = Vec::new();
    for (label, expected) in
        [(labels::VERSION, release.version.to_string()), (labels::REVISION, release.commit.to_string())]
    {
        match labels.get(label) {
            Some(found) if *found == expected => {}
            Some(found) => {
                let found: String = found.chars().filter(|letter| !letter.is_control()).take(80).collect();
                return Err(Refused::new(
                    RefusalCode::Labels,
                    format!(
                        "the image {} says `{label}={found}`, the request {expected}: it is not the image \
                         that was released under this version",
                        release.digest
                    ),
                ));
            }
            None => missing.push(label),
        }
    }
    if missing.is_empty() { Ok(()) } else { unlabelled(release, &missing, rule) }
}

/// Whether an image is served that does not say itself what it is.
fn unlabelled(release: &Release, missing: &[&str], rule: &LabelRule) -> Result<(), Refused> {
    let Release { version, digest, .. } = release;
    let refused = |text: String| {
        let lacks = missing.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" and ");
        Err(Refused::new(RefusalCode::Labels, format!("the image {digest} has no label {lacks}{text}")))
    };
    match rule {
        LabelRule::Required => refused(format!(
            ", so nothing but the request says that it is {version}. Build it with the labels \
             `{}={version}` and `{}={}`; or have the server's owner set `allow_unlabelled: true` in the app \
             file",
            labels::VERSION,
            labels::REVISION,
            release.commit
        )),
        LabelRule::Bounded { highest: Some(highest) } if version.major > highest.major.saturating_add(1) => {
            refused(format!(
                ", and {version} is beyond the next major version after {highest}, the highest that was \
                 live here. Deploy a lower one, or build it with labels; the server's owner can deploy it \
                 by `autotag-receiver deploy`"
            ))
        }
        LabelRule::Optional | LabelRule::Bounded { .. } => Ok(()),
    }
}

/// What serves, where nothing is under way.
fn settled(state: &State) -> Result<Option<&Instance>, Refused> {
    match &state.change {
        Phase::Steady { active } => Ok(active.as_ref()),
        Phase::Pending { new, .. } => Err(unfinished(new)),
        Phase::Unverified { new, .. } => Err(unfinished(&new.release)),
        Phase::Leaving { leaving, .. } => Err(unfinished(&leaving.release)),
    }
}

fn unfinished(release: &Release) -> Refused {
    Refused::new(
        RefusalCode::Unfinished,
        format!(
            "an earlier deployment could not be finished yet; it is about {} ({}). See `status` on the server",
            release.version, release.deployment
        ),
    )
}

fn id_taken(deployment: &DeploymentId) -> Refused {
    Refused::new(
        RefusalCode::IdTaken,
        format!("the deployment {deployment} was something else: each needs an id of its own"),
    )
}

fn is_same_image(a: &Release, b: &Release) -> bool {
    a.image == b.image && a.digest == b.digest && a.version == b.version && a.commit == b.commit
}

fn own_repository(image: &ImageName, file: &AppFile) -> Result<(), Refused> {
    if *image == file.image {
        return Ok(());
    }
    Err(Refused::new(
        RefusalCode::Repository,
        format!(
            "only {} may run here, not {image}. The app file's owner decides that by `image`",
            file.image
        ),
    ))
}

fn not_blocked(version: &Version, state: &State) -> Result<(), Refused> {
    let Some(blocked) = state.blocked.get(version) else { return Ok(()) };
    Err(Refused::new(
        RefusalCode::RolledBack,
        format!("{version} is blocked since {} ({})", blocked.since, blocked.why),
    ))
}

fn higher(version: &Version, active: Option<&Instance>, state: &State) -> Result<(), Refused> {
    let Some(highest) = &state.highest else { return Ok(()) };
    if version.cmp_precedence(highest).is_gt() {
        return Ok(());
    }
    let serves = active.map_or("nothing".to_owned(), |active| active.release.version.to_string());
    Err(Refused::new(
        RefusalCode::NewerIsLive,
        format!("{version} is not above {highest}, the highest that was live here; {serves} serves"),
    ))
}

#[cfg(test)]
mod back_tests;
#[cfg(test)]
mod tests;
