//! Roots by the memo program: sent, landed, read back, sent again, and left to expire.

use std::sync::Arc;

use solana_client::rpc_config::RpcTransactionConfig;
use solana_commitment_config::CommitmentConfig;
use solana_sdk::signature::Signature;
use solana_sdk::signer::Signer as _;
use solana_transaction_status_client_types::UiTransactionEncoding;
use twzrd_chain::program::memo::{self, MEMO_PROGRAM};
use twzrd_chain::target::{MemoTarget, TargetConfig};
use twzrd_domain::chain::{
    Draft, Landing, RootChain, SettlementStore, SignedTransaction, Standing,
};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{RootId, RootToPublish, Target, Why};

use crate::settlement::{self, sealed};
use crate::validator::{Validator, signer, unless_away, until};

pub(crate) fn roots(n: u64, number: u64) -> Vec<RootToPublish> {
    let root = |id: u64| RootToPublish {
        id: RootId(id),
        epoch: Epoch(number * 3600),
        number,
        channel: format!("channel_{id}").parse().unwrap(),
        root: [u8::try_from(id).unwrap(); 32],
        count: 10 + id,
    };
    (1..=n).map(root).collect()
}

/// A transaction with the first of these roots.
pub(crate) async fn draft(target: &dyn RootChain, roots: &[RootToPublish]) -> Draft {
    until("a draft", async || unless_away(target.draft(roots).await)).await
}

/// The slot in which it is finalized.
pub(crate) async fn finalized(target: &dyn RootChain, transaction: &SignedTransaction) -> u64 {
    until("finality", async || {
        match unless_away(target.landing(transaction).await)? {
            Landing::Pending => None,
            Landing::Finalized { slot } => Some(slot),
            other => panic!("{other:?}"),
        }
    })
    .await
}

