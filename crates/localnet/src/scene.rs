//! A world to begin with: the program's model, its mint, admin, publisher, treasury and wallets.
//!
//! What no instruction of the model makes (the protocol's account, the mint, the treasury's
//! tokens) is written as accounts of the first block.

use litesvm::LiteSVM;
use solana_rpc_client::nonblocking::rpc_client::RpcClient;
use solana_rpc_client_api::client_error;
use solana_sdk::account::Account;
use solana_sdk::program_option::COption;
use solana_sdk::program_pack::Pack;
use solana_sdk::pubkey::Pubkey;
use solana_sdk::signature::{Keypair, Signature};
use solana_sdk::signer::Signer;
use solana_sdk::transaction::Transaction;
use spl_token_2022_interface::state::{Account as TokenAccount, AccountState, Mint};
use twzrd_chain::program::account::{ChannelState, ProtocolState};
use twzrd_chain::program::instruction::{Claim, claim_channel_open};
use twzrd_chain::program::{Program, TOKEN_PROGRAM};
use twzrd_domain::identity::Channel;

use crate::ledger::{Commitment, NodeConfig, token_account};
use crate::{Node, model, seed};

/// Decimal places of the mint.
pub const DECIMALS: u8 = 9;

/// What the world is like.
#[derive(Clone, Debug)]
pub struct SceneConfig {
    /// The chain.
    pub node: NodeConfig,
    /// Program and mint.
    pub program: Program,
    /// How many wallets there are.
    pub wallets: u64,
    /// What each wallet, the admin and the publisher have, in lamports.
    pub lamports: u64,
    /// What the treasury has, in the token's smallest unit.
    pub treasury: u64,
}

impl Default for SceneConfig {
    fn default() -> Self {
        Self {
            node: NodeConfig::default(),
            program: Program::default(),
            wallets: 5,
            lamports: 10_000_000_000,
            treasury: 1_000_000_000_000_000_000,
        }
    }
}

/// A world.
#[derive(Debug)]
pub struct Scene {
    /// The node.
    pub node: Node,
    /// Program and mint.
    pub program: Program,
    /// Who administers the program.
    pub admin: Keypair,
    /// Who publishes.
    pub publisher: Keypair,
    /// Who claims.
    pub wallets: Vec<Keypair>,
}

/// What is claimed.
#[derive(Clone, Debug)]
pub struct ClaimParts {
    /// The channel.
    pub channel: Channel,
    /// The epoch's number on chain.
    pub number: u64,
    /// The place in the sealed order.
    pub index: u32,
    /// The amount, in the token's smallest unit.
    pub amount: u64,
    /// The id that the leaf binds.
    pub id: String,
    /// The proof, from the leaf up.
    pub proof: Vec<[u8; 32]>,
}

impl Scene {
    /// Makes a world. Programs are loaded, which takes a while: where many are needed, make one
    /// and [`Scene::duplicate`] it.
    #[must_use]
    pub fn new(config: SceneConfig) -> Self {
        let seed = config.node.seed;
        let program = config.program;
        let admin = seed::keypair(seed, "admin", 0);
        let publisher = seed::keypair(seed, "publisher", 0);
        let wallets: Vec<_> = (0..config.wallets)
            .map(|number| seed::keypair(seed, "wallet", number))
            .collect();
        let mut svm = LiteSVM::new();
        model::install(&mut svm, program.id);
        let rent = |size: usize| svm.minimum_balance_for_rent_exemption(size);
        let (protocol, bump) = program.protocol_state();
        let state = ProtocolState {
            is_initialized: true,
            version: 1,
            admin: admin.pubkey(),
            publisher: publisher.pubkey(),
            treasury: protocol,
            mint: program.mint,
            paused: false,
            require_receipt: false,
            bump,
        };
        let accounts = [(
            protocol,
            owned(program.id, state.encode(), rent(ProtocolState::SIZE)),
        )];
        let tokens = token_accounts(&svm, &program, &admin.pubkey(), config.treasury);
        let node = Node::new(config.node, svm);
        for (key, account) in accounts.into_iter().chain(tokens) {
            node.set_account(key, account);
        }
        for key in [&admin, &publisher].into_iter().chain(&wallets) {
            let account = Account::new(config.lamports, 0, &Pubkey::default());
            node.set_account(key.pubkey(), account);
        }
        Self {
            node,
            program,
            admin,
            publisher,
            wallets,
        }
    }

