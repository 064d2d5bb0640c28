//! At the end every member shows exactly what the committed log says, and so everything that was acknowledged.

use bytes::Bytes;
use quorate::base::KeyRange;
use quorate::proto::etcdserverpb::RangeRequest;

use crate::checker::Checker;
use crate::node::Up;
use crate::violation::{Verdict, Violation, ensure};

pub(crate) fn acked_survives(node: u64, up: &Up, checker: &Checker) -> Verdict {
    let failed = |text: String| Violation::new("acked_survives", format!("{node}: {text}"));
    let query = up.handle.query().map_err(|fault| failed(fault.to_string()))?;
    let everything = RangeRequest {
        key: Bytes::from_static(b"\0"),
        range_end: Bytes::from_static(b"\0"),
        ..RangeRequest::default()
    };
    let found = query
        .range(&everything)
        .map_err(|fault| failed(fault.to_string()))?
        .map_err(|rejection| failed(rejection.to_string()))?;
    let expected = checker.model.live(&KeyRange::From(Bytes::new()), checker.model.revision);
    ensure(query.revision() == checker.model.revision, "acked_survives", || {
        format!("{node} shows revision {}, not {}", query.revision(), checker.model.revision)
    })?;
    for (found, expected) in found.kvs.iter().zip(&expected) {
        ensure(found == expected, "acked_survives", || {
            format!("{node} shows {found:?}, and the log says {expected:?}")
        })?;
    }
    ensure(found.kvs.len() == expected.len(), "acked_survives", || {
        format!("{node} shows {} keys, and the log says {}", found.kvs.len(), expected.len())
    })?;
    let leases: Vec<i64> = query.leases().into_iter().map(|(id, _)| id).collect();
    let expected: Vec<i64> = checker.model.leases.keys().copied().collect();
    ensure(leases == expected, "acked_survives", || {
        format!("{node} has the leases {leases:?}, and the log says {expected:?}")
    })
}
