//! Answers that no registry should give, and some that many do.

use autotag_base::{CallErrorKind, CallResult, Effect};
use autotag_deploy::ports::{Registry as _, TagListing};

use super::scripted::{Reply, Scripted};
use super::{MANIFEST, by_tag, manifest, registry, tag};

const PATH: &str = "/v2/org/app/tags/list";
const FIRST: &str = "GET /v2/org/app/tags/list?n=1000";

async fn list(server: &Scripted) -> CallResult<TagListing> {
    registry(&server.address, None).list_tags().await
}

/// A page of tags; `link` may use `HOST`.
fn page(tags: &str, link: &str, host: &str) -> Reply {
    let link = link.replace("HOST", host);
    Reply::with(
        200,
        &[("content-type", "application/json"), ("link", &link)],
        &format!(r#"{{"tags":{tags}}}"#),
    )
}

#[tokio::test]
async fn every_page_is_read_however_its_link_is_written() {
    let server = Scripted::start(|asked, host| match asked.line.strip_prefix("GET ").expect("a GET") {
        "/v2/org/app/tags/list?n=1000" => {
            page(r#"["1","2"]"#, &format!("<{PATH}?last=2>; rel=\"next\""), host)
        }
        "/v2/org/app/tags/list?last=2" => {
            page(r#"["3","2"]"#, "<http://HOST/other?opaque=x%2F,y>;rel=next", host)
        }
        "/other?opaque=x%2F,y" => page("null", "<?end>; title=\"a, b\"; rel=\"NEXT\", <z>; rel=prev", host),
        "/other?end" => page(r#"["4","1"]"#, "<z>; rel=prev", host),
        other => panic!("nobody was sent to {other}"),
    })
    .await;
    let tags = ["1", "2", "3", "4"].map(str::to_owned).to_vec();
    assert_eq!(list(&server).await, Ok(TagListing::Tags(tags)));
    assert_eq!(server.lines().len(), 4);
}

// invariant no-guess
#[tokio::test]
async fn an_incomplete_list_is_an_error() {
    let elsewhere = Scripted::start(|_, _| Reply::json(200, r#"{"tags":[]}"#)).await;
    let away = format!("<http://{}{PATH}>; rel=next", elsewhere.address);
    let circle = format!("<{PATH}?n=1000>; rel=next");
    let second = format!("<{PATH}?last=1>; rel=next");
    for (link, second_page, kind, requests) in [
        (circle.as_str(), 200, CallErrorKind::InvalidResponse, 1),
        (away.as_str(), 200, CallErrorKind::InvalidResponse, 1),
        ("<x; rel=next", 200, CallErrorKind::InvalidResponse, 1),
        (second.as_str(), 404, CallErrorKind::InvalidResponse, 2),
        (second.as_str(), 403, CallErrorKind::Denied, 2),
        (second.as_str(), 401, CallErrorKind::Denied, 2),
        (second.as_str(), 500, CallErrorKind::Unreachable, 4),
    ] {
        let link = link.to_owned();
        let server = Scripted::start(move |asked, host| match asked.line.as_str() {
            FIRST => page(r#"["1"]"#, &link, host),
            _ => Reply::error(second_page, "NAME_UNKNOWN"),
        })
        .await;
        let error = list(&server).await.expect_err("no end");
        assert_eq!((error.kind, server.lines().len()), (kind, requests), "{error}");
    }
    assert_eq!(elsewhere.seen(), []);
}

#[tokio::test]
async fn the_first_answer_is_a_list_or_says_why_not() {
    let withheld = |why: &str| why.starts_with("listing the tags of ");
    for (status, headers, body, expected) in [
        (200, [("content-type", "text/html")], "<html>", Err(CallErrorKind::InvalidResponse)),
        (200, [("content-type", "application/json")], r#"{"tags":["1""#, Err(CallErrorKind::InvalidResponse)),
        (404, [("content-type", "text/plain")], "404 page not found", Err(CallErrorKind::InvalidResponse)),
        (404, [("content-type", "text/html")], "<html>", Err(CallErrorKind::InvalidResponse)),
        (404, [("x", "y")], r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#, Ok(false)),
        (401, [("x", "y")], "", Ok(true)),
        (403, [("x", "y")], r#"{"errors":[{"code":"DENIED"}]}"#, Ok(true)),
        (302, [("location", "http://127.0.0.1:1/")], "", Err(CallErrorKind::Unreachable)),
        (302, [("location", "javascript:x")], "", Err(CallErrorKind::InvalidResponse)),
        (302, [("location", PATH)], "", Err(CallErrorKind::InvalidResponse)),
        (418, [("x", "y")], "", Err(CallErrorKind::Rejected)),
    ] {
        let server = Scripted::start(move |_, _| Reply::with(status, &headers, body)).await;
        match (list(&server).await, expected) {
            (Ok(TagListing::Withheld(why)), Ok(true)) => assert!(withheld(&why), "{why}"),
            (Ok(TagListing::NoRepository), Ok(false)) => {}
            (Err(error), Err(kind)) => assert_eq!(error.kind, kind, "{error}"),
            (outcome, _) => panic!("{status} {body}: {outcome:?}"),
        }
    }
}

#[tokio::test]
async fn a_number_above_the_limit_is_left_out() {
    let server = Scripted::start(|asked, _| match asked.line.as_str() {
        FIRST => Reply::error(400, "PAGINATION_NUMBER_INVALID"),
        _ => Reply::json(200, r#"{"tags":["1"]}"#),
    })
    .await;
    assert_eq!(list(&server).await, Ok(TagListing::Tags(vec!["1".to_owned()])));
    assert_eq!(server.lines(), [FIRST.to_owned(), format!("GET {PATH}")]);
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let server = Scripted::start(|asked, _| match asked.number {
        0 => Reply::with(503, &[], ""),
        1 => Reply::promising(100, 200, &[("content-type", "application/json")], r#"{"tags":["1"]}"#),
        _ => Reply::json(200, r#"{"tags":["1"]}"#),
    })
    .await;
    assert_eq!(list(&server).await, Ok(TagListing::Tags(vec!["1".to_owned()])));
    assert_eq!(server.lines(), [FIRST; 3]);
}

#[tokio::test]
async fn a_limit_that_is_too_long_fails_at_once() {
    let server =
        Scripted::start(|_, _| Reply::with(429, &[("retry-after", "3600")], "TOOMANYREQUESTS")).await;
    let error = list(&server).await.expect_err("a limit");
    assert_eq!((error.kind, server.lines().len()), (CallErrorKind::Throttled, 1));
    assert!(error.why.contains("3600 s"), "{error}");
}

#[tokio::test]
async fn an_answer_that_is_cut_every_time_is_an_error() {
    let server = Scripted::start(|_, _| {
        Reply::promising(100, 200, &[("content-type", "application/json")], r#"{"tags":["1"]}"#)
    })
    .await;
    let error = list(&server).await.expect_err("cut");
    assert_eq!((error.kind, error.effect), (CallErrorKind::Unreachable, Effect::None));
    assert_eq!(server.lines().len(), 3, "{error}");
}

#[tokio::test]
async fn an_unreachable_registry_is_reported_with_the_tries() {
    let address = Scripted::start(|_, _| Reply::hang_up()).await.address.clone();
    let error = registry(&address, None).put_manifest(&tag("1"), &manifest(MANIFEST, "{}")).await;
    let error = error.expect_err("nobody there");
    assert_eq!((error.kind, error.effect), (CallErrorKind::Unreachable, Effect::None), "{error}");
    assert!(error.why.contains("tries: 3"), "{error}");
}

#[tokio::test]
async fn a_put_without_an_answer_may_have_taken_effect() {
    let server = Scripted::start(|asked, _| match asked.number {
        0 => Reply::hang_up(),
        _ => Reply::error(403, "DENIED"),
    })
    .await;
    let error = registry(&server.address, None).put_manifest(&tag("1"), &manifest(MANIFEST, "{}")).await;
    let error = error.expect_err("denied");
    assert_eq!((error.kind, error.effect), (CallErrorKind::Denied, Effect::Unknown), "{error}");
    assert_eq!(server.lines(), ["PUT /v2/org/app/manifests/1"; 2]);
}

#[tokio::test]
async fn a_put_succeeds_only_by_a_successful_answer() {
    let other = format!("sha256:{}", "0".repeat(64));
    for (status, digest, done) in
        [(201, "", true), (202, "", true), (200, "", true), (201, &other, false), (307, "", false)]
    {
        let digest = digest.to_owned();
        let server = Scripted::start(move |_, own| {
            let target = format!("http://{own}/elsewhere");
            Reply::with(status, &[("docker-content-digest", &digest), ("location", &target)], "")
        })
        .await;
        let outcome =
            registry(&server.address, None).put_manifest(&tag("1"), &manifest(MANIFEST, "{}")).await;
        match outcome {
            Ok(()) => assert!(done, "{status}"),
            Err(error) => {
                assert!(!done, "{error}");
                assert_eq!(
                    (error.kind, error.effect),
                    (CallErrorKind::InvalidResponse, Effect::Unknown),
                    "{error}"
                );
            }
        }
        assert_eq!(server.lines().len(), 1);
    }
}

#[tokio::test]
async fn other_bytes_than_those_asked_for_are_refused() {
    let server = Scripted::start(|asked, _| {
        if asked.line.contains("/blobs/") {
            Reply::json(200, r#"{"config":{}}"#)
        } else {
            Reply::with(200, &[("content-type", MANIFEST)], r#"{"schemaVersion":2}"#)
        }
    })
    .await;
    let registry = registry(&server.address, None);
    let asked = manifest(MANIFEST, "other").digest;
    let name = autotag_deploy::ports::ManifestName::Digest(asked.clone());
    let error = registry.manifest(&name).await.expect_err("other bytes");
    assert_eq!(error.kind, CallErrorKind::InvalidResponse);
    assert!(error.why.contains(asked.as_str()), "{error}");

    let image = manifest(MANIFEST, &format!(r#"{{"schemaVersion":2,"config":{{"digest":"{asked}"}}}}"#));
    let error = registry.labels(&image).await.expect_err("other bytes");
    assert!(error.why.contains(asked.as_str()), "{error}");
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_its_end() {
    // Once its length is promised, once it only comes.
    let server = Scripted::start(|asked, _| {
        let long = " ".repeat(5 << 20);
        match asked.line.as_str() {
            "GET /v2/org/app/manifests/promised" => Reply::promising(1 << 30, 200, &[], ""),
            _ => Reply::of_no_length(&[("content-type", MANIFEST)], &long),
        }
    })
    .await;
    for name in ["promised", "sent"] {
        let error = registry(&server.address, None).manifest(&by_tag(name)).await.expect_err("too long");
        assert_eq!(error.kind, CallErrorKind::InvalidResponse);
        assert!(error.why.contains("4194304"), "{error}");
    }
}

#[tokio::test]
async fn a_404_from_elsewhere_is_not_an_absent_manifest() {
    let server = Scripted::start(|_, _| Reply::with(404, &[], "default backend - 404")).await;
    let error = registry(&server.address, None).manifest(&by_tag("1")).await.expect_err("no registry");
    assert_eq!(error.kind, CallErrorKind::InvalidResponse, "{error}");
}
