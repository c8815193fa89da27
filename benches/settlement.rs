//! 1,000 roots from planned to settled on a local node behind real sockets: time, transactions and
//! fees, many roots a transaction beside one.
//!
//! `cargo bench --bench settlement -- [ROOTS]`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench prints, and measures with the system's clock"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ractor::Actor;
use twzrd::clock::SystemClock;
use twzrd_actors::publisher::{Publisher, PublisherArgs, PublisherMsg, Publishing};
use twzrd_actors::step::no_probe;
use twzrd_chain::keys::Signer;
use twzrd_chain::rpc::{Pool, PoolConfig};
use twzrd_chain::target::{ProgramTarget, TargetConfig};
use twzrd_domain::batch::Groups;
use twzrd_domain::chain::SettlementStore;
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::identity::Login;
use twzrd_domain::settlement::{EpochMode, Policy, RootKind};
use twzrd_localnet::NodeConfig;
use twzrd_localnet::scene::{Scene, SceneConfig};
use twzrd_store::Store;
use twzrd_testkit::roots;

const ROOTS: usize = 1000;
/// A tenth of the cluster's, so that a run is short; times scale with it where they wait for it.
const SLOT: Duration = Duration::from_millis(40);

fn main() {
    let roots = std::env::args().skip(1).find(|arg| arg != "--bench");
    let roots = roots.map_or(ROOTS, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!(
        "{roots} roots, slots of {} ms, finalized after 32",
        SLOT.as_millis()
    );
    println!(
        "{:<24} {:>9} {:>13} {:>14} {:>12}",
        "", "seconds", "transactions", "fees, lamports", "a root"
    );
    for (told, most) in [("as many as fit", 64), ("one a transaction", 1)] {
        runtime.block_on(measure(told, roots, most));
    }
}

async fn measure(told: &str, count: usize, most: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bench.sqlite");
    let store = Store::sqlite(&path, Groups::default()).await.unwrap();
    let people: Vec<Login> = (0..3)
        .map(|it| format!("person{it}").parse().unwrap())
        .collect();
    let channels: Vec<_> = (0..count)
        .map(|it| (format!("channel_{it:05}").parse().unwrap(), people.clone()))
        .collect();
    roots::seal(&store, Epoch(3600), &channels).await.unwrap();
    let scene = Scene::new(SceneConfig {
        node: NodeConfig {
            finality_slots: 32,
            ..NodeConfig::default()
        },
        lamports: 1_000_000_000_000,
        ..SceneConfig::default()
    });
    let listen = "127.0.0.1:0".parse().unwrap();
    let served = scene.node.serve(listen, Some(SLOT)).await.unwrap();
    let pool = Pool::http(
        &[served.http_url()],
        Duration::from_secs(10),
        PoolConfig::default(),
    );
    let signer = Signer::from_text("bench", &scene.publisher.to_base58_string()).unwrap();
    let config = TargetConfig {
        max_roots: most,
        ..TargetConfig::default()
    };
    let target = ProgramTarget::new(pool.unwrap(), scene.program, signer, config);
    let store = Arc::new(store);
    let args = PublisherArgs {
        store: Arc::clone(&store) as _,
        chain: Some(Arc::new(target)),
        clock: Arc::new(SystemClock),
        publishing: Arc::new(publishing(count)),
        counters: Arc::default(),
        probe: no_probe(),
    };
    let counters = Arc::clone(&args.counters);
    let begun = Instant::now();
    let (publisher, ended) = Actor::spawn(None, Publisher, args).await.unwrap();
    publisher.call(PublisherMsg::SettleAll, None).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    publisher.stop(None);
    ended.await.unwrap();
    let tallies = store.tallies().await.unwrap();
    assert_eq!(tallies.len(), 1, "{tallies:?}");
    assert_eq!(
        (tallies[0].state.as_str(), tallies[0].roots),
        ("settled", count as u64)
    );
    let transactions = counters.counts().transactions;
    let spent = 1_000_000_000_000
        - scene
            .node
            .account(&address(&scene), twzrd_localnet::Commitment::Processed)
            .unwrap()
            .lamports;
    let rent = count as u64 * 13_293_600;
    let fees = spent.saturating_sub(rent);
    println!(
        "{told:<24} {seconds:>9.1} {transactions:>13} {fees:>14} {:>12}",
        fees / count as u64
    );
}

fn address(scene: &Scene) -> solana_sdk::pubkey::Pubkey {
    solana_sdk::signer::Signer::pubkey(&scene.publisher)
}

fn publishing(count: usize) -> Publishing {
    Publishing {
        auto: true,
        kind: RootKind::Claim,
        mode: EpochMode::Index,
        length: EpochLength::HOUR,
        policy: Policy {
            token_groups: Vec::new(),
            ghost_filter: true,
            live_window: None,
            anomaly: None,
        },
        per_tick: count,
        interval: Duration::from_secs(2),
        poll: Duration::from_millis(200),
        resend: Duration::from_secs(2),
        judge_again: Duration::from_secs(3600),
        only: None,
    }
}
