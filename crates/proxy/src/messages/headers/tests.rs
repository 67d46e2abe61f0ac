use proptest::prelude::*;

use super::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(
            name.parse::<HeaderName>().expect("a name"),
            HeaderValue::from_str(value).expect("a value"),
        );
    }
    headers
}

const PEER: Peer = Peer::Ip(IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)));

fn asked(headers: &mut HeaderMap, version: Version, claims: &Claims) -> Option<HeaderValue> {
    let visitor = visitor(headers, PEER, |peer| claims.trusted() && peer == PEER);
    to_app(headers, version, &Origin { peer: PEER, visitor, claims, host: "a.example" })
}

fn sent(fields: &[(&str, &str)], trusted: bool) -> HeaderMap {
    let mut headers = map(fields);
    asked(&mut headers, Version::HTTP_11, &Claims::new(trusted, &Arc::default()));
    headers
}

const ADDED: [(&str, &str); 4] = [
    ("x-forwarded-for", "203.0.113.9"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "a.example"),
    ("x-real-ip", "203.0.113.9"),
];

#[test]
fn what_concerns_the_connection_goes_no_further() {
    let headers = sent(
        &[
            ("connection", "close, X-Secret"),
            ("connection", "Other"),
            ("x-secret", "1"),
            ("other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("te", "gzip"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "x"),
            ("expect", "100-continue"),
            ("proxy", "evil"),
            ("authorization", "Bearer x"),
            ("trailer", "x-sum"),
        ],
        false,
    );
    let mut expected = map(&[("authorization", "Bearer x"), ("trailer", "x-sum")]);
    expected.extend(map(&ADDED));
    assert_eq!(headers, expected);
}

#[test]
fn a_client_cannot_have_the_origin_taken_out() {
    let headers = sent(&[("connection", "x-forwarded-for, x-forwarded-proto")], false);
    assert_eq!(headers, map(&ADDED));
}

#[test]
fn only_the_trusted_speak_of_origin() {
    let claims = [
        ("x-forwarded-for", "198.51.100.1"),
        ("x-forwarded-for", "198.51.100.2"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "front.example"),
        ("x-forwarded-port", "443"),
        ("forwarded", "for=198.51.100.1"),
        ("x-real-ip", "198.51.100.1"),
        ("x_forwarded_for", "10.0.0.1"),
    ];
    assert_eq!(sent(&claims, false), map(&ADDED));
    let believed = sent(&claims, true);
    assert_eq!(
        believed,
        map(&[
            ("x-forwarded-for", "198.51.100.1, 198.51.100.2, 203.0.113.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "front.example"),
            ("x-real-ip", "198.51.100.2"),
        ])
    );
}

#[test]
fn the_visitor_is_the_nearest_who_is_not_trusted() {
    let trusts = |peer| match peer {
        Peer::Ip(address) => address.to_string().starts_with("10."),
        Peer::Unix => true,
    };
    let front: Peer = Peer::Ip([10, 0, 0, 1].into());
    for (peer, lines, expected) in [
        (front, &[][..], Some("10.0.0.1")),
        (front, &["6.6.6.6, 198.51.100.7"], Some("198.51.100.7")),
        (front, &["6.6.6.6", "198.51.100.7, 10.0.0.2"], Some("198.51.100.7")),
        (front, &["6.6.6.6, unknown, 10.0.0.2"], Some("10.0.0.2")),
        (front, &["2001:db8::7"], Some("2001:db8::7")),
        (front, &["[2001:db8::7]:4711"], Some("2001:db8::7")),
        (front, &["[2001:db8::7]"], Some("2001:db8::7")),
        (front, &["198.51.100.7:4711"], Some("198.51.100.7")),
        (front, &["::ffff:198.51.100.7"], Some("198.51.100.7")),
        (PEER, &["6.6.6.6"], Some("203.0.113.9")),
        (Peer::Unix, &["6.6.6.6, 198.51.100.7"], Some("198.51.100.7")),
        (Peer::Unix, &[], None),
    ] {
        let fields: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
        let found = visitor(&map(&fields), peer, trusts).map(|address| address.to_string());
        assert_eq!(found.as_deref(), expected, "{peer} {lines:?}");
    }
}

#[test]
fn spellings_of_origin_headers_are_recognised() {
    let further: Arc<[HeaderName]> = Arc::from([HeaderName::from_static("x-tenant")]);
    let claims = Claims::new(true, &further);
    for name in [
        "x-forwarded-for",
        "x.forwarded.for",
        "x_real_ip",
        "x-tenant",
        "x_tenant",
        "x-forwarded-anything",
        "true-client-ip",
        "remote_user",
    ] {
        let name: HeaderName = name.parse().expect("a name");
        assert!(claims.concern(&name), "{name}");
        let counts = ["x-forwarded-for", "x-tenant"].contains(&name.as_str());
        assert_eq!(claims.count(&name), counts, "{name}");
    }
    for name in ["x-request-id", "forwarded-by", "user-agent", "x-tenants", "host"] {
        assert!(!claims.concern(&name.parse().expect("a name")), "{name}");
    }
}

#[test]
fn a_peer_on_a_unix_socket_has_no_address() {
    let mut headers = map(&[("x-forwarded-for", "198.51.100.1")]);
    let claims = Claims::new(true, &Arc::default());
    let origin = Origin { peer: Peer::Unix, visitor: None, claims: &claims, host: "" };
    to_app(&mut headers, Version::HTTP_11, &origin);
    assert_eq!(headers, map(&[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "http")]));
}

#[test]
fn upgrades_are_asked_for_properly_or_not_at_all() {
    for (version, fields, protocols) in [
        (
            Version::HTTP_11,
            &[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")][..],
            Some("websocket"),
        ),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "foo/2")], Some("foo/2")),
        (Version::HTTP_11, &[("upgrade", "websocket")], None),
        (Version::HTTP_11, &[("connection", "upgrade")], None),
        (Version::HTTP_11, &[("connection", "upgrade, http2-settings"), ("upgrade", "H2C")], None),
        (Version::HTTP_11, &[("connection", "upgrade"), ("upgrade", "websocket, h2c")], None),
        (Version::HTTP_10, &[("connection", "upgrade"), ("upgrade", "websocket")], None),
    ] {
        let mut headers = map(fields);
        let asked = asked(&mut headers, version, &Claims::default());
        assert_eq!(asked.as_ref().and_then(|value| value.to_str().ok()), protocols, "{fields:?}");
        let passed = headers.get(header::UPGRADE).and_then(|value| value.to_str().ok());
        assert_eq!(passed, protocols, "{fields:?}");
        let connection = headers.get(header::CONNECTION).and_then(|value| value.to_str().ok());
        assert_eq!(connection, protocols.map(|_| "upgrade"), "{fields:?}");
    }
}

