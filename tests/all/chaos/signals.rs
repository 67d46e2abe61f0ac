//! SIGINT and SIGTERM at each stage: the run ends within the runner's grace, says where it was and what is
//! done, and the next one goes on from there.
//!
//! The stage build is `build::a_cancelled_build_is_over_within_the_runners_grace`, the whole container
//! `runner::a_cancelled_job_ends_by_itself_within_the_runners_grace`, the stage deploy
//! `chaos::deployed::a_cancelled_deployment_continues_for_the_next_run`.

use std::time::Duration;

use autotag_base::clock::Stopwatch;

use crate::action::docker_build::becomes;
use crate::action::release::Project;
use crate::action::workflow::{Finished, Running};
use testkit::network::pager::{Links, Pager};
use testkit::torture::tally;

/// After 7.5 s the runner sends SIGTERM, after 10 s it kills.
const GRACE: Duration = Duration::from_secs(7);

/// Sends the signal and waits for the end; checks what every cancelled run owes.
pub async fn cancelled(mut running: Running, signal: &str, stage: &str) -> Finished {
    let since = Stopwatch::start();
    running.signal(signal);
    becomes("the run ends", || running.has_ended()).await;
    assert!(since.elapsed() < GRACE, "SIG{signal} in {stage}: {:?}", since.elapsed());
    tally(&format!("signals: SIG{signal}"), 1);
    let run = running.finish().failed(130);
    let errors = run.annotations("error");
    assert_eq!(errors.len(), 1, "SIG{signal} in {stage}: {run}");
    for text in [errors[0], &run.summary] {
        assert!(text.contains(&format!("SIG{signal}")), "SIG{signal} in {stage}: {run}");
        assert!(text.contains(&format!("the stage {stage}")), "SIG{signal} in {stage}: {run}");
    }
    run
}

// invariant failures-are-explained: A canceled run says where it was and what is done; broken by: `src/app.rs`:
//   SIGTERM is not heard; `src/pipeline/progress.rs`: what is done is not kept
// invariant resumable
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_names_its_stage_and_can_resume() {
    for signal in ["INT", "TERM"] {
        for (stage, pattern, done, next) in [
            ("plan", "GET */git/matching-refs/*", &["nothing"][..], "released"),
            ("stage", "GET */manifests/sha256:*", &["nothing"], "released"),
            ("claim", "POST */git/tags", &["nothing"], "released"),
            ("claim", "POST /graphql", &["nothing"], "released"),
            ("publish", "PUT */manifests/0.0.1", &["claimed v0.0.1"], "resumed"),
            ("latest", "PUT */manifests/latest", &["claimed v0.0.1", "0.0.1 published"], "resumed"),
            ("release", "POST */releases", &["claimed v0.0.1", "latest is 0.0.1 now"], "resumed"),
            ("release", "PATCH */releases/*", &["claimed v0.0.1", "release v0.0.1"], "resumed"),
        ] {
            let project = Project::new();
            let pager = Pager::before(project.registry.host(), 100, Links::Relative);
            let image = format!("{}/org/app", pager.host());
            let commit = project.merge("one");
            let is_github =
                pattern.contains("/git") || pattern.contains("releases") || pattern.contains("graphql");
            let gate = if is_github { project.github.hold(pattern) } else { pager.hold(pattern) };
            let running = project.release(&commit).with("image", &image).start();
            gate.arrived(1).await;
            let run = cancelled(running, signal, stage).await;
            let text = run.annotations("error")[0];
            for fact in done {
                assert!(text.contains(fact), "{fact} is done at {pattern}, and not said: {run}");
            }
            // The request that waited may still take effect now, or not: nobody knows.
            gate.open();
            let again = project.release(&commit).with("image", &image).start();
            let again = tokio::task::spawn_blocking(move || again.finish()).await.expect("it ends");
            assert_eq!(again.code, Some(0), "after SIG{signal} at {pattern}: {again}");
            if stage != "claim" {
                assert_eq!(again.output("outcome"), next, "after SIG{signal} at {pattern}: {again}");
            }
            assert_eq!(again.output("version"), "0.0.1", "after SIG{signal} at {pattern}: {again}");
            assert_eq!(project.claims().len(), 1, "after SIG{signal} at {pattern}");
            assert_eq!(project.github.releases().len(), 1, "after SIG{signal} at {pattern}");
            project.assert_consistent();
        }
    }
}
