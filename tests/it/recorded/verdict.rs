//! From notes and the committed log to a history that the judge understands, and its verdict.
//!
//! ```text
//!   note       invoked a    invoked b    returned b (index 3)    returned a (index 2)
//!   history    invoked a    2            invoked b    3          returned b    returned a
//! ```
//!
//! Every command of the recorder's clients is unique in its bytes, so its entry is found by them. An entry stands as
//! early as it may: right behind the invocations of all commands up to it. That is generous, and in nothing that the
//! judge looks at: it takes the order from the log and times from the clients. Only a leader's expiry of leases is no
//! client's: its moment is the latest that it can have been, right before somebody was told something that follows.

use std::collections::BTreeMap;

use quorate::base::{MemberId, Moment, RequestId};
use quorate::engine::Applied;
use quorate::state::Rejection;
use quorate::storage::Entry;

use super::committed::{Committed, Found};
use super::recorder::{Answer, Note, Told};
use super::tally::Tally;
use super::{hearing, truth};
use crate::history::{History, Outcome, Step};
use crate::violation::Violation;
use crate::workload::Op;

/// Thousandths by which clocks of one machine may differ.
const CLOCK_SLACK: u32 = 1;

/// Judges notes whose last acknowledged command came after everything else that was told, by the members' logs.
pub(crate) fn judge(notes: &[(Moment, Note)], logs: &[Vec<Entry>]) -> Result<Tally, Violation> {
    let log = Committed::of(notes, logs)?;
    truth::agree(logs, log.last())?;
    let (history, tally) = Placing::new(notes, &log)?.history();
    history.judge().map(|()| tally)
}

/// Puts the entries between the notes.
struct Placing<'a> {
    notes: &'a [(Moment, Note)],
    log: &'a Committed<'a>,
    found: BTreeMap<u64, (&'a Op, Option<Found>)>,
    /// For each entry: how many notes stand before it.
    places: Vec<usize>,
    /// For each entry: the latest moment at which it can have been committed.
    latest: Vec<Moment>,
}

impl<'a> Placing<'a> {
    fn new(notes: &'a [(Moment, Note)], log: &'a Committed<'a>) -> Result<Self, Violation> {
        let mut found = BTreeMap::new();
        let mut places = vec![0; log.entries.len()];
        for (at, (_, note)) in notes.iter().enumerate() {
            let Note::Invoked { operation, op } = note else { continue };
            let entry = log.find(op);
            if let Some(entry) = entry {
                places[(entry.index - 2) as usize] = at + 1;
            }
            if found.insert(*operation, (op, entry)).is_some() {
                return Err(Violation::new("history", format!("{operation} began twice")));
            }
        }
        let mut before = 0;
        for place in &mut places {
            before = before.max(*place);
            *place = before;
        }
        let mut placing = Self { notes, log, found, places, latest: Vec::new() };
        placing.latest = placing.latest();
        Ok(placing)
    }

    fn latest(&self) -> Vec<Moment> {
        let end = self.notes.last().map_or(Moment::ZERO, |note| note.0);
        let mut latest = vec![end; self.log.entries.len()];
        for (now, note) in self.notes {
            if let Some(at) = self.needs(note)
                && let Some(latest) = latest.get_mut(at)
            {
                *latest = (*latest).min(*now);
            }
        }
        let mut after = end;
        for latest in latest.iter_mut().rev() {
            after = after.min(*latest);
            *latest = after;
        }
        latest
    }

    /// The place of the last entry that must have been there for somebody to be told this.
    fn needs(&self, note: &Note) -> Option<usize> {
        let revision = match note {
            Note::Returned { operation, answer: Answer::Reply { .. } } => {
                let found = self.found.get(operation)?.1?;
                return Some((found.index - 2) as usize);
            }
            Note::Returned { answer, .. } => told_by(answer)?,
            Note::Heard { told, .. } => hearing::revision(told),
            Note::Invoked { .. } | Note::Watched { .. } => return None,
        };
        Some(self.log.maker_of(revision))
    }

