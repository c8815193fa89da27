//! Writing numbers and ids, and drawing them.

use rand::Rng;

/// A number below `bound`, by multiplication: the same on every platform, and fair enough for
/// bounds far below 2⁶⁴.
pub(crate) fn below(rng: &mut impl Rng, bound: u64) -> u64 {
    scale(rng.next_u64(), bound)
}

pub(crate) fn pick(rng: &mut impl Rng, len: usize) -> usize {
    usize::try_from(below(rng, len as u64)).unwrap_or(0)
}

/// Brings a number of 64 random bits below a bound.
pub(crate) fn scale(bits: u64, bound: u64) -> u64 {
    u64::try_from((u128::from(bits) * u128::from(bound)) >> 64).unwrap_or(0)
}

/// A random id of a message.
pub(crate) fn id(rng: &mut impl Rng) -> u128 {
    u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())
}

/// Appends text, numbers and ids to a line.
pub(crate) trait Pen {
    fn text(&mut self, text: &str) -> &mut Self;
    fn number(&mut self, number: u64) -> &mut Self;
    /// With leading zeros up to `width` digits, at most 20.
    fn padded(&mut self, number: u64, width: usize) -> &mut Self;
    /// The last `digits` hexadecimal digits.
    fn hex(&mut self, bits: u128, digits: u32) -> &mut Self;
    /// As a version 4 UUID.
    fn uuid(&mut self, bits: u128) -> &mut Self;
}

impl Pen for Vec<u8> {
    fn text(&mut self, text: &str) -> &mut Self {
        self.extend_from_slice(text.as_bytes());
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.padded(number, 1)
    }

    fn padded(&mut self, mut number: u64, width: usize) -> &mut Self {
        let mut digits = [b'0'; 20];
        let mut at = digits.len();
        while number > 0 {
            at -= 1;
            digits[at] = b'0' + (number % 10).to_le_bytes()[0];
            number /= 10;
        }
        let at = at.min(digits.len().saturating_sub(width));
        self.extend_from_slice(&digits[at..]);
        self
    }

    fn hex(&mut self, bits: u128, digits: u32) -> &mut Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |n: u32| DIGITS[usize::from((bits >> (4 * n)).to_le_bytes()[0] & 15)];
        self.extend((0..digits).rev().map(digit));
        self
    }

    fn uuid(&mut self, bits: u128) -> &mut Self {
        let bits = bits & !(0xf << 76) | 4 << 76;
        let bits = bits & !(3 << 62) | 2 << 62;
        self.hex(bits >> 96, 8).text("-");
        self.hex(bits >> 80, 4).text("-");
        self.hex(bits >> 64, 4).text("-");
        self.hex(bits >> 48, 4).text("-");
        self.hex(bits, 12)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_written_in_decimal_with_leading_zeros() {
        assert_eq!(written(|out| _ = out.number(0)), "0");
        assert_eq!(
            written(|out| _ = out.number(u64::MAX)),
            u64::MAX.to_string()
        );
        assert_eq!(written(|out| _ = out.padded(42, 6)), "000042");
        assert_eq!(written(|out| _ = out.padded(1_234_567, 6)), "1234567");
    }

    #[test]
    fn ids_are_version_4_uuids() {
        let uuid = written(|out| _ = out.uuid(u128::MAX));
        assert_eq!(uuid, "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let uuid = written(|out| _ = out.uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(uuid, "01234567-89ab-4def-8123-456789abcdef");
    }

    #[test]
    fn a_number_is_brought_below_its_bound() {
        assert_eq!(
            (scale(0, 7), scale(u64::MAX, 7), scale(1 << 63, 8)),
            (0, 6, 4)
        );
    }
}
