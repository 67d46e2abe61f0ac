//! Manifests by name, their bytes always checked against their digests, and the labels in them.

use std::collections::BTreeMap;

use ::http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;

use super::access::Permission;
use super::connection::{RegistryAnswer, RegistryConnection, RegistryRequest};
use super::{is_absent, media_type};
use crate::adapters::http_error::excerpt;
use crate::adapters::retry::Idempotency;
use crate::ports::{Manifest, ManifestName};
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_model::reference::{Digest, ImageName, ImageTag};

/// Bytes of a manifest (distribution specification, "Pushing Manifests": registries should take 4 MiB).
const MANIFEST_BYTES: usize = 4 << 20;

/// Bytes of an image's configuration; real ones are of some kilobytes.
const CONFIG_BYTES: usize = 8 << 20;

/// What is understood. In one header: some registries read only the first.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
                      application/vnd.docker.distribution.manifest.v2+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json";

/// The parts of a manifest or an index that are read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u64,
    media_type: Option<String>,
    config: Option<Descriptor>,
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    annotations: BTreeMap<String, serde_json::Value>,
}

impl Descriptor {
    /// BuildKit hangs provenance and SBOMs into an index as if they were images of no platform.
    fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
    }
}

/// GET.
pub async fn get(
    connection: &RegistryConnection,
    image: &ImageName,
    name: &ManifestName,
) -> CallResult<Option<Manifest>> {
    let (reference, full) = match name {
        ManifestName::Tag(tag) => (tag.to_string(), image.with_tag(tag)),
        ManifestName::Digest(digest) => (digest.to_string(), image.with_digest(digest)),
    };
    let doing = format!("reading the manifest of {full}");
    let ask = RegistryRequest {
        doing: &doing,
        method: Method::GET,
        url: connection.url(&format!("{}/manifests/{reference}", image.repository())),
        access: Permission::Pull,
        accept: ACCEPT,
        body: None,
        limit: MANIFEST_BYTES,
        repeat: Idempotency::Read,
    };
    let answer = connection.ask(&ask).await?;
    if is_absent(&answer) {
        return Ok(None);
    }
    if answer.status != StatusCode::OK {
        return Err(refusal_of_get(connection, &ask, &answer));
    }
    manifest_in(&answer.headers, &answer.body, name)
        .map(Some)
        .map_err(|why| CallError::new(CallErrorKind::InvalidResponse, doing, why))
}

/// A 404 that is not the registry's own is not "absent", and not a conflict either.
fn refusal_of_get(
    connection: &RegistryConnection,
    ask: &RegistryRequest<'_>,
    answer: &RegistryAnswer,
) -> CallError {
    let mut error = connection.refusal(ask, answer);
    if answer.status == StatusCode::NOT_FOUND {
        error.kind = CallErrorKind::InvalidResponse;
        error.why = format!("a 404 that does not come from a registry: {}", error.why);
    }
    error
}

/// The manifest of an answer; else what is wrong with it.
pub fn manifest_in(headers: &HeaderMap, body: &[u8], name: &ManifestName) -> Result<Manifest, String> {
    let digest = Digest::of(body);
    if let ManifestName::Digest(asked) = name
        && *asked != digest
    {
        return Err(format!("asked for {asked}, the registry sent bytes of {digest}"));
    }
    contradiction(headers, &digest)?;
    let document: Document = serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not a manifest: {}", excerpt(&error.to_string())))?;
    if document.schema_version != 2 {
        return Err(format!("a manifest of schema version {}, not 2", document.schema_version));
    }
    let media_type = match (media_type(headers), document.media_type) {
        (Some(header), Some(field)) if header != field && is_known(&header) => {
            return Err(format!("the registry calls it {header}, the manifest itself {}", excerpt(&field)));
        }
        (Some(header), _) if is_known(&header) => header,
        (_, Some(field)) if is_known(&field) => field,
        (header, field) => {
            let unknown = field.or(header).unwrap_or_else(|| "no type at all".to_owned());
            return Err(format!("neither an image manifest nor an index, but {}", excerpt(&unknown)));
        }
    };
    Ok(Manifest { bytes: body.to_vec(), media_type, digest })
}

fn is_known(media_type: &str) -> bool {
    ACCEPT.split(", ").any(|known| known == media_type)
}

/// Whether the registry names another digest than that of the bytes. One by another algorithm cannot be
/// compared.
fn contradiction(headers: &HeaderMap, digest: &Digest) -> Result<(), String> {
    let named =
        headers.get("docker-content-digest").and_then(|value| value.to_str().ok()?.parse::<Digest>().ok());
    match named {
        Some(named) if named != *digest => {
            Err(format!("the registry names {named}, the bytes are of {digest}"))
        }
        _ => Ok(()),
    }
}

