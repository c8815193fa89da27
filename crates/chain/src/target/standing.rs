//! Where a root stands, by the accounts as they were read.

use solana_sdk::clock::Clock;
use solana_sdk::pubkey::Pubkey;
use twzrd_domain::chain::Standing;
use twzrd_domain::identity::Node;
use twzrd_domain::leaf;
use twzrd_domain::settlement::{Reason, RootToPublish, Why};

use super::Found;
use crate::program::account::{ChannelState, Layout, ProtocolState};
use crate::program::{Program, SYSTEM_PROGRAM};

/// What the program's own account says of publishing: the reason why nothing can be published
/// now, or none.
pub(super) fn gate(program: &Program, signer: &Pubkey, account: Option<&Found>) -> Option<Reason> {
    let (address, _) = program.protocol_state();
    let Some(account) = account.filter(|it| !is_unused(it)) else {
        let text = format!("there is no account {address} of program {}", program.id);
        return Some(Reason::new(Why::ProtocolMissing, text));
    };
    let state = match protocol_state(program, &address, account) {
        Ok(state) => state,
        Err(reason) => return Some(reason),
    };
    if state.paused {
        let text = format!("{address} of program {} says paused (6005)", program.id);
        return Some(Reason::new(Why::Paused, text));
    }
    if !state.may_publish(signer) {
        let text = format!(
            "the key is {signer}; expected the publisher {} or the admin {} (6000)",
            state.publisher, state.admin
        );
        return Some(Reason::new(Why::Unauthorized, text));
    }
    None
}

fn protocol_state(
    program: &Program,
    address: &Pubkey,
    account: &Found,
) -> Result<ProtocolState, Reason> {
    let state = ProtocolState::decode(&owned(program, address, account)?.data)
        .map_err(|error| wrong(address, &error))?;
    if !state.is_initialized || state.mint != program.mint {
        let text = format!(
            "{address}: initialized {}, mint {}; expected true and {}",
            state.is_initialized, state.mint, program.mint
        );
        return Err(Reason::new(Why::WrongLayout, text));
    }
    Ok(state)
}

/// An epoch that begins later than this after the chain's own time is none that could have been
/// published, in seconds.
const AHEAD: u64 = 24 * 3600;

/// The account that holds the chain's own time.
pub(super) const CLOCK: Pubkey =
    Pubkey::from_str_const("SysvarC1ock11111111111111111111111111111111");

/// The chain's own time, in Unix seconds, by its account; none where it tells none.
pub(super) fn time(clock: Option<&Found>) -> Option<u64> {
    let clock: Clock = bincode::deserialize(&clock?.data).ok()?;
    u64::try_from(clock.unix_timestamp).ok()
}

/// Where a root stands. What the channel's account already holds comes first: it is true however
/// the program is set now.
pub(super) fn standing(
    program: &Program,
    new_layout: Layout,
    gate: Option<&Reason>,
    account: Option<&Found>,
    root: &RootToPublish,
    now: Option<u64>,
) -> Standing {
    let layout = match account.filter(|it| !is_unused(it)) {
        None => new_layout,
        Some(account) => match found(program, account, root, now) {
            Ok(Ok(layout)) => layout,
            Ok(Err(standing)) => return standing,
            Err(reason) => return Standing::Blocked(reason),
        },
    };
    if root.count > layout.max_claims() {
        let text = format!(
            "{} participants; expected at most {}, the bits of a slot of {layout}",
            root.count,
            layout.max_claims()
        );
        return Standing::Blocked(Reason::new(Why::TooManyParticipants, text));
    }
    if let Some(reason) = gate {
        return Standing::Blocked(reason.clone());
    }
    if account.is_none_or(is_unused) && !new_layout.can_be_created_by_publish() {
        let text = format!(
            "channel {} has no account {}, and the program of {new_layout} makes none when it publishes",
            root.channel,
            program.channel_state(&root.channel).0
        );
        return Standing::Blocked(Reason::new(Why::ChannelMissing, text));
    }
    Standing::Free
}

