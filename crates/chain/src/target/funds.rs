//! Whether the key's account can pay.

use solana_sdk::pubkey::Pubkey;
use twzrd_domain::settlement::{Reason, RootId, Why};

use super::compose::Item;

/// What the key's account has, and what it needs apart from rents.
#[derive(Clone, Copy, Debug)]
pub(super) struct Purse {
    /// Whose it is.
    pub(super) key: Pubkey,
    /// What it has.
    pub(super) has: u64,
    /// The highest fee that the transaction can come to.
    pub(super) fee: u64,
    /// What an account without data must keep, or it may not pay.
    pub(super) keeps: u64,
}

/// Splits roots into those that the account can pay for, in their order, and the others: a root
/// whose channel has an account may still be paid for where another's is too dear.
pub(super) fn afford(items: Vec<Item>, purse: &Purse) -> (Vec<Item>, Vec<(RootId, Reason)>) {
    let mut rent = 0_u64;
    let (mut paid, mut refused) = (Vec::new(), Vec::new());
    for item in items {
        let with = rent.saturating_add(item.rent);
        if purse.needs(with) <= purse.has {
            rent = with;
            paid.push(item);
        } else {
            refused.push((item.root, purse.reason(with, "")));
        }
    }
    (paid, refused)
}

impl Purse {
    fn needs(&self, rent: u64) -> u64 {
        self.fee.saturating_add(self.keeps).saturating_add(rent)
    }

    /// The reason, naming the key, what it has and what it needs.
    pub(super) fn reason(&self, rent: u64, said: &str) -> Reason {
        let mut text = format!(
            "{} has {} lamports; expected at least {}: {} for the fee, {rent} for rent, {} that it must keep",
            self.key,
            self.has,
            self.needs(rent),
            self.fee,
            self.keeps
        );
        if !said.is_empty() {
            text.push_str("; ");
            text.push_str(said);
        }
        Reason::new(Why::NoFunds, text)
    }
}

#[cfg(test)]
mod tests {
    use solana_sdk::instruction::Instruction;

    use super::*;

    #[test]
    fn a_root_without_rent_is_paid_for_behind_one_that_is_too_dear() {
        let item = |id, rent| Item {
            root: RootId(id),
            instruction: Instruction {
                program_id: Pubkey::default(),
                accounts: Vec::new(),
                data: Vec::new(),
            },
            rent,
        };
        let purse = Purse {
            key: Pubkey::from([7; 32]),
            has: 1000,
            fee: 100,
            keeps: 50,
        };
        let items = vec![
            item(1, 600),
            item(2, 600),
            item(3, 0),
            item(4, 250),
            item(5, 1),
        ];
        let (paid, refused) = afford(items, &purse);
        let paid: Vec<u64> = paid.iter().map(|item| item.root.0).collect();
        assert_eq!(paid, [1, 3, 4]);
        assert_eq!(refused.len(), 2);
        assert_eq!(refused[0].1.why, Why::NoFunds);
        assert_eq!(
            refused[0].1.text,
            format!(
                "{} has 1000 lamports; expected at least 1350: 100 for the fee, 1200 for rent, 50 that it must keep",
                purse.key
            )
        );
    }
}
