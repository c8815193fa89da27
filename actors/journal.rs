//! The one input of all that follows: takes in appends, and answers each once it is synced.
//!
//! Many appends may be under way at a time; the writer behind the port covers them with one sync.
//! A crash loses nothing that was answered: the writer is opened again in `pre_start` and recovers
//! from the folder; whoever waited for an answer asks again, and an append that was written before
//! is known by the progress of its source. Restart: permanent.

use std::sync::Arc;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tokio::task::JoinSet;
use twzrd_domain::memory::MemoryParts;
use twzrd_domain::ports::{JournalError, JournalFolder, JournalWriter};
use twzrd_domain::record::{Accepted, Append};

use crate::step::{Probe, Step};

/// How many appends may be under way at a time. One more is refused, and counted by its caller.
pub const MAX_UNDER_WAY: usize = 4096;

/// What the journal is asked.
pub enum JournalMsg {
    /// Must be written and synced as a whole, then answered. May come twice.
    Append(Append, RpcReplyPort<Result<Accepted, JournalError>>),
    /// Must be answered with the progress of sources and the settings in force.
    Memory(RpcReplyPort<Result<MemoryParts, JournalError>>),
}

/// What a start of the journal needs.
#[derive(Clone)]
pub struct JournalArgs {
    /// The folder.
    pub folder: Arc<dyn JournalFolder>,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct Journal;

/// The open writer and the answers that are owed.
pub struct State {
    writer: Arc<dyn JournalWriter>,
    under_way: JoinSet<()>,
    probe: Arc<dyn Probe>,
}

impl Actor for Journal {
    type Msg = JournalMsg;
    type State = State;
    type Arguments = JournalArgs;

    async fn pre_start(
        &self,
        _: ActorRef<JournalMsg>,
        args: JournalArgs,
    ) -> Result<State, ActorProcessingErr> {
        let writer = args.folder.open().await?;
        Ok(State {
            writer: Arc::from(writer),
            under_way: JoinSet::new(),
            probe: args.probe,
        })
    }

    async fn handle(
        &self,
        _: ActorRef<JournalMsg>,
        message: JournalMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JournalMsg::Append(append, reply) => state.append(append, reply),
            JournalMsg::Memory(reply) => state.memory(reply),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _: ActorRef<JournalMsg>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        while state.under_way.join_next().await.is_some() {}
        Ok(())
    }
}

impl State {
    fn append(&mut self, append: Append, reply: RpcReplyPort<Result<Accepted, JournalError>>) {
        self.probe.reached(Step::JOURNAL_BEFORE_APPEND);
        while self.under_way.try_join_next().is_some() {}
        if self.under_way.len() >= MAX_UNDER_WAY {
            let reason = format!("{MAX_UNDER_WAY} appends are under way");
            let refusal = JournalError::Unavailable {
                doing: "take an append",
                reason,
            };
            // Whoever no longer waits for the answer will ask again.
            let _ = reply.send(Err(refusal));
            return;
        }
        let writer = Arc::clone(&self.writer);
        let mut written = Box::pin(async move { writer.append(append).await });
        // One poll puts it in line behind those that came before; the rest is waited for aside,
        // so that one sync can cover many.
        let first = futures::FutureExt::now_or_never(&mut written);
        self.probe.reached(Step::JOURNAL_IN_LINE);
        if let Some(answer) = first {
            let _ = reply.send(answer);
            return;
        }
        self.under_way.spawn(async move {
            let answer = written.await;
            let _ = reply.send(answer);
        });
    }

    fn memory(&mut self, reply: RpcReplyPort<Result<MemoryParts, JournalError>>) {
        let writer = Arc::clone(&self.writer);
        self.under_way.spawn(async move {
            let _ = reply.send(writer.memory().await);
        });
    }
}
