//! Every fault does what it says, and nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::io::ErrorKind;
use std::time::Duration;

use common::{DEADLINE, Irc, config, soon, start};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use twzrd_simulator::traffic::Shares;
use twzrd_simulator::{Config, Cut, Garbage, Pace, Reason, Refusal, Simulator, Source, Target};

const ROOM: &str = "channel_0000";

fn delivered(simulator: &Simulator) -> u64 {
    simulator.snapshot().bytes_delivered
}

#[tokio::test]
async fn a_stalled_socket_gets_nothing_until_the_stall_ends() {
    let simulator = start(config()).await;
    let mut stalled = Irc::within(&simulator, &[ROOM]).await;
    let mut other = Irc::within(&simulator, &[ROOM]).await;
    assert_eq!(simulator.stall(Target::Socket(1), DEADLINE), 1);
    assert_eq!(simulator.say(ROOM, "ada", "hi").unwrap(), 2);
    let line = other.line().await;
    // It is listened to: what it says is answered once it may be.
    stalled.say("JOIN #channel_0001").await;
    soon("a join", simulator.until(|now| now.joined() == 3)).await;
    let waiting = |now: &twzrd_simulator::Snapshot| now.sockets[0].waiting_bytes;
    assert!(waiting(&simulator.snapshot()) > line.len() as u64);
    let before = delivered(&simulator);
    assert!(other.is_silent().await, "the other one is not stalled");
    let pong = ":tmi.twitch.tv PONG tmi.twitch.tv :anything\r\n";
    assert_eq!(delivered(&simulator) - before, pong.len() as u64);
    simulator.stall(Target::Socket(1), Duration::ZERO);
    assert_eq!(stalled.line().await, line);
    assert_eq!(stalled.up_to("ROOMSTATE").await.len(), 4);
}

#[tokio::test]
async fn a_stall_of_all_befalls_those_that_come() {
    let simulator = start(config()).await;
    simulator.stall(Target::All, DEADLINE);
    let mut irc = Irc::connect(&simulator).await;
    irc.say("NICK justinfan7").await;
    soon("a login", simulator.until(|now| now.logins == 1)).await;
    assert_eq!(delivered(&simulator), 0);
    simulator.stall(Target::All, Duration::ZERO);
    assert_eq!(irc.up_to(" 376 ").await.len(), 7);
    Irc::anonymous(&simulator).await;
}

#[tokio::test]
async fn a_stall_ends_by_itself() {
    let simulator = start(config()).await;
    let mut irc = Irc::within(&simulator, &[ROOM]).await;
    simulator.stall(Target::All, Duration::from_millis(20));
    simulator.say(ROOM, "ada", "hi").unwrap();
    irc.up_to(":hi").await;
}

#[tokio::test]
async fn a_slow_reader_of_commands_takes_them_byte_by_byte() {
    let simulator = start(config()).await;
    let mut irc = Irc::within(&simulator, &[ROOM]).await;
    simulator.pace_reads(Target::All, Some(Pace::slow(1, DEADLINE)));
    let before = simulator.snapshot().bytes_received;
    irc.say("PING :first").await;
    let is_read = |now: &twzrd_simulator::Snapshot| now.bytes_received > before;
    soon("a byte", simulator.until(is_read)).await;
    assert_eq!(simulator.snapshot().bytes_received, before + 1);
    simulator.say(ROOM, "ada", "hi").unwrap();
    irc.up_to(":hi").await;
    simulator.pace_reads(Target::All, None);
    irc.up_to(":first").await;
}

#[tokio::test]
async fn a_slow_writer_sends_so_many_bytes_at_once() {
    let simulator = start(config()).await;
    let mut irc = Irc::within(&simulator, &[ROOM]).await;
    let before = delivered(&simulator);
    simulator.pace_writes(Target::Socket(1), Some(Pace::slow(10, DEADLINE)));
    simulator.say(ROOM, "ada", "hi").unwrap();
    let mut start = [0; 64];
    let read = soon("bytes", irc.stream.read(&mut start)).await.unwrap();
    assert_eq!(&start[..read], b"@badge-inf");
    assert_eq!(delivered(&simulator) - before, 10);
    simulator.pace_writes(Target::Socket(1), None);
    assert!(irc.line().await.starts_with("o=;badges=;"));
}

