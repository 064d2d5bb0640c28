//! Answers about leases. etcdctl embeds the header in its JSON, with Go's field names.

use prost::Message;

use crate::proto::etcdserverpb as pb;

use super::json::{Object, array, base64, text};
use super::page::{Page, Show, header_json};

pub(crate) struct Granted<'a>(pub &'a pb::LeaseGrantResponse);
pub(crate) struct Revoked<'a>(pub i64, pub &'a pb::LeaseRevokeResponse);
pub(crate) struct KeptAlive<'a>(pub &'a pb::LeaseKeepAliveResponse);
pub(crate) struct Remaining<'a> {
    pub answer: &'a pb::LeaseTimeToLiveResponse,
    pub keys: bool,
}
pub(crate) struct Leases<'a>(pub &'a pb::LeaseLeasesResponse);

impl Show for Granted<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&format!("lease {:016x} granted with TTL({}s)", self.0.id, self.0.ttl));
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        page.lease("ID", self.0.id);
        page.field("TTL", self.0.ttl);
    }

    fn json(&self, _: bool) -> String {
        header_json(self.0.header.as_ref())
            .raw("ID", self.0.id)
            .raw("TTL", self.0.ttl)
            .raw("Error", text(&self.0.error))
            .encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for Revoked<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&format!("lease {:016x} revoked", self.0));
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.1.header.as_ref());
    }

    fn json(&self, _: bool) -> String {
        Object::default().object("header", &header_json(self.1.header.as_ref())).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.1.encode_to_vec())
    }
}

impl Show for KeptAlive<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&format!("lease {:016x} keepalived with TTL({})", self.0.id, self.0.ttl));
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        page.lease("ID", self.0.id);
        page.field("TTL", self.0.ttl);
    }

    fn json(&self, _: bool) -> String {
        header_json(self.0.header.as_ref()).raw("ID", self.0.id).raw("TTL", self.0.ttl).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for Remaining<'_> {
    fn simple(&self, page: &mut Page) {
        let answer = self.answer;
        if answer.granted_ttl == 0 && answer.ttl == -1 {
            page.line(&format!("lease {:016x} already expired", answer.id));
            return;
        }
        let mut line = format!(
            "lease {:016x} granted with TTL({}s), remaining({}s)",
            answer.id, answer.granted_ttl, answer.ttl
        );
        if self.keys {
            let keys: Vec<String> =
                answer.keys.iter().map(|key| String::from_utf8_lossy(key).into_owned()).collect();
            line.push_str(&format!(", attached keys([{}])", keys.join(" ")));
        }
        page.line(&line);
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.answer.header.as_ref());
        page.lease("ID", self.answer.id);
        page.field("TTL", self.answer.ttl);
        page.field("GrantedTTL", self.answer.granted_ttl);
        for key in &self.answer.keys {
            page.quoted("Key", key);
        }
    }

    fn json(&self, _: bool) -> String {
        let keys = self.answer.keys.iter().map(|key| text(&base64(key)));
        let keys = if self.answer.keys.is_empty() { "null".to_owned() } else { array(keys) };
        header_json(self.answer.header.as_ref())
            .raw("id", self.answer.id)
            .raw("ttl", self.answer.ttl)
            .raw("granted-ttl", self.answer.granted_ttl)
            .raw("keys", keys)
            .encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

impl Show for Leases<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&format!("found {} leases", self.0.leases.len()));
        for lease in &self.0.leases {
            page.line(&format!("{:016x}", lease.id));
        }
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        for lease in &self.0.leases {
            page.lease("ID", lease.id);
        }
    }

    fn json(&self, _: bool) -> String {
        let leases =
            self.0.leases.iter().map(|lease| Object::default().raw("id", lease.id).encode());
        header_json(self.0.header.as_ref()).raw("leases", array(leases)).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_looks_like_etcdctls() {
        let granted =
            pb::LeaseGrantResponse { header: None, id: 0x1f, ttl: 60, error: String::new() };
        let mut page = Page::default();
        Granted(&granted).simple(&mut page);
        let answer = pb::LeaseTimeToLiveResponse {
            id: 0x1f,
            ttl: 59,
            granted_ttl: 60,
            keys: vec!["a".into(), "b".into()],
            ..Default::default()
        };
        Remaining { answer: &answer, keys: true }.simple(&mut page);
        let gone = pb::LeaseTimeToLiveResponse { id: 0x1f, ttl: -1, ..Default::default() };
        Remaining { answer: &gone, keys: false }.simple(&mut page);
        assert_eq!(
            page.text(),
            "lease 000000000000001f granted with TTL(60s)\n\
             lease 000000000000001f granted with TTL(60s), remaining(59s), attached keys([a b])\n\
             lease 000000000000001f already expired\n"
        );
        assert_eq!(Granted(&granted).json(false), r#"{"ID":31,"TTL":60,"Error":""}"#);
    }
}
