//! Commands arrive as lines that a server takes, whole and in order, and in time or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::future::poll_fn;
use std::task::Poll;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::Instant;
use twzrd_domain::chat::{ChatReader, ChatWriter, Chunk, News};
use twzrd_domain::identity::{Channel, Login};
use twzrd_twitch::net::{INVALID_NAME, Reader, WRITE_TIMEOUT, Writer, halves};

use support::{clock, name, soon};

type Halves = (
    Reader<ReadHalf<DuplexStream>>,
    Writer<WriteHalf<DuplexStream>>,
);

/// A socket, and its other side, that takes so many bytes unread.
fn socket(bytes: usize) -> (Halves, DuplexStream) {
    let (near, far) = duplex(bytes);
    let (read, write) = split(near);
    let nick = Login::parse("reader").unwrap();
    (halves(read, write, nick, clock()), far)
}

/// What the other side gets.
async fn sent(work: impl AsyncFnOnce(&mut dyn ChatWriter)) -> String {
    let ((_reader, mut writer), mut far) = socket(1 << 20);
    work(&mut writer).await;
    drop((_reader, writer));
    let mut all = String::new();
    soon(far.read_to_string(&mut all)).await.unwrap();
    all
}

fn names(count: usize) -> Vec<Channel> {
    (0..count)
        .map(|n| name(&format!("channel_{n:04}")))
        .collect()
}

#[tokio::test]
async fn each_command_is_one_line() {
    let found = sent(async |writer| {
        writer.join(&[name("a"), name("b_1")]).await.unwrap();
        writer.part(&[name("b_1")]).await.unwrap();
        writer.ping().await.unwrap();
        writer.pong("tmi.twitch.tv").await.unwrap();
        writer.pong("two words").await.unwrap();
        writer.pong("").await.unwrap();
        writer.join(&[]).await.unwrap();
        writer.close().await;
    });
    let expected = "JOIN #a,#b_1\r\nPART #b_1\r\nPING twzrd\r\nPONG tmi.twitch.tv\r\n\
        PONG :two words\r\nPONG :\r\nQUIT\r\n";
    assert_eq!(found.await, expected);
}

#[tokio::test]
async fn joins_fill_lines_of_512_bytes_in_the_order_given() {
    let channels = names(100);
    let found = sent(async |writer| writer.join(&channels).await.unwrap()).await;
    let mut asked = Vec::new();
    for line in found.split_inclusive("\r\n") {
        assert!(line.len() <= 512, "{}", line.len());
        let names = line.strip_prefix("JOIN ").unwrap().trim_end();
        asked.extend(
            names
                .split(',')
                .map(|name| Channel::parse_irc_channel(name).unwrap()),
        );
    }
    assert_eq!(asked, channels);
    // A name takes 14 bytes with its sign and its comma: 36 in a line.
    assert_eq!(found.lines().count(), 3);
}

#[tokio::test]
async fn a_line_may_be_filled_to_its_last_byte() {
    // 5 + 7 * 64 + 57 + 2 = 512.
    let mut channels = vec![name(&"a".repeat(62)); 7];
    channels.push(name(&"b".repeat(56)));
    let found = sent(async |writer| writer.join(&channels).await.unwrap()).await;
    assert_eq!((found.len(), found.lines().count()), (512, 1));
    channels[7] = name(&"b".repeat(57));
    let found = sent(async |writer| writer.join(&channels).await.unwrap()).await;
    assert_eq!(found.lines().count(), 2);
}

#[tokio::test]
async fn a_name_that_is_none_is_told_as_refused_and_never_sent() {
    let ((mut reader, mut writer), mut far) = socket(1 << 20);
    let bad = ["b,#c", "ünï", "d;e", "#f", "x\u{7f}y"].map(Channel::parse);
    let bad: Vec<Channel> = bad.into_iter().flatten().collect();
    assert_eq!(bad.len(), 4);
    let asked: Vec<Channel> = [&[name("a")], bad.as_slice(), &[name("z")]].concat();
    // It waits for lines, of which there are none.
    let mut chunk = Chunk::default();
    let join = async {
        tokio::task::yield_now().await;
        writer.join(&asked).await.unwrap();
    };
    let (read, ()) = tokio::join!(soon(reader.read(&mut chunk)), join);
    read.unwrap();
    let mut told: Vec<(String, Channel)> = Vec::new();
    for news in &chunk.news {
        let News::Refused { channel, code, .. } = news else {
            panic!("expected a refusal, found {news:?}")
        };
        told.push((code.clone(), channel.clone()));
    }
    let mut expected: Vec<_> = bad
        .iter()
        .map(|bad| (INVALID_NAME.to_owned(), bad.clone()))
        .collect();
    expected.sort();
    assert_eq!(told, expected);
    assert!(chunk.lines.is_empty());
    writer.part(&asked).await.unwrap();
    drop((reader, writer));
    let mut all = String::new();
    soon(far.read_to_string(&mut all)).await.unwrap();
    assert_eq!(all, "JOIN #a,#z\r\nPART #a,#z\r\n");
}

