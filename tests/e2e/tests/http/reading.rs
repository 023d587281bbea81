//! `GET /s/{id}`.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use e2e::{Client, until_views};
use rpc::snippets::v1::{Snippet, Tier, Visibility};
use stack::{Backends, Proxy};

use crate::web::{Answer, Web, clients};

const HTML: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
const JSON: &str = "application/json";
const TEXT: &str = "*/*";

/// A body that would be a page, were it not said that it is text.
const HOSTILE: &str = "<!DOCTYPE html><script>document.title = 'ran'</script>\n";

fn snippet(visibility: Visibility) -> Snippet {
    let title = "A <title>".to_owned();
    Snippet { title, body: HOSTILE.into(), visibility: visibility.into(), ..Snippet::default() }
}

async fn public(owner: &Client) -> String {
    owner.create(snippet(Visibility::Public)).await.unwrap().id
}

#[tokio::test]
async fn a_snippet_is_text_json_or_a_page() {
    let (web, grpc) = clients().await;
    let owner = grpc.as_new(Tier::Free).await.unwrap();
    let id = public(&owner).await;
    for web in [web.clone(), web.over_http2()] {
        let path = format!("/s/{id}");
        for text in [
            web.get(&path).await,
            web.accepting(TEXT).get(&path).await,
            web.get(&format!("{path}/raw")).await,
        ] {
            assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
            assert_eq!(text.body, HOSTILE);
            guarded(&text);
        }
        let json = web.accepting(JSON).get(&path).await;
        let told = owner.look(&id).await.unwrap();
        assert_eq!(json.json()["body"], HOSTILE);
        assert_eq!(json.json()["etag"], told.etag);
        assert_eq!(json.json()["owner"], told.owner);
        assert_eq!(json.json()["visibility"], "VISIBILITY_PUBLIC");
        let page = web.accepting(HTML).get(&path).await;
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        assert!(
            page.body.contains("<title>A &lt;title&gt;</title>") && !page.body.contains("<script"),
            "{page:?}"
        );
        guarded(&page);
        let image = web.accepting("image/png").get(&path).await;
        assert_eq!(image.status, StatusCode::NOT_ACCEPTABLE);
    }
}

