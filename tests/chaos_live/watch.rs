//! The invariants that are looked at all the while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use twzrd_actors::room::Room;
use twzrd_domain::batch::{Group, Position};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::event::MessageId;
use twzrd_domain::identity::Channel;
use twzrd_domain::invariant::{self, Invariant, Violation};
use twzrd_domain::ports::{JournalFolder, ReportStore, SealedEpoch};
use twzrd_domain::record::{Record, Seq};
use twzrd_domain::seal::FrozenChannel;

use crate::world::{World, patiently};

/// How much of the journal, or of the sealed epochs, is read at a time.
const PAGE: usize = 5_000;

/// What was seen so far.
#[derive(Default)]
pub(crate) struct Watch {
    offset: Seq,
    position: Position,
    ids: Vec<MessageId>,
    frozen: BTreeMap<(Epoch, Channel), FrozenChannel>,
    /// Every room that was there at a look, also those that are let go of since.
    rooms: Vec<Arc<Room>>,
}

fn held(held: Result<(), Violation>) -> Result<(), String> {
    held.map_err(|violation| violation.to_string())
}

impl Watch {
    /// The ids of all events that the journal holds.
    pub(crate) fn ids(&self) -> BTreeSet<&str> {
        self.ids.iter().map(MessageId::as_str).collect()
    }

    /// How many lines the feeds of these rooms ever took: all of them must come to an outcome.
    pub(crate) fn taken(&self) -> u64 {
        let taken = self.rooms.iter().map(|room| room.feed().depth().taken);
        taken.sum()
    }

    pub(crate) async fn look(&mut self, world: &World) -> Result<(), String> {
        let server = Arc::clone(world.board.server());
        for room in world.board.rooms().into_iter().chain([server]) {
            if !self.rooms.iter().any(|known| Arc::ptr_eq(known, &room)) {
                self.rooms.push(room);
            }
        }
        let offset = world.offset().await?;
        let before = std::mem::replace(&mut self.offset, offset);
        let durable = world.folder.durable();
        held(invariant::offset_follows_journal(before, offset, durable))?;
        let balance = patiently(async || world.eye.balance().await).await?;
        held(invariant::ledger_balances(&balance.counts))?;
        if let Some((epoch, channel)) = balance.first_drifting {
            let drift = balance.drift;
            let which = Invariant::LedgerBalances;
            return Err(format!(
                "{which} does not hold: {drift} in {channel} in {epoch}"
            ));
        }
        self.look_at_journal(world).await?;
        self.look_at_sealed(world).await
    }

    async fn look_at_journal(&mut self, world: &World) -> Result<(), String> {
        loop {
            let chunk = world.folder.read(self.position, PAGE).await;
            let chunk = chunk.map_err(|error| error.to_string())?;
            let Some(&behind) = chunk.positions.last() else {
                return held(invariant::events_are_unique(&self.ids));
            };
            self.position = behind;
            let ids = chunk
                .entries
                .into_iter()
                .filter_map(|entry| match entry.record {
                    Record::Event(event) => event.id,
                    _ => None,
                });
            self.ids.extend(ids);
        }
    }

    async fn look_at_sealed(&mut self, world: &World) -> Result<(), String> {
        let limit = u64::try_from(PAGE).unwrap();
        let sealed = patiently(async || world.eye.sealed_after(None, limit).await).await?;
        for SealedEpoch { epoch, channel, .. } in sealed {
            let key = (epoch, channel);
            let ask = async || world.eye.proof_material(key.0, &key.1).await;
            let Some(material) = patiently(ask).await? else {
                // Its trees are not built yet.
                continue;
            };
            held(invariant::roots_follow_participants(&material))?;
            let now = FrozenChannel {
                epoch,
                channel: key.1.clone(),
                group: Group::default(),
                sealed_at: 0,
                participants: material.participants,
            };
            match self.frozen.get(&key) {
                Some(before) => held(invariant::sealed_is_final(before, Some(&now)))?,
                None => drop(self.frozen.insert(key, now)),
            }
        }
        Ok(())
    }

    /// How many channels of epochs were sealed.
    pub(crate) fn sealed(&self) -> usize {
        self.frozen.len()
    }
}
