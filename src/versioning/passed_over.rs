//! Tags that stand for versions of this project and do not count as such, where a first claim would go below them.

use std::fmt;

use semver::Version;

use super::form::{Reading, name_of};
use super::tag::{TagPrefix, is_stable};
use autotag_model::reference::ImageName;

/// What was read, as far as it can be passed over.
#[derive(Debug, Clone, Copy)]
pub struct Tags<'a> {
    /// Git tags of any prefix that read like versions and are none of the prefix.
    pub git_others: &'a [String],
    /// The registry's tags that read like versions and are none.
    pub registry_others: &'a [String],
    /// The versions among the Git tags of the prefix, prereleases included.
    pub git: &'a [Version],
    /// The versions among the registry's tags, prereleases included.
    pub registry: &'a [Version],
}

/// Whose they have to be, and what they have to be above.
#[derive(Debug, Clone, Copy)]
pub struct Floor<'a> {
    /// The prefix of this run's tags.
    pub prefix: &'a TagPrefix,
    /// The image of this run.
    pub image: &'a ImageName,
    /// The version that would be claimed, or the highest that counts.
    pub version: &'a Version,
    /// Whether some version counts. Then a tag only matters that is nearly one, `v0.13` above `v0.1.0`.
    pub some_count: bool,
}

/// The tags that stand for something higher and do not count, the highest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PassedOver {
    git: Vec<String>,
    registry: Vec<String>,
    next: Option<Version>,
    prefix: Option<TagPrefix>,
}

/// How many tags a message names of each place.
const NAMED: usize = 5;

impl PassedOver {
    /// Finds them. Left out are other parts of a monorepo (`api-v1.2.3` for `web-v`), words (`latest`,
    /// `sha-…`), and floating tags of versions that count (`v1` beside `v1.2.3`).
    pub fn find(tags: Tags<'_>, floor: Floor<'_>) -> Self {
        let of_git = readings(tags.git_others).filter(|(_, reading)| is_of_project(reading, floor, true));
        let of_registry =
            readings(tags.registry_others).filter(|(_, reading)| is_of_project(reading, floor, false));
        let counts = |(name, reading): &(&str, Reading<'_>)| {
            let is_above = reading.compare(floor.version).is_gt();
            let known = || tags.git.iter().chain(tags.registry);
            let nearly = reading.is_nearly_a_version()
                && (name.starts_with(floor.prefix.as_str()) || reading.name().is_empty())
                && !known().any(|version| reading.covers(version));
            is_above && (nearly || !floor.some_count)
        };
        let git: Vec<_> = of_git.filter(counts).collect();
        let registry: Vec<_> = of_registry.filter(counts).collect();
        // Nothing but prereleases is nothing that counts; beside a version that counts they are as usual.
        let early = |versions: &[Version]| -> Vec<Version> {
            let above =
                |version: &&Version| !is_stable(version) && version.cmp_precedence(floor.version).is_gt();
            if floor.some_count { Vec::new() } else { versions.iter().filter(above).cloned().collect() }
        };
        let (early_git, early_registry) = (early(tags.git), early(tags.registry));
        let finished = |version: &Version| Version::new(version.major, version.minor, version.patch);
        let next = git.iter().chain(&registry).filter_map(|(_, reading)| reading.next());
        let next = next.chain(early_git.iter().chain(&early_registry).map(finished)).max();
        let prefix = git.iter().filter(|_| !floor.some_count).find_map(|(_, reading)| prefix_of(reading));
        let tag_of = |version: &Version| floor.prefix.tag_of(version);
        Self {
            git: highest_first(git, &early_git, tag_of),
            registry: highest_first(registry, &early_registry, ToString::to_string),
            next,
            prefix,
        }
    }

    /// The version that would come after them; `None` where there are none.
    pub fn next(&self) -> Option<&Version> {
        self.next.as_ref()
    }

