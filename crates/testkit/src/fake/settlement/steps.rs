//! How steps change what settlement keeps.

use std::collections::{BTreeMap, BTreeSet};

use twzrd_domain::chain::{Change, InFlight, Order, SettlementLogRow, SignedTransaction, Tally};
use twzrd_domain::epoch::{Epoch, UnixMs};
use twzrd_domain::ports::StoreError;
use twzrd_domain::publication::{Publication, Step};
use twzrd_domain::settlement::{RootId, RootToPublish, Target};

use super::super::state::refuse;
use super::{Kept, RootState, Settlement};

pub(super) const CONFIRMED: &str = "confirmed";
const FAILED: &str = "failed";
const PENDING: &str = "pending_confirmation";

/// The states as they are shown.
pub(super) const STATES: [&str; 7] = [
    "planned",
    "signed",
    "finalized",
    "settled",
    "superseded",
    "held",
    "failed",
];

const KEEPING: &str = "keeping a signed transaction";
const TAKING: &str = "taking steps of roots";

impl Settlement {
    pub(super) fn in_flight(&self) -> Vec<InFlight> {
        let waits = |kept: &Kept, root: &RootToPublish| {
            let publication = &self.roots.get(&root.id)?.publication;
            let of = match publication {
                Publication::Signed { signature, .. } | Publication::Finalized { signature } => {
                    signature
                }
                _ => return None,
            };
            (*of == kept.transaction.signature).then(|| (root.clone(), publication.clone()))
        };
        let all = self.transactions.iter().map(|kept| InFlight {
            transaction: kept.transaction.clone(),
            target: kept.target,
            finalized_slot: kept.finalized_slot,
            roots: kept
                .roots
                .iter()
                .filter_map(|root| waits(kept, root))
                .collect(),
        });
        all.filter(|one| !one.roots.is_empty()).collect()
    }

    pub(super) fn keep_signed(
        &mut self,
        transaction: &SignedTransaction,
        target: Target,
        roots: &[RootToPublish],
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let ids: Vec<RootId> = roots.iter().map(|root| root.id).collect();
        let distinct: BTreeSet<RootId> = ids.iter().copied().collect();
        if ids.is_empty() || distinct.len() != ids.len() || ids != transaction.roots {
            return Err(refuse(
                KEEPING,
                "the roots are not those of the transaction",
            ));
        }
        if transaction.signature.is_empty()
            || transaction.bytes.is_empty()
            || target == Target::None
        {
            return Err(refuse(KEEPING, "no signature, no bytes or no target"));
        }
        let mut are_planned = true;
        for root in roots {
            let known = self.roots.get(&root.id);
            let known = known.filter(|it| it.epoch == root.epoch && it.channel == root.channel);
            let Some(known) = known else {
                return Err(refuse(KEEPING, format!("root {} is another one", root.id)));
            };
            are_planned &= known.publication == Publication::Planned;
            let other = |it: &RootState| {
                use Publication::{Finalized, Signed};
                it.channel == root.channel
                    && matches!(it.publication, Signed { .. } | Finalized { .. })
            };
            are_planned &= !self.roots.values().any(other);
        }
        if !are_planned {
            return Ok(false);
        }
        let same = |kept: &Kept| kept.transaction.signature == transaction.signature;
        if self.transactions.iter().any(same) {
            return Err(refuse(KEEPING, "the transaction was kept before"));
        }
        self.transactions.push(Kept {
            transaction: transaction.clone(),
            target,
            finalized_slot: None,
            roots: roots.to_vec(),
        });
        let signed = self.roots.iter_mut();
        for (_, root) in signed.filter(|(id, _)| distinct.contains(id)) {
            root.publication = Publication::Signed {
                signature: transaction.signature.to_string(),
                last_valid_block_height: transaction.last_valid_block_height,
            };
            root.log.push(SettlementLogRow {
                signature: Some(transaction.signature.clone()),
                status: PENDING.to_owned(),
                target: target.to_string(),
                signed_at: Some(now),
                slot: None,
                settled_at: None,
                error_message: None,
            });
        }
        Ok(true)
    }

    pub(super) fn advance(&mut self, changes: &[Change], now: UnixMs) -> Result<u64, StoreError> {
        let mut taken = 0;
        for change in changes {
            if let Some(root) = self.roots.get_mut(&change.root)
                && stands_at(&root.publication, &change.was)
            {
                let finalized = root.take(change, now)?;
                taken += 1;
                let Some((signature, slot)) = finalized else {
                    continue;
                };
                let mut kept = self.transactions.iter_mut();
                if let Some(kept) = kept.find(|kept| kept.transaction.signature == signature) {
                    kept.finalized_slot = Some(slot);
                }
            }
        }
        Ok(taken)
    }

