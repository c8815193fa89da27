//! What the network says to the socket is told, line by line, and nothing else is taken for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use proptest::prelude::*;
use twzrd_domain::chat::News;

use support::{Segments, hear_out, name, reader};

/// What a line is told as, to a socket on which `reader` is logged in.
fn news(line: impl AsRef<[u8]>) -> Vec<News> {
    let line = line.as_ref();
    let source = Segments::new([[line, b"\r\n"].concat()]);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().build().unwrap();
    let (heard, _) = runtime.block_on(hear_out(&mut reader(source)));
    // It is counted as a line, news or not.
    assert_eq!(heard.lines, [(line.to_vec(), false)]);
    heard.news
}

fn refused(channel: &str, code: &str, reason: &str) -> News {
    News::Refused {
        channel: name(channel),
        code: code.into(),
        reason: reason.into(),
    }
}

#[test]
fn each_control_line_is_told_as_what_it_says() {
    let notice = "@msg-id=msg_channel_suspended :tmi.twitch.tv NOTICE #gone :This channel does not exist or has been suspended.";
    for (line, expected) in [
        ("PING :tmi.twitch.tv", News::Ping("tmi.twitch.tv".into())),
        ("PING :two words", News::Ping("two words".into())),
        ("PING", News::Ping(String::new())),
        (":tmi.twitch.tv PONG tmi.twitch.tv :twzrd", News::Pong),
        (":tmi.twitch.tv RECONNECT", News::Reconnect),
        (
            ":reader!reader@reader.tmi.twitch.tv JOIN #forsen",
            News::Joined(name("forsen")),
        ),
        (
            ":READER!reader@reader.tmi.twitch.tv JOIN #Forsen",
            News::Joined(name("forsen")),
        ),
        (
            ":reader!reader@reader.tmi.twitch.tv PART #forsen",
            News::Parted(name("forsen")),
        ),
        (
            "@emote-only=0;followers-only=-1;r9k=0;room-id=22484632;slow=0;subs-only=0 :tmi.twitch.tv ROOMSTATE #forsen",
            News::Joined(name("forsen")),
        ),
        (
            "@slow=what;something=new :tmi.twitch.tv ROOMSTATE #forsen",
            News::Joined(name("forsen")),
        ),
        (
            notice,
            refused(
                "gone",
                "msg_channel_suspended",
                "This channel does not exist or has been suspended.",
            ),
        ),
        (
            ":tmi.twitch.tv NOTICE * :You are sending commands too quickly.",
            News::Notice("You are sending commands too quickly.".into()),
        ),
    ] {
        assert_eq!(news(line), [expected], "{line}");
    }
}

#[test]
fn every_reason_why_a_channel_cannot_be_joined_is_told_by_its_name() {
    for code in [
        "msg_banned",
        "msg_channel_blocked",
        "msg_channel_suspended",
        "msg_room_not_found",
        "tos_ban",
    ] {
        let line = format!("@msg-id={code} :tmi.twitch.tv NOTICE #a :no");
        assert_eq!(news(line), [refused("a", code, "no")]);
    }
}

#[test]
fn what_is_not_to_the_socket_is_no_news() {
    for line in [
        ":other!other@other.tmi.twitch.tv JOIN #forsen",
        ":other!other@other.tmi.twitch.tv PART #forsen",
        ":tmi.twitch.tv JOIN #forsen",
        "JOIN #forsen",
        "@msg-id=slow_on :tmi.twitch.tv NOTICE #a :This room is now in slow mode.",
        "@msg-id=msg_channel_suspended :tmi.twitch.tv NOTICE #",
        "@msg-id=msg_banned :tmi.twitch.tv NOTICE # :no",
        ":tmi.twitch.tv NOTICE #a :without an id",
        ":tmi.twitch.tv NOTICE",
        ":tmi.twitch.tv ROOMSTATE #",
        ":tmi.twitch.tv ROOMSTATE",
        "ping :lower case",
        ":x!x@x PRIVMSG #a :PING :RECONNECT",
        "@msg-id=msg_banned;login=reader :tmi.twitch.tv USERNOTICE #a :JOIN #a",
        ":reader!reader@reader PRIVMSG #a :JOIN #a",
        ":tmi.twitch.tv 001 reader :Welcome, GLHF!",
        ":reader.tmi.twitch.tv 353 reader = #a :reader",
    ] {
        assert_eq!(news(line), [], "{line}");
    }
}

#[test]
fn a_control_line_that_is_no_text_is_a_line_and_no_news() {
    assert_eq!(news(b":tmi.twitch.tv NOTICE * :\xff"), []);
    assert_eq!(news(b"PING :\xff"), []);
}

#[test]
fn words_of_the_server_are_bounded_and_visible() {
    let line = format!(":tmi.twitch.tv NOTICE * :\x1b[31m\0{}", "é".repeat(5_000));
    let expected = format!(" [31m {}", "é".repeat(194));
    assert_eq!(news(line), [News::Notice(expected)]);
    let line = format!("@msg-id=tos_ban :h NOTICE #a :{}", "x".repeat(5_000));
    assert_eq!(news(line), [refused("a", "tos_ban", &"x".repeat(200))]);
}

#[tokio::test]
async fn news_come_in_the_order_of_their_lines_beside_all_lines() {
    let stream =
        b":reader!r@r JOIN #a\r\n@id=1 :x!x@x PRIVMSG #a :b\r\n:h RECONNECT\r\nPING :c\r\n";
    let (heard, _) = hear_out(&mut reader(Segments::new([stream.to_vec()]))).await;
    assert_eq!(heard.channels, ["a", "a", "", ""]);
    let expected = [
        News::Joined(name("a")),
        News::Reconnect,
        News::Ping("c".into()),
    ];
    assert_eq!(heard.news, expected);
}

proptest! {
    #[test]
    fn damaged_control_lines_stop_nothing(
        command in "(NOTICE|PING|PONG|JOIN|PART|ROOMSTATE|RECONNECT|CAP)",
        before in "(@[^\\r\\n]{0,9} )?(:[^\\r\\n]{0,9} )?",
        behind in "[^\\r\\n]{0,30}",
    ) {
        news(format!("{before}{command}{behind}"));
    }
}
