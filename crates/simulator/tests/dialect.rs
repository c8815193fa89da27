//! The server speaks as Twitch does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::time::Duration;

use common::{DEADLINE, Irc, config, soon, start};
use twzrd_simulator::{Account, Config, Limit, Reason, RoomState, Rooms, Simulator};

const WELCOME: [&str; 7] = [
    ":tmi.twitch.tv 001 justinfan7 :Welcome, GLHF!",
    ":tmi.twitch.tv 002 justinfan7 :Your host is tmi.twitch.tv",
    ":tmi.twitch.tv 003 justinfan7 :This server is rather new",
    ":tmi.twitch.tv 004 justinfan7 :-",
    ":tmi.twitch.tv 375 justinfan7 :-",
    ":tmi.twitch.tv 372 justinfan7 :You are in a maze of twisty passages, all alike.",
    ":tmi.twitch.tv 376 justinfan7 :>",
];

fn echo(nick: &str, room: &str, id: u64) -> [String; 4] {
    [
        format!(":{nick}!{nick}@{nick}.tmi.twitch.tv JOIN #{room}"),
        format!(":{nick}.tmi.twitch.tv 353 {nick} = #{room} :{nick}"),
        format!(":{nick}.tmi.twitch.tv 366 {nick} #{room} :End of /NAMES list"),
        format!(
            "@emote-only=0;followers-only=-1;r9k=0;room-id={id};slow=0;subs-only=0 :tmi.twitch.tv ROOMSTATE #{room}"
        ),
    ]
}

/// The lines that come before the server closes, in order.
async fn last_words(irc: Irc) -> Vec<String> {
    let (lines, fragment, end) = irc.rest().await;
    assert_eq!(
        (fragment, end),
        (Vec::new(), std::io::ErrorKind::UnexpectedEof)
    );
    let lines = lines
        .into_iter()
        .map(|line| String::from_utf8(line).unwrap());
    lines.collect()
}

async fn ended(simulator: &Simulator, reason: Reason) {
    let gone = simulator.until(|now| now.sockets.is_empty());
    soon("the end of all sockets", gone).await;
    let disconnects = simulator.snapshot().disconnects;
    assert_eq!(disconnects.into_iter().collect::<Vec<_>>(), [(reason, 1)]);
}

#[tokio::test]
async fn whoever_is_anonymous_is_welcomed_and_joins() {
    let simulator = start(config()).await;
    let mut irc = Irc::connect(&simulator).await;
    irc.say("CAP LS 302").await;
    irc.say("CAP REQ :twitch.tv/tags twitch.tv/commands twitch.tv/membership")
        .await;
    irc.say("CAP REQ :twitch.tv/tags sasl").await;
    irc.say("CAP END").await;
    irc.say("NICK justinfan7").await;
    assert_eq!(
        irc.lines(3).await,
        [
            ":tmi.twitch.tv CAP * LS :twitch.tv/tags twitch.tv/commands twitch.tv/membership",
            ":tmi.twitch.tv CAP * ACK :twitch.tv/tags twitch.tv/commands twitch.tv/membership",
            ":tmi.twitch.tv CAP * NAK :twitch.tv/tags sasl",
        ]
    );
    assert_eq!(irc.lines(7).await, WELCOME);
    irc.say("JOIN #channel_0000,#nowhere,channel_0001,#Channel_0003")
        .await;
    assert_eq!(
        irc.lines(4).await,
        echo("justinfan7", "channel_0000", 11_000_000)
    );
    assert_eq!(
        irc.lines(4).await,
        echo("justinfan7", "channel_0003", 11_000_039)
    );
    irc.say("JOIN #channel_0000").await;
    assert!(irc.is_silent().await, "a room is joined once");
    let now = simulator.snapshot();
    assert_eq!((now.joins, now.join_refusals, now.joined()), (2, 2, 2));
    assert_eq!(now.sockets[0].nick.as_deref(), Some("justinfan7"));
    assert_eq!((now.sockets[0].number, now.sockets[0].rooms), (1, 2));

    irc.say("PART #channel_0000,#channel_0001").await;
    assert_eq!(
        irc.line().await,
        ":justinfan7!justinfan7@justinfan7.tmi.twitch.tv PART #channel_0000"
    );
    assert!(irc.is_silent().await);
    assert_eq!(simulator.say("channel_0000", "ada", "hello").unwrap(), 0);
    assert_eq!(simulator.say("channel_0003", "ada", "hello").unwrap(), 1);
    assert!(
        irc.line()
            .await
            .ends_with(":ada!ada@ada.tmi.twitch.tv PRIVMSG #channel_0003 :hello")
    );
    let now = simulator.snapshot();
    assert_eq!((now.parts, now.joined()), (1, 1));

    irc.say("QUIT").await;
    assert_eq!(last_words(irc).await, Vec::<String>::new());
    ended(&simulator, Reason::Quit).await;
}

