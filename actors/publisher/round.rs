//! One look of the publisher: what is in flight first, then what is due.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use tracing::{info, warn};
use twzrd_domain::chain::{
    ChainError, Change, InFlight, Landing, RootChain, SignedTransaction, Standing,
};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::identity::{Channel, Node};
use twzrd_domain::publication::{Publication, Step as Move};
use twzrd_domain::settlement::course;
use twzrd_domain::settlement::{Candidate, Reason, RootId, RootToPublish};

use super::{PublisherArgs, Trouble};
use crate::step::Step;

/// How many roots are looked at in one go.
const LOOK_ROOTS: u64 = 1000;

pub(super) struct Round {
    pub(super) args: PublisherArgs,
    /// How many roots may still be signed in this tick.
    left: usize,
    /// Whether roots that something stood in the way of are looked at again.
    look_at_held: bool,
    /// When the bytes of a transaction in flight were sent last.
    sent: HashMap<CompactString, UnixMs>,
}

impl Round {
    pub(super) fn new(args: PublisherArgs) -> Self {
        Self {
            args,
            left: 0,
            look_at_held: false,
            sent: HashMap::new(),
        }
    }

    pub(super) fn begin_tick(&mut self) {
        self.args.counters.ticked();
        self.left = self.args.publishing.per_tick;
        self.look_at_held = true;
    }

    /// Brings forward what is in flight; gives what still is.
    pub(super) async fn reconcile(
        &mut self,
        chain: &dyn RootChain,
    ) -> Result<Vec<RootToPublish>, Trouble> {
        let all = self.args.store.in_flight().await?;
        let known =
            |signature: &CompactString| all.iter().any(|it| it.transaction.signature == *signature);
        self.sent.retain(|signature, _| known(signature));
        let (mut flying, mut answered, mut failed) = (Vec::new(), false, None);
        for it in &all {
            match self.bring_forward(chain, it).await {
                Ok(left) => {
                    answered = true;
                    flying.extend(left);
                }
                Err(Trouble::Chain(error)) => {
                    flying.extend(it.roots.iter().map(|(root, _)| root.clone()));
                    failed = Some(error);
                }
                Err(trouble) => return Err(trouble),
            }
        }
        match failed {
            Some(error) if !answered => Err(error.into()),
            Some(error) => {
                warn!(%error, "a transaction in flight cannot be looked at; the others go on");
                Ok(flying)
            }
            None => Ok(flying),
        }
    }

    /// Brings one transaction as far as it goes; gives its roots that are still in flight.
    async fn bring_forward(
        &mut self,
        chain: &dyn RootChain,
        it: &InFlight,
    ) -> Result<Vec<RootToPublish>, Trouble> {
        let roots = || it.roots.iter().map(|(root, _)| root.clone()).collect();
        let Some(slot) = it.finalized_slot else {
            let landing = chain.landing(&it.transaction).await?;
            if landing == Landing::Pending {
                self.send(chain, &it.transaction).await;
                return Ok(roots());
            }
            self.tell(&it.transaction, &landing);
            let steps = course::landed(it, &landing, 0);
            self.take(&steps).await?;
            let Landing::Finalized { slot } = landing else {
                return Ok(Vec::new());
            };
            self.args.probe.reached(Step::PUBLISHER_FINALIZED);
            return self.read_back(chain, &finalized(it, slot), slot).await;
        };
        self.read_back(chain, it, slot).await
    }

    async fn read_back(
        &mut self,
        chain: &dyn RootChain,
        it: &InFlight,
        slot: u64,
    ) -> Result<Vec<RootToPublish>, Trouble> {
        let roots: Vec<_> = it.roots.iter().map(|(root, _)| root.clone()).collect();
        let standings = chain.read_back(&it.transaction, slot, &roots).await?;
        expect_all(&standings, &roots, "reading roots back")?;
        self.args.probe.reached(Step::PUBLISHER_READ_BACK);
        let (steps, contradictions) = course::read_back(it, &standings, slot);
        self.take(&steps).await?;
        self.args.probe.reached(Step::PUBLISHER_SETTLED);
        for (root, standing) in roots.iter().zip(&standings) {
            self.tell_end(root, standing, Some(&it.transaction));
        }
        if contradictions == 0 {
            return Ok(Vec::new());
        }
        self.args.counters.contradicted(contradictions);
        warn!(
            signature = %it.transaction.signature, slot, roots = contradictions,
            "the transaction is finalized, and its roots were not read back; reading again"
        );
        let settled = |root: RootId| steps.iter().any(|step| step.root == root);
        Ok(roots.into_iter().filter(|root| !settled(root.id)).collect())
    }

