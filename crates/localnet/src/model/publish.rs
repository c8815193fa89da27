//! `set_channel_merkle_root` and `initialize_channel`.

use solana_program_runtime::invoke_context::InvokeContext;
use solana_sdk::instruction::InstructionError;
use solana_sdk::pubkey::Pubkey;
use solana_system_interface::instruction as system;
use twzrd_chain::program::account::{ChannelState, Layout, Slot};
use twzrd_chain::program::error::{PROTOCOL_PAUSED, UNAUTHORIZED, recorded};
use twzrd_chain::program::instruction::{InitializeChannel, SetChannelMerkleRoot};
use twzrd_chain::program::{Program, SYSTEM_PROGRAM};
use twzrd_domain::leaf;

use super::guard::{Guard, refuse};

/// The layout that it makes, and the only one that it works with.
const LAYOUT: Layout = Layout::Packed10x128;

pub(super) fn set_root(
    context: &mut InvokeContext<'_, '_>,
    arguments: &SetChannelMerkleRoot,
) -> Result<(), InstructionError> {
    let guard = Guard::of(context)?;
    let publisher = guard.signer(0)?;
    let (protocol, program) = guard.protocol(1)?;
    if !protocol.may_publish(&publisher) {
        return Err(refuse(context, UNAUTHORIZED));
    }
    if protocol.paused {
        return Err(refuse(context, PROTOCOL_PAUSED));
    }
    guard.is_program(3, &SYSTEM_PROGRAM)?;
    let subject = leaf::subject(&arguments.channel);
    let mut state = match existing(context, 2)? {
        Some(state) => {
            belongs(context, &state, &program, subject)?;
            state
        }
        None => create(context, &program, publisher, subject)?,
    };
    let place = state.place_of(arguments.epoch);
    if arguments.epoch <= state.slots[place].epoch {
        return Err(refuse(context, recorded::EPOCH_NOT_INCREASING));
    }
    state.slots[place] = Slot::new(LAYOUT, arguments.epoch, arguments.root);
    state.latest = state.latest.max(arguments.epoch);
    Guard::of(context)?.write(2, &state.encode())
}

pub(super) fn initialize(
    context: &mut InvokeContext<'_, '_>,
    arguments: &InitializeChannel,
) -> Result<(), InstructionError> {
    let guard = Guard::of(context)?;
    let payer = guard.signer(0)?;
    let (_, program) = guard.protocol(1)?;
    guard.is_program(3, &SYSTEM_PROGRAM)?;
    if existing(context, 2)?.is_some() {
        return Err(refuse(context, recorded::INVALID_CHANNEL_STATE));
    }
    let state = create(context, &program, payer, arguments.subject)?;
    Guard::of(context)?.write(2, &state.encode())
}

/// The channel's account; none where it was not made yet.
pub(super) fn existing(
    context: &InvokeContext<'_, '_>,
    place: u16,
) -> Result<Option<ChannelState>, InstructionError> {
    let guard = Guard::of(context)?;
    guard.writable(place)?;
    let (owner, _, data) = guard.account(place)?;
    if owner == SYSTEM_PROGRAM && data.is_empty() {
        return Ok(None);
    }
    let data = guard.own(place)?;
    match ChannelState::decode(&data) {
        Ok(state) if state.layout == LAYOUT => Ok(Some(state)),
        _ => Err(refuse(context, recorded::INVALID_CHANNEL_STATE)),
    }
}

/// Refuses an account that is not this channel's.
pub(super) fn belongs(
    context: &InvokeContext<'_, '_>,
    state: &ChannelState,
    program: &Program,
    subject: [u8; 32],
) -> Result<(), InstructionError> {
    let (address, bump) = program.channel_state_of(&subject);
    Guard::of(context)?.is(2, &address)?;
    if (state.mint, state.subject, state.bump) == (program.mint, subject, bump) {
        return Ok(());
    }
    Err(refuse(context, recorded::INVALID_CHANNEL_STATE))
}

/// Makes the channel's account at its address, with the rent of the payer. Whoever sent lamports
/// there before does not stand in the way.
fn create(
    context: &mut InvokeContext<'_, '_>,
    program: &Program,
    payer: Pubkey,
    subject: [u8; 32],
) -> Result<ChannelState, InstructionError> {
    let (address, bump) = program.channel_state_of(&subject);
    let guard = Guard::of(context)?;
    guard.is(2, &address)?;
    let (_, has, _) = guard.account(2)?;
    let rent = context
        .environment_config
        .sysvar_cache()
        .get_rent()?
        .minimum_balance(LAYOUT.size());
    let size = LAYOUT.size() as u64;
    let seeds: &[&[u8]] = &[b"channel_state", program.mint.as_ref(), &subject, &[bump]];
    if has == 0 {
        let create = system::create_account(&payer, &address, rent, size, &program.id);
        context.native_invoke_signed(create, &[seeds])?;
    } else {
        if has < rent {
            let transfer = system::transfer(&payer, &address, rent - has);
            context.native_invoke_signed(transfer, &[])?;
        }
        context.native_invoke_signed(system::allocate(&address, size), &[seeds])?;
        context.native_invoke_signed(system::assign(&address, &program.id), &[seeds])?;
    }
    Ok(ChannelState::new(LAYOUT, bump, program.mint, subject))
}
