//! The variables of a container, and who sets them. Pure.

use std::collections::BTreeMap;

use super::app_file::{AppFile, VariableName};
use autotag_model::secret::Secret;
use autotag_protocol::{EnvironmentKey, RefusalCode, Refused};

/// The environment that a container gets: CI's, where the app file allows it; over it the files', later
/// ones first; over them the app file's own. What the owner says wins.
pub fn environment(
    file: &AppFile,
    files: &[BTreeMap<VariableName, Secret>],
    given: &BTreeMap<EnvironmentKey, Secret>,
) -> Result<BTreeMap<VariableName, Secret>, Refused> {
    let strange: Vec<&str> = given
        .keys()
        .filter(|key| !file.allow_environment.contains(*key))
        .map(EnvironmentKey::as_str)
        .collect();
    if !strange.is_empty() {
        return Err(Refused::new(
            RefusalCode::Environment,
            format!(
                "the app file does not allow these variables: {}. Its owner can add them to `allow_environment`",
                strange.join(", ")
            ),
        ));
    }
    let mut merged: BTreeMap<VariableName, Secret> =
        given.iter().map(|(key, value)| (key.clone().into(), value.clone())).collect();
    for variables in files.iter().chain([&file.environment]) {
        merged.extend(variables.clone());
    }
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "image: ghcr.io/org/app\nport: 1\nlisten: 1\nenvironment: {A: owner}\nallow_environment: [A, B, C, D]\n";

    fn file() -> AppFile {
        AppFile::parse(FILE).expect("an app file")
    }

    fn variables<K: std::str::FromStr<Err: std::fmt::Debug> + Ord>(
        pairs: &[(&str, &str)],
    ) -> BTreeMap<K, Secret> {
        pairs
            .iter()
            .map(|(key, value)| (key.parse().unwrap(), Secret::verbatim((*value).to_owned())))
            .collect()
    }

    #[test]
    fn the_owners_environment_wins() {
        let files =
            [variables(&[("A", "file"), ("B", "file"), ("C", "first")]), variables(&[("C", "second")])];
        let given = variables(&[("A", "ci"), ("B", "ci"), ("C", "ci"), ("D", "ci")]);
        let merged = environment(&file(), &files, &given).expect("allowed");
        assert_eq!(merged, variables(&[("A", "owner"), ("B", "file"), ("C", "second"), ("D", "ci")]));
        let refused =
            environment(&file(), &[], &variables(&[("D", "x"), ("E", "hunter2"), ("PATH", "hunter2")]))
                .expect_err("not allowed");
        assert_eq!(refused.code, RefusalCode::Environment);
        assert!(refused.message.contains("E, PATH") && !refused.message.contains("hunter2"), "{refused}");
    }
}
