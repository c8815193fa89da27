//! What an error of a transaction means for the roots in it.

use solana_sdk::instruction::InstructionError;
use solana_sdk::transaction::TransactionError;
use twzrd_domain::chain::{ChainError, Landing};
use twzrd_domain::settlement::{Reason, RootId, Why};

use super::landing::Outcome;
use super::logs;
use crate::program::account::Layout;
use crate::program::error::{Line, PROTOCOL_PAUSED, UNAUTHORIZED, describe, name};

/// How many instructions stand in front of the first root's: limit and price.
pub(super) const BEFORE_ROOTS: usize = 2;

/// The system program's number for an account that cannot pay what it is to hand on.
const RESULT_WITH_NEGATIVE_LAMPORTS: u32 = 1;

/// By whose numbers an instruction is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refuser {
    /// The program, of the line that this layout has.
    Program(Layout),
    /// The memo program, which has no numbers.
    Memo,
}

/// What an error means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The instruction of the root at this place is refused.
    Root(usize, Reason),
    /// The slot of the root at this place holds its epoch or a newer one. That is no refusal:
    /// the account says which.
    NotIncreasing(usize, Reason),
    /// The key cannot pay.
    NoFunds(String),
    /// All roots together, or the one there is, use more than they may.
    TooMuch(String),
    /// Nothing about a root.
    Elsewhere(ChainError),
}

impl Refuser {
    /// What became of a transaction, for the roots in it.
    pub(super) fn landing(self, outcome: Outcome, roots: &[RootId]) -> Landing {
        let (slot, error) = match outcome {
            Outcome::Pending => return Landing::Pending,
            Outcome::Finalized { slot } => return Landing::Finalized { slot },
            Outcome::Expired { block_height } => return Landing::Expired { block_height },
            Outcome::Failed { slot, error } => (slot, error),
        };
        let (at, reason) = match self.judge(&error, &[]) {
            Verdict::NoFunds(said) => (None, Reason::new(Why::NoFunds, said)),
            // It did not use so much when it was simulated. All of its roots are simulated anew.
            _ if stopped(&error) => (None, Reason::new(Why::TooLarge, error.to_string())),
            Verdict::Root(at, reason) | Verdict::NotIncreasing(at, reason) => (Some(at), reason),
            Verdict::TooMuch(_) | Verdict::Elsewhere(_) => {
                let at = match error {
                    TransactionError::InstructionError(at, _) => {
                        usize::from(at).checked_sub(BEFORE_ROOTS)
                    }
                    _ => None,
                };
                (at, Reason::new(Why::ProgramRefused, error.to_string()))
            }
        };
        Landing::Rejected {
            slot,
            root: at.and_then(|at| roots.get(at).copied()),
            reason,
        }
    }

    /// Judges an error, with the log that goes with it.
    pub(super) fn judge(self, error: &TransactionError, log: &[String]) -> Verdict {
        use TransactionError as E;
        match error {
            E::InstructionError(at, error) => self.of_instruction(usize::from(*at), error, log),
            E::AccountNotFound
            | E::InsufficientFundsForFee
            | E::InvalidAccountForFee
            | E::InsufficientFundsForRent { account_index: 0 } => {
                Verdict::NoFunds(error.to_string())
            }
            E::MaxLoadedAccountsDataSizeExceeded => Verdict::TooMuch(error.to_string()),
            E::BlockhashNotFound
            | E::AccountInUse
            | E::ClusterMaintenance
            | E::WouldExceedMaxBlockCostLimit
            | E::WouldExceedMaxAccountCostLimit
            | E::WouldExceedAccountDataBlockLimit => Verdict::Elsewhere(ChainError::Transient {
                doing: "simulate a transaction",
                reason: error.to_string(),
            }),
            _ => Verdict::Elsewhere(ChainError::Permanent {
                doing: "simulate a transaction",
                reason: with_log(error, log),
            }),
        }
    }

