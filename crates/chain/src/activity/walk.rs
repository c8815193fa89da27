//! Walks the program's transactions from the newest back to a mark, and keeps the oldest.
//!
//! A node that does not know a signature from which it is to go on, or has lost its old history,
//! answers an empty or a short page, which looks like the end. So the end is proven: what comes
//! before the oldest transaction that was found must be the mark.

use std::collections::VecDeque;
use std::fmt::Display;

use compact_str::CompactString;
use serde::Deserialize;
use serde_json::json;
use solana_commitment_config::CommitmentConfig;
use solana_rpc_client_api::config::RpcSignaturesForAddressConfig;
use solana_rpc_client_api::request::RpcRequest;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::Signature;
use twzrd_domain::chain::{ChainError, Mark};

use crate::rpc::{Pool, chain_error};

/// So many transactions are asked for at a time, the most that nodes answer.
pub const PAGE: usize = 1000;

/// A walk has at most so many pages: ten million transactions.
pub const MAX_PAGES: usize = 10_000;

const DOING: &str = "list the program's transactions";

/// What a walk found.
pub(super) struct Found {
    /// The oldest, the oldest first.
    pub(super) marks: Vec<Mark>,
    /// The last transaction of each page but the last, the newest first.
    pub(super) ends: Vec<Mark>,
}

/// A walk.
pub(super) struct Walk<'a> {
    pool: &'a Pool,
    program: String,
    mark: Option<&'a Mark>,
    limit: usize,
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
        pool: &'a Pool,
        program: &Pubkey,
        mark: Option<&'a Mark>,
        limit: usize,
    ) -> Self {
        Self {
            pool,
            program: program.to_string(),
            mark,
            limit,
            oldest: VecDeque::new(),
            last: None,
            above: None,
        }
    }

    /// Walks from behind a transaction, or from the newest.
    pub(super) async fn from(mut self, start: Option<Mark>) -> Result<Found, ChainError> {
        let mut ends = Vec::new();
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
                return Ok(Found {
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
            // A node that does not know the mark's slot refuses, and another is asked.
            min_context_slot: self.mark.map(|mark| mark.slot),
        };
        let params = json!([self.program, config]);
        let client = self.pool.client();
        let page: Vec<Entry> = client
            .send(RpcRequest::GetSignaturesForAddress, params)
            .await
            .map_err(|error| chain_error(DOING, &error))?;
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
        page.into_iter()
            .filter(Entry::is_finalized)
            .map(mark)
            .collect()
    }

    /// Refuses a page that contradicts itself, the page before or the mark.
    fn check(&self, page: &[Mark], before: Option<&Mark>) -> Result<(), ChainError> {
        let mut above = before;
        for entry in page {
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
            Some(next) if next == mark => Ok(true),
            // The page was only shorter than it could have been.
            Some(next) if length > 0 && next.slot >= mark.slot => Ok(false),
            next => Err(odd(&format_args!(
                "{} before {} in slot {}; expected the mark {} in slot {}",
                next.map_or("nothing", |next| next.signature.as_str()),
                last.signature,
                last.slot,
                mark.signature,
                mark.slot
            ))),
        }
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
        doing: DOING,
        reason: format!("a node answers {what}"),
    }
}
