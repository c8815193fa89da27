//! How a run ended, and how it would have ended undisturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use twzrd_actors::epoch_sealer::{EpochSealerMsg, SealWhen};
use twzrd_actors::step::no_probe;
use twzrd_actors::tree::Refs;
use twzrd_actors::tree_builder::TreeBuilderMsg;
use twzrd_domain::chat::LineJudge;
use twzrd_domain::epoch::EpochLength;
use twzrd_domain::event::Event;
use twzrd_domain::ports::{JournalFolder, ReportStore};
use twzrd_domain::record::Candidate;
use twzrd_journal::{Config, Folder};
use twzrd_simulator::log::Fate;
use twzrd_store::Store;
use twzrd_testkit::scenario::{Ending, Outcome};
use twzrd_twitch::judge::TwitchJudge;

use crate::outcome;
use crate::watch::Watch;
use crate::world::{self, ANSWER_WITHIN, Database, World, patiently, until};

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Waits until clients have read all that was said, and all of it is applied.
pub(crate) async fn settle(world: &World) -> Result<(), String> {
    world.simulator.acknowledged().await;
    let is_empty = || {
        let (rooms, server) = (world.board.rooms(), Arc::clone(world.board.server()));
        let mut all = rooms.iter().chain([&server]);
        all.all(|room| room.feed().depth().lines == 0) && world.board.gaps().depth().0 == 0
    };
    until(async || is_empty()).await;
    let durable = world.folder.durable();
    while world.offset().await? < durable {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

/// Waits until all is applied, what is sealed is frozen, and all trees are built. Where
/// `seal_open` says so, every epoch that is over is sealed first.
pub(crate) async fn finish(refs: &Refs, seal_open: bool) {
    let (sealer, trees) = (&refs.sealer, &refs.trees);
    let ask = |reply| EpochSealerMsg::Finish { seal_open, reply };
    while sealer.call(ask, ANSWER_WITHIN).await.is_err() {
        let _ = sealer.wait_running(ANSWER_WITHIN).await;
    }
    while trees
        .call(TreeBuilderMsg::BuildAll, ANSWER_WITHIN)
        .await
        .is_err()
    {
        let _ = trees.wait_running(ANSWER_WITHIN).await;
    }
}

/// How it ended. The tree is stopped.
pub(crate) async fn look(
    world: &World,
    watch: &Watch,
    outs: &BTreeSet<String>,
) -> Result<Ending, String> {
    let counts = patiently(async || world.eye.ledger().await).await?;
    let outcome = match &world.database {
        Database::Sqlite => of(&outcome::Database::Sqlite(world.sqlite()))?,
        Database::Postgres { postgres, .. } => of(&outcome::Database::Postgres(postgres))?,
    };
    let reference = reference(world).await?;
    let (lost, doubled) = compare(world, watch, outs, counts.received);
    Ok(Ending {
        outcome,
        reference,
        accepted: counts.received,
        lost,
        doubled,
        ..Ending::default()
    })
}

fn of(database: &outcome::Database<'_>) -> Result<Outcome, String> {
    match database.unfinished()? {
        0 => database.outcome(),
        left => Err(format!(
            "{left} epochs and channels have no trees in the end"
        )),
    }
}

/// The same journal, read into an empty SQLite database by a tree that nobody disturbs.
async fn reference(world: &World) -> Result<Outcome, String> {
    let home = world.home.path();
    let config = Config::new(world::journal(home), Arc::new(world.clock.clone()));
    let folder = Folder::new(config);
    let path = home.join("undisturbed.sqlite");
    let store = Store::sqlite(&path, world.groups.clone()).await;
    let store = store.map_err(told)?;
    let (arithmetic, when) = (&world.arithmetic, SealWhen::Asked);
    let parts = world::parts(&folder, &store, arithmetic, when, None, no_probe());
    let (tree, refs) = world::start(&parts).await?;
    finish(&refs, false).await;
    let late = tree.stop().await.late;
    store.close().await.map_err(told)?;
    let (before, after) = (world.folder.durable(), folder.durable());
    if before != after || !late.is_empty() {
        return Err(format!(
            "the journal had {before} records, and read back it has {after}; late: {late:?}"
        ));
    }
    of(&outcome::Database::Sqlite(path))
}

/// What was put on sockets, beside what the journal and the ledger hold.
fn compare(
    world: &World,
    watch: &Watch,
    outs: &BTreeSet<String>,
    received: u64,
) -> (Vec<String>, Vec<String>) {
    let accepted = watch.ids();
    let (mut lost, mut doubled) = (Vec::new(), Vec::new());
    let log = world.simulator.log();
    if !log.is_complete() {
        lost.push("the simulator's log has not kept everything".to_owned());
    }
    let length = world.arithmetic.epoch_seconds;
    let (mut least, mut most) = (0, 0);
    let mut said: BTreeMap<String, Fate> = BTreeMap::new();
    for delivery in log.deliveries() {
        let is_line = !delivery.line.is_empty() && delivery.fate >= Fate::Torn;
        most += u64::from(is_line);
        least += u64::from(is_line && delivery.fate == Fate::Acknowledged);
        let event = event(&delivery.line, length).filter(|_| is_line);
        let Some((id, event)) = event.and_then(|event| Some((event.id.clone()?, event))) else {
            continue;
        };
        // With a proxy in between, only what the client has answered for is certain.
        let is_certain = delivery.fate == Fate::Acknowledged;
        let is_out =
            outs.contains(event.login.as_str()) || world.arithmetic.bots.contains(&event.login);
        if is_certain && !is_out && !accepted.contains(id.as_str()) {
            lost.push(format!(
                "{} of {} in {}",
                id.as_str(),
                event.login,
                event.channel
            ));
        }
        said.insert(id.as_str().to_owned(), delivery.fate);
    }
    // What every socket gave, and what every feed took, is known more closely than what was sent.
    least = least.max(watch.taken());
    most = most.min(world.board.counts().lines);
    let unsaid = accepted.iter().filter(|id| !said.contains_key(**id));
    doubled.extend(unsaid.map(|id| format!("{id}, which nobody said")));
    if received < least {
        lost.push(format!("{received} lines received of at least {least}"));
    }
    if received > most {
        doubled.push(format!("{received} lines received of at most {most}"));
    }
    (lost, doubled)
}

/// The event that a line is, where it is one.
fn event(line: &[u8], length: EpochLength) -> Option<Event> {
    let mut draft = TwitchJudge::default().begin(length);
    draft.push(line, 0);
    let candidates = draft.finish(None).candidates;
    candidates
        .into_iter()
        .find_map(|candidate| match candidate {
            Candidate::Event(event) => Some(event),
            Candidate::Passed(_) => None,
        })
}
