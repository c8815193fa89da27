//! `which_children`: all that can be seen, at any time.
#![allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::mpsc;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use support::{Act, Log, Msg, Probe, ms, root, start, state};
use twzrd_supervision::{
    ChildKind, ChildRef, ChildSpec, ChildState, ExitReason, Feed, Handler, Stall, Strategy,
    SupervisorSpec, waiting_for,
};

const STALL: Stall = Stall {
    after: ms(200),
    kill: false,
};

#[tokio::test(start_paused = true)]
async fn a_stalled_child_is_shown_and_not_killed() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec().stall(STALL))).await;
    a.tell(Msg::Busy(ms(1000)));
    tokio::time::sleep(ms(150)).await;
    assert_eq!(state(&tree, "root/a"), ChildState::Running);
    tokio::time::sleep(ms(100)).await;
    let snapshot = tree.which_children();
    let shown = snapshot.find("root/a").unwrap();
    assert_eq!(shown.state, ChildState::Stalled);
    let handler = shown.handler.unwrap();
    assert_eq!(
        (handler.handler, handler.running_ms),
        (Handler::Message, 250)
    );
    assert_eq!(a.echo(1).await, 1);
    assert_eq!(state(&tree, "root/a"), ChildState::Running);
    assert_eq!(a.child.current().unwrap().number(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_child_is_killed_and_restarted_if_its_spec_says_so() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let stall = Stall {
        kill: true,
        ..STALL
    };
    let tree = start(root(Strategy::OneForOne).child(a.spec().stall(stall))).await;
    let before = tokio::time::Instant::now();
    a.tell(Msg::Hang);
    a.incarnation(2).await;
    assert!(before.elapsed() <= ms(250), "{:?}", before.elapsed());
    let snapshot = tree.which_children();
    let shown = snapshot.find("root/a").unwrap();
    assert_eq!(shown.last_exit, Some(ExitReason::Killed));
    assert_eq!(shown.state, ChildState::Running);
}

#[tokio::test(start_paused = true)]
async fn what_a_child_waits_for_is_shown_until_it_has_it() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    a.tell(Msg::WaitFor("store"));
    log.wait("wait a", 1).await;
    tokio::time::sleep(ms(30)).await;
    let waits = tree
        .which_children()
        .find("root/a")
        .unwrap()
        .waiting_for
        .clone();
    let waits: Vec<_> = waits
        .iter()
        .map(|wait| (wait.what.as_str(), wait.waiting_ms))
        .collect();
    assert_eq!(waits, [("store", 30)]);
    a.child.current().unwrap().actor().kill();
    a.incarnation(2).await;
    assert_eq!(
        tree.which_children().find("root/a").unwrap().waiting_for,
        []
    );
}

struct SlowStarter;

