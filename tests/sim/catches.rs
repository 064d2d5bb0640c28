//! The checks are checked: an honest history passes, and each kind of lie is found by the check that is meant for it.

use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, LeaseGrantRequest, RangeRequest, RequestOp,
    TxnRequest,
};
use quorate::proto::quorate::log::LeaseRevoke;
use quorate::state::{Command, Rejection, Reply};
use quorate::watch::{Delivery, Which};

use crate::dice::Dice;
use crate::history::{History, Outcome, Step};
use crate::model::Model;
use crate::script::{Script, get, put};
use crate::workload::{Op, Workload};

/// The name of the check that finds something.
fn found(history: &History) -> Option<&'static str> {
    history.judge().err().map(|violation| violation.check)
}

/// An honest history, and the same after a lie in the last answer.
fn after_a_lie(script: &Script, lie: impl FnOnce(&mut Outcome)) -> Option<&'static str> {
    assert!(script.history.judge().is_ok(), "{}", script.history.judge().unwrap_err());
    let mut history = script.history.clone();
    let last = history.steps.iter_mut().rev().find_map(|(_, step)| match step {
        Step::Returned { outcome, .. } => Some(outcome),
        _ => None,
    });
    lie(last.unwrap());
    found(&history)
}

fn reply(outcome: &mut Outcome) -> &mut Reply {
    match outcome {
        Outcome::Applied(applied) => &mut applied.reply,
        other => panic!("no reply: {other:?}"),
    }
}

fn delete(key: &'static str, range_end: &'static str) -> Op {
    let (key, range_end) = (key.into(), range_end.into());
    Op::Command(Command::DeleteRange(DeleteRangeRequest { key, range_end, prev_kv: true }))
}

fn revoke(id: i64) -> Command {
    Command::LeaseRevoke(LeaseRevoke { ids: vec![id], as_of: 0 })
}

fn grant(id: i64, ttl: i64) -> Op {
    Op::Command(Command::LeaseGrant(LeaseGrantRequest { id, ttl }))
}

fn compact(revision: i64) -> Op {
    Op::Command(Command::Compact(CompactionRequest { revision, physical: false }))
}

#[test]
fn what_the_real_state_machine_says_is_accepted() {
    for seed in 0..30 {
        let mut script = Script::new();
        let mut dice = Dice::new(seed);
        let mut workload = Workload::new(60, &mut dice);
        // The workload looks at a model to find what is there; here only its sense of where it is matters.
        let mut seen = Model::new();
        for _ in 0..150 {
            let op = workload.draw(&seen, &mut dice);
            let id = match &op {
                Op::Command(Command::LeaseGrant(grant)) => Some((grant.id, grant.ttl)),
                _ => None,
            };
            let outcome = script.call(op);
            seen.revision = script.revision();
            if let (Some((id, ttl)), Outcome::Applied(_)) = (id, outcome) {
                seen.leases.insert(id, (ttl, 0, 0));
            }
        }
        let verdict = script.history.judge();
        assert!(verdict.is_ok(), "seed {seed}: {}", verdict.unwrap_err());
    }
}

#[test]
fn a_lost_acknowledged_write() {
    let mut script = Script::new();
    script.put("a", "1");
    let lost = script.begin(put("a", "2"));
    // Another leader's log: the acknowledged entry is not in it, another one stands in its place.
    let kept = script.begin(put("b", "3"));
    let outcome = script.execute(&kept);
    script.end(&kept, outcome.clone());
    let mut history = script.history.clone();
    history.push(script.now, Step::Returned { operation: lost.operation, outcome });
    assert_eq!(found(&script.history), None);
    assert_eq!(found(&history), Some("one_revision_each"));

    let delete = delete("nothing", "");
    let mut script = Script::new();
    let lost = script.begin(delete.clone());
    let kept = script.call(delete);
    script.end(&lost, kept);
    assert_eq!(found(&script.history), Some("acked_survives"));

    let mut script = Script::new();
    script.put("a", "1");
    script.history.steps.retain(|(_, step)| !matches!(step, Step::Committed(_)));
    assert_eq!(found(&script.history), Some("acked_survives"));
}

#[test]
fn two_writes_with_one_revision() {
    let mut script = Script::new();
    script.put("a", "1");
    script.put("a", "2");
    let lie = |outcome: &mut Outcome| match outcome {
        Outcome::Applied(applied) => applied.revision -= 1,
        other => panic!("{other:?}"),
    };
    assert_eq!(after_a_lie(&script, lie), Some("one_revision_each"));
}

