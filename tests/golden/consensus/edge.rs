//! The edge: nothing that a peer says makes a member panic, contradictions are refused with what to do, and the crate's
//! dice do not show.

use bytes::Bytes;
use quorate::base::MemberId;
use quorate::consensus::wire::{Entry, Invalid, Kind, RaftMessage};
use quorate::consensus::{
    Change, ChangeKind, CheckpointMark, Class, Config, Outgoing, Replication, RoleKind, Stepped,
};

use super::cluster::Cluster;
use super::member::{Database, Note};

/// Three members, 1 leads term 2, entries 2 and 3 are applied everywhere.
fn settled() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3], &[], 0, |_| {});
    cluster.call(1, |core| core.campaign());
    quiet(&mut cluster);
    cluster.call(1, |core| core.propose(Bytes::from_static(b"a"))).unwrap().0.unwrap();
    quiet(&mut cluster);
    assert_eq!(cluster.up(3).unwrap().database.mark.index, 3);
    cluster
}

fn quiet(cluster: &mut Cluster) {
    loop {
        let ids: Vec<u64> = cluster.members.keys().copied().collect();
        if let Some(id) = ids.into_iter().find(|id| cluster.member(*id).has_writes()) {
            cluster.write(id);
        } else if !cluster.network.is_empty() {
            cluster.deliver(0);
        } else {
            return;
        }
    }
}

fn message(kind: Kind, from: u64, to: u64, term: u64) -> RaftMessage {
    RaftMessage { kind: kind as i32, from, to, term, ..RaftMessage::default() }
}

fn step(cluster: &mut Cluster, message: RaftMessage) -> Result<Stepped, Invalid> {
    let from = MemberId(message.from);
    cluster.call(message.to, |core| core.step(from, message)).unwrap().0
}

#[test]
fn contradictions_are_refused_and_say_what_to_do() {
    let mut cluster = settled();
    let refused = |result: Result<Stepped, Invalid>, says: &str| match result {
        Err(error @ Invalid::Contradiction { .. }) => {
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.to_string().contains("re-sync the damaged member"), "{error}");
        }
        other => panic!("{other:?} instead of {says}"),
    };

    let mut heartbeat = message(Kind::Heartbeat, 1, 2, 2);
    heartbeat.commit = 4;
    refused(step(&mut cluster, heartbeat), "it has lost entries");

    let second = message(Kind::Heartbeat, 3, 2, 2);
    refused(step(&mut cluster, second), "1 and 3 both lead term 2");

    let mut append = message(Kind::Append, 3, 2, 5);
    (append.index, append.log_term) = (3, 1);
    refused(step(&mut cluster, append), "is committed here");

    let mut response = message(Kind::AppendResponse, 2, 1, 2);
    response.index = 4;
    refused(step(&mut cluster, response), "the leader's log ends at 3");

    let mut snapshot = message(Kind::Snapshot, 3, 2, 5);
    let voters = vec![MemberId(2), MemberId(3)];
    snapshot.set_snapshot(&CheckpointMark { index: 3, term: 4, voters, learners: vec![] });
    refused(step(&mut cluster, snapshot), "committed with another term");
}

#[test]
fn a_message_must_be_from_its_connection_and_to_this_member() {
    let mut cluster = settled();
    let heartbeat = message(Kind::Heartbeat, 1, 2, 2);
    let told = |from: u64, message: RaftMessage| {
        move |core: &mut quorate::consensus::Core| core.step(MemberId(from), message)
    };
    let misdirected = |result| assert!(matches!(result, Err(Invalid::Misdirected { .. })));
    misdirected(cluster.call(2, told(3, heartbeat.clone())).unwrap().0);
    misdirected(cluster.call(3, told(1, heartbeat)).unwrap().0);
}

/// raft-rs #557: in a probe, 0.7.0 lets a stale refusal move the next index to or below what is matched.
#[test]
fn a_stale_refusal_does_not_move_a_probe_below_what_is_matched() {
    for (index, hint) in [(3, 1), (3, 2), (3, 3)] {
        let mut cluster = settled();
        cluster.call(1, |core| core.unreachable(MemberId(2)));
        let mut refusal = message(Kind::AppendResponse, 2, 1, 2);
        (refusal.index, refusal.reject, refusal.reject_hint, refusal.log_term) =
            (index, true, hint, 1);
        step(&mut cluster, refusal).unwrap();
        let status = cluster.up(1).unwrap().core.status();
        let progress = status.progress[0];
        assert_eq!((progress.matched, progress.next), (3, 4), "after a refusal of {index}");
        assert_eq!(progress.replication, Replication::Probe);
    }
}

