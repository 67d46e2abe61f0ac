//! What the receiver reads: requests, the owner's files, its own state and journal.

use std::path::Path;
use std::time::Duration;

use autotag_protocol::{
    Body, ENVIRONMENT_ENTRIES, HISTORY_ENTRIES, LOG_LINES, REQUEST_BYTES, Request, TEXT_BYTES,
};
use autotag_receiver::config::app_file::values::env_file;
use autotag_receiver::config::app_file::{AppFile, FILE_BYTES, LABEL_PREFIX, Source, Traffic};
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
        name: "app-file",
        check: app_file,
        words: &[
            "image: ghcr.io/org/app\n",
            "port: 80\n",
            "listen: 8080\n",
            "proxy: none\n",
            "health: ",
            "smoke:\n",
            "- ",
            "  ",
            "path: /",
            "status: ",
            "command: ",
            "environment:\n",
            "A: b\n",
            "volumes: [",
            "data:/data",
            "tmpfs: ",
            "ports: ",
            "security_opt: ",
            "/tmp:size=1m",
            "53:53/udp",
            "{type: bind, source: /a, target: /b}",
            "]\n",
            ", ",
            "&a ",
            "*a",
            "<<: ",
            "!tag ",
            "!literal ",
            "$HOME",
            "${A:-b}",
            "$$",
            "|\n",
            ">\n",
            "\"",
            "'",
            "{",
            "}",
            "[",
            "]",
            ": ",
            "#",
            "? ",
            "---\n",
            "1e9",
            "~",
            "0x1F",
            "keep: 5\n",
            "drain: 1m\n",
            "restart: no\n",
            "hosts",
            "\t",
            "é",
            "@",
            "`",
            "%",
            "|",
            "[::]:80",
            "gpus: all\n",
        ],
        large: |size| {
            let size = size.min(FILE_BYTES - 200);
            let key = "k".repeat(size / 2);
            let mut all = large::plain(size);
            all.push(large::repeated("k: 1\n", size));
            all.push(large::framed("image: [", "1,", "1]", size));
            all.push(large::framed(&format!("? {key}\n: ["), "1,", "1]", size / 2));
            all.push(large::framed(&format!("? {key}\n: "), "[", "1", size / 2));
            all.push(large::framed(&format!("a: &a {key}\nb: ["), "*a,", "*a]", size / 2));
            all.push(large::framed("a: &a [x,x]\n", "b: &a [*a,*a]\n", "", size));
            all.push(laughs(size));
            all.push(large::framed("environment:\n", "  - 1\n", "", size));
            all.push(large::framed("a: ", "9", "", size));
            all.push(large::framed("a: |\n", " \n", "", size));
            all.push(large::repeated("# a\n", size));
            all.push(large::repeated("&a ", size));
            all.push(large::repeated("- ", size));
            all.push(large::repeated("? ", size));
            all.push(large::repeated("{a: ", size));
            all
        },
    },
    Entry {
        name: "env-file",
        check: env_text,
        words: &[
            "A",
            "B_1",
            "=",
            "\"",
            "'",
            " ",
            "#",
            "\\n",
            "\\\"",
            "\\",
            "\n",
            "\r\n",
            "$HOME",
            "${A}",
            "${A:-",
            "}",
            "$",
            ": ",
            "#ff0000",
            "\u{feff}",
            "a.b-c",
            "export ",
            "\0",
            "hunter.2!",
        ],
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::repeated("A=\"\n", size));
            all.push(large::repeated("A=1\n", size));
            all.push(large::framed("A=\"", "\\", "", size));
            all.push(large::framed("A=", " ", "b", size));
            all.push(large::framed("A=", "$A", "", size));
            all.push(large::framed("A=1\nB=", "$A", "", size));
            all.push(large::framed("A=1\nB=", "${A:+", "", size));
            all.push(large::repeated("A='\nB=\"\\\"\n", size));
            all.push(large::framed("A=\"", "\n", "", size));
            all
        },
    },
    Entry {
        name: "quantities",
        check: quantities,
        words: &[
            "1",
            "0",
            "9",
            "18446744073709551615",
            ".",
            "5",
            "h",
            "m",
            "s",
            "ms",
            "us",
            "k",
            "kb",
            "g",
            "b",
            "+",
            "-",
            " ",
            "e",
            "1h",
            "30m",
            "é",
            "_",
        ],
        large: |size| large::plain(size.min(FILE_BYTES / 2)),
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

/// The "billion laughs": each line is ten of the one before.
fn laughs(size: usize) -> Vec<u8> {
    let mut text = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for number in 1.. {
        let before = format!("*a{},", number - 1).repeat(10);
        let line = format!("a{number}: &a{number} [{before}]\n");
        if text.len() + line.len() > size {
            return text.into_bytes();
        }
        text.push_str(&line);
    }
    text.into_bytes()
}

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

fn app_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = match AppFile::parse(text) {
        Ok(file) => file,
        Err(faults) => {
            assert!(!faults.as_slice().is_empty());
            return short(&faults.to_string(), 64 * 1024);
        }
    };
    assert!(text.len() <= FILE_BYTES);
    assert_eq!(AppFile::parse(&format!("{text}\n# the same\n")).as_ref(), Ok(&file));
    let absolute = |path: &Path| {
        let shown = path.to_string_lossy();
        assert!(shown.starts_with('/') && !shown.split('/').any(|part| part == ".."), "{shown}");
        assert!(!shown.contains(char::is_control), "{shown:?}");
    };
    let container = &file.container;
    // Docker's forms take what is behind a colon for something else.
    let place = |path: &Path| {
        absolute(path);
        assert!(!path.to_string_lossy().contains(':') && path != Path::new("/"), "{}", path.display());
    };
    container.tmpfs.iter().for_each(|tmpfs| place(tmpfs.target()));
    container.working_dir.iter().for_each(|path| absolute(path));
    file.env_files.iter().for_each(|path| absolute(path));
    for mount in &container.volumes {
        place(&mount.target);
        match &mount.source {
            Source::Path(path) => absolute(path),
            Source::Volume(name) => assert!(!name.contains(['/', ':'])),
        }
    }
    assert!(!container.labels.keys().any(|label| label.starts_with(LABEL_PREFIX)));
    assert!(
        !container.networks.iter().any(|name| matches!(name.as_str(), "host" | "none") || name.contains(':'))
    );
    assert!((1..=100).contains(&file.keep) && file.health.stable < file.health.deadline);
    assert!(container.command.as_ref().is_none_or(|words| !words.is_empty()));
    match &file.traffic {
        Traffic::Proxied { port, drain, .. } => assert!(*port > 0 && *drain <= Duration::from_hours(1)),
        Traffic::Unproxied { port } => assert!(*port != Some(0)),
    }
}

