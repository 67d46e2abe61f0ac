//! Whose words about the client reach the application.

use autotag_proxy::admin::{AdminAnswer, Command};

use crate::proxy::app::App;
use crate::proxy::stage::{Stage, soon};

/// What the application sees of a request with these fields.
async fn seen(trusted: bool, headers: &[&str], fields: &str) -> Vec<String> {
    let app = App::start("a").await;
    let stage = Stage::new().await;
    let mut route = stage.route("web");
    if trusted {
        route.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
    }
    route.trusted_headers = headers.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(stage.call(&Command::Route { route }).await, AdminAnswer::Done {});
    stage.swap(&app).await;
    let request = format!("GET /head HTTP/1.1\r\nHost: a\r\n{fields}Connection: close\r\n\r\n");
    let all = stage.raw(request.as_bytes()).await;
    let (_, body) = all.split_once("\r\n\r\n").expect("a head");
    let mut lines: Vec<String> = body.lines().skip(1).map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

const ALL: &str = "X-Forwarded-For: 6.6.6.6, 198.51.100.7\r\nX-Forwarded-Proto: https\r\n\
                   X-Forwarded-Host: front.example\r\nX-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
                   X-Forwarded-Prefix: /evil\r\nX-Forwarded-User: admin\r\nX-Forwarded-Port: 1\r\n\
                   X-Forwarded: 1\r\nTrue-Client-IP: 6.6.6.6\r\nX-Original-URL: /admin\r\nRemote-User: admin\r\n\
                   X_Forwarded_Prefix: /evil\r\nX.Real.IP: 6.6.6.6\r\nX_Forwarded_For: 6.6.6.6\r\n";

/// Of a trusted front proxy three fields count, and no other word.
// case X7; broken by: every word of a trusted peer counts
pub async fn three_words_of_a_front_proxy_count() {
    assert_eq!(
        seen(true, &[], ALL).await,
        [
            "host: a",
            "x-forwarded-for: 6.6.6.6, 198.51.100.7, 127.0.0.1",
            "x-forwarded-host: front.example",
            "x-forwarded-proto: https",
            "x-real-ip: 198.51.100.7",
        ]
    );
    assert_eq!(
        seen(false, &["x-forwarded-prefix"], ALL).await,
        [
            "host: a",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: a",
            "x-forwarded-proto: http",
            "x-real-ip: 127.0.0.1",
        ]
    );
}

/// And those that the app file names, spelled as they are named.
// case X7; broken by: `Claims::count` knows the three words alone
pub async fn named_headers_count_too() {
    let lines =
        seen(true, &["x-forwarded-prefix", "x-tenant"], &format!("{ALL}X-Tenant: 7\r\nX_Tenant: 8\r\n"))
            .await;
    assert!(lines.contains(&"x-forwarded-prefix: /evil".to_owned()), "{lines:?}");
    assert!(lines.contains(&"x-tenant: 7".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains('_')), "{lines:?}");
    let strangers = seen(false, &["x-tenant"], "X-Tenant: 7\r\n").await;
    assert!(!strangers.iter().any(|line| line.contains("tenant")), "{strangers:?}");
}

/// A client takes out none of a front proxy's words by naming them in `Connection`.
// case X9; broken by: `Connection` takes out whatever it names
pub async fn connection_takes_out_no_word_of_the_front() {
    let fields = "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-Proto: https\r\nX-Tenant: 7\r\nX-Mine: 1\r\n\
                  Connection: close, X-Forwarded-For, x-forwarded-proto, X-Tenant, x-mine\r\n";
    assert_eq!(
        seen(true, &["x-tenant"], fields).await,
        [
            "host: a",
            "x-forwarded-for: 198.51.100.7, 127.0.0.1",
            "x-forwarded-host: a",
            "x-forwarded-proto: https",
            "x-real-ip: 198.51.100.7",
            "x-tenant: 7",
        ]
    );
}

/// What looks alike to servers of the CGI family, of anybody.
// case X9; broken by: `folded` leaves names as they are
pub async fn look_alikes_are_dropped() {
    for name in [
        "X.Forwarded.For",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "X_Real-IP",
        "X!Forwarded~Host",
        "Client_IP",
    ] {
        for trusted in [true, false] {
            let lines = seen(trusted, &[], &format!("{name}: 6.6.6.6\r\n")).await;
            assert!(!lines.iter().any(|line| line.contains("6.6.6.6")), "{name} {trusted}: {lines:?}");
        }
    }
}

/// Trailers reach the application, but for those that its server would take for a word of the head's.
// case X9; broken by: `clean_trailers` does nothing
pub async fn trailers_say_nothing_of_the_client() {
    let stage = Stage::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let to = autotag_proxy::upstream::Target { id: "a".to_owned(), address };
    stage.point_at(Some(to)).await;
    let request =
        b"POST / HTTP/1.1\r\nHost: a\r\nTrailer: x-sum, x-forwarded-for, x_real_ip, authorization\r\n\
                    Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 7\r\nX-Forwarded-For: 6.6.6.6\r\n\
                    X_Real_IP: 6.6.6.6\r\nAuthorization: evil\r\n\r\n";
    let app = async {
        let (mut stream, _) = soon(listener.accept()).await.expect("accepted");
        let head = crate::proxy::stage::read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("x-forwarded-for: 127.0.0.1\r\n"), "{head}");
        let body = crate::proxy::stage::read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(body.to_lowercase(), "1\r\na\r\n0\r\nx-sum: 7\r\n\r\n");
    };
    tokio::select! {
        () = app => {}
        seen = stage.raw(request) => panic!("the application was not asked: {seen}"),
    }
}
