//! The steps that a root takes by what was seen of it on chain.

use crate::chain::{Change, InFlight, Landing, Standing};
use crate::epoch::UnixMs;
use crate::publication::{Publication, Step};
use crate::settlement::{Reason, RootId, Why};

/// The steps of the roots of a transaction, by what became of it. None while it can still land.
#[must_use]
pub fn landed(in_flight: &InFlight, landing: &Landing, look_again: UnixMs) -> Vec<Change> {
    let signed = in_flight
        .roots
        .iter()
        .filter(|(_, at)| matches!(at, Publication::Signed { .. }));
    match landing {
        Landing::Pending => Vec::new(),
        Landing::Finalized { slot } => signed
            .map(|(root, was)| change(root.id, was, Step::Finalize).seen_in(*slot))
            .collect(),
        Landing::Expired { .. } => signed
            .map(|(root, was)| change(root.id, was, Step::Expire))
            .collect(),
        Landing::Rejected { slot, root, reason } => signed
            .flat_map(|(one, was)| {
                if Some(one.id) == *root {
                    return rejected(one.id, was, reason.clone(), look_again, *slot);
                }
                let text = match root {
                    Some(other) => format!("root {other} of the same transaction failed: {reason}"),
                    None => format!("the transaction failed: {reason}"),
                };
                back_to_planned(one.id, was, Reason::new(reason.why, text), *slot)
            })
            .collect(),
    }
}

/// The root's own instruction failed. What waiting may mend is held, the rest has failed.
fn rejected(
    root: RootId,
    was: &Publication,
    reason: Reason,
    look_again: UnixMs,
    slot: u64,
) -> Vec<Change> {
    if reason.why.is_final() {
        return vec![change(root, was, Step::Refuse(reason)).seen_in(slot)];
    }
    let mut steps = back_to_planned(root, was, reason.clone(), slot);
    steps.push(Change {
        look_again,
        ..change(root, &Publication::Planned, Step::Hold(reason))
    });
    steps
}

/// The try has failed in a slot, the root has not.
fn back_to_planned(root: RootId, was: &Publication, reason: Reason, slot: u64) -> Vec<Change> {
    let mut steps = anew(root, was, reason);
    if let Some(refused) = steps.first_mut() {
        refused.slot = Some(slot);
    }
    steps
}

/// The try has failed, the root has not.
fn anew(root: RootId, was: &Publication, reason: Reason) -> Vec<Change> {
    let failed = Publication::Failed {
        reason: reason.clone(),
    };
    vec![
        change(root, was, Step::Refuse(reason)),
        change(root, &failed, Step::Release),
    ]
}

/// The steps of roots whose transaction is finalized, by what their accounts hold, and how many of
/// them hold neither the root nor a newer epoch. Such an answer contradicts the transaction: it is
/// not believed, and asked for again.
#[must_use]
pub fn read_back(in_flight: &InFlight, standings: &[Standing], slot: u64) -> (Vec<Change>, usize) {
    let mut steps = Vec::new();
    let mut contradictions = 0;
    for ((root, was), standing) in in_flight.roots.iter().zip(standings) {
        match standing {
            Standing::Published => {
                steps.push(change(root.id, was, Step::ReadBack).seen_in(slot));
            }
            Standing::Newer(by) => {
                steps.push(change(root.id, was, Step::FoundNewer(*by)).seen_in(slot));
            }
            Standing::Free | Standing::Blocked(_) => contradictions += 1,
        }
    }
    (steps, contradictions)
}

/// The end of roots whose transaction was said to be finalized, and which for long no read-back
/// has shown, by what is said of the transaction now. None where it can still land.
#[must_use]
pub fn never_shown(in_flight: &InFlight, standings: &[Standing], landing: &Landing) -> Vec<Change> {
    let signature = &in_flight.transaction.signature;
    let roots = in_flight.roots.iter().zip(standings);
    roots
        .flat_map(|((root, was), standing)| {
            let found = match standing {
                Standing::Free => "its place is free".to_owned(),
                Standing::Blocked(reason) => reason.to_string(),
                Standing::Published | Standing::Newer(_) => return Vec::new(),
            };
            let reason = |text| Reason::new(Why::NotReadBack, text);
            match landing {
                Landing::Pending => Vec::new(),
                Landing::Finalized { slot } => {
                    let text = format!(
                        "transaction {signature} is finalized in slot {slot}, and its root cannot be read back: {found}"
                    );
                    vec![change(root.id, was, Step::Refuse(reason(text))).seen_in(*slot)]
                }
                Landing::Expired { block_height } => {
                    let text = format!(
                        "transaction {signature} was said to be finalized, and is in no block up to height {block_height}"
                    );
                    anew(root.id, was, reason(text))
                }
                Landing::Rejected { slot, reason, .. } => {
                    let text = format!("the transaction failed: {reason}");
                    back_to_planned(root.id, was, Reason::new(reason.why, text), *slot)
                }
            }
        })
        .collect()
}

/// The step of a root that is planned or held, by where it stands; none where nothing is in its
/// way.
#[must_use]
pub fn stands(
    root: RootId,
    was: &Publication,
    standing: &Standing,
    look_again: UnixMs,
) -> Option<Change> {
    match standing {
        Standing::Free => None,
        Standing::Published => Some(change(root, was, Step::ReadBack)),
        Standing::Newer(by) => Some(change(root, was, Step::FoundNewer(*by))),
        Standing::Blocked(reason) => Some(stopped(root, was, reason.clone(), look_again)),
    }
}

