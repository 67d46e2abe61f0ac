//! What was said: the environment and the flags, as raw texts.

use std::collections::BTreeMap;
use std::process::Command;

use super::list;
use super::spec::{self, INPUTS, InputSpec};
use autotag_model::secret::Secret;

/// The process environment, taken once. Everything else gets it as a value, so that tests need no process.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process. Names and values that are not UTF-8 are left out: no input is one.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn of_process() -> Self {
        let pairs = std::env::vars_os();
        Self(
            pairs
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// An environment made of these pairs.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    /// A variable; an empty one counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Another program, to be started without what is not for it: the inputs, the tokens that GitHub is asked
    /// with, and those of the runner's own services.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let inputs = INPUTS.iter().flat_map(variables_of);
        for name in inputs.chain(self.0.keys().filter(|name| is_withheld(name)).cloned()) {
            command.env_remove(name);
        }
        command
    }

    /// Whether any CI started this program.
    pub fn in_ci(&self) -> bool {
        self.in_actions() || self.get("CI").is_some()
    }

    /// Whether a GitHub runner (or something like it) started this program.
    pub fn in_actions(&self) -> bool {
        self.get("GITHUB_ACTIONS") == Some("true")
    }
}

/// The raw text of every input that was given.
#[derive(Clone, Default)]
pub struct RawInputs(BTreeMap<&'static str, String>);

impl RawInputs {
    /// Inputs as the runner hands them over: `INPUT_` and the name in upper case, hyphens kept (the
    /// runner's own rule). Names with underscores are taken too, for shells, which cannot set the others;
    /// the runner's form wins. An empty text means "not given".
    pub fn from_environment(environment: &Environment) -> Self {
        let mut raw = BTreeMap::new();
        for spec in INPUTS {
            if let Some(value) = variables_of(spec).iter().find_map(|name| environment.get(name)) {
                raw.insert(spec.name, value.to_owned());
            }
        }
        Self(raw)
    }

    /// A flag overrides the environment.
    pub fn set(&mut self, name: &'static str, value: String) {
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name, value);
        }
    }

    /// Whether an input was said at all, rather than left to its default.
    pub fn names(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|text| !text.trim().is_empty())
    }

    /// The text of an input: what was said, without white space at its ends, else action.yml's default,
    /// else nothing.
    pub fn text(&self, name: &str) -> &str {
        match self.0.get(name).map(|text| text.trim()) {
            Some(text) if !text.is_empty() => text,
            _ => spec::default_of(name),
        }
    }

    /// The text, if there is any.
    pub fn given(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// A secret input.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        Secret::new(self.text(name))
    }

    /// Every form in which a secret of the inputs could show up in a log: as it was given, trimmed, in the
    /// Basic scheme's base64 (RFC 7617) with each user name it may be sent with, and each of these in upper
    /// and in lower case, as programs print what they take for a word of theirs. These are to be masked
    /// before anything else is printed.
    pub fn to_mask(&self, environment: &Environment) -> Vec<String> {
        use base64::Engine as _;
        let encode = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        let mut forms = Vec::new();
        for spec in INPUTS.iter().filter(|spec| spec.secret) {
            let Some(value) = self.0.get(spec.name).filter(|value| !value.trim().is_empty()) else {
                continue;
            };
            let trimmed = value.trim();
            forms.push(trimmed.to_owned());
            if value != trimmed {
                forms.push(value.clone());
            }
            forms.push(encode(trimmed.to_owned()));
            let actor = environment.get("GITHUB_ACTOR").unwrap_or_default();
            let users = [
                self.text("registry-username"),
                self.text("deploy-registry-username"),
                actor,
                "x-access-token",
            ];
            forms.extend(users.map(|user| encode(format!("{user}:{trimmed}"))));
        }
        // Each value alone: an application may print it without its name.
        let entries =
            list::lines(self.text("deploy-environment")).into_iter().flatten().map(|item| item.text);
        let as_written = self.text("deploy-environment").lines().map(ToOwned::to_owned);
        for entry in entries.chain(as_written) {
            let value = entry.trim().split_once('=').map_or("", |(_, value)| value.trim());
            // The runner masks a value of several lines as a whole and each line of it.
            forms.extend(Some(value.to_owned()).filter(|value| is_worth_masking(value)));
        }
        let cased = forms.iter().flat_map(|form| [form.to_uppercase(), form.to_lowercase()]);
        forms.extend(cased.collect::<Vec<_>>());
        forms.sort();
        forms.dedup();
        forms
    }
}

/// Where an input stands: the runner's form, and that of shells.
fn variables_of(spec: &InputSpec) -> [String; 2] {
    let upper = spec.name.to_uppercase();
    [format!("INPUT_{upper}"), format!("INPUT_{}", upper.replace('-', "_"))]
}

/// Whether no other program gets this variable. What is `gh`'s own (`GH_HOST`, `GH_CONFIG_DIR`) it needs.
fn is_withheld(name: &str) -> bool {
    matches!(name, "GITHUB_TOKEN" | "GH_TOKEN") || name.starts_with("INPUT_") || name.starts_with("ACTIONS_")
}

