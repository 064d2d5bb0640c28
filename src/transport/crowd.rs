//! A bounded crowd: it lets everybody in, and when it is full shows somebody else out.
//!
//! ```text
//!   enter ──► full? ──► of the holder that has most: its oldest (newest, heaviest) guest is shown out
//! ```
//!
//! A bound that refuses whoever comes last is the wrong one where anybody may come: who fills it keeps everybody else
//! out. Here a flood pushes out its own: of what one origin, or one connection, has brought, the rest of the world sees
//! nothing. Knows nothing of: what is counted (connections, calls, bytes), and what being shown out means.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Which guest of the holder that has most goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Goes {
    /// The one that has been here for longest: who has honest business is soon through.
    Oldest,
    /// The one that weighs most.
    Heaviest,
    /// The newest one; who comes is itself turned away when nobody has more than its holder. Who is served stays.
    Newest,
}

/// See the module. `H` is who is answerable for a guest.
#[derive(Debug)]
pub struct Crowd<H: Ord> {
    state: Mutex<State<H>>,
    weight_max: usize,
    goes: Goes,
}

#[derive(Debug)]
struct State<H: Ord> {
    next: u64,
    weight: usize,
    holders: BTreeMap<H, Holder>,
    /// (weight, holder): the last one has most.
    ranks: BTreeSet<(usize, H)>,
}

#[derive(Debug, Default)]
struct Holder {
    weight: usize,
    guests: BTreeMap<u64, Present>,
}

#[derive(Debug)]
struct Present {
    weight: usize,
    out: Arc<Out>,
}

/// Whether a guest has to go.
#[derive(Debug, Default)]
struct Out {
    is_said: AtomicBool,
    said: Notify,
}

/// There is no room, and nobody has more than who came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full;

/// One guest's place; left when dropped.
#[derive(Debug)]
pub struct Guest<H: Ord + Clone> {
    crowd: Arc<Crowd<H>>,
    holder: H,
    number: u64,
    out: Arc<Out>,
}

impl<H: Ord + Clone> Crowd<H> {
    /// Room for guests of `weight_max` together: 1 each, or their bytes.
    pub fn new(weight_max: usize, goes: Goes) -> Arc<Self> {
        let state = State { next: 0, weight: 0, holders: BTreeMap::new(), ranks: BTreeSet::new() };
        Arc::new(Self { state: Mutex::new(state), weight_max, goes })
    }

    /// Takes a place, for which others may have to go.
    pub fn enter(self: &Arc<Self>, holder: H, weight: usize) -> Result<Guest<H>, Full> {
        let mut state = self.lock();
        let of_holder = state.holders.get(&holder).map_or(0, |it| it.weight) + weight;
        while self.goes == Goes::Newest && state.weight + weight > self.weight_max {
            let most = state.ranks.last().map_or(0, |&(most, _)| most);
            if most <= of_holder || !state.show_out(self.goes, None) {
                return Err(Full);
            }
        }
        let number = state.next;
        state.next += 1;
        let out = Arc::new(Out::default());
        state.change(&holder, weight, 0);
        let guests = &mut state.holders.entry(holder.clone()).or_default().guests;
        guests.insert(number, Present { weight, out: Arc::clone(&out) });
        self.make_room(&mut state, Some(number));
        drop(state);
        Ok(Guest { crowd: Arc::clone(self), holder, number, out })
    }

    /// What everybody here weighs.
    pub fn weight(&self) -> usize {
        self.lock().weight
    }

    /// Whether more than half of the room is taken.
    pub fn is_crowded(&self) -> bool {
        self.weight() > self.weight_max / 2
    }

    fn make_room(&self, state: &mut State<H>, spared: Option<u64>) {
        while state.weight > self.weight_max && state.show_out(self.goes, spared) {}
    }

    fn lock(&self) -> MutexGuard<'_, State<H>> {
        // Counts and guests are changed together, by code that does not panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<H: Ord + Clone> State<H> {
    /// One guest of the holder that has most; false when there is none but `spared`.
    fn show_out(&mut self, goes: Goes, spared: Option<u64>) -> bool {
        let ranked = self.ranks.iter().rev().find_map(|(_, holder)| {
            let guests = &self.holders.get(holder)?.guests;
            let mut there = guests.iter().filter(|&(&number, _)| Some(number) != spared);
            let (&number, _) = match goes {
                Goes::Oldest => there.next(),
                Goes::Heaviest => there.max_by_key(|(_, guest)| guest.weight),
                Goes::Newest => there.next_back(),
            }?;
            Some((holder.clone(), number))
        });
        let Some((holder, number)) = ranked else { return false };
        if let Some(gone) = self.remove(&holder, number) {
            gone.out.is_said.store(true, Ordering::Release);
            gone.out.said.notify_one();
        }
        true
    }

    fn remove(&mut self, holder: &H, number: u64) -> Option<Present> {
        let gone = self.holders.get_mut(holder)?.guests.remove(&number)?;
        self.change(holder, 0, gone.weight);
        Some(gone)
    }

