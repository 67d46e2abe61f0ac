//! What the traffic proxy reads besides HTTP itself: commands, networks, fields.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use autotag_proxy::admin::Command;
use autotag_proxy::messages::headers::{Claims, Origin, to_app, to_client, visitor};
use autotag_proxy::messages::validity;
use autotag_proxy::trust::{Peer, Trusted};
use http::{HeaderMap, Request, Version, header};

use super::{Entry, first_line, headers, large, short, text};

const FIELDS: &[&str] = &[
    "host: ",
    "connection: ",
    "close",
    "upgrade",
    "upgrade: ",
    "websocket",
    "h2c",
    "keep-alive",
    "te: ",
    "trailers",
    "transfer-encoding: ",
    "chunked",
    "gzip",
    "content-length: ",
    "5",
    "+5",
    ", ",
    "\n",
    "x-forwarded-for: ",
    "X_Forwarded_For: ",
    "x-real-ip: ",
    "forwarded: ",
    "203.0.113.9",
    "cookie: a=b",
    "a.example",
    ":80",
    "[::1]",
    "proxy: ",
    "user@",
    "é",
    "http2-settings: ",
    "GET / 1.1",
    "POST http://b.example/ 1.1",
    "OPTIONS * 1.1",
];

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        name: "admin-command",
        check: admin_command,
        words: &[
            "{\"do\":\"",
            "routes",
            "swap",
            "drain",
            "status",
            "\"",
            ",\"",
            "\":",
            "app",
            "listen",
            "127.0.0.1:8080",
            "unix:/run/app.sock",
            "hosts",
            "[",
            "]",
            "trusted_proxies",
            "trusted_headers",
            "answer_timeout_ms",
            "10.0.0.0/8",
            "to",
            "null",
            "id",
            "address",
            "deadline_ms",
            "0",
            "18446744073709551615",
            "}",
            "{",
            ",",
        ],
        large: |size| {
            let mut all = large::json(size);
            let route = "{\"app\":\"a\",\"listen\":\"[::]:80\"}";
            all.push(large::framed(
                &format!("{{\"do\":\"routes\",\"routes\":[{route}"),
                &format!(",{route}"),
                "]}",
                size,
            ));
            all.push(large::framed("{\"do\":\"", "x", "\"}", size));
            all
        },
    },
    Entry {
        name: "trusted-network",
        check: trusted_network,
        words: &[
            "10.0.0.0",
            "/",
            "8",
            "32",
            "33",
            "128",
            "0",
            "::",
            "::ffff:10.0.0.1",
            "fd00::",
            "unix",
            "\n",
            "+",
            "127.0.0.1",
            "255",
        ],
        large: large::plain,
    },
    Entry {
        name: "forwarded-fields",
        check: forwarded_fields,
        words: FIELDS,
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed("connection: ", "x-a, ", "\n", size));
            all.push(large::repeated("connection: close, x-a\n", size));
            all.push(large::repeated("x-forwarded-for: 203.0.113.9\n", size));
            all.push(large::repeated("cookie: a=b\n", size));
            all.push(large::framed("upgrade: ", "h2,", "\nconnection: upgrade\n", size));
            all
        },
    },
    Entry {
        name: "request-head",
        check: request_head,
        words: FIELDS,
        large: |size| {
            let mut all = large::plain(size);
            all.push(large::framed("GET / 1.1\nhost: ", "a.", "\n", size));
            all.push(large::framed("GET / 1.1\nhost: a\ntransfer-encoding: ", "chunked,", "\n", size));
            all.push(large::framed("GET / 1.1\nhost: a\n", "connection: host\n", "", size));
            all
        },
    },
];

fn admin_command(bytes: &[u8]) {
    match serde_json::from_slice::<Command>(bytes) {
        Ok(command) => {
            let line = serde_json::to_vec(&command).expect("a command can be written");
            assert!(!line.contains(&b'\n'), "a command is one line");
            assert_eq!(serde_json::from_slice::<Command>(&line).expect("and read"), command);
        }
        // It goes back to the owner, who sent it.
        Err(error) => short(&error.to_string(), bytes.len() * 6 + 500),
    }
}

/// The first line is the network, the others are peers.
fn trusted_network(bytes: &[u8]) {
    let text = text(bytes);
    let (network, peers) = first_line(&text);
    let Ok(trusted) = network.parse::<Trusted>() else { return };
    let printed = String::from(trusted);
    assert_eq!(printed.parse::<Trusted>(), Ok(trusted), "{printed}");
    let Trusted::Network(network) = trusted else {
        return assert!(trusted.covers(Peer::Unix));
    };
    let (address, prefix) = (network.addr(), usize::from(network.prefix_len()));
    assert!(trusted.covers(Peer::Ip(address)), "its own address");
    assert!(!trusted.covers(Peer::Unix));
    for peer in peers.lines().filter_map(|line| line.parse::<IpAddr>().ok()) {
        // Bit by bit.
        let bits = |address: IpAddr| match address {
            IpAddr::V4(address) => format!("{:032b}", address.to_bits()),
            IpAddr::V6(address) => format!("{:0128b}", address.to_bits()),
        };
        let canonical = peer.to_canonical();
        let same_kind = canonical.is_ipv4() == address.is_ipv4();
        let expected = same_kind && bits(canonical)[..prefix] == bits(address)[..prefix];
        assert_eq!(trusted.covers(Peer::Ip(peer)), expected, "{printed} {peer}");
    }
}

