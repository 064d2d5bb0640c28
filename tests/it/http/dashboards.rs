//! What the public dashboards and stock alerts ask Prometheus for (etcd's contrib/mixin, Grafana's dashboard 3070).

use super::super::harness::run;
use super::alone::Alone;
use super::pages::ask;

/// By name, with the kind that their queries take them for.
const ASKED: [(&str, &str); 23] = [
    ("etcd_server_has_leader", "gauge"),
    ("etcd_server_leader_changes_seen_total", "counter"),
    ("etcd_server_proposals_committed_total", "gauge"),
    ("etcd_server_proposals_applied_total", "gauge"),
    ("etcd_server_proposals_pending", "gauge"),
    ("etcd_server_proposals_failed_total", "counter"),
    ("etcd_server_quota_backend_bytes", "gauge"),
    ("etcd_mvcc_db_total_size_in_bytes", "gauge"),
    ("etcd_mvcc_db_total_size_in_use_in_bytes", "gauge"),
    ("etcd_disk_wal_fsync_duration_seconds", "histogram"),
    ("etcd_disk_backend_commit_duration_seconds", "histogram"),
    ("etcd_network_client_grpc_received_bytes_total", "counter"),
    ("etcd_network_client_grpc_sent_bytes_total", "counter"),
    ("etcd_network_peer_received_bytes_total", "counter"),
    ("etcd_network_peer_sent_bytes_total", "counter"),
    ("etcd_network_peer_sent_failures_total", "counter"),
    ("etcd_network_peer_round_trip_time_seconds", "histogram"),
    ("grpc_server_started_total", "counter"),
    ("grpc_server_handled_total", "counter"),
    ("grpc_server_handling_seconds", "histogram"),
    ("process_resident_memory_bytes", "gauge"),
    ("process_cpu_seconds_total", "counter"),
    ("process_open_fds", "gauge"),
];

#[test]
fn what_dashboards_ask_for_is_served() {
    run(async {
        let (alone, _client) = Alone::start(&["--metrics=extensive"]).await;
        let (_, page) = ask(alone.address, "GET /metrics", "").await;
        for (name, kind) in ASKED {
            let line = format!("# TYPE {name} {kind}");
            assert!(page.lines().any(|found| found == line), "no {line}");
        }
        // The difference of these two is the number of open streams.
        for name in ["grpc_server_started_total", "grpc_server_handled_total"] {
            for service in ["Watch", "Lease"] {
                let service = format!("grpc_service=\"etcdserverpb.{service}\"");
                let is_it = |line: &&str| {
                    line.starts_with(name)
                        && line.contains("grpc_type=\"bidi_stream\"")
                        && line.contains(&service)
                };
                assert!(page.lines().any(|line| is_it(&line)), "no {name} of {service}");
            }
        }
    });
}

#[test]
fn calls_are_timed_where_it_is_asked_for() {
    run(async {
        let timed = |page: &str| {
            let put = "grpc_server_handling_seconds_count{grpc_type=\"unary\",\
                       grpc_service=\"etcdserverpb.KV\",grpc_method=\"Put\"} ";
            page.lines().find_map(|line| line.strip_prefix(put)).map(str::to_owned)
        };
        // Each has put one key by gRPC.
        for (flag, count) in [("--metrics=basic", None), ("--metrics=extensive", Some("1"))] {
            let (alone, _client) = Alone::start(&[flag]).await;
            let (_, page) = ask(alone.address, "GET /metrics", "").await;
            assert_eq!(timed(&page).as_deref(), count, "{flag}");
        }
    });
}
