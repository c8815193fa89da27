//! What each route answers while all is well.

use serde_json::{Value, json};
use twzrd_actors::status::ChannelState;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::proof::PresenceProof;
use twzrd_domain::settlement::RootKind;
use twzrd_supervision::{ChildState, ExitReason, Feed, Handler, RunningHandler, WaitingFor};

use crate::world::{HOUR, NOW, World, child, heard, limits, name, seal, serve, supervisor};

#[tokio::test]
async fn the_index_lists_every_endpoint() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let got = served.get("/").await;
    assert_eq!(got.status, 200);
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    let listed = got.text.lines().skip(2).map(|line| {
        let mut words = line.split_whitespace();
        (words.next().unwrap(), words.next().unwrap())
    });
    let mut listed: Vec<_> = listed.collect();
    listed.sort_unstable();
    let expected = [
        ("GET", "/"),
        ("GET", "/actors"),
        ("GET", "/actors/{path}"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/v1/channels"),
        ("GET", "/api/v1/epochs"),
        ("GET", "/api/v1/epochs/{epoch}/channels/{channel}"),
        ("GET", "/api/v1/ledger"),
        ("GET", "/api/v1/proofs"),
        ("GET", "/api/v1/settlement"),
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/ready"),
    ];
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_sealed_epoch_is_told_in_the_form_of_the_deployed_system_and_more() {
    let world = World::new();
    let roots = world.store.state().trees[&(Epoch(HOUR), name("tea"))].clone();
    let claim = hex::encode(roots.claim_levels.last().unwrap()[0]);
    let participation = hex::encode(roots.participation_root);
    let served = serve(world.view(), limits()).await;
    let got = served
        .get(&format!("/api/v1/epochs/{HOUR}/channels/TEA"))
        .await;
    assert_eq!((got.status, got.header("cache-control")), (200, "no-store"));
    let expected = json!({
        "epoch": HOUR, "channel": "tea",
        "root": claim, "count": 3, "settled_at": null, "tx_signature": null,
        "participants": 3, "participation_root": participation, "claim_root": claim,
        "coverage_percent": 100, "gap_ms": 0, "as_of": NOW, "stale": false
    });
    assert_eq!(got.json(), expected);
    assert_eq!(got.header("age"), "");
}

#[tokio::test]
async fn the_root_of_an_epoch_is_the_one_that_is_published() {
    let world = World::new();
    let mut view = world.view();
    view.settlement.root = RootKind::Participation;
    let served = serve(view, limits()).await;
    let got = served.get("/api/v1/epochs").await.json();
    for epoch in got["epochs"].as_array().unwrap() {
        assert_eq!(epoch["root"], epoch["participation_root"]);
        assert_ne!(epoch["root"], epoch["claim_root"]);
    }
}

#[tokio::test]
async fn pages_of_epochs_join_without_gap_or_overlap() {
    let world = World::new();
    let mut state = world.store.state();
    for hour in 1..=3 {
        for channel in ["a", "b", "tea"] {
            seal(
                &mut state,
                Epoch(HOUR + hour * 3600),
                &name(channel),
                &["x"],
            );
        }
    }
    let world = World::with(state);
    let served = serve(world.view(), limits()).await;
    let whole = served.get("/api/v1/epochs").await.json();
    assert_eq!(whole["epochs"].as_array().unwrap().len(), 11);
    assert_eq!(whole["next"], Value::Null);
    let (mut after, mut joined) = (String::new(), Vec::new());
    loop {
        let page = served.get(&format!("/api/v1/epochs?limit=4{after}")).await;
        let page = page.json();
        joined.extend(page["epochs"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(Value::from(joined), whole["epochs"]);
}

#[tokio::test]
async fn one_channel_is_found_among_names_that_stand_close_to_it() {
    let mut state = World::new().store.state();
    let names: Vec<String> = (0..30).map(|n| format!("t{}{n}", "e\u{10ffff}")).collect();
    for close in names
        .iter()
        .map(String::as_str)
        .chain(["t", "te", "tf", "tea0"])
    {
        seal(&mut state, Epoch(HOUR), &name(close), &["x", "y"]);
    }
    let world = World::with(state);
    let served = serve(world.view(), limits()).await;
    for (channel, count) in [
        ("tea", 3),
        ("tf", 2),
        ("te", 2),
        ("t", 2),
        ("tea0", 2),
        ("go", 1),
    ] {
        let got = served
            .get(&format!("/api/v1/epochs/{HOUR}/channels/{channel}"))
            .await;
        assert_eq!(
            (got.status, got.json()["count"].as_u64()),
            (200, Some(count)),
            "{channel}"
        );
    }
    for channel in ["s", "td", "teb", "zz"] {
        let got = served
            .get(&format!("/api/v1/epochs/{HOUR}/channels/{channel}"))
            .await;
        assert_eq!(
            got.problem(),
            (404, "epoch_not_sealed".to_owned()),
            "{channel}"
        );
    }
}

#[tokio::test]
async fn a_proof_can_be_verified_and_kept_for_ever() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    for user in ["alice", "bob", "carol", "Bob"] {
        let path = format!("/api/v1/proofs?epoch={HOUR}&channel=tea&user={user}");
        let got = served.get(&path).await;
        let keeps = "public, max-age=31536000, immutable";
        assert_eq!((got.status, got.header("cache-control")), (200, keeps));
        assert_eq!(got.header("content-type"), "application/json");
        let proof: PresenceProof = serde_json::from_str(&got.text).unwrap();
        proof.verify().unwrap();
        assert_eq!(proof.user.as_str(), user.to_lowercase());
        assert_eq!(proof.participants, 3);
    }
    assert_eq!(world.store.faults().calls("proof_material"), 1);
}

#[tokio::test]
async fn the_ledger_adds_up() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let expected = json!({
        "ledger": {"received": 36, "counted": 1, "suppressed": 2, "mirrored": 3, "duplicate": 4,
            "late": 5, "anonymous": 6, "invalid": 7, "other": 8},
        "conservation_drift": 0, "drifting": 0, "first_drifting": null, "as_of": NOW, "stale": false
    });
    assert_eq!(served.get("/api/v1/ledger").await.json(), expected);
}

#[tokio::test]
async fn channels_come_by_name_in_pages_and_by_state() {
    let world = World::new();
    {
        let mut ingest = world.ingest.lock().unwrap();
        ingest.channels.push(heard("chess"));
        ingest.channels[1].state = ChannelState::Refused;
        ingest.channels[1].reason = Some("msg_banned".into());
        ingest.channels[1].retry_at = Some(NOW + 60_000);
    }
    let served = serve(world.view(), limits()).await;
    let names = |page: &Value| -> Vec<String> {
        let channels = page["channels"].as_array().unwrap().iter();
        channels
            .map(|it| it["channel"].as_str().unwrap().to_owned())
            .collect()
    };
    let page = served.get("/api/v1/channels?limit=2").await.json();
    assert_eq!(names(&page), ["chess", "go"]);
    assert_eq!((&page["next"], &page["total"]), (&json!("go"), &json!(3)));
    let page = served.get("/api/v1/channels?limit=2&after=go").await.json();
    assert_eq!(names(&page), ["tea"]);
    assert_eq!((&page["next"], &page["total"]), (&Value::Null, &json!(3)));
    let page = served.get("/api/v1/channels?state=refused").await.json();
    let expected = json!({
        "channel": "go", "group": "main", "token_group": "CLS", "category": "music",
        "state": "refused", "reason": "msg_banned", "since": NOW - 1000, "retry_at": NOW + 60_000,
        "connection": 1, "lines": 7, "last_line": NOW - 5,
        "feed_lines": 2, "feed_bytes": 300, "feed_bound": 65_536
    });
    assert_eq!(page["channels"], json!([expected]));
    assert_eq!(
        (&page["as_of"], &page["stale"]),
        (&json!(NOW), &json!(false))
    );
}

#[tokio::test]
async fn the_tree_shows_all_that_is_known_of_an_actor() {
    let world = World::new();
    {
        let mut tree = world.tree.lock().unwrap();
        let text = "cannot reach postgres://me:secret@db/x".to_owned();
        let journal = &mut tree.root.children[0].children[0];
        journal.state = ChildState::Stalled;
        journal.restarts = 2;
        journal.last_exit = Some(ExitReason::Error { text });
        journal.mailbox_depth = 4;
        journal.feed = Some(Feed { depth: 5, bound: 6 });
        journal.handled = 7;
        journal.handled_per_second = 1.5;
        journal.handler = Some(RunningHandler {
            handler: Handler::Message,
            running_ms: 8,
        });
        journal.waiting_for = vec![WaitingFor {
            what: "disk".to_owned(),
            waiting_ms: 9,
        }];
    }
    let served = serve(world.view(), limits()).await;
    let tree = served.get("/actors").await.json();
    assert_eq!(
        (&tree["as_of"], &tree["actor"]["path"]),
        (&json!(NOW), &json!("root"))
    );
    assert_eq!(tree["actor"]["strategy"], "one_for_one");
    let journal = served.get("/actors/root/settlement/journal").await.json();
    assert_eq!(
        journal["actor"],
        tree["actor"]["children"][0]["children"][0]
    );
    let expected = json!({
        "id": "journal", "path": "root/settlement/journal", "kind": "worker",
        "restart": "permanent", "strategy": null, "state": "stalled", "restarts": 2,
        "last_exit": {"kind": "error", "text": "error: cannot reach postgres://***@db/x"},
        "uptime_ms": 1000, "retry_in_ms": null, "mailbox_depth": 4,
        "feed": {"depth": 5, "bound": 6}, "handled": 7, "handled_per_second": 1.5,
        "handler": {"handler": "message", "running_ms": 8},
        "waiting_for": [{"what": "disk", "waiting_ms": 9}],
        "children": [], "children_left_out": 0
    });
    assert_eq!(journal["actor"], expected);
    let encoded = served.get("/actors/root%2Fsettlement").await;
    assert_eq!(encoded.json()["actor"]["id"], "settlement");
    for absent in [
        "/actors/x",
        "/actors/root/x",
        "/actors/root/",
        "/actors/settlement",
    ] {
        let got = served.get(absent).await;
        assert_eq!(got.problem(), (404, "not_found".to_owned()), "{absent}");
    }
}

#[tokio::test]
async fn of_many_children_some_are_shown_and_the_rest_is_counted() {
    let world = World::new();
    let many = (0..250).map(|n| child(&format!("root/ingest/collectors/{n}"), ChildState::Running));
    let collectors = supervisor("root/ingest/collectors", many.collect());
    let ingest = supervisor("root/ingest", vec![collectors]);
    world.tree.lock().unwrap().root.children.push(ingest);
    let served = serve(world.view(), limits()).await;
    for (query, shown) in [("", 100), ("?limit=1", 1), ("?limit=1000", 250)] {
        let got = served
            .get(&format!("/actors/root/ingest/collectors{query}"))
            .await;
        let actor = &got.json()["actor"];
        assert_eq!(actor["children"].as_array().unwrap().len(), shown);
        assert_eq!(actor["children_left_out"], 250 - shown);
    }
}

#[tokio::test]
async fn a_head_answers_as_a_get_without_its_body() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let got = served
        .client
        .head(served.url("/health"))
        .send()
        .await
        .unwrap();
    assert_eq!(got.status(), 200);
    assert!(got.text().await.unwrap().is_empty());
}

#[tokio::test]
async fn settlement_says_who_signs_how_long_claims_stay_open_and_which_nodes_are_asked() {
    let world = World::new();
    let served = serve(world.view(), limits()).await;
    let answer = served.get("/api/v1/settlement").await.json();
    assert_eq!(answer["target"], "program");
    assert_eq!(answer["signer"], "signer");
    assert_eq!(answer["signer_lamports"], 1_500_000_000);
    assert_eq!(answer["claims_open_seconds"], 36_000);
    assert_eq!(answer["known_from_slot"], 12);
    assert_eq!(answer["nodes"][0]["name"], "http://node.example");
    assert_eq!(answer["nodes"][0]["lag"], 2);
    assert_eq!(answer["stale"], false);
    assert!(answer["roots"].is_array(), "{answer}");
}
