//! What a deployment reads: servers' answers, host keys, the key that logs in.

use std::collections::HashSet;

use autotag_deploy::ssh_keys::known_hosts::{HostKeyCheck, KnownHosts};
use autotag_deploy::ssh_keys::private_key::PrivateKey;
use autotag_model::secret::Secret;
use autotag_protocol::{EVENT_BYTES, Event, Lines};

use super::{Entry, first_line, keeps_the_secret, large, short, text};

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "answer",
        check: answer,
        words: &[
            "{\"",
            "\":",
            "\"",
            "}",
            ",",
            "step-started",
            "step",
            "pull",
            "result",
            "end",
            "deployed",
            "{}",
            "log",
            "line",
            "from",
            "application",
            "heartbeat",
            "note",
            "text",
            "milliseconds",
            "0",
            "null",
            "\\u0000",
        ],
        large: |size| {
            let mut all = large::json(size);
            all.push(large::framed("{\"note\":{\"text\":\"", "\\\"", "\"}}", size.min(EVENT_BYTES / 2)));
            all.push(large::framed("{\"", "x", "\":1}", size.min(EVENT_BYTES / 2)));
            all
        },
    },
    Entry {
        name: "lines",
        check: lines,
        words: &["a", "bc", "\n", "\r\n", "\n\n", "0123456789", "\0"],
        large: large::plain,
    },
    Entry {
        name: "known-hosts",
        check: known_hosts,
        words: &[
            "web1.example.com",
            "[web1.example.com]:2222",
            "*",
            "?",
            "!",
            ",",
            " ",
            "ssh-ed25519",
            "ssh-rsa",
            "AAAAC3NzaC1lZDI1NTE5AAAAIA==",
            "|1|",
            "|",
            "@revoked",
            "@cert-authority",
            "#",
            "\n",
            "SHA256:",
            "MD5:",
            "256",
            "(ED25519)",
        ],
        large: |size| {
            let key = "AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
            let mut all = large::plain(size);
            all.push(large::repeated("aaaaaaaaaaaaaaaaaaab\n", size));
            all.push(large::framed(
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
                "*a",
                &format!("b ssh-ed25519 {key}"),
                size,
            ));
            all.push(large::framed("a\n", &format!("*,!b ssh-ed25519 {key}\n"), "", size));
            all
        },
    },
    Entry {
        name: "private-key",
        check: private_key,
        words: &[
            "-----",
            "BEGIN ",
            "END ",
            "OPENSSH ",
            "RSA ",
            "ENCRYPTED ",
            "PRIVATE KEY",
            "\n",
            "\\n",
            "\r\n",
            "AAAA",
            "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==",
            ":",
            " ",
            "=",
            "PuTTY-User-Key-File-3",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed(
                "-----BEGIN RSA PRIVATE KEY-----\n",
                "AAAA ",
                "\n-----END RSA PRIVATE KEY-----",
                size,
            ));
            all.push(large::repeated("-----BEGIN ", size));
            all.push(large::repeated("\\n", size));
            all
        },
    },
];

fn answer(bytes: &[u8]) {
    match Event::parse(bytes) {
        Ok(answer) => {
            // Written by us it may have more fields than it came with, none of them long.
            if bytes.len() < EVENT_BYTES / 2 {
                let line = answer.to_line().expect("what fitted once fits again");
                assert_eq!(Event::parse(line.trim_end_matches('\n').as_bytes()).as_ref(), Ok(&answer));
                assert_eq!(line.matches('\n').count(), 1, "an answer is one line");
            }
        }
        Err(error) => short(&error.to_string(), 10 * 1024),
    }
}

/// The first byte says how the rest arrives: in pieces of so many bytes, and what the limit is.
fn lines(bytes: &[u8]) {
    let Some((how, stream)) = bytes.split_first() else { return };
    let (piece, limit) = (usize::from(how % 16) + 1, usize::from(how / 16) * 3 + 1);
    let mut reader = Lines::new(limit);
    let mut read = Vec::new();
    let mut failed = false;
    'stream: for mut rest in stream.chunks(piece) {
        while !rest.is_empty() {
            match reader.next(&mut rest) {
                Ok(Some(line)) => read.push(line),
                Ok(None) => assert!(rest.is_empty(), "it waits although there is more"),
                Err(_) => {
                    failed = true;
                    break 'stream;
                }
            }
            assert!(reader.unfinished().len() <= limit, "more than the limit is held");
        }
    }
    // All at once, by the standard library.
    let expected: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    let fitting = expected.iter().take_while(|line| line.len() <= limit).count();
    assert_eq!(failed, fitting < expected.len());
    let whole = fitting.min(expected.len() - 1);
    assert_eq!(read, expected[..whole]);
    if !failed {
        assert_eq!(reader.unfinished(), expected[whole]);
    }
}

/// The first line is the host that is asked for.
fn known_hosts(bytes: &[u8]) {
    let text = text(bytes);
    let (host, file) = first_line(&text);
    let host: String = host.chars().take(253).collect();
    let known = match file.parse::<KnownHosts>() {
        Ok(known) => known,
        Err(fault) => return keeps_the_secret(&fault.to_string()),
    };
    let blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20a key that stands in no line of it.";
    assert_ne!(
        known.accepts(&host, 22, "ssh-ed25519", blob),
        HostKeyCheck::Known,
        "a key that is not listed"
    );
    let algorithms = known.key_types_for(&host, 2222);
    let all: HashSet<_> = algorithms.iter().collect();
    assert_eq!((all.len(), algorithms.len()), (6, 6), "each algorithm once");
    // Comments and empty lines mean nothing.
    assert_eq!(format!("# a\n\n{file}\n").parse::<KnownHosts>(), Ok(known));
}

fn private_key(bytes: &[u8]) {
    let pasted = Secret::verbatim(text(bytes).into_owned());
    let key = match PrivateKey::parse(&pasted) {
        Ok(key) => key,
        Err(fault) => return keeps_the_secret(&fault.to_string()),
    };
    let lines: Vec<&str> = key.reveal().lines().collect();
    assert!(key.reveal().ends_with("-----\n") && lines.len() > 2, "a key has a body");
    for line in &lines {
        // Nobody writes longer labels; a line of the key has 64.
        assert!(line.len() <= 64 && line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line:?}");
    }
    assert_eq!(PrivateKey::parse(&Secret::verbatim(key.reveal().to_owned())).as_ref(), Ok(&key));
    let one_line = key.reveal().replace('\n', "\\n");
    assert_eq!(PrivateKey::parse(&Secret::verbatim(one_line)).as_ref(), Ok(&key));
    assert!(!format!("{key:?}").contains("BEGIN"));
}
