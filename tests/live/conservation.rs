//! Whatever was received has an outcome, in each channel and epoch; where not, it shows.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use twzrd_testkit::postgres::Postgres;

use crate::world::{Plan, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_drifts_that_cancel_out_show_in_metric_ledger_and_readiness() {
    let world = World::start(Plan::default()).await;
    let file = world.data().join("twzrd.sqlite");
    drifts(&world, |sql| sqlite(&file, sql)).await;
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_drifts_that_cancel_out_show_on_postgres_too() {
    let postgres = Postgres::start().unwrap();
    let world = World::start(Plan {
        database_url: Some(postgres.url()),
        ..Plan::default()
    })
    .await;
    drifts(&world, |sql| postgres.run(sql).unwrap()).await;
    world.stop().await;
}

/// Breaks the ledger behind the back of a running service, and puts it right again.
async fn drifts(world: &World, run: impl Fn(&str) -> String) {
    world.all_heard().await;
    world.simulator.set_rate(500);
    until("lines are in the ledger", || async {
        world.ledger().await.counted > 500
    })
    .await;
    world.settle().await;
    until("nothing has disappeared", || async {
        world.get("/ready").await.0 == 200 && drift(world).await.as_deref() == Some("0")
    })
    .await;
    let rows = run(
        "SELECT epoch, channel FROM ingest_ledger WHERE counted > 3 ORDER BY epoch, channel LIMIT 2",
    );
    let rows: Vec<(&str, &str)> = rows
        .lines()
        .map(|row| row.split_once('|').unwrap())
        .collect();
    let add = |(epoch, channel): (&str, &str), lines: i64| {
        run(&format!(
            "UPDATE ingest_ledger SET received = received + {lines} WHERE epoch = {epoch} AND channel = '{channel}'"
        ));
    };
    let received = world.ledger().await.received;
    add(rows[0], 3);
    add(rows[1], -3);
    until("the drift is in the metric", || async {
        drift(world).await.as_deref() == Some("6")
    })
    .await;
    let (epoch, channel) = rows[0];
    let (status, ready) = world.get("/ready").await;
    let expected = json!([{
        "code": "conservation_drift",
        "detail": format!("6 lines have no outcome or one too many, in 2 channels and epochs; the first is {channel} in epoch {epoch}")
    }]);
    assert_eq!((status, &ready["reasons"]), (503, &expected));
    let (_, ledger) = world.get("/api/v1/ledger").await;
    assert_eq!(
        ledger["ledger"]["received"], received,
        "the sum shows nothing"
    );
    let first = json!({"epoch": epoch.parse::<u64>().unwrap(), "channel": channel});
    assert_eq!(
        (
            &ledger["conservation_drift"],
            &ledger["drifting"],
            &ledger["first_drifting"]
        ),
        (&json!(6), &json!(2), &first)
    );
    add(rows[0], -3);
    add(rows[1], 3);
    until("the drift is gone", || async {
        world.get("/ready").await.0 == 200 && drift(world).await.as_deref() == Some("0")
    })
    .await;
    let (_, ledger) = world.get("/api/v1/ledger").await;
    assert_eq!(ledger["first_drifting"], json!(null));
}

/// The metric as it is written; none before the ledger was read.
async fn drift(world: &World) -> Option<String> {
    let answer = reqwest::get(format!("{}/metrics", world.gateway)).await;
    let text = answer.unwrap().text().await.unwrap();
    let mut lines = text.lines();
    let value = lines.find_map(|line| line.strip_prefix("twzrd_conservation_drift "));
    value.map(str::to_owned)
}

/// Runs a statement in a SQLite file that another process has open, and gives a row a line.
pub(crate) fn sqlite(file: &Path, sql: &str) -> String {
    const SCRIPT: &str = "import sqlite3, sys\n\
        db = sqlite3.connect(sys.argv[1], timeout=30)\n\
        for row in db.execute(sys.argv[2]): print('|'.join(map(str, row)))\n\
        db.commit()";
    let mut python = Command::new("python3");
    let output = python.arg("-c").arg(SCRIPT).arg(file).arg(sql).output();
    let output = output.expect("Python runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}
