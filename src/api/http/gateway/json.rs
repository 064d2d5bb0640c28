//! Objects to messages and back, as protobuf's own JSON has it: names of the files, 64-bit numbers as texts, bytes in
//! base64, zeros left out; unknown names are passed over.

use std::sync::OnceLock;

use bytes::Bytes;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde_json::{Serializer, Value};

use crate::proto::{Code, DESCRIPTORS, Method, Retry, Status};

/// Empty if the descriptors cannot be read, which a test rules out.
fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(DESCRIPTORS).unwrap_or_default())
}

/// The message that a method takes (`Request`) or gives (`Response`).
fn descriptor(method: Method, kind: &str) -> Option<MessageDescriptor> {
    let (service, name) = method.path().split_once('/')?;
    let (package, service) = service.rsplit_once('.')?;
    let name = match (method, kind) {
        (Method::Compact, _) => "Compaction",
        (Method::RangeStream, "Request") => "Range",
        // What is observed is what Leader answers.
        (Method::Observe, _) => "Leader",
        _ => name,
    };
    let before = if service == "Auth" && !name.starts_with("Auth") { "Auth" } else { "" };
    pool().get_message_by_name(&format!("{package}.{before}{name}{kind}"))
}

/// The encoded request that an object stands for.
pub(super) fn request(method: Method, object: Value) -> Result<Bytes, Status> {
    let unknown = || invalid(&format!("{} has no request in JSON", method.path()));
    let descriptor = descriptor(method, "Request").ok_or_else(unknown)?;
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    DynamicMessage::deserialize_with_options(descriptor, object, &options)
        .map(|message| message.encode_to_vec().into())
        .map_err(|error| invalid(&format!("proto: {error}")))
}

/// The object of an encoded answer.
pub(super) fn response(method: Method, message: Bytes) -> Result<String, Status> {
    let unreadable = |text: String| Status::new(Code::Internal, text, Retry::Never);
    let descriptor = descriptor(method, "Response")
        .ok_or_else(|| unreadable(format!("{} has no answer in JSON", method.path())))?;
    let message = DynamicMessage::decode(descriptor, message)
        .map_err(|error| unreadable(error.to_string()))?;
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(true);
    let mut text = Vec::new();
    message
        .serialize_with_options(&mut Serializer::new(&mut text), &options)
        .map_err(|error| unreadable(error.to_string()))?;
    String::from_utf8(text).map_err(|error| unreadable(error.to_string()))
}

/// etcd's object of a failure.
pub(super) fn failure(status: &Status) -> String {
    let text = Value::from(status.text.as_str());
    format!(r#"{{"code":{},"message":{text}}}"#, status.code.number())
}

/// One message of a stream, or its failure, on a line.
pub(in crate::api::http) fn line(method: Method, item: Result<Bytes, &Status>) -> Bytes {
    let result = match item {
        Ok(message) => response(method, message),
        Err(status) => Err(status.clone()),
    };
    let line = match result {
        Ok(object) => format!("{{\"result\":{object}}}\n"),
        Err(status) => format!("{{\"error\":{}}}\n", failure(&status)),
    };
    line.into()
}

pub(super) fn invalid(text: &str) -> Status {
    Status::new(Code::InvalidArgument, text, Retry::NotProposed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etcdserverpb as pb;

    #[test]
    fn every_method_has_messages() {
        let without: Vec<&str> = Method::ALL
            .iter()
            .filter(|it| {
                descriptor(**it, "Request").is_none() || descriptor(**it, "Response").is_none()
            })
            .map(|method| method.path())
            .collect();
        assert!(without.is_empty(), "{without:?}");
    }

    fn range(text: &str) -> Result<pb::RangeRequest, Status> {
        let bytes = request(Method::Range, serde_json::from_str(text).unwrap())?;
        Ok(pb::RangeRequest::decode(bytes).unwrap())
    }

    #[test]
    fn requests_are_read_as_etcd_reads_them() {
        let expected = pb::RangeRequest {
            key: Bytes::from_static(b"foo"),
            range_end: Bytes::from_static(b"\0"),
            limit: 5,
            sort_order: 2,
            sort_target: 1,
            serializable: true,
            ..Default::default()
        };
        for text in [
            r#"{"key":"Zm9v","range_end":"AA==","limit":"5","sort_order":"DESCEND","sort_target":1,"serializable":true}"#,
            r#"{"key":"Zm9v","rangeEnd":"AA==","limit":5,"sortOrder":2,"sortTarget":"VERSION","serializable":true,"nope":{"x":[1]}}"#,
        ] {
            assert_eq!(range(text).unwrap(), expected, "{text}");
        }
        assert_eq!(range(r#"{"key":"-_8"}"#).unwrap().key.as_ref(), [0xfb, 0xff]);
        for text in [r#"{"key":1}"#, r#"{"limit":"many"}"#, r#"[]"#, r#"{"key":"%"}"#] {
            let refused = range(text).unwrap_err();
            assert_eq!(refused.code, Code::InvalidArgument, "{text}");
        }
    }

    #[test]
    fn answers_are_written_as_etcd_writes_them() {
        let header =
            pb::ResponseHeader { cluster_id: 1 << 60, member_id: 2, revision: 3, raft_term: 4 };
        let kv = crate::proto::mvccpb::KeyValue {
            key: Bytes::from_static(b"foo"),
            mod_revision: 3,
            value: Bytes::from_static(&[0xfb, 0xff]),
            ..Default::default()
        };
        let range = pb::RangeResponse { header: Some(header), kvs: vec![kv], more: true, count: 7 };
        assert_eq!(
            response(Method::Range, range.encode_to_vec().into()).unwrap(),
            r#"{"header":{"cluster_id":"1152921504606846976","member_id":"2","revision":"3","raft_term":"4"},"kvs":[{"key":"Zm9v","mod_revision":"3","value":"+/8="}],"more":true,"count":"7"}"#
        );
        let member = pb::Member {
            id: 1,
            peer_ur_ls: vec!["http://a:1".to_owned()],
            is_learner: true,
            ..Default::default()
        };
        let members = pb::MemberListResponse { header: None, members: vec![member] };
        assert_eq!(
            response(Method::MemberList, members.encode_to_vec().into()).unwrap(),
            r#"{"members":[{"ID":"1","peerURLs":["http://a:1"],"isLearner":true}]}"#
        );
        let alarm = pb::AlarmMember { member_id: 1, alarm: 1 };
        let alarms = pb::AlarmResponse { header: None, alarms: vec![alarm] };
        assert_eq!(
            response(Method::Alarm, alarms.encode_to_vec().into()).unwrap(),
            r#"{"alarms":[{"memberID":"1","alarm":"NOSPACE"}]}"#
        );
        assert_eq!(response(Method::Defragment, Bytes::new()).unwrap(), "{}");
    }

    #[test]
    fn failures_have_a_number_and_a_text() {
        let status = Status::new(Code::Unknown, "\"leader\" field", Retry::Never);
        assert_eq!(failure(&status), r#"{"code":2,"message":"\"leader\" field"}"#);
        let told = line(Method::Watch, Err(&status));
        assert_eq!(told, "{\"error\":{\"code\":2,\"message\":\"\\\"leader\\\" field\"}}\n");
    }
}