    /// Publishes what is due; true where there may be more to do at once.
    pub(super) async fn publish(
        &mut self,
        chain: &dyn RootChain,
        flying: &[RootToPublish],
    ) -> Result<bool, Trouble> {
        let now = self.args.clock.now();
        let Planned { open, judged } = self.plan(now).await?;
        if !self.args.publishing.auto || self.left == 0 {
            return Ok(judged);
        }
        let chosen = self.choose(chain, open, flying);
        if chosen.is_empty() {
            return Ok(judged);
        }
        let free = self.look(chain, chosen).await?;
        let signed = self.sign_all(chain, free).await?;
        self.look_at_held = false;
        Ok(judged || signed)
    }

    /// What is due and passes the policy. What does not is held.
    async fn plan(&mut self, now: UnixMs) -> Result<Planned, Trouble> {
        let publishing = Arc::clone(&self.args.publishing);
        let due = match &publishing.only {
            None => self.args.store.due(now, LOOK_ROOTS).await?,
            Some((epoch, channel)) => {
                let one = self.args.store.candidate(*epoch, channel).await?;
                let is_open = |it: &Candidate| {
                    matches!(
                        it.publication,
                        Publication::Planned | Publication::Held { .. }
                    )
                };
                one.into_iter().filter(is_open).collect()
            }
        };
        let millis = u64::try_from(publishing.judge_again.as_millis()).unwrap_or(u64::MAX);
        let (mut open, mut steps) = (Vec::new(), Vec::new());
        for root in due {
            match publishing.policy.judge(&root) {
                Ok(()) => open.push(root),
                Err(reason)
                    if is_held_for(&root.publication, &reason) && publishing.only.is_some() => {}
                Err(reason) => {
                    self.args.counters.skipped(reason.why);
                    info!(epoch = %root.epoch, channel = %root.channel, %reason, "root held");
                    let again = now.saturating_add(millis);
                    steps.push(course::stopped(root.id, &root.publication, reason, again));
                }
            }
        }
        let judged = !steps.is_empty();
        self.take(&steps).await?;
        open.sort_by(|a, b| (a.epoch, &a.channel).cmp(&(b.epoch, &b.channel)));
        Ok(Planned { open, judged })
    }

    /// The first of what is due that replaces nothing in flight and nothing before it.
    fn choose(
        &self,
        chain: &dyn RootChain,
        open: Vec<Candidate>,
        flying: &[RootToPublish],
    ) -> Vec<(Candidate, RootToPublish)> {
        let publishing = &self.args.publishing;
        let mut taken: HashMap<Channel, Vec<RootToPublish>> = HashMap::new();
        for root in flying {
            taken
                .entry(root.channel.clone())
                .or_default()
                .push(root.clone());
        }
        let mut chosen = Vec::new();
        for candidate in open {
            if chosen.len() == self.left {
                break;
            }
            let root = candidate.to_publish(publishing.kind, publishing.mode, publishing.length);
            let before = taken.entry(root.channel.clone()).or_default();
            let waits = before.iter().any(|it| chain.replaces(&root, it));
            before.push(root.clone());
            let is_held = matches!(candidate.publication, Publication::Held { .. });
            if !waits && (self.look_at_held || !is_held) {
                chosen.push((candidate, root));
            }
        }
        chosen
    }

    /// Reads where these stand, and gives those that nothing is in the way of, as planned.
    async fn look(
        &mut self,
        chain: &dyn RootChain,
        chosen: Vec<(Candidate, RootToPublish)>,
    ) -> Result<Vec<RootToPublish>, Trouble> {
        let roots: Vec<_> = chosen.iter().map(|(_, root)| root.clone()).collect();
        let standings = chain.look(&roots).await?;
        expect_all(&standings, &roots, "looking where roots stand")?;
        let (mut free, mut steps) = (Vec::new(), Vec::new());
        for ((candidate, root), standing) in chosen.into_iter().zip(&standings) {
            self.tell_end(&root, standing, None);
            match course::stands(root.id, &candidate.publication, standing, 0) {
                Some(step) => {
                    if !is_no_news(&step) {
                        steps.push(step);
                    }
                }
                None => {
                    if let Publication::Held { .. } = candidate.publication {
                        steps.push(course::let_go(root.id, &candidate.publication));
                    }
                    free.push(root);
                }
            }
        }
        self.take(&steps).await?;
        Ok(free)
    }