    pub(super) fn order(
        &mut self,
        id: RootId,
        order: Order,
        now: UnixMs,
    ) -> Result<bool, StoreError> {
        let Some(root) = self.roots.get_mut(&id) else {
            return Ok(false);
        };
        match (order, &root.publication) {
            (Order::Release, Publication::Held { .. }) => root.is_released = true,
            (Order::Retry, Publication::Held { .. } | Publication::Failed { .. }) => {}
            _ => return Ok(false),
        }
        let change = Change {
            root: id,
            was: root.publication.clone(),
            step: Step::Release,
            slot: None,
            look_again: now,
        };
        root.take(&change, now).map(|_| true)
    }

    pub(super) fn tallies(&self) -> Vec<Tally> {
        let mut all: BTreeMap<(String, String), (u64, Epoch)> = BTreeMap::new();
        for root in self.roots.values() {
            let why = match &root.publication {
                Publication::Held { reason } | Publication::Failed { reason } => {
                    reason.why.code().to_owned()
                }
                _ => String::new(),
            };
            let key = (root.publication.to_string(), why);
            let (roots, oldest) = all.entry(key).or_insert((0, root.epoch));
            *roots += 1;
            *oldest = root.epoch.min(*oldest);
        }
        let tally = |((state, why), (roots, oldest))| Tally {
            state,
            why,
            roots,
            oldest,
        };
        all.into_iter().map(tally).collect()
    }
}

/// True where a root stands where a step was decided: in that state, with that signature, and for
/// that kind of reason.
fn stands_at(is: &Publication, was: &Publication) -> bool {
    use Publication as P;
    match (is, was) {
        (P::Signed { signature: is, .. }, P::Signed { signature: was, .. }) => is == was,
        (P::Held { reason: is }, P::Held { reason: was })
        | (P::Failed { reason: is }, P::Failed { reason: was }) => is.why == was.why,
        _ => is == was,
    }
}

/// A text that others wrote, as databases hold it.
fn bounded(text: &str) -> String {
    let kept = text.chars().take(2000);
    kept.map(|c| if c == '\0' { '\u{fffd}' } else { c })
        .collect()
}

impl RootState {
    /// Takes a step. Answers the transaction that the step says is finalized, with its slot.
    fn take(&mut self, change: &Change, now: UnixMs) -> Result<Option<(String, u64)>, StoreError> {
        if matches!(change.step, Step::Sign { .. }) {
            return Err(refuse(
                TAKING,
                "a root is signed by keeping its transaction",
            ));
        }
        let was = self.publication.clone();
        let next = was.clone().after(change.step.clone());
        let mut next = next.map_err(|illegal| refuse(TAKING, illegal.to_string()))?;
        self.look_again = None;
        match &mut next {
            Publication::Held { reason } => {
                reason.text = bounded(&reason.text);
                self.look_again = Some(change.look_again);
            }
            Publication::Failed { reason } => reason.text = bounded(&reason.text),
            Publication::Settled { signature } => {
                self.settled_at = Some(now);
                self.settled_slot = change.slot;
                self.published_at = Some(now / 1000);
                if signature.is_none() {
                    self.log_found(now);
                }
            }
            _ => {}
        }
        self.publication = next;
        Ok(self.log_try(&was, change, now))
    }

    fn log_try(
        &mut self,
        was: &Publication,
        change: &Change,
        now: UnixMs,
    ) -> Option<(String, u64)> {
        let (signature, height) = match was {
            Publication::Signed {
                signature,
                last_valid_block_height,
            } => (signature, *last_valid_block_height),
            Publication::Finalized { signature } => (signature, 0),
            _ => return None,
        };
        let mut log = self.log.iter_mut();
        let row = log.find(|row| row.signature.as_deref() == Some(signature))?;
        let error = match &change.step {
            Step::Finalize => {
                row.slot = change.slot.or(row.slot);
                return change.slot.map(|slot| (signature.clone(), slot));
            }
            Step::ReadBack => {
                row.status = CONFIRMED.to_owned();
                row.settled_at = Some(now / 1000 * 1000);
                return None;
            }
            Step::Expire => {
                format!("expired: the block height passed {height}, the last at which it can land")
            }
            Step::FoundNewer(by) => format!("superseded: epoch {by} stands in its slot"),
            Step::Refuse(reason) => {
                row.slot = change.slot.or(row.slot);
                bounded(&reason.to_string())
            }
            Step::Sign { .. } | Step::Hold(_) | Step::Release => return None,
        };
        row.status = FAILED.to_owned();
        row.error_message = Some(error);
        None
    }

    /// The listener's row is that of a root which was found on chain.
    fn log_found(&mut self, now: UnixMs) {
        let settled_at = Some(now / 1000 * 1000);
        let mut confirmed = self.log.iter_mut().filter(|row| row.status == CONFIRMED);
        let Some(first) = confirmed.next() else {
            self.log.push(SettlementLogRow {
                signature: None,
                status: CONFIRMED.to_owned(),
                target: Target::Program.to_string(),
                signed_at: None,
                slot: None,
                settled_at,
                error_message: None,
            });
            return;
        };
        first.settled_at = first.settled_at.or(settled_at);
        confirmed.for_each(|row| row.settled_at = row.settled_at.or(settled_at));
    }
}
