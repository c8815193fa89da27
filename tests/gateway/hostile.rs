//! What a client sends is checked, and what is wrong with it is told.

use std::sync::Arc;

use twzrd::gateway::View;

use crate::world::{Got, HOUR, World, limits, serve};

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_named() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let proof = |query: &str| format!("/api/v1/proofs?{query}");
    for (path, parameter, found) in [
        ("/api/v1/epochs?limit=0".to_owned(), "limit", Some("0")),
        (
            "/api/v1/epochs?limit=1001".to_owned(),
            "limit",
            Some("1001"),
        ),
        ("/api/v1/epochs?limit=".to_owned(), "limit", Some("")),
        ("/api/v1/epochs?limit=-1".to_owned(), "limit", Some("-1")),
        ("/api/v1/epochs?after=tea".to_owned(), "after", Some("tea")),
        (
            "/api/v1/channels?state=lost".to_owned(),
            "state",
            Some("lost"),
        ),
        (
            "/api/v1/epochs/x/channels/tea".to_owned(),
            "epoch",
            Some("x"),
        ),
        (
            format!("/api/v1/epochs/{HOUR}/channels/a%20b"),
            "channel",
            Some("a b"),
        ),
        (
            format!("/api/v1/epochs/{HOUR}/channels/a%00"),
            "channel",
            Some("a\u{0}"),
        ),
        (
            format!("/api/v1/epochs/{}/channels/tea", u64::MAX),
            "epoch",
            Some("18446744073709551615"),
        ),
        (proof("channel=tea&user=bob"), "epoch", None),
        (proof(&format!("epoch={HOUR}&user=bob")), "channel", None),
        (proof(&format!("epoch={HOUR}&channel=tea")), "user", None),
        (
            proof(&format!("epoch={HOUR}&channel=&user=bob")),
            "channel",
            Some(""),
        ),
        ("/actors?limit=a".to_owned(), "limit", Some("a")),
    ] {
        let got = served.get(&path).await;
        assert_eq!(got.problem(), (400, "bad_parameter".to_owned()), "{path}");
        let problem = got.json();
        assert_eq!(problem["parameter"], parameter, "{path}");
        assert_eq!(problem["found"].as_str(), found, "{path}");
        assert!(!problem["expected"].as_str().unwrap().is_empty());
    }
    let long = format!("/api/v1/channels?after={}", "a".repeat(65));
    assert_eq!(served.get(&long).await.problem().0, 400);
    let bytes = format!("/api/v1/epochs/{HOUR}/channels/%FF");
    assert_eq!(served.get(&bytes).await.json()["parameter"], "path");
}

#[tokio::test]
async fn a_parameter_that_is_not_known_or_given_twice_is_refused_everywhere() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    for path in [
        "/",
        "/health",
        "/ready",
        "/actors",
        "/actors/root",
        "/metrics",
        "/api/openapi.json",
        "/api/v1/epochs",
        "/api/v1/epochs/3600/channels/tea",
        "/api/v1/ledger",
        "/api/v1/channels",
    ] {
        let got = served.get(&format!("{path}?verbose=1")).await;
        assert_eq!(
            got.problem(),
            (400, "unknown_parameter".to_owned()),
            "{path}"
        );
        assert_eq!(got.json()["parameter"], "verbose");
    }
    let got = served.get("/api/v1/epochs?limit=1&limit=2").await;
    assert_eq!(got.problem(), (400, "bad_parameter".to_owned()));
}

#[tokio::test]
async fn names_that_nothing_can_have_are_not_found() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let long = "%C3%BC".repeat(64);
    for (path, code) in [
        (
            format!("/api/v1/epochs/{HOUR}/channels/{long}"),
            "epoch_not_sealed",
        ),
        (
            format!("/api/v1/proofs?epoch={HOUR}&channel={long}&user=bob"),
            "epoch_not_sealed",
        ),
        (
            format!("/api/v1/proofs?epoch={HOUR}&channel=tea&user={long}"),
            "not_participant",
        ),
        (
            format!("/api/v1/proofs?epoch={HOUR}&channel=tea&user=dave"),
            "not_participant",
        ),
        (
            format!("/api/v1/proofs?epoch={HOUR}&channel=coffee&user=bob"),
            "epoch_not_sealed",
        ),
        (
            "/api/v1/proofs?epoch=1&channel=tea&user=bob".to_owned(),
            "epoch_not_sealed",
        ),
    ] {
        assert_eq!(
            served.get(&path).await.problem(),
            (404, code.to_owned()),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_unknown_path_and_a_wrong_method_are_problems() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    for path in [
        "/x",
        "/api",
        "/api/v2/epochs",
        "/health/",
        "/api/v1/epochs/1",
        "/%FF",
    ] {
        let got = served.get(path).await;
        assert_eq!(got.problem(), (404, "not_found".to_owned()), "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let request = served
            .client
            .request(method.parse().unwrap(), served.url("/health"));
        let got = Got::of(request).await;
        let expected = (405, "method_not_allowed".to_owned());
        assert_eq!(got.problem(), expected, "{method}");
        assert_eq!(got.header("allow"), "GET,HEAD", "{method}");
    }
}

#[tokio::test]
async fn a_panic_is_one_answer_without_details() {
    let world = World::new();
    let view = View {
        tree: Arc::new(|| panic!("secret of the tests")),
        ..world.view()
    };
    let served = serve(view, limits()).await;
    let got = served.get("/actors").await;
    assert_eq!(got.problem(), (500, "internal".to_owned()));
    assert!(!got.text.contains("secret"), "{}", got.text);
    assert_eq!(served.get("/health").await.status, 200);
}
