//! The term of every entry of a log, in runs: a log of millions of entries has few terms.

use std::collections::VecDeque;

use crate::base::{Index, Term};

/// Terms of the entries `base + 1 ..= last`, and of the entry before them.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    base: (Index, Term),
    last: Index,
    /// First index of each run, ascending, all behind the base.
    runs: VecDeque<(Index, Term)>,
}

impl Terms {
    pub(super) fn new(index: Index, term: Term) -> Self {
        Self { base: (index, term), last: index, runs: VecDeque::new() }
    }

    /// The entry that the log starts after.
    pub(super) fn base(&self) -> (Index, Term) {
        self.base
    }

    pub(super) fn last(&self) -> (Index, Term) {
        (self.last, self.runs.back().map_or(self.base.1, |run| run.1))
    }

    pub(super) fn term(&self, index: Index) -> Option<Term> {
        if index < self.base.0 || index > self.last {
            return None;
        }
        let run = self.runs.partition_point(|run| run.0 <= index);
        Some(if run == 0 { self.base.1 } else { self.runs[run - 1].1 })
    }

    /// The entry behind the last one.
    pub(super) fn push(&mut self, term: Term) {
        self.last += 1;
        if self.runs.back().is_none_or(|run| run.1 != term) {
            self.runs.push_back((self.last, term));
        }
    }

    /// Drops the entries from `from` on; the base stays.
    pub(super) fn truncate(&mut self, from: Index) {
        self.last = self.last.min(from.saturating_sub(1)).max(self.base.0);
        while self.runs.back().is_some_and(|run| run.0 > self.last) {
            self.runs.pop_back();
        }
    }

    /// Drops the entries up to `to`, which becomes the base.
    pub(super) fn trim(&mut self, to: Index) {
        let to = to.min(self.last);
        let Some(term) = self.term(to).filter(|_| to > self.base.0) else { return };
        self.base = (to, term);
        while self.runs.get(1).is_some_and(|next| next.0 <= to + 1) {
            self.runs.pop_front();
        }
        if let Some(run) = self.runs.front_mut()
            && run.0 <= to
        {
            run.0 = to + 1;
        }
        if self.last == to {
            self.runs.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_say_what_a_plain_list_says() {
        let mut dice = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let mut terms = Terms::new(10, 1);
            let mut plain = vec![1]; // of the entries from `base` on
            let mut base = 10;
            for _ in 0..100 {
                let last = base + plain.len() as u64 - 1;
                match dice.u32(..10) {
                    0 => {
                        let from = dice.u64(base + 1..=last + 1);
                        terms.truncate(from);
                        plain.truncate((from - base) as usize);
                    }
                    1 => {
                        let to = dice.u64(base..=last);
                        terms.trim(to);
                        plain.drain(..(to - base) as usize);
                        base = to;
                    }
                    _ => {
                        let term = plain.last().unwrap() + u64::from(dice.u32(..4) == 0);
                        terms.push(term);
                        plain.push(term);
                    }
                }
                let last = base + plain.len() as u64 - 1;
                assert_eq!(terms.base(), (base, plain[0]));
                assert_eq!(terms.last(), (last, *plain.last().unwrap()));
                for (index, term) in (base..).zip(&plain) {
                    assert_eq!(terms.term(index), Some(*term), "{index} of {base}..={last}");
                }
                assert_eq!(terms.term(base - 1), None);
                assert_eq!(terms.term(last + 1), None);
            }
        }
    }
}
