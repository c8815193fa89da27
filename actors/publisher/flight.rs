//! What is in flight: each transaction is brought as far as it goes, and none waits for another.

use std::collections::BTreeMap;
use std::time::Duration;

use compact_str::CompactString;
use tokio::time::Instant;
use tracing::{error, info, warn};
use twzrd_domain::chain::{ChainError, InFlight, Landing, RootChain, SignedTransaction, Standing};
use twzrd_domain::publication::Publication;
use twzrd_domain::settlement::course;
use twzrd_domain::settlement::{Reason, RootId, RootToPublish, Target, Why};

use super::Trouble;
use super::round::{Round, expect_all};
use crate::step::Step;

/// For how long a finalized transaction may be contradicted by what is read back before its roots
/// are given up on.
const CONTRADICTED_FOR: Duration = Duration::from_secs(600);
/// The longest time for which nothing is signed because transactions come to nothing.
const LONGEST_LULL: Duration = Duration::from_secs(900);

/// What is known of a transaction in flight beside what the store has.
#[derive(Default)]
pub(super) struct Flight {
    /// When its bytes were sent last.
    sent: Option<Instant>,
    /// Since when what is read back contradicts it.
    contradicted: Option<Instant>,
}

/// What became of what was in flight.
#[derive(Default)]
pub(super) struct Reconciled {
    /// The roots that still are.
    pub(super) flying: Vec<RootToPublish>,
    /// Whether one has come to an end.
    pub(super) has_moved: bool,
    /// Why a transaction could not be looked at.
    pub(super) trouble: Option<ChainError>,
    /// What does not go on by itself, or not soon.
    pub(super) waits_for: Option<String>,
}

/// Nothing is signed for a while where what was signed comes to nothing: the nodes take it and drop
/// it, or it fails and costs its fee. The next would do the same.
#[derive(Default)]
pub(super) struct Lull {
    in_a_row: u32,
    until: Option<Instant>,
}

impl Lull {
    /// What was in flight came to nothing, for no root's sake. The first time counts as chance;
    /// each further one in a row doubles the wait.
    fn lost(&mut self, unit: Duration) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if let Some(doublings) = self.in_a_row.checked_sub(2) {
            let wait = unit.saturating_mul(1 << doublings.min(16));
            self.until = Some(Instant::now() + wait.min(LONGEST_LULL));
        }
    }

    /// How long it still lasts.
    pub(super) fn left(&self) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    fn reason(&self) -> Option<String> {
        self.left()?;
        let times = self.in_a_row;
        Some(format!(
            "what is signed expires or fails as a whole, {times} times in a row: check the nodes and publisher.fee_cap_micro_lamports; it is tried again, less and less often"
        ))
    }
}

impl Round {
    /// What is in flight where there is no chain to look at it with.
    pub(super) async fn left_behind(&self) -> Result<Option<String>, Trouble> {
        let all = self.args.store.in_flight().await?;
        let roots: usize = all.iter().map(|it| it.roots.len()).sum();
        Ok((roots > 0).then(|| {
            format!(
                "{roots} roots are in {} transactions in flight, and nothing can be published: set chain.target, chain.rpc_urls and the key again until they have ended",
                all.len()
            )
        }))
    }

