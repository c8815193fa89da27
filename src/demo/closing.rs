//! The end of a demo: what is open is sealed and printed, one person's presence is proved, and a
//! storm gets its verdict.

use std::io::{self, BufWriter};
use std::path::Path;
use std::time::Duration;

use twzrd_actors::epoch_sealer::SealWhen;
use twzrd_actors::step::no_probe;
use twzrd_simulator::Log;

use super::parity::Disturbed;
use super::prove::{program, prove_one};
use super::say;
use super::strike::Tally;
use crate::exit::{Code, Failure};
use crate::report;
use crate::settings::Settings;
use crate::wiring::{DataFolder, How, Opened, Running};

/// Seals what is open, as a replay does at the end of its input, and says what came of it: also
/// whether a storm changed anything, where there was one.
pub(super) async fn close(
    settings: &Settings,
    folder: &Path,
    storm: Option<(Log, Tally)>,
) -> Result<Code, Failure> {
    say("\nSealing what is open …\n")?;
    let running = seal(settings, folder).await?;
    let told = async {
        let mut out = BufWriter::new(io::stdout());
        let length = settings.arithmetic.epoch_seconds;
        report::table(&running.store, length, &mut out).await?;
        drop(out);
        prove_one(&running.store, folder).await?;
        match storm {
            Some((log, tally)) => judge(settings, folder, &running, &log, &tally).await,
            None => Ok(Code::Ok),
        }
    };
    let told = told.await;
    running.store.close().await?;
    told
}

/// Seals what is open in a data folder that nobody else uses, and leaves its store open.
async fn seal(settings: &Settings, folder: &Path) -> Result<Running, Failure> {
    let data = DataFolder::existing(folder)?;
    let opened = Opened::open(&data, settings, true).await?;
    let how = How {
        seal_when: SealWhen::Asked,
        catch_up_on_stop: true,
        batch_linger: Duration::ZERO,
        ingest: None,
        chain: None,
        operations: Vec::new(),
        probe: no_probe(),
    };
    let running = Running::start(opened, settings, how).await?;
    running.finish(true).await?;
    running.stop().await;
    Ok(running)
}

/// Compares with an undisturbed replay, and says whether anything differs.
async fn judge(
    settings: &Settings,
    folder: &Path,
    running: &Running,
    log: &Log,
    tally: &Tally,
) -> Result<Code, Failure> {
    say("\nComparing with an undisturbed replay …\n")?;
    let disturbed = Disturbed {
        settings,
        log,
        journal: &*running.folder,
        store: &running.store,
    };
    let verdict = disturbed.compare(folder).await?;
    let (word, code) = match verdict.is_equal() {
        true => (
            "nothing was lost, nothing counts twice, no root differs",
            Code::Ok,
        ),
        false => ("it differs", Code::No),
    };
    let (lost, doubled) = (verdict.lost, verdict.doubled);
    let (program, folder) = (program(), folder.display());
    let length = settings.arithmetic.epoch_seconds.seconds();
    say(&format!(
        "\n{told}\n{verdict}\n\
         Replay it yourself:\n  \
         {program} replay {folder}/undisturbed.irc --epoch-seconds {length}\n\
         Verdict: {strikes} strikes, {accepted} lines accepted, {lost} lost, {doubled} doubled, \
         roots of {equal} of {sealed} channels and epochs equal: {word}.\n",
        told = tally.told(),
        strikes = tally.strikes(),
        accepted = verdict.accepted,
        equal = verdict.equal,
        sealed = verdict.sealed,
    ))?;
    Ok(code)
}
