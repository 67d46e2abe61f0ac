//! `plan` in any clone: what the clone tells, whose logins are used, and what is said where something is
//! missing.

use autotag_deploy::inputs::spec;
use autotag_model::reference::ImageName;
use serde_json::json;

use super::{RawInputs, Workstation};
use testkit::github::Double;
use testkit::images::tiny_image::TinyImage;
use testkit::network::faults::Fault;
use testkit::registry::{Auth, Registry};

/// A registry, and a workstation that plans for it.
fn with_registry(auth: &Auth) -> (Workstation, Registry) {
    let registry = Registry::start(auth);
    let workstation = Workstation::new().with("INPUT_IMAGE", &registry.image("org/app").to_string());
    (workstation, registry)
}

#[test]
fn a_clone_is_enough_however_it_was_made() {
    let (workstation, _registry) = with_registry(&Auth::None);
    let workstation = workstation.logged_in();
    let commit = workstation.head();
    std::fs::create_dir(workstation.clone().join("below")).expect("a directory");
    for arrangement in [
        &["remote", "set-url", "origin", "git@github.com:org/app.git"][..],
        &["remote", "set-url", "origin", "ssh://git@ssh.github.com:443/org/app.git"],
        &["remote", "set-url", "origin", "gh:org/app"],
        &["remote", "add", "fork", "https://github.com/me/app.git"],
        &["checkout", "--quiet", "--detach"],
        &["remote", "remove", "fork"],
        &["remote", "rename", "origin", "upstream"],
        &["remote", "add", "backup", "https://git.example.com/org/app.git"],
    ] {
        workstation.git(&["config", "url.https://github.com/.insteadOf", "gh:"]);
        workstation.git(arrangement);
        let log = workstation.run(&["plan"]).ended(0);
        assert!(log.contains("release 0.0.1") && log.contains(commit.as_str()), "{arrangement:?}: {log}");
        assert!(log.contains(&format!("org/app, commit {}", commit.short())), "{arrangement:?}: {log}");
    }
    let below = workstation.command("sh").args(["-c", "cd below && $PROGRAM plan"]).output().expect("sh");
    assert_eq!(below.status.code(), Some(0), "a directory below: {below:?}");
    // A worktree has a file where a clone has its directory; a shallow clone has no history.
    workstation.git(&["worktree", "add", "--quiet", "-b", "other", "../worktree"]);
    workstation.git(&[
        "clone",
        "--quiet",
        "--depth=1",
        &format!("file://{}", workstation.clone().display()),
        "../shallow",
    ]);
    workstation.git(&["-C", "../shallow", "remote", "set-url", "origin", "https://github.com/org/app"]);
    for directory in ["worktree", "shallow"] {
        let line = format!("cd ../{directory} && $PROGRAM plan");
        let planned = workstation.command("sh").args(["-c", &line]).output().expect("sh");
        assert_eq!(planned.status.code(), Some(0), "{directory}: {planned:?}");
    }
}

/// As `scripts/walk` does: each line that the page shows is the beginning of one that is printed, in this order,
/// whatever the versions are; `...` stands for anything.
#[test]
fn the_page_shows_what_a_plan_prints() {
    let (workstation, registry) = with_registry(&Auth::None);
    let workstation = workstation.logged_in().with("NO_COLOR", "1");
    workstation.git(&["tag", "v0.0.7"]);
    registry.put("org/app", "0.0.7", &TinyImage::labelled(&[]));
    workstation.commit_as("Sell more");
    let printed = workstation.on_terminal("$PROGRAM plan --bump auto").ended(0).replace('\r', "");
    let printed = printed.replace(&registry.image("org/app").to_string(), "ghcr.io/org/app");
    let page = crate::project::docs::read("docs/cli.md");
    let block =
        page.split("$ autotag-deploy plan --bump auto\n").nth(1).and_then(|rest| rest.split("```").next());
    let shown = block.expect("a block that shows it").lines().filter(|line| *line != "...");
    let (mut lines, mut seen) = (printed.lines(), 0);
    for line in shown {
        assert!(
            lines.any(|it| it.starts_with(line)),
            "docs/cli.md shows {line:?}, and this is printed:\n{printed}"
        );
        seen += 1;
    }
    assert!(seen > 4, "docs/cli.md shows {seen} lines of a plan");
}

