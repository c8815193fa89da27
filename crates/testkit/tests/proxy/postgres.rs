//! Faults at commits and within transactions, for a client and a server that speak as Postgres does.

use twzrd_testkit::proxy::{Close, CommitFault, Protocol};

use crate::world::{Pair, World, hear, hear_all, say};

fn message(kind: u8, body: &str) -> Vec<u8> {
    let length = u32::try_from(body.len() + 5).unwrap();
    [&[kind][..], &length.to_be_bytes(), body.as_bytes(), &[0]].concat()
}

/// A pair that has logged in as a client and a server of Postgres do.
async fn postgres_pair(world: &World) -> Pair {
    let mut pair = world.pair().await;
    let ssl_request = [0, 0, 0, 8, 4, 210, 22, 47];
    say(&mut pair.client, &ssl_request).await;
    assert_eq!(hear(&mut pair.server, 8).await, ssl_request);
    say(&mut pair.server, b"N").await;
    assert_eq!(hear(&mut pair.client, 1).await, b"N");
    let start = [&[0, 0, 0, 17, 0, 3, 0, 0][..], b"user\0me\0\0"].concat();
    say(&mut pair.client, &start).await;
    assert_eq!(hear(&mut pair.server, 17).await, start);
    pair
}

/// A statement and its answer come through.
async fn executes(pair: &mut Pair, sql: &str) {
    let asked = message(b'Q', sql);
    say(&mut pair.client, &asked).await;
    assert_eq!(hear(&mut pair.server, asked.len()).await, asked);
    let answer = message(b'C', sql);
    say(&mut pair.server, &answer).await;
    assert_eq!(hear(&mut pair.client, answer.len()).await, answer);
}

async fn postgres_world() -> World {
    World::with(|config| config.protocol = Protocol::Postgres).await
}

#[tokio::test]
async fn a_commit_that_is_lost_on_the_way_is_not_heard_by_the_server() {
    let world = postgres_world().await;
    let (mut pair, mut idle) = (postgres_pair(&world).await, postgres_pair(&world).await);
    world
        .handle()
        .at_next_commit(CommitFault::BeforeServer, Close::Orderly);
    executes(&mut pair, "BEGIN").await;
    executes(&mut pair, "INSERT INTO t VALUES ('COMMIT')").await;
    assert_eq!(world.handle().snapshot().commits_asked, 0);
    say(&mut pair.client, &message(b'Q', "COMMIT")).await;
    assert_eq!(hear_all(&mut pair.server).await, b"");
    assert_eq!(hear_all(&mut pair.client).await, b"");
    for sql in ["BEGIN", "SELECT 1", "COMMIT"] {
        executes(&mut idle, sql).await;
    }
    let now = world.handle().snapshot();
    assert_eq!((now.cut, now.commits_asked, now.commits_taken), (1, 2, 1));
}

#[tokio::test]
async fn a_commit_of_which_the_answer_is_lost_was_taken_by_the_server() {
    let world = postgres_world().await;
    let mut pair = postgres_pair(&world).await;
    world
        .handle()
        .at_next_commit(CommitFault::AfterServer, Close::Orderly);
    executes(&mut pair, "BEGIN").await;
    let commit = message(b'Q', "COMMIT");
    say(&mut pair.client, &commit).await;
    assert_eq!(hear(&mut pair.server, commit.len()).await, commit);
    // A notice in front of it is passed on, and no byte of the answer itself.
    let notice = message(b'N', "a notice");
    say(
        &mut pair.server,
        &[notice.clone(), message(b'C', "COMMIT")].concat(),
    )
    .await;
    assert_eq!(hear_all(&mut pair.client).await, notice);
    let now = world.handle().snapshot();
    assert_eq!((now.cut, now.commits_asked, now.commits_taken), (1, 1, 1));
    assert!(!now.is_armed);
}

#[tokio::test]
async fn a_commit_that_the_server_refuses_is_not_one_that_it_took() {
    let world = postgres_world().await;
    let mut pair = postgres_pair(&world).await;
    world
        .handle()
        .at_next_commit(CommitFault::AfterServer, Close::Reset);
    executes(&mut pair, "BEGIN").await;
    let commit = message(b'Q', "COMMIT");
    say(&mut pair.client, &commit).await;
    assert_eq!(hear(&mut pair.server, commit.len()).await, commit);
    let undone = message(b'C', "ROLLBACK");
    say(&mut pair.server, &undone).await;
    assert_eq!(hear(&mut pair.client, undone.len()).await, undone);
    let now = world.handle().snapshot();
    assert_eq!((now.cut, now.commits_asked, now.commits_taken), (0, 1, 0));
    assert!(now.is_armed);
}

#[tokio::test]
async fn a_transaction_is_cut_behind_so_many_of_its_statements() {
    let world = postgres_world().await;
    let (mut before, mut pair) = (postgres_pair(&world).await, postgres_pair(&world).await);
    executes(&mut before, "BEGIN").await;
    world.handle().in_next_transaction(2, Close::Orderly);
    // One that had begun, what is in none, and one that is too short are not meant.
    for sql in ["SELECT 1", "SELECT 2", "SELECT 3", "COMMIT", "SELECT 4"] {
        executes(&mut before, sql).await;
    }
    for sql in [
        "BEGIN", "SELECT 1", "COMMIT", "BEGIN", "SELECT 1", "SELECT 2",
    ] {
        executes(&mut pair, sql).await;
    }
    assert!(world.handle().snapshot().is_armed);
    say(&mut pair.client, &message(b'Q', "SELECT 3")).await;
    assert_eq!(hear_all(&mut pair.server).await, b"");
    assert_eq!(hear_all(&mut pair.client).await, b"");
    executes(&mut before, "BEGIN").await;
    executes(&mut before, "ROLLBACK").await;
    let now = world.handle().snapshot();
    assert_eq!((now.cut, now.commits_taken, now.is_armed), (1, 2, false));
}
