//! Builds the two trees of every frozen channel, verifies all their proofs, and writes the roots.
//!
//! The heavy work is done off the async threads. A crash loses nothing: the next start asks the
//! store which channels have no trees. Restart: permanent.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::info;
use twzrd_domain::identity::Node;
use twzrd_domain::leaf;
use twzrd_domain::merkle::{MerkleError, MerkleTree};
use twzrd_domain::ports::{BuiltTrees, StoreError, TreeStore, Unbuilt};
use twzrd_domain::seal::SealedLeaves;
use twzrd_supervision::ChildRef;

use crate::later::Later;
use crate::offload::offload;
use crate::publisher::PublisherMsg;
use crate::step::{Probe, Step};
use crate::weather::Weather;

/// How many channels are looked at in one go.
const LOOK_CHANNELS: u64 = 500;
/// How many leaves are built in one go, unless one channel has more.
const BUILD_LEAVES: u64 = 50_000;

/// What the tree builder is told and asked.
pub enum TreeBuilderMsg {
    /// There may be channels without trees. May come late or twice.
    LookDue,
    /// Must be answered once no channel is without trees. May come twice.
    BuildAll(RpcReplyPort<()>),
}

/// What a start of the tree builder needs.
#[derive(Clone)]
pub struct TreeBuilderArgs {
    /// Where leaves come from and trees go.
    pub store: Arc<dyn TreeStore>,
    /// Is told that there are new roots, where it runs.
    pub publisher: ChildRef<PublisherMsg>,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct TreeBuilder;

/// Who waits. All else is asked of the store.
pub struct State {
    args: TreeBuilderArgs,
    asked: Vec<RpcReplyPort<()>>,
    look_is_due: bool,
    later: Later<TreeBuilderMsg>,
    weather: Weather,
}

/// Why the builder cannot go on for now, or at all.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the {tree} tree of {channel} in epoch {epoch}: {source}")]
    Tree {
        tree: &'static str,
        channel: String,
        epoch: u64,
        source: MerkleError,
    },
    #[error("the thread that builds trees died: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl Actor for TreeBuilder {
    type Msg = TreeBuilderMsg;
    type State = State;
    type Arguments = TreeBuilderArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<TreeBuilderMsg>,
        args: TreeBuilderArgs,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(TreeBuilderMsg::LookDue)?;
        Ok(State {
            args,
            asked: Vec::new(),
            look_is_due: true,
            later: Later::new(),
            weather: Weather::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<TreeBuilderMsg>,
        message: TreeBuilderMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TreeBuilderMsg::LookDue => state.look_due(&myself).await,
            TreeBuilderMsg::BuildAll(reply) => {
                state.asked.push(reply);
                state.hint(&myself)
            }
        }
    }
}

impl State {
    /// Many hints come to one look.
    fn hint(&mut self, myself: &ActorRef<TreeBuilderMsg>) -> Result<(), ActorProcessingErr> {
        if !self.look_is_due {
            self.look_is_due = true;
            myself.cast(TreeBuilderMsg::LookDue)?;
        }
        Ok(())
    }

    async fn look_due(
        &mut self,
        myself: &ActorRef<TreeBuilderMsg>,
    ) -> Result<(), ActorProcessingErr> {
        self.look_is_due = false;
        match self.look().await {
            Ok(true) => {
                self.weather.works("store");
                self.hint(myself)
            }
            Ok(false) => {
                self.weather.works("store");
                for reply in self.asked.drain(..) {
                    // Whoever no longer waits for the answer will ask again.
                    let _ = reply.send(());
                }
                Ok(())
            }
            Err(Trouble::Store(error)) if error.is_transient() => {
                let wait = self.weather.failed("store", &error);
                self.later.send(myself, wait, || TreeBuilderMsg::LookDue);
                Ok(())
            }
            Err(trouble) => Err(trouble.into()),
        }
    }

    /// Builds some trees; false where there are none to build.
    async fn look(&mut self) -> Result<bool, Trouble> {
        let waiting = some_channels(self.args.store.unbuilt(LOOK_CHANNELS).await?);
        if waiting.is_empty() {
            return Ok(false);
        }
        let leaves = self.args.store.sealed_leaves(&waiting).await?;
        self.args.probe.reached(Step::TREES_BEFORE_BUILD);
        let trees = offload(move || {
            leaves
                .into_iter()
                .map(build)
                .collect::<Result<Vec<_>, Trouble>>()
        })
        .await??;
        self.args.probe.reached(Step::TREES_BUILT);
        self.args.store.write_trees(&trees).await?;
        self.args.probe.reached(Step::TREES_WRITTEN);
        for tree in &trees {
            let claim_root = tree
                .claim_levels
                .last()
                .and_then(|top| top.first())
                .copied();
            info!(
                epoch = %tree.epoch,
                channel = %tree.channel,
                count = tree.participants,
                participation_root = %Node(tree.participation_root),
                claim_root = %Node(claim_root.unwrap_or_default()),
                "tree finalized"
            );
        }
        // The publisher also looks by itself; the hint makes it look sooner.
        let _ = self.args.publisher.cast(PublisherMsg::LookDue);
        Ok(true)
    }
}

/// As many channels as are built in one go.
fn some_channels(waiting: Vec<Unbuilt>) -> Vec<Unbuilt> {
    let mut leaves = 0;
    waiting
        .into_iter()
        .take_while(|channel| {
            let fits = leaves == 0 || leaves + channel.participants <= BUILD_LEAVES;
            leaves += channel.participants;
            fits
        })
        .collect()
}

fn build(sealed: SealedLeaves) -> Result<BuiltTrees, Trouble> {
    let trouble = |tree: &'static str| {
        let (channel, epoch) = (sealed.channel.to_string(), sealed.epoch.0);
        move |source| Trouble::Tree {
            tree,
            channel,
            epoch,
            source,
        }
    };
    let presence = sealed
        .users
        .iter()
        .map(|&user| leaf::participation(user, &sealed.channel, sealed.epoch));
    let participation = verified(presence.collect()).map_err(trouble("participation"))?;
    let participants = sealed.users.len() as u64;
    let claim_trouble = trouble("claim");
    let claims = verified(sealed.claim_leaves).map_err(claim_trouble)?;
    Ok(BuiltTrees {
        epoch: sealed.epoch,
        channel: sealed.channel,
        participants,
        participation_root: participation.root(),
        claim_levels: claims.levels(),
        built_at: sealed.sealed_at,
    })
}

fn verified(leaves: Vec<[u8; 32]>) -> Result<MerkleTree, MerkleError> {
    let tree = MerkleTree::new(leaves)?;
    tree.verify_all_proofs()?;
    Ok(tree)
}
