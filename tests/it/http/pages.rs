//! The pages beside gRPC: probes, versions, metrics, and addresses that serve nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use quorate::api::{Http, HttpConfig};
use quorate::proto::etcdserverpb as pb;
use quorate::transport::Purpose;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::harness::{Process, Seat, eventually, free_ports, quorate, run};
use super::calls::{PUT, RANGE, get, put};
use super::client::Client;
use super::gateway::post;
use super::{InMemory, Memory, Server, listen, soon};

/// Head and body of the answer to an HTTP/1.1 request.
pub(super) async fn ask(address: SocketAddr, request: &str, body: &str) -> (String, String) {
    ask_with(address, request, "", body).await
}

/// The same with more lines in the head.
pub(super) async fn ask_with(
    address: SocketAddr,
    request: &str,
    more: &str,
    body: &str,
) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let text = format!(
        "{request} HTTP/1.1\r\nhost: h\r\n{more}connection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

/// The status, and the page.
async fn page(address: SocketAddr, path: &str) -> (u16, String) {
    let (head, body) = ask(address, &format!("GET {path}"), "").await;
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
}

#[tokio::test]
async fn pages_are_got_and_nothing_else() {
    let server = Server::start(&Memory::new());
    let (head, body) = ask(server.address, "GET /version", "").await;
    assert!(head.contains("Content-Type: application/json"), "{head}");
    assert!(head.contains("Access-Control-Allow-Origin: *"), "{head}");
    let said: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&said["etcdserver"], &said["etcdcluster"]), (&"3.6.0".into(), &"3.6.0".into()));
    assert_eq!(said["quorate"], env!("CARGO_PKG_VERSION"));
    for path in ["/health", "/version", "/livez", "/readyz/non_learner"] {
        let (head, body) = ask(server.address, &format!("POST {path}"), "").await;
        assert!(head.starts_with("HTTP/1.1 405 "), "{head}");
        assert!(head.contains("Allow: GET") && body == "Method Not Allowed\n", "{head}{body}");
    }
    let (head, body) = ask(server.address, "OPTIONS /v3/kv/put", "").await;
    assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}{body}");
    for path in ["/", "/nope", "/readyz/nope", "/livez/linearizable_read"] {
        assert_eq!(page(server.address, path).await, (404, "404 page not found\n".to_owned()));
    }
}

