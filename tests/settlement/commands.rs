//! The commands of settlement.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer;
use twzrd_localnet::NodeConfig;

use crate::chain::{Local, write_key};
use crate::support::HOUR;

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_dry_run_says_what_each_root_would_do_and_cost_and_sends_nothing() {
    let local = Local::with(NodeConfig::default(), "auto_publish = false\n");
    local.seal(&["tea", "coffee"]);
    let args = [
        "publish",
        "--dry-run",
        "--json",
        "--log-level",
        "error",
        "--data",
        "data",
    ];
    let told = lines(&local.place.run(&args).good());
    assert_eq!(told.len(), 2, "{told:?}");
    for line in &told {
        assert_eq!(line["would"], "publish", "{line}");
        assert!(line["compute_units"].as_u64().unwrap() > 0, "{line}");
        assert!(line["fee_lamports"].as_u64().unwrap() > 0, "{line}");
        assert!(
            line["rent_lamports"].as_u64().unwrap() > 1_000_000,
            "{line}"
        );
    }
    let text = local
        .place
        .run(&[
            "publish",
            "--dry-run",
            "--log-level",
            "error",
            "--data",
            "data",
        ])
        .good();
    assert!(
        text.contains("2 would be published in 1 transactions"),
        "{text}"
    );
    assert_eq!(local.shown("tea")["state"], "planned");
    assert_eq!(local.scene.node.counts().landed, 0);
}

#[test]
fn one_root_is_published_by_hand_and_shown_with_its_log() {
    let local = Local::with(NodeConfig::default(), "auto_publish = false\n");
    local.seal(&["tea", "coffee"]);
    let epoch = HOUR.to_string();
    let args = [
        "--log-level",
        "error",
        "--data",
        "data",
        "--epoch",
        &epoch,
        "--channel",
        "tea",
    ];
    let told = local.place.run(&[&["publish"], &args[..]].concat()).good();
    assert!(told.contains("settled by"), "{told}");
    assert!(told.contains("confirmed  program"), "{told}");
    assert_eq!(local.shown("coffee")["state"], "planned");
    let list = [
        "settlement",
        "list",
        "--json",
        "--log-level",
        "error",
        "--data",
        "data",
    ];
    let all = lines(&local.place.run(&list).good());
    assert_eq!(all.len(), 2);
    let settled = lines(
        &local
            .place
            .run(&[&list[..], &["--state", "settled"]].concat())
            .good(),
    );
    assert_eq!(settled.len(), 1);
    assert_eq!(settled[0]["channel"], "tea");
    let refused = local
        .place
        .run(&[&["settlement", "release"], &args[..]].concat());
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .err
            .contains("is settled; expected a root that is held"),
        "{}",
        refused.err
    );
}

#[test]
fn a_paused_program_holds_roots_until_the_admin_lets_it_go_on() {
    let local = Local::new();
    local.seal(&["tea"]);
    let admin = ["admin", "--keypair", "admin.json", "--log-level", "error"];
    let dry = local
        .place
        .run(&[&admin[..], &["--dry-run", "set-paused", "true"]].concat())
        .good();
    assert!(
        dry.contains("paused") && dry.contains("nothing was sent"),
        "{dry}"
    );
    assert!(!local.scene.protocol_state().unwrap().paused);
    let done = local
        .place
        .run(&[&admin[..], &["set-paused", "true"]].concat())
        .good();
    assert!(
        done.contains("read back: the account holds what was asked"),
        "{done}"
    );
    let service = local.service();
    let shown = local.until("tea", "held");
    assert_eq!(shown["reason"], "paused");
    assert!(
        shown["next_step"]
            .as_str()
            .unwrap()
            .contains("set-paused false")
    );
    assert_eq!(shown["log"], Value::Array(Vec::new()));
    local
        .place
        .run(&[&admin[..], &["set-paused", "false"]].concat())
        .good();
    local.until("tea", "settled");
    service.stop();
}

