//! Reads of the commit index that are under way.
//!
//! A context is never used twice: an answer to an earlier attempt, delayed by the network, could otherwise confirm a
//! later one (etcd #20418). The crate forgets pending reads when term or leader change, and a leader without a commit
//! in its term drops them without a word; so this room reports what is lost, and the engine asks again.

use std::collections::BTreeSet;

use crate::base::{Index, MemberId, Sabotage, Term};

use super::effects::ReadId;
use super::wire::READ_CONTEXT_BYTES;

/// Reads under way; the oldest is given up beyond. One read serves all who wait, so more than a few are those whose
/// messages were lost.
const READS_MAX: usize = 1_024;

#[derive(Debug)]
pub(super) struct Reads {
    member: MemberId,
    nonce: u64,
    counter: u64,
    waiting: BTreeSet<u64>,
    lost: Vec<ReadId>,
    /// Under which leader of which term they were asked.
    asked_of: (Term, u64),
}

impl Reads {
    pub(super) fn new(member: MemberId, nonce: u64) -> Self {
        Self {
            member,
            nonce,
            counter: 0,
            waiting: BTreeSet::new(),
            lost: Vec::new(),
            asked_of: (0, 0),
        }
    }

    /// A new read and its context.
    pub(super) fn ask(&mut self) -> (ReadId, Vec<u8>) {
        self.counter += u64::from(self.counter == 0 || !Sabotage::ReadContextReused.is_on());
        self.waiting.insert(self.counter);
        if self.waiting.len() > READS_MAX
            && let Some(oldest) = self.waiting.pop_first()
        {
            self.lost.push(ReadId(oldest));
        }
        let mut context = Vec::with_capacity(READ_CONTEXT_BYTES);
        for part in [self.member.0, self.nonce, self.counter] {
            context.extend_from_slice(&part.to_be_bytes());
        }
        (ReadId(self.counter), context)
    }

    /// The crate's answer; none if it is not for a read that still waits.
    pub(super) fn answered(&mut self, context: &[u8], index: Index) -> Option<(ReadId, Index)> {
        let context = <[u8; READ_CONTEXT_BYTES]>::try_from(context).ok()?;
        let part = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&context[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        let ours = part(0) == self.member.0 && part(8) == self.nonce;
        let waiting = ours && self.waiting.remove(&part(16));
        waiting.then(|| (ReadId(part(16)), index))
    }

    /// Under another leader or term nothing that was asked before is answered.
    pub(super) fn observe(&mut self, term: Term, leader: u64) {
        if self.asked_of != (term, leader) {
            self.asked_of = (term, leader);
            let waiting = std::mem::take(&mut self.waiting);
            self.lost.extend(waiting.into_iter().map(ReadId));
        }
    }

    pub(super) fn take_lost(&mut self) -> Vec<ReadId> {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_answered_once_and_never_comes_again() {
        let mut reads = Reads::new(MemberId(1), 9);
        reads.observe(2, 1);
        let (first, context) = reads.ask();
        let (second, other) = reads.ask();
        assert_ne!(context, other);
        assert_eq!(reads.answered(&context, 5), Some((first, 5)));
        assert_eq!(reads.answered(&context, 6), None);

        // The leader changes: what waits is lost, and a late answer finds nobody.
        reads.observe(2, 3);
        assert_eq!(reads.take_lost(), [second]);
        assert_eq!(reads.answered(&other, 6), None);

        // Another boot's answer is not ours.
        let mut reborn = Reads::new(MemberId(1), 10);
        reborn.ask();
        assert_eq!(reborn.answered(&context, 5), None);
    }

    #[test]
    fn reads_without_an_answer_do_not_pile_up() {
        let mut reads = Reads::new(MemberId(1), 9);
        let asked: Vec<ReadId> = (0..READS_MAX + 2).map(|_| reads.ask().0).collect();
        assert_eq!(reads.take_lost(), &asked[..2]);
    }
}
