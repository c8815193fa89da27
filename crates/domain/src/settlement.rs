//! What is settled on chain, in which order, and why a root is not.
//!
//! Where a root stands is in [`crate::publication`]; the traits behind which chain and store lie
//! are in [`crate::chain`].

pub mod course;
mod policy;
mod reason;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::epoch::{Epoch, EpochLength};
use crate::identity::Channel;
use crate::publication::Publication;

pub use policy::{AnomalyGuard, Policy};
pub use reason::{Reason, Why};

/// The number of a root in the store (`roots.id`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RootId(pub u64);

impl fmt::Display for RootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where roots are published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// Nowhere: roots are planned and shown.
    #[default]
    None,
    /// The program, by `set_channel_merkle_root`.
    Program,
    /// The SPL Memo program, by one line a root.
    Memo,
}

impl Target {
    /// The word in settings and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Program => "program",
            Self::Memo => "memo",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::None, Self::Program, Self::Memo]
            .into_iter()
            .find(|target| target.as_str() == text)
            .ok_or_else(|| format!("{text:?}; expected none, program or memo"))
    }
}

/// Which of the two roots of a channel and epoch is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootKind {
    /// The root of the claim tree, which binds wallet and amount.
    #[default]
    Claim,
    /// The root of the participation tree. Its leaves bind neither wallet nor amount: never to a
    /// program whose claim pays.
    Participation,
}

/// Which number stands for an epoch on chain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EpochMode {
    /// The epoch itself, in seconds, as the deployed system has it. Whole hours are divisible by
    /// nine and ten, so that every hourly epoch takes the same slot of the ring, and each
    /// publication ends the claims of the one before.
    #[default]
    Parity,
    /// The epoch's index, seconds divided by length: as many epochs stay open as there are slots.
    Index,
}

impl EpochMode {
    /// The number on chain.
    #[must_use]
    pub const fn number(self, epoch: Epoch, length: EpochLength) -> u64 {
        match self {
            Self::Parity => epoch.0,
            Self::Index => epoch.0 / length.seconds(),
        }
    }

    /// The epoch of a number on chain; none where no epoch has it.
    #[must_use]
    pub fn epoch(self, number: u64, length: EpochLength) -> Option<Epoch> {
        let seconds = match self {
            Self::Parity => number,
            Self::Index => number.checked_mul(length.seconds())?,
        };
        (seconds % length.seconds() == 0).then_some(Epoch(seconds))
    }

    /// For how many epochs, its own included, a root stays open to claims in a ring of so many
    /// slots: `slots / gcd(step, slots)`, where the step is from one epoch's number to the next.
    #[must_use]
    pub const fn epochs_open(self, length: EpochLength, slots: u64) -> u64 {
        let step = match self {
            Self::Parity => length.seconds(),
            Self::Index => 1,
        };
        let (mut a, mut b) = (step, slots);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        match slots.checked_div(a) {
            Some(open) => open,
            None => 0,
        }
    }

    /// How long a root stays open to claims where every epoch is published.
    #[must_use]
    pub const fn claims_open(self, length: EpochLength, slots: u64) -> Duration {
        Duration::from_secs(
            self.epochs_open(length, slots)
                .saturating_mul(length.seconds()),
        )
    }
}

/// A root that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootToPublish {
    /// Its number in the store.
    pub id: RootId,
    /// The epoch.
    pub epoch: Epoch,
    /// The epoch's number on chain.
    pub number: u64,
    /// The channel.
    pub channel: Channel,
    /// The root itself.
    pub root: [u8; 32],
    /// How many leaves its tree has.
    pub count: u64,
}

/// A root in the store, with what the policy asks about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number in the store.
    pub id: RootId,
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// The root of the claim tree.
    pub claim_root: [u8; 32],
    /// The root of the participation tree.
    pub participation_root: [u8; 32],
    /// How many participants were frozen.
    pub count: u64,
    /// The channel's token group, in upper case.
    pub token_group: String,
    /// How many participants have a name that was not taken out by an opt-out.
    pub named: u64,
    /// The participants of the channel's earlier epochs, the latest [`Policy::EARLIER_EPOCHS`].
    pub earlier: Earlier,
    /// Whether the channel was live at some time in the epoch, by `live_windows`.
    pub was_live: bool,
    /// An operator let it pass the policy.
    pub is_released: bool,
    /// Where it stands.
    pub publication: Publication,
}

impl Candidate {
    /// What goes on chain.
    #[must_use]
    pub fn to_publish(
        &self,
        kind: RootKind,
        mode: EpochMode,
        length: EpochLength,
    ) -> RootToPublish {
        RootToPublish {
            id: self.id,
            epoch: self.epoch,
            number: mode.number(self.epoch, length),
            channel: self.channel.clone(),
            root: match kind {
                RootKind::Claim => self.claim_root,
                RootKind::Participation => self.participation_root,
            },
            count: self.count,
        }
    }
}

/// The participants of a channel's earlier epochs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Earlier {
    /// In how many epochs.
    pub epochs: u32,
    /// Their participants, added up.
    pub participants: u64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hourly_epochs_in_parity_mode_keep_one_epoch_open_and_index_mode_keeps_all_slots() {
        let hour = EpochLength::HOUR;
        assert_eq!(EpochMode::Parity.epochs_open(hour, 10), 1);
        assert_eq!(EpochMode::Parity.epochs_open(hour, 9), 1);
        assert_eq!(EpochMode::Index.epochs_open(hour, 10), 10);
        let seven = EpochLength::new(7).unwrap();
        assert_eq!(EpochMode::Parity.epochs_open(seven, 10), 10);
        let sixty = EpochLength::new(60).unwrap();
        assert_eq!(EpochMode::Parity.epochs_open(sixty, 9), 3);
        assert_eq!(
            EpochMode::Index.claims_open(hour, 10),
            Duration::from_secs(36_000)
        );
    }

    #[test]
    fn a_number_on_chain_names_its_epoch_again() {
        let hour = EpochLength::HOUR;
        let epoch = Epoch(1_761_854_400);
        for mode in [EpochMode::Parity, EpochMode::Index] {
            assert_eq!(mode.epoch(mode.number(epoch, hour), hour), Some(epoch));
        }
        assert_eq!(EpochMode::Index.number(epoch, hour), 489_404);
        assert_eq!(EpochMode::Parity.epoch(1_761_854_401, hour), None);
        assert_eq!(EpochMode::Index.epoch(u64::MAX, hour), None);
    }
}
