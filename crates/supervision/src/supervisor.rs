//! The supervisor: one task that hears of exits, commands and timers, and waits for none.
//!
//! All that may take long (starting, stopping, waiting before a restart) is a phase of a
//! child that ends with an event or a timer, so that no child holds up another one.

mod child;
mod command;
mod failure;
mod launch;
mod order;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, info, warn};

pub(crate) use self::child::Claim;
use self::child::{Child, Link, Phase};
use self::order::{Ending, Sweep};
use crate::birth::{Event, Reporter, Seq};
use crate::exit::{Exit, ExitReason, LateOutcome, LateStop};
use crate::instrumented::panic_text;
use crate::intensity::Window;
use crate::spec::SupervisorSpec;
use crate::supervisor_ref::Command;
use crate::tree::Options;

/// Commands that may wait for a supervisor; a caller beyond that waits for room.
const COMMANDS_WAITING: usize = 1024;

/// Bounds of the period at which stalls are looked for.
const STALL_CHECK: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Starts a supervisor, without waiting for its children.
pub(crate) fn spawn(
    spec: &Arc<SupervisorSpec>,
    claim: Option<Claim>,
    options: Options,
    reporter: Reporter,
) -> (oneshot::Sender<()>, tokio::task::AbortHandle) {
    let (stop, stopped) = oneshot::channel();
    let (command_sender, commands) = mpsc::channel(COMMANDS_WAITING);
    let (event_sender, events) = mpsc::unbounded_channel();
    spec.supervisor_ref.attach(command_sender);
    let reporter = Arc::new(reporter);
    let supervisor = Supervisor {
        window: Window::new(spec.intensity),
        rng: StdRng::seed_from_u64(options.seed ^ fnv1a(reporter.path())),
        spec: Arc::clone(spec),
        options,
        children: BTreeMap::new(),
        ids: HashMap::new(),
        next_seq: 0,
        live: 0,
        timers: BTreeSet::new(),
        sweep: None,
        booting: true,
        ending: None,
        stall_every: None,
        next_stall_check: Instant::now(),
        events: event_sender,
        reporter: Arc::clone(&reporter),
        _claim: claim,
    };
    let inbox = Inbox {
        stopped: Some(stopped),
        commands,
        events,
    };
    #[allow(
        clippy::disallowed_methods,
        reason = "this task is the supervisor: its parent owns its end"
    )]
    let task = tokio::spawn(async move {
        let run = AssertUnwindSafe(supervisor.run(inbox)).catch_unwind();
        reporter.note(run.await.unwrap_or_else(|payload| {
            let text = panic_text(payload.as_ref());
            Exit::from(ExitReason::Panic { text })
        }));
    });
    (stop, task.abort_handle())
}

/// A hash that is the same in every process, so that a seed gives the same waits again.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

struct Inbox {
    /// `None` once the stop was heard.
    stopped: Option<oneshot::Receiver<()>>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::UnboundedReceiver<Event>,
}

struct Supervisor {
    spec: Arc<SupervisorSpec>,
    options: Options,
    children: BTreeMap<Seq, Child>,
    ids: HashMap<Arc<str>, Seq>,
    next_seq: Seq,
    /// Children whose incarnation has not yet ended.
    live: usize,
    /// One timer a child at most; the same as in the child.
    timers: BTreeSet<(Instant, Seq)>,
    window: Window,
    rng: StdRng,
    sweep: Option<Sweep>,
    /// Until all first children have started once.
    booting: bool,
    ending: Option<Ending>,
    stall_every: Option<Duration>,
    next_stall_check: Instant,
    events: mpsc::UnboundedSender<Event>,
    reporter: Arc<Reporter>,
    _claim: Option<Claim>,
}

