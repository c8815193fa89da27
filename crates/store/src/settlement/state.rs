//! Where a root stands, in columns.

use sea_orm::{ConnectionTrait, DbBackend, QueryResult, Value};
use twzrd_domain::ports::StoreError;
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::{Reason, RootId};

use crate::error::refused;
use crate::sql::Type::Int;
use crate::sql::{among, column, int, list, parsed, query, unsigned};

/// Each state as it is shown, and as `roots.status` has it. Those that the deployed system had
/// keep its words.
pub(super) const STATES: [(&str, &str); 7] = [
    ("planned", PLANNED),
    ("signed", SIGNED),
    ("finalized", FINALIZED),
    ("settled", "settled"),
    ("superseded", "superseded"),
    ("held", HELD),
    ("failed", "failed"),
];

pub(super) const PLANNED: &str = "ready_for_settlement";
pub(super) const SIGNED: &str = super::PENDING;
pub(super) const FINALIZED: &str = "finalized";
pub(super) const HELD: &str = "held";

/// What [`publication`] reads, of `roots r` with the transaction of [`TRANSACTION`].
pub(super) const COLUMNS: &str =
    "r.status, r.tx_signature, t.last_valid_block_height, r.reason_code, r.reason, r.superseded_by";

/// Joins the transaction that a root is signed in.
pub(super) const TRANSACTION: &str =
    "LEFT JOIN settlement_transaction t ON t.signature = r.tx_signature";

/// How many characters of a reason are kept.
const MAX_TEXT: usize = 2000;

/// A text that others wrote, as both databases can hold it.
pub(super) fn bounded(text: &str) -> String {
    let kept = text.chars().take(MAX_TEXT);
    kept.map(|c| if c == '\0' { '\u{fffd}' } else { c })
        .collect()
}

/// The word of a state in `roots.status`.
pub(super) fn status_of(publication: &Publication) -> Result<&'static str, StoreError> {
    status_named(&publication.to_string())
}

/// The word in `roots.status` of a state that is given as it is shown.
pub(super) fn status_named(state: &str) -> Result<&'static str, StoreError> {
    let known = STATES.iter().find(|(shown, _)| *shown == state);
    known.map(|(_, status)| *status).ok_or_else(|| {
        let words: Vec<&str> = STATES.iter().map(|(shown, _)| *shown).collect();
        let why = format!("no state {state:?}; expected one of {}", words.join(", "));
        refused("looking up a state", why)
    })
}

/// The state as it is shown of a word in `roots.status`.
pub(super) fn shown(status: &str) -> Result<&'static str, StoreError> {
    let known = STATES.iter().find(|(_, word)| *word == status);
    known
        .map(|(shown, _)| *shown)
        .ok_or_else(|| corrupt("roots.status", status, "the word of a state"))
}

/// Reads [`COLUMNS`], of which the first is at `at`.
pub(super) fn publication(
    row: &QueryResult,
    at: usize,
    doing: &'static str,
) -> Result<Publication, StoreError> {
    let status: String = column(row, at, doing)?;
    let signature: Option<String> = column(row, at + 1, doing)?;
    let named = |signature: Option<String>| {
        signature.ok_or_else(|| corrupt("roots.tx_signature", "NULL", "a signature"))
    };
    Ok(match shown(&status)? {
        "planned" => Publication::Planned,
        "signed" => Publication::Signed {
            signature: named(signature)?,
            last_valid_block_height: {
                let height: Option<i64> = column(row, at + 2, doing)?;
                let place = "settlement_transaction.last_valid_block_height";
                unsigned(
                    height.ok_or_else(|| corrupt(place, "NULL", "a number"))?,
                    place,
                )?
            },
        },
        "finalized" => Publication::Finalized {
            signature: named(signature)?,
        },
        "settled" => Publication::Settled { signature },
        "superseded" => {
            let by: Option<String> = column(row, at + 5, doing)?;
            let place = "roots.superseded_by";
            let by = by.ok_or_else(|| corrupt(place, "NULL", NUMBER))?;
            Publication::Superseded {
                by: parsed(&by, place, NUMBER)?,
            }
        }
        "held" => Publication::Held {
            reason: reason(row, at + 3, doing)?,
        },
        _ => Publication::Failed {
            reason: reason(row, at + 3, doing)?,
        },
    })
}

fn reason(row: &QueryResult, at: usize, doing: &'static str) -> Result<Reason, StoreError> {
    let code: Option<String> = column(row, at, doing)?;
    let text: Option<String> = column(row, at + 1, doing)?;
    let why = parsed(
        &code.unwrap_or_default(),
        "roots.reason_code",
        "the code of a reason",
    )?;
    Ok(Reason::new(why, text.unwrap_or_default()))
}

/// What a number of 64 bits looks like, for errors.
pub(super) const NUMBER: &str = "a whole number of 64 bits";

pub(super) fn corrupt(place: &'static str, found: &str, expected: &'static str) -> StoreError {
    StoreError::Corrupt {
        place,
        found: found.chars().take(80).collect(),
        expected,
    }
}

/// The number of a root in a column.
pub(super) fn id(root: RootId) -> Result<i64, StoreError> {
    int(root.0, "roots.id")
}

/// The number of a root that a column holds.
pub(super) fn root_id(stored: i64) -> Result<RootId, StoreError> {
    unsigned(stored, "roots.id").map(RootId)
}

/// The numbers of roots as the parameter of [`among`].
pub(super) fn ids(
    backend: DbBackend,
    roots: impl IntoIterator<Item = RootId>,
) -> Result<Value, StoreError> {
    let stored: Vec<i64> = roots.into_iter().map(id).collect::<Result<_, _>>()?;
    Ok(list(backend, Int, stored))
}

/// Takes these roots until the transaction ends, in the order of their numbers, so that of two
/// writers the second sees what the first has written. SQLite has one writer anyway.
pub(super) async fn lock<C: ConnectionTrait>(
    db: &C,
    roots: &Value,
    doing: &'static str,
) -> Result<(), StoreError> {
    let backend = db.get_database_backend();
    if backend != DbBackend::Postgres {
        return Ok(());
    }
    let among = among(backend, "id", 1);
    let sql = format!("SELECT id FROM roots WHERE {among} ORDER BY id FOR UPDATE");
    query(db, sql, [roots.clone()], doing).await.map(drop)
}
