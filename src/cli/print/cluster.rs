//! Answers about members, endpoints and alarms.

use std::time::Duration;

use prost::Message;

use crate::cli::duration::{format_bytes, format_duration};
use crate::proto::etcdserverpb as pb;

use super::json::{Object, array, text};
use super::page::{Page, Show, header_json};
use super::table::Table;

pub(crate) struct Members<'a>(pub &'a pb::MemberListResponse);

/// `member add`, with what the new member is to be started with.
pub(crate) struct MemberAdded<'a> {
    pub name: &'a str,
    pub peer_urls: &'a str,
    pub answer: &'a pb::MemberAddResponse,
}

/// `removed from`, `updated in`, `promoted in`.
pub(crate) struct MemberChanged<'a> {
    pub what: &'static str,
    pub id: u64,
    pub header: Option<&'a pb::ResponseHeader>,
    pub members: &'a [pb::Member],
    pub protobuf: Vec<u8>,
}

pub(crate) struct EndpointHealth {
    pub endpoint: String,
    pub took: Duration,
    pub error: Option<String>,
}

pub(crate) struct EndpointStatus {
    pub endpoint: String,
    pub answer: pb::StatusResponse,
}

pub(crate) struct EndpointHash {
    pub endpoint: String,
    pub answer: pb::HashKvResponse,
}

pub(crate) struct Healths<'a>(pub &'a [EndpointHealth]);
pub(crate) struct Statuses<'a>(pub &'a [EndpointStatus]);
pub(crate) struct Hashes<'a>(pub &'a [EndpointHash]);
pub(crate) struct Alarms<'a>(pub &'a pb::AlarmResponse);
pub(crate) struct Moved<'a> {
    pub from: u64,
    pub to: u64,
    pub answer: &'a pb::MoveLeaderResponse,
}

pub(crate) struct Downgraded<'a> {
    pub what: &'static str,
    pub answer: &'a pb::DowngradeResponse,
}

/// One line for each row, as `simple` shows tables.
fn lines(table: Option<Table>, page: &mut Page) {
    for row in table.into_iter().flat_map(|table| table.rows) {
        page.line(&row.join(", "));
    }
}