/// The memos of a transaction, as the node has them.
async fn lines(validator: &Validator, transaction: &SignedTransaction) -> Vec<String> {
    let signature: Signature = transaction.signature.parse().unwrap();
    let config = RpcTransactionConfig {
        encoding: Some(UiTransactionEncoding::Base64),
        commitment: Some(CommitmentConfig::finalized()),
        max_supported_transaction_version: Some(0),
    };
    let found = validator
        .client()
        .get_transaction_with_config(&signature, config)
        .await
        .unwrap();
    let message = found.transaction.transaction.decode().unwrap().message;
    let keys = message.static_account_keys();
    let memos = message
        .instructions()
        .iter()
        .filter(|it| keys[usize::from(it.program_id_index)] == MEMO_PROGRAM);
    memos
        .map(|it| String::from_utf8(it.data.clone()).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_published_as_memos_and_read_back_and_the_same_bytes_land_once() {
    let validator = Validator::start().await;
    let key = validator.funded();
    let target = MemoTarget::new(validator.pool(), signer(&key), TargetConfig::default());
    let balance = async || validator.client().get_balance(&key.pubkey()).await.unwrap();
    let before = balance().await;
    let mut left = roots(20, 100);
    let mut sent = Vec::new();
    while !left.is_empty() {
        let looked = target.look(&left).await.unwrap();
        assert_eq!(looked, vec![Standing::Free; left.len()]);
        let draft = draft(&target, &left).await;
        assert_eq!(draft.refused, []);
        assert!(draft.estimates.iter().all(|it| it.units > 0));
        let signed = draft.signed.unwrap();
        let landing = unless_away(target.landing(&signed).await);
        assert_eq!(landing, Some(Landing::Pending));
        target.send(&signed).await.unwrap();
        // Whatever the node says to it, it changes nothing.
        let _ = target.send(&signed).await;
        let slot = finalized(&target, &signed).await;
        let _ = target.send(&signed).await;
        assert_eq!(
            target.landing(&signed).await.unwrap(),
            Landing::Finalized { slot }
        );

        let taken: Vec<_> = left.drain(..signed.roots.len()).collect();
        let back = target.read_back(&signed, slot, &taken).await.unwrap();
        assert_eq!(back, vec![Standing::Published; taken.len()]);
        let expected: Vec<_> = taken.iter().map(memo::line).collect();
        assert_eq!(lines(&validator, &signed).await, expected);

        let mut others = taken[..2].to_vec();
        others[0].root[0] ^= 1;
        others[1].channel = "elsewhere".parse().unwrap();
        for standing in target.read_back(&signed, slot, &others).await.unwrap() {
            match standing {
                Standing::Blocked(reason) => assert_eq!(reason.why, Why::ProgramRefused),
                other => panic!("{other:?}: it was not published"),
            }
        }
        sent.push(signed);
    }
    assert!((2..=4).contains(&sent.len()), "{} transactions", sent.len());
    let listed = validator
        .client()
        .get_signatures_for_address(&MEMO_PROGRAM)
        .await
        .unwrap();
    let listed: Vec<_> = listed.into_iter().rev().map(|it| it.signature).collect();
    let expected: Vec<_> = sent.iter().map(|it| it.signature.to_string()).collect();
    assert_eq!(listed, expected, "each landed once");
    let fees: u64 = sent.iter().map(|it| it.fee_lamports).sum();
    assert_eq!(before - balance().await, fees, "each was paid for once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_never_sent_expires_and_does_not_land_after_that() {
    let validator = Validator::start().await;
    let key = validator.funded();
    let target = MemoTarget::new(validator.pool(), signer(&key), TargetConfig::default());
    let signed = draft(&target, &roots(2, 100)).await.signed.unwrap();
    let block_height = until("expiry", async || {
        match target.landing(&signed).await.unwrap() {
            Landing::Pending => None,
            Landing::Expired { block_height } => Some(block_height),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert!(block_height > signed.last_valid_block_height);
    let _ = target.send(&signed).await;
    let height = async || validator.client().get_block_height().await.unwrap();
    let later = height().await + 5;
    until("blocks", async || (height().await >= later).then_some(())).await;
    assert!(matches!(
        target.landing(&signed).await.unwrap(),
        Landing::Expired { .. }
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_publisher_settles_every_root_once_by_memo() {
    let validator = Validator::start().await;
    let key = validator.funded();
    let store = sealed(&[]).await;
    let target = MemoTarget::new(validator.pool(), signer(&key), TargetConfig::default());
    assert_eq!(target.target(), Target::Memo);
    let rows = settlement::publish(&store, Arc::new(target)).await;
    assert_eq!(rows.len(), settlement::ROOTS);
    for row in &rows {
        let [tried] = row.log.as_slice() else {
            panic!("{row:?}: expected one log row");
        };
        assert_eq!(
            (tried.status.as_str(), tried.target.as_str()),
            ("confirmed", "memo")
        );
        assert!(
            tried.slot.is_some() && tried.error_message.is_none(),
            "{row:?}"
        );
        let signature = tried.signature.as_ref().map(ToString::to_string);
        assert_eq!(row.publication, Publication::Settled { signature });
    }
    assert_eq!(store.in_flight().await.unwrap(), []);
    // The chain has the lines of the store, and no others.
    let listed = validator
        .client()
        .get_signatures_for_address(&MEMO_PROGRAM)
        .await
        .unwrap();
    let mut on_chain: Vec<String> = listed.into_iter().filter_map(|it| it.memo).collect();
    on_chain.sort_unstable();
    let told: usize = on_chain
        .iter()
        .map(|text| text.matches("twzrd:v1:").count())
        .sum();
    assert_eq!(told, settlement::ROOTS, "{on_chain:?}");
    for row in &rows {
        let line = memo::line(&RootToPublish {
            id: row.id,
            epoch: row.epoch,
            number: 0,
            channel: row.channel.clone(),
            root: row.root,
            count: row.count,
        });
        assert!(on_chain.iter().any(|text| text.contains(&line)), "{line}");
    }
}
