//! The service on a real engine, one member, asked through the door by the public client.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate::api::{Local, LocalConfig};
use quorate::base::{Moment, SystemClock};
use quorate::client::{Client, Compare, Delete, Error, Get, Put, Request, SortOrder, SortTarget};
use quorate::consensus::Class;
use quorate::engine::{self, Answered, AskKind, Foundation, Handle, Lost, Outbox, Parts, Threads};
use quorate::proto::etcdserverpb as pb;
use quorate::proto::{Code, Method, Retry};
use quorate::state::Machine;
use quorate::storage::{DirDisk, HardState, SnapshotCopy, Store, StoreConfig, Wal, WalConfig};

use super::{CLUSTER, MEMBER, Server, connect, soon, until};

/// To the one version that etcd goes down to, and of which there is none of ours.
#[derive(Clone, PartialEq, prost::Message)]
struct Downgrade {
    #[prost(string, tag = "2")]
    version: String,
}

impl Request for Downgrade {
    const METHOD: Method = Method::Downgrade;
    type Response = pb::AlarmResponse;
}

/// A member that is its whole cluster.
struct Member {
    handle: Handle,
    threads: Option<Threads>,
    server: Server,
    _dir: tempfile::TempDir,
}

struct Nobody;

impl Outbox for Nobody {
    fn send(&self, _: quorate::base::MemberId, _: Class, _: Vec<Bytes>) {}

    fn ask(&self, _: quorate::base::MemberId, _: AskKind, _: Bytes, _: Moment, answered: Answered) {
        answered(Err(Lost));
    }

    fn send_snapshot(&self, _: quorate::base::MemberId, _: Bytes, _: SnapshotCopy) {}
}

impl Member {
    async fn start(config: LocalConfig) -> (Self, Client) {
        let dir = tempfile::tempdir().unwrap();
        let me = pb::Member {
            id: MEMBER.0,
            name: "m1".to_owned(),
            peer_ur_ls: vec!["http://127.0.0.1:2380".to_owned()],
            ..Default::default()
        };
        let (rows, stamp) = Machine::genesis(CLUSTER, &[me]);
        let db = dir.path().join("db");
        let store = Store::create(&db, StoreConfig::default(), rows, stamp).unwrap();
        let wal = dir.path().join("wal");
        std::fs::create_dir(&wal).unwrap();
        let disk = Arc::new(DirDisk::new(wal));
        let hard_state = HardState { term: stamp.term, vote: 0, commit: stamp.applied };
        let place = (stamp.applied, stamp.term);
        let (wal, log) =
            Wal::create(disk, WalConfig::new(CLUSTER, MEMBER), place, hard_state).unwrap();
        let foundation = Foundation {
            store,
            wal,
            log,
            hard_state,
            outbox: Arc::new(Nobody),
            clock: Arc::new(SystemClock::new()),
        };
        let parts = Parts::build(engine::Config::new(CLUSTER, MEMBER, 1), foundation).unwrap();
        let (handle, threads) = Threads::spawn(parts).unwrap();
        handle.campaign();
        let server = Server::start(Arc::new(Local::new(handle.clone(), config)));
        until("it leads", || handle.raft().is_leader).await;
        let client = connect(&[&server]).await;
        (Self { handle, threads: Some(threads), server, _dir: dir }, client)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(threads) = self.threads.take() {
            threads.join();
        }
    }
}

fn config() -> LocalConfig {
    LocalConfig::new(CLUSTER, MEMBER)
}

fn told(error: &Error) -> (Code, String, Retry) {
    (error.code(), error.text(), error.retry())
}

fn refused(code: Code, text: &str) -> (Code, String, Retry) {
    (code, format!("etcdserver: {text}"), Retry::Never)
}

