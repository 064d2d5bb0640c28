//! Linearizability by search (Wing and Gong, Lowe), for small histories: a second opinion on the checker, which
//! believes the log. This one believes nothing but the answers and their times.

use std::collections::BTreeMap;

use quorate::base::RequestId;
use quorate::state::{Envelope, encode};
use quorate::storage::{Entry, EntryKind};

use crate::checker::Checker;
use crate::history::{History, Outcome, Step};
use crate::workload::Op;

/// More than this many operations would take too long.
pub(crate) const OPERATIONS_MAX: usize = 14;

struct Operation<'a> {
    invoked: usize,
    /// None: it may still happen at any time, or never.
    returned: Option<usize>,
    op: &'a Op,
    outcome: Option<&'a Outcome>,
}

/// Whether some order of the operations explains every answer, and no operation stands before one that had ended
/// when it began. Serializable reads and leases' renewals promise nothing here and are passed over.
pub(crate) fn is_linearizable(history: &History) -> bool {
    let operations = operations(history);
    assert!(operations.len() <= OPERATIONS_MAX, "{} operations are too many", operations.len());
    search(&operations, &mut Vec::new())
}

fn operations(history: &History) -> Vec<Operation<'_>> {
    let mut operations = BTreeMap::new();
    for (place, (_, step)) in history.steps.iter().enumerate() {
        match step {
            Step::Invoked { operation, op, .. } => {
                let invoked = Operation { invoked: place, returned: None, op, outcome: None };
                operations.insert(*operation, invoked);
            }
            Step::Returned { operation, outcome } => match outcome {
                Outcome::Ambiguous => {}
                Outcome::NotProposed => {
                    operations.remove(operation);
                }
                known => {
                    let returned = operations.get_mut(operation).unwrap();
                    (returned.returned, returned.outcome) = (Some(place), Some(known));
                }
            },
            _ => {}
        }
    }
    let promises_order = |operation: &Operation<'_>| match operation.op {
        Op::Range(range) => !range.serializable && operation.outcome.is_some(),
        Op::ReadTxn(_) => operation.outcome.is_some(),
        Op::Command(_) => true,
        Op::KeepAlive(_) | Op::Tree(_) => false,
    };
    operations.into_values().filter(promises_order).collect()
}

