//! Pulling, finding and removing images.

use autotag_base::CallErrorKind;
use autotag_model::reference::Digest;
use autotag_model::secret::{Credentials, Secret};
use autotag_receiver::engine::Engine as _;
use serde_json::json;

use super::{LABEL, Stage, docker, unique};
use testkit::images::tiny_image::TinyImage;
use testkit::registry::Auth;

/// In plain base64 its login has `+` and `/`, which the Engine would not read.
const PASSWORD: &str = "??>>~~ÿÿ-secret";

fn credentials(password: &str) -> Credentials {
    Credentials { username: "deployer".to_owned(), password: Secret::verbatim(password.to_owned()) }
}

#[tokio::test]
async fn a_pulled_image_is_known_by_its_digest() {
    let stage = Stage::pulled(json!({
        "Cmd": ["/bin/sleep", "1000"],
        "Labels": { "a.b": "c" },
        "Healthcheck": { "Test": ["CMD", "/bin/true"] },
    }))
    .await;
    let image = stage.engine.image(&stage.name, &stage.digest).await.expect("an answer").expect("an image");
    assert_eq!(image.labels.get("a.b").map(String::as_str), Some("c"));
    assert!(image.has_healthcheck && image.labels.contains_key(LABEL));
    assert_eq!(image.digests, [(stage.name.clone(), stage.digest.clone())]);
    assert_eq!(image.id, docker(&["inspect", "--format", "{{.Id}}", &stage.name.with_digest(&stage.digest)]));
    assert_eq!(stage.engine.images(&stage.name).await.expect("a list"), [image]);
    // Again, and another repository.
    stage.engine.pull(&stage.name, &stage.digest, None).await.expect("pulls again");
    let other = stage.registry.image("org/other");
    assert_eq!(stage.engine.image(&other, &stage.digest).await, Ok(None));
    assert_eq!(stage.engine.images(&other).await, Ok(Vec::new()));
    assert_eq!(stage.engine.image(&stage.name, &Digest::of(b"none")).await, Ok(None));
}

/// An image for several platforms is deployed by its index's digest, as this project's own is released.
#[tokio::test]
async fn an_index_is_pulled_by_platform_and_known_by_digest() {
    let stage = Stage::new(&Auth::None, json!({}));
    let unique = stage.digest.as_str();
    let of = |name| TinyImage::of_architecture(name, &[("a.b", name), (LABEL, "1"), ("unique", unique)]);
    let index = TinyImage::index(vec![("arm64", of("arm64")), ("amd64", of("amd64"))]);
    let digest = stage.registry.put("org/app", "both", &index);
    stage.engine.pull(&stage.name, &digest, None).await.expect("pulled");
    let image = stage.engine.image(&stage.name, &digest).await.expect("an answer").expect("an image");
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    assert_eq!(image.labels.get("a.b").map(String::as_str), Some(own));
    assert_eq!(image.digests, [(stage.name.clone(), digest.clone())]);
    assert_eq!(stage.engine.remove_image(&stage.name, &digest).await, Ok(true));
    assert_eq!(stage.engine.image(&stage.name, &digest).await, Ok(None));
}

#[tokio::test]
async fn a_health_check_that_is_switched_off_is_none() {
    let stage = Stage::pulled(json!({ "Healthcheck": { "Test": ["NONE"] } })).await;
    let image = stage.engine.image(&stage.name, &stage.digest).await.expect("an answer").expect("an image");
    assert!(!image.has_healthcheck);
}

#[tokio::test]
async fn credentials_open_a_closed_registry() {
    for auth in [Auth::basic("deployer", PASSWORD), Auth::token("deployer", PASSWORD)] {
        let stage = Stage::new(&auth, json!({}));
        for login in [None, Some(credentials("wrong"))] {
            let refusal = stage.engine.pull(&stage.name, &stage.digest, login.as_ref()).await;
            let error = refusal.expect_err("it is closed");
            assert_eq!(error.kind, CallErrorKind::Denied, "{auth:?}: {error}");
            let remedy = error.remedy.as_deref().unwrap_or_default();
            assert!(remedy.contains("`deploy-registry-username`"), "{remedy}");
            assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
        }
        let login = credentials(PASSWORD);
        let pulled = stage.engine.pull(&stage.name, &stage.digest, Some(&login)).await;
        pulled.unwrap_or_else(|error| panic!("{auth:?}: {error}"));
        assert!(stage.engine.image(&stage.name, &stage.digest).await.expect("an answer").is_some());
    }
}

#[tokio::test]
async fn what_cannot_be_pulled_is_explained() {
    let mut stage = Stage::new(&Auth::None, json!({}));
    let missing =
        stage.engine.pull(&stage.name, &Digest::of(b"none"), None).await.expect_err("no such image");
    assert_eq!(missing.kind, CallErrorKind::Rejected, "{missing}");
    assert!(missing.remedy.is_some(), "{missing}");
    stage.registry.stop();
    let dead = stage.engine.pull(&stage.name, &stage.digest, None).await.expect_err("nobody listens");
    assert_eq!(dead.kind, CallErrorKind::Unreachable);
    assert!(dead.why.contains(stage.registry.host()), "it is the registry that is away: {dead}");
}

#[tokio::test]
async fn an_image_that_a_container_uses_is_left() {
    let stage = Stage::sleeping().await;
    let id = stage.create(&stage.spec().await).await;
    // A second name: the Engine alone would take the first away.
    let second = unique("second");
    docker(&["tag", &stage.name.with_digest(&stage.digest), &second]);
    assert_eq!(stage.engine.remove_image(&stage.name, &stage.digest).await, Ok(false));
    assert!(stage.engine.image(&stage.name, &stage.digest).await.expect("an answer").is_some());
    docker(&["image", "rm", &second]);
    assert_eq!(stage.engine.remove_image(&stage.name, &stage.digest).await, Ok(false));
    stage.engine.remove(&id).await.expect("removed");
    assert_eq!(stage.engine.remove_image(&stage.name, &stage.digest).await, Ok(true));
    assert_eq!(stage.engine.remove_image(&stage.name, &stage.digest).await, Ok(false), "gone");
    assert_eq!(stage.engine.image(&stage.name, &stage.digest).await, Ok(None));
}
