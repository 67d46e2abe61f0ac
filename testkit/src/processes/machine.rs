//! A Debian server of its own: systemd as process 1, sshd, Docker's packages, in a container.

use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::clock;
use crate::images::app_image::AppImage;
use crate::processes::PATIENCE;
use crate::programs::receiver;

/// The application's repository, in the registry that [`Machine::ship`] starts.
pub const IMAGE: &str = "127.0.0.1:5005/org/shop";

/// The commit that all its versions are from.
pub fn commit() -> String {
    "c".repeat(40)
}

/// A server that goes when it is dropped.
pub struct Machine {
    /// Its container.
    pub name: String,
}

impl Machine {
    #[track_caller]
    /// Boots one, with the receiver's program in `/opt`.
    pub fn boot() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = crate::programs::root();
        let made = Command::new(root.join("scripts/images/systemd-image"))
            .output()
            .expect("scripts/images/systemd-image");
        assert!(made.status.success(), "scripts/images/systemd-image: {}", text(&made));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("autotag-server-{}-{number}", std::process::id());
        let options = "--detach --label autotag-deploy.test --cap-add SYS_ADMIN --cap-add NET_ADMIN \
            --cap-add SYS_PTRACE --security-opt seccomp=unconfined --security-opt apparmor=unconfined \
            --security-opt systempaths=unconfined --stop-signal SIGRTMIN+3 --cgroupns=host \
            --volume /sys/fs/cgroup:/sys/fs/cgroup --tmpfs /run --tmpfs /tmp --hostname server";
        let mut words = vec!["run", "--name", &name];
        words.extend(options.split_whitespace());
        words.push("autotag-deploy-systemd");
        docker(&words);
        let machine = Self { name };
        machine.wait_until_booted();
        let program = receiver();
        docker(&["cp", program, &format!("{}:/opt/autotag-receiver", machine.name)]);
        machine
    }

    /// Gives it a registry of its own with these versions of the test application, all of one commit, and
    /// their digests.
    #[track_caller]
    pub fn ship(&self, versions: &[String]) -> Vec<String> {
        // Named after this machine: another test's tags on this machine's Docker are removed when it is done.
        let tag = |version: &String| format!("{IMAGE}:{version}-{}", self.name);
        let tags: Vec<String> = versions.iter().map(tag).collect();
        for (version, tag) in versions.iter().zip(&tags) {
            AppImage::new(version).commit(&commit()).import(tag);
        }
        let all = tags.join(" ");
        let script = format!("docker save {all} | docker exec -i {} docker load", self.name);
        let loaded = Command::new("bash").args(["-o", "pipefail", "-c", &script]).output().expect("bash");
        let _ = Command::new("docker").args(["image", "rm", "--force"]).args(&tags).output();
        assert!(loaded.status.success(), "{}", text(&loaded));
        // The registry is this server's own: Docker wants TLS of any other.
        self.run(
            "printf '%s\\n' 'version: 0.1' 'storage: {filesystem: {rootdirectory: /srv/registry}}' \
             'http: {addr: \"127.0.0.1:5005\"}' >/srv/registry.yml; \
             systemd-run --quiet docker-registry serve /srv/registry.yml",
        );
        self.eventually("curl -fsS http://127.0.0.1:5005/v2/");
        self.run(&format!("for tag in {all}; do docker push --quiet $tag; done; docker image rm {all}"));
        let digest = |tag: &String| {
            let message = self.run(&format!(
                "curl -fsSI -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
                 http://127.0.0.1:5005/v2/org/shop/manifests/{} | tr -d '\\r' | awk '/^Docker-Content-Digest/ {{ print $2 }}'",
                tag.rsplit(':').next().expect("a tag")
            ));
            message.trim().to_owned()
        };
        tags.iter().map(digest).collect()
    }

    /// `degraded` will do: a container cannot have every unit of a machine.
    #[track_caller]
    pub fn wait_until_booted(&self) {
        let mut message = String::new();
        for _ in 0..60 {
            message = text(&self.output("systemctl is-system-running --wait"));
            if message.contains("running") || message.contains("degraded") {
                return;
            }
            // systemd's bus is not there yet, so there is no event to wait for.
            let _ = Command::new("sleep").arg("0.5").status();
        }
        panic!("it does not boot: {message}\n{}", text(&self.output("ps ax; journalctl --no-pager -n 50")));
    }

    /// Runs a script.
    pub fn output(&self, script: &str) -> Output {
        let mut command = Command::new("docker");
        command.args(["exec", &self.name, "bash", "-c", script]).stdin(Stdio::null());
        command.output().expect("docker exec")
    }

    /// Runs a script that must succeed, and gives what it printed.
    #[track_caller]
    pub fn run(&self, script: &str) -> String {
        let output = self.output(script);
        assert!(output.status.success(), "{script}: {}\n{}", output.status, text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a script until it succeeds: a machine that boots tells nobody when it is done with everything.
    #[track_caller]
    pub fn eventually(&self, script: &str) {
        let since = clock::start();
        let mut message = self.output(script);
        while !message.status.success() {
            assert!(since.elapsed() < PATIENCE, "{script}: {}\n{}", text(&message), self.logs());
            clock::look_again();
            message = self.output(script);
        }
    }

    /// What ours and Docker said.
    pub fn logs(&self) -> String {
        text(&self.output("journalctl --no-pager -n 40 -u autotag -u autotag-proxy -u docker; docker ps -a"))
    }

    /// What systemd says of a unit in one word.
    pub fn is(&self, question: &str, unit: &str) -> String {
        text(&self.output(&format!("systemctl is-{question} '{unit}'"))).trim().to_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.name]).output();
    }
}

/// Both streams.
pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Docker's client on this machine, which must succeed.
#[track_caller]
pub fn docker(words: &[&str]) {
    let output = Command::new("docker").args(words).output().expect("docker is installed");
    assert!(output.status.success(), "docker {words:?}: {}", text(&output));
}
