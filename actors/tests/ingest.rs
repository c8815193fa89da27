//! From a socket to the journal, on a network, a store and a journal in memory.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[allow(dead_code, reason = "shared with the other test files")]
mod common;
#[path = "ingest/live.rs"]
mod live;

use std::collections::BTreeSet;
use std::time::Duration;

use live::{Live, at_least, channel, names};
use twzrd_actors::status::{ChannelState, ConnectionState};
use twzrd_actors::step::Step;
use twzrd_domain::chat::{ConnectError, News};
use twzrd_domain::ports::ReportStore;
use twzrd_domain::record::Record;
use twzrd_testkit::fake::{Asked, Fault, POISON};

#[tokio::test(start_paused = true)]
async fn every_line_of_every_channel_is_accepted() {
    let live = Live::start(&names(7)).await;
    live.all_heard().await;
    assert_eq!(live.network.sockets(), 3, "three channels a connection");
    let said = live.say_everywhere(40);
    let ledger = live.settled(said).await;
    assert_eq!((ledger.received, ledger.counted), (said, said));
    let late = live.world.tree.stop().await.late;
    assert!(late.is_empty(), "{late:?}");
}

#[tokio::test(start_paused = true)]
async fn joins_never_break_the_budget() {
    let live = Live::start(&names(60)).await;
    live.all_heard().await;
    let mut joins = Vec::new();
    for socket in 0..live.network.sockets() {
        for asked in live.network.asked(socket) {
            if let Asked::Join(channels, at) = asked {
                joins.extend(channels.iter().map(|_| at));
            }
        }
    }
    joins.sort_unstable();
    assert_eq!(joins.len(), 60);
    for window in joins.windows(live::JOINS + 1) {
        assert!(window[live::JOINS] - window[0] > Duration::from_secs(10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_socket_is_a_gap_and_its_channels_come_back() {
    let live = Live::start(&names(2)).await;
    live.all_heard().await;
    live.say_everywhere(5);
    live.settled(10).await;
    live.clock.set(7_200_000 + 60_000);
    let away = ConnectError::Unreachable {
        address: "chat:1".into(),
        reason: "refused".into(),
    };
    live.network.unreachable(Some(away));
    live.network.cut(0, "reset by peer");
    live.network.until(|network| network.connects() == 2).await;
    live.clock.set(7_200_000 + 90_000);
    live.network.unreachable(None);
    live.all_heard().await;
    live.say_everywhere(5);
    let ledger = live.settled(20).await;
    assert_eq!(ledger.counted, 20);
    let gaps = live.gaps("channel_0").await;
    let lost = gaps.iter().find(|gap| gap.0 == 7_260_000 && gap.1 > gap.0);
    assert_eq!(lost.map(|gap| gap.1), Some(7_290_000), "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_is_away_is_tried_again_and_shown() {
    let live = Live::start(&names(1)).await;
    live.all_heard().await;
    let away = ConnectError::Unreachable {
        address: "chat:1".into(),
        reason: "no route".into(),
    };
    live.network.unreachable(Some(away));
    live.network.cut_all("closed by the server");
    let tried = live.network.connects() + 4;
    live.network
        .until(|network| network.connects() >= tried)
        .await;
    live.until(|live| live.board.connections()[0].state == ConnectionState::Waiting)
        .await;
    let connection = &live.board.connections()[0];
    let reason = connection.reason.clone().unwrap();
    assert_eq!(reason, "cannot connect to chat:1: no route");
    let status = &live.board.channels()[0];
    assert_eq!(status.state, ChannelState::Disconnected);
    assert_eq!(
        live.restarts("root/ingest/connections/1"),
        0,
        "weather is no crash"
    );
    live.network.unreachable(None);
    live.all_heard().await;
}

#[tokio::test(start_paused = true)]
async fn on_a_reconnect_the_new_socket_joins_before_the_old_one_is_closed() {
    let live = Live::start(&names(3)).await;
    live.all_heard().await;
    live.network.tell(0, News::Reconnect);
    let both = |network: &live::FakeNetwork| {
        network.sockets() == 2 && network.joined(1).len() == 3 && network.joined(0).is_empty()
    };
    // Said all the while, on whichever sockets have joined; both may hear the same line.
    let mut said = 0;
    while !both(&live.network) {
        said += live.say_everywhere(1);
        assert!(live.board.rooms().iter().all(|room| room.is_heard()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    said += live.say_everywhere(1);
    let ledger = live.settled(said).await;
    assert_eq!(ledger.counted, said, "no message is missed");
    assert_eq!(ledger.received, ledger.counted + ledger.duplicate);
    let open: Vec<_> = live.gaps("channel_1").await;
    assert!(
        open.iter().all(|gap| gap.0 == 7_200_000),
        "no gap but the first: {open:?}"
    );
    assert!(live.network.asked(0).contains(&Asked::Close));
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_refused_or_not_answered_says_why_and_others_go_on() {
    let live = Live::start_refusing(&names(3), "channel_0", "channel_1").await;
    live.until(|live| {
        let states = live.board.channels();
        states[0].state == ChannelState::Refused && states[1].state == ChannelState::Refused
    })
    .await;
    let states = live.board.channels();
    assert_eq!(states[0].reason.as_deref(), Some("msg_test: suspended"));
    let silent = states[1].reason.as_deref();
    assert_eq!(silent, Some("no answer to JOIN: the channel may not exist"));
    assert!(states[0].retry_at.is_some());
    assert_eq!(states[2].state, ChannelState::Heard);
    assert_eq!(live.say_everywhere(9), 9);
    assert_eq!(live.settled(9).await.counted, 9);
    live.network.forgive(&channel("channel_0"));
    live.network.forgive(&channel("channel_1"));
    live.all_heard().await;
    let asked = live.network.asked(0).into_iter();
    let joins = asked
        .filter(|asked| matches!(asked, Asked::Join(..)))
        .count();
    assert!(joins <= 8, "tried again rarely: {joins}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_socket_is_asked_and_then_given_up() {
    let live = Live::start(&names(1)).await;
    live.all_heard().await;
    live.network
        .until(|network| network.asked(0).contains(&Asked::Ping))
        .await;
    assert_eq!(live.network.sockets(), 1, "an answered ping keeps it");
    live.network.answer_pings(false);
    live.network.until(|network| network.sockets() == 2).await;
    let counts = live.board.counters().read();
    assert_eq!(counts.losses, 1);
    live.network.tell(1, News::Ping("token".into()));
    live.network
        .until(|network| network.asked(1).contains(&Asked::Pong("token".into())))
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_full_feed_keeps_the_socket_from_being_read_and_loses_nothing() {
    let live = Live::start(&names(1)).await;
    live.all_heard().await;
    live.world.journal.faults().hold();
    let mut said = 0;
    live.until(|live| {
        said += live.say_everywhere(50);
        live.board.connections()[0].blocked_by.is_some()
    })
    .await;
    said += live.say_everywhere(50);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(live.network.unread(0) > 0, "the socket is read no further");
    let status = &live.board.channels()[0];
    assert!(status.feed_bytes <= status.feed_bound);
    let snapshot = live.world.tree.which_children();
    let shown = snapshot.find("root/ingest/collectors/#channel_0").unwrap();
    assert_eq!(shown.feed.unwrap().bound, status.feed_bound);
    live.world.journal.faults().release();
    assert_eq!(live.settled(said).await.counted, said);
    assert!(live.board.counters().read().blocked >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_crashes_its_collector_three_times_goes_to_the_quarantine() {
    let live = Live::start(&names(2)).await;
    live.all_heard().await;
    live.say_everywhere(3);
    let poison = format!("{POISON} id-of-poison");
    live.network.say(&channel("channel_0"), &poison);
    live.say_everywhere(3);
    let ledger = live.settled(13).await;
    assert_eq!((ledger.counted, ledger.invalid), (12, 1));
    live.until(|live| !live.world.store.state().quarantine.is_empty())
        .await;
    let kept = live.world.store.state().quarantine;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].line, format!("channel_0 {poison}"));
    assert_eq!(
        (kept[0].channel.as_str(), kept[0].crashes),
        ("channel_0", 3)
    );
    assert_eq!(live.restarts("root/ingest/collectors/#channel_0"), 3);
    assert_eq!(live.restarts("root/ingest/collectors/#channel_1"), 0);
    assert_eq!(live.board.counters().read().quarantined, 1);
}

#[tokio::test(start_paused = true)]
async fn a_quarantined_line_waits_for_a_store_that_is_away() {
    let live = Live::start(&names(1)).await;
    live.all_heard().await;
    live.world
        .store
        .faults()
        .fail_next_of("quarantine", 3, Fault::Transient);
    live.network.say(&channel("channel_0"), POISON);
    live.say_everywhere(2);
    assert_eq!(live.settled(3).await.invalid, 1);
    live.until(|live| !live.world.store.state().quarantine.is_empty())
        .await;
    assert_eq!(live.world.store.state().quarantine.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_list_touches_what_changed_and_nothing_else() {
    let live = Live::start(&names(9)).await;
    live.all_heard().await;
    let before = live.lives();
    let mut wanted: Vec<String> = names(9);
    wanted.remove(4);
    wanted.push("new_one".to_owned());
    let diff = live.want(&wanted).await;
    let named = |channels: &[twzrd_domain::identity::Channel]| -> Vec<String> {
        channels.iter().map(ToString::to_string).collect()
    };
    assert_eq!(named(&diff.to_add), ["new_one"]);
    assert_eq!(named(&diff.to_remove), ["channel_4"]);
    assert_eq!(diff.unchanged, 8);
    live.until(|live| live.board.room(&channel("channel_4")).is_none())
        .await;
    live.all_heard().await;
    let after = live.lives();
    let same: BTreeSet<_> = before.intersection(&after).collect();
    assert_eq!(
        same.len(),
        8 + 1 + 3,
        "eight collectors, the server's, three connections"
    );
    assert!(!after.iter().any(|id| id.0.contains("channel_4")));
    assert!(
        live.network
            .asked(1)
            .contains(&Asked::Part(vec![channel("channel_4")]))
    );
    assert!(live.say_everywhere(2) >= 18);
    let gaps = live.gaps("channel_4").await;
    let last = gaps.last().unwrap();
    assert_eq!(
        last.0, last.1,
        "the gap of a removed channel goes on: {gaps:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_removed_channel_whose_feed_is_full_loses_nothing_and_holds_nobody_up() {
    let live = Live::start(&names(2)).await;
    live.all_heard().await;
    live.world.journal.faults().hold();
    let mut said = 0;
    live.until(|live| {
        for _ in 0..20 {
            live.network
                .say(&channel("channel_1"), &format!("user id-of-{said}"));
            said += 1;
        }
        live.board.connections()[0].blocked_by.is_some()
    })
    .await;
    live.want(&names(1)).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(
        live.board.room(&channel("channel_1")).is_some(),
        "it waits for its lines"
    );
    live.world.journal.faults().release();
    live.until(|live| live.board.room(&channel("channel_1")).is_none())
        .await;
    let ledger = live.settled(said).await;
    assert_eq!(ledger.counted, said);
    assert_eq!(live.say_everywhere(7), 7);
    assert_eq!(live.settled(said + 7).await.counted, said + 7);
}

// Found by a schedule of faults, seed 10244: the list changed, and the ingest branch was restarted.
#[tokio::test(start_paused = true)]
async fn lines_of_a_removed_channel_are_taken_in_after_a_restart_of_the_branch() {
    let live = Live::start(&names(2)).await;
    live.all_heard().await;
    live.world.journal.faults().hold();
    let said = live.say_everywhere(10);
    live.until(|live| {
        live.board
            .rooms()
            .iter()
            .all(|room| room.feed().depth().lines > 0)
    })
    .await;
    live.want(&names(1)).await;
    let root = live.world.tree.root();
    root.terminate_child("ingest").await.unwrap();
    root.restart_child("ingest").await.unwrap();
    live.world.journal.faults().release();
    assert_eq!(live.settled(said).await.counted, said);
    live.until(|live| live.board.room(&channel("channel_1")).is_none())
        .await;
}

// Found while that one was looked at: a roster died between the two halves of letting go.
#[tokio::test(start_paused = true)]
async fn what_a_roster_was_stopping_when_it_died_is_started_again_where_it_is_wanted() {
    let live = Live::start(&names(2)).await;
    live.all_heard().await;
    for (group, id) in [("collectors", "#channel_0"), ("connections", "1")] {
        let path = format!("root/ingest/{group}");
        let supervisor = live.world.tree.supervisor(&path).unwrap();
        supervisor.terminate_child(id).await.unwrap();
    }
    live.world.refs.roster.current().unwrap().actor().kill();
    live.until(|live| live.network.sockets() == 2).await;
    live.all_heard().await;
    let said = live.say_everywhere(5);
    assert_eq!(live.settled(said).await.counted, said);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_removed_and_put_back_at_once_is_heard() {
    let live = Live::start(&names(3)).await;
    live.all_heard().await;
    for _ in 0..20 {
        live.want(&names(2)).await;
        live.want(&names(3)).await;
        live.all_heard().await;
    }
    assert_eq!(live.say_everywhere(4), 12);
    assert_eq!(live.settled(12).await.counted, 12);
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_comes_back_closes_the_gap_in_which_it_was_not_wanted() {
    let live = Live::start(&names(2)).await;
    live.all_heard().await;
    live.clock.set(7_200_000 + 10_000);
    live.want(&names(1)).await;
    live.until(|live| live.board.room(&channel("channel_1")).is_none())
        .await;
    live.clock.set(7_200_000 + 25_000);
    live.want(&names(2)).await;
    live.all_heard().await;
    let open = |gaps: &[(u64, u64)]| gaps.last().is_some_and(|gap| gap.0 == gap.1);
    at_least(|| async { !open(&live.gaps("channel_1").await) }).await;
    let gaps = live.gaps("channel_1").await;
    let (removed, connecting) = ((7_210_000, 7_225_000), (7_225_000, 7_225_001));
    assert_eq!(gaps[gaps.len() - 2..], [removed, connecting], "{gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn a_new_process_records_how_long_no_process_heard_a_channel() {
    let live = Live::start(&names(2)).await;
    live.all_heard().await;
    live.clock.set(7_200_000 + 5_000);
    live.say_everywhere(2);
    live.settled(4).await;
    live.world.tree.stop().await;
    let (store, journal) = (live.world.store.clone(), live.world.journal.clone());
    let live = Live::again(&names(3), store, journal, Some(7_205_000), 7_245_000).await;
    live.all_heard().await;
    at_least(|| async {
        live.gaps("channel_0")
            .await
            .contains(&(7_205_000, 7_245_000))
    })
    .await;
    // One that was never heard is not covered from the beginning of the epoch.
    at_least(|| async { live.gaps("channel_2").await[0] == (7_200_000, 7_245_000) }).await;
    live.world.finish(true).await;
    let sealed = live.world.store.sealed_after(None, 10).await.unwrap();
    let gaps: Vec<_> = sealed
        .iter()
        .map(|one| (one.channel.as_str(), one.gap_ms))
        .collect();
    // Each process took a millisecond to join.
    assert_eq!(gaps, [("channel_0", 40_002), ("channel_1", 40_002)]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_of_the_ingest_loses_and_doubles_nothing() {
    let calm = story(Live::start(&names(5)).await).await;
    assert_eq!(calm.counted, calm.received);
    for step in Step::INGEST {
        for times in [&[1][..], &[2, 3], &[1, 4, 5]] {
            let (live, probe) = Live::start_crashing(&names(5), step, times).await;
            let ledger = story(live).await;
            assert_eq!(ledger, calm, "{step} at {times:?}");
            assert!(probe.count() >= 1, "{step} was never reached");
        }
    }
}

/// Lines, a loss, a reconnect, a change of the list; each line exactly once.
async fn story(live: Live) -> twzrd_domain::ledger::Counts {
    live.all_heard().await;
    let mut said = live.say_everywhere(10);
    live.settled_at_least(said).await;
    live.network.cut(live.network.sockets() - 1, "cut");
    live.until(|live| live.board.counters().read().losses >= 1)
        .await;
    live.all_heard().await;
    said += live.say_everywhere(10);
    live.settled_at_least(said).await;
    let socket = live.network.sockets() - 1;
    live.network.tell(socket, News::Reconnect);
    live.until(|live| live.network.joined(socket).is_empty())
        .await;
    live.all_heard().await;
    live.want(&names(6)).await;
    live.until(|live| live.board.rooms().len() == 6).await;
    live.all_heard().await;
    said += live.say_everywhere(10);
    live.settled_at_least(said).await;
    let records = live.world.journal.entries();
    let events = records
        .iter()
        .filter(|entry| matches!(entry.record, Record::Event(_)));
    assert_eq!(events.count() as u64, said, "each line is accepted once");
    let ledger = live.settled_at_least(said).await;
    live.world.tree.stop().await;
    ledger
}