#[tokio::test]
async fn a_refused_name_does_not_wait_until_the_lines_are_through() {
    let ((mut reader, mut writer), mut far) = socket(1 << 20);
    let mut chunk = Chunk::default();
    for round in 0..30 {
        far.write_all(b"PING\r\n").await.unwrap();
        let bad = name(&format!("bad,{round}"));
        writer.join(std::slice::from_ref(&bad)).await.unwrap();
        soon(reader.read(&mut chunk)).await.unwrap();
        let is_told =
            |news: &News| matches!(news, News::Refused { channel, .. } if *channel == bad);
        assert!(chunk.news.iter().any(is_told), "round {round}");
    }
}

#[tokio::test]
async fn a_token_cannot_leave_its_line() {
    let long = "é".repeat(1_000);
    let found = sent(async |writer| {
        writer.pong("a\r\nQUIT").await.unwrap();
        writer.pong("b\0c").await.unwrap();
        writer.pong(&long).await.unwrap();
        writer.pong(&format!("x y{long}")).await.unwrap();
    });
    let found = found.await;
    let lines: Vec<&str> = found.split_inclusive("\r\n").collect();
    assert_eq!(lines[..2], ["PONG a\r\n", "PONG b\r\n"]);
    assert!(
        lines[2..]
            .iter()
            .all(|line| line.len() <= 512 && line.len() > 500)
    );
    assert_eq!(lines.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_not_taken_in_time_loses_the_socket() {
    let ((_reader, mut writer), _far) = socket(8);
    let begun = Instant::now();
    let lost = writer.join(&names(10)).await.unwrap_err();
    assert_eq!(lost.reason, "a command was not taken within 10 s");
    assert_eq!(begun.elapsed(), WRITE_TIMEOUT);
    assert_eq!(writer.ping().await, Err(lost));
    writer.close().await;
    assert_eq!(begun.elapsed(), WRITE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_that_is_not_taken_keeps_nobody_waiting() {
    let ((_reader, mut writer), _far) = socket(2);
    let begun = Instant::now();
    writer.close().await;
    assert!(begun.elapsed() <= WRITE_TIMEOUT / 10);
}

#[tokio::test]
async fn a_closed_socket_is_lost() {
    let ((_reader, mut writer), far) = socket(64);
    drop(far);
    assert_eq!(writer.ping().await.unwrap_err().reason, "broken pipe");
}

proptest! {
    #[test]
    fn a_command_that_is_dropped_half_sent_stands_whole_before_the_next(
        room in 1usize..40,
        counts in vec(1usize..8, 1..6),
    ) {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().build().unwrap();
        let found = runtime.block_on(async {
            let ((reader, mut writer), mut far) = socket(room);
            for count in counts {
                let channels = names(count);
                let mut joining = writer.join(&channels);
                let once = poll_fn(|context| Poll::Ready(joining.as_mut().poll(context).is_ready()));
                once.await;
                drop(joining);
            }
            let reading = async {
                let mut all = String::new();
                soon(far.read_to_string(&mut all)).await.unwrap();
                all
            };
            let finishing = async {
                writer.ping().await.unwrap();
                drop((reader, writer));
            };
            tokio::join!(reading, finishing).0
        });
        let lines: Vec<&str> = found.split_inclusive("\r\n").collect();
        prop_assert_eq!(lines.last(), Some(&"PING twzrd\r\n"));
        for line in &lines[..lines.len() - 1] {
            let names = line.strip_prefix("JOIN #channel_").unwrap();
            prop_assert!(line.ends_with("\r\n") && !names.contains("JOIN"), "{}", found);
        }
    }
}
