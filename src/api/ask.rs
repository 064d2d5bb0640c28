//! A service asked from inside, as any client would.

use std::sync::{Arc, Mutex, PoisonError};

use prost::Message;
use tokio::sync::oneshot;

use super::desk::Desk;
use crate::proto::{Answers, Call, Caller, Code, Method, Outcome, Reply, Retry, Service, Status};

/// One call's way back, which knows whether somebody still waits.
struct Asked {
    asker: Mutex<Option<oneshot::Sender<Outcome>>>,
    desk: Option<Arc<Desk>>,
}

impl Answers for Asked {
    fn answer(&self, _: u64, outcome: Outcome) {
        let asker = self.asker.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (asker, &self.desk) {
            (Some(asker), Some(desk)) => desk.put(asker, outcome),
            (Some(asker), None) => {
                // Whoever hung up wants no answer.
                let _ = asker.send(outcome);
            }
            (None, _) => {}
        }
    }

    fn is_wanted(&self, _: u64) -> bool {
        let asker = self.asker.lock().unwrap_or_else(PoisonError::into_inner);
        asker.as_ref().is_some_and(|asker| !asker.is_closed())
    }
}

/// The encoded answer to an encoded request, asked over the desk of a connection; who drops the future wants none.
pub(super) async fn over(
    desk: &Arc<Desk>,
    caller: &Caller,
    method: Method,
    body: bytes::Bytes,
    deadline_ms: u32,
) -> Outcome {
    let (reply, outcome) = asked(Some(desk));
    desk.ask(caller, Call { method, body, deadline_ms, reply });
    outcome.await.unwrap_or_else(|_| Err(stopped()))
}

/// The same, straight to the service.
pub(super) async fn bytes(
    service: &dyn Service,
    caller: &Caller,
    method: Method,
    body: bytes::Bytes,
) -> Outcome {
    let (reply, outcome) = asked(None);
    service.call(caller, vec![Call { method, body, deadline_ms: 0, reply }]);
    outcome.await.unwrap_or_else(|_| Err(stopped()))
}

/// The same with messages.
pub(super) async fn message<R: Message + Default>(
    service: &dyn Service,
    caller: &Caller,
    method: Method,
    request: &impl Message,
) -> Result<R, Status> {
    let answer = bytes(service, caller, method, request.encode_to_vec().into()).await?;
    R::decode(answer).map_err(|error| {
        let text = format!("quorate: the answer of {} cannot be read: {error}", method.path());
        Status::new(Code::Internal, text, Retry::Never)
    })
}

fn asked(desk: Option<&Arc<Desk>>) -> (Reply, oneshot::Receiver<Outcome>) {
    let (done, outcome) = oneshot::channel();
    let asked = Asked { asker: Mutex::new(Some(done)), desk: desk.cloned() };
    (Reply::new(Arc::new(asked), 0), outcome)
}

/// The member is gone, or on its way.
pub(super) fn stopped() -> Status {
    Status::new(Code::Unavailable, "etcdserver: server stopped", Retry::Ambiguous)
}
