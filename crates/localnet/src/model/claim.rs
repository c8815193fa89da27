//! `claim_channel_open`: checks a leaf of claim v0, pays it and sets its bit.

use solana_program_runtime::invoke_context::InvokeContext;
use solana_sdk::instruction::InstructionError;
use solana_sdk::pubkey::Pubkey;
use spl_associated_token_account_interface::instruction::create_associated_token_account_idempotent;
use spl_token_2022_interface::instruction::transfer_checked;
use twzrd_chain::program::error::{PROTOCOL_PAUSED, recorded};
use twzrd_chain::program::instruction::ClaimChannelOpen;
use twzrd_chain::program::{ASSOCIATED_TOKEN_PROGRAM, Program, SYSTEM_PROGRAM, TOKEN_PROGRAM};
use twzrd_domain::identity::Wallet;
use twzrd_domain::{leaf, merkle};

use super::UNITS_A_NODE;
use super::guard::{Guard, refuse};
use super::publish::{belongs, existing};
use crate::ledger::decimals;

/// The longest id, in bytes.
const MAX_ID: usize = 64;

pub(super) fn pay(
    context: &mut InvokeContext<'_, '_>,
    arguments: &ClaimChannelOpen,
) -> Result<(), InstructionError> {
    let guard = Guard::of(context)?;
    let claimer = guard.signer(0)?;
    let (protocol, program) = guard.protocol(1)?;
    if protocol.paused {
        return Err(refuse(context, PROTOCOL_PAUSED));
    }
    if protocol.require_receipt {
        return Err(refuse(context, recorded::RECEIPT_REQUIRED));
    }
    if arguments.id.len() > MAX_ID {
        return Err(refuse(context, recorded::INVALID_INPUT_LENGTH));
    }
    if arguments.proof.len() > merkle::MAX_PROOF_NODES {
        return Err(refuse(context, recorded::INVALID_PROOF_LENGTH));
    }
    check_accounts(&guard, &program, &claimer)?;
    let Some(mut state) = existing(context, 2)? else {
        return Err(refuse(context, recorded::INVALID_CHANNEL_STATE));
    };
    belongs(context, &state, &program, leaf::subject(&arguments.channel))?;

    let place = state.place_of(arguments.epoch);
    let slot = &mut state.slots[place];
    if slot.epoch != arguments.epoch {
        return Err(refuse(context, recorded::SLOT_MISMATCH));
    }
    match slot.is_claimed(arguments.index) {
        None => return Err(refuse(context, recorded::INVALID_INDEX)),
        Some(true) => return Err(refuse(context, recorded::ALREADY_CLAIMED)),
        Some(false) => {}
    }
    let hashing = UNITS_A_NODE.saturating_mul(arguments.proof.len() as u64 + 1);
    context
        .compute_meter
        .consume_checked(hashing)
        .map_err(|_| InstructionError::ComputationalBudgetExceeded)?;
    let wallet = Wallet(claimer.to_bytes());
    let claimed = leaf::claim(wallet, arguments.index, arguments.amount, &arguments.id);
    if merkle::root_of(claimed, arguments.proof.iter().copied()) != slot.root {
        return Err(refuse(context, recorded::INVALID_PROOF));
    }
    let byte = usize::try_from(arguments.index / 8).unwrap_or(usize::MAX);
    let Some(bits) = slot.bitmap.get_mut(byte) else {
        return Err(refuse(context, recorded::INVALID_INDEX));
    };
    *bits |= 1 << (arguments.index % 8);
    // At most as many as the bitmap has bits.
    slot.claim_count = slot.claim_count.saturating_add(1);
    Guard::of(context)?.write(2, &state.encode())?;
    transfer(context, &program, claimer, arguments.amount)
}

fn check_accounts(
    guard: &Guard<'_, '_, '_>,
    program: &Program,
    claimer: &Pubkey,
) -> Result<(), InstructionError> {
    guard.is(3, &program.mint)?;
    guard.is(4, &program.treasury())?;
    guard.writable(4)?;
    guard.is(5, &program.token_account(claimer))?;
    guard.writable(5)?;
    guard.is_program(6, &TOKEN_PROGRAM)?;
    guard.is_program(7, &ASSOCIATED_TOKEN_PROGRAM)?;
    guard.is_program(8, &SYSTEM_PROGRAM)
}

/// Pays from the treasury, which is the protocol account's, into the claimer's account, which is
/// made where it is missing.
fn transfer(
    context: &mut InvokeContext<'_, '_>,
    program: &Program,
    claimer: Pubkey,
    amount: u64,
) -> Result<(), InstructionError> {
    let guard = Guard::of(context)?;
    let (owner, _, _) = guard.account(5)?;
    let (_, _, mint) = guard.account(3)?;
    let Some(places) = decimals(&mint) else {
        return Err(refuse(context, recorded::INVALID_MINT));
    };
    if owner != TOKEN_PROGRAM {
        let create = create_associated_token_account_idempotent(
            &claimer,
            &claimer,
            &program.mint,
            &TOKEN_PROGRAM,
        );
        context.native_invoke_signed(create, &[])?;
    }
    let (authority, bump) = program.protocol_state();
    let transfer = transfer_checked(
        &TOKEN_PROGRAM,
        &program.treasury(),
        &program.mint,
        &program.token_account(&claimer),
        &authority,
        &[],
        amount,
        places,
    )
    .map_err(|_| InstructionError::InvalidInstructionData)?;
    let seeds: &[&[u8]] = &[b"protocol", program.mint.as_ref(), &[bump]];
    context.native_invoke_signed(transfer, &[seeds])
}
