//! The network between members: every message is delayed, and may be lost, doubled or overtaken; links may be cut, in
//! one direction or both.
//!
//! It decides the fate of what is sent and carries nothing itself: the world keeps what is in flight.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::dice::Dice;

/// What the weather is like, in thousandths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    /// Not held to the order in which it was sent.
    pub(crate) overtaking: u32,
    /// Much later than the others.
    pub(crate) late: u32,
    pub(crate) delay_min: Duration,
    pub(crate) delay_max: Duration,
}

impl Weather {
    /// A quiet network; `tick` is Raft's.
    pub(crate) fn fair(tick: Duration) -> Self {
        Self {
            lost: 0,
            doubled: 0,
            overtaking: 0,
            late: 0,
            delay_min: tick / 100,
            delay_max: tick / 5,
        }
    }

    /// A network that is never quite well.
    pub(crate) fn breezy(tick: Duration, dice: &mut Dice) -> Self {
        Self {
            lost: dice.between(0, 20) as u32,
            doubled: dice.between(0, 20) as u32,
            overtaking: dice.between(0, 100) as u32,
            late: dice.between(0, 5) as u32,
            ..Self::fair(tick)
        }
    }

    pub(crate) fn rough(tick: Duration, dice: &mut Dice) -> Self {
        Self {
            lost: dice.between(0, 200) as u32,
            doubled: dice.between(0, 50) as u32,
            overtaking: dice.between(0, 300) as u32,
            late: dice.between(0, 50) as u32,
            delay_min: tick / 50,
            delay_max: tick * dice.between(1, 4) as u32,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    /// (from, to) over which nothing passes.
    cut: BTreeSet<(u64, u64)>,
    /// When the last message in order of a link arrives, from the world's beginning.
    last: BTreeMap<(u64, u64), Duration>,
}

impl Network {
    pub(crate) fn new(weather: Weather) -> Self {
        Self { weather, cut: BTreeSet::new(), last: BTreeMap::new() }
    }

    pub(crate) fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    pub(crate) fn mend_all(&mut self) {
        self.cut.clear();
    }

    /// Links over which nothing passes.
    pub(crate) fn cuts(&self) -> impl Iterator<Item = &(u64, u64)> {
        self.cut.iter()
    }

    pub(crate) fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cut.contains(&(from, to))
    }

    /// When copies of a message arrive: none, one or two of them. `now` counts from the world's beginning.
    pub(crate) fn arrivals(
        &mut self,
        from: u64,
        to: u64,
        now: Duration,
        dice: &mut Dice,
    ) -> Vec<Duration> {
        if self.is_cut(from, to) || dice.in_thousand(self.weather.lost) {
            return Vec::new();
        }
        let copies = if dice.in_thousand(self.weather.doubled) { 2 } else { 1 };
        (0..copies).map(|_| self.arrival(from, to, now, dice)).collect()
    }

    /// For what travels on a stream of its own: none if it is lost.
    pub(crate) fn alone(
        &mut self,
        from: u64,
        to: u64,
        now: Duration,
        dice: &mut Dice,
    ) -> Option<Duration> {
        let lost = self.is_cut(from, to) || dice.in_thousand(self.weather.lost);
        (!lost).then(|| now + self.delay(dice))
    }

    fn arrival(&mut self, from: u64, to: u64, now: Duration, dice: &mut Dice) -> Duration {
        let arrival = now + self.delay(dice);
        if dice.in_thousand(self.weather.overtaking) {
            return arrival;
        }
        let last = self.last.entry((from, to)).or_default();
        *last = arrival.max(*last + Duration::from_nanos(1));
        *last
    }

    fn delay(&self, dice: &mut Dice) -> Duration {
        let delay = dice.span(self.weather.delay_min, self.weather.delay_max);
        if dice.in_thousand(self.weather.late) { delay * 20 } else { delay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    #[test]
    fn a_cut_is_one_way_and_fair_weather_keeps_the_order() {
        let (mut net, mut dice) = (Network::new(Weather::fair(TICK)), Dice::new(1));
        net.cut(1, 2);
        assert!(net.arrivals(1, 2, TICK, &mut dice).is_empty());
        assert!(net.alone(1, 2, TICK, &mut dice).is_none());
        let mut last = Duration::ZERO;
        for n in 0..100 {
            let arrivals = net.arrivals(2, 1, TICK + Duration::from_micros(n), &mut dice);
            assert_eq!(arrivals.len(), 1);
            assert!(arrivals[0] > last && arrivals[0] > TICK);
            last = arrivals[0];
        }
        net.mend_all();
        assert_eq!(net.arrivals(1, 2, TICK, &mut dice).len(), 1);
    }

    #[test]
    fn rough_weather_loses_doubles_and_reorders() {
        let mut dice = Dice::new(2);
        let weather = Weather { lost: 300, doubled: 300, overtaking: 500, ..Weather::fair(TICK) };
        let mut net = Network::new(weather);
        let (mut lost, mut doubled, mut overtaken, mut last) = (0, 0, 0, Duration::ZERO);
        for n in 0..1_000 {
            let arrivals = net.arrivals(1, 2, Duration::from_micros(n * 100), &mut dice);
            lost += usize::from(arrivals.is_empty());
            doubled += usize::from(arrivals.len() == 2);
            overtaken += arrivals.iter().filter(|arrival| **arrival < last).count();
            last = arrivals.first().copied().unwrap_or(last);
        }
        assert!(lost > 200 && doubled > 100 && overtaken > 50, "{lost} {doubled} {overtaken}");
    }
}
