//! Walks the program's transactions from the newest back to a mark, and keeps the oldest.
//!
//! A node that does not know a signature from which it is to go on, or has lost its old history,
//! answers an empty or a short page, which looks like the end. So the end is proven: what comes
//! before the oldest transaction that was found must be the mark. A node that has lost the mark is
//! believed where it keeps every block behind the slots of which everything is known already.

use std::collections::VecDeque;
use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::json;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::client_error;
use solana_rpc_client_api::config::RpcSignaturesForAddressConfig;
use solana_rpc_client_api::request::{RpcError, RpcRequest};
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use twzrd_domain::chain::{ChainError, Known, Mark};

use crate::rpc::{Pinned, chain_error};

/// So many transactions are asked for at a time, the most that nodes answer.
pub const PAGE: usize = 1000;

/// A walk has at most so many pages: ten million transactions.
pub const MAX_PAGES: usize = 10_000;

pub(super) const LISTING: &str = "list the program's transactions";

/// What a node lists may lack the newest of so many slots, about a minute.
const LATE: u64 = 150;

/// What a node lists is in no slot further than this above its own, an hour: it goes on meanwhile.
const LEAD: u64 = 10_000;

/// Where nothing happens, what is known is told anew once it has grown by so many slots, about an
/// hour. Nodes keep two days.
const KNOWN_STEP: u64 = 9000;

/// What JSON-RPC answers to a method that the node does not have.
const METHOD_NOT_FOUND: i64 = -32601;

/// What a walk found.
pub(super) struct Walked {
    /// The oldest, the oldest first.
    pub(super) marks: Vec<Mark>,
    /// Of which slots everything is known with them; none where that adds nothing.
    pub(super) known: Option<Known>,
    /// The last transaction of each page but the last, the newest first.
    pub(super) ends: Vec<Mark>,
}

/// A walk.
pub(super) struct Walk<'a> {
    node: &'a Pinned,
    program: String,
    mark: Option<&'a Mark>,
    known: Option<Known>,
    limit: usize,
    /// How many were found, and did not all fit.
    found: usize,
    /// Whether something was listed that is not finalized: it may hide what is below it.
    hides: AtomicBool,
    /// The oldest that were found so far, the newest of them first.
    oldest: VecDeque<Mark>,
    /// What was found last, and what comes right above it.
    last: Option<Mark>,
    above: Option<Mark>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    signature: CompactString,
    slot: u64,
    confirmation_status: Option<CompactString>,
}

