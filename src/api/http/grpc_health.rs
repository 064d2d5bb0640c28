//! `grpc.health.v1.Health`: whether this server serves. gRPC's own question, so it is no method of ours.

use std::sync::Arc;

use prost::Message;
use tokio::sync::mpsc;

use super::body::Answer;
use super::grpc::{message_of, only, stream_of};
use super::messages::Messages;
use super::session::{Session, stopped};
use crate::proto::{Code, Item, Retry, Status};

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;
/// Told by Watch alone.
const SERVICE_UNKNOWN: i32 = 3;

/// Which of the two was called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    Check,
    Watch,
}

impl Asked {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/grpc.health.v1.Health/Check" => Some(Self::Check),
            "/grpc.health.v1.Health/Watch" => Some(Self::Watch),
            _ => None,
        }
    }
}

/// etcd knows the empty service alone, and serves from its start on.
pub(super) async fn answer(
    session: &Arc<Session>,
    asked: Asked,
    mut messages: Messages,
) -> Result<Answer, Status> {
    let request = CheckRequest::decode(only(session, &mut messages).await?).map_err(|error| {
        Status::invalid(format!("the request of Health cannot be read: {error}"))
    })?;
    let is_known = request.service.is_empty();
    match asked {
        Asked::Check if !is_known => {
            Err(Status::new(Code::NotFound, "unknown service", Retry::Never))
        }
        Asked::Check => Ok(message_of(encoded(SERVING), None)),
        Asked::Watch => {
            let (sender, answers) = mpsc::channel(2);
            let status = if is_known { SERVING } else { SERVICE_UNKNOWN };
            let session = Arc::clone(session);
            tokio::spawn(async move {
                // A client that is gone wants neither.
                let _ = sender.send(Item::Message(encoded(status))).await;
                tokio::select! {
                    () = session.left() => {
                        let _ = sender.send(Item::End(Err(stopped()))).await;
                    }
                    () = sender.closed() => {}
                }
            });
            Ok(stream_of(answers, None, None))
        }
    }
}

fn encoded(status: i32) -> bytes::Bytes {
    CheckResponse { status }.encode_to_vec().into()
}
