//! `force-new-cluster`: what one survivor has becomes a cluster of one, when the majority is lost for ever.
//!
//! ```text
//!   database + its whole log --applied--> members: this one alone, the others removed --> checkpoint --> an empty log behind it
//! ```
//!
//! Cluster and member keep their ids. Everything in the log counts, also what this member does not know to be
//! committed: an acknowledged write may be among it, and nobody is left who could say. Whoever was a member besides is
//! refused for ever, so that it cannot come back as part of a cluster that is no more. Interrupted before the
//! checkpoint nothing has happened; after it everything has, and the next start goes on, with or without the setting.

use crate::base::{Index, MemberId, Moment};
use crate::consensus::decode_change;
use crate::state::Machine;
use crate::storage::{Entry, EntryKind, Fault, HardState, Stamp};

use super::error::Error;
use super::open::Opened;

/// Entries that are read at once, bytes.
const PIECE_BYTES: usize = 4 << 20;

/// Makes `member` the only one, durably. The others that were, and how many entries of the log were taken over without
/// being known as committed.
pub(super) fn found_alone(
    opened: &mut Opened,
    member: MemberId,
) -> Result<(Vec<MemberId>, u64), Error> {
    let stamp = opened.store.stamp();
    if stamp == Stamp::EMPTY {
        return Err(Error::NothingToForce { member });
    }
    let mut machine = Machine::load(&opened.store.view()?, stamp)?;
    let last = opened.log.last_index().max(stamp.applied);
    while machine.stamp().applied < last {
        apply_some(opened, &mut machine, last)?;
    }
    let members = machine.members();
    if members.member(member).is_none() {
        return Err(Error::NotOneOfThem { member });
    }
    let known = opened.hard_state.commit.max(stamp.applied);
    let others = members.voters().into_iter().chain(members.learners());
    let others: Vec<MemberId> = others.filter(|other| *other != member).collect();
    let stamp = machine.stamp();
    opened.store.merge(machine.rows_of_one(member), stamp, Moment::ZERO);
    if let Some(sealed) = opened.store.seal() {
        opened.store.checkpoint(sealed)?;
    }
    let term = opened.hard_state.term.max(stamp.term) + 1;
    opened.hard_state = HardState { term, vote: 0, commit: stamp.applied };
    opened.wal.restart(stamp.applied, stamp.term, opened.hard_state)?;
    Ok((others, last.saturating_sub(known)))
}

fn apply_some(opened: &Opened, machine: &mut Machine, last: Index) -> Result<(), Fault> {
    let next = machine.stamp().applied + 1;
    let entries = opened.log.read(next, last + 1, PIECE_BYTES)?;
    if entries.is_empty() {
        return Err(Fault::corrupt(format!("no entry {next} of {last}"), "the log"));
    }
    for Entry { index, term, kind, data, .. } in entries {
        let data = match kind {
            EntryKind::Normal => data,
            EntryKind::ConfChange => decode_change(&data)?.context,
        };
        let outcome = machine.apply(&opened.store.view()?, index, term, &data)?;
        opened.store.merge(outcome.rows, outcome.stamp, Moment::ZERO);
        machine.publish();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::open::{Beginning, begin, open};
    use super::*;
    use crate::base::{ClusterId, RequestId};
    use crate::proto::etcdserverpb::{Member, PutRequest};
    use crate::state::{Command, Envelope, Members, encode};
    use crate::storage::{DataDir, Identity, WalBatch};

    fn put(index: Index, key: &'static str) -> Entry {
        let put = PutRequest { key: key.into(), ..PutRequest::default() };
        let data = encode(&Envelope::new(RequestId::default(), Command::Put(put)));
        Entry { index, term: 2, data, ..Entry::default() }
    }

    #[test]
    fn the_whole_log_counts_and_the_others_are_removed_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let (cluster, own) = (ClusterId(7), MemberId(2));
        let members = [1, 2, 3].map(|id| Member { id, ..Member::default() });
        let identity = Identity { cluster, member: own, name: "n2".to_owned() };
        let mut dir = DataDir::open(folder.path()).unwrap();
        begin(&mut dir, &identity, &Beginning::Genesis(&members)).unwrap();
        let open = || open(&dir, cluster, own, None).unwrap();
        let mut opened = open();
        let hard_state = HardState { term: 2, vote: 1, commit: 2 };
        let entries = vec![put(2, "known as committed"), put(3, "perhaps acknowledged")];
        let batch = WalBatch { entries, hard_state: Some(hard_state), ..WalBatch::default() };
        opened.wal.append(batch).unwrap();
        drop(opened);

        let mut opened = open();
        let refused = found_alone(&mut opened, MemberId(9)).unwrap_err().to_string();
        assert!(refused.contains("had removed member 9"), "{refused}");
        drop(opened);
        let mut opened = open();
        assert_eq!(found_alone(&mut opened, own).unwrap(), (vec![MemberId(1), MemberId(3)], 1));
        drop(opened);
        let mut opened = open();
        let stamp = opened.store.stamp();
        assert_eq!((stamp.applied, stamp.term, stamp.revision), (3, 2, 3));
        assert_eq!((opened.hard_state.term, opened.log.last_index()), (3, 3));
        let members = Members::load(&opened.store.view().unwrap()).unwrap();
        assert_eq!(members.voters(), [own]);
        assert!(members.is_removed(MemberId(1)) && members.is_removed(MemberId(3)));
        assert_eq!(found_alone(&mut opened, own).unwrap(), (Vec::new(), 0));
    }
}