    /// Signs, stores and sends these, as many transactions as it takes; true where there was one.
    async fn sign_all(
        &mut self,
        chain: &dyn RootChain,
        mut free: Vec<RootToPublish>,
    ) -> Result<bool, Trouble> {
        let mut any = false;
        while !free.is_empty() {
            self.args.probe.reached(Step::PUBLISHER_BEFORE_SIGN);
            let draft = chain.draft(&free).await?;
            self.args.probe.reached(Step::PUBLISHER_SIGNED);
            let mut steps = Vec::new();
            for (root, reason) in &draft.refused {
                self.args.counters.skipped(reason.why);
                warn!(%root, %reason, next = reason.why.next_step(), "root cannot be published");
                steps.push(course::stopped(
                    *root,
                    &Publication::Planned,
                    reason.clone(),
                    0,
                ));
            }
            self.take(&steps).await?;
            free.retain(|root| draft.refused.iter().all(|(refused, _)| *refused != root.id));
            let Some(signed) = draft.signed else {
                break;
            };
            let (in_it, rest): (Vec<_>, Vec<_>) = free
                .into_iter()
                .partition(|root| signed.roots.contains(&root.id));
            free = rest;
            if in_it.is_empty() {
                break;
            }
            let (target, now) = (chain.target(), self.args.clock.now());
            let store = &self.args.store;
            if !store.keep_signed(&signed, target, &in_it, now).await? {
                // Somebody else has moved one of them: the next look sees where it stands.
                continue;
            }
            self.args.probe.reached(Step::PUBLISHER_STORED);
            any = true;
            self.left = self.left.saturating_sub(in_it.len());
            self.args.counters.signed(in_it.len());
            info!(
                signature = %signed.signature, roots = in_it.len(), %target,
                last_valid_block_height = signed.last_valid_block_height, fee = signed.fee_lamports,
                "transaction signed"
            );
            self.send(chain, &signed).await;
            self.args.probe.reached(Step::PUBLISHER_SENT);
        }
        Ok(any)
    }

    /// Sends the bytes, unless they were sent a moment ago. Whether it works shows in what becomes
    /// of the transaction.
    async fn send(&mut self, chain: &dyn RootChain, transaction: &SignedTransaction) {
        let now = self.args.clock.now();
        let resend = u64::try_from(self.args.publishing.resend.as_millis()).unwrap_or(u64::MAX);
        let last = self.sent.get(&transaction.signature);
        if last.is_some_and(|last| now < last.saturating_add(resend)) {
            return;
        }
        self.sent.insert(transaction.signature.clone(), now);
        match chain.send(transaction).await {
            Ok(()) => self.args.counters.sent(),
            Err(error) => {
                self.args.counters.send_failed();
                warn!(%error, signature = %transaction.signature, "not sent; it is sent again");
            }
        }
    }

    async fn take(&self, steps: &[Change]) -> Result<(), Trouble> {
        if !steps.is_empty() {
            self.args
                .store
                .advance(steps, self.args.clock.now())
                .await?;
            self.args.counters.stepped(steps);
        }
        Ok(())
    }

    fn tell(&self, transaction: &SignedTransaction, landing: &Landing) {
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

    fn tell_end(&self, root: &RootToPublish, standing: &Standing, by: Option<&SignedTransaction>) {
        let (epoch, channel) = (root.epoch, &root.channel);
        let signature = by.map_or("found on chain", |by| by.signature.as_str());
        match standing {
            Standing::Free => {}
            Standing::Published => {
                self.args.counters.settled(channel, epoch);
                info!(%epoch, %channel, root = %Node(root.root), count = root.count, signature, "root settled");
            }
            Standing::Newer(by) => {
                warn!(%epoch, %channel, by, signature, "root superseded: a newer epoch stands in its slot");
            }
            Standing::Blocked(reason) => {
                self.args.counters.skipped(reason.why);
                warn!(%epoch, %channel, %reason, next = reason.why.next_step(), "root cannot be published");
            }
        }
    }
}

/// What is due and open, and whether the policy held something back.
struct Planned {
    open: Vec<Candidate>,
    judged: bool,
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
        transaction: it.transaction.clone(),
        finalized_slot: Some(slot),
        roots: it
            .roots
            .iter()
            .map(|(root, was)| (root.clone(), at(was)))
            .collect(),
    }
}

/// A hold for the reason that holds already.
fn is_no_news(step: &Change) -> bool {
    matches!((&step.was, &step.step), (Publication::Held { reason: was }, Move::Hold(is)) if was == is)
}

fn is_held_for(at: &Publication, reason: &Reason) -> bool {
    matches!(at, Publication::Held { reason: was } if was == reason)
}

/// An adapter that answers for fewer or more roots than it was asked about is not believed.
fn expect_all(
    standings: &[Standing],
    roots: &[RootToPublish],
    doing: &'static str,
) -> Result<(), ChainError> {
    if standings.len() == roots.len() {
        return Ok(());
    }
    Err(ChainError::Transient {
        doing,
        reason: format!("{} answers for {} roots", standings.len(), roots.len()),
    })
}
