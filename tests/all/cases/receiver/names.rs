//! One application finds another by its name, in a network of both.

use autotag_protocol::{Configuration, End};
use serde_json::json;

use crate::receiver::crashes::held::one_of_the_right_version;
use testkit::images::app_image::TEST_LABEL;
use testkit::images::busybox_image::busybox_image;
use testkit::server::{Images, Server, deploy, docker, lines};

struct Network(String);

impl Network {
    fn make(server: &Server) -> Self {
        let name = format!("{}-shared", server.app);
        docker(&["network", "create", "--label", TEST_LABEL, &name]);
        Self(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        docker(&["network", "rm", &self.0]);
    }
}

/// A container in the network that asks for a name again and again, and writes what came of each question.
struct Asker(String);

impl Asker {
    fn start(images: &Images, network: &Network, app: &str) -> Self {
        let image = busybox_image(&json!({ "Labels": { "registry": images.registry.host() } }));
        let digest = images.registry.put("org/bb", "1", &image);
        // An answer that Docker's DNS gave may be a moment old: only who is not answered twice has a complaint.
        // busybox's wget cannot be linked statically with glibc's names; its nc may hang up as soon as it has asked.
        let script = format!(
            "look() {{ /bin/busybox nslookup {app} 127.0.0.11 2>/dev/null | /bin/busybox awk '/^Address: / {{ print $2 }}' | /bin/busybox tail -n 1; }}; \
             get() {{ {{ printf 'GET / HTTP/1.0\\r\\nHost: x\\r\\n\\r\\n'; sleep 0.3; }} | /bin/busybox nc -w 5 $1 3000 2>/dev/null | /bin/busybox tail -n 1; }}; \
             while :; do a=$(look); if [ -z \"$a\" ]; then echo NO-NAME; else \
             r=$(get $a); [ -n \"$r\" ] || r=$(get $(look)); echo \"${{r:-NO-ANSWER}}\"; fi; done"
        );
        let reference = format!("{}/org/bb@{digest}", images.registry.host());
        let label = format!("{TEST_LABEL}={app}");
        let words = [
            "run",
            "--detach",
            "--label",
            &label,
            "--network",
            &network.0,
            &reference,
            "/bin/sh",
            "-c",
            &script,
        ];
        Self(docker(&words).trim().to_owned())
    }

    fn answers(&self) -> Vec<String> {
        lines(&docker(&["logs", &self.0]))
    }

    /// Waits until it was answered so often since then.
    fn ask_on(&self, server: &Server) -> Vec<String> {
        let before = self.answers().len();
        server.until("it asks on", || self.answers().len() > before + 5);
        self.answers()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        docker(&["rm", "--force", &self.0]);
    }
}

// case S9; broken by: nobody has the name (NO-NAME). That the old one loses it before the new one has it is a gap of
// milliseconds, which this does not always meet.
pub fn the_applications_name_always_leads_to_what_serves() {
    let images = Images::start();
    let first = Server::start();
    let network = Network::make(&first);
    let server = first;
    let other = server.neighbour();
    let app_file = format!(
        "networks: [{}]\ndrain: 2s\nstop_grace_period: 1s\nhealth: {{path: /healthz, deadline: 3s, stable: 300ms}}\n",
        network.0
    );
    server.app_file(images.name(), &app_file);
    other.app_file(images.name(), &app_file);
    let one = images.push("1.0.0");
    other.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    server.deploy(deploy(images.name(), "1.0.0", &one)).ended(&End::Deployed {});
    let asker = Asker::start(&images, &network, server.app.as_str());
    asker.ask_on(&server);
    // Start-first, twice, so that each of the two names is given up once.
    for version in ["1.0.1", "1.0.2"] {
        let digest = images.push(version);
        server.deploy(deploy(images.name(), version, &digest)).ended(&End::Deployed {});
        let output = asker.ask_on(&server);
        assert!(output.last().is_some_and(|answer| answer.starts_with(&format!("{version} "))), "{output:?}");
    }
    // One that is never healthy is found by nobody.
    let bad = images.push_with("1.0.3", &[("FAIL_HEALTH", "always")]);
    let reported = server.deploy(deploy(images.name(), "1.0.3", &bad));
    assert!(matches!(reported.outcome.end, End::Failed { .. }), "{}", reported.text());
    server.roll_back(None, Configuration::Today).ended(&End::RolledBack {});
    let output = asker.ask_on(&server);
    assert!(output.last().is_some_and(|answer| answer.starts_with("1.0.1 ")), "{output:?}");
    let known = ["1.0.0 ", "1.0.1 ", "1.0.2 "];
    let wrong: Vec<&String> =
        output.iter().filter(|answer| !known.iter().any(|version| answer.starts_with(version))).collect();
    assert!(wrong.is_empty(), "{wrong:?} among {} answers", output.len());

    // The other one has its own name, and Docker's restart of a container changes none.
    let serving = server.state().active().expect("it serves").container.to_string();
    docker(&["restart", "--time", "1", &serving]);
    server.until("it is found again", || {
        asker.answers().last().is_some_and(|answer| answer.starts_with("1.0.1 "))
    });
    one_of_the_right_version(&server, "after a restart");
    drop(asker);
    let asker = Asker::start(&images, &network, other.app.as_str());
    let output = asker.ask_on(&server);
    assert!(output.iter().all(|answer| answer.starts_with("1.0.0 ")), "{output:?}");
    drop(asker);
    drop(other);
    drop(server);
}

// case S9; broken by: a rename without a look at who has the name.
pub fn a_name_taken_by_another_container_is_reported() {
    let (images, server) = (Images::start(), Server::start());
    let one = images.push("1.0.0");
    let label = format!("{TEST_LABEL}={}", server.app);
    let reference = format!("{}@{one}", images.name());
    docker(&["pull", &reference]);
    let stranger = docker(&["create", "--label", &label, "--name", server.app.as_str(), &reference]);
    server.app_file(images.name(), "");
    let reported = server.deploy(deploy(images.name(), "1.0.0", &one));
    assert!(reported.text().contains("do not find this application by its name"), "{}", reported.text());
    reported.ended(&End::Deployed {});
    assert_eq!(server.status().drift, [""; 0]);
    let name = docker(&["inspect", "--format", "{{.Name}}", stranger.trim()]);
    assert_eq!(name.trim(), format!("/{}", server.app));
    docker(&["rm", "--force", stranger.trim()]);
}
