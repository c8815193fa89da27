//! Mutations of inputs, by a seed.

/// Makes inputs from others: bits and bytes changed, stretches taken out, doubled or moved from one
/// to another, words put in.
pub(crate) struct Mutations {
    state: u64,
    inputs: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

/// An input is cut to this length: what is long is slow, and not stranger.
const MOST_BYTES: usize = 16 << 10;

impl Mutations {
    pub(crate) fn new(seed: u64, inputs: Vec<Vec<u8>>, words: Vec<Vec<u8>>) -> Self {
        Self {
            state: seed,
            inputs,
            words,
        }
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where there is none.
    fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap().max(1);
        usize::try_from(self.random() % bound).unwrap()
    }

    /// A stretch of so many bytes, short ones more often.
    fn stretch(&mut self, length: usize) -> std::ops::Range<usize> {
        let begin = self.below(length + 1);
        let most = (length - begin).min(1 << self.below(10));
        begin..begin + self.below(most + 1)
    }

    pub(crate) fn make(&mut self) -> Vec<u8> {
        let which = self.below(self.inputs.len());
        let mut input = self.inputs[which].clone();
        for _ in 0..=self.below(4) {
            self.mutate(&mut input);
        }
        input.truncate(MOST_BYTES);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len());
        match self.below(8) {
            0 if !input.is_empty() => input[at] ^= 1 << self.below(8),
            1 if !input.is_empty() => input[at] = self.random().to_le_bytes()[0],
            2 => drop(input.drain(self.stretch(input.len()))),
            3 => {
                let doubled = input[self.stretch(input.len())].to_vec();
                input.splice(at..at, doubled);
            }
            4 => input.truncate(at),
            5 => {
                let which = self.below(self.inputs.len());
                let other = self.inputs[which].clone();
                let (from, into) = (self.stretch(other.len()), self.stretch(input.len()));
                input.splice(into, other[from].iter().copied());
            }
            6 => {
                let which = self.below(self.inputs.len());
                let other = self.inputs[which].clone();
                input.truncate(at);
                input.extend_from_slice(&other[self.below(other.len())..]);
            }
            _ => {
                let which = self.below(self.words.len());
                let word = self.words[which].clone();
                let over = at..input.len().min(at + self.below(2) * word.len());
                input.splice(over, word);
            }
        }
    }
}
