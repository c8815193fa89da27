//! Lines that people say: PRIVMSG.

use rand::Rng;

use super::kind::Kind;
use super::pen::{self, Pen};
use super::people::{self, People, Sender};

/// What is said, with its emotes as the tag has them.
const PHRASES: [(&str, &str); 24] = [
    ("hello everyone, how is it going today?", ""),
    ("Kappa", "25:0-4"),
    ("Kappa Kappa Keepo", "25:0-4,6-10/1902:12-16"),
    ("that was so close, one more try and you have it", ""),
    ("LUL", "425618:0-2"),
    ("LUL LUL LUL what was that", "425618:0-2,4-6,8-10"),
    ("GG", ""),
    ("no way this is real", ""),
    ("what song is this?", ""),
    (
        "can you show the map again please, I missed where you came from",
        "",
    ),
    ("PogChamp lets go", "305954156:0-7"),
    ("first time here, really like the stream so far", ""),
    ("+1", ""),
    ("?", ""),
    ("!points", ""),
    ("добрый вечер всем, как дела?", ""),
    ("こんばんは、今日も楽しみです", ""),
    ("이거 진짜 대박이다 ㅋㅋㅋㅋㅋㅋ", ""),
    ("😂😂😂 I cannot", ""),
    ("così bello 🇮🇹 :)", "1:14-15"),
    (
        "have a look at https://example.org/watch?v=1#t=20 ; it says a=b @all",
        "",
    ),
    (
        "wait, is this the same run as yesterday or did you start over from the beginning?",
        "",
    ),
    ("  two  spaces   inside ", ""),
    (":colon first", ""),
];

pub(super) struct Said {
    pub(super) kind: Kind,
    pub(super) sender: Sender,
    pub(super) channel: u32,
    pub(super) ts: Option<u64>,
    pub(super) id: Option<u128>,
}

pub(super) fn phrase(rng: &mut impl Rng) -> &'static str {
    PHRASES[pen::pick(rng, PHRASES.len())].0
}

pub(super) fn write(said: &Said, rng: &mut impl Rng, people: &People, out: &mut Vec<u8>) {
    let draw = rng.next_u64();
    let (text, emotes) = PHRASES[usize::from(draw.to_le_bytes()[0]) % PHRASES.len()];
    let bits = 1 + 25 * (draw >> 8 & 0x3f);
    let sender = said.sender;
    out.text("@");
    sender.badges(out);
    if said.kind == Kind::Cheer {
        out.text("bits=").number(bits).text(";");
    }
    if draw >> 16 & 3 == 0 {
        out.text("client-nonce=").hex(pen::id(rng), 32).text(";");
    }
    out.text("color=")
        .text(sender.color())
        .text(";display-name=");
    sender.display_name(out);
    out.text(";emotes=")
        .text(emotes)
        .text(";first-msg=0;flags=;");
    if let Some(id) = said.id {
        out.text("id=").uuid(id).text(";");
    }
    out.text("mod=").number(u64::from(sender.is_moderator()));
    if said.kind == Kind::Reply {
        parent(rng, people, out);
    }
    let room = people::room_id(said.channel);
    out.text(";returning-chatter=0;room-id=").number(room);
    source(said, rng, out);
    out.text(";subscriber=")
        .number(u64::from(sender.is_subscriber()));
    if let Some(ts) = said.ts {
        out.text(";tmi-sent-ts=").number(ts);
    }
    out.text(";turbo=0;user-id=")
        .number(sender.user_id)
        .text(";user-type=");
    if sender.is_moderator() {
        out.text("mod");
    }
    sender.prefix(out);
    out.text("PRIVMSG #");
    people.channel(said.channel, out);
    out.text(" :");
    match said.kind {
        Kind::Action => out.text("\u{1}ACTION ").text(text).text("\u{1}"),
        Kind::Cheer => out.text("Cheer").number(bits).text(" ").text(text),
        _ => out.text(text),
    };
}

/// The tags of the message that is answered.
fn parent(rng: &mut impl Rng, people: &People, out: &mut Vec<u8>) {
    let asker = people.sender(u32::try_from(pen::below(rng, 1000)).unwrap_or(0));
    let id = pen::id(rng);
    out.text(";reply-parent-display-name=");
    asker.display_name(out);
    out.text(";reply-parent-msg-body=is\\sthis\\sreal\\:\\swhat\\\\do\\syou=mean");
    out.text(";reply-parent-msg-id=").uuid(id);
    out.text(";reply-parent-user-id=").number(asker.user_id);
    out.text(";reply-parent-user-login=");
    asker.login(out);
    out.text(";reply-thread-parent-msg-id=").uuid(id);
    out.text(";reply-thread-parent-user-login=");
    asker.login(out);
}

/// The tags of a shared chat: the room where it was said is this one or another.
fn source(said: &Said, rng: &mut impl Rng, out: &mut Vec<u8>) {
    let room = match said.kind {
        Kind::Mirrored => people::room_id(said.channel) + 1 + pen::below(rng, 12),
        Kind::SharedHome => people::room_id(said.channel),
        _ => return,
    };
    out.text(";source-badge-info=;source-badges=;source-id=")
        .uuid(pen::id(rng));
    out.text(";source-only=0;source-room-id=").number(room);
}