impl Supervisor {
    async fn run(mut self, mut inbox: Inbox) -> Exit {
        self.boot();
        loop {
            self.advance(Instant::now());
            if let Some(exit) = self.ended() {
                return exit;
            }
            let alarm = self.next_alarm();
            tokio::select! {
                // In a defined order, so that the same exits give the same restarts. Alarms are
                // few, and all that are due are looked at in one go.
                biased;
                () = stop_heard(&mut inbox.stopped) => {
                    inbox.stopped = None;
                    self.end(ExitReason::Normal, Instant::now());
                }
                () = wait_until(alarm) => self.on_alarm(Instant::now()),
                Some(event) = inbox.events.recv() => self.on_event(event, Instant::now()),
                Some(command) = inbox.commands.recv() => self.on_command(command, Instant::now()),
            }
        }
    }

    fn path(&self) -> &Arc<str> {
        self.reporter.path()
    }

    fn boot(&mut self) {
        // What an earlier incarnation has left on display.
        self.spec.supervisor_ref.board().clear();
        for spec in self.spec.children.clone() {
            let Some(claim) = Claim::of(&spec.body) else {
                let child = format!("{}/{}", self.path(), spec.id);
                let text = "its ChildRef already belongs to a running child".to_owned();
                self.end(ExitReason::StartFailed { child, text }, Instant::now());
                return;
            };
            self.add(spec, claim);
        }
        self.sweep = Some(Sweep::start_all(Instant::now()));
    }

