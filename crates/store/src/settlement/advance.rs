//! Takes steps: decides them on roots that are locked, then writes what they come to.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sea_orm::{ConnectionTrait, Value};
use twzrd_domain::chain::{Change, Order};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::ports::StoreError;
use twzrd_domain::publication::{Publication, Step};
use twzrd_domain::settlement::{RootId, Target};

use super::given::Named;
use super::state::{COLUMNS, TRANSACTION, bounded, id, ids, lock, publication, root_id, status_of};
use super::{CONFIRMED, FAILED, Kind, selected};
use crate::connect::Store;
use crate::error::{Doing, refused};
use crate::sql::{among, column, execute, int, query};

const TAKING: &str = "taking steps of roots";

/// A root as it stands, and how it is to be written.
struct Root {
    publication: Publication,
    is_released: bool,
    look_again: Option<UnixMs>,
    settled: Option<Settled>,
}

/// What is written of a root that was read back.
struct Settled {
    slot: Option<u64>,
    was_found: bool,
}

/// What becomes of the log row of a root and a transaction.
#[derive(Default)]
struct Try {
    status: Option<&'static str>,
    error: Option<String>,
    slot: Option<u64>,
    settled: bool,
}

/// All that is to be written.
#[derive(Default)]
struct Outcome {
    taken: u64,
    touched: BTreeSet<RootId>,
    tries: BTreeMap<(RootId, String), Try>,
    finalized: BTreeMap<String, u64>,
}

impl Store {
    pub(super) async fn take_steps(
        &self,
        changes: &[Change],
        now: UnixMs,
    ) -> Result<u64, StoreError> {
        let transaction = self.begin(TAKING).await?;
        let concerned: BTreeSet<RootId> = changes.iter().map(|change| change.root).collect();
        let mut roots = locked(&transaction, concerned).await?;
        let mut outcome = Outcome::default();
        for change in changes {
            if let Some(root) = roots.get_mut(&change.root)
                && stands_at(&root.publication, &change.was)
            {
                outcome.take(root, change)?;
            }
        }
        if outcome.taken == 0 {
            return Ok(0);
        }
        outcome.write(&transaction, &roots, now).await?;
        transaction.commit().await.doing(TAKING)?;
        Ok(outcome.taken)
    }

    pub(super) async fn take_order(
        &self,
        number: RootId,
        order: Order,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let transaction = self.begin(TAKING).await?;
        let mut roots = locked(&transaction, BTreeSet::from([number])).await?;
        let Some(root) = roots.get_mut(&number) else {
            return Ok(false);
        };
        match (order, &root.publication) {
            (Order::Release, Publication::Held { .. }) => root.is_released = true,
            (Order::Retry, Publication::Held { .. } | Publication::Failed { .. }) => {}
            _ => return Ok(false),
        }
        let mut outcome = Outcome::default();
        let change = Change {
            root: number,
            was: root.publication.clone(),
            step: Step::Release,
            slot: None,
            look_again: now,
        };
        outcome.take(root, &change)?;
        outcome.write(&transaction, &roots, now).await?;
        transaction.commit().await.doing(TAKING)?;
        Ok(true)
    }
}

/// True where a root stands where a step was decided: in that state, with that signature, and for
/// that kind of reason.
fn stands_at(is: &Publication, was: &Publication) -> bool {
    use Publication as P;
    match (is, was) {
        (P::Planned, P::Planned) => true,
        (P::Signed { signature: is, .. }, P::Signed { signature: was, .. })
        | (P::Finalized { signature: is }, P::Finalized { signature: was }) => is == was,
        (P::Held { reason: is }, P::Held { reason: was })
        | (P::Failed { reason: is }, P::Failed { reason: was }) => is.why == was.why,
        (P::Settled { .. } | P::Superseded { .. }, _) => is == was,
        _ => false,
    }
}

