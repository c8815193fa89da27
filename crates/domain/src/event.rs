//! What a line of chat comes to: an event, or the outcome that says why it is none.

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::epoch::UnixMs;
use crate::identity::{Channel, Login, keccak256};

/// The login under which Twitch reports gifts of people who do not want to be named.
pub const ANONYMOUS_GIFTER: &str = "ananonymousgifter";

/// The longest message id that is taken, in bytes. Twitch sends UUIDs of 36.
pub const MAX_ID_BYTES: usize = 128;

/// What became of a line that was received. Every line has exactly one.
///
/// The order is the order of the checks: the first that applies is the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No IRC message at all, no usable time, no channel or no login.
    Invalid,
    /// An IRC message that is neither PRIVMSG nor USERNOTICE.
    Other,
    /// Sent in another channel and shown here too (a shared chat).
    Mirrored,
    /// Its id is among the last that were remembered.
    Duplicate,
    /// A gift of somebody who does not want to be named.
    Anonymous,
    /// By a person who opted out, or by a listed bot.
    Suppressed,
    /// Its epoch is sealed already.
    Late,
    /// It counts.
    Counted,
}

impl Outcome {
    /// All outcomes, in the order in which the ledger shows them.
    pub const ALL: [Self; 8] = [
        Self::Counted,
        Self::Suppressed,
        Self::Mirrored,
        Self::Duplicate,
        Self::Late,
        Self::Anonymous,
        Self::Invalid,
        Self::Other,
    ];

    /// The name in ledgers, metrics and columns.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Other => "other",
            Self::Mirrored => "mirrored",
            Self::Duplicate => "duplicate",
            Self::Anonymous => "anonymous",
            Self::Suppressed => "suppressed",
            Self::Late => "late",
            Self::Counted => "counted",
        }
    }
}

/// What somebody did. Presence is part of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Wrote a message (PRIVMSG), with so many bits, often none.
    Message {
        /// The bits that were cheered with it.
        bits: u32,
    },
    /// Subscribed for the first time.
    Sub,
    /// Renewed a subscription.
    Resub,
    /// Gave away so many subscriptions; 0 where a mystery gift has counted them already.
    Gift {
        /// How many.
        count: u32,
    },
    /// Arrived with a raid of so many viewers.
    Raid {
        /// How many.
        viewers: u32,
    },
    /// Did something that counts as presence only.
    Notice,
}

/// The `id` tag of a message, unique on Twitch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(CompactString);

impl MessageId {
    /// Takes an id; none where it is empty or longer than [`MAX_ID_BYTES`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && text.len() <= MAX_ID_BYTES).then(|| Self(CompactString::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digest by which the id is remembered.
    #[must_use]
    pub fn digest(&self) -> IdDigest {
        let hash = keccak256(&[self.0.as_bytes()]);
        let mut first = [0u8; 8];
        first.copy_from_slice(&hash[..8]);
        IdDigest(u64::from_le_bytes(first))
    }
}

/// The first eight bytes of the Keccak-256 of a message id.
///
/// It cannot be turned back into the id. Among a million remembered ids, a new one meets the
/// digest of another with a probability of 5·10⁻¹⁴.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IdDigest(pub u64);

/// A line by a person in a channel that may count. What is journaled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// The id of the message, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<MessageId>,
    /// The channel in which it was sent.
    pub channel: Channel,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub ts: UnixMs,
    /// Who sent it.
    pub login: Login,
    /// Who sent it, by the number that Twitch gave them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<u64>,
    /// What they did.
    pub action: Action,
    /// What they wrote; kept only where a setting asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Box<str>>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_out_of_bounds_are_no_ids() {
        assert_eq!(MessageId::parse(""), None);
        assert_eq!(MessageId::parse(&"x".repeat(129)), None);
        assert_eq!(MessageId::parse("abc").unwrap().as_str(), "abc");
    }

    #[test]
    fn every_outcome_is_listed_once() {
        let mut all = Outcome::ALL.to_vec();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 8);
    }
}
