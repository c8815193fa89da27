//! CRC-32 from the end to the begin.
//!
//! From the checksum that stands behind a text, and the text, each byte taken off gives the state
//! before it. Where that is the state with which a checksum begins, the checksum covers what stands
//! from there on. So one pass finds every begin at which a text with this checksum may start; trying
//! each by itself would take hours for one line of the longest that a reader takes.

/// The polynomial of CRC-32, its bits in reverse.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// With what a checksum begins and is inverted at its end.
const ALL_ONES: u32 = u32::MAX;

/// What a byte changes, by what of the state meets it.
const CHANGES: [u32; 256] = changes();

/// What of the state met the byte, by the highest byte of the change. No two changes share it.
const MET: [u8; 256] = met();

const fn changes() -> [u32; 256] {
    let mut table = [0; 256];
    let mut at = 0u32;
    while at < 256 {
        let (mut change, mut bit) = (at, 0);
        while bit < 8 {
            change = (change >> 1) ^ ((change & 1) * POLYNOMIAL);
            bit += 1;
        }
        table[at as usize] = change;
        at += 1;
    }
    table
}

const fn met() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0u8;
    loop {
        table[(CHANGES[at as usize] >> 24) as usize] = at;
        if at == u8::MAX {
            return table;
        }
        at += 1;
    }
}

/// Where texts begin that end with these bytes and have this checksum; the last begin first.
pub(crate) fn begins_of(bytes: &[u8], checksum: u32) -> impl Iterator<Item = usize> + '_ {
    let mut state = checksum ^ ALL_ONES;
    let backwards = bytes.iter().enumerate().rev();
    backwards.filter_map(move |(at, &byte)| {
        let met = MET[(state >> 24) as usize];
        state = ((state ^ CHANGES[usize::from(met)]) << 8) | u32::from(met ^ byte);
        (state == ALL_ONES).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_found_at_its_begin_and_at_no_other() {
        let bytes: Vec<u8> = (0..=255u8).rev().cycle().take(700).collect();
        for begin in 0..bytes.len() {
            let checksum = crc32fast::hash(&bytes[begin..]);
            let found: Vec<usize> = begins_of(&bytes, checksum).collect();
            assert_eq!(found, [begin]);
            assert_eq!(begins_of(&bytes, checksum ^ 1).next(), None);
        }
    }
}
