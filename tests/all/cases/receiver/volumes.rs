//! Volumes that an image declares: no deployment may lose what is in them.

use autotag_model::reference::Digest;
use autotag_protocol::{Configuration, End, Open, RolloutStep};
use autotag_receiver::config::settings::Snapshots;
use autotag_receiver::engine::{BlockingEngine, ContainerSpec, DockerEngine, Engine as _};
use autotag_receiver::execute::container;
use autotag_receiver::host::init::adopt::adopt;

use testkit::images::app_image::AppImage;
use testkit::server::{Images, Server, Transcript, commit_of, deploy, docker, lines};

/// Volumes are removed after the containers that have them, whatever became of a test.
struct Volumes(Vec<String>);

impl Drop for Volumes {
    fn drop(&mut self) {
        for name in &self.0 {
            docker(&["volume", "rm", "--force", name]);
        }
    }
}

struct Site {
    // In the order in which they are dropped.
    server: Server,
    volumes: Volumes,
    images: Images,
}

impl Site {
    fn start() -> Self {
        Self { server: Server::start(), volumes: Volumes(Vec::new()), images: Images::start() }
    }

    fn push(&self, version: &str, paths: &[&str]) -> Digest {
        let image =
            AppImage::new(version).commit(&commit_of(version)).label("registry", self.images.registry.host());
        let image = paths.iter().fold(image, |image, path| image.volume(path));
        self.images.registry.put("org/app", version, &image.for_registry())
    }

    fn app_file(&self, more: &str) {
        self.server.app_file(self.images.name(), more);
    }

    fn deploy(&self, version: &str, digest: &Digest) -> Transcript {
        self.server.deploy(deploy(self.images.name(), version, digest))
    }

    fn serving(&self) -> String {
        self.server.state().active().expect("it serves").container.to_string()
    }

    fn write(&self, text: &str) {
        let file = self.server.directory.path().join("data");
        std::fs::write(&file, text).expect("a file");
        self.beside(|holder| {
            docker(&["cp", &file.display().to_string(), &format!("{holder}:/data/db.sqlite")]);
        });
        assert_eq!(self.read(), text, "what was written");
    }

    fn read(&self) -> String {
        let file = self.server.directory.path().join("read");
        // What was read before must not be taken for this.
        let _ = std::fs::remove_file(&file);
        self.beside(|holder| {
            docker(&["cp", &format!("{holder}:/data/db.sqlite"), &file.display().to_string()]);
        });
        std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", self.serving()))
    }

    /// Gives a container that has the volume at `/data` of the one that serves, and no other: Docker 28 copies
    /// nothing to or from a container with a volume at a relative path, which some images declare.
    fn beside(&self, copy: impl FnOnce(&str)) {
        let format = "{{range .Mounts}}{{if eq .Destination \"/data\"}}{{.Name}}{{end}}{{end}}";
        let volume = docker(&["inspect", "--format", format, &self.serving()]);
        let image = format!("{}@{}", self.images.name(), self.push("0.0.0", &[]));
        let label = format!("autotag-deploy.test={}", self.server.app);
        let mount = format!("{}:/data", volume.trim());
        let holder = docker(&["create", "--label", &label, "--volume", &mount, &image]);
        copy(holder.trim());
        docker(&["rm", "--force", holder.trim()]);
    }

