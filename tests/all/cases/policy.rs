//! What CI's key may do on a server, by the real programs: versions, labels, configurations, and who else comes in.

use std::process::{Command, Output, Stdio};

use autotag_deploy::deploy::protocol::{
    Because, Body, Configuration, Deploy, End, Milestone, Outcome, Rollback,
};
use autotag_deploy::image::reference::Digest;
use autotag_deploy::receiver::init::sshd::part;
use autotag_deploy::receiver::layout::GROUP;
use autotag_deploy::secret::Secret;

use crate::server::action::Way;
use crate::server::moments::refused;
use crate::server::neighbours::{by_key, let_key_in};
use crate::support::app_image::AppImage;
use crate::support::server::{Images, Server, commit_of, deploy, docker, receiver, rollback, take_back};
use crate::support::sshd::{ClientKey, Sshd, SystemUser};

/// A server with one application, whose key may ask.
struct Site {
    images: Images,
    server: Server,
}

impl Site {
    fn with(app_file: &str) -> Self {
        let (images, mut server) = (Images::start(), Server::start());
        server.app_file(images.name(), app_file);
        let_key_in(&mut server);
        Self { images, server }
    }

    fn by_key(&self, body: Body) -> Outcome {
        by_key(&self.server, body).told()
    }

    fn deploy(&self, deploy: Deploy) -> End {
        self.by_key(Body::Deploy(Box::new(deploy))).end
    }

    fn release(&self, version: &str) -> Deploy {
        deploy(self.images.name(), version, &self.images.push(version))
    }

    /// An image that another tool built, with these of our labels.
    fn foreign(&self, version: &str, labels: &[(&str, &str)]) -> Deploy {
        let image = AppImage::answering(version).label("registry", self.images.registry.host());
        let image = labels.iter().fold(image, |image, (name, value)| image.label(name, value));
        let digest = self.images.registry.put("org/app", version, &image.for_registry());
        deploy(self.images.name(), version, &digest)
    }
}

#[track_caller]
fn failed_at_pull(end: &End) -> &str {
    match end {
        End::Failed { step: Milestone::Pull, message } => message,
        other => panic!("expected a failure of the pull: {other:?}"),
    }
}

/// The owner's command.
fn owner(server: &Server, words: &[&str]) -> Output {
    let mut command = Command::new(receiver());
    command.arg("--root").arg(server.folder.path()).args(words).stdin(Stdio::null());
    command.output().expect("the receiver starts")
}

// case X2; broken by: `downgrade` lets everybody
pub fn the_key_downgrades_only_where_the_app_file_says_so() {
    let site = Site::with("");
    let [one, two] = ["1.0.0", "1.0.1"].map(|version| site.release(version));
    assert_eq!(site.deploy(one.clone()), End::Deployed {});
    assert_eq!(site.deploy(two), End::Deployed {});
    let again = |deploy: &Deploy| Deploy {
        deployment: rollback().deployment,
        allow_downgrade: true,
        ..deploy.clone()
    };
    let end = site.deploy(again(&one));
    let words = refused(&end, Because::Downgrade);
    assert!(words.contains("allow_downgrade: true") && words.contains("1.0.1"), "{words}");
    assert!(site.server.get("/").1.starts_with("1.0.1 "));
    // root may, and CI where the owner says so.
    site.server.deploy(again(&one)).ended(&End::Deployed {});
    site.server.roll_back(Some("1.0.1"), Configuration::Today).ended(&End::Deployed {});
    site.server.app_file(site.images.name(), "allow_downgrade: true\n");
    assert_eq!(site.deploy(again(&one)), End::Deployed {});
    assert!(site.server.get("/").1.starts_with("1.0.0 "));
}

