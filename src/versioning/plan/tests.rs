//! The plan in tables: what was read, what is to be done.

use std::collections::BTreeSet;

use super::*;
use crate::versioning::claim::Claim;
use autotag_model::reference::Digest;

const IMAGE: &str = "ghcr.io/org/app";

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn versions(list: &[&str]) -> Vec<Version> {
    list.iter().map(|text| version(text)).collect()
}

fn commit(letter: char) -> ObjectId {
    letter.to_string().repeat(40).parse().unwrap()
}

fn known(letter: char, of: &str, image: &str, kind: ClaimKind) -> RecordedClaim {
    let tip = Tip { commit: commit(letter), line: MAIN_LINE.to_owned() };
    let claim = Claim {
        kind,
        version: version(of),
        highest: version(of),
        after: None,
        prefix: "v".to_owned(),
        commit: commit(letter),
        image: image.parse().unwrap(),
        digest: Digest::of(of.as_bytes()),
        line: MAIN_LINE.to_owned(),
        previous: None,
        tips: vec![tip],
        run: "a test".to_owned(),
    };
    RecordedClaim { id: commit('f'), claim }
}

fn survey(claimed: Option<&str>, registry: &[&str], git: &[&str]) -> Survey {
    Survey {
        commit: commit('a'),
        head: claimed.map(|claimed| known('b', claimed, IMAGE, ClaimKind::Version)),
        standing: CommitStatus::New { other_tips: Vec::new() },
        registry: RegistryVersions::Known {
            versions: versions(registry),
            held: BTreeSet::new(),
            others: Vec::new(),
        },
        git: versions(git),
        git_others: Vec::new(),
        tagged_here: Vec::new(),
        asked_by_commits: None,
        unread: Vec::new(),
    }
}

fn request(selector: VersionSelector) -> VersionRequest {
    VersionRequest {
        selector,
        initial: None,
        prefix: "v".parse().unwrap(),
        image: IMAGE.parse().unwrap(),
        prebuilt: false,
    }
}

fn patch() -> VersionRequest {
    request(VersionSelector::Bump(Level::Patch))
}

fn next(survey: &Survey, request: &VersionRequest) -> NextVersion {
    match decide(survey, request) {
        Ok(Plan::Claim(next)) => next,
        other => panic!("expected a version to claim, got {other:?}"),
    }
}

#[test]
fn the_next_version_is_above_everything_and_says_why() {
    for (claimed, registry, git, expected, reason) in [
        (None, &[][..], &[][..], "0.0.1", "0.0.1: the first version (`initial-version`)"),
        (None, &["0.0.7"], &["0.0.7"], "0.0.8", "0.0.8: patch after 0.0.7"),
        (
            None,
            &["0.0.7"],
            &["0.0.6"],
            "0.0.8",
            "0.0.8: patch after 0.0.7; the registry was ahead with 0.0.7, Git had 0.0.6",
        ),
        (
            None,
            &["0.0.6"],
            &["0.0.7"],
            "0.0.8",
            "0.0.8: patch after 0.0.7; Git was ahead with 0.0.7, the registry had 0.0.6",
        ),
        (
            None,
            &[],
            &["1.0.0"],
            "1.0.1",
            "1.0.1: patch after 1.0.0; Git was ahead with 1.0.0, the registry had no version",
        ),
        (
            None,
            &["1.0.0"],
            &[],
            "1.0.1",
            "1.0.1: patch after 1.0.0; the registry was ahead with 1.0.0, Git had no version",
        ),
        // A claim counts although neither its tag nor its image is listed yet.
        (Some("0.0.9"), &["0.0.7"], &["0.0.7"], "0.0.10", "0.0.10: patch after 0.0.9"),
        // Prereleases are passed over.
        (None, &["1.0.0", "2.0.0-rc.1"], &["1.0.0"], "1.0.1", "1.0.1: patch after 1.0.0"),
    ] {
        let next = next(&survey(claimed, registry, git), &patch());
        assert_eq!((next.version, next.reason.as_str()), (version(expected), reason));
    }
}

