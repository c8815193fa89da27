//! Every line of a stream is handed out exactly once, wherever the stream is cut, whatever is in it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt, duplex};
use twzrd_domain::chat::{CHUNK_BYTES, ChatReader, Chunk, Lost};
use twzrd_domain::event::Outcome;
use twzrd_domain::identity::Channel;
use twzrd_simulator::traffic::{Profile, Traffic};
use twzrd_twitch::line::{Arrival, Line, MAX_LINE_BYTES, read};
use twzrd_twitch::net::BROKEN;

use support::{Heard, NOW, Segments, hear_out, lines_of, reader};

const RECORDED: &[u8] = include_bytes!("data/real.irc");

/// What a reader makes of these segments.
fn heard(segments: impl IntoIterator<Item = Vec<u8>>) -> (Heard, Lost) {
    runtime().block_on(hear_out(&mut reader(Segments::new(segments))))
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

fn closed() -> Lost {
    let reason = "closed by the server".into();
    Lost { reason }
}

#[test]
fn a_stream_cut_at_any_byte_gives_the_same_lines() {
    let stream =
        b"PING :a\r\n\r\n@k=v :x!x@x PRIVMSG #b :\xff\n\r\r\nJOIN #c\r\r\n?\nhalf".as_slice();
    let (expected, lost) = heard([stream.to_vec()]);
    assert_eq!(expected.lines, lines_of(stream));
    assert_eq!(expected.lines.len(), 5);
    assert_eq!(expected.channels, ["", "b", "c", "", ""]);
    assert_eq!(lost, closed());
    for cut in 0..=stream.len() {
        let (one, two) = stream.split_at(cut);
        assert_eq!(
            heard([one.to_vec(), two.to_vec()]).0,
            expected,
            "cut at {cut}"
        );
    }
    let bytes = stream.iter().map(|&byte| vec![byte]);
    assert_eq!(heard(bytes).0, expected);
}

#[test]
fn a_recorded_stream_in_any_segments_gives_its_lines() {
    for size in [1, 7, 100, 1_448, 16_384, usize::MAX] {
        let segments = RECORDED
            .chunks(size.min(RECORDED.len()))
            .map(<[u8]>::to_vec);
        let (found, _) = heard(segments);
        assert_eq!(found.lines, lines_of(RECORDED), "segments of {size}");
        assert_eq!(found.lines.len(), 216);
    }
}

#[tokio::test]
async fn a_cut_socket_hands_its_half_line_out_as_broken_and_then_ends() {
    let mut reader = reader(Segments::new([b"PING :a\r\n@k=v :x PRIVM".to_vec()]));
    let mut chunk = Chunk::default();
    reader.read(&mut chunk).await.unwrap();
    assert_eq!(
        chunk.iter().collect::<Vec<_>>(),
        [(&b"PING :a"[..], &b""[..])]
    );
    assert_eq!(chunk.at, NOW);
    reader.read(&mut chunk).await.unwrap();
    assert_eq!(chunk.iter().collect::<Vec<_>>(), [(BROKEN, &b""[..])]);
    assert!(chunk.lines[0].is_broken && chunk.news.is_empty());
    for _ in 0..3 {
        assert_eq!(reader.read(&mut chunk).await, Err(closed()));
        assert!(chunk.is_empty());
    }
}

#[tokio::test]
async fn an_error_of_the_system_is_the_reason_of_the_end() {
    for (kind, reason) in [
        (io::ErrorKind::ConnectionReset, "connection reset"),
        (io::ErrorKind::UnexpectedEof, "closed by the server"),
    ] {
        let source = Segments::new([b"PING\nhalf".to_vec()]).failing(kind);
        let (heard, lost) = hear_out(&mut reader(source)).await;
        assert_eq!(heard.lines, lines_of(b"PING\nhalf"));
        assert_eq!(lost.reason, reason);
    }
}

#[test]
fn a_broken_line_is_judged_invalid_without_a_channel() {
    let line = read(BROKEN, Arrival::Live(NOW), true);
    let expected = Line::Uncounted {
        outcome: Outcome::Invalid,
        channel: Channel::none(),
        at: Some(NOW),
    };
    assert_eq!(line, expected);
}

#[test]
fn the_longest_line_is_whole_and_a_longer_one_is_broken_once() {
    for (content, is_broken) in [
        (MAX_LINE_BYTES - 1, false),
        (MAX_LINE_BYTES, false),
        (MAX_LINE_BYTES + 1, true),
        (MAX_LINE_BYTES + 2, true),
        (10 * MAX_LINE_BYTES, true),
    ] {
        for end in ["\n", "\r\n"] {
            for size in [1_000, 65_536, 65_537, 65_538, usize::MAX] {
                let mut stream = b"before\r\n".to_vec();
                stream.extend(std::iter::repeat_n(b'x', content));
                stream.extend(end.bytes());
                stream.extend(b"after\r\n");
                let segments = stream.chunks(size.min(stream.len())).map(<[u8]>::to_vec);
                let (found, _) = heard(segments);
                assert_eq!(found.lines, lines_of(&stream), "{content} {end:?} {size}");
                assert_eq!(found.lines.len(), 3);
                assert_eq!(found.lines[1].1, is_broken, "{content} {end:?} {size}");
            }
        }
    }
}

#[test]
fn the_longest_line_is_whole_where_it_is_cut_before_its_last_byte() {
    let longest = vec![b'x'; MAX_LINE_BYTES];
    let begun = [longest.as_slice(), b"\r"].concat();
    let (found, _) = heard([begun, b"\nafter\n".to_vec()]);
    assert_eq!(found.lines, [(longest, false), (b"after".to_vec(), false)]);
}

#[test]
fn a_line_without_an_end_takes_no_more_room_and_is_one_broken_line() {
    let segments = std::iter::repeat_n(vec![b'x'; 65_536], 200);
    let (found, lost) = heard(segments);
    assert_eq!(found.lines, [(BROKEN.to_vec(), true)]);
    assert_eq!(lost, closed());
}

#[test]
fn a_chunk_holds_no_more_than_it_may() {
    let profile = Profile {
        lines: 2_000,
        ..Profile::default()
    };
    let mut stream = Vec::new();
    Traffic::new(profile).write_to(&mut stream, 2_000).unwrap();
    let (mut heard, mut chunk, mut most) = (Heard::default(), Chunk::default(), 0);
    let mut reader = reader(Segments::new([stream.clone()]));
    runtime().block_on(async {
        while reader.read(&mut chunk).await.is_ok() {
            most = most.max(chunk.bytes.len());
            heard.add(&chunk);
        }
    });
    assert!(most <= CHUNK_BYTES && most > CHUNK_BYTES / 2, "{most}");
    assert_eq!(heard.lines, lines_of(&stream));
}

#[tokio::test]
async fn lines_with_what_no_parser_likes_do_not_end_the_connection() {
    let tags: Vec<String> = (0..200).map(|n| format!("k{n}=v")).collect();
    let many_tags = format!("@{} :x!x@x PRIVMSG #a :b", tags.join(";"));
    let mut stream = Vec::new();
    let lines: [&[u8]; 8] = [
        b"@k=\xff :x!x@x PRIVMSG #a :b",
        b"\xf0\x28\x8c\x28",
        b"FROBNICATE #a :b",
        b"@",
        b":",
        b"\0\0\0",
        many_tags.as_bytes(),
        b"PRIVMSG #a :still here",
    ];
    for line in lines {
        stream.extend(line);
        stream.extend(b"\r\n");
    }
    let (heard, lost) = hear_out(&mut reader(Segments::new([stream]))).await;
    assert_eq!(heard.lines, lines.map(|line| (line.to_vec(), false)));
    assert_eq!(heard.channels, ["a", "", "a", "", "", "", "a", "a"]);
    assert_eq!(lost, closed());
}

/// Bytes among which line ends, spaces and signs are frequent.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => proptest::sample::select(b"\n\r :#@;=PING".to_vec()),
        1 => any::<u8>(),
    ];
    vec(byte, 0..300)
}