#[tokio::test]
async fn the_door_counts_its_calls() {
    let server = Server::start(&Memory::new());
    let client = Client::dial(server.address).await;
    let version = [("client-api-version", "3.6")];
    for _ in 0..2 {
        let _: pb::PutResponse = client.call(PUT, &version, &put("k", "v")).await.unwrap();
    }
    let _: pb::RangeResponse = client.call(RANGE, &[], &get("k")).await.unwrap();
    let failed = client.call::<pb::PutResponse>("/etcdserverpb.KV/Txn", &[], &put("k", "v")).await;
    assert_eq!(failed.unwrap_err().0, 12);
    let (code, text) = page(server.address, "/metrics").await;
    assert_eq!(code, 200);
    let kv = "grpc_service=\"etcdserverpb.KV\"";
    for line in [
        format!("grpc_server_started_total{{grpc_type=\"unary\",{kv},grpc_method=\"Put\"}} 2"),
        format!(
            "grpc_server_handled_total{{grpc_code=\"OK\",grpc_method=\"Put\",{kv},grpc_type=\"unary\"}} 2"
        ),
        format!(
            "grpc_server_handled_total{{grpc_code=\"Unimplemented\",grpc_method=\"Txn\",{kv},grpc_type=\"unary\"}} 1"
        ),
        format!(
            "grpc_server_handled_total{{grpc_code=\"OK\",grpc_method=\"Compact\",{kv},grpc_type=\"unary\"}} 0"
        ),
        format!("grpc_server_msg_sent_total{{grpc_type=\"unary\",{kv},grpc_method=\"Range\"}} 1"),
        "etcd_server_client_requests_total{client_api_version=\"3.6\",type=\"unary\"} 2".to_owned(),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_stream_that_fails_is_counted_once() {
    let server = Server::start(&Memory::new());
    let (status, told) = post(server.address, "/v3/election/observe", "{}").await;
    assert_eq!(status, 501, "{told}");
    let (_, text) = page(server.address, "/metrics").await;
    for (code, count) in [("Unimplemented", 1), ("Canceled", 0), ("OK", 0)] {
        let line = format!(
            "grpc_server_handled_total{{grpc_code=\"{code}\",grpc_method=\"Observe\",\
             grpc_service=\"v3electionpb.Election\",grpc_type=\"server_stream\"}} {count}"
        );
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn an_address_serves_what_it_is_for() {
    let memory = Arc::new(InMemory(Memory::new()));
    let http = Arc::new(Http::new(memory, HttpConfig::default()));
    let grpc = listen(Purpose::Grpc, Arc::clone(&http));
    let pages = listen(Purpose::Http, Arc::clone(&http));
    let metrics = listen(Purpose::Metrics, http);
    let address = |tcp: &quorate::transport::Tcp| tcp.addresses()[0];
    assert_eq!(page(address(&grpc), "/version").await.0, 404);
    assert_eq!(page(address(&pages), "/version").await.0, 200);
    assert_eq!(page(address(&metrics), "/version").await.0, 404);
    assert_eq!(page(address(&metrics), "/metrics").await.0, 200);
    let client = Client::dial(address(&grpc)).await;
    let _: pb::PutResponse = client.call(PUT, &[], &put("k", "v")).await.unwrap();
    for tcp in [&pages, &metrics] {
        let stream = Client::dial(address(tcp)).await.open(PUT, &[]).await;
        assert_eq!(stream.status().await, 404);
    }
}

/// What dashboards and alerts of etcd ask for, and this member has.
const NAMES: &str = "etcd_server_has_leader etcd_server_is_leader etcd_server_is_learner etcd_server_id \
    etcd_server_version etcd_cluster_version quorate_version etcd_server_leader_changes_seen_total \
    etcd_server_proposals_committed_total etcd_server_proposals_applied_total etcd_server_proposals_pending \
    etcd_server_proposals_failed_total etcd_server_quota_backend_bytes etcd_server_slow_apply_total \
    etcd_server_slow_read_indexes_total etcd_server_read_indexes_failed_total \
    etcd_server_heartbeat_send_failures_total etcd_server_health_success etcd_server_health_failures \
    etcd_server_healthcheck etcd_server_healthchecks_total etcd_mvcc_db_total_size_in_bytes \
    etcd_mvcc_db_total_size_in_use_in_bytes etcd_mvcc_put_total etcd_mvcc_delete_total etcd_mvcc_range_total \
    etcd_mvcc_txn_total etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_current_revision \
    etcd_debugging_mvcc_compact_revision etcd_debugging_mvcc_watch_stream_total \
    etcd_debugging_mvcc_watcher_total etcd_debugging_mvcc_slow_watcher_total \
    etcd_debugging_mvcc_total_put_size_in_bytes etcd_debugging_mvcc_db_compaction_keys_total \
    etcd_debugging_lease_granted_total etcd_debugging_lease_revoked_total \
    etcd_debugging_lease_renewed_total etcd_disk_wal_fsync_duration_seconds_bucket \
    etcd_disk_wal_write_bytes_total etcd_disk_backend_commit_duration_seconds_bucket \
    etcd_disk_backend_defrag_duration_seconds_count etcd_network_client_grpc_sent_bytes_total \
    etcd_network_client_grpc_received_bytes_total grpc_server_started_total grpc_server_handled_total \
    grpc_server_msg_received_total grpc_server_msg_sent_total os_fd_used os_fd_limit process_open_fds \
    process_max_fds process_cpu_seconds_total process_resident_memory_bytes process_virtual_memory_bytes \
    process_start_time_seconds";

#[test]
fn a_member_tells_how_it_is() {
    let _seat = Seat::take();
    let dir = tempfile::tempdir().unwrap();
    let ports = free_ports(3);
    let url = |n: usize| format!("http://127.0.0.1:{}", ports[n]);
    let address = |n: usize| SocketAddr::from(([127, 0, 0, 1], ports[n]));
    let mut command = quorate();
    command.current_dir(dir.path()).args(["--name", "n0", "--listen-metrics-urls", &url(2)]);
    command.args(["--listen-peer-urls", &url(0), "--initial-advertise-peer-urls", &url(0)]);
    command.args(["--listen-client-urls", &url(1), "--advertise-client-urls", &url(1)]);
    let _member = Process::spawn(command, &dir.path().join("n0.log"));
    run(async {
        eventually("the TCP door", || async { TcpStream::connect(address(1)).await.ok() }).await;
        let well = (200, r#"{"health":"true","reason":""}"#.to_owned());
        eventually("it is well", || async {
            (page(address(1), "/health").await == well).then_some(())
        })
        .await;
        for at in [1, 2] {
            assert_eq!(page(address(at), "/health?serializable=true").await, well);
            assert_eq!(page(address(at), "/livez").await, (200, "ok\n".to_owned()));
            let all = "[+]data_corruption ok\n[+]serializable_read ok\n[+]linearizable_read ok\n[+]non_learner ok\nok\n";
            assert_eq!(page(address(at), "/readyz?verbose").await, (200, all.to_owned()));
            let some = "[+]data_corruption ok\n[+]serializable_read ok\nok\n";
            let path = "/readyz?exclude=non_learner&exclude=linearizable_read&verbose";
            assert_eq!(page(address(at), path).await, (200, some.to_owned()));
        }
        assert_eq!(page(address(2), "/version").await.0, 404);
        let client = Client::dial(address(1)).await;
        let _: pb::PutResponse = client.call(PUT, &[], &put("k", "vv")).await.unwrap();
        let (_, text) = page(address(2), "/metrics").await;
        let value = |name: &str| {
            let line = text.lines().find(|line| line.split([' ', '{']).next() == Some(name));
            line.unwrap_or_else(|| panic!("{name} is not there")).rsplit_once(' ').unwrap().1
        };
        NAMES.split_whitespace().for_each(|name| _ = value(name));
        assert_eq!(value("etcd_server_has_leader"), "1");
        assert_eq!(value("etcd_server_leader_changes_seen_total"), "1");
        assert_eq!(value("etcd_mvcc_put_total"), "1");
        assert_eq!(value("etcd_debugging_mvcc_total_put_size_in_bytes"), "3");
        assert_eq!(value("etcd_debugging_mvcc_keys_total"), "1");
        assert_ne!(value("etcd_disk_wal_fsync_duration_seconds_count"), "0");
        let (_, variables) = page(address(1), "/debug/vars").await;
        let variables: serde_json::Value = serde_json::from_str(&variables).unwrap();
        assert_eq!(variables["raft.status"]["raftState"], "StateLeader");
        // An alarm is an illness, unless the probe does not mind.
        let alarm = pb::AlarmRequest { action: 1, member_id: 7, alarm: 1 };
        let raised: pb::AlarmResponse =
            client.call("/etcdserverpb.Maintenance/Alarm", &[], &alarm).await.unwrap();
        assert_eq!(raised.alarms.len(), 1);
        let ill = "{\"health\":\"false\",\"reason\":\"ALARM NOSPACE\"}\n".to_owned();
        assert_eq!(page(address(1), "/health").await, (503, ill));
        assert_eq!(page(address(1), "/health?exclude=NOSPACE").await, well);
    });
}
