//! Removes old segments.

use twzrd_domain::ports::JournalError;
use twzrd_domain::record::Seq;

use crate::files::{Inventory, unavailable};
use crate::health::held;
use crate::shared::Shared;
use crate::snapshot;

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many segments.
    pub segments: usize,
    /// The first record that is left; 1 where nothing was ever removed.
    pub first: Seq,
}

/// Removes closed segments of which all records stand before `seq`, the oldest first, so that what
/// is left has no hole wherever it stops.
pub(crate) fn remove_before(shared: &Shared, seq: Seq) -> Result<Removed, JournalError> {
    if held(&shared.lock).upgrade().is_none() {
        return Err(JournalError::Closed);
    }
    let _alone = held(&shared.upkeep);
    let firsts = shared.table().firsts;
    let behind = firsts
        .iter()
        .skip(1)
        .take_while(|&&next| next <= seq)
        .count();
    let left = firsts[behind];
    if behind == 0 {
        return Ok(Removed {
            segments: 0,
            first: left,
        });
    }
    let inventory = Inventory::of(&*shared.storage, &shared.config.folder)?;
    require_snapshot(shared, &inventory, left)?;
    for &first in &firsts[..behind] {
        // A reader that has it open reads it to its end.
        remove_files(shared, &inventory, first)?;
        let mut table = held(&shared.table);
        table.firsts = table
            .firsts
            .iter()
            .copied()
            .filter(|&other| other != first)
            .collect();
        table.plain.remove(&first);
    }
    tracing::info!(segments = behind, first = left, "removed old segments");
    Ok(Removed {
        segments: behind,
        first: left,
    })
}

/// What the removed records left in memory must be in a snapshot: nothing else can tell it.
fn require_snapshot(
    shared: &Shared,
    inventory: &Inventory,
    first: Seq,
) -> Result<(), JournalError> {
    let folder = &shared.config.folder;
    let id = shared.id().map_or("", |id| id.as_str());
    let newest = inventory
        .memories
        .last()
        .copied()
        .filter(|&newest| newest >= first);
    let reason = match newest {
        None => "there is none".to_owned(),
        Some(newest) => match snapshot::read(&*shared.storage, folder, id, newest) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        },
    };
    let reason = format!(
        "{}: expected a sound snapshot of segment {first} or a later one: {reason}",
        folder.display()
    );
    Err(JournalError::Unavailable {
        doing: "remove segments",
        reason,
    })
}

fn remove_files(shared: &Shared, inventory: &Inventory, first: Seq) -> Result<(), JournalError> {
    let plain = (&inventory.plain, shared.plain_path(first));
    let compressed = (&inventory.compressed, shared.compressed_path(first));
    for (there, path) in [plain, compressed] {
        if there.binary_search(&first).is_ok() {
            shared
                .storage
                .remove(&path)
                .map_err(|error| unavailable("remove", &path, &error))?;
        }
    }
    Ok(())
}
