//! Names, versions and claims.

use autotag_deploy::versioning::bump::Level;
use autotag_deploy::versioning::claim::Claim;
use autotag_deploy::versioning::conventional::level_of;
use autotag_deploy::versioning::tag::{TagPrefix, highest_stable, version_of};
use autotag_model::git::{ObjectId, RefName};
use autotag_model::reference::{Digest, ImageName, ImageTag};
use autotag_protocol::{AppName, DeploymentId, EnvironmentKey, Word};
use semver::Version;

use super::{Entry, first_line, goes_round, is_lower_hex, large, letters, text};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "protocol-names",
        check: protocol_names,
        words: &["deploy", "rollback", "status", "app", "-", "--", "_", "A", "1", "é", " ", "/", "\0"],
        large: large::plain,
    },
    Entry {
        name: "image-reference",
        check: image_reference,
        words: &[
            "ghcr.io",
            "localhost",
            "[::1]",
            "127.0.0.1",
            "/",
            ":",
            "+",
            "5000",
            "org",
            "app",
            "@",
            "sha256:",
            ".",
            "_",
            "__",
            "-",
            "--",
            "://",
            "index.docker.io",
            "docker.io",
            "A",
            "\n",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::repeated("a/", size));
            all.push(large::repeated("a--", size));
            all.push(large::framed("", "a.", "io/app", size));
            all
        },
    },
    Entry {
        name: "git-names",
        check: git_names,
        words: &[
            "refs/", "tags/", "heads/", "autotag/", "v", "1.2.3", "..", ".", "@{", "@", ".lock", ".LOCK",
            "/", "~", "^", ":", "?", "*", "[", "\\", " ", "\u{7f}", "\u{1}", "é", "a1b2c3",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed("refs/", "a/", "b", size));
            all.push(large::framed("refs/tags/", "0", "", size));
            all
        },
    },
    Entry {
        name: "version-tag",
        check: version_tag,
        words: &[
            "v",
            "api-v",
            "api/v",
            "none",
            "\n",
            "1",
            ".",
            "0",
            "2.3",
            "-",
            "rc.1",
            "+",
            "build",
            "latest",
            "/",
            "18446744073709551615",
            " ",
            "sha-",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed("v\nv1.2.3-", "a.", "a", size));
            all.push(large::framed("v\n", "v1.2.3\n", "", size));
            all
        },
    },
    Entry {
        name: "claim",
        check: claim,
        words: &[
            "Autotag-",
            "Claim: 1\n",
            "Kind: version\n",
            "Kind: image\n",
            "Version: 1.2.3\n",
            "Highest: 1.2.3\n",
            "After: none\n",
            "Prefix: v\n",
            "Image: ghcr.io/org/app\n",
            "Line: main\n",
            "Previous: none\n",
            "Run: x\n",
            "Tip: ",
            ": ",
            "\r",
            "\n",
            " ",
            "main",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::repeated("Autotag-Tip: a main\n", size));
            all.push(large::repeated("Autotag-Claim: 1\n", size));
            all
        },
    },
    Entry {
        name: "conventional",
        check: conventional,
        words: &[
            "feat",
            "fix",
            "chore",
            "(api)",
            "!",
            ": ",
            "text",
            "\n",
            "\n\n",
            "BREAKING CHANGE: ",
            "BREAKING-CHANGE: ",
            "Refs",
            " #",
            "Signed-off-by: ",
            "é",
            "\r\n",
            "(",
            ")",
            "\t",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed("feat: a\n\n", "Refs: #1\n", "", size));
            all.push(large::framed("feat: a\n\nb\n\n", "BREAKING CHANGE: a\n b\n\n", "", size));
            all.push(large::framed("feat: a\n\n", "a\n\n", "", size));
            all.push(large::framed("feat(", "(", "): a", size));
            all
        },
    },
];

