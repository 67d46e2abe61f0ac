//! The deployment as a stage: the real pipeline against GitHub's double, a real registry, and servers that
//! are played strictly by the protocol.

pub mod play;
mod versions;

use autotag_deploy::deploy::host_sequence::HostReport;
use autotag_deploy::pipeline::Ending;
use autotag_deploy::pipeline::deployment::Deployment;
use autotag_protocol::{Body, Configuration, End, FailureCode, Open, RefusalCode, RolloutStep};

use testkit::github::{Access, Double, Permissions};

use self::play::{Servers, Stage, Turn};

fn refused(code: RefusalCode, message: &str) -> End {
    End::Refused { code: code.into(), message: message.to_owned() }
}

#[test]
fn a_release_goes_on_to_the_server() {
    let stage = Stage::new(Servers::new());
    let commit = stage.project.merge("feat: begin");
    let run = stage
        .release(&commit, &[("environment", "production"), ("environment-url", "https://app.example.com")]);
    let Ending::Released(released) = run.ending() else { panic!("{run:?}") };
    let deployment = released.deployment.as_ref().expect("a deployment");
    assert!(deployment.deployed() && deployment.failure.is_none(), "{deployment:#?}");
    for (name, value) in [("outcome", "released"), ("deployed", "true"), ("deployed-version", "0.0.1")] {
        assert_eq!(run.output(name), value, "{name}");
    }
    assert_eq!(run.output("deployed-digest"), run.output("digest"));
    let requests = stage.servers.requests();
    let [(host, Body::Deploy(deploy))] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!((host.as_str(), &deploy.commit, deploy.allow_downgrade), ("web1", &commit, false));
    assert!(deploy.deployment.as_str().starts_with("run-7-1-"), "{}", deploy.deployment);
    // The log has the steps as they came, and GitHub has the deployment.
    assert!(
        run.log.contains("pull    done in 1.5 s") && run.log.contains("  app | listening"),
        "{}",
        run.log
    );
    let recorded = stage.project.github.deployments();
    let [recorded] = recorded.as_slice() else { panic!("{recorded:?}") };
    assert_eq!((&recorded.sha, recorded.environment.as_str()), (&commit, "production"));
    let description = recorded.description.as_deref().unwrap_or_default();
    assert!(description.contains(deploy.deployment.as_str()), "the id stands in it: {description}");
    let states: Vec<&str> = recorded.statuses.iter().map(|status| status.state.as_str()).collect();
    assert_eq!(states, ["in_progress", "success"]);
    let last = recorded.statuses.last().expect("a status");
    assert_eq!(last.environment_url, "https://app.example.com");
    assert!(last.log_url.ends_with("/actions/runs/7/attempts/1"), "{}", last.log_url);
    assert_eq!(stage.project.github.take_violations(), [""; 0]);
}

#[test]
fn the_first_failure_stops_the_rest_and_is_reported() {
    let servers = Servers::new().serving("web2", "0.0.0");
    servers.next(
        "web2",
        Turn::Ends(End::Failed {
            step: Open::Known(RolloutStep::Health),
            code: Open::Known(FailureCode::Unhealthy),
            message: "503 from /healthz".to_owned(),
        }),
    );
    let stage = Stage::new(servers);
    let commit = stage.project.merge("feat: begin");
    let run = stage.release(&commit, &[("deploy-host", "web1, web2, web3"), ("environment", "production")]);
    let deployment = run.ending().deployment().expect("a deployment");
    let failure = deployment.failure.as_ref().expect("it failed");
    assert_eq!(failure.kind.exit_code(), 7);
    assert!(failure.why.contains("503 from /healthz"), "{failure:?}");
    assert_eq!(
        results(deployment),
        ["web1: Done, runs 0.0.1", "web2: Failed, runs 0.0.0", "web3: Untouched, runs nothing"]
    );
    assert!(run.done.iter().any(|fact| fact.contains("v0.0.1")), "what is done stays: {:?}", run.done);
    let given = ["outcome", "version", "deployed", "deployed-version"].map(|name| run.output(name));
    assert_eq!(given, ["failed", "0.0.1", "false", ""]);
    let hosts: Vec<String> = stage.servers.requests().into_iter().map(|(host, _)| host).collect();
    assert_eq!(hosts, ["web1", "web2"]);
    assert_eq!(stage.project.github.deployments()[0].state(), Some("failure"));
}

