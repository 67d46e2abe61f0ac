//! The real registry, its token server, and the front that pages.

use std::time::Duration;

use reqwest::Response;
use serde_json::{Value, json};

use testkit::clock;
use testkit::images::tiny_image::{INDEX, MANIFEST, TinyImage};
use testkit::network::faults::Fault;
use testkit::network::http::client;
use testkit::network::pager::{Links, Pager};
use testkit::registry::{Auth, Registry};

async fn get(host: &str, path: &str, authorization: Option<&str>) -> Response {
    let mut request =
        client().get(format!("http://{host}{path}")).header("accept", format!("{MANIFEST}, {INDEX}"));
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.send().await.unwrap_or_else(|error| panic!("GET {path}: {error}"))
}

async fn json_of(response: Response) -> Value {
    serde_json::from_slice(&response.bytes().await.expect("a body")).expect("JSON")
}

fn basic(credentials: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(credentials))
}

#[tokio::test]
async fn what_is_put_into_the_storage_is_served() {
    let registry = Registry::start(&Auth::None);
    let first = TinyImage::labelled(&[("version", "1")]);
    let index = TinyImage::index(vec![
        ("amd64", TinyImage::of_architecture("amd64", &[])),
        ("arm64", TinyImage::of_architecture("arm64", &[])),
    ]);
    registry.put("org/app", "1.0.0", &first);
    let digest = registry.put("org/app", "latest", &index);
    assert_eq!(registry.tags("org/app"), ["1.0.0", "latest"]);
    let listed = json_of(get(registry.host(), "/v2/org/app/tags/list", None).await).await;
    let tags = listed["tags"].as_array().expect("tags");
    assert!(tags.len() == 2 && tags.contains(&json!("1.0.0")) && tags.contains(&json!("latest")), "{listed}");
    let served = get(registry.host(), "/v2/org/app/manifests/latest", None).await;
    assert_eq!(served.headers()["docker-content-digest"], digest.as_str());
    assert_eq!(served.bytes().await.expect("a body"), index.manifest);
    let child = index.children[1].digest();
    assert_eq!(get(registry.host(), &format!("/v2/org/app/manifests/{child}"), None).await.status(), 200);

    let put = client()
        .put(format!("http://{}/v2/org/app/manifests/1.0.1", registry.host()))
        .header("content-type", first.media_type)
        .body(first.manifest.clone());
    assert_eq!(put.send().await.expect("an answer").status(), 201, "{}", registry.log());
    assert_eq!(registry.digest("org/app", "1.0.1"), Some(first.digest()));
    assert_eq!(registry.manifest(&first.digest()), Some(first.manifest));
    registry.remove_tag("org/app", "latest");
    assert_eq!(get(registry.host(), "/v2/org/app/manifests/latest", None).await.status(), 404);
}

#[tokio::test]
async fn ten_thousand_tags_are_made_quickly() {
    let registry = Registry::start(&Auth::None);
    let start = clock::start();
    let digest = registry.seed_tags("org/app", 10_000);
    assert!(start.elapsed() < Duration::from_mins(1), "{:?}", start.elapsed());
    let listed = json_of(get(registry.host(), "/v2/org/app/tags/list", None).await).await;
    assert_eq!(listed["tags"].as_array().map(Vec::len), Some(10_000));
    let served = get(registry.host(), "/v2/org/app/manifests/0.0.10000", None).await;
    assert_eq!(served.headers()["docker-content-digest"], digest.as_str());
}

#[tokio::test]
async fn it_asks_for_a_password() {
    let registry = Registry::start(&Auth::basic("ann", "secret"));
    let challenged = get(registry.host(), "/v2/", None).await;
    assert_eq!(
        (challenged.status().as_u16(), &challenged.headers()["www-authenticate"].as_bytes()[..5]),
        (401, &b"Basic"[..])
    );
    assert_eq!(get(registry.host(), "/v2/", Some(&basic("ann:wrong"))).await.status(), 401);
    assert_eq!(get(registry.host(), "/v2/", Some(&basic("ann:secret"))).await.status(), 200);
}

