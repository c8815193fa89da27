//! Who chats where: names, numbers, and what stays the same with a person.

use std::sync::Arc;

use twzrd_domain::event::ANONYMOUS_GIFTER;

use super::BOTS;
use super::pen::Pen;

const COLORS: [&str; 8] = [
    "", "#FF0000", "#0000FF", "#1E90FF", "#8A2BE2", "#FF69B4", "#00FF7F", "#B7B6F9",
];

/// The number of the first person. Bots stand below it.
const FIRST_USER_ID: u64 = 40_000_000;

/// The number of the first channel.
const FIRST_ROOM_ID: u64 = 11_000_000;

/// The number that Twitch gave to the anonymous gifter.
const ANONYMOUS_USER_ID: u64 = 274_598_607;

/// Who sends a line.
#[derive(Clone, Copy)]
pub(super) struct Sender {
    name: SenderName,
    pub(super) user_id: u64,
    /// Random bits that stay with the person.
    traits: u64,
}

#[derive(Clone, Copy)]
enum SenderName {
    Numbered(u32),
    Fixed(&'static str),
}

/// What a seed gives to each person, and what the channels are called.
pub(super) struct People {
    seed: u64,
    /// The names of channels; without them a channel is called after its number.
    channels: Option<Arc<[Arc<str>]>>,
}

impl People {
    pub(super) const fn new(seed: u64, channels: Option<Arc<[Arc<str>]>>) -> Self {
        Self { seed, channels }
    }

    /// Writes the name of a channel.
    pub(super) fn channel(&self, channel: u32, out: &mut Vec<u8>) {
        let names = self.channels.as_deref().unwrap_or_default();
        match names.get(usize::try_from(channel).unwrap_or(usize::MAX)) {
            Some(name) => out.text(name),
            None => out.text("channel_").padded(u64::from(channel), 4),
        };
    }

    pub(super) fn sender(&self, user: u32) -> Sender {
        Sender {
            name: SenderName::Numbered(user),
            user_id: FIRST_USER_ID + 7 * u64::from(user),
            traits: mixed(self.seed ^ u64::from(user) << 20),
        }
    }

    pub(super) fn bot(&self, which: usize) -> Sender {
        let which = which % BOTS.len();
        Sender {
            name: SenderName::Fixed(BOTS[which]),
            user_id: FIRST_USER_ID - 1 - which as u64,
            traits: mixed(self.seed ^ which as u64),
        }
    }
}

/// The finalizer of SplitMix64.
fn mixed(bits: u64) -> u64 {
    let bits = bits.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// The number that Twitch gave to a channel.
pub(crate) fn room_id(channel: u32) -> u64 {
    FIRST_ROOM_ID + 13 * u64::from(channel)
}

impl Sender {
    pub(super) const fn anonymous() -> Self {
        Self {
            name: SenderName::Fixed(ANONYMOUS_GIFTER),
            user_id: ANONYMOUS_USER_ID,
            // Neither a subscriber nor a moderator, and no badges.
            traits: 1 << 9 | 7 << 24,
        }
    }

    pub(super) fn login(self, out: &mut Vec<u8>) {
        match self.name {
            SenderName::Numbered(user) => out.text("user_").padded(u64::from(user), 6),
            SenderName::Fixed(name) => out.text(name),
        };
    }

    /// As a line's tag holds it: mostly the login with a capital, sometimes in another script,
    /// sometimes with an escaped space.
    pub(super) fn display_name(self, out: &mut Vec<u8>) {
        match (self.name, self.traits % 50) {
            (SenderName::Numbered(user), 0) => out.text("ユーザー").padded(u64::from(user), 6),
            (SenderName::Numbered(user), 1) => {
                out.text("User_").padded(u64::from(user), 6).text("\\s")
            }
            (SenderName::Numbered(user), _) => out.text("User_").padded(u64::from(user), 6),
            (SenderName::Fixed(name), _) => out.text(name),
        };
    }

    pub(super) const fn is_subscriber(self) -> bool {
        self.traits >> 8 & 1 == 1
    }

    pub(super) const fn is_moderator(self) -> bool {
        self.traits >> 9 & 0x7f == 0
    }

    /// How many months the person has subscribed.
    pub(super) const fn months(self) -> u64 {
        1 + (self.traits >> 16 & 0x3f)
    }

    /// The tags `badge-info` to `badges`, with a semicolon at the end.
    pub(super) fn badges(self, out: &mut Vec<u8>) {
        out.text("badge-info=");
        if self.is_subscriber() {
            out.text("subscriber/").number(self.months());
        }
        out.text(";badges=");
        let before = out.len();
        if self.is_moderator() {
            out.text("moderator/1,");
        }
        if self.is_subscriber() {
            out.text("subscriber/")
                .number(self.months() / 3 * 3)
                .text(",");
        }
        match self.traits >> 24 & 7 {
            0 | 1 => out.text("premium/1,"),
            2 => out.text("bits/100,"),
            3 => out.text("no_audio/1,"),
            _ => out,
        };
        if out.len() > before {
            out.pop();
        }
        out.text(";");
    }

    pub(super) fn color(self) -> &'static str {
        COLORS[usize::from((self.traits >> 32).to_le_bytes()[0]) % COLORS.len()]
    }

    /// The prefix of a line by this person, with its spaces.
    pub(super) fn prefix(self, out: &mut Vec<u8>) {
        out.text(" :");
        self.login(out);
        out.text("!");
        self.login(out);
        out.text("@");
        self.login(out);
        out.text(".tmi.twitch.tv ");
    }
}
