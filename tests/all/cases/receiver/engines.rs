//! Engines of every age and kind, as users have them. Each test runs on all that `scripts/torture engines` starts.

use autotag_protocol::{End, FailureCode};

use testkit::images::app_image::AppImage;
use testkit::images::tiny_image::TinyImage;
use testkit::server::{Images, Server, deploy, docker};

/// The server with 1.0.0 on it, and its registry.
fn serving() -> (Images, Server) {
    let (images, server) = (Images::start(), Server::start());
    server.app_file(images.name(), "");
    let first = images.push("1.0.0");
    server.deploy(deploy(images.name(), "1.0.0", &first)).ended(&End::Deployed {});
    (images, server)
}

#[track_caller]
fn failed(reported: &testkit::server::Transcript, expected: FailureCode) -> String {
    let End::Failed { message, code, .. } = &reported.outcome.end else { panic!("{}", reported.text()) };
    assert_eq!(*code, expected, "{}", reported.text());
    message.clone()
}

// case engines; broken by: `foreign` is not looked at by the driver; by `nothing_for_this_machine` that knows
// one store's words
pub fn an_image_for_another_architecture_is_refused() {
    let (images, server) = serving();
    let before = server.containers();
    // Neither runs on a machine that tests run on.
    let of = |architecture| TinyImage::of_architecture(architecture, &[("unique", images.registry.host())]);
    let machine = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    for (image, has) in [
        (of("s390x"), &["linux/s390x"][..]),
        (TinyImage::index(vec![("s390x", of("s390x")), ("riscv64", of("riscv64"))]), &[]),
    ] {
        let digest = images.registry.put("org/app", "1.0.1", &image);
        let message = failed(&server.deploy(deploy(images.name(), "1.0.1", &digest)), FailureCode::Platform);
        for words in [&[machine, "platforms: "], has].concat() {
            assert!(message.contains(words), "`{words}` is missing in {message}");
        }
        assert_eq!(server.containers(), before, "{message}");
        assert_eq!(server.container_versions(), ["1.0.0"], "nothing else was made");
        let _ = docker(&["image", "rm", "--force", &images.name().with_digest(&digest)]);
    }
    assert!(server.get("/").1.contains("1.0.0"));
}

// case engines; broken by: `platform::complete` does nothing; by bollard's model of an image (both with containerd's
// image store alone: the classic one describes whole)
pub fn an_image_that_the_engine_describes_in_part_is_deployed_by_its_labels() {
    let (images, server) = serving();
    // Of what is imported the Engine has the content and not the bytes that the registry has of it.
    let imported = format!("autotag-imported-{:08x}", rand::random::<u32>());
    AppImage::new("0.0.0").import(&imported);
    let image = |version: &str, labelled: &str| {
        let commit = testkit::server::commit_of(version);
        let image = AppImage::new(labelled).commit(&commit).label("registry", images.registry.host());
        images.registry.put("org/app", version, &image.compressed_for_registry())
    };
    let good = image("1.0.1", "1.0.1");
    server.deploy(deploy(images.name(), "1.0.1", &good)).ended(&End::Deployed {});
    assert!(server.get("/").1.contains("1.0.1"));
    assert_eq!(server.status().drift, [""; 0]);
    let wrong = image("1.0.2", "7.7.7");
    let message = failed(&server.deploy(deploy(images.name(), "1.0.2", &wrong)), FailureCode::ImageLabels);
    assert!(message.contains("7.7.7"), "{message}");
    assert_eq!(server.container_versions(), ["1.0.1"]);
    let _ = docker(&["image", "rm", "--force", &imported]);
    let left = docker(&["ps", "--all", "--quiet", "--filter", "name=autotag-look-"]);
    assert_eq!(left, "", "what an image was looked at by is removed");
}
