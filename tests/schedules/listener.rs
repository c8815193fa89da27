//! The chain listener: the claims in the store are the bits in the program's bitmaps, each recorded
//! once, in the order of the chain, and so is the log.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rand::RngExt;
use serde_json::{Value, json};
use solana_client::client_error;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_client::rpc_request::RpcRequest;
use solana_rpc_client::rpc_client::RpcClientConfig;
use solana_rpc_client::rpc_sender::{RpcSender, RpcTransportStats};
use solana_sdk::instruction::Instruction;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Keypair;
use solana_sdk::signer::Signer as _;
use solana_sdk::transaction::Transaction;
use tokio::task::JoinSet;
use twzrd_actors::chain_listener::{ChainListener, ChainListenerArgs, ChainListenerMsg};
use twzrd_chain::activity::{LogConfig, NdjsonLog, ProgramActivity, Subscriber};
use twzrd_chain::program::Program;
use twzrd_chain::program::instruction::{Claim, claim_channel_open, set_channel_merkle_root};
use twzrd_domain::chain::{ActivityStore, ChainError, Subscription};
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::identity::{Channel, Wallet};
use twzrd_domain::leaf;
use twzrd_domain::merkle::MerkleTree;
use twzrd_domain::settlement::EpochMode;
use twzrd_localnet::events::Event;
use twzrd_localnet::faults::{Fault, FaultPlan, FaultyEvents, FaultySender, Rule};
use twzrd_localnet::scene::Scene;
use twzrd_localnet::{Commitment, Node};
use twzrd_supervision::{ChildRef, ChildSpec, Options, start};
use twzrd_testkit::fake::{Fault as StoreFault, MemoryStore, PausedClock};

use crate::faults::{Crashes, Nodes, rng};
use crate::seeds::play;
use crate::world::{SLOT, in_paused_time, scene, supervised};

/// Seeds that found something.
const FOUND: &[u64] = &[];
const CHANNELS: usize = 3;
const EPOCHS: u64 = 4;
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);
/// How long the faults last.
const TROUBLE: Duration = Duration::from_secs(120);
/// How many slots a node keeps that forgets.
const KEPT: u64 = 50;

fn channel(number: usize) -> Channel {
    format!("channel{number}").parse().unwrap()
}

/// A subscription without a socket, with the patience of the real one.
struct InProcess {
    node: Node,
    plan: FaultPlan,
}

struct Told(FaultyEvents);

#[async_trait]
impl Subscriber for InProcess {
    async fn subscribe(&self) -> Result<Box<dyn Subscription>, ChainError> {
        let events = FaultyEvents::new(self.node.events(), self.plan.clone());
        Ok(Box::new(Told(events)))
    }
}

#[async_trait]
impl Subscription for Told {
    async fn next(&mut self) -> Result<(), ChainError> {
        let silent = |reason: &str| ChainError::Transient {
            doing: "listening",
            reason: reason.to_owned(),
        };
        loop {
            match tokio::time::timeout(Duration::from_secs(15), self.0.next()).await {
                Ok(Some(Event::Transaction {
                    commitment: Commitment::Finalized,
                    ..
                })) => return Ok(()),
                Ok(Some(_)) => {}
                Ok(None) => return Err(silent("it ended")),
                Err(_) => return Err(silent("nothing came for 15 s")),
            }
        }
    }
}

/// A node that forgets. It begins with that once the listener has recorded something: what was
/// forgotten before that is not to be found.
struct Forgetful {
    inner: FaultySender,
    node: Node,
    store: MemoryStore,
}

impl Forgetful {
    fn first(&self) -> u64 {
        let has_begun =
            |store: &MemoryStore| store.look_at(|state| state.settlement.followed.mark.is_some());
        match has_begun(&self.store) {
            true => self.node.slot(Commitment::Finalized).saturating_sub(KEPT),
            false => 0,
        }
    }
}

