//! Settlement from end to end: the publisher and the chain listener over a store in memory, wallets
//! that claim, and whatever chain there is behind the URLs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use solana_client::client_error::ClientError;
use solana_client::nonblocking::rpc_client::RpcClient;
use solana_commitment_config::CommitmentConfig;
use solana_sdk::instruction::{Instruction, InstructionError};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::{Keypair, Signature};
use solana_sdk::signer::Signer as _;
use solana_sdk::transaction::{Transaction, TransactionError};
use twzrd_actors::chain_listener::{ChainListener, ChainListenerArgs};
use twzrd_actors::publisher::{Publisher, PublisherArgs, PublisherMsg, Publishing};
use twzrd_actors::step::no_probe;
use twzrd_chain::activity::{LogConfig, NdjsonLog, ProgramActivity, SocketConfig, WebSocket};
use twzrd_chain::program::Program;
use twzrd_chain::program::account::ChannelState;
use twzrd_chain::program::instruction::{Claim, claim_channel_open};
use twzrd_chain::target::{ProgramTarget, TargetConfig};
use twzrd_domain::batch::{Batch, Position, SignalRow};
use twzrd_domain::chain::{RootChain, SettlementRow, SettlementStore};
use twzrd_domain::epoch::{Epoch, EpochLength, Minute};
use twzrd_domain::identity::{Channel, Login, Name, UserHash, Wallet};
use twzrd_domain::leaf;
use twzrd_domain::merkle::MerkleTree;
use twzrd_domain::ports::BatchStore;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{EpochMode, Policy, RootKind};
use twzrd_domain::signal::SignalKind;
use twzrd_supervision::{ChildRef, ChildSpec, Options, SupervisorSpec, Tree, start};
use twzrd_testkit::fake::{MemoryStore, PausedClock};
use twzrd_testkit::roots;

use crate::validator::{PATIENCE, pool, signer, until};

const CHANNELS: usize = 3;
const EPOCHS: [Epoch; 2] = [Epoch(1_761_854_400), Epoch(1_761_858_000)];
const PEOPLE: usize = 4;
/// As many roots as a store has that is [`sealed`].
pub(crate) const ROOTS: usize = CHANNELS * EPOCHS.len();
const LENGTH: EpochLength = EpochLength::HOUR;
const MODE: EpochMode = EpochMode::Index;

/// A chain with the program on it.
pub(crate) struct World {
    pub(crate) http_url: String,
    pub(crate) ws_url: String,
    pub(crate) program: Program,
    pub(crate) publisher: Keypair,
    pub(crate) wallets: Vec<Keypair>,
}

/// A claim that somebody may make.
struct Owed {
    channel: Channel,
    number: u64,
    index: u32,
    amount: u64,
    claimer: Pubkey,
    instruction: Instruction,
}

/// A store with two epochs of a few channels, in which the same people acted, sealed and with its
/// trees. The first of them have these wallets.
pub(crate) async fn sealed(wallets: &[Pubkey]) -> MemoryStore {
    let store = MemoryStore::default();
    let people: Vec<Login> = (0..PEOPLE)
        .map(|number| Name::parse(&format!("person{number}")).unwrap())
        .collect();
    let bound = people.iter().zip(wallets);
    let bound: Vec<_> = bound
        .map(|(login, wallet)| (login.clone(), Wallet(wallet.to_bytes())))
        .collect();
    roots::bind(&store, &bound).await.unwrap();
    let channels: Vec<_> = (0..CHANNELS)
        .map(|number| Name::parse(&format!("channel{number}")).unwrap())
        .map(|channel| (channel, people.clone()))
        .collect();
    for epoch in EPOCHS {
        act(&store, epoch, &channels).await;
        roots::seal(&store, epoch, &channels).await.unwrap();
    }
    store
}

/// Everybody is there for a minute, for which something is owed.
async fn act(store: &MemoryStore, epoch: Epoch, channels: &[(Channel, Vec<Login>)]) {
    let from = BatchStore::offset(store).await.unwrap();
    let row = |channel: &Channel, login: &Login| SignalRow {
        epoch,
        channel: channel.clone(),
        minute: Minute(epoch.0),
        kind: SignalKind::Presence,
        user: UserHash::of_login(login),
        value: 1,
    };
    let mut signals: Vec<SignalRow> = channels
        .iter()
        .flat_map(|(channel, people)| people.iter().map(move |login| row(channel, login)))
        .collect();
    signals.sort_by(|a, b| (&a.channel, a.user).cmp(&(&b.channel, b.user)));
    let to = Position {
        seq: from + 1,
        segment: 1,
        byte: from + 1,
    };
    let batch = Batch {
        journal: "journal".into(),
        from,
        to,
        signals,
        ..Batch::default()
    };
    store.commit(&batch).await.unwrap();
}

