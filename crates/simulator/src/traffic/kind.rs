//! The kinds of lines and their shares, and the lines that nobody says.

use rand::Rng;

use super::pen::{self, Pen};
use super::people::{self, People};
use super::said;

/// A kind of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A message.
    Message,
    /// A message as an action (`/me`).
    Action,
    /// An answer to a message.
    Reply,
    /// A message with bits.
    Cheer,
    /// A message by one of [`super::BOTS`].
    Bot,
    /// A message in a shared chat, of this channel.
    SharedHome,
    /// A message in a shared chat, of another channel.
    Mirrored,
    /// A message without `tmi-sent-ts`.
    WithoutTime,
    /// A message without `id`.
    WithoutId,
    /// A first subscription.
    Sub,
    /// A renewed subscription.
    Resub,
    /// A subscription given to somebody.
    Gift,
    /// Subscriptions given to a community.
    MysteryGift,
    /// One of those.
    CommunityGift,
    /// A subscription given by somebody who is not named.
    AnonymousGift,
    /// A raid.
    Raid,
    /// An announcement.
    Announcement,
    /// A USERNOTICE of a kind that counts as presence only.
    UnknownNotice,
    /// A ban or timeout.
    ClearChat,
    /// A deleted message.
    ClearMsg,
    /// The settings of a channel.
    RoomState,
    /// A notice to whoever listens.
    Notice,
    /// A ping by the server.
    Ping,
    /// Somebody came.
    Join,
    /// Somebody went.
    Part,
    /// The state of whoever listens.
    GlobalUserState,
    /// One of the last lines with an id, again.
    Duplicate,
    /// No line that Twitch sends: half lines, random bytes, bad UTF-8, lines far too long.
    Junk,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 28] = [
        Self::Message,
        Self::Action,
        Self::Reply,
        Self::Cheer,
        Self::Bot,
        Self::SharedHome,
        Self::Mirrored,
        Self::WithoutTime,
        Self::WithoutId,
        Self::Sub,
        Self::Resub,
        Self::Gift,
        Self::MysteryGift,
        Self::CommunityGift,
        Self::AnonymousGift,
        Self::Raid,
        Self::Announcement,
        Self::UnknownNotice,
        Self::ClearChat,
        Self::ClearMsg,
        Self::RoomState,
        Self::Notice,
        Self::Ping,
        Self::Join,
        Self::Part,
        Self::GlobalUserState,
        Self::Duplicate,
        Self::Junk,
    ];

    /// True for a PRIVMSG by a person.
    pub(super) fn is_said(self) -> bool {
        self <= Self::WithoutId
    }

    /// True for a USERNOTICE.
    pub(super) fn is_notice(self) -> bool {
        (Self::Sub..=Self::UnknownNotice).contains(&self)
    }
}

/// How much there is of each kind, relative to the sum of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares([u32; Kind::ALL.len()]);

impl Default for Shares {
    /// Roughly what a connection to many channels hears, with more of what goes wrong. Gifts out
    /// of mystery gifts come with these, in addition.
    fn default() -> Self {
        let mut shares = Self([0; Kind::ALL.len()]);
        let parts = [
            (Kind::Message, 84_000),
            (Kind::Action, 600),
            (Kind::Reply, 5_000),
            (Kind::Cheer, 300),
            (Kind::Bot, 1_200),
            (Kind::SharedHome, 300),
            (Kind::Mirrored, 800),
            (Kind::WithoutTime, 30),
            (Kind::WithoutId, 50),
            (Kind::Sub, 150),
            (Kind::Resub, 300),
            (Kind::Gift, 60),
            (Kind::MysteryGift, 20),
            (Kind::AnonymousGift, 20),
            (Kind::Raid, 10),
            (Kind::Announcement, 60),
            (Kind::UnknownNotice, 60),
            (Kind::ClearChat, 600),
            (Kind::ClearMsg, 100),
            (Kind::RoomState, 100),
            (Kind::Notice, 30),
            (Kind::Ping, 20),
            (Kind::Join, 2_700),
            (Kind::Part, 2_700),
            (Kind::GlobalUserState, 10),
            (Kind::Duplicate, 600),
            (Kind::Junk, 80),
        ];
        for (kind, share) in parts {
            shares = shares.with(kind, share);
        }
        shares
    }
}

