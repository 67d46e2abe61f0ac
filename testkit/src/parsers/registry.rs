//! What registries answer.

use std::borrow::Cow;

use autotag_deploy::adapters::registry::challenge;
use autotag_deploy::adapters::registry::challenge::Challenge;
use autotag_deploy::adapters::registry::{
    Complaint, labels_in, link, manifest_in, part, read_token, tags_in, trusted_realm,
};
use autotag_deploy::ports::ManifestName;
use autotag_model::reference::{Digest, ImageName, ImageTag};
use http::HeaderMap;

use super::{Entry, first_line, headers, keeps_the_secret, large, short, text};

/// What may be told of a foreign text, in bytes.
const TOLD: usize = 4 * 1024;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "link",
        check: links,
        words: &[
            "<",
            ">",
            "/v2/app/tags/list?last=b&n=100",
            "https://x/",
            "; ",
            ";",
            "rel",
            "=",
            "\"",
            "next",
            "prev",
            ", ",
            "title",
            "\\",
            "REL",
            " ",
            "é",
            "last",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed("", "<a>; rel=prev, ", "<b>; rel=next", size));
            all.push(large::framed("<a>", "; rel=\"next\"", "", size));
            all.push(large::framed("<a>; rel=\"", "\\\"", "", size));
            all.push(large::repeated("<a>;a=\"", size));
            all.push(large::repeated(",", size));
            all.push(large::framed("<", "a", ">; rel=next\n<b>; rel=next", size));
            all
        },
    },
    Entry {
        name: "challenge",
        check: challenges,
        words: &[
            "Bearer",
            "Basic",
            "Negotiate",
            " ",
            "realm",
            "=",
            "\"",
            "https://auth.example/token",
            ",",
            "service",
            "scope",
            "repository:org/app:pull,push",
            "\\",
            "YWJj==",
            "error",
            "invalid_token",
            "\t",
            "é",
        ],
        large: |size| {
            let mut all = large::plain(size);
            for piece in ["Basic ", "Basic a=b, ", "a=\"b\",", "Basic YWJj==, ", ",", "\"", "a=\"", "Basic a"]
            {
                all.push(large::repeated(piece, size));
                all.push(large::framed("Bearer ", piece, "\"", size));
            }
            all
        },
    },
    Entry {
        name: "realm",
        check: realm,
        words: &[
            "https://",
            "http://",
            "file://",
            "localhost",
            "127.0.0.1",
            "[::1]",
            ":5000",
            "/token",
            "?a=b",
            "user:pass@",
            "ghcr.io/org/app",
            "localhost:5000/app",
            "\n",
            "#",
            "\\",
            "@",
            "é",
            "%00",
            "0x7f.1",
            "data:,",
            "\t",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed("ghcr.io/org/app\nhttps://x/", "../", "", size));
            all.push(large::framed("ghcr.io/org/app\nhttps://", "a.", "", size));
            all
        },
    },
    Entry {
        name: "manifest",
        check: manifest,
        words: &[
            "content-type: application/vnd.oci.image.manifest.v1+json\n",
            "\n",
            "{\"",
            "\":",
            "\"",
            "}",
            "[",
            "]",
            ",",
            "schemaVersion",
            "2",
            "mediaType",
            "application/vnd.oci.image.index.v1+json",
            "config",
            "manifests",
            "digest",
            "sha256:",
            "annotations",
            "vnd.docker.reference.type",
            "null",
        ],
        large: |size| {
            let mut all = large::json(size);
            all.push(large::framed("\n{\"schemaVersion\":2,\"mediaType\":\"", "\\n", "\"}", size));
            all.push(large::framed(
                "\n{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"\"}",
                ",{\"digest\":\"\"}",
                "]}",
                size,
            ));
            all.push(large::framed("\n{\"schemaVersion\":\"", "x", "\"}", size));
            all
        },
    },
    Entry {
        name: "image-labels",
        check: labels,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            ",",
            "config",
            "Labels",
            "org.opencontainers.image.version",
            "1.2.3",
            "null",
            "0",
        ],
        large: large::json,
    },
    Entry {
        name: "tag-page",
        check: tag_page,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            "[",
            "]",
            ",",
            "name",
            "tags",
            "1.2.3",
            "latest",
            "null",
            "content-type: text/html\n",
            "\n",
        ],
        large: |size| {
            let mut all = large::json(size);
            all.push(large::framed("\n{\"tags\":[\"a\"", ",\"a\"", "]}", size));
            all.push(large::framed("\n{\"tags\":\"", "x", "\"}", size));
            all
        },
    },
    Entry {
        name: "token",
        check: token,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            ",",
            "token",
            "access_token",
            "expires_in",
            "300",
            "-1",
            "null",
            "hunter.2!",
            "\\n",
            "1e99",
        ],
        large: large::json,
    },
    Entry {
        name: "registry-complaint",
        check: complaint,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            "[",
            "]",
            ",",
            "errors",
            "code",
            "DENIED",
            "NAME_UNKNOWN",
            "message",
            "detail",
            "<html>",
            "\n",
        ],
        large: |size| {
            let mut all = large::json(size);
            all.push(large::framed("{\"errors\":[{\"code\":\"A\"}", ",{\"code\":\"\\n\"}", "]}", size));
            all
        },
    },
];

