//! What the network says to the socket itself, out of the few lines that say so.
//!
//! These lines are rare, so `twitch-irc` reads them, whose messages are typed and owned. The lines
//! that people cause never come here.

use twitch_irc::message::{IRCMessage, ServerMessage};
use twzrd_domain::chat::News;
use twzrd_domain::identity::{Channel, Login};

/// The most characters of a text that is handed on. Twitch's own notices have less.
pub(super) const MAX_TEXT_CHARS: usize = 200;

/// Ids of notices which say that a channel cannot be joined by this account, or by nobody. The
/// other notices to a channel are about its modes, or about what this side never sends.
///
/// Source: <https://dev.twitch.tv/docs/irc/msg-id/>, but for `msg_room_not_found`, which that page
/// listed until chat rooms were given up, and which clients still treat like these.
const REFUSALS: [&str; 5] = [
    // "You are permanently banned from talking in <channel>."
    "msg_banned",
    // "Your message was not sent because your account is not in good standing in this channel."
    "msg_channel_blocked",
    // "This channel does not exist or has been suspended."
    "msg_channel_suspended",
    "msg_room_not_found",
    // "The community has closed channel <channel> due to Terms of Service violations."
    "tos_ban",
];

/// The news in a line with this command; `nick` is under which name this side has logged in.
///
/// None for every line that is not to the socket, also where it has such a command: somebody else
/// joins, a channel's modes change, or the line is damaged.
pub(super) fn news(command: &[u8], line: &[u8], nick: &Login) -> Option<News> {
    match command {
        b"RECONNECT" => Some(News::Reconnect),
        b"PONG" => Some(News::Pong),
        b"PING" => {
            let message = parse(line)?;
            Some(News::Ping(
                message.params.into_iter().next().unwrap_or_default(),
            ))
        }
        // Its tags are not looked at: whatever a channel's modes are, it was joined.
        b"ROOMSTATE" => {
            let message = parse(line)?;
            let channel = Channel::parse_irc_channel(message.params.first()?);
            channel.ok().map(News::Joined)
        }
        b"JOIN" | b"PART" | b"NOTICE" => typed(parse(line)?, nick),
        _ => None,
    }
}

fn typed(message: IRCMessage, nick: &Login) -> Option<News> {
    let is_own = |login: &str| login.eq_ignore_ascii_case(nick.as_str());
    match ServerMessage::try_from(message).ok()? {
        ServerMessage::Join(join) if is_own(&join.user_login) => {
            Channel::parse(&join.channel_login).ok().map(News::Joined)
        }
        ServerMessage::Part(part) if is_own(&part.user_login) => {
            Channel::parse(&part.channel_login).ok().map(News::Parted)
        }
        ServerMessage::Notice(notice) => match notice.channel_login {
            None => Some(News::Notice(bounded(&notice.message_text))),
            Some(channel) => {
                let code = notice.message_id?;
                Some(News::Refused {
                    channel: Channel::parse(&channel).ok()?,
                    code: REFUSALS.into_iter().find(|known| *known == code)?.into(),
                    reason: bounded(&notice.message_text),
                })
            }
        },
        _ => None,
    }
}

/// Reads a line that is rare.
pub(super) fn parse(line: &[u8]) -> Option<IRCMessage> {
    IRCMessage::parse(std::str::from_utf8(line).ok()?).ok()
}

/// A text of the server, cut to [`MAX_TEXT_CHARS`], each control character made a space.
pub(super) fn bounded(text: &str) -> String {
    let visible = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_TEXT_CHARS).map(visible).collect()
}
