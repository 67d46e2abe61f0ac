//! What CI's key may do on a server, by the real programs: versions, labels, configurations, and who else comes in.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use autotag_model::help::Topic;
use autotag_model::reference::Digest;
use autotag_model::secret::Secret;
use autotag_protocol::{
    Body, Configuration, Deploy, End, Event, FailureCode, Open, Outcome, RefusalCode, Rollback, RolloutStep,
};
use autotag_receiver::host::init::sshd::part;
use autotag_receiver::paths::GROUP;

use crate::receiver::access::neighbours::{as_key, by_key, let_key_in};
use crate::receiver::crashes::held::refused;
use crate::receiver::deployments::end_to_end::Way;
use testkit::images::app_image::AppImage;
use testkit::processes::sshd::{ClientKey, Sshd, SystemUser};
use testkit::programs::receiver;
use testkit::server::{Images, Server, commit_of, deploy, docker, revert, rollback};

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
        by_key(&self.server, body).finish()
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
        End::Failed {
            step: Open::Known(RolloutStep::Pull),
            code: Open::Known(FailureCode::ImageLabels),
            message,
        } => message,
        other => panic!("expected a failure of the pull, by its labels: {other:?}"),
    }
}

/// The owner's command.
fn owner(server: &Server, words: &[&str]) -> Output {
    let mut command = Command::new(receiver());
    command.arg("--root").arg(server.directory.path()).args(words).stdin(Stdio::null());
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
    let words = refused(&end, RefusalCode::Downgrade);
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
        assert!(words.contains("allow_unlabelled: true"), "{words}");
    }
    assert_eq!(site.server.state().highest, None, "none of them was live");
    // The owner's word counts, by the command as well.
    let foreign = site.foreign("1.4.0", &[]);
    let (digest, commit) = (foreign.digest.to_string(), foreign.commit.to_string());
    let app = site.server.app.to_string();
    let printed =
        owner(&site.server, &["deploy", &app, "1.4.0", "--image-digest", &digest, "--commit", &commit]);
    assert!(printed.status.success(), "{printed:?}");

    // Where the app file allows it the key deploys them too, up to the next major version.
    site.server.app_file(site.images.name(), "allow_unlabelled: true\n");
    assert_eq!(site.deploy(site.foreign("1.4.1", &[])), End::Deployed {});
    let end = site.deploy(site.foreign(highest, &[]));
    let words = failed_at_pull(&end);
    assert!(words.contains("1.4.1"), "{words}");
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
    assert!(errors.len() == 1 && errors[0].contains("999.0.0"), "{errors:?}");
    assert!(errors[0].contains("autotag-receiver reset-highest"), "{errors:?}");
    assert!(errors[0].contains(&Topic::NewerIsLive.link()), "{errors:?}");
    assert!(way.server.get("/").1.starts_with("0.0.1 "), "what served goes on");

    let app = way.server.app.to_string();
    let printed = owner(&way.server, &["reset-highest", &app]);
    assert!(printed.status.success(), "{printed:?}");
    way.release(&two, &digest, port).finish().ended("resumed");
    assert!(way.server.get("/").1.starts_with("0.0.2 "));
    // Nor does the key bring it back: it is above the highest.
    let run = way.run(&two, port).with("command", "rollback").with("version", "999.0.0").finish().failed(7);
    assert!(run.annotations("error")[0].contains(&Topic::NotRecorded.link()), "{run}");
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
    let reported = std::iter::repeat_with(|| format!("{:?}", heard.next()));
    let reported: Vec<String> = reported.take_while(|answer| !answer.contains("RolledBack")).collect();
    assert!(reported.iter().any(|line| line.starts_with("Note") && line.contains("GONE")), "{reported:?}");
    is_todays("1.0.0-FEATURE");
    // Likewise where a deployment is reverted by itself.
    let next = with("1.0.2", &["FEATURE"]);
    assert_eq!(site.deploy(next.clone()), End::Deployed {});
    assert_eq!(site.by_key(Body::Rollback(Box::new(revert(&next.deployment)))).end, End::RolledBack {});
    is_todays("1.0.0-FEATURE");
    // root may have what was.
    site.server.roll_back(Some("1.0.1"), Configuration::Today).ended(&End::Deployed {});
    let first = site.server.history().last().expect("the first one").release.version.to_string();
    site.server.roll_back(Some(&first), Configuration::Then).ended(&End::RolledBack {});
}

