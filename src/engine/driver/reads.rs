//! Linearizable reads: one ReadIndex round is shared by all who wait, and no context is ever used twice.

use std::sync::atomic::Ordering;

use super::Driver;
use crate::base::{Index, Moment};
use crate::consensus::ReadId;
use crate::engine::Error;
use crate::engine::shared::ReadDone;

/// Readers before and in a round.
#[derive(Default)]
pub(super) struct Reads {
    waiting: Vec<(Moment, ReadDone)>,
    round: Option<Round>,
}

struct Round {
    id: ReadId,
    began: Moment,
    readers: Vec<(Moment, ReadDone)>,
}

impl Reads {
    pub(super) fn ask(&mut self, deadline: Moment, done: ReadDone) {
        self.waiting.push((deadline, done));
    }

    /// The answer of the round in flight will not come, or may not be believed: its readers wait for the next.
    pub(super) fn start_over(&mut self) {
        if let Some(round) = self.round.take() {
            self.waiting.extend(round.readers);
        }
    }

    /// Its answer will not come: as `start_over`.
    pub(super) fn lost(&mut self, id: ReadId) {
        if self.round.as_ref().is_some_and(|round| round.id == id) {
            self.start_over();
        }
    }

    /// How many were given up.
    fn expire(&mut self, now: Moment) -> u64 {
        let mut index = 0;
        let mut expired = 0;
        while index < self.waiting.len() {
            if self.waiting[index].0 <= now {
                let (_, done) = self.waiting.swap_remove(index);
                done(Err(Error::NotProposedInTime));
                expired += 1;
            } else {
                index += 1;
            }
        }
        expired
    }
}

impl Driver {
    pub(super) fn start_reads(&mut self, now: Moment) {
        let retry = self.shared.config.read_retry;
        if self.reads.round.as_ref().is_some_and(|round| now.since(round.began) >= retry) {
            self.reads.start_over();
            self.shared.meters.slow_reads.increment();
        }
        if self.reads.waiting.is_empty() {
            return;
        }
        self.shared.meters.failed_reads.add(self.reads.expire(now));
        if self.reads.round.is_some() || self.reads.waiting.is_empty() {
            return;
        }
        // Without a leader, or before the leader has committed in its term, there is nothing to ask yet: the next
        // turn tries again.
        if let Ok(id) = self.core.read() {
            let readers = std::mem::take(&mut self.reads.waiting);
            self.reads.round = Some(Round { id, began: now, readers });
        }
    }

    pub(super) fn read_confirmed(&mut self, id: ReadId, index: Index) {
        if self.reads.round.as_ref().is_none_or(|round| round.id != id) {
            return;
        }
        if let Some(round) = self.reads.round.take() {
            // Who answered still followed this leader when the round began, or later.
            self.shared.confirmed_at.store(round.began.0 + 1, Ordering::Release);
            let readers = round.readers.into_iter().map(|(_, done)| done).collect();
            self.shared.read_at(index, readers);
        }
    }
}