#[tokio::test]
async fn keys_are_written_read_and_deleted_with_whole_headers() {
    let (member, client) = Member::start(config()).await;
    let put = client.put("k", "1").await.unwrap();
    let header = put.header.unwrap();
    assert_eq!((header.cluster_id, header.member_id), (CLUSTER.0, MEMBER.0));
    assert_eq!((header.revision, header.raft_term), (2, member.handle.raft().term));
    let put = client.put("k", "2").prev_kv().await.unwrap();
    assert_eq!(put.prev_kv.unwrap().value, "1");
    for get in [client.get("k"), client.get("k").serializable()] {
        let got = get.await.unwrap();
        assert_eq!(
            (got.header.unwrap(), got.count),
            (pb::ResponseHeader { revision: 3, ..header }, 1)
        );
        let kv = &got.kvs[0];
        assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
    }
    let old = client.get("k").revision(2).await.unwrap();
    assert_eq!((old.kvs[0].value.as_ref(), old.header.unwrap().revision), (&b"1"[..], 3));
    client.put("ka", "x").await.unwrap();
    client.put("kb", "y").await.unwrap();
    let sorted = client
        .get("k")
        .prefix()
        .sort(SortTarget::Value, SortOrder::Descend)
        .limit(2)
        .await
        .unwrap();
    let keys: Vec<&[u8]> = sorted.kvs.iter().map(|kv| kv.key.as_ref()).collect();
    assert_eq!((keys, sorted.more, sorted.count), (vec![&b"kb"[..], b"ka"], true, 3));
    let deleted = client.delete("k").prefix().prev_kv().await.unwrap();
    assert_eq!((deleted.deleted, deleted.header.unwrap().revision), (3, 6));
    let nothing = client.delete("k").await.unwrap();
    assert_eq!((nothing.deleted, nothing.header.unwrap().revision), (0, 6));
}

#[tokio::test]
async fn requests_that_cannot_be_are_refused_with_etcds_texts() {
    let (_member, client) = Member::start(config()).await;
    let cases = [
        (client.put("", "v").await.map(drop), Code::InvalidArgument, "key is not provided"),
        (client.get("").await.map(drop), Code::InvalidArgument, "key is not provided"),
        (
            client.put("k", "v").ignore_value().await.map(drop),
            Code::InvalidArgument,
            "value is provided",
        ),
        (
            client.put("k", "").ignore_value().await.map(drop),
            Code::InvalidArgument,
            "key not found",
        ),
        (
            client.put("k", "v").lease(99).await.map(drop),
            Code::NotFound,
            "requested lease not found",
        ),
        (
            client.get("k").revision(99).await.map(drop),
            Code::OutOfRange,
            "mvcc: required revision is a future revision",
        ),
        (
            client.compact(99, false).await.map(drop),
            Code::OutOfRange,
            "mvcc: required revision is a future revision",
        ),
        (
            client.lease_grant(9_000_000_001, 0).await.map(drop),
            Code::OutOfRange,
            "too large lease TTL",
        ),
        (client.lease_revoke(99).await.map(drop), Code::NotFound, "requested lease not found"),
        (client.member_remove(99).await.map(drop), Code::NotFound, "member not found"),
        (
            client.member_add(["nonsense"]).await.map(drop),
            Code::InvalidArgument,
            "given member URLs are invalid",
        ),
        (
            client.put("k", vec![0; 1_600_000]).await.map(drop),
            Code::InvalidArgument,
            "request is too large",
        ),
        (
            client.txn().then(Put::new("k", "1")).then(Put::new("k", "2")).await.map(drop),
            Code::InvalidArgument,
            "duplicate key given in txn request",
        ),
        (client.move_leader(99).await.map(drop), Code::FailedPrecondition, "bad leader transferee"),
    ];
    for (outcome, code, text) in cases {
        assert_eq!(told(&outcome.unwrap_err()), refused(code, text));
    }
    let unserved = client.send(Downgrade { version: "3.5.0".to_owned() }).await.unwrap_err();
    assert_eq!(unserved.code(), Code::Unimplemented);
    assert!(unserved.text().contains("Downgrade"), "{unserved}");
}

