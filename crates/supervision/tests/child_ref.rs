//! What a handle to a sibling promises.
#![allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Act, LONG, Log, Msg, Probe, ms, root, start};
use twzrd_supervision::{Backoff, RefError, Strategy};

const SLOW: Backoff = Backoff {
    initial: ms(1000),
    max: ms(1000),
    jitter: 0.0,
    reset_after: ms(0),
};

#[tokio::test(start_paused = true)]
async fn before_the_start_between_restarts_and_after_the_stop_a_child_is_away() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let away = Err(RefError::Away { child: "a".into() });
    assert_eq!(a.child.cast(Msg::Stop), away);
    let tree = start(root(Strategy::OneForOne).child(a.spec().backoff(SLOW))).await;
    assert_eq!(a.echo(1).await, 1);
    a.tell(Msg::Panic);
    a.away().await;
    assert_eq!(a.child.cast(Msg::Stop), away);
    let call = a.child.call(|reply| Msg::Echo(1, reply), LONG).await;
    assert_eq!(call, Err(RefError::Away { child: "a".into() }));
    a.incarnation(2).await;
    assert_eq!(a.echo(2).await, 2);
    tree.stop().await;
    assert_eq!(a.child.cast(Msg::Stop), away);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_dies_with_the_actor_is_dropped_and_not_a_timeout() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let _tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    a.tell(Msg::Busy(ms(100)));
    a.tell(Msg::Panic);
    let queued = a.child.call(|reply| Msg::Echo(1, reply), LONG).await;
    assert_eq!(queued, Err(RefError::Dropped { child: "a".into() }));
    a.incarnation(2).await;
    let ignored = a.child.call(Msg::Ignore, LONG).await;
    assert_eq!(ignored, Err(RefError::Dropped { child: "a".into() }));
}

#[tokio::test(start_paused = true)]
async fn a_request_to_a_busy_actor_times_out() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let _tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    a.tell(Msg::Busy(ms(5000)));
    let before = tokio::time::Instant::now();
    let answer = a.child.call(|reply| Msg::Echo(1, reply), ms(100)).await;
    assert_eq!(answer, Err(RefError::Timeout { child: "a".into() }));
    assert_eq!(before.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_child_ends_when_it_runs_or_in_time() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let waited = a.child.wait_running(ms(10)).await;
    assert_eq!(waited, Err(RefError::Timeout { child: "a".into() }));
    let waiting = tokio::spawn({
        let child = a.child.clone();
        async move { child.wait_running(LONG).await }
    });
    let _tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    assert_eq!(waiting.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_sees_every_change_of_incarnation() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let mut current = a.child.subscribe();
    let mut seen = Vec::new();
    let _tree = start(root(Strategy::OneForOne).child(a.spec().backoff(SLOW))).await;
    a.tell(Msg::Panic);
    while seen.len() < 3 {
        current.changed().await.unwrap();
        seen.push(
            current
                .borrow_and_update()
                .as_ref()
                .map(twzrd_supervision::Incarnation::number),
        );
    }
    assert_eq!(seen, [Some(1), None, Some(2)]);
}

#[tokio::test(start_paused = true)]
async fn the_siblings_of_a_crashing_child_miss_no_message() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let _tree = start(root(Strategy::OneForOne).child(a.spec()).child(b.spec())).await;
    log.take();
    let sent: Vec<String> = (0..500).map(|n| format!("note {n}")).collect();
    for (n, text) in (2..).zip(&sent) {
        b.tell(Msg::Note(text.clone()));
        a.tell(Msg::Panic);
        b.tell(Msg::Note(text.clone()));
        a.incarnation(n).await;
    }
    b.echo(0).await;
    let got: Vec<String> = log
        .take()
        .into_iter()
        .filter(|entry| entry.starts_with("note"))
        .collect();
    let expected: Vec<String> = sent
        .into_iter()
        .flat_map(|text| [text.clone(), text])
        .collect();
    assert_eq!(got, expected);
}

#[tokio::test(start_paused = true)]
async fn mailbox_depth_counts_what_waits_and_dies_with_the_mailbox() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_start(|_| Act::Fine);
    let tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    a.tell(Msg::Busy(ms(100)));
    a.tell(Msg::Panic);
    for _ in 0..5 {
        a.tell(Msg::Note("lost".into()));
    }
    tokio::time::sleep(ms(1)).await;
    assert_eq!(a.child.mailbox_depth(), 6);
    let depth = tree.which_children().find("root/a").unwrap().mailbox_depth;
    assert_eq!(depth, 6);
    a.incarnation(2).await;
    assert_eq!(a.child.mailbox_depth(), 0);
    a.echo(1).await;
    tokio::time::sleep(ms(1)).await;
    let snapshot = tree.which_children();
    let a = snapshot.find("root/a").unwrap();
    assert_eq!((a.mailbox_depth, a.handled, a.restarts), (0, 3, 1));
    assert_eq!(log.count("lost"), 0);
}

#[tokio::test(start_paused = true)]
async fn messages_by_the_raw_reference_distort_the_depth_only_until_the_mailbox_is_empty() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let _tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    let raw = a.child.current().unwrap().actor().clone();
    for _ in 0..10 {
        raw.send_message(Msg::Note("raw".into())).unwrap();
    }
    a.echo(1).await;
    a.tell(Msg::Busy(ms(100)));
    a.tell(Msg::Note("counted".into()));
    tokio::time::sleep(ms(1)).await;
    assert_eq!(a.child.mailbox_depth(), 1);
}