/// The step of a root that something stands in the way of.
#[must_use]
pub fn stopped(root: RootId, was: &Publication, reason: Reason, look_again: UnixMs) -> Change {
    let step = if reason.why.is_final() {
        Step::Refuse(reason)
    } else {
        Step::Hold(reason)
    };
    Change {
        look_again,
        ..change(root, was, step)
    }
}

/// The step of a held root whose cause is gone.
#[must_use]
pub fn let_go(root: RootId, was: &Publication) -> Change {
    change(root, was, Step::Release)
}

fn change(root: RootId, was: &Publication, step: Step) -> Change {
    Change {
        root,
        was: was.clone(),
        step,
        slot: None,
        look_again: 0,
    }
}

impl Change {
    fn seen_in(mut self, slot: u64) -> Self {
        self.slot = Some(slot);
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::chain::SignedTransaction;
    use crate::epoch::Epoch;
    use crate::settlement::{RootToPublish, Target};

    fn in_flight() -> InFlight {
        let roots = [1, 2].map(|id| {
            let root = RootToPublish {
                id: RootId(id),
                epoch: Epoch(3600),
                number: 1,
                channel: format!("channel{id}").parse().unwrap(),
                root: [1; 32],
                count: 3,
            };
            let signed = Publication::Signed {
                signature: "s".into(),
                last_valid_block_height: 9,
            };
            (root, signed)
        });
        InFlight {
            transaction: SignedTransaction {
                signature: "s".into(),
                bytes: vec![1],
                last_valid_block_height: 9,
                signed_in_slot: Some(3),
                fee_lamports: 5000,
                roots: vec![RootId(1), RootId(2)],
            },
            target: Target::Program,
            finalized_slot: None,
            roots: roots.to_vec(),
        }
    }

    /// Takes the steps, and gives where each root stands then.
    fn taken(in_flight: &InFlight, steps: &[Change]) -> Vec<Publication> {
        let mut at: Vec<_> = in_flight.roots.clone();
        for step in steps {
            let (_, publication) = at
                .iter_mut()
                .find(|(root, _)| root.id == step.root)
                .unwrap();
            assert_eq!(*publication, step.was, "decided on where it stands");
            *publication = publication.clone().after(step.step.clone()).unwrap();
        }
        at.into_iter().map(|(_, publication)| publication).collect()
    }

    #[test]
    fn a_transaction_that_can_land_moves_nothing() {
        assert_eq!(landed(&in_flight(), &Landing::Pending, 7), []);
    }

    #[test]
    fn one_that_expired_is_planned_anew_and_one_that_is_finalized_is_not_settled_yet() {
        let it = in_flight();
        let expired = landed(&it, &Landing::Expired { block_height: 10 }, 7);
        assert_eq!(
            taken(&it, &expired),
            [Publication::Planned, Publication::Planned]
        );
        let finalized = landed(&it, &Landing::Finalized { slot: 5 }, 7);
        assert!(taken(&it, &finalized).iter().all(|at| {
            matches!(at, Publication::Finalized { signature } if signature == "s")
                && !at.is_published()
        }));
    }

    #[test]
    fn a_refused_instruction_is_its_own_roots_fault_and_the_others_go_on() {
        let it = in_flight();
        for (why, held) in [(Why::Paused, true), (Why::ProgramRefused, false)] {
            let reason = Reason::new(why, "no");
            let landing = Landing::Rejected {
                slot: 5,
                root: Some(RootId(2)),
                reason: reason.clone(),
            };
            let steps = landed(&it, &landing, 7);
            let own = if held {
                Publication::Held { reason }
            } else {
                Publication::Failed { reason }
            };
            assert_eq!(taken(&it, &steps), [Publication::Planned, own]);
        }
    }

    fn in_finalized() -> InFlight {
        let mut it = in_flight();
        for (_, at) in &mut it.roots {
            *at = Publication::Finalized {
                signature: "s".into(),
            };
        }
        it
    }

    #[test]
    fn what_is_never_shown_fails_where_its_transaction_stands_and_is_planned_where_it_does_not() {
        let mut it = in_finalized();
        let standings = [Standing::Free, Standing::Published];
        let stands = Landing::Finalized { slot: 5 };
        let steps = never_shown(&it, &standings, &stands);
        it.roots.truncate(1);
        let [Publication::Failed { reason }] = &taken(&it, &steps)[..] else {
            panic!("{steps:?}");
        };
        assert_eq!(reason.why, Why::NotReadBack);
        assert!(reason.text.contains("slot 5"), "{reason}");
        for landing in [
            Landing::Expired { block_height: 10 },
            Landing::Rejected {
                slot: 5,
                root: None,
                reason: Reason::new(Why::Paused, "no"),
            },
        ] {
            let steps = never_shown(&it, &standings, &landing);
            assert_eq!(taken(&it, &steps), [Publication::Planned], "{landing:?}");
        }
        assert_eq!(never_shown(&it, &standings, &Landing::Pending), []);
    }

    #[test]
    fn an_account_that_holds_neither_the_root_nor_a_newer_epoch_settles_nothing() {
        let it = in_finalized();
        let (steps, contradictions) = read_back(&it, &[Standing::Free, Standing::Published], 5);
        assert_eq!(contradictions, 1);
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].root, RootId(2));
        let (steps, contradictions) = read_back(&it, &[Standing::Newer(8), Standing::Published], 5);
        assert_eq!(contradictions, 0);
        let at = taken(&it, &steps);
        assert_eq!(at[0], Publication::Superseded { by: 8 });
        assert!(at[1].is_published());
    }
}
