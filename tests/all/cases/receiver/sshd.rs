//! `check` and the machine's own sshd.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use autotag_protocol::AppName;
use autotag_receiver::host::init::sshd;
use autotag_receiver::paths::Paths;

use testkit::processes::sshd::SystemUser;
use testkit::programs::receiver;

struct Machine {
    directory: tempfile::TempDir,
    paths: Paths,
    app: AppName,
    user: SystemUser,
}

impl Machine {
    fn set_up() -> Self {
        let user = SystemUser::create("check");
        let app: AppName =
            user.name().strip_prefix("autotag-").expect("an application's user").parse().expect("a name");
        let directory = tempfile::tempdir().expect("a directory");
        let paths = Paths::below(directory.path());
        let machine = Self { directory, paths, app, user };
        // Only what `sshd -T` does not start without: it is not asked to serve.
        std::fs::create_dir_all("/run/sshd").expect("its directory");
        let (paths, name) = (&machine.paths, machine.user.name());
        std::fs::create_dir_all(paths.sshd_part().parent().expect("a directory")).expect("a directory");
        std::fs::create_dir_all(paths.keys()).expect("a directory");
        for path in [machine.directory.path(), &paths.keys()] {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("rights");
        }
        let key = paths.sshd().join("host_key");
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
        assert!(made.expect("ssh-keygen").success());
        std::fs::write(paths.passwd(), format!("{name}:x:990:991::/:/bin/sh\n")).expect("passwd");
        std::fs::write(paths.group(), "autotag:x:991:\n").expect("group");
        machine.shadow("*:20000:0:99999:7:::");
        std::fs::write(paths.app_file(&machine.app), "image: x.io/app\nproxy: none\nhealth: none\n")
            .expect("a file");
        let line = format!("{} ssh-ed25519 AAAA test\n", sshd::line_start(paths, &machine.app));
        std::fs::write(paths.authorized_keys(&machine.app), line).expect("a key");
        machine.part();
        machine
    }

    fn shadow(&self, fields: &str) {
        std::fs::write(self.directory.path().join("etc/shadow"), format!("{}:{fields}\n", self.user.name()))
            .expect("shadow");
    }

    fn part(&self) {
        // The machine's own group has no such member.
        let part = sshd::part(&self.paths)
            .replace("Match Group autotag", &format!("Match User {}", self.user.name()));
        std::fs::write(self.paths.sshd_part(), part).expect("the part");
    }

    fn config(&self, more: &str) {
        let directory = self.paths.sshd();
        let text =
            format!("HostKey {0}/host_key\nInclude {0}/sshd_config.d/*.conf\n{more}\n", directory.display());
        std::fs::write(directory.join("sshd_config"), text).expect("its configuration");
    }

    fn checked(&self) -> String {
        let output = Command::new(receiver())
            .arg("--root")
            .arg(self.directory.path())
            .args(["check", self.app.as_str()])
            .output()
            .expect("check");
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        // Nothing serves here, which is a fault too.
        assert_eq!(output.status.code(), Some(2), "{printed}");
        printed
    }
}

// case S10; broken by: `sshd::look` left out of `check`, which then says nothing of any of them.
pub fn check_names_what_keeps_the_key_out() {
    assert!(Path::new(sshd::SSHD).exists(), "this test needs sshd (Debian package openssh-server)");
    let machine = Machine::set_up();
    let name = machine.user.name();
    machine.config("StrictModes no");
    let well = machine.checked();
    assert!(well.contains(&format!("sshd lets {name} in by its key")), "{well}");
    for (config, named) in [
        ("AllowUsers root", "`AllowUsers root`"),
        ("DenyUsers autotag-*", "`DenyUsers autotag-*`"),
        ("AllowGroups ssh-users", "`AllowGroups ssh-users`"),
        ("PubkeyAuthentication no", "`PubkeyAuthentication no`"),
        ("Nonsense yes", "sshd rejects its configuration"),
    ] {
        machine.config(&format!("StrictModes no\n{config}"));
        let printed = machine.checked();
        assert!(printed.contains(named) && !printed.contains("in by its key"), "{config}: {printed}");
    }
    // Temporary directories are everybody's to write.
    machine.config("StrictModes yes");
    assert!(machine.checked().contains("sshd refuses keys below"), "the modes of what lies above the keys");
    machine.config("StrictModes no");
    machine.shadow("!:20000:0:99999:7::1:");
    let printed = machine.checked();
    assert!(printed.contains("is locked") && printed.contains("has expired"), "{printed}");
    std::fs::remove_file(machine.paths.sshd_part()).expect("removed");
    let printed = machine.checked();
    assert!(printed.contains("autotag.conf is missing"), "{printed}");
    std::fs::write(
        machine.paths.sshd().join("sshd_config"),
        format!("HostKey {}/host_key\n", machine.paths.sshd().display()),
    )
    .expect("its configuration");
    machine.part();
    let printed = machine.checked();
    assert!(printed.contains("add `Include") && printed.contains("as its first line"), "{printed}");
}
