//! Freezing: from the participants of a channel in an epoch to the leaves of its two trees.

use crate::batch::Group;
use crate::epoch::{Epoch, UnixMs};
use crate::identity::{Channel, Login, UserHash, Wallet};
use crate::leaf::{self, claim_id};
use crate::signal::SignalSums;
use crate::weight::{Arithmetic, Weight};

/// A person who took part, with all that freezing reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// The person.
    pub user: UserHash,
    /// The second of the earliest event.
    pub first_seen: u64,
    /// The login, where it is known.
    pub login: Option<Login>,
    /// The wallet that is bound, or [`Wallet::UNBOUND`].
    pub wallet: Wallet,
    /// The signals, added up; none where there are none.
    pub sums: Option<SignalSums>,
    /// The group in which the channel was when the person was first seen.
    pub group: Group,
}

/// A person in the frozen order. Nothing of it changes any more, but for the name, which an
/// opt-out takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenParticipant {
    /// The person.
    pub user: UserHash,
    /// The login, where it was known.
    pub login: Option<Login>,
    /// The weight of the signals.
    pub weight: Weight,
    /// The amount of the claim, in the token's smallest unit.
    pub amount: u64,
    /// The wallet that may claim.
    pub claimer: Wallet,
    /// The leaf of the claim tree. It is frozen too, because the name it holds may go.
    pub claim_leaf: [u8; 32],
}

/// A channel's participants in an epoch, frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenChannel {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// The group of the first participant.
    pub group: Group,
    /// The time of the seal record.
    pub sealed_at: UnixMs,
    /// The participants in sealed order; their position is their index.
    pub participants: Vec<FrozenParticipant>,
}

/// The leaves of both trees of a frozen channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedLeaves {
    /// The epoch.
    pub epoch: Epoch,
    /// The channel.
    pub channel: Channel,
    /// The time of the seal record.
    pub sealed_at: UnixMs,
    /// The participants in sealed order.
    pub users: Vec<UserHash>,
    /// Their claim leaves.
    pub claim_leaves: Vec<[u8; 32]>,
}

/// What makes it impossible to freeze a channel.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FreezeError {
    /// The participants do not stand in sealed order.
    #[error(
        "{channel} in epoch {epoch}: participant {index} does not follow the one before it by first_seen and hash"
    )]
    Disorder {
        /// The epoch.
        epoch: Epoch,
        /// The channel.
        channel: Channel,
        /// The first participant out of order.
        index: usize,
    },
    /// There are more than an index of 32 bits can number.
    #[error("{channel} in epoch {epoch}: {found} participants; expected at most {max}", max = u32::MAX)]
    TooMany {
        /// The epoch.
        epoch: Epoch,
        /// The channel.
        channel: Channel,
        /// How many.
        found: usize,
    },
}

/// Freezes a channel: weighs each participant, and makes the claim leaves.
///
/// None where there is no participant. The order must be the sealed one: `first_seen` ascending,
/// then hash ascending.
///
/// # Errors
/// Where the participants are out of order or too many.
pub fn freeze(
    epoch: Epoch,
    channel: &Channel,
    sealed_at: UnixMs,
    arithmetic: &Arithmetic,
    participants: Vec<Participant>,
) -> Result<Option<FrozenChannel>, FreezeError> {
    let Some(first) = participants.first() else {
        return Ok(None);
    };
    if u32::try_from(participants.len()).is_err() {
        let found = participants.len();
        return Err(FreezeError::TooMany {
            epoch,
            channel: channel.clone(),
            found,
        });
    }
    let order = |p: &Participant| (p.first_seen, p.user);
    if let Some(at) = participants
        .windows(2)
        .position(|w| order(&w[0]) >= order(&w[1]))
    {
        return Err(FreezeError::Disorder {
            epoch,
            channel: channel.clone(),
            index: at + 1,
        });
    }
    let group = first.group.clone();
    let frozen = (0u32..).zip(participants).map(|(index, person)| {
        let weight = arithmetic.weights.weigh(person.sums.as_ref());
        let amount = arithmetic.viewer_amount(weight);
        let id = claim_id(channel, person.login.as_ref(), person.user);
        let claim_leaf = leaf::claim(person.wallet, index, amount, &id);
        FrozenParticipant {
            user: person.user,
            login: person.login,
            weight,
            amount,
            claimer: person.wallet,
            claim_leaf,
        }
    });
    Ok(Some(FrozenChannel {
        epoch,
        channel: channel.clone(),
        group,
        sealed_at,
        participants: frozen.collect(),
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::identity::Name;

    fn person(login: &str, first_seen: u64) -> Participant {
        let login = Name::parse(login).unwrap();
        Participant {
            user: UserHash::of_login(&login),
            first_seen,
            login: Some(login),
            wallet: Wallet::UNBOUND,
            sums: Some(SignalSums {
                presence: 2,
                sub: 1,
                ..SignalSums::default()
            }),
            group: Group::default(),
        }
    }

    #[test]
    fn a_channel_without_participants_is_not_frozen() {
        let channel = Name::parse("forsen").unwrap();
        let none = freeze(Epoch(3600), &channel, 0, &Arithmetic::default(), Vec::new());
        assert_eq!(none, Ok(None));
    }

    #[test]
    fn leaves_carry_the_index_and_the_amount_of_the_sealed_order() {
        let channel = Name::parse("forsen").unwrap();
        let people = vec![person("a", 1), person("b", 2)];
        let frozen = freeze(Epoch(3600), &channel, 7, &Arithmetic::default(), people)
            .unwrap()
            .unwrap();
        assert_eq!(frozen.participants[1].weight, Weight(1200));
        assert_eq!(frozen.participants[1].amount, 960_000_000_000);
        let expected = leaf::claim(Wallet::UNBOUND, 1, 960_000_000_000, "twitch:forsen:b");
        assert_eq!(frozen.participants[1].claim_leaf, expected);
        assert_eq!(frozen.sealed_at, 7);
    }

    #[test]
    fn participants_out_of_order_are_refused_by_position() {
        let channel = Name::parse("forsen").unwrap();
        for people in [
            vec![person("a", 2), person("b", 1)],
            vec![person("a", 1), person("a", 1)],
        ] {
            let error = freeze(Epoch(0), &channel, 0, &Arithmetic::default(), people).unwrap_err();
            assert!(matches!(error, FreezeError::Disorder { index: 1, .. }));
        }
    }
}