/// By the channel's account: where the root stands, or the layout of an account that takes it.
fn found(
    program: &Program,
    account: &Found,
    root: &RootToPublish,
    now: Option<u64>,
) -> Result<Result<Layout, Standing>, Reason> {
    let (address, _) = program.channel_state(&root.channel);
    let state = ChannelState::decode(&owned(program, &address, account)?.data)
        .map_err(|error| wrong(&address, &error))?;
    let subject = leaf::subject(root.channel.as_str());
    if state.mint != program.mint || state.subject != subject {
        let text = format!(
            "{address} is of mint {} and subject {}; expected {} and {}",
            state.mint,
            Node(state.subject),
            program.mint,
            Node(subject)
        );
        return Err(Reason::new(Why::WrongLayout, text));
    }
    let Some(slot) = state.slot_of(root.number) else {
        return Ok(Ok(state.layout));
    };
    if slot.epoch > root.number {
        if let Some(text) = counts_otherwise(root, slot.epoch, now) {
            return Err(Reason::new(
                Why::OtherNumbering,
                format!("{address} {text}"),
            ));
        }
        return Ok(Err(Standing::Newer(slot.epoch)));
    }
    if slot.epoch < root.number {
        return Ok(Ok(state.layout));
    }
    if slot.root == root.root {
        return Ok(Err(Standing::Published));
    }
    let text = format!(
        "epoch {} of {} is on chain with root {}; expected {}",
        root.number,
        root.channel,
        Node(slot.root),
        Node(root.root)
    );
    Err(Reason::new(Why::ProgramRefused, text))
}

/// What is wrong with a number above a root's, where by the root's own counting it stands for an
/// epoch that has not begun: seconds in front of an index, or an index of shorter epochs.
fn counts_otherwise(root: &RootToPublish, number: u64, now: Option<u64>) -> Option<String> {
    let now = now?;
    let seconds = root.epoch.0.checked_div(root.number)?;
    let begins = number.saturating_mul(seconds);
    (begins > now.saturating_add(AHEAD)).then(|| {
        format!(
            "holds number {number} in the slot of {}; with {seconds} s a number that is epoch {begins}, and the chain's time is {now}: expected one that has begun",
            root.number
        )
    })
}

/// True for an account that only holds lamports, which anyone can send to any address: to the
/// program it is as good as none.
pub(crate) fn is_unused(account: &Found) -> bool {
    account.owner == SYSTEM_PROGRAM && account.data.is_empty()
}

fn owned<'a>(program: &Program, address: &Pubkey, account: &'a Found) -> Result<&'a Found, Reason> {
    if account.owner == program.id {
        return Ok(account);
    }
    let text = format!(
        "{address} of {} bytes belongs to {}; expected {}",
        account.data.len(),
        account.owner,
        program.id
    );
    Err(Reason::new(Why::WrongLayout, text))
}

