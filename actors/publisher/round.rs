//! One look of the publisher at what is due: which roots are published now.

use std::collections::HashMap;
use std::sync::Arc;

use compact_str::CompactString;
use tracing::{info, warn};
use twzrd_domain::chain::{ChainError, Change, RootChain, SignedTransaction, Standing};
use twzrd_domain::epoch::UnixMs;
use twzrd_domain::identity::{Channel, Node};
use twzrd_domain::publication::{Publication, Step as Move};
use twzrd_domain::settlement::course;
use twzrd_domain::settlement::{Candidate, Reason, RootId, RootToPublish, Why};

use super::flight::{Flight, Lull};
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
    /// What is known of transactions in flight, by signature.
    pub(super) flights: HashMap<CompactString, Flight>,
    pub(super) lull: Lull,
}

impl Round {
    pub(super) fn new(args: PublisherArgs) -> Self {
        Self {
            args,
            left: 0,
            look_at_held: false,
            flights: HashMap::new(),
            lull: Lull::default(),
        }
    }

    pub(super) fn begin_tick(&mut self) {
        self.args.counters.ticked();
        self.left = self.args.publishing.per_tick;
        self.look_at_held = true;
    }

    /// Publishes what is due; true where there may be more to do at once, because a root has
    /// moved and the next may take its place.
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
        let Looked { free, held, moved } = self.look(chain, chosen, now).await?;
        self.look_at_held = false;
        let signed = self.sign_all(chain, free, &held).await?;
        Ok(judged || moved || signed)
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

    /// What is due that replaces nothing in flight and nothing before it: of what is planned as
    /// many as may be signed, and all that is held, once a tick. A root that is held takes no
    /// other's place.
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
        let (mut chosen, mut left) = (Vec::new(), self.left);
        for candidate in open {
            let root = candidate.to_publish(publishing.kind, publishing.mode, publishing.length);
            let before = taken.entry(root.channel.clone()).or_default();
            let waits = before.iter().any(|it| chain.replaces(&root, it));
            before.push(root.clone());
            if waits {
                continue;
            }
            if matches!(candidate.publication, Publication::Held { .. }) {
                if self.look_at_held {
                    chosen.push((candidate, root));
                }
            } else if left > 0 {
                left -= 1;
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
        now: UnixMs,
    ) -> Result<Looked, Trouble> {
        let mut looked = Looked::default();
        if chosen.is_empty() {
            return Ok(looked);
        }
        let roots: Vec<_> = chosen.iter().map(|(_, root)| root.clone()).collect();
        let standings = chain.look(&roots).await?;
        expect_all(&standings, &roots, "looking where roots stand")?;
        let mut steps = Vec::new();
        for ((candidate, root), standing) in chosen.into_iter().zip(&standings) {
            let was = candidate.publication;
            match course::stands(root.id, &was, standing, now) {
                // It was looked at, and waits until the others were.
                Some(step) if is_no_news(&step) => {
                    if let Standing::Blocked(reason) = standing {
                        self.args.counters.skipped(reason.why);
                    }
                    steps.push(step);
                }
                Some(step) => {
                    self.tell_end(&root, standing, None);
                    looked.moved = true;
                    steps.push(step);
                }
                None => {
                    if let Publication::Held { reason } = &was {
                        looked.moved = true;
                        looked.held.insert(root.id, reason.why);
                        steps.push(course::let_go(root.id, &was));
                    }
                    looked.free.push(root);
                }
            }
        }
        self.take(&steps).await?;
        looked.free.truncate(self.left);
        Ok(looked)
    }

    /// Signs, stores and sends these, as many transactions as it takes; true where a root was
    /// signed or stopped. `held` has those that were held until now.
    async fn sign_all(
        &mut self,
        chain: &dyn RootChain,
        mut free: Vec<RootToPublish>,
        held: &HashMap<RootId, Why>,
    ) -> Result<bool, Trouble> {
        let mut any = false;
        while !free.is_empty() {
            self.args.probe.reached(Step::PUBLISHER_BEFORE_SIGN);
            let draft = chain.draft(&free).await?;
            self.args.probe.reached(Step::PUBLISHER_SIGNED);
            self.stop(&draft.refused, held).await?;
            any |= !draft.refused.is_empty();
            free.retain(|root| draft.refused.iter().all(|(refused, _)| *refused != root.id));
            let Some(signed) = draft.signed else {
                if draft.refused.is_empty() {
                    break;
                }
                // What the first ones lack the others may have.
                continue;
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

    /// Holds or fails roots that cannot be signed, and tells of those that were not held for that
    /// already.
    async fn stop(
        &self,
        refused: &[(RootId, Reason)],
        held: &HashMap<RootId, Why>,
    ) -> Result<(), Trouble> {
        let now = self.args.clock.now();
        let mut steps = Vec::new();
        for (root, reason) in refused {
            self.args.counters.skipped(reason.why);
            if held.get(root) != Some(&reason.why) {
                warn!(%root, %reason, next = reason.why.next_step(), "root cannot be published");
            }
            let was = &Publication::Planned;
            steps.push(course::stopped(*root, was, reason.clone(), now));
        }
        self.take(&steps).await
    }

    pub(super) async fn take(&self, steps: &[Change]) -> Result<(), Trouble> {
        if !steps.is_empty() {
            self.args
                .store
                .advance(steps, self.args.clock.now())
                .await?;
            self.args.counters.stepped(steps);
        }
        Ok(())
    }

    pub(super) fn tell_end(
        &self,
        root: &RootToPublish,
        standing: &Standing,
        by: Option<&SignedTransaction>,
    ) {
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

/// Where roots stand.
#[derive(Default)]
struct Looked {
    /// Those that can be signed, as many as may be.
    free: Vec<RootToPublish>,
    /// For what those were held that are not any more.
    held: HashMap<RootId, Why>,
    /// Whether one stands elsewhere than before.
    moved: bool,
}

/// A hold for the kind of reason that holds already.
fn is_no_news(step: &Change) -> bool {
    matches!(
        (&step.was, &step.step),
        (Publication::Held { reason: was }, Move::Hold(is)) if was.why == is.why
    )
}

fn is_held_for(at: &Publication, reason: &Reason) -> bool {
    matches!(at, Publication::Held { reason: was } if was == reason)
}

/// An adapter that answers for fewer or more roots than it was asked about is not believed.
pub(super) fn expect_all(
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