fn env_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let variables = match env_file::parse(text) {
        Ok(variables) => variables,
        Err(faults) => return faults.iter().for_each(|fault| keeps_the_secret(&fault.to_string())),
    };
    assert!(variables.len() <= text.lines().count());
    // Written in double quotes they are the same.
    let mut written = String::new();
    for (key, value) in &variables {
        assert!(!value.reveal().contains('\0'));
        let value = value.reveal().replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$");
        let value = value.replace('\n', "\\n").replace('\r', "\\r");
        written.extend([key.as_str(), "=\"", &value, "\"\n"]);
    }
    assert_eq!(env_file::parse(&written).as_ref(), Ok(&variables));
}

/// One text, read as each kind of quantity that an app file has.
fn quantities(bytes: &[u8]) {
    let text = text(bytes);
    let quoted = serde_json::to_string(&text).expect("a text");
    let read =
        |key: &str| AppFile::parse(&format!("image: ghcr.io/org/app\nproxy: none\n{key}: {quoted}\n")).ok();
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    let mut accepted = false;
    if let Some(time) = read("stop_grace_period").and_then(|file| file.container.stop_grace_period) {
        accepted = true;
        assert!(time <= Duration::from_hours(1));
        let micros = time.as_micros();
        let (hours, rest) = (micros / 3_600_000_000, micros % 3_600_000_000);
        let again = format!("{hours}h{}m{}us", rest / 60_000_000, rest % 60_000_000);
        let file = AppFile::parse(&format!("image: a\nproxy: none\nstop_grace_period: {again}\n"));
        assert_eq!(file.ok().and_then(|file| file.container.stop_grace_period), Some(time), "{text:?}");
    }
    if let Some(bytes) = read("shm_size").and_then(|file| file.container.shm_size) {
        accepted = true;
        assert!(i64::try_from(bytes).is_ok());
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            assert_eq!(text.trim_start_matches('0'), bytes.to_string().trim_start_matches('0'));
        }
    }
    if let Some(bytes) = read("mem_limit").and_then(|file| file.container.mem_limit) {
        assert!(bytes >= 6 << 20);
    }
    if let Some(billionths) = read("cpus").and_then(|file| file.container.cpus) {
        accepted = true;
        let told: f64 = text.parse().expect("a number");
        #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
        let read = billionths as f64 / 1e9;
        assert!(billionths > 0 && (told - read).abs() < 1e-6, "{text:?} is {read}");
    }
    if let Some(number) = read("pids_limit").and_then(|file| file.container.pids_limit) {
        accepted = true;
        assert!(number > 0 && text.trim_start_matches('0') == number.to_string(), "{text:?} is {number}");
    }
    assert!(!accepted || plain, "{text:?}");
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
    let expected = journal::Reading { entries: reading.entries, foreign: 0, torn: false };
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