/// Asks the token server as the registry's challenge says.
async fn token(registry: &Registry, scope: &str, credentials: &str) -> (u16, Value) {
    let challenged = get(registry.host(), "/v2/", None).await;
    let challenge = challenged.headers()["www-authenticate"].to_str().expect("text").to_owned();
    let realm = format!("realm=\"{}\"", registry.tokens().realm());
    assert!(challenge.starts_with("Bearer ") && challenge.contains(&realm), "{challenge}");
    let url = format!("{}?service=registry.test&scope={scope}", registry.tokens().realm());
    let response =
        client().get(url).header("authorization", basic(credentials)).send().await.expect("an answer");
    (response.status().as_u16(), json_of(response).await)
}

#[tokio::test]
async fn it_asks_for_a_token() {
    let registry = Registry::start(&Auth::token("ann", "secret"));
    registry.seed_tags("org/app", 2);
    let scope = "repository:org/app:pull,push";
    let list = async |answer: &Value, field: &str| {
        let bearer = format!("Bearer {}", answer[field].as_str().expect("a token"));
        get(registry.host(), "/v2/org/app/tags/list", Some(&bearer)).await.status().as_u16()
    };
    let (status, answer) = token(&registry, scope, "ann:secret").await;
    assert_eq!((status, &answer["expires_in"]), (200, &json!(300)));
    assert_eq!(list(&answer, "token").await, 200, "{}", registry.log());
    assert_eq!(token(&registry, scope, "ann:wrong").await.0, 401);

    let (_, other) = token(&registry, "repository:org/other:pull", "ann:secret").await;
    assert_eq!(list(&other, "token").await, 401, "a token for another repository");

    registry.tokens().next_run_out(1);
    let (_, dead) = token(&registry, scope, "ann:secret").await;
    assert_eq!(list(&dead, "token").await, 401, "it has run out");
    registry.tokens().lifetime(300, None);
    registry.tokens().field("access_token");
    let (_, quiet) = token(&registry, scope, "ann:secret").await;
    assert_eq!((list(&quiet, "access_token").await, &quiet["expires_in"]), (200, &Value::Null));

    registry.tokens().allow(&["push"]);
    let (_, blind) = token(&registry, scope, "ann:secret").await;
    assert_eq!(list(&blind, "access_token").await, 401, "it may not pull");
    registry.tokens().inject(Fault::on("GET /token").answer(503, json!({})));
    assert_eq!(token(&registry, scope, "ann:secret").await.0, 503);
    assert_eq!(registry.tokens().issued(), 5);
    assert_eq!(registry.tokens().requests()[0].scopes, [scope]);
}

#[tokio::test]
async fn it_comes_back_where_it_was() {
    let mut registry = Registry::start(&Auth::None);
    registry.seed_tags("org/app", 1);
    registry.stop();
    assert!(client().get(format!("http://{}/v2/", registry.host())).send().await.is_err());
    registry.start_again();
    assert_eq!(get(registry.host(), "/v2/org/app/manifests/0.0.1", None).await.status(), 200);
}

/// Follows `Link` as it is given, at most so many times; gives the tags and the links.
async fn walk(pager: &Pager, path: &str, at_most: usize) -> (Vec<String>, Vec<String>) {
    let (mut tags, mut links) = (Vec::new(), Vec::new());
    let mut url = format!("http://{}{path}", pager.host());
    for _ in 0..at_most {
        let response = client().get(&url).send().await.expect("an answer");
        let link = response.headers().get("link").map(|link| link.to_str().expect("text").to_owned());
        let body = json_of(response).await;
        tags.extend(
            body["tags"].as_array().expect("tags").iter().map(|tag| tag.as_str().expect("a tag").to_owned()),
        );
        let Some(link) = link else { break };
        let target = link
            .strip_prefix('<')
            .and_then(|rest| rest.strip_suffix(">; rel=\"next\""))
            .expect("a link")
            .to_owned();
        url = url::Url::parse(&url).expect("a URL").join(&target).expect("a URL").to_string();
        links.push(target);
    }
    (tags, links)
}