// case A3; broken by: `none_is_passed_over` looks at nothing; it looks at claimed repositories too
#[test]
fn a_first_claim_never_goes_below_version_like_tags() {
    let mut read = survey(None, &[], &[]);
    read.git_others = vec!["v0.12".to_owned(), "v0.13".to_owned()];
    for wanted in [VersionSelector::Bump(Level::Patch), VersionSelector::Auto] {
        let refusal = decide(&read, &request(wanted)).unwrap_err();
        for word in ["v0.12", "v0.13", "v1.2.3"] {
            assert!(refusal.why.contains(word), "{}", refusal.why);
        }
        for word in ["`initial-version: 0.14.0`", "`version`"] {
            assert!(refusal.remedy.contains(word), "{}", refusal.remedy);
        }
    }
    // Who says a version, or a first one, has looked.
    let initial = Some(version("0.14.0"));
    assert_eq!(next(&read, &VersionRequest { initial, ..patch() }).version, version("0.14.0"));
    assert_eq!(next(&read, &request(VersionSelector::Exactly(version("0.14.0")))).version, version("0.14.0"));
    // Beside a version that counts, the first one is no answer; afterwards the claims are.
    let mut mixed = Survey { git_others: read.git_others.clone(), ..survey(None, &[], &["0.1.0"]) };
    let initial = Some(version("0.14.0"));
    let refusal = decide(&mixed, &VersionRequest { initial, ..patch() }).unwrap_err();
    assert!(refusal.why.contains("0.1.0") && refusal.remedy.contains("`version: 0.14.0`"), "{refusal:?}");
    mixed.head = Some(known('b', "0.1.0", IMAGE, ClaimKind::Version));
    assert_eq!(next(&mixed, &patch()).version, version("0.1.1"));
}

#[test]
fn commits_may_ask_for_more() {
    let mut survey = survey(None, &["1.2.3"], &["1.2.3"]);
    survey.asked_by_commits = Some((Level::Minor, Some("feat: search".to_owned())));
    let asked = next(&survey, &request(VersionSelector::Auto));
    assert_eq!(asked.version, version("1.3.0"));
    assert_eq!(asked.reason, "1.3.0: minor after 1.2.3, for \u{201c}feat: search\u{201d}");
    survey.asked_by_commits = Some((Level::Patch, None));
    let every = next(&survey, &request(VersionSelector::Auto));
    assert_eq!(every.version, version("1.2.4"), "every merge ships");
    assert_eq!(every.reason, "1.2.4: patch after 1.2.3, since no commit asks for more");
}

/// Who says by how much is not corrected by what commits say.
#[test]
fn the_input_bump_is_taken_by_its_word() {
    let mut survey = survey(None, &["1.2.3"], &["1.2.3"]);
    survey.asked_by_commits = Some((Level::Major, Some("feat!: search".to_owned())));
    for (level, expected, reason) in [
        (Level::Patch, "1.2.4", "1.2.4: patch after 1.2.3"),
        (Level::Minor, "1.3.0", "1.3.0: minor after 1.2.3"),
        (Level::Major, "2.0.0", "2.0.0: major after 1.2.3"),
    ] {
        let next = next(&survey, &request(VersionSelector::Bump(level)));
        assert_eq!((next.version, next.reason.as_str()), (version(expected), reason));
    }
}

#[test]
fn a_registry_that_withholds_its_tags_is_mentioned() {
    let mut read = survey(None, &[], &["1.0.0"]);
    read.registry = RegistryVersions::NoRepository;
    insta::assert_snapshot!(next(&read, &patch()).reason, @"1.0.1: patch after 1.0.0; the registry has no such repository yet");
    read.registry = RegistryVersions::Withheld("denied".to_owned());
    insta::assert_snapshot!(next(&read, &patch()).reason, @"1.0.1: patch after 1.0.0; the registry did not show its tags, so this is provisional");
}

#[test]
fn only_tags_that_were_listed_hold_images() {
    let tag: ImageTag = "sha-0123456789ab-0123456789ab".parse().unwrap();
    let listed = |tags: &[&ImageTag]| RegistryVersions::Known {
        versions: Vec::new(),
        held: tags.iter().map(ToString::to_string).collect(),
        others: Vec::new(),
    };
    assert!(listed(&[&tag]).holds(&tag));
    for registry in [listed(&[]), RegistryVersions::NoRepository, RegistryVersions::Withheld(String::new())] {
        assert!(!registry.holds(&tag), "{registry:?}");
    }
}

#[test]
fn there_is_no_version_after_the_last_one() {
    let last = format!("1.2.{}", u64::MAX);
    let found = decide(&survey(None, &[&last], &[&last]), &patch()).unwrap_err();
    assert_eq!(found.why, format!("there is no patch after {last}"));
}

#[test]
fn a_version_by_name_must_rise() {
    for (wanted, fits) in
        [("1.2.4", true), ("2.0.0", true), ("1.2.3", false), ("1.2.2", false), ("0.9.0", false)]
    {
        let found = decide(
            &survey(None, &["1.2.0"], &["1.2.3"]),
            &request(VersionSelector::Exactly(version(wanted))),
        );
        assert_eq!(found.is_ok(), fits, "{wanted}: {found:?}");
    }
}

