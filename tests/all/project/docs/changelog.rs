//! The form of the changelog.

use super::read;

#[test]
fn the_changelog_has_its_form() {
    let text = read("CHANGELOG.md");
    let headings: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(headings.first(), Some(&"[Unreleased]"), "what comes next stands first");
    let mut versions = Vec::new();
    for heading in &headings[1..] {
        let (version, date) = heading
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] - "))
            .unwrap_or_else(|| panic!("expected `## [1.2.3] - 2026-01-31`, found {heading:?}"));
        versions.push(version.parse::<semver::Version>().expect("a version"));
        let date: Vec<&str> = date.split('-').collect();
        assert_eq!(date.iter().map(|part| part.len()).collect::<Vec<_>>(), [4, 2, 2], "{heading}");
    }
    assert!(versions.windows(2).all(|pair| pair[0] > pair[1]), "newest first, each once: {versions:?}");
    let kinds = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let mut empty_since = None;
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("### ") {
            assert!(kinds.contains(&kind), "{kind} is no kind of change (Keep a Changelog 1.1.0)");
            assert_eq!(empty_since, None, "nothing stands below it");
            empty_since = Some(kind);
        } else if line.starts_with("- ") {
            empty_since = None;
        }
    }
    assert_eq!(empty_since, None, "nothing stands below it");
    let current: semver::Version = env!("CARGO_PKG_VERSION").parse().expect("the package's version");
    let unreleased = text.split("## [Unreleased]").nth(1).and_then(|rest| rest.split("\n## ").next());
    assert!(
        versions.contains(&current) || unreleased.is_some_and(|changes| changes.contains("\n- ")),
        "neither a heading for {current} nor a change under Unreleased"
    );
}
