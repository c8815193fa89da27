//! The network's client against a server that speaks Twitch's dialect, and misbehaves on command.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod support;

use std::time::Duration;

use twzrd_domain::chat::{ChatNetwork, Chunk, ConnectError, Lost, News, Socket};
use twzrd_domain::identity::Channel;
use twzrd_simulator::{
    Account, Config as SimulatorConfig, Cut, Delivery, Fate, Garbage, Limit, Refusal, RoomState,
    Rooms, Simulator, Target,
};
use twzrd_twitch::net::{BROKEN, Config, Credentials, TwitchNetwork};

use support::{Heard, clock, name, soon};

const ROOMS: u32 = 12;

async fn simulator() -> Simulator {
    let config = SimulatorConfig {
        rooms: Rooms::Numbered(ROOMS),
        users: 500,
        join_limit: Limit::NONE,
        login_limit: Limit::NONE,
        keep_log: true,
        accounts: vec![Account {
            login: "reader".into(),
            token: "s3cr3t".into(),
        }],
        ..SimulatorConfig::new(clock())
    };
    Simulator::start(config).await.unwrap()
}

fn network(simulator: &Simulator, token: Option<&str>) -> TwitchNetwork {
    let address = simulator.address();
    let config = Config {
        tls: false,
        credentials: token.map(|token| Credentials::new("reader", token).unwrap()),
        connect_timeout: Duration::from_secs(30),
        ..Config::new(address.ip().to_string(), address.port(), clock())
    };
    TwitchNetwork::new(config).unwrap()
}

fn channels(simulator: &Simulator) -> Vec<Channel> {
    simulator.rooms().iter().map(|room| name(room)).collect()
}

/// A socket that has joined all rooms, and what came until it had.
async fn joined(simulator: &Simulator) -> (Socket, Heard) {
    let mut socket = soon(network(simulator, None).connect()).await.unwrap();
    let wanted = channels(simulator);
    socket.writer.join(&wanted).await.unwrap();
    let (mut heard, mut chunk) = (Heard::default(), Chunk::default());
    let has =
        |heard: &Heard, channel: &Channel| heard.news.contains(&News::Joined(channel.clone()));
    while !wanted.iter().all(|channel| has(&heard, channel)) {
        soon(socket.reader.read(&mut chunk)).await.unwrap();
        heard.add(&chunk);
    }
    (socket, heard)
}

/// Reads to the end, and answers what is asked.
async fn listen(socket: &mut Socket, mut heard: Heard) -> (Heard, Lost) {
    let mut chunk = Chunk::default();
    loop {
        if let Err(lost) = soon(socket.reader.read(&mut chunk)).await {
            return (heard, lost);
        }
        heard.add(&chunk);
        for news in &chunk.news {
            if let News::Ping(token) = news {
                // A socket that is gone is told by the reader.
                let _ = socket.writer.pong(token).await;
            }
        }
    }
}

/// What a reader has of a delivery.
fn handed_out(delivery: &Delivery) -> (Vec<u8>, bool) {
    match delivery.line.len() > 65_536 {
        true => (BROKEN.to_vec(), true),
        false => (delivery.line.to_vec(), false),
    }
}

