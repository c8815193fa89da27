//! How long a crashed actor is away: from its panic to the first message that its replacement
//! handles. Next to it, in the same run: a plain ractor spawn up to its first message, and how
//! long it takes to start, show and stop many children.
//!
//! `cargo bench -p twzrd-supervision`
#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement, not a service"
)]

use std::time::{Duration, Instant};

use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::sync::mpsc;
use twzrd_supervision::{ChildRef, ChildSpec, Intensity, Options, Strategy, SupervisorSpec, start};

const ROUNDS: u32 = 20_000;
const CHILDREN: usize = 100_000;

enum Msg {
    /// Reports when it was handled.
    Ping,
    /// Reports when it panicked.
    Panic,
}

#[derive(Clone)]
struct Subject(mpsc::UnboundedSender<Instant>);

impl Actor for Subject {
    type Msg = Msg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Msg>,
        message: Msg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        self.0.send(Instant::now())?;
        match message {
            Msg::Ping => Ok(()),
            Msg::Panic => panic!("measured"),
        }
    }
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{name:<45} p50 {:>9.1?}  p99 {:>9.1?}  max {:>9.1?}  n {}",
        at(50),
        at(99),
        at(100),
        times.len()
    );
}

async fn spawn_to_first_message() -> Vec<Duration> {
    let (sender, mut instants) = mpsc::unbounded_channel();
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let (actor, task) = Actor::spawn(None, Subject(sender.clone()), ())
            .await
            .unwrap();
        actor.send_message(Msg::Ping).unwrap();
        times.push(instants.recv().await.unwrap() - begun);
        actor.stop(None);
        task.await.unwrap();
    }
    times
}

async fn panic_to_first_message(strategy: Strategy) -> Vec<Duration> {
    let (sender, mut instants) = mpsc::unbounded_channel();
    let child = ChildRef::new("subject");
    let subject = ChildSpec::worker("subject", &child, move || (Subject(sender.clone()), ()));
    let spec = SupervisorSpec::new("root")
        .strategy(strategy)
        .intensity(Intensity {
            restarts: u32::MAX,
            period: Duration::from_millis(1),
        })
        .child(subject);
    let tree = start(spec, Options::default()).await.unwrap();
    let mut lives = child.subscribe();
    let mut times = Vec::new();
    for number in 1..=u64::from(ROUNDS) {
        child.cast(Msg::Panic).unwrap();
        let next = lives.wait_for(|now| now.as_ref().is_some_and(|life| life.number() > number));
        drop(next.await.unwrap());
        child.cast(Msg::Ping).unwrap();
        let panicked = instants.recv().await.unwrap();
        times.push(instants.recv().await.unwrap() - panicked);
    }
    tree.stop().await;
    times
}

async fn many_children() {
    let (sender, _instants) = mpsc::unbounded_channel();
    let spec = SupervisorSpec::new("root").stop_together();
    let supervisor = spec.supervisor_ref();
    let tree = start(spec, Options::default()).await.unwrap();
    let begun = Instant::now();
    for n in 0..CHILDREN {
        let (id, sender) = (format!("child {n}"), sender.clone());
        let child = ChildRef::new(id.clone());
        let make = move || (Subject(sender.clone()), ());
        let spec = ChildSpec::worker(id, &child, make);
        supervisor.start_child(spec).await.unwrap();
    }
    println!(
        "{CHILDREN} children started one by one in {:.0?}",
        begun.elapsed()
    );
    let begun = Instant::now();
    assert_eq!(tree.which_children().root.children.len(), CHILDREN);
    println!("{CHILDREN} children shown in {:.0?}", begun.elapsed());
    let begun = Instant::now();
    assert_eq!(tree.stop().await.late, []);
    println!(
        "{CHILDREN} children stopped together in {:.0?}",
        begun.elapsed()
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    std::panic::set_hook(Box::new(|_| {}));
    report(
        "plain ractor: spawn to first message",
        spawn_to_first_message().await,
    );
    for (name, strategy) in [
        ("panic to first message, one_for_one", Strategy::OneForOne),
        ("panic to first message, one_for_all", Strategy::OneForAll),
    ] {
        report(name, panic_to_first_message(strategy).await);
    }
    many_children().await;
}
