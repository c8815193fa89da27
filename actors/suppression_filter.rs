//! Knows who opted out and which logins are bots, and screens every intake before the journal.
//!
//! Of a suppressed person's line a count stays, and nothing else. The filter is closed on failure:
//! until it has loaded the list it answers nobody, so nothing is accepted. The list is complete
//! once the store has applied every record that the journal held when the filter started; opt-outs
//! go through this actor, which appends them before it screens by them. A crash loses nothing.
//! Restart: permanent.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use tracing::info;
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::identity::{Login, UserHash};
use twzrd_domain::ports::{BatchStore, JournalFolder, StoreError, SuppressionStore};
use twzrd_domain::record::{Accepted, Append, Candidate, Intake, Record, Seq, Suppress};
use twzrd_supervision::{ChildRef, RefError};

use crate::journal::JournalMsg;
use crate::step::{Probe, Step};
use crate::weather::Weather;

/// How many verdicts on people are remembered. Past that, all are found out anew.
const REMEMBERED_VERDICTS: usize = 200_000;
/// How long the journal's answer to an opt-out is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What the suppression filter is asked.
pub enum SuppressionFilterMsg {
    /// Must be answered with the places of the candidates that are to be suppressed.
    Screen(Arc<Intake>, RpcReplyPort<Vec<u32>>),
    /// A person opts out or in. Must be in the journal before it is answered with the number of
    /// its record. May come twice.
    Change(ListChange, RpcReplyPort<Result<Seq, ChangeError>>),
    /// The list is to be loaded, or looked for again.
    LoadDue,
}

/// A person opts out or in.
#[derive(Clone, Debug)]
pub struct ListChange {
    /// True to opt out, false to opt in again.
    pub suppress: bool,
    /// The hashes under which the person is known to the caller.
    pub hashes: Vec<UserHash>,
    /// Why.
    pub reason: String,
    /// When.
    pub at: UnixMs,
}

/// The list was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The other hashes of the person could not be looked up.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal did not take the record.
    #[error("the journal did not take the record: {0}")]
    Journal(String),
    /// The journal is away.
    #[error(transparent)]
    Away(#[from] RefError),
}

/// What a start of the filter needs.
#[derive(Clone)]
pub struct SuppressionFilterArgs {
    /// The list.
    pub store: Arc<dyn SuppressionStore>,
    /// How far the store has come.
    pub offsets: Arc<dyn BatchStore>,
    /// How far the journal has come.
    pub folder: Arc<dyn JournalFolder>,
    /// Where opt-outs are appended.
    pub journal: ChildRef<JournalMsg>,
    /// The listed bots.
    pub bots: Arc<HashSet<Login>>,
    /// Is told of every step.
    pub probe: Arc<dyn Probe>,
}

/// The actor. See the module.
pub struct SuppressionFilter;

/// The list, and who waits for it.
pub struct State {
    args: SuppressionFilterArgs,
    /// The journal's end at the start: the store must have come so far.
    behind: Seq,
    list: Option<List>,
    waiting: Vec<SuppressionFilterMsg>,
    weather: Weather,
}

/// Everybody who is suppressed, and verdicts already found.
#[derive(Default)]
struct List {
    people: HashSet<UserHash>,
    verdicts: HashMap<(Login, Option<u64>), bool>,
}

/// How many questions may wait for the list. One more is dropped, and its asker asks again.
const MAX_WAITING: usize = 1024;

impl Actor for SuppressionFilter {
    type Msg = SuppressionFilterMsg;
    type State = State;
    type Arguments = SuppressionFilterArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<SuppressionFilterMsg>,
        args: SuppressionFilterArgs,
    ) -> Result<State, ActorProcessingErr> {
        myself.cast(SuppressionFilterMsg::LoadDue)?;
        let behind = args.folder.durable();
        Ok(State {
            args,
            behind,
            list: None,
            waiting: Vec::new(),
            weather: Weather::default(),
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<SuppressionFilterMsg>,
        message: SuppressionFilterMsg,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SuppressionFilterMsg::LoadDue => state.load(&myself).await,
            message if state.list.is_none() => {
                if state.waiting.len() < MAX_WAITING {
                    state.waiting.push(message);
                }
                Ok(())
            }
            SuppressionFilterMsg::Screen(intake, reply) => {
                state.screen(&intake, reply);
                Ok(())
            }
            SuppressionFilterMsg::Change(change, reply) => {
                let answer = state.change(change).await;
                // Whoever no longer waits for the answer will ask again.
                let _ = reply.send(answer);
                Ok(())
            }
        }
    }
}