impl Show for Downgraded<'_> {
    fn simple(&self, page: &mut Page) {
        let version = &self.answer.version;
        page.line(&format!("Downgrade {} success, cluster version {version}", self.what));
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.answer.header.as_ref());
        page.field("Version", text(&self.answer.version));
    }

    fn json(&self, _: bool) -> String {
        Object::default()
            .object("header", &header_json(self.answer.header.as_ref()))
            .text("version", &self.answer.version)
            .encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

impl Show for Members<'_> {
    fn simple(&self, page: &mut Page) {
        lines(self.table(), page);
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        for member in &self.0.members {
            page.id("ID", member.id);
            page.field("Name", text(&member.name));
            for url in &member.peer_ur_ls {
                page.field("PeerURL", text(url));
            }
            for url in &member.client_ur_ls {
                page.field("ClientURL", text(url));
            }
            page.field("IsLearner", member.is_learner);
            page.line("");
        }
    }

    fn json(&self, hex: bool) -> String {
        let header = if hex {
            let header = self.0.header.unwrap_or_default();
            Object::default()
                .raw("cluster_id", text(&format!("{:x}", header.cluster_id)))
                .raw("member_id", text(&format!("{:x}", header.member_id)))
                .unsigned("raft_term", header.raft_term)
        } else {
            header_json(self.0.header.as_ref())
        };
        members_json(Object::default().object("header", &header), &self.0.members, hex).encode()
    }

    fn table(&self) -> Option<Table> {
        let rows = self.0.members.iter().map(|member| {
            let status = if member.name.is_empty() { "unstarted" } else { "started" };
            vec![
                format!("{:x}", member.id),
                status.to_owned(),
                member.name.clone(),
                member.peer_ur_ls.join(","),
                member.client_ur_ls.join(","),
                member.is_learner.to_string(),
            ]
        });
        let header = vec!["ID", "Status", "Name", "Peer Addrs", "Client Addrs", "Is Learner"];
        Some(Table { header, rows: rows.collect() })
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for MemberAdded<'_> {
    fn simple(&self, page: &mut Page) {
        let member = self.answer.member.clone().unwrap_or_default();
        let cluster = self.answer.header.as_ref().map_or(0, |header| header.cluster_id);
        let learner = if member.is_learner { " as learner " } else { " " };
        page.line(&format!("Member {:16x} added{learner}to cluster {cluster:16x}", member.id));
        let mut entries = Vec::new();
        for each in &self.answer.members {
            let name = if each.id == member.id { self.name } else { &each.name };
            entries.extend(each.peer_ur_ls.iter().map(|url| format!("{name}={url}")));
        }
        page.line("");
        page.line(&format!("ETCD_NAME=\"{}\"", self.name));
        page.line(&format!("ETCD_INITIAL_CLUSTER=\"{}\"", entries.join(",")));
        page.line(&format!("ETCD_INITIAL_ADVERTISE_PEER_URLS=\"{}\"", self.peer_urls));
        page.line("ETCD_INITIAL_CLUSTER_STATE=\"existing\"");
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.answer.header.as_ref());
        page.id("MemberID", self.answer.member.as_ref().map_or(0, |member| member.id));
    }

    fn json(&self, _: bool) -> String {
        let mut object =
            Object::default().object("header", &header_json(self.answer.header.as_ref()));
        if let Some(member) = &self.answer.member {
            object = object.object("member", &member_json(member, false));
        }
        members_json(object, &self.answer.members, false).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

impl Show for MemberChanged<'_> {
    fn simple(&self, page: &mut Page) {
        let cluster = self.header.map_or(0, |header| header.cluster_id);
        page.line(&format!("Member {:16x} {} cluster {cluster:16x}", self.id, self.what));
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.header);
    }

    fn json(&self, _: bool) -> String {
        let object = Object::default().object("header", &header_json(self.header));
        members_json(object, self.members, false).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.protobuf.clone())
    }
}

fn members_json(object: Object, members: &[pb::Member], hex: bool) -> Object {
    object.array("members", members.iter().map(|member| member_json(member, hex).encode()))
}

fn member_json(member: &pb::Member, hex: bool) -> Object {
    let object = if hex {
        Object::default().raw("ID", text(&format!("{:x}", member.id)))
    } else {
        Object::default().unsigned("ID", member.id)
    };
    object
        .text("name", &member.name)
        .array("peerURLs", member.peer_ur_ls.iter().map(|url| text(url)))
        .array("clientURLs", member.client_ur_ls.iter().map(|url| text(url)))
        .switch("isLearner", member.is_learner)
}

impl Show for Healths<'_> {
    fn simple(&self, page: &mut Page) {
        for health in self.0.iter().filter(|health| health.error.is_none()) {
            let took = format_duration(health.took);
            page.line(&format!(
                "{} is healthy: successfully committed proposal: took = {took}",
                health.endpoint
            ));
        }
    }

    fn fields(&self, page: &mut Page) {
        for health in self.0 {
            page.field("Endpoint", text(&health.endpoint));
            page.field("Health", health.error.is_none());
            page.field("Took", format_duration(health.took));
            page.field("Error", health.error.as_deref().unwrap_or_default());
            page.line("");
        }
    }

    fn json(&self, _: bool) -> String {
        array(self.0.iter().map(|health| {
            Object::default()
                .raw("endpoint", text(&health.endpoint))
                .raw("health", health.error.is_none())
                .raw("took", text(&format_duration(health.took)))
                .text("error", health.error.as_deref().unwrap_or_default())
                .encode()
        }))
    }

    fn table(&self) -> Option<Table> {
        let rows = self.0.iter().map(|health| {
            vec![
                health.endpoint.clone(),
                health.error.is_none().to_string(),
                format_duration(health.took),
                health.error.clone().unwrap_or_default(),
            ]
        });
        Some(Table { header: vec!["endpoint", "health", "took", "error"], rows: rows.collect() })
    }
}

