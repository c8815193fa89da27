//! What befalls the network and the database while the process runs, and when it ends.

use std::time::{Duration, Instant};

use twzrd_simulator::{Cut, Garbage, Refusal, Simulator, Target};
use twzrd_testkit::proxy::{Close, CommitFault, Pace, Proxy, Refusal as Shut};
use twzrd_testkit::scenario::{DatabaseFault, Fault, Hit, SocketFault};

use crate::dice::Dice;

/// What each chunk of a slow database waits.
const SLOW: Duration = Duration::from_millis(15);
/// How many lines come twice: enough that some of them were accepted by the process before.
const AGAIN: usize = 200;
/// How long a socket is kept that was told to reconnect.
const KEPT: Duration = Duration::from_millis(300);

/// The weather. Where there is no proxy, the database has none.
#[derive(Default)]
pub(crate) struct Weather {
    proxy: Option<Proxy>,
    outage_until: Option<Instant>,
    gone_until: Option<Instant>,
    slow_until: Option<Instant>,
    /// What waits for its moment at the proxy.
    armed: Option<&'static str>,
    unfired: Vec<&'static str>,
}

impl Weather {
    pub(crate) fn behind(proxy: Proxy) -> Self {
        Self {
            proxy: Some(proxy),
            ..Self::default()
        }
    }

    /// Something about sockets. What takes one of them takes any.
    pub(crate) async fn socket(
        &mut self,
        fault: SocketFault,
        simulator: &Simulator,
        dice: &mut Dice,
    ) -> Result<Hit, String> {
        let sockets = simulator.snapshot().sockets;
        if sockets.is_empty() {
            return Ok(Hit::Missed);
        }
        let one = usize::try_from(dice.below(sockets.len() as u64)).unwrap_or(0);
        let one = Target::Socket(sockets[one].number);
        let struck = match fault {
            SocketFault::Close => simulator.cut(one, Cut::Orderly),
            SocketFault::CutMidLine => simulator.cut(one, Cut::MidLine),
            SocketFault::Reset => simulator.cut(one, Cut::Reset),
            SocketFault::Stall(time) => simulator.stall(one, time),
            SocketFault::Reconnect => simulator.reconnect(one, KEPT),
            SocketFault::Duplicate => simulator.duplicate(AGAIN),
            SocketFault::Garbage => {
                let kind = usize::try_from(dice.below(Garbage::ALL.len() as u64)).unwrap_or(0);
                simulator.garbage(one, Garbage::ALL[kind])
            }
            SocketFault::Outage(time) => {
                let begun = simulator
                    .begin_outage(Refusal::NotListening, Cut::Reset)
                    .await;
                begun.map_err(|error| error.to_string())?;
                self.outage_until = Some(Instant::now() + time);
                sockets.len()
            }
        };
        Ok(if struck == 0 {
            Hit::Missed
        } else {
            Hit::Struck
        })
    }

    /// Something about the database.
    pub(crate) async fn database(&mut self, fault: DatabaseFault) -> Result<Hit, String> {
        let Some(proxy) = &self.proxy else {
            return Ok(Hit::Missed);
        };
        let handle = proxy.handle();
        match fault {
            DatabaseFault::Gone(time) => {
                let gone = handle.gone(Shut::ResetAtOnce, Close::Reset).await;
                gone.map_err(|error| error.to_string())?;
                self.gone_until = Some(Instant::now() + time);
            }
            DatabaseFault::Slow(time) => {
                let pace = Pace {
                    delay: SLOW,
                    bytes_per_second: None,
                };
                handle.slow(pace);
                self.slow_until = Some(Instant::now() + time);
            }
            DatabaseFault::CutInTransaction
            | DatabaseFault::CommitLost
            | DatabaseFault::CommitUnknown => self.arm(fault),
            DatabaseFault::Locked(_) | DatabaseFault::Transient(_) => return Ok(Hit::Missed),
        }
        Ok(Hit::Struck)
    }

    /// Has the proxy wait for a moment. What waited before has not met its own.
    fn arm(&mut self, fault: DatabaseFault) {
        self.disarm();
        let Some(proxy) = &self.proxy else { return };
        let handle = proxy.handle();
        match fault {
            DatabaseFault::CutInTransaction => handle.in_next_transaction(1, Close::Reset),
            DatabaseFault::CommitLost => {
                handle.at_next_commit(CommitFault::BeforeServer, Close::Reset);
            }
            _ => handle.at_next_commit(CommitFault::AfterServer, Close::Reset),
        }
        self.armed = Some(Fault::Database(fault).kind());
    }

    fn disarm(&mut self) {
        let Some(proxy) = &self.proxy else { return };
        let armed = self.armed.take();
        if proxy.handle().disarm() {
            self.unfired.extend(armed);
        }
    }

    /// The kinds of faults that never met their moment, once for each.
    pub(crate) fn take_unfired(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.unfired)
    }

    /// Ends what is over.
    pub(crate) async fn pass(&mut self, simulator: &Simulator) -> Result<(), String> {
        let now = Instant::now();
        if self.outage_until.take_if(|until| *until <= now).is_some() {
            let ended = simulator.end_outage().await;
            ended.map_err(|error| error.to_string())?;
        }
        let Some(proxy) = &self.proxy else {
            return Ok(());
        };
        if self.gone_until.take_if(|until| *until <= now).is_some() {
            let admitted = proxy.handle().admit().await;
            admitted.map_err(|error| error.to_string())?;
        }
        if self.slow_until.take_if(|until| *until <= now).is_some() {
            proxy.handle().full_speed();
        }
        Ok(())
    }

    /// Ends all that befalls the database.
    pub(crate) async fn clear_database(&mut self) -> Result<(), String> {
        (self.gone_until, self.slow_until) = (None, None);
        self.disarm();
        match &self.proxy {
            Some(proxy) => proxy
                .handle()
                .clear()
                .await
                .map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// Ends all of it.
    pub(crate) async fn clear(&mut self, simulator: &Simulator) -> Result<(), String> {
        self.clear_database().await?;
        self.outage_until = None;
        let ended = simulator.end_outage().await;
        ended.map_err(|error| error.to_string())?;
        simulator.stall(Target::All, Duration::ZERO);
        Ok(())
    }
}
