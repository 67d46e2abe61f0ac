//! The examples, as a stranger copies them: a repository of its own, its workflows run by `act`, a server that
//! `init` set up with the example's app file, and what the application answers through the proxy.
//!
//! The files are taken as they are, but for what this machine cannot have: ghcr.io is a registry of the test's
//! own, base images are stand-ins by build argument, `listen` is a free port.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use serde_yaml::Value;

use crate::action::runner::{self, leftovers::Leftovers, leftovers::docker};
use crate::project::docs::blocks;
use testkit::clock;
use testkit::github::{Double, DoubleOptions};
use testkit::processes::act::{Act, ClonedRepository, Event, action, readable};
use testkit::processes::sshd::{ClientKey, Sshd, SystemUser};
use testkit::programs::receiver;
use testkit::registry::{Auth, Registry};
use testkit::server::Server;

/// The stand-ins that `scripts/images/example-images` makes. A Dockerfile takes the one that it has an argument for.
const BUILD_ARGS: &str = "GO_IMAGE=autotag-deploy-example-go\nNODE_IMAGE=autotag-deploy-example-node\n\
    PYTHON_IMAGE=autotag-deploy-example-python";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below a directory, relative to it.
fn files(directory: &Path) -> Vec<PathBuf> {
    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { collect(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    collect(directory, &mut found);
    found.sort();
    found.into_iter().map(|path| path.strip_prefix(directory).expect("below").to_owned()).collect()
}

/// A repository that was copied from an example, with everything around it, and no application yet.
struct Stranger {
    leftovers: Leftovers,
    registry: Registry,
    repository: ClonedRepository,
    github: Double,
    actions: tempfile::TempDir,
    _directory: tempfile::TempDir,
}

impl Stranger {
    /// Copies an example into the repository `org/NAME`.
    fn copies(example: &str, name: &str) -> Self {
        stand_ins();
        let (leftovers, registry) = (Leftovers::new(), Registry::start(&Auth::None));
        let directory = tempfile::tempdir().expect("a directory");
        let repository = ClonedRepository::new(directory.path(), &format!("org/{name}"));
        let source = root().join("examples").join(example);
        for file in files(&source) {
            let text = read(&source.join(&file));
            if file.starts_with(".github/workflows") {
                let file = file.file_name().expect("a name").to_string_lossy();
                repository.workflow(&file, &text.replace("ghcr.io", registry.host()));
            } else {
                repository.file(&file.to_string_lossy(), &text);
            }
        }
        repository.commit("feat: begin");
        let github = Double::with(DoubleOptions {
            name: name.to_owned(),
            git: Some(directory.path().to_owned()),
            ..DoubleOptions::default()
        });
        let actions = tempfile::tempdir().expect("a directory");
        let stranger = Self { leftovers, registry, repository, github, actions, _directory: directory };
        stranger.write_the_action(name);
        stranger
    }

    /// This project, as `uses:` finds it. Where the workflows say nothing, the defaults are this machine's.
    fn write_the_action(&self, name: &str) {
        let image = self.registry.image(&format!("org/{name}")).to_string();
        let defaults = [("image", &*image), ("build-args", BUILD_ARGS), ("labels", self.leftovers.label())];
        let file = ".github/workflows/release-and-deploy.yml";
        let mut workflow: Value = serde_yaml::from_str(&readable(&read(&root().join(file)))).expect("YAML");
        let inputs = &mut workflow["on"]["workflow_call"]["inputs"];
        for (input, default) in defaults.iter().filter(|(input, _)| *input != "labels") {
            inputs[*input]["default"] = (*default).into();
        }
        let directory = self.actions.path();
        std::fs::write(directory.join("action.yml"), action(&runner::image(), &defaults))
            .expect("action.yml");
        std::fs::create_dir_all(directory.join(".github/workflows")).expect("a directory");
        std::fs::write(directory.join(file), serde_yaml::to_string(&workflow).expect("YAML"))
            .expect("a workflow");
    }

    /// A server for this user's application, with the example's app file.
    fn server(&self, user: &SystemUser, key: &ClientKey, app_file: &str) -> (Server, String) {
        let text = read(&self.repository.directory().join(app_file));
        let app = user.name().strip_prefix("autotag-").expect("an application's user");
        let image = self.registry.image(&format!("org/{app}"));
        Server::set_up_with(user, key, |port| {
            let line = |line: &str| match line.split(' ').next() {
                Some("image:") => format!("image: {image}\n"),
                Some("listen:") => format!("listen: 127.0.0.1:{port}\n"),
                _ => format!("{line}\n"),
            };
            text.lines().map(line).collect()
        })
    }

    /// act, with what the server's set-up told to paste.
    fn act(&self, sshd: &Sshd) -> Act {
        Act::new(&self.github, self.leftovers.label())
            .repository("org/autotag-deploy@v1", self.actions.path())
            .variable("DEPLOY_HOST", &format!("127.0.0.1:{}", sshd.port()))
            .variable("DEPLOY_KNOWN_HOSTS", &sshd.known_hosts())
    }
}

/// Makes the base images, once.
fn stand_ins() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let made = Command::new(root().join("scripts/images/example-images")).output().expect("a script");
        let printed = [made.stdout, made.stderr].concat();
        assert!(
            made.status.success(),
            "scripts/images/example-images: {}",
            String::from_utf8_lossy(&printed)
        );
    });
}

