//! Seeded Twitch traffic as raw lines of IRC, in the shapes in which Twitch sends them.
//!
//! A seed gives the same bytes on every platform, whatever the version of any library: the
//! generator is ChaCha8, and everything drawn from it is drawn with integers. People are called
//! `user_000123`, channels `channel_0042`; both are drawn by Zipf's law, so few are loud and most
//! are seldom heard.

mod kind;
mod notice;
pub(crate) mod pen;
pub(crate) mod people;
mod said;
mod zipf;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use twzrd_domain::epoch::UnixMs;

pub use kind::{Kind, Shares};
use people::{People, Sender};
use said::Said;
use zipf::Zipf;

/// The logins of bots that every deployment lists.
pub const BOTS: [&str; 4] = ["nightbot", "fossabot", "streamelements", "moobot"];

/// The hour boundary, in milliseconds since the Unix epoch, around which the default traffic lies.
pub const BOUNDARY: UnixMs = 1_760_000_400_000;

/// How many lines are kept, so that some of them can come again.
const RECENT_LINES: usize = 64;

/// How many mystery gifts are unpacked at the same time.
const OPEN_GIFTS: usize = 16;

/// What the traffic is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What everything follows from.
    pub seed: u64,
    /// How many people there are; at least 1.
    pub users: u32,
    /// How many channels there are; at least 1.
    pub channels: u32,
    /// How many lines there are.
    pub lines: u64,
    /// When the first line is sent.
    pub start: UnixMs,
    /// How many lines are sent in a second; at least 1.
    pub lines_per_second: u32,
    /// How much there is of each kind of line.
    pub shares: Shares,
}

impl Default for Profile {
    /// A million lines by 100,000 people in 1,000 channels at the rate of all of Twitch, with the
    /// boundary of an hour after the first minute.
    fn default() -> Self {
        Self {
            seed: 1,
            users: 100_000,
            channels: 1_000,
            lines: 1_000_000,
            start: BOUNDARY - 60_000,
            lines_per_second: 1_600,
            shares: Shares::default(),
        }
    }
}

impl Profile {
    /// Five thousand lines by 200 people in 8 channels in 83 minutes, over two boundaries of an
    /// hour, with more of the rare kinds.
    #[must_use]
    pub fn small(seed: u64) -> Self {
        let rare = Kind::ALL.into_iter().filter(|&kind| kind != Kind::Message);
        let shares = rare.fold(Shares::default(), |shares, kind| {
            shares.with(kind, shares.of(kind).max(400))
        });
        Self {
            seed,
            users: 200,
            channels: 8,
            lines: 5_000,
            start: BOUNDARY - 600_000,
            lines_per_second: 1,
            shares,
        }
    }
}

/// A gift to a channel's community that is being unpacked.
struct Unpacked {
    giver: u32,
    channel: u32,
    id: u128,
    left: u32,
}

/// The generator: line by line, without the line feed.
pub struct Traffic {
    profile: Profile,
    rng: ChaCha8Rng,
    users: Zipf,
    channels: Zipf,
    people: People,
    sent: u64,
    /// The time of a live source; none where the profile's rate gives the time.
    now: Option<UnixMs>,
    /// The channel of the line just written.
    channel: u32,
    recent: VecDeque<(u32, Vec<u8>)>,
    gifts: VecDeque<Unpacked>,
}

