//! Restarts of one child: backoff, failed starts, cool-down, and what they leave alone.
#![allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use support::{Act, LONG, Log, Msg, Probe, intensity, ms, restarts, root, start, state};
use tokio::time::Instant;
use twzrd_supervision::{
    Backoff, ChildRef, ChildSpec, ChildState, CoolDown, ExitReason, Options, Shutdown, Strategy,
    SupervisorSpec,
};

const fn backoff(initial: u64, max: u64) -> Backoff {
    Backoff {
        initial: ms(initial),
        max: ms(max),
        jitter: 0.0,
        reset_after: ms(5000),
    }
}

/// Crashes a child and returns how long it took to come back as `incarnation`.
async fn crash(probe: &Probe, incarnation: u64) -> Duration {
    let before = Instant::now();
    probe.tell(Msg::Panic);
    probe.incarnation(incarnation).await;
    before.elapsed()
}

#[tokio::test(start_paused = true)]
async fn the_wait_doubles_to_its_maximum_and_begins_anew_after_a_good_run() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let _tree = start(root(Strategy::OneForOne).child(a.spec().backoff(backoff(100, 350)))).await;
    let mut waits = Vec::new();
    for number in 2..=5 {
        waits.push(crash(&a, number).await);
    }
    assert_eq!(waits, [100, 200, 350, 350].map(ms));
    tokio::time::sleep(ms(5000)).await;
    assert_eq!(crash(&a, 6).await, ms(100));
}