#[track_caller]
fn answers(server: &Server, version: &str) {
    assert_eq!(server.get("/"), (200, format!("version {version}\n")), "{}", server.logs());
    assert_eq!(server.container_versions(), [version]);
}

/// What its workflows do, from the pull request to the rollback.
fn lives(example: &str) {
    let (user, key) = (SystemUser::create("e"), ClientKey::ed25519());
    let name = user.name().strip_prefix("autotag-").expect("an application's user");
    let stranger = Stranger::copies(example, name);
    let (server, options) = stranger.server(&user, &key, "app.yaml");
    let sshd = Sshd::with_host_key("ed25519").authorize(user.name(), &options, &key).start();
    let act = stranger.act(&sshd).secret("DEPLOY_KEY", &key.private);
    let (registry, repository) = (&stranger.registry, format!("org/{name}"));

    let log = act.run(&stranger.repository, "release.yml", &Event::pull_request());
    assert!(log.contains("0.0.1"), "the next version is said:\n{log}");
    assert_eq!(registry.tags(&repository), Vec::<String>::new(), "a pull request publishes nothing");
    assert_eq!(sshd.connections(), 0, "nor does it deploy anything");

    act.run(&stranger.repository, "release.yml", &Event::push());
    answers(&server, "0.0.1");

    stranger.repository.commit("fix: something");
    act.run(&stranger.repository, "release.yml", &Event::push());
    answers(&server, "0.0.2");
    let (image, digest) = (registry.image(&repository), registry.digest(&repository, "0.0.2"));
    assert_eq!(registry.digest(&repository, "latest"), digest);
    is_well_behaved(&format!("{image}:0.0.2"), &stranger.leftovers);

    act.run(&stranger.repository, "rollback.yml", &Event::dispatch(&[]));
    answers(&server, "0.0.1");
}

/// Not root, and ends by itself on SIGTERM.
fn is_well_behaved(image: &str, leftovers: &Leftovers) {
    docker(&["pull", "--quiet", image]);
    let user = docker(&["image", "inspect", "--format", "{{.Config.User}}", image]);
    assert!(user.starts_with(|digit: char| ('1'..='9').contains(&digit)), "{image} runs as {user:?}");
    let options = ["run", "--detach", "--read-only", "--cap-drop", "ALL", "--label", leftovers.label()];
    let container = docker(&[&options[..], &[image]].concat()).trim().to_owned();
    let since = clock::start();
    while !logs(&container).contains("listens on") {
        assert!(since.elapsed().as_secs() < 60, "{image} does not start: {}", logs(&container));
        clock::look_again();
    }
    // SIGTERM; whoever does not end by it is killed, with the status 137.
    docker(&["stop", "--time", "30", &container]);
    let status = docker(&["container", "inspect", "--format", "{{.State.ExitCode}}", &container]);
    assert_eq!(status.trim(), "0", "{image}: {}", logs(&container));
}

