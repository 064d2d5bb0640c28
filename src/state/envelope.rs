//! What every entry of the log is wrapped in: who asked, in whose term it may count, and the command.
//!
//! Promises: what [`encode`] wrote, every member reads; what this binary cannot read is a fault, never skipped.
//! Knows nothing of what commands do.

use bytes::Bytes;
use prost::Message;

use crate::base::{Index, MemberId, RequestId, Term};
use crate::proto::quorate::log::MemberChange;
use crate::proto::quorate::log::member_change::Kind;
use crate::proto::quorate::log::v2_auth::Change;
use crate::proto::quorate::log::v2_request::Method;
use crate::proto::quorate::log::v2_user_change::Kind as UserKind;
use crate::storage::Fault;

pub use crate::proto::quorate::log::entry::Command;

/// The envelope of every entry (`proto/quorate/log.proto` says what its fields mean).
pub type Envelope = crate::proto::quorate::log::Entry;

/// The only format there is; a member that meets a greater one stops.
const FORMAT: u32 = 1;

impl Envelope {
    /// A command that anybody may give.
    pub fn new(request: RequestId, command: Command) -> Self {
        Self {
            format: FORMAT,
            origin_member: request.member.0,
            origin_nonce: request.nonce,
            origin_counter: request.counter,
            command: Some(command),
            ..Self::default()
        }
    }

    /// A command that only the leader of `term` may give: refused at apply in any other.
    pub fn of_leader(request: RequestId, command: Command, term: Term) -> Self {
        Self { leader_term: term, ..Self::new(request, command) }
    }

    pub fn request(&self) -> RequestId {
        RequestId {
            member: MemberId(self.origin_member),
            nonce: self.origin_nonce,
            counter: self.origin_counter,
        }
    }
}

/// The bytes of an entry, or of a conf change's context.
pub fn encode(envelope: &Envelope) -> Bytes {
    Bytes::from(envelope.encode_to_vec())
}

/// Reads an entry's bytes; `index` is for the fault's text alone.
pub fn decode(index: Index, data: &[u8]) -> Result<Envelope, Fault> {
    let unknown = |what: String| Fault::Unknown { index, what };
    let envelope = Envelope::decode(data)
        .map_err(|error| unknown(format!("its envelope cannot be read ({error})")))?;
    if envelope.format != FORMAT {
        return Err(unknown(format!(
            "its envelope has format {}, and this binary knows {FORMAT}",
            envelope.format
        )));
    }
    match &envelope.command {
        None => Err(unknown("its command is none that this binary knows".to_owned())),
        Some(Command::MemberChange(change)) if Kind::try_from(change.kind).is_err() => {
            Err(unknown(format!("its change of members is of kind {}", change.kind)))
        }
        Some(Command::V2(request)) if Method::try_from(request.method).is_err() => {
            Err(unknown(format!("its request to the v2 tree is of kind {}", request.method)))
        }
        Some(Command::V2Auth(request)) => match &request.change {
            None => Err(unknown("its change of the v2 users is none that is known".to_owned())),
            Some(Change::User(user)) if UserKind::try_from(user.kind).is_err() => {
                Err(unknown(format!("its change of a v2 user is of kind {}", user.kind)))
            }
            Some(_) => Ok(envelope),
        },
        Some(Command::Auth(request)) if request.change.is_none() => {
            Err(unknown("its change of the users is none that is known".to_owned()))
        }
        Some(_) => Ok(envelope),
    }
}

/// The change that must travel as a conf change of Raft (with the envelope as its context); none when the command is
/// an ordinary entry, as an update of addresses is.
pub fn conf_change(command: &Command) -> Option<&MemberChange> {
    match command {
        Command::MemberChange(change) if change.kind() != Kind::Update => Some(change),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb::PutRequest;

    #[test]
    fn an_entry_of_a_newer_binary_stops_this_one() {
        let put = Command::Put(PutRequest::default());
        let envelope = Envelope::new(RequestId::default(), put);
        assert_eq!(decode(7, &encode(&envelope)).unwrap(), envelope);

        let newer = Envelope { format: 2, ..envelope.clone() };
        let text = decode(7, &encode(&newer)).unwrap_err().to_string();
        assert!(text.contains("entry 7") && text.contains("format 2"), "{text}");

        let unknown = Envelope { command: None, ..envelope };
        let mut bytes = encode(&unknown).to_vec();
        // Field 60, empty: a command of the future.
        bytes.extend([0xe2, 0x03, 0x00]);
        assert!(matches!(decode(7, &bytes), Err(Fault::Unknown { index: 7, .. })));
        assert!(matches!(decode(7, b"\xff"), Err(Fault::Unknown { .. })));

        let change = MemberChange { kind: 99, ..MemberChange::default() };
        let envelope = Envelope::new(RequestId::default(), Command::MemberChange(change));
        let text = decode(7, &encode(&envelope)).unwrap_err().to_string();
        assert!(text.contains("kind 99"), "{text}");
    }
}