#[tokio::test(start_paused = true)]
async fn a_failed_start_counts_as_a_failed_restart_and_is_retried_under_backoff() {
    for act in [Act::Fail, Act::Panic] {
        let log = Log::new();
        let a = Probe::new("a", &log).on_start(
            move |n| {
                if (2..=3).contains(&n) { act } else { Act::Fine }
            },
        );
        let spec = a.spec().backoff(backoff(100, 1000));
        let tree = start(root(Strategy::OneForOne).child(spec)).await;
        assert_eq!(crash(&a, 4).await, ms(100 + 200 + 400));
        assert_eq!(restarts(&tree, "root/a"), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_starts_count_against_the_intensity() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_start(|n| if n == 1 { Act::Fine } else { Act::Fail });
    let spec = SupervisorSpec::new("root")
        .intensity(intensity(3, ms(1000)))
        .child(a.spec());
    let tree = start(spec).await;
    a.tell(Msg::Panic);
    let reason = tree.exited().await;
    assert!(matches!(reason, ExitReason::GaveUp { .. }), "{reason}");
    assert_eq!(log.count("start a"), 1 + 3);
}

#[tokio::test(start_paused = true)]
async fn a_slow_restart_blocks_neither_another_restart_nor_an_answer() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_start(|n| if n == 2 { Act::Hang } else { Act::Fine });
    let [b, c, d] = ["b", "c", "d"].map(|id| Probe::new(id, &log));
    let spec = root(Strategy::OneForOne)
        .child(a.spec())
        .child(b.spec().backoff(backoff(900_000, 900_000)))
        .child(c.spec());
    let tree = start(spec).await;
    a.tell(Msg::Panic);
    b.tell(Msg::Panic);
    b.away().await;
    log.wait("start a", 2).await;
    let before = Instant::now();
    crash(&c, 2).await;
    tree.root().start_child(d.spec()).await.unwrap();
    tree.root().terminate_child("d").await.unwrap();
    let seen = ["a", "b", "c", "d"].map(|id| state(&tree, &format!("root/{id}")));
    use ChildState::{Restarting, Running, Stopped};
    assert_eq!(seen, [Restarting, Restarting, Running, Stopped]);
    assert_eq!(before.elapsed(), ms(0));
}

#[tokio::test(start_paused = true)]
async fn a_child_over_its_own_limit_cools_down_and_its_siblings_notice_nothing() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let cool_down = CoolDown {
        limit: intensity(2, ms(10_000)),
        pause: ms(60_000),
    };
    let spec = SupervisorSpec::new("root")
        .intensity(intensity(0, ms(1000)))
        .child(b.spec());
    let tree = start(spec).await;
    let dynamic = a.spec().cool_down(cool_down);
    tree.root().start_child(dynamic).await.unwrap();
    for round in 0..3 {
        let first = round * 3 + 1;
        assert_eq!(crash(&a, first + 1).await, ms(0));
        assert_eq!(crash(&a, first + 2).await, ms(0));
        a.tell(Msg::Panic);
        a.away().await;
        tokio::time::sleep(ms(1000)).await;
        let snapshot = tree.which_children();
        let shown = snapshot.find("root/a").unwrap();
        assert_eq!(shown.state, ChildState::CoolingDown);
        assert_eq!(shown.retry_in_ms, Some(59_000));
        a.incarnation(first + 3).await;
    }
    assert_eq!(b.echo(3).await, 3);
    assert_eq!(restarts(&tree, "root/b"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_replacement_starts_only_after_the_state_of_its_predecessor_is_gone() {
    let held = std::sync::Arc::new(());
    let seen = std::sync::Arc::downgrade(&held);
    let a = keeper::child(held);
    let tree = start(root(Strategy::OneForOne).child(a.spec)).await;
    for (number, kill) in [(2, false), (3, true)] {
        if kill {
            a.child.current().unwrap().actor().kill();
        } else {
            a.child.cast(()).unwrap();
        }
        let mut current = a.child.subscribe();
        current
            .wait_for(|now| now.as_ref().is_some_and(|life| life.number() == number))
            .await
            .unwrap();
    }
    assert_eq!(restarts(&tree, "root/keeper"), 2);
    // One held by this test's closure, one by the incarnation now running.
    assert_eq!(seen.strong_count(), 2);
}

mod keeper {
    use std::sync::Arc;

    use ractor::{Actor, ActorProcessingErr, ActorRef};
    use twzrd_supervision::{ChildRef, ChildSpec};

    /// Refuses to start while another incarnation holds the token.
    struct Keeper;

    pub(crate) struct Kept {
        pub(crate) child: ChildRef<()>,
        pub(crate) spec: ChildSpec,
    }

    pub(crate) fn child(token: Arc<()>) -> Kept {
        let child = ChildRef::new("keeper");
        let spec = ChildSpec::worker("keeper", &child, move || (Keeper, Arc::clone(&token)));
        Kept { child, spec }
    }

    impl Actor for Keeper {
        type Msg = ();
        type State = Arc<()>;
        type Arguments = Arc<()>;

        async fn pre_start(
            &self,
            _: ActorRef<()>,
            token: Arc<()>,
        ) -> Result<Arc<()>, ActorProcessingErr> {
            match Arc::strong_count(&token) {
                2 => Ok(token),
                count => Err(format!("held {count} times, expected 2").into()),
            }
        }

        async fn handle(
            &self,
            _: ActorRef<()>,
            (): (),
            _: &mut Arc<()>,
        ) -> Result<(), ActorProcessingErr> {
            Err("scripted failure".into())
        }
    }
}

struct Explosive;

struct Charge;

impl Drop for Charge {
    fn drop(&mut self) {
        panic!("scripted panic");
    }
}

impl Actor for Explosive {
    type Msg = bool;
    type State = Charge;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<bool>, (): ()) -> Result<Charge, ActorProcessingErr> {
        Ok(Charge)
    }

    async fn handle(
        &self,
        myself: ActorRef<bool>,
        stop: bool,
        _: &mut Charge,
    ) -> Result<(), ActorProcessingErr> {
        if !stop {
            return Err("scripted failure".into());
        }
        myself.stop(None);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_state_that_panics_when_it_is_dropped_harms_nobody() {
    let log = Log::new();
    let sibling = Probe::new("sibling", &log);
    let child = ChildRef::new("explosive");
    let spec = root(Strategy::OneForOne)
        .child(ChildSpec::worker("explosive", &child, || (Explosive, ())))
        .child(sibling.spec());
    let tree = start(spec).await;
    let mut lives = child.subscribe();
    for (number, stop) in [(2, true), (3, false)] {
        child.cast(stop).unwrap();
        let next = lives.wait_for(|now| now.as_ref().is_some_and(|life| life.number() == number));
        drop(next.await.unwrap());
    }
    child.current().unwrap().actor().kill();
    let next = lives.wait_for(|now| now.as_ref().is_some_and(|life| life.number() == 4));
    drop(next.await.unwrap());
    assert_eq!(sibling.echo(1).await, 1);
    assert_eq!(tree.stop().await.late, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_cannot_be_killed_is_replaced_and_cut_off() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let deadline = Shutdown::Deadline(ms(20));
    let spec = root(Strategy::OneForAll)
        .child(a.spec())
        .child(b.spec().shutdown(deadline));
    support::silence_scripted_panics();
    let options = Options {
        seed: 1,
        kill_grace: ms(20),
    };
    let tree = twzrd_supervision::start(spec, options).await.unwrap();
    let cut_off = b.child.current().unwrap().actor().clone();
    let (release, until) = std::sync::mpsc::channel();
    b.tell(Msg::Block(until));
    log.wait("block b", 1).await;
    a.tell(Msg::Panic);
    b.incarnation(2).await;
    assert_eq!(b.echo(1).await, 1);
    drop(release);
    cut_off.wait(Some(LONG)).await.unwrap();
    assert_eq!(
        b.echo(2).await,
        2,
        "the late end of the old one harms nobody"
    );
    tree.root().terminate_child("a").await.unwrap();
    assert_eq!(restarts(&tree, "root/b"), 1);
    assert_eq!(b.child.current().unwrap().number(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_ends_after_it_was_cut_off_is_not_taken_for_its_replacement() {
    let log = Log::new();
    let (release, until) = std::sync::mpsc::channel::<()>();
    let until = std::sync::Mutex::new(until);
    let a = Probe::new("a", &log).on_start(move |n| match n {
        1 => Act::Fine,
        2 => {
            let _ = until.lock().unwrap().recv();
            Act::Fine
        }
        _ => Act::Hang,
    });
    support::silence_scripted_panics();
    let options = Options {
        seed: 1,
        kill_grace: ms(20),
    };
    let spec = a.spec().start_deadline(ms(200));
    let spec = root(Strategy::OneForOne).child(spec);
    let tree = twzrd_supervision::start(spec, options).await.unwrap();
    a.tell(Msg::Panic);
    log.wait("start a", 3).await;
    let mut lives = a.child.subscribe();
    drop(release);
    lives.changed().await.unwrap();
    let gone = tokio::time::timeout(ms(10_000), lives.wait_for(Option::is_none)).await;
    assert!(gone.is_ok(), "the one that was cut off is still there");
    assert_eq!(state(&tree, "root/a"), ChildState::Restarting);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_supervisor_has_the_children_of_its_spec_and_no_dynamic_ones() {
    let log = Log::new();
    let [a, b] = ["a", "b"].map(|id| Probe::new(id, &log));
    let inner = SupervisorSpec::new("inner")
        .intensity(intensity(0, ms(1000)))
        .child(a.spec());
    let handle = inner.supervisor_ref();
    let tree = start(root(Strategy::OneForOne).child(ChildSpec::supervisor(inner))).await;
    handle.start_child(b.spec()).await.unwrap();
    a.tell(Msg::Panic);
    a.incarnation(2).await;
    assert!(tree.which_children().find("root/inner/b").is_none());
    assert!(!b.child.is_running());
    handle.start_child(b.spec()).await.unwrap();
    assert_eq!(b.echo(5).await, 5);
}
