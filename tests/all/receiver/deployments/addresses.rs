//! Addresses that change hands: applications in one network, where a container that starts gets the address that
//! another one has left.

use autotag_protocol::{End, RolloutStep};
use autotag_receiver::state::journal::What;

use crate::receiver::crashes::docker_socket::DockerSocket;
use testkit::images::app_image::TEST_LABEL;
use testkit::server::{Images, Server, deploy, docker};

/// A network that the owner has made for several applications.
struct Network(String);

impl Network {
    fn of(server: &Server) -> Self {
        let name = format!("shared-{}", server.app);
        let id = docker(&["network", "create", "--label", TEST_LABEL, &name]);
        assert!(!id.trim().is_empty(), "the network {name} could not be made");
        Self(name)
    }

    /// Deploys an application in it.
    #[track_caller]
    fn deploy(&self, server: &Server, images: &Images, version: &str, health: &str) -> String {
        server.app_file(images.name(), &format!("networks: [{}]\n{health}", self.0));
        let digest = images.push(version);
        server.deploy(deploy(images.name(), version, &digest)).ended(&End::Deployed {});
        assert!(server.get("/").1.starts_with(version));
        server.containers().concat()
    }

    fn address(&self, container: &str) -> String {
        let format = format!("{{{{(index .NetworkSettings.Networks \"{}\").IPAddress}}}}", self.0);
        docker(&["inspect", "--format", &format, container]).trim().to_owned()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(&["network", "rm", &self.0]);
    }
}

// invariant no-lost-request: Nobody is sent to an address that is another's; broken by:
//   `crates/receiver/src/serve/reconcile.rs`: `die`, `stop` and `destroy` are not heard; nothing is looked at when
//   Docker is back
#[test]
fn no_request_goes_to_an_ended_containers_address() {
    let (images, others) = (Images::start(), Images::start());
    let server = Server::start();
    // Dropped after the containers, which the servers remove.
    let (network, one, two) = (Network::of(&server), server.neighbour(), server.neighbour());
    let container = network.deploy(&one, &images, "1.0.0", "");
    let address = network.address(&container);
    docker(&["stop", "--time", "1", &container]);
    let heir = network.deploy(&two, &others, "2.0.0", "");
    assert_eq!(network.address(&heir), address, "or this test would show nothing");
    let (status, body) = one.get("/");
    assert_eq!(status, 503, "{body}\n{}", server.logs());
    // And where it is started again, it is found where it is.
    docker(&["start", &container]);
    assert_ne!(network.address(&container), address);
    server.until("it is found", || one.get("/").1.starts_with("1.0.0"));
    drop((one, two));
}

// invariant no-lost-request: Nobody is sent to an address that is another's
#[test]
fn the_right_container_gets_traffic_once_docker_is_back() {
    let (images, others) = (Images::start(), Images::start());
    let socket = DockerSocket::new();
    let server = Server::on_docker(&socket.path);
    let (network, one, two) = (Network::of(&server), server.neighbour(), server.neighbour());
    // A check that Docker has no word on yet, so that a recovery waits.
    let health = "health: {path: /healthz, deadline: 60s, stable: 5s}\n\
                  healthcheck: {test: [CMD, /test-app, check], interval: 2s}\n";
    let containers =
        [network.deploy(&one, &images, "1.0.0", health), network.deploy(&two, &others, "2.0.0", health)];
    let before = [0, 1].map(|at| network.address(&containers[at]));
    let switches = |server: &Server| {
        let is_switch = |what: &What| matches!(what, What::Ended { step: RolloutStep::Switch, .. });
        server.journal().iter().filter(|entry| is_switch(&entry.what)).count()
    };
    let at_first = switches(&one);
    socket.cut();
    docker(&["stop", "--time", "1", &containers[0], &containers[1]]);
    docker(&["start", &containers[1]]);
    docker(&["start", &containers[0]]);
    let after = [1, 0].map(|at| network.address(&containers[at]));
    assert_eq!(after, before, "they have each other's address, or this test would show nothing");
    socket.take_away(false);
    server.until("each is found again", || {
        one.get("/").1.starts_with("1.0.0") && two.get("/").1.starts_with("2.0.0")
    });
    assert_eq!(switches(&one), at_first, "the recovery is not through: it still waits for health");
    drop((one, two));
}