/// What fails leaves nothing that fills the disk, and what served stays for a rollback.
// case X5; broken by: `clean_up` is not called
pub fn a_failed_deployment_leaves_neither_image_nor_settings() {
    let site = Site::with("health: {path: /healthz, deadline: 1s, stable: 100ms}\n");
    let one = site.release("1.0.0");
    assert_eq!(site.deploy(one.clone()), End::Deployed {});
    let settings = || {
        let directory = site.server.paths.state(&site.server.app).join("settings");
        let names =
            std::fs::read_dir(directory).expect("a directory").map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect::<std::collections::BTreeSet<_>>()
    };
    let is_here = |deploy: &Deploy| {
        let name = deploy.image.with_digest(&deploy.digest);
        !docker(&["image", "inspect", "--format", "{{.Id}}", &name]).trim().is_empty()
    };
    let before = settings();
    let unhealthy = site.images.push_with("1.0.1", &[("FAIL_HEALTH", "always")]);
    let unhealthy = deploy(site.images.name(), "1.0.1", &unhealthy);
    let end = site.deploy(unhealthy.clone());
    assert!(matches!(end, End::Failed { step: Open::Known(RolloutStep::Health), .. }), "{end:?}");
    let foreign = site.foreign("1.0.2", &[]);
    failed_at_pull(&site.deploy(foreign.clone()));
    assert_eq!(settings(), before);
    assert!(!is_here(&unhealthy) && !is_here(&foreign) && is_here(&one));
    // What was there before stays: it is somebody's.
    docker(&["pull", "--quiet", &foreign.image.with_digest(&foreign.digest)]);
    let again = Deploy { deployment: rollback().deployment, ..foreign.clone() };
    failed_at_pull(&site.deploy(again));
    assert!(is_here(&foreign));
    docker(&["image", "rm", &foreign.image.with_digest(&foreign.digest)]);
    assert!(site.server.get("/").1.starts_with("1.0.0 "));
}

/// Whoever has the key asks for what is refused, without end.
// case X5; broken by: `spend` spends nothing; refusals are journalled one by one
pub fn requests_that_go_wrong_are_limited_and_summed_up() {
    let site = Site::with("");
    let one = site.release("1.0.0");
    let elsewhere = || Deploy {
        deployment: rollback().deployment,
        image: "ghcr.io/org/other".parse().unwrap(),
        ..one.clone()
    };
    let mut refusals = 0;
    let busy = loop {
        match site.deploy(elsewhere()) {
            End::Refused { code: Open::Known(RefusalCode::Busy), message } => break message,
            end => assert!(
                matches!(end, End::Refused { code: Open::Known(RefusalCode::Repository), .. }),
                "{end:?}"
            ),
        }
        refusals += 1;
        assert!(refusals < 500, "there is no end to it");
    };
    assert!(refusals >= 30 && busy.contains("minutes"), "{refusals}: {busy}");
    refused(&site.deploy(one.clone()), RefusalCode::Busy);
    let entries = site.server.journal();
    assert!(entries.len() <= 4, "{refusals} refusals have {} entries", entries.len());
    // Questions are answered, and the owner deploys at any time.
    assert_eq!(site.by_key(Body::Status { deployment: None }).end, End::Reported {});
    site.server.deploy(one.clone()).ended(&End::Deployed {});
    // What became of one is told at any time as well.
    assert_eq!(site.deploy(one), End::Deployed {});
}

/// Sessions that sshd keeps open as long as their program runs.
// case X5; broken by: the relay reads the request before it connects
pub fn a_session_that_says_nothing_takes_a_place_and_ends() {
    let site = Site::with("");
    // More than the 32 paths: one that came while the status was asked for found none.
    let silent: Vec<Silent> = (0..40).map(|_| Silent::begin(&site.server)).collect();
    let status = || site.by_key(Body::Status { deployment: None }).end;
    // Each takes its place as soon as it has started.
    site.server.until("all paths are taken", || {
        matches!(status(), End::Refused { code: Open::Known(RefusalCode::Busy), .. })
    });
    assert!(site.server.status().running.is_none(), "the owner has paths of its own");
    let mut ended = 0;
    for session in silent {
        let printed = session.until_its_end();
        // One that came while the status was asked for found no place.
        if !printed.contains("\"busy\"") {
            assert!(printed.contains("\"malformed\""), "{printed}");
            ended += 1;
        }
    }
    assert!(ended >= 30, "{ended} had places");
    site.server.until("the paths are free again", || status() == End::Reported {});
}