/// A release to two servers that serve 0.0.0, of which the second one fails: what was asked of them, and what is
/// told of it. These are the first one's turns; without any all goes well there.
fn failed_at_the_second(turns: impl IntoIterator<Item = Turn>) -> (Stage, Deployment) {
    let servers = Servers::new().serving("web1", "0.0.0").serving("web2", "0.0.0");
    for turn in turns {
        servers.next("web1", turn);
    }
    servers.next(
        "web2",
        Turn::Ends(End::Failed {
            step: Open::Known(RolloutStep::Start),
            code: Open::Known(FailureCode::DoesNotStart),
            message: "exit code 1".to_owned(),
        }),
    );
    let stage = Stage::new(servers);
    let commit = stage.project.merge("feat: begin");
    let run = stage.release(&commit, &[("deploy-host", "web1, web2"), ("deploy-on-failure", "rollback")]);
    let deployment = run.ending().deployment().expect("a deployment").clone();
    let failure = deployment.failure.as_ref().expect("it failed");
    assert!(failure.why.contains("exit code 1"), "{failure:?}");
    (stage, deployment)
}

/// What each server came to, by the name of its result, and what runs there.
fn results(deployment: &Deployment) -> Vec<String> {
    let result = |report: &HostReport| {
        let name = format!("{:?}", report.stop);
        let name = name.split('(').next().unwrap_or_default();
        let running = report.running.as_ref().map_or("nothing".to_owned(), |it| it.version.to_string());
        format!("{}: {name}, runs {running}", report.host)
    };
    deployment.sequence.reports.iter().map(result).collect()
}

#[test]
fn those_that_are_done_are_reverted_where_that_is_wanted() {
    let (stage, deployment) = failed_at_the_second([]);
    assert_eq!(results(&deployment), ["web1: Reverted, runs 0.0.0", "web2: Failed, runs 0.0.0"]);
    let requests = stage.servers.requests();
    let [_, (_, Body::Deploy(deploy)), (host, Body::Rollback(back))] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    // What this run deployed, whatever serves by then; where to, the server says.
    assert_eq!((host.as_str(), &back.reverts), ("web1", &Some(deploy.deployment.clone())));
    assert_eq!((&back.to, back.configuration), (&None, Configuration::Then));
}

#[test]
fn another_runs_deployment_is_left_alone_and_reported() {
    let overtaken = refused(RefusalCode::NewerIsLive, "9.0.0 took its place, and stays");
    let (stage, deployment) = failed_at_the_second([Turn::GoesWell, Turn::Ends(overtaken)]);
    assert_eq!(results(&deployment)[0], "web1: Overtaken, runs 0.0.1");
    assert_eq!(stage.servers.requests().len(), 3, "it is not asked again");
}

// invariant server-order: A server that reported no result is asked to go back, and first; broken by:
//   `src/deploy/host_sequence/mod.rs`: only those that are done are asked
/// Its turn may still come, or its answer alone was lost.
#[test]
fn the_server_without_a_result_is_reverted_before_the_others() {
    for knows_then in [true, false] {
        let servers = Servers::new().serving("web1", "0.0.0").serving("web2", "0.0.0");
        servers.next("web2", Turn::IsDenied);
        if !knows_then {
            servers.next("web2", Turn::IsDenied);
        }
        let stage = Stage::new(servers);
        let commit = stage.project.merge("feat: begin");
        let inputs = [
            ("deploy-host", "web1, web2, web3"),
            ("deploy-on-failure", "rollback"),
            ("environment", "production"),
        ];
        let run = stage.release(&commit, &inputs);
        let asked: Vec<(String, bool)> = stage
            .servers
            .requests()
            .into_iter()
            .map(|(host, body)| (host, matches!(body, Body::Rollback(_))))
            .collect();
        let expected = [("web1", false), ("web2", false), ("web2", true), ("web1", true)];
        assert_eq!(asked, expected.map(|(host, back)| (host.to_owned(), back)));
        let (second, recorded) = if knows_then {
            ("web2: Failed, runs 0.0.0", "failure")
        } else {
            ("web2: Unheard, runs nothing", "error")
        };
        let deployment = run.ending().deployment().expect("a deployment");
        assert!(deployment.failure.is_some());
        let expected = ["web1: Reverted, runs 0.0.0", second, "web3: Untouched, runs nothing"];
        assert_eq!(results(deployment), expected);
        assert_eq!(stage.project.github.deployments()[0].state(), Some(recorded));
    }
}

