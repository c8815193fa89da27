//! Each fault of the proxy does what it says, and nothing else, on sockets of which the test holds
//! both ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod postgres;
mod world;

use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use twzrd_testkit::proxy::{Close, Direction, Pace, Proxy, Refusal, Snapshot, Ways};
use world::{Pair, World, hear, hear_all, hears_nothing, say, soon};

#[tokio::test]
async fn bytes_and_ends_of_streams_pass_both_ways_and_are_counted() {
    let world = World::with(|config| config.chunk_bytes = 7).await;
    let Pair {
        mut client,
        mut server,
    } = world.pair().await;
    let long: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (heard, ()) = tokio::join!(hear(&mut server, long.len()), say(&mut client, &long));
    assert_eq!(heard, long);
    client.shutdown().await.unwrap();
    assert_eq!(hear_all(&mut server).await, b"");
    say(&mut server, b"still here").await;
    server.shutdown().await.unwrap();
    assert_eq!(hear_all(&mut client).await, b"still here");
    world.until(|now| now.open == 0).await;
    let expected = Snapshot {
        accepted: 1,
        bytes_to_server: 200_000,
        bytes_to_client: 10,
        ..Snapshot::default()
    };
    assert_eq!(world.handle().snapshot(), expected);
}

#[tokio::test]
async fn a_reset_by_one_side_is_a_reset_to_the_other() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    pair.works().await;
    pair.server.set_zero_linger().unwrap();
    drop(pair.server);
    let error = soon(pair.client.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(world.handle().snapshot().cut, 0);
}

#[tokio::test]
async fn a_cut_in_order_is_a_fin_behind_what_was_passed() {
    let world = World::new().await;
    let mut pairs = [world.pair().await, world.pair().await];
    for pair in &mut pairs {
        say(&mut pair.client, b"half a li").await;
        say(&mut pair.server, b"an answer").await;
    }
    world
        .until(|now| now.bytes_to_server == 18 && now.bytes_to_client == 18)
        .await;
    assert_eq!(world.handle().cut(Close::Orderly), 2);
    assert_eq!(world.handle().cut(Close::Reset), 0);
    for pair in &mut pairs {
        assert_eq!(hear_all(&mut pair.server).await, b"half a li");
        assert_eq!(hear_all(&mut pair.client).await, b"an answer");
    }
    drop(pairs);
    world.until(|now| now.open == 0).await;
    assert_eq!(world.handle().snapshot().cut, 2);
    world.pair().await.works().await;
}

#[tokio::test]
async fn a_cut_by_reset_is_one_to_both_sides() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    pair.works().await;
    assert_eq!(world.handle().cut(Close::Reset), 1);
    pair.is_reset().await;
    world.until(|now| now.open == 0).await;
    world.pair().await.works().await;
}

#[tokio::test]
async fn a_connection_that_is_silenced_stays_open_and_says_nothing() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    pair.works().await;
    assert_eq!(world.handle().cut(Close::Silent), 1);
    say(&mut pair.client, b"anybody there?").await;
    say(&mut pair.server, b"hello?").await;
    pair.server.shutdown().await.unwrap();
    hears_nothing(&pair.server).await;
    hears_nothing(&pair.client).await;
    world.pair().await.works().await;
    assert_eq!(world.handle().cut(Close::Silent), 1);
    assert_eq!(world.handle().cut(Close::Reset), 2);
    pair.is_reset().await;
    assert_eq!(world.handle().snapshot().cut, 2);
}

#[tokio::test]
async fn a_cut_after_so_many_bytes_is_within_a_message() {
    let world = World::with(|config| config.chunk_bytes = 3).await;
    let mut pair = world.pair().await;
    pair.works().await;
    let struck = world
        .handle()
        .cut_after(Direction::ToServer, 8, Close::Orderly);
    assert_eq!(struck, 1);
    // The other way is not counted, and those that come later are not struck.
    say(&mut pair.server, b"a long answer").await;
    assert_eq!(hear(&mut pair.client, 13).await, b"a long answer");
    let mut later = world.pair().await;
    say(&mut pair.client, b"COMMIT and more").await;
    assert_eq!(hear_all(&mut pair.server).await, b"COMMIT a");
    assert_eq!(hear_all(&mut pair.client).await, b"");
    later.works().await;
    assert_eq!(world.handle().snapshot().cut, 1);

    drop(pair);
    world.until(|now| now.open == 1).await;
    let struck = world
        .handle()
        .cut_after(Direction::ToClient, 0, Close::Orderly);
    assert_eq!(struck, 1);
    say(&mut later.client, b"ping").await;
    assert_eq!(hear(&mut later.server, 4).await, b"ping");
    say(&mut later.server, b"pong").await;
    assert_eq!(hear_all(&mut later.client).await, b"");
}

