//! A request's body against the rule of its method and the permissions of who asks. Pure.

use bytes::Bytes;
use prost::Message;

use super::rules::{self, Rule};
use crate::api::status;
use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::alarm_request::AlarmAction;
use crate::proto::quorate::log::LeaseRevoke;
use crate::proto::{Method, Status};
use crate::state::{Asker, Auth, Command, Rejection, check};

/// What may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pass {
    /// As it came.
    Plainly,
    /// It reads: the permissions must be the same when the answer is there.
    IfNothingChanges,
    /// Its answer names keys, each of which must be readable.
    IfItsKeysMayBeRead,
    /// If all keys of all leases may be read, which is to be looked up.
    IfAllLeaseKeysMayBeRead,
}

/// Of a unary call. A body that cannot be read is refused here: what it would do is not known.
pub(super) fn unary(
    auth: &Auth,
    asker: &Asker,
    method: Method,
    body: &Bytes,
) -> Result<Pass, Status> {
    let judged = |outcome: Result<(), Rejection>| outcome.map_err(status::of_rejection);
    match rules::of(method) {
        Rule::Somebody => judged(auth.somebody(asker)).map(|()| Pass::Plainly),
        Rule::Root => judged(auth.admin(asker)).map(|()| Pass::Plainly),
        Rule::Keys => keys(auth, asker, method, body),
        Rule::Alarm => {
            let request: pb::AlarmRequest = decoded(method, body)?;
            judged(match request.action() {
                AlarmAction::Get => auth.somebody(asker),
                _ => auth.admin(asker),
            })?;
            Ok(Pass::Plainly)
        }
        Rule::LeaseKeys => {
            judged(auth.somebody(asker))?;
            let request: pb::LeaseTimeToLiveRequest = decoded(method, body)?;
            Ok(if request.keys { Pass::IfItsKeysMayBeRead } else { Pass::Plainly })
        }
        Rule::AllLeaseKeys => {
            judged(auth.somebody(asker))?;
            Ok(match auth.admin(asker) {
                Ok(()) => Pass::IfNothingChanges,
                Err(_) => Pass::IfAllLeaseKeysMayBeRead,
            })
        }
        // A service above made other calls of these.
        Rule::MadeOfOthers
        // Each message is asked about.
        | Rule::Messages
        // The guard answers these itself.
        | Rule::Login
        | Rule::Account => Err(status::not_served(method)),
    }
}

fn keys(auth: &Auth, asker: &Asker, method: Method, body: &Bytes) -> Result<Pass, Status> {
    let (command, pass) = match method {
        Method::Range => {
            let request: pb::RangeRequest = decoded(method, body)?;
            sound(check::range(&request))?;
            auth.range(asker, &request).map_err(status::of_rejection)?;
            return Ok(Pass::IfNothingChanges);
        }
        Method::Put => {
            let request = decoded(method, body)?;
            sound(check::put(&request))?;
            (Command::Put(request), Pass::Plainly)
        }
        Method::DeleteRange => {
            let request = decoded(method, body)?;
            sound(check::delete_range(&request))?;
            (Command::DeleteRange(request), Pass::Plainly)
        }
        Method::Txn => {
            let request: pb::TxnRequest = decoded(method, body)?;
            // How many operations are too many knows who executes them.
            sound(check::txn(&request, usize::MAX))?;
            let reads = check::is_read_only(&request);
            let pass = if reads { Pass::IfNothingChanges } else { Pass::Plainly };
            (Command::Txn(request), pass)
        }
        _ => {
            let request: pb::LeaseRevokeRequest = decoded(method, body)?;
            let revoke = LeaseRevoke { ids: vec![request.id], as_of: 0 };
            (Command::LeaseRevoke(revoke), Pass::Plainly)
        }
    };
    // The keys on leases are looked at when it is applied.
    match auth.permit(asker, &command, &|_| Ok(Vec::new())) {
        Ok(Ok(())) => Ok(pass),
        Ok(Err(rejection)) => Err(status::of_rejection(rejection)),
        Err(fault) => Err(status::of_fault(&fault)),
    }
}

fn sound(checked: Result<(), check::Malformed>) -> Result<(), Status> {
    checked.map_err(|malformed| status::of_malformed(&malformed))
}

pub(super) fn decoded<M: Message + Default>(method: Method, body: &Bytes) -> Result<M, Status> {
    M::decode(body.clone()).map_err(|error| status::unreadable(method, &error))
}