impl State {
    async fn load(
        &mut self,
        myself: &ActorRef<SuppressionFilterMsg>,
    ) -> Result<(), ActorProcessingErr> {
        if self.list.is_some() {
            return Ok(());
        }
        self.args.probe.reached(Step::FILTER_BEFORE_LOAD);
        match self.look_up().await {
            Ok(Some(people)) => {
                info!(
                    people = people.len(),
                    bots = self.args.bots.len(),
                    "suppression list loaded"
                );
                self.weather.works("store");
                self.list = Some(List {
                    people,
                    ..List::default()
                });
                for message in self.waiting.drain(..) {
                    myself.cast(message)?;
                }
            }
            Ok(None) => {
                let _later =
                    myself.send_after(Duration::from_millis(5), || SuppressionFilterMsg::LoadDue);
            }
            Err(error) if error.is_transient() => {
                let wait = self.weather.failed("store", &error);
                let _later = myself.send_after(wait, || SuppressionFilterMsg::LoadDue);
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The list; none while the store has not applied all that the journal held at the start.
    async fn look_up(&self) -> Result<Option<HashSet<UserHash>>, StoreError> {
        if self.args.offsets.offset().await? < self.behind {
            return Ok(None);
        }
        let people = self.args.store.suppressed().await?;
        Ok(Some(people.into_iter().map(|person| person.user).collect()))
    }

    fn screen(&mut self, intake: &Intake, reply: RpcReplyPort<Vec<u32>>) {
        self.args.probe.reached(Step::FILTER_BEFORE_SCREEN);
        let Some(list) = &mut self.list else { return };
        let bots = &self.args.bots;
        let suppressed = (0u32..)
            .zip(&intake.candidates)
            .filter(|(_, candidate)| match candidate {
                Candidate::Event(event) => {
                    bots.contains(&event.login) || list.has(&event.login, event.user_id)
                }
                Candidate::Passed(_) => false,
            })
            .map(|(place, _)| place)
            .collect();
        self.args.probe.reached(Step::FILTER_SCREENED);
        // Whoever no longer waits for the answer will ask again.
        let _ = reply.send(suppressed);
    }

    async fn change(&mut self, change: ListChange) -> Result<Seq, ChangeError> {
        let mut hashes = change.hashes;
        for hash in hashes.clone() {
            hashes.extend(self.args.store.aliases(hash).await?);
        }
        hashes.sort_unstable();
        hashes.dedup();
        let person = Suppress {
            hashes: hashes.clone(),
            reason: change.reason,
        };
        let record = if change.suppress {
            Record::Suppress(person)
        } else {
            Record::Unsuppress(person)
        };
        let append = Append::Records {
            progress: None,
            records: vec![(change.at, record)],
        };
        let ask = |reply| JournalMsg::Append(append, reply);
        let accepted = self.args.journal.call(ask, ANSWER_WITHIN).await?;
        let seq = match accepted.map_err(|error| ChangeError::Journal(error.to_string()))? {
            Accepted::Written(seq) => seq,
            Accepted::Known => self.args.folder.durable(),
        };
        if let Some(list) = &mut self.list {
            for hash in hashes {
                if change.suppress {
                    list.people.insert(hash)
                } else {
                    list.people.remove(&hash)
                };
            }
            list.verdicts.clear();
        }
        Ok(seq)
    }
}

impl List {
    fn has(&mut self, login: &Login, user_id: Option<u64>) -> bool {
        if self.people.is_empty() {
            return false;
        }
        if self.verdicts.len() >= REMEMBERED_VERDICTS {
            self.verdicts.clear();
        }
        let people = &self.people;
        *self
            .verdicts
            .entry((login.clone(), user_id))
            .or_insert_with(|| {
                people.contains(&UserHash::of_login(login))
                    || user_id.is_some_and(|id| people.contains(&UserHash::of_twitch_id(id)))
            })
    }
}