/// Locks these roots and reads where they stand, in two statements: only the second is sure to
/// see the transactions that another writer kept before it gave up the lock.
async fn locked<C: ConnectionTrait>(
    db: &C,
    roots: BTreeSet<RootId>,
) -> Result<HashMap<RootId, Root>, StoreError> {
    let backend = db.get_database_backend();
    let numbers = ids(backend, roots)?;
    lock(db, &numbers, TAKING).await?;
    let sql = format!(
        "SELECT r.id, r.released, {COLUMNS} FROM roots r {TRANSACTION} WHERE {}",
        among(backend, "r.id", 1)
    );
    let mut all = HashMap::new();
    for row in query(db, sql, [numbers], TAKING).await? {
        let root = Root {
            publication: publication(&row, 2, TAKING)?,
            is_released: column::<i32>(&row, 1, TAKING)? == 1,
            look_again: None,
            settled: None,
        };
        all.insert(root_id(column(&row, 0, TAKING)?)?, root);
    }
    Ok(all)
}

impl Outcome {
    /// Takes a step of a root that stands where it was decided.
    fn take(&mut self, root: &mut Root, change: &Change) -> Result<(), StoreError> {
        if matches!(change.step, Step::Sign { .. }) {
            let why = "a root is signed by keeping its transaction";
            return Err(refused(TAKING, why));
        }
        let was = root.publication.clone();
        let next = was.clone().after(change.step.clone());
        let mut next = next.map_err(|source| StoreError::Permanent {
            doing: TAKING,
            source: Box::new(source),
        })?;
        self.log(change, &was);
        root.look_again = None;
        match &mut next {
            Publication::Held { reason } => {
                reason.text = bounded(&reason.text);
                root.look_again = Some(change.look_again);
            }
            Publication::Failed { reason } => reason.text = bounded(&reason.text),
            Publication::Settled { signature } => {
                root.settled = Some(Settled {
                    slot: change.slot,
                    was_found: signature.is_none(),
                });
            }
            _ => {}
        }
        root.publication = next;
        self.touched.insert(change.root);
        self.taken += 1;
        Ok(())
    }

    /// Notes what a step comes to in the log row of the transaction that the root is signed in.
    fn log(&mut self, change: &Change, was: &Publication) {
        let (signature, height) = match was {
            Publication::Signed {
                signature,
                last_valid_block_height,
            } => (signature, Some(*last_valid_block_height)),
            Publication::Finalized { signature } => (signature, None),
            _ => return,
        };
        let key = (change.root, signature.clone());
        let this = self.tries.entry(key).or_default();
        let error = match &change.step {
            Step::Finalize => {
                this.slot = change.slot;
                if let Some(slot) = change.slot {
                    self.finalized.insert(signature.clone(), slot);
                }
                return;
            }
            Step::ReadBack => {
                this.status = Some(CONFIRMED);
                this.settled = true;
                return;
            }
            Step::Expire => {
                let height = height.unwrap_or_default();
                format!("expired: the block height passed {height}, the last at which it can land")
            }
            Step::FoundNewer(by) => format!("superseded: epoch {by} stands in its slot"),
            Step::Refuse(reason) => {
                this.slot = change.slot;
                bounded(&reason.to_string())
            }
            Step::Sign { .. } | Step::Hold(_) | Step::Release => return,
        };
        this.status = Some(FAILED);
        this.error = Some(error);
    }

    async fn write<C: ConnectionTrait>(
        &self,
        db: &C,
        roots: &HashMap<RootId, Root>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let backend = db.get_database_backend();
        let touched = self.touched.iter();
        let touched = touched.filter_map(|number| Some((*number, roots.get(number)?)));
        let touched: Vec<(RootId, &Root)> = touched.collect();
        write_roots(db, &touched, now).await?;
        write_tries(db, &self.tries, now).await?;
        write_finalized(db, &self.finalized).await?;
        let settled = touched.iter().filter(|(_, root)| root.settled.is_some());
        let settled: Vec<RootId> = settled.map(|(number, _)| *number).collect();
        if !settled.is_empty() {
            publish(db, ids(backend, settled)?, now).await?;
        }
        let found = |root: &Root| root.settled.as_ref().is_some_and(|it| it.was_found);
        let found = touched.iter().filter(|(_, root)| found(root));
        let found: Vec<RootId> = found.map(|(number, _)| *number).collect();
        if !found.is_empty() {
            log_found(db, ids(backend, found)?, now).await?;
        }
        Ok(())
    }
}

