//! A supervisor whose children crash as fast as they can.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef};
use support::{Log, Probe, silence_scripted_panics};
use twzrd_supervision::{ChildRef, ChildSpec, ChildState, Intensity, Options, SupervisorSpec};

/// Crashes as soon as it runs.
struct Mayfly(Arc<AtomicU64>);

impl Actor for Mayfly {
    type Msg = ();
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<()>, (): ()) -> Result<(), ActorProcessingErr> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn post_start(&self, _: ActorRef<()>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        panic!("scripted panic")
    }
}

/// Far beyond a thousand crashes a second: every child comes back at once, for ever.
const CRASHES: u64 = 20_000;
const MAYFLIES: usize = 4;

fn mayflies(lives: &Arc<AtomicU64>) -> impl Iterator<Item = ChildSpec> {
    let lives = Arc::clone(lives);
    (0..MAYFLIES).map(move |n| {
        let id = format!("mayfly {n}");
        let lives = Arc::clone(&lives);
        let child = ChildRef::<()>::new(id.clone());
        ChildSpec::worker(id, &child, move || (Mayfly(Arc::clone(&lives)), ()))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_in_a_storm_of_crashes_goes_on_answering_and_keeps_its_word() {
    silence_scripted_panics();
    let log = Log::new();
    let lives = Arc::new(AtomicU64::new(0));
    let [calm, guest] = ["calm", "guest"].map(|id| Probe::new(id, &log));
    let spec = SupervisorSpec::new("root")
        .intensity(Intensity {
            restarts: u32::MAX,
            period: Duration::from_millis(1),
        })
        .child(calm.spec())
        .children(mayflies(&lives));
    let tree = twzrd_supervision::start(spec, Options::default())
        .await
        .unwrap();
    let mut answers = 0_u64;
    while lives.load(Ordering::Relaxed) < CRASHES {
        tree.root().start_child(guest.spec()).await.unwrap();
        tree.root().terminate_child("guest").await.unwrap();
        tree.root().delete_child("guest").await.unwrap();
        assert_eq!(calm.echo(answers).await, answers);
        answers += 1;
    }
    assert!(answers > 10, "{answers} answers during {CRASHES} crashes");
    let snapshot = tree.which_children();
    assert_eq!(
        snapshot.find("root/calm").unwrap().state,
        ChildState::Running
    );
    assert_eq!(
        snapshot.root.children.len(),
        1 + MAYFLIES,
        "no child was lost or doubled"
    );
    assert_eq!(tree.stop().await.late, []);
    let at_stop = lives.load(Ordering::Relaxed);
    tokio::task::yield_now().await;
    assert_eq!(
        lives.load(Ordering::Relaxed),
        at_stop,
        "nobody came back after the stop"
    );
}
