//! What Twitch says about people: USERNOTICE.

use rand::Rng;

use super::kind::Kind;
use super::pen::{self, Pen};
use super::people::{self, People, Sender};
use super::said;

/// Kinds that came after the ones that count, and one that never will come.
const UNKNOWN: [&str; 6] = [
    "viewermilestone",
    "bitsbadgetier",
    "giftpaidupgrade",
    "sharedchatnotice",
    "socialsharingbadge",
    "somethingunheardof",
];

pub(super) struct Notice {
    pub(super) kind: Kind,
    pub(super) sender: Sender,
    pub(super) channel: u32,
    pub(super) ts: u64,
    pub(super) id: u128,
    /// The mystery gift that it is, or belongs to.
    pub(super) community: Option<u128>,
    /// How many subscriptions are given.
    pub(super) count: u32,
}

pub(super) fn write(notice: &Notice, rng: &mut impl Rng, people: &People, out: &mut Vec<u8>) {
    let sender = notice.sender;
    out.text("@");
    sender.badges(out);
    out.text("color=")
        .text(sender.color())
        .text(";display-name=");
    sender.display_name(out);
    out.text(";emotes=;flags=;id=")
        .uuid(notice.id)
        .text(";login=");
    sender.login(out);
    out.text(";mod=").number(u64::from(sender.is_moderator()));
    out.text(";msg-id=");
    params(notice, rng, people, out);
    out.text(";room-id=")
        .number(people::room_id(notice.channel));
    out.text(";subscriber=")
        .number(u64::from(sender.is_subscriber()));
    out.text(";system-msg=");
    sender.display_name(out);
    out.text("\\sdid\\ssomething\\sthat\\sthe\\schannel\\sis\\stold\\sof!");
    out.text(";tmi-sent-ts=").number(notice.ts);
    out.text(";user-id=").number(sender.user_id);
    out.text(";user-type=;vip=0 :tmi.twitch.tv USERNOTICE #");
    people.channel(notice.channel, out);
    let has_text = matches!(notice.kind, Kind::Resub | Kind::Announcement);
    if has_text {
        out.text(" :").text(said::phrase(rng));
    }
}

/// The value of `msg-id`, and the tags that go with it.
fn params(notice: &Notice, rng: &mut impl Rng, people: &People, out: &mut Vec<u8>) {
    match notice.kind {
        Kind::Sub | Kind::Resub => {
            let months = notice.sender.months();
            out.text(if notice.kind == Kind::Sub {
                "sub"
            } else {
                "resub"
            });
            out.text(";msg-param-cumulative-months=").number(months);
            out.text(";msg-param-months=0;msg-param-should-share-streak=0");
            out.text(";msg-param-sub-plan-name=Channel\\sSubscription;msg-param-sub-plan=Prime");
        }
        Kind::Gift | Kind::CommunityGift | Kind::AnonymousGift => gift(notice, rng, people, out),
        Kind::MysteryGift => {
            out.text("submysterygift");
            community(notice, out);
            out.text(";msg-param-mass-gift-count=")
                .number(u64::from(notice.count));
            out.text(";msg-param-sender-count=100;msg-param-sub-plan=1000");
        }
        Kind::Raid => {
            out.text("raid;msg-param-displayName=");
            notice.sender.display_name(out);
            out.text(";msg-param-login=");
            notice.sender.login(out);
            out.text(";msg-param-viewerCount=")
                .number(1 + pen::below(rng, 2000));
        }
        Kind::Announcement => {
            out.text("announcement;msg-param-color=PRIMARY");
        }
        _ => {
            out.text(UNKNOWN[pen::pick(rng, UNKNOWN.len())]);
            out.text(";msg-param-value=15;msg-param-category=watch-streak");
        }
    }
}

fn gift(notice: &Notice, rng: &mut impl Rng, people: &People, out: &mut Vec<u8>) {
    let recipient = people.sender(u32::try_from(pen::below(rng, 1000)).unwrap_or(0));
    out.text("subgift");
    community(notice, out);
    out.text(";msg-param-gift-months=1;msg-param-months=3;msg-param-recipient-display-name=");
    recipient.display_name(out);
    out.text(";msg-param-recipient-id=")
        .number(recipient.user_id);
    out.text(";msg-param-recipient-user-name=");
    recipient.login(out);
    out.text(";msg-param-sub-plan=1000");
}

fn community(notice: &Notice, out: &mut Vec<u8>) {
    if let Some(id) = notice.community {
        // A number, as Twitch has it; ids of messages are UUIDs.
        let number = u64::try_from(id >> 65).unwrap_or(0);
        out.text(";msg-param-community-gift-id=").number(number);
    }
}