#[test]
fn what_is_taken_is_refused_by_name() {
    let by_git = decide(&survey(None, &[], &["2.0.0"]), &request(VersionSelector::Exactly(version("2.0.0"))));
    assert_eq!(by_git.unwrap_err().topic, Some(Topic::TagTaken));
    let by_registry =
        decide(&survey(None, &["2.0.0"], &[]), &request(VersionSelector::Exactly(version("2.0.0"))));
    assert_eq!(by_registry.unwrap_err().topic, Some(Topic::ImageTagTaken));
}

#[test]
fn a_pushed_tag_must_point_here_and_rise() {
    let wanted = request(VersionSelector::PushedTag(version("2.0.0")));
    let mut tagged = survey(Some("1.9.0"), &["1.9.0"], &["1.9.0", "2.0.0"]);
    assert_eq!(decide(&tagged, &wanted).unwrap_err().topic, Some(Topic::TagTaken));
    tagged.tagged_here = versions(&["2.0.0"]);
    let found = next(&tagged, &wanted);
    assert_eq!(
        (found.version, found.tag_exists, found.previous),
        (version("2.0.0"), true, Some(version("1.9.0")))
    );
    let mut low = survey(Some("3.0.0"), &["3.0.0"], &["2.0.0", "3.0.0"]);
    low.tagged_here = versions(&["2.0.0"]);
    assert_eq!(decide(&low, &wanted).unwrap_err().topic, Some(Topic::VersionTooLow));
}

/// Its own version may be there already, by its tag or by its image; nothing else excuses a higher one.
#[test]
fn its_own_version_is_no_rival_but_anything_higher_is() {
    let pushed = VersionSelector::PushedTag(version("2.0.0"));
    let exactly = VersionSelector::Exactly(version("2.0.0"));
    for (wanted, prebuilt, tagged, registry, git, fits) in [
        (&pushed, true, true, &["2.0.0"][..], &["2.0.0"][..], true),
        (&pushed, true, true, &["3.0.0"], &["2.0.0"], false),
        (&exactly, true, false, &["2.0.0"], &[], true),
        (&exactly, true, false, &["3.0.0"], &[], false),
        (&exactly, false, true, &[], &["2.0.0"], true),
        (&exactly, false, true, &[], &["2.0.0", "3.0.0"], false),
        // Without any word that the image is this commit's, it is somebody else's.
        (&pushed, false, true, &["2.0.0"], &["2.0.0"], false),
        (&exactly, false, true, &["2.0.0"], &["2.0.0"], false),
    ] {
        let mut read = survey(Some("1.0.0"), registry, git);
        read.tagged_here = if tagged { versions(&["2.0.0"]) } else { Vec::new() };
        let found = decide(&read, &VersionRequest { prebuilt, ..request(wanted.clone()) });
        assert_eq!(found.is_ok(), fits, "{wanted:?} {prebuilt} {registry:?} {git:?}: {found:?}");
    }
}

#[test]
fn a_manual_tag_on_this_commit_is_used() {
    let mut tagged = survey(Some("1.0.0"), &["1.0.0"], &["1.0.0", "1.5.0"]);
    tagged.tagged_here = versions(&["1.5.0"]);
    let found = next(&tagged, &patch());
    assert_eq!((found.version, found.tag_exists), (version("1.5.0"), true));
    // With an image of that name in the registry nobody knows whose it is.
    tagged.registry =
        RegistryVersions::Known { versions: versions(&["1.5.0"]), held: BTreeSet::new(), others: Vec::new() };
    assert!(decide(&tagged, &patch()).is_err());
    assert!(decide(&tagged, &VersionRequest { prebuilt: true, ..patch() }).is_ok());
}

// invariant resumable
#[test]
fn a_claimed_commit_resumes_whatever_else_is_there() {
    let mine = known('a', "0.0.8", IMAGE, ClaimKind::Version);
    let mut claimed = survey(Some("0.0.9"), &["0.0.9"], &["0.0.9"]);
    claimed.standing = CommitStatus::Claimed {
        mine: vec![mine.clone()],
        newer: vec![known('b', "0.0.9", IMAGE, ClaimKind::Version)],
    };
    assert_eq!(decide(&claimed, &patch()), Ok(Plan::Resume { known: mine.clone() }));
    assert_eq!(
        decide(&claimed, &request(VersionSelector::Exactly(version("0.0.8")))),
        Ok(Plan::Resume { known: mine })
    );
    let second = decide(&claimed, &request(VersionSelector::Exactly(version("1.0.0"))));
    assert!(second.unwrap_err().why.contains("0.0.8"));
}

