//! What was delivered is what clients have, and the log says how much of it is certain.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use common::{Irc, NOW, ROOMS, after_joins, bytes, clock, config, soon, start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use twzrd_simulator::traffic::{Kind, Shares};
use twzrd_simulator::{Config, Cut, Delivery, Fate, Reason, Source, Target};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_goes_to_every_socket_in_its_room_in_order() {
    let simulator = start(config()).await;
    let mut tasks = JoinSet::new();
    Irc::within(&simulator, &ROOMS).await.listen(&mut tasks);
    Irc::within(&simulator, &ROOMS[..1])
        .await
        .listen(&mut tasks);
    Irc::within(&simulator, &ROOMS[..4])
        .await
        .listen(&mut tasks);
    soon("generation", simulator.generate(5_000)).await;
    soon("acknowledgements", simulator.acknowledged()).await;
    let all = after_joins(simulator.log().socket(1), 8);
    let traffic = |delivery: &&Delivery| matches!(delivery.source, Source::Traffic(_));
    assert_eq!(all.iter().filter(traffic).count(), 5_000);
    assert!(all.iter().all(|one| one.fate == Fate::Acknowledged));
    for (number, rooms) in [(2, &ROOMS[..1]), (3, &ROOMS[..4])] {
        let part = after_joins(simulator.log().socket(number), rooms.len());
        let mine = all.iter().filter(traffic).filter(|one| {
            let room = one.room.as_deref().unwrap();
            rooms.contains(&room)
        });
        let mine: Vec<_> = mine.map(|one| (one.sequence, one.line.clone())).collect();
        let part: Vec<_> = part
            .iter()
            .filter(traffic)
            .map(|one| (one.sequence, one.line.clone()))
            .collect();
        assert_eq!(part, mine);
    }
    let now = soon("stop", simulator.stop()).await;
    assert_eq!((now.lines_generated, now.lines_unheard), (5_000, 0));
    let kept = simulator.log().deliveries();
    assert_eq!(now.lines_delivered, kept.len() as u64);
    assert_eq!(
        now.bytes_delivered,
        kept.iter()
            .map(|one| one.line.len() as u64 + 2)
            .sum::<u64>()
    );
    let mut expected: BTreeSet<_> = (1..=3)
        .zip([8, 1, 4])
        .map(|(number, rooms)| bytes(&after_joins(simulator.log().socket(number), rooms)))
        .collect();
    while let Some(read) = tasks.join_next().await {
        let (lines, fragment) = read.unwrap();
        assert!(fragment.is_empty());
        assert!(
            expected.remove(&lines),
            "a client has read what was not delivered to it"
        );
    }
}

async fn said(seed: u64) -> Vec<Vec<u8>> {
    let simulator = start(Config { seed, ..config() }).await;
    let mut tasks = JoinSet::new();
    Irc::within(&simulator, &ROOMS).await.listen(&mut tasks);
    simulator.generate(1_000).await;
    simulator.cut(Target::All, Cut::MidLine);
    let (lines, fragment) = soon("the end", tasks.join_next()).await.unwrap().unwrap();
    assert!(!fragment.is_empty());
    lines.into_iter().chain([fragment]).collect()
}

#[tokio::test]
async fn a_seed_gives_the_same_lines_and_the_same_faults() {
    assert_eq!(said(5).await, said(5).await);
    assert_ne!(said(5).await, said(6).await);
}

#[tokio::test]
async fn lines_are_sent_at_the_time_of_the_clock() {
    let clock = clock();
    let shares = Shares::messages_only();
    let simulator = start(Config {
        clock: clock.clone(),
        shares,
        ..config()
    })
    .await;
    let mut irc = Irc::within(&simulator, &ROOMS).await;
    for now in [NOW, NOW + 3_600_000] {
        clock.0.store(now, Ordering::SeqCst);
        simulator.generate(100).await;
        for line in irc.lines(100).await {
            let (_, rest) = line.split_once(";tmi-sent-ts=").unwrap();
            let sent: u64 = rest.split_once(';').unwrap().0.parse().unwrap();
            assert!((now - 5_000..=now).contains(&sent), "{line}");
        }
    }
}

#[tokio::test]
async fn the_rate_is_set_at_run_time() {
    let simulator = start(Config {
        shares: Shares::messages_only(),
        ..config()
    })
    .await;
    let mut irc = Irc::within(&simulator, &ROOMS).await;
    assert!(irc.is_silent().await, "the rate is 0 at first");
    simulator.set_rate(2_000);
    irc.lines(100).await;
    soon("quiet", simulator.quiesce()).await;
    let now = simulator.snapshot();
    assert_eq!(now.lines_per_second, 0);
    irc.lines(usize::try_from(now.lines_generated).unwrap() - 100)
        .await;
    assert!(irc.is_silent().await);
    assert_eq!(simulator.snapshot().lines_generated, now.lines_generated);
    simulator.set_rate(2_000);
    irc.lines(100).await;
}