#[test]
fn a_stale_linearizable_read() {
    let mut script = Script::new();
    script.put("a", "1");
    let stale = script.begin(get("a"));
    let outcome = script.execute(&stale);
    script.put("a", "2");
    // It began before the write: either value will do.
    script.end(&stale, outcome.clone());
    assert_eq!(found(&script.history), None);
    let late = script.begin(get("a"));
    script.end(&late, outcome.clone());
    assert_eq!(found(&script.history), Some("real_time"));

    let mut script = Script::new();
    script.put("a", "1");
    script.put("a", "2");
    let serializable = |serializable| {
        let range = RangeRequest { key: "a".into(), serializable, ..RangeRequest::default() };
        Op::Range(range)
    };
    let late = script.begin(serializable(true));
    script.end(&late, outcome.clone());
    assert_eq!(found(&script.history), None, "a serializable read may be late");
    let late = script.begin(serializable(false));
    script.end(&late, outcome);
    assert_eq!(found(&script.history), Some("real_time"));
}

#[test]
fn a_read_older_than_what_another_read_has_seen() {
    let mut script = Script::new();
    let old = script.begin(get("a"));
    let nothing = script.execute(&old);
    // Nobody was told of the write, but a reader saw it, if only a serializable one.
    let unknown = script.begin(put("a", "1"));
    script.execute(&unknown);
    script.end(&unknown, Outcome::Ambiguous);
    script.end(&old, nothing.clone());
    let range = RangeRequest { key: "a".into(), serializable: true, ..RangeRequest::default() };
    script.call(Op::Range(range));
    assert_eq!(found(&script.history), None);
    let late = script.begin(get("a"));
    script.end(&late, nothing);
    assert_eq!(found(&script.history), Some("real_time"));
}

#[test]
fn a_write_that_was_in_the_log_before_its_client_began() {
    let mut script = Script::new();
    script.put("a", "1");
    script.put("b", "1");
    assert_eq!(found(&script.history), None);
    let place = |history: &History, wanted: u64| {
        let is_it =
            |step: &Step| matches!(step, Step::Invoked { operation, .. } if *operation == wanted);
        history.steps.iter().position(|(_, step)| is_it(step)).unwrap()
    };
    let mut history = script.history.clone();
    let invoked = history.steps.remove(place(&history, 2));
    history.steps.insert(4, invoked);
    assert_eq!(found(&history), Some("asked_for"));
}

#[test]
fn an_entry_of_nobody_or_of_one_who_was_told_it_is_not_there() {
    let mut script = Script::new();
    let begun = script.begin(put("a", "1"));
    script.execute(&begun);
    script.end(&begun, Outcome::NotProposed);
    assert_eq!(found(&script.history), Some("not_proposed_means_not_proposed"));

    let mut script = Script::new();
    let begun = script.begin(put("a", "1"));
    script.end(&begun, Outcome::NotProposed);
    assert_eq!(found(&script.history), None);
    script.execute(&begun);
    assert_eq!(found(&script.history), Some("not_proposed_means_not_proposed"));

    let mut script = Script::new();
    let begun = script.begin(put("a", "1"));
    script.execute(&begun);
    script.execute(&begun);
    assert_eq!(found(&script.history), Some("proposed_once"));

    let mut script = Script::new();
    script.put("a", "1");
    script.history.steps.remove(0);
    assert_eq!(found(&script.history), Some("asked_for"));
}

#[test]
fn wrong_previous_values_counts_and_rejections() {
    let mut script = Script::new();
    script.put("a", "1");
    script.put("b", "1");
    script.put("a", "2");
    let lie = |outcome: &mut Outcome| match reply(outcome) {
        Reply::Put(put) => put.prev_kv.as_mut().unwrap().value = "2".into(),
        other => panic!("{other:?}"),
    };
    assert_eq!(after_a_lie(&script, lie), Some("answers"));
    let lie = |outcome: &mut Outcome| match reply(outcome) {
        Reply::Put(put) => put.prev_kv = None,
        other => panic!("{other:?}"),
    };
    assert_eq!(after_a_lie(&script, lie), Some("answers"));
    let lie = |outcome: &mut Outcome| *outcome = Outcome::Rejected(Rejection::KeyNotFound);
    assert_eq!(after_a_lie(&script, lie), Some("answers"));

    let limited = RangeRequest {
        key: "a".into(),
        range_end: "z".into(),
        limit: 1,
        ..RangeRequest::default()
    };
    script.call(Op::Range(limited));
    let lie = |outcome: &mut Outcome| match outcome {
        Outcome::Range { result: Ok(response), .. } => response.count = 1,
        other => panic!("{other:?}"),
    };
    assert_eq!(after_a_lie(&script, lie), Some("answers"));
    let lie = |outcome: &mut Outcome| match outcome {
        Outcome::Range { result, .. } => *result = Err(Rejection::Compacted),
        other => panic!("{other:?}"),
    };
    assert_eq!(after_a_lie(&script, lie), Some("answers"));

    script.call(delete("a", "z"));
    let lie = |outcome: &mut Outcome| match reply(outcome) {
        Reply::DeleteRange(delete) => delete.deleted = 1,
        other => panic!("{other:?}"),
    };
    assert_eq!(after_a_lie(&script, lie), Some("answers"));
}

