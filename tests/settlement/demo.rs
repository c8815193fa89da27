//! `twzrd demo --solana`: roots appear on chain, and wallets are paid for what they prove.

use std::process::{Command, Stdio};

use twzrd_domain::identity::Name;
use twzrd_localnet::NodeConfig;
use twzrd_localnet::scene::{Scene, SceneConfig};

use crate::chain::write_key;
use crate::support::Place;

/// The number in front of a word.
fn figure(line: &str, word: &str) -> u64 {
    let words: Vec<&str> = line
        .split([' ', ';', ','])
        .filter(|it| !it.is_empty())
        .collect();
    let at = words
        .iter()
        .position(|it| *it == word)
        .unwrap_or_else(|| panic!("{word} in {line}"));
    let figure = words[..at].iter().rev().find_map(|it| it.parse().ok());
    figure.unwrap_or_else(|| panic!("a number before {word} in {line}"))
}

#[test]
fn a_demo_settles_the_roots_of_thirty_channels_and_pays_the_wallets_that_prove() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = Scene::new(SceneConfig {
        node: NodeConfig::default(),
        ..SceneConfig::default()
    });
    let served = runtime.block_on(async {
        let listen = "127.0.0.1:0".parse().unwrap();
        let every = std::time::Duration::from_millis(50);
        scene.node.serve(listen, Some(every)).await.unwrap()
    });
    let place = Place::new();
    std::fs::create_dir_all(place.path("chain/wallets")).unwrap();
    write_key(&place, "chain/publisher.json", &scene.publisher);
    for (number, wallet) in scene.wallets.iter().enumerate() {
        write_key(&place, &format!("chain/wallets/{number}.json"), wallet);
    }
    let told = serde_json::json!({
        "http_url": served.http_url(), "ws_url": served.ws_url(),
        "program": scene.program.id.to_string(), "mint": scene.program.mint.to_string(),
        "wallets": vec![""; scene.wallets.len()],
    });
    place.write("chain/scene.json", told.to_string());
    let args = [
        "demo",
        "--seconds",
        "50",
        "--solana",
        "chain",
        "--data",
        "data",
        "--log-level",
        "info",
    ];
    let run = place.run(&args);
    assert_eq!(run.code, 0, "{run:?}");
    let line = run
        .out
        .lines()
        .rfind(|line| line.starts_with("on chain: "))
        .unwrap();
    let (settled, paid) = (figure(line, "roots"), figure(line, "paid"));
    assert!(settled >= 30, "{line}");
    assert!(paid > 0 && figure(line, "refused") == 0, "{line}");
    assert_eq!(figure(line, "sent"), paid, "{line}");
    // The books of the program, those of the service, and the wallets agree.
    let rows = query(
        &place,
        "SELECT channel, chain_epoch, idx, amount, user_pubkey FROM claims ORDER BY 1, 2, 3",
    );
    assert_eq!(rows.len() as u64, paid, "{line}");
    let mut amounts = std::collections::BTreeMap::<String, u64>::new();
    for row in &rows {
        let [channel, number, index, amount, wallet] = row.as_slice() else {
            panic!("{row:?}");
        };
        let channel = Name::parse(channel).unwrap();
        let claimed = scene.claimed(&channel, number.parse().unwrap()).unwrap();
        assert!(claimed.contains(&index.parse().unwrap()), "{row:?}");
        *amounts.entry(wallet.clone()).or_default() += amount.parse::<u64>().unwrap();
    }
    for (wallet, amount) in amounts {
        let key = wallet.parse().unwrap();
        assert_eq!(scene.tokens_of(&key), amount, "{wallet}");
    }
    let published = query(
        &place,
        "SELECT count(*) FROM sealed_epochs WHERE published = 1 AND published_at IS NOT NULL",
    );
    let settled = query(
        &place,
        "SELECT count(*) FROM roots WHERE status = 'settled'",
    );
    assert_eq!(published, settled);
    let tries = query(
        &place,
        "SELECT root_id, count(*) FROM settlement_log GROUP BY 1 HAVING count(*) <> 1",
    );
    assert!(tries.is_empty(), "{tries:?}");
}

/// Asks the database with another program's SQLite.
fn query(place: &Place, sql: &str) -> Vec<Vec<String>> {
    let script = "import json, sqlite3, sys\n\
        rows = sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchall()\n\
        print(json.dumps([[str(value) for value in row] for row in rows]))";
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(place.path("data/twzrd.sqlite"))
        .arg(sql)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}
