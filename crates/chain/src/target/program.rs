//! Roots by the program's `set_channel_merkle_root`.

use std::collections::HashSet;

use async_trait::async_trait;
use solana_commitment_config::CommitmentConfig;
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::chain::{ChainError, Draft, Landing, RootChain, SignedTransaction, Standing};
use twzrd_domain::settlement::{Reason, RootId, RootKind, RootToPublish, Target, Why};

use super::compose::{Composer, Item, rent};
use super::landing::{landing, send};
use super::refusal::Refuser;
use super::standing::{CLOCK, gate, is_unused, standing, time};
use super::{Found, TargetConfig, read_accounts};
use crate::keys::Signer;
use crate::program::account::Layout;
use crate::program::{Program, instruction};
use crate::rpc::{Pinned, Pool};

/// The program as a target.
#[derive(Clone, Debug)]
pub struct ProgramTarget {
    pool: Pool,
    program: Program,
    signer: Signer,
    config: TargetConfig,
}

/// The accounts of roots, as they were read at once.
struct Accounts {
    gate: Option<Reason>,
    /// The chain's own time.
    now: Option<u64>,
    channels: Vec<Option<Found>>,
}

impl ProgramTarget {
    /// A target that signs with this key.
    #[must_use]
    pub const fn new(pool: Pool, program: Program, signer: Signer, config: TargetConfig) -> Self {
        Self {
            pool,
            program,
            signer,
            config,
        }
    }

    async fn accounts(
        &self,
        node: &Pinned,
        roots: &[RootToPublish],
        commitment: CommitmentConfig,
        not_before_slot: u64,
    ) -> Result<Accounts, ChainError> {
        let channels = roots
            .iter()
            .map(|it| self.program.channel_state(&it.channel).0);
        let protocol = self.program.protocol_state().0;
        let keys: Vec<Pubkey> = [protocol, CLOCK].into_iter().chain(channels).collect();
        let mut found = read_accounts(&node.client, &keys, commitment, not_before_slot)
            .await?
            .into_iter();
        let (protocol, clock) = (found.next().flatten(), found.next().flatten());
        Ok(Accounts {
            now: time(clock.as_ref()),
            gate: gate(&self.program, &self.signer.pubkey(), protocol.as_ref()),
            channels: found.collect(),
        })
    }

    fn standings(&self, accounts: &Accounts, roots: &[RootToPublish]) -> Vec<Standing> {
        let channels = accounts.channels.iter().map(Option::as_ref);
        roots
            .iter()
            .zip(channels)
            .map(|(root, account)| {
                let (program, layout) = (&self.program, self.config.new_layout);
                let gate = accounts.gate.as_ref();
                standing(program, layout, gate, account, root, accounts.now)
            })
            .collect()
    }

    /// The reason where the configured root may never be published here.
    fn never(&self) -> Option<Reason> {
        (self.config.kind == RootKind::Participation).then(|| {
            let text = "a leaf of a participation tree binds neither wallet nor amount, and the \
                        program pays whoever shows one; expected the claim root";
            Reason::new(Why::ParticipationPays, text)
        })
    }

    /// The layout by whose numbers the program refuses: that of an account of it.
    fn layout(&self, accounts: &Accounts) -> Layout {
        let sizes = accounts.channels.iter().flatten().map(|it| it.data.len());
        sizes
            .filter_map(|size| Layout::of_size(size).ok())
            .next()
            .unwrap_or(self.config.new_layout)
    }

    /// The roots that nothing stands in the way of, as instructions; the others that are blocked
    /// go to `refused`, and those that are on chain by now are left out.
    async fn items(
        &self,
        node: &Pinned,
        accounts: &Accounts,
        roots: &[RootToPublish],
        draft: &mut Draft,
    ) -> Result<Vec<Item>, ChainError> {
        let mut new_rent = None;
        let mut items = Vec::new();
        let standings = self.standings(accounts, roots);
        for ((root, standing), account) in roots.iter().zip(standings).zip(&accounts.channels) {
            match standing {
                Standing::Free => (),
                Standing::Blocked(reason) => {
                    draft.refused.push((root.id, reason));
                    continue;
                }
                Standing::Published | Standing::Newer(_) => continue,
            }
            let rent = match account.as_ref().filter(|it| !is_unused(it)) {
                Some(_) => 0,
                None => {
                    let full = match new_rent {
                        Some(rent) => rent,
                        None => rent(&node.client, self.config.new_layout.size()).await?,
                    };
                    new_rent = Some(full);
                    full.saturating_sub(account.as_ref().map_or(0, |it| it.lamports))
                }
            };
            items.push(Item {
                root: root.id,
                instruction: instruction::set_channel_merkle_root(
                    &self.program,
                    &self.signer.pubkey(),
                    &root.channel,
                    root.number,
                    root.root,
                ),
                rent,
            });
        }
        Ok(items)
    }

