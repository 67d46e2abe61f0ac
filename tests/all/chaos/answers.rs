//! One fault at a time, and what the run does and says about it.

use std::time::Duration;

use autotag_base::clock::Stopwatch;

use super::behind::Behind;
use crate::action::release::Project;
use crate::action::workflow::Finished;
use testkit::clock::now;
use testkit::images::tiny_image::INDEX;
use testkit::network::chaos::{Harm, Wait, http_date};
use testkit::network::faults::Fault;
use testkit::network::pager::{Links, Pager};

fn behind() -> Behind {
    let mut behind = Behind::new("directed".to_owned(), &Behind::logins()[2]);
    behind.merge("patch");
    behind
}

/// The one annotation of a failed run.
fn error_of(run: &Finished) -> &str {
    let errors = run.annotations("error");
    assert_eq!(errors.len(), 1, "{run}");
    errors[0]
}

// invariant others-answers: The time asked for is kept; broken by: `src/adapters/http_error.rs`: `Retry-After` is not
//   read
#[test]
fn the_time_that_a_busy_server_asks_for_is_kept() {
    for (pattern, status, wait) in [
        ("POST /graphql", 429, Wait::Seconds(1)),
        ("GET */git/ref/*", 503, Wait::Date(2)),
        ("PUT *", 503, Wait::Seconds(1)),
        ("GET */tags/list", 429, Wait::Date(2)),
    ] {
        let behind = behind();
        let is_github = pattern.contains("/git") || pattern.contains("/graphql");
        let chaos = if is_github { &behind.github } else { &behind.registry };
        chaos.strike(pattern, Harm::Busy(status, wait));
        let stopwatch = Stopwatch::start();
        let run = behind.run(0).finish().ended("released");
        // A date names a whole second: two from now may be a little more than one.
        assert!(stopwatch.elapsed() >= Duration::from_secs(1), "{pattern} {status} {wait:?}: {run}");
        behind.converge();
    }
}

// invariant others-answers: A day is not waited for; broken by: `src/adapters/retry.rs`: the time asked for is
//   cut to the longest pause
#[test]
fn a_wait_of_a_day_is_refused_at_once() {
    let day = i64::from(24 * 60 * 60);
    for status in [429, 503] {
        for asked in [day.to_string(), http_date(now() + day)] {
            let fault = |pattern: &str| {
                let body = serde_json::json!({ "message": "later" });
                Fault::on(pattern).answer(status, body).header("retry-after", &asked).always()
            };
            let project = Project::new();
            let commit = project.merge("one");
            let pager = Pager::before(project.registry.host(), 100, Links::Relative);
            let image = format!("{}/org/app", pager.host());
            pager.inject(fault("GET */tags/list"));
            let refused = |run: Finished, what: &str| {
                let run = run.failed(4);
                let text = error_of(&run);
                let seconds = text.split("asked to wait ").nth(1).and_then(|rest| rest.split(' ').next());
                let seconds = seconds.and_then(|seconds| seconds.parse().ok());
                // Of a date, some of it has passed by the time that it is read.
                assert!(
                    seconds.is_some_and(|left| (day - 60..=day).contains(&left)),
                    "{status} {asked}: {run}"
                );
                assert!(text.contains(what), "{status} {asked}: {run}");
            };
            refused(project.release(&commit).with("image", &image).finish(), "listing the tags");
            let lists = pager.seen().iter().filter(|seen| seen.target.contains("tags/list")).count();
            assert_eq!(lists, 1, "asked again before the time");
            project.github.inject(fault("GET */git/matching-refs/*"));
            refused(project.release(&commit).finish(), "listing the Git tags");
            assert_eq!(project.github.count("GET */git/matching-refs/*"), 1, "asked again before the time");
            assert!(project.claims().is_empty());
        }
    }
}

// invariant secrets: Nobody is asked in GitHub's place; broken by: `src/adapters/github/client.rs`: reqwest's
//   own redirects
#[test]
fn a_redirect_by_github_takes_the_token_nowhere() {
    for (pattern, claimed) in [
        ("GET */git/ref/autotag/v/head", 0),
        ("GET */git/matching-refs/*", 0),
        ("POST /graphql", 0),
        ("POST */releases", 1),
    ] {
        let behind = behind();
        behind.github.strike(pattern, Harm::Redirected);
        let run = behind.run(0).finish().failed(4);
        assert!(error_of(&run).contains("http://127.0.0.2:"), "{pattern}: {run}");
        // Not even the question: what another host answers is not GitHub's.
        assert_eq!(behind.github.seen_elsewhere(), [], "{pattern}");
        assert_eq!(behind.project.claims().len(), claimed, "{pattern}");
        behind.converge();
    }
}

#[test]
fn a_renamed_repository_is_found_by_githubs_redirect() {
    let project = Project::new();
    let commit = project.merge("one");
    // As GitHub does it: by the repository's number, on the same host.
    let target =
        format!("{}/repositories/1296269/git/matching-refs/tags/?per_page=100", project.github.url());
    let moved = Fault::on("GET */git/matching-refs/tags/").answer(301, serde_json::json!({ "url": target }));
    project.github.inject(moved.header("location", &target));
    project.release(&commit).finish().ended("released");
    assert_eq!(project.github.count("GET */git/matching-refs/tags/"), 2, "it was followed");
}

