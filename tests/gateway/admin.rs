//! The admin routes, with and without their token.

use serde_json::json;
use twzrd::admin::{ChannelEdit, Refused};

use crate::world::{Got, Served, TOKEN, World, limits, serve};

const ROUTES: [(&str, &str); 3] = [
    ("POST", "/admin/reload"),
    ("GET", "/admin/channels"),
    ("POST", "/admin/channels"),
];

fn request(served: &Served, method: &str, path: &str) -> reqwest::RequestBuilder {
    let request = served
        .client
        .request(method.parse().unwrap(), served.url(path));
    let edit = json!({"group": "main", "add": ["new"], "remove": ["old"]});
    match (method, path) {
        ("POST", "/admin/channels") => request.json(&edit),
        _ => request,
    }
}

#[tokio::test]
async fn without_a_token_in_the_settings_there_are_no_admin_routes() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    for (method, path) in ROUTES {
        let got = Got::of(request(&served, method, path).bearer_auth(TOKEN)).await;
        assert_eq!(
            got.problem(),
            (404, "not_found".to_owned()),
            "{method} {path}"
        );
    }
    assert!(!served.get("/").await.text.contains("/admin"));
    assert!(
        !served
            .get("/api/openapi.json")
            .await
            .text
            .contains("/admin")
    );
}

#[tokio::test]
async fn only_the_right_token_is_let_in() {
    let world = World::new();
    let served = serve(world.view_with_admin(), limits()).await;
    let near = format!("{}x", &TOKEN[..TOKEN.len() - 1]);
    for (method, path) in ROUTES {
        for authorization in [
            None,
            Some("Bearer".to_owned()),
            Some("Bearer ".to_owned()),
            Some(format!("Basic {TOKEN}")),
            Some(format!("Bearer {near}")),
            Some(format!("Bearer {TOKEN}x")),
            Some(TOKEN.to_owned()),
        ] {
            let mut asked = request(&served, method, path);
            if let Some(value) = &authorization {
                asked = asked.header("authorization", value);
            }
            let got = Got::of(asked).await;
            let expected = (401, "unauthorized".to_owned());
            assert_eq!(got.problem(), expected, "{method} {path} {authorization:?}");
            assert!(got.header("www-authenticate").starts_with("Bearer"));
        }
        let twice = request(&served, method, path)
            .bearer_auth(TOKEN)
            .bearer_auth(TOKEN);
        assert_eq!(Got::of(twice).await.status, 401);
        let got = Got::of(request(&served, method, path).bearer_auth(TOKEN)).await;
        assert_eq!(got.status, 200, "{method} {path}");
    }
    let expected = ChannelEdit {
        group: Some("main".to_owned()),
        add: vec!["new".to_owned()],
        remove: vec!["old".to_owned()],
    };
    assert_eq!(*world.admin.edits.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn what_a_change_came_to_is_told() {
    let world = World::new();
    let served = serve(world.view_with_admin(), limits()).await;
    let reloaded = json!({
        "added": 1, "removed": 0, "changed": 0, "unchanged": 2,
        "added_channels": ["new"], "removed_channels": [], "took_ms": 3
    });
    for path in ["/admin/reload", "/admin/channels"] {
        let got = Got::of(request(&served, "POST", path).bearer_auth(TOKEN)).await;
        assert_eq!((got.status, got.json()), (200, reloaded.clone()));
    }
    let listed = Got::of(request(&served, "GET", "/admin/channels?limit=1").bearer_auth(TOKEN));
    let listed = listed.await.json();
    assert_eq!(listed, served.get("/api/v1/channels?limit=1").await.json());
}

#[tokio::test]
async fn a_refusal_names_every_reason() {
    let world = World::new();
    let served = serve(world.view_with_admin(), limits()).await;
    for (refused, status, code, reasons) in [
        (
            Refused::Faults(vec!["a: bad".to_owned(), "b: worse".to_owned()]),
            409,
            "refused",
            json!([{"code": "fault", "detail": "a: bad"}, {"code": "fault", "detail": "b: worse"}]),
        ),
        (
            Refused::NotReloadable(vec!["log.level".to_owned()]),
            409,
            "not_reloadable",
            json!([{"code": "not_reloadable", "detail": "log.level"}]),
        ),
        (
            Refused::Edit("no such group".to_owned()),
            409,
            "refused",
            json!([{"code": "edit", "detail": "no such group"}]),
        ),
        (
            Refused::Unavailable("stopping".to_owned()),
            503,
            "unavailable",
            json!([{"code": "unavailable", "detail": "stopping"}]),
        ),
    ] {
        *world.admin.refusal.lock().unwrap() = Some(refused);
        for path in ["/admin/reload", "/admin/channels"] {
            let got = Got::of(request(&served, "POST", path).bearer_auth(TOKEN)).await;
            assert_eq!(got.problem(), (status, code.to_owned()));
            assert_eq!(got.json()["reasons"], reasons);
        }
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_used_changes_nothing() {
    let world = World::new();
    let served = serve(world.view_with_admin(), limits()).await;
    let post = |kind: &'static str, body: String| {
        let request = served.client.post(served.url("/admin/channels"));
        let request = request.bearer_auth(TOKEN).header("content-type", kind);
        Got::of(request.body(body))
    };
    for (kind, body, status, code) in [
        ("text/plain", "{}", 415, "unsupported_media_type"),
        ("application/json-seq", "{}", 415, "unsupported_media_type"),
        ("application/json", "", 400, "bad_body"),
        ("application/json", "[]", 400, "bad_body"),
        ("application/json", "{\"add\":[1]}", 400, "bad_body"),
        ("application/json", "{\"ad\":[]}", 400, "bad_body"),
        ("application/json", "{}{}", 400, "bad_body"),
    ] {
        let got = post(kind, body.to_owned()).await;
        assert_eq!(got.problem(), (status, code.to_owned()), "{kind} {body}");
    }
    let got = post("application/json", "{\"ad\":[]}".to_owned()).await;
    let detail = got.json()["detail"].clone();
    assert!(
        detail.as_str().unwrap().contains("unknown field `ad`"),
        "{detail}"
    );
    assert!(world.admin.edits.lock().unwrap().is_empty());
    let got = post("application/json; charset=utf-8", "{}".to_owned()).await;
    assert_eq!(got.status, 200);
}