    /// 6023 is neither success nor refusal: the account as it stands now decides. What it does not
    /// explain is refused.
    async fn decide(
        &self,
        node: &Pinned,
        roots: &[RootToPublish],
        not_increasing: Vec<(RootId, Reason)>,
        draft: &mut Draft,
    ) -> Result<(), ChainError> {
        for (id, reason) in not_increasing {
            let Some(root) = roots.iter().find(|root| root.id == id) else {
                continue;
            };
            let root = std::slice::from_ref(root);
            let confirmed = CommitmentConfig::confirmed();
            let accounts = self.accounts(node, root, confirmed, node.slot()).await?;
            match self.standings(&accounts, root).pop() {
                Some(Standing::Free) | None => draft.refused.push((id, reason)),
                Some(Standing::Blocked(reason)) => draft.refused.push((id, reason)),
                Some(Standing::Published | Standing::Newer(_)) => (),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl RootChain for ProgramTarget {
    fn target(&self) -> Target {
        Target::Program
    }

    async fn look(&self, roots: &[RootToPublish]) -> Result<Vec<Standing>, ChainError> {
        if let Some(reason) = self.never() {
            return Ok(vec![Standing::Blocked(reason); roots.len()]);
        }
        if roots.is_empty() {
            return Ok(Vec::new());
        }
        let node = self.pool.pinned(0).await?;
        let finalized = CommitmentConfig::finalized();
        let accounts = self.accounts(&node, roots, finalized, node.slot()).await?;
        Ok(self.standings(&accounts, roots))
    }

    /// A channel has at most one root in a transaction: where two epochs share a slot, the second
    /// would take the first one's place before it was read back.
    async fn draft(&self, roots: &[RootToPublish]) -> Result<Draft, ChainError> {
        if let Some(reason) = self.never() {
            return Ok(Draft {
                refused: roots.iter().map(|it| (it.id, reason.clone())).collect(),
                ..Draft::default()
            });
        }
        let mut channels = HashSet::new();
        let roots: Vec<RootToPublish> = roots
            .iter()
            .filter(|root| channels.insert(root.channel.clone()))
            .take(self.config.max_roots.max(1))
            .cloned()
            .collect();
        if roots.is_empty() {
            return Ok(Draft::default());
        }
        let node = self.pool.pinned(0).await?;
        let confirmed = CommitmentConfig::confirmed();
        let accounts = self.accounts(&node, &roots, confirmed, node.slot()).await?;
        let mut draft = Draft::default();
        let items = self.items(&node, &accounts, &roots, &mut draft).await?;
        let composer = Composer {
            client: &node.client,
            signer: &self.signer,
            config: &self.config,
            refuser: Refuser::Program(self.layout(&accounts)),
        };
        let mut composed = composer.compose(items).await?;
        draft.refused.append(&mut composed.draft.refused);
        draft.signed = composed.draft.signed;
        draft.estimates = composed.draft.estimates;
        self.decide(&node, &roots, composed.not_increasing, &mut draft)
            .await?;
        Ok(draft)
    }

    async fn send(&self, transaction: &SignedTransaction) -> Result<(), ChainError> {
        send(&self.pool, &transaction.signature, &transaction.bytes).await
    }

    async fn landing(&self, transaction: &SignedTransaction) -> Result<Landing, ChainError> {
        let (signature, since) = (&transaction.signature, transaction.signed_in_slot);
        let last_valid = transaction.last_valid_block_height;
        let outcome = landing(&self.pool, signature, last_valid, since).await?;
        let refuser = Refuser::Program(self.config.new_layout);
        Ok(refuser.landing(outcome, &transaction.roots))
    }

    async fn read_back(
        &self,
        _: &SignedTransaction,
        slot: u64,
        roots: &[RootToPublish],
    ) -> Result<Vec<Standing>, ChainError> {
        if roots.is_empty() {
            return Ok(Vec::new());
        }
        let node = self.pool.pinned(slot).await?;
        let finalized = CommitmentConfig::finalized();
        let not_before = node.slot().max(slot);
        let accounts = self.accounts(&node, roots, finalized, not_before).await?;
        Ok(self.standings(&accounts, roots))
    }
}