#[tokio::test]
async fn pages_come_in_every_style() {
    let registry = Registry::start(&Auth::None);
    registry.seed_tags("app", 5);
    let all: Vec<String> = (1..=5).map(|number| format!("0.0.{number}")).collect();
    for (links, first) in [
        (Links::Relative, "/v2/app/tags/list?last=0.0.2&n=2"),
        (Links::Absolute, "http://PAGER/v2/app/tags/list?last=0.0.2&n=2"),
        (Links::WithoutN, "/v2/app/tags/list?last=0.0.2"),
        (Links::Opaque, "/v2/app/tags/list?n=2&last=bmV4dA%3D%3D.2%2B"),
        (Links::Elsewhere, "http://OTHER/v2/app/tags/list?last=0.0.2&n=2"),
    ] {
        let pager = Pager::before(registry.host(), 2, links);
        let (tags, followed) = walk(&pager, "/v2/app/tags/list", 9).await;
        assert_eq!(tags, all, "{links:?}");
        let expected = first.replace("PAGER", &pager.host()).replace("OTHER", &pager.other_host());
        assert_eq!((followed.len(), &followed[0]), (2, &expected));
        assert_eq!(pager.seen_elsewhere().len(), if links == Links::Elsewhere { 2 } else { 0 });
    }
    let looping = Pager::before(registry.host(), 2, Links::Looping);
    let (tags, _) = walk(&looping, "/v2/app/tags/list", 4).await;
    assert_eq!(tags.len(), 7, "the fourth page is the first again");
}

#[tokio::test]
async fn pages_break_on_purpose() {
    let registry = Registry::start(&Auth::None);
    registry.seed_tags("app", 5);
    let pager = Pager::before(registry.host(), 2, Links::Relative);
    let list = "GET */tags/list";
    pager.inject(Fault::on(list).truncate());
    pager.inject(Fault::on(list).nth(2).cut());
    pager.inject(Fault::on(list).nth(3).answer(429, json!({})).header("retry-after", "1"));
    pager.inject(Fault::on(list).nth(4).answer(200, json!({ "name": "app", "tags": null })));
    pager.inject(Fault::on(list).nth(5).header("content-type", "text/html"));
    let path = "/v2/app/tags/list";
    let truncated = get(&pager.host(), path, None).await.bytes().await.expect("a whole body");
    assert!(serde_json::from_slice::<Value>(&truncated).is_err() && truncated.starts_with(b"{\"name\""));
    assert!(get(&pager.host(), path, None).await.bytes().await.is_err(), "the connection ends early");
    let limited = get(&pager.host(), path, None).await;
    assert_eq!((limited.status().as_u16(), limited.headers()["retry-after"].as_bytes()), (429, &b"1"[..]));
    assert_eq!(json_of(get(&pager.host(), path, None).await).await["tags"], Value::Null);
    let html = get(&pager.host(), path, None).await;
    assert_eq!(html.headers()["content-type"], "text/html");
    assert_eq!(json_of(html).await["tags"], json!(["0.0.1", "0.0.2"]));
    assert_eq!(get(&pager.host(), "/v2/none/tags/list", None).await.status(), 404);

    pager.inject(Fault::lost_answer("PUT */manifests/9.9.9"));
    let image = TinyImage::labelled(&[]);
    let put = client().put(format!("http://{}/v2/app/manifests/9.9.9", pager.host()));
    let put = put.header("content-type", image.media_type).body(image.manifest.clone()).send().await;
    assert!(put.is_err(), "{put:?}");
    assert_eq!(registry.digest("app", "9.9.9"), Some(image.digest()), "it took effect");
    assert_eq!(pager.seen().last().and_then(|seen| seen.status), None);
}

#[tokio::test]
async fn credentials_are_seen_where_they_go() {
    let registry = Registry::start(&Auth::basic("ann", "secret"));
    registry.seed_tags("app", 3);
    let pager = Pager::before(registry.host(), 2, Links::Relative);
    let ann = basic("ann:secret");
    pager.forget_authorization("GET */tags/list");
    let path = "/v2/app/tags/list";
    assert_eq!(get(&pager.host(), path, Some(&ann)).await.status(), 401, "the registry's own challenge");
    assert_eq!(get(&pager.host(), path, Some(&ann)).await.status(), 200, "once");
    pager.redirect("GET */manifests/*");
    let redirected = get(&pager.host(), "/v2/app/manifests/0.0.1", Some(&ann)).await;
    assert_eq!(redirected.status(), 307);
    let location = redirected.headers()["location"].to_str().expect("text").to_owned();
    assert_eq!(location, format!("http://{}/v2/app/manifests/0.0.1", pager.other_host()));
    assert_eq!(get(&pager.other_host(), "/v2/app/manifests/0.0.1", None).await.status(), 200);
    let elsewhere = pager.seen_elsewhere();
    assert_eq!((elsewhere.len(), &elsewhere[0].authorization), (1, &None));
    assert!(pager.seen().iter().all(|seen| seen.authorization.as_ref() == Some(&ann)));
}