fn protocol_names(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(word) = text.parse::<Word>() {
        goes_round(&word);
        assert!(letters(&text, 4..=8, |byte| byte.is_ascii_lowercase()));
    }
    if let Ok(app) = text.parse::<AppName>() {
        goes_round(&app);
        assert!(letters(&text, 1..=24, |byte| byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || byte == b'-'));
        assert!(text.as_bytes()[0].is_ascii_lowercase(), "it is also a user's name");
        assert_ne!(text, "home", "that is the directory of all of them");
    }
    if let Ok(id) = text.parse::<DeploymentId>() {
        goes_round(&id);
        assert!(letters(&text, 8..=64, |byte| byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || byte == b'-'));
        assert!(!text.starts_with('-'), "it would be an option");
    }
    if let Ok(key) = text.parse::<EnvironmentKey>() {
        goes_round(&key);
        assert!(letters(&text, 1..=128, |byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    }
}

fn image_reference(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(name) = text.parse::<ImageName>() {
        goes_round(&name);
        assert!(name.registry().len() <= 255 && name.repository().len() <= 255, "{}", name.registry().len());
        let host = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        assert!(name.registry().bytes().all(host), "{name}");
        let lower = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
        assert!(name.repository().bytes().all(lower), "{name}");
        assert!(!name.repository().split('/').any(|part| matches!(part, "" | "." | "..")), "{name}");
        // The one reading that everybody else has of it.
        let url = format!("https://{}/v2/{}", name.registry(), name.repository());
        let uri: http::Uri = url.parse().unwrap_or_else(|error| panic!("{url}: {error}"));
        assert_eq!(uri.authority().map(http::uri::Authority::as_str), Some(name.registry()), "{name}");
        let port = name.registry().rsplit_once(':').filter(|(_, port)| !port.contains(']'));
        assert_eq!(uri.port_u16().is_some(), port.is_some(), "{name}");
    }
    if let Ok(tag) = text.parse::<ImageTag>() {
        goes_round(&tag);
        assert!(letters(&text, 1..=128, |byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
        assert!(!text.starts_with(['.', '-']));
    }
    if let Ok(digest) = text.parse::<Digest>() {
        goes_round(&digest);
        assert!(letters(&text["sha256:".len()..], 64..=64, is_lower_hex));
    }
    let own = Digest::of(bytes);
    goes_round(&own);
}

fn git_names(bytes: &[u8]) {
    let text = text(bytes);
    if let Ok(id) = text.parse::<ObjectId>() {
        goes_round(&id);
        assert!(letters(&text, 40..=64, is_lower_hex));
    }
    if let Ok(name) = text.parse::<RefName>() {
        goes_round(&name);
        assert!(name.as_str().starts_with("refs/"));
        for part in name.without_refs().split('/') {
            assert!(
                !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none(),
                "{name}"
            );
        }
        assert!(!text.contains("..") && !text.contains("@{") && !text.ends_with('.'), "{name}");
        for character in name.as_str().chars() {
            assert!(!character.is_ascii_control() && !" ~^:?*[\\".contains(character), "{name}");
        }
    }
}

/// The first line is a prefix, each other one a tag.
fn version_tag(bytes: &[u8]) {
    let text = text(bytes);
    let (prefix, tags) = first_line(&text);
    let Ok(prefix) = prefix.parse::<TagPrefix>() else { return };
    goes_round(&prefix);
    let versions: Vec<Version> = tags.lines().filter_map(|tag| prefix.version_of(tag)).collect();
    for (tag, version) in tags.lines().filter_map(|tag| Some((tag, prefix.version_of(tag)?))) {
        assert_eq!(prefix.tag_of(&version), tag, "one spelling for each version");
        assert_eq!(version_of(&version.to_string()), Some(version.clone()));
        // Git takes no name that ends so, and nobody releases such a prerelease.
        assert_eq!(prefix.ref_of(&version).is_ok(), tag.strip_suffix(".lock").is_none(), "{tag}");
    }
    // Independently: no prerelease, and the greatest three numbers.
    let numbers = |version: &Version| (version.major, version.minor, version.patch);
    let stable = versions.iter().filter(|version| version.pre.is_empty()).map(numbers).max();
    assert_eq!(highest_stable(&versions).map(numbers), stable);
}

fn claim(bytes: &[u8]) {
    let text = text(bytes);
    let Ok(claim) = Claim::parse(&text) else { return };
    // Lines, prefixes and runs are printed, and written into the next claim.
    let words =
        [&claim.prefix, &claim.line, &claim.run].into_iter().chain(claim.tips.iter().map(|tip| &tip.line));
    for word in words {
        assert!(!word.contains(char::is_control), "{word:?}");
    }
    let again = Claim::parse(&claim.message("v1.2.3"));
    assert_eq!(again.as_ref(), Ok(&claim));
}

fn conventional(bytes: &[u8]) {
    let text = text(bytes);
    let (level, reason) = level_of([text.as_ref()], 1);
    let (early, _) = level_of([text.as_ref()], 0);
    assert_ne!(early, Level::Major, "nothing is stable before 1.0.0");
    assert_eq!(early == Level::Minor, level != Level::Patch);
    if let Some(reason) = &reason {
        assert!(text.contains(reason.as_str()) && !reason.contains('\n'), "{reason:?}");
    } else {
        assert_eq!(level, Level::Patch, "what asks for nothing is a patch");
    }
    // The order of commits does not matter, nor that there are others.
    assert_eq!(level_of(["docs: x", text.as_ref()], 1).0, level);
    assert_eq!(level_of([text.as_ref(), "docs: x"], 1).0, level);
    if text.starts_with("feat: ")
        && text.len() > 6
        && !text.contains(['\n', '\r'])
        && text[6..].trim().len() == text.len() - 6
    {
        assert_eq!(level, Level::Minor, "{text:?}");
    }
}
