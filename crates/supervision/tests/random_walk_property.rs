//! Whatever happens to the children of a supervisor, in the end all of them run, they were
//! started in the order of their strategy, and the tree stops.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use support::{Act, Log, Msg, Probe, ms, root, silence_scripted_panics};
use twzrd_supervision::{Backoff, ChildState, Options, Shutdown, Strategy as Order};

const IDS: [&str; 4] = ["a", "b", "c", "d"];

/// What happens next to one of the children.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Panic,
    Fail,
    Stop,
    Hang,
    Kill,
    RestartByHand,
}

#[derive(Clone, Debug)]
struct Step {
    after_ms: u64,
    child: usize,
    blow: Blow,
}

fn step() -> impl Strategy<Value = Step> {
    let blow = prop::sample::select(vec![
        Blow::Panic,
        Blow::Fail,
        Blow::Stop,
        Blow::Hang,
        Blow::Kill,
        Blow::RestartByHand,
    ]);
    (0_u64..60, 0..IDS.len(), blow).prop_map(|(after_ms, child, blow)| Step {
        after_ms,
        child,
        blow,
    })
}

fn order() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::OneForOne, Order::OneForAll, Order::RestForOne])
}

/// How the second to tenth start of each child go; all others succeed at once.
fn starts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop::sample::select(vec![
        Act::Fine,
        Act::Fail,
        Act::Panic,
        Act::Take(ms(25)),
        Act::Hang,
    ]);
    prop::collection::vec(act, 9 * IDS.len())
}

/// Children that note when one of them starts while a later one runs.
fn probes(starts: &[Act], log: &Log, early: &Arc<Mutex<Vec<String>>>) -> Vec<Probe> {
    let mut probes: Vec<Probe> = Vec::new();
    for (index, id) in IDS.into_iter().enumerate().rev() {
        let later: Vec<Probe> = probes.clone();
        let script = starts[index * 9..][..9].to_vec();
        let early = Arc::clone(early);
        probes.push(Probe::new(id, log).on_start(move |n| {
            for probe in later.iter().filter(|probe| probe.child.is_running()) {
                early
                    .lock()
                    .unwrap()
                    .push(format!("{id} started under {}", probe.id));
            }
            let scripted = usize::try_from(n).unwrap().checked_sub(2);
            scripted
                .and_then(|n| script.get(n))
                .copied()
                .unwrap_or(Act::Fine)
        }));
    }
    probes.reverse();
    probes
}

async fn walk(order: Order, steps: Vec<Step>, starts: Vec<Act>, seed: u64) {
    let (log, early) = (Log::new(), Arc::default());
    let probes = probes(&starts, &log, &early);
    let backoff = Backoff {
        initial: ms(5),
        max: ms(80),
        jitter: 0.5,
        reset_after: ms(200),
    };
    let spec = root(order).children(probes.iter().map(|probe| {
        let spec = probe.spec().backoff(backoff).start_deadline(ms(40));
        spec.shutdown(Shutdown::Deadline(ms(30)))
    }));
    let options = Options {
        seed,
        ..Options::default()
    };
    let tree = twzrd_supervision::start(spec, options).await.unwrap();
    for step in steps {
        tokio::time::sleep(ms(step.after_ms)).await;
        let probe = &probes[step.child];
        let Some(life) = probe.child.current() else {
            continue;
        };
        // The child may be gone at this very moment: then nothing happens to it.
        let _ = match step.blow {
            Blow::Panic => probe.child.cast(Msg::Panic),
            Blow::Fail => probe.child.cast(Msg::Fail),
            Blow::Stop => probe.child.cast(Msg::Stop),
            // Unlike `Hang`, it ends by itself.
            Blow::Hang => probe.child.cast(Msg::Busy(ms(100))),
            Blow::Kill => {
                life.actor().kill();
                Ok(())
            }
            Blow::RestartByHand => {
                tree.root().terminate_child(probe.id).await.unwrap();
                // Starts it under its running siblings, which is the caller's business.
                let before = early.lock().unwrap().clone();
                let _ = tree.root().restart_child(probe.id).await;
                *early.lock().unwrap() = before;
                Ok(())
            }
        };
    }
    tokio::time::sleep(ms(60_000)).await;
    if order != Order::OneForOne {
        assert_eq!(*early.lock().unwrap(), [""; 0], "the order of starts");
    }
    let snapshot = tree.which_children();
    for child in &snapshot.root.children {
        // A restart by hand that failed leaves the child stopped.
        if child.state == ChildState::Stopped {
            // It may have as many bad starts ahead as its script has left.
            while tree.root().restart_child(&child.id).await.is_err() {}
        } else {
            assert_eq!(child.state, ChildState::Running, "{}", child.path);
        }
    }
    for (n, probe) in (0..).zip(&probes) {
        assert_eq!(probe.echo(n).await, n);
    }
    log.take();
    assert_eq!(tree.stop().await.late, []);
    assert_eq!(log.take(), ["stop d", "stop c", "stop b", "stop a"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn after_any_series_of_blows_all_children_run_again_in_order(
        order in order(),
        steps in prop::collection::vec(step(), 0..30),
        starts in starts(),
        seed in any::<u64>(),
    ) {
        silence_scripted_panics();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(walk(order, steps, starts, seed));
    }
}