#[async_trait]
impl RpcSender for Forgetful {
    async fn send(&self, request: RpcRequest, params: Value) -> client_error::Result<Value> {
        let mut answer = self.inner.send(request, params).await?;
        let first = self.first();
        // Slot 0 is a fault that was put into the answer: what it forgets is at the end of a list.
        let is_kept = |it: &Value| {
            let slot = it["slot"].as_u64();
            slot.is_some_and(|slot| slot == 0 || slot >= first)
        };
        match (request, &mut answer) {
            (RpcRequest::GetFirstAvailableBlock, answer) => *answer = json!(first),
            (RpcRequest::GetSignaturesForAddress, Value::Array(page)) => page.retain(is_kept),
            (RpcRequest::GetTransaction, answer) if !is_kept(answer) => *answer = Value::Null,
            _ => {}
        }
        Ok(answer)
    }

    fn get_transport_stats(&self) -> RpcTransportStats {
        self.inner.get_transport_stats()
    }

    fn url(&self) -> String {
        self.inner.url()
    }
}

/// The program, set up by a wallet for a mint of its own, with a treasury like ours.
fn strangers(scene: &Scene) -> Program {
    let (ours, theirs) = (
        scene.program,
        Program {
            mint: Pubkey::new_from_array([77; 32]),
            ..scene.program
        },
    );
    let account = |key| scene.node.account(key, Commitment::Processed).unwrap();
    let ((protocol, bump), before) = (theirs.protocol_state(), ours.protocol_state().0);
    let mut state = scene.protocol_state().unwrap();
    state.publisher = scene.wallets[0].pubkey();
    (state.treasury, state.mint, state.bump) = (protocol, theirs.mint, bump);
    let mut copy = account(&before);
    copy.data = state.encode();
    scene.node.set_account(protocol, copy);
    scene.node.set_account(theirs.mint, account(&ours.mint));
    let mut treasury = account(&ours.treasury());
    treasury.data[..32].copy_from_slice(theirs.mint.as_ref());
    treasury.data[32..64].copy_from_slice(protocol.as_ref());
    scene.node.set_account(theirs.treasury(), treasury);
    theirs
}

/// What a schedule came to.
#[derive(Debug, Default)]
struct End {
    claims: usize,
    trailing: usize,
    strangers: usize,
    strikes: u64,
    crashes: u64,
}

#[test]
fn the_claims_of_the_store_are_those_of_the_programs_bitmap() {
    let ends = play("listener", FOUND, |seed| in_paused_time(schedule(seed)));
    let mut sum = End::default();
    for end in &ends {
        sum.claims += end.claims;
        sum.trailing += end.trailing;
        sum.strangers += end.strangers;
        sum.strikes += end.strikes;
        sum.crashes += end.crashes;
    }
    println!("listener: {} schedules: {sum:?}", ends.len());
    if ends.len() >= 20 {
        assert!(
            sum.claims > 0 && sum.strikes > 0 && sum.crashes > 0,
            "{sum:?}"
        );
        assert!(sum.trailing > 0 && sum.strangers > 0, "{sum:?}");
    }
}