    fn history(&self) -> (History, Tally) {
        let mut tally = Tally {
            entries: self.log.entries.len(),
            revision: self.log.checker.model.revision,
            expired_leases: self.log.expiries[..self.log.entries.len()]
                .iter()
                .filter(|is_expiry| **is_expiry)
                .count(),
            ..Tally::default()
        };
        // Watchers end when they have heard the last revision that matters, and have said so.
        let mut history =
            History { ends_in_peace: false, clock_slack: CLOCK_SLACK, ..History::default() };
        let mut listeners = BTreeMap::new();
        let (mut next, mut known) = (0, 1);
        for at in 0..=self.notes.len() {
            while self.places.get(next).is_some_and(|place| *place <= at) {
                let moment = self.latest[next];
                history.push(moment, Step::Committed(self.log.entries[next].clone()));
                next += 1;
            }
            let Some((now, note)) = self.notes.get(at) else { break };
            known = known.max(match note {
                Note::Returned { answer, .. } => told_by(answer).unwrap_or(0),
                Note::Heard { told, .. } => hearing::revision(told),
                Note::Invoked { .. } | Note::Watched { .. } => 0,
            });
            self.step(&mut history, *now, note, known, &mut listeners, &mut tally);
        }
        (history, tally)
    }

    fn step(
        &self,
        history: &mut History,
        now: Moment,
        note: &Note,
        known: i64,
        listeners: &mut BTreeMap<u64, bool>,
        tally: &mut Tally,
    ) {
        let step = match note {
            Note::Invoked { operation, op } => {
                let found = self.log.find(op).map(|found| found.request);
                let is_command = matches!(op, Op::Command(_));
                let request = is_command.then(|| found.unwrap_or_else(|| nowhere(*operation)));
                Step::Invoked { operation: *operation, request, op: op.clone() }
            }
            Note::Returned { operation, answer } => {
                let Some((op, found)) = self.found.get(operation) else { return };
                let outcome = outcome(op, answer, *found, known, tally);
                Step::Returned { operation: *operation, outcome }
            }
            Note::Watched { client, spec } => {
                listeners.insert(*client, spec.prev_kv);
                Step::Watched { client: *client, spec: spec.clone() }
            }
            Note::Heard { client, told } => {
                if let Told::Events(events) = told {
                    tally.watch_events += events.len();
                }
                let wants_previous = listeners.get(client).copied().unwrap_or(false);
                let model = &self.log.checker.model;
                let deliveries = hearing::deliveries(told, wants_previous, model);
                Step::Heard { client: *client, deliveries }
            }
        };
        history.push(now, step);
    }
}

/// The name of a command that never entered the log.
fn nowhere(operation: u64) -> RequestId {
    RequestId { member: MemberId(u64::MAX), nonce: 0, counter: operation }
}

/// The revision that an answer shows.
fn told_by(answer: &Answer) -> Option<i64> {
    let header = match answer {
        Answer::Reply { revision, .. } => return Some(*revision),
        Answer::Range(range) => &range.header,
        Answer::Txn(txn) => &txn.header,
        _ => return None,
    };
    header.as_ref().map(|header| header.revision)
}