#[test]
fn what_a_clone_does_not_tell_is_asked_for() {
    let workstation = Workstation::new().logged_in();
    for (arrangement, expected) in [
        (&["remote", "remove", "origin"][..], &["--repository", "the clone has no remote"][..]),
        (
            &["remote", "add", "origin", "https://git.example.com/org/app.git"],
            &["--repository", "no remote is a repository of github.com"],
        ),
        (&["remote", "rename", "origin", "one"], &["--repository"]),
        (&["remote", "set-url", "one", "https://github.com/org/app"], &[]),
        (
            &["remote", "add", "two", "https://github.com/me/app"],
            &["none is `origin`", "one is org/app", "two is me/app"],
        ),
    ] {
        workstation.git(arrangement);
        if expected.is_empty() {
            continue;
        }
        let log = workstation.run(&["plan"]).ended(2);
        for words in expected {
            assert!(log.contains(words), "{words}: {log}");
        }
        assert!(!log.contains("GITHUB_REPOSITORY"), "a workstation has no such variable: {log}");
    }
    let nowhere = workstation.command("sh").args(["-c", "cd / && $PROGRAM plan"]).output().expect("sh");
    let log = String::from_utf8_lossy(&nowhere.stdout);
    assert!(nowhere.status.code() == Some(2) && log.contains("not a git repository"), "{nowhere:?}");
    assert_eq!(log.matches("not a git repository").count(), 1, "one cause is told once: {log}");
    let gitless = workstation.with("PATH", "/nowhere").run(&["plan"]).ended(2);
    assert!(gitless.contains("git cannot be started"), "{gitless}");
}