/// Tries every operation that may come next.
fn search(operations: &[Operation<'_>], order: &mut Vec<usize>) -> bool {
    let rest: Vec<usize> = (0..operations.len()).filter(|at| !order.contains(at)).collect();
    let first_end = rest.iter().filter_map(|&at| operations[at].returned).min();
    let Some(first_end) = first_end else { return true };
    for at in rest {
        if operations[at].invoked > first_end {
            continue;
        }
        order.push(at);
        if explains(operations, order) && search(operations, order) {
            return true;
        }
        order.pop();
    }
    false
}

/// Whether the last operation of the order is answered as the model answers it after the others.
fn explains(operations: &[Operation<'_>], order: &[usize]) -> bool {
    let mut checker = Checker::new(&[]);
    for &at in order {
        let Operation { op, outcome, .. } = &operations[at];
        let is_explained = match op {
            Op::Command(command) => {
                let index = checker.next_index();
                let request = RequestId { counter: index, nonce: 1, ..RequestId::default() };
                checker.asked(request);
                let data = encode(&Envelope::new(request, command.clone()));
                checker.commit(&Entry { term: 1, index, kind: EntryKind::Normal, data }).unwrap();
                let expected = checker.outcome(index).unwrap();
                let result = expected.result.as_ref().unwrap();
                match outcome {
                    None => true,
                    Some(Outcome::Applied(applied)) => {
                        result.as_ref() == Ok(&applied.reply)
                            && expected.revision == applied.revision
                    }
                    Some(Outcome::Rejected(rejection)) => result.as_ref() == Err(rejection),
                    Some(_) => false,
                }
            }
            Op::Range(range) => {
                let model = &checker.model;
                matches!(outcome, Some(Outcome::Range { revision, result: Ok(response) })
                    if *revision == model.revision && *response == model.range_at(range, *revision))
            }
            Op::ReadTxn(txn) => {
                let model = &checker.model;
                matches!(outcome, Some(Outcome::Txn { revision, result })
                    if *revision == model.revision
                        && *result == model.read_txn_at(txn, *revision, model.compacted))
            }
            Op::KeepAlive(_) | Op::Tree(_) => false,
        };
        if !is_explained {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use quorate::proto::etcdserverpb::{DeleteRangeRequest, RangeRequest};
    use quorate::state::{Command, Reply};

    use super::*;
    use crate::dice::Dice;
    use crate::script::{Begun, Script, get, put};

    const CLIENTS: usize = 4;

    /// Where a client's operation is.
    enum At {
        Idle,
        Begun(Begun),
        Done(Begun, Outcome),
    }

    fn draw(dice: &mut Dice) -> Op {
        let key = ["a", "b"][dice.below(2)];
        match dice.below(10) {
            0..=3 => put(key, &dice.between(0, 3).to_string()),
            4 => Op::Command(Command::DeleteRange(DeleteRangeRequest {
                key: key.into(),
                range_end: "z".into(),
                prev_kv: true,
            })),
            5 | 6 => Op::Range(RangeRequest {
                key: "a".into(),
                range_end: "z".into(),
                ..RangeRequest::default()
            }),
            _ => get(key),
        }
    }

    /// Clients at once, and some that are never told. Whether one of those has happened.
    fn honest(dice: &mut Dice) -> (History, bool) {
        let mut script = Script::new();
        let mut clients: Vec<At> = (0..CLIENTS).map(|_| At::Idle).collect();
        let (mut left, mut has_unknown) = (OPERATIONS_MAX - CLIENTS, false);
        while left > 0 || clients.iter().any(|at| !matches!(at, At::Idle)) {
            let client = dice.below(CLIENTS);
            let before = std::mem::replace(&mut clients[client], At::Idle);
            clients[client] = match before {
                At::Idle if left == 0 => At::Idle,
                At::Idle => {
                    left -= 1;
                    At::Begun(script.begin(draw(dice)))
                }
                At::Begun(begun) if dice.in_thousand(60) => {
                    script.end(&begun, Outcome::Ambiguous);
                    At::Idle
                }
                At::Begun(begun) => {
                    let outcome = script.execute(&begun);
                    At::Done(begun, outcome)
                }
                At::Done(begun, outcome) => {
                    let is_unknown = dice.in_thousand(60);
                    has_unknown |= is_unknown;
                    script.end(&begun, if is_unknown { Outcome::Ambiguous } else { outcome });
                    At::Idle
                }
            };
        }
        (script.history, has_unknown)
    }

    /// Who told the lie, and how.
    fn tamper(history: &mut History, dice: &mut Dice) {
        let is_read = |step: &Step| {
            matches!(
                step,
                Step::Returned { outcome: Outcome::Range { .. } | Outcome::Applied(_), .. }
            )
        };
        let places: Vec<usize> =
            (0..history.steps.len()).filter(|&at| is_read(&history.steps[at].1)).collect();
        let Some(&place) = dice.pick(&places) else { return };
        // What was read before, as if it had been read now; or the answer itself, with something changed.
        let others: Vec<Outcome> = places
            .iter()
            .filter(|at| **at <= place)
            .filter_map(|&at| match &history.steps[at].1 {
                Step::Returned { outcome: outcome @ Outcome::Range { .. }, .. } => {
                    Some(outcome.clone())
                }
                _ => None,
            })
            .collect();
        let other = dice.pick(&others).cloned();
        let what = dice.below(4);
        let Step::Returned { outcome, .. } = &mut history.steps[place].1 else { return };
        match (outcome, what) {
            (outcome @ Outcome::Range { .. }, 0 | 1) => *outcome = other.unwrap(),
            (Outcome::Range { result: Ok(response), .. }, 2) => response.count += 1,
            (Outcome::Range { revision, result: Ok(response) }, _) => {
                *revision -= 1;
                response.header.as_mut().unwrap().revision -= 1;
            }
            (Outcome::Applied(applied), 0 | 1) => match &mut applied.reply {
                Reply::Put(put) => put.prev_kv = None,
                Reply::DeleteRange(delete) => delete.deleted += 1,
                _ => {}
            },
            (Outcome::Applied(applied), _) => applied.revision += 1,
            _ => {}
        }
    }

    /// A read is said to have begun only shortly before its end.
    fn shrink_a_read(history: &mut History, dice: &mut Dice) {
        let ends: Vec<(usize, u64)> = history
            .steps
            .iter()
            .enumerate()
            .filter_map(|(at, (_, step))| match step {
                Step::Returned { operation, outcome: Outcome::Range { .. } } => {
                    Some((at, *operation))
                }
                _ => None,
            })
            .collect();
        let Some(&(end, wanted)) = dice.pick(&ends) else { return };
        let begins =
            |step: &Step| matches!(step, Step::Invoked { operation, .. } if *operation == wanted);
        let begin = history.steps.iter().position(|(_, step)| begins(step)).unwrap();
        let invoked = history.steps.remove(begin);
        history.steps.insert(end - 1, invoked);
    }

    #[test]
    fn the_search_and_the_checker_agree() {
        let mut verdicts = [0; 4];
        for seed in 0..1_500 {
            let mut dice = Dice::new(seed);
            let (mut history, has_unknown) = honest(&mut dice);
            match seed % 3 {
                0 => {}
                1 => tamper(&mut history, &mut dice),
                _ => shrink_a_read(&mut history, &mut dice),
            }
            let (checked, searched) = (history.judge(), is_linearizable(&history));
            assert!(seed % 3 != 0 || checked.is_ok(), "seed {seed}: {}", checked.unwrap_err());
            // The log is one possible order; without unknown outcomes it is the only one.
            assert!(searched || checked.is_err(), "seed {seed}: the search finds no order");
            let agree = searched == checked.is_ok() || has_unknown;
            assert!(agree, "seed {seed}: an order exists, but {}", checked.unwrap_err());
            verdicts[usize::from(checked.is_ok()) * 2 + usize::from(searched)] += 1;
        }
        let [both_no, _, _, both_yes] = verdicts;
        assert!(both_no > 200 && both_yes > 600, "{verdicts:?}");
    }

    #[test]
    fn concurrent_writes_may_be_ordered_either_way_and_later_ones_not() {
        let mut script = Script::new();
        let one = script.begin(put("a", "1"));
        let two = script.begin(put("a", "2"));
        let second = script.execute(&two);
        let first = script.execute(&one);
        script.end(&one, first);
        script.end(&two, second);
        assert!(is_linearizable(&script.history));
        let begun = script.history.steps.remove(1);
        script.history.steps.insert(4, begun);
        assert!(!is_linearizable(&script.history));
    }
}
