//! Why a root is not published, and what comes next.

use std::fmt;
use std::str::FromStr;

/// The kind of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Its token group is not published.
    TokenGroup,
    /// Nobody in it has a name that is left.
    Ghost,
    /// The channel was not live in the epoch, or too few were there.
    OfflineEpoch,
    /// Its count is far from the channel's mean.
    Anomaly,
    /// The program is paused (6005).
    Paused,
    /// The key may not publish (6000).
    Unauthorized,
    /// The program says that its epoch is not newer than that of its slot (6023).
    EpochNotIncreasing,
    /// The key's account cannot pay.
    NoFunds,
    /// The channel's account is missing, and the program cannot create it here.
    ChannelMissing,
    /// The protocol's account is missing.
    ProtocolMissing,
    /// An account has a size, an owner or a tag that is not known.
    WrongLayout,
    /// It has more participants than the program's bitmap has bits.
    TooManyParticipants,
    /// A participation root, for a program whose claim pays.
    ParticipationPays,
    /// It does not fit into a transaction.
    TooLarge,
    /// The program refused it with another error.
    ProgramRefused,
    /// Its slot holds a number that stands for an epoch far ahead: others count otherwise there.
    OtherNumbering,
    /// Its transaction is finalized, and for long no read-back has shown it.
    NotReadBack,
}

impl Why {
    /// All kinds.
    pub const ALL: [Self; 17] = [
        Self::TokenGroup,
        Self::Ghost,
        Self::OfflineEpoch,
        Self::Anomaly,
        Self::Paused,
        Self::Unauthorized,
        Self::EpochNotIncreasing,
        Self::NoFunds,
        Self::ChannelMissing,
        Self::ProtocolMissing,
        Self::WrongLayout,
        Self::TooManyParticipants,
        Self::ParticipationPays,
        Self::TooLarge,
        Self::ProgramRefused,
        Self::OtherNumbering,
        Self::NotReadBack,
    ];

    /// The word in tables, metrics and `/health`.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TokenGroup => "token_group",
            Self::Ghost => "ghost",
            Self::OfflineEpoch => "offline_epoch",
            Self::Anomaly => "anomaly",
            Self::Paused => "paused",
            Self::Unauthorized => "unauthorized",
            Self::EpochNotIncreasing => "epoch_not_increasing",
            Self::NoFunds => "no_funds",
            Self::ChannelMissing => "channel_missing",
            Self::ProtocolMissing => "protocol_missing",
            Self::WrongLayout => "wrong_layout",
            Self::TooManyParticipants => "too_many_participants",
            Self::ParticipationPays => "participation_pays",
            Self::TooLarge => "too_large",
            Self::ProgramRefused => "program_refused",
            Self::OtherNumbering => "other_numbering",
            Self::NotReadBack => "not_read_back",
        }
    }

    /// True where waiting does not help: the root is failed, not held.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::TooManyParticipants
                | Self::ParticipationPays
                | Self::TooLarge
                | Self::ProgramRefused
                | Self::NotReadBack
        )
    }

    /// True where the policy decides it, from what is frozen and the settings. It is decided again
    /// every hour; what changes the answer are other settings, or an operator who releases the
    /// root.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        matches!(
            self,
            Self::TokenGroup | Self::Ghost | Self::OfflineEpoch | Self::Anomaly
        )
    }

    /// What leads on.
    #[must_use]
    pub const fn next_step(self) -> &'static str {
        match self {
            Self::TokenGroup => "add the group to publisher.token_groups, or release the root",
            Self::Ghost => "release the root if it is to be published all the same",
            Self::OfflineEpoch => {
                "write when the channel was live into the table live_windows, which is filled from outside, or release the root"
            }
            Self::Anomaly => {
                "look at the channel's counts, then release the root with `twzrd settlement release`"
            }
            Self::Paused => {
                "it goes on by itself once the program is not paused (`twzrd admin set-paused false`)"
            }
            Self::Unauthorized => {
                "it goes on by itself once the key is the publisher (`twzrd admin update-publisher`) or another key is given"
            }
            Self::EpochNotIncreasing => {
                "it is looked at again: what its slot holds settles or supersedes it"
            }
            Self::NoFunds => "it goes on by itself once the key's account holds enough",
            Self::ChannelMissing => {
                "it goes on by itself once `twzrd admin initialize-channel` made the account"
            }
            Self::ProtocolMissing => {
                "check chain.program and chain.mint; it goes on by itself once the account exists"
            }
            Self::WrongLayout => {
                "check chain.program and chain.mint; this version cannot read the account"
            }
            Self::TooManyParticipants => {
                "none: the program's bitmap cannot hold the claims; nothing is cut off"
            }
            Self::ParticipationPays => {
                "set publisher.root to \"claim\", or publish by memo; then `twzrd settlement retry`"
            }
            Self::TooLarge => "none: the root does not fit into a transaction",
            Self::ProgramRefused => "look at the error, then `twzrd settlement retry`",
            Self::OtherNumbering => {
                "check chain.epoch_mode and the length of an epoch: others have published this channel by other numbers"
            }
            Self::NotReadBack => {
                "look at the transaction, and check chain.target, chain.program and chain.mint; then `twzrd settlement retry`, which looks and signs anew: a memo would be there twice"
            }
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Why {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|why| why.code() == text)
            .ok_or_else(|| {
                format!(
                    "{text:?}; expected a reason such as {:?}",
                    Self::Paused.code()
                )
            })
    }
}

/// Why a root is not published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The kind.
    pub why: Why,
    /// What was found and what was expected.
    pub text: String,
}

impl Reason {
    /// A reason.
    #[must_use]
    pub fn new(why: Why, text: impl Into<String>) -> Self {
        Self {
            why,
            text: text.into(),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.why, self.text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_reason_has_a_code_of_its_own_that_reads_back() {
        let codes: HashSet<_> = Why::ALL.iter().map(|why| why.code()).collect();
        assert_eq!(codes.len(), Why::ALL.len());
        for why in Why::ALL {
            assert_eq!(why.code().parse::<Why>().unwrap(), why);
            assert!(!why.next_step().is_empty());
            assert!(!(why.is_final() && why.is_policy()), "{why}");
        }
        assert!("published".parse::<Why>().is_err());
    }
}
