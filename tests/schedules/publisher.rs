//! The publisher: every root ends settled once, or superseded, or failed with a reason; and none is
//! signed a second time while the first could still land.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use rand::RngExt;
use serde_json::json;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client::rpc_client::RpcClientConfig;
use solana_sdk::instruction::Instruction;
use solana_sdk::signature::{Keypair, Signature};
use solana_sdk::signer::Signer as _;
use solana_sdk::transaction::Transaction;
use tokio::task::JoinSet;
use twzrd_actors::publisher::{Publisher, PublisherArgs, PublisherMsg, Publishing};
use twzrd_chain::keys::Signer;
use twzrd_chain::program::instruction;
use twzrd_chain::target::{ProgramTarget, TargetConfig};
use twzrd_domain::chain::{RootChain, SettlementStore};
use twzrd_domain::epoch::{Epoch, EpochLength, UnixMs};
use twzrd_domain::identity::Channel;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{EpochMode, Policy, RootKind, Why};
use twzrd_localnet::scene::Scene;
use twzrd_supervision::{ChildRef, ChildSpec, Options, start};
use twzrd_testkit::fake::{Fault, MemoryStore, PausedClock, State};
use twzrd_testkit::roots;

use crate::faults::{Crashes, Nodes, rng};
use crate::seeds::play;
use crate::watched::{Sending, Watched};
use crate::world::{SLOT, in_paused_time, scene, supervised};

/// Seeds that found something.
const FOUND: &[u64] = &[];
const CHANNELS: usize = 12;
const EPOCHS: u64 = 3;
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);
/// How long the faults last.
const TROUBLE: Duration = Duration::from_secs(240);
const BEGIN: UnixMs = 1_800_000_000_000;

static ROOTS: LazyLock<State> = LazyLock::new(|| {
    // The first schedule asks from within its own runtime.
    let made = std::thread::Builder::new()
        .name("roots".to_owned())
        .spawn(|| {
            in_paused_time(async {
                let store = MemoryStore::default();
                let people: Vec<_> = (0..3)
                    .map(|it| format!("person{it}").parse().unwrap())
                    .collect();
                let channels: Vec<_> = (0..CHANNELS)
                    .map(|it| (channel(it), people.clone()))
                    .collect();
                for number in 1..=EPOCHS {
                    roots::seal(&store, Epoch(number * 3600), &channels)
                        .await
                        .unwrap();
                }
                store.state()
            })
        });
    made.unwrap().join().unwrap()
});

fn channel(number: usize) -> Channel {
    format!("channel{number}").parse().unwrap()
}

/// What a schedule came to.
#[derive(Debug, Default)]
struct End {
    states: BTreeMap<String, u64>,
    strikes: u64,
    crashes: u64,
    transactions: u64,
}

struct Schedule {
    seed: u64,
    scene: Scene,
    store: MemoryStore,
    mode: EpochMode,
}

#[test]
fn every_root_ends_settled_once_or_superseded_or_failed_with_a_reason() {
    let ends = play("publisher", FOUND, |seed| in_paused_time(schedule(seed)));
    let mut sum = End::default();
    for end in &ends {
        for (state, roots) in &end.states {
            *sum.states.entry(state.clone()).or_default() += roots;
        }
        sum.strikes += end.strikes;
        sum.crashes += end.crashes;
        sum.transactions += end.transactions;
    }
    println!("publisher: {} schedules: {sum:?}", ends.len());
    if ends.len() >= 20 {
        assert!(
            sum.strikes > 0 && sum.crashes > 0 && sum.states.contains_key("superseded"),
            "{sum:?}"
        );
    }
}