/// Entries 4.. of the given terms, from whoever leads `term`.
fn append(from: u64, term: u64, terms: &[u64], commit: u64) -> RaftMessage {
    let mut out = message(Kind::Append, from, 2, term);
    (out.index, out.log_term, out.commit) = (3, 2, commit);
    let entry = |(index, term): (u64, &u64)| Entry {
        kind: 0,
        term: *term,
        index,
        data: Bytes::from_static(b"b"),
    };
    out.entries = (4..).zip(terms).map(entry).collect();
    out
}

/// 4 of term 2 is on its way to the disk, then 4 of term 3, then 4 of term 2 again: the first write says nothing about
/// the third, and the second is yet to replace it.
#[test]
fn a_write_does_not_vouch_for_an_entry_that_came_back() {
    let mut cluster = settled();
    for (from, term, entry) in [(1, 2, 2), (3, 3, 3), (1, 4, 2)] {
        step(&mut cluster, append(from, term, &[entry], 3)).unwrap();
    }
    let persisted = |cluster: &Cluster| cluster.up(2).unwrap().core.status().persisted;
    for expected in [3, 3, 4] {
        cluster.write(2);
        assert_eq!(persisted(&cluster), expected);
    }
}

/// The log is trimmed up to what the database holds; Core may hear of that later than of the next election.
#[test]
fn an_election_finds_the_log_trimmed_beyond_what_core_knows_as_applied() {
    let mut cluster = settled();
    let member = cluster.member(2);
    member.up.as_mut().unwrap().core.step(MemberId(1), append(1, 2, &[2, 2, 2], 6)).unwrap();
    member.turn_without_applying();
    member.checkpoint.mark.index = 6;
    member.trim(0);
    let core = &mut member.up.as_mut().unwrap().core;
    assert_eq!((core.status().applied, core.status().commit), (3, 6));
    (0..20).for_each(|_| core.tick());
    assert_eq!(core.status().role, RoleKind::PreCandidate);
}

#[test]
fn nobody_campaigns_before_a_committed_membership_change_is_applied() {
    for (kind, role) in [(0, RoleKind::PreCandidate), (1, RoleKind::Follower)] {
        let mut cluster = settled();
        let member = cluster.member(2);
        let mut append = append(1, 2, &[2, 2], 5);
        append.entries[0].kind = kind;
        member.up.as_mut().unwrap().core.step(MemberId(1), append).unwrap();
        member.turn_without_applying();
        let core = &mut member.up.as_mut().unwrap().core;
        (0..20).for_each(|_| core.tick());
        assert_eq!(core.status().role, role);
    }
}

/// The applier may still report what it applied before a snapshot takes its place.
#[test]
fn a_change_that_is_applied_while_a_snapshot_is_installed_is_in_it_already() {
    let mut cluster = settled();
    let members = [1, 2, 3].map(MemberId).to_vec();
    let mark = CheckpointMark { index: 9, term: 2, voters: members, learners: Vec::new() };
    let mut snapshot = message(Kind::Snapshot, 1, 2, 2);
    snapshot.set_snapshot(&mark);
    let outgoing = Outgoing { to: MemberId(2), class: Class::Snapshot, message: snapshot };
    let member = cluster.member(2);
    let copy = Database { mark, history: Vec::new() };
    member.try_receive(&outgoing, Some(copy)).unwrap();
    drop(member.turn());
    let demotion =
        Change { kind: ChangeKind::AddLearner, member: MemberId(2), context: Bytes::new() };
    member.up.as_mut().unwrap().core.apply_change(&demotion).unwrap();
    drop(member.write());
    let core = &mut member.up.as_mut().unwrap().core;
    (0..20).for_each(|_| core.tick());
    assert_eq!(core.status().role, RoleKind::PreCandidate, "it is a voter");
}

