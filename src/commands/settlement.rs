//! `twzrd settlement`

use std::fmt::Write;

use serde_json::{Value, json};
use twzrd_domain::chain::{Order, SettlementLogRow, SettlementRow, SettlementStore};
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::{Channel, Node};
use twzrd_domain::ports::Clock;
use twzrd_domain::publication::Publication;
use twzrd_store::Store;

use super::{data_folder, print};
use crate::cli::{Data, OneRoot, Settlement, SettlementList};
use crate::clock::SystemClock;
use crate::exit::{Code, Failure, fail};
use crate::settings::Settings;
use crate::wiring::DataFolder;

/// How many roots are read at a time.
pub(super) const PAGE: u64 = 500;

/// Shows where roots stand, or lets one go on.
pub(super) async fn run(settings: &Settings, args: Settlement) -> Result<Code, Failure> {
    match args {
        Settlement::List(args) => list(settings, args).await,
        Settlement::Show(args) => {
            let (_, row) = find(settings, &args).await?;
            print(&shown(&row, args.json))?;
            Ok(Code::Ok)
        }
        Settlement::Release(args) => order(settings, args, Order::Release).await,
        Settlement::Retry(args) => order(settings, args, Order::Retry).await,
    }
}

/// The store of a command that looks at roots.
pub(super) async fn store_of(data: &Data, settings: &Settings) -> Result<Store, Failure> {
    let folder = data_folder(data.data.clone(), settings);
    DataFolder::existing(&folder)?
        .open_existing_store(settings)
        .await
}

/// A root's place, by what the command line says.
pub(super) fn place(epoch: u64, channel: &str) -> Result<(Epoch, Channel), Failure> {
    let channel = Channel::parse(channel)
        .map_err(|error| fail(Code::Usage, format_args!("--channel {channel:?}: {error}")))?;
    Ok((Epoch(epoch), channel))
}

async fn list(settings: &Settings, args: SettlementList) -> Result<Code, Failure> {
    let store = store_of(&args.data, settings).await?;
    let (mut after, mut left) = (None, args.limit);
    while left > 0 {
        let page = left.min(PAGE);
        let rows = store.rows(args.state.as_deref(), after, page).await?;
        let is_last = (rows.len() as u64) < page;
        let text = rows.iter().fold(String::new(), |mut text, row| {
            let _ = if args.json {
                writeln!(text, "{}", json(row))
            } else {
                writeln!(text, "{}", line(row))
            };
            text
        });
        print(&text)?;
        left -= rows.len() as u64;
        after = rows.last().map(|row| (row.epoch, row.channel.clone()));
        if is_last {
            break;
        }
    }
    Ok(Code::Ok)
}

async fn find(settings: &Settings, args: &OneRoot) -> Result<(Store, SettlementRow), Failure> {
    let (epoch, channel) = place(args.epoch, &args.channel)?;
    let store = store_of(&args.data, settings).await?;
    let row = row(&store, epoch, &channel).await?;
    Ok((store, row))
}

/// The root of a channel in an epoch.
pub(super) async fn row(
    store: &dyn SettlementStore,
    epoch: Epoch,
    channel: &Channel,
) -> Result<SettlementRow, Failure> {
    // No column holds an epoch beyond that, so none can be sealed.
    let row = match i64::try_from(epoch.0) {
        Ok(_) => store.row(epoch, channel).await?,
        Err(_) => None,
    };
    row.ok_or_else(|| {
        let message = format!("{channel} has no sealed epoch {epoch} with its trees built");
        fail(Code::No, message)
    })
}

async fn order(settings: &Settings, args: OneRoot, order: Order) -> Result<Code, Failure> {
    let (store, before) = find(settings, &args).await?;
    let taken = store.order(before.id, order, SystemClock.now()).await?;
    let (epoch, channel) = place(args.epoch, &args.channel)?;
    let row = row(&store, epoch, &channel).await?;
    if !taken {
        let expected = match order {
            Order::Release => "a root that is held",
            Order::Retry => "a root that failed or is held",
        };
        return Err(fail(
            Code::No,
            format_args!(
                "{channel} in {epoch} is {}; expected {expected}",
                row.publication
            ),
        ));
    }
    print(&shown(&row, args.json))?;
    Ok(Code::Ok)
}

/// A root and everything that was tried, as text or JSON.
pub(super) fn shown(row: &SettlementRow, as_json: bool) -> String {
    if as_json {
        return format!("{}\n", json(row));
    }
    let mut text = format!("{}\n", line(row));
    if let Some(reason) = reason(&row.publication) {
        let _ = writeln!(text, "  next: {}", reason.why.next_step());
    }
    for tried in &row.log {
        let _ = writeln!(text, "  {}", log_line(tried));
    }
    text
}

fn line(row: &SettlementRow) -> String {
    let mut text = format!(
        "{}  {}  {}  {} participants  {}",
        row.epoch,
        row.channel,
        Node(row.root),
        row.count,
        row.publication
    );
    let _ = match &row.publication {
        Publication::Superseded { by } => write!(text, " by {by}"),
        Publication::Signed { signature, .. } | Publication::Finalized { signature } => {
            write!(text, " by {signature}")
        }
        Publication::Settled { signature } => {
            let by = signature.as_deref().unwrap_or("somebody else");
            write!(text, " by {by}")
        }
        Publication::Held { reason } | Publication::Failed { reason } => write!(text, ": {reason}"),
        Publication::Planned if row.is_released => write!(text, ", released"),
        Publication::Planned => Ok(()),
    };
    text
}

fn log_line(tried: &SettlementLogRow) -> String {
    let signature = tried.signature.as_deref().unwrap_or("found on chain");
    let mut text = format!("{}  {}  {signature}", tried.status, tried.target);
    let numbers = [
        ("signed at", tried.signed_at),
        ("in slot", tried.slot),
        ("settled at", tried.settled_at),
    ];
    for (what, number) in numbers {
        if let Some(number) = number {
            let _ = write!(text, "  {what} {number}");
        }
    }
    if let Some(error) = &tried.error_message {
        let _ = write!(text, "  {error}");
    }
    text
}

fn reason(publication: &Publication) -> Option<&twzrd_domain::settlement::Reason> {
    match publication {
        Publication::Held { reason } | Publication::Failed { reason } => Some(reason),
        _ => None,
    }
}

fn json(row: &SettlementRow) -> Value {
    let reason = reason(&row.publication);
    let superseded_by = match row.publication {
        Publication::Superseded { by } => Some(by),
        _ => None,
    };
    let tries: Vec<Value> = row
        .log
        .iter()
        .map(|tried| {
            json!({
                "tx_signature": tried.signature, "status": tried.status, "target": tried.target,
                "signed_at": tried.signed_at, "slot": tried.slot, "settled_at": tried.settled_at,
                "error_message": tried.error_message,
            })
        })
        .collect();
    json!({
        "epoch": row.epoch.0, "channel": row.channel.as_str(), "root": Node(row.root).to_string(),
        "count": row.count, "state": row.publication.to_string(), "released": row.is_released,
        "reason": reason.map(|reason| reason.why.code()),
        "reason_text": reason.map(|reason| &reason.text),
        "next_step": reason.map(|reason| reason.why.next_step()),
        "superseded_by": superseded_by, "settled_at": row.settled_at, "log": tries,
    })
}
