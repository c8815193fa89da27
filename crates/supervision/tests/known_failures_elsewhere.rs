//! Failures seen in another supervisor for ractor, which must not be ours.
#![allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Act, Log, Msg, Probe, intensity, ms, root, start, state};
use tokio::time::Instant;
use twzrd_supervision::{Backoff, ChildState, Shutdown, Strategy, SupervisorSpec};

const fn backoff(wait: u64) -> Backoff {
    Backoff {
        initial: ms(wait),
        max: ms(wait),
        jitter: 0.0,
        reset_after: ms(0),
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_terminated_during_its_backoff_does_not_come_back() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec().backoff(backoff(1000)))).await;
    a.tell(Msg::Panic);
    a.away().await;
    tokio::time::sleep(ms(500)).await;
    assert_eq!(state(&tree, "root/a"), ChildState::Restarting);
    tree.root().terminate_child("a").await.unwrap();
    assert_eq!(state(&tree, "root/a"), ChildState::Stopped);
    tokio::time::sleep(ms(60_000)).await;
    assert_eq!(log.count("start a"), 1);
    assert!(!a.child.is_running());
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_id_does_not_harm_the_supervisor() {
    let log = Log::new();
    let (a, twin, b) = (
        Probe::new("a", &log),
        Probe::new("a", &log),
        Probe::new("b", &log),
    );
    let tree = start(root(Strategy::OneForOne).child(a.spec()).child(b.spec())).await;
    tree.root().start_child(twin.spec()).await.unwrap_err();
    b.tell(Msg::Panic);
    b.incarnation(2).await;
    assert_eq!((a.echo(1).await, b.echo(2).await), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn one_for_all_with_a_busy_sibling_is_one_restart_and_no_meltdown() {
    let log = Log::new();
    let [a, busy] = ["a", "busy"].map(|id| Probe::new(id, &log));
    let spec = SupervisorSpec::new("root")
        .strategy(Strategy::OneForAll)
        .intensity(intensity(1, ms(60_000)))
        .child(a.spec())
        .child(busy.spec().shutdown(Shutdown::Deadline(ms(5000))));
    let tree = start(spec).await;
    busy.tell(Msg::Busy(ms(2000)));
    log.take();
    let before = Instant::now();
    a.tell(Msg::Panic);
    busy.incarnation(2).await;
    assert_eq!(before.elapsed(), ms(2000), "it was let finish its message");
    let expected = ["stop busy", "start a", "up a", "start busy", "up busy"];
    assert_eq!(log.take(), expected);
    assert_eq!(state(&tree, "root"), ChildState::Running);
}

#[tokio::test(start_paused = true)]
async fn a_stopped_supervisor_lets_its_children_finish() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_stop(Act::Take(ms(700)));
    let tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    a.tell(Msg::Busy(ms(300)));
    tokio::time::sleep(ms(1)).await;
    let before = Instant::now();
    assert_eq!(tree.stop().await.late, []);
    assert_eq!(before.elapsed(), ms(999));
    assert_eq!(log.count("stop a"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_restart_of_one_child_does_not_block_that_of_another() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let spec = root(Strategy::OneForOne)
        .child(a.spec().backoff(backoff(10_000)))
        .child(b.spec());
    let tree = start(spec).await;
    let before = Instant::now();
    a.tell(Msg::Panic);
    b.tell(Msg::Panic);
    b.incarnation(2).await;
    assert_eq!(before.elapsed(), ms(0));
    assert_eq!(state(&tree, "root/a"), ChildState::Restarting);
    a.incarnation(2).await;
    assert_eq!(before.elapsed(), ms(10_000));
}
