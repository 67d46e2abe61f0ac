//! What inputs mean, in tables.

use super::*;
use crate::inputs::InputErrors;
use crate::inputs::raw::Environment;
use crate::versioning::bump::Level;
use crate::versioning::plan::VersionSelector;
use semver::Version;

fn run_of(pairs: &[(&str, &str)]) -> Run {
    let sha = "a".repeat(40);
    let mut all = vec![
        ("GITHUB_REPOSITORY", "Org/App"),
        ("GITHUB_SHA", sha.as_str()),
        ("GITHUB_ACTOR", "octocat"),
        ("GITHUB_EVENT_NAME", "push"),
        ("GITHUB_REF", "refs/heads/main"),
        ("GITHUB_WORKSPACE", "/checkout"),
    ];
    all.extend(pairs);
    Run::read(&Environment::of(all), &crate::inputs::run::Overrides::default(), &mut InputErrors::default())
        .expect("the run is complete")
}

fn parse_in(run: &Run, inputs: &[(&'static str, &str)]) -> Result<Request, InputErrors> {
    let mut raw = RawInputs::default();
    for (name, value) in inputs {
        raw.set(name, (*value).to_owned());
    }
    let mut errors = InputErrors::default();
    Request::parse(&raw, run, &mut errors).ok_or(errors)
}

fn parse(inputs: &[(&'static str, &str)]) -> Result<Request, InputErrors> {
    parse_in(&run_of(&[]), inputs)
}

// invariant command-line: Completions offer the words that are accepted; broken by: `src/inputs/spec.rs`: a
//   word is missing
/// Help and completions offer the table's words; this is what judges them.
#[test]
fn every_offered_value_is_accepted() {
    use crate::inputs::spec::{INPUTS, Takes};
    let mut seen = 0;
    for spec in INPUTS {
        let words: &[&str] = match spec.takes {
            Takes::Word(words) => words,
            Takes::Truth => &["true", "false"],
            _ => continue,
        };
        seen += 1;
        let base = [
            ("deploy-host", "web1"),
            ("deploy-key", KEY),
            ("deploy-known-hosts", "SHA256:uNiVztksCsDhcc0u9e8BrrUcLB3N6FWBEm9vyjNOgIs"),
        ];
        let with = |word| parse(&[&base[..], &[(spec.name, word)]].concat());
        let orders: Vec<String> = words.iter().map(|word| format!("{:?}", with(word).expect(word))).collect();
        assert_ne!(orders[0], orders[orders.len() - 1], "{}: what is said makes no difference", spec.name);
        let errors = with("nonsense").expect_err(spec.name).to_string();
        for word in words {
            assert!(errors.contains(&format!("`{word}`")), "{}: {word} is not expected: {errors}", spec.name);
        }
        assert_eq!(errors.matches('`').count(), 2 * (words.len() + 2), "{}: others are: {errors}", spec.name);
    }
    assert!(seen > 8, "only {seen} inputs take words");
}

const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";

#[test]
fn nothing_given_is_enough() {
    let request = parse(&[]).expect("defaults are valid");
    assert_eq!(request.version.image.to_string(), "ghcr.io/org/app");
    assert!(
        request.notices[0].contains("Org/App"),
        "upper case is lowered with a notice: {:?}",
        request.notices
    );
    assert_eq!(request.claim_ref.as_str(), "refs/autotag/v/head");
    assert_eq!(request.version.selector, VersionSelector::Bump(Level::Patch));
    assert_eq!(request.registry, None);
    let ImageSource::Build(build) = &request.source else { panic!("it is built") };
    assert_eq!(build.dockerfile, PathBuf::from("/checkout/./Dockerfile"));
}

#[test]
fn all_errors_of_all_inputs_are_reported_at_once() {
    let errors = parse(&[
        ("command", "relase"),
        ("image", "ghcr.io/org/app:1"),
        ("registry-username", "me"),
        ("bump", "huge"),
        ("version", "v1.2.3"),
        ("tag-prefix", "v 1"),
        ("initial-version", "1.0.0+build"),
        ("platforms", "linux/amd64,linux/arm64"),
        ("build-args", "A=1\nB\nVERSION=2\nA=3"),
        ("labels", "org.opencontainers.image.version=1"),
        ("cache", "gha"),
        ("no-cache", "yes"),
        ("image-digest", "sha256:123"),
        ("latest", "always"),
        ("release", "1"),
        ("claim-ref", "head"),
        ("log-format", "xml"),
    ])
    .expect_err("nearly everything is wrong");
    insta::assert_snapshot!(errors);
}

#[test]
fn a_secret_is_never_shown() {
    let errors = parse(&[("registry-password", "hunter2")]).expect_err("the user name is missing");
    assert!(errors.to_string().contains("registry-username"));
    assert!(!errors.to_string().contains("hunter2"));
}

/// A fork's has no secrets, and publishes nothing.
#[test]
fn only_a_pull_request_may_lack_the_registry_password() {
    let fork = run_of(&[("GITHUB_EVENT_NAME", "pull_request"), ("GITHUB_REF", "refs/pull/1/merge")]);
    let request = parse_in(&fork, &[("registry-username", "me")]).expect("no fault of the fork's");
    assert_eq!(request.registry, None);
    assert!(
        request.notices.iter().any(|notice| notice.contains("registry-password")),
        "{:?}",
        request.notices
    );
    let errors = parse(&[("registry-username", "me")]).expect_err("the password is missing").to_string();
    assert!(errors.starts_with("`registry-password`: ") && errors.contains("me"), "{errors}");
}

#[test]
fn the_workflow_token_is_for_githubs_own_registry_alone() {
    let ghes = run_of(&[("GITHUB_SERVER_URL", "https://git.example")]);
    for (run, image, password) in [
        (run_of(&[]), "ghcr.io/org/app", Some("t0ken")),
        (run_of(&[]), "docker.io/org/app", None),
        (run_of(&[]), "ghcr.io.example/org/app", None),
        (ghes.clone(), "containers.git.example/org/app", Some("t0ken")),
        (ghes.clone(), "ghcr.io/org/app", None),
    ] {
        let request = parse_in(&run, &[("image", image), ("workflow-token", "t0ken")]).expect(image);
        let found = request.registry.as_ref().map(|found| found.password.reveal());
        assert_eq!(found, password, "{image} on {}", run.server_url);
    }
    let own =
        parse(&[("workflow-token", "t"), ("registry-username", "me"), ("registry-password", "p")]).unwrap();
    assert_eq!(own.registry.unwrap().username, "me");
}

#[test]
fn a_platform_is_one_in_dockers_words() {
    let platform = |text: &str| match parse(&[("platforms", text)]).map(|request| request.source) {
        Ok(ImageSource::Build(build)) => Ok(build.platform),
        Ok(ImageSource::Digest(_)) => panic!("it is built"),
        Err(errors) => Err(errors.to_string()),
    };
    for text in ["linux/amd64", "linux/arm/v7", "linux/x86_64"] {
        assert_eq!(platform(text), Ok(Some(text.to_owned())));
    }
    for text in ["linux", "linux/", "/amd64", "linux/arm/v7/x", "linux/a-b", "linux/a b"] {
        assert!(platform(text).expect_err(text).contains("`os/architecture`"), "{text}");
    }
    let two = platform("linux/amd64,linux/arm64").unwrap_err();
    insta::assert_snapshot!(two, @r#"`platforms`: expected one platform: images for several are not built yet, found "linux/amd64,linux/arm64" (example: `linux/amd64`)"#);
    assert!(platform("linux/amd64\nlinux/arm64").unwrap_err().starts_with("`platforms`: "));
}

#[test]
fn pairs_are_a_key_and_a_value_a_line() {
    let arguments = |text: &str| match parse(&[("build-args", text)]).map(|request| request.source) {
        Ok(ImageSource::Build(build)) => Ok(build.build_args.into_iter().collect::<Vec<_>>()),
        Ok(ImageSource::Digest(_)) => panic!("it is built"),
        Err(errors) => Err(errors.to_string()),
    };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(arguments("A=1\n\n  B = a=b \n"), Ok(vec![pair("A", "1"), pair("B", " a=b")]));
    // Case A8.
    assert_eq!(arguments("# A=1\n\"B=2, 3\"\n"), Ok(vec![pair("B", "2, 3")]));
    let no_pairs = ["A", "=1", " =1", "A B=1", "A\tB=1", "A=1\nB\n", "A=1\n\"B=2", "A=1\nA=2"];
    let no_names = ["'A=1'", "A-B=1", "1A=1", "A.B=1", "`A=1`", "-A=1", "\u{e4}=1", "VERSION=1"];
    let all: Vec<String> = (no_pairs.iter().chain(&no_names))
        .map(|text| format!("{text:?}\n    {}", arguments(text).expect_err(text)))
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_versions_build_argument_may_have_another_name_or_none() {
    let name = |inputs: &[(&'static str, &str)]| match parse(inputs).expect("valid").source {
        ImageSource::Build(build) => (build.version_arg, build.build_args.contains_key("VERSION")),
        ImageSource::Digest(_) => panic!("it is built"),
    };
    assert_eq!(name(&[]), (Some("VERSION".to_owned()), false));
    let renamed = [("version-build-arg", "APP_VERSION"), ("build-args", "VERSION=3")];
    assert_eq!(name(&renamed), (Some("APP_VERSION".to_owned()), true));
    assert_eq!(name(&[("version-build-arg", "none"), ("build-args", "VERSION=3")]), (None, true));
    assert!(
        parse(&[("version-build-arg", "a-b")])
            .expect_err("no name")
            .to_string()
            .contains("version-build-arg")
    );
}

#[test]
fn invalid_branch_names_are_faults() {
    let reported = |text: &str| match parse(&[("release-branches", text)]) {
        Ok(request) => Ok(request.release_branches),
        Err(errors) => Err(errors.to_string()),
    };
    let matching =
        |words: &[&str]| Ok(ReleaseBranches::Matching(words.iter().map(|word| (*word).to_owned()).collect()));
    assert_eq!(reported("\"main\", release/*\n# dev\nnext"), matching(&["main", "release/*", "next"]));
    for text in ["'main'", "main dev", "main\"", "\"main", "a\\b"] {
        assert!(reported(text).expect_err(text).contains("`release-branches`"), "{text}");
    }
}

#[test]
fn a_version_is_stable_and_fits_into_a_tag() {
    let reported = |text: &str| parse(&[("version", text)]).map(|_| ()).map_err(|errors| errors.to_string());
    assert_eq!(reported("1.2.3"), Ok(()));
    for (text, expected) in
        [("1.2.3+b", "without `+build`"), ("1.2.3-rc.1", "prerelease"), ("1.2", "by SemVer 2")]
    {
        assert!(reported(text).expect_err(text).contains(expected), "{text}");
    }
}

/// GitHub is asked for it only then.
#[test]
fn the_default_branch_matters_only_without_release_branches() {
    let matters = |run: &Run, inputs: &[(&'static str, &str)]| {
        parse_in(run, inputs).expect("valid").depends_on_default_branch(run)
    };
    let (push, tag) = (run_of(&[]), run_of(&[("GITHUB_REF", "refs/tags/v1.2.3")]));
    assert!(matters(&push, &[]));
    assert!(!matters(&push, &[("release-branches", "main")]), "the branches are named");
    assert!(!matters(&tag, &[]), "a tag is no branch");
    let deploys = [
        ("command", "deploy"),
        ("deploy-host", "web1"),
        ("deploy-key", KEY),
        ("deploy-known-hosts", "SHA256:uNiVztksCsDhcc0u9e8BrrUcLB3N6FWBEm9vyjNOgIs"),
    ];
    assert!(!matters(&push, &deploys), "it releases nothing");
}

#[test]
fn the_logs_format_is_known_before_the_rest() {
    for (value, expected) in [("json", LogFormat::Json), ("text", LogFormat::Text), ("xml", LogFormat::Text)]
    {
        let mut raw = RawInputs::default();
        raw.set("log-format", value.to_owned());
        assert_eq!(log_format(&raw), expected, "{value}");
    }
    assert_eq!(log_format(&RawInputs::default()), LogFormat::Text);
}

#[test]
fn only_release_branches_and_version_tags_release() {
    let found = |pairs: &[(&str, &str)], inputs: &[(&'static str, &str)]| {
        let run = run_of(pairs);
        let request = parse_in(&run, inputs).expect("valid");
        (request.mode(&run, "main").publishes(), request.version.selector)
    };
    for (event, reference, branches, releases) in [
        ("push", "refs/heads/main", "", true),
        ("push", "refs/heads/dev", "", false),
        ("push", "refs/heads/release/2", "main, release/*", true),
        ("push", "refs/heads/main", "release/*", false),
        ("pull_request", "refs/pull/1/merge", "", false),
        ("pull_request_target", "refs/heads/main", "", false),
        ("push", "refs/tags/v1.2.3", "", true),
        ("push", "refs/tags/v1", "", false),
        ("push", "refs/tags/v1.2.3-rc.1", "", false),
    ] {
        let pairs = [("GITHUB_EVENT_NAME", event), ("GITHUB_REF", reference)];
        let (publishes, _) = found(&pairs, &[("release-branches", branches)]);
        assert_eq!(publishes, releases, "{event} {reference} {branches:?}");
    }
    let pushed = VersionSelector::PushedTag(Version::new(1, 2, 3));
    let tag = [("GITHUB_REF", "refs/tags/v1.2.3")];
    assert_eq!(found(&tag, &[]), (true, pushed.clone()));
    assert_eq!(found(&tag, &[("command", "plan")]), (false, pushed.clone()));
    assert_eq!(found(&tag, &[("dry-run", "true")]), (false, pushed));
    let other = [("GITHUB_REF", "refs/tags/v1")];
    assert_eq!(found(&other, &[]), (false, VersionSelector::Bump(Level::Patch)));
    assert!(!found(&[], &[("dry-run", "true")]).0 && !found(&[], &[("command", "plan")]).0);
}