/// PUT.
pub async fn put(
    connection: &RegistryConnection,
    image: &ImageName,
    tag: &ImageTag,
    manifest: &Manifest,
) -> CallResult<()> {
    let doing = format!("putting the manifest {} as {}", manifest.digest, image.with_tag(tag));
    let ask = RegistryRequest {
        doing: &doing,
        method: Method::PUT,
        url: connection.url(&format!("{}/manifests/{tag}", image.repository())),
        access: Permission::Push,
        accept: "application/json",
        body: Some((&manifest.bytes, &manifest.media_type)),
        limit: MANIFEST_BYTES,
        repeat: Idempotency::Idempotent,
    };
    let answer = connection.ask(&ask).await?;
    // The specification says 201; others have said 200, 202 and 204. Whoever puts reads back.
    let is_done = matches!(
        answer.status,
        StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED | StatusCode::NO_CONTENT
    );
    if !is_done {
        return Err(connection.refusal(&ask, &answer));
    }
    contradiction(&answer.headers, &manifest.digest)
        .map_err(|why| CallError::new(CallErrorKind::InvalidResponse, doing, why).perhaps_done())
}

/// The labels in the image's configuration.
pub async fn labels(
    connection: &RegistryConnection,
    image: &ImageName,
    manifest: &Manifest,
) -> CallResult<BTreeMap<String, String>> {
    let doing = format!("reading the labels of {}", image.with_digest(&manifest.digest));
    let garbled = |why: String| CallError::new(CallErrorKind::InvalidResponse, &doing, why);
    let child = match part(&manifest.bytes).map_err(garbled)? {
        Part::Config(digest) => return config_labels(connection, image, &doing, &digest).await,
        Part::Child(digest) => digest,
    };
    let child = get(connection, image, &ManifestName::Digest(child.clone()))
        .await?
        .ok_or_else(|| garbled(format!("the index names {child}, which the registry does not have")))?;
    match part(&child.bytes).map_err(garbled)? {
        Part::Config(digest) => config_labels(connection, image, &doing, &digest).await,
        Part::Child(_) => Err(garbled("an index within an index".to_owned())),
    }
}

/// Where the labels are.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// In this blob.
    Config(Digest),
    /// Wherever this manifest says.
    Child(Digest),
}

/// Where the labels of this manifest's image are; of an index, the first image's.
pub fn part(manifest: &[u8]) -> Result<Part, String> {
    let document: Document = serde_json::from_slice(manifest)
        .map_err(|error| format!("not a manifest: {}", excerpt(&error.to_string())))?;
    let digest = |descriptor: &Descriptor| {
        descriptor.digest.parse::<Digest>().map_err(|error| {
            format!("a digest that cannot be checked, {}: expected {error}", excerpt(&descriptor.digest))
        })
    };
    match (&document.config, &document.manifests) {
        (Some(config), _) => digest(config).map(Part::Config),
        (None, Some(children)) => {
            let image = children.iter().find(|child| !child.is_attestation());
            image.ok_or("an index without any image".to_owned()).and_then(digest).map(Part::Child)
        }
        (None, None) => Err("a manifest without a configuration".to_owned()),
    }
}

async fn config_labels(
    connection: &RegistryConnection,
    image: &ImageName,
    doing: &str,
    digest: &Digest,
) -> CallResult<BTreeMap<String, String>> {
    let ask = RegistryRequest {
        doing,
        method: Method::GET,
        url: connection.url(&format!("{}/blobs/{digest}", image.repository())),
        access: Permission::Pull,
        accept: "*/*",
        body: None,
        limit: CONFIG_BYTES,
        repeat: Idempotency::Read,
    };
    let answer = connection.ask(&ask).await?;
    let garbled = |why: String| CallError::new(CallErrorKind::InvalidResponse, doing, why);
    if is_absent(&answer) {
        return Err(garbled(format!(
            "the manifest names the configuration {digest}, which the registry does not have"
        )));
    }
    if answer.status != StatusCode::OK {
        return Err(refusal_of_get(connection, &ask, &answer));
    }
    let sent = Digest::of(&answer.body);
    if sent != *digest {
        return Err(garbled(format!(
            "asked for the configuration {digest}, the registry sent bytes of {sent}"
        )));
    }
    labels_in(&answer.body).map_err(garbled)
}