    /// The prefix by which the Git tags would count, where there is one.
    pub fn prefix(&self) -> Option<&TagPrefix> {
        self.prefix.as_ref()
    }
}

fn readings(tags: &[String]) -> impl Iterator<Item = (&str, Reading<'_>)> {
    tags.iter().filter_map(|tag| Some((tag.as_str(), Reading::of(tag)?)))
}

/// Whether a tag is this project's: it names what the prefix names. Without a name (`v`, `release-`) that is also
/// what the image is called; a registry's repository holds one project, whose tags need no name.
fn is_of_project(reading: &Reading<'_>, floor: Floor<'_>, in_git: bool) -> bool {
    let (name, own) = (reading.name(), name_of(floor.prefix.as_str()));
    let image = floor.image.to_string();
    let image = image.rsplit('/').next().unwrap_or_default().to_lowercase();
    name == own || (own.is_empty() && name == image) || (!in_git && name.is_empty())
}

/// The prefix that makes a version of this tag.
fn prefix_of(reading: &Reading<'_>) -> Option<TagPrefix> {
    let version: Version = reading.rest.parse().ok()?;
    let word = if reading.word.is_empty() { "none" } else { reading.word };
    word.parse().ok().filter(|_| is_stable(&version))
}

fn highest_first(
    mut tags: Vec<(&str, Reading<'_>)>,
    early: &[Version],
    tag_of: impl Fn(&Version) -> String,
) -> Vec<String> {
    tags.sort_by(|(_, a), (_, b)| b.numbers.cmp(&a.numbers));
    let early = early.iter().rev().map(tag_of);
    tags.into_iter().map(|(name, _)| name.to_owned()).chain(early).collect()
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (place, tags) in [("Git has", &self.git), ("the registry has", &self.registry)] {
            if tags.is_empty() {
                continue;
            }
            let named: Vec<&str> = tags.iter().take(NAMED).map(String::as_str).collect();
            write!(f, "{separator}{place} {}", named.join(", "))?;
            if tags.len() > NAMED {
                write!(f, " and {} more", tags.len() - NAMED)?;
            }
            separator = "; ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn versions(list: &[&str]) -> Vec<Version> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// Splits what is there as the survey does, and looks above 0.0.1 or the highest that counts.
    fn found(prefix: &str, git: &[&str], registry: &[&str]) -> PassedOver {
        let prefix: TagPrefix = prefix.parse().unwrap();
        let is_version = |tag: &&&str| prefix.version_of(tag).is_some();
        let of_git: Vec<Version> = git.iter().filter_map(|tag| prefix.version_of(tag)).collect();
        let strict: Vec<&str> =
            registry.iter().copied().filter(|tag| tag.parse::<Version>().is_ok()).collect();
        let of_registry = versions(&strict);
        let counted = crate::versioning::tag::highest_stable(of_git.iter().chain(&of_registry)).cloned();
        let others: Vec<&str> = git.iter().filter(|tag| !is_version(tag)).copied().collect();
        let registry: Vec<&str> = registry.iter().copied().filter(|tag| !strict.contains(tag)).collect();
        let tags = Tags {
            git_others: &texts(&others),
            registry_others: &texts(&registry),
            git: &of_git,
            registry: &of_registry,
        };
        let floor = Floor {
            prefix: &prefix,
            image: &"ghcr.io/org/app".parse().unwrap(),
            version: &counted.clone().unwrap_or(Version::new(0, 0, 1)),
            some_count: counted.is_some(),
        };
        PassedOver::find(tags, floor)
    }

    // case A3; broken by: `find` gives what it finds for every prefix; names are not compared
    #[test]
    fn only_versions_above_a_first_claim_are_found() {
        for (prefix, git, registry, next) in [
            // Another form, another prefix, dates, the registry alone, prereleases alone.
            ("v", &["v0.12", "v0.13"][..], &[][..], Some("0.14.0")),
            ("v", &["v1", "v2"], &[], Some("3.0.0")),
            ("v", &["1.2.3"], &[], Some("1.2.4")),
            ("v", &["release-1.2.3", "release-1.10.0"], &[], Some("1.10.1")),
            ("v", &["v2024.05.01"], &[], Some("2024.5.2")),
            ("v", &["2024-05-01"], &[], Some("2024.5.2")),
            ("v", &["app-1.2.3"], &[], Some("1.2.4")),
            ("v", &[], &["v1.4.0"], Some("1.4.1")),
            ("v", &[], &["1.4", "latest"], Some("1.5.0")),
            ("v", &["v1.0.0-rc.1"], &[], Some("1.0.0")),
            ("none", &["v1.2.3"], &[], Some("1.2.4")),
            ("api-v", &["api-1.2.3", "v9.0.0"], &[], Some("1.2.4")),
            ("api-v", &[], &["v1.2"], Some("1.3.0")),
            // Beside what counts: only what is nearly a version, and above it.
            ("v", &["v0.1.0", "v0.12"], &[], Some("0.13.0")),
            ("v", &["v0.1.0"], &["v1.4.0"], Some("1.4.1")),
            // Harmless: nothing, words, floating tags, what is below, other parts of a monorepo.
            ("v", &[], &[], None),
            (
                "v",
                &["nightly", "latest", "v-next"],
                &["latest", "main", "sha-0123456789ab-0123456789ab"],
                None,
            ),
            ("v", &["v1", "v1.2", "v1.2.3"], &["1", "1.2", "1.2.3", "latest"], None),
            ("v", &["v1"], &["1.2.3"], None),
            ("v", &["v1.2.3", "v2"], &["2", "20240501"], None),
            ("v", &["v1.2.3", "v1.3.0-rc.1", "v1.3"], &[], None),
            ("v", &["v1.2.3", "2024-05-01", "v1.1"], &[], None),
            ("v", &["v0", "v0.0", "v0.0.0-dev"], &[], None),
            ("v", &["api-v1.2.3", "web/2.0.0", "pr-12"], &["pr-12", "ci-1.2"], None),
            ("web-v", &["api-v1.2.3", "v1.2.3", "release-2"], &[], None),
        ] {
            let found = found(prefix, git, registry).next().map(ToString::to_string);
            assert_eq!(found.as_deref(), next, "{prefix} {git:?} {registry:?}");
        }
    }

    #[test]
    fn passed_over_tags_are_listed_highest_first_with_a_prefix() {
        let many = ["v0.1", "v0.2", "v0.10", "v0.3", "v0.4", "v0.5", "v0.6"];
        let found_many = found("v", &many, &["v1.4.0"]);
        assert_eq!(
            found_many.to_string(),
            "Git has v0.10, v0.6, v0.5, v0.4, v0.3 and 2 more; the registry has v1.4.0"
        );
        assert_eq!(found_many.prefix(), None, "no prefix makes versions of them");
        let prefix = |git: &[&str]| found("v", git, &[]).prefix().map(ToString::to_string);
        assert_eq!(prefix(&["release-1.2.3"]).as_deref(), Some("release-"));
        assert_eq!(prefix(&["1.2.3"]).as_deref(), Some("none"));
    }

    proptest::proptest! {
        /// Whatever is found is above what would be claimed, so that its like can never be undercut.
        #[test]
        fn what_is_found_has_a_next_version_above_the_floor(
            git in proptest::collection::vec("v?[0-9]{1,2}(\\.[0-9]{1,2}){0,3}|[a-z]{2,6}", 0..6),
        ) {
            let names: Vec<&str> = git.iter().map(String::as_str).collect();
            let found = found("v", &names, &[]);
            if let Some(next) = found.next() {
                proptest::prop_assert!(*next > Version::new(0, 0, 1));
                proptest::prop_assert!(found.to_string().starts_with("Git has "));
            } else {
                proptest::prop_assert_eq!(found.to_string(), "");
            }
        }
    }
}
