//! What a run ended in, read out of its database by another program than the one that wrote it:
//! Python's `sqlite3` or `psql`. No code of the store takes part, so none of its mistakes is made twice.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use twzrd_testkit::postgres::Postgres;
use twzrd_testkit::scenario::{Outcome, Table};

/// Reads a SQLite database as `psql -At` reads a Postgres one: a row a line, with `|` between columns.
const READER: &str = "
import sqlite3, sys
for row in sqlite3.connect(sys.argv[1], timeout=10).execute(sys.argv[2]):
    print('|'.join('' if cell is None else str(cell) for cell in row))
";

/// A database that can be looked into.
pub(crate) enum Database<'a> {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
    /// A Postgres database.
    Postgres(&'a Postgres),
}

/// Both dialects understand these. Of each row, the key and the rest.
const TABLES: [(Table, &str); 4] = [
    (Table::Roots, ROOTS),
    (
        Table::Participants,
        "SELECT epoch || '/' || channel || '/' || idx, user_hash || ' ' || COALESCE(username, '-') \
         || ' weight ' || weight || ' amount ' || amount || ' for ' || claimer || ' leaf ' || claim_leaf \
         FROM sealed_participants",
    ),
    // A value is a whole number in a column of floating-point ones.
    (
        Table::Signals,
        "SELECT epoch || '/' || channel || '/' || timestamp || '/' || signal_type || '/' || user_hash, \
         CAST(value AS bigint) FROM user_signals",
    ),
    (
        Table::Ledger,
        "SELECT epoch || '/' || channel, 'received ' || received || ' counted ' || counted \
         || ' suppressed ' || suppressed || ' mirrored ' || mirrored || ' duplicate ' || duplicate \
         || ' late ' || late || ' anonymous ' || anonymous || ' invalid ' || invalid || ' other ' || other \
         FROM ingest_ledger",
    ),
];

const ROOTS: &str = "SELECT s.epoch || '/' || s.channel, s.participants || ' people ' \
    || COALESCE(s.root, '-') || ' ' || COALESCE(r.root, '-') \
    FROM sealed_epochs s LEFT JOIN roots r ON r.epoch = s.epoch AND r.channel = s.channel";

/// Epochs in which something counted and that have not all of their trees, and channels without.
const UNFINISHED: &str = "SELECT (SELECT count(*) FROM (SELECT DISTINCT epoch FROM channel_participation) p \
    LEFT JOIN epochs e ON e.epoch = p.epoch WHERE e.finalized_at IS NULL) \
    + (SELECT count(*) FROM sealed_epochs WHERE root IS NULL)";

impl Database<'_> {
    /// The rows of all tables.
    pub(crate) fn outcome(&self) -> Result<Outcome, String> {
        let rows = |(table, sql)| Ok((table, self.pairs(sql)?));
        TABLES.into_iter().map(rows).collect()
    }

    /// Epochs from this one on that are frozen and have their trees: as rows of [`Table::Roots`].
    pub(crate) fn sealed_from(&self, epoch: u64) -> Result<BTreeMap<String, String>, String> {
        let sql = format!(
            "{ROOTS} WHERE s.epoch >= {epoch} AND s.root IS NOT NULL AND r.root IS NOT NULL"
        );
        self.pairs(&sql)
    }

    /// How many epochs and channels are not sealed, frozen and built.
    pub(crate) fn unfinished(&self) -> Result<u64, String> {
        self.number(UNFINISHED)
    }

    /// The one number that a statement asks for.
    pub(crate) fn number(&self, sql: &str) -> Result<u64, String> {
        let text = self.ask(sql)?;
        let number = text.trim().parse();
        number.map_err(|_| format!("{sql}: {text:?}; expected a number"))
    }

    fn pairs(&self, sql: &str) -> Result<BTreeMap<String, String>, String> {
        let text = self.ask(sql)?;
        let mut rows = BTreeMap::new();
        for line in text.lines() {
            let pair = line.split_once('|');
            let (key, value) = pair.ok_or_else(|| format!("{sql}: {line:?}; expected a pair"))?;
            if rows.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("{sql}: {key} is there twice"));
            }
        }
        Ok(rows)
    }

    /// What a statement prints: a row a line, with `|` between columns.
    fn ask(&self, sql: &str) -> Result<String, String> {
        let path = match self {
            Self::Postgres(database) => {
                return database.run(sql).map_err(|error| error.to_string());
            }
            Self::Sqlite(path) => path,
        };
        let output = Command::new("python3")
            .args(["-c", READER])
            .arg(path)
            .arg(sql)
            .output();
        let output = output.map_err(|error| format!("python3 cannot be run: {error}"))?;
        if output.status.success() {
            return String::from_utf8(output.stdout).map_err(|error| error.to_string());
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        Err(format!("reading {}: {stderr}", path.display()))
    }
}