    /// Brings forward what is in flight. A transaction that cannot be looked at keeps its channels
    /// waiting, and nobody else.
    pub(super) async fn reconcile(&mut self, chain: &dyn RootChain) -> Result<Reconciled, Trouble> {
        let all = self.args.store.in_flight().await?;
        let known =
            |signature: &CompactString| all.iter().any(|it| it.transaction.signature == *signature);
        self.flights.retain(|signature, _| known(signature));
        let mut reconciled = Reconciled::default();
        let mut of_others: BTreeMap<&str, usize> = BTreeMap::new();
        let mut landings = Landings::default();
        for it in &all {
            let left = match self.bring_forward(chain, it, &mut landings).await {
                Ok(left) => left,
                Err(Trouble::Chain(error)) => {
                    reconciled.trouble = Some(error);
                    it.roots.iter().map(|(root, _)| root.clone()).collect()
                }
                Err(trouble) => return Err(trouble),
            };
            reconciled.has_moved |= left.len() < it.roots.len();
            if it.target != chain.target() && !left.is_empty() {
                *of_others.entry(it.target.as_str()).or_default() += left.len();
            }
            reconciled.flying.extend(left);
        }
        self.note(&landings);
        let contradicted = |it: &&Flight| it.contradicted.is_some();
        let contradicted = self.flights.values().filter(contradicted).count();
        reconciled.waits_for = waits_for(&of_others, chain.target(), contradicted);
        if reconciled.waits_for.is_none() {
            reconciled.waits_for = self.lull.reason();
        }
        Ok(reconciled)
    }

    fn note(&mut self, landings: &Landings) {
        if landings.finalized {
            self.lull = Lull::default();
        } else if landings.lost {
            self.lull.lost(self.args.publishing.interval);
        }
    }

    /// Brings one transaction as far as it goes; gives its roots that are still in flight.
    async fn bring_forward(
        &mut self,
        chain: &dyn RootChain,
        it: &InFlight,
        landings: &mut Landings,
    ) -> Result<Vec<RootToPublish>, Trouble> {
        if let Some(slot) = it.finalized_slot {
            return self.read_back(chain, it, slot).await;
        }
        let landing = chain.landing(&it.transaction).await?;
        let landing = of_target(landing, it.target, chain.target());
        if landing == Landing::Pending {
            self.send(chain, &it.transaction).await;
            return Ok(it.roots.iter().map(|(root, _)| root.clone()).collect());
        }
        tell(&it.transaction, &landing);
        let steps = course::landed(it, &landing, self.args.clock.now());
        self.take(&steps).await?;
        match landing {
            Landing::Finalized { slot } => {
                landings.finalized = true;
                self.args.probe.reached(Step::PUBLISHER_FINALIZED);
                self.read_back(chain, &finalized(it, slot), slot).await
            }
            Landing::Expired { .. } | Landing::Rejected { root: None, .. } => {
                landings.lost = true;
                Ok(Vec::new())
            }
            Landing::Pending | Landing::Rejected { .. } => Ok(Vec::new()),
        }
    }

    async fn read_back(
        &mut self,
        chain: &dyn RootChain,
        it: &InFlight,
        slot: u64,
    ) -> Result<Vec<RootToPublish>, Trouble> {
        let roots: Vec<_> = it.roots.iter().map(|(root, _)| root.clone()).collect();
        if it.target != chain.target() {
            // What one target wrote cannot be read by the other.
            return Ok(roots);
        }
        let standings = chain.read_back(&it.transaction, slot, &roots).await?;
        expect_all(&standings, &roots, "reading roots back")?;
        self.args.probe.reached(Step::PUBLISHER_READ_BACK);
        let (steps, contradictions) = course::read_back(it, &standings, slot);
        self.take(&steps).await?;
        self.args.probe.reached(Step::PUBLISHER_SETTLED);
        for (root, standing) in roots.iter().zip(&standings) {
            if !matches!(standing, Standing::Free | Standing::Blocked(_)) {
                self.tell_end(root, standing, Some(&it.transaction));
            }
        }
        if contradictions == 0 {
            self.flights.remove(&it.transaction.signature);
            return Ok(Vec::new());
        }
        self.args.counters.contradicted(contradictions);
        if self.give_up(chain, it, &standings).await? {
            return Ok(Vec::new());
        }
        let settled = |root: RootId| steps.iter().any(|step| step.root == root);
        Ok(roots.into_iter().filter(|root| !settled(root.id)).collect())
    }