async fn schedule(seed: u64) -> End {
    let scene = scene();
    let folder = tempfile::tempdir().unwrap();
    let store = MemoryStore::default();
    // The first node keeps everything; of the others, some forget.
    let forgets = rng(seed, 8).random_bool(0.5);
    let nodes = Nodes::with(&scene.node, seed, |number, inner| match number {
        1.. if forgets => Box::new(Forgetful {
            inner,
            node: scene.node.clone(),
            store: store.clone(),
        }),
        _ => Box::new(inner),
    });
    let theirs = strangers(&scene);
    let crashes = Crashes::new(seed);
    let notifications = FaultPlan::new(seed);
    let mut random = rng(seed, 6);
    for fault in [Fault::LostNotification, Fault::DoubledNotification] {
        notifications.add(Rule::new(fault).chance(random.random_range(0..500)));
    }
    notifications.add(Rule::new(Fault::SilentSocket).chance(random.random_range(0..30)));
    let subscriber = InProcess {
        node: scene.node.clone(),
        plan: notifications.clone(),
    };
    let activity = ProgramActivity::new(nodes.pool.clone(), scene.program, Box::new(subscriber));
    let clock = PausedClock::at(1_800_000_000_000);
    clock.start();
    let args = ChainListenerArgs {
        chain: Some(Arc::new(activity)),
        store: Arc::new(store.clone()),
        log: Arc::new(log(folder.path())),
        clock: Arc::new(clock),
        mode: EpochMode::Index,
        length: EpochLength::HOUR,
        poll: Duration::from_secs(10),
        counters: Arc::default(),
        probe: Arc::clone(&crashes) as _,
    };
    let listener = ChildRef::new("chain_listener");
    let child = ChildSpec::worker("chain_listener", &listener, move || {
        (ChainListener, args.clone())
    });
    let tree = start(supervised(child), Options::default()).await.unwrap();
    let mut tasks = JoinSet::new();
    let node = scene.node.clone();
    tasks.spawn(async move { node.run(SLOT).await });
    talk(seed, &scene, &theirs, &store).await;
    nodes.clear();
    notifications.clear();
    crashes.disarm();
    store.faults().clear();
    // All of it is finalized by then, and no node is left alone any more.
    tokio::time::sleep(Duration::from_secs(60)).await;
    while listener
        .call(ChainListenerMsg::CatchUp, ANSWER_WITHIN)
        .await
        .is_err()
    {
        let _ = listener.wait_running(ANSWER_WITHIN).await;
    }
    tree.stop().await;
    End {
        strikes: nodes.strikes() + notifications.strikes().into_values().sum::<u64>(),
        crashes: crashes.count(),
        ..check(&scene, &store, folder.path()).await
    }
}

fn log(folder: &Path) -> NdjsonLog {
    NdjsonLog::new(LogConfig {
        folder: folder.to_owned(),
        max_bytes: 20_000,
        kept: 0,
    })
}

/// The publisher publishes, and the wallets claim, some of them twice, and some with bytes behind
/// the arguments. One of them does the same under a mint of its own.
async fn talk(seed: u64, scene: &Scene, theirs: &Program, store: &MemoryStore) {
    let mut random = rng(seed, 7);
    let client = RpcClient::new_sender(scene.node.sender(), RpcClientConfig::default());
    for number in 1..=EPOCHS {
        for at in 0..CHANNELS {
            let root = tree(scene, at, number).root();
            for (program, publisher) in [
                (&scene.program, &scene.publisher),
                (theirs, &scene.wallets[0]),
            ] {
                let key = publisher.pubkey();
                let publish = set_channel_merkle_root(program, &key, &channel(at), number, root);
                send(&client, publisher, publish).await.unwrap();
            }
        }
        tokio::time::sleep(SLOT * 8).await;
    }
    let mut left = TROUBLE;
    while left > Duration::ZERO {
        let wait = Duration::from_millis(random.random_range(100..6000)).min(left);
        tokio::time::sleep(wait).await;
        left -= wait;
        if random.random_bool(0.1) {
            store.fail_next(random.random_range(1..4), StoreFault::Transient);
        }
        let (at, number) = (
            random.random_range(0..CHANNELS),
            random.random_range(1..=EPOCHS),
        );
        let wallet = random.random_range(0..scene.wallets.len());
        let claim = Claim {
            number,
            index: u32::try_from(wallet).unwrap(),
            amount: amount(wallet),
            id: &id(at, wallet),
            proof: &tree(scene, at, number).proof(wallet).unwrap(),
        };
        let program = match random.random_bool(0.2) {
            true => theirs,
            false => &scene.program,
        };
        let claimer = &scene.wallets[wallet];
        let mut claim = claim_channel_open(program, &claimer.pubkey(), &channel(at), &claim);
        if random.random_bool(0.2) {
            claim.data.extend(vec![7; random.random_range(1..100)]);
        }
        // Refused where it was made before, or a fork took its root away for a while.
        let _ = send(&client, claimer, claim).await;
    }
}

