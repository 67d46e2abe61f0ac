//! What a release reads: the build's files, GitHub's answers, events and inputs.

use std::time::Duration;

use autotag_deploy::adapters::asked_wait;
use autotag_deploy::adapters::github::RefusalAnswer;
use autotag_deploy::inputs::run::{Cause, Overrides, cause};
use autotag_deploy::inputs::{Environment, InputErrors, RawInputs, Request, Run, spec};
use autotag_deploy::local::clone::{Head, packed, repository_of};
use autotag_deploy::release::notes::Block;
use autotag_docker::login;
use autotag_model::reference::Digest;
use semver::Version;

use super::{Entry, SECRET, first_line, goes_round, headers, keeps_the_secret, large, text};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "event",
        check: event,
        words: &[
            "push",
            "release",
            "workflow_run",
            "pull_request_target",
            " ",
            "refs/heads/main",
            "refs/tags/v1.2.3",
            "refs/pull/7/merge",
            "\n",
            "{\"",
            "\":",
            "\"",
            "}",
            ",",
            "action",
            "published",
            "repository",
            "default_branch",
            "head_sha",
            "conclusion",
            "success",
            "event",
            "null",
        ],
        large: |size| {
            large::json(size)
                .into_iter()
                .map(|mut json| {
                    json.splice(0..0, *b"push refs/heads/main\n");
                    json
                })
                .collect()
        },
    },
    Entry {
        name: "inputs",
        check: inputs,
        words: &[
            "image=",
            "tag-prefix=",
            "version=",
            "bump=",
            "labels=",
            "build-args=",
            "release-branches=",
            "platforms=",
            "deploy-host=",
            "deploy-known-hosts=",
            "deploy-key=",
            "deploy-environment=",
            "deploy-timeout=",
            "command=",
            "deploy",
            "release",
            "\n",
            "a",
            "=",
            "1.2.3",
            "v",
            "none",
            "auto",
            "ghcr.io/org/app",
            ",",
            "|",
            "10m",
            "hunter.2!",
            "linux/amd64",
            "web1.example.com:22",
        ],
        large: |size| {
            let mut all = large::plain(size);
            for (start, piece) in [
                ("release-branches=", "a*b,"),
                ("labels=", "a=b|"),
                ("build-args=", "a|"),
                ("deploy-host=", "a,"),
                ("deploy-host=", "a|"),
                ("deploy-environment=", "A=b|"),
                ("image=ghcr.io/", "a/"),
            ] {
                all.push(large::framed(start, piece, "\n", size));
            }
            all
        },
    },
    Entry {
        name: "github-refusal",
        check: github_refusal,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            "[",
            "]",
            ",",
            "message",
            "errors",
            "field",
            "code",
            "already_exists",
            "null",
            "0",
            "Validation Failed",
            "::error::",
            "\n",
        ],
        large: |size| {
            let mut all = large::json(size);
            all.push(large::framed("{\"message\":\"a\",\"errors\":[0", ",{\"code\":\"a\"}", "]}", size));
            all
        },
    },
    Entry {
        name: "retry-after",
        check: retry_after,
        words: &[
            "retry-after: ",
            "date: ",
            "x-ratelimit-remaining: ",
            "x-ratelimit-reset: ",
            "0",
            "120",
            "-1",
            "\n",
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "18446744073709551616",
            "99999999999999999",
            "+5",
            " ",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed("retry-after: ", "9", "\n", size));
            all.push(large::framed(
                "date: Sun, ",
                "0",
                " Nov 1994\nretry-after: Sun, 06 Nov 1994 08:49:37 GMT\n",
                size,
            ));
            all
        },
    },
    Entry {
        name: "release-notes",
        check: release_notes,
        words: &[
            "<!-- autotag-deploy ghcr.io/org/app -->",
            "<!-- /autotag-deploy ghcr.io/org/app -->",
            "\n",
            "text",
            "<!-- autotag-deploy ghcr.io/org/other -->",
            "  ",
            "é",
            "### Image",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::repeated("<!-- autotag-deploy ghcr.io/org/app -->", size));
            all.push(large::repeated("<!-- /autotag-deploy ghcr.io/org/app -->", size));
            all
        },
    },
    Entry {
        name: "clone",
        check: clone,
        words: &[
            "https://",
            "ssh://",
            "git@",
            "ssh.",
            "github.com",
            ":",
            "/",
            "org",
            ".git",
            "\n",
            "ref: ",
            "refs/",
            "heads/",
            "main",
            "..",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            " ",
            "^",
            "# pack-refs with: peeled",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::repeated("/", size));
            all.push(large::framed("https://github.com/", "a/", "b", size));
            all.push(large::framed("\nref: refs/heads/main\n", "a refs/heads/m\n", "", size));
            all.push(large::framed("\nref: refs/heads/main\n", "a ", "", size));
            all
        },
    },
    Entry {
        name: "credential-helper",
        check: credential_helper,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            ",",
            "ServerURL",
            "Username",
            "Secret",
            "<token>",
            SECRET,
            "null",
            "\\u0000",
        ],
        large: large::json,
    },
];

