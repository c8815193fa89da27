//! Compares a service that was disturbed with an undisturbed replay of what it heard.
//!
//! Two things are held, and both are exact:
//!
//! 1. The journal against the chat server's log: every line that was read is in it, once, and
//!    nothing else is.
//! 2. The store against a replay: the same raw lines, through the same actors, into an empty store
//!    that nobody disturbs, come to the same participants and the same two roots for every channel
//!    and epoch.
//!
//! What the replay is given follows from the first. A line that was on its way when its socket was
//! lost is part of it where the journal has it. A line that stands in the journal behind the seal
//! of its epoch is not: the service seals by the clock and so counts it as late, while a replay
//! seals when its input ends. Which lines are late is therefore read from the journal, whose order
//! decides it, and never guessed from times; so no delay, however long, makes a difference.
//!
//! Two things cannot be told, and the verdict says of how many lines: whether a line that was on its
//! way and is not in the journal was read; and, of lines without an id that say the same to the
//! millisecond, whether one of them counts twice or another arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use twzrd_actors::step::no_probe;
use twzrd_domain::epoch::Epoch;
use twzrd_domain::identity::Channel;
use twzrd_domain::ledger::Counts;
use twzrd_domain::ports::{JournalFolder, ReportStore, SealedEpoch};
use twzrd_simulator::Log;
use twzrd_simulator::log::Line;

use super::accepted::Accepted;
pub use super::account::Difference;
use super::account::{Account, Rules, said, undisturbed};
use crate::exit::{Code, Failure, OrFail, fail};
use crate::progress::Progress;
use crate::replay::Replay;
use crate::replay::input::Input;
use crate::settings::Settings;
use crate::telemetry::Terminal;
use crate::wiring::DataFolder;

/// How many sealed epochs are read from a store at a time.
const PAGE_ROWS: u64 = 10_000;
/// How many differences are printed.
const SHOWN: usize = 20;

/// A service that was disturbed, after everything is sealed.
pub struct Disturbed<'a, S: ReportStore> {
    /// Its settings.
    pub settings: &'a Settings,
    /// What its chat server did.
    pub log: &'a Log,
    /// Its journal.
    pub journal: &'a dyn JournalFolder,
    /// Its store.
    pub store: &'a S,
}

/// What the comparison comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Lines that may count, and are in the journal.
    pub accepted: u64,
    /// Of these, how many came behind the seal of their epoch.
    pub late: u64,
    /// Lines that were read, and are not in the journal.
    pub lost: u64,
    /// Lines that are in the journal more often than they were said.
    pub doubled: u64,
    /// Lines in the journal that nobody said.
    pub unsaid: u64,
    /// Lines that were on their way when their socket was lost.
    pub on_the_way: u64,
    /// How many of these arrived, and are in the journal.
    pub arrived: u64,
    /// How many of those that were on their way had no id.
    pub on_the_way_without_id: u64,
    /// How many of these say the same as another line.
    pub alike: u64,
    /// How many channels and epochs have the same participants and roots in both.
    pub equal: u64,
    /// How many channels and epochs are sealed in either.
    pub sealed: u64,
    /// The ledger of the service.
    pub counts: Counts,
    /// The ledger of the replay.
    pub undisturbed: Counts,
    /// Everything that differs, by epoch and channel.
    pub differences: Vec<Difference>,
}

impl<S: ReportStore> Disturbed<'_, S> {
    /// Compares. The lines of the replay go to `undisturbed.irc` in this folder, and what they come
    /// to into `undisturbed` beside it, so that anybody can do it again.
    ///
    /// # Errors
    /// Where the log is not complete, or a journal, a store or the replay fails.
    pub async fn compare(&self, folder: &Path) -> Result<Verdict, Failure> {
        if !self.log.is_complete() {
            let refused = self.log.refused();
            let text = format!("the chat server's log lacks {refused} lines: nothing can be told");
            return Err(fail(Code::Software, text));
        }
        let arithmetic = &self.settings.arithmetic;
        let rules = Rules {
            length: arithmetic.epoch_seconds,
            keep_text: self.settings.journal.keep_text,
            bots: arithmetic.bots.iter().cloned().collect(),
        };
        let accepted = Accepted::read(self.journal, rules.length).await?;
        let truth = self.log.truth();
        let said = said(&truth, &rules);
        let account = Account::of(&said, &accepted, &rules);
        let path = folder.join("undisturbed.irc");
        write_lines(&path, &undisturbed(&said, &accepted, &rules)).or_fail(Code::Io)?;
        let data = folder.join("undisturbed");
        let (replayed, ledger) = replay(&path, &data, self.settings).await?;
        let sealed = all_sealed(self.store).await?;
        let balance = self.store.balance().await?;
        let mut verdict = Verdict {
            accepted: accepted.events,
            late: accepted.late,
            lost: account.lost,
            doubled: account.doubled,
            unsaid: account.unsaid,
            on_the_way: account.on_the_way,
            arrived: account.arrived,
            on_the_way_without_id: account.on_the_way_without_id,
            alike: account.alike,
            counts: balance.counts,
            undisturbed: ledger,
            differences: account.differences,
            ..Verdict::default()
        };
        verdict.roots(&sealed, &replayed);
        verdict.ledger(balance.first_drifting);
        Ok(verdict)
    }
}