    /// The holder's weight, and everything that follows from it.
    fn change(&mut self, holder: &H, more: usize, less: usize) {
        let of = self.holders.entry(holder.clone()).or_default();
        self.ranks.remove(&(of.weight, holder.clone()));
        of.weight = (of.weight + more).saturating_sub(less);
        self.weight = (self.weight + more).saturating_sub(less);
        let weight = of.weight;
        if weight > 0 || !of.guests.is_empty() {
            self.ranks.insert((weight, holder.clone()));
        } else if more == 0 {
            self.holders.remove(holder);
        }
    }
}

impl<H: Ord + Clone> Guest<H> {
    /// Waits until this guest has to go, for which its place is free already.
    pub async fn shown_out(&self) {
        while !self.is_out() {
            // Said between the look and this line, it is kept: nobody else waits here.
            self.out.said.notified().await;
        }
    }

    pub fn is_out(&self) -> bool {
        self.out.is_said.load(Ordering::Acquire)
    }

    /// It weighs more now; others, or it itself, may have to go for that.
    pub fn grow(&self, weight: usize) {
        let mut state = self.crowd.lock();
        let Some(it) =
            state.holders.get_mut(&self.holder).and_then(|it| it.guests.get_mut(&self.number))
        else {
            return;
        };
        it.weight += weight;
        state.change(&self.holder, weight, 0);
        self.crowd.make_room(&mut state, None);
    }

    /// And less.
    pub fn shrink(&self, weight: usize) {
        let mut state = self.crowd.lock();
        let Some(it) =
            state.holders.get_mut(&self.holder).and_then(|it| it.guests.get_mut(&self.number))
        else {
            return;
        };
        let less = weight.min(it.weight);
        it.weight -= less;
        state.change(&self.holder, 0, less);
    }
}

impl<H: Ord + Clone> Drop for Guest<H> {
    fn drop(&mut self) {
        self.crowd.lock().remove(&self.holder, self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_brought_most_loses_its_oldest() {
        let crowd = Crowd::new(3, Goes::Oldest);
        let first = crowd.enter(1, 1).unwrap();
        let second = crowd.enter(1, 1).unwrap();
        let other = crowd.enter(2, 1).unwrap();
        let third = crowd.enter(3, 1).unwrap();
        assert!(first.is_out() && !second.is_out());
        assert!(!other.is_out() && !third.is_out());
        // What was shown out has no place to give back.
        drop(first);
        assert_eq!(crowd.weight(), 3);
        drop((second, other, third));
        assert_eq!(crowd.weight(), 0);
        assert!(crowd.lock().holders.is_empty() && crowd.lock().ranks.is_empty());
    }

    #[test]
    fn who_is_served_stays_where_the_newest_goes() {
        let crowd = Crowd::new(3, Goes::Newest);
        let many = [(); 3].map(|()| crowd.enter(1, 1).unwrap());
        assert_eq!(crowd.enter(1, 1).err(), Some(Full));
        let other = crowd.enter(2, 1).unwrap();
        assert!(many[2].is_out() && !many[1].is_out() && !many[0].is_out());
        // Two have one place and two: one more of the second's would only turn it around.
        assert_eq!(crowd.enter(2, 1).err(), Some(Full));
        assert!(!other.is_out());
        assert_eq!(crowd.weight(), 3);
    }

    #[test]
    fn bytes_count_as_they_grow() {
        let crowd = Crowd::new(100, Goes::Oldest);
        let small = crowd.enter(1, 0).unwrap();
        let large = crowd.enter(2, 0).unwrap();
        small.grow(30);
        large.grow(60);
        assert_eq!((crowd.weight(), crowd.is_crowded()), (90, true));
        large.shrink(20);
        large.grow(31);
        assert!(large.is_out() && !small.is_out());
        // It is gone, and holds nothing.
        large.grow(1_000);
        assert_eq!((crowd.weight(), crowd.is_crowded()), (30, false));
        small.shrink(1_000);
        assert_eq!(crowd.weight(), 0);
    }

    #[test]
    fn of_one_holder_the_heaviest_goes() {
        let crowd = Crowd::new(100, Goes::Heaviest);
        let [small, large, other] =
            [(1, 0), (1, 0), (2, 0)].map(|(holder, weight)| crowd.enter(holder, weight).unwrap());
        small.grow(1);
        large.grow(50);
        other.grow(50);
        assert!(large.is_out() && !small.is_out() && !other.is_out());
        assert_eq!(crowd.weight(), 51);
    }

    #[test]
    fn one_that_is_too_large_alone_comes_in_alone() {
        let crowd = Crowd::new(10, Goes::Oldest);
        let small = crowd.enter(1, 5).unwrap();
        let huge = crowd.enter(2, 50).unwrap();
        assert!(small.is_out() && !huge.is_out());
    }
}
