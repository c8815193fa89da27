//! What the tree builder reads and writes: leaves of frozen channels, and their trees.

use std::collections::HashMap;

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, QueryResult, Value};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::ports::{BuiltTrees, StoreError, TreeStore, Unbuilt};
use twzrd_domain::seal::SealedLeaves;

use crate::activity::{find_published, lock_publications};
use crate::batch::epoch;
use crate::connect::Store;
use crate::error::{Doing, refused};
use crate::seal::{finalize, hex, lock_sealed};
use crate::sql::Type::{Int, Text};
use crate::sql::{Insert, NAME, column, execute, given, int, parsed, query, unsigned};

/// The largest tree whose levels are kept. Those of a larger one are built again from the leaves
/// where they are wanted; its root is always kept.
pub(crate) const MAX_CACHED_LEAVES: u64 = 131_072;

/// How many leaves are turned into JSON for one statement, so that memory is bounded.
const LEAVES_A_STATEMENT: u64 = 131_072;

const WRITING: &str = "writing trees";

const CACHE: Insert<6> = Insert {
    table: "l2_tree_cache",
    columns: [
        ("epoch", Int),
        ("channel", Text),
        ("root", Text),
        ("levels_json", Text),
        ("participant_count", Int),
        ("built_at", Int),
    ],
    conflict: "ON CONFLICT (epoch, channel) DO NOTHING",
    doing: WRITING,
};

const ROOTS: Insert<6> = Insert {
    table: "roots",
    columns: [
        ("epoch", Int),
        ("channel", Text),
        ("root", Text),
        ("count", Int),
        ("finalized_at", Int),
        ("status", Text),
    ],
    conflict: "ON CONFLICT (epoch, channel) DO NOTHING",
    doing: WRITING,
};

#[async_trait]
impl TreeStore for Store {
    async fn unbuilt(&self, limit: u64) -> Result<Vec<Unbuilt>, StoreError> {
        const DOING: &str = "asking for channels without trees";
        let sql = "SELECT epoch, channel, participants FROM sealed_epochs \
            WHERE root IS NULL ORDER BY epoch, channel LIMIT $1";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = query(self.reader(), sql, [limit.into()], DOING).await?;
        let unbuilt = |row: &QueryResult| {
            let channel: String = column(row, 1, DOING)?;
            Ok(Unbuilt {
                epoch: epoch(column(row, 0, DOING)?)?,
                channel: parsed(&channel, "sealed_epochs.channel", NAME)?,
                participants: unsigned(column(row, 2, DOING)?, "sealed_epochs.participants")?,
            })
        };
        rows.iter().map(unbuilt).collect()
    }

    async fn sealed_leaves(&self, wanted: &[Unbuilt]) -> Result<Vec<SealedLeaves>, StoreError> {
        const DOING: &str = "reading leaves";
        let keys = wanted.iter().map(|one| (one.epoch, one.channel.as_str()));
        let sealed = sealed_among(self.reader(), keys, DOING).await?;
        let mut all = Vec::with_capacity(wanted.len());
        for one in wanted {
            let (epoch, channel) = (one.epoch, &one.channel);
            let known = sealed.get(&(epoch, channel.to_string()));
            let known = known
                .ok_or_else(|| refused(DOING, format!("{channel} is not frozen in {epoch}")))?;
            let leaves = self.read_leaves(epoch, channel, known.participants, DOING);
            let (users, claim_leaves) = leaves.await?;
            all.push(SealedLeaves {
                epoch,
                channel: channel.clone(),
                sealed_at: known.sealed_at,
                users,
                claim_leaves,
            });
        }
        Ok(all)
    }

