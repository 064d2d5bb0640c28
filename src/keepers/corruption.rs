//! Members compare their histories. One that has another than most is told to all as corrupt: it serves no client from
//! then on, and leads no longer; the others go on.
//!
//! The leader asks everybody, itself included, for the hash up to one revision. Hashes of different revisions or
//! compactions say nothing about each other; who is behind is compared the next time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::base::{MemberId, Term, limits};
use crate::engine::Handle;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::etcdserverpb::{AlarmRequest, AlarmType};
use crate::state::{Command, KvHash};

/// A difference is looked at again before anybody is told.
const AGAIN: Duration = Duration::from_millis(500);

/// Time for an alarm to be raised.
const DEADLINE: Duration = Duration::from_secs(5);

/// In an alarm: nobody can say who.
const NOBODY: MemberId = MemberId(0);

/// What a comparison found.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Verdict {
    /// Those who could be compared have the same history.
    Agreed,
    /// These have another one than a majority of the voters.
    Diverged(BTreeSet<MemberId>),
    /// There are several, and none is a majority's.
    Undecided,
}

/// Every `interval`, by whoever leads, until the engine stops.
pub async fn compare_histories(handle: Handle, interval: Duration) {
    while !handle.is_stopped() {
        tokio::time::sleep(interval).await;
        let raft = handle.raft();
        if !raft.is_leader {
            continue;
        }
        match checked(&handle).await {
            Ok(Verdict::Agreed) => {}
            Ok(Verdict::Diverged(members)) => {
                for member in members {
                    tracing::error!(
                        %member,
                        "its history is another than that of most members: it is corrupt and serves nobody; \
                         stop it and run `quorate member resync` on its machine"
                    );
                    raise(&handle, raft.term, member).await;
                }
            }
            Ok(Verdict::Undecided) => {
                tracing::error!(
                    "members have different histories, and none is that of most: nothing is written any more; compare \
                     them with `quorate endpoint hashkv --cluster`, re-sync who is wrong, and `quorate alarm disarm`"
                );
                raise(&handle, raft.term, NOBODY).await;
            }
            Err(why) => tracing::warn!(why, "histories could not be compared"),
        }
    }
}

/// Whether this member has another history than most; or why nobody can tell.
pub async fn is_diverged(handle: &Handle) -> Result<bool, String> {
    let is_told = match checked(handle).await? {
        Verdict::Diverged(members) => members.contains(&handle.member()),
        Verdict::Agreed | Verdict::Undecided => false,
    };
    Ok(is_told || handle.is_quarantined())
}

/// What two comparisons in a row found.
async fn checked(handle: &Handle) -> Result<Verdict, String> {
    let first = compared(handle).await?;
    if first == Verdict::Agreed {
        return Ok(first);
    }
    tokio::time::sleep(AGAIN).await;
    let second = compared(handle).await?;
    Ok(match (first, second) {
        (Verdict::Diverged(first), Verdict::Diverged(second)) => {
            let both: BTreeSet<MemberId> = first.intersection(&second).copied().collect();
            if both.is_empty() { Verdict::Agreed } else { Verdict::Diverged(both) }
        }
        (Verdict::Undecided, Verdict::Undecided) => Verdict::Undecided,
        _ => Verdict::Agreed,
    })
}

async fn compared(handle: &Handle) -> Result<Verdict, String> {
    let query = handle.query().map_err(|fault| fault.to_string())?;
    let (members, revision, alarms) = (query.members(), query.revision(), query.alarms());
    drop(query);
    let deadline = handle.clock().now() + limits::HASH_DEADLINE;
    let mut hashes = BTreeMap::new();
    // One after the other: no two disks are busy with it at a time.
    for member in members.list() {
        let member = MemberId(member.id);
        if alarms.is_raised_by(member, AlarmType::Corrupt) {
            continue;
        }
        let hash = if member == handle.member() {
            handle.hash_kv(revision).await
        } else {
            handle.hash_kv_of(member, revision, deadline).await
        };
        match hash {
            Ok(hash) => drop(hashes.insert(member, hash)),
            Err(error) => tracing::warn!(%member, revision, %error, "its history is not compared"),
        }
    }
    let verdict = judge(&members.voters(), handle.member(), &hashes);
    let told: Vec<String> =
        hashes.iter().map(|(member, found)| format!("{member}={:08x}", found.hash)).collect();
    tracing::info!(revision, hashes = told.join(" "), ?verdict, "compared histories");
    Ok(verdict)
}