#[tokio::test]
async fn commands_are_answered_or_taken_without_a_word() {
    let simulator = start(config()).await;
    let mut irc = Irc::within(&simulator, &["channel_0000"]).await;
    irc.say("PING :tmi.twitch.tv").await;
    irc.say("PING").await;
    irc.say("PRIVMSG #channel_0000 :hello").await;
    irc.say("").await;
    irc.say("WHO #channel_0000").await;
    irc.stream.try_write(b"\xff\xfe\r\n").unwrap();
    irc.say("NICK justinfan8").await;
    assert_eq!(
        irc.lines(3).await,
        [
            ":tmi.twitch.tv PONG tmi.twitch.tv :tmi.twitch.tv",
            ":tmi.twitch.tv PONG tmi.twitch.tv",
            ":tmi.twitch.tv 421 justinfan7 WHO :Unknown command",
        ]
    );
    assert!(irc.is_silent().await);
    assert_eq!(simulator.snapshot().commands_ignored, 4);
}

#[tokio::test]
async fn an_account_logs_in_with_its_token_and_no_other() {
    let accounts = vec![Account {
        login: "ada".to_owned(),
        token: "right".to_owned(),
    }];
    let simulator = start(Config {
        accounts,
        ..config()
    })
    .await;
    let cases: [(&[&str], &str); 7] = [
        (
            &["PASS oauth:wrong", "NICK ada"],
            "Login authentication failed",
        ),
        (
            &["PASS oauth:right", "NICK eve"],
            "Login authentication failed",
        ),
        (&["PASS right", "NICK ada"], "Improperly formatted auth"),
        (&["PASS oauth:", "NICK ada"], "Improperly formatted auth"),
        (&["NICK ada"], "Improperly formatted auth"),
        (&["NICK a!b"], "Improperly formatted auth"),
        (&["NICK justinfanx"], "Improperly formatted auth"),
    ];
    for (lines, notice) in cases {
        let mut irc = Irc::connect(&simulator).await;
        for line in lines {
            irc.say(line).await;
        }
        assert_eq!(
            last_words(irc).await,
            [format!(":tmi.twitch.tv NOTICE * :{notice}")],
            "{lines:?}"
        );
    }
    let mut irc = Irc::connect(&simulator).await;
    irc.say("CAP REQ :twitch.tv/commands twitch.tv/tags").await;
    irc.say("PASS oauth:right").await;
    irc.say("NICK Ada").await;
    let lines = irc.up_to(" GLOBALUSERSTATE").await;
    assert_eq!(lines.len(), 9);
    assert_eq!(lines[1], ":tmi.twitch.tv 001 ada :Welcome, GLHF!");
    irc.say("JOIN #channel_0001").await;
    let lines = irc.lines(5).await;
    let echo = echo("ada", "channel_0001", 11_000_013);
    assert_eq!(lines[..3], echo[..3]);
    assert!(
        lines[3].ends_with(";user-type= :tmi.twitch.tv USERSTATE #channel_0001"),
        "{}",
        lines[3]
    );
    assert_eq!(lines[4], echo[3]);
    soon(
        "ends",
        simulator.until(|now| now.disconnected(Reason::LoginRefused) == 7),
    )
    .await;
    let now = simulator.snapshot();
    assert_eq!((now.logins, now.login_refusals), (1, 7));
}

#[tokio::test]
async fn without_accounts_any_token_of_the_right_form_does() {
    let simulator = start(config()).await;
    let mut irc = Irc::connect(&simulator).await;
    irc.say("PASS oauth:anything").await;
    irc.say("NICK ada").await;
    assert_eq!(irc.up_to(" 376 ").await.len(), 7);
    assert!(
        irc.is_silent().await,
        "GLOBALUSERSTATE is for whoever has asked for commands"
    );
}

#[tokio::test]
async fn logins_are_refused_on_command() {
    let simulator = start(config()).await;
    simulator.refuse_logins(true);
    let mut irc = Irc::connect(&simulator).await;
    irc.say("NICK justinfan7").await;
    assert_eq!(
        last_words(irc).await,
        [":tmi.twitch.tv NOTICE * :Login authentication failed"]
    );
    simulator.refuse_logins(false);
    Irc::anonymous(&simulator).await;
}