impl Entry {
    /// Some nodes list what is not finalized, whatever was asked for. One that tells no status is
    /// believed.
    fn is_finalized(&self) -> bool {
        let status = self.confirmation_status.as_deref();
        status.is_none_or(|status| status == "finalized")
    }
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        node: &'a Pinned,
        program: &Pubkey,
        mark: Option<&'a Mark>,
        known: Option<Known>,
        limit: usize,
    ) -> Self {
        Self {
            node,
            program: program.to_string(),
            mark,
            known,
            limit,
            found: 0,
            hides: AtomicBool::new(false),
            oldest: VecDeque::new(),
            last: None,
            above: None,
        }
    }

    /// Walks from behind a transaction, or from the newest.
    pub(super) async fn from(mut self, start: Option<Mark>) -> Result<Walked, ChainError> {
        let mut ends = Vec::new();
        let is_newest = start.is_none();
        self.above.clone_from(&start);
        let mut before = start;
        for _ in 0..MAX_PAGES {
            let page = self.page(before.as_ref(), self.mark, PAGE).await?;
            self.check(&page, before.as_ref())?;
            let length = page.len();
            for entry in page {
                self.keep(entry);
            }
            if self.is_end(length).await? {
                return Ok(Walked {
                    known: self.known_now(is_newest).await?,
                    marks: self.oldest.into_iter().rev().collect(),
                    ends,
                });
            }
            before.clone_from(&self.last);
            ends.extend(self.last.clone());
        }
        Err(odd(&format_args!(
            "{MAX_PAGES} pages without an end; expected the mark before"
        )))
    }

    /// One page before a transaction and down to another, the newest first.
    async fn page(
        &self,
        before: Option<&Mark>,
        until: Option<&Mark>,
        limit: usize,
    ) -> Result<Vec<Mark>, ChainError> {
        let config = RpcSignaturesForAddressConfig {
            before: before.map(|mark| mark.signature.to_string()),
            until: until.map(|mark| mark.signature.to_string()),
            limit: Some(limit),
            commitment: Some(CommitmentConfig::finalized()),
            // Behind one URL there may be a machine that does not know of this yet, and it refuses.
            min_context_slot: [self.mark, before]
                .into_iter()
                .flatten()
                .map(|mark| mark.slot)
                .chain([self.listed_until()])
                .max(),
        };
        let params = json!([self.program, config]);
        let page: Vec<Entry> = self
            .node
            .client
            .send(RpcRequest::GetSignaturesForAddress, params)
            .await
            .map_err(|error| chain_error(LISTING, &error))?;
        if page.len() > limit {
            return Err(odd(&format_args!(
                "a page of {}; expected {limit}",
                page.len()
            )));
        }
        let mark = |entry: Entry| match entry.signature.parse::<Signature>() {
            Ok(_) => Ok(Mark {
                slot: entry.slot,
                signature: entry.signature,
            }),
            Err(_) => Err(odd(&format_args!(
                "in slot {} what is no signature; expected 64 bytes in base58",
                entry.slot
            ))),
        };
        if !page.iter().all(Entry::is_finalized) {
            self.hides.store(true, Ordering::Relaxed);
        }
        page.into_iter()
            .filter(Entry::is_finalized)
            .map(mark)
            .collect()
    }

    /// Refuses a page that contradicts itself, the page before or the mark.
    fn check(&self, page: &[Mark], before: Option<&Mark>) -> Result<(), ChainError> {
        let mut above = before;
        for entry in page {
            if entry.slot > self.node.slot().saturating_add(LEAD) {
                return Err(odd(&format_args!(
                    "slot {}; expected one near {}, its own",
                    entry.slot,
                    self.node.slot()
                )));
            }
            if let Some(above) = above {
                if entry.slot > above.slot {
                    return Err(odd(&format_args!(
                        "slot {} behind slot {}; expected descending slots",
                        entry.slot, above.slot
                    )));
                }
                if entry.signature == above.signature {
                    return Err(odd(&format_args!("{} twice", entry.signature)));
                }
            }
            if let Some(mark) = self.mark {
                if entry.slot < mark.slot {
                    return Err(odd(&format_args!(
                        "slot {}; expected none below {}, that of the mark",
                        entry.slot, mark.slot
                    )));
                }
                if entry.signature == mark.signature {
                    return Err(odd(&format_args!(
                        "the mark {} itself; expected only what is behind it",
                        mark.signature
                    )));
                }
            }
            above = Some(entry);
        }
        Ok(())
    }

    fn keep(&mut self, entry: Mark) {
        self.found += 1;
        if self.oldest.len() == self.limit {
            self.oldest.pop_front();
        }
        self.oldest.push_back(entry.clone());
        if let Some(above) = self.last.replace(entry) {
            self.above = Some(above);
        }
    }

    /// Whether the page that was read last, of so many transactions, ends the walk.
    async fn is_end(&self, length: usize) -> Result<bool, ChainError> {
        let Some(last) = &self.last else {
            return Ok(true);
        };
        if length == PAGE {
            return Ok(false);
        }
        match self.mark {
            Some(mark) => self.is_next_to(mark, last, length).await,
            None if length > 0 => Ok(false),
            None => self.is_first(last).await,
        }
    }

    /// Whether the mark comes right before the oldest that was found.
    async fn is_next_to(
        &self,
        mark: &Mark,
        last: &Mark,
        length: usize,
    ) -> Result<bool, ChainError> {
        let next = self.page(Some(last), None, 1).await?;
        match next.first() {
            Some(next) if next.signature == mark.signature => return Ok(true),
            // The page was only shorter than it could have been.
            Some(next) if length > 0 && next.slot >= mark.slot => return Ok(false),
            _ => {}
        }
        let begin = self.first_block().await?;
        if next.is_empty() && self.reaches_back(begin) {
            return Ok(true);
        }
        let begin = begin.map_or("an unknown slot".to_owned(), |slot| format!("slot {slot}"));
        let known = self.known.map_or(mark.slot, |known| known.to);
        Err(odd(&format_args!(
            "{} before {} in slot {}; expected the mark {} in slot {}, or a history that begins at \
             slot {known} or before; it begins at {begin}",
            next.first()
                .map_or("nothing", |next| next.signature.as_str()),
            last.signature,
            last.slot,
            mark.signature,
            mark.slot
        )))
    }

    /// Whether a history that begins there leaves out nothing that is not known.
    fn reaches_back(&self, begin: Option<u64>) -> bool {
        let (Some(begin), Some(known)) = (begin, self.known) else {
            return false;
        };
        begin <= known.to
    }

    /// The first block that the node keeps; none where it does not say.
    async fn first_block(&self) -> Result<Option<u64>, ChainError> {
        let asked = self
            .node
            .client
            .send(RpcRequest::GetFirstAvailableBlock, json!([]));
        let error: client_error::Error = match asked.await {
            Ok(slot) if slot <= self.node.slot() => return Ok(Some(slot)),
            Ok(slot) => {
                return Err(odd(&format_args!(
                    "a history that begins at slot {slot}; expected one before slot {}",
                    self.node.slot()
                )));
            }
            Err(error) => error,
        };
        let is_unknown = matches!(
            error.kind(),
            client_error::ErrorKind::RpcError(RpcError::RpcResponseError {
                code: METHOD_NOT_FOUND,
                ..
            })
        );
        match chain_error(LISTING, &error) {
            ChainError::Transient { .. } if is_unknown => Ok(None),
            ChainError::Permanent { .. } => Ok(None),
            error => Err(error),
        }
    }

    /// A slot up to which the node surely lists everything.
    fn listed_until(&self) -> u64 {
        self.node.slot().saturating_sub(LATE)
    }

    /// Of which slots everything is known once what was found is recorded.
    async fn known_now(&self, is_newest: bool) -> Result<Option<Known>, ChainError> {
        let newest = self.oldest.front();
        let is_all = is_newest && self.found <= self.limit && !self.hides.load(Ordering::Relaxed);
        let to = match newest {
            _ if is_all => self.listed_until(),
            // There is more, maybe in the same slot.
            Some(newest) => newest.slot.saturating_sub(1),
            None => return Ok(None),
        };
        let to = self.known.map_or(to, |known| to.max(known.to));
        let is_news = self.known.is_none_or(|known| to >= known.to + KNOWN_STEP);
        let from = match (self.mark, newest) {
            (Some(_), None) if !is_news => return Ok(None),
            (None, None) if !is_news => return Ok(None),
            (Some(mark), None) => {
                let newest = self.page(None, None, 1).await?;
                let is_mark = |newest: &Mark| newest.signature == mark.signature;
                if !newest.first().is_some_and(is_mark)
                    && !self.reaches_back(self.first_block().await?)
                {
                    return Ok(None);
                }
                self.known.map_or(mark.slot, |known| known.from)
            }
            (Some(mark), Some(_)) => self.known.map_or(mark.slot, |known| known.from),
            (None, _) => self.begin(to).await?,
        };
        Ok(Some(Known { from, to }))
    }

    /// From where on everything is known where nothing was recorded yet.
    async fn begin(&self, to: u64) -> Result<u64, ChainError> {
        let begin = self.first_block().await?;
        Ok(match (self.known, begin) {
            (Some(known), begin) if self.reaches_back(begin) => known.from,
            (_, Some(begin)) => begin,
            (_, None) => self.last.as_ref().map_or(to, |first| first.slot),
        })
    }

    /// Whether nothing comes before the oldest that was found: a node that knows the one above
    /// answers it and no more.
    async fn is_first(&self, last: &Mark) -> Result<bool, ChainError> {
        let Some(above) = &self.above else {
            return Ok(true);
        };
        let rest = self.page(Some(above), None, 2).await?;
        if rest.as_slice() == std::slice::from_ref(last) {
            return Ok(true);
        }
        Err(odd(&format_args!(
            "{} transactions before {}; expected {} and nothing before it",
            rest.len(),
            above.signature,
            last.signature
        )))
    }
}

/// An answer that contradicts itself or what is known. Another node may know better.
fn odd(what: &impl Display) -> ChainError {
    ChainError::Transient {
        doing: LISTING,
        reason: format!("a node answers {what}"),
    }
}