#[tokio::test]
async fn transactions_compare_write_and_read_at_one_revision() {
    let (_member, client) = Member::start(config()).await;
    let lock = || {
        client
            .txn()
            .when(Compare::create_revision("lock").equals(0))
            .then(Put::new("lock", "me"))
            .then(Get::new("lock"))
            .otherwise(Get::new("lock"))
    };
    let won = lock().await.unwrap();
    assert!(won.succeeded);
    assert_eq!(won.header.unwrap().revision, 2);
    let Some(pb::response_op::Response::ResponseRange(range)) = &won.responses[1].response else {
        panic!("no range");
    };
    assert_eq!((range.kvs[0].create_revision, range.header.unwrap().revision), (2, 2));
    let lost = lock().await.unwrap();
    assert!(!lost.succeeded);
    assert_eq!((lost.responses.len(), lost.header.unwrap().revision), (1, 2));
    let read_only = client
        .txn()
        .when(Compare::value("lock").equals("me"))
        .then(Get::new("lock").serializable())
        .await
        .unwrap();
    assert!(read_only.succeeded);
    assert_eq!(read_only.header.unwrap().cluster_id, CLUSTER.0);
    let deleted = client.txn().then(Delete::new("lock")).await.unwrap();
    assert_eq!(deleted.header.unwrap().revision, 3);
}

#[tokio::test]
async fn many_reads_and_writes_at_once_are_all_answered() {
    let (_member, client) = Member::start(config()).await;
    let writes: Vec<_> = (0..300)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let key = format!("k{number:03}");
                client.put(key.clone(), "v").await?;
                client.get(key).await
            })
        })
        .collect();
    for write in writes {
        assert_eq!(soon("an answer", write).await.unwrap().unwrap().count, 1);
    }
    let all = client.get("k").prefix().await.unwrap();
    assert_eq!((all.count, all.header.unwrap().revision), (300, 301));
    let large = "x".repeat(900_000);
    for number in 0..3 {
        client.put(format!("large{number}"), large.clone()).await.unwrap();
    }
    let all = client.get("").prefix().await.unwrap();
    assert_eq!(all.kvs.iter().map(|kv| kv.value.len()).sum::<usize>(), 300 + 3 * 900_000);
}

#[tokio::test]
async fn compaction_forgets_and_hashes_agree() {
    let (_member, client) = Member::start(config()).await;
    for value in ["1", "2", "3"] {
        client.put("k", value).await.unwrap();
    }
    let before = client.hash_kv(0).await.unwrap();
    assert_eq!((before.compact_revision, before.hash_revision), (-1, 4));
    client.compact(3, true).await.unwrap();
    let gone = client.get("k").revision(2).await.unwrap_err();
    assert_eq!(
        told(&gone),
        refused(Code::OutOfRange, "mvcc: required revision has been compacted")
    );
    assert_eq!(client.get("k").revision(3).await.unwrap().kvs[0].value, "2");
    let after = client.hash_kv(0).await.unwrap();
    assert_eq!((after.compact_revision, after.hash_revision), (3, 4));
    let mut late = client.watch("k").start_revision(2).await.unwrap();
    let error = soon("the end", late.next()).await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Compacted { compact_revision: 3 }), "{error}");
}