/// One header a line.
fn links(bytes: &[u8]) {
    let text = text(bytes);
    match link::next(text.lines()) {
        Ok(Some(target)) => {
            assert!(text.contains(&target), "the target is taken as it stands");
            // Among others it is found as well; a second one is not.
            let more = format!("<x>; rel=prev, <{target}>; rel=next");
            if !target.contains('\n') {
                assert_eq!(link::next([more.as_str()]), Ok(Some(target.clone())));
                let twice = [more.as_str(), "</the/other/one>; rel=\"next\""];
                assert_eq!(link::next(twice).is_err(), target != "/the/other/one");
            }
        }
        Ok(None) => {}
        Err(bad) => short(&bad.to_string(), TOLD),
    }
}

fn challenges(bytes: &[u8]) {
    let text = text(bytes);
    let found = challenge::parse(&text);
    let quote = |value: &str| format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    let written = |challenge: &Challenge| {
        let parameters: Vec<String> =
            challenge.parameters.iter().map(|(name, value)| format!("{name}={}", quote(value))).collect();
        format!("{} {}", challenge.scheme, parameters.join(", "))
    };
    for challenge in &found {
        assert!(!challenge.scheme.is_empty() && challenge.scheme == challenge.scheme.to_ascii_lowercase());
        assert!(
            challenge.parameters.keys().all(|name| !name.is_empty() && *name == name.to_ascii_lowercase())
        );
    }
    let all: Vec<String> = found.iter().map(written).collect();
    assert_eq!(challenge::parse(&all.join(", ")), found, "written anew they are the same");
}

/// The first line is the image, the second the realm.
fn realm(bytes: &[u8]) {
    let text = text(bytes);
    let (image, realm) = first_line(&text);
    let Ok(image) = image.parse::<ImageName>() else { return };
    let Ok(url) = trusted_realm(&image, realm) else { return };
    // Independently of the URL library's own judgement of schemes and hosts.
    let shown = url.to_string();
    let clear = shown.strip_prefix("http://");
    assert!(clear.is_some() || shown.starts_with("https://"), "{shown}");
    if let Some(rest) = clear {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let here = host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]");
        assert!(here && image.is_loopback(), "the password would go to {host} in the clear");
    }
    let authority =
        shown.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(""));
    assert!(!authority.contains('@') && !authority.is_empty(), "{shown}");
}

/// Header lines, an empty one, and the body.
fn message(bytes: &[u8]) -> (HeaderMap, Cow<'_, [u8]>) {
    match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (headers(&bytes[..at]), Cow::Borrowed(&bytes[at + 2..])),
        None => (HeaderMap::new(), Cow::Borrowed(bytes.strip_prefix(b"\n").unwrap_or(bytes))),
    }
}

fn manifest(bytes: &[u8]) {
    let (headers, body) = message(bytes);
    match manifest_in(&headers, &body, &ManifestName::Tag(ImageTag::latest())) {
        Ok(manifest) => {
            assert_eq!((manifest.bytes.as_slice(), &manifest.digest), (body.as_ref(), &Digest::of(&body)));
            let (start, known) = ("application/vnd.", manifest.media_type.as_str());
            assert!(known.starts_with(start) && known.ends_with("+json") && known.len() < 100, "{known}");
            let own = manifest_in(&headers, &body, &ManifestName::Digest(manifest.digest.clone()));
            assert!(own.is_ok(), "by its own digest it is the same");
            let other = ManifestName::Digest(Digest::of(b"something else"));
            assert!(manifest_in(&headers, &body, &other).is_err(), "by another digest it is not");
        }
        Err(why) => short(&why, TOLD),
    }
    if let Err(why) = part(&body) {
        short(&why, TOLD);
    }
}

fn labels(bytes: &[u8]) {
    match labels_in(bytes) {
        Ok(labels) => {
            let document = serde_json::json!({ "config": { "Labels": labels } }).to_string();
            assert_eq!(labels_in(document.as_bytes()), Ok(labels));
        }
        Err(why) => short(&why, TOLD),
    }
}

fn tag_page(bytes: &[u8]) {
    let (headers, body) = message(bytes);
    match tags_in(&headers, &body) {
        Ok(tags) => {
            let document = serde_json::json!({ "tags": tags }).to_string();
            assert_eq!(tags_in(&HeaderMap::new(), document.as_bytes()), Ok(tags));
        }
        Err(why) => short(&why, TOLD),
    }
}

fn token(bytes: &[u8]) {
    match read_token(bytes) {
        Ok((header, _)) => {
            assert!(header.is_sensitive(), "it would be printed");
            assert!(header.as_bytes().starts_with(b"Bearer ") && header.len() > "Bearer ".len());
        }
        Err(why) => {
            short(&why, 200);
            keeps_the_secret(&why);
        }
    }
}

fn complaint(bytes: &[u8]) {
    let complaint = Complaint::read(bytes);
    short(&complaint.words, TOLD);
    assert!(!complaint.words.contains(char::is_control));
    assert!(!complaint.is_absence() || bytes.starts_with(b"{") || bytes.trim_ascii_start().starts_with(b"{"));
}
