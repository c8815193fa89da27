//! A scripted actor and the log of what the actors of a test have done.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::sync::watch;
use twzrd_supervision::{
    ChildRef, ChildSpec, ChildState, Intensity, Options, Strategy, SupervisorSpec, Tree,
};

/// Longer than anything a test waits for; with paused time it costs nothing.
pub const LONG: Duration = Duration::from_secs(3600);

pub const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the actors of a test have done, in order.
#[derive(Clone)]
pub struct Log(Arc<watch::Sender<Vec<String>>>);

impl Log {
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub fn add(&self, entry: impl Into<String>) {
        self.0.send_modify(|entries| entries.push(entry.into()));
    }

    pub fn take(&self) -> Vec<String> {
        self.0.send_replace(Vec::new())
    }

    pub fn count(&self, entry: &str) -> usize {
        self.0
            .borrow()
            .iter()
            .filter(|there| *there == entry)
            .count()
    }

    /// Waits until `entry` has been added `times` times.
    pub async fn wait(&self, entry: &str, times: usize) {
        let mut log = self.0.subscribe();
        let seen =
            log.wait_for(|entries| entries.iter().filter(|there| *there == entry).count() >= times);
        let outcome = tokio::time::timeout(LONG, seen)
            .await
            .map(|seen| seen.is_ok());
        assert!(
            outcome == Ok(true),
            "no {times} x `{entry}` in {:?}",
            self.0.borrow()
        );
    }
}

/// How one call of `pre_start` or `post_stop` goes.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    Fine,
    Fail,
    Panic,
    Take(Duration),
    Hang,
}

impl Act {
    async fn play(self) -> Result<(), ActorProcessingErr> {
        match self {
            Self::Fine => {}
            Self::Fail => return Err("scripted failure".into()),
            Self::Panic => panic!("scripted panic"),
            Self::Take(time) => tokio::time::sleep(time).await,
            Self::Hang => std::future::pending().await,
        }
        Ok(())
    }
}

pub enum Msg {
    Echo(u64, RpcReplyPort<u64>),
    Note(String),
    Panic,
    Fail,
    Stop,
    Hang,
    Busy(Duration),
    /// Lets go of the reply port.
    Ignore(RpcReplyPort<u64>),
    /// Blocks the thread until the other end is dropped.
    Block(std::sync::mpsc::Receiver<()>),
    /// Says that it waits for something, then hangs.
    WaitFor(&'static str),
    Feed(u64, u64),
}

type StartScript = Arc<dyn Fn(u32) -> Act + Send + Sync>;

/// An actor that does as it is told and logs its starts and stops.
#[derive(Clone)]
pub struct Probe {
    pub id: &'static str,
    pub log: Log,
    pub child: ChildRef<Msg>,
    start: StartScript,
    stop: Act,
    starts: Arc<AtomicU32>,
}

impl Probe {
    pub fn new(id: &'static str, log: &Log) -> Self {
        Self {
            id,
            log: log.clone(),
            child: ChildRef::new(id),
            start: Arc::new(|_| Act::Fine),
            stop: Act::Fine,
            starts: Arc::default(),
        }
    }

    /// How start number `n` (from 1) goes.
    pub fn on_start(mut self, script: impl Fn(u32) -> Act + Send + Sync + 'static) -> Self {
        self.start = Arc::new(script);
        self
    }

    pub fn on_stop(mut self, act: Act) -> Self {
        self.stop = act;
        self
    }

    pub fn spec(&self) -> ChildSpec {
        let probe = self.clone();
        ChildSpec::worker(self.id, &self.child, move || (probe.clone(), ()))
    }

    pub fn tell(&self, message: Msg) {
        self.child.cast(message).unwrap();
    }

    pub async fn echo(&self, value: u64) -> u64 {
        self.child
            .call(|reply| Msg::Echo(value, reply), LONG)
            .await
            .unwrap()
    }

    /// Waits for incarnation `number` to run.
    pub async fn incarnation(&self, number: u64) {
        let mut current = self.child.subscribe();
        let runs = current
            .wait_for(|current| current.as_ref().is_some_and(|life| life.number() >= number));
        let there = tokio::time::timeout(LONG, runs).await.is_ok();
        assert!(there, "`{}` did not reach incarnation {number}", self.id);
    }

    /// Waits until no incarnation runs.
    pub async fn away(&self) {
        let mut current = self.child.subscribe();
        current.wait_for(Option::is_none).await.unwrap();
    }
}

impl Actor for Probe {
    type Msg = Msg;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Msg>, (): ()) -> Result<(), ActorProcessingErr> {
        let number = self.starts.fetch_add(1, Ordering::SeqCst) + 1;
        self.log.add(format!("start {}", self.id));
        (self.start)(number).play().await?;
        self.log.add(format!("up {}", self.id));
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Msg>,
        message: Msg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            Msg::Echo(value, reply) => drop(reply.send(value)),
            Msg::Note(text) => self.log.add(text),
            Msg::Panic => Act::Panic.play().await?,
            Msg::Fail => Act::Fail.play().await?,
            Msg::Stop => myself.stop(None),
            Msg::Hang => {
                self.log.add(format!("hang {}", self.id));
                Act::Hang.play().await?;
            }
            Msg::Busy(time) => tokio::time::sleep(time).await,
            Msg::Ignore(reply) => drop(reply),
            Msg::Block(until) => {
                self.log.add(format!("block {}", self.id));
                let _ = until.recv();
            }
            Msg::WaitFor(what) => {
                let _waiting = twzrd_supervision::waiting_for(what);
                self.log.add(format!("wait {}", self.id));
                Act::Hang.play().await?;
            }
            Msg::Feed(depth, bound) => twzrd_supervision::set_feed(depth, bound),
        }
        Ok(())
    }

    async fn post_stop(&self, _: ActorRef<Msg>, (): &mut ()) -> Result<(), ActorProcessingErr> {
        self.log.add(format!("stop {}", self.id));
        self.stop.play().await
    }
}

pub const fn intensity(restarts: u32, period: Duration) -> Intensity {
    Intensity { restarts, period }
}

/// A supervisor `root` that hardly ever gives up.
pub fn root(strategy: Strategy) -> SupervisorSpec {
    SupervisorSpec::new("root")
        .strategy(strategy)
        .intensity(intensity(1000, ms(1000)))
}

pub async fn start(spec: SupervisorSpec) -> Tree {
    silence_scripted_panics();
    twzrd_supervision::start(spec, Options::default())
        .await
        .unwrap()
}

pub fn state(tree: &Tree, path: &str) -> ChildState {
    tree.which_children().find(path).unwrap().state
}

pub fn restarts(tree: &Tree, path: &str) -> u64 {
    tree.which_children().find(path).unwrap().restarts
}

/// Keeps thousands of intended panics out of the output; all others are still shown.
pub fn silence_scripted_panics() {
    static SILENCE: Once = Once::new();
    SILENCE.call_once(|| {
        let shown = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload_as_str() != Some("scripted panic") {
                shown(info);
            }
        }));
    });
}
