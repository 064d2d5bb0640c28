//! The dice of one world. Everything that could have gone otherwise is drawn from here, in one order, so that a seed
//! is a world.

use std::time::Duration;

#[derive(Debug)]
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// True in `n` of a thousand throws.
    pub(crate) fn in_thousand(&mut self, n: u32) -> bool {
        self.0.u32(..1_000) < n
    }

    /// From `low` up to and with `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0.u64(low..=high)
    }

    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0.usize(..count)
    }

    pub(crate) fn span(&mut self, low: Duration, high: Duration) -> Duration {
        let (low, high) = (low.as_nanos() as u64, high.as_nanos() as u64);
        Duration::from_nanos(self.0.u64(low..=high.max(low)))
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        if items.is_empty() { None } else { Some(&items[self.0.usize(..items.len())]) }
    }

    /// One of the things, each as often as its weight says.
    pub(crate) fn weighted<T: Copy>(&mut self, things: &[(u32, T)]) -> T {
        let whole = things.iter().map(|(weight, _)| *weight).sum::<u32>();
        let mut throw = self.0.u32(..whole);
        for &(weight, thing) in things {
            if throw < weight {
                return thing;
            }
            throw -= weight;
        }
        unreachable!("a throw lies below the sum of the weights")
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        self.0.shuffle(items);
    }

    /// For what draws by itself (a crash of a disk), in its place in the order.
    pub(crate) fn raw(&mut self) -> &mut fastrand::Rng {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_dice() {
        let throw = |seed| {
            let mut dice = Dice::new(seed);
            let picked = dice.weighted(&[(1, 'a'), (0, 'b'), (9, 'c')]);
            assert_ne!(picked, 'b');
            (picked, dice.between(3, 900), dice.in_thousand(500), dice.below(77))
        };
        assert_eq!(throw(5), throw(5));
        assert_ne!(throw(5), throw(6));
    }
}
