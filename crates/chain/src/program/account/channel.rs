//! A channel's account: a ring of slots, each with an epoch's root and the claims of it.
//!
//! Borsh reads each layout into the same struct: the number of slots, the bytes of a bitmap, the
//! padding of C in front of an eight-byte field, and what is behind the slots are parameters.

use borsh::{BorshDeserialize, BorshSerialize};
use solana_sdk::pubkey::Pubkey;

use super::{AccountError, Layout, read, write};

const NAME: &str = "ChannelState";

/// An epoch in the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The epoch's number; 0 in a slot that was never used.
    pub epoch: u64,
    /// Its root.
    pub root: [u8; 32],
    /// How many claims were paid.
    pub claim_count: u16,
    /// A bit for each index: byte `index / 8`, mask `1 << (index % 8)`.
    pub bitmap: Vec<u8>,
    /// What lies in the padding of the C layouts, kept as it was found.
    padding: [u8; 6],
}

impl Slot {
    /// A slot that holds an epoch with no claim yet.
    #[must_use]
    pub fn new(layout: Layout, epoch: u64, root: [u8; 32]) -> Self {
        Self {
            epoch,
            root,
            claim_count: 0,
            bitmap: vec![0; layout.bitmap_bytes()],
            padding: [0; 6],
        }
    }

    /// Whether an index was claimed; none where the bitmap has no such bit.
    #[must_use]
    pub fn is_claimed(&self, index: u32) -> Option<bool> {
        let byte = self.bitmap.get(usize::try_from(index / 8).ok()?)?;
        Some(byte & (1 << (index % 8)) != 0)
    }
}

/// A channel's account, whatever its layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelState {
    /// The layout.
    pub layout: Layout,
    /// The version of the layout, 1.
    pub version: u8,
    /// The bump of its own address.
    pub bump: u8,
    /// The mint.
    pub mint: Pubkey,
    /// The channel's subject.
    pub subject: [u8; 32],
    /// The newest epoch that was published.
    pub latest: u64,
    /// The slots: an epoch is in slot `epoch % slots`. As many as the layout has.
    pub slots: Vec<Slot>,
    /// A price and its time, behind the slots of packed-9x1024; zero elsewhere.
    pub price: Price,
    /// What lies in the padding of the C layouts, kept as it was found.
    padding: [u8; 6],
}

/// What is behind the slots of packed-9x1024.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Price {
    /// The price.
    pub value: u64,
    /// When it was taken, in Unix seconds.
    pub at: i64,
}

impl ChannelState {
    /// An account without an epoch.
    #[must_use]
    pub fn new(layout: Layout, bump: u8, mint: Pubkey, subject: [u8; 32]) -> Self {
        let slots = (0..layout.slots()).map(|_| Slot::new(layout, 0, [0; 32]));
        Self {
            layout,
            version: 1,
            bump,
            mint,
            subject,
            latest: 0,
            slots: slots.collect(),
            price: Price::default(),
            padding: [0; 6],
        }
    }

    /// Reads the account, in the layout that its size says.
    ///
    /// # Errors
    /// Where the size is of no known layout, or the tag is another's.
    pub fn decode(data: &[u8]) -> Result<Self, AccountError> {
        let layout = Layout::of_size(data.len())?;
        Ok(match layout {
            Layout::Packed10x128 => Raw::<0, 10, 128, ()>::decode(data)?.into_state(layout),
            Layout::C10x128 => Raw::<6, 10, 128, ()>::decode(data)?.into_state(layout),
            Layout::C10x512 => Raw::<6, 10, 512, ()>::decode(data)?.into_state(layout),
            Layout::Packed9x1024 => Raw::<0, 9, 1024, Price>::decode(data)?.into_state(layout),
        })
    }

