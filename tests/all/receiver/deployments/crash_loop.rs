//! What served before does not stay up any more: that must not keep out what may be its remedy.

use autotag_model::reference::Digest;
use autotag_protocol::{End, Open, RefusalCode, RolloutStep};
use autotag_receiver::state::Phase;
use autotag_receiver::state::journal::What;

use crate::receiver::crashes::held::{one_of_the_right_version, refused};
use testkit::server::{Images, Server, deploy, docker};

/// A server whose application has data, which each version brings to a schema of its own, and which an earlier
/// one cannot read any more.
struct Site {
    images: Images,
    server: Server,
}

impl Site {
    /// 1.0.0 serves, with schema 1.
    fn serving(app_file: &str) -> Self {
        let site = Self { images: Images::start(), server: Server::start() };
        let data = site.server.directory.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        let volumes = format!("volumes: ['{}:/data']\nrestart: 'no'\n", data.display());
        site.server.app_file(site.images.name(), &format!("{app_file}{volumes}"));
        let one = site.push("1.0.0", "1", &[]);
        site.server.deploy(deploy(site.images.name(), "1.0.0", &one)).ended(&End::Deployed {});
        site
    }

    fn push(&self, version: &str, schema: &str, more: &[(&str, &str)]) -> Digest {
        self.images.push_with(version, &[&[("SCHEMA", schema)], more].concat())
    }

    /// Waits until `serve` has tried what should serve once more, by itself.
    fn tried_again(&self) {
        let tries = |server: &Server| {
            let journal = server.journal();
            journal.iter().filter(|entry| matches!(entry.what, What::Recovers { .. })).count()
        };
        let before = tries(&self.server);
        // The second one begins when the first one is over.
        self.server.until("it is tried again", || tries(&self.server) >= before + 2);
    }

    #[track_caller]
    fn the_remedy_comes_to_serve(&self) {
        let three = self.push("1.0.2", "3", &[]);
        self.server.deploy(deploy(self.images.name(), "1.0.2", &three)).ended(&End::Deployed {});
        let state = one_of_the_right_version(&self.server, "the remedy");
        assert_eq!(state.active().expect("it serves").release.version.to_string(), "1.0.2");
        assert_eq!(self.server.status().drift, [""; 0]);
    }
}

// invariant recovery: What does not stay up keeps no later version out
/// The new version changes the data and does not become healthy; on these data the old one exits at once.
#[test]
fn a_broken_old_version_does_not_block_later_ones() {
    let site = Site::serving(
        "order: stop-first\nstop_grace_period: 1s\nhealth: {path: /healthz, deadline: 2s, stable: 300ms}\n",
    );
    let two = site.push("1.0.1", "2", &[("FAIL_HEALTH", "always")]);
    let reported = site.server.deploy(deploy(site.images.name(), "1.0.1", &two));
    assert!(
        matches!(reported.outcome.end, End::Failed { step: Open::Known(RolloutStep::Health), .. }),
        "{}",
        reported.text()
    );
    assert!(reported.text().contains("does not run"), "it is told: {}", reported.text());
    assert_eq!(reported.outcome.running, None, "nobody is told that the old one serves");
    assert_eq!(site.server.container_versions(), ["1.0.0"], "what failed is removed, what served is kept");
    site.tried_again();
    // It runs for an instant at each try.
    site.server.until("status names it", || {
        site.server.status().drift.iter().any(|text| text.contains("does not run"))
    });
    site.the_remedy_comes_to_serve();
}

// invariant recovery: What did not pass makes way, and for nothing less than a deployment
/// The new version has the traffic and does not pass; the old one, to which it should go back, is down.
#[test]
fn a_failed_version_serves_until_a_better_one_comes() {
    // The one good answer is for the health request, the next one for the verification.
    let site = Site::serving("health: {path: /healthz, deadline: 20s, stable: 0s}\n");
    docker(&["kill", &site.server.containers().concat()]);
    let two = site.push("1.0.1", "2", &[("FAIL_HEALTH", "after:1")]);
    let reported = site.server.deploy(deploy(site.images.name(), "1.0.1", &two));
    assert!(
        matches!(reported.outcome.end, End::Failed { step: Open::Known(RolloutStep::Verify), .. }),
        "{}",
        reported.text()
    );
    let serves_on = |when: &str| {
        assert!(site.server.get("/").1.starts_with("1.0.1 "), "{when}: {}", site.server.logs());
        let state = site.server.state();
        assert!(matches!(state.change, Phase::Leaving { turned_back: true, .. }), "{when}: {state:?}");
    };
    serves_on("at once");
    site.tried_again();
    serves_on("after a recovery by itself");
    // What is not admitted costs nothing.
    let older = site.push("0.9.0", "1", &[]);
    let reported = site.server.deploy(deploy(site.images.name(), "0.9.0", &older));
    refused(&reported.outcome.end, RefusalCode::Unfinished);
    serves_on("after a request that is refused");
    site.the_remedy_comes_to_serve();
}