#[tokio::test]
async fn without_a_capability_its_lines_and_the_tags_are_not_sent() {
    let simulator = start(config()).await;
    let mut irc = Irc::connect(&simulator).await;
    irc.say("NICK justinfan7").await;
    irc.say("JOIN #channel_0000").await;
    assert_eq!(
        irc.lines(10).await[7..],
        echo("justinfan7", "channel_0000", 0)[..3]
    );
    for line in [
        "@room-id=1 :tmi.twitch.tv CLEARCHAT #channel_0000",
        ":ada!ada@ada.tmi.twitch.tv JOIN #channel_0000",
        "@a=b :ada!ada@ada.tmi.twitch.tv PRIVMSG #channel_0000 :hi",
    ] {
        simulator.send("channel_0000", line.as_bytes()).unwrap();
    }
    assert_eq!(
        irc.line().await,
        ":ada!ada@ada.tmi.twitch.tv PRIVMSG #channel_0000 :hi"
    );
    irc.say("CAP REQ :twitch.tv/membership").await;
    irc.up_to("ACK").await;
    simulator
        .send(
            "channel_0000",
            b":ada!ada@ada.tmi.twitch.tv PART #channel_0000",
        )
        .unwrap();
    assert_eq!(
        irc.line().await,
        ":ada!ada@ada.tmi.twitch.tv PART #channel_0000"
    );
    assert!(irc.is_silent().await);
}

#[tokio::test]
async fn rooms_are_suspended_and_opened_again() {
    let simulator = start(config()).await;
    let mut irc = Irc::within(
        &simulator,
        &["channel_0000", "channel_0001", "channel_0002"],
    )
    .await;
    let suspended = |room| {
        format!(
            "@msg-id=msg_channel_suspended :tmi.twitch.tv NOTICE #{room} :This channel does not exist or has been suspended."
        )
    };
    let banned = |room| {
        format!(
            "@msg-id=msg_banned :tmi.twitch.tv NOTICE #{room} :You are permanently banned from talking in {room}."
        )
    };
    simulator
        .set_room("channel_0000", RoomState::Suspended)
        .unwrap();
    simulator
        .set_room("channel_0001", RoomState::Banned)
        .unwrap();
    let parted = ":justinfan7!justinfan7@justinfan7.tmi.twitch.tv PART #channel_0001";
    let expected = [
        suspended("channel_0000"),
        banned("channel_0001"),
        parted.to_owned(),
    ];
    assert_eq!(irc.lines(3).await, expected);
    assert_eq!(simulator.say("channel_0000", "ada", "hi").unwrap(), 0);
    assert_eq!(simulator.snapshot().joined(), 1);
    irc.say("JOIN #channel_0000,#channel_0001").await;
    assert_eq!(irc.lines(2).await, expected[..2]);
    simulator.set_room("channel_0000", RoomState::Open).unwrap();
    irc.join(&["channel_0000"]).await;
    assert_eq!(simulator.say("channel_0000", "ada", "hi").unwrap(), 1);
    let error = simulator
        .set_room("#channel_0000", RoomState::Open)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no room \"#channel_0000\", expected the name of one without #"
    );
}

#[tokio::test]
async fn rooms_can_have_names_of_their_own() {
    let rooms = Rooms::Named(vec!["xqc".to_owned(), "forsen".to_owned()]);
    let simulator = start(Config { rooms, ..config() }).await;
    let mut irc = Irc::within(&simulator, &["xqc", "forsen"]).await;
    simulator.generate(200).await;
    let mut found = [false; 2];
    while found != [true; 2] {
        let line = String::from_utf8_lossy(&irc.try_line().await.unwrap()).into_owned();
        assert!(!line.contains("channel_0"), "{line}");
        found[0] |= line.contains(" PRIVMSG #xqc :");
        found[1] |= line.contains(" PRIVMSG #forsen :");
    }
}

#[tokio::test]
async fn joins_beyond_the_rate_end_the_socket_and_are_counted() {
    let join_limit = Limit {
        most: 3,
        within: DEADLINE,
    };
    let simulator = start(Config {
        join_limit,
        ..config()
    })
    .await;
    let first = Irc::within(&simulator, &["channel_0000", "channel_0001"]).await;
    let mut second = Irc::anonymous(&simulator).await;
    second
        .say("JOIN #channel_0002,#channel_0003,#channel_0004")
        .await;
    let lines = last_words(second).await;
    assert_eq!(lines, echo("justinfan7", "channel_0002", 11_000_026));
    ended_one(&simulator, Reason::JoinRate).await;
    let now = simulator.snapshot();
    assert_eq!((now.join_violations, now.joins, now.joined()), (1, 3, 2));
    drop(first);
}

async fn ended_one(simulator: &Simulator, reason: Reason) {
    soon(
        "the end of a socket",
        simulator.until(|now| now.disconnected(reason) == 1),
    )
    .await;
}