    async fn write_trees(&self, trees: &[BuiltTrees]) -> Result<(), StoreError> {
        let transaction = self.begin(WRITING).await?;
        lock_publications(&transaction, WRITING).await?;
        let mut epochs: Vec<Epoch> = trees.iter().map(|tree| tree.epoch).collect();
        epochs.sort_unstable();
        epochs.dedup();
        lock_sealed(&transaction, &epochs, WRITING).await?;
        let keys = trees.iter().map(|tree| (tree.epoch, tree.channel.as_str()));
        let sealed = sealed_among(&transaction, keys, WRITING).await?;
        let mut new = Vec::with_capacity(trees.len());
        for tree in trees {
            let known = sealed.get(&(tree.epoch, tree.channel.to_string()));
            check(tree, known)?;
            if known.is_some_and(|known| !known.built) {
                new.push(tree);
            }
        }
        new.sort_by(|a, b| (a.epoch, &a.channel).cmp(&(b.epoch, &b.channel)));
        new.dedup_by(|a, b| (a.epoch, &a.channel) == (b.epoch, &b.channel));
        write_participation_roots(&transaction, &new).await?;
        let mut left = new.as_slice();
        while !left.is_empty() {
            let (chunk, rest) = left.split_at(within_bound(left));
            CACHE
                .run(&transaction, chunk.iter().map(|tree| cached(tree)))
                .await?;
            left = rest;
        }
        ROOTS
            .run(&transaction, new.iter().map(|tree| root(tree)))
            .await?;
        find_published(&transaction, &epochs, WRITING).await?;
        finalize(&transaction, &epochs, WRITING).await?;
        transaction.commit().await.doing(WRITING)
    }
}

/// What is known of a frozen channel.
struct Sealed {
    participants: u64,
    sealed_at: u64,
    built: bool,
}

async fn sealed_among<'a, C: ConnectionTrait>(
    db: &C,
    keys: impl Iterator<Item = (Epoch, &'a str)>,
    doing: &'static str,
) -> Result<HashMap<(Epoch, String), Sealed>, StoreError> {
    let keys = keys
        .map(|(epoch, channel)| Ok([int(epoch.0, "sealed_epochs.epoch")?.into(), channel.into()]));
    let keys: Vec<[Value; 2]> = keys.collect::<Result<_, StoreError>>()?;
    let columns = [("epoch", Int), ("channel", Text)];
    let (given, values) = given(db.get_database_backend(), &columns, keys, 1);
    let sql = format!(
        "SELECT s.epoch, s.channel, s.participants, s.sealed_at_ms, \
         CASE WHEN s.root IS NULL THEN 0 ELSE 1 END \
         FROM {given} CROSS JOIN sealed_epochs s \
         WHERE s.epoch = given.epoch AND s.channel = given.channel"
    );
    let mut all = HashMap::new();
    for row in query(db, sql, values, doing).await? {
        let sealed = Sealed {
            participants: unsigned(column(&row, 2, doing)?, "sealed_epochs.participants")?,
            sealed_at: unsigned(column(&row, 3, doing)?, "sealed_epochs.sealed_at_ms")?,
            built: column::<i32>(&row, 4, doing)? == 1,
        };
        all.insert(
            (epoch(column(&row, 0, doing)?)?, column(&row, 1, doing)?),
            sealed,
        );
    }
    Ok(all)
}

/// A tree that does not have the leaves which were frozen is a bug of the caller.
fn check(tree: &BuiltTrees, known: Option<&Sealed>) -> Result<(), StoreError> {
    let (epoch, channel) = (tree.epoch, &tree.channel);
    let Some(known) = known else {
        return Err(refused(
            WRITING,
            format!("{channel} is not frozen in {epoch}"),
        ));
    };
    let leaves = tree.claim_levels.first().map_or(0, Vec::len) as u64;
    let expected = known.participants;
    if (tree.participants, leaves) != (expected, expected) {
        let why = format!(
            "{channel} in {epoch}: {} participants and {leaves} leaves; {expected} were frozen",
            tree.participants
        );
        return Err(refused(WRITING, why));
    }
    claim_root(tree).map(drop)
}