#[test]
fn a_newer_version_on_the_server_is_no_failure() {
    for code in [RefusalCode::NewerIsLive, RefusalCode::RolledBack] {
        let servers = Servers::new().serving("web1", "9.0.0");
        servers.next("web1", Turn::Ends(refused(code, "9.0.0 is live")));
        let stage = Stage::new(servers);
        let commit = stage.project.merge("feat: begin");
        let run = stage.release(&commit, &[("environment", "production")]);
        let deployment = run.ending().deployment().expect("a deployment");
        assert!(deployment.failure.is_none() && !deployment.deployed(), "{deployment:?}");
        assert_eq!(
            (run.output("outcome"), run.output("deployed")),
            ("released".to_owned(), "false".to_owned())
        );
        assert_eq!(run.output("deployed-version"), "9.0.0");
        assert_eq!(stage.project.github.deployments()[0].state(), Some("inactive"));
        // The same by the command: there is nothing else that it could have done.
        stage.servers.next("web1", Turn::Ends(refused(code, "9.0.0 is live")));
        let run = stage.command("deploy", &commit, &[]);
        assert_eq!((run.output("outcome"), run.output("version")), ("superseded".to_owned(), String::new()));
    }
}

#[test]
fn a_cut_connection_resumes_under_the_same_id() {
    let servers = Servers::new();
    servers.next("web1", Turn::IsCut);
    let stage = Stage::new(servers);
    let commit = stage.project.merge("feat: begin");
    let run = stage.release(&commit, &[]);
    assert_eq!(run.output("deployed"), "true");
    let requests = stage.servers.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0], requests[1], "the very same request");
    assert!(run.log.contains("asking again"), "{}", run.log);
}

#[test]
fn a_login_failure_fails_the_deployment_but_keeps_the_release() {
    let servers = Servers::new();
    servers.next("web1", Turn::IsDenied);
    let stage = Stage::new(servers);
    let commit = stage.project.merge("feat: begin");
    let run = stage.release(&commit, &[("environment", "production")]);
    let failure = run.ending().deployment().and_then(|it| it.failure.as_ref()).expect("it failed");
    assert_eq!(failure.kind.exit_code(), 7);
    assert!(failure.why.contains("no such key") && failure.why.contains("web1: no result"), "{failure:?}");
    assert_eq!(stage.project.github.deployments()[0].state(), Some("error"));
    // The same run again finds the release, and goes on.
    let run = stage.release(&commit, &[]);
    assert_eq!((run.output("outcome"), run.output("deployed")), ("resumed".to_owned(), "true".to_owned()));
}

#[test]
fn a_superseded_run_deploys_nothing() {
    let stage = Stage::new(Servers::new());
    let old = stage.project.merge("feat: begin");
    let new = stage.project.merge("feat: go on");
    stage.release(&new, &[]);
    let asked = stage.servers.requests().len();
    let run = stage.release(&old, &[]);
    assert_eq!(
        (run.output("outcome"), run.output("deployed")),
        ("superseded".to_owned(), "false".to_owned())
    );
    assert_eq!(stage.servers.requests().len(), asked);
}