    /// Makes the container that serves anew, as a receiver did that left volumes to Docker. Gives the volume.
    fn with_a_volume_of_dockers(&mut self, image: &str) -> String {
        self.server.kill_serve();
        let (state, directory) = (self.server.state(), self.server.paths.state(&self.server.app));
        let active = state.active().expect("it serves");
        let settings =
            Snapshots::new(&directory).load(&active.release.deployment).expect("read").expect("there");
        let spec = container::spec(&self.server.app, &active.release, &settings);
        let spec = ContainerSpec {
            image: image.to_owned(),
            binds: Vec::new(),
            tmpfs: std::collections::BTreeMap::new(),
            ..spec
        };
        docker(&["rm", "--force", active.container.as_str()]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let engine = DockerEngine::at(DockerEngine::SOCKET);
        let id = runtime.block_on(engine.create(&spec)).expect("made");
        runtime.block_on(engine.start(&id)).expect("started");
        let file = directory.join("state.json");
        let text = std::fs::read_to_string(&file).expect("the state");
        std::fs::write(&file, text.replace(active.container.as_str(), &id)).expect("written");
        std::fs::remove_file(directory.join(format!("settings/{}.made", active.release.deployment)))
            .expect("a note");
        self.server.start_serve();
        self.server
            .until("it serves", || self.server.status().drift.iter().all(|text| !text.contains("proxy")));
        let volume = volume_of(&id);
        self.volumes.0.push(volume.clone());
        volume
    }
}

fn volume_of(container: &str) -> String {
    let format = "{{range .Mounts}}{{.Name}}{{end}}";
    docker(&["inspect", "--format", format, container]).trim().to_owned()
}

fn exists(volume: &str) -> bool {
    lines(&docker(&["volume", "ls", "--quiet"])).iter().any(|name| name == volume)
}

#[track_caller]
fn refused(reported: &Transcript) -> String {
    let End::Failed { step: Open::Known(RolloutStep::Pull), message, .. } = &reported.outcome.end else {
        panic!("{}", reported.text())
    };
    message.clone()
}

/// The lines that a refusal says are to be added.
fn volumes_of(message: &str) -> String {
    let lines: Vec<&str> = message.lines().filter(|line| line.starts_with("  - ")).collect();
    assert!(!lines.is_empty(), "{message}");
    format!("volumes:\n{}\n", lines.join("\n"))
}

// case S1; broken by: the check taken out of `Driver::pull` (it deployed), and seen on the version before.
pub fn an_image_with_a_volume_needs_a_line_in_the_app_file() {
    let mut site = Site::start();
    let (plain, one) = (site.push("0.9.0", &[]), site.push("1.0.0", &["/data/", "rel/cache", "/mounted"]));
    let two = site.push("1.0.1", &["/data", "rel/cache"]);
    let app = site.server.app.clone();
    // Docker makes a volume below a parent that is mounted, too.
    let mounted = "tmpfs: /mounted\n";
    site.app_file(mounted);
    site.deploy("0.9.0", &plain).ended(&End::Deployed {});
    let now = || docker(&["info", "--format", "{{.SystemTime}}"]).trim().to_owned();
    let before = now();
    let message = refused(&site.deploy("1.0.0", &one));
    assert!(message.contains("`VOLUME /data`") && message.contains("`VOLUME /rel/cache`"), "{message}");
    assert!(message.contains(&site.server.paths.app_file(&app).display().to_string()), "{message}");
    assert!(message.contains(&format!("\n  - {app}-data:/data\n")), "{message}");
    assert_eq!(site.server.container_versions(), ["0.9.0"], "no container was made");
    // Docker makes an image's volumes with its container; other tests make theirs meanwhile.
    let of_app = format!("label=autotag-deploy.app={app}");
    let made =
        ["events", "--since", &before, "--until", &now(), "--filter", "event=create", "--filter", &of_app];
    assert_eq!(docker(&made), "", "nor for a moment, and so no volume");

    site.volumes.0.extend(["data", "cache"].map(|name| format!("{app}-{name}")));
    site.app_file(&format!("{mounted}{}", volumes_of(&message)));
    site.deploy("1.0.0", &one).ended(&End::Deployed {});
    site.write("precious");
    site.deploy("1.0.1", &two).ended(&End::Deployed {});
    assert_eq!(site.read(), "precious");
    site.server.roll_back(None, Configuration::Today).ended(&End::RolledBack {});
    assert_eq!(site.read(), "precious");
    // The settings of then, when nothing was mounted, belong to an image without a volume.
    site.server.roll_back(Some("0.9.0"), Configuration::Then).ended(&End::RolledBack {});
    assert!(site.volumes.0.iter().all(|volume| exists(volume)));
}

// case S1; broken by: `v=1` when a container is removed, as it was before.
pub fn data_in_a_volume_without_a_name_are_never_removed() {
    let mut site = Site::start();
    let (one, two) = (site.push("1.0.0", &["/data"]), site.push("1.0.1", &["/data"]));
    let without = site.push("1.0.2", &[]);
    site.app_file("tmpfs: /data\n");
    site.deploy("1.0.0", &one).ended(&End::Deployed {});
    let image = format!("{}@{one}", site.images.name());
    let volume = site.with_a_volume_of_dockers(&image);
    site.write("precious");

    site.app_file("");
    let message = refused(&site.deploy("1.0.1", &two));
    assert!(message.contains(&format!("\n  - {volume}:/data\n")), "{message}");
    assert_eq!(site.read(), "precious");
    site.app_file(&volumes_of(&message));
    site.deploy("1.0.1", &two).ended(&End::Deployed {});
    assert_eq!((site.read().as_str(), volume_of(&site.serving())), ("precious", volume));

    // An image that declares none any more: what was there stays, and is named.
    site.app_file("tmpfs: /data\n");
    let volume = site.with_a_volume_of_dockers(&image);
    site.write("more");
    site.app_file("");
    let reported = site.deploy("1.0.2", &without);
    assert!(reported.text().contains(&volume), "{}", reported.text());
    reported.ended(&End::Deployed {});
    assert!(exists(&volume), "it was removed with its container");

    // `remove` stops and removes containers by another way.
    let volume = site.with_a_volume_of_dockers(&image);
    site.server.kill_serve();
    BlockingEngine::at(DockerEngine::SOCKET).remove_container(&site.serving()).expect("removed");
    assert!(exists(&volume), "it was removed with its container");
}

// case S1; broken by: `volumes` of an adopted container left out of its app file.
pub fn an_adopted_volume_without_a_name_is_taken_over_with_its_data() {
    let mut site = Site::start();
    let one = site.push("1.0.0", &["/data"]);
    let image = format!("{}@{one}", site.images.name());
    let name = format!("{}-by-hand", site.server.app);
    docker(&["pull", &image]);
    let label = format!("autotag-deploy.test={}", site.server.app);
    let id = docker(&["create", "--name", &name, "--label", &label, &image]).trim().to_owned();
    let volume = volume_of(&id);
    site.volumes.0.push(volume.clone());
    let file = site.server.directory.path().join("old");
    std::fs::write(&file, "precious").expect("a file");
    docker(&["cp", &file.display().to_string(), &format!("{id}:/data/db.sqlite")]);
    let found = adopt(
        &name,
        docker(&["inspect", &id]).trim_start_matches(['[', '\n']).trim_end_matches([']', '\n']),
        None,
    );
    let found = found.expect("it can be adopted");
    let volumes = found.content.others.get("volumes").expect("its volume").clone();
    assert!(found.notes.iter().any(|note| note.contains("without a name")), "{:?}", found.notes);
    site.app_file(&format!("volumes: {volumes}\n"));
    site.deploy("1.0.0", &one).ended(&End::Deployed {});
    docker(&["rm", "--force", "--volumes", &id]);
    assert_eq!((site.read().as_str(), volume_of(&site.serving())), ("precious", volume));
}
