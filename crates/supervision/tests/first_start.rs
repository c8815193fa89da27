//! The first start of a tree, and all the ways in which it can fail.
#![allow(clippy::disallowed_methods, reason = "a test owns its tasks")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use support::{Act, Log, Msg, Probe, intensity, ms, root, silence_scripted_panics, state};
use twzrd_supervision::{
    Backoff, ChildRef, ChildSpec, ChildState, CoolDown, Options, StartError, Strategy,
    SupervisorSpec,
};

async fn failing(spec: SupervisorSpec) -> StartError {
    silence_scripted_panics();
    twzrd_supervision::start(spec, Options::default())
        .await
        .expect_err("the start was to fail")
}

fn child_failed(child: &str, text: &str) -> StartError {
    StartError::ChildFailed {
        child: child.into(),
        text: text.into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_names_the_child_and_stops_those_already_started_in_reverse() {
    for (act, text) in [
        (Act::Fail, "error: scripted failure"),
        (Act::Panic, "panic: scripted panic"),
    ] {
        let log = Log::new();
        let [a, b, d] = ["a", "b", "d"].map(|id| Probe::new(id, &log));
        let c = Probe::new("c", &log).on_start(move |_| act);
        let spec = root(Strategy::OneForOne).children([&a, &b, &c, &d].map(Probe::spec));
        assert_eq!(failing(spec).await, child_failed("root/c", text));
        let expected = [
            "start a", "up a", "start b", "up b", "start c", "stop b", "stop a",
        ];
        assert_eq!(log.take(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_below_an_inner_supervisor_names_the_child_that_failed() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let b = Probe::new("b", &log).on_start(|_| Act::Fail);
    let inner = SupervisorSpec::new("inner").child(b.spec());
    let spec = root(Strategy::OneForOne)
        .child(a.spec())
        .child(ChildSpec::supervisor(inner));
    let expected = child_failed("root/inner/b", "error: scripted failure");
    assert_eq!(failing(spec).await, expected);
    assert_eq!(log.take(), ["start a", "up a", "start b", "stop a"]);
}

struct Unmakeable;

impl Actor for Unmakeable {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }
}

fn unmakeable() -> (Unmakeable, ()) {
    panic!("scripted panic")
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_an_actor_is_made_is_a_failed_start() {
    let child = ChildRef::new("a");
    let spec = root(Strategy::OneForOne).child(ChildSpec::worker("a", &child, unmakeable));
    let expected = child_failed("root/a", "panic: scripted panic");
    assert_eq!(failing(spec).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_start_that_takes_longer_than_its_deadline_has_failed() {
    let log = Log::new();
    let a = Probe::new("a", &log).on_start(|_| Act::Hang);
    let before = tokio::time::Instant::now();
    let spec = root(Strategy::OneForOne).child(a.spec().start_deadline(ms(700)));
    let expected = child_failed("root/a", "its start took longer than its deadline");
    assert_eq!(failing(spec).await, expected);
    assert_eq!(before.elapsed(), ms(700));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_blocks_its_thread_is_given_up_after_its_deadline() {
    let (release, until) = std::sync::mpsc::channel::<()>();
    let until = std::sync::Mutex::new(until);
    let log = Log::new();
    let a = Probe::new("a", &log).on_start(move |_| {
        let _ = until.lock().unwrap().recv();
        Act::Fine
    });
    let options = Options {
        seed: 1,
        kill_grace: ms(20),
    };
    let spec = root(Strategy::OneForOne).child(a.spec().start_deadline(ms(20)));
    let error = twzrd_supervision::start(spec, options).await.unwrap_err();
    let text = "its start took longer than its deadline";
    assert_eq!(error, child_failed("root/a", text));
    drop(release);
}

#[tokio::test(start_paused = true)]
async fn a_crash_during_the_first_start_is_a_restart_and_not_the_end_of_it() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let b = Probe::new("b", &log).on_start(|_| Act::Take(ms(100)));
    silence_scripted_panics();
    let spec = root(Strategy::OneForOne).child(a.spec()).child(b.spec());
    let starting = tokio::spawn(twzrd_supervision::start(spec, Options::default()));
    log.wait("start b", 1).await;
    a.tell(Msg::Panic);
    a.incarnation(2).await;
    let tree = starting.await.unwrap().unwrap();
    assert_eq!(state(&tree, "root/a"), ChildState::Running);
    assert_eq!(
        log.take(),
        ["start a", "up a", "start b", "start a", "up a", "up b"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_spec_that_cannot_be_honoured_is_refused_before_anything_starts() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let jitter = Backoff {
        jitter: 1.5,
        ..Backoff::NONE
    };
    let upside_down = Backoff {
        initial: ms(2),
        max: ms(1),
        ..Backoff::NONE
    };
    let cool_down = CoolDown {
        limit: intensity(1, ms(1)),
        pause: ms(1),
    };
    let slash = ChildSpec::worker("a/b", &ChildRef::new("a"), unmakeable);
    let cases = [
        (
            root(Strategy::OneForOne).child(a.spec()).child(a.spec()),
            "root/a: two",
        ),
        (
            root(Strategy::OneForOne).child(a.spec().backoff(jitter)),
            "jitter",
        ),
        (
            root(Strategy::OneForOne).child(a.spec().backoff(upside_down)),
            "maximum",
        ),
        (
            root(Strategy::OneForAll).child(a.spec().cool_down(cool_down)),
            "cool-down",
        ),
        (root(Strategy::OneForOne).child(slash), "its id is"),
        (SupervisorSpec::new(""), "its id is"),
    ];
    for (spec, expected) in cases {
        let error = failing(spec).await;
        let StartError::InvalidSpec(_) = error else {
            panic!("{expected}: {error}");
        };
        let text = error.to_string().replace('`', "");
        assert!(text.contains(expected), "{text}");
    }
    assert_eq!(log.take(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_reference_for_two_children_is_an_error_and_is_free_again_after_the_tree() {
    let log = Log::new();
    let a = Probe::new("a", &log);
    let first = support::start(root(Strategy::OneForOne).child(a.spec())).await;
    let error = failing(root(Strategy::OneForOne).child(a.spec())).await;
    let named = matches!(&error, StartError::ChildFailed { child, .. } if child == "root/a");
    assert!(named, "{error}");
    first.stop().await;
    let second = support::start(root(Strategy::OneForOne).child(a.spec())).await;
    assert_eq!(a.echo(1).await, 1);
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn two_trees_with_the_same_ids_live_side_by_side() {
    let log = Log::new();
    let (here, there) = (Probe::new("a", &log), Probe::new("a", &log));
    let _first = support::start(root(Strategy::OneForOne).child(here.spec())).await;
    let _second = support::start(root(Strategy::OneForOne).child(there.spec())).await;
    assert_eq!((here.echo(1).await, there.echo(2).await), (1, 2));
}