const ROOT: [Named; 11] = [
    ("root_id", Kind::Number),
    ("status", Kind::Text),
    ("tx_signature", Kind::Text),
    ("reason_code", Kind::Text),
    ("reason", Kind::Text),
    ("superseded_by", Kind::Text),
    ("released", Kind::Number),
    ("look_again_ms", Kind::Number),
    ("settled_at_ms", Kind::Number),
    ("settled_slot", Kind::Number),
    ("target", Kind::Text),
];

fn root_row(number: RootId, root: &Root, now: UnixMs) -> Result<[Option<String>; 11], StoreError> {
    let (mut signature, mut code, mut text, mut newer) = (None, None, None, None);
    match &root.publication {
        Publication::Signed { signature: by, .. } | Publication::Finalized { signature: by } => {
            signature = Some(by.clone());
        }
        Publication::Settled { signature: by } => signature.clone_from(by),
        Publication::Superseded { by } => newer = Some(by.to_string()),
        Publication::Held { reason } | Publication::Failed { reason } => {
            code = Some(reason.why.code().to_owned());
            text = Some(reason.text.clone());
        }
        Publication::Planned => {}
    }
    let number_of = |value: Option<u64>, place| {
        let stored = value.map(|value| int(value, place)).transpose()?;
        Ok::<_, StoreError>(stored.map(|stored| stored.to_string()))
    };
    let settled = root.settled.as_ref();
    // What is found on chain without a transaction of ours was found in the program's account:
    // memos have none.
    let found = settled.filter(|settled| settled.was_found);
    Ok([
        Some(id(number)?.to_string()),
        Some(status_of(&root.publication)?.to_owned()),
        signature,
        code,
        text,
        newer,
        Some(u8::from(root.is_released).to_string()),
        number_of(root.look_again, "roots.look_again_ms")?,
        number_of(settled.map(|_| now), "roots.settled_at_ms")?,
        number_of(settled.and_then(|it| it.slot), "roots.settled_slot")?,
        found.map(|_| Target::Program.as_str().to_owned()),
    ])
}

async fn write_roots<C: ConnectionTrait>(
    db: &C,
    touched: &[(RootId, &Root)],
    now: UnixMs,
) -> Result<(), StoreError> {
    let rows = touched.iter();
    let rows = rows.map(|(number, root)| root_row(*number, root, now));
    let rows: Vec<_> = rows.collect::<Result<_, _>>()?;
    let (given, values) = selected(db.get_database_backend(), &ROOT, rows, 1);
    let sql = format!(
        "UPDATE roots SET status = given.status, tx_signature = given.tx_signature, \
            reason_code = given.reason_code, reason = given.reason, \
            superseded_by = given.superseded_by, released = given.released, \
            look_again_ms = given.look_again_ms, settled_at_ms = given.settled_at_ms, \
            settled_slot = given.settled_slot, target = COALESCE(given.target, roots.target) \
         FROM {given} WHERE roots.id = given.root_id"
    );
    execute(db, sql, values, TAKING).await.map(drop)
}

const TRY: [Named; 6] = [
    ("root_id", Kind::Number),
    ("tx_signature", Kind::Text),
    ("status", Kind::Text),
    ("error_message", Kind::Text),
    ("slot", Kind::Number),
    ("settled_at", Kind::Number),
];

