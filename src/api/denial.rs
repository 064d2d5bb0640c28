//! A request for a watcher that was refused on its way to the service, in place of the request: so that the refusal is told
//! in its turn, as clients expect it, behind the answers to what they asked before.
//!
//! It is a message of a watch stream without anything that etcd's have. A client that sends one refuses a watcher to itself.

use bytes::Bytes;
use prost::Message;

use crate::watch::Denial;

const KINDS: [Denial; 4] = [Denial::Token, Denial::OldRevision, Denial::Nobody, Denial::Permission];

#[derive(Clone, PartialEq, Message)]
struct Denied {
    /// Place in [`KINDS`], plus one.
    #[prost(uint32, tag = "2047")]
    kind: u32,
}

pub(super) fn message(denial: Denial) -> Bytes {
    let place = KINDS.iter().position(|kind| *kind == denial).unwrap_or_default();
    let kind = u32::try_from(place + 1).unwrap_or_default();
    Denied { kind }.encode_to_vec().into()
}

pub(super) fn of(message: &Bytes) -> Option<Denial> {
    let kind = Denied::decode(message.clone()).ok()?.kind;
    let place = usize::try_from(kind).ok()?.checked_sub(1)?;
    KINDS.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb as pb;
    use crate::proto::etcdserverpb::watch_request::RequestUnion;

    #[test]
    fn a_denial_is_no_request_and_a_request_no_denial() {
        for denial in KINDS {
            assert_eq!(of(&message(denial)), Some(denial));
            let read = pb::WatchRequest::decode(message(denial)).unwrap();
            assert_eq!(read.request_union, None);
        }
        let create = RequestUnion::CreateRequest(pb::WatchCreateRequest::default());
        let request = pb::WatchRequest { request_union: Some(create) };
        assert_eq!(of(&request.encode_to_vec().into()), None);
        assert_eq!(of(&Bytes::from_static(b"\xff")), None);
    }
}
