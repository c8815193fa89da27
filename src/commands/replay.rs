//! `twzrd replay`

use std::io::{self, BufWriter};

use twzrd_actors::step::no_probe;

use super::cannot_print;
use crate::cli;
use crate::exit::{Code, Failure};
use crate::progress::Progress;
use crate::replay::input::Input;
use crate::replay::{Place, Replay, refuse_own_journal};
use crate::report;
use crate::settings::Settings;
use crate::telemetry::Terminal;
use crate::wiring::DataFolder;

/// Replays, and prints what came of it.
pub(super) async fn run(
    settings: &Settings,
    args: cli::Replay,
    terminal: &Terminal,
) -> Result<Code, Failure> {
    let inputs = args
        .files
        .iter()
        .filter(|name| !is_unfinished(name))
        .map(|name| Input::named(name))
        .collect::<Result<Vec<_>, _>>()?;
    let mut settings = settings.clone();
    if args.data.is_none() {
        // A journal that goes at the end must not leave its rows in a database that stays.
        settings.database_url = None;
    }
    let place = Place::of(args.data)?;
    refuse_own_journal(&inputs, place.path())?;
    let data = DataFolder::create(place.path())?;
    let progress = Progress::on(terminal);
    let replay = Replay {
        settings: &settings,
        data: &data,
        inputs,
        probe: no_probe(),
        progress,
    };
    let running = replay.run().await?;
    let mut out = BufWriter::new(io::stdout());
    let printed = if args.json {
        report::json(&running.store, &mut out).await
    } else {
        report::table(&running.store, settings.arithmetic.epoch_seconds, &mut out).await
    };
    running.store.close().await?;
    match printed {
        Ok(()) => Ok(Code::Ok),
        Err(failure) => {
            // What is left in the buffer has nowhere to go.
            drop(out.into_parts());
            match failure.error.downcast_ref::<io::Error>() {
                Some(error) => cannot_print(error).map(|()| Code::Ok),
                None => Err(failure),
            }
        }
    }
}

/// What a journal had not finished when its process ended: the segment itself is there too. A
/// pattern such as `journal/*.ndjson*` names both.
fn is_unfinished(name: &str) -> bool {
    let unfinished = name.ends_with(".ndjson.zst.tmp");
    if unfinished {
        tracing::warn!(input = name, "is a copy that was not finished; passed over");
    }
    unfinished
}
