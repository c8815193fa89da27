//! The end of a demo: one person's presence, proved and checked.

use std::path::Path;

use twzrd_domain::ports::{ReportStore, SealedEpoch};
use twzrd_domain::proof::prove;
use twzrd_store::Store;

use super::say;
use crate::exit::{Code, Failure, OrFail, fail};

/// Proves the presence of one person in the largest crowd, checks it, and says how to do so.
pub(super) async fn prove_one(store: &Store, folder: &Path) -> Result<(), Failure> {
    let Some(largest) = largest_crowd(store).await? else {
        return say("\nNobody took part: there is nothing to prove.\n");
    };
    let (epoch, channel) = (largest.epoch, &largest.channel);
    let material = store.proof_material(epoch, channel).await?;
    let login = material.as_ref().and_then(|material| {
        let mut logins = material
            .participants
            .iter()
            .filter_map(|one| one.login.as_ref());
        logins.next()
    });
    let (Some(material), Some(login)) = (&material, login) else {
        return Err(fail(Code::Software, "the largest crowd has no proof"));
    };
    let proof = prove(material, login).or_fail(Code::Software)?;
    proof.verify().or_fail(Code::Software)?;
    let program = program();
    let folder = folder.display();
    say(&format!(
        "\nProved and checked: {login} took part in {channel} in epoch {epoch}, as {} of {}.\n\
         Do it yourself:\n  \
         {program} proof --data {folder} --epoch {epoch} --channel {channel} --user {login} | {program} verify\n\
         The data stays in {folder} until you remove it.\n",
        proof.index + 1,
        proof.participants,
    ))
}

async fn largest_crowd(store: &Store) -> Result<Option<SealedEpoch>, Failure> {
    const PAGE: u64 = 1000;
    let mut largest: Option<SealedEpoch> = None;
    let mut after = None;
    loop {
        let page = store.sealed_after(after, PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(largest);
        };
        after = Some((last.epoch, last.channel.clone()));
        let size = |one: &SealedEpoch| one.participants;
        largest = largest.into_iter().chain(page).max_by_key(size);
    }
}

/// The program, as it was called.
pub(super) fn program() -> String {
    let first = std::env::args().next();
    first.unwrap_or_else(|| "twzrd".to_owned())
}