fn guarded(answer: &Answer) {
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert_eq!(answer.header("vary"), "accept, authorization, x-api-key");
    let policy = answer.header("content-security-policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
}

#[tokio::test]
async fn a_copy_is_good_until_the_next_edit() {
    let (web, grpc) = clients().await;
    let owner = grpc.as_new(Tier::Free).await.unwrap();
    let id = public(&owner).await;
    let path = format!("/s/{id}");
    let mut tags = Vec::new();
    for accept in [HTML, JSON, TEXT] {
        let web = web.accepting(accept);
        let first = web.get(&path).await;
        let again = web.with("if-none-match", first.header("etag")).get(&path).await;
        assert_eq!((again.status, again.body.as_str()), (StatusCode::NOT_MODIFIED, ""));
        for name in ["etag", "cache-control", "vary"] {
            assert_eq!(again.header(name), first.header(name));
        }
        tags.push((accept, first.header("etag").to_owned()));
    }
    assert!(tags[0].1 != tags[1].1 && tags[1].1 != tags[2].1 && tags[2].1 != tags[0].1, "{tags:?}");
    owner.update(Snippet { id, body: "edited".into(), ..Snippet::default() }).await.unwrap();
    for (accept, etag) in tags {
        let edited = web.accepting(accept).with("if-none-match", &etag).get(&path).await;
        assert!(edited.status == StatusCode::OK && edited.body.contains("edited"), "{accept}: {edited:?}");
        assert_ne!(edited.header("etag"), etag);
    }
}

#[tokio::test]
async fn who_may_read_decides_who_may_keep() {
    let (web, grpc) = clients().await;
    let [owner, other] = [grpc.new_key(Tier::Free).await.unwrap(), grpc.new_key(Tier::Free).await.unwrap()];
    let shared = "public, max-age=5, stale-while-revalidate=30";
    let [own, none] = ["private, no-cache", "private, no-store"];
    let callers = [
        ("anonymous", web.clone()),
        ("owner", web.with("authorization", format!("Bearer {}", owner.secret))),
        ("other", web.with("x-api-key", other.secret)),
        ("admin", web.with("x-api-key", e2e::ADMIN_KEY)),
    ];
    for (visibility, expected) in [
        (Visibility::Public, [Some(shared), Some(own), Some(own), Some(own)]),
        (Visibility::Unlisted, [Some(own); 4]),
        (Visibility::Private, [None, Some(none), None, Some(none)]),
    ] {
        let id = grpc.with_key(&owner.secret).create(snippet(visibility)).await.unwrap().id;
        for ((name, web), expected) in callers.iter().zip(expected) {
            for accept in [HTML, JSON, TEXT] {
                let answer = web.accepting(accept).get(&format!("/s/{id}")).await;
                let case = format!("{visibility:?} by {name} as {accept}: {answer:?}");
                let Some(caching) = expected else {
                    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{case}");
                    continue;
                };
                assert_eq!(answer.status, StatusCode::OK, "{case}");
                assert_eq!(answer.header("cache-control"), caching, "{case}");
                let listed = !answer.headers.contains_key("x-robots-tag");
                assert_eq!(listed, visibility == Visibility::Public, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn private_and_missing_are_the_same_to_the_byte() {
    let (web, grpc) = clients().await;
    let owner = grpc.as_new(Tier::Free).await.unwrap();
    let id = owner.create(snippet(Visibility::Private)).await.unwrap().id;
    for accept in [HTML, JSON, TEXT] {
        let web = web.accepting(accept);
        let private = web.get(&format!("/s/{id}")).await;
        assert_eq!(private.status, StatusCode::NOT_FOUND);
        assert_eq!(private, web.get("/s/00000000000").await, "{accept}");
        let tagged = web.with("if-none-match", "*");
        assert_eq!(tagged.get(&format!("/s/{id}")).await, private, "{accept}");
    }
}

#[tokio::test]
async fn errors_are_those_of_the_api() {
    let (web, _) = clients().await;
    let wrong_key = web.with("x-api-key", "snip_unknown");
    for (web, path, status, code, reason) in [
        (&web, "/s/nonsense", 400, 3, "INVALID_ARGUMENT"),
        (&web, "/s/%ff", 400, 3, "INVALID_ARGUMENT"),
        (&web, "/s/00000000000", 404, 5, "SNIPPET_NOT_FOUND"),
        (&web, "/nowhere", 404, 5, "NOT_FOUND"),
        (&wrong_key, "/s/00000000000", 401, 16, "API_KEY_INVALID"),
        (&wrong_key, "/", 401, 16, "API_KEY_INVALID"),
    ] {
        let answer = web.accepting(JSON).get(path).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(answer.json()["code"], code, "{answer:?}");
        assert_eq!(answer.json()["details"][0]["reason"], reason, "{answer:?}");
        assert_eq!(answer.header("cache-control"), "no-store");
        let text = web.get(path).await;
        let message = answer.json()["message"].as_str().unwrap().to_owned() + "\n";
        assert_eq!((text.status, text.body), (answer.status, message));
    }
    let malformed = web.accepting(JSON).get("/s/nonsense").await.json();
    assert_eq!(malformed["details"][1]["fieldViolations"][0]["field"], "id");
    let page = web.accepting(HTML).get("/s/nonsense").await;
    assert!(
        page.header("content-type") == "text/html; charset=utf-8" && page.body.contains("11 base62"),
        "{page:?}"
    );
}

#[tokio::test]
async fn a_head_is_a_get_without_its_body_and_other_methods_are_refused() {
    let (web, grpc) = clients().await;
    let id = public(&grpc.as_new(Tier::Free).await.unwrap()).await;
    for accept in [HTML, JSON, TEXT] {
        let web = web.accepting(accept);
        let path = format!("/s/{id}");
        let mut get = web.get(&path).await;
        let mut head = web.send(Method::HEAD, &path, Body::empty()).await;
        assert_eq!(head.body, "");
        get.body.clear();
        let lengths = [&mut get, &mut head].map(|it| it.headers.remove("content-length").unwrap());
        // The count of views in JSON may have one digit more by then.
        assert!(accept == JSON || lengths[0] == lengths[1], "{lengths:?}");
        assert_eq!(head, get, "{accept}");
        for (method, path, allowed) in [(Method::PUT, &*path, "GET,HEAD,POST"), (Method::GET, "/s", "POST")] {
            let refused = web.send(method, path, Body::empty()).await;
            assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED, "{refused:?}");
            assert_eq!(refused.header("allow"), allowed);
        }
    }
}

#[tokio::test]
async fn text_and_json_are_views_and_a_page_is_none() {
    let (web, grpc) = clients().await;
    let owner = grpc.new_key(Tier::Free).await.unwrap();
    let id = public(&grpc.with_key(&owner.secret)).await;
    let path = format!("/s/{id}");
    for _ in 0..5 {
        web.accepting(HTML).get(&path).await;
        web.send(Method::HEAD, &path, Body::empty()).await;
        web.with("x-api-key", &owner.secret).get(&path).await;
    }
    for web in [web.clone(), web.accepting(JSON), web.with("x-api-key", e2e::ADMIN_KEY)] {
        let first = web.get(&path).await;
        // As in gRPC, asking whether a copy is still good is a view, too.
        web.with("if-none-match", first.header("etag")).get(&path).await;
    }
    web.get(&format!("{path}/raw")).await;
    // The button of a page is one, too, unless another site presses it.
    let revealed = web.send(Method::POST, &path, Body::empty()).await;
    assert_eq!((revealed.status, revealed.header("cache-control")), (StatusCode::OK, "no-store"));
    assert!(revealed.body.contains("&lt;!DOCTYPE html&gt;"), "{revealed:?}");
    let foreign = web.with("sec-fetch-site", "cross-site").send(Method::POST, &path, Body::empty()).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    assert_eq!(until_views(&grpc, &id, 8).await.unwrap(), 8);
}

#[tokio::test]
async fn a_key_that_cannot_be_looked_up_is_told_to_come_back() {
    let backends = e2e::backends().await;
    let product = e2e::product(&backends).replicas(0).workers(0).start().await.unwrap();
    let (proxy, database_url) = Proxy::before_url(&backends.database_url).await.unwrap();
    let replica = e2e::service_of(&Backends { database_url, ..backends }, "snippets").unwrap();
    let replica = replica.env("RATELIMIT_URL", product.ratelimit.grpc_url()).start().await.unwrap();
    let web = Web::to(replica.grpc_addr()).with("x-api-key", "snip_unknown");
    proxy.cut().await;
    for accept in [HTML, JSON, TEXT] {
        let answer = web.accepting(accept).get("/s/00000000000").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert_eq!(answer.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn a_page_of_limited_views_has_a_button_and_only_what_shows_the_text_takes_one() {
    let (web, grpc) = clients().await;
    let owner = grpc.as_new(Tier::Free).await.unwrap();
    let limited = Snippet { max_views: 3, ..snippet(Visibility::Public) };
    let id = owner.create(limited).await.unwrap().id;
    let path = format!("/s/{id}");
    for _ in 0..5 {
        let page = web.accepting(HTML).get(&path).await;
        assert_eq!((page.status, page.header("cache-control")), (StatusCode::OK, "private, no-store"));
        assert!(page.body.contains("<form method=\"post\"") && !page.body.contains("ran"), "{page:?}");
        let head = web.send(Method::HEAD, &path, Body::empty()).await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK, ""));
    }
    let revealed = web.send(Method::POST, &path, Body::empty()).await;
    assert_eq!((revealed.status, revealed.header("cache-control")), (StatusCode::OK, "no-store"));
    assert!(revealed.body.contains("ran"), "{revealed:?}");
    assert_eq!(web.get(&path).await.body, HOSTILE);
    assert_eq!(web.accepting(JSON).get(&path).await.json()["body"], HOSTILE);
    for gone in [
        web.accepting(HTML).get(&path).await,
        web.get(&path).await,
        web.send(Method::POST, &path, Body::empty()).await,
        web.send(Method::HEAD, &path, Body::empty()).await,
    ] {
        assert_eq!(gone.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn what_ends_is_kept_by_no_shared_cache() {
    let (web, grpc) = clients().await;
    let ttl = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let id = grpc.create(Snippet { ttl, ..snippet(Visibility::Public) }).await.unwrap().id;
    for form in [HTML, JSON, TEXT] {
        let answer = web.accepting(form).get(&format!("/s/{id}")).await;
        assert!(!answer.header("cache-control").contains("public"), "{answer:?}");
    }
}