/// A stream of random lines, some of them as long as a line may be, in segments.
fn segments() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let long = (65_530usize..65_545).prop_map(|length| vec![b'x'; length]);
    vec(prop_oneof![20 => bytes(), 1 => long], 0..12)
}

/// Polls a read once and drops it.
async fn read_once(reader: &mut dyn ChatReader, chunk: &mut Chunk) -> Option<Result<(), Lost>> {
    let mut reading = reader.read(chunk);
    poll_fn(|context| match reading.as_mut().poll(context) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

proptest! {
    #[test]
    fn every_line_is_handed_out_exactly_once(segments in segments()) {
        let stream = segments.concat();
        let (found, lost) = heard(segments);
        prop_assert_eq!(found.lines, lines_of(&stream));
        prop_assert_eq!(lost, closed());
    }

    #[test]
    fn a_read_that_is_dropped_loses_nothing(segments in segments()) {
        let stream = segments.concat();
        let found = runtime().block_on(async {
            let (mut far, near) = duplex(1 << 20);
            let mut reader = reader(near);
            let (mut heard, mut chunk) = (Heard::default(), Chunk::default());
            for segment in segments {
                far.write_all(&segment).await.unwrap();
                // At most the segment: then there is nothing, and the read is dropped waiting.
                while let Some(outcome) = read_once(&mut reader, &mut chunk).await {
                    outcome.unwrap();
                    heard.add(&chunk);
                }
            }
            drop(far);
            let (rest, _) = hear_out(&mut reader).await;
            heard.lines.extend(rest.lines);
            heard.lines
        });
        prop_assert_eq!(found, lines_of(&stream));
    }
}