/// The lines of a socket that came at least as far.
fn delivered(simulator: &Simulator, fate: Fate) -> Vec<(Vec<u8>, bool)> {
    let all = simulator.log().socket(1).into_iter();
    let reached = all.filter(|one| one.fate >= fate && !one.line.is_empty());
    reached.map(|one| handed_out(&one)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_line_is_heard_exactly_once_and_garbage_ends_nothing() {
    let simulator = simulator().await;
    let (mut socket, heard) = joined(&simulator).await;
    let script = async {
        for _ in 0..4 {
            simulator.generate(2_000).await;
            for garbage in Garbage::ALL {
                assert_eq!(simulator.garbage(Target::All, garbage), 1);
            }
        }
        simulator.acknowledged().await;
        assert_eq!(simulator.cut(Target::All, Cut::Orderly), 1);
    };
    let ((heard, lost), ()) = tokio::join!(listen(&mut socket, heard), soon(script));
    assert_eq!(lost.reason, "closed by the server");
    let expected = delivered(&simulator, Fate::Acknowledged);
    assert!(simulator.log().is_complete());
    assert!(expected.len() > 7_000, "{}", expected.len());
    assert_eq!(heard.lines.len(), expected.len());
    for (at, (found, expected)) in heard.lines.iter().zip(&expected).enumerate() {
        assert_eq!(found, expected, "line {at}");
    }
    assert_eq!(
        heard
            .lines
            .iter()
            .filter(|(_, is_broken)| *is_broken)
            .count(),
        4
    );
    drop(socket);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_cut_in_a_line_has_all_whole_lines_and_one_broken_one() {
    let simulator = simulator().await;
    let (mut socket, heard) = joined(&simulator).await;
    let script = async {
        simulator.generate(1_000).await;
        simulator.acknowledged().await;
        assert_eq!(simulator.cut(Target::All, Cut::MidLine), 1);
    };
    let ((mut heard, lost), ()) = tokio::join!(listen(&mut socket, heard), soon(script));
    assert_eq!(lost.reason, "closed by the server");
    assert_eq!(heard.lines.pop(), Some((BROKEN.to_vec(), true)));
    assert_eq!(heard.lines, delivered(&simulator, Fate::Acknowledged));
    drop(socket);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconnect_is_told_before_the_socket_closes() {
    let simulator = simulator().await;
    let (mut socket, heard) = joined(&simulator).await;
    assert_eq!(
        simulator.reconnect(Target::All, Duration::from_millis(1)),
        1
    );
    let (heard, lost) = listen(&mut socket, heard).await;
    assert_eq!(heard.news.last(), Some(&News::Reconnect));
    assert_eq!(lost.reason, "closed by the server");
    drop(socket);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rooms_that_cannot_be_joined_are_told_with_the_reason() {
    let simulator = simulator().await;
    let rooms = channels(&simulator);
    simulator
        .set_room(rooms[1].as_str(), RoomState::Suspended)
        .unwrap();
    simulator
        .set_room(rooms[2].as_str(), RoomState::Banned)
        .unwrap();
    let mut socket = soon(network(&simulator, Some("s3cr3t")).connect())
        .await
        .unwrap();
    socket
        .writer
        .join(&[rooms[1].clone(), rooms[2].clone(), name("nowhere")])
        .await
        .unwrap();
    socket.writer.join(&rooms[..1]).await.unwrap();
    let (mut refused, mut chunk) = (Vec::new(), Chunk::default());
    while !chunk.news.contains(&News::Joined(rooms[0].clone())) {
        soon(socket.reader.read(&mut chunk)).await.unwrap();
        for news in &chunk.news {
            if let News::Refused { channel, code, .. } = news {
                refused.push((channel.clone(), code.clone()));
            }
        }
    }
    refused.retain(|(channel, _)| *channel != name("nowhere"));
    let expected = [
        (rooms[1].clone(), "msg_channel_suspended".to_owned()),
        (rooms[2].clone(), "msg_banned".to_owned()),
    ];
    assert_eq!(refused, expected);
    socket.writer.part(&rooms[..1]).await.unwrap();
    while !chunk.news.contains(&News::Parted(rooms[0].clone())) {
        soon(socket.reader.read(&mut chunk)).await.unwrap();
    }
    socket.writer.ping().await.unwrap();
    while !chunk.news.contains(&News::Pong) {
        soon(socket.reader.read(&mut chunk)).await.unwrap();
    }
    drop(socket);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_works_with_its_token_only_and_weather_is_no_refusal() {
    let simulator = simulator().await;
    let connect = async |token| soon(network(&simulator, token).connect()).await.err();
    assert_eq!(connect(Some("s3cr3t")).await, None);
    assert_eq!(connect(None).await, None);
    let Some(ConnectError::Refused { reason, .. }) = connect(Some("wr0ng")).await else {
        panic!("a wrong token was taken")
    };
    assert_eq!(reason, "Login authentication failed");
    for refusal in [Refusal::CloseAtOnce, Refusal::NotListening] {
        simulator.refuse(Some(refusal)).await.unwrap();
        let error = connect(Some("s3cr3t")).await;
        assert!(
            matches!(error, Some(ConnectError::Unreachable { .. })),
            "{error:?}"
        );
    }
    simulator.refuse(None).await.unwrap();
    assert_eq!(connect(Some("s3cr3t")).await, None);
    simulator.stop().await;
}