#[test]
fn each_admin_command_changes_what_it_says_and_a_stranger_is_refused() {
    let local = Local::new();
    write_key(&local.place, "stranger.json", &local.scene.wallets[0]);
    let run = |key: &str, args: &[&str]| {
        let head = ["admin", "--keypair", key, "--log-level", "error"];
        local.place.run(&[&head[..], args].concat())
    };
    let refused = run("stranger.json", &["set-paused", "true"]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.out.contains("6000"), "{refused:?}");
    let other = Keypair::new().pubkey();
    run("admin.json", &["update-publisher", &other.to_string()]).good();
    assert_eq!(local.scene.protocol_state().unwrap().publisher, other);
    run("admin.json", &["set-policy", "true"]).good();
    let again = run("admin.json", &["set-policy", "true"]).good();
    assert!(again.contains("held already: nothing was sent"), "{again}");
    assert!(local.scene.protocol_state().unwrap().require_receipt);
    run("admin.json", &["initialize-channel", "tea"]).good();
    for args in [
        &["initialize-channel", "tea"][..],
        &["--dry-run", "initialize-channel", "tea"],
    ] {
        let again = run("admin.json", args).good();
        assert!(again.contains("held already"), "{again}");
    }
    assert!(local.scene.channel_state(&"tea".parse().unwrap()).is_some());
    let shown = run("admin.json", &["show", "tea"]).good();
    assert!(shown.contains(&other.to_string()), "{shown}");
    run("admin.json", &["update-admin", &other.to_string()]).good();
    assert_eq!(local.scene.protocol_state().unwrap().admin, other);
    let bad = run("admin.json", &["update-admin", "nobody"]);
    assert_eq!(bad.code, 2, "{bad:?}");
    assert!(bad.err.contains("nobody"), "{bad:?}");
}

#[test]
fn check_says_which_key_signs_and_its_balance_and_no_byte_of_it() {
    let local = Local::new();
    let told = local.place.run(&["check"]).good();
    assert!(
        told.contains(&local.scene.publisher.pubkey().to_string()),
        "{told}"
    );
    assert!(told.contains("10000000000 lamports"), "{told}");
    let secret = local.scene.publisher.to_base58_string();
    assert!(!told.contains(&secret[..20]));
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(local.place.path("publisher.json"), open).unwrap();
    let refused = local.place.run(&["check"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(refused.out.contains("publisher.json"), "{refused:?}");
    let refused = local.place.run(&["run", "--data", "data"]);
    assert_eq!(refused.code, 78, "{refused:?}");
}

#[test]
fn the_main_network_and_auto_publish_ask_to_be_acknowledged() {
    let mainnet = NodeConfig {
        genesis_hash: Some(
            "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
                .parse()
                .unwrap(),
        ),
        ..NodeConfig::default()
    };
    let local = Local::with(mainnet, "auto_publish = true\n");
    let refused = local.place.run(&["run", "--data", "data"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(
        refused.err.contains("chain.mainnet_acknowledged"),
        "{refused:?}"
    );
    assert_eq!(local.scene.node.counts().landed, 0);
}

#[test]
fn one_node_of_the_main_network_among_others_is_refused_wherever_it_stands() {
    let mainnet = NodeConfig {
        genesis_hash: Some(
            "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
                .parse()
                .unwrap(),
        ),
        ..NodeConfig::default()
    };
    let other = NodeConfig {
        seed: 2,
        ..NodeConfig::default()
    };
    for (node, setting) in [
        (mainnet, "chain.mainnet_acknowledged"),
        (other, "chain.rpc_urls"),
    ] {
        let local = Local::with(NodeConfig::default(), "auto_publish = true\n");
        let second = Local::with(node, "auto_publish = true\n");
        let urls = [local.url(), second.url()];
        for urls in [[&urls[0], &urls[1]], [&urls[1], &urls[0]]] {
            let mut command = local.place.command(&["run", "--data", "data"]);
            let urls = urls.map(String::as_str).join(",");
            let refused = command.env("TWZRD_RPC_URLS", urls).output().unwrap();
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(78), "{said}");
            assert!(said.contains(setting), "{said}");
        }
    }
}

#[test]
fn participation_roots_are_refused_for_a_program_that_pays() {
    let local = Local::with(
        NodeConfig::default(),
        "auto_publish = true\nroot = \"participation\"\n",
    );
    let refused = local.place.run(&["check"]);
    assert_eq!(refused.code, 78, "{refused:?}");
    assert!(refused.out.contains("publisher.root"), "{refused:?}");
    assert!(
        refused.out.contains("neither wallet nor amount"),
        "{refused:?}"
    );
}

#[test]
fn a_key_without_money_is_told_with_what_it_has_and_needs() {
    let local = Local::new();
    let poor = Keypair::new();
    write_key(&local.place, "publisher.json", &poor);
    let address = poor.pubkey().to_string();
    let admin = [
        "admin",
        "--keypair",
        "admin.json",
        "--log-level",
        "error",
        "update-publisher",
        &address,
    ];
    local.place.run(&admin).good();
    local.seal(&["tea"]);
    let service = local.service();
    let shown = local.until("tea", "held");
    assert_eq!(shown["reason"], "no_funds", "{shown}");
    assert!(
        shown["reason_text"].as_str().unwrap().contains(&address),
        "{shown}"
    );
    service.stop();
}