#[tokio::test]
async fn a_pace_of_all_befalls_those_that_come() {
    let simulator = start(config()).await;
    simulator.pace_writes(Target::All, Some(Pace::slow(7, DEADLINE)));
    let mut irc = Irc::connect(&simulator).await;
    irc.say("NICK justinfan7").await;
    soon("bytes", simulator.until(|now| now.bytes_delivered > 0)).await;
    assert_eq!(delivered(&simulator), 7);
    simulator.pace_writes(Target::All, None);
    irc.up_to(" 376 ").await;
    simulator.pace_reads(Target::All, Some(Pace::slow(3, DEADLINE)));
    let before = simulator.snapshot().bytes_received;
    let mut other = Irc::connect(&simulator).await;
    other.say("NICK justinfan7").await;
    soon("bytes", simulator.until(|now| now.bytes_received > before)).await;
    assert_eq!(simulator.snapshot().bytes_received, before + 3);
}

#[tokio::test]
async fn lines_in_pieces_are_the_same_lines() {
    let simulator = start(Config {
        shares: Shares::messages_only(),
        ..config()
    })
    .await;
    let mut irc = Irc::within(&simulator, &[ROOM]).await;
    simulator.pace_writes(Target::All, Some(Pace::pieces(300)));
    simulator.generate(200).await;
    let lines = simulator.log().socket(1);
    let expected: Vec<_> = lines.iter().skip(12).map(|one| one.line.to_vec()).collect();
    assert!(expected.len() > 50);
    let (mut pieces, mut halves, mut read) = (0, 0, Vec::new());
    let whole = expected.iter().map(|line| line.len() + 2).sum::<usize>();
    while read.len() < whole {
        soon("a piece", irc.stream.read_buf(&mut read))
            .await
            .unwrap();
        pieces += 1;
        halves += usize::from(!read.ends_with(b"\n"));
    }
    assert!(
        halves > 20,
        "{halves} of {pieces} pieces ended within a line"
    );
    let joined = expected.join(&b"\r\n"[..]);
    assert_eq!(read, [&joined[..], b"\r\n"].concat());
}

#[tokio::test]
async fn garbage_comes_between_lines_and_is_in_the_log() {
    let simulator = start(config()).await;
    let mut irc = Irc::within(&simulator, &["channel_0003"]).await;
    for garbage in Garbage::ALL {
        assert_eq!(simulator.garbage(Target::All, garbage), 1);
        simulator.say("channel_0003", "ada", "behind").unwrap();
        let mut lines = Vec::new();
        loop {
            let line = irc.try_line().await.unwrap();
            if line.ends_with(b"PRIVMSG #channel_0003 :behind") {
                break;
            }
            lines.push(line);
        }
        let line = &lines[0];
        let text = String::from_utf8_lossy(line);
        let is_message = text.contains("id=") && text.contains(" PRIVMSG #channel_0003 :");
        let is_utf8 = std::str::from_utf8(line).is_ok();
        let expected = match garbage {
            Garbage::InvalidUtf8 => is_message && !is_utf8,
            Garbage::RandomBytes => !line.is_empty() && !is_message,
            Garbage::LongLine => is_message && line.len() > 64 * 1024,
            Garbage::UnknownCommand => text.contains(" SOMETHINGNEW "),
            Garbage::EmptyLines => lines == [b"", b"", b""],
            Garbage::ManyTags => is_message && text.matches(';').count() > 200 && is_utf8,
        };
        assert!(expected, "{garbage:?}: {text}");
        let logged = simulator.log().socket(1);
        let logged = logged
            .iter()
            .filter(|one| one.source == Source::Garbage(garbage));
        assert_eq!(
            logged.map(|one| one.line.to_vec()).collect::<Vec<_>>(),
            lines
        );
    }
}

