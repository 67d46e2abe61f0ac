//! What the receiver reads: requests, the owner's files, its own state and journal.

use std::path::Path;

use autotag_protocol::{
    Body, ENVIRONMENT_ENTRIES, HISTORY_ENTRIES, LOG_LINES, REQUEST_BYTES, Request, TEXT_BYTES,
};
use autotag_receiver::config::docker_config::credentials_in;
use autotag_receiver::state;
use autotag_receiver::state::journal;
use base64::Engine as _;

use super::{Entry, SECRET, first_line, keeps_the_secret, large, short, text};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "request",
        check: request,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            ",",
            "protocol",
            "1",
            "2",
            "app",
            "request",
            "deploy",
            "rollback",
            "status",
            "logs",
            "lines",
            "history",
            "entries",
            "deployment",
            "deployment-1",
            "image",
            "ghcr.io/org/app",
            "digest",
            "version",
            "1.2.3",
            "commit",
            "allow-downgrade",
            "environment",
            "credential",
            "username",
            "password",
            "hunter.2!",
            "run",
            "null",
            "true",
            "\\n",
            "\\u0000",
            "to",
            "configuration",
            "then",
            "reverts",
            "deployment-2",
        ],
        large: |size| {
            let mut all = large::json(size.min(REQUEST_BYTES - 100));
            all.push(large::framed(
                "{\"protocol\":1,\"app\":\"a\",\"request\":{\"status\":{\"deployment\":\"",
                "a",
                "\"}}}",
                size,
            ));
            all.push(large::framed("{\"protocol\":1", ",\"x\":0", "}", size.min(REQUEST_BYTES - 100)));
            all
        },
    },
    Entry {
        name: "state",
        check: state_file,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            "[",
            "]",
            ",",
            "format",
            "1",
            "2",
            "app",
            "change",
            "phase",
            "steady",
            "active",
            "null",
            "highest",
            "blocked",
            "history",
            "1.2.3",
            "pending",
            "new",
            "release",
            "container",
        ],
        large: |size| large::json(size),
    },
    Entry {
        name: "journal",
        check: journal_file,
        words: &[
            "{\"at\":\"2026-01-02T03:04:05Z\",",
            "\"what\":\"noted\",\"text\":\"x\"}",
            "\n",
            "\"what\":\"of-later\"}",
            "\"deployment\":\"deployment-1\",",
            "{",
            "}",
            "\"",
            "\0",
            "\"what\":\"began\",\"step\":\"pull\"}",
        ],
        large: |size| {
            let mut all = large::json(size);
            all.push(large::repeated(
                "{\"at\":\"2026-01-02T03:04:05Z\",\"what\":\"noted\",\"text\":\"\"}\n",
                size,
            ));
            all
        },
    },
    Entry {
        name: "docker-config",
        check: docker_config,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            ",",
            "auths",
            "ghcr.io",
            "https://ghcr.io/",
            "auth",
            "dXNlcjpodW50ZXIuMiE=",
            "credsStore",
            "credHelpers",
            "null",
            "{}",
            "user",
            ":",
        ],
        large: large::json,
    },
];

fn request(bytes: &[u8]) {
    let request = match Request::parse(bytes) {
        Ok(request) => request,
        Err(refused) => {
            short(&refused.message, 500);
            return keeps_the_secret(&refused.message);
        }
    };
    assert!(bytes.len() <= REQUEST_BYTES);
    match &request.body {
        Body::Deploy(deploy) => {
            // It is remembered a thousand times over, and its version becomes an image's tag.
            assert!(deploy.version.to_string().len() <= 128, "no tag can hold this version");
            assert!(deploy.run.len() <= 2048 && !deploy.run.contains(char::is_control));
            assert!(deploy.environment.len() <= ENVIRONMENT_ENTRIES);
            assert!(!deploy.environment.values().any(|value| value.reveal().contains('\0')));
            if let Some(credential) = &deploy.credential {
                let length = credential.username.len().max(credential.password.reveal().len());
                assert!(length <= TEXT_BYTES && !credential.password.reveal().contains(char::is_control));
            }
        }
        Body::Rollback(rollback) => {
            assert!(rollback.to.as_ref().is_none_or(|version| version.to_string().len() <= 128));
            assert!(rollback.run.len() <= 2048 && !rollback.run.contains(char::is_control));
            if let Some(deployment) = &rollback.reverts {
                assert!(rollback.to.is_none() && *deployment != rollback.deployment);
            }
        }
        Body::Status { .. } => {}
        Body::Logs { lines } => assert!((1..=LOG_LINES).contains(lines)),
        Body::History { entries } => assert!((1..=HISTORY_ENTRIES).contains(entries)),
    }
    assert!(!format!("{request:?}").contains(SECRET) || !text(bytes).contains("password"));
    if bytes.len() < REQUEST_BYTES / 2 {
        let line = request.to_line().expect("what was read can be written");
        let line = line.reveal().trim_end_matches('\n');
        assert!(!line.contains('\n'), "a request is one line");
        assert_eq!(Request::parse(line.as_bytes()), Ok(request));
    }
}

fn state_file(bytes: &[u8]) {
    let path = Path::new("state.json");
    match state::read(path, bytes) {
        Ok(state) => {
            let written = state::written(&state).expect("what was read can be written");
            assert_eq!(state::read(path, &written).expect("and read"), state);
            for container in state.containers() {
                assert_eq!(container.as_str().len(), 64);
            }
        }
        Err(error) => short(&error.to_string(), 2000),
    }
}

fn journal_file(bytes: &[u8]) {
    let reading = journal::read_from(bytes).expect("reading from memory works");
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(reading.entries.len() + reading.foreign <= lines);
    assert!(!reading.torn || !bytes.ends_with(b"\n"));
    let mut again = Vec::new();
    for entry in &reading.entries {
        again.extend(serde_json::to_vec(entry).expect("an entry can be written"));
        again.push(b'\n');
    }
    let expected = journal::JournalReading { entries: reading.entries, foreign: 0, torn: false };
    assert_eq!(journal::read_from(again.as_slice()).expect("reading from memory works"), expected);
    // What is cut off at its end costs nothing but itself.
    let first = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let mut torn = bytes[..first].to_vec();
    torn.extend(b"{\"at\":\"20");
    assert!(journal::read_from(torn.as_slice()).expect("reading from memory works").torn);
}

/// The first line is the image, the rest the file.
fn docker_config(bytes: &[u8]) {
    let text = text(bytes);
    let (image, file) = first_line(&text);
    let Ok(image) = image.parse() else { return };
    match credentials_in(file, &image) {
        Ok(Some(found)) => {
            let pair = format!("{}:{}", found.username, found.password.reveal());
            let code = base64::engine::general_purpose::STANDARD.encode(pair);
            assert!(!found.username.contains(':') && !found.password.reveal().is_empty());
            assert!(file.contains("auths") && !code.is_empty());
            assert!(!format!("{found:?}").contains(SECRET));
        }
        Ok(None) => {}
        // A helper's name is told, so only what is no name can be looked for.
        Err(why) => keeps_the_secret(&why),
    }
}