// invariant secrets: No login follows a redirect; broken by: `src/adapters/registry/connection.rs`: the login
//   is kept at another host
#[test]
fn a_redirect_by_the_registry_takes_no_login_along() {
    let mut behind = behind();
    behind.run(0).finish().ended("released");
    behind.merge("patch");
    // Storage may be elsewhere: what is read there counts, since its digest is known or compared.
    for pattern in ["GET */manifests/sha256:*", "GET */manifests/0.0.2", "GET */manifests/latest"] {
        behind.registry.strike(pattern, Harm::Redirected);
    }
    behind.run(1).finish().ended("released");
    let seen = behind.registry.seen_elsewhere();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen.iter().all(|(_, login)| !login), "{seen:?}");
    // A PUT goes nowhere else.
    behind.merge("patch");
    behind.registry.strike("PUT */manifests/0.0.3", Harm::Redirected);
    let run = behind.run(2).finish().failed(4);
    assert!(error_of(&run).contains("0.0.3"), "{run}");
    assert_eq!(behind.registry.seen_elsewhere().len(), 3);
    behind.converge();
}

#[test]
fn a_manifests_own_type_wins_over_the_answers() {
    let behind = behind();
    for pattern in ["GET */manifests/sha256:*", "GET */manifests/0.0.1", "GET */manifests/latest"] {
        behind.registry.strike(pattern, Harm::WrongType);
    }
    behind.run(0).finish().ended("released");
    behind.converge();
    // But two types that contradict each other are no manifest to publish.
    let project = Project::new();
    let commit = project.merge("one");
    let pager = Pager::before(project.registry.host(), 100, Links::Relative);
    pager.inject(Fault::on("GET */manifests/sha256:*").header("content-type", INDEX));
    let run = project.release(&commit).with("image", &format!("{}/org/app", pager.host())).finish().failed(4);
    assert!(error_of(&run).contains(INDEX), "{run}");
    assert!(project.claims().is_empty());
}

// invariant no-guess
#[test]
fn an_answer_of_github_without_json_is_an_error() {
    for (pattern, claims) in [
        ("GET */git/ref/autotag/v/head", 1),
        ("GET */git/matching-refs/*", 1),
        ("GET */compare/*", 1),
        ("POST */git/tags", 1),
        ("GET */git/ref/tags/v0.0.2", 2),
        ("GET */releases/latest", 2),
    ] {
        let mut behind = behind();
        behind.run(0).finish().ended("released");
        behind.merge("patch");
        // Of a first look that finds nothing, the status alone counts; these find something.
        behind.github.strike(pattern, Harm::ParseError);
        let run = behind.run(1).finish().failed(4);
        assert_eq!(behind.project.claims().len(), claims, "{pattern}: {run}");
        behind.converge();
    }
}

/// The claim stood, and its answer said so in bytes that nobody could read: it is looked up, as a lost one is.
#[test]
fn unreadable_answers_to_a_claim_or_release_are_looked_up() {
    for harm in [Harm::ParseError, Harm::Truncated] {
        for pattern in ["POST /graphql", "POST */releases"] {
            let behind = behind();
            behind.github.strike(pattern, harm);
            let run = behind.run(0).finish().ended("released");
            assert_eq!(run.output("version"), "0.0.1", "{pattern}: {run}");
            assert_eq!(behind.project.claims().len(), 1, "{pattern}: {run}");
            behind.converge();
        }
    }
}

#[test]
fn a_registry_that_names_another_digest_has_published_nothing() {
    let case = |pattern: &str, harm, named: &str| {
        let behind = behind();
        behind.registry.strike(pattern, harm);
        let run = behind.run(0).finish().failed(4);
        assert!(error_of(&run).contains(named), "{pattern}: {run}");
        assert_eq!(behind.project.github.releases(), [], "nothing was released on its word: {run}");
        behind.converge();
    };
    case("PUT */manifests/0.0.1", Harm::OtherDigest, "sha256:0000");
    case("GET */manifests/sha256:*", Harm::OtherDigest, "sha256:0000");
    case("GET */manifests/sha256:*", Harm::OtherBytes, "sha256:");
    // Read back under its tag, before and after: nothing says which bytes were to be expected but the claim.
    let mut behind = behind();
    behind.run(0).finish().ended("released");
    behind.merge("patch");
    behind.registry.strike("GET */manifests/0.0.2", Harm::OtherBytes);
    behind.run(1).finish().failed(6);
    behind.converge();
}

/// A registry that shows another image as `latest` for a moment does not have it moved back.
#[test]
fn one_wrong_answer_does_not_move_latest_back() {
    let mut behind = behind();
    behind.run(0).finish().ended("released");
    behind.merge("patch");
    behind.run(1).finish().ended("released");
    behind.registry.strike("GET */manifests/latest", Harm::OtherBytes);
    behind.run(0).finish().ended("resumed");
    // The highest version seems to be another image's.
    behind.registry.strike("GET */manifests/0.0.2", Harm::OtherBytes);
    behind.run(0).finish().ended("resumed");
    behind.project.assert_consistent();
    behind.converge();
}

/// The token runs out between the requests of one run: before the PUT of the version, and again before that of
/// `latest`.
#[test]
fn a_token_that_expires_before_a_put_is_renewed() {
    let behind = behind();
    let issued = behind.project.registry.tokens().issued();
    for pattern in ["PUT */manifests/0.0.1", "PUT */manifests/latest"] {
        behind.registry.strike(pattern, Harm::Expired);
    }
    behind.run(0).finish().ended("released");
    let tokens = behind.project.registry.tokens().issued() - issued;
    assert!(tokens >= 4, "one to read, one to write, and a new one for each that ran out: {tokens}");
    behind.converge();
}

/// GitHub's token is the job's; nobody can renew it, so it is said.
#[test]
fn an_expired_github_token_is_reported_and_nothing_undone() {
    let behind = behind();
    behind.github.strike("POST */releases", Harm::Expired);
    let run = behind.run(0).finish().failed(3);
    let text = error_of(&run);
    assert!(text.contains("`github-token`"), "{run}");
    assert!(text.contains("v0.0.1"), "what is done is said: {run}");
    behind.converge();
}
