//! Reproducible random numbers. Each operation has a separate sequence, so that scheduling does not change it.

/// The SplitMix64 generator, <https://prng.di.unimi.it/splitmix64.c>, whose sequences for adjacent seeds are unrelated.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates the sequence of one operation.
    #[must_use]
    pub fn new(seed: u64, operation: u64) -> Self {
        let mut seeded = Self(seed);
        Self(seeded.next() ^ operation.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Returns a number from 0 to `bound` − 1; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The modulo bias is negligible for the bounds used here.
        self.next() % bound.max(1)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn a_sequence_is_repeatable_and_even() {
        let mut counts = [0_u32; 10];
        for operation in 0..10_000 {
            let number = Random::new(1, operation).below(10);
            assert_eq!(number, Random::new(1, operation).below(10));
            counts[number as usize] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
        let sequence =
            |seed| (0..64).map(|operation| Random::new(seed, operation).below(1000)).collect::<Vec<_>>();
        assert_ne!(sequence(1), sequence(2));
    }
}
