//! Answers of the state machine as lines of a script.

use std::error::Error;
use std::fmt::Write as _;

use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{
    DeleteRangeResponse, Member, PutResponse, RangeResponse, ResponseHeader, TxnResponse,
};
use quorate::proto::mvccpb::KeyValue;
use quorate::state::check::Malformed;
use quorate::state::{Rejection, Reply};

use crate::state_tree;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub(crate) fn malformed_line(malformed: &Malformed) -> String {
    format!("malformed: {malformed}\n")
}

pub(crate) fn print_answer<T>(
    answer: std::result::Result<T, Rejection>,
    print: impl FnOnce(T) -> Result<String>,
) -> Result<String> {
    match answer {
        Ok(reply) => print(reply),
        Err(rejection) => Ok(format!("rejected: {rejection}\n")),
    }
}

pub(crate) fn print_kv(kv: &KeyValue) -> String {
    let lease = if kv.lease == 0 { String::new() } else { format!(" lease={}", kv.lease) };
    let (key, value) = (text(&kv.key), text(&kv.value));
    let KeyValue { create_revision, mod_revision, version, .. } = kv;
    format!("{key}={value} create={create_revision} mod={mod_revision} version={version}{lease}")
}

pub(crate) fn print_header(header: &Option<ResponseHeader>) -> String {
    header
        .as_ref()
        .map_or_else(|| "no header".to_owned(), |header| format!("rev={}", header.revision))
}

pub(crate) fn print_put(response: &PutResponse) -> Result<String> {
    let mut out = format!("put {}\n", print_header(&response.header));
    if let Some(prev) = &response.prev_kv {
        writeln!(out, "prev {}", print_kv(prev))?;
    }
    Ok(out)
}

pub(crate) fn print_delete(response: &DeleteRangeResponse) -> Result<String> {
    let mut out = format!("deleted {} {}\n", response.deleted, print_header(&response.header));
    for prev in &response.prev_kvs {
        writeln!(out, "prev {}", print_kv(prev))?;
    }
    Ok(out)
}

pub(crate) fn print_range(response: &RangeResponse) -> Result<String> {
    let mut out = String::new();
    for kv in &response.kvs {
        writeln!(out, "{}", print_kv(kv))?;
    }
    let more = if response.more { " more" } else { "" };
    writeln!(out, "count={}{more} {}", response.count, print_header(&response.header))?;
    Ok(out)
}

pub(crate) fn print_txn(response: &TxnResponse) -> Result<String> {
    let mut out = String::new();
    let taken = if response.succeeded { "succeeded" } else { "failed" };
    writeln!(out, "txn {taken} {}", print_header(&response.header))?;
    for op in &response.responses {
        out += &match &op.response {
            Some(Response::ResponseRange(response)) => print_range(response)?,
            Some(Response::ResponsePut(response)) => print_put(response)?,
            Some(Response::ResponseDeleteRange(response)) => print_delete(response)?,
            Some(Response::ResponseTxn(response)) => print_txn(response)?,
            None => "nothing\n".to_owned(),
        };
    }
    let lines = out.lines().enumerate();
    Ok(lines
        .map(|(at, line)| if at == 0 { format!("{line}\n") } else { format!("  {line}\n") })
        .collect())
}

pub(crate) fn print_member(member: &Member) -> String {
    let learner = if member.is_learner { " learner" } else { "" };
    let Member { id, name, peer_ur_ls, client_ur_ls, .. } = member;
    format!("member {id} name={name:?} peer={peer_ur_ls:?} client={client_ur_ls:?}{learner}")
}

pub(crate) fn print_reply(reply: &Reply) -> Result<String> {
    Ok(match reply {
        Reply::Put(response) => print_put(response)?,
        Reply::DeleteRange(response) => print_delete(response)?,
        Reply::Txn(response) => print_txn(response)?,
        Reply::Compact(response) => format!("compacted {}\n", print_header(&response.header)),
        Reply::LeaseGrant(response) => {
            format!(
                "granted {} ttl={} {}\n",
                response.id,
                response.ttl,
                print_header(&response.header)
            )
        }
        Reply::LeaseRevoke(response) => format!("revoked {}\n", print_header(&response.header)),
        Reply::LeaseCheckpoint => "recorded\n".to_owned(),
        Reply::Alarm(response) => {
            let mut out = format!("alarms: {}\n", response.alarms.len());
            for alarm in &response.alarms {
                writeln!(out, "member {} {}", alarm.member_id, alarm.alarm().as_str_name())?;
            }
            out
        }
        Reply::Members { member, members } => {
            let mut out = member.as_ref().map(|m| print_member(m) + "\n").unwrap_or_default();
            let ids: Vec<u64> = members.iter().map(|member| member.id).collect();
            writeln!(out, "members {ids:?}")?;
            out
        }
        Reply::Published => "published\n".to_owned(),
        Reply::Nothing => "nothing\n".to_owned(),
        Reply::V2(reply) => match &reply.result {
            Ok(event) => state_tree::print_event(event),
            Err(error) => format!("{error}\n"),
        },
        Reply::V2Auth(told) => match told.as_ref() {
            Ok(told) => format!("{told:?}\n"),
            Err(refused) => format!("{refused}\n"),
        },
        Reply::V2Synced(expired) => format!("expired {expired}\n"),
        Reply::Auth => "done\n".to_owned(),
    })
}