impl Show for Statuses<'_> {
    fn simple(&self, page: &mut Page) {
        lines(self.table(), page);
    }

    fn fields(&self, page: &mut Page) {
        for EndpointStatus { endpoint, answer } in self.0 {
            page.header(answer.header.as_ref());
            page.field("Version", text(&answer.version));
            page.field("StorageVersion", text(&answer.storage_version));
            page.field("DBSize", answer.db_size);
            page.field("DBSizeInUse", answer.db_size_in_use);
            page.field("DBSizeQuota", answer.db_size_quota);
            page.field("Leader", answer.leader);
            page.field("IsLearner", answer.is_learner);
            page.field("RaftIndex", answer.raft_index);
            page.field("RaftAppliedIndex", answer.raft_applied_index);
            page.field("Errors", format!("[{}]", answer.errors.join(" ")));
            page.field("Endpoint", text(endpoint));
            let downgrade = answer.downgrade_info.clone().unwrap_or_default();
            page.field("DowngradeTargetVersion", text(&downgrade.target_version));
            page.field("DowngradeEnabled", downgrade.enabled);
            page.line("");
        }
    }

    fn json(&self, _: bool) -> String {
        array(self.0.iter().map(|EndpointStatus { endpoint, answer }| {
            let status = Object::default()
                .object("header", &header_json(answer.header.as_ref()))
                .text("version", &answer.version)
                .number("dbSize", answer.db_size)
                .unsigned("leader", answer.leader)
                .unsigned("raftIndex", answer.raft_index)
                .unsigned("raftTerm", answer.raft_term)
                .unsigned("raftAppliedIndex", answer.raft_applied_index)
                .array("errors", answer.errors.iter().map(|error| text(error)))
                .number("dbSizeInUse", answer.db_size_in_use)
                .switch("isLearner", answer.is_learner)
                .text("storageVersion", &answer.storage_version)
                .number("dbSizeQuota", answer.db_size_quota);
            let status = match &answer.downgrade_info {
                None => status,
                Some(found) => status.object(
                    "downgradeInfo",
                    &Object::default()
                        .switch("enabled", found.enabled)
                        .text("targetVersion", &found.target_version),
                ),
            };
            Object::default().raw("Endpoint", text(endpoint)).object("Status", &status).encode()
        }))
    }

    fn table(&self) -> Option<Table> {
        let header = vec![
            "endpoint",
            "ID",
            "version",
            "storage version",
            "db size",
            "in use",
            "percentage not in use",
            "quota",
            "is leader",
            "is learner",
            "raft term",
            "raft index",
            "raft applied index",
            "errors",
            "downgrade target version",
            "downgrade enabled",
        ];
        let rows = self.0.iter().map(|EndpointStatus { endpoint, answer }| {
            let id = answer.header.as_ref().map_or(0, |header| header.member_id);
            let downgrade = answer.downgrade_info.clone().unwrap_or_default();
            let in_use = answer.db_size_in_use.saturating_mul(100) / answer.db_size.max(1);
            vec![
                endpoint.clone(),
                format!("{id:x}"),
                answer.version.clone(),
                answer.storage_version.clone(),
                format_bytes(answer.db_size),
                format_bytes(answer.db_size_in_use),
                format!("{}%", 100 - in_use),
                format_bytes(answer.db_size_quota),
                (answer.leader == id).to_string(),
                answer.is_learner.to_string(),
                answer.raft_term.to_string(),
                answer.raft_index.to_string(),
                answer.raft_applied_index.to_string(),
                answer.errors.join(", "),
                downgrade.target_version,
                downgrade.enabled.to_string(),
            ]
        });
        Some(Table { header, rows: rows.collect() })
    }
}

