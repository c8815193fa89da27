//! Answers of a process.

use serde_json::{Value, json};
use twzrd::status::Shown;

/// When the answers were given, in Unix milliseconds.
pub(crate) const AS_OF: u64 = 1_760_007_500_000;

/// An actor that runs, with the fields of `more` in place of its own.
pub(crate) fn actor(id: &str, more: Value) -> Value {
    let mut actor = json!({
        "id": id, "path": format!("root/{id}"), "kind": "worker", "restart": "permanent",
        "strategy": null, "state": "running", "restarts": 0, "last_exit": null,
        "uptime_ms": 7_500_000, "retry_in_ms": null, "mailbox_depth": 0, "feed": null,
        "handled": 1200, "handled_per_second": 0.0, "handler": null, "waiting_for": [],
        "children": [], "children_left_out": 0,
    });
    let Value::Object(more) = more else {
        panic!("expected an object, found {more}");
    };
    actor.as_object_mut().unwrap().extend(more);
    actor
}

pub(crate) fn supervisor(id: &str, children: Vec<Value>) -> Value {
    let mut own = json!({"kind": "supervisor", "strategy": "one_for_one", "handled": 0});
    own["children"] = Value::Array(children);
    actor(id, own)
}

/// A tree like that of the service, with these collectors.
pub(crate) fn tree(collectors: Vec<Value>) -> Value {
    let batcher = json!({
        "restarts": 3, "uptime_ms": 3000, "mailbox_depth": 14, "handled": 12_345,
        "handled_per_second": 431.6, "handler": {"handler": "message", "running_ms": 1250},
        "waiting_for": [{"what": "the store", "waiting_ms": 1200}],
        "last_exit": {"kind": "panic", "text": "panic: index out of bounds: the len is 3"},
    });
    let sealer = json!({
        "state": "cooling_down", "restarts": 12, "uptime_ms": null, "retry_in_ms": 42_000,
        "last_exit": {"kind": "error", "text": "error: the store refused while sealing"},
    });
    let settlement = vec![
        actor("journal", json!({"feed": {"depth": 12, "bound": 1024}})),
        actor("participation_batcher", batcher),
        actor("epoch_sealer", sealer),
    ];
    let ingest = vec![
        actor("gap_ledger", json!({})),
        supervisor("collectors", collectors),
    ];
    let branches = vec![
        supervisor("operations", vec![actor("gateway", json!({}))]),
        supervisor("settlement", settlement),
        supervisor("ingest", ingest),
    ];
    json!({"as_of": AS_OF, "actor": supervisor("root", branches)})
}

/// A collector that runs, with this many lines in its feed of a thousand.
pub(crate) fn collector(n: u64, depth: u64, per_second: f64) -> Value {
    let feed = json!({"depth": depth, "bound": 1000});
    let own = json!({"feed": feed, "handled": 10, "handled_per_second": per_second});
    actor(&format!("channel{n:03}"), own)
}

/// Two collectors.
pub(crate) fn two() -> Vec<Value> {
    vec![collector(1, 0, 0.0), collector(2, 950, 12.0)]
}

pub(crate) fn health() -> Value {
    let ok =
        json!({"status": "ok", "reason": null, "since": AS_OF - 7_500_000, "checked_at": AS_OF});
    let away = json!({
        "status": "away", "reason": "connection refused", "since": AS_OF - 252_000, "checked_at": AS_OF,
    });
    json!({
        "status": "degraded", "version": "0.1.0", "started_at": AS_OF - 7_500_000, "database": away,
        "journal": ok, "twitch": ok, "program": {
            "status": "off", "reason": "settlement is off", "since": 0, "checked_at": 0,
        },
    })
}

pub(crate) fn not_ready() -> Value {
    json!({
        "type": "urn:twzrd:problem:not_ready", "status": 503, "detail": "2 reasons", "ready": false,
        "reasons": [
            {"code": "database_away", "detail": "since 1: connection refused"},
            {"code": "actor_not_running", "detail": "the actor is cooling_down",
             "path": "root/settlement/epoch_sealer"},
        ],
    })
}

pub(crate) fn ledger() -> Value {
    json!({
        "ledger": {
            "received": 1_234_567, "counted": 1_200_000, "suppressed": 0, "mirrored": 34_000,
            "duplicate": 0, "late": 0, "anonymous": 0, "invalid": 0, "other": 567,
        },
        "conservation_drift": 0, "as_of": AS_OF, "stale": true,
    })
}

/// What a client makes of these answers.
pub(crate) fn shown(tree: Value) -> Shown {
    Shown {
        tree: serde_json::from_value(tree).unwrap(),
        health: Ok(serde_json::from_value(health()).unwrap()),
        readiness: Ok(serde_json::from_value(not_ready()).unwrap()),
        ledger: Ok(serde_json::from_value(ledger()).unwrap()),
    }
}