/// Both streams.
fn logs(container: &str) -> String {
    let output = Command::new("docker").args(["logs", container]).output().expect("Docker's client");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_static_program_lives_by_its_workflows() {
    lives("static");
}

// invariant workflows: An example's application is not root, and ends on SIGTERM
#[test]
fn a_node_application_lives_by_its_workflows() {
    lives("node");
}

// invariant workflows: An example's application is not root, and ends on SIGTERM; broken by: the Dockerfile has
//   no `USER`; the application has no handler
#[test]
fn a_python_application_lives_by_its_workflows() {
    lives("python");
}

/// Added to the workflow of one part: what a caller of the reusable workflow gets.
const TOLD: &str = r#"
  told:
    needs: api
    runs-on: ubuntu-latest
    steps:
      - run: echo "told $TOLD"
        env:
          TOLD: >-
            ${{ needs.api.outputs.outcome }} ${{ needs.api.outputs.version }}
            ${{ needs.api.outputs.image-ref }} ${{ needs.api.outputs.digest }} ${{ needs.api.outputs.deployed }}
"#;

// invariant workflows: The examples run as they are shown; broken by:
//   `.github/workflows/release-and-deploy.yml`: the deployment gets no digest, or is not skipped without a
//   server; the monorepo's parts share a `tag-prefix`
#[test]
fn the_parts_of_a_monorepo_have_orders_of_their_own() {
    let name = format!("m-{}", std::process::id());
    let stranger = Stranger::copies("monorepo", &name);
    let part = |part: &str| {
        let (user, key) = (SystemUser::create_for(&format!("{name}-{part}")), ClientKey::ed25519());
        let (server, options) = stranger.server(&user, &key, &format!("{part}/app.yaml"));
        (user, key, server, options)
    };
    let ((api_user, api_key, api, api_options), (web_user, web_key, web, web_options)) =
        (part("api"), part("web"));
    let sshd = Sshd::with_host_key("ed25519")
        .authorize(api_user.name(), &api_options, &api_key)
        .authorize(web_user.name(), &web_options, &web_key)
        .start();
    let act = stranger.act(&sshd);
    let act = act.secret("API_DEPLOY_KEY", &api_key.private).secret("WEB_DEPLOY_KEY", &web_key.private);
    let repository = &stranger.repository;
    let workflow = read(&repository.directory().join(".github/workflows/api.yml"));
    repository.file(".github/workflows/api.yml", &(workflow + TOLD));
    let image = |part: &str| format!("org/{name}-{part}");

    act.run(repository, "api.yml", &Event::pull_request());
    act.run(repository, "web.yml", &Event::pull_request());
    assert!(
        stranger.registry.tags(&image("api")).is_empty() && stranger.registry.tags(&image("web")).is_empty()
    );

    repository.commit("feat: something for the API");
    let log = act.run(repository, "api.yml", &Event::push());
    answers(&api, "0.0.1");
    let digest = stranger.registry.digest(&image("api"), "0.0.1").expect("0.0.1 is published");
    let reference = stranger.registry.image(&image("api")).with_digest(&digest);
    let reported = format!("| told released 0.0.1 {reference} {digest} true");
    assert!(log.contains(&reported), "{reported:?} is missing:\n{log}");

    repository.commit("fix: something for the API");
    act.run(repository, "api.yml", &Event::push());
    repository.commit("fix: something for the web");
    act.run(repository, "web.yml", &Event::push());
    answers(&api, "0.0.2");
    answers(&web, "0.0.1");
    for tag in ["api-v0.0.1", "api-v0.0.2", "web-v0.0.1"] {
        assert!(stranger.github.read_ref(&format!("refs/tags/{tag}")).is_some(), "{tag}");
    }
    assert_eq!(stranger.github.read_ref("refs/tags/web-v0.0.2"), None);

    act.run(repository, "rollback.yml", &Event::dispatch(&[("part", "api"), ("version", "0.0.1")]));
    answers(&api, "0.0.1");
    answers(&web, "0.0.1");
    // Another one of its own goes on above all that were there.
    repository.commit("fix: it again");
    act.run(repository, "api.yml", &Event::push());
    answers(&api, "0.0.3");
    answers(&web, "0.0.1");
}

// invariant workflows: The examples run as they are shown
#[test]
fn the_shortest_workflow_releases_and_deploys() {
    let (user, key) = (SystemUser::create("s"), ClientKey::ed25519());
    let name = user.name().strip_prefix("autotag-").expect("an application's user");
    let stranger = Stranger::copies("python", name);
    let (server, options) = stranger.server(&user, &key, "app.yaml");
    let sshd = Sshd::with_host_key("ed25519").authorize(user.name(), &options, &key).start();
    let shown = blocks(&read(&root().join("examples/README.md")), "yaml").remove(0);
    stranger.repository.workflow("release.yml", &shown);
    stranger.repository.commit("feat: less");

    // Before there is a server it only releases.
    let alone = Act::new(&stranger.github, stranger.leftovers.label())
        .repository("org/autotag-deploy@v1", stranger.actions.path());
    alone.run(&stranger.repository, "release.yml", &Event::push());
    let repository = format!("org/{name}");
    assert!(stranger.registry.digest(&repository, "0.0.1").is_some());
    assert_eq!(sshd.connections(), 0);

    stranger.repository.commit("feat: a server");
    let act = stranger.act(&sshd).secret("DEPLOY_KEY", &key.private);
    act.run(&stranger.repository, "release.yml", &Event::push());
    answers(&server, "0.1.0");
}

/// The tests above name what they run; a file that is added has to be named, too.
#[test]
fn every_workflow_of_the_examples_is_run() {
    let named: Vec<String> = ["monorepo/api", "monorepo/rollback", "monorepo/web"]
        .into_iter()
        .map(str::to_owned)
        .chain(
            ["node", "python", "static"]
                .map(|example| [format!("{example}/release"), format!("{example}/rollback")])
                .concat(),
        )
        .collect();
    let found: Vec<String> = files(&root().join("examples"))
        .iter()
        .filter(|file| file.extension().is_some_and(|ending| ending == "yml"))
        .map(|file| file.with_extension("").to_string_lossy().replace(".github/workflows/", ""))
        .collect();
    assert_eq!(found, named);
}

#[test]
fn the_app_files_of_the_examples_are_right() {
    let examples = root().join("examples");
    let mut seen = 0;
    for file in files(&examples).iter().filter(|file| file.ends_with("app.yaml")) {
        let output = Command::new(receiver()).arg("check").arg(examples.join(file)).output().expect("check");
        let printed =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.contains("is right"), "{}: {printed}", file.display());
        seen += 1;
    }
    assert_eq!(seen, 5);
}

