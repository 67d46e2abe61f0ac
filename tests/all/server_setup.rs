//! `init`, `check` and `remove` on a Debian server of its own: systemd as process 1, sshd, Docker's packages.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::app_image::AppImage;
use crate::support::clock;
use crate::support::server::PATIENCE;

/// A server that goes when it is dropped.
struct Server {
    name: String,
}

impl Server {
    #[track_caller]
    fn boot() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let made = Command::new(root.join("scripts/systemd-image")).output().expect("scripts/systemd-image");
        assert!(made.status.success(), "scripts/systemd-image: {}", text(&made));
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
        let server = Self { name };
        server.wait_until_booted();
        let program = env!("CARGO_BIN_EXE_autotag-receiver");
        docker(&["cp", program, &format!("{}:/opt/autotag-receiver", server.name)]);
        server
    }

    /// `degraded` will do: a container cannot have every unit of a machine.
    #[track_caller]
    fn wait_until_booted(&self) {
        let mut said = String::new();
        for _ in 0..60 {
            said = text(&self.output("systemctl is-system-running --wait"));
            if said.contains("running") || said.contains("degraded") {
                return;
            }
            // systemd's bus is not there yet, so there is no event to wait for.
            let _ = Command::new("sleep").arg("0.5").status();
        }
        panic!("it does not boot: {said}\n{}", text(&self.output("ps ax; journalctl --no-pager -n 50")));
    }

    fn output(&self, script: &str) -> Output {
        let mut command = Command::new("docker");
        command.args(["exec", &self.name, "bash", "-c", script]).stdin(Stdio::null());
        command.output().expect("docker exec")
    }

    /// Runs a script that must succeed, and gives what it printed.
    #[track_caller]
    fn run(&self, script: &str) -> String {
        let output = self.output(script);
        assert!(output.status.success(), "{script}: {}\n{}", output.status, text(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs a script until it succeeds: a machine that boots tells nobody when it is done with everything.
    #[track_caller]
    fn eventually(&self, script: &str) {
        let since = clock::start();
        let mut said = self.output(script);
        while !said.status.success() {
            assert!(since.elapsed() < PATIENCE, "{script}: {}\n{}", text(&said), self.logs());
            clock::look_again();
            said = self.output(script);
        }
    }

    fn logs(&self) -> String {
        text(&self.output("journalctl --no-pager -n 40 -u autotag -u autotag-proxy -u docker; docker ps -a"))
    }

    /// Runs a script on this machine.
    fn output_of_host(script: &str) -> Output {
        Command::new("bash").args(["-o", "pipefail", "-c", script]).output().expect("bash")
    }

    /// What systemd says of a unit in one word.
    fn is(&self, question: &str, unit: &str) -> String {
        text(&self.output(&format!("systemctl is-{question} '{unit}'"))).trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "--force", "--volumes", &self.name]).output();
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

#[track_caller]
fn docker(words: &[&str]) {
    let output = Command::new("docker").args(words).output().expect("docker is installed");
    assert!(output.status.success(), "docker {words:?}: {}", text(&output));
}

const INIT: &str = "/opt/autotag-receiver init shop --image ghcr.io/org/shop --port 3000";

/// As CI would: with the key, as the application's user.
fn ssh(words: &str) -> String {
    format!(
        "ssh -F none -i /srv/key -o BatchMode=yes -o IdentitiesOnly=yes -o UserKnownHostsFile=/srv/known_hosts \
         -o StrictHostKeyChecking=yes autotag-shop@127.0.0.1 {words}"
    )
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap_or_else(|| panic!("no `{start}` in {text}"));
    let length = text[from..].find(end).unwrap_or_else(|| panic!("no `{end}` in {text}"));
    &text[from..from + length + end.len()]
}

#[test]
fn a_server_is_set_up_and_survives_a_reboot_and_is_cleared() {
    let server = Server::boot();
    let before = server.run("find /etc -newer /opt -type f | sort; cat /etc/passwd /etc/group");

    let shown = server.run(&format!("{INIT} --dry-run"));
    for word in [
        "add the user autotag-shop",
        "Match Group autotag",
        "ListenStream=127.0.0.1:8080",
        "image: ghcr.io/org/shop",
    ] {
        assert!(shown.contains(word), "`{word}` is missing in {shown}");
    }
    assert_eq!(
        server.run("find /etc -newer /opt -type f | sort; cat /etc/passwd /etc/group"),
        before,
        "--dry-run changed something"
    );

    let said = server.run(&format!("{INIT} --public-name 127.0.0.1"));
    let key = between(&said, "-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----");
    let hosts = between(&said, "127.0.0.1 ssh-ed25519", "\nHOSTS").trim_end_matches("HOSTS");
    server.run(&format!(
        "umask 077; printf '%s\\n' '{key}' >/srv/key; printf '%s' '{hosts}' >/srv/known_hosts"
    ));
    assert!(
        server.run("/opt/autotag-receiver init shop").contains("nothing to do"),
        "it is safe to run again"
    );
    assert_eq!(
        server.output("grep -r 'PRIVATE KEY' /etc/autotag /var/lib/autotag /run").status.code(),
        Some(1)
    );

    is_set_up(&server);
    the_key_opens_one_door(&server);
    another_address_closes_none(&server);

    docker(&["restart", &server.name]);
    server.wait_until_booted();
    is_set_up(&server);
    the_key_opens_one_door(&server);

    is_removed(&server);
}

#[track_caller]
fn is_set_up(server: &Server) {
    for unit in ["autotag.service", "autotag-proxy.service", "autotag-proxy-127.0.0.1-8080.socket"] {
        assert_eq!(
            server.is("active", unit),
            "active",
            "{unit}: {}",
            text(&server.output(&format!("systemctl status '{unit}'")))
        );
    }
    for unit in ["autotag.service", "autotag-proxy.service", "autotag-proxy-127.0.0.1-8080.socket"] {
        assert_eq!(server.is("enabled", unit), "enabled", "{unit}");
    }
    server.run("exec 3<>/dev/tcp/127.0.0.1/8080");
    let running = server.run("ps -o user:16= -o args= -C autotag-receiver");
    for (user, role) in [("autotag_proxy", "proxy"), ("root", "serve")] {
        let line = |line: &str| line.starts_with(user) && line.ends_with(role);
        assert!(running.lines().any(line), "{user} runs no {role}: {running}");
    }
    assert_eq!(
        server.run("stat -c '%U:%G %a' /run/autotag /run/autotag/serve.sock"),
        "root:autotag 750\nroot:autotag 660\n"
    );
    assert_eq!(
        server.run("stat -c '%U %a' /run/autotag-proxy/admin.sock /etc/autotag/shop.yaml"),
        "autotag_proxy 600\nroot 600\n"
    );
    // Whatever the relay says, it is the relay.
    let sshd = server.run("/usr/sbin/sshd -T -C user=autotag-shop,host=x,addr=127.0.0.1");
    for line in [
        "authorizedkeysfile /etc/autotag/keys/%u",
        "passwordauthentication no",
        "permittty no",
        "allowtcpforwarding no",
    ] {
        assert!(sshd.lines().any(|said| said == line), "`{line}` is missing in {sshd}");
    }
    let others = server.run("/usr/sbin/sshd -T -C user=root,host=x,addr=127.0.0.1");
    assert!(others.contains("permittty yes"), "other users are left alone: {others}");
}

#[track_caller]
fn the_key_opens_one_door(server: &Server) {
    let request = r#"{"protocol":1,"app":"shop","request":{"status":{}}}"#;
    let said = server.run(&format!("echo '{request}' | {}", ssh("status")));
    assert!(said.contains("\"told\""), "the door opens: {said}");
    for asked in ["id", "'sh -c id'", "", "-tt id", "-s sftp"] {
        let output = server.output(&format!("echo '{request}' | {}", ssh(asked)));
        let said = text(&output);
        assert!(!said.contains("Permission denied (publickey"), "`{asked}`: the key was not taken: {said}");
        assert!(!said.contains("uid="), "`{asked}` ran: {said}");
        // Without the terminal that it insists on, the client leaves by itself.
        let refused = said.contains("\"refused\"") || said.contains("PTY allocation request failed");
        assert!(refused, "`{asked}` was not refused: {said}");
    }
    // The forwarding itself is refused when something comes to it.
    let forward =
        ssh("-N -L 127.0.0.1:9999:127.0.0.1:22 & sleep 1; timeout 2 cat <>/dev/tcp/127.0.0.1/9999; kill %1");
    let said = text(&server.output(&forward));
    assert!(!said.contains("SSH-2.0"), "a port was forwarded: {said}");
    for file in [
        "/etc/autotag/shop.yaml",
        "/var/lib/autotag/shop/x",
        "/run/autotag-proxy/admin.sock",
        "/var/run/docker.sock",
    ] {
        let output = server
            .output(&format!("setpriv --reuid autotag-shop --regid autotag --clear-groups test -r {file}"));
        assert!(!output.status.success(), "the key's user can read {file}");
    }
}

/// A second application with an address of its own comes while clients come to the first one's.
#[track_caller]
fn another_address_closes_none(server: &Server) {
    let script = "rm -f /tmp/stop; ( refused=0; asked=0; while [[ ! -e /tmp/stop ]]; do asked=$((asked+1)); \
        (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null || refused=$((refused+1)); done; \
        echo \"asked $asked refused $refused\" ) & \
        /opt/autotag-receiver init blog --image ghcr.io/org/blog --listen 81 >/tmp/said 2>&1; code=$?; \
        touch /tmp/stop; wait; cat /tmp/said; exit $code";
    let said = server.run(script);
    assert!(said.contains(" refused 0\n"), "{said}");
    assert!(!said.contains("asked 0 "), "{said}");
    assert_eq!(server.is("active", "autotag-proxy-::-81.socket"), "active", "{said}");
    server.run("exec 3<>/dev/tcp/127.0.0.1/81; exec 3<>/dev/tcp/::1/81; exec 3<>/dev/tcp/127.0.0.1/8080");
    assert!(server.run("/opt/autotag-receiver init blog").contains("nothing to do"));
}

#[track_caller]
fn is_removed(server: &Server) {
    let program = "/usr/local/bin/autotag-receiver";
    let shown = server.run(&format!("{program} remove blog --dry-run"));
    assert!(shown.contains("userdel autotag-blog"), "{shown}");
    server.run(&format!("{program} remove blog"));
    assert_eq!(server.is("active", "autotag-proxy-127.0.0.1-8080.socket"), "active", "the other one is left");
    assert!(server.output("exec 3<>/dev/tcp/127.0.0.1/81").status.code() != Some(0), "its address is closed");

    server.run(&format!("{program} remove shop"));
    let left = server.run(
        "grep autotag /etc/passwd /etc/group; find /etc /var/lib/autotag /run/autotag* -name '*autotag*' -not -name 'autotag-receiver'; true",
    );
    assert_eq!(left, "", "something is left");
    assert!(server.run(&format!("{program} remove shop")).contains("nothing to do"));
}

#[test]
fn check_tells_all_faults_of_a_host_at_once() {
    let server = Server::boot();
    server.run(INIT);
    server.run(
        "chmod 644 /etc/autotag/shop.yaml; sed -i 's/^restrict,//' /etc/autotag/keys/autotag-shop; \
         usermod --append --groups docker autotag-shop; systemctl stop docker.service docker.socket; \
         printf 'networks: [nowhere]\\nenv_file: /etc/shop.env\\n' >>/etc/autotag/shop.yaml; \
         systemctl stop autotag-proxy-127.0.0.1-8080.socket autotag-proxy.service",
    );
    let output = server.output("/opt/autotag-receiver check");
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in [
        "shop.yaml has the mode 0644",
        "opens more than one door",
        "is in the group docker",
        "start docker",
        "/etc/shop.env",
        "the proxy does not answer",
        "nobody listens at 127.0.0.1:8080",
    ] {
        assert!(said.contains(word), "`{word}` is missing in {said}");
    }
}

/// Whole machines: what was deployed serves again after a reboot, and after a restart of Docker alone.
#[test]
fn what_was_deployed_serves_again_after_a_reboot_and_a_restart_of_docker() {
    let server = Server::boot();
    let name = "127.0.0.1:5005/org/shop";
    let tag = format!("{name}:1.0.0-{}", std::process::id());
    let commit = "c".repeat(40);
    AppImage::new("1.0.0").commit(&commit).import(&tag);
    let loaded =
        Server::output_of_host(&format!("docker save {tag} | docker exec -i {} docker load", server.name));
    let _ = Command::new("docker").args(["image", "rm", "--force", &tag]).output();
    assert!(loaded.status.success(), "{}", text(&loaded));
    // The registry is this server's own: Docker wants TLS of any other.
    server.run(
        "printf '%s\\n' 'version: 0.1' 'storage: {filesystem: {rootdirectory: /srv/registry}}' \
         'http: {addr: \"127.0.0.1:5005\"}' >/srv/registry.yml; \
         systemd-run --quiet docker-registry serve /srv/registry.yml",
    );
    server.eventually("curl -fsS http://127.0.0.1:5005/v2/");
    server.run(&format!("docker push {tag}; docker image rm {tag}"));
    let digest = server.run(&format!(
        "curl -fsSI -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
         http://127.0.0.1:5005/v2/org/shop/manifests/{} | tr -d '\\r' | awk '/^Docker-Content-Digest/ {{ print $2 }}'",
        tag.rsplit(':').next().expect("a tag")
    ));
    server.run(&format!("/opt/autotag-receiver init shop --image {name} --port 3000 --health /healthz"));
    let deploy =
        format!("autotag-receiver deploy shop 1.0.0 --image-digest {} --commit {commit}", digest.trim());
    let said = server.run(&deploy);
    assert!(said.contains("1.0.0 serves"), "{said}");
    let front_door = "curl -fsS --max-time 5 http://127.0.0.1:8080/ | grep '^1.0.0 '";
    server.run(front_door);

    docker(&["restart", &server.name]);
    server.wait_until_booted();
    server.eventually(front_door);
    server.run("systemctl restart docker");
    server.eventually(front_door);
    let status = server.run("autotag-receiver status shop");
    assert!(status.contains("serves") && !status.contains("DRIFT"), "{status}");
    let said = server.run("autotag-receiver check shop 2>&1");
    assert!(!said.contains("error"), "{said}");
}