#[test]
fn a_second_image_joins_the_commits_version() {
    let mut claimed = survey(Some("0.0.9"), &[], &["0.0.8", "0.0.9"]);
    let head = claimed.head.clone().unwrap();
    claimed.standing = CommitStatus::Claimed {
        mine: vec![known('a', "0.0.8", "ghcr.io/org/other", ClaimKind::Version)],
        newer: vec![head.clone()],
    };
    let found = next(&claimed, &patch());
    assert_eq!((found.version, found.kind, found.tag_exists), (version("0.0.8"), ClaimKind::Image, true));
    assert_eq!(found.tips, head.claim.tips, "an image moves no tip");
    assert_eq!(found.highest, version("0.0.9"), "nor the highest version");
}

#[test]
fn an_image_of_an_old_version_hides_no_higher_version() {
    // The newest claim is of 1.9.0, but 2.0.0 has been claimed, and is in no list yet.
    let mut read = survey(Some("1.9.0"), &["1.9.0"], &["1.9.0", "1.9.5"]);
    let mut head = known('b', "1.9.0", IMAGE, ClaimKind::Image);
    head.claim.highest = version("2.0.0");
    read.head = Some(head);
    read.tagged_here = versions(&["1.9.5"]);
    assert_eq!(next(&read, &patch()).version, version("2.0.1"));
    assert_eq!(next(&read, &patch()).highest, version("2.0.1"));
    let pushed = decide(&read, &request(VersionSelector::PushedTag(version("1.9.5"))));
    let pushed = pushed.unwrap_err();
    assert!(pushed.topic == Some(Topic::VersionTooLow) && pushed.why.contains("2.0.0"), "{pushed:?}");
}

// invariant commit-order
#[test]
fn an_older_commit_is_superseded() {
    let newer = vec![known('b', "0.0.9", IMAGE, ClaimKind::Version)];
    let mut old = survey(Some("0.0.9"), &["0.0.9"], &["0.0.9"]);
    let by = Box::new(newer[0].clone());
    old.standing = CommitStatus::Older { by: by.clone(), newer: newer.clone() };
    for wanted in [
        VersionSelector::Bump(Level::Major),
        VersionSelector::Auto,
        VersionSelector::Exactly(version("9.0.0")),
    ] {
        let expected = Plan::Superseded { by: by.clone(), newer: newer.clone() };
        assert_eq!(decide(&old, &request(wanted)), Ok(expected));
    }
    let pushed = decide(&old, &request(VersionSelector::PushedTag(version("9.0.0")))).unwrap_err();
    assert!(pushed.why.contains("0.0.9"), "{}", pushed.why);
}

#[test]
fn diverged_commits_stay_tips_beside_each_other() {
    let other = Tip { commit: commit('c'), line: MAIN_LINE.to_owned() };
    let mut diverged = survey(Some("0.0.9"), &["0.0.9"], &["0.0.9"]);
    diverged.standing = CommitStatus::New { other_tips: vec![other.clone()] };
    let own = Tip { commit: commit('a'), line: MAIN_LINE.to_owned() };
    assert_eq!(next(&diverged, &patch()).tips, [other, own]);
}

proptest::proptest! {
    // invariant unique
    /// Unique and rising: whatever is there, the version is above all of it.
    #[test]
    fn the_version_is_above_all_stable_ones(
        git in proptest::collection::vec((0_u64..3, 0_u64..4, 0_u64..5), 0..8),
        registry in proptest::collection::vec((0_u64..3, 0_u64..4, 0_u64..5), 0..8),
        level in 0_usize..3,
    ) {
        let list = |triples: &[(u64, u64, u64)]| -> Vec<Version> {
            triples.iter().map(|(a, b, c)| Version::new(*a, *b, *c)).collect()
        };
        let mut read = survey(None, &[], &[]);
        read.git = list(&git);
        read.registry = RegistryVersions::Known { versions: list(&registry), held: BTreeSet::new(), others: Vec::new() };
        let level = [Level::Patch, Level::Minor, Level::Major][level];
        let found = next(&read, &request(VersionSelector::Bump(level)));
        for other in list(&git).iter().chain(&list(&registry)) {
            proptest::prop_assert!(found.version > *other);
        }
    }
}