impl Shares {
    /// Messages and nothing else.
    #[must_use]
    pub fn messages_only() -> Self {
        Self([0; Kind::ALL.len()]).with(Kind::Message, 1)
    }

    /// The share of a kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> u32 {
        self.0[kind as usize]
    }

    /// The same with another share of a kind. [`Kind::CommunityGift`] has none: it comes with
    /// mystery gifts.
    #[must_use]
    pub fn with(mut self, kind: Kind, share: u32) -> Self {
        if kind != Kind::CommunityGift {
            self.0[kind as usize] = share;
        }
        self
    }

    pub(super) fn draw(&self, rng: &mut impl Rng) -> Kind {
        let sum = self.0.iter().map(|&share| u64::from(share)).sum::<u64>();
        let mut at = pen::below(rng, sum.max(1));
        for (kind, &share) in Kind::ALL.into_iter().zip(&self.0) {
            match at.checked_sub(u64::from(share)) {
                Some(behind) => at = behind,
                None => return kind,
            }
        }
        Kind::Message
    }
}

/// Writes a line that nobody says and that counts for nothing.
pub(super) fn other(
    kind: Kind,
    rng: &mut impl Rng,
    people: &People,
    channel: u32,
    user: u32,
    ts: u64,
    out: &mut Vec<u8>,
) {
    let sender = people.sender(user);
    let room = people::room_id(channel);
    match kind {
        Kind::ClearChat => {
            out.text("@ban-duration=600;room-id=").number(room);
            out.text(";target-user-id=").number(sender.user_id);
            out.text(";tmi-sent-ts=").number(ts);
            out.text(" :tmi.twitch.tv CLEARCHAT #");
            people.channel(channel, out);
            out.text(" :");
            sender.login(out);
        }
        Kind::ClearMsg => {
            out.text("@login=");
            sender.login(out);
            out.text(";room-id=;target-msg-id=").uuid(pen::id(rng));
            out.text(";tmi-sent-ts=").number(ts);
            out.text(" :tmi.twitch.tv CLEARMSG #");
            people.channel(channel, out);
            out.text(" :").text(said::phrase(rng));
        }
        Kind::RoomState => {
            out.text("@emote-only=0;followers-only=-1;r9k=0;room-id=")
                .number(room);
            out.text(";slow=0;subs-only=0 :tmi.twitch.tv ROOMSTATE #");
            people.channel(channel, out);
        }
        Kind::Notice => {
            out.text("@msg-id=emote_only_on :tmi.twitch.tv NOTICE #");
            people.channel(channel, out);
            out.text(" :This room is now in emote-only mode.");
        }
        Kind::Join | Kind::Part => {
            sender.prefix(out);
            // Without tags there is no space in front of the prefix.
            out.remove(0);
            out.text(if kind == Kind::Join {
                "JOIN #"
            } else {
                "PART #"
            });
            people.channel(channel, out);
        }
        Kind::GlobalUserState => {
            out.text("@badge-info=;badges=;color=;display-name=listener;emote-sets=0;");
            out.text("user-id=1;user-type= :tmi.twitch.tv GLOBALUSERSTATE");
        }
        _ => {
            out.text("PING :tmi.twitch.tv");
        }
    }
}

/// Writes what no server should send, made of a line that one did.
pub(super) fn junk(rng: &mut impl Rng, line: &[u8], out: &mut Vec<u8>) {
    let draw = pen::below(rng, 1000);
    match draw {
        0 => {
            // Past every limit of a line.
            out.extend_from_slice(line);
            out.resize(70_000, b'x');
        }
        1..250 => out.extend_from_slice(&line[..=pen::pick(rng, line.len())]),
        250..400 => out.extend_from_slice(&line[pen::pick(rng, line.len())..]),
        400..650 => {
            out.extend_from_slice(line);
            out.insert(pen::pick(rng, line.len()), 0xff);
        }
        650..750 => {
            out.text("{\"error\":\"Bad Gateway\",\"status\":502}");
        }
        _ => {
            let bytes = 1 + pen::pick(rng, 200);
            out.extend((0..bytes).map(|_| rng.next_u32().to_le_bytes()[0]));
        }
    }
    for byte in out.iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b'?';
    }
}