/// `known` is a revision that the member that refused a read may have had.
fn outcome(
    op: &Op,
    answer: &Answer,
    found: Option<Found>,
    known: i64,
    tally: &mut Tally,
) -> Outcome {
    match answer {
        Answer::Reply { reply, revision } => {
            tally.acknowledged += 1;
            // Who was acknowledged and is nowhere is looked for where nobody is.
            let (index, term) = found.map_or((u64::MAX, 0), |found| (found.index, found.term));
            Outcome::Applied(Applied { reply: reply.clone(), revision: *revision, index, term })
        }
        Answer::Range(range) => {
            tally.reads += 1;
            let revision = told_by(answer).unwrap_or(0);
            Outcome::Range { revision, result: Ok(range.clone()) }
        }
        Answer::Txn(txn) => {
            tally.reads += 1;
            let revision = told_by(answer).unwrap_or(0);
            Outcome::Txn { revision, result: Ok(txn.clone()) }
        }
        Answer::KeptAlive { ttl_s, term } => Outcome::KeptAlive { ttl_s: *ttl_s, term: *term },
        Answer::Rejected(rejection) => {
            tally.rejected += 1;
            match op {
                // The quota refuses before the log, too.
                Op::Command(_) if found.is_none() && *rejection == Rejection::NoSpace => {
                    Outcome::NotProposed
                }
                Op::Command(_) => Outcome::Rejected(*rejection),
                Op::Range(_) if *rejection == Rejection::Compacted => {
                    Outcome::Range { revision: known, result: Err(*rejection) }
                }
                _ => Outcome::Ambiguous,
            }
        }
        Answer::NotProposed => {
            tally.not_proposed += 1;
            Outcome::NotProposed
        }
        Answer::Ambiguous => {
            tally.ambiguous += 1;
            tally.settled_as_done += usize::from(found.is_some());
            Outcome::Ambiguous
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate::base::KeyRange;
    use quorate::proto::etcdserverpb::{
        LeaseGrantRequest, LeaseGrantResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse, ResponseHeader,
    };
    use quorate::proto::mvccpb;
    use quorate::proto::quorate::log::LeaseRevoke;
    use quorate::state::{Command, Envelope, Reply, encode};
    use quorate::storage::EntryKind;
    use quorate::watch::Spec;

    use super::*;

    const TERM: u64 = 2;

    /// Notes and a log, made by hand.
    #[derive(Default)]
    struct Script {
        notes: Vec<(Moment, Note)>,
        log: Vec<Entry>,
        now_ms: u64,
    }

    impl Script {
        fn note(&mut self, note: Note) {
            self.now_ms += 1;
            self.notes.push((Moment::from_millis(self.now_ms), note));
        }

        fn commit(&mut self, envelope: &Envelope) {
            let index = self.log.len() as u64 + 2;
            let data = encode(envelope);
            self.log.push(Entry { term: TERM, index, kind: EntryKind::Normal, data });
        }

        fn client_commits(&mut self, command: Command) {
            let counter = self.log.len() as u64;
            let request = RequestId { member: MemberId(1), nonce: 9, counter };
            self.commit(&Envelope::new(request, command));
        }

        fn invoke(&mut self, operation: u64, op: Op) {
            self.note(Note::Invoked { operation, op });
        }

        fn answer(&mut self, operation: u64, answer: Answer) {
            self.note(Note::Returned { operation, answer });
        }

        /// Asked, committed and acknowledged.
        fn put(&mut self, operation: u64, value: &'static str, revision: i64) {
            self.invoke(operation, Op::Command(put(value)));
            self.client_commits(put(value));
            self.answer(operation, done(revision));
        }

        fn verdict(&self) -> Result<Tally, &'static str> {
            let verdict = judge(&self.notes, std::slice::from_ref(&self.log));
            verdict.map_err(|violation| violation.check)
        }
    }

    fn put(value: &'static str) -> Command {
        let (key, value) = ("k".into(), value.into());
        Command::Put(PutRequest { key, value, ..PutRequest::default() })
    }

    fn header(revision: i64) -> Option<ResponseHeader> {
        Some(ResponseHeader { revision, ..ResponseHeader::default() })
    }

    fn done(revision: i64) -> Answer {
        let response = PutResponse { header: header(revision), ..PutResponse::default() };
        Answer::Reply { reply: Reply::Put(response), revision }
    }

    fn get() -> Op {
        Op::Range(RangeRequest { key: "k".into(), ..RangeRequest::default() })
    }

    fn kv(value: &'static str, version: i64) -> mvccpb::KeyValue {
        mvccpb::KeyValue {
            key: "k".into(),
            value: value.into(),
            create_revision: 2,
            mod_revision: version + 1,
            version,
            lease: 0,
        }
    }

    fn read(value: &'static str, version: i64, revision: i64) -> Answer {
        let kvs = vec![kv(value, version)];
        Answer::Range(RangeResponse { header: header(revision), kvs, more: false, count: 1 })
    }

    fn heard(value: &'static str, version: i64) -> Told {
        let kv = Some(kv(value, version));
        Told::Events(vec![mvccpb::Event { kv, ..mvccpb::Event::default() }])
    }

    fn is_event(note: &Note) -> bool {
        matches!(note, Note::Heard { told: Told::Events(_), .. })
    }

    /// Two writes, with what a reader and a watcher saw of them.
    fn honest() -> Script {
        let mut script = Script::default();
        let spec = Spec {
            denied: None,
            range: KeyRange::Single("k".into()),
            start_revision: 1,
            progress_notify: false,
            no_put: false,
            no_delete: false,
            prev_kv: false,
            fragment: false,
            id: None,
        };
        script.note(Note::Watched { client: 1, spec });
        script.note(Note::Heard { client: 1, told: Told::Created { revision: 1 } });
        script.put(1, "a", 2);
        script.note(Note::Heard { client: 1, told: heard("a", 1) });
        script.put(2, "b", 3);
        script.invoke(3, get());
        script.answer(3, read("b", 2, 3));
        script.note(Note::Heard { client: 1, told: heard("b", 2) });
        script
    }

    #[test]
    fn an_honest_history_is_good() {
        let tally = honest().verdict().unwrap();
        assert_eq!((tally.acknowledged, tally.reads, tally.watch_events), (2, 1, 2));
        assert_eq!((tally.entries, tally.revision), (2, 3));
    }

    #[test]
    fn a_lost_write_is_found() {
        let mut script = honest();
        script.invoke(4, Op::Command(put("c")));
        script.answer(4, done(4));
        assert_eq!(script.verdict().unwrap_err(), "acked_survives");
    }

    #[test]
    fn a_stale_read_is_found() {
        let mut script = honest();
        script.invoke(4, get());
        script.answer(4, read("a", 1, 2));
        assert_eq!(script.verdict().unwrap_err(), "real_time");
    }

    #[test]
    fn a_read_of_what_never_was_is_found() {
        let mut script = honest();
        script.invoke(4, get());
        script.answer(4, read("x", 2, 3));
        assert_eq!(script.verdict().unwrap_err(), "answers");
    }

    #[test]
    fn a_denied_write_that_happened_is_found_and_one_of_unknown_outcome_is_settled() {
        let with = |answer: Answer| {
            let mut script = honest();
            script.invoke(4, Op::Command(put("c")));
            script.client_commits(put("c"));
            script.answer(4, answer);
            script.note(Note::Heard { client: 1, told: heard("c", 3) });
            script.put(5, "d", 5);
            script.note(Note::Heard { client: 1, told: heard("d", 4) });
            script.verdict()
        };
        assert_eq!(with(Answer::NotProposed).unwrap_err(), "not_proposed_means_not_proposed");
        assert_eq!(with(Answer::Ambiguous).unwrap().settled_as_done, 1);
    }

    #[test]
    fn a_write_that_happened_twice_is_found() {
        let mut script = honest();
        script.client_commits(put("b"));
        assert_eq!(script.verdict().unwrap_err(), "proposed_once");
    }

    #[test]
    fn an_event_that_a_watcher_missed_is_found() {
        let mut script = honest();
        let first = script.notes.iter().position(|(_, note)| is_event(note)).unwrap();
        script.notes.remove(first);
        assert_eq!(script.verdict().unwrap_err(), "watch_gapless");
    }

    #[test]
    fn members_with_different_logs_are_found() {
        let script = honest();
        let mut other = script.log.clone();
        other[0].term = 1;
        let violation = judge(&script.notes, &[script.log, other]).unwrap_err();
        assert_eq!(violation.check, "log_matching");
    }

    #[test]
    fn a_lease_that_ended_early_is_found() {
        let after = |ms: u64| {
            let mut script = honest();
            let grant = LeaseGrantRequest { id: 7, ttl: 2 };
            script.invoke(4, Op::Command(Command::LeaseGrant(grant)));
            script.client_commits(Command::LeaseGrant(grant));
            let response =
                LeaseGrantResponse { header: header(3), id: 7, ttl: 2, error: String::new() };
            script.answer(4, Answer::Reply { reply: Reply::LeaseGrant(response), revision: 3 });
            let revoke = Command::LeaseRevoke(LeaseRevoke { ids: vec![7], as_of: 4 });
            let request = RequestId { member: MemberId(2), nonce: 9, counter: 1 };
            script.commit(&Envelope::of_leader(request, revoke, TERM));
            script.now_ms += ms;
            script.put(5, "c", 4);
            script.note(Note::Heard { client: 1, told: heard("c", 3) });
            script.verdict()
        };
        assert_eq!(after(1_000).unwrap_err(), "lease_never_early");
        assert_eq!(after(2_000).unwrap().expired_leases, 1);
    }
}
