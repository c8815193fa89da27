//! Signals: what a person's events in a channel and epoch add up to.

use serde::{Deserialize, Serialize};

use crate::event::{Action, Event};

/// A kind of signal. A row of signals is one kind of one person in one minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalKind {
    /// 1 for each distinct minute in which the person acted.
    Presence,
    /// How many messages in that minute. Weighs nothing.
    Message,
    /// Subscriptions.
    Sub,
    /// Renewed subscriptions.
    Resub,
    /// Subscriptions given away.
    Gift,
    /// Bits cheered.
    Bits,
    /// Viewers brought by a raid.
    Raid,
}

impl SignalKind {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Presence,
        Self::Message,
        Self::Sub,
        Self::Resub,
        Self::Gift,
        Self::Bits,
        Self::Raid,
    ];

    /// The value of the column `signal_type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Message => "message",
            Self::Sub => "sub",
            Self::Resub => "resub",
            Self::Gift => "gift",
            Self::Bits => "bits",
            Self::Raid => "raid",
        }
    }

    /// True where a second event of the same minute does not add to the value.
    #[must_use]
    pub const fn is_once_a_minute(self) -> bool {
        matches!(self, Self::Presence)
    }
}

/// The signals of one event besides presence: at most a message and bits.
pub fn signals(event: &Event) -> impl Iterator<Item = (SignalKind, u64)> + use<> {
    let (first, second) = match event.action {
        Action::Message { bits } => (
            (SignalKind::Message, 1),
            (SignalKind::Bits, u64::from(bits)),
        ),
        Action::Sub => ((SignalKind::Sub, 1), (SignalKind::Sub, 0)),
        Action::Resub => ((SignalKind::Resub, 1), (SignalKind::Resub, 0)),
        Action::Gift { count } => ((SignalKind::Gift, u64::from(count)), (SignalKind::Gift, 0)),
        Action::Raid { viewers } => (
            (SignalKind::Raid, u64::from(viewers)),
            (SignalKind::Raid, 0),
        ),
        Action::Notice => ((SignalKind::Presence, 0), (SignalKind::Presence, 0)),
    };
    [first, second].into_iter().filter(|&(_, value)| value > 0)
}

/// The signals of one person in one channel and epoch, added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalSums {
    /// Distinct minutes of presence.
    pub presence: u64,
    /// Messages.
    pub message: u64,
    /// Subscriptions.
    pub sub: u64,
    /// Renewed subscriptions.
    pub resub: u64,
    /// Subscriptions given away.
    pub gift: u64,
    /// Bits cheered.
    pub bits: u64,
    /// Viewers brought by raids.
    pub raid: u64,
}
