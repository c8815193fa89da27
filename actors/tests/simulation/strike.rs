//! What strikes.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::prelude::*;
use twzrd_domain::chat::{ConnectError, News};
use twzrd_domain::identity::{Name, UserHash, Wallet};
use twzrd_domain::ports::Clock;
use twzrd_domain::record::{Bind, Record};
use twzrd_testkit::fake::Fault as Failure;
use twzrd_testkit::scenario::{DatabaseFault, DiskFault, Hit, Port, SocketFault};

use crate::lasting::Turn;
use crate::stage::Simulation;

impl Simulation {
    pub(crate) fn socket_fault(&mut self, fault: SocketFault) -> Hit {
        let now = self.now;
        let (lasting, _) = self.parts();
        let Some(socket) = lasting.socket() else {
            return Hit::Missed;
        };
        let network = lasting.network.clone();
        match fault {
            SocketFault::Close => network.cut(socket, "closed by the other side"),
            SocketFault::Reset => network.cut(socket, "reset by the other side"),
            SocketFault::CutMidLine => {
                let channel = lasting.channels.choose(&mut lasting.random).unwrap();
                network.cut_mid_line(socket, channel, "user_1 id-of-ha", "closed within a line");
            }
            SocketFault::Outage(time) => {
                network.unreachable(Some(ConnectError::Unreachable {
                    address: "chat:1".into(),
                    reason: "no route to host".into(),
                }));
                network.cut_all("the network is away");
                lasting.turn_at(now + time, Turn::NetworkBack);
            }
            SocketFault::Stall(time) => {
                network.stall(socket, true);
                lasting.turn_at(now + time, Turn::Flows(socket));
            }
            SocketFault::Reconnect => network.tell(socket, News::Reconnect),
            SocketFault::Duplicate if network.repeat(socket, 6) == 0 => return Hit::Missed,
            SocketFault::Duplicate => {}
            SocketFault::Garbage => {
                network.babble(socket, "\u{0}\u{1}garbage");
            }
        }
        Hit::Struck
    }

    pub(crate) fn disk_fault(&mut self, fault: DiskFault) -> Hit {
        let now = self.now;
        let (lasting, _) = self.parts();
        match fault {
            DiskFault::Full(time) => {
                lasting.weather.disk_full.store(true, Ordering::SeqCst);
                lasting.turn_at(now + time, Turn::DiskFree);
            }
            DiskFault::SlowSync(time) => {
                lasting.turn(Turn::Hold(Port::Journal, true));
                lasting.turn_at(now + time, Turn::Hold(Port::Journal, false));
            }
            DiskFault::Error(times) => {
                let faults = lasting.journal.faults();
                faults.fail_next_of("append", u64::from(times), Failure::Transient);
            }
            DiskFault::AnswerLost(times) => {
                let faults = lasting.journal.faults();
                faults.fail_next_of("append", u64::from(times), Failure::AnswerLost);
            }
            // The journal in memory has no bytes.
            DiskFault::ShortWrite(_) => return Hit::Missed,
        }
        Hit::Struck
    }

    pub(crate) fn database_fault(&mut self, fault: DatabaseFault) -> Hit {
        let now = self.now;
        let (lasting, _) = self.parts();
        let faults = lasting.store.faults().clone();
        match fault {
            DatabaseFault::Gone(time) => {
                lasting.weather.database_gone.store(true, Ordering::SeqCst);
                lasting.turn_at(now + time, Turn::DatabaseBack);
            }
            DatabaseFault::Locked(time) => {
                lasting
                    .weather
                    .database_locked
                    .store(true, Ordering::SeqCst);
                lasting.turn_at(now + time, Turn::Unlocked);
            }
            DatabaseFault::Slow(time) => {
                let pause = Duration::from_millis(700);
                for second in 0..time.as_secs() {
                    let begin = now + Duration::from_secs(second);
                    lasting.turn_at(begin, Turn::Hold(Port::Store, true));
                    lasting.turn_at(begin + pause, Turn::Hold(Port::Store, false));
                }
            }
            DatabaseFault::CutInTransaction | DatabaseFault::CommitLost => {
                faults.fail_next_of("commit", 1, Failure::Transient);
            }
            DatabaseFault::CommitUnknown => {
                for operation in ["commit", "freeze", "finish_freeze", "write_trees"] {
                    faults.fail_next_of(operation, 1, Failure::AnswerLost);
                }
            }
            DatabaseFault::Transient(times) => {
                faults.fail_next(u64::from(times), Failure::Transient);
            }
        }
        Hit::Struck
    }

    pub(crate) fn opt_out(&mut self) -> Hit {
        let (lasting, life) = self.parts();
        let now = life.runtime.block_on(async { lasting.clock.now() });
        let login = lasting.talk.login();
        let is_out = !lasting.out_now.remove(&login);
        if is_out {
            lasting.out_now.insert(login.clone());
            lasting.outs.insert(login.clone());
        }
        life.list(&login, is_out, now);
        // Somebody else binds a wallet, which freezing reads too.
        let bound = Name::parse(&lasting.talk.login()).unwrap();
        let mut wallet = [0; 32];
        lasting.random.fill(&mut wallet);
        let bind = Bind {
            user: UserHash::of_login(&bound),
            wallet: Wallet(wallet),
            verified: lasting.random.random(),
            source: "simulation".to_owned(),
        };
        life.append(now, Record::Bind(bind));
        Hit::Struck
    }

    pub(crate) fn reload(&mut self) -> Hit {
        let (lasting, life) = self.parts();
        let channel = lasting.channels.choose(&mut lasting.random).unwrap();
        if !lasting.wanted.remove(channel) {
            lasting.wanted.insert(channel.clone());
        }
        life.want(&lasting.wanted);
        Hit::Struck
    }
}