async fn schedule(seed: u64) -> End {
    let mode = if rng(seed, 3).random_bool(0.5) {
        EpochMode::Parity
    } else {
        EpochMode::Index
    };
    let it = Schedule {
        seed,
        scene: scene(),
        store: MemoryStore::with_state(ROOTS.clone()),
        mode,
    };
    let nodes = Nodes::new(&it.scene.node, seed);
    let crashes = Crashes::new(seed);
    let store = Arc::new(Watched {
        store: it.store.clone(),
        node: it.scene.node.clone(),
        kept: Mutex::default(),
        broken: Mutex::default(),
    });
    let signer = Signer::from_text("test", &it.scene.publisher.to_base58_string()).unwrap();
    let config = TargetConfig {
        max_roots: rng(seed, 4).random_range(1..=8),
        ..TargetConfig::default()
    };
    let target = ProgramTarget::new(nodes.pool.clone(), it.scene.program, signer, config);
    let clock = PausedClock::at(BEGIN);
    clock.start();
    let args = PublisherArgs {
        store: Arc::clone(&store) as _,
        chain: Some(Arc::new(Sending {
            target,
            store: Arc::clone(&store),
        }) as Arc<dyn RootChain>),
        clock: Arc::new(clock),
        publishing: Arc::new(publishing(mode)),
        counters: Arc::default(),
        probe: Arc::clone(&crashes) as _,
    };
    let publisher = ChildRef::new("publisher");
    let child = ChildSpec::worker("publisher", &publisher, move || (Publisher, args.clone()));
    let tree = start(supervised(child), Options::default()).await.unwrap();
    let mut tasks = JoinSet::new();
    let node = it.scene.node.clone();
    tasks.spawn(async move { node.run(SLOT).await });
    it.trouble().await;
    nodes.clear();
    crashes.disarm();
    it.store.faults().clear();
    it.set_paused(false).await;
    it.settle(&publisher).await;
    tree.stop().await;
    let end = it.check(&store).await;
    End {
        strikes: nodes.strikes(),
        crashes: crashes.count(),
        ..end
    }
}

fn publishing(mode: EpochMode) -> Publishing {
    Publishing {
        auto: true,
        kind: RootKind::Claim,
        mode,
        length: EpochLength::HOUR,
        policy: Policy {
            token_groups: Vec::new(),
            ghost_filter: true,
            live_window: None,
            anomaly: None,
        },
        per_tick: 20,
        interval: Duration::from_secs(5),
        poll: Duration::from_secs(1),
        resend: Duration::from_secs(2),
        judge_again: Duration::from_secs(3600),
        only: None,
    }
}

impl Schedule {
    /// What goes wrong besides the nodes: the store, the program, and other publishers.
    async fn trouble(&self) {
        let mut random = rng(self.seed, 5);
        let mut left = TROUBLE;
        while left > Duration::ZERO {
            let wait = Duration::from_millis(random.random_range(500..20_000)).min(left);
            tokio::time::sleep(wait).await;
            left -= wait;
            match random.random_range(0..6) {
                0 => self
                    .store
                    .fail_next(random.random_range(1..6), Fault::Transient),
                1 => self.set_paused(true).await,
                2 => self.set_paused(false).await,
                3 => {
                    let number = self
                        .mode
                        .number(Epoch((EPOCHS + 10) * 3600), EpochLength::HOUR);
                    let channel = channel(random.random_range(0..CHANNELS));
                    let root = random.random();
                    let other = instruction::set_channel_merkle_root(
                        &self.scene.program,
                        &self.scene.admin.pubkey(),
                        &channel,
                        // In parity mode every hour takes the same slot; else one of them.
                        number
                            + if self.mode == EpochMode::Index {
                                random.random_range(0..10)
                            } else {
                                0
                            },
                        root,
                    );
                    self.send(&self.scene.admin, other).await;
                }
                _ => {}
            }
        }
    }

    async fn set_paused(&self, paused: bool) {
        let admin = self.scene.admin.pubkey();
        let instruction = instruction::set_paused_open(&self.scene.program, &admin, paused);
        self.send(&self.scene.admin, instruction).await;
    }

    /// Sends something as anybody could; whether it lands is up to the chain.
    async fn send(&self, payer: &Keypair, instruction: Instruction) {
        let client = RpcClient::new_sender(self.scene.node.sender(), RpcClientConfig::default());
        for _ in 0..20 {
            let Ok(blockhash) = client.get_latest_blockhash().await else {
                continue;
            };
            let signed = Transaction::new_signed_with_payer(
                std::slice::from_ref(&instruction),
                Some(&payer.pubkey()),
                &[payer],
                blockhash,
            );
            // Refused where the program is in another state by now.
            let _ = client.send_transaction(&signed).await;
            tokio::time::sleep(SLOT * 2).await;
            if self.scene.node.landed(&signed.signatures[0]).is_some() {
                return;
            }
        }
    }