#[tokio::test]
async fn watchers_hear_the_past_and_the_present_with_previous_values() {
    let (_member, client) = Member::start(config()).await;
    client.put("k", "1").await.unwrap();
    let mut past = client.watch("k").start_revision(1).prev_kv().await.unwrap();
    let mut prefix = client.watch("").prefix().no_delete().await.unwrap();
    let mut deletes = client.watch("k").no_put().await.unwrap();
    assert_eq!(past.created_revision(), 2);
    client.put("k", "2").await.unwrap();
    client.txn().then(Put::new("a", "x")).then(Put::new("b", "y")).await.unwrap();
    client.delete("k").await.unwrap();

    let mut heard = Vec::new();
    while heard.len() < 3 {
        let response = soon("events", past.next()).await.unwrap().unwrap();
        assert_eq!(response.header.unwrap().cluster_id, CLUSTER.0);
        for event in response.events {
            let before = event.prev_kv.map(|kv| kv.value);
            let kv = event.kv.unwrap();
            heard.push((event.r#type, kv.value, kv.mod_revision, before));
        }
    }
    let (put, delete) = (0, 1);
    assert_eq!(
        heard,
        [
            (put, "1".into(), 2, None),
            (put, "2".into(), 3, Some("1".into())),
            (delete, "".into(), 5, Some("2".into())),
        ]
    );
    let first = soon("events", prefix.next()).await.unwrap().unwrap();
    assert_eq!((first.header.unwrap().revision, first.events.len()), (3, 1));
    let whole = soon("events", prefix.next()).await.unwrap().unwrap();
    assert_eq!((whole.header.unwrap().revision, whole.events.len()), (4, 2), "one transaction");
    let deleted = soon("events", deletes.next()).await.unwrap().unwrap();
    assert_eq!(deleted.header.unwrap().revision, 5);
    prefix.request_progress().await.unwrap();
    let progress = soon("progress", prefix.next()).await.unwrap().unwrap();
    assert_eq!((progress.header.unwrap().revision, progress.events.len()), (5, 0));
    let refused = client.watch("b").range("a").await.unwrap_err();
    assert!(refused.to_string().contains("mvcc: watcher range is empty"), "{refused}");
}

#[tokio::test]
async fn a_large_revision_comes_in_fragments_and_out_whole() {
    let config = LocalConfig { fragment_bytes: 1_000, ..config() };
    let (_member, client) = Member::start(config).await;
    let mut watcher = client.watch("k").prefix().await.unwrap();
    let mut txn = client.txn();
    for number in 0..50 {
        txn = txn.then(Put::new(format!("k{number:02}"), "x".repeat(100)));
    }
    txn.await.unwrap();
    let response = soon("events", watcher.next()).await.unwrap().unwrap();
    assert_eq!(response.events.len(), 50);
    assert_eq!(response.header.unwrap().revision, 2);
}

#[tokio::test]
async fn leases_are_granted_renewed_listed_and_revoked() {
    let (_member, client) = Member::start(config()).await;
    let granted = client.lease_grant(1, 0).await.unwrap();
    assert_eq!(granted.ttl, 2, "the shortest there is");
    assert!(granted.id > 0);
    let chosen = client.lease_grant(60, 7).await.unwrap();
    assert_eq!((chosen.id, chosen.ttl), (7, 60));
    let again = client.lease_grant(60, 7).await.unwrap_err();
    assert_eq!(told(&again), refused(Code::FailedPrecondition, "lease already exists"));
    client.put("k", "v").lease(7).await.unwrap();
    let left = client.lease_time_to_live(7, true).await.unwrap();
    assert_eq!((left.granted_ttl, left.keys.as_slice()), (60, &[Bytes::from("k")][..]));
    assert!((58..=60).contains(&left.ttl), "{}", left.ttl);
    let unknown = client.lease_time_to_live(99, true).await.unwrap();
    assert_eq!((unknown.ttl, unknown.granted_ttl, unknown.keys.len()), (-1, 0, 0));
    let mut keeper = client.lease_keep_alive(7).await.unwrap();
    assert_eq!(soon("a renewal", keeper.next()).await.unwrap().ttl, 60);
    assert_eq!(client.lease_renew(99).await.unwrap().ttl, 0);
    assert_eq!(client.lease_list().await.unwrap().leases.len(), 2);
    let revoked = client.lease_revoke(7).await.unwrap();
    assert_eq!(revoked.header.unwrap().revision, 3, "its key is gone");
    assert_eq!(client.get("k").await.unwrap().count, 0);
}

#[tokio::test]
async fn members_and_status_are_told_without_revision_and_with() {
    let (member, client) = Member::start(config()).await;
    for linearizable in [true, false] {
        let list = client.member_list(linearizable).await.unwrap();
        let header = list.header.unwrap();
        assert_eq!((header.revision, header.member_id), (0, MEMBER.0));
        assert_eq!(list.members.len(), 1);
    }
    client.put("k", "v").await.unwrap();
    let status = client.status().await.unwrap();
    assert_eq!((status.leader, status.header.unwrap().revision), (MEMBER.0, 2));
    assert_eq!(status.raft_term, member.handle.raft().term);
    assert!(status.db_size > 0 && status.errors.is_empty() && !status.is_learner);
    assert_eq!(status.version.split('.').count(), 3, "{}", status.version);
    client.move_leader(MEMBER.0).await.unwrap();

    let added = client.member_add_learner(["http://127.0.0.1:9"]).await.unwrap();
    let learner = added.member.unwrap();
    assert!(learner.is_learner && learner.id != 0);
    assert_eq!(added.members.len(), 2);
    let same = ["http://127.0.0.1:9", "http://127.0.0.1:10"];
    let same = client.member_add_learner(same).await.unwrap_err();
    assert_eq!(told(&same), refused(Code::FailedPrecondition, "Peer URLs already exists"));
    let many = client.member_add_learner(["http://127.0.0.1:8"]).await.unwrap_err();
    assert_eq!(
        told(&many),
        refused(Code::FailedPrecondition, "too many learner members in cluster")
    );
    let updated = client.member_update(learner.id, ["http://127.0.0.1:7"]).await.unwrap();
    let changed = updated.members.iter().find(|member| member.id == learner.id).unwrap();
    assert_eq!(changed.peer_ur_ls, ["http://127.0.0.1:7"]);
    let early = client.member_promote(learner.id).await.unwrap_err();
    assert_eq!(
        told(&early),
        refused(
            Code::FailedPrecondition,
            "can only promote a learner member which is in sync with leader"
        )
    );
    let removed = client.member_remove(learner.id).await.unwrap();
    assert_eq!(removed.members.len(), 1);
    let gone = client.member_remove(learner.id).await.unwrap_err();
    assert_eq!(told(&gone), refused(Code::NotFound, "member not found"));
}

#[tokio::test]
async fn a_full_quota_raises_the_alarm_that_refuses_until_it_is_disarmed() {
    let config = LocalConfig { quota_bytes: 400_000, ..config() };
    let (member, client) = Member::start(config).await;
    let value = "x".repeat(100_000);
    let error = loop {
        if let Err(error) = client.put("k", value.clone()).await {
            break error;
        }
    };
    let no_space = refused(Code::ResourceExhausted, "mvcc: database space exceeded");
    assert_eq!(told(&error), no_space);
    until("the alarm is raised", || {
        let alarms = member.handle.query().unwrap().alarms();
        !alarms.list(pb::AlarmType::Nospace).is_empty()
    })
    .await;
    assert_eq!(told(&client.put("tiny", "").await.unwrap_err()), no_space);
    let raised = client.alarm_list().await.unwrap().alarms;
    assert_eq!((raised.len(), raised[0].member_id), (1, MEMBER.0));
    let status = client.status().await.unwrap();
    assert_eq!(status.errors, [format!("memberID:{} alarm:NOSPACE ", MEMBER.0)]);
    client.delete("k").await.unwrap();
    let disarmed = client.alarm_disarm(raised[0]).await.unwrap();
    assert_eq!(disarmed.alarms.len(), 1, "what was disarmed");
    assert!(client.alarm_list().await.unwrap().alarms.is_empty());
}

#[tokio::test]
async fn a_snapshot_is_a_copy_with_its_checksum() {
    let (member, client) = Member::start(config()).await;
    client.put("k", "v").await.unwrap();
    member.handle.checkpoint().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snapshot.db");
    let bytes = client.snapshot().await.unwrap().save(&path).await.unwrap();
    let mut copy = member.handle.snapshot().unwrap();
    let mut expected = Vec::new();
    copy.read_to_end(&mut expected).unwrap();
    assert_eq!(bytes, expected.len() as u64);
    let saved = std::fs::read(&path).unwrap();
    assert_eq!(saved.len(), expected.len() + 32);
}

#[tokio::test]
async fn a_member_that_stops_says_so() {
    let (member, client) = Member::start(config()).await;
    let mut watcher = client.watch("k").await.unwrap();
    member.handle.stop();
    let hasty = client.within(Duration::from_millis(300));
    let error = hasty.put("k", "v").await.unwrap_err();
    assert_eq!(
        (error.text().as_str(), error.retry()),
        ("etcdserver: server stopped", Retry::NotProposed)
    );
    // The stream ended; the watcher waits for a server that serves.
    let waiting = tokio::time::timeout(Duration::from_millis(100), watcher.next()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    assert_eq!(member.server.native.connections(), 1);
}