impl Traffic {
    /// Starts the traffic of a profile.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self::start(profile, None)
    }

    /// Starts the traffic of a profile in channels of these names, as many as there are; in one
    /// channel called after its number where there are none.
    #[must_use]
    pub fn named(mut profile: Profile, channels: Arc<[Arc<str>]>) -> Self {
        let count = u32::try_from(channels.len()).unwrap_or(u32::MAX);
        profile.channels = count.max(1);
        Self::start(profile, Some(channels))
    }

    fn start(profile: Profile, channels: Option<Arc<[Arc<str>]>>) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(profile.seed),
            users: Zipf::new(profile.users),
            channels: Zipf::new(profile.channels),
            people: People::new(profile.seed, channels),
            sent: 0,
            now: None,
            channel: 0,
            recent: VecDeque::with_capacity(RECENT_LINES),
            gifts: VecDeque::with_capacity(OPEN_GIFTS),
            profile,
        }
    }

    /// Lets the next lines be sent at `now`, whatever the profile's start and rate say.
    pub fn set_now(&mut self, now: UnixMs) {
        self.now = Some(now);
    }

    /// The number of the channel that the line just written goes to. A line that names no channel
    /// goes to one all the same, since somebody has to hear it.
    #[must_use]
    pub const fn channel(&self) -> u32 {
        self.channel
    }

    /// Replaces the content of `line` with the next line, without a line feed, and tells its kind;
    /// none once the profile's lines are through. A line is never empty and holds no line feed.
    pub fn next_into(&mut self, line: &mut Vec<u8>) -> Option<Kind> {
        if self.sent >= self.profile.lines {
            return None;
        }
        line.clear();
        let mut kind = self.profile.shares.draw(&mut self.rng);
        if !self.gifts.is_empty() && pen::below(&mut self.rng, 2) == 0 {
            kind = Kind::CommunityGift;
        }
        let kind = self.write(kind, line);
        self.sent += 1;
        Some(kind)
    }

    /// Writes the next `n` lines, each with a carriage return and a line feed, and tells how many
    /// there were: fewer where the profile's lines end.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&mut self, mut out: impl Write, n: u64) -> io::Result<u64> {
        let mut line = Vec::with_capacity(1024);
        for written in 0..n {
            if self.next_into(&mut line).is_none() {
                return Ok(written);
            }
            line.extend_from_slice(b"\r\n");
            out.write_all(&line)?;
        }
        Ok(n)
    }

    /// Writes a line of this kind, or a message where this kind cannot be: nothing was said yet
    /// that could come again, or no gift is open.
    fn write(&mut self, kind: Kind, out: &mut Vec<u8>) -> Kind {
        match kind {
            Kind::Duplicate | Kind::Junk if self.recent.is_empty() => self.say(Kind::Message, out),
            Kind::Duplicate => {
                let again = pen::pick(&mut self.rng, self.recent.len());
                let (channel, line) = &self.recent[again];
                self.channel = *channel;
                out.extend_from_slice(line);
                kind
            }
            Kind::Junk => {
                let from = pen::pick(&mut self.rng, self.recent.len());
                let (channel, line) = &self.recent[from];
                self.channel = *channel;
                kind::junk(&mut self.rng, line, out);
                kind
            }
            Kind::CommunityGift => match self.unpack() {
                Some(gift) => self.notice(kind, Some(gift), out),
                None => self.say(Kind::Message, out),
            },
            _ if kind.is_notice() => self.notice(kind, None, out),
            _ if kind.is_said() => self.say(kind, out),
            _ => {
                let (channel, user) = self.place();
                let ts = self.time();
                kind::other(kind, &mut self.rng, &self.people, channel, user, ts, out);
                kind
            }
        }
    }

    fn say(&mut self, kind: Kind, out: &mut Vec<u8>) -> Kind {
        let (channel, user) = self.place();
        let sender = match kind {
            Kind::Bot => self.people.bot(pen::pick(&mut self.rng, BOTS.len())),
            _ => self.people.sender(user),
        };
        let ts = self.time();
        let said = Said {
            kind,
            sender,
            channel,
            ts: (kind != Kind::WithoutTime).then_some(ts),
            id: (kind != Kind::WithoutId).then(|| pen::id(&mut self.rng)),
        };
        said::write(&said, &mut self.rng, &self.people, out);
        if said.id.is_some() {
            self.remember(out);
        }
        kind
    }

    fn notice(&mut self, kind: Kind, gift: Option<(u32, u32, u128)>, out: &mut Vec<u8>) -> Kind {
        let (mut channel, mut user) = self.place();
        let id = pen::id(&mut self.rng);
        let mut community = None;
        let mut count = 1;
        if let Some((giver, to, id)) = gift {
            (user, channel, community) = (giver, to, Some(id));
            self.channel = to;
        }
        if kind == Kind::MysteryGift {
            count = [1, 3, 5, 5, 10, 20, 50][pen::pick(&mut self.rng, 7)];
            community = Some(pen::id(&mut self.rng));
            if let Some(id) = community.filter(|_| self.gifts.len() < OPEN_GIFTS) {
                self.gifts.push_back(Unpacked {
                    giver: user,
                    channel,
                    id,
                    left: count,
                });
            }
        }
        let sender = match kind {
            Kind::AnonymousGift => Sender::anonymous(),
            _ => self.people.sender(user),
        };
        let notice = notice::Notice {
            kind,
            sender,
            channel,
            ts: self.time(),
            id,
            community,
            count,
        };
        notice::write(&notice, &mut self.rng, &self.people, out);
        self.remember(out);
        kind
    }

    /// One gift out of the oldest mystery gift: giver, channel, and what they belong to.
    fn unpack(&mut self) -> Option<(u32, u32, u128)> {
        let gift = self.gifts.front_mut()?;
        gift.left -= 1;
        let one = (gift.giver, gift.channel, gift.id);
        if gift.left == 0 {
            self.gifts.pop_front();
        }
        Some(one)
    }

    fn place(&mut self) -> (u32, u32) {
        let channel = self.channels.draw(&mut self.rng);
        self.channel = channel;
        (channel, self.users.draw(&mut self.rng))
    }

    /// When the next line was sent: up to 0.4 seconds ago, and one in 64 up to five seconds.
    fn time(&mut self) -> UnixMs {
        let past = self.sent.saturating_mul(1000) / u64::from(self.profile.lines_per_second.max(1));
        let draw = pen::below(&mut self.rng, 64 * 400);
        let ago = if draw < 400 { draw * 12 } else { draw % 400 };
        let now = self.now.unwrap_or(self.profile.start.saturating_add(past));
        now.saturating_sub(ago)
    }

    fn remember(&mut self, line: &[u8]) {
        let mut kept = match self.recent.len() {
            RECENT_LINES => self.recent.pop_front().unwrap_or_default().1,
            _ => Vec::new(),
        };
        kept.clear();
        kept.extend_from_slice(line);
        self.recent.push_back((self.channel, kept));
    }
}

impl Iterator for Traffic {
    type Item = Vec<u8>;

    /// The next line in a buffer of its own; [`Traffic::next_into`] reuses one.
    fn next(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::with_capacity(512);
        self.next_into(&mut line).map(|_| line)
    }
}