    fn of_instruction(self, at: usize, error: &InstructionError, log: &[String]) -> Verdict {
        let Some(root) = at.checked_sub(BEFORE_ROOTS) else {
            return Verdict::Elsewhere(ChainError::Permanent {
                doing: "simulate a transaction",
                reason: format!("instruction {at}, which is no root's: {error}"),
            });
        };
        match (self, error) {
            (_, InstructionError::ComputationalBudgetExceeded) => {
                Verdict::TooMuch(format!("instruction {at}: {error}"))
            }
            (_, InstructionError::InsufficientFunds) => Verdict::NoFunds(error.to_string()),
            (Self::Program(_), InstructionError::Custom(RESULT_WITH_NEGATIVE_LAMPORTS)) => {
                Verdict::NoFunds("the system program could not take the rent".to_owned())
            }
            (Self::Program(layout), InstructionError::Custom(number)) => {
                of_number(layout, root, *number, log)
            }
            (Self::Program(_), InstructionError::IncorrectProgramId)
            | (_, InstructionError::UnsupportedProgramId) => {
                let text = with_log(error, log);
                Verdict::Root(root, Reason::new(Why::ProtocolMissing, text))
            }
            _ => {
                let text = with_log(error, log);
                Verdict::Root(root, Reason::new(Why::ProgramRefused, text))
            }
        }
    }
}

/// True for the errors of a program that was stopped: because it used all units, as a rule.
fn stopped(error: &TransactionError) -> bool {
    use InstructionError::{ComputationalBudgetExceeded, ProgramFailedToComplete};
    matches!(
        error,
        TransactionError::InstructionError(
            _,
            ComputationalBudgetExceeded | ProgramFailedToComplete
        )
    )
}

/// True where a simulation failed because it used all `limit` units: by what it used, or by the
/// log. Which error a program then ends with depends on where it was stopped.
pub(super) fn ran_out(
    error: &TransactionError,
    used: Option<u64>,
    limit: u64,
    log: &[String],
) -> bool {
    let says_so = |line: &String| {
        // What programs say themselves stands behind these.
        !line.starts_with("Program log: ") && line.contains("exceeded CUs meter")
    };
    stopped(error) && (used.is_some_and(|used| used >= limit) || log.iter().any(says_so))
}

fn with_log(text: &impl std::fmt::Display, log: &[String]) -> String {
    match logs::tail(log).as_str() {
        "" => text.to_string(),
        tail => format!("{text}; {tail}"),
    }
}

fn of_number(layout: Layout, root: usize, number: u32, log: &[String]) -> Verdict {
    // Each line has a number of its own for it, which means nothing that publishing could come to
    // in the other one. So it needs not be known which line an account is of.
    let lines = [Line::Recorded, Line::Clean];
    let either = lines
        .into_iter()
        .find(|line| name(number, *line) == Some("EpochNotIncreasing"));
    if let Some(line) = either {
        let text = with_log(&describe(number, line), log);
        return Verdict::NotIncreasing(root, Reason::new(Why::EpochNotIncreasing, text));
    }
    let line = layout.line();
    let text = with_log(&describe(number, line), log);
    let why = match (number, name(number, line)) {
        (UNAUTHORIZED, _) => Why::Unauthorized,
        (PROTOCOL_PAUSED, _) => Why::Paused,
        // The program loads the channel's account before it could make it.
        (_, Some("AccountOwnedByWrongProgram" | "AccountNotInitialized"))
            if !layout.can_be_created_by_publish() =>
        {
            Why::ChannelMissing
        }
        _ => Why::ProgramRefused,
    };
    Verdict::Root(root, Reason::new(why, text))
}

#[cfg(test)]
#[allow(clippy::panic)]
mod tests {
    use super::*;

