//! Publishing and the operator's instructions against the program's model on a real SVM.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::time::Duration;

use solana_sdk::signature::Keypair;
use twzrd_chain::admin::{Admin, AdminConfig, AdminError, Operation};
use twzrd_chain::keys::Signer;
use twzrd_chain::rpc::{Endpoint, Pool, PoolConfig};
use twzrd_chain::target::{MemoTarget, ProgramTarget, TargetConfig};
use twzrd_domain::chain::{Landing, RootChain, SignedTransaction, Standing};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::settlement::{RootId, RootToPublish, Why};
use twzrd_localnet::Dropped;
use twzrd_localnet::scene::{Scene, SceneConfig};

struct World {
    scene: Scene,
    pool: Pool,
}

impl World {
    fn new(config: SceneConfig) -> Self {
        let scene = Scene::new(config);
        let endpoint = Endpoint::new("local", Box::new(scene.node.sender()));
        let pool = Pool::new(vec![endpoint], PoolConfig::default()).unwrap();
        Self { scene, pool }
    }

    fn target(&self, keypair: &Keypair) -> ProgramTarget {
        ProgramTarget::new(
            self.pool.clone(),
            self.scene.program,
            signer(keypair),
            TargetConfig::default(),
        )
    }

    /// Blocks go by, and time, so that the pool asks for slots again.
    async fn pass(&self, blocks: u64) {
        self.scene.node.ticks(blocks);
        tokio::time::advance(Duration::from_secs(1)).await;
    }

    /// Sends and waits for the end.
    async fn publish(&self, target: &dyn RootChain, transaction: &SignedTransaction) -> u64 {
        assert_eq!(target.landing(transaction).await.unwrap(), Landing::Pending);
        target.send(transaction).await.unwrap();
        self.pass(1).await;
        assert_eq!(target.landing(transaction).await.unwrap(), Landing::Pending);
        self.pass(10).await;
        match target.landing(transaction).await.unwrap() {
            Landing::Finalized { slot } => slot,
            other => panic!("{other:?}"),
        }
    }
}

fn signer(keypair: &Keypair) -> Signer {
    Signer::from_text("TEST_KEY", &keypair.to_base58_string()).unwrap()
}

fn root(id: u64, channel: &str, number: u64) -> RootToPublish {
    RootToPublish {
        id: RootId(id),
        epoch: Epoch(number * 3600),
        number,
        channel: channel.parse().unwrap(),
        root: [7; 32],
        count: 10,
    }
}

fn roots(n: u64, number: u64) -> Vec<RootToPublish> {
    (1..=n)
        .map(|id| root(id, &format!("channel_{id}"), number))
        .collect()
}