fn wrong(address: &Pubkey, error: &impl std::fmt::Display) -> Reason {
    Reason::new(Why::WrongLayout, format!("{address}: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::program::account::Slot;
    use twzrd_domain::epoch::Epoch;
    use twzrd_domain::settlement::RootId;

    fn root() -> RootToPublish {
        RootToPublish {
            id: RootId(1),
            epoch: Epoch(360_000),
            number: 100,
            channel: "lacy".parse().unwrap(),
            root: [7; 32],
            count: 1024,
        }
    }

    fn account(state: &ChannelState) -> Found {
        Found {
            lamports: 1,
            owner: Program::default().id,
            data: state.encode(),
        }
    }

    fn channel(layout: Layout) -> ChannelState {
        let program = Program::default();
        ChannelState::new(layout, 255, program.mint, leaf::subject("lacy"))
    }

    fn holding(epoch: u64, root: [u8; 32]) -> Found {
        let mut state = channel(Layout::Packed10x128);
        state.slots[0] = Slot::new(Layout::Packed10x128, epoch, root);
        account(&state)
    }

    fn stands(gate: Option<&Reason>, account: Option<&Found>, root: &RootToPublish) -> Standing {
        let program = Program::default();
        standing(&program, Layout::default(), gate, account, root, Some(NOW))
    }

    /// A day after the root's epoch.
    const NOW: u64 = 360_000 + 24 * 3600;

    fn blocked(standing: Standing) -> (Why, String) {
        match standing {
            Standing::Blocked(reason) => (reason.why, reason.text),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_slot_says_where_a_root_stands() {
        for (epoch, standing) in [
            (0, Standing::Free),
            (90, Standing::Free),
            (110, Standing::Newer(110)),
            (100, Standing::Published),
        ] {
            assert_eq!(
                stands(None, Some(&holding(epoch, [7; 32])), &root()),
                standing
            );
        }
        let (why, text) = blocked(stands(None, Some(&holding(100, [8; 32])), &root()));
        assert_eq!(why, Why::ProgramRefused);
        assert!(
            text.contains(&"07".repeat(32)) && text.contains(&"08".repeat(32)),
            "{text}"
        );
    }

    #[test]
    fn a_number_of_another_counting_is_not_a_newer_epoch() {
        let index = RootToPublish {
            epoch: Epoch(489_410 * 3600),
            number: 489_410,
            ..root()
        };
        let now = Some(489_411 * 3600);
        let at = |number, root: &RootToPublish, now| {
            let (program, layout) = (Program::default(), Layout::default());
            let mut state = channel(Layout::Packed10x128);
            let place = usize::try_from(root.number % 10).unwrap();
            state.slots[place] = Slot::new(Layout::Packed10x128, number, [1; 32]);
            standing(&program, layout, None, Some(&account(&state)), root, now)
        };
        // Seconds, where the root is counted in hours.
        let (why, text) = blocked(at(1_761_854_400, &index, now));
        assert_eq!(why, Why::OtherNumbering);
        for part in ["1761854400", "489410", "3600 s", "1761879600"] {
            assert!(text.contains(part), "{text}");
        }
        // An index of hours, where the root is counted in two of them.
        let longer = RootToPublish {
            epoch: Epoch(244_700 * 7200),
            number: 244_700,
            ..root()
        };
        assert_eq!(blocked(at(489_400, &longer, now)).0, Why::OtherNumbering);
        // Ten hours later, which a tool whose clock is ahead of the chain's may have published.
        assert_eq!(at(489_420, &index, now), Standing::Newer(489_420));
        assert_eq!(blocked(at(489_440, &index, now)).0, Why::OtherNumbering);
        // In seconds throughout.
        let parity = RootToPublish {
            epoch: Epoch(1_761_854_400),
            number: 1_761_854_400,
            ..root()
        };
        let newer = 1_761_854_400 + 3600;
        assert_eq!(at(newer, &parity, now), Standing::Newer(newer));
        assert_eq!(
            at(1_761_854_400, &index, None),
            Standing::Newer(1_761_854_400),
            "the chain's time is not known"
        );
    }

    #[test]
    fn what_is_on_chain_is_told_also_while_the_program_is_paused() {
        let paused = Reason::new(Why::Paused, "paused");
        let gate = Some(&paused);
        let published = holding(100, [7; 32]);
        assert_eq!(stands(gate, Some(&published), &root()), Standing::Published);
        let newer = holding(110, [7; 32]);
        assert_eq!(stands(gate, Some(&newer), &root()), Standing::Newer(110));
        for account in [Some(holding(90, [1; 32])), None] {
            assert_eq!(
                blocked(stands(gate, account.as_ref(), &root())).0,
                Why::Paused
            );
        }
    }

    #[test]
    fn a_missing_account_is_made_only_where_the_program_makes_it() {
        assert_eq!(stands(None, None, &root()), Standing::Free);
        let gifted = Found {
            lamports: 5,
            owner: SYSTEM_PROGRAM,
            data: Vec::new(),
        };
        assert_eq!(stands(None, Some(&gifted), &root()), Standing::Free);
        for account in [None, Some(&gifted)] {
            let program = Program::default();
            let standing = standing(&program, Layout::C10x128, None, account, &root(), None);
            assert_eq!(blocked(standing).0, Why::ChannelMissing);
        }
        let account = account(&channel(Layout::C10x128));
        let standing = standing(
            &Program::default(),
            Layout::C10x128,
            None,
            Some(&account),
            &root(),
            None,
        );
        assert_eq!(standing, Standing::Free);
    }

    #[test]
    fn more_participants_than_bits_are_blocked_by_the_account_that_is_there() {
        let many = RootToPublish {
            count: 1025,
            ..root()
        };
        for account in [None, Some(account(&channel(Layout::C10x128)))] {
            let (why, text) = blocked(stands(None, account.as_ref(), &many));
            assert_eq!(why, Why::TooManyParticipants);
            assert!(text.contains("1025") && text.contains("1024"), "{text}");
        }
        let wide = account(&channel(Layout::Packed9x1024));
        assert_eq!(stands(None, Some(&wide), &many), Standing::Free);
    }

    #[test]
    fn a_foreign_account_is_a_wrong_layout() {
        let mut foreign = holding(90, [7; 32]);
        foreign.owner = Pubkey::from([3; 32]);
        let (why, text) = blocked(stands(None, Some(&foreign), &root()));
        assert_eq!(why, Why::WrongLayout);
        assert!(
            text.contains("1782") && text.contains(&foreign.owner.to_string()),
            "{text}"
        );
        let mut short = holding(90, [7; 32]);
        short.data.pop();
        let (why, text) = blocked(stands(None, Some(&short), &root()));
        assert_eq!(why, Why::WrongLayout);
        assert!(text.contains("1781"), "{text}");
        let mut other = channel(Layout::Packed10x128);
        other.subject = [1; 32];
        assert_eq!(
            blocked(stands(None, Some(&account(&other)), &root())).0,
            Why::WrongLayout
        );
    }

    fn protocol() -> ProtocolState {
        ProtocolState {
            is_initialized: true,
            version: 1,
            admin: Pubkey::from([1; 32]),
            publisher: Pubkey::from([2; 32]),
            treasury: Pubkey::from([3; 32]),
            mint: Program::default().mint,
            paused: false,
            require_receipt: false,
            bump: 255,
        }
    }

    fn gated(state: &ProtocolState, signer: u8) -> Option<(Why, String)> {
        let account = Found {
            lamports: 1,
            owner: Program::default().id,
            data: state.encode(),
        };
        gate(
            &Program::default(),
            &Pubkey::from([signer; 32]),
            Some(&account),
        )
        .map(|reason| (reason.why, reason.text))
    }

    #[test]
    fn the_protocol_account_says_who_publishes_and_whether() {
        let state = protocol();
        assert_eq!((gated(&state, 1), gated(&state, 2)), (None, None));
        let (why, text) = gated(&state, 9).unwrap();
        assert_eq!(why, Why::Unauthorized);
        for key in [9, 2, 1] {
            assert!(
                text.contains(&Pubkey::from([key; 32]).to_string()),
                "{text}"
            );
        }
        let paused = ProtocolState {
            paused: true,
            ..state
        };
        assert_eq!(gated(&paused, 1).unwrap().0, Why::Paused);
        let other = ProtocolState {
            mint: Pubkey::from([8; 32]),
            ..state
        };
        assert_eq!(gated(&other, 1).unwrap().0, Why::WrongLayout);
        let missing = gate(&Program::default(), &state.admin, None).unwrap();
        assert_eq!(missing.why, Why::ProtocolMissing);
    }
}
