//! What publishing would do and cost, and what it would give up.

use serde_json::Value;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer;
use twzrd_localnet::{Commitment, NodeConfig};

use crate::chain::{Local, write_key};
use crate::support::{HOUR, message};

const QUIET: [&str; 4] = ["--log-level", "error", "--data", "data"];
const MAINNET: &str = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d";

fn by_hand() -> Local {
    Local::with(NodeConfig::default(), "auto_publish = false\n")
}

fn dry_run(local: &Local) -> Vec<Value> {
    let told = local
        .place
        .run(&[&["publish", "--dry-run", "--json"], &QUIET[..]].concat())
        .good();
    told.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_dry_run_promises_no_more_than_the_key_can_pay() {
    let local = by_hand();
    let channels = ["a", "b", "c", "d", "e", "f", "g", "h"];
    local.seal(&channels);
    let rich = dry_run(&local);
    let cost = |line: &Value| {
        line["fee_lamports"].as_u64().unwrap() + line["rent_lamports"].as_u64().unwrap()
    };
    let all: u64 = rich.iter().map(cost).sum();
    assert_eq!(rich.len(), channels.len());
    // What is left of the key pays for about half of them.
    let keeps = 890_880;
    let left = all / 2 + keeps;
    let publisher = local.scene.publisher.pubkey();
    let mut account = local
        .scene
        .node
        .account(&publisher, Commitment::Confirmed)
        .unwrap();
    account.lamports = left;
    local.scene.node.set_account(publisher, account);
    let poor = dry_run(&local);
    assert_eq!(poor.len(), channels.len());
    let (paid, held): (Vec<_>, Vec<_>) = poor.iter().partition(|line| line["would"] == "publish");
    assert!(!paid.is_empty() && !held.is_empty(), "{poor:?}");
    assert!(paid.iter().map(|line| cost(line)).sum::<u64>() <= all / 2);
    for line in held {
        assert_eq!(line["would"], "hold", "{line}");
        assert!(
            line["why"].as_str().unwrap().starts_with("no_funds: "),
            "{line}"
        );
    }
    assert_eq!(local.scene.node.counts().landed, 0);
}

#[test]
fn a_newer_root_is_not_published_over_older_ones_that_share_its_slot() {
    let local = by_hand();
    // Ten hours on is the same slot of the ring.
    let mut lines = String::new();
    for (id, hour) in [0u64, 1, 10].into_iter().enumerate() {
        for (at, login) in ["ada", "bob"].into_iter().enumerate() {
            let id = u32::try_from(id * 10 + at).unwrap();
            lines += &message(login, "tea", hour * 3600 + 60, id);
        }
    }
    local.place.write("chat.irc", lines);
    local.place.replay("data", &["chat.irc"]);
    let newest = (HOUR + 36_000).to_string();
    let of = |what: &[&str]| {
        let args = ["publish", "--epoch", &newest, "--channel", "tea"];
        local.place.run(&[&args[..], what, &QUIET].concat())
    };
    let told = of(&["--dry-run"]).good();
    let named = format!(
        "1 older roots of tea take the same slot and could never be published behind it: {HOUR}"
    );
    assert!(
        told.contains("would publish") && told.contains(&named),
        "{told}"
    );
    let refused = of(&[]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains(&named), "{refused:?}");
    assert!(refused.err.contains("--over-older"), "{refused:?}");
    assert_eq!(local.scene.node.counts().landed, 0);
    // In order of epoch it goes on without a word.
    let oldest = HOUR.to_string();
    let args = ["publish", "--epoch", &oldest, "--channel", "tea"];
    local.place.run(&[&args[..], &QUIET].concat()).good();
    of(&[]).good();
}

#[test]
fn who_gives_older_roots_up_says_so() {
    let local = by_hand();
    let lines = [
        message("ada", "tea", 60, 1),
        message("ada", "tea", 36_060, 2),
    ];
    local.place.write("chat.irc", lines.concat());
    local.place.replay("data", &["chat.irc"]);
    let newest = (HOUR + 36_000).to_string();
    let args = [
        "publish",
        "--over-older",
        "--epoch",
        &newest,
        "--channel",
        "tea",
    ];
    let told = local.place.run(&[&args[..], &QUIET].concat()).good();
    assert!(told.contains("settled by"), "{told}");
}

#[test]
fn what_run_refuses_is_no_good_setting_and_no_dry_run() {
    let mainnet = NodeConfig {
        genesis_hash: Some(MAINNET.parse().unwrap()),
        ..NodeConfig::default()
    };
    let local = Local::with(mainnet, "auto_publish = true\n");
    let refused = local.place.run(&["check"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(
        refused.out.contains("chain.mainnet_acknowledged"),
        "{refused:?}"
    );
    local.seal(&["tea"]);
    let refused = local
        .place
        .run(&[&["publish", "--dry-run"], &QUIET[..]].concat());
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(
        refused.err.contains("chain.mainnet_acknowledged"),
        "{refused:?}"
    );
}

#[test]
fn a_key_that_cannot_pay_for_anything_is_told_by_a_dry_run() {
    let local = by_hand();
    let poor = Keypair::new();
    write_key(&local.place, "publisher.json", &poor);
    let address = poor.pubkey().to_string();
    let admin = [
        "admin",
        "--keypair",
        "admin.json",
        "update-publisher",
        &address,
    ];
    local.place.run(&admin).good();
    local.seal(&["tea"]);
    let told = dry_run(&local);
    assert_eq!(told[0]["would"], "hold", "{told:?}");
    assert!(
        told[0]["why"].as_str().unwrap().contains(&address),
        "{told:?}"
    );
}
