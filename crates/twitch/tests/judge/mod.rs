//! The judge that the reader is compared with: the same rules, written without regard to speed on
//! another parser.

use twitch_irc::message::{IRCMessage, IRCPrefix};
use twzrd_domain::event::{Action, Event, MessageId, Outcome};
use twzrd_domain::identity::{Channel, Login};
use twzrd_domain::record::{Candidate, Passed};
use twzrd_twitch::line::{Arrival, Line};

/// A number of digits only.
fn number(text: &str) -> Option<u64> {
    let digits = text.chars().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn small(text: Option<&str>) -> u32 {
    let number = text.and_then(number).unwrap_or(0);
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Judges a line as [`twzrd_twitch::line::read`] promises to.
pub(crate) fn judge(line: &[u8], arrival: Arrival, keep_text: bool) -> Line {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Line::Empty;
    }
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|line| line.len() <= 65_536);
    match text.and_then(|text| IRCMessage::parse(text).ok()) {
        Some(message) => judge_message(&message, arrival, keep_text),
        None => Line::Uncounted {
            outcome: Outcome::Invalid,
            channel: Channel::none(),
            at: match arrival {
                Arrival::Live(received) => Some(received),
                Arrival::Recorded => None,
            },
        },
    }
}

fn judge_message(message: &IRCMessage, arrival: Arrival, keep_text: bool) -> Line {
    let tag = |name: &str| {
        let value = message.tags.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    };
    let sent = tag("tmi-sent-ts").and_then(number);
    let sent = sent.filter(|&at| at > 0 && at <= 253_402_300_799_999);
    let at = match arrival {
        Arrival::Recorded => sent,
        Arrival::Live(now) => match sent {
            Some(sent) if sent.abs_diff(now) <= 600_000 => Some(sent),
            _ => Some(now),
        },
    };
    // The replies to NAMES carry the listener and a sign in front of the channel.
    let place = match message.command.as_str() {
        "353" => 2,
        "366" => 1,
        _ => 0,
    };
    let channel = message
        .params
        .get(place)
        .and_then(|text| text.strip_prefix('#'));
    let channel = channel.and_then(|name| Channel::parse(name).ok());
    let is_notice = message.command == "USERNOTICE";
    let outcome = if message.command != "PRIVMSG" && !is_notice {
        Some(Outcome::Other)
    } else if at.is_none() || channel.is_none() {
        Some(Outcome::Invalid)
    } else if tag("source-room-id").is_some() && tag("source-room-id") != tag("room-id") {
        Some(Outcome::Mirrored)
    } else {
        None
    };
    let (None, Some(ts), Some(room)) = (outcome, at, channel.clone()) else {
        return Line::Uncounted {
            outcome: outcome.unwrap_or(Outcome::Invalid),
            channel: channel.unwrap_or_else(Channel::none),
            at,
        };
    };
    let id = tag("id").and_then(MessageId::parse);
    let login = match &message.prefix {
        _ if is_notice => tag("login").map(str::to_owned),
        Some(IRCPrefix::Full { nick, .. }) => Some(nick.clone()),
        _ => None,
    };
    let login = login.and_then(|login| Login::parse(&login).ok());
    let passed = |outcome| {
        Line::Candidate(Candidate::Passed(Passed {
            id: id.as_ref().map(MessageId::digest),
            channel: room.clone(),
            ts,
            outcome,
        }))
    };
    let Some(login) = login else {
        return passed(Outcome::Invalid);
    };
    if login.as_str() == "ananonymousgifter" {
        return passed(Outcome::Anonymous);
    }
    let user_id = tag("user-id").and_then(|text| number(text).filter(|n| n.to_string() == text));
    Line::Candidate(Candidate::Event(Event {
        id: id.clone(),
        channel: room.clone(),
        ts,
        login,
        user_id,
        action: action(is_notice, &tag),
        text: message
            .params
            .get(1)
            .filter(|_| keep_text)
            .map(|text| text.as_str().into()),
    }))
}

fn action<'a>(is_notice: bool, tag: &impl Fn(&str) -> Option<&'a str>) -> Action {
    if !is_notice {
        let bits = small(tag("bits"));
        return Action::Message { bits };
    }
    match tag("msg-id").unwrap_or_default() {
        "sub" => Action::Sub,
        "resub" => Action::Resub,
        "submysterygift" => Action::Gift {
            count: small(tag("msg-param-mass-gift-count")),
        },
        "subgift" => Action::Gift {
            count: u32::from(tag("msg-param-community-gift-id").is_none()),
        },
        "raid" => Action::Raid {
            viewers: small(tag("msg-param-viewerCount")),
        },
        _ => Action::Notice,
    }
}
