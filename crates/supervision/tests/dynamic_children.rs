//! Children that come and go at run time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::{Act, LONG, Log, Msg, Probe, ms, root, start, state};
use twzrd_supervision::{
    Backoff, ChildError, ChildState, LateOutcome, Restart, Shutdown, Strategy, SupervisorSpec,
};

const SLOW: Backoff = Backoff {
    initial: ms(1000),
    max: ms(1000),
    jitter: 0.0,
    reset_after: ms(0),
};

#[tokio::test(start_paused = true)]
async fn a_child_is_started_terminated_restarted_and_deleted() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let spec = root(Strategy::OneForOne);
    let supervisor = spec.supervisor_ref();
    let tree = start(spec).await;
    supervisor.start_child(a.spec()).await.unwrap();
    assert_eq!(a.echo(1).await, 1);
    let running = ChildError::Running {
        path: "root/a".into(),
    };
    assert_eq!(supervisor.restart_child("a").await, Err(running.clone()));
    assert_eq!(supervisor.delete_child("a").await, Err(running));

    assert_eq!(supervisor.terminate_child("a").await.unwrap().late, []);
    assert_eq!(state(&tree, "root/a"), ChildState::Stopped);
    supervisor.restart_child("a").await.unwrap();
    assert_eq!(a.echo(2).await, 2);

    supervisor.terminate_child("a").await.unwrap();
    supervisor.delete_child("a").await.unwrap();
    assert_eq!(supervisor.which_children(), []);
    let gone = ChildError::NotFound {
        path: "root/a".into(),
    };
    assert_eq!(supervisor.terminate_child("a").await, Err(gone.clone()));
    assert_eq!(supervisor.restart_child("a").await, Err(gone.clone()));
    assert_eq!(supervisor.delete_child("a").await, Err(gone));
    assert_eq!(
        log.take(),
        ["start a", "up a", "stop a", "start a", "up a", "stop a"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_id_is_an_error_to_the_caller_and_leaves_the_first_child_alone() {
    let log = Log::new();
    let (first, second) = (Probe::new("a", &log), Probe::new("a", &log));
    let tree = start(root(Strategy::OneForOne).child(first.spec())).await;
    let present = ChildError::AlreadyPresent {
        path: "root/a".into(),
    };
    assert_eq!(tree.root().start_child(second.spec()).await, Err(present));
    assert_eq!(first.echo(1).await, 1);
    assert_eq!(first.child.current().unwrap().number(), 1);
    assert_eq!(log.count("start a"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_child_that_fails_to_start_is_an_error_and_is_forgotten() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_start(|_| Act::Panic);
    let tree = start(root(Strategy::OneForOne)).await;
    let error = tree.root().start_child(a.spec()).await.unwrap_err();
    let text = "`root/a` failed to start: panic: scripted panic";
    assert_eq!(error.to_string(), text);
    tokio::time::sleep(ms(10_000)).await;
    assert_eq!(log.count("start a"), 1);
    assert_eq!(tree.root().which_children(), []);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_fails_to_restart_by_hand_stays_stopped() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_start(|n| if n == 2 { Act::Fail } else { Act::Fine });
    let tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    tree.root().terminate_child("a").await.unwrap();
    let error = tree.root().restart_child("a").await.unwrap_err();
    assert!(matches!(error, ChildError::StartFailed { .. }), "{error}");
    assert_eq!(state(&tree, "root/a"), ChildState::Stopped);
    tree.root().restart_child("a").await.unwrap();
    assert_eq!(a.echo(1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_child_that_waits_for_its_restart_cannot_be_restarted_or_deleted() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec().backoff(SLOW))).await;
    a.tell(Msg::Panic);
    a.away().await;
    tokio::time::sleep(ms(1)).await;
    let restarting = ChildError::Restarting {
        path: "root/a".into(),
    };
    assert_eq!(
        tree.root().restart_child("a").await,
        Err(restarting.clone())
    );
    assert_eq!(tree.root().delete_child("a").await, Err(restarting));
}

#[tokio::test(start_paused = true)]
async fn a_terminated_temporary_child_is_forgotten() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec().restart(Restart::Temporary))).await;
    tree.root().terminate_child("a").await.unwrap();
    assert_eq!(tree.root().which_children(), []);
    tree.root().start_child(a.spec()).await.unwrap();
    assert_eq!(a.echo(1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_terminated_child_does_not_come_back_with_its_group() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let tree = start(root(Strategy::OneForAll).child(a.spec()).child(b.spec())).await;
    tree.root().terminate_child("a").await.unwrap();
    b.tell(Msg::Panic);
    b.incarnation(2).await;
    tokio::time::sleep(ms(10_000)).await;
    assert_eq!(log.count("start a"), 1);
    assert_eq!(state(&tree, "root/a"), ChildState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn terminating_reports_a_child_that_was_late() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let spec = a.spec().shutdown(Shutdown::Deadline(ms(200)));
    let tree = start(root(Strategy::OneForOne).child(spec)).await;
    a.tell(Msg::Hang);
    log.wait("hang a", 1).await;
    let report = tree.root().terminate_child("a").await.unwrap();
    let named: Vec<_> = report
        .late
        .iter()
        .map(|late| (late.path.as_str(), late.outcome))
        .collect();
    assert_eq!(named, [("root/a", LateOutcome::Killed)]);
    assert_eq!(tree.stop().await.late, [], "it was late then, not now");
}

#[tokio::test(start_paused = true)]
async fn a_child_started_during_a_group_restart_waits_for_its_turn() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_start(|n| {
        if n == 2 {
            Act::Take(ms(100))
        } else {
            Act::Fine
        }
    });
    let [b, c] = ["b", "c"].map(|id| Probe::new(id, &log));
    let tree = start(root(Strategy::OneForAll).child(a.spec()).child(b.spec())).await;
    log.take();
    a.tell(Msg::Panic);
    log.wait("start a", 1).await;
    tree.root().start_child(c.spec()).await.unwrap();
    let expected = [
        "stop b", "start a", "up a", "start b", "up b", "start c", "up c",
    ];
    assert_eq!(log.take(), expected);
}

#[tokio::test(start_paused = true)]
async fn a_supervisor_that_is_gone_or_stopping_says_so() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_stop(Act::Take(ms(100)));
    let b = Probe::new("b", &log);
    let spec = root(Strategy::OneForOne).child(a.spec());
    let supervisor = spec.supervisor_ref();
    let early = supervisor.start_child(b.spec()).await;
    assert!(
        matches!(early, Err(ChildError::SupervisorAway { .. })),
        "{early:?}"
    );
    let tree = start(spec).await;
    let (_, during) = tokio::join!(tree.stop(), async {
        log.wait("stop a", 1).await;
        supervisor.start_child(b.spec()).await
    });
    assert!(
        matches!(during, Err(ChildError::SupervisorAway { .. })),
        "{during:?}"
    );
    let after = supervisor.terminate_child("a").await;
    assert!(
        matches!(after, Err(ChildError::SupervisorAway { .. })),
        "{after:?}"
    );
    assert_eq!(log.count("start b"), 0);
}

#[tokio::test(start_paused = true)]
async fn an_actor_may_start_children_through_a_reference_handed_to_it() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let pool = SupervisorSpec::new("pool");
    let pool_ref = pool.supervisor_ref();
    let spec = root(Strategy::OneForOne).child(twzrd_supervision::ChildSpec::supervisor(pool));
    let tree = start(spec).await;
    pool_ref.start_child(a.spec()).await.unwrap();
    let found = tree.supervisor("root/pool").unwrap();
    assert_eq!(found.which_children()[0].path, "root/pool/a");
    assert!(
        tree.supervisor("root/pool/a").is_none(),
        "a worker supervises nobody"
    );
    assert!(tree.supervisor("other/pool").is_none());
    a.child.wait_running(LONG).await.unwrap();
}