impl Show for Hashes<'_> {
    fn simple(&self, page: &mut Page) {
        lines(self.table(), page);
    }

    fn fields(&self, page: &mut Page) {
        for EndpointHash { endpoint, answer } in self.0 {
            page.header(answer.header.as_ref());
            page.field("Endpoint", text(endpoint));
            page.field("Hash", answer.hash);
            page.field("HashRevision", answer.hash_revision);
            page.line("");
        }
    }

    fn json(&self, _: bool) -> String {
        array(self.0.iter().map(|EndpointHash { endpoint, answer }| {
            let hash = Object::default()
                .object("header", &header_json(answer.header.as_ref()))
                .number("hash", i64::from(answer.hash))
                .number("compact_revision", answer.compact_revision)
                .number("hash_revision", answer.hash_revision);
            Object::default().raw("Endpoint", text(endpoint)).object("HashKV", &hash).encode()
        }))
    }

    fn table(&self) -> Option<Table> {
        let rows = self.0.iter().map(|EndpointHash { endpoint, answer }| {
            vec![endpoint.clone(), answer.hash.to_string(), answer.hash_revision.to_string()]
        });
        Some(Table { header: vec!["endpoint", "hash", "hash_revision"], rows: rows.collect() })
    }
}

impl Show for Alarms<'_> {
    fn simple(&self, page: &mut Page) {
        for alarm in &self.0.alarms {
            let name = alarm.alarm().as_str_name();
            page.line(&format!("memberID:{} alarm:{name} ", alarm.member_id));
        }
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.0.header.as_ref());
        for alarm in &self.0.alarms {
            page.id("MemberID", alarm.member_id);
            page.field("AlarmType", alarm.alarm().as_str_name());
            page.line("");
        }
    }

    fn json(&self, _: bool) -> String {
        let alarms = self.0.alarms.iter().map(|alarm| {
            Object::default()
                .unsigned("memberID", alarm.member_id)
                .number("alarm", alarm.alarm.into())
                .encode()
        });
        let object = match &self.0.header {
            None => Object::default(),
            found => Object::default().object("header", &header_json(found.as_ref())),
        };
        object.array("alarms", alarms).encode()
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.0.encode_to_vec())
    }
}

impl Show for Moved<'_> {
    fn simple(&self, page: &mut Page) {
        page.line(&format!("Leadership transferred from {:x} to {:x}", self.from, self.to));
    }

    fn fields(&self, page: &mut Page) {
        page.header(self.answer.header.as_ref());
    }

    fn json(&self, _: bool) -> String {
        match &self.answer.header {
            Some(header) => Object::default().object("header", &header_json(Some(header))).encode(),
            None => "{}".to_owned(),
        }
    }

    fn protobuf(&self) -> Option<Vec<u8>> {
        Some(self.answer.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_list_looks_like_etcdctls() {
        let member = pb::Member {
            id: 0x8e9e_05c5_2164_694d,
            name: String::new(),
            peer_ur_ls: vec!["http://a:1".to_owned(), "http://b:1".to_owned()],
            client_ur_ls: Vec::new(),
            is_learner: true,
        };
        let answer = pb::MemberListResponse { header: None, members: vec![member] };
        let mut page = Page::default();
        Members(&answer).simple(&mut page);
        assert_eq!(page.text(), "8e9e05c52164694d, unstarted, , http://a:1,http://b:1, , true\n");
        assert!(Members(&answer).json(true).contains(r#""ID":"8e9e05c52164694d""#));
    }

    #[test]
    fn an_added_member_is_told_how_to_start() {
        let member = |id, name: &str| pb::Member {
            id,
            name: name.to_owned(),
            peer_ur_ls: vec![format!("https://h:{id}")],
            ..Default::default()
        };
        let answer = pb::MemberAddResponse {
            header: None,
            member: Some(member(2, "")),
            members: vec![member(1, "n1"), member(2, "")],
        };
        let mut page = Page::default();
        MemberAdded { name: "n2", peer_urls: "https://h:2", answer: &answer }.simple(&mut page);
        assert_eq!(
            page.text(),
            "Member                2 added to cluster                0\n\nETCD_NAME=\"n2\"\n\
             ETCD_INITIAL_CLUSTER=\"n1=https://h:1,n2=https://h:2\"\n\
             ETCD_INITIAL_ADVERTISE_PEER_URLS=\"https://h:2\"\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
        );
    }
}
