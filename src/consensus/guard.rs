//! What the crate would panic on, refused before it gets there.
//!
//! raft 0.7.0 stops the process (`fatal!`, `assert!`, `unwrap`) on messages that contradict its log. Checked, each with
//! what makes it unreachable here:
//!
//! | in the crate | why not |
//! |---|---|
//! | `maybe_append`: conflict with a committed entry; `append`: after < committed | entries follow `index` (wire), and the crate answers `index < committed` by itself |
//! | `truncate_and_append`: a gap (`match_term` of (beyond the log, term 0) is true) | (index, 0) is refused (wire) |
//! | `handle_append_entries`: term of the hint must be valid | a `log_term` below that of our commit is refused |
//! | `commit_to` out of range (heartbeat) | a commit beyond our log is refused |
//! | `restore`: unable to restore config | voters, no member twice (wire); no joint fields exist |
//! | `maybe_persist_snap` and Ready with two snapshots in flight (tikv #9349, etcd #18055) | a second one is not restored while the first is not durable |
//! | `send`: term should not be set (forwarded MsgPropose, MsgTransferLeader, MsgReadIndex) | these never cross, or have term 0 (wire); a follower does not pass on a read |
//! | `step_leader`: stepped empty MsgProp; `entries[0]` of a read | never cross; the entry is made here |
//! | `step_candidate`: `debug_assert` on the term | term 0 is refused (wire) |
//! | `become_leader`: last index = persisted; Ready: records of a candidate | a member campaigns only when all it was told is durable (`Core::may_campaign`) |
//! | `poll` -> `become_leader` or `maybe_commit`, `on_persist_entries`: own progress is gone | whoever is no voter any more becomes a follower at once (`Core::apply_change`); `campaign` asks for a voter |
//! | `load_state`, `applied_to` out of range, `RaftLog::new` | checked in `Core::new`; `Core::applied` is clamped |
//! | `hup`, `maybe_commit_by_vote`, `next_entries_since`: entries unavailable | never read from the log (`log_view.rs`) |
//! | `commit_info`, `last_term`: term unavailable | at or behind our applied index, where the log is never trimmed |
//! | `send_request_snapshot`, `request_snapshot` | the field does not exist on our wire |
//! | `set_randomized_election_timeout` out of range | in range by construction (`Config::election_timeout`) |
//! | additions that overflow | numbers are below 2^62 (wire) |

use raft::{Raft, StateRole};

use super::log_view::LogView;
use super::wire::{Invalid, Kind, RaftMessage};

/// What to do with a message of sound shape.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Step,
    /// Stale, or of no use to this member.
    Drop,
}

/// Compares a message with this member's log and term; may correct a stale hint.
pub(super) fn inspect(
    raft: &Raft<LogView>,
    kind: Kind,
    message: &mut RaftMessage,
) -> Result<Verdict, Invalid> {
    match kind {
        // The crate would pass it on to its own leader, in the name of the asker.
        Kind::ReadIndex if raft.state != StateRole::Leader => return Ok(Verdict::Drop),
        Kind::ReadIndex => return Ok(Verdict::Step),
        _ if message.term < raft.term => return Ok(Verdict::Step),
        _ => {}
    }
    let contradiction = |what: String| Err(Invalid::Contradiction { kind, what });
    let log = &raft.raft_log;
    if matches!(kind, Kind::Append | Kind::Heartbeat | Kind::Snapshot)
        && message.term == raft.term
        && raft.leader_id != 0
        && raft.leader_id != message.from
    {
        let (leader, from) = (raft.leader_id, message.from);
        return contradiction(format!("{leader:x} and {from:x} both lead term {}", raft.term));
    }
    match kind {
        Kind::Append if message.index >= log.committed => {
            let committed = log.term(log.committed).unwrap_or(0);
            if message.log_term < committed {
                return contradiction(format!(
                    "entry {} has term {} there, and {} of term {committed} is committed here",
                    message.index, message.log_term, log.committed
                ));
            }
        }
        Kind::Heartbeat if message.commit > log.last_index() => {
            return contradiction(format!(
                "{} was acknowledged and is committed, and the log here ends at {}: it has lost entries",
                message.commit,
                log.last_index()
            ));
        }
        Kind::Snapshot => {
            let claim = message.snapshot.as_ref().map_or((0, 0), |claim| (claim.index, claim.term));
            if claim.0 == log.committed && !log.match_term(claim.0, claim.1) {
                return contradiction(format!("entry {} is committed with another term", claim.0));
            }
        }
        Kind::AppendResponse if raft.state == StateRole::Leader && message.term == raft.term => {
            if message.index > log.last_index() {
                return contradiction(format!(
                    "it has entry {} of this term, and the leader's log ends at {}",
                    message.index,
                    log.last_index()
                ));
            }
            if message.reject {
                return Ok(refused_append(raft, message));
            }
        }
        _ => {}
    }
    Ok(Verdict::Step)
}

/// A refusal that was overtaken by an acknowledgement must not move a probe back to or below what is matched: 0.7.0
/// does (raft-rs #557, #555), and then sends entries or even a snapshot that the follower has long acknowledged.
fn refused_append(raft: &Raft<LogView>, message: &mut RaftMessage) -> Verdict {
    let Some(progress) = raft.prs().get(message.from) else {
        return Verdict::Drop;
    };
    if message.index <= progress.matched {
        return Verdict::Drop;
    }
    let hint = match message.log_term {
        0 => message.reject_hint,
        term => raft.raft_log.find_conflict_by_term(message.reject_hint, term).0,
    };
    if hint < progress.matched {
        message.reject_hint = progress.matched;
        message.log_term = 0;
    }
    Verdict::Step
}
