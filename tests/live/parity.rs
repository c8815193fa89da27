//! What the comparison with an undisturbed replay tells, and what makes no difference to it.

use std::time::Duration;

use crate::conservation::sqlite;
use crate::world::{Plan, World};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_that_come_behind_the_seal_make_no_difference() {
    let world = World::start(Plan::default()).await;
    world.all_heard().await;
    world.simulator.set_rate(500);
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.settle().await;
    let sealed = world.sealed().await;
    let before = world.ledger().await;
    // An undisturbed replay would count these: it seals when its input ends.
    let one = &sealed[0];
    let (at, channel) = (one.epoch.0 * 1000, &one.channel);
    for n in 0..20 {
        let id = if n % 4 == 0 {
            String::new()
        } else {
            format!("id=late-{n};")
        };
        let line =
            format!("@{id}room-id=1;tmi-sent-ts={at} :late_{n}!late_{n}@t PRIVMSG #{channel} :hi");
        let heard = world.simulator.send(channel.as_str(), line.as_bytes());
        assert_eq!(heard.unwrap(), 1);
    }
    world.settle().await;
    let verdict = world.verdict().await;
    assert!(verdict.is_equal(), "{verdict}");
    let late = before.late + 20;
    assert_eq!((verdict.late, verdict.counts.late), (late, late));
    assert_eq!(verdict.undisturbed.late, 0);
    assert_eq!(
        (verdict.accepted, verdict.counts.counted),
        (before.counted + late, before.counted)
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_is_falsified_is_told_by_epoch_and_channel() {
    let world = World::start(Plan::default()).await;
    world.all_heard().await;
    world.simulator.set_rate(500);
    tokio::time::sleep(Duration::from_secs(5)).await;
    world.settle().await;
    let sealed = world.sealed().await;
    let (one, other) = (&sealed[0], sealed.last().unwrap());
    let file = world.data().join("twzrd.sqlite");
    let change = |of: &twzrd_domain::ports::SealedEpoch, change: &str| {
        let (epoch, channel) = (of.epoch, &of.channel);
        let place = format!("epoch = {epoch} AND channel = '{channel}'");
        sqlite(
            &file,
            &format!("UPDATE sealed_epochs SET {change} WHERE {place}"),
        );
    };
    change(one, "participants = participants - 1");
    change(other, &format!("root = '{}'", "ab".repeat(32)));
    let verdict = world.verdict().await;
    let told: Vec<_> = verdict
        .differences
        .iter()
        .map(|it| (it.epoch, &it.channel, it.found.clone()))
        .collect();
    let people = one.participants;
    let fewer = format!("{} participants; the replay has {people}", people - 1);
    let root = "another participation root than the replay".to_owned();
    let expected = [
        (one.epoch, &one.channel, fewer),
        (other.epoch, &other.channel, root),
    ];
    assert_eq!(told, expected);
    assert_eq!(verdict.equal, verdict.sealed - 2);
    world.stop().await;
}