/// The first line is the event's name and the ref, the rest is the payload.
fn event(bytes: &[u8]) {
    let text = text(bytes);
    let (head, payload) = first_line(&text);
    let (name, reference) = head.split_once(' ').unwrap_or((head, ""));
    let payload = serde_json::from_str(payload).unwrap_or(serde_json::Value::Null);
    let commit = "a".repeat(40);
    let environment =
        Environment::of([("GITHUB_EVENT_NAME", name), ("GITHUB_REF", reference), ("GITHUB_SHA", &commit)]);
    let releasing = match cause(&environment, &Overrides::default(), &payload) {
        Cause::Branch(branch) => {
            assert_eq!(reference, format!("refs/heads/{branch}"));
            true
        }
        Cause::Tag(tag) => {
            assert_eq!(reference, format!("refs/tags/{tag}"));
            true
        }
        Cause::Other { event } => {
            assert!(!event.is_empty());
            false
        }
    };
    // What somebody who may write no branch can start releases nothing, whatever else is said.
    let at = |pointer: &str| payload.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or_default();
    if releasing {
        match name {
            "push" | "workflow_dispatch" | "repository_dispatch" | "schedule" => {}
            "release" => assert!(matches!(at("/action"), "published" | "released")),
            "workflow_run" => {
                assert_eq!(at("/workflow_run/event"), "push");
                assert_eq!(at("/workflow_run/conclusion"), "success");
                assert_eq!(at("/workflow_run/head_sha"), commit);
            }
            other => panic!("the event {other:?} releases"),
        }
    }
}

/// `NAME=VALUE` lines; in a value `|` stands for a line break.
fn inputs(bytes: &[u8]) {
    let text = text(bytes);
    let mut raw = RawInputs::default();
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        if let Some(spec) = spec::of(name) {
            raw.set(spec.name, value.replace('|', "\n"));
        }
    }
    let environment = Environment::of([]);
    let mut faults = InputErrors::default();
    let request = Request::parse(&raw, &Run::stand_in(&environment), &mut faults);
    assert_eq!(request.is_none(), !faults.is_empty(), "a request, or faults");
    for fault in faults.as_slice() {
        let secret = spec::of(&fault.input).is_some_and(|spec| spec.secret);
        assert!(!secret || !fault.to_string().contains(SECRET), "{} tells its secret", fault.input);
    }
    let Some(request) = request else { return };
    assert!(request.claim_ref.as_str().starts_with("refs/"));
    request.release_branches.contains(&"a".repeat(50), "main");
    // Whatever is secret is masked in the form in which it was given.
    let masks = raw.to_mask(&environment);
    for spec in spec::INPUTS.iter().filter(|spec| spec.secret) {
        if let Some(secret) = raw.secret(spec.name) {
            assert!(masks.iter().any(|mask| mask == secret.reveal()), "{} is not masked", spec.name);
        }
    }
}

fn github_refusal(bytes: &[u8]) {
    let words = RefusalAnswer::words(bytes);
    if !bytes.starts_with(b"{") {
        assert_eq!(words, text(bytes), "what is not GitHub's is told as it stands");
    }
}

/// Header lines.
fn retry_after(bytes: &[u8]) {
    let headers = headers(bytes);
    let wait = asked_wait(&headers);
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if let Some(Ok(seconds)) = field("retry-after").filter(digits).map(str::parse) {
        assert_eq!(wait, Some(Duration::from_secs(seconds)));
    }
    if field("retry-after").is_none() && field("x-ratelimit-remaining") != Some("0") {
        assert_eq!(wait, None);
    }
}

fn release_notes(bytes: &[u8]) {
    let before = text(bytes);
    let image = "ghcr.io/org/app".parse().expect("a name");
    let (digest, version) = (Digest::of(b"x"), Version::new(1, 2, 3));
    let block = Block { image: &image, version: &version, digest: &digest, previous: None };
    let after = block.put_into(&before);
    assert!(after.contains(digest.as_str()));
    assert_eq!(block.put_into(&after), after, "a second run changes nothing");
    assert!(after.len() < before.len() + 1000);
}

/// The first line is a remote's address, the second one `.git/HEAD`, the rest `packed-refs`.
fn clone(bytes: &[u8]) {
    let text = text(bytes);
    let (address, rest) = first_line(&text);
    let (head, packed_refs) = first_line(rest);
    if let Some(repository) = repository_of(address, "github.com") {
        let (owner, name) = repository.split_once('/').expect("both");
        assert!(!owner.is_empty() && !name.is_empty() && !name.contains('/'), "{repository}");
        assert!(address.to_ascii_lowercase().contains("github.com") && address.contains(&repository));
    }
    match Head::parse(head) {
        Some(Head::Commit(commit)) => goes_round(&commit),
        Some(Head::Branch(branch)) => {
            // It becomes a part of a path.
            assert!(branch.as_str().split('/').all(|part| !part.is_empty() && part != ".."), "{branch}");
            if let Some(commit) = packed(packed_refs, &branch) {
                assert!(packed_refs.contains(&format!("{commit} {branch}")));
            }
        }
        None => {}
    }
}

fn credential_helper(bytes: &[u8]) {
    match login::answer(bytes) {
        Ok(Some(found)) => {
            assert!(found.username != "<token>" && !found.password.reveal().is_empty());
            assert!(!format!("{found:?}").contains(SECRET) || found.username.contains(SECRET));
        }
        Ok(None) => {}
        Err(why) => keeps_the_secret(why),
    }
}
