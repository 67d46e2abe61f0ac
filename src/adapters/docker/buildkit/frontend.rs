//! A build's request in the words of BuildKit's Dockerfile frontend.

use std::collections::{BTreeMap, HashMap};

use bollard_buildkit_proto::moby::buildkit::v1::{CacheOptions, CacheOptionsEntry, Exporter, SolveRequest};
use serde_json::json;

use super::archive;
use crate::ports::BuildRequest;

const INLINE_CACHE: &str = "BUILDKIT_INLINE_CACHE";
/// Into the Engine's own images, whichever store it has.
const EXPORTER: &str = "moby";

/// The request for a build of this id, with a session of the same one, and with these build arguments beside the
/// user's own. The Dockerfile is sent by this name.
pub(super) fn solve_request(
    id: &str,
    request: &BuildRequest,
    given: &BTreeMap<String, String>,
    dockerfile: &str,
    as_archive: bool,
) -> SolveRequest {
    let mut attributes = HashMap::new();
    let mut set = |name: &str, value: &str| drop(attributes.insert(name.to_owned(), value.to_owned()));
    set("filename", dockerfile);
    let mut arguments = request.build_args.clone();
    arguments.extend(given.clone());
    if request.inline_cache {
        arguments.insert(INLINE_CACHE.to_owned(), "1".to_owned());
    }
    for (name, value) in &arguments {
        set(&format!("build-arg:{name}"), value);
    }
    for (name, value) in &request.labels {
        set(&format!("label:{name}"), value);
    }
    if let Some(target) = &request.target {
        set("target", target);
    }
    if let Some(platform) = &request.platform {
        set("platform", platform);
    }
    // A base that the Engine has is taken as it is, as `docker build` does.
    set("image-resolve-mode", if request.pull { "pull" } else { "local" });
    if request.no_cache {
        set("no-cache", "");
    }
    if !request.cache_from.is_empty() {
        // The field of the request that is named so is read by nobody where there is a frontend.
        let imports = request.cache_from.iter();
        let imports = imports.map(|reference| json!({"Type": "registry", "Attrs": {"ref": reference}}));
        set("cache-imports", &imports.collect::<serde_json::Value>().to_string());
    }
    let is_true = |value: &String| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True");
    let inline = arguments.get(INLINE_CACHE).filter(|value| is_true(value));
    let exports = inline.map(|_| CacheOptionsEntry { r#type: "inline".to_owned(), ..Default::default() });
    SolveRequest {
        r#ref: id.to_owned(),
        session: id.to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attributes,
        frontend_inputs: as_archive
            .then(|| ("context".to_owned(), archive::context(id)))
            .into_iter()
            .collect(),
        cache: Some(CacheOptions { exports: exports.into_iter().collect(), ..CacheOptions::default() }),
        // The one is read by BuildKit from 0.13 on, the other by earlier ones.
        exporters: vec![Exporter { r#type: EXPORTER.to_owned(), ..Exporter::default() }],
        exporter_deprecated: EXPORTER.to_owned(),
        ..SolveRequest::default()
    }
}
