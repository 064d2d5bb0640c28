//! `/v2/keys`: reads and writes of the tree.

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Response, StatusCode};

use super::form::{self, Form};
use super::request::{Wanted, wanted};
use super::routes::{Asked, number, object};
use super::{access, json, registry, watch};
use crate::api::http::body::Answer;
use crate::api::status;
use crate::base::limits;
use crate::engine::Handle;
use crate::proto::quorate::log::V2Request;
use crate::proto::quorate::log::v2_event::Action;
use crate::state::v2::{Error, Listed};
use crate::state::{Command, Reply};

const PREFIX: usize = "/v2/keys".len();

pub(super) async fn respond(mut asked: Asked<'_>) -> Response<Answer> {
    if let Some(refused) = asked.refused("HEAD,GET,PUT,POST,DELETE") {
        return refused;
    }
    let answered = match understood(&mut asked).await {
        Ok(wanted) if access::may_use(&asked, key(&asked), wanted.is_recursive()).await => {
            match registry::admitted(&asked, wanted).await {
                // The right to write is held until it is written.
                Ok((wanted, _admitted)) => served(&asked, wanted).await,
                Err(error) => Err(error),
            }
        }
        Ok(_) => Err(Error::new(Error::UNAUTHORIZED, "Insufficient credentials", 0)),
        Err(error) => Err(error),
    };
    let response = answered.unwrap_or_else(|error| failed(&error));
    asked.of_cluster(if asked.method() == Method::HEAD { headed(response) } else { response })
}

async fn served(asked: &Asked<'_>, wanted: Wanted) -> Result<Response<Answer>, Error> {
    if asked.handle.is_quarantined() {
        return Err(internal(status::quarantined().text));
    }
    match wanted {
        Wanted::Read { path, recursive, quorum } => read(asked, path, recursive, quorum).await,
        Wanted::Watch { path, recursive, since, stream } => {
            watch::respond(asked, path, recursive, since, stream)
        }
        Wanted::Write { request, without_values } => write(asked, request, without_values).await,
    }
}

async fn understood(asked: &mut Asked<'_>) -> Result<Wanted, Error> {
    let invalid = |wrong: String| Error::new(Error::INVALID_FORM, wrong, 0);
    let request = &mut asked.request;
    let (method, session) = (request.method().clone(), asked.session);
    let query = request.uri().query().unwrap_or_default().as_bytes().to_vec();
    let headers = request.headers().clone();
    let body = form::body(session, &method, &headers, request.body_mut()).await.map_err(invalid)?;
    let form = Form::parse(&query, &body).map_err(invalid)?;
    wanted(&method, key(asked), &form)
}

/// As the path names it.
fn key<'a>(asked: &'a Asked<'_>) -> &'a [u8] {
    asked.path.get(PREFIX..).unwrap_or_default()
}

async fn read(
    asked: &Asked<'_>,
    path: Vec<u8>,
    recursive: bool,
    quorum: bool,
) -> Result<Response<Answer>, Error> {
    let handle = asked.handle;
    let now_ms = handle.clock().wall_ms();
    if quorum {
        let deadline = handle.clock().now() + limits::V2_REQUEST_DEADLINE;
        handle.read_barrier(deadline).await.map_err(|error| unavailable(&error))?;
    }
    let job = move |handle: &Handle| {
        let listed = handle.query().and_then(|query| query.v2(&path, recursive, now_ms));
        listed.map(|listed| listed.map(|it: Listed| (json::listing(&it.listing), it.index)))
    };
    let read = match handle.read_job(job).await {
        Some(Ok(read)) => read,
        Some(Err(fault)) => return Err(internal(fault.to_string())),
        None => return Err(internal("etcdserver: too many requests")),
    };
    handle.tree_meters().gets.count(read.is_ok());
    let (text, index) = read?;
    Ok(told(handle, StatusCode::OK, text, index))
}

async fn write(
    asked: &Asked<'_>,
    request: V2Request,
    without_values: bool,
) -> Result<Response<Answer>, Error> {
    let handle = asked.handle;
    let command = Command::V2(request);
    let now = handle.clock().now();
    let deadline = now + limits::V2_REQUEST_DEADLINE;
    let admitted = asked.quota.admit(handle, &command, now, deadline);
    admitted.map_err(|rejection| internal(rejection.to_string()))?;
    let applied = handle.propose(command, deadline).await;
    let Reply::V2(reply) = applied.map_err(|error| unavailable(&error))?.reply else {
        return Err(internal("quorate: the log answered something else"));
    };
    let event = reply.result?;
    let is_created = match event.action() {
        Action::Create => true,
        Action::Set => event.prev_node.is_none(),
        _ => false,
    };
    let code = if is_created { StatusCode::CREATED } else { StatusCode::OK };
    let is_silent =
        without_values && !matches!(event.action(), Action::Delete | Action::CompareAndDelete);
    Ok(told(handle, code, json::event(&event, is_silent), reply.index))
}

pub(super) fn unavailable(error: &crate::engine::Error) -> Error {
    internal(status::of_error(error).text)
}

fn internal(text: impl Into<Bytes>) -> Error {
    Error::new(Error::RAFT_INTERNAL, text, 0)
}

fn told(handle: &Handle, code: StatusCode, text: String, index: u64) -> Response<Answer> {
    let mut response = object(code, text);
    indexes(&mut response, handle, index);
    response
}

/// Where the tree and the log stand.
pub(super) fn indexes(response: &mut Response<Answer>, handle: &Handle, index: u64) {
    let raft = handle.raft();
    number(response, "x-etcd-index", index);
    number(response, "x-raft-index", raft.commit);
    number(response, "x-raft-term", raft.term);
}

fn failed(error: &Error) -> Response<Answer> {
    let code = match error.code {
        Error::KEY_NOT_FOUND => StatusCode::NOT_FOUND,
        Error::NOT_FILE | Error::DIR_NOT_EMPTY => StatusCode::FORBIDDEN,
        Error::TEST_FAILED | Error::NODE_EXIST => StatusCode::PRECONDITION_FAILED,
        Error::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
        Error::RAFT_INTERNAL | Error::LEADER_ELECTION => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    };
    let mut response = object(code, json::error(error));
    number(&mut response, "x-etcd-index", error.index);
    response
}

/// The head alone, which tells the length of what it leaves out.
fn headed(mut response: Response<Answer>) -> Response<Answer> {
    if let Answer::Plain(Some(text)) = response.body() {
        let length = HeaderValue::from(text.len());
        response.headers_mut().insert(CONTENT_LENGTH, length);
        *response.body_mut() = Answer::Plain(None);
    }
    response
}