/// Of the hashes that are comparable to `own`'s.
fn judge(voters: &[MemberId], own: MemberId, hashes: &BTreeMap<MemberId, KvHash>) -> Verdict {
    let Some(reference) = hashes.get(&own) else { return Verdict::Agreed };
    let is_comparable = |hash: &KvHash| {
        (hash.hash_revision, hash.compact_revision)
            == (reference.hash_revision, reference.compact_revision)
    };
    let mut groups = BTreeMap::<u32, BTreeSet<MemberId>>::new();
    for (member, hash) in hashes.iter().filter(|(_, hash)| is_comparable(hash)) {
        groups.entry(hash.hash).or_default().insert(*member);
    }
    if groups.len() <= 1 {
        return Verdict::Agreed;
    }
    let is_most = |group: &BTreeSet<MemberId>| {
        voters.iter().filter(|voter| group.contains(voter)).count() > voters.len() / 2
    };
    match groups.values().find(|group| is_most(group)) {
        Some(most) => {
            let all = groups.values().flatten().copied();
            Verdict::Diverged(all.filter(|member| !most.contains(member)).collect())
        }
        None => Verdict::Undecided,
    }
}

async fn raise(handle: &Handle, term: Term, member: MemberId) {
    let command = Command::Alarm(AlarmRequest {
        action: AlarmAction::Activate as i32,
        member_id: member.0,
        alarm: AlarmType::Corrupt as i32,
    });
    let deadline = handle.clock().now() + DEADLINE;
    if let Err(error) = handle.propose_as(command, term, deadline).await {
        // Whoever leads next finds the same.
        tracing::warn!(%member, %error, "could not raise the alarm CORRUPT; the next comparison tries again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MemberId = MemberId(1);
    const AT: KvHash = KvHash { hash: 7, compact_revision: 5, hash_revision: 9 };
    const OTHER: KvHash = KvHash { hash: 8, ..AT };
    const THIRD: KvHash = KvHash { hash: 9, ..AT };

    /// Among so many voters, whose ids begin with 1.
    fn judged(voters: u64, hashes: &[(u64, KvHash)]) -> Verdict {
        let voters: Vec<MemberId> = (1..=voters).map(MemberId).collect();
        judge(&voters, OWN, &hashes.iter().map(|(id, hash)| (MemberId(*id), *hash)).collect())
    }

    fn diverged(members: &[u64]) -> Verdict {
        Verdict::Diverged(members.iter().copied().map(MemberId).collect())
    }

    #[test]
    fn the_majority_is_right() {
        assert_eq!(judged(3, &[(1, AT), (2, AT), (3, AT)]), Verdict::Agreed);
        assert_eq!(judged(3, &[(1, AT), (2, OTHER), (3, AT)]), diverged(&[2]));
        // Whoever asks is the one.
        assert_eq!(judged(3, &[(1, AT), (2, OTHER), (3, OTHER)]), diverged(&[1]));
        // A majority of all voters, not of those who answered.
        assert_eq!(judged(5, &[(1, AT), (2, AT), (3, OTHER)]), Verdict::Undecided);
        assert_eq!(judged(5, &[(1, AT), (2, OTHER), (3, AT), (4, AT)]), diverged(&[2]));
        assert_eq!(judged(3, &[(1, AT), (2, OTHER), (3, THIRD)]), Verdict::Undecided);
        assert_eq!(judged(2, &[(1, AT), (2, OTHER)]), Verdict::Undecided);
    }

    #[test]
    fn a_learner_is_judged_and_does_not_judge() {
        assert_eq!(judged(2, &[(1, AT), (2, AT), (9, OTHER)]), diverged(&[9]));
        assert_eq!(judged(2, &[(1, AT), (2, OTHER), (9, OTHER)]), Verdict::Undecided);
    }

    #[test]
    fn what_is_not_comparable_says_nothing() {
        let behind = KvHash { hash_revision: 8, ..OTHER };
        let compacted = KvHash { compact_revision: 6, ..OTHER };
        assert_eq!(judged(3, &[(1, AT), (2, behind), (3, compacted)]), Verdict::Agreed);
        assert_eq!(judged(3, &[(2, AT), (3, OTHER)]), Verdict::Agreed);
    }
}
