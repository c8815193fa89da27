//! What the log says of lines whose socket has come to an end, and what their client has of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::io::ErrorKind;

use common::{DEADLINE, Irc, ROOMS, after_joins, bytes, config, soon, start};
use tokio::task::JoinSet;
use twzrd_simulator::{Config, Cut, Delivery, Fate, Pace, Reason, Simulator, Source, Target};

/// A socket that is cut after 2,000 lines while its client does not read at first.
async fn cut(how: Cut) -> (Vec<Delivery>, Vec<Vec<u8>>, Vec<u8>, ErrorKind, Simulator) {
    let simulator = start(config()).await;
    let irc = Irc::within(&simulator, &ROOMS).await;
    simulator.generate(200).await;
    if how == Cut::Reset {
        soon("quiet", simulator.quiesce()).await;
    }
    assert_eq!(simulator.cut(Target::Socket(2), how), 0);
    assert_eq!(simulator.cut(Target::Socket(1), how), 1);
    let (read, fragment, end) = irc.rest().await;
    soon(
        "the end",
        simulator.until(|now| now.disconnected(Reason::Cut) == 1),
    )
    .await;
    let deliveries = after_joins(simulator.log().socket(1), 8);
    (deliveries, read, fragment, end, simulator)
}

#[tokio::test]
async fn an_orderly_cut_loses_no_whole_line() {
    let (deliveries, read, fragment, end, simulator) = cut(Cut::Orderly).await;
    assert_eq!((fragment, end), (Vec::new(), ErrorKind::UnexpectedEof));
    assert_eq!((read.len(), &read), (200, &bytes(&deliveries)));
    assert!(deliveries.iter().all(|one| one.fate == Fate::Delivered));
    let truth = simulator.log().truth();
    assert_eq!(
        (
            truth.certain.len(),
            truth.possible.len(),
            truth.absent.len()
        ),
        (240, 0, 0)
    );
    assert_eq!(simulator.say(ROOMS[0], "ada", "hi").unwrap(), 0);
}

#[tokio::test]
async fn a_cut_in_the_middle_of_a_line_tears_one_line_and_no_other() {
    let (mut deliveries, read, fragment, end, simulator) = cut(Cut::MidLine).await;
    assert_eq!(end, ErrorKind::UnexpectedEof);
    let torn = deliveries.pop().unwrap();
    assert_eq!((read.len(), &read), (200, &bytes(&deliveries)));
    assert!(deliveries.iter().all(|one| one.fate == Fate::Delivered));
    assert_eq!((torn.fate, torn.source), (Fate::Torn, Source::Broken));
    assert!(!fragment.is_empty() && fragment.len() < torn.line.len());
    assert_eq!(fragment, torn.line[..fragment.len()]);
    let truth = simulator.log().truth();
    assert_eq!(
        (
            truth.certain.len(),
            truth.possible.len(),
            truth.absent.len()
        ),
        (240, 1, 0)
    );
    assert_eq!(truth.possible[0].bytes, torn.line);
}

#[tokio::test]
async fn a_reset_leaves_what_was_written_in_doubt() {
    let (deliveries, read, _, end, simulator) = cut(Cut::Reset).await;
    assert_eq!(end, ErrorKind::ConnectionReset);
    assert!(read.len() <= 200);
    assert_eq!(read, bytes(&deliveries)[..read.len()]);
    assert!(deliveries.iter().all(|one| one.fate == Fate::Doubtful));
    let truth = simulator.log().truth();
    assert_eq!(
        (
            truth.certain.len(),
            truth.possible.len(),
            truth.absent.len()
        ),
        (0, 240, 0)
    );
}

#[tokio::test]
async fn what_a_client_has_acknowledged_is_certain_whatever_comes_then() {
    let simulator = start(config()).await;
    let mut tasks = JoinSet::new();
    Irc::within(&simulator, &ROOMS).await.listen(&mut tasks);
    simulator.generate(100).await;
    soon("acknowledgements", simulator.acknowledged()).await;
    simulator.stall(Target::All, DEADLINE);
    simulator.generate(50).await;
    assert_eq!(simulator.log().truth().absent.len(), 50);
    simulator.cut(Target::All, Cut::Reset);
    soon("the end", simulator.until(|now| now.sockets.is_empty())).await;
    let truth = simulator.log().truth();
    // The JOINs, the lines, and the PING.
    assert_eq!((truth.certain.len(), truth.possible.len()), (40 + 101, 0));
    assert!(
        truth
            .certain
            .iter()
            .all(|line| line.fate == Fate::Acknowledged)
    );
    assert_eq!(truth.absent.len(), 50);
    assert!(truth.absent.iter().all(|line| line.fate == Fate::Unsent));
}

#[tokio::test]
async fn a_client_that_closes_first_leaves_doubt() {
    let simulator = start(config()).await;
    let irc = Irc::within(&simulator, &ROOMS).await;
    simulator.generate(20).await;
    soon("quiet", simulator.quiesce()).await;
    assert_eq!(simulator.log().truth().certain.len(), 60);
    let (read, write) = irc.stream.into_split();
    drop(write);
    soon(
        "the end",
        simulator.until(|now| now.disconnected(Reason::ClientClosed) == 1),
    )
    .await;
    assert_eq!(simulator.log().truth().possible.len(), 60);
    drop(read);
}

#[tokio::test]
async fn a_line_that_one_of_two_sockets_has_is_certain() {
    let simulator = start(config()).await;
    let first = Irc::within(&simulator, &ROOMS[..1]).await;
    let mut second = Irc::within(&simulator, &ROOMS[..1]).await;
    assert_eq!(simulator.say(ROOMS[0], "ada", "hi").unwrap(), 2);
    soon("quiet", simulator.quiesce()).await;
    simulator.cut(Target::Socket(1), Cut::Reset);
    soon(
        "the end",
        simulator.until(|now| now.disconnected(Reason::Cut) == 1),
    )
    .await;
    let truth = simulator.log().truth();
    let said: Vec<_> = truth
        .certain
        .iter()
        .filter(|line| line.source == Source::Said)
        .collect();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].room.as_deref(), Some(ROOMS[0]));
    assert_eq!(second.line().await.as_bytes(), &*said[0].bytes);
    assert!(
        truth
            .possible
            .iter()
            .all(|line| line.source == Source::Dialect)
    );
    drop(first);
}

#[tokio::test]
async fn an_orderly_cut_loses_nothing_to_what_the_client_says_meanwhile() {
    let simulator = start(Config {
        outbox_bytes: 100_000_000,
        ..config()
    })
    .await;
    let mut irc = Irc::within(&simulator, &ROOMS).await;
    // What is unread when a socket is closed makes a reset of it.
    simulator.pace_reads(Target::All, Some(Pace::slow(1, DEADLINE)));
    irc.say(&"PING :unread\r\n".repeat(100)).await;
    // More than the client's kernel takes while nobody reads there.
    simulator.generate(4_000).await;
    simulator.cut(Target::All, Cut::Orderly);
    let (read, fragment, end) = irc.rest().await;
    assert_eq!((fragment, end), (Vec::new(), ErrorKind::UnexpectedEof));
    let gone = simulator.until(|now| now.disconnected(Reason::Cut) == 1);
    soon("the end", gone).await;
    let deliveries = after_joins(simulator.log().socket(1), 8);
    assert_eq!((read.len(), &read), (4_000, &bytes(&deliveries)));
    assert!(deliveries.iter().all(|one| one.fate == Fate::Delivered));
}
