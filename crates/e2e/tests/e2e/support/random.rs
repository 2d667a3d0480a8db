//! Random choices that a seed repeats: a test that fails prints its seed.

/// A small generator (xorshift64*): enough to choose moments and names.
pub(crate) struct Random(u64);

impl Random {
    /// The same seed, the same choices.
    pub(crate) fn seeded(seed: u64) -> Self {
        eprintln!("random seed {seed}");
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}