fn claim_root(tree: &BuiltTrees) -> Result<[u8; 32], StoreError> {
    match tree.claim_levels.last().map(Vec::as_slice) {
        Some([root]) => Ok(*root),
        _ => {
            let (epoch, channel) = (tree.epoch, &tree.channel);
            Err(refused(
                WRITING,
                format!("{channel} in {epoch}: the claim tree has no root"),
            ))
        }
    }
}

/// How many of these trees go into one statement: at least one.
fn within_bound(trees: &[&BuiltTrees]) -> usize {
    let mut leaves = 0;
    let fits = trees.iter().take_while(|tree| {
        leaves += tree.participants.min(MAX_CACHED_LEAVES);
        leaves <= LEAVES_A_STATEMENT
    });
    fits.count().max(1)
}

async fn write_participation_roots<C: ConnectionTrait>(
    db: &C,
    trees: &[&BuiltTrees],
) -> Result<(), StoreError> {
    for trees in trees.chunks(5000) {
        let rows = trees.iter().map(|tree| {
            Ok([
                int(tree.epoch.0, "sealed_epochs.epoch")?.into(),
                tree.channel.as_str().into(),
                hex(&tree.participation_root).into(),
            ])
        });
        let rows: Vec<[Value; 3]> = rows.collect::<Result<_, StoreError>>()?;
        let columns = [("epoch", Int), ("channel", Text), ("root", Text)];
        let (given, values) = given(db.get_database_backend(), &columns, rows, 1);
        let sql = format!(
            "UPDATE sealed_epochs SET root = given.root FROM {given} \
             WHERE sealed_epochs.epoch = given.epoch AND sealed_epochs.channel = given.channel \
             AND sealed_epochs.root IS NULL"
        );
        execute(db, sql, values, WRITING).await?;
    }
    Ok(())
}

fn cached(tree: &BuiltTrees) -> Result<[Value; 6], StoreError> {
    let levels = if tree.participants <= MAX_CACHED_LEAVES {
        levels_json(&tree.claim_levels)
    } else {
        "[]".to_owned()
    };
    Ok([
        int(tree.epoch.0, "l2_tree_cache.epoch")?.into(),
        tree.channel.as_str().into(),
        hex(&claim_root(tree)?).into(),
        levels.into(),
        int(tree.participants, "l2_tree_cache.participant_count")?.into(),
        int(tree.built_at / 1000, "l2_tree_cache.built_at")?.into(),
    ])
}

fn root(tree: &BuiltTrees) -> Result<[Value; 6], StoreError> {
    Ok([
        int(tree.epoch.0, "roots.epoch")?.into(),
        tree.channel.as_str().into(),
        hex(&claim_root(tree)?).into(),
        int(tree.participants, "roots.count")?.into(),
        int(tree.built_at / 1000, "roots.finalized_at")?.into(),
        "ready_for_settlement".into(),
    ])
}

/// An array of levels, each an array of nodes, the leaves first.
fn levels_json(levels: &[Vec<[u8; 32]>]) -> String {
    let nodes: usize = levels.iter().map(Vec::len).sum();
    let mut json = String::with_capacity(nodes * 67 + levels.len() * 3 + 2);
    json.push('[');
    for (at, level) in levels.iter().enumerate() {
        json.push_str(if at == 0 { "[" } else { ",[" });
        for (at, node) in level.iter().enumerate() {
            json.push_str(if at == 0 { "\"" } else { ",\"" });
            json.push_str(&hex(node));
            json.push('"');
        }
        json.push(']');
    }
    json.push(']');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_an_array_of_arrays_of_bare_hex_with_the_leaves_first() {
        let levels = vec![vec![[1; 32], [2; 32]], vec![[3; 32]]];
        let (one, two, three) = ("01".repeat(32), "02".repeat(32), "03".repeat(32));
        let expected = format!("[[\"{one}\",\"{two}\"],[\"{three}\"]]");
        assert_eq!(levels_json(&levels), expected);
    }
}
