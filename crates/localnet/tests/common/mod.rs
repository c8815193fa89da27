//! What several tests need: one scene that all copy, publications, and claims.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::sync::{Arc, LazyLock};

use solana_client::nonblocking::rpc_client::RpcClient;
use solana_client::rpc_client::RpcClientConfig;
use solana_rpc_client::rpc_sender::RpcSender;
use solana_sdk::instruction::Instruction;
use solana_sdk::signature::{Keypair, Signature};
use solana_sdk::signer::Signer;
use solana_sdk::transaction::Transaction;
use twzrd_chain::program::instruction::set_channel_merkle_root;
use twzrd_domain::identity::{Channel, Wallet};
use twzrd_domain::leaf;
use twzrd_domain::merkle::MerkleTree;
use twzrd_localnet::scene::{ClaimParts, Scene, SceneConfig};

pub(crate) const EPOCH: u64 = 1_761_854_400;

static PREPARED: LazyLock<Scene> = LazyLock::new(|| Scene::new(SceneConfig::default()));

/// A world of one's own.
pub(crate) fn scene() -> Scene {
    PREPARED.duplicate()
}

pub(crate) fn channel() -> Channel {
    Channel::parse("goldenchannel").unwrap()
}

pub(crate) fn client(sender: impl RpcSender + Send + Sync + 'static) -> RpcClient {
    RpcClient::new_sender(sender, RpcClientConfig::default())
}

/// A claim tree over the scene's wallets: one leaf each.
pub(crate) struct Claims {
    tree: MerkleTree,
}

impl Claims {
    pub(crate) fn of(scene: &Scene) -> Self {
        let leaves = scene
            .wallets
            .iter()
            .zip(0..)
            .map(|(wallet, index)| {
                let claimer = Wallet(wallet.pubkey().to_bytes());
                leaf::claim(claimer, index, amount(index), &id(index))
            })
            .collect();
        Self {
            tree: MerkleTree::new(leaves).unwrap(),
        }
    }

    pub(crate) fn root(&self) -> [u8; 32] {
        self.tree.root()
    }

    pub(crate) fn parts(&self, number: u64, index: u32) -> ClaimParts {
        ClaimParts {
            channel: channel(),
            number,
            index,
            amount: amount(index),
            id: id(index),
            proof: self.tree.proof(index as usize).unwrap(),
        }
    }
}

pub(crate) fn amount(index: u32) -> u64 {
    80_000_000_000 + u64::from(index)
}

fn id(index: u32) -> String {
    format!("twitch:goldenchannel:viewer_{index:05}")
}

pub(crate) fn publication(scene: &Scene, number: u64, root: [u8; 32]) -> Instruction {
    let publisher = scene.publisher.pubkey();
    set_channel_merkle_root(&scene.program, &publisher, &channel(), number, root)
}

/// Signs instructions with the latest blockhash that a client knows.
pub(crate) async fn signed(
    client: &RpcClient,
    payer: &Keypair,
    instructions: &[Instruction],
) -> Transaction {
    let hash = client.get_latest_blockhash().await.unwrap();
    Transaction::new_signed_with_payer(instructions, Some(&payer.pubkey()), &[payer], hash)
}

/// Publishes a root and makes the block that it lands in.
pub(crate) async fn publish(
    scene: &Scene,
    client: &Arc<RpcClient>,
    number: u64,
    root: [u8; 32],
) -> Signature {
    let instruction = publication(scene, number, root);
    let transaction = signed(client, &scene.publisher, &[instruction]).await;
    let signature = client.send_transaction(&transaction).await.unwrap();
    scene.node.tick();
    signature
}