#[test]
fn a_release_needs_a_branch_and_no_changes_beside_it() {
    let workstation = Workstation::new().logged_in();
    workstation.git(&["checkout", "--quiet", "--detach"]);
    std::fs::write(workstation.clone().join("half-done"), "").expect("a file");
    let log = workstation.run(&["release"]).ended(2);
    assert!(log.contains("`--branch`: expected"), "{log}");
    assert!(log.contains("clean working tree") && log.contains("?? half-done"), "{log}");
    let another = "c".repeat(40);
    let log = workstation.run(&["release", "--branch", "main", "--commit", &another]).ended(2);
    assert!(log.contains("the image is built from what is checked out") && log.contains(&another), "{log}");
    assert!(workstation.github.requests().is_empty());
    // A CI's clone is detached and has its build products.
    let workstation = workstation.with("CI", "true").with("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let log = workstation.run(&["release", "--branch", "main"]);
    assert!(log.code != Some(2) && !log.out.contains("clean working tree"), "{log:?}");
}

#[test]
fn a_commit_that_is_not_pushed_is_named() {
    let (workstation, _registry) = with_registry(&Auth::None);
    let workstation = workstation.logged_in();
    // GitHub has what there was; the clone goes on elsewhere.
    workstation.git(&["clone", "--quiet", ".", "../other"]);
    workstation.git(&["-C", "../other", "remote", "set-url", "origin", "https://github.com/org/app"]);
    let empty = ["commit", "--quiet", "--allow-empty", "--message", "more"];
    workstation.git(
        &[&["-C", "../other", "-c", "user.name=me", "-c", "user.email=me@example.com"][..], &empty].concat(),
    );
    let line = "cd ../other && $PROGRAM plan";
    let planned = workstation.command("sh").args(["-c", line]).output().expect("sh");
    let log = String::from_utf8_lossy(&planned.stdout);
    assert!(planned.status.code() == Some(2) && log.contains("push the commit first"), "{planned:?}");
}

// invariant secrets: `gh`'s login goes to its own host; broken by: `src/local/local_logins.rs`: any API may have it
// invariant secrets: In CI nobody's login is taken; broken by: `src/app.rs`: `in_ci` is not asked
#[test]
fn ghs_login_is_used_by_a_person_alone() {
    let (workstation, _registry) = with_registry(&Auth::None);
    workstation.program("gh", &format!("echo \"$*\" >>gh.log; echo {}", Double::TOKEN));
    // The login is the server's, and nobody else's: the API has to be on the same host.
    let log = workstation.on_terminal("$PROGRAM plan").ended(3);
    assert!(log.contains("GITHUB_API_URL is not of github.com"), "{log}");
    assert!(
        !workstation.clone().join("gh.log").exists()
            && workstation.github.requests().iter().all(|it| !it.authorized)
    );
    let server = workstation.github.url();
    let host = server.split_once("://").expect("a URL").1.to_owned();
    let workstation = workstation.with("GITHUB_SERVER_URL", &server);
    let asked = || std::fs::read_to_string(workstation.clone().join("gh.log")).unwrap_or_default();
    // Without a terminal, and in CI, nobody's login is taken.
    workstation.run(&["plan", "--repository", "org/app"]).ended(3);
    workstation.on_terminal("CI=true $PROGRAM plan --repository org/app").ended(3);
    assert_eq!(asked(), "");
    let log = workstation.on_terminal("$PROGRAM plan --repository org/app").ended(0);
    assert!(log.contains("release 0.0.1") && log.contains("the login of `gh`"), "{log}");
    assert!(!log.contains(Double::TOKEN), "{log}");
    assert_eq!(asked(), format!("auth token --hostname {host}\n"));
    workstation
        .on_terminal(&format!("GH_TOKEN={} $PROGRAM plan --repository org/app", Double::TOKEN))
        .ended(0);
    assert_eq!(asked().lines().count(), 1, "a token that is given is enough");
}

#[test]
fn a_public_repository_needs_no_login() {
    let (workstation, _registry) = with_registry(&Auth::None);
    workstation.github.make_public();
    let log = workstation.run(&["plan"]).ended(0);
    assert!(log.contains("release 0.0.1"), "{log}");
    assert!(workstation.github.requests().iter().all(|request| !request.authorized));
}

/// GitHub answers a stranger that there is no such repository. That is no repository without releases.
#[test]
fn a_private_repository_is_no_empty_one() {
    let (workstation, _registry) = with_registry(&Auth::None);
    workstation
        .github
        .inject(Fault::on("GET *").answer(404, json!({ "message": "Not Found", "status": "404" })));
    let log = workstation.run(&["plan"]);
    assert!(log.code == Some(3) && !log.out.contains("  Plan "), "{log:?}");
    assert!(log.out.contains("GH_TOKEN"), "{log:?}");
}

// invariant secrets: In CI nobody's login is taken
#[test]
fn dockers_login_is_used_only_outside_of_ci() {
    let (workstation, registry) = with_registry(&Auth::basic("me", "hunter2"));
    let workstation = workstation.logged_in();
    registry.put("org/app", "1.4.0", &TinyImage::labelled(&[]));
    let image: ImageName = registry.image("org/app");
    let host = image.registry();
    let login = |auths: &serde_json::Value, more: &serde_json::Value| {
        let mut config = json!({ "auths": auths });
        config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        workstation.home_file(".docker/config.json", &config.to_string());
    };
    let none = json!({});
    // "me:hunter2"
    login(&json!({ host: { "auth": "bWU6aHVudGVyMg==" } }), &none);
    let log = workstation.run(&["plan"]).ended(0);
    assert!(log.contains("release 1.4.1") && log.contains("as me, by Docker's own login"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
    workstation.program(
        "docker-credential-drawer",
        r#"read server; echo "$1 $server" >>asked; echo "{\"ServerURL\":\"$server\",\"Username\":\"me\",\"Secret\":\"hunter2\"}""#,
    );
    login(&json!({ host: {} }), &json!({ "credsStore": "drawer" }));
    let log = workstation.run(&["plan"]).ended(0);
    assert!(log.contains("release 1.4.1"), "{log}");
    assert_eq!(
        std::fs::read_to_string(workstation.clone().join("asked")).expect("it was asked"),
        format!("get {host}\n")
    );
    // Whoever has no login learns what could not be read; a CI has none, whatever lies there.
    login(&json!({}), &json!({ "credsStore": "drawer" }));
    let log = workstation.run(&["plan"]).ended(0);
    assert!(
        log.contains("Highest in registry  not shown (") && log.contains(r#""provisional":true"#),
        "{log}"
    );
    assert!(log.contains(&format!("docker login {host}")) && !log.contains("1.4.1"), "{log}");
    login(&json!({ host: {} }), &json!({ "credsStore": "drawer" }));
    let log = workstation.on_terminal("CI=1 $PROGRAM plan").ended(0);
    assert!(log.contains("not shown (") && !log.contains("1.4.1"), "{log}");
    login(&json!({ host: {} }), &json!({ "credsStore": "missing" }));
    let log = workstation.run(&["plan"]).out;
    assert!(log.contains("docker-credential-missing"), "{log}");
}

/// Has every secret that a run may be given, in both spellings, but for what would keep the helper and `gh` from
/// being asked.
fn workstation_with_secrets(mut workstation: Workstation, mark: &str) -> Workstation {
    let asked = ["registry-password", "github-token"];
    for spec in spec::INPUTS.iter().filter(|spec| spec.secret && !asked.contains(&spec.name)) {
        let value = match spec.name {
            "deploy-key" => format!("-----BEGIN PRIVATE KEY-----\n{mark}\n-----END PRIVATE KEY-----"),
            _ => format!("A={mark}"),
        };
        let name = format!("INPUT_{}", spec.name.to_uppercase());
        workstation = workstation.with(&name, &value).with(&name.replace('-', "_"), &value);
    }
    for (name, value) in [
        ("INPUT_DEPLOY_HOST", "web1.example.com"),
        ("INPUT_DEPLOY_KNOWN_HOSTS", "SHA256:uNiVztksCsDhcc0u9e8BrrUcLB3N6FWBEm9vyjNOgIs"),
        ("INPUT_DEPLOY_REGISTRY_USERNAME", "puller"),
    ] {
        workstation = workstation.with(name, value);
    }
    for name in ["ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "INPUT_OF_ANOTHER_STEP"] {
        workstation = workstation.with(name, mark);
    }
    workstation.with("GH_CONFIG_DIR", "/kept")
}

// invariant secrets: Other programs get no secret; broken by: `src/inputs/raw.rs`: they inherit every variable
/// git, `gh` and a credential helper are played here: they write down what they were given.
#[test]
fn other_programs_get_no_secret() {
    const MARK: &str = "notForOthers";
    let (workstation, registry) = with_registry(&Auth::basic("me", "hunter2"));
    registry.put("org/app", "1.4.0", &TinyImage::labelled(&[]));
    let host = registry.image("org/app").registry().to_owned();
    let helped = json!({ "auths": { host: {} }, "credsStore": "drawer" });
    workstation.home_file(".docker/config.json", &helped.to_string());
    // By the kernel: a shell passes on no variable whose name it could not write.
    let notes = |name: &str| format!("tr '\\0' '\\n' </proc/$$/environ >>\"$HOME/{name}.env\"");
    let real = "exec /usr/bin/git \"$@\"";
    workstation.program("git", &format!("{}; {real}", notes("git")));
    workstation.program("gh", &format!("{}; echo {}", notes("gh"), Double::TOKEN));
    let login =
        r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"me\",\"Secret\":\"hunter2\"}""#;
    workstation.program("docker-credential-drawer", &format!("{}; {login}", notes("drawer")));

    let workstation = workstation_with_secrets(workstation, MARK);
    let given = |name: &str, lines: &[&str]| {
        let path = workstation.directory.path().join("home").join(format!("{name}.env"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name} ran: {error}"));
        for secret in [MARK, Double::TOKEN, "hunter2", "INPUT_"] {
            assert!(!text.contains(secret), "{name} is given {secret}:\n{text}");
        }
        for line in lines {
            assert!(text.lines().any(|it| it.starts_with(line)), "{name} is not given {line}:\n{text}");
        }
        std::fs::remove_file(path).expect("it can be removed");
    };
    let usual = ["HOME=/", "PATH=/", "GIT_CONFIG_NOSYSTEM=1", "GH_CONFIG_DIR=/kept"];
    for token in ["GH_TOKEN", "GITHUB_TOKEN", "INPUT_GITHUB-TOKEN", "INPUT_GITHUB_TOKEN"] {
        let mut plan = workstation.command(env!("CARGO_BIN_EXE_autotag-deploy"));
        let log =
            RawInputs::of(&plan.arg("plan").env(token, Double::TOKEN).output().expect("it runs")).ended(0);
        assert!(log.contains("release 1.4.1") && log.contains("by Docker's own login"), "{log}");
        given("git", &usual);
        given("drawer", &usual);
    }
    // The password of a registry that needs no helper.
    let mut plan = workstation.command(env!("CARGO_BIN_EXE_autotag-deploy"));
    plan.arg("plan").env("GH_TOKEN", Double::TOKEN);
    plan.env("INPUT_REGISTRY-USERNAME", "me").env("INPUT_REGISTRY-PASSWORD", "hunter2");
    RawInputs::of(&plan.output().expect("it runs")).ended(0);
    given("git", &usual);
    // `gh` is asked only where there is no token.
    let workstation_of_gh =
        format!("GITHUB_SERVER_URL={} $PROGRAM plan --repository org/app", workstation.github.url());
    let log = workstation.on_terminal(&workstation_of_gh).ended(0);
    assert!(log.contains("the login of `gh`"), "{log}");
    given("gh", &usual);
}