// case X3; broken by: `LabelRule::of` is `Optional` for everybody
pub fn an_image_without_labels_proves_no_version() {
    let site = Site::with("");
    let version = |version| ("org.opencontainers.image.version", version);
    let commit = commit_of("18446744073709551615.0.0");
    let revision = ("org.opencontainers.image.revision", commit.as_str());
    let highest = "18446744073709551615.0.0";
    for labels in [&[][..], &[version(highest)], &[revision], &[("version", highest)]] {
        let end = site.deploy(site.foreign(highest, labels));
        let words = failed_at_pull(&end);
        assert!(words.contains("has no label") && words.contains("allow_unlabelled: true"), "{words}");
    }
    assert_eq!(site.server.state().highest, None, "none of them was live");
    // The owner's word counts, by the command as well.
    let foreign = site.foreign("1.4.0", &[]);
    let (digest, commit) = (foreign.digest.to_string(), foreign.commit.to_string());
    let app = site.server.app.to_string();
    let said =
        owner(&site.server, &["deploy", &app, "1.4.0", "--image-digest", &digest, "--commit", &commit]);
    assert!(said.status.success(), "{said:?}");

    // Where the app file allows it the key deploys them too, up to the next major version.
    site.server.app_file(site.images.name(), "allow_unlabelled: true\n");
    assert_eq!(site.deploy(site.foreign("1.4.1", &[])), End::Deployed {});
    let end = site.deploy(site.foreign(highest, &[]));
    let words = failed_at_pull(&end);
    assert!(words.contains("beyond the next major version after 1.4.1"), "{words}");
    assert_eq!(site.deploy(site.foreign("2.0.0", &[])), End::Deployed {});
    assert_eq!(site.server.state().highest, Some("2.0.0".parse().unwrap()));
}

/// Somebody with the key claimed a version that no image had, and people rolled it back.
// case X3; broken by: `serves_above` is always true
pub fn no_job_is_green_after_a_bogus_version_and_a_rollback() {
    let way = Way::open();
    let port = way.sshd.port();
    let one = way.project.merge("feat: begin");
    let digest = way.pushed(&one, "0.0.1", &[]);
    way.release(&one, &digest, port).finish().ended("released");
    let name = way.project.image();
    let bogus = AppImage::answering("bogus").label("registry", way.project.registry.host());
    let bogus: Digest = way.project.registry.put("org/app", "bogus", &bogus.for_registry());
    way.server.deploy(deploy(&name, "999.0.0", &bogus)).ended(&End::Deployed {});
    way.server.roll_back(None, Configuration::Today).ended(&End::RolledBack {});

    let two = way.project.merge("fix: go on");
    let digest = way.pushed(&two, "0.0.2", &[]);
    let run = way.release(&two, &digest, port).finish().failed(7);
    let errors = run.annotations("error");
    assert!(errors.len() == 1 && errors[0].contains("not above 999.0.0"), "{errors:?}");
    assert!(errors[0].contains("autotag-receiver reset-highest"), "{errors:?}");
    assert!(way.server.get("/").1.starts_with("0.0.1 "), "what served goes on");

    let app = way.server.app.to_string();
    let said = owner(&way.server, &["reset-highest", &app]);
    assert!(said.status.success(), "{said:?}");
    way.release(&two, &digest, port).finish().ended("resumed");
    assert!(way.server.get("/").1.starts_with("0.0.2 "));
    // Nor does the key bring it back: it is above the highest.
    let run = way.run(&two, port).with("command", "rollback").with("version", "999.0.0").finish().failed(7);
    assert!(run.annotations("error")[0].contains("999.0.0 is not recorded here"), "{run}");
}

/// An old app file had a mount and a secret that its owner took away since.
// case X4; broken by: the key gets the snapshot as root does
pub fn the_key_brings_no_old_app_file_back() {
    let then = "environment: {OWNERS: then}\ntmpfs: /then\nallow_environment: [FEATURE, GONE]\n";
    let now = "environment: {OWNERS: now}\nallow_environment: [FEATURE]\n";
    let site = Site::with(then);
    let with = |version: &str, names: &[&str]| {
        let release = site.release(version);
        let value = |name: &&str| (name.parse().unwrap(), Secret::verbatim(format!("{version}-{name}")));
        Deploy { environment: names.iter().map(value).collect(), ..release }
    };
    let made = || {
        let containers = site.server.containers();
        docker(&["inspect", "--format", "{{json .Config.Env}} {{json .HostConfig.Tmpfs}}", &containers[0]])
    };
    let is_todays = |feature: &str| {
        let made = made();
        assert!(made.contains("OWNERS=now") && !made.contains("/then"), "{made}");
        assert!(made.contains(&format!("FEATURE={feature}")) && !made.contains("GONE"), "{made}");
    };
    assert_eq!(site.deploy(with("1.0.0", &["FEATURE", "GONE"])), End::Deployed {});
    assert!(made().contains("OWNERS=then") && made().contains("/then") && made().contains("GONE"));
    site.server.app_file(site.images.name(), now);
    assert_eq!(site.deploy(with("1.0.1", &["FEATURE"])), End::Deployed {});
    is_todays("1.0.1-FEATURE");

    let back = Rollback { configuration: Configuration::Then, ..rollback() };
    let mut heard = by_key(&site.server, Body::Rollback(Box::new(back)));
    let told = std::iter::repeat_with(|| format!("{:?}", heard.next()));
    let told: Vec<String> = told.take_while(|answer| !answer.contains("RolledBack")).collect();
    assert!(told.iter().any(|line| line.contains("GONE") && line.contains("left out")), "{told:?}");
    is_todays("1.0.0-FEATURE");
    // Likewise where a deployment is taken back by itself.
    let next = with("1.0.2", &["FEATURE"]);
    assert_eq!(site.deploy(next.clone()), End::Deployed {});
    assert_eq!(site.by_key(Body::Rollback(Box::new(take_back(&next.deployment)))).end, End::RolledBack {});
    is_todays("1.0.0-FEATURE");
    // root may have what was.
    site.server.roll_back(Some("1.0.1"), Configuration::Today).ended(&End::Deployed {});
    let first = site.server.history().last().expect("the first one").release.version.to_string();
    site.server.roll_back(Some(&first), Configuration::Then).ended(&End::RolledBack {});
}