    /// A deep copy, which goes its own way from here.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self {
            node: self.node.duplicate(),
            program: self.program,
            admin: self.admin.insecure_clone(),
            publisher: self.publisher.insecure_clone(),
            wallets: self.wallets.iter().map(Keypair::insecure_clone).collect(),
        }
    }

    /// Builds, signs and sends a claim. It lands with a block, like any other transaction.
    ///
    /// # Errors
    /// Where the node refuses it, or there is no such wallet.
    pub async fn claim(
        &self,
        client: &RpcClient,
        wallet: usize,
        parts: &ClaimParts,
    ) -> client_error::Result<Signature> {
        let Some(claimer) = self.wallets.get(wallet) else {
            let known = self.wallets.len();
            let text = format!("wallet {wallet}; expected one of {known}");
            return Err(client_error::ErrorKind::Custom(text).into());
        };
        let claim = Claim {
            number: parts.number,
            index: parts.index,
            amount: parts.amount,
            id: &parts.id,
            proof: &parts.proof,
        };
        let instruction =
            claim_channel_open(&self.program, &claimer.pubkey(), &parts.channel, &claim);
        let hash = client.get_latest_blockhash().await?;
        let transaction = Transaction::new_signed_with_payer(
            &[instruction],
            Some(&claimer.pubkey()),
            &[claimer],
            hash,
        );
        client.send_transaction(&transaction).await
    }

    /// A channel's account in the latest block; none where it is not there or cannot be read.
    #[must_use]
    pub fn channel_state(&self, channel: &Channel) -> Option<ChannelState> {
        let key = self.program.channel_state(channel).0;
        let data = self.node.data(&key, Commitment::Processed)?;
        ChannelState::decode(&data).ok()
    }

    /// The indices that were claimed of an epoch, in order; none where the ring does not hold it.
    #[must_use]
    pub fn claimed(&self, channel: &Channel, number: u64) -> Option<Vec<u32>> {
        let state = self.channel_state(channel)?;
        let slot = state.slot_of(number).filter(|slot| slot.epoch == number)?;
        let bits = u32::try_from(slot.bitmap.len() * 8).ok()?;
        Some(
            (0..bits)
                .filter(|index| slot.is_claimed(*index) == Some(true))
                .collect(),
        )
    }

    /// What an owner has of the token, in its smallest unit.
    #[must_use]
    pub fn tokens_of(&self, owner: &Pubkey) -> u64 {
        let key = self.program.token_account(owner);
        self.node
            .account(&key, Commitment::Processed)
            .and_then(|account| token_account(&account.owner, &account.data))
            .map_or(0, |token| token.amount)
    }

    /// The protocol's account in the latest block.
    #[must_use]
    pub fn protocol_state(&self) -> Option<ProtocolState> {
        let key = self.program.protocol_state().0;
        let data = self.node.data(&key, Commitment::Processed)?;
        ProtocolState::decode(&data).ok()
    }
}

/// The mint of a program, and its treasury with all there is of the token.
#[must_use]
pub fn token_accounts(
    svm: &LiteSVM,
    program: &Program,
    authority: &Pubkey,
    supply: u64,
) -> [(Pubkey, Account); 2] {
    let rent = |size: usize| svm.minimum_balance_for_rent_exemption(size);
    let protocol = program.protocol_state().0;
    let treasury = holding(program.mint, protocol, supply);
    [
        (
            program.mint,
            owned(TOKEN_PROGRAM, mint(authority, supply), rent(Mint::LEN)),
        ),
        (
            program.treasury(),
            owned(TOKEN_PROGRAM, treasury, rent(TokenAccount::LEN)),
        ),
    ]
}

fn owned(owner: Pubkey, data: Vec<u8>, lamports: u64) -> Account {
    Account {
        lamports,
        data,
        owner,
        executable: false,
        rent_epoch: u64::MAX,
    }
}

fn mint(authority: &Pubkey, supply: u64) -> Vec<u8> {
    let mut data = vec![0; Mint::LEN];
    Mint {
        mint_authority: COption::Some(*authority),
        supply,
        decimals: DECIMALS,
        is_initialized: true,
        freeze_authority: COption::None,
    }
    .pack_into_slice(&mut data);
    data
}

fn holding(mint: Pubkey, owner: Pubkey, amount: u64) -> Vec<u8> {
    let mut data = vec![0; TokenAccount::LEN];
    TokenAccount {
        mint,
        owner,
        amount,
        delegate: COption::None,
        state: AccountState::Initialized,
        is_native: COption::None,
        delegated_amount: 0,
        close_authority: COption::None,
    }
    .pack_into_slice(&mut data);
    data
}