#[test]
fn a_read_of_what_was_compacted() {
    let mut script = Script::new();
    script.put("a", "1");
    script.put("a", "2");
    let old = Op::Range(RangeRequest { key: "a".into(), revision: 2, ..RangeRequest::default() });
    let answer = script.call(old.clone());
    script.call(compact(3));
    let begun = script.begin(old);
    script.end(&begun, answer);
    assert_eq!(found(&script.history), Some("answers"));
    script.history.steps.pop();
    let refused = script.execute(&begun);
    script.end(&begun, refused);
    assert_eq!(found(&script.history), None);
}

#[test]
fn the_wrong_branch_of_a_transaction() {
    let compare = Compare {
        result: CompareResult::Equal as i32,
        target: CompareTarget::Version as i32,
        key: "a".into(),
        target_union: Some(TargetUnion::Version(1)),
        ..Compare::default()
    };
    let branch = |value: &'static str| {
        let Op::Command(Command::Put(put)) = put("b", value) else { unreachable!() };
        vec![RequestOp { request: Some(Request::RequestPut(put)) }]
    };
    let txn = |key: &'static str| TxnRequest {
        compare: vec![Compare { key: key.into(), ..compare.clone() }],
        success: branch("yes"),
        failure: branch("no"),
    };
    let mut script = Script::new();
    script.put("a", "1");
    script.call(Op::Command(Command::Txn(txn("a"))));
    let lie = |outcome: &mut Outcome| match reply(outcome) {
        Reply::Txn(txn) => txn.succeeded = !txn.succeeded,
        other => panic!("{other:?}"),
    };
    assert_eq!(after_a_lie(&script, lie), Some("answers"));

    // The member said yes and did no: whoever reads it finds out.
    let answer = script.get("b");
    script.call(Op::Command(Command::Txn(txn("missing"))));
    let value = |outcome: &mut Outcome| match outcome {
        Outcome::Range { result: Ok(response), .. } => response.kvs[0].value = "yes".into(),
        other => panic!("{other:?}"),
    };
    script.get("b");
    assert!(matches!(answer, Outcome::Range { .. }));
    assert_eq!(after_a_lie(&script, value), Some("answers"));
}

/// Revisions 2 to 5, the third of them with two events, and a watcher from 2 on.
fn watched() -> Script {
    let mut script = Script::new();
    script.put("a", "1");
    script.put("b", "1");
    script.call(delete("a", "z"));
    script.put("a", "2");
    script.watch(2);
    script
}

#[test]
fn events_that_are_missed_doubled_reordered_or_split() {
    let hears = |revisions: &[i64]| {
        let mut script = watched();
        for &revision in revisions {
            script.events(revision, Which::All);
        }
        script.history.ends_in_peace = true;
        found(&script.history)
    };
    assert_eq!(hears(&[2, 3, 4, 5]), None);
    let gapless = Some("watch_gapless");
    assert_eq!(hears(&[2, 3, 4]), gapless, "the last one is missing");
    assert_eq!(hears(&[2, 4, 5]), gapless);
    assert_eq!(hears(&[2, 3, 3, 4, 5]), gapless);
    assert_eq!(hears(&[2, 4, 3, 5]), gapless);

    let mut script = watched();
    script.events(2, Which::All);
    script.events(3, Which::All);
    assert_eq!(found(&script.history), None);
    script.events(4, Which::Some(vec![0]));
    script.events(4, Which::Some(vec![1]));
    assert_eq!(found(&script.history), gapless);

    let mut script = watched();
    script.put("a", "3");
    script.history.steps.retain(|(_, step)| !matches!(step, Step::Heard { .. }));
    script.events(2, Which::All);
    assert_eq!(found(&script.history), gapless, "events before the watcher was created");
}