    fn next_alarm(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        let sweep = self.sweep.as_ref().and_then(Sweep::alarm);
        let stall = self.stall_every.map(|_| self.next_stall_check);
        [timer, sweep, stall].into_iter().flatten().min()
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::Started { seq, incarnation } => self.on_started(seq, incarnation, now),
            Event::Exited {
                seq,
                incarnation,
                exit,
            } => self.on_exited(seq, incarnation, exit, now),
        }
    }

    fn on_started(&mut self, seq: Seq, incarnation: u64, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        // One that has been asked to stop in the meantime goes on stopping.
        if child.incarnation != incarnation || child.phase != Phase::Starting {
            return;
        }
        child.has_run = true;
        child.running_since = Some(now);
        child.vitals().moments().running_since = Some(now);
        child.set_phase(Phase::Running);
        child.answer_starters(&Ok(()));
        info!(child = %child.path(), incarnation, "child started");
        self.set_timer(seq, None);
    }

    fn on_exited(&mut self, seq: Seq, incarnation: u64, exit: Exit, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        // An incarnation that was cut off has no say any more.
        if child.incarnation != incarnation {
            return;
        }
        child.late.extend(exit.late);
        self.incarnation_ended(seq, exit.reason, now);
    }

    /// Takes note that a child is no longer running and decides what follows.
    fn incarnation_ended(&mut self, seq: Seq, reason: ExitReason, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        let reason = match (reason, child.kill_cause.take()) {
            (ExitReason::Killed, Some(text)) if child.phase == Phase::Starting => {
                let child = child.path().to_string();
                ExitReason::StartFailed { child, text }
            }
            (ExitReason::Killed, None) if child.phase == Phase::Starting => {
                let child = child.path().to_string();
                let text = "killed while it was starting".to_owned();
                ExitReason::StartFailed { child, text }
            }
            (reason, _) => reason,
        };
        if reason.is_abnormal() && !matches!(child.phase, Phase::Stopping | Phase::Killing) {
            warn!(child = %child.path(), %reason, "child exited");
        } else {
            info!(child = %child.path(), %reason, "child exited");
        }
        let phase = child.phase;
        child.end_incarnation(reason.clone());
        self.live -= 1;
        self.set_timer(seq, None);
        match phase {
            Phase::Stopping | Phase::Killing => self.stopped(seq),
            Phase::Starting => self.start_failed(seq, reason, now),
            _ => self.exited_by_itself(seq, &reason, now),
        }
    }

    fn on_alarm(&mut self, now: Instant) {
        while let Some((at, seq)) = self.timers.first().copied() {
            if at > now {
                break;
            }
            self.set_timer(seq, None);
            self.on_timer(seq, now);
        }
        if let Some(every) = self.stall_every
            && self.next_stall_check <= now
        {
            self.next_stall_check = now + every;
            self.check_stalls(now);
        }
    }

    fn on_timer(&mut self, seq: Seq, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        match child.phase {
            Phase::Starting if child.kill_cause.is_none() => {
                let text = "its start took longer than its deadline".to_owned();
                warn!(child = %child.path(), "child is late to start");
                child.kill_cause = Some(text);
                child.kill();
                self.set_timer(seq, Some(now + self.options.kill_grace));
            }
            Phase::Starting => self.incarnation_ended(seq, ExitReason::Killed, now),
            Phase::Stopping => {
                warn!(child = %child.path(), "child is late to stop, killing it");
                child.late.push(LateStop {
                    path: child.path().to_string(),
                    outcome: LateOutcome::Killed,
                });
                child.set_phase(Phase::Killing);
                child.kill();
                self.set_timer(seq, Some(now + self.options.kill_grace));
            }
            Phase::Killing => self.abandon(seq, now),
            Phase::BackingOff | Phase::CoolingDown => self.launch(seq, now),
            Phase::Down | Phase::Pending | Phase::Running => {}
        }
    }

    /// Goes on without a child that even a kill could not end.
    fn abandon(&mut self, seq: Seq, now: Instant) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        error!(child = %child.path(), "child could not be killed, its handler blocks a thread");
        let path = child.path().to_string();
        child.late.retain(|late| late.path != path);
        child.late.push(LateStop {
            path,
            outcome: LateOutcome::Abandoned,
        });
        self.incarnation_ended(seq, ExitReason::Killed, now);
    }

    fn check_stalls(&mut self, now: Instant) {
        for child in self.children.values_mut() {
            let Some(stall) = child.node.stall else {
                continue;
            };
            let running = child.pulse.as_ref().and_then(|pulse| pulse.handler(now));
            let active = matches!(child.phase, Phase::Running | Phase::Starting);
            let stalled = running.filter(|(_, time)| active && *time > stall.after);
            if stalled.is_some() == child.shown_stalled {
                continue;
            }
            child.shown_stalled = stalled.is_some();
            let Some((handler, _)) = stalled else {
                info!(child = %child.path(), "child is no longer stalled");
                continue;
            };
            warn!(child = %child.path(), ?handler, kill = stall.kill, "child is stalled");
            if stall.kill && child.kill_cause.is_none() {
                child.kill_cause = Some("stalled".to_owned());
                child.kill();
            }
        }
    }

    fn set_timer(&mut self, seq: Seq, at: Option<Instant>) {
        let Some(child) = self.children.get_mut(&seq) else {
            return;
        };
        if let Some(old) = child.timer.take() {
            self.timers.remove(&(old, seq));
        }
        child.timer = at;
        if let Some(at) = at {
            self.timers.insert((at, seq));
        }
    }

    /// Forgets a child that is not running.
    fn remove(&mut self, seq: Seq) {
        self.set_timer(seq, None);
        let Some(child) = self.children.remove(&seq) else {
            return;
        };
        self.ids.remove(&child.spec.id);
        self.spec.supervisor_ref.board().remove(seq);
        // What the child's maker owns is dropped with it, and must not take us along.
        let _ = catch_unwind(AssertUnwindSafe(move || drop(child)));
    }
}

impl Drop for Supervisor {
    /// Lets no child outlive its supervisor, however that ends.
    fn drop(&mut self) {
        self.spec.supervisor_ref.detach();
        for child in self.children.values_mut() {
            child.kill();
            if child.is_live() {
                child.end_incarnation(ExitReason::Killed);
            }
            child.timer = None;
            child.set_phase(Phase::Down);
        }
    }
}

async fn stop_heard(stopped: &mut Option<oneshot::Receiver<()>>) {
    match stopped {
        // A parent that let go of its end is gone, which means to stop as well.
        Some(stopped) => drop(stopped.await),
        None => std::future::pending().await,
    }
}

async fn wait_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
