//! Puts adapters behind the actors: what every command that runs the tree shares. What only the
//! running service has is in [`crate::live`], and what publishes and follows the chain in
//! [`crate::settle`].

mod opened;

use std::sync::Arc;
use std::time::Duration;

use twzrd_actors::epoch_sealer::{EpochSealerMsg, SealWhen};
use twzrd_actors::journal::JournalMsg;
use twzrd_actors::service::Service;
use twzrd_actors::step::Probe;
use twzrd_actors::tree::{self, Chain, Ingest, Parts, Refs};
use twzrd_actors::tree_builder::TreeBuilderMsg;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::memory::MemoryParts;
use twzrd_domain::ports::{JournalError, SealStore};
use twzrd_domain::record::{Append, Record};
use twzrd_domain::weight::Arithmetic;
use twzrd_journal::Folder;
use twzrd_store::Store;
use twzrd_supervision::{ExitReason, Options, StartError, Tree};

use crate::exit::{Code, Failure, OrFail, fail};
use crate::settings::Settings;

pub use opened::{DataFolder, Opened};

/// How long an answer is waited for before the question is asked again.
const ANSWER_WITHIN: Duration = Duration::from_secs(3600);
/// How long a child that is away is waited for before it is looked at again.
const AWAY: Duration = Duration::from_millis(100);
/// How long the journal's memory is waited for before it is asked again.
const MEMORY_WITHIN: Duration = Duration::from_secs(60);
/// How long to go on offering what the journal refuses for now, before giving up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The running tree, the children, and what they run on.
pub struct Running {
    /// The tree.
    pub tree: Arc<Tree>,
    /// Its children.
    pub refs: Refs,
    /// The store.
    pub store: Store,
    /// The journal's folder.
    pub folder: Arc<Folder>,
}

/// How the tree is started.
pub struct How {
    /// When epochs are sealed.
    pub seal_when: SealWhen,
    /// Whether a stop waits until the store holds what the journal holds.
    pub catch_up_on_stop: bool,
    /// How long records are gathered for the next batch once the store holds all of them.
    pub batch_linger: Duration,
    /// The ingest branch; none for a replay.
    pub ingest: Option<Ingest>,
    /// What publishes roots and follows the chain; none where nothing does.
    pub chain: Option<Chain>,
    /// What runs beside, by the name of its child.
    pub operations: Vec<(&'static str, Arc<dyn Service>)>,
    /// Is told of every step of every actor.
    pub probe: Arc<dyn Probe>,
}

impl Running {
    /// Starts the tree on an open data folder.
    ///
    /// # Errors
    /// Where a child cannot start.
    pub async fn start(opened: Opened, settings: &Settings, how: How) -> Result<Self, Failure> {
        let Opened {
            journal,
            data: _,
            folder,
            store,
        } = opened;
        let parts = Parts {
            folder: Arc::new(journal),
            batches: Arc::new(store.clone()),
            seals: Arc::new(store.clone()),
            trees: Arc::new(store.clone()),
            suppression: Arc::new(store.clone()),
            bots: Arc::new(settings.arithmetic.bots.iter().cloned().collect()),
            seal_when: how.seal_when,
            batch_records: settings.batch_records,
            batch_linger: how.batch_linger,
            catch_up_on_stop: how.catch_up_on_stop,
            ingest: how.ingest,
            chain: how.chain,
            operations: how.operations,
            probe: how.probe,
        };
        let (spec, refs) = tree::build(&settings.plan, &parts).or_fail(Code::Config)?;
        let tree = twzrd_supervision::start(spec, Options::default())
            .await
            .map_err(|error| {
                let code = match &error {
                    StartError::InvalidSpec { .. } => Code::Config,
                    _ => Code::Software,
                };
                Failure {
                    code,
                    error: error.into(),
                }
            })?;
        Ok(Self {
            tree: Arc::new(tree),
            refs,
            store,
            folder,
        })
    }

    /// The progress of sources and the settings in force.
    ///
    /// # Errors
    /// Where the journal cannot say, or the tree gives up.
    pub async fn memory(&self) -> Result<MemoryParts, Failure> {
        let journal = &self.refs.journal;
        let asked = async {
            loop {
                match journal.call(JournalMsg::Memory, MEMORY_WITHIN).await {
                    Ok(answer) => return answer,
                    Err(_) => {
                        let _ = journal.wait_running(MEMORY_WITHIN).await;
                    }
                }
            }
        };
        Ok(self.while_running(asked).await??)
    }

    /// Puts the settings that change arithmetic into the journal, where they are not in force.
    ///
    /// # Errors
    /// Where the length of an epoch would change while one is open.
    pub async fn put_settings(
        &self,
        wanted: &Arithmetic,
        memory: &MemoryParts,
        at: UnixMs,
    ) -> Result<(), Failure> {
        if memory.settings.as_ref() == Some(wanted) {
            return Ok(());
        }
        let longer_or_shorter = |old: &&Arithmetic| old.epoch_seconds != wanted.epoch_seconds;
        if let Some(old) = memory.settings.as_ref().filter(longer_or_shorter) {
            self.finish(false).await?;
            if let Some(open) = self.store.open_epochs().await?.first() {
                return Err(fail(
                    Code::Config,
                    format_args!(
                        "epoch {open} of this data folder is open under epochs of {} s, and epoch.seconds is {}; expected the same length until it is sealed, or another data folder",
                        old.epoch_seconds.seconds(),
                        wanted.epoch_seconds.seconds()
                    ),
                ));
            }
        }
        let append = Append::Records {
            progress: None,
            records: vec![(at, Record::Settings(wanted.clone()))],
        };
        self.refs.gate(Some(PATIENCE)).append(append).await?;
        Ok(())
    }

    /// Does something while the tree runs; fails where the tree gives up first.
    ///
    /// # Errors
    /// Why the tree gave up.
    pub async fn while_running<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            done = work => Ok(done),
            reason = self.tree.exited() => Err(gave_up(&reason)),
        }
    }

    /// Waits until all that the journal holds is in the store, sealed epochs are frozen, and their
    /// trees are built.
    ///
    /// # Errors
    /// Where the tree gives up first.
    pub async fn finish(&self, seal_open: bool) -> Result<(), Failure> {
        let sealer = &self.refs.sealer;
        let ask = |reply| EpochSealerMsg::Finish { seal_open, reply };
        self.while_running(async {
            while sealer.call(ask, ANSWER_WITHIN).await.is_err() {
                let _ = sealer.wait_running(AWAY).await;
            }
        })
        .await?;
        let trees = &self.refs.trees;
        self.while_running(async {
            while trees
                .call(TreeBuilderMsg::BuildAll, ANSWER_WITHIN)
                .await
                .is_err()
            {
                let _ = trees.wait_running(AWAY).await;
            }
        })
        .await
    }

    /// Stops everything in reverse order of its start, and says who was late.
    pub async fn stop(&self) {
        for late in self.tree.stop().await.late {
            tracing::warn!(child = %late.path, outcome = ?late.outcome, "stopped late");
        }
    }
}

/// The tree has ended by itself.
pub(crate) fn gave_up(reason: &ExitReason) -> Failure {
    fail(
        Code::Software,
        format_args!("the supervision tree ended: {reason}"),
    )
}

/// The error of the gate, with its code.
impl From<twzrd_actors::intake::GateError> for Failure {
    fn from(error: twzrd_actors::intake::GateError) -> Self {
        use twzrd_actors::intake::GateError;
        match error {
            GateError::Journal(error) => JournalError::into(error),
            GateError::Away(error) => Self {
                code: Code::Software,
                error: error.into(),
            },
        }
    }
}