#[test]
fn a_published_version_is_deployed_by_its_digest_and_commit() {
    let stage = Stage::new(Servers::new());
    let first = stage.project.merge("feat: begin");
    let second = stage.project.merge("feat: go on");
    let digest = stage.release_only(&first);
    let newest = stage.release_only(&second);
    // The highest, if nothing is said; the commit is the image's, not the run's.
    let run = stage.command("deploy", &first, &[]);
    assert_eq!(run.output("outcome"), "deployed");
    assert_eq!((run.output("deployed-version"), run.output("digest")), ("0.0.2".to_owned(), newest));
    let run = stage.command("deploy", &second, &[("version", "0.0.1"), ("deploy-allow-downgrade", "true")]);
    assert_eq!((run.output("deployed-version"), run.output("digest")), ("0.0.1".to_owned(), digest.clone()));
    let requests = stage.servers.requests();
    let (_, Body::Deploy(deploy)) = requests.last().expect("a request") else { panic!("{requests:?}") };
    assert_eq!(
        (&deploy.commit, deploy.allow_downgrade, deploy.digest.as_str()),
        (&first, true, digest.as_str())
    );
    // A version that is not there, and a digest that is another version's.
    let failure = stage.command("deploy", &second, &[("version", "7.0.0")]).failure();
    assert!(failure.why.contains("not published"), "{failure:?}");
    let failure =
        stage.command("deploy", &second, &[("version", "0.0.2"), ("image-digest", &digest)]).failure();
    assert!(failure.why.contains("image-digest"), "{failure:?}");
}

#[test]
fn a_rollback_is_recorded_with_the_commit_it_went_to() {
    let stage = Stage::new(Servers::new().serving("web1", "0.0.1"));
    let commit = stage.project.merge("feat: begin");
    stage.servers.commits_are(&commit);
    let run = stage.command("rollback", &commit, &[("version", "0.0.0"), ("environment", "production")]);
    assert_eq!(
        (run.output("outcome"), run.output("deployed-version")),
        ("rolled-back".to_owned(), "0.0.0".to_owned())
    );
    assert_eq!(stage.project.github.deployments()[0].state(), Some("success"));
    stage.servers.next("web1", Turn::Ends(refused(RefusalCode::NotRecorded, "nothing before 0.0.0")));
    let failure =
        stage.command("rollback", &commit, &[]).ending().deployment().and_then(|it| it.failure.clone());
    assert!(failure.expect("it failed").why.contains("nothing before 0.0.0"));
}

#[test]
fn all_servers_statuses_are_reported_despite_a_silent_one() {
    let servers = Servers::new().serving("web1", "0.0.1");
    servers.next("web2", Turn::IsDenied);
    let stage = Stage::new(servers);
    let commit = stage.project.merge("feat: begin");
    let run = stage.command("status", &commit, &[("deploy-host", "web1, web2, web3")]);
    let Ending::Reported(answers) = run.ending() else { panic!("{run:?}") };
    let known: Vec<bool> = answers.iter().map(|answer| answer.status.is_ok()).collect();
    assert_eq!(known, [true, false, true]);
    let table = autotag_deploy::report::servers::status_table(answers);
    let first = table.lines().nth(1).expect("a row");
    assert!(
        first.contains("web1") && first.contains("0.0.1") && first.contains("edited manually"),
        "{table}"
    );
}

#[test]
fn a_deployment_that_github_does_not_take_is_a_warning() {
    let stage = Stage::new(Servers::new());
    let commit = stage.project.merge("feat: begin");
    let permissions = Permissions { contents: Access::Write, deployments: Access::None };
    stage.project.github.allow(Double::TOKEN, permissions);
    let run = stage.release(&commit, &[("environment", "production")]);
    assert_eq!(run.output("deployed"), "true");
    assert!(stage.project.github.deployments().is_empty());
}

#[test]
fn the_program_refuses_a_deployment_that_makes_no_sense() {
    let project = crate::action::release::Project::new();
    let commit = project.merge("feat: begin");
    let run = project.release(&commit).with("deploy-key", "hunter2-hunter2").finish().failed(2);
    assert!(run.log.contains("`deploy-host`") && !run.log.contains("hunter2"), "{run}");
}
