//! The strategies and restart classes, as OTP states them.
#![allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Act, Log, Msg, Probe, intensity, ms, restarts, root, start, state};
use twzrd_supervision::{
    Backoff, ChildSpec, ChildState, ExitReason, Restart, Strategy, SupervisorSpec, Tree,
};

struct Three {
    log: Log,
    a: Probe,
    b: Probe,
    c: Probe,
}

impl Three {
    fn new() -> Self {
        let log = Log::new();
        Self {
            a: Probe::new("a", &log),
            b: Probe::new("b", &log),
            c: Probe::new("c", &log),
            log,
        }
    }

    async fn start(&self, strategy: Strategy) -> Tree {
        let spec = root(strategy)
            .child(self.a.spec())
            .child(self.b.spec())
            .child(self.c.spec());
        start(spec).await
    }
}

#[tokio::test(start_paused = true)]
async fn children_start_in_order_each_after_the_one_before_is_up() {
    let three = Three::new();
    let slow = three.a.clone().on_start(|_| Act::Take(ms(500)));
    let spec = root(Strategy::OneForOne)
        .child(slow.spec())
        .child(three.b.spec());
    let _tree = start(spec).await;
    assert_eq!(three.log.take(), ["start a", "up a", "start b", "up b"]);
}

#[tokio::test(start_paused = true)]
async fn children_stop_in_reverse_order_and_nobody_is_late() {
    let three = Three::new();
    let tree = three.start(Strategy::OneForOne).await;
    three.log.take();
    let report = tree.stop().await;
    assert_eq!(report.late, []);
    assert_eq!(three.log.take(), ["stop c", "stop b", "stop a"]);
    assert_eq!(tree.exited().await, ExitReason::Normal);
    assert_eq!(state(&tree, "root"), ChildState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn one_for_one_restarts_only_the_child_that_exited() {
    let three = Three::new();
    let tree = three.start(Strategy::OneForOne).await;
    three.log.take();
    three.b.tell(Msg::Panic);
    three.b.incarnation(2).await;
    assert_eq!(three.log.take(), ["start b", "up b"]);
    let counts = ["a", "b", "c"].map(|id| restarts(&tree, &format!("root/{id}")));
    assert_eq!(counts, [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn one_for_all_stops_the_others_in_reverse_and_starts_all_in_order() {
    let three = Three::new();
    let _tree = three.start(Strategy::OneForAll).await;
    three.log.take();
    three.b.tell(Msg::Fail);
    three.c.incarnation(2).await;
    let expected = [
        "stop c", "stop a", "start a", "up a", "start b", "up b", "start c", "up c",
    ];
    assert_eq!(three.log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn rest_for_one_restarts_the_child_and_those_started_after_it_in_order() {
    let three = Three::new();
    let tree = three.start(Strategy::RestForOne).await;
    three.log.take();
    three.b.tell(Msg::Panic);
    three.c.incarnation(2).await;
    assert_eq!(
        three.log.take(),
        ["stop c", "start b", "up b", "start c", "up c"]
    );
    assert_eq!(restarts(&tree, "root/a"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_group_waits_for_the_backoff_of_the_child_that_failed() {
    let log = Log::new();
    let backoff = Backoff {
        initial: ms(300),
        max: ms(300),
        jitter: 0.0,
        reset_after: ms(0),
    };
    let (a, b) = (Probe::new("a", &log), Probe::new("b", &log));
    let spec = root(Strategy::OneForAll)
        .child(a.spec().backoff(backoff))
        .child(b.spec());
    let _tree = start(spec).await;
    let before = tokio::time::Instant::now();
    a.tell(Msg::Panic);
    b.incarnation(2).await;
    assert_eq!(before.elapsed(), ms(300));
}

#[tokio::test(start_paused = true)]
async fn a_second_failure_does_not_shorten_the_backoff_of_the_first() {
    let log = Log::new();
    let backoff = Backoff {
        initial: ms(500),
        max: ms(500),
        jitter: 0.0,
        reset_after: ms(0),
    };
    let (a, b) = (Probe::new("a", &log), Probe::new("b", &log));
    let spec = root(Strategy::RestForOne)
        .child(a.spec())
        .child(b.spec().backoff(backoff));
    let _tree = start(spec).await;
    let before = tokio::time::Instant::now();
    b.tell(Msg::Panic);
    tokio::time::sleep(ms(100)).await;
    a.tell(Msg::Panic);
    b.incarnation(2).await;
    assert_eq!(before.elapsed(), ms(500));
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_in_a_group_restart_is_a_failure_that_restarts_the_group_again() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let b = Probe::new("b", &log).on_start(|n| if n == 2 { Act::Fail } else { Act::Fine });
    let spec = root(Strategy::OneForAll).child(a.spec()).child(b.spec());
    let tree = start(spec).await;
    log.take();
    a.tell(Msg::Panic);
    b.incarnation(3).await;
    let expected = [
        "stop b", "start a", "up a", "start b", "stop a", "start a", "up a", "start b", "up b",
    ];
    assert_eq!(log.take(), expected);
    assert_eq!(restarts(&tree, "root/b"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_in_a_rest_for_one_restart_is_retried_from_that_child_on() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let c = Probe::new("c", &log).on_start(|n| if n == 2 { Act::Fail } else { Act::Fine });
    let d = Probe::new("d", &log);
    let spec = root(Strategy::RestForOne).children([&a, &b, &c, &d].map(Probe::spec));
    let _tree = start(spec).await;
    log.take();
    b.tell(Msg::Panic);
    d.incarnation(2).await;
    let expected = [
        "stop d", "stop c", "start b", "up b", "start c", "start c", "up c", "start d", "up d",
    ];
    assert_eq!(log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_second_crash_during_a_group_restart_extends_it_to_the_earlier_child() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let b = Probe::new("b", &log).on_start(|n| match n {
        2 => Act::Take(ms(100)),
        _ => Act::Fine,
    });
    let c = Probe::new("c", &log);
    let spec = root(Strategy::RestForOne)
        .child(a.spec())
        .child(b.spec())
        .child(c.spec());
    let _tree = start(spec).await;
    log.take();
    b.tell(Msg::Panic);
    log.wait("start b", 1).await;
    a.tell(Msg::Panic);
    c.incarnation(2).await;
    let expected = [
        "stop c", "start b", "up b", "stop b", "start a", "up a", "start b", "up b", "start c",
        "up c",
    ];
    assert_eq!(log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_child_is_restarted_after_a_normal_stop() {
    let three = Three::new();
    let _tree = three.start(Strategy::OneForOne).await;
    three.a.tell(Msg::Stop);
    three.a.incarnation(2).await;
    assert_eq!(three.log.count("start a"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_transient_child_is_restarted_after_a_crash_and_not_after_a_normal_stop() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec().restart(Restart::Transient))).await;
    a.tell(Msg::Fail);
    a.incarnation(2).await;
    a.tell(Msg::Stop);
    a.away().await;
    tokio::time::sleep(ms(10_000)).await;
    assert_eq!(log.count("start a"), 2);
    let snapshot = tree.which_children();
    let a = snapshot.find("root/a").unwrap();
    assert_eq!(a.state, ChildState::Stopped);
    assert_eq!(a.last_exit, Some(ExitReason::Normal));
}

#[tokio::test(start_paused = true)]
async fn a_temporary_child_is_never_restarted_and_is_forgotten() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec().restart(Restart::Temporary))).await;
    a.tell(Msg::Panic);
    a.away().await;
    tokio::time::sleep(ms(10_000)).await;
    assert_eq!(log.count("start a"), 1);
    assert_eq!(tree.which_children().find("root/a"), None);
}

#[tokio::test(start_paused = true)]
async fn in_a_group_restart_temporary_children_go_finished_transient_ones_come_back() {
    let log = Log::new();
    let [a, b, c] = ["a", "b", "c"].map(|id| Probe::new(id, &log));
    let spec = root(Strategy::OneForAll)
        .child(a.spec().restart(Restart::Transient))
        .child(b.spec().restart(Restart::Temporary))
        .child(c.spec());
    let tree = start(spec).await;
    a.tell(Msg::Stop);
    a.away().await;
    log.take();
    c.tell(Msg::Panic);
    c.incarnation(2).await;
    assert_eq!(log.take(), ["stop b", "start a", "up a", "start c", "up c"]);
    assert_eq!(tree.which_children().find("root/b"), None);
}

#[tokio::test(start_paused = true)]
async fn a_root_that_gives_up_stops_its_children_in_reverse_and_says_why() {
    let log = Log::new();
    let [a, b, c] = ["a", "b", "c"].map(|id| Probe::new(id, &log));
    let spec = SupervisorSpec::new("root")
        .intensity(intensity(2, ms(1000)))
        .children([&a, &b, &c].map(Probe::spec));
    let tree = start(spec).await;
    for number in 1..=2 {
        b.tell(Msg::Panic);
        b.incarnation(number + 1).await;
    }
    log.take();
    b.tell(Msg::Panic);
    let reason = tree.exited().await;
    let expected = ExitReason::GaveUp {
        child: "root/b".into(),
        restarts: 2,
        period_ms: 1000,
        text: "panic: scripted panic".into(),
    };
    assert_eq!(reason, expected);
    assert_eq!(log.take(), ["stop c", "stop a"]);
    assert_eq!(
        tree.stop().await.late,
        [],
        "a later stop finds the tree ended"
    );
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_gives_up_is_restarted_by_its_own_supervisor() {
    let log = Log::new();
    let [a, b, outer] = ["a", "b", "outer"].map(|id| Probe::new(id, &log));
    let inner = SupervisorSpec::new("inner")
        .intensity(intensity(0, ms(1000)))
        .children([&a, &b].map(Probe::spec));
    let spec = root(Strategy::OneForOne)
        .child(outer.spec())
        .child(ChildSpec::supervisor(inner));
    let tree = start(spec).await;
    log.take();
    a.tell(Msg::Fail);
    b.incarnation(2).await;
    assert_eq!(log.take(), ["stop b", "start a", "up a", "start b", "up b"]);
    let snapshot = tree.which_children();
    let inner = snapshot.find("root/inner").unwrap();
    assert_eq!((inner.state, inner.restarts), (ChildState::Running, 1));
    let gave_up = matches!(&inner.last_exit, Some(ExitReason::GaveUp { child, .. }) if child == "root/inner/a");
    assert!(gave_up, "{:?}", inner.last_exit);
    assert_eq!(outer.echo(7).await, 7);
}

#[tokio::test(start_paused = true)]
async fn escalation_goes_up_to_the_root_when_nothing_helps() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let inner = SupervisorSpec::new("inner")
        .intensity(intensity(0, ms(1000)))
        .child(a.spec());
    let spec = SupervisorSpec::new("root")
        .intensity(intensity(1, ms(60_000)))
        .child(ChildSpec::supervisor(inner));
    let tree = start(spec).await;
    a.tell(Msg::Panic);
    a.incarnation(2).await;
    a.tell(Msg::Panic);
    let reason = tree.exited().await;
    let at_the_root = matches!(&reason, ExitReason::GaveUp { child, .. } if child == "root/inner");
    assert!(at_the_root, "{reason}");
}