/// They differ in what is built, and in nothing else: whoever has understood one knows the others.
#[test]
fn the_three_styles_have_the_same_workflows() {
    for file in ["release.yml", "rollback.yml"] {
        let [node, python, fixed] = ["node", "python", "static"]
            .map(|example| read(&root().join("examples").join(example).join(".github/workflows").join(file)));
        assert!(node == python && node == fixed, "{file} is not the same in all of them");
    }
}

/// A part is released when its files change, or the workflow itself does.
#[test]
fn each_part_of_the_monorepo_watches_its_own_files() {
    for part in ["api", "web"] {
        let file = format!(".github/workflows/{part}.yml");
        let workflow: Value =
            serde_yaml::from_str(&read(&root().join("examples/monorepo").join(&file))).expect("YAML");
        let expected: Value = vec![format!("{part}/**"), file].into();
        for event in ["push", "pull_request"] {
            assert_eq!(workflow["on"][event]["paths"], expected, "{part}: {event}");
        }
        assert_eq!(workflow["jobs"][part]["with"]["context"], part);
    }
}

// invariant workflows: One action, one pin; a rollback waits for its deployment
/// A rollback and a deployment of one part wait for each other, and those of the other part do not.
#[test]
fn rollbacks_of_the_monorepo_take_turns_with_deployments() {
    let read = |file: &str| -> Value { serde_yaml::from_str(&read(&root().join(file))).expect("YAML") };
    let reusable = read(".github/workflows/release-and-deploy.yml");
    let rollback = read("examples/monorepo/.github/workflows/rollback.yml");
    let group = |workflow: &Value, job: &str| {
        workflow["jobs"][job]["concurrency"]["group"].as_str().expect("a group").to_owned()
    };
    let environment = reusable["on"]["workflow_call"]["inputs"]["environment"]["default"].as_str();
    let parts =
        rollback["on"]["workflow_dispatch"]["inputs"]["part"]["options"].as_sequence().expect("parts");
    assert_eq!(parts.len(), 2);
    for part in parts.iter().map(|part| part.as_str().expect("a name")) {
        let caller = read(&format!("examples/monorepo/.github/workflows/{part}.yml"));
        let prefix = caller["jobs"][part]["with"]["tag-prefix"].as_str().expect("a prefix");
        let deployment = group(&reusable, "deploy")
            .replace("${{ inputs.environment }}", environment.expect("a default"))
            .replace("${{ inputs.tag-prefix }}", prefix);
        assert_eq!(group(&rollback, "rollback").replace("${{ inputs.part }}", part), deployment);
    }
}