/// `on`, `1` and `true` say nothing, and a log without them says nothing either.
fn is_worth_masking(value: &str) -> bool {
    value.len() >= 4 && !matches!(value.to_ascii_lowercase().as_str(), "true" | "false" | "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_secrets_are_withheld_from_other_programs() {
        let environment = Environment::of([
            ("ACTIONS_RUNTIME_TOKEN", "a"),
            ("GITHUB_TOKEN", "a"),
            ("GH_TOKEN", "a"),
            ("INPUT_OF-ANOTHER-STEP", "a"),
            ("GH_HOST", "git.example"),
            ("GITHUB_SHA", "a"),
            ("PATH", "/bin"),
        ]);
        let command = environment.command("true");
        let taken: Vec<&str> = command
            .get_envs()
            .map(|(name, value)| {
                assert_eq!(value, None, "{name:?} is set");
                name.to_str().unwrap()
            })
            .collect();
        for name in ["ACTIONS_RUNTIME_TOKEN", "GITHUB_TOKEN", "GH_TOKEN", "INPUT_OF-ANOTHER-STEP"] {
            assert!(taken.contains(&name), "{name} is handed on");
        }
        // Also those that are not in this environment: the process may have others.
        assert!(taken.contains(&"INPUT_DEPLOY-KEY") && taken.contains(&"INPUT_DEPLOY_KEY"));
        for name in ["GH_HOST", "GITHUB_SHA", "PATH"] {
            assert!(!taken.contains(&name), "{name} is needed");
        }
    }

    #[test]
    fn a_runner_and_any_ci_are_known_by_their_variables() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let environment = Environment::of(pairs.iter().copied());
            (environment.in_ci(), environment.in_actions())
        };
        assert_eq!(of(&[]), (false, false));
        assert_eq!(of(&[("CI", "")]), (false, false));
        assert_eq!(of(&[("CI", "1")]), (true, false));
        assert_eq!(of(&[("GITHUB_ACTIONS", "true")]), (true, true));
        assert_eq!(of(&[("GITHUB_ACTIONS", "false")]), (false, false));
        assert!(Environment::of_process().get("PATH").is_some(), "this process has one");
    }

    #[test]
    fn white_space_says_nothing() {
        let mut raw = RawInputs::default();
        raw.set("bump", " \n".to_owned());
        raw.set("image", " ghcr.io/org/app ".to_owned());
        assert!(!raw.names("bump") && raw.names("image") && !raw.names("version"));
        assert_eq!(raw.text("bump"), spec::default_of("bump"));
        assert_eq!(raw.given("image"), Some("ghcr.io/org/app"));
        raw.set("image", String::new());
        assert!(!raw.names("image"));
    }

    #[test]
    fn the_runners_names_are_read_and_defaults_fill_the_rest() {
        let environment = Environment::of([
            ("INPUT_IMAGE", "ghcr.io/org/app"),
            ("INPUT_TAG-PREFIX", "api-v"),
            ("INPUT_INITIAL_VERSION", "1.0.0"),
            ("INPUT_BUMP", ""),
        ]);
        let raw = RawInputs::from_environment(&environment);
        assert_eq!(raw.text("image"), "ghcr.io/org/app");
        assert_eq!(raw.text("tag-prefix"), "api-v");
        assert_eq!(raw.text("initial-version"), "1.0.0");
        assert_eq!(raw.text("bump"), "patch", "an empty text means not given");
        assert_eq!(raw.given("github-token"), None, "an expression in a default is the runner's to fill in");
    }

    // invariant secrets: Secrets are masked in every form; broken by: `src/inputs/raw.rs`: one form is left
    //   out
    #[test]
    fn secrets_are_masked_in_every_form() {
        let environment = Environment::of([
            ("INPUT_REGISTRY-PASSWORD", " hunter2\n"),
            ("INPUT_REGISTRY-USERNAME", "me"),
            ("INPUT_WORKFLOW-TOKEN", "t0ken"),
            ("INPUT_DEPLOY-ENVIRONMENT", "API_KEY=s3cret value\nFEATURE_X=on"),
            ("GITHUB_ACTOR", "octocat"),
        ]);
        let forms = RawInputs::from_environment(&environment).to_mask(&environment);
        // The last one is octocat:t0ken, which GitHub's own registry gets.
        assert!(!forms.iter().any(|form| form == "on"), "{forms:?}");
        for form in [
            "s3cret value",
            "hunter2",
            " hunter2\n",
            "bWU6aHVudGVyMg==",
            "aHVudGVyMg==",
            "b2N0b2NhdDp0MGtlbg==",
            // Case X6.
            "S3CRET VALUE",
            "HUNTER2",
            "T0KEN",
            "AHVUDGVYMG==",
            "ahvudgvymg==",
        ] {
            assert!(forms.iter().any(|found| found == form), "{form:?} is missing in {forms:?}");
        }
    }
}