    /// The account's bytes. What was read comes out again byte for byte.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self.layout {
            Layout::Packed10x128 => write(NAME, &Raw::<0, 10, 128, ()>::of(self)),
            Layout::C10x128 => write(NAME, &Raw::<6, 10, 128, ()>::of(self)),
            Layout::C10x512 => write(NAME, &Raw::<6, 10, 512, ()>::of(self)),
            Layout::Packed9x1024 => write(NAME, &Raw::<0, 9, 1024, Price>::of(self)),
        }
    }

    /// The place of an epoch in the ring.
    #[must_use]
    pub fn place_of(&self, number: u64) -> usize {
        usize::try_from(number % self.layout.slots()).unwrap_or(0)
    }

    /// The slot that an epoch has, whatever it holds; none where the slots were taken out.
    #[must_use]
    pub fn slot_of(&self, number: u64) -> Option<&Slot> {
        self.slots.get(self.place_of(number))
    }

    /// Whether an index of an epoch was claimed; none where the ring does not hold the epoch, or
    /// the bitmap has no such bit.
    #[must_use]
    pub fn is_claimed(&self, number: u64, index: u32) -> Option<bool> {
        let slot = self.slot_of(number)?;
        (slot.epoch == number).then(|| slot.is_claimed(index))?
    }
}

/// What can lie behind the slots.
trait Tail: BorshSerialize + BorshDeserialize + Default {
    fn of(price: Price) -> Self;
    fn price(&self) -> Price;
}

impl Tail for () {
    fn of(_: Price) -> Self {}
    fn price(&self) -> Price {
        Price::default()
    }
}

impl Tail for Price {
    fn of(price: Price) -> Self {
        price
    }
    fn price(&self) -> Price {
        *self
    }
}

#[derive(BorshSerialize, BorshDeserialize)]
struct RawSlot<const PADDING: usize, const BITMAP: usize> {
    epoch: u64,
    root: [u8; 32],
    claim_count: u16,
    padding: [u8; PADDING],
    bitmap: [u8; BITMAP],
}

#[derive(BorshSerialize, BorshDeserialize)]
struct Raw<const PADDING: usize, const SLOTS: usize, const BITMAP: usize, T: Tail> {
    version: u8,
    bump: u8,
    mint: Pubkey,
    subject: [u8; 32],
    padding: [u8; PADDING],
    latest: u64,
    slots: [RawSlot<PADDING, BITMAP>; SLOTS],
    tail: T,
}

impl<const PADDING: usize, const SLOTS: usize, const BITMAP: usize, T: Tail>
    Raw<PADDING, SLOTS, BITMAP, T>
{
    fn decode(data: &[u8]) -> Result<Self, AccountError> {
        read(NAME, data)
    }

    fn into_state(self, layout: Layout) -> ChannelState {
        let slots = self.slots.into_iter().map(|slot| Slot {
            epoch: slot.epoch,
            root: slot.root,
            claim_count: slot.claim_count,
            bitmap: slot.bitmap.to_vec(),
            padding: fit(&slot.padding),
        });
        ChannelState {
            layout,
            version: self.version,
            bump: self.bump,
            mint: self.mint,
            subject: self.subject,
            latest: self.latest,
            slots: slots.collect(),
            price: self.tail.price(),
            padding: fit(&self.padding),
        }
    }

    /// A slot that is missing is written as one that was never used, and what a bitmap has too
    /// much is left out.
    fn of(state: &ChannelState) -> Self {
        Self {
            version: state.version,
            bump: state.bump,
            mint: state.mint,
            subject: state.subject,
            padding: fit(&state.padding),
            latest: state.latest,
            slots: std::array::from_fn(|place| match state.slots.get(place) {
                Some(slot) => RawSlot {
                    epoch: slot.epoch,
                    root: slot.root,
                    claim_count: slot.claim_count,
                    padding: fit(&slot.padding),
                    bitmap: fit(&slot.bitmap),
                },
                None => RawSlot {
                    epoch: 0,
                    root: [0; 32],
                    claim_count: 0,
                    padding: [0; PADDING],
                    bitmap: [0; BITMAP],
                },
            }),
            tail: T::of(state.price),
        }
    }
}