#[tokio::test]
async fn a_black_hole_swallows_all_and_gives_all_back() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    pair.works().await;
    assert_eq!(world.handle().black_hole(Ways::Both), 1);
    // A connection is accepted, and the server never hears of it.
    let mut other = world.connect().await.unwrap();
    say(&mut other, b"hello").await;
    say(&mut pair.client, b"a request").await;
    say(&mut pair.server, b"news").await;
    pair.server.shutdown().await.unwrap();
    hears_nothing(&pair.server).await;
    hears_nothing(&pair.client).await;
    hears_nothing(&other).await;
    assert_eq!(world.handle().snapshot().bytes_to_server, 4);
    assert_eq!(world.handle().release(), 2);
    assert_eq!(hear(&mut pair.server, 9).await, b"a request");
    assert_eq!(hear_all(&mut pair.client).await, b"news");
    let (mut server, _) = soon(world.server.accept()).await.unwrap();
    assert_eq!(hear(&mut server, 5).await, b"hello");
    assert_eq!(world.handle().snapshot().cut, 0);
}

#[tokio::test]
async fn a_black_hole_of_one_way_lets_the_other_pass() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    let to_client = Ways::Only(Direction::ToClient);
    assert_eq!(world.handle().black_hole(to_client), 1);
    say(&mut pair.client, b"a request").await;
    assert_eq!(hear(&mut pair.server, 9).await, b"a request");
    say(&mut pair.server, b"an answer").await;
    hears_nothing(&pair.client).await;
    world.handle().release();
    assert_eq!(hear(&mut pair.client, 9).await, b"an answer");
}

#[tokio::test]
async fn what_is_in_a_black_hole_can_be_cut() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    world.handle().black_hole(Ways::Both);
    let mut unconnected = world.connect().await.unwrap();
    world.until(|now| now.open == 2).await;
    assert_eq!(world.handle().cut(Close::Reset), 2);
    pair.is_reset().await;
    let error = soon(unconnected.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn who_is_refused_meets_nobody_and_who_is_inside_stays() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    world.handle().refuse(Refusal::NotListening).await.unwrap();
    let error = world.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    pair.works().await;
    world.handle().refuse(Refusal::ResetAtOnce).await.unwrap();
    let mut refused = world.connect().await.unwrap();
    let error = soon(refused.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    pair.works().await;
    world.handle().admit().await.unwrap();
    world.pair().await.works().await;
    let now = world.handle().snapshot();
    assert_eq!((now.accepted, now.refused, now.cut), (2, 1, 0));
}

#[tokio::test]
async fn a_server_that_is_gone_comes_back_at_the_same_port() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    let gone = world.handle().gone(Refusal::NotListening, Close::Reset);
    assert_eq!(gone.await.unwrap(), 1);
    pair.is_reset().await;
    let error = world.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    world.handle().clear().await.unwrap();
    world.pair().await.works().await;
}

#[tokio::test]
async fn a_lost_answer_is_to_a_request_that_the_server_has_heard() {
    let world = World::new().await;
    let (mut idle, mut asks) = (world.pair().await, world.pair().await);
    world.handle().lose_next_answer(Close::Reset);
    assert!(world.handle().snapshot().is_armed);
    say(&mut asks.client, b"a request").await;
    assert_eq!(hear(&mut asks.server, 9).await, b"a request");
    say(&mut asks.server, b"an answer").await;
    asks.is_reset().await;
    idle.works().await;
    assert!(!world.handle().disarm());
    let now = world.handle().snapshot();
    assert_eq!((now.cut, now.bytes_to_client, now.is_armed), (1, 4, false));
}

#[tokio::test]
async fn a_lost_request_is_not_heard_by_the_server() {
    let world = World::new().await;
    let (mut idle, mut asks) = (world.pair().await, world.pair().await);
    world.handle().lose_next_request(Close::Orderly);
    say(&mut asks.client, b"a request").await;
    assert_eq!(hear_all(&mut asks.server).await, b"");
    assert_eq!(hear_all(&mut asks.client).await, b"");
    idle.works().await;
    let now = world.handle().snapshot();
    assert_eq!((now.cut, now.bytes_to_server), (1, 4));
}

