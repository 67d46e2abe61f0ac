//! The labels that every image gets.
//!
//! Names are those of the OCI image specification, "Pre-Defined Annotation Keys".

use std::collections::BTreeMap;

use semver::Version;

use crate::git::ObjectId;

/// The version; the receiver compares it with what it is asked to deploy.
pub const VERSION: &str = "org.opencontainers.image.version";
/// The commit.
pub const REVISION: &str = "org.opencontainers.image.revision";
/// The commit's time: a rebuild of the same commit has the same.
pub const CREATED: &str = "org.opencontainers.image.created";
/// The repository's page. GHCR links a package to its repository by this label.
pub const SOURCE: &str = "org.opencontainers.image.source";
/// The repository's name.
pub const TITLE: &str = "org.opencontainers.image.title";

/// Labels that say what was released; a user's value would make them lie.
pub fn is_reserved(key: &str) -> bool {
    matches!(key, VERSION | REVISION | CREATED)
}

/// What the labels are made from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// The version.
    pub version: &'a Version,
    /// The commit.
    pub commit: &'a ObjectId,
    /// The commit's time, RFC 3339.
    pub created: &'a str,
    /// The repository's page.
    pub source: &'a str,
    /// `owner/name`.
    pub repository: &'a str,
}

/// Ours and the user's; where both name a source or title, the user's.
pub fn labels(facts: &Facts<'_>, users: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let title = facts.repository.rsplit('/').next().unwrap_or(facts.repository);
    let mut labels =
        BTreeMap::from([(SOURCE.to_owned(), facts.source.to_owned()), (TITLE.to_owned(), title.to_owned())]);
    labels.extend(users.clone());
    labels.insert(VERSION.to_owned(), facts.version.to_string());
    labels.insert(REVISION.to_owned(), facts.commit.to_string());
    labels.insert(CREATED.to_owned(), facts.created.to_owned());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_may_retitle_but_not_reversion() {
        let commit: ObjectId = "a".repeat(40).parse().unwrap();
        let facts = Facts {
            version: &Version::new(1, 2, 3),
            commit: &commit,
            created: "2026-01-02T03:04:05Z",
            source: "https://github.com/org/app",
            repository: "org/app",
        };
        let users =
            BTreeMap::from([(TITLE.to_owned(), "My app".to_owned()), (VERSION.to_owned(), "9".to_owned())]);
        let labels = labels(&facts, &users);
        assert_eq!(labels[TITLE], "My app");
        assert_eq!(labels[VERSION], "1.2.3");
        assert_eq!(labels[REVISION], commit.as_str());
        assert_eq!(labels[SOURCE], "https://github.com/org/app");
        // What a user's value would change nothing of is refused as an input, and nothing else is.
        for (key, reserved) in
            [(VERSION, true), (REVISION, true), (CREATED, true), (SOURCE, false), (TITLE, false)]
        {
            assert_eq!(is_reserved(key), reserved, "{key}");
        }
    }
}
