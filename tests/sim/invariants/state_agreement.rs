//! Members that have applied the same entries have the same state.
//!
//! After every turn of an applier the stamp is compared with what the model says for that index; now and then HashKV,
//! and at the end every row.

use std::ops::{Bound, ControlFlow};

use quorate::storage::{Direction, Read, Stamp, Store, Table};

use crate::checker::Checker;
use crate::node::Up;
use crate::violation::{Verdict, Violation, ensure};

const NAME: &str = "state_agreement";

pub(crate) struct StateAgreement;

impl StateAgreement {
    pub(crate) fn stamp(node: u64, stamp: Stamp, checker: &Checker) -> Verdict {
        let Some(outcome) = checker.outcome(stamp.applied) else {
            return ensure(stamp.applied <= 1, NAME, || {
                format!("{node} has applied {}, and nobody knows that entry", stamp.applied)
            });
        };
        let expected = Stamp {
            applied: stamp.applied,
            term: outcome.term,
            revision: outcome.revision,
            compacted: outcome.compacted,
        };
        ensure(stamp == expected, NAME, || format!("{node} stands at {stamp:?}, not {expected:?}"))
    }

    /// The leases of a member that stands where the log does.
    pub(crate) fn leases(node: u64, up: &Up, checker: &Checker) -> Verdict {
        let failed = |fault: quorate::storage::Fault| Violation::new(NAME, fault.to_string());
        if up.store.stamp().applied + 1 != checker.next_index() {
            return Ok(());
        }
        let query = up.handle.query().map_err(failed)?;
        let mine: Vec<(i64, (i64, i64, u64))> = query
            .leases()
            .into_iter()
            .map(|(id, lease)| (id, (lease.ttl, lease.remaining, lease.since)))
            .collect();
        ensure(
            mine.iter().copied().eq(checker.model.leases.iter().map(|(&id, &l)| (id, l))),
            NAME,
            || {
                format!(
                    "{node} has the leases {mine:?}, and the log says {:?}",
                    checker.model.leases
                )
            },
        )
    }

    /// The v2 tree of a member that stands where the log does.
    pub(crate) fn tree(node: u64, up: &Up, checker: &Checker) -> Verdict {
        let failed = |fault: quorate::storage::Fault| Violation::new(NAME, fault.to_string());
        if up.store.stamp().applied + 1 != checker.next_index() {
            return Ok(());
        }
        let index = up.handle.tree_index();
        ensure(index == checker.tree.index, NAME, || {
            format!("{node} has the tree at {index}, and the log says {}", checker.tree.index)
        })?;
        let auth = up.handle.tree_auth();
        ensure(checker.users.is(&auth), NAME, || {
            format!("{node} has the users {auth:?}, and the log says {:?}", checker.users)
        })?;
        let listed = up.handle.query().and_then(|query| query.v2(b"/", true, 0)).map_err(failed)?;
        let found = listed.as_ref().map(|listed| &listed.listing);
        let expected = checker.tree.listing("/", true, index, 0);
        ensure(found == expected.as_ref(), NAME, || {
            format!("{node} has the tree {found:?}, and the log says {expected:?}")
        })
    }

    /// HashKV of two members at a revision that both have, if compaction stands at the same place.
    pub(crate) fn hash(one: (u64, &Up), other: (u64, &Up)) -> Verdict {
        let failed = |fault: quorate::storage::Fault| Violation::new(NAME, fault.to_string());
        let (mine, theirs) =
            (one.1.handle.query().map_err(failed)?, other.1.handle.query().map_err(failed)?);
        if mine.compacted() != theirs.compacted() {
            return Ok(());
        }
        let revision = mine.revision().min(theirs.revision());
        if revision < mine.compacted() {
            return Ok(());
        }
        let hashes =
            [mine.hash_kv(revision).map_err(failed)?, theirs.hash_kv(revision).map_err(failed)?];
        ensure(hashes[0] == hashes[1], NAME, || {
            format!(
                "HashKV at {revision}: {} says {:?}, {} {:?}",
                one.0, hashes[0], other.0, hashes[1]
            )
        })
    }

    /// Every row of two members that stand at the same index; what compaction has or has not deleted yet apart.
    pub(crate) fn rows(one: (u64, &Store), other: (u64, &Store)) -> Verdict {
        use Table::{Alarms, Auth, LeaseKeys, Leases, Members, V2};
        for table in [Leases, LeaseKeys, Members, Alarms, V2, Auth] {
            let (mine, theirs) = (rows(one.1, table)?, rows(other.1, table)?);
            ensure(mine == theirs, NAME, || {
                format!(
                    "table {} of {} is {mine:?}, of {} {theirs:?}",
                    table.name(),
                    one.0,
                    other.0
                )
            })?;
        }
        Ok(())
    }
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn rows(store: &Store, table: Table) -> Result<Rows, Violation> {
    let failed = |fault: quorate::storage::Fault| Violation::new(NAME, fault.to_string());
    let mut rows = Rows::new();
    let view = store.view().map_err(failed)?;
    view.scan(table, Bound::Unbounded, Bound::Unbounded, Direction::Ascending, &mut |row| {
        rows.push((row.key.to_vec(), row.value.to_vec()));
        ControlFlow::Continue(())
    })
    .map_err(failed)?;
    Ok(rows)
}