#[tokio::test]
async fn lines_for_rooms_that_nobody_joined_are_counted_and_not_sent() {
    let simulator = start(config()).await;
    let mut irc = Irc::anonymous(&simulator).await;
    simulator.generate(100).await;
    assert!(irc.is_silent().await);
    let now = simulator.snapshot();
    assert_eq!((now.lines_generated, now.lines_unheard), (100, 100));
}

/// Little fits between the server and a client that does not read.
fn narrow() -> Config {
    Config {
        outbox_bytes: 20_000,
        send_buffer_bytes: Some(4_096),
        ..config()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_holds_generation_up_and_nothing_is_lost() {
    let shares = Shares::messages_only();
    let simulator = Arc::new(start(Config { shares, ..narrow() }).await);
    let slow = Irc::within(&simulator, &ROOMS).await;
    let mut tasks = JoinSet::new();
    Irc::within(&simulator, &ROOMS[..4])
        .await
        .listen(&mut tasks);
    let mut third = Irc::anonymous(&simulator).await;
    let lines = 60_000;
    let generating = Arc::clone(&simulator);
    let mut generation = JoinSet::new();
    generation.spawn(async move { generating.generate(lines).await });
    let is_full =
        |number: usize| simulator.until(move |now| now.sockets[number].waiting_bytes >= 20_000);
    soon("push-back", is_full(0)).await;
    assert!(
        generation.try_join_next().is_none(),
        "generation does not wait"
    );
    for _ in 0..100 {
        // The server goes on with all the rest, and no more waits than may wait and one line.
        assert!(third.is_silent().await);
        let waiting = simulator.snapshot().sockets[0].waiting_bytes;
        assert!(waiting < 22_000, "{waiting} bytes wait");
    }
    third.listen(&mut tasks);
    slow.listen(&mut tasks);
    soon("generation", generation.join_next())
        .await
        .unwrap()
        .unwrap();
    soon("acknowledgements", simulator.acknowledged()).await;
    let now = simulator.stop().await;
    assert_eq!((now.lines_generated, now.lines_unheard), (lines, 0));
    let third = simulator.log().socket(3);
    assert_eq!(third.len(), 8 + 100 + 1, "welcome, answers, and a PING");
    let mut expected: BTreeSet<_> = [(1, 8), (2, 4), (3, 25)]
        .map(|(number, rooms)| bytes(&after_joins(simulator.log().socket(number), rooms)))
        .into();
    while let Some(read) = tasks.join_next().await {
        assert!(expected.remove(&read.unwrap().0), "a line was lost");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_backpressure_a_client_that_does_not_read_is_cut_and_the_others_go_on() {
    let simulator = start(Config {
        backpressure: false,
        outbox_bytes: 200_000,
        ..narrow()
    })
    .await;
    let slow = Irc::within(&simulator, &ROOMS).await;
    let mut tasks = JoinSet::new();
    Irc::within(&simulator, &ROOMS).await.listen(&mut tasks);
    let is_cut = |now: &twzrd_simulator::Snapshot| now.disconnected(Reason::SlowConsumer) == 1;
    let mut batches = 0;
    while !is_cut(&simulator.snapshot()) {
        assert!(batches < 2_000, "it was never cut");
        simulator.generate(100).await;
        // The other one keeps up.
        soon(
            "acknowledgements",
            simulator.until(|now| {
                now.sockets
                    .iter()
                    .all(|socket| socket.number == 1 || socket.waiting_bytes == 0)
            }),
        )
        .await;
        batches += 1;
    }
    soon("acknowledgements", simulator.acknowledged()).await;
    let log = simulator.log();
    let traffic = |delivery: &&Delivery| matches!(delivery.source, Source::Traffic(_));
    let other = log.socket(2);
    assert_eq!(other.iter().filter(traffic).count(), batches * 100);
    assert!(other.iter().all(|one| one.fate == Fate::Acknowledged));
    let slow_fates: Vec<_> = log.socket(1).iter().map(|one| one.fate).collect();
    assert!(slow_fates.is_sorted_by(|a, b| a >= b), "{slow_fates:?}");
    assert_eq!(slow_fates[0], Fate::Doubtful);
    assert_eq!(slow_fates.last(), Some(&Fate::Unsent));
    let (read, _, end) = slow.rest().await;
    assert_eq!(end, ErrorKind::ConnectionReset);
    let offered = bytes(&after_joins(log.socket(1), 8));
    assert_eq!(read, offered[..read.len()]);
}

#[tokio::test]
async fn a_ping_in_the_traffic_is_answered_like_any_other() {
    let shares = Shares::messages_only()
        .with(Kind::Message, 0)
        .with(Kind::Ping, 1);
    let simulator = start(Config { shares, ..config() }).await;
    let mut tasks = JoinSet::new();
    Irc::within(&simulator, &ROOMS).await.listen(&mut tasks);
    simulator.generate(10).await;
    soon("acknowledgements", simulator.acknowledged()).await;
    let truth = simulator.log().truth();
    assert_eq!((truth.certain.len(), truth.possible.len()), (40 + 11, 0));
    assert!(
        truth
            .certain
            .iter()
            .all(|line| line.fate == Fate::Acknowledged)
    );
}

#[tokio::test]
async fn a_log_that_is_full_says_so() {
    let simulator = start(Config {
        log_deliveries: 50,
        ..config()
    })
    .await;
    let irc = Irc::within(&simulator, &ROOMS).await;
    assert!(simulator.log().is_complete());
    simulator.generate(20).await;
    soon("quiet", simulator.quiesce()).await;
    let log = simulator.log();
    assert!(!log.is_complete());
    assert_eq!((log.deliveries().len(), log.refused()), (50, 10));
    assert_eq!(simulator.snapshot().log_refused, 10);
    drop(irc);
}

#[tokio::test]
async fn the_log_is_written_out_and_outlives_the_simulator() {
    let simulator = start(config()).await;
    let irc = Irc::within(&simulator, &ROOMS[..1]).await;
    simulator.send(ROOMS[0], b"\xff raw").unwrap();
    soon("quiet", simulator.quiesce()).await;
    let log = simulator.log();
    drop(simulator);
    assert_eq!(irc.rest().await.0, [b"\xff raw".to_vec()]);
    let mut out = Vec::new();
    log.write_to(&mut out).unwrap();
    let last = out.split(|&byte| byte == b'\n').nth(12).unwrap();
    assert_eq!(last, [&b"1\t12\tDoubtful\t"[..], b"\xff raw"].concat());
}

#[tokio::test]
async fn a_stop_delivers_what_waits_and_leaves_nothing() {
    let simulator = start(config()).await;
    let mut tasks = JoinSet::new();
    Irc::within(&simulator, &ROOMS).await.listen(&mut tasks);
    simulator.generate(500).await;
    let now = soon("stop", simulator.stop()).await;
    assert!(now.sockets.is_empty());
    assert_eq!(now.disconnected(Reason::Stopped), 1);
    let (read, fragment) = tasks.join_next().await.unwrap().unwrap();
    assert_eq!((read.len(), fragment.len()), (500, 0));
    assert_eq!(simulator.log().truth().certain.len(), 540);
    let refused = TcpStream::connect(simulator.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(soon("a second stop", simulator.stop()).await, now);
    assert!(simulator.refuse(None).await.is_err());
}

#[tokio::test]
async fn lines_that_cannot_be_sent_are_refused() {
    let simulator = start(config()).await;
    let kind = |result: std::io::Result<usize>| result.unwrap_err().kind();
    assert_eq!(
        kind(simulator.say("nowhere", "ada", "hi")),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(simulator.say(ROOMS[0], "a b", "hi")),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(simulator.say(ROOMS[0], "", "hi")),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(simulator.say(ROOMS[0], "ada", "hi\r\nPING")),
        ErrorKind::InvalidInput
    );
    assert_eq!(
        kind(simulator.send(ROOMS[0], b"a\nb")),
        ErrorKind::InvalidInput
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_and_does_not_read_is_not_listened_to_until_it_reads() {
    let simulator = start(narrow()).await;
    let irc = Irc::anonymous(&simulator).await;
    let (mut read, mut write) = irc.stream.into_split();
    let pings = 400_000;
    let mut asking = JoinSet::new();
    asking.spawn(async move {
        let pings = b"PING\r\n".repeat(pings);
        write.write_all(&pings).await.unwrap();
        write
    });
    let is_full = simulator.until(|now| now.sockets[0].waiting_bytes >= 20_000);
    soon("push-back", is_full).await;
    for _ in 0..100 {
        let waiting = simulator.snapshot().sockets[0].waiting_bytes;
        // What may wait, and the answers to what is read at once.
        assert!(waiting < 20_000 + 4_096 / 6 * 40, "{waiting} bytes wait");
        tokio::task::yield_now().await;
    }
    let mut answers = vec![0; pings * ":tmi.twitch.tv PONG tmi.twitch.tv\r\n".len()];
    soon("answers", read.read_exact(&mut answers))
        .await
        .unwrap();
    assert!(answers.ends_with(b":tmi.twitch.tv PONG tmi.twitch.tv\r\n"));
    asking.join_next().await.unwrap().unwrap();
}
