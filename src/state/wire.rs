//! mvcc's words as etcd's messages.

use crate::mvcc::KeyValue;
use crate::proto::{etcdserverpb, mvccpb};

/// A header with its revision alone; the door that answers fills in the rest.
pub(super) fn header(revision: i64) -> Option<etcdserverpb::ResponseHeader> {
    Some(etcdserverpb::ResponseHeader { revision, ..Default::default() })
}

/// A key-value as clients see it.
pub fn to_wire(kv: KeyValue) -> mvccpb::KeyValue {
    mvccpb::KeyValue {
        key: kv.key,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        value: kv.value,
        lease: kv.lease,
    }
}