impl Actor for SlowStarter {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        let _waiting = waiting_for("network");
        tokio::time::sleep(ms(100)).await;
        drop(waiting_for("disk"));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_in_pre_start_is_shown_while_the_child_is_starting() {
    let child = ChildRef::new("a");
    let spec = root(Strategy::OneForOne);
    let supervisor = spec.supervisor_ref();
    let _tree = start(spec).await;
    let worker = ChildSpec::worker("a", &child, || (SlowStarter, ()));
    let (started, ()) = tokio::join!(supervisor.start_child(worker), async {
        tokio::time::sleep(ms(40)).await;
        let shown = &supervisor.which_children()[0];
        assert_eq!(shown.state, ChildState::Starting);
        assert_eq!(shown.handler.unwrap().handler, Handler::PreStart);
        assert_eq!(shown.waiting_for[0].what, "network");
        assert_eq!(shown.uptime_ms, None);
    });
    started.unwrap();
    tokio::time::sleep(ms(25)).await;
    let shown = &supervisor.which_children()[0];
    assert_eq!(
        (shown.state, shown.uptime_ms),
        (ChildState::Running, Some(25))
    );
    assert_eq!((shown.handler, shown.waiting_for.len()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_feed_is_shown_with_its_bound_from_inside_and_outside() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    assert_eq!(tree.which_children().find("root/a").unwrap().feed, None);
    a.tell(Msg::Feed(7, 100));
    a.echo(1).await;
    let feed = tree.which_children().find("root/a").unwrap().feed;
    assert_eq!(
        feed,
        Some(Feed {
            depth: 7,
            bound: 100
        })
    );
    a.child.feed_gauge().set(9, 50);
    let feed = tree.which_children().find("root/a").unwrap().feed;
    assert_eq!(
        feed,
        Some(Feed {
            depth: 9,
            bound: 50
        })
    );
}

#[tokio::test(start_paused = true)]
async fn messages_a_second_are_the_mean_of_the_last_five() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let tree = start(root(Strategy::OneForOne).child(a.spec())).await;
    for _ in 0..10 {
        for _ in 0..20 {
            a.tell(Msg::Note(String::new()));
        }
        tokio::time::sleep(ms(1000)).await;
    }
    let snapshot = tree.which_children();
    let shown = snapshot.find("root/a").unwrap();
    assert_eq!(shown.handled, 200);
    assert!(
        (shown.handled_per_second - 20.0).abs() < 1e-9,
        "{}",
        shown.handled_per_second
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tree_is_shown_while_children_hang_block_restart_and_stop() {
    let log = Log::new();
    let [hung, blocked] = ["hung", "blocked"].map(|id| Probe::new(id, &log));
    let starting =
        Probe::new("starting", &log).on_start(|n| if n == 2 { Act::Hang } else { Act::Fine });
    let stopping = Probe::new("stopping", &log).on_stop(Act::Hang);
    let spec = root(Strategy::OneForOne)
        .children([&hung, &blocked, &starting, &stopping].map(Probe::spec));
    let tree = start(spec).await;
    let (release, until) = mpsc::channel();
    hung.tell(Msg::Hang);
    blocked.tell(Msg::Block(until));
    starting.tell(Msg::Panic);
    log.wait("hang hung", 1).await;
    log.wait("block blocked", 1).await;
    log.wait("start starting", 2).await;
    stopping.tell(Msg::Stop);
    log.wait("stop stopping", 1).await;
    use ChildState::{Restarting, Running};
    let seen = ["hung", "blocked", "starting", "stopping"];
    let seen = seen.map(|id| state(&tree, &format!("root/{id}")));
    assert_eq!(seen, [Running, Running, Restarting, Running]);
    let snapshot = tree.which_children();
    let post_stop = snapshot.find("root/stopping").unwrap().handler.unwrap();
    assert_eq!(post_stop.handler, Handler::PostStop);
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_the_whole_tree_as_json() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let inner = SupervisorSpec::new("inner")
        .strategy(Strategy::RestForOne)
        .child(b.spec());
    let spec = root(Strategy::OneForOne)
        .child(a.spec())
        .child(ChildSpec::supervisor(inner));
    let tree = start(spec).await;
    b.echo(1).await;
    tokio::time::sleep(ms(1500)).await;
    let snapshot = tree.which_children();
    let paths: Vec<_> = snapshot
        .all()
        .iter()
        .map(|child| child.path.clone())
        .collect();
    assert_eq!(paths, ["root", "root/a", "root/inner", "root/inner/b"]);
    assert_eq!(
        snapshot.find("root/inner").unwrap().kind,
        ChildKind::Supervisor
    );
    assert_eq!(snapshot.find("root/other"), None);
    let json = serde_json::to_value(snapshot.find("root/inner").unwrap()).unwrap();
    let expected = serde_json::json!({
        "id": "inner", "path": "root/inner", "kind": "supervisor", "restart": "permanent",
        "strategy": "rest_for_one", "state": "running", "restarts": 0, "last_exit": null,
        "uptime_ms": 1500, "retry_in_ms": null, "mailbox_depth": 0, "feed": null,
        "handled": 0, "handled_per_second": 0.0, "handler": null, "waiting_for": [],
        "children": [{
            "id": "b", "path": "root/inner/b", "kind": "worker", "restart": "permanent",
            "state": "running", "restarts": 0, "last_exit": null, "uptime_ms": 1500,
            "retry_in_ms": null, "mailbox_depth": 0, "feed": null, "handled": 1,
            "handled_per_second": 1.0, "handler": null, "waiting_for": [],
        }],
    });
    assert_eq!(json, expected);
}

#[tokio::test(start_paused = true)]
async fn outside_of_an_actor_a_wait_is_a_no_op() {
    let guard = waiting_for("nothing");
    twzrd_supervision::set_feed(1, 2);
    drop(guard);
}