#[tokio::test]
async fn a_fault_that_is_taken_back_strikes_nobody() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    world.handle().lose_next_request(Close::Reset);
    assert!(world.handle().disarm());
    pair.works().await;
    world
        .handle()
        .cut_after(Direction::ToServer, 2, Close::Reset);
    world.handle().lose_next_answer(Close::Reset);
    world.handle().clear().await.unwrap();
    pair.works().await;
    assert_eq!(world.handle().snapshot().cut, 0);
}

#[tokio::test]
async fn slow_bytes_come_late_and_whole() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    let delayed = Pace {
        delay: Duration::from_secs(3600),
        bytes_per_second: None,
    };
    assert_eq!(world.handle().slow(delayed), 1);
    say(&mut pair.client, b"a request").await;
    hears_nothing(&pair.server).await;
    assert_eq!(world.handle().full_speed(), 1);
    assert_eq!(hear(&mut pair.server, 9).await, b"a request");

    let trickle = Pace {
        delay: Duration::ZERO,
        bytes_per_second: Some(1),
    };
    world.handle().slow(trickle);
    say(&mut pair.client, &[7; 1000]).await;
    assert_eq!(hear(&mut pair.server, 1).await, [7]);
    // All of it would take 1000 seconds.
    assert!(world.handle().snapshot().bytes_to_server < 1000);
    world.handle().full_speed();
    assert_eq!(hear(&mut pair.server, 999).await, [7; 999]);
    pair.works().await;
}

#[tokio::test]
async fn one_connection_too_many_is_refused() {
    let world = World::with(|config| config.connections = 1).await;
    let mut first = world.pair().await;
    let mut second = world.connect().await.unwrap();
    let error = soon(second.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    first.works().await;
    drop(first);
    world.until(|now| now.open == 0).await;
    world.pair().await.works().await;
    let now = world.handle().snapshot();
    assert_eq!((now.accepted, now.refused), (2, 1));
}

#[tokio::test]
async fn a_server_may_come_back_elsewhere() {
    let world = World::new().await;
    let mut old = world.pair().await;
    // Bound and not listening: nobody else gets the port.
    let nobody = TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = nobody.local_addr().unwrap();
    world.handle().set_upstream(address.to_string());
    let mut client = world.connect().await.unwrap();
    let error = soon(client.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    world.until(|now| now.unreachable == 1).await;
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap();
    world.handle().set_upstream(address.to_string());
    let client = world.connect().await.unwrap();
    let (server, _) = soon(elsewhere.accept()).await.unwrap();
    Pair { client, server }.works().await;
    old.works().await;
}

#[tokio::test]
async fn a_stop_ends_all_of_it() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    pair.works().await;
    let last = soon(world.proxy.stop()).await;
    assert_eq!((last.open, last.accepted, last.bytes_to_server), (0, 1, 4));
    assert_eq!(hear_all(&mut pair.client).await, b"");
    assert_eq!(hear_all(&mut pair.server).await, b"");
    let error = world.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(world.handle().cut(Close::Reset), 0);
    let error = world.handle().admit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    assert_eq!(soon(world.proxy.stop()).await, last);
}

#[tokio::test]
async fn a_dropped_proxy_leaves_nothing_behind() {
    let world = World::new().await;
    let mut pair = world.pair().await;
    let handle = world.handle().clone();
    drop(world.proxy);
    assert_eq!(hear_all(&mut pair.client).await, b"");
    assert_eq!(hear_all(&mut pair.server).await, b"");
    soon(handle.until(|now| now.open == 0)).await;
    let error = soon(TcpStream::connect(handle.address()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn the_url_through_the_proxy_differs_in_host_and_port_alone() {
    let (proxy, url) =
        Proxy::before_postgres("postgres://twzrd:p%40ss@127.0.0.1:5432/db?sslmode=prefer").unwrap();
    let address = proxy.address();
    assert_eq!(
        url,
        format!("postgres://twzrd:p%40ss@{address}/db?sslmode=prefer")
    );
    for url in [
        "postgres://user:hunter2@host/db",
        "hunter2",
        "postgres:///hunter2",
    ] {
        let Err(error) = Proxy::before_postgres(url) else {
            panic!("{url} was taken");
        };
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
