//! The states of a root on its way to the chain, and the steps that lead from one to the next.
//!
//! A root is settled only once it was read back from a finalized account. That a newer epoch
//! stands there is not success: the root is superseded, and says so.

use std::fmt;

use crate::settlement::Reason;

/// Where a root stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publication {
    /// Known and not signed.
    Planned,
    /// Signed and stored, perhaps sent: the same bytes are sent until they land or expire.
    Signed {
        /// The transaction's signature.
        signature: String,
        /// The last block height at which the transaction can land.
        last_valid_block_height: u64,
    },
    /// Finalized on chain, not read back.
    Finalized {
        /// The transaction's signature.
        signature: String,
    },
    /// Read back from the chain. An end.
    Settled {
        /// The transaction's signature; none where the root was found on chain.
        signature: Option<String>,
    },
    /// A newer epoch stands in its slot, so it can never be published. An end.
    Superseded {
        /// The epoch that stands there.
        by: u64,
    },
    /// Not to be published until an operator releases it or its cause is gone.
    Held {
        /// Why.
        reason: Reason,
    },
    /// Refused for good. An end, unless an operator asks for another try.
    Failed {
        /// Why.
        reason: Reason,
    },
}

/// What happened to a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A transaction was signed and stored.
    Sign {
        /// Its signature.
        signature: String,
        /// The last block height at which it can land.
        last_valid_block_height: u64,
    },
    /// The transaction can no longer land, and did not.
    Expire,
    /// The transaction is finalized.
    Finalize,
    /// The account was read at a finalized slot and holds this root.
    ReadBack,
    /// The account was read and holds a newer epoch.
    FoundNewer(u64),
    /// Something stands in the way for now.
    Hold(Reason),
    /// An operator or the end of the cause lets it go on.
    Release,
    /// It was refused for good.
    Refuse(Reason),
}

/// A step that does not lead on from a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a root that is {from} cannot take the step {step:?}")]
pub struct IllegalStep {
    /// The state.
    pub from: Publication,
    /// The step.
    pub step: Step,
}

impl Publication {
    /// The state after a step.
    ///
    /// # Errors
    /// Where the step does not lead on from this state, for example a read-back before the
    /// transaction is finalized.
    pub fn after(self, step: Step) -> Result<Self, IllegalStep> {
        use Publication as P;
        use Step as S;
        Ok(match (self, step) {
            (
                P::Planned,
                S::Sign {
                    signature,
                    last_valid_block_height,
                },
            ) => P::Signed {
                signature,
                last_valid_block_height,
            },
            (P::Signed { .. }, S::Expire) | (P::Held { .. } | P::Failed { .. }, S::Release) => {
                P::Planned
            }
            (P::Signed { signature, .. }, S::Finalize) => P::Finalized { signature },
            (P::Finalized { signature }, S::ReadBack) => P::Settled {
                signature: Some(signature),
            },
            (P::Planned | P::Held { .. } | P::Failed { .. }, S::ReadBack) => {
                P::Settled { signature: None }
            }
            (
                P::Planned
                | P::Signed { .. }
                | P::Finalized { .. }
                | P::Held { .. }
                | P::Failed { .. },
                S::FoundNewer(by),
            ) => P::Superseded { by },
            (P::Planned | P::Held { .. }, S::Hold(reason)) => P::Held { reason },
            (
                P::Planned | P::Signed { .. } | P::Finalized { .. } | P::Held { .. },
                S::Refuse(reason),
            ) => P::Failed { reason },
            (from, step) => return Err(IllegalStep { from, step }),
        })
    }

    /// True where the root stands on chain.
    #[must_use]
    pub const fn is_published(&self) -> bool {
        matches!(self, Self::Settled { .. })
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Planned => "planned",
            Self::Signed { .. } => "signed",
            Self::Finalized { .. } => "finalized",
            Self::Settled { .. } => "settled",
            Self::Superseded { .. } => "superseded",
            Self::Held { .. } => "held",
            Self::Failed { .. } => "failed",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::settlement::Why;

    fn sign() -> Step {
        Step::Sign {
            signature: "s".into(),
            last_valid_block_height: 9,
        }
    }

    #[test]
    fn only_a_read_back_settles() {
        let signed = Publication::Planned.after(sign()).unwrap();
        assert!(
            signed.clone().after(Step::ReadBack).is_err(),
            "not before it is finalized"
        );
        let finalized = signed.after(Step::Finalize).unwrap();
        assert!(!finalized.is_published());
        let settled = finalized.after(Step::ReadBack).unwrap();
        assert!(settled.is_published());
        assert!(
            settled.after(Step::FoundNewer(1)).is_err(),
            "settled is an end"
        );
    }

    #[test]
    fn a_newer_epoch_in_the_slot_is_superseded_and_not_published() {
        let state = Publication::Planned.after(Step::FoundNewer(7)).unwrap();
        assert_eq!(state, Publication::Superseded { by: 7 });
        assert!(!state.is_published());
        assert!(state.after(sign()).is_err());
    }

    #[test]
    fn nothing_is_signed_anew_before_the_old_transaction_has_expired() {
        let signed = Publication::Planned.after(sign()).unwrap();
        assert!(signed.clone().after(sign()).is_err());
        assert_eq!(signed.after(Step::Expire).unwrap(), Publication::Planned);
    }

    #[test]
    fn what_is_held_goes_on_only_when_released() {
        let held = Publication::Planned
            .after(Step::Hold(Reason::new(Why::Anomaly, "far too many")))
            .unwrap();
        assert!(held.clone().after(sign()).is_err());
        assert_eq!(held.after(Step::Release).unwrap(), Publication::Planned);
    }
}
