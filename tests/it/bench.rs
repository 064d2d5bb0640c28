//! `quorate bench` against three nodes: what it counts is what was asked for.

use serde_json::Value;

use crate::program::Cluster;

fn bench(cluster: &Cluster, words: &[&str]) -> Value {
    let mut all = vec!["bench"];
    all.extend(words);
    all.extend(["-w", "json", "--command-timeout", "30s"]);
    let report = cluster.ask_all(&all).ok();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["errors"], 0, "{report}");
    report
}

fn count(report: &Value, name: &str) -> u64 {
    report[name].as_u64().unwrap_or_else(|| panic!("{name} in {report}"))
}

#[test]
fn every_load_reports_what_it_did() {
    let cluster = Cluster::start();
    let keys = ["--keys", "50", "--prefix", "b/", "--key-bytes", "16", "--value-bytes", "32"];
    let with_keys = |words: &[&'static str]| [words, &keys[..]].concat();

    let put = bench(
        &cluster,
        &with_keys(&["put", "--total", "200", "--in-flight", "16", "--sequential"]),
    );
    assert_eq!(count(&put, "operations"), 200);
    assert_eq!((count(&put, "in_flight"), count(&put, "connections")), (16, 1));
    assert_eq!(count(&put, "servers"), 3, "found by their ports");
    assert!(put["servers_cpu_s_per_100k"].as_f64().is_some_and(|seconds| seconds > 0.0), "{put}");
    let times = ["p50", "p90", "p99", "p99.9", "max"].map(|name| count(&put["latency_us"], name));
    assert!(times.is_sorted() && times[0] > 10, "{put}");
    let fields = cluster.ask_all(&["get", "--prefix", "b/", "--count-only", "-w", "fields"]).ok();
    assert!(fields.contains("\"Count\" : 50"), "{fields}");

    let page =
        bench(&cluster, &with_keys(&["get", "--page", "10", "--total", "20", "--in-flight", "2"]));
    assert_eq!((count(&page, "operations"), page["bench"].as_str()), (20, Some("page")));
    let mixed = with_keys(&["mixed", "--total", "100", "--connections", "3", "--threads", "2"]);
    let mixed = bench(&cluster, &mixed);
    assert_eq!((count(&mixed, "operations"), count(&mixed, "connections")), (100, 3));
    let many = with_keys(&["put", "--total", "20", "--in-flight", "2", "--threads", "4"]);
    assert_eq!(count(&bench(&cluster, &many), "connections"), 4, "every thread has one");
    let txn = bench(&cluster, &with_keys(&["txn", "--total", "50", "--rate", "1000"]));
    assert_eq!((count(&txn, "operations"), count(&txn, "rate")), (50, 1_000));

    let watch = bench(
        &cluster,
        &with_keys(&["watch", "--watchers", "20", "--total", "5", "--connections", "2"]),
    );
    assert_eq!(count(&watch, "operations"), 100, "each event at each watcher");
    assert_eq!(count(&watch, "connections"), 3, "and one that puts");
    let lease = ["lease", "--leases", "20", "--ttl", "3", "--duration", "2s"];
    assert!(count(&bench(&cluster, &lease), "operations") >= 20, "renewed at a third");
}

#[test]
fn an_open_loop_counts_the_time_that_a_call_waited_for_its_turn() {
    let cluster = Cluster::start();
    // Far more is due than one call at a time can do, so the last ones are later than the first.
    let words =
        ["put", "--rate", "1000000", "--in-flight", "1", "--duration", "1s", "--keys", "10"];
    let report = bench(&cluster, &words);
    let (p50, max) = (count(&report["latency_us"], "p50"), count(&report["latency_us"], "max"));
    let done = count(&report, "operations").max(1);
    assert!(max > 900_000, "due at the beginning of the warm-up: {report}");
    assert!(p50 > 10 * 1_000_000 / done, "a call takes far less than its turn: {report}");
}

#[test]
fn mistakes_are_named() {
    let cluster = Cluster::start();
    let told = |words: &[&str]| {
        let output = cluster.ask_all(&[&["bench"], words].concat());
        (output.code, output.stderr)
    };
    let (code, text) = told(&["put", "--key-bytes", "8"]);
    assert_eq!(code, 128);
    assert!(text.contains("--key-bytes 8 is too short"), "{text}");
    let (code, text) = told(&["get", "--pid", "4194304"]);
    assert_eq!(code, 128);
    assert!(text.contains("there is no such process"), "{text}");
    assert_eq!(told(&["lease", "--total", "3"]).0, 128);
    let (code, text) =
        told(&["put", "--dial-timeout", "300ms", "--endpoints", "https://127.0.0.1:1"]);
    assert_eq!(code, 2, "{text}");
}