#[tokio::test]
async fn a_duplicate_is_the_same_line_to_whoever_is_in_its_room() {
    let simulator = start(config()).await;
    let mut first = Irc::within(&simulator, &[ROOM, "channel_0001"]).await;
    let mut second = Irc::within(&simulator, &["channel_0001"]).await;
    simulator.say(ROOM, "ada", "one").unwrap();
    simulator.say("channel_0001", "eve", "two").unwrap();
    simulator
        .send(ROOM, b":x!x@x PRIVMSG #channel_0000 :no id")
        .unwrap();
    let said = first.lines(3).await;
    assert_eq!(simulator.duplicate(1), 1);
    assert_eq!(simulator.duplicate(9), 2);
    assert_eq!(first.lines(3).await, [&*said[1], &said[0], &said[1]]);
    assert_eq!(second.lines(3).await, [&*said[1], &said[1], &said[1]]);
    assert!(first.is_silent().await && second.is_silent().await);
    let log = simulator.log().socket(1);
    let again = log.iter().filter(|one| one.source == Source::Duplicate);
    assert_eq!(again.count(), 3);
}

#[tokio::test]
async fn sockets_are_refused_after_they_were_accepted() {
    let simulator = start(config()).await;
    let mut open = Irc::within(&simulator, &[ROOM]).await;
    soon("refusal", simulator.refuse(Some(Refusal::CloseAtOnce)))
        .await
        .unwrap();
    let refused = Irc::connect(&simulator).await;
    assert_eq!(
        refused.rest().await,
        (Vec::new(), Vec::new(), ErrorKind::UnexpectedEof)
    );
    assert!(open.is_silent().await, "who is in stays in");
    soon("an end of it", simulator.refuse(None)).await.unwrap();
    Irc::anonymous(&simulator).await;
    let now = simulator.snapshot();
    assert_eq!((now.accepted, now.refused), (2, 1));
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_the_same_port_later() {
    let simulator = start(config()).await;
    let mut open = Irc::within(&simulator, &[ROOM]).await;
    for _ in 0..3 {
        soon("refusal", simulator.refuse(Some(Refusal::NotListening)))
            .await
            .unwrap();
        let error = TcpStream::connect(simulator.address()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(open.is_silent().await, "who is in stays in");
        soon("an end of it", simulator.refuse(None)).await.unwrap();
        Irc::anonymous(&simulator).await;
    }
    assert_eq!(simulator.snapshot().accepted, 4);
}

#[tokio::test]
async fn whoever_is_told_to_reconnect_is_closed_later() {
    let simulator = start(config()).await;
    let mut irc = Irc::within(&simulator, &[ROOM]).await;
    let mut other = Irc::within(&simulator, &[ROOM]).await;
    simulator.reconnect(Target::Socket(2), DEADLINE);
    assert_eq!(other.line().await, ":tmi.twitch.tv RECONNECT");
    assert_eq!(
        simulator.say(ROOM, "ada", "hi").unwrap(),
        2,
        "all goes on until then"
    );
    other.up_to(":hi").await;
    irc.up_to(":hi").await;
    assert!(other.is_silent().await);

    simulator.reconnect(Target::Socket(1), Duration::from_millis(10));
    let (lines, fragment, end) = irc.rest().await;
    assert_eq!(lines, [b":tmi.twitch.tv RECONNECT".to_vec()]);
    assert_eq!((fragment, end), (Vec::new(), ErrorKind::UnexpectedEof));
    soon(
        "the end",
        simulator.until(|now| now.disconnected(Reason::Reconnect) == 1),
    )
    .await;
    assert!(other.is_silent().await);
}

#[tokio::test]
async fn an_outage_ends_all_sockets_and_keeps_clients_out() {
    for (refusal, cut, reason) in [
        (
            Refusal::NotListening,
            Cut::Reset,
            ErrorKind::ConnectionReset,
        ),
        (Refusal::CloseAtOnce, Cut::Orderly, ErrorKind::UnexpectedEof),
    ] {
        let simulator = start(config()).await;
        let irc = Irc::within(&simulator, &[ROOM]).await;
        soon("an outage", simulator.begin_outage(refusal, cut))
            .await
            .unwrap();
        assert_eq!(irc.rest().await.2, reason);
        match TcpStream::connect(simulator.address()).await {
            Ok(mut stream) => {
                assert_eq!(refusal, Refusal::CloseAtOnce);
                assert_eq!(soon("the end", stream.read(&mut [0])).await.unwrap(), 0);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
                assert_eq!(refusal, Refusal::NotListening);
            }
        }
        soon("an end of it", simulator.end_outage()).await.unwrap();
        let mut irc = Irc::within(&simulator, &[ROOM]).await;
        assert_eq!(simulator.say(ROOM, "ada", "hi").unwrap(), 1);
        irc.up_to(":hi").await;
    }
}

#[tokio::test]
async fn a_cut_ends_a_stall_and_what_waits_is_delivered() {
    let simulator = start(config()).await;
    let irc = Irc::within(&simulator, &[ROOM]).await;
    simulator.stall(Target::All, DEADLINE);
    simulator.say(ROOM, "ada", "hi").unwrap();
    simulator.cut(Target::All, Cut::Orderly);
    let (lines, fragment, end) = irc.rest().await;
    assert_eq!(
        (lines.len(), fragment, end),
        (1, Vec::new(), ErrorKind::UnexpectedEof)
    );
}

#[tokio::test]
async fn a_cut_that_a_client_does_not_let_come_to_its_end_is_a_reset() {
    let simulator = start(Config {
        send_buffer_bytes: Some(4_096),
        outbox_bytes: 100_000_000,
        close_within: Duration::from_millis(50),
        ..config()
    })
    .await;
    let irc = Irc::within(&simulator, &[ROOM]).await;
    while simulator.snapshot().sockets[0].waiting_bytes < 1_000_000 {
        simulator.generate(500).await;
    }
    simulator.cut(Target::All, Cut::Orderly);
    soon(
        "the end",
        simulator.until(|now| now.disconnected(Reason::Cut) == 1),
    )
    .await;
    let truth = simulator.log().truth();
    assert_eq!(truth.certain.len(), 0);
    assert!(!truth.possible.is_empty() && !truth.absent.is_empty());
    assert_eq!(irc.rest().await.2, ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reset_comes_through_to_a_socket_that_cannot_be_written() {
    let simulator = start(Config {
        send_buffer_bytes: Some(4_096),
        outbox_bytes: 100_000_000,
        ..config()
    })
    .await;
    let irc = Irc::within(&simulator, &[ROOM]).await;
    while simulator.snapshot().sockets[0].waiting_bytes < 1_000_000 {
        simulator.generate(500).await;
    }
    simulator.cut(Target::All, Cut::Reset);
    soon("the end", simulator.until(|now| now.sockets.is_empty())).await;
    assert_eq!(irc.rest().await.2, ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_that_come_and_go_under_load_leave_nothing_behind() {
    let simulator = start(Config {
        lines_per_second: 5_000,
        keep_log: false,
        ..config()
    })
    .await;
    let mut tasks = JoinSet::new();
    for round in 0..30_u64 {
        Irc::within(&simulator, &[ROOM, "channel_0001"])
            .await
            .listen(&mut tasks);
        let cut = [Cut::Orderly, Cut::MidLine, Cut::Reset][usize::try_from(round % 3).unwrap()];
        assert_eq!(simulator.cut(Target::Socket(round + 1), cut), 1);
    }
    while let Some(ended) = soon("an end", tasks.join_next()).await {
        ended.unwrap();
    }
    soon(
        "the end of all",
        simulator.until(|now| now.sockets.is_empty()),
    )
    .await;
    let now = simulator.snapshot();
    assert_eq!((now.accepted, now.disconnected(Reason::Cut)), (30, 30));
    assert_eq!(simulator.say(ROOM, "ada", "hi").unwrap(), 0);
}