#[tokio::test]
async fn an_account_has_a_limit_of_its_own() {
    let join_limit = Limit {
        most: 1,
        within: DEADLINE,
    };
    let simulator = start(Config {
        join_limit,
        ..config()
    })
    .await;
    for nick in ["ada", "eve", "justinfan1"] {
        let mut irc = Irc::connect(&simulator).await;
        irc.say("PASS oauth:x").await;
        irc.say(&format!("NICK {nick}")).await;
        irc.say("JOIN #channel_0000").await;
        irc.up_to(" 366 ").await;
    }
    assert_eq!(simulator.snapshot().join_violations, 0);
}

#[tokio::test]
async fn logins_beyond_the_rate_end_the_socket_and_are_counted() {
    let login_limit = Limit {
        most: 1,
        within: DEADLINE,
    };
    let simulator = start(Config {
        login_limit,
        ..config()
    })
    .await;
    let first = Irc::anonymous(&simulator).await;
    let mut second = Irc::connect(&simulator).await;
    second.say("NICK justinfan8").await;
    assert_eq!(last_words(second).await, Vec::<String>::new());
    ended_one(&simulator, Reason::LoginRate).await;
    assert_eq!(simulator.snapshot().login_violations, 1);
    drop(first);
}

#[tokio::test]
async fn a_socket_joins_no_more_rooms_than_it_may() {
    let simulator = start(Config {
        rooms_per_socket: 2,
        ..config()
    })
    .await;
    let mut irc = Irc::within(&simulator, &["channel_0000", "channel_0001"]).await;
    irc.say("JOIN #channel_0002").await;
    assert!(irc.is_silent().await);
    let now = simulator.snapshot();
    assert_eq!((now.room_limit_violations, now.joined()), (1, 2));
    irc.say("PART #channel_0000").await;
    irc.join(&["channel_0002"]).await;
}

#[tokio::test]
async fn whoever_does_not_answer_a_ping_is_closed() {
    let short = Duration::from_millis(20);
    let simulator = start(Config {
        ping_every: Some(short),
        pong_within: short,
        ..config()
    })
    .await;
    let irc = Irc::anonymous(&simulator).await;
    let words = last_words(irc).await;
    assert!(
        !words.is_empty() && words.iter().all(|word| word == "PING :tmi.twitch.tv"),
        "{words:?}"
    );
    ended(&simulator, Reason::PongMissing).await;
}

#[tokio::test]
async fn whoever_answers_pings_stays() {
    let simulator = start(Config {
        ping_every: Some(Duration::from_millis(5)),
        ..config()
    })
    .await;
    let mut irc = Irc::anonymous(&simulator).await;
    for _ in 0..20 {
        assert_eq!(irc.line().await, "PING :tmi.twitch.tv");
        irc.say("PONG :tmi.twitch.tv").await;
    }
    assert_eq!(simulator.snapshot().sockets.len(), 1);
}

#[tokio::test]
async fn whoever_does_not_log_in_is_closed() {
    let simulator = start(Config {
        login_within: Duration::from_millis(10),
        ..config()
    })
    .await;
    let irc = Irc::connect(&simulator).await;
    assert_eq!(last_words(irc).await, Vec::<String>::new());
    ended(&simulator, Reason::LoginMissing).await;
}

#[tokio::test]
async fn a_command_that_is_too_long_ends_the_socket() {
    let simulator = start(Config {
        command_bytes: 100,
        ..config()
    })
    .await;
    let mut irc = Irc::connect(&simulator).await;
    irc.say(&"x".repeat(101)).await;
    assert_eq!(last_words(irc).await, Vec::<String>::new());
    ended(&simulator, Reason::CommandTooLong).await;
}

#[tokio::test]
async fn more_sockets_than_there_may_be_are_closed_at_once() {
    let simulator = start(Config {
        sockets: 1,
        ..config()
    })
    .await;
    let first = Irc::anonymous(&simulator).await;
    let second = Irc::connect(&simulator).await;
    assert_eq!(last_words(second).await, Vec::<String>::new());
    let now = simulator.snapshot();
    assert_eq!((now.accepted, now.refused, now.sockets.len()), (1, 1, 1));
    drop(first);
    ended(&simulator, Reason::ClientClosed).await;
}

#[tokio::test]
async fn a_list_of_rooms_that_is_none_is_refused() {
    let rooms = Rooms::Numbered(0);
    let fault = Simulator::start(Config { rooms, ..config() })
        .await
        .err()
        .unwrap();
    assert_eq!(fault.kind(), std::io::ErrorKind::InvalidInput);
}