async fn send(client: &RpcClient, key: &Keypair, what: Instruction) -> client_error::Result<()> {
    let hash = client.get_latest_blockhash().await?;
    let signed = Transaction::new_signed_with_payer(&[what], Some(&key.pubkey()), &[key], hash);
    client.send_transaction(&signed).await.map(drop)
}

fn amount(wallet: usize) -> u64 {
    1_000_000 + wallet as u64
}

fn id(at: usize, wallet: usize) -> String {
    format!("twitch:channel{at}:wallet{wallet}")
}

fn tree(scene: &Scene, at: usize, number: u64) -> MerkleTree {
    let leaves = scene.wallets.iter().enumerate().map(|(index, wallet)| {
        let claimer = Wallet(wallet.pubkey().to_bytes());
        leaf::claim(
            claimer,
            u32::try_from(index).unwrap(),
            amount(index),
            &id(at, index),
        )
    });
    let mut leaves: Vec<_> = leaves.collect();
    // Another root for each epoch.
    leaves.push(leaf::claim(Wallet([0; 32]), 5, number, "nobody"));
    MerkleTree::new(leaves).unwrap()
}

/// Compares store, log and chain; gives the number of claims.
async fn check(scene: &Scene, store: &MemoryStore, folder: &Path) -> End {
    scene.node.ticks(10);
    let mut on_chain = BTreeSet::new();
    for number in 1..=EPOCHS {
        for at in 0..CHANNELS {
            for index in scene.claimed(&channel(at), number).unwrap_or_default() {
                on_chain.insert((channel(at).to_string(), number, index));
            }
        }
    }
    let claims = store.look_at(|state| state.settlement.claims.clone());
    let recorded: Vec<_> = claims
        .values()
        .map(|claim| (claim.channel.to_string(), claim.number, claim.index))
        .collect();
    let unique: BTreeSet<_> = recorded.iter().cloned().collect();
    assert_eq!(
        unique.len(),
        recorded.len(),
        "a claim is recorded twice: {recorded:?}"
    );
    assert_eq!(unique, on_chain);
    let mark = store.followed().await.unwrap().mark.unwrap();
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    // Rotated files sort by their names; the newest has none of these.
    files.sort_by_key(|path| {
        (
            path.file_name().unwrap() == "stream-events.ndjson",
            path.clone(),
        )
    });
    let text: String = files
        .iter()
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let slots: Vec<u64> = lines
        .iter()
        .map(|line| line["slot"].as_u64().unwrap())
        .collect();
    assert!(slots.is_sorted(), "{slots:?}");
    let keys: Vec<_> = lines
        .iter()
        .map(|line| format!("{} {}", line["signature"], line["instruction"]))
        .collect();
    let unique: BTreeSet<_> = keys.iter().collect();
    assert_eq!(unique.len(), keys.len(), "the log has a line twice");
    let claims = lines
        .iter()
        .filter(|line| line["instruction"]["action"] == "claim_channel_open");
    let protocol = scene.program.protocol_state().0.to_string();
    let (ours, theirs): (Vec<_>, Vec<_>) =
        claims.partition(|line| line["accounts"][1]["pubkey"] == protocol.as_str());
    assert_eq!(ours.len(), recorded.len(), "{text}");
    assert!(slots.last().is_none_or(|last| *last <= mark.slot));
    let is_longer = |line: &&&Value| line["instruction"]["data"]["trailing"].is_object();
    End {
        claims: recorded.len(),
        trailing: ours.iter().filter(is_longer).count(),
        strangers: theirs.len(),
        ..End::default()
    }
}
