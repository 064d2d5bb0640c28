//! Counting by the index gives what counting by a walk gives.

use quorate::base::KeyRange;
use quorate::mvcc::Reader;
use quorate::proto::etcdserverpb::RangeRequest;

use crate::node::Up;
use crate::violation::{Verdict, Violation, ensure};

pub(crate) fn counts_equal_walk(node: u64, up: &Up, request: &RangeRequest) -> Verdict {
    let failed = |text: String| Violation::new("counts_equal_walk", format!("{node}: {text}"));
    let query = up.handle.query().map_err(|fault| failed(fault.to_string()))?;
    let counted = RangeRequest { count_only: true, ..request.clone() };
    let Ok(answer) = query.range(&counted).map_err(|fault| failed(fault.to_string()))? else {
        return Ok(());
    };
    let at = if request.revision > 0 { request.revision } else { query.revision() };
    let view = up.store.view().map_err(|fault| failed(fault.to_string()))?;
    let range = KeyRange::new(request.key.clone(), request.range_end.clone());
    let walked =
        Reader::at(&view, at).count_walk(&range).map_err(|fault| failed(fault.to_string()))?;
    ensure(answer.count == walked as i64, "counts_equal_walk", || {
        format!("{node} counts {} in {range:?} at {at}, and a walk {walked}", answer.count)
    })
}