/// A machine that trusts an authority's certificates for its people does not so for CI's users.
// case X9; broken by: the part without `TrustedUserCAKeys none`; the part without `ForceCommand`
pub fn a_certificate_opens_no_door_to_the_keys_user() {
    let images = Images::start();
    let (user, key) = (SystemUser::create("c"), ClientKey::ed25519());
    let (server, options) = Server::set_up(&user, &key, images.name());
    // This machine has no such group: the user stands for it.
    let group = format!("Match Group {GROUP}");
    let text = part(&server.layout);
    assert!(text.contains(&group), "{text}");
    let part = text.replace(&group, &format!("Match User {}", user.name()));

    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("letters").to_owned();
    let authority = ClientKey::ed25519();
    for (name, text) in [("ca", &authority.private), ("ca.pub", &authority.public)] {
        std::fs::write(path(name), text).expect("a file");
    }
    let guest = ClientKey::ed25519();
    for (name, text) in [("guest", &guest.private), ("guest.pub", &guest.public), ("key", &key.private)] {
        std::fs::write(path(name), text).expect("a file");
    }
    for name in ["ca", "guest", "key"] {
        let rights = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(path(name), rights).expect("rights");
    }
    let signed = Command::new("ssh-keygen")
        .args(["-q", "-s", &path("ca"), "-I", "guest", "-n", user.name(), &path("guest.pub")])
        .status();
    assert!(signed.expect("ssh-keygen").success(), "a certificate for the user");
    let trusting = |part: &str, options: &str| {
        Sshd::with_host_key("ed25519")
            .directive(format!("TrustedUserCAKeys {}", path("ca.pub")))
            .authorize(user.name(), options, &key)
            .part(part)
            .start()
    };
    let ssh = |sshd: &Sshd, identity: &str, words: &str| {
        std::fs::write(path("known_hosts"), sshd.known_hosts()).expect("a file");
        Command::new("ssh")
            .args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", &path(identity)])
            .args(["-o", &format!("UserKnownHostsFile={}", path("known_hosts"))])
            .args(["-p", &sshd.port().to_string(), &format!("{}@127.0.0.1", user.name()), words])
            .stdin(Stdio::null())
            .output()
            .expect("ssh (Debian package openssh-client)")
    };
    let said = |output: &Output| {
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };

    // Without our part the certificate is a shell: the test can fail.
    let open = trusting("", &options);
    let output = ssh(&open, "guest", "id");
    assert!(said(&output).contains(user.name()), "{}", said(&output));
    let sshd = trusting(&part.replace("AuthorizedKeysFile", "#"), &options);
    let output = ssh(&sshd, "guest", "id");
    assert!(!output.status.success() && said(&output).contains("Permission denied"), "{}", said(&output));
    // Whatever a line of the key file lacks: the command is sshd's.
    for options in ["", "command=\"id\"", &options] {
        let sshd = trusting(&part.replace("AuthorizedKeysFile", "#"), options);
        let output = ssh(&sshd, "key", "id");
        assert!(!said(&output).contains("uid=") && said(&output).contains("malformed"), "{}", said(&output));
    }
}
