//! What the server's owner writes: the app file, its environment files, and its quantities.

use std::path::Path;
use std::time::Duration;

use autotag_receiver::config::app_file::values::env_file;
use autotag_receiver::config::app_file::{AppFile, FILE_BYTES, LABEL_PREFIX, Source, Traffic};

use super::{Entry, keeps_the_secret, large, short, text};

pub(super) const ENTRIES: &[Entry] = &[
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
        let reported: f64 = text.parse().expect("a number");
        #[expect(clippy::cast_precision_loss, reason = "compared with a tolerance")]
        let read = billionths as f64 / 1e9;
        assert!(billionths > 0 && (reported - read).abs() < 1e-6, "{text:?} is {read}");
    }
    if let Some(number) = read("pids_limit").and_then(|file| file.container.pids_limit) {
        accepted = true;
        assert!(number > 0 && text.trim_start_matches('0') == number.to_string(), "{text:?} is {number}");
    }
    assert!(!accepted || plain, "{text:?}");
}