#[test]
fn wrong_events_and_wrong_previous_values() {
    let mut script = watched();
    for revision in 2..=5 {
        script.events(revision, Which::All);
    }
    assert_eq!(found(&script.history), None);
    let lie = |index: usize, lie: &dyn Fn(&mut quorate::engine::Delivered)| {
        let mut history = script.history.clone();
        let mut heard = history.steps.iter_mut().filter_map(|(_, step)| match step {
            Step::Heard { deliveries, .. } => deliveries.first_mut(),
            _ => None,
        });
        lie(heard.nth(index).unwrap());
        drop(heard);
        found(&history)
    };
    let value = |delivered: &mut quorate::engine::Delivered| {
        let previous = std::sync::Arc::make_mut(delivered.previous.as_mut().unwrap());
        previous[0].as_mut().unwrap().value = "other".into();
    };
    assert_eq!(lie(3, &value), Some("watch_gapless"));
    let forget = |delivered: &mut quorate::engine::Delivered| {
        std::sync::Arc::make_mut(delivered.previous.as_mut().unwrap())[0] = None;
    };
    assert_eq!(lie(3, &forget), Some("watch_gapless"), "nothing was compacted");
    let event = |delivered: &mut quorate::engine::Delivered| {
        if let Delivery::Events { batch, .. } = &mut delivered.delivery {
            std::sync::Arc::make_mut(batch).events[0].kv.value = "other".into();
        }
    };
    assert_eq!(lie(1, &event), Some("watch_gapless"));
}

#[test]
fn progress_ahead_of_events() {
    let mut script = watched();
    script.events(2, Which::All);
    script.progress(2);
    assert_eq!(found(&script.history), None);
    script.progress(3);
    assert_eq!(found(&script.history), Some("watch_gapless"));

    let mut script = watched();
    script.events(2, Which::All);
    script.events(3, Which::All);
    script.progress(2);
    assert_eq!(found(&script.history), Some("watch_gapless"), "it went back");

    let mut script = Script::new();
    script.watch(5);
    script.put("a", "1");
    script.progress(2);
    assert_eq!(found(&script.history), Some("watch_gapless"), "the future has not come");
}

#[test]
fn a_watcher_that_resumes_hears_the_rest_and_no_more() {
    let resumed = |revisions: &[i64]| {
        let mut script = watched();
        script.events(2, Which::All);
        script.events(3, Which::All);
        script.history.push(script.now, Step::Reconnected { client: 1 });
        script.deliver(Delivery::Created { id: 1, revision: 5 });
        for &revision in revisions {
            script.events(revision, Which::All);
        }
        script.history.ends_in_peace = true;
        found(&script.history)
    };
    assert_eq!(resumed(&[4, 5]), None);
    assert_eq!(resumed(&[5]), Some("watch_gapless"));
    assert_eq!(resumed(&[3, 4, 5]), Some("watch_gapless"));
}

#[test]
fn a_watcher_canceled_for_a_compaction_that_was_not() {
    let canceled = |compact_revision: Option<i64>| {
        let mut script = watched();
        script.call(compact(4));
        let canceled = Delivery::Canceled { id: 1, revision: 0, compact_revision };
        script.deliver(canceled);
        found(&script.history)
    };
    assert_eq!(canceled(Some(4)), None);
    assert_eq!(canceled(Some(5)), Some("watch_gapless"), "nobody compacted so far");
    assert_eq!(canceled(Some(2)), Some("watch_gapless"), "it needs nothing below 2");
    assert_eq!(canceled(None), Some("watch_gapless"));
}

#[test]
fn a_lease_that_is_expired_early() {
    let expires_after = |ms: u64, slack: u32| {
        let mut script = Script::new();
        script.history.clock_slack = slack;
        script.call(grant(7, 10));
        script.pass(9_000);
        script.call(Op::KeepAlive(7));
        script.pass(ms);
        script.lead(revoke(7));
        found(&script.history)
    };
    assert_eq!(expires_after(10_000, 0), None);
    assert_eq!(expires_after(9_999, 0), Some("lease_never_early"));
    assert_eq!(expires_after(9_100, 100), None, "a clock that runs fast by a tenth");
    assert_eq!(expires_after(8_900, 100), Some("lease_never_early"));

    // The renewal was on its way when the lease was expired, and was answered.
    let mut script = Script::new();
    script.call(grant(7, 10));
    script.pass(9_000);
    let begun = script.begin(Op::KeepAlive(7));
    let outcome = script.execute(&begun);
    script.pass(2_000);
    script.lead(revoke(7));
    assert_eq!(found(&script.history), None);
    script.end(&begun, outcome);
    assert_eq!(found(&script.history), Some("lease_never_early"));

    // A client may end a lease whenever it likes.
    let mut script = Script::new();
    script.call(grant(7, 10));
    script.call(Op::Command(revoke(7)));
    assert_eq!(found(&script.history), None);
}
