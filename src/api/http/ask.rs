//! The door asking the service itself, as any client would.

use prost::Message;
use tokio::sync::oneshot;

use super::session::stopped;
use crate::proto::{Call, Caller, Code, Method, Outcome, Reply, Retry, Service, Status};

/// The encoded answer to an encoded request.
pub(super) async fn bytes(
    service: &dyn Service,
    caller: &Caller,
    method: Method,
    body: bytes::Bytes,
    deadline_ms: u32,
) -> Outcome {
    let (done, outcome) = oneshot::channel();
    let reply = Reply::from_fn(move |outcome| {
        // Whoever hung up wants no answer.
        let _ = done.send(outcome);
    });
    service.call(caller, vec![Call { method, body, deadline_ms, reply }]);
    outcome.await.unwrap_or_else(|_| Err(stopped()))
}

/// The same with messages.
pub(super) async fn message<R: Message + Default>(
    service: &dyn Service,
    caller: &Caller,
    method: Method,
    request: &impl Message,
) -> Result<R, Status> {
    let answer = bytes(service, caller, method, request.encode_to_vec().into(), 0).await?;
    R::decode(answer).map_err(|error| {
        let text = format!("quorate: the answer of {} cannot be read: {error}", method.path());
        Status::new(Code::Internal, text, Retry::Never)
    })
}