/// Runs the publisher until every root is settled.
pub(crate) async fn publish(store: &MemoryStore, chain: Arc<dyn RootChain>) -> Vec<SettlementRow> {
    let publishing = Publishing {
        auto: true,
        kind: RootKind::Claim,
        mode: MODE,
        length: LENGTH,
        policy: Policy {
            token_groups: Vec::new(),
            ghost_filter: true,
            live_window: None,
            anomaly: None,
        },
        per_tick: 100,
        interval: Duration::from_millis(200),
        poll: Duration::from_millis(100),
        resend: Duration::from_millis(200),
        judge_again: Duration::from_secs(3600),
        only: None,
    };
    let args = PublisherArgs {
        store: Arc::new(store.clone()),
        chain: Some(chain),
        clock: clock(),
        publishing: Arc::new(publishing),
        counters: Arc::default(),
        probe: no_probe(),
    };
    let publisher: ChildRef<PublisherMsg> = ChildRef::new("publisher");
    let child = ChildSpec::worker("publisher", &publisher, move || (Publisher, args.clone()));
    let tree = run(child).await;
    let rows = until("every root is settled", async || {
        let answered = publisher.call(PublisherMsg::SettleAll, PATIENCE).await;
        answered.unwrap();
        let rows = store.rows(None, None, 1000).await.unwrap();
        let mut all = true;
        for row in &rows {
            match &row.publication {
                Publication::Settled { .. } => {}
                Publication::Held { .. }
                | Publication::Failed { .. }
                | Publication::Superseded { .. } => panic!("{row:?}"),
                _ => all = false,
            }
        }
        all.then_some(rows)
    });
    let rows = rows.await;
    tree.stop().await;
    rows
}

async fn run(child: ChildSpec) -> Tree {
    let spec = SupervisorSpec::new("root").child(child);
    start(spec, Options::default()).await.unwrap()
}

fn clock() -> Arc<PausedClock> {
    let clock = PausedClock::at(1_800_000_000_000);
    clock.start();
    Arc::new(clock)
}

/// Roots are published by the program, every wallet claims once what is owed to it, and store, log,
/// bitmaps and token accounts tell the same.
pub(crate) async fn publish_claim_and_listen(world: &World) {
    let wallets: Vec<Pubkey> = world.wallets.iter().map(Keypair::pubkey).collect();
    let store = sealed(&wallets).await;
    let folder = tempfile::tempdir().unwrap();
    let listener = listen(world, &store, folder.path()).await;
    let target = ProgramTarget::new(
        pool(world.http_url.clone()),
        world.program,
        signer(&world.publisher),
        TargetConfig::default(),
    );
    let rows = publish(&store, Arc::new(target)).await;
    assert_eq!(rows.len(), ROOTS);
    for row in &rows {
        let [tried] = row.log.as_slice() else {
            panic!("{row:?}: expected one log row");
        };
        assert_eq!(tried.status, "confirmed", "{row:?}");
        let signature = tried.signature.as_ref().map(ToString::to_string);
        assert_eq!(row.publication, Publication::Settled { signature });
    }

    let client =
        RpcClient::new_with_commitment(world.http_url.clone(), CommitmentConfig::finalized());
    let owed = owed(world, &store);
    assert_eq!(owed.len(), ROOTS * PEOPLE);
    for one in &owed {
        claim(&client, world, one).await.unwrap();
    }
    let expected: BTreeSet<_> = owed.iter().map(key).collect();
    until("every claim is recorded", async || {
        let recorded = recorded(&store);
        (recorded.len() >= expected.len()).then_some(())
    })
    .await;
    let again = claim(&client, world, &owed[0]).await.unwrap_err();
    let claimed = InstructionError::Custom(6006);
    assert_eq!(
        again.get_transaction_error(),
        Some(TransactionError::InstructionError(0, claimed))
    );
    listener.stop().await;
    let recorded = recorded(&store);
    assert_eq!(recorded.len(), expected.len(), "none is recorded twice");
    assert_eq!(recorded.into_iter().collect::<BTreeSet<_>>(), expected);
    check_chain(&client, world, &rows, &owed).await;
    let log = std::fs::read_to_string(folder.path().join("stream-events.ndjson")).unwrap();
    let lines = |action: &str| log.matches(&format!("\"action\":\"{action}\"")).count();
    assert_eq!(lines("set_channel_merkle_root"), ROOTS);
    assert_eq!(lines("claim_channel_open"), expected.len());
}