    /// Whether a transaction was contradicted for so long that what is left of its roots has come
    /// to an end.
    async fn give_up(
        &mut self,
        chain: &dyn RootChain,
        it: &InFlight,
        standings: &[Standing],
    ) -> Result<bool, Trouble> {
        let signature = &it.transaction.signature;
        let flight = self.flights.entry(signature.clone()).or_default();
        let Some(since) = flight.contradicted else {
            flight.contradicted = Some(Instant::now());
            warn!(%signature, "the transaction is finalized, and its roots were not read back; reading again");
            return Ok(false);
        };
        if since.elapsed() < CONTRADICTED_FOR {
            return Ok(false);
        }
        let landing = chain.landing(&it.transaction).await?;
        let steps = course::never_shown(it, standings, &landing);
        if steps.is_empty() {
            return Ok(false);
        }
        self.take(&steps).await?;
        self.flights.remove(signature);
        let next = Why::NotReadBack.next_step();
        error!(%signature, ?landing, next, "the roots of a finalized transaction were never read back; given up");
        Ok(true)
    }

    /// Sends the bytes, unless they were sent a moment ago. Whether it works shows in what becomes
    /// of the transaction.
    pub(super) async fn send(&mut self, chain: &dyn RootChain, transaction: &SignedTransaction) {
        let resend = self.args.publishing.resend;
        let signature = &transaction.signature;
        let flight = self.flights.entry(signature.clone()).or_default();
        if flight.sent.is_some_and(|last| last.elapsed() < resend) {
            return;
        }
        flight.sent = Some(Instant::now());
        match chain.send(transaction).await {
            Ok(()) => self.args.counters.sent(),
            Err(error) => {
                self.args.counters.send_failed();
                warn!(%error, %signature, "not sent; it is sent again");
            }
        }
    }
}

/// What was found in one look.
#[derive(Default)]
struct Landings {
    finalized: bool,
    /// Expired, or failed for no root's sake.
    lost: bool,
}

/// What became of a transaction that was signed for another target: whether and where it landed
/// is the same for all, but the reason why one failed is not.
fn of_target(landing: Landing, signed_for: Target, now: Target) -> Landing {
    match landing {
        Landing::Rejected { slot, reason, .. } if signed_for != now => {
            let text = format!("it was signed for target {signed_for}: {}", reason.text);
            Landing::Rejected {
                slot,
                root: None,
                reason: Reason::new(reason.why, text),
            }
        }
        other => other,
    }
}

fn waits_for(
    of_others: &BTreeMap<&str, usize>,
    target: Target,
    contradicted: usize,
) -> Option<String> {
    if let Some((other, roots)) = of_others.iter().next() {
        return Some(format!(
            "{roots} roots are in flight for target {other}, and chain.target is {target}: set it back until they have ended"
        ));
    }
    (contradicted > 0).then(|| {
        format!("{contradicted} transactions are finalized, and their roots cannot be read back; given up on after 10 minutes")
    })
}

/// The transaction, behind the step that made its roots finalized.
fn finalized(it: &InFlight, slot: u64) -> InFlight {
    let signature = it.transaction.signature.to_string();
    let at = |was: &Publication| match was {
        Publication::Signed { .. } => Publication::Finalized {
            signature: signature.clone(),
        },
        other => other.clone(),
    };
    InFlight {
        finalized_slot: Some(slot),
        roots: it
            .roots
            .iter()
            .map(|(root, was)| (root.clone(), at(was)))
            .collect(),
        ..it.clone()
    }
}

fn tell(transaction: &SignedTransaction, landing: &Landing) {
    let signature = &transaction.signature;
    match landing {
        Landing::Pending => {}
        Landing::Finalized { slot } => info!(%signature, slot, "transaction finalized"),
        Landing::Rejected { slot, root, reason } => {
            warn!(%signature, slot, ?root, %reason, next = reason.why.next_step(), "transaction failed");
        }
        Landing::Expired { block_height } => {
            warn!(%signature, block_height, "transaction expired; its roots are planned anew");
        }
    }
}
