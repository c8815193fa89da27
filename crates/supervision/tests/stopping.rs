//! Ordered stop: deadlines, who was late, and everything that can happen meanwhile.
#![allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::mpsc;

use support::{Act, Log, Msg, Probe, ms, root, start, state};
use twzrd_supervision::{
    Backoff, ChildSpec, ChildState, ExitReason, LateOutcome, LateStop, Shutdown, Strategy,
    SupervisorSpec,
};

fn late(path: &str, outcome: LateOutcome) -> LateStop {
    LateStop {
        path: path.into(),
        outcome,
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_hangs_is_killed_at_its_deadline_and_named() {
    let log = Log::new();
    let [a, b, c] = ["a", "b", "c"].map(|id| Probe::new(id, &log));
    let inner = SupervisorSpec::new("inner").child(b.spec().shutdown(Shutdown::Deadline(ms(300))));
    let spec = root(Strategy::OneForOne)
        .child(a.spec())
        .child(ChildSpec::supervisor(inner))
        .child(c.spec());
    let tree = start(spec).await;
    b.tell(Msg::Hang);
    log.wait("hang b", 1).await;
    log.take();
    let before = tokio::time::Instant::now();
    let report = tree.stop().await;
    assert_eq!(report.late, [late("root/inner/b", LateOutcome::Killed)]);
    assert_eq!(before.elapsed(), ms(300));
    assert_eq!(log.take(), ["stop c", "stop a"]);
    assert_eq!(
        tree.stop().await,
        report,
        "a second stop gives the same report"
    );
}

#[tokio::test(start_paused = true)]
async fn a_post_stop_that_hangs_is_late_and_one_that_panics_is_not() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_stop(Act::Hang);
    let b = Probe::new("b", &log).on_stop(Act::Panic);
    let tree = start(root(Strategy::OneForOne).child(a.spec()).child(b.spec())).await;
    let report = tree.stop().await;
    assert_eq!(report.late, [late("root/a", LateOutcome::Killed)]);
    assert_eq!(tree.exited().await, ExitReason::Normal);
    let snapshot = tree.which_children();
    let text = "scripted panic".into();
    let last_exit = &snapshot.find("root/b").unwrap().last_exit;
    assert_eq!(*last_exit, Some(ExitReason::Panic { text }));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_post_stop_of_a_child_that_stopped_by_itself_is_a_crash() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_stop(Act::Panic);
    let spec = a.spec().restart(twzrd_supervision::Restart::Transient);
    let _tree = start(root(Strategy::OneForOne).child(spec)).await;
    a.tell(Msg::Stop);
    a.incarnation(2).await;
    assert_eq!(log.take(), ["start a", "up a", "stop a", "start a", "up a"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_blocks_its_thread_is_abandoned_at_its_deadline_and_named() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let spec = root(Strategy::OneForOne)
        .child(a.spec())
        .child(b.spec().shutdown(Shutdown::Deadline(ms(20))));
    support::silence_scripted_panics();
    let options = twzrd_supervision::Options {
        seed: 1,
        kill_grace: ms(20),
    };
    let tree = twzrd_supervision::start(spec, options).await.unwrap();
    let (release, blocked) = mpsc::channel();
    b.tell(Msg::Block(blocked));
    log.wait("block b", 1).await;
    let report = tree.stop().await;
    assert_eq!(report.late, [late("root/b", LateOutcome::Abandoned)]);
    assert_eq!(
        log.count("stop a"),
        1,
        "the others are stopped all the same"
    );
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn a_brutal_kill_runs_no_post_stop_and_is_not_late() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree =
        start(root(Strategy::OneForOne).child(a.spec().shutdown(Shutdown::BrutalKill))).await;
    assert_eq!(tree.stop().await.late, []);
    assert_eq!(log.take(), ["start a", "up a"]);
    let snapshot = tree.which_children();
    let last_exit = &snapshot.find("root/a").unwrap().last_exit;
    assert_eq!(*last_exit, Some(ExitReason::Killed));
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_the_supervisor_is_stopping_restarts_nothing() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let b = Probe::new("b", &log).on_stop(Act::Take(ms(1000)));
    let tree = start(root(Strategy::OneForAll).child(a.spec()).child(b.spec())).await;
    log.take();
    let (report, ()) = tokio::join!(tree.stop(), async {
        log.wait("stop b", 1).await;
        assert_eq!(state(&tree, "root/b"), ChildState::Stopping);
        a.tell(Msg::Panic);
        a.away().await;
    });
    assert_eq!(report.late, []);
    assert_eq!(log.take(), ["stop b"]);
    assert_eq!(tree.exited().await, ExitReason::Normal);
}

#[tokio::test(start_paused = true)]
async fn a_stop_cancels_restarts_that_wait_for_their_backoff() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let b = Probe::new("b", &log).on_stop(Act::Take(ms(3000)));
    let backoff = Backoff {
        initial: ms(1000),
        max: ms(1000),
        jitter: 0.0,
        reset_after: ms(0),
    };
    let spec = root(Strategy::OneForOne)
        .child(a.spec().backoff(backoff))
        .child(b.spec());
    let tree = start(spec).await;
    a.tell(Msg::Panic);
    a.away().await;
    log.take();
    tree.stop().await;
    tokio::time::sleep(ms(10_000)).await;
    assert_eq!(log.take(), ["stop b"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_the_first_start_ends_it() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let b = Probe::new("b", &log).on_start(|n| if n == 2 { Act::Hang } else { Act::Fine });
    let inner = SupervisorSpec::new("inner")
        .intensity(support::intensity(0, ms(1)))
        .child(a.spec())
        .child(b.spec().shutdown(Shutdown::Deadline(ms(50))));
    let tree = start(root(Strategy::OneForOne).child(ChildSpec::supervisor(inner))).await;
    a.tell(Msg::Panic);
    log.wait("start b", 2).await;
    assert_eq!(state(&tree, "root/inner"), ChildState::Restarting);
    let report = tree.stop().await;
    assert_eq!(report.late, [late("root/inner/b", LateOutcome::Killed)]);
    assert_eq!(log.count("stop a"), 1);
}

#[tokio::test(start_paused = true)]
async fn children_that_stop_together_take_as_long_as_the_slowest() {
    let log = Log::new();
    let probes = ["a", "b", "c"].map(|id| Probe::new(id, &log).on_stop(Act::Take(ms(400))));
    let spec = root(Strategy::OneForOne).stop_together();
    let tree = start(spec.children(probes.each_ref().map(Probe::spec))).await;
    let before = tokio::time::Instant::now();
    assert_eq!(tree.stop().await.late, []);
    assert_eq!(before.elapsed(), ms(400));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_tree_kills_all_of_it() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let inner = SupervisorSpec::new("inner").child(b.spec());
    let spec = root(Strategy::OneForOne)
        .child(a.spec())
        .child(ChildSpec::supervisor(inner));
    let tree = start(spec).await;
    drop(tree);
    a.away().await;
    b.away().await;
    assert_eq!(log.take(), ["start a", "up a", "start b", "up b"]);
}