async fn why(target: &dyn RootChain, root: &RootToPublish) -> Why {
    match target
        .look(std::slice::from_ref(root))
        .await
        .unwrap()
        .remove(0)
    {
        Standing::Blocked(reason) => reason.why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn roots_of_many_channels_are_published_and_read_back_from_few_transactions() {
    let world = World::new(SceneConfig::default());
    let target = world.target(&world.scene.publisher);
    for number in [100, 101] {
        let mut left = roots(30, number);
        let mut transactions = 0;
        while !left.is_empty() {
            assert!(
                target
                    .look(&left)
                    .await
                    .unwrap()
                    .iter()
                    .all(|it| *it == Standing::Free)
            );
            let draft = target.draft(&left).await.unwrap();
            assert_eq!(draft.refused, []);
            let signed = draft.signed.unwrap();
            assert!(draft.estimates.iter().all(|it| it.units > 0));
            let makes = draft.estimates.iter().all(|it| it.rent_lamports > 0);
            assert_eq!(makes, number == 100, "accounts are made once");
            let before = balance(&world);
            let slot = world.publish(&target, &signed).await;
            let rent: u64 = draft.estimates.iter().map(|it| it.rent_lamports).sum();
            assert_eq!(
                before - balance(&world),
                signed.fee_lamports + rent,
                "as estimated"
            );
            let taken: Vec<RootToPublish> = left.drain(..signed.roots.len()).collect();
            let back = target.read_back(&signed, slot, &taken).await.unwrap();
            assert_eq!(back, vec![Standing::Published; taken.len()]);
            transactions += 1;
        }
        assert!(transactions <= 5, "{transactions}");
    }
    let older = root(99, "channel_1", 91);
    assert_eq!(
        target.look(std::slice::from_ref(&older)).await.unwrap(),
        [Standing::Newer(101)]
    );
    let draft = target.draft(&[older]).await.unwrap();
    assert_eq!((draft.signed, draft.refused), (None, Vec::new()));
}

fn balance(world: &World) -> u64 {
    use solana_sdk::signer::Signer as _;
    let key = world.scene.publisher.pubkey();
    let account = world
        .scene
        .node
        .account(&key, twzrd_localnet::Commitment::Processed);
    account.unwrap().lamports
}

#[tokio::test(start_paused = true)]
async fn what_stands_in_the_way_is_told_by_look_and_draft_alike() {
    let world = World::new(SceneConfig::default());
    let stranger = world.target(&world.scene.wallets[0]);
    let one = root(1, "lacy", 100);
    assert_eq!(why(&stranger, &one).await, Why::Unauthorized);
    let draft = stranger.draft(std::slice::from_ref(&one)).await.unwrap();
    assert_eq!(
        (draft.signed, draft.refused[0].1.why),
        (None, Why::Unauthorized)
    );
    let poor = World::new(SceneConfig {
        lamports: 2_000_000,
        ..SceneConfig::default()
    });
    let draft = poor
        .target(&poor.scene.publisher)
        .draft(&[one])
        .await
        .unwrap();
    assert_eq!((draft.signed, draft.refused[0].1.why), (None, Why::NoFunds));
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_is_never_sent_expires_and_can_never_land() {
    let world = World::new(SceneConfig::default());
    let target = world.target(&world.scene.publisher);
    let all = roots(2, 100);
    let signed = target.draft(&all).await.unwrap().signed.unwrap();
    world.scene.node.skip_blocks(151);
    world.pass(1).await;
    assert_eq!(
        target.landing(&signed).await.unwrap(),
        Landing::Pending,
        "not finalized so far"
    );
    world.pass(10).await;
    let landing = target.landing(&signed).await.unwrap();
    assert!(matches!(landing, Landing::Expired { .. }), "{landing:?}");
    let _ = target.send(&signed).await;
    world.pass(10).await;
    assert_eq!(
        target.look(&all).await.unwrap(),
        [Standing::Free, Standing::Free]
    );
}

#[tokio::test(start_paused = true)]
async fn a_fork_that_drops_a_transaction_leaves_it_pending_until_the_same_bytes_land() {
    let world = World::new(SceneConfig::default());
    let target = world.target(&world.scene.publisher);
    let all = roots(2, 100);
    let signed = target.draft(&all).await.unwrap().signed.unwrap();
    target.send(&signed).await.unwrap();
    world.pass(3).await;
    world.scene.node.fork(3, Dropped::Lost).unwrap();
    world.pass(10).await;
    assert_eq!(target.landing(&signed).await.unwrap(), Landing::Pending);
    let slot = world.publish(&target, &signed).await;
    assert_eq!(
        target.read_back(&signed, slot, &all).await.unwrap(),
        [Standing::Published, Standing::Published]
    );
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_lands_too_late_is_rejected_as_a_whole_with_its_root() {
    let world = World::new(SceneConfig::default());
    let target = world.target(&world.scene.publisher);
    let all = roots(3, 100);
    let first = target.draft(&all).await.unwrap().signed.unwrap();
    let second = target.draft(&all[1..2]).await.unwrap().signed.unwrap();
    world.publish(&target, &second).await;
    target.send(&first).await.unwrap();
    world.pass(10).await;
    match target.landing(&first).await.unwrap() {
        Landing::Rejected { root, reason, .. } => {
            assert_eq!(root, Some(RootId(2)));
            assert!(reason.text.contains("6023 EpochNotIncreasing"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    let found = target.look(&all).await.unwrap();
    assert_eq!(found, [Standing::Free, Standing::Published, Standing::Free]);
}

#[tokio::test(start_paused = true)]
async fn memos_are_read_back_from_the_finalized_transaction() {
    let world = World::new(SceneConfig::default());
    let key = signer(&world.scene.wallets[0]);
    let target = MemoTarget::new(world.pool.clone(), key, TargetConfig::default());
    let all = roots(20, 100);
    let draft = target.draft(&all).await.unwrap();
    let signed = draft.signed.unwrap();
    let taken = &all[..signed.roots.len()];
    assert!(taken.len() > 5);
    let slot = world.publish(&target, &signed).await;
    let back = target.read_back(&signed, slot, taken).await.unwrap();
    assert_eq!(back, vec![Standing::Published; taken.len()]);
}

#[tokio::test(start_paused = true)]
async fn the_operator_pauses_the_program_and_lets_it_go_on() {
    let world = World::new(SceneConfig::default());
    let of = |keypair: &Keypair| {
        let (pool, program) = (world.pool.clone(), world.scene.program);
        Admin::new(pool, program, signer(keypair), AdminConfig::default())
    };
    let one = root(1, "lacy", 100);
    let publisher = world.target(&world.scene.publisher);
    let stranger = of(&world.scene.wallets[0]);
    let error = stranger
        .execute(&Operation::SetPaused(true))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, AdminError::Refused { error, .. } if error.contains("6000 Unauthorized")),
        "{error}"
    );
    let admin = of(&world.scene.admin);
    let plan = admin.plan(&Operation::SetPaused(true)).await.unwrap();
    assert_eq!(plan.changes[0].to_string(), "paused: false -> true");
    assert!(!plan.logs.is_empty());
    for paused in [true, false] {
        let blocks = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                world.scene.node.tick();
            }
        };
        let operation = Operation::SetPaused(paused);
        let (done, ()) = tokio::join!(admin.execute(&operation), blocks);
        assert_eq!(done.unwrap().changes.len(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        let found = publisher
            .look(std::slice::from_ref(&one))
            .await
            .unwrap()
            .remove(0);
        assert_eq!(found != Standing::Free, paused, "{found:?}");
        if paused {
            assert_eq!(why(&publisher, &one).await, Why::Paused);
            let draft = publisher.draft(std::slice::from_ref(&one)).await.unwrap();
            assert_eq!(draft.refused[0].1.why, Why::Paused);
        }
    }
}