    fn of(layout: Layout, number: u32) -> (usize, Why, String) {
        let error = TransactionError::InstructionError(3, InstructionError::Custom(number));
        match Refuser::Program(layout).judge(&error, &["a log".to_owned()]) {
            Verdict::Root(at, reason) => (at, reason.why, reason.text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_number_has_its_own_reason() {
        let packed = Layout::Packed10x128;
        for (number, why) in [
            (6000, Why::Unauthorized),
            (6005, Why::Paused),
            (6015, Why::ProgramRefused),
            (3007, Why::ProgramRefused),
        ] {
            let (at, found, text) = of(packed, number);
            assert_eq!((at, found), (1, why), "{number}");
            assert!(
                text.contains(&number.to_string()) && text.contains("a log"),
                "{text}"
            );
        }
        assert_eq!(of(Layout::C10x128, 3007).1, Why::ChannelMissing);
        assert_eq!(of(Layout::C10x128, 3012).1, Why::ChannelMissing);
    }

    #[test]
    fn a_slot_that_is_as_new_is_no_refusal_by_either_lines_number() {
        for (layout, number) in [
            (Layout::Packed10x128, 6023),
            (Layout::Packed10x128, 6031),
            (Layout::C10x512, 6023),
            (Layout::C10x512, 6031),
        ] {
            let error = TransactionError::InstructionError(2, InstructionError::Custom(number));
            let verdict = Refuser::Program(layout).judge(&error, &[]);
            assert!(
                matches!(verdict, Verdict::NotIncreasing(0, _)),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn a_key_that_cannot_pay_is_told_from_a_node_that_is_behind() {
        let refuser = Refuser::Program(Layout::Packed10x128);
        for error in [
            TransactionError::InsufficientFundsForFee,
            TransactionError::AccountNotFound,
            TransactionError::InsufficientFundsForRent { account_index: 0 },
            TransactionError::InstructionError(2, InstructionError::Custom(1)),
        ] {
            let verdict = refuser.judge(&error, &[]);
            assert!(
                matches!(verdict, Verdict::NoFunds(_)),
                "{error:?}: {verdict:?}"
            );
        }
        let behind = refuser.judge(&TransactionError::BlockhashNotFound, &[]);
        assert!(matches!(behind, Verdict::Elsewhere(error) if error.is_transient()));
        let budget =
            TransactionError::InstructionError(0, InstructionError::InvalidInstructionData);
        let budget = refuser.judge(&budget, &[]);
        assert!(matches!(budget, Verdict::Elsewhere(error) if !error.is_transient()));
    }

    #[test]
    fn only_a_program_that_was_stopped_for_its_units_ran_out_of_them() {
        let failed = |error| TransactionError::InstructionError(3, error);
        let stopped = failed(InstructionError::ProgramFailedToComplete);
        let exceeded = failed(InstructionError::ComputationalBudgetExceeded);
        let says = |line: &str| [line.to_owned()];
        assert!(ran_out(&stopped, Some(1000), 1000, &[]));
        assert!(ran_out(&exceeded, Some(1000), 1000, &[]));
        let log = says("Program P failed: exceeded CUs meter at BPF instruction");
        assert!(ran_out(&stopped, None, 1000, &log));
        assert!(!ran_out(&stopped, Some(999), 1000, &[]), "it crashed");
        assert!(!ran_out(
            &stopped,
            None,
            1000,
            &says("Program log: exceeded CUs meter")
        ));
        let refused = failed(InstructionError::Custom(6000));
        assert!(!ran_out(&refused, Some(1000), 1000, &log));
    }

    #[test]
    fn what_was_stopped_in_a_block_is_no_roots_fault() {
        for error in [
            InstructionError::ProgramFailedToComplete,
            InstructionError::ComputationalBudgetExceeded,
        ] {
            let error = TransactionError::InstructionError(3, error);
            let outcome = Outcome::Failed { slot: 7, error };
            let landing =
                Refuser::Program(Layout::Packed10x128).landing(outcome, &[RootId(1), RootId(2)]);
            assert!(
                matches!(&landing, Landing::Rejected { slot: 7, root: None, reason } if reason.why == Why::TooLarge),
                "{landing:?}"
            );
        }
    }

    #[test]
    fn the_memo_program_has_no_numbers() {
        let error = TransactionError::InstructionError(2, InstructionError::Custom(6000));
        let verdict = Refuser::Memo.judge(&error, &[]);
        assert!(matches!(verdict, Verdict::Root(0, reason) if reason.why == Why::ProgramRefused));
    }
}