    async fn settle(&self, publisher: &ChildRef<PublisherMsg>) {
        for _ in 0..100 {
            if publisher
                .call(PublisherMsg::SettleAll, ANSWER_WITHIN)
                .await
                .is_err()
            {
                let _ = publisher.wait_running(ANSWER_WITHIN).await;
                continue;
            }
            let rows = self.store.rows(None, None, 1000).await.unwrap();
            if rows.iter().all(|row| is_end(&row.publication)) {
                return;
            }
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        let rows = self.store.rows(None, None, 1000).await.unwrap();
        let open: Vec<_> = rows
            .iter()
            .filter(|row| !is_end(&row.publication))
            .collect();
        panic!("these have no end: {open:#?}");
    }

    async fn check(&self, store: &Watched) -> End {
        assert_eq!(*store.broken.lock().unwrap(), None);
        let mut end = End::default();
        let published = self.published().await;
        let rows = self.store.rows(None, None, 1000).await.unwrap();
        let kept = store.kept.lock().unwrap();
        for row in rows {
            *end.states.entry(row.publication.to_string()).or_default() += 1;
            let number = self.mode.number(row.epoch, EpochLength::HOUR);
            let place = (row.channel.clone(), number);
            let on_chain = published.get(&place).cloned().unwrap_or_default();
            let told = format!("{row:#?}\non chain: {on_chain:?}");
            let confirmed = row.log.iter().filter(|it| it.status == "confirmed").count();
            let pending = row
                .log
                .iter()
                .filter(|it| it.status == "pending_confirmation")
                .count();
            assert_eq!(pending, 0, "{told}");
            let tries = kept.get(&row.id).map_or(0, Vec::len);
            match &row.publication {
                Publication::Settled { .. } => {
                    assert_eq!(on_chain, [row.root], "settled once: {told}");
                    assert_eq!(confirmed, 1, "{told}");
                }
                Publication::Superseded { by } => {
                    assert!(*by > number, "{told}");
                    assert!(on_chain.len() <= 1 && confirmed == 0, "{told}");
                }
                Publication::Failed { reason } => {
                    assert!(
                        !reason.text.is_empty() && reason.why != Why::Paused,
                        "{told}"
                    );
                    assert_eq!((on_chain.len(), confirmed), (0, 0), "{told}");
                }
                other => panic!("{other} is no end: {told}"),
            }
            assert!(row.log.len() >= tries, "every try has a row: {told}");
        }
        let mut all: Vec<_> = kept.values().flatten().map(|it| &it.signature).collect();
        all.sort();
        all.dedup();
        end.transactions = all.len() as u64;
        end
    }

    /// Every root that the publisher's transactions brought onto the chain, by the node's books.
    async fn published(&self) -> BTreeMap<(Channel, u64), Vec<[u8; 32]>> {
        let publisher = self.scene.publisher.pubkey();
        let mut all: BTreeMap<(Channel, u64), Vec<[u8; 32]>> = BTreeMap::new();
        self.scene.node.ticks(10);
        let params = json!([publisher.to_string(), { "commitment": "finalized", "limit": 1000 }]);
        let signatures = self
            .scene
            .node
            .handle("getSignaturesForAddress", &params)
            .unwrap();
        for told in signatures.as_array().unwrap() {
            if !told["err"].is_null() {
                continue;
            }
            let signature: Signature = told["signature"].as_str().unwrap().parse().unwrap();
            let (_, landed) = self.scene.node.landed(&signature).unwrap();
            let message = &landed.transaction.message;
            for instruction in message.instructions() {
                let keys = message.static_account_keys();
                if keys[usize::from(instruction.program_id_index)] != self.scene.program.id {
                    continue;
                }
                let accounts: Vec<_> = instruction
                    .accounts
                    .iter()
                    .map(|at| keys[usize::from(*at)])
                    .collect();
                let decoded =
                    twzrd_chain::program::decode::decode(&instruction.data, &accounts).unwrap();
                if let twzrd_domain::chain::Deed::Publish {
                    channel: Some(channel),
                    number,
                    root,
                } = decoded.deed
                {
                    all.entry((channel, number)).or_default().push(root);
                }
            }
        }
        all
    }
}

fn is_end(at: &Publication) -> bool {
    matches!(
        at,
        Publication::Settled { .. } | Publication::Superseded { .. } | Publication::Failed { .. }
    )
}
