//! Faults in the middle of a push, which is Docker's own doing: its requests go through the proxy, too.

use autotag_model::git::ObjectId;

use super::behind::Behind;
use super::signals::cancelled;
use crate::action::runner::leftovers::{Leftovers, docker};
use crate::action::workflow::Run;
use testkit::network::chaos::{Harm, Wait};
use testkit::network::pager::{Links, Pager};
use testkit::torture::at_length;

/// A project whose image is built and pushed by the run itself.
struct Pushed {
    leftovers: Leftovers,
    behind: Behind,
}

impl Pushed {
    /// With tokens, as most registries have them.
    fn new() -> Self {
        let behind = Behind::new("push".to_owned(), &Behind::logins()[2]);
        Self { leftovers: Leftovers::new(), behind }
    }

    /// A merge with a layer of its own, so that there is something to push.
    fn merge(&self) -> ObjectId {
        let text = format!("{:016x}\n", rand::random::<u64>());
        std::fs::write(self.behind.project.workflow.workspace().join("app"), text).expect("app");
        self.behind.project.merge("a merge")
    }

    fn run(&self, commit: &ObjectId) -> Run {
        self.behind.project.workflow.push(commit).with("labels", self.leftovers.label())
    }
}

/// The request that has a layer's bytes: with containerd's image store an Engine sends them as it says that they are
/// all.
fn layers() -> &'static str {
    if has_containerds_store() { "PUT */blobs/uploads/*" } else { "PATCH */blobs/uploads/*" }
}

fn has_containerds_store() -> bool {
    let storage = docker(&["info", "--format", "{{json .DriverStatus}}"]);
    assert!(storage.contains('['), "this test needs a running Docker Engine: {storage}");
    storage.contains("io.containerd.snapshotter")
}

// invariant others-answers: A token may run out in Docker's push; broken by: `src/adapters/docker/push.rs`: no
//   second login
/// With the classic image store the Engine asks for one token a push, and is told by a refusal alone that it has run
/// out; with containerd's it asks for another one by itself.
#[test]
fn a_token_that_expires_during_a_push_is_renewed() {
    let pushed = Pushed::new();
    for pattern in [layers(), "PUT */blobs/uploads/*", "PUT */manifests/sha-*"] {
        let commit = pushed.merge();
        pushed.behind.registry.strike(pattern, Harm::Expired);
        let run = pushed.run(&commit).finish().ended("released");
        assert_eq!(pushed.behind.registry.take_struck().len(), 1, "{pattern}: {run}");
        assert!(has_containerds_store() || run.log.contains("logging in again"), "{pattern}: {run}");
        pushed.behind.project.assert_consistent();
    }
}

#[test]
fn what_breaks_in_dockers_push_is_sat_out() {
    let pushed = Pushed::new();
    let manifest = "PUT */manifests/sha-*";
    let mut cases = vec![
        (manifest, Harm::Reset),
        (manifest, Harm::LostByReset),
        (manifest, Harm::Busy(503, Wait::Unsaid)),
        (manifest, Harm::Cut),
        ("PUT */blobs/uploads/*", Harm::Busy(429, Wait::Unsaid)),
        ("HEAD */blobs/*", Harm::Redirected),
    ];
    if at_length() {
        // After these the Engine itself waits for five seconds.
        for pattern in ["HEAD */blobs/*", "POST */blobs/uploads/*", layers(), "PUT */blobs/*"] {
            cases
                .extend([Harm::Reset, Harm::Lost, Harm::Busy(503, Wait::Unsaid)].map(|harm| (pattern, harm)));
        }
    }
    for (pattern, harm) in cases {
        let commit = pushed.merge();
        pushed.behind.registry.strike(pattern, harm);
        let run = pushed.run(&commit).finish().ended("released");
        assert_eq!(pushed.behind.registry.take_struck().len(), 1, "{} at {pattern}: {run}", harm.name());
        pushed.behind.project.assert_consistent();
    }
}

/// The build is done, and Docker is in the middle of a layer.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_push_does_not_disturb_the_next_run() {
    let pushed = Pushed::new();
    let pager = Pager::before(&pushed.behind.registry.host(), 100, Links::Relative);
    let image = format!("{}/org/app", pager.host());
    for signal in ["INT", "TERM"] {
        let commit = pushed.merge();
        let gate = pager.hold(layers());
        let running = pushed.run(&commit).with("image", &image).start();
        gate.arrived(1).await;
        let run = cancelled(running, signal, "stage").await;
        assert!(run.annotations("error")[0].contains("Done already: nothing"), "{run}");
        gate.open();
        let again = pushed.run(&commit).with("image", &image).start();
        let again = tokio::task::spawn_blocking(move || again.finish()).await.expect("it ends");
        again.ended("released");
        pushed.behind.project.assert_consistent();
    }
}