async fn write_tries<C: ConnectionTrait>(
    db: &C,
    tries: &BTreeMap<(RootId, String), Try>,
    now: UnixMs,
) -> Result<(), StoreError> {
    if tries.is_empty() {
        return Ok(());
    }
    let second = int(now / 1000, "settlement_log.settled_at")?;
    let rows = tries.iter().map(|((number, signature), this)| {
        let slot = this.slot.map(|slot| int(slot, "settlement_log.slot"));
        Ok([
            Some(id(*number)?.to_string()),
            Some(signature.clone()),
            this.status.map(str::to_owned),
            this.error.clone(),
            slot.transpose()?.map(|slot| slot.to_string()),
            this.settled.then(|| second.to_string()),
        ])
    });
    let rows: Vec<_> = rows.collect::<Result<_, StoreError>>()?;
    let (given, values) = selected(db.get_database_backend(), &TRY, rows, 1);
    let sql = format!(
        "UPDATE settlement_log SET status = COALESCE(given.status, settlement_log.status), \
            error_message = given.error_message, \
            slot = COALESCE(given.slot, settlement_log.slot), settled_at = given.settled_at \
         FROM {given} WHERE settlement_log.root_id = given.root_id \
         AND settlement_log.tx_signature = given.tx_signature"
    );
    execute(db, sql, values, TAKING).await.map(drop)
}

const FINALIZED_SLOT: [Named; 2] = [("signature", Kind::Text), ("slot", Kind::Number)];

async fn write_finalized<C: ConnectionTrait>(
    db: &C,
    finalized: &BTreeMap<String, u64>,
) -> Result<(), StoreError> {
    if finalized.is_empty() {
        return Ok(());
    }
    let rows = finalized.iter().map(|(signature, slot)| {
        let slot = int(*slot, "settlement_transaction.finalized_slot")?;
        Ok([Some(signature.clone()), Some(slot.to_string())])
    });
    let rows: Vec<_> = rows.collect::<Result<_, StoreError>>()?;
    let (given, values) = selected(db.get_database_backend(), &FINALIZED_SLOT, rows, 1);
    let sql = format!(
        "UPDATE settlement_transaction SET finalized_slot = given.slot \
         FROM {given} WHERE settlement_transaction.signature = given.signature"
    );
    execute(db, sql, values, TAKING).await.map(drop)
}

/// Nothing else ever sets these columns.
async fn publish<C: ConnectionTrait>(
    db: &C,
    settled: Value,
    now: UnixMs,
) -> Result<(), StoreError> {
    let second = int(now / 1000, "sealed_epochs.published_at")?;
    let sql = format!(
        "UPDATE sealed_epochs SET published = 1, published_at = $2 FROM roots r \
         WHERE {} AND sealed_epochs.epoch = r.epoch AND sealed_epochs.channel = r.channel",
        among(db.get_database_backend(), "r.id", 1)
    );
    let values = [settled, second.into()];
    execute(db, sql, values, TAKING).await.map(drop)
}

/// Roots that were found on chain: the listener's log row, or one without a signature where it
/// has logged none.
async fn log_found<C: ConnectionTrait>(
    db: &C,
    found: Value,
    now: UnixMs,
) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    let second: Value = int(now / 1000, "settlement_log.settled_at")?.into();
    let sql = format!(
        "UPDATE settlement_log SET settled_at = $2 \
         WHERE {} AND status = '{CONFIRMED}' AND settled_at IS NULL",
        among(backend, "root_id", 1)
    );
    execute(db, sql, [found.clone(), second.clone()], TAKING).await?;
    let sql = format!(
        "INSERT INTO settlement_log (root_id, settled_at, status, target) \
         SELECT r.id, CAST($2 AS bigint), '{CONFIRMED}', '{}' FROM roots r \
         WHERE {} AND NOT EXISTS (SELECT 1 FROM settlement_log l \
                                  WHERE l.root_id = r.id AND l.status = '{CONFIRMED}')",
        Target::Program.as_str(),
        among(backend, "r.id", 1)
    );
    execute(db, sql, [found, second], TAKING).await.map(drop)
}