async fn listen(world: &World, store: &MemoryStore, folder: &std::path::Path) -> Tree {
    let urls = [world.ws_url.clone()];
    let socket = WebSocket::new(&urls, world.program.id, SocketConfig::default()).unwrap();
    let pool = pool(world.http_url.clone());
    let log = NdjsonLog::new(LogConfig {
        folder: folder.to_owned(),
        max_bytes: 10_000_000,
        kept: 0,
    });
    let args = ChainListenerArgs {
        chain: Some(Arc::new(ProgramActivity::new(
            pool,
            world.program,
            Box::new(socket),
        ))),
        store: Arc::new(store.clone()),
        log: Arc::new(log),
        clock: clock(),
        mode: MODE,
        length: LENGTH,
        // So that what is recorded soon was told by the socket.
        poll: PATIENCE * 2,
        counters: Arc::default(),
        probe: no_probe(),
    };
    let listener = ChildRef::new("chain_listener");
    let child = ChildSpec::worker("chain_listener", &listener, move || {
        (ChainListener, args.clone())
    });
    run(child).await
}

/// All that is owed to wallets, with its proof.
fn owed(world: &World, store: &MemoryStore) -> Vec<Owed> {
    let frozen = store.look_at(|state| state.frozen.clone());
    let mut owed = Vec::new();
    for ((epoch, channel), frozen) in frozen {
        let people = &frozen.participants;
        let tree = MerkleTree::new(people.iter().map(|it| it.claim_leaf).collect()).unwrap();
        for (place, person) in people.iter().enumerate() {
            assert!(person.amount > 0);
            let claimer = Pubkey::from(*person.claimer.as_bytes());
            let (number, index) = (MODE.number(epoch, LENGTH), u32::try_from(place).unwrap());
            let claim = Claim {
                number,
                index,
                amount: person.amount,
                id: &leaf::claim_id(&channel, person.login.as_ref(), person.user),
                proof: &tree.proof(place).unwrap(),
            };
            owed.push(Owed {
                instruction: claim_channel_open(&world.program, &claimer, &channel, &claim),
                channel: channel.clone(),
                number,
                index,
                amount: person.amount,
                claimer,
            });
        }
    }
    owed
}

/// Makes a claim, or tries to.
async fn claim(client: &RpcClient, world: &World, owed: &Owed) -> Result<Signature, ClientError> {
    let mut wallets = world.wallets.iter();
    let wallet = wallets.find(|it| it.pubkey() == owed.claimer).unwrap();
    send(client, wallet, &owed.instruction).await
}

/// Sends one instruction as wallets do, with a preflight.
pub(crate) async fn send(
    client: &RpcClient,
    wallet: &Keypair,
    instruction: &Instruction,
) -> Result<Signature, ClientError> {
    let transaction = Transaction::new_signed_with_payer(
        std::slice::from_ref(instruction),
        Some(&wallet.pubkey()),
        &[wallet],
        client.get_latest_blockhash().await?,
    );
    client.send_transaction(&transaction).await
}

type Key = (String, u64, u32, u64, String);

fn key(owed: &Owed) -> Key {
    let (channel, claimer) = (owed.channel.to_string(), owed.claimer.to_string());
    (channel, owed.number, owed.index, owed.amount, claimer)
}

/// The claims of the store.
fn recorded(store: &MemoryStore) -> Vec<Key> {
    let claims = store.look_at(|state| state.settlement.claims.clone());
    let claims = claims.into_values().map(|it| {
        let (channel, claimer) = (it.channel.to_string(), it.claimer.to_string());
        (channel, it.number, it.index, it.amount, claimer)
    });
    claims.collect()
}

/// The channels' accounts hold the roots and the claims, and the wallets what was paid.
async fn check_chain(client: &RpcClient, world: &World, rows: &[SettlementRow], owed: &[Owed]) {
    for row in rows {
        let account = world.program.channel_state(&row.channel).0;
        let data = client.get_account_data(&account).await.unwrap();
        let state = ChannelState::decode(&data).unwrap();
        let slot = state.slot_of(MODE.number(row.epoch, LENGTH)).unwrap();
        assert_eq!(slot.root, row.root, "{row:?}");
        let bits = u32::try_from(slot.bitmap.len() * 8).unwrap();
        let claimed = (0..bits).filter(|index| slot.is_claimed(*index) == Some(true));
        let expected = 0..u32::try_from(PEOPLE).unwrap();
        assert!(claimed.eq(expected), "{row:?}");
    }
    for wallet in &world.wallets[..PEOPLE] {
        let account = world.program.token_account(&wallet.pubkey());
        let data = client.get_account_data(&account).await.unwrap();
        let amount = u64::from_le_bytes(data[64..72].try_into().unwrap());
        let of = owed.iter().filter(|it| it.claimer == wallet.pubkey());
        assert_eq!(amount, of.map(|it| it.amount).sum::<u64>());
    }
}
