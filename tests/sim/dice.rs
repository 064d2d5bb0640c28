//! The dice of one world. Everything that could have gone otherwise is drawn from here, in one order, so that a seed
//! is a world.

use std::time::Duration;

/// What dice of their own are thrown for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Mix = 1,
    Fault,
    Operation,
    Tree,
    Users,
}

#[derive(Debug)]
pub(crate) struct Dice(fastrand::Rng);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Dice of their own for one thing of a world: its fault number 3 stays what it is when fault number 2 is left
    /// out.
    pub(crate) fn apart(seed: u64, purpose: Purpose, number: u64) -> Self {
        let mixed = [purpose as u64, number].into_iter().fold(seed, |mixed, next| {
            let mixed = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(next + 1);
            (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        });
        Self::new(mixed)
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

    /// The things with weights of this world's own: some are left out, some come much more often.
    pub(crate) fn swarm<T: Copy>(&mut self, things: &[(u32, T)], left_out: u32) -> Vec<(u32, T)> {
        let mut drawn: Vec<(u32, T)> = things
            .iter()
            .map(|&(weight, thing)| {
                let often = [1, 2, 2, 2, 4, 8][self.0.usize(..6)];
                (if self.in_thousand(left_out) { 0 } else { weight * often }, thing)
            })
            .collect();
        if drawn.iter().all(|(weight, _)| *weight == 0) {
            drawn.clear();
            drawn.extend_from_slice(things);
        }
        drawn
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

    #[test]
    fn dice_apart_differ_by_seed_purpose_and_number() {
        let mut thrown: Vec<u64> = Vec::new();
        for (seed, number) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
            for purpose in [Purpose::Mix, Purpose::Fault, Purpose::Operation] {
                let throw = || Dice::apart(seed, purpose, number).between(0, u64::MAX);
                assert_eq!(throw(), throw());
                thrown.push(throw());
            }
        }
        thrown.sort_unstable();
        thrown.dedup();
        assert_eq!(thrown.len(), 12);
    }

    #[test]
    fn a_swarm_leaves_things_out_and_never_all_of_them() {
        let mut dice = Dice::new(1);
        let things = [(1, 'a'), (3, 'b'), (5, 'c')];
        let (mut left_out, mut often) = (0, 0);
        for _ in 0..100 {
            let drawn = dice.swarm(&things, 300);
            assert!(drawn.iter().any(|(weight, _)| *weight > 0));
            left_out += drawn.iter().filter(|(weight, _)| *weight == 0).count();
            often +=
                drawn.iter().zip(&things).filter(|(mine, usual)| mine.0 >= usual.0 * 4).count();
        }
        assert!(left_out > 40 && often > 40, "{left_out} {often}");
        assert_eq!(dice.swarm(&things, 1_000), things);
    }
}
