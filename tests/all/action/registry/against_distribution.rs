//! What the real registry says.

use std::collections::BTreeMap;

use autotag_base::{CallErrorKind, Effect};
use autotag_deploy::ports::{ManifestName, Registry as _, TagListing};
use autotag_model::reference::Digest;

use super::real::Distribution;
use super::{MANIFEST, by_tag, credentials, manifest, registry, tag};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A manifest without layers, its configuration uploaded.
async fn image(server: &Distribution, config: &str) -> autotag_deploy::ports::Manifest {
    let digest = server.upload(config.as_bytes()).await;
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{{"mediaType":"{CONFIG}","digest":"{digest}","size":{}}},"layers":[]}}"#,
        config.len()
    );
    manifest(MANIFEST, &text)
}

fn index_of(child: &Digest, size: usize) -> autotag_deploy::ports::Manifest {
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{{"mediaType":"{MANIFEST}","digest":"{child}","size":{size}}}]}}"#
    );
    manifest(INDEX, &text)
}

#[tokio::test]
async fn what_is_put_can_be_listed_read_and_put_again() {
    let server = Distribution::start(&[]).await;
    let registry = registry(&server.address, None);
    assert_eq!(registry.list_tags().await, Ok(TagListing::NoRepository));
    assert_eq!(registry.manifest(&by_tag("1.0.0")).await, Ok(None));

    let image = image(&server, r#"{"config":{"Labels":{"a":"b"}}}"#).await;
    for version in ["1.0.0", "1.0.0", "latest"] {
        registry.put_manifest(&tag(version), &image).await.expect("put");
    }

    let Ok(TagListing::Tags(mut tags)) = registry.list_tags().await else { panic!("tags") };
    tags.sort();
    assert_eq!(tags, ["1.0.0", "latest"]);
    assert_eq!(registry.manifest(&by_tag("latest")).await, Ok(Some(image.clone())));
    assert_eq!(registry.manifest(&ManifestName::Digest(image.digest.clone())).await, Ok(Some(image.clone())));
    assert_eq!(registry.manifest(&by_tag("2.0.0")).await, Ok(None));
    assert_eq!(registry.manifest(&ManifestName::Digest(Digest::of(b"other"))).await, Ok(None));

    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    assert_eq!(registry.labels(&image).await, Ok(labels.clone()));

    let index = index_of(&image.digest, image.bytes.len());
    registry.put_manifest(&tag("multi"), &index).await.expect("put");
    assert_eq!(registry.manifest(&by_tag("multi")).await, Ok(Some(index.clone())));
    assert_eq!(registry.labels(&index).await, Ok(labels));
}

#[tokio::test]
async fn a_manifest_of_what_is_not_there_is_refused() {
    let server = Distribution::start(&[]).await;
    let registry = registry(&server.address, None);
    let error =
        registry.put_manifest(&tag("1"), &index_of(&Digest::of(b"gone"), 4)).await.expect_err("no child");
    assert_eq!((error.kind, error.effect), (CallErrorKind::Rejected, Effect::None), "{error}");
    assert!(error.why.contains("MANIFEST_BLOB_UNKNOWN"), "{error}");
    assert!(error.remedy.is_some(), "{error}");
}

#[tokio::test]
async fn every_character_of_a_password_arrives() {
    // bcrypt reads 72 bytes at most, so the printable characters come in two passwords.
    let characters: Vec<char> = ('!'..='~').collect();
    let (first, second) = characters.split_at(characters.len() / 2);
    let (first, second) = (first.iter().collect::<String>(), second.iter().collect::<String>());
    let (third, user) = ("pä ß€ 🦀 x", "ci-bot@example.org");
    let server = Distribution::start(&[("first", &first), ("second", &second), (user, third)]).await;
    for (user, password) in [("first", first.as_str()), ("second", &second), (user, third)] {
        let login = credentials(user, password);
        let listing = registry(&server.address, Some(&login)).list_tags().await;
        assert_eq!(listing, Ok(TagListing::NoRepository), "{user}");
    }
}

#[tokio::test]
async fn without_the_right_password_nothing_is_taken_for_an_answer() {
    let server = Distribution::start(&[("user", "right")]).await;
    let image = manifest(MANIFEST, r#"{"schemaVersion":2}"#);
    for login in [None, Some(credentials("user", "wr0ng-pass"))] {
        let registry = registry(&server.address, login.as_ref());
        let Ok(TagListing::Withheld(why)) = registry.list_tags().await else { panic!("withheld") };
        assert!(
            why.contains("`registry-username`") && why.contains("401") && !why.contains("wr0ng"),
            "{why}"
        );
        let error = registry.manifest(&by_tag("1")).await.expect_err("denied");
        assert_eq!(error.kind, CallErrorKind::Denied, "{error}");
        let error = registry.put_manifest(&tag("1"), &image).await.expect_err("denied");
        assert_eq!((error.kind, error.effect), (CallErrorKind::Denied, Effect::None), "{error}");
        let remedy = error.remedy.as_deref().expect("a remedy");
        assert!(remedy.contains("`registry-username`") && remedy.contains("`registry-password`"), "{remedy}");
        assert!(!format!("{error:?}").contains("wr0ng"), "{error:?}");
    }
}
