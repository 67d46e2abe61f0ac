//! Where the password and the tokens go, and where they do not.

use autotag_base::CallErrorKind;
use autotag_deploy::ports::{Registry as _, TagListing};

use super::scripted::{Asked, Reply, Scripted};
use super::{MANIFEST, by_tag, credentials, manifest, registry, tag};

const LIST: &str = "GET /v2/org/app/tags/list?n=1000";
const BASIC: &str = "Basic dXNlcjpwYXNz";

fn is(asked: &Asked, login: &str) -> bool {
    asked.login.as_deref() == Some(login)
}

/// A realm that gives `token-1`, `token-2` ..., each living so many seconds.
async fn realm(seconds: u64) -> Scripted {
    Scripted::start(move |asked, _| {
        let number = asked.number + 1;
        Reply::json(200, &format!(r#"{{"token":"token-{number}","expires_in":{seconds}}}"#))
    })
    .await
}

/// A registry that wants tokens of this realm, and takes those that the function takes.
async fn token_registry(realm: &Scripted, takes: fn(&Asked, &str) -> bool) -> Scripted {
    let challenge = format!(
        "Bearer realm=\"http://{}/token?kind=x\",service=\"the registry\",scope=\"repository:org/app:pull\"",
        realm.address
    );
    Scripted::start(move |asked, _| {
        match asked.login.as_deref().and_then(|login| login.strip_prefix("Bearer ")) {
            Some(token) if takes(asked, token) => match asked.line.split(' ').next() {
                Some("PUT") => Reply::json(201, ""),
                _ => Reply::json(200, r#"{"tags":["1"]}"#),
            },
            _ => Reply::with(401, &[("www-authenticate", &challenge)], ""),
        }
    })
    .await
}

fn one_tag() -> TagListing {
    TagListing::Tags(vec!["1".to_owned()])
}

#[tokio::test]
async fn a_token_is_used_until_it_expires() {
    let realm = realm(300).await;
    let server = token_registry(&realm, |_, _| true).await;
    let registry = registry(&server.address, Some(&credentials("user", "pass")));
    assert_eq!(registry.list_tags().await, Ok(one_tag()));
    assert_eq!(registry.list_tags().await, Ok(one_tag()));
    registry.put_manifest(&tag("1"), &manifest(MANIFEST, "{}")).await.expect("put");

    let start = "GET /token?kind=x&service=the+registry&scope=repository%3Aorg%2Fapp%3Apull";
    // The push asks for what the registry's challenge named as well.
    assert_eq!(realm.lines(), [start.to_owned(), format!("{start}%2Cpush")]);
    assert!(realm.seen().iter().all(|asked| is(asked, BASIC)), "{:?}", realm.seen());
    let logins: Vec<_> = server.seen().into_iter().map(|asked| asked.login.unwrap_or_default()).collect();
    assert_eq!(logins, ["", "Bearer token-1", "Bearer token-1", "Bearer token-2"]);
}

#[tokio::test]
async fn without_credentials_the_token_is_anonymous() {
    let realm = realm(300).await;
    let server = token_registry(&realm, |_, _| true).await;
    assert_eq!(registry(&server.address, None).list_tags().await, Ok(one_tag()));
    assert!(realm.seen().iter().all(|asked| asked.login.is_none()));
    assert_eq!(server.lines(), [LIST, LIST]);
}

#[tokio::test]
async fn a_token_that_expires_early_is_renewed_once() {
    let realm = realm(300).await;
    // The greeting is 0; the first list (1) works, and then the registry has forgotten token-1.
    let server = token_registry(&realm, |asked, token| asked.number < 2 || token != "token-1").await;
    let registry = registry(&server.address, Some(&credentials("user", "pass")));
    assert_eq!(registry.list_tags().await, Ok(one_tag()));
    assert_eq!(registry.list_tags().await, Ok(one_tag()));
    assert_eq!(realm.lines().len(), 2);
}

#[tokio::test]
async fn a_rejected_token_is_not_requested_forever() {
    let realm = realm(300).await;
    let server = token_registry(&realm, |_, _| false).await;
    let registry = registry(&server.address, Some(&credentials("user", "pass")));
    let listing = registry.list_tags().await.expect("an answer");
    assert!(matches!(&listing, TagListing::Withheld(why) if why.contains("401")), "{listing:?}");
    assert_eq!((realm.lines().len(), server.lines().len()), (2, 3));
}

#[tokio::test]
async fn a_token_is_not_kept_past_its_life() {
    let realm = realm(0).await;
    let server = token_registry(&realm, |_, _| true).await;
    let registry = registry(&server.address, Some(&credentials("user", "pass")));
    assert_eq!(registry.list_tags().await, Ok(one_tag()));
    assert_eq!(registry.list_tags().await, Ok(one_tag()));
    assert_eq!(realm.lines().len(), 2);
}

#[tokio::test]
async fn a_refusing_realm_withholds_tags_and_denies_the_rest() {
    let realm = Scripted::start(|_, _| Reply::error(403, "DENIED")).await;
    let server = token_registry(&realm, |_, _| true).await;
    let registry = registry(&server.address, Some(&credentials("user", "pass")));
    let listing = registry.list_tags().await.expect("an answer");
    assert!(matches!(&listing, TagListing::Withheld(why) if why.contains("DENIED: words")), "{listing:?}");
    let error = registry.manifest(&by_tag("1")).await.expect_err("denied");
    assert_eq!(error.kind, CallErrorKind::Denied, "{error}");
}

#[tokio::test]
async fn a_realm_that_redirects_gets_no_second_password() {
    let elsewhere = Scripted::start(|_, _| Reply::json(200, r#"{"token":"stolen"}"#)).await;
    let target = format!("http://{}/token", elsewhere.address);
    let realm = Scripted::start(move |_, _| Reply::with(307, &[("location", &target)], "")).await;
    let server = token_registry(&realm, |_, _| true).await;
    let error = registry(&server.address, Some(&credentials("user", "pass"))).list_tags().await;
    assert_eq!(error.expect_err("no token").kind, CallErrorKind::InvalidResponse);
    assert_eq!(elsewhere.seen(), []);
}

// invariant secrets
#[tokio::test]
async fn a_redirect_to_another_host_carries_no_login() {
    let blob = r#"{"config":{"Labels":{"a":"b"}}}"#;
    let storage = Scripted::start(move |asked, own| {
        let challenge = format!("Bearer realm=\"http://{own}/token\"");
        match asked.line.as_str() {
            "GET /blob" => Reply::json(200, blob),
            _ => Reply::with(401, &[("www-authenticate", &challenge)], ""),
        }
    })
    .await;
    let elsewhere = storage.address.clone();
    let server = Scripted::start(move |asked, own| {
        let to = |target: String| Reply::with(307, &[("location", &target)], "");
        match asked.line.as_str() {
            _ if !is(asked, BASIC) => Reply::with(401, &[("www-authenticate", "Basic realm=x")], ""),
            // First along its own host, where the login may go, then away.
            "GET /hop" => to(format!("http://{elsewhere}/blob")),
            line if line.contains("/blobs/") => to(format!("http://{own}/hop")),
            _ => to(format!("http://{elsewhere}/locked")),
        }
    })
    .await;
    let registry = registry(&server.address, Some(&credentials("user", "pass")));
    let digest = manifest("", blob).digest;
    let image = manifest(MANIFEST, &format!(r#"{{"schemaVersion":2,"config":{{"digest":"{digest}"}}}}"#));

    assert_eq!(registry.labels(&image).await.expect("labels")["a"], "b");
    let hop = server.seen().into_iter().find(|asked| asked.line == "GET /hop").expect("the hop");
    assert!(is(&hop, BASIC));

    let listing = registry.list_tags().await.expect("an answer");
    assert!(matches!(listing, TagListing::Withheld(_)), "{listing:?}");
    assert_eq!(storage.lines(), ["GET /blob", "GET /locked"]);
    assert!(storage.seen().iter().all(|asked| asked.login.is_none()), "{:?}", storage.seen());
}

// invariant no-guess
#[tokio::test]
async fn a_404_without_a_login_is_no_empty_list() {
    // Such a registry hides what is private instead of asking who comes.
    let server = Scripted::start(|asked, _| match asked.line.as_str() {
        _ if is(asked, BASIC) => Reply::json(200, r#"{"tags":["1"]}"#),
        "GET /v2/" => Reply::with(401, &[("www-authenticate", "Basic realm=x")], ""),
        _ => Reply::error(404, "NAME_UNKNOWN"),
    })
    .await;
    let registry = registry(&server.address, Some(&credentials("user", "pass")));
    assert_eq!(registry.list_tags().await, Ok(one_tag()));
    assert_eq!(registry.list_tags().await, Ok(one_tag()));
    assert_eq!(server.lines(), ["GET /v2/", LIST, LIST]);
}