impl Verdict {
    /// True where nothing differs.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.differences.is_empty()
    }

    /// Holds what was sealed against what the replay sealed.
    fn roots(&mut self, sealed: &[SealedEpoch], replayed: &[SealedEpoch]) {
        let (sealed, replayed) = (by_place(sealed), by_place(replayed));
        let places: BTreeSet<_> = sealed.keys().chain(replayed.keys()).collect();
        self.sealed = places.len() as u64;
        for place in places {
            let (here, there) = (sealed.get(place), replayed.get(place));
            match what_differs(here.copied(), there.copied()) {
                None => self.equal += 1,
                Some(found) => self.differences.push(Difference {
                    epoch: place.0,
                    channel: place.1.clone(),
                    found,
                }),
            }
        }
    }

    /// Holds the ledgers against each other, as far as they must agree.
    fn ledger(&mut self, drifting: Option<(Epoch, Channel)>) {
        let (here, there) = (self.counts, self.undisturbed);
        let mut differ = |(epoch, channel): (Epoch, Channel), found| {
            self.differences.push(Difference {
                epoch,
                channel,
                found,
            });
        };
        let everywhere = || (Epoch::NONE, Channel::none());
        if let Some(place) = drifting {
            differ(place, "the ledger does not add up".to_owned());
        }
        if (here.counted, there.late) != (there.counted, 0) {
            let text = format!(
                "{} lines are counted; the replay has {}, and {} late",
                here.counted, there.counted, there.late
            );
            differ(everywhere(), text);
        }
        if here.late != self.late {
            let text = format!(
                "{} lines are booked as late; {} stand behind a seal",
                here.late, self.late
            );
            differ(everywhere(), text);
        }
    }
}

type Place = (Epoch, Channel);

fn by_place(sealed: &[SealedEpoch]) -> BTreeMap<Place, &SealedEpoch> {
    let place = |one: &SealedEpoch| (one.epoch, one.channel.clone());
    sealed.iter().map(|one| (place(one), one)).collect()
}

/// Coverage is not compared: a replay has no sockets, and so no gaps.
fn what_differs(here: Option<&SealedEpoch>, there: Option<&SealedEpoch>) -> Option<String> {
    let (here, there) = match (here, there) {
        (Some(here), Some(there)) => (here, there),
        (Some(_), None) => return Some("sealed, and not in the replay".to_owned()),
        (None, Some(_)) => return Some("not sealed, and in the replay".to_owned()),
        (None, None) => return None,
    };
    if here.participants != there.participants {
        let (here, there) = (here.participants, there.participants);
        return Some(format!("{here} participants; the replay has {there}"));
    }
    let roots = [
        (
            "participation",
            here.participation_root,
            there.participation_root,
        ),
        ("claim", here.claim_root, there.claim_root),
    ];
    let differs = |(_, here, there): &(_, Option<_>, Option<_>)| here.is_none() || here != there;
    let (name, ..) = roots.iter().find(|root| differs(root))?;
    Some(format!("another {name} root than the replay"))
}

/// Every sealed channel and epoch of a store.
///
/// # Errors
/// Those of the store.
pub async fn all_sealed(store: &impl ReportStore) -> Result<Vec<SealedEpoch>, Failure> {
    let mut all: Vec<SealedEpoch> = Vec::new();
    loop {
        let after = all.last().map(|one| (one.epoch, one.channel.clone()));
        let page = store.sealed_after(after, PAGE_ROWS).await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

fn write_lines(path: &Path, lines: &[&Line]) -> io::Result<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    for line in lines {
        file.write_all(&line.bytes)?;
        file.write_all(b"\r\n")?;
    }
    file.flush()
}

/// What raw lines come to in an empty store.
async fn replay(
    lines: &Path,
    data: &Path,
    settings: &Settings,
) -> Result<(Vec<SealedEpoch>, Counts), Failure> {
    let mut settings = settings.clone();
    settings.database_url = None;
    let replay = Replay {
        settings: &settings,
        data: &DataFolder::create(data)?,
        inputs: vec![Input::named(&lines.to_string_lossy())?],
        probe: no_probe(),
        progress: Progress::on(&Terminal::default()),
    };
    let running = replay.run().await?;
    let sealed = all_sealed(&running.store).await;
    let ledger = running.store.ledger().await;
    running.store.close().await?;
    Ok((sealed?, ledger?))
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "lines accepted {}, lost {}, doubled {}, never said {}",
            self.accepted, self.lost, self.doubled, self.unsaid
        )?;
        writeln!(
            f,
            "counted {} (undisturbed {}), late {}",
            self.counts.counted, self.undisturbed.counted, self.late
        )?;
        writeln!(
            f,
            "participants and both roots: {} of {} channels and epochs equal",
            self.equal, self.sealed
        )?;
        writeln!(
            f,
            "on their way when their socket was lost: {} lines, {} of them without an id; \
             {} arrived and are part of both",
            self.on_the_way, self.on_the_way_without_id, self.arrived
        )?;
        if let Some(absent @ 1..) = self.on_the_way.checked_sub(self.arrived) {
            writeln!(f, "  whether the other {absent} were read cannot be told")?;
        }
        if self.alike > 0 {
            writeln!(
                f,
                "  {} of those without an id say the same as another line: one that counts twice would pass for it",
                self.alike
            )?;
        }
        for one in self.differences.iter().take(SHOWN) {
            let channel = match one.channel.as_str() {
                "" => "all channels".to_owned(),
                name => format!("#{name}"),
            };
            match one.epoch {
                Epoch::NONE => write!(f, "DIFFERS: all epochs, {channel}: ")?,
                epoch => write!(f, "DIFFERS: epoch {epoch}, {channel}: ")?,
            }
            writeln!(f, "{}", one.found)?;
        }
        if let Some(more @ 1..) = self.differences.len().checked_sub(SHOWN) {
            writeln!(f, "DIFFERS: and {more} more")?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