/// What a container says at its end may be what its owner keeps from CI.
// case X9; broken by: `follow` masks nothing
pub fn the_owners_variables_are_masked_for_the_key() {
    const SECRET: &str = "s3cret/of the=owner";
    const OTHER: &str = "another-Secret-2";
    let site = Site::with("");
    let env_file = site.server.paths.root().join("etc/autotag/app.env");
    std::fs::write(&env_file, format!("OTHER={OTHER}\n")).expect("a file");
    site.server.app_file(
        site.images.name(),
        &format!(
            "environment: {{TOKEN: {SECRET:?}, LEVEL: info}}\nenv_file: /etc/autotag/app.env\n\
             health: {{path: /healthz, deadline: 2s, stable: 100ms}}\nsmoke: [{{path: /, contains: {OTHER:?}}}]\n"
        ),
    );
    let printed = format!("{SECRET} at info, s3cret%2Fof%20the%3Downer, {OTHER}");
    let heard_by_key = |request: Deploy| {
        let mut relay = by_key(&site.server, Body::Deploy(Box::new(request)));
        let mut heard = String::new();
        loop {
            let answer = relay.next();
            let _ = writeln!(heard, "{answer:?}");
            if let Event::Result(outcome) = answer {
                assert!(matches!(outcome.end, End::Failed { .. }), "{heard}");
                return heard;
            }
        }
    };
    // At its health it says its last words; at its smoke test the body is told.
    for (version, fails) in [("1.0.0", "always"), ("1.0.1", "")] {
        let environment = [("FAIL_HEALTH", fails), ("SAY", printed.as_str())];
        let digest =
            site.images.push_with(version, if fails.is_empty() { &environment[1..] } else { &environment });
        let request = deploy(site.images.name(), version, &digest);
        let heard = heard_by_key(request.clone());
        assert!(heard.contains("*** at info, ***, ***"), "{heard}");
        for secret in [SECRET, OTHER, "s3cret", "another-Secret"] {
            assert!(!heard.contains(secret), "{secret}: {heard}");
        }
        // root sees what there is.
        let reported = site.server.deploy(Deploy { deployment: rollback().deployment, ..request });
        assert!(reported.text().contains(OTHER), "{}", reported.text());
    }
    let mut relay = by_key(&site.server, Body::History { entries: 9 });
    let mut history = String::new();
    loop {
        let answer = relay.next();
        let _ = writeln!(history, "{answer:?}");
        if let Event::Result(_) = answer {
            break;
        }
    }
    assert!(!history.contains(OTHER) && history.contains("***"), "{history}");
}

/// A session of which nothing comes.
struct Silent {
    child: std::process::Child,
    input: std::process::ChildStdin,
}

impl Silent {
    fn begin(server: &Server) -> Self {
        let mut child = as_key(server).spawn().expect("setpriv (Debian package util-linux)");
        let input = child.stdin.take().expect("piped");
        Self { child, input }
    }

    /// What it was told, when its program ends by itself.
    fn until_its_end(self) -> String {
        let output = self.child.wait_with_output().expect("it ends");
        drop(self.input);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// An authority (`ca`), a certificate of it for this user (`guest`), and the user's own key, as files.
fn sign_a_guest(directory: &Path, user: &str, key: &ClientKey) {
    let path = |name: &str| directory.join(name).to_str().expect("letters").to_owned();
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
        .args(["-q", "-s", &path("ca"), "-I", "guest", "-n", user, &path("guest.pub")])
        .status();
    assert!(signed.expect("ssh-keygen").success(), "a certificate for the user");
}

/// A machine that trusts an authority's certificates for its people does not so for CI's users.
// case X9; broken by: the part without `TrustedUserCAKeys none`; the part without `ForceCommand`
// (the former alone is noticed where the part is tried without the principals' lines)
pub fn a_certificate_opens_no_door_to_the_keys_user() {
    let images = Images::start();
    let (user, key) = (SystemUser::create("c"), ClientKey::ed25519());
    let (server, options) = Server::set_up(&user, &key, images.name());
    // This machine has no such group: the user stands for it.
    let group = format!("Match Group {GROUP}");
    let text = part(&server.paths);
    assert!(text.contains(&group), "{text}");
    let part = text.replace(&group, &format!("Match User {}", user.name()));

    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("letters").to_owned();
    sign_a_guest(directory.path(), user.name(), &key);
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
    let printed = |output: &Output| {
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };

    // Without our part the certificate is a shell: the test can fail.
    let open = trusting("", &options);
    let output = ssh(&open, "guest", "id");
    assert!(printed(&output).contains(user.name()), "{}", printed(&output));
    // Some versions of sshd take the `none` of the principals for a file or a program that does not name the user:
    // the authority is not to depend on it.
    let part = part.replace("AuthorizedKeysFile", "#");
    for part in [part.as_str(), &part.replace("AuthorizedPrincipals", "#")] {
        let output = ssh(&trusting(part, &options), "guest", "id");
        assert!(
            !output.status.success() && printed(&output).contains("Permission denied"),
            "{part}{}",
            printed(&output)
        );
    }
    // Whatever a line of the key file lacks: the command is sshd's.
    for options in ["", "command=\"id\"", &options] {
        let sshd = trusting(&part, options);
        let output = ssh(&sshd, "key", "id");
        assert!(
            !printed(&output).contains("uid=") && printed(&output).contains("newer-request"),
            "{}",
            printed(&output)
        );
    }
}
