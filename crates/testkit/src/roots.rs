//! Sealed epochs with their trees, made through the ports of a store.

use twzrd_domain::batch::{Batch, Change, Control, NameRow, ParticipantRow, Position};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::identity::{Channel, Login, UserHash, Wallet};
use twzrd_domain::leaf;
use twzrd_domain::merkle::MerkleTree;
use twzrd_domain::ports::{BatchStore, BuiltTrees, SealStore, StoreError, TreeStore};
use twzrd_domain::record::Bind;
use twzrd_domain::seal::{SealedLeaves, freeze};
use twzrd_domain::weight::Arithmetic;

const DOING: &str = "making sealed epochs for a test";

/// Commits a batch behind what the store holds.
///
/// # Errors
/// What the store refuses.
async fn commit(store: &dyn BatchStore, batch: Batch) -> Result<(), StoreError> {
    let from = store.offset().await?;
    let to = Position {
        seq: from + 1,
        segment: 1,
        byte: from + 1,
    };
    let journal = "journal".into();
    store
        .commit(&Batch {
            journal,
            from,
            to,
            ..batch
        })
        .await
        .map(drop)
}

async fn tell(store: &dyn BatchStore, at: UnixMs, change: Change) -> Result<(), StoreError> {
    let seq = store.offset().await? + 1;
    let controls = vec![Control { seq, at, change }];
    commit(
        store,
        Batch {
            controls,
            ..Batch::default()
        },
    )
    .await
}

/// Binds wallets to people.
///
/// # Errors
/// What the store refuses.
pub async fn bind<S: BatchStore>(store: &S, wallets: &[(Login, Wallet)]) -> Result<(), StoreError> {
    for (login, wallet) in wallets {
        let bind = Bind {
            user: UserHash::of_login(login),
            wallet: *wallet,
            verified: true,
            source: "test".to_owned(),
        };
        tell(store, 1, Change::Bind(bind)).await?;
    }
    Ok(())
}

/// Seals an epoch with these people in each channel, and builds its trees.
///
/// # Errors
/// What the store refuses.
pub async fn seal<S: BatchStore + SealStore + TreeStore>(
    store: &S,
    epoch: Epoch,
    channels: &[(Channel, Vec<Login>)],
) -> Result<(), StoreError> {
    let mut rows = Batch::default();
    for (channel, people) in channels {
        for (place, login) in people.iter().enumerate() {
            let user = UserHash::of_login(login);
            rows.participants.push(ParticipantRow {
                epoch,
                channel: channel.clone(),
                user,
                first_seen: epoch.0 + place as u64,
            });
            rows.names.push(NameRow {
                user,
                login: login.clone(),
                first_seen: epoch.0,
            });
        }
    }
    rows.participants
        .sort_by(|a, b| (&a.channel, a.user).cmp(&(&b.channel, b.user)));
    rows.names.sort_by_key(|row| row.user);
    rows.names.dedup_by_key(|row| row.user);
    commit(store, rows).await?;
    let sealed_at = epoch.0 * 1000 + 3_600_000;
    tell(store, sealed_at, Change::Seal(epoch)).await?;
    let found = store.channels_to_freeze(epoch).await?;
    let found: Vec<Channel> = found.into_iter().map(|(channel, _)| channel).collect();
    let people = store.participants(epoch, &found).await?;
    let mut frozen = Vec::with_capacity(found.len());
    for (channel, people) in found.iter().zip(people) {
        let one = freeze(epoch, channel, sealed_at, &Arithmetic::default(), people);
        frozen.extend(one.map_err(permanent)?);
    }
    store.freeze(&frozen).await?;
    store.finish_freeze(epoch, sealed_at).await?;
    let unbuilt = store.unbuilt(u64::MAX >> 1).await?;
    let leaves = store.sealed_leaves(&unbuilt).await?;
    let trees: Result<Vec<_>, _> = leaves.into_iter().map(trees_of).collect();
    store.write_trees(&trees?).await
}

/// The trees of a frozen channel.
///
/// # Errors
/// Where it has no leaves, or two of them are the same.
pub fn trees_of(leaves: SealedLeaves) -> Result<BuiltTrees, StoreError> {
    let (epoch, channel) = (leaves.epoch, leaves.channel);
    let users = leaves.users.iter();
    let presence = users.map(|&user| leaf::participation(user, &channel, epoch));
    let participation = MerkleTree::new(presence.collect()).map_err(permanent)?;
    let claim = MerkleTree::new(leaves.claim_leaves).map_err(permanent)?;
    Ok(BuiltTrees {
        epoch,
        participants: leaves.users.len() as u64,
        channel,
        participation_root: participation.root(),
        claim_levels: claim.levels(),
        built_at: leaves.sealed_at,
    })
}

fn permanent(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Permanent {
        doing: DOING,
        source: Box::new(error),
    }
}