/// As many of the bytes as there is room for, then zeros.
fn fit<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut fitted = [0; N];
    let both = bytes.len().min(N);
    fitted[..both].copy_from_slice(&bytes[..both]);
    fitted
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Bytes that differ at every place, with the right tag.
    fn noise(layout: Layout) -> Vec<u8> {
        let mut data: Vec<u8> = (0..layout.size())
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect();
        data[..8].copy_from_slice(&crate::program::account_tag(NAME));
        data
    }

    #[test]
    fn every_layout_comes_out_byte_for_byte_padding_and_all() {
        for layout in Layout::ALL {
            let data = noise(layout);
            let state = ChannelState::decode(&data).unwrap();
            assert_eq!(state.layout, layout);
            assert_eq!(state.slots.len() as u64, layout.slots());
            assert_eq!(state.encode(), data, "{layout}");
            assert_eq!(layout.as_str().parse(), Ok(layout));
        }
    }

    /// Of each layout: where latest, the second slot and its fields lie.
    #[test]
    fn fields_lie_where_the_formats_say() {
        let number =
            |data: &[u8], at: usize| u64::from_le_bytes(data[at..at + 8].try_into().unwrap());
        for (layout, latest, slots, stride, bitmap) in [
            (Layout::Packed10x128, 74, 82, 170, 42),
            (Layout::C10x128, 80, 88, 176, 48),
            (Layout::C10x512, 80, 88, 560, 48),
            (Layout::Packed9x1024, 74, 82, 1066, 42),
        ] {
            let data = noise(layout);
            let state = ChannelState::decode(&data).unwrap();
            assert_eq!((state.version, state.bump), (data[8], data[9]));
            assert_eq!(state.mint.to_bytes(), data[10..42]);
            assert_eq!(state.subject, data[42..74]);
            assert_eq!(state.latest, number(&data, latest));
            let second = slots + stride;
            assert_eq!(state.slots[1].epoch, number(&data, second));
            assert_eq!(state.slots[1].root, data[second + 8..second + 40]);
            assert_eq!(
                state.slots[1].claim_count.to_le_bytes(),
                data[second + 40..second + 42]
            );
            let bits = second + bitmap..second + bitmap + layout.bitmap_bytes();
            assert_eq!(state.slots[1].bitmap, data[bits]);
        }
        let data = noise(Layout::Packed9x1024);
        let price = ChannelState::decode(&data).unwrap().price;
        assert_eq!(price.value, number(&data, 9676));
        assert_eq!(price.at.to_le_bytes(), data[9684..]);
    }

    #[test]
    fn a_bit_is_known_only_for_an_epoch_that_the_ring_holds() {
        let mut state = ChannelState::new(Layout::Packed10x128, 1, Pubkey::default(), [0; 32]);
        state.slots[3] = Slot::new(Layout::Packed10x128, 13, [7; 32]);
        state.slots[3].bitmap[1] = 0b0000_0100;
        assert_eq!(state.is_claimed(13, 10), Some(true));
        assert_eq!(state.is_claimed(13, 9), Some(false));
        assert_eq!(
            state.is_claimed(3, 10),
            None,
            "another epoch is in its slot"
        );
        assert_eq!(state.is_claimed(13, 1023), Some(false));
        assert_eq!(state.is_claimed(13, 1024), None);
        assert_eq!(state.is_claimed(13, u32::MAX), None);
    }

    #[test]
    fn an_unknown_size_is_refused_by_its_number() {
        for size in [0, 7, 8, 141, 1781, 1783, 5502, 9676, 10_742] {
            let error = ChannelState::decode(&vec![0; size]).unwrap_err();
            assert_eq!(error, AccountError::UnknownSize(size));
            assert!(error.to_string().contains(&size.to_string()), "{error}");
        }
        assert!(matches!(
            ChannelState::decode(&vec![0; 1782]),
            Err(AccountError::Tag { .. })
        ));
    }
}
