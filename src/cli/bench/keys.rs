//! Keys of equal length, chosen in order or by dice; pure.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

/// The keys of one run: a prefix and a number, filled up with zeros.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub prefix: String,
    pub count: u64,
    /// Length of each.
    pub bytes: usize,
    pub sequential: bool,
}

impl Keys {
    pub(super) fn key(&self, number: u64) -> Bytes {
        let width = self.bytes - self.prefix.len();
        format!("{}{number:0width$}", self.prefix).into()
    }

    /// The number of the next key: in order over all callers, or at random.
    pub(super) fn pick(&self, order: &AtomicU64, dice: &mut Dice) -> u64 {
        let number =
            if self.sequential { order.fetch_add(1, Ordering::Relaxed) } else { dice.roll() };
        number % self.count
    }
}

/// A value of `bytes` bytes that does not compress.
pub(super) fn value(bytes: usize) -> Bytes {
    let mut dice = Dice::new(bytes as u64);
    (0..bytes).map(|_| dice.roll().to_be_bytes()[0]).collect()
}

/// SplitMix64: enough to spread keys, with a seed so that two systems are asked for the same ones.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_one_length_and_come_in_the_order_asked_for() {
        let mut keys = Keys { prefix: "b/".to_owned(), count: 3, bytes: 6, sequential: true };
        assert_eq!(keys.key(2), "b/0002");
        let (order, mut dice) = (AtomicU64::new(0), Dice::new(1));
        let picked: Vec<u64> = (0..4).map(|_| keys.pick(&order, &mut dice)).collect();
        assert_eq!(picked, [0, 1, 2, 0]);
        keys.sequential = false;
        let mut seen = [false; 3];
        for _ in 0..100 {
            seen[keys.pick(&order, &mut dice) as usize] = true;
        }
        assert_eq!(seen, [true; 3]);
    }
}
