//! Answers about keys.

use prost::Message;

use crate::proto::etcdserverpb as pb;
use crate::proto::etcdserverpb::response_op::Response;
use crate::proto::mvccpb::{Event, KeyValue, event::EventType};

use super::json::{Object, array};
use super::page::{Page, Show, header_json};

pub(crate) struct Got<'a>(pub &'a pb::RangeResponse);
pub(crate) struct Stored<'a>(pub &'a pb::PutResponse);
pub(crate) struct Deleted<'a>(pub &'a pb::DeleteRangeResponse);
pub(crate) struct Transacted<'a>(pub &'a pb::TxnResponse);
pub(crate) struct Watched<'a>(pub &'a pb::WatchResponse);

impl Show for Got<'_> {
    fn simple(&self, page: &mut Page) {
        for kv in &self.0.kvs {
            page.key_value(kv);
        }
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        for kv in &self.0.kvs {
            page.key_value_fields("", kv);
        }
        page.field("More", self.0.more);
        page.field("Count", self.0.count);
    }

    fn json(&self, _: bool) -> String {
        range_json(self.0).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for Stored<'_> {
    fn simple(&self, page: &mut Page) {
        page.line("OK");
        if let Some(kv) = &self.0.prev_kv {
            page.key_value(kv);
        }
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        if let Some(kv) = &self.0.prev_kv {
            page.key_value_fields("Prev", kv);
        }
    }

    fn json(&self, _: bool) -> String {
        put_json(self.0).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for Deleted<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&self.0.deleted.to_string());
        for kv in &self.0.prev_kvs {
            page.key_value(kv);
        }
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        page.field("Deleted", self.0.deleted);
        for kv in &self.0.prev_kvs {
            page.key_value_fields("Prev", kv);
        }
    }

    fn json(&self, _: bool) -> String {
        delete_json(self.0).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for Transacted<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(if self.0.succeeded { "SUCCESS" } else { "FAILURE" });
        for response in self.0.responses.iter().filter_map(|op| op.response.as_ref()) {
            page.line("");
            match response {
                Response::ResponseRange(it) => Got(it).simple(page),
                Response::ResponsePut(it) => Stored(it).simple(page),
                Response::ResponseDeleteRange(it) => Deleted(it).simple(page),
                Response::ResponseTxn(it) => Transacted(it).simple(page),
            }
        }
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        page.field("Succeeded", self.0.succeeded);
        for response in self.0.responses.iter().filter_map(|op| op.response.as_ref()) {
            match response {
                Response::ResponseRange(it) => Got(it).fields(page),
                Response::ResponsePut(it) => Stored(it).fields(page),
                Response::ResponseDeleteRange(it) => Deleted(it).fields(page),
                Response::ResponseTxn(it) => Transacted(it).fields(page),
            }
        }
    }

    fn json(&self, _: bool) -> String {
        txn_json(self.0).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for Watched<'_> {
    fn simple(&self, page: &mut Page) {
        for event in &self.0.events {
            page.line(event_word(event));
            if let Some(kv) = &event.prev_kv {
                page.key_value(kv);
            }
            if let Some(kv) = &event.kv {
                page.key_value(kv);
            }
        }
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        for event in &self.0.events {
            page.field("Type", event_word(event));
            if let Some(kv) = &event.prev_kv {
                page.key_value_fields("Prev", kv);
            }
            if let Some(kv) = &event.kv {
                page.key_value_fields("", kv);
            }
        }
    }

    fn json(&self, _: bool) -> String {
        let events = self.0.events.iter().map(|event| {
            let mut object = Object::default().number("type", event.r#type.into());
            if let Some(kv) = &event.kv {
                object = object.object("kv", &kv_json(kv));
            }
            if let Some(kv) = &event.prev_kv {
                object = object.object("prev_kv", &kv_json(kv));
            }
            object.encode()
        });
        Object::default()
            .object("Header", &header_json(self.0.header.as_ref()))
            .raw("Events", array(events))
            .raw("CompactRevision", self.0.compact_revision)
            .raw("Canceled", self.0.canceled)
            .raw("Created", self.0.created)
            .encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

fn event_word(event: &Event) -> &'static str {
    match event.r#type() {
        EventType::Put => "PUT",
        EventType::Delete => "DELETE",
    }
}

fn kv_json(kv: &KeyValue) -> Object {
    Object::default()
        .bytes("key", &kv.key)
        .number("create_revision", kv.create_revision)
        .number("mod_revision", kv.mod_revision)
        .number("version", kv.version)
        .bytes("value", &kv.value)
        .number("lease", kv.lease)
}

fn with_header(header: Option<&pb::ResponseHeader>) -> Object {
    match header {
        Some(_) => Object::default().object("header", &header_json(header)),
        None => Object::default(),
    }
}

fn range_json(answer: &pb::RangeResponse) -> Object {
    with_header(answer.header.as_ref())
        .array("kvs", answer.kvs.iter().map(|kv| kv_json(kv).encode()))
        .switch("more", answer.more)
        .number("count", answer.count)
}

fn put_json(answer: &pb::PutResponse) -> Object {
    let object = with_header(answer.header.as_ref());
    match &answer.prev_kv {
        Some(kv) => object.object("prev_kv", &kv_json(kv)),
        None => object,
    }
}

fn delete_json(answer: &pb::DeleteRangeResponse) -> Object {
    with_header(answer.header.as_ref())
        .number("deleted", answer.deleted)
        .array("prev_kvs", answer.prev_kvs.iter().map(|kv| kv_json(kv).encode()))
}

fn txn_json(answer: &pb::TxnResponse) -> Object {
    let responses = answer.responses.iter().filter_map(|op| op.response.as_ref()).map(|response| {
        let (name, object) = match response {
            Response::ResponseRange(it) => ("response_range", range_json(it)),
            Response::ResponsePut(it) => ("response_put", put_json(it)),
            Response::ResponseDeleteRange(it) => ("response_delete_range", delete_json(it)),
            Response::ResponseTxn(it) => ("response_txn", txn_json(it)),
        };
        let response = Object::default().object(name, &object);
        Object::default().object("Response", &response).encode()
    });
    with_header(answer.header.as_ref())
        .switch("succeeded", answer.succeeded)
        .array("responses", responses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Option<pb::ResponseHeader> {
        Some(pb::ResponseHeader { cluster_id: 1, member_id: 2, revision: 3, raft_term: 4 })
    }

    fn pair() -> KeyValue {
        KeyValue {
            key: "foo".into(),
            value: "bar".into(),
            create_revision: 2,
            mod_revision: 3,
            version: 2,
            lease: 0,
        }
    }

    #[test]
    fn a_range_looks_like_etcdctls() {
        let answer =
            pb::RangeResponse { header: header(), kvs: vec![pair()], more: false, count: 1 };
        let got = Got(&answer);
        let mut page = Page::default();
        got.simple(&mut page);
        assert_eq!(page.text(), "foo\nbar\n");
        assert_eq!(
            got.json(false),
            r#"{"header":{"cluster_id":1,"member_id":2,"revision":3,"raft_term":4},"kvs":[{"key":"Zm9v","create_revision":2,"mod_revision":3,"version":2,"value":"YmFy"}],"count":1}"#
        );
        let mut page = Page::default();
        got.fields(&mut page);
        assert_eq!(
            page.text(),
            "\"ClusterID\" : 1\n\"MemberID\" : 2\n\"Revision\" : 3\n\"RaftTerm\" : 4\n\"Key\" : \"foo\"\n\
             \"CreateRevision\" : 2\n\"ModRevision\" : 3\n\"Version\" : 2\n\"Value\" : \"bar\"\n\"Lease\" : 0\n\
             \"More\" : false\n\"Count\" : 1\n"
        );
    }

    #[test]
    fn a_transaction_looks_like_etcdctls() {
        let put = pb::PutResponse { header: None, prev_kv: None };
        let answer = pb::TxnResponse {
            header: header(),
            succeeded: true,
            responses: vec![pb::ResponseOp { response: Some(Response::ResponsePut(put)) }],
        };
        let mut page = Page::default();
        Transacted(&answer).simple(&mut page);
        assert_eq!(page.text(), "SUCCESS\n\nOK\n");
        assert!(
            Transacted(&answer)
                .json(false)
                .ends_with(r#""succeeded":true,"responses":[{"Response":{"response_put":{}}}]}"#)
        );
    }

    #[test]
    fn events_look_like_etcdctls() {
        let deleted = KeyValue { key: "foo".into(), mod_revision: 4, ..Default::default() };
        let answer = pb::WatchResponse {
            header: header(),
            events: vec![
                Event { r#type: 0, kv: Some(pair()), prev_kv: None },
                Event { r#type: 1, kv: Some(deleted), prev_kv: Some(pair()) },
            ],
            ..Default::default()
        };
        let mut page = Page::default();
        Watched(&answer).simple(&mut page);
        assert_eq!(page.text(), "PUT\nfoo\nbar\nDELETE\nfoo\nbar\nfoo\n\n");
        assert!(Watched(&answer).json(false).contains(r#""Events":[{"kv":{"key":"Zm9v""#));
    }
}