#[test]
fn trailers_are_still_wanted_behind_the_proxy() {
    let headers = sent(&[("te", "deflate, Trailers"), ("connection", "te")], false);
    assert_eq!(
        (&headers[header::TE], &headers[header::CONNECTION]),
        (&HeaderValue::from_static("trailers"), &HeaderValue::from_static("te"))
    );
}

#[test]
fn crumbs_of_a_cookie_become_one() {
    let headers = sent(&[("cookie", "a=1"), ("cookie", "b=2; c=3")], false);
    let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    assert_eq!(cookies, ["a=1; b=2; c=3"]);
}

#[test]
fn via_names_each_hop() {
    let mut headers = map(&[("via", "1.1 front")]);
    add_via(&mut headers, Version::HTTP_2, "autotag");
    let hops: Vec<_> = headers.get_all(header::VIA).iter().collect();
    assert_eq!(hops, ["1.1 front", "2 autotag"]);
}

/// Names that matter to a proxy, in each case and with `_`, among others that do not.
fn names() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "transfer-encoding",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x_forwarded_for",
            "forwarded",
            "x-real-ip",
            "cookie",
            "host",
            "x-a",
            "x-b",
        ])
        .prop_map(str::to_owned),
        "[a-z][a-z0-9_-]{0,12}",
    ]
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "close",
            "x-a, x-b",
            "Upgrade",
            "websocket",
            "trailers",
            "X-Forwarded-For",
            ", ,",
            "chunked",
        ])
        .prop_map(str::to_owned),
        "[ -~\t]{0,20}",
    ]
}

proptest! {
    #[test]
    fn whatever_a_client_sends(
        fields in proptest::collection::vec((names(), values()), 0..12),
    ) {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str().trim())).collect();
        let before = map(&fields);
        let headers = sent(&fields, false);
        // Nothing of this connection's own goes on but what is asked for anew.
        for name in ["keep-alive", "proxy-connection", "transfer-encoding", "proxy-authorization"] {
            prop_assert!(!headers.contains_key(name), "{name}");
        }
        let connection: Vec<_> = tokens(&headers, &header::CONNECTION).collect();
        prop_assert!(matches!(connection[..], [] | ["upgrade" | "te"]), "{connection:?}");
        prop_assert_eq!(headers.contains_key(header::UPGRADE), connection == ["upgrade"]);
        for named in tokens(&before, &header::CONNECTION).filter_map(|token| token.parse::<HeaderName>().ok()) {
            let anew = named == header::UPGRADE || named == header::TE || named == header::CONNECTION;
            let ours = Claims::default().concern(&named);
            prop_assert!(anew || ours || !headers.contains_key(&named), "{named}");
        }
        // The origin is what the socket says.
        for (name, value) in ADDED {
            let all: Vec<_> = headers.get_all(name).iter().collect();
            prop_assert_eq!(all, vec![value]);
        }
        let speaking = headers.keys().filter(|name| Claims::default().concern(name)).count();
        prop_assert_eq!(speaking, ADDED.len());
        // What is neither the connection's nor about the origin arrives as it was.
        for name in ["x-a", "x-b"] {
            if !tokens(&before, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(name)) {
                let (was, is): (Vec<_>, Vec<_>) =
                    (before.get_all(name).iter().collect(), headers.get_all(name).iter().collect());
                prop_assert_eq!(was, is, "{}", name);
            }
        }
        // Done twice it changes nothing more, but for the chain of addresses.
        let mut again = headers.clone();
        strip_hop_by_hop(&mut again, |_| false);
        let mut once_more = again.clone();
        strip_hop_by_hop(&mut once_more, |_| false);
        prop_assert_eq!(again, once_more);
    }
}
