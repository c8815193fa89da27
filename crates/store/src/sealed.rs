//! Reads what was frozen, in pages that bound how much is in memory.

use sea_orm::{QueryResult, Value};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Channel, Node, UserHash};
use twzrd_domain::ports::StoreError;
use twzrd_domain::seal::FrozenParticipant;
use twzrd_domain::weight::Weight;

use crate::connect::Store;
use crate::sql::{HEX, NAME, column, int, parsed, query, unsigned};

/// How many participants one query reads.
const PAGE: u64 = 50_000;

impl Store {
    /// Reads the participants of a frozen channel in sealed order, and refuses where one is
    /// missing.
    pub(crate) async fn read_frozen(
        &self,
        epoch: Epoch,
        channel: &Channel,
        participants: u64,
        doing: &'static str,
    ) -> Result<Vec<FrozenParticipant>, StoreError> {
        let sql = "SELECT user_hash, username, weight, amount, claimer, claim_leaf \
            FROM sealed_participants \
            WHERE epoch = $1 AND channel = $2 AND idx >= $3 AND idx < $4 ORDER BY idx";
        let stored = int(epoch.0, "sealed_participants.epoch")?;
        let mut all = Vec::new();
        for (from, until) in pages(participants) {
            let values = page_values(stored, channel, from, until)?;
            for row in query(self.reader(), sql, values, doing).await? {
                all.push(frozen(&row, doing)?);
            }
        }
        expect_all(epoch, channel, all.len(), participants)?;
        Ok(all)
    }
}

/// Hashes of people and their claim leaves, each in sealed order.
pub(crate) type Leaves = (Vec<UserHash>, Vec<[u8; 32]>);

/// How many characters a hash has.
const HASH: usize = 64;

impl Store {
    /// Reads the leaves of a frozen channel, and refuses where one is missing.
    ///
    /// A page of them comes packed into one text: several times as fast as a row a leaf.
    pub(crate) async fn read_leaves(
        &self,
        epoch: Epoch,
        channel: &Channel,
        participants: u64,
        doing: &'static str,
    ) -> Result<Leaves, StoreError> {
        const PACKED: &str = "SELECT string_agg(user_hash || claim_leaf, '' ORDER BY idx) \
            FROM sealed_participants \
            WHERE epoch = $1 AND channel = $2 AND idx >= $3 AND idx < $4";
        let stored = int(epoch.0, "sealed_participants.epoch")?;
        let (mut users, mut leaves) = (Vec::new(), Vec::new());
        for (from, until) in pages(participants) {
            let values = page_values(stored, channel, from, until)?;
            let rows = query(self.reader(), PACKED, values, doing).await?;
            let Some(row) = rows.first() else { continue };
            let packed: Option<String> = column(row, 0, doing)?;
            let packed = packed.unwrap_or_default();
            let mut rest = packed.as_str();
            while let Some((user, behind)) = rest.split_at_checked(HASH) {
                let leaf = behind.get(..HASH).unwrap_or(behind);
                rest = behind.get(HASH..).unwrap_or_default();
                users.push(parsed(user, "sealed_participants.user_hash", HEX)?);
                leaves.push(node(leaf, "sealed_participants.claim_leaf")?);
            }
        }
        expect_all(epoch, channel, users.len(), participants)?;
        Ok((users, leaves))
    }
}

/// The indices of all participants in pages, and one index past the end, so that a participant
/// too many is found as well.
fn pages(participants: u64) -> impl Iterator<Item = (u64, u64)> {
    let end = participants.saturating_add(1);
    let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
    (0..end)
        .step_by(page)
        .map(move |from| (from, (from + PAGE).min(end)))
}

fn page_values(
    epoch: i64,
    channel: &Channel,
    from: u64,
    until: u64,
) -> Result<[Value; 4], StoreError> {
    Ok([
        epoch.into(),
        channel.as_str().into(),
        int(from, "sealed_participants.idx")?.into(),
        int(until, "sealed_participants.idx")?.into(),
    ])
}

fn expect_all(
    epoch: Epoch,
    channel: &Channel,
    found: usize,
    participants: u64,
) -> Result<(), StoreError> {
    if found as u64 == participants {
        return Ok(());
    }
    Err(StoreError::Corrupt {
        place: "sealed_participants",
        found: format!("{found} rows of {channel} in epoch {epoch}"),
        expected: "as many as sealed_epochs.participants says, numbered from 0",
    })
}

fn frozen(row: &QueryResult, doing: &'static str) -> Result<FrozenParticipant, StoreError> {
    let user: String = column(row, 0, doing)?;
    let login: Option<String> = column(row, 1, doing)?;
    let login = login.map(|login| parsed(&login, "sealed_participants.username", NAME));
    let weight = unsigned(column(row, 2, doing)?, "sealed_participants.weight")?;
    let amount: String = column(row, 3, doing)?;
    let claimer: String = column(row, 4, doing)?;
    let claim_leaf: String = column(row, 5, doing)?;
    Ok(FrozenParticipant {
        user: parsed(&user, "sealed_participants.user_hash", HEX)?,
        login: login.transpose()?,
        weight: Weight(weight),
        amount: parsed(
            &amount,
            "sealed_participants.amount",
            "a whole number of 64 bits",
        )?,
        claimer: parsed(&claimer, "sealed_participants.claimer", HEX)?,
        claim_leaf: node(&claim_leaf, "sealed_participants.claim_leaf")?,
    })
}

/// A node of a tree; older rows may carry 0x.
pub(crate) fn node(text: &str, place: &'static str) -> Result<[u8; 32], StoreError> {
    parsed::<Node>(text, place, HEX).map(|node| node.0)
}
