//! What a replay comes to: a table for people, or JSON lines for programs.

use std::io::{self, Write};

use serde::Serialize;
use twzrd_domain::coverage;
use twzrd_domain::epoch::{Epoch, EpochLength};
use twzrd_domain::identity::{Channel, Node};
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{ReportStore, SealedEpoch};

use crate::exit::{Code, Failure, OrFail};

/// How many rows are read from the store at a time.
const PAGE_ROWS: u64 = 1000;

/// One line of the JSON form. The order of the keys is part of the form.
#[derive(Serialize)]
struct Row<'a> {
    epoch: Epoch,
    channel: &'a Channel,
    participants: u64,
    participation_root: Option<Node>,
    claim_root: Option<Node>,
}

/// The last line of the JSON form.
#[derive(Serialize)]
struct LedgerLine {
    ledger: Counts,
}

/// Writes every sealed epoch and channel, by epoch and channel, and the ledger, as JSON lines.
///
/// # Errors
/// Where the store fails, or the output does.
pub async fn json(store: &impl ReportStore, out: &mut (impl Write + Send)) -> Result<(), Failure> {
    each(store, |row| {
        let line = Row {
            epoch: row.epoch,
            channel: &row.channel,
            participants: row.participants,
            participation_root: row.participation_root.map(Node),
            claim_root: row.claim_root.map(Node),
        };
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    })
    .await?;
    let last = LedgerLine {
        ledger: store.ledger().await?,
    };
    serde_json::to_writer(&mut *out, &last)
        .map_err(io::Error::from)
        .or_fail(Code::Io)?;
    out.write_all(b"\n")
        .and_then(|()| out.flush())
        .or_fail(Code::Io)
}

/// Writes the same as a table. Roots are shortened; the JSON form has them whole.
///
/// # Errors
/// Where the store fails, or the output does.
pub async fn table(
    store: &impl ReportStore,
    length: EpochLength,
    out: &mut (impl Write + Send),
) -> Result<(), Failure> {
    let head = format!(
        "{:<20} {:>11} {:<25} {:>12} {:>9}  {:<18} {}\n",
        "epoch (UTC)",
        "",
        "channel",
        "participants",
        "coverage",
        "participation root",
        "claim root"
    );
    out.write_all(head.as_bytes()).or_fail(Code::Io)?;
    let mut rows = 0u64;
    each(store, |row| {
        rows += 1;
        let root = |root: Option<[u8; 32]>| root.map_or_else(|| "-".to_owned(), short);
        writeln!(
            out,
            "{:<20} {:>11} {:<25} {:>12} {:>8}%  {:<18} {}",
            utc(row.epoch.0),
            row.epoch.0,
            row.channel.as_str(),
            row.participants,
            coverage::percent(row.gap_ms, length),
            root(row.participation_root),
            root(row.claim_root)
        )
    })
    .await?;
    let ledger = store.ledger().await?;
    let write = || -> io::Result<()> {
        writeln!(
            out,
            "\n{rows} sealed. Coverage is 100% where nothing is known of gaps: raw lines tell of none."
        )?;
        writeln!(out, "\nledger")?;
        writeln!(out, "  {:<11} {:>14}", "received", ledger.received)?;
        for outcome in twzrd_domain::event::Outcome::ALL {
            writeln!(out, "  {:<11} {:>14}", outcome.as_str(), ledger.of(outcome))?;
        }
        out.flush()
    };
    let mut write = write;
    write().or_fail(Code::Io)
}

async fn each(
    store: &impl ReportStore,
    mut write: impl FnMut(&SealedEpoch) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut after = None;
    loop {
        let page = store.sealed_after(after, PAGE_ROWS).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = Some((last.epoch, last.channel.clone()));
        for row in &page {
            write(row).or_fail(Code::Io)?;
        }
    }
}

fn short(root: [u8; 32]) -> String {
    let mut text = Node(root).to_string();
    text.truncate(16);
    text + "…"
}

/// A Unix second as date and time in UTC (the civil calendar, by Howard Hinnant's algorithm).
fn utc(second: u64) -> String {
    let (days, rest) = (second / 86_400, second % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_shown_as_utc() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_762_902_000), "2025-11-11T23:00:00Z");
    }
}