fn forwarded_fields(bytes: &[u8]) {
    let given = headers(bytes);
    let names = |headers: &HeaderMap| headers.keys().map(|name| name.as_str().to_owned()).collect::<Vec<_>>();
    for (address, version) in [
        (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), Version::HTTP_11),
        (IpAddr::V6(Ipv6Addr::LOCALHOST), Version::HTTP_2),
    ] {
        for trusted in [false, true] {
            let claims = Claims::new(trusted, &std::sync::Arc::default());
            let peer = Peer::Ip(address);
            let visitor = visitor(&given, peer, |other| trusted && other == peer);
            let origin = Origin { peer, visitor, claims: &claims, host: "a.example" };
            let mut sent = given.clone();
            let upgrade = to_app(&mut sent, version, &origin);
            assert!(upgrade.is_none() || version == Version::HTTP_11);
            for gone in ["transfer-encoding", "keep-alive", "proxy", "http2-settings", "proxy-authorization"]
            {
                assert!(!sent.contains_key(gone), "{gone} is passed on");
            }
            // What the application may believe: the last address is the one that we saw.
            let chain: Vec<_> = sent.get_all("x-forwarded-for").iter().collect();
            assert_eq!(chain.len(), 1);
            assert!(text(chain[0].as_bytes()).ends_with(&address.to_string()));
            assert!(visitor.is_some_and(|visitor| sent["x-real-ip"] == visitor.to_string()));
            if !trusted {
                assert_eq!(text(chain[0].as_bytes()), address.to_string());
                assert_eq!(sent["x-forwarded-proto"], "http");
                assert_eq!(sent["x-forwarded-host"], "a.example");
                for name in names(&sent) {
                    let plain = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
                    let ours = matches!(
                        name.as_str(),
                        "x-forwarded-for" | "x-forwarded-proto" | "x-forwarded-host" | "x-real-ip"
                    );
                    assert!(
                        ours || !(plain.starts_with("x-forwarded-")
                            || matches!(plain.as_str(), "forwarded" | "x-forwarded")
                            || plain == "x-real-ip")
                    );
                }
            }
            assert!(sent.get_all(header::COOKIE).iter().count() <= 1);
            // Names of two origins must not stand side by side for a server that reads `_` as `-`.
            let twins = |name: &String| {
                let plain = name.replace('_', "-");
                plain != *name && (plain.starts_with("x-forwarded-") || plain == "x-forwarded")
            };
            assert!(!names(&sent).iter().any(twins));
        }
    }
    let mut answer = given.clone();
    to_client(&mut answer);
    let mut again = answer.clone();
    to_client(&mut again);
    assert_eq!(names(&again), names(&answer), "once is enough");
}

/// `METHOD TARGET VERSION`, then header lines.
fn request_head(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let first = text(&bytes[..at]);
    let mut words = first.split(' ');
    let (method, target, version) = (words.next(), words.next().unwrap_or_default(), words.next());
    let version = match version {
        Some("1.0") => Version::HTTP_10,
        Some("2") => Version::HTTP_2,
        _ => Version::HTTP_11,
    };
    let built = Request::builder().method(method.unwrap_or_default()).uri(target).version(version).body(());
    let Ok(request) = built else { return };
    let (mut parts, ()) = request.into_parts();
    parts.headers = headers(bytes.get(at + 1..).unwrap_or_default());
    match validity::check(&parts) {
        Ok(Some(host)) => {
            assert!(!host.is_empty() && !host.contains(['/', '@', ' ', '\\', ',']), "{host:?}");
            let name = validity::host_name(&host);
            assert!(
                name == name.to_ascii_lowercase() && !name.contains(':') || name.starts_with('['),
                "{name:?}"
            );
            assert!(name.len() <= 255);
            assert!(parts.headers.get_all(header::HOST).iter().count() <= 1);
        }
        Ok(None) => assert_eq!(version, Version::HTTP_10),
        Err(refusal) => assert!(refusal.status.is_client_error() || refusal.status.is_server_error()),
    }
    if validity::check(&parts).is_ok() {
        let lengths: Vec<_> = parts.headers.get_all(header::CONTENT_LENGTH).iter().collect();
        assert!(lengths.windows(2).all(|pair| pair[0] == pair[1]));
        assert!(lengths.is_empty() || !parts.headers.contains_key(header::TRANSFER_ENCODING));
    }
}