/// Election timeouts are a function of the seed: the crate draws from the thread's dice with every change of role, and
/// none of those draws may show.
#[test]
fn the_same_calls_give_the_same_effects_byte_for_byte() {
    let run = |seed: u64| -> String {
        let mut cluster = Cluster::new(&[1, 2, 3, 4, 5], &[], seed, |_| {});
        let mut trace = String::new();
        let mut told = |notes: &[Note]| trace.push_str(&format!("{notes:?}\n"));
        let mut order = fastrand::Rng::with_seed(seed);
        let mut alone = 0;
        for round in 0..900 {
            // Every second spell, whoever leads is cut off.
            if round % 60 == 0 {
                alone = if round % 120 == 0 { 0 } else { cluster.leader().unwrap_or(0) };
            }
            for id in 1..=5 {
                if let Some(((), notes)) = cluster.call(id, |core| core.tick()) {
                    told(&notes);
                }
                told(&cluster.write(id));
            }
            for _ in 0..cluster.network.len() {
                let position = order.usize(..cluster.network.len());
                let message = &cluster.network[position].message;
                let cut = alone == message.to.0 || alone == message.message.from;
                if cut || order.u8(..) < 40 {
                    cluster.drop_message(position);
                } else {
                    told(&cluster.deliver(position));
                }
                if cluster.network.is_empty() {
                    break;
                }
            }
        }
        trace
    };
    let (first, second) = (run(1), run(1));
    assert!(first.matches("kind: Leader").count() > 10, "there were elections");
    assert!(first == second, "two runs of one seed differ");
    assert!(first != run(2), "the seed does nothing");
}

/// Messages of sound shape and any content, between members in any state: whatever the answer, it is no panic.
#[test]
fn no_message_makes_a_member_panic() {
    let mut dice = fastrand::Rng::with_seed(7);
    let mut taken = 0;
    for _ in 0..400 {
        let mut cluster = settled_with(&mut dice);
        for _ in 0..60 {
            let message = any_message(&mut dice);
            let Ok(decoded) = RaftMessage::decode(message.encode()) else { continue };
            let to = decoded.to;
            let copy = decoded.snapshot_mark().map(|mark| Database { mark, history: Vec::new() });
            let outgoing = Outgoing { to: MemberId(to), class: Class::Append, message: decoded };
            taken += u32::from(cluster.member(to).try_receive(&outgoing, copy).is_ok());
            let member = cluster.member(to);
            drop(member.turn());
            if dice.bool() {
                member.write();
            }
            if dice.u8(..) < 40 {
                member.up.as_mut().unwrap().core.tick();
                drop(member.turn());
            }
        }
    }
    assert!(taken > 2_000, "only {taken} messages were taken");
}

fn settled_with(dice: &mut fastrand::Rng) -> Cluster {
    let mut cluster = if dice.bool() {
        settled()
    } else {
        let small: fn(&mut Config) = |config| config.message_bytes_max = 64;
        Cluster::new(&[1, 2, 3], &[], dice.u64(..), small)
    };
    cluster.add(4, &[], &[]);
    if dice.bool() {
        cluster.member(1).make_checkpoint();
        cluster.member(1).trim(0);
    }
    cluster
}

fn any_message(dice: &mut fastrand::Rng) -> RaftMessage {
    let from = dice.u64(1..=4);
    let to = dice.u64(1..=4);
    let kind = dice.i32(0..=13);
    let near = |dice: &mut fastrand::Rng| match dice.u8(0..20) {
        0 => 0,
        1 => 1 << 62,
        2 => dice.u64(..),
        _ => dice.u64(0..7),
    };
    let mut out = RaftMessage { kind, from, to, ..RaftMessage::default() };
    if kind != Kind::ReadIndex as i32 {
        out.term = dice.u64(0..6);
    }
    (out.index, out.log_term) = (near(dice), dice.u64(0..5));
    (out.commit, out.commit_term) = (near(dice), dice.u64(0..5));
    (out.reject, out.reject_hint) = (dice.bool(), near(dice));
    if kind == Kind::Append as i32 {
        for index in 0..dice.u64(0..4) {
            let data = Bytes::from(vec![dice.u8(..); dice.usize(0..40)]);
            let index = out.index.saturating_add(index + 1);
            out.entries.push(Entry { kind: 0, term: out.term.max(1), index, data });
        }
    }
    if kind == Kind::Snapshot as i32 {
        let voters = (1..=dice.u64(1..4)).map(MemberId).collect();
        let learners = if dice.bool() { vec![MemberId(dice.u64(1..6))] } else { Vec::new() };
        let mark = CheckpointMark { index: near(dice), term: dice.u64(0..5), voters, learners };
        out.set_snapshot(&mark);
    }
    if kind == Kind::ReadIndex as i32 || kind == Kind::ReadIndexResponse as i32 {
        let asker = if kind == Kind::ReadIndex as i32 { from } else { to };
        let parts = [asker, dice.u64(0..3), dice.u64(0..3)];
        out.context = parts.iter().flat_map(|part| part.to_be_bytes()).collect::<Vec<u8>>().into();
    } else if dice.u8(..) < 40 {
        out.context = Bytes::from_static(b"CampaignTransfer");
    }
    out
}