/// `config.Labels` (OCI image configuration); nothing where it is missing or null.
pub fn labels_in(config: &[u8]) -> Result<BTreeMap<String, String>, String> {
    #[derive(Deserialize)]
    struct Image {
        config: Option<Running>,
    }
    #[derive(Deserialize)]
    struct Running {
        #[serde(rename = "Labels")]
        labels: Option<BTreeMap<String, String>>,
    }
    let image: Image = serde_json::from_slice(config)
        .map_err(|error| format!("no image configuration: {}", excerpt(&error.to_string())))?;
    Ok(image.config.and_then(|running| running.labels).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (name.parse::<::http::HeaderName>().expect(name), value.parse().expect("a value"))
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn a_manifest_is_what_its_bytes_say() {
        let tag = ManifestName::Tag(ImageTag::latest());
        let plain = r#"{"schemaVersion":2}"#;
        let typed = format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}"}}"#);
        let typed = typed.as_str();
        for (kind, body, expected) in [
            (Some(MANIFEST), plain, Ok(MANIFEST)),
            (Some("Application/VND.oci.image.index.v1+JSON; charset=utf-8"), plain, Ok(INDEX)),
            (Some(MANIFEST), typed, Ok(MANIFEST)),
            (Some("application/json"), typed, Ok(MANIFEST)),
            (Some("application/octet-stream"), typed, Ok(MANIFEST)),
            (None, typed, Ok(MANIFEST)),
            (Some(INDEX), typed, Err("calls it")),
            (None, plain, Err("no type at all")),
            (Some("application/json"), plain, Err("but application/json")),
            (
                Some("application/vnd.docker.distribution.manifest.v1+prettyjws"),
                r#"{"schemaVersion":1}"#,
                Err("schema version 1"),
            ),
            (Some(MANIFEST), "<html>", Err("not a manifest")),
            (Some(MANIFEST), "", Err("not a manifest")),
            (Some(MANIFEST), "{}", Err("not a manifest")),
        ] {
            let lines: Vec<_> = kind.iter().map(|kind| ("content-type", *kind)).collect();
            match (manifest_in(&headers(&lines), body.as_bytes(), &tag), expected) {
                (Ok(manifest), Ok(media_type)) => {
                    assert_eq!(
                        (manifest.media_type.as_str(), manifest.bytes.as_slice()),
                        (media_type, body.as_bytes())
                    );
                    assert_eq!(manifest.digest, Digest::of(body.as_bytes()));
                }
                (Err(why), Err(words)) => assert!(why.contains(words), "{kind:?} {body}: {why}"),
                (outcome, _) => panic!("{kind:?} {body}: {outcome:?}"),
            }
        }
    }

    #[test]
    fn bytes_of_another_digest_are_refused() {
        let body = r#"{"schemaVersion":2}"#;
        let (right, wrong) = (Digest::of(body.as_bytes()), Digest::of(b"other"));
        let sha512 = format!("sha512:{}", "0".repeat(128));
        for (asked, named, fits) in [
            (None, None, true),
            (None, Some(right.as_str()), true),
            (None, Some(wrong.as_str()), false),
            (None, Some(sha512.as_str()), true),
            (Some(&right), None, true),
            (Some(&wrong), None, false),
            (Some(&wrong), Some(wrong.as_str()), false),
        ] {
            let name =
                asked.map_or(ManifestName::Tag(ImageTag::latest()), |it| ManifestName::Digest(it.clone()));
            let mut lines = vec![("content-type", MANIFEST)];
            lines.extend(named.map(|named| ("docker-content-digest", named)));
            let read = manifest_in(&headers(&lines), body.as_bytes(), &name);
            assert_eq!(read.is_ok(), fits, "{asked:?} {named:?}");
        }
    }

    #[test]
    fn the_labels_are_found_through_manifest_and_index() {
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let attestation = r#","annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#;
        for (body, expected) in [
            (
                format!(r#"{{"schemaVersion":2,"config":{{"digest":"{one}"}}}}"#),
                Ok(Part::Config(one.clone())),
            ),
            (
                format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{one}"}},{{"digest":"{two}"}}]}}"#),
                Ok(Part::Child(one.clone())),
            ),
            (
                format!(
                    r#"{{"schemaVersion":2,"manifests":[{{"digest":"{one}"{attestation}}},{{"digest":"{two}"}}]}}"#
                ),
                Ok(Part::Child(two.clone())),
            ),
            (
                format!(r#"{{"schemaVersion":2,"manifests":[{{"digest":"{one}"{attestation}}}]}}"#),
                Err("without any image"),
            ),
            (r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(), Err("without any image")),
            (r#"{"schemaVersion":2}"#.to_owned(), Err("without a configuration")),
            (r#"{"schemaVersion":2,"config":{"digest":"sha512:00"}}"#.to_owned(), Err("cannot be checked")),
        ] {
            match (part(body.as_bytes()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{body}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{body}: {why}"),
                (found, _) => panic!("{body}: {found:?}"),
            }
        }
    }

    #[test]
    fn labels_may_be_missing_but_not_of_another_kind() {
        let some = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
        for (body, expected) in [
            (r#"{"config":{"Labels":{"a":"b"}}}"#, Some(some)),
            (r#"{"config":{"Labels":null}}"#, Some(BTreeMap::new())),
            (r#"{"config":{}}"#, Some(BTreeMap::new())),
            (r#"{"config":null}"#, Some(BTreeMap::new())),
            ("{}", Some(BTreeMap::new())),
            (r#"{"config":{"Labels":{"a":1}}}"#, None),
            (r#"{"config":{"Labels":["a"]}}"#, None),
            ("", None),
        ] {
            assert_eq!(labels_in(body.as_bytes()).ok(), expected, "{body}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_document_makes_it_panic(body in "(\"(schemaVersion|config|manifests|digest|Labels)\"|[{}\\[\\]:,0-9\"a-z]){0,20}") {
            let _ = part(body.as_bytes());
            let _ = labels_in(body.as_bytes());
            let _ = manifest_in(&headers(&[]), body.as_bytes(), &ManifestName::Tag(ImageTag::latest()));
        }
    }
}
