//! etcd's flags that are no keys here: each is answered with its reason, and none is silently ignored.
//!
//! Refused is what asks for something that would not happen; only warned of is what tunes machinery that does not exist
//! here, so that a member starts with the flags of its predecessor.

/// (reason, flags): a server does not start with them.
const REFUSED: &[(&str, &[&str])] = &[
    ("the v2 API has a tree of its own here, as in etcd without this flag", &["enable-v2v3"]),
    (
        "there are no traces: /metrics and the log tell what a member does",
        &["enable-distributed-tracing"],
    ),
    ("it would lose acknowledged writes", &["unsafe-no-fsync"]),
];

/// (reason, flags): a server starts, and says so.
const WITHOUT_EFFECT: &[(&str, &[&str])] = &[
    (
        "the log is trimmed by what the database holds and what members need",
        &["snapshot-count", "snapshot-catchup-entries", "max-snapshots", "max-wals"],
    ),
    (
        "the database is not bbolt, and is written by checkpoints",
        &[
            "backend-bbolt-freelist-type",
            "backend-batch-interval",
            "backend-batch-limit",
            "txn-mode-write-with-shared-buffer",
            "memory-mlock",
        ],
    ),
    (
        "compaction works in slices of time between checkpoints",
        &["compaction-batch-limit", "compaction-sleep-interval"],
    ),
    (
        "leases are recorded always, so that a new leader knows what is left of them",
        &["enable-lease-checkpoint", "enable-lease-checkpoint-persist"],
    ),
    ("a start is made with one election timeout's patience", &["initial-election-tick-advance"]),
    (
        "members talk over QUIC, whose connections watch themselves",
        &["raft-read-timeout", "raft-write-timeout"],
    ),
    (
        "an address is one member's, and TCP takes one again at once that was in use a moment ago",
        &["socket-reuse-port", "socket-reuse-address"],
    ),
    ("a member serves while it is defragmented", &["stop-grpc-service-on-defrag"]),
    (
        "a proxy asks members over QUIC, whose connections watch themselves",
        &["proxy-read-timeout", "proxy-write-timeout"],
    ),
    ("slow requests are not logged", &["warning-apply-duration", "warning-unary-request-duration"]),
    ("there is one logger", &["logger"]),
    (
        "it was of etcd 3.4's older logger: log-level takes a filter such as info,quorate::engine=debug",
        &["log-package-levels"],
    ),
    (
        "members are believed by their authority, not by where they call from: there is nothing to skip",
        &["peer-skip-client-san-verification"],
    ),
    ("there is nothing of Go's to profile", &["enable-pprof"]),
    (
        "it is of traces, and there are none",
        &[
            "distributed-tracing-address",
            "distributed-tracing-service-name",
            "distributed-tracing-instance-id",
            "distributed-tracing-sampling-rate",
        ],
    ),
    (
        "members compare their histories at the same revision, whatever was compacted: corrupt-check-time says how often",
        &["compact-hash-check-enabled", "compact-hash-check-time"],
    ),
    (
        "a client's pings are answered, however often they come: each waits for the answer to the one before",
        &["grpc-keepalive-min-time"],
    ),
    (
        "there is one cluster version so far",
        &["v2-deprecation", "next-cluster-version-compatible", "downgrade-check-time"],
    ),
    (
        "etcd has ignored it since 2.0",
        &[
            "cluster-active-size",
            "cluster-remove-delay",
            "cluster-sync-interval",
            "force",
            "max-result-buffer",
            "max-retry-attempts",
            "peer-heartbeat-interval",
            "peer-election-timeout",
            "retry-interval",
            "snapshot",
            "config",
            "test.coverprofile",
            "test.outputdir",
            "v",
            "vv",
        ],
    ),
];

/// What becomes of a flag of etcd's that is no key here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// A server does not start with it: why.
    Refused(&'static str),
    /// A server starts, and warns: why it does nothing.
    WithoutEffect(&'static str),
}

/// etcd 3.5's name of what had no other name yet.
const EXPERIMENTAL: &str = "experimental-";

/// The answer to a flag of etcd's, by its name or its experimental one; none for a name that nobody knows.
pub fn answer(name: &str) -> Option<Answer> {
    let name = name.strip_prefix(EXPERIMENTAL).unwrap_or(name);
    let find = |table: &[(&'static str, &[&str])]| {
        table.iter().find(|(_, names)| names.contains(&name)).map(|(why, _)| *why)
    };
    find(REFUSED).map(Answer::Refused).or_else(|| find(WITHOUT_EFFECT).map(Answer::WithoutEffect))
}

/// Values by which a refused flag asks for what is so anyway.
const ASKS_NOTHING: [&str; 4] = ["", "false", "off", "0"];

/// Flags above that are switches: `--flag` without a value, in Go's way of writing them.
const SWITCHES: &[&str] = &[
    "compact-hash-check-enabled",
    "debug",
    "enable-distributed-tracing",
    "enable-lease-checkpoint",
    "enable-lease-checkpoint-persist",
    "enable-pprof",
    "force",
    "initial-election-tick-advance",
    "memory-mlock",
    "peer-skip-client-san-verification",
    "socket-reuse-address",
    "socket-reuse-port",
    "stop-grpc-service-on-defrag",
    "txn-mode-write-with-shared-buffer",
    "unsafe-no-fsync",
    "v",
    "vv",
];

/// Whether a flag of etcd's that is no key here is a switch.
pub fn is_switch(name: &str) -> bool {
    SWITCHES.contains(&name.strip_prefix(EXPERIMENTAL).unwrap_or(name))
}

/// The answer to a flag with its value: what is refused may ask for nothing.
pub(super) fn answer_to(name: &str, value: &str) -> Option<Answer> {
    match answer(name)? {
        Answer::Refused(_) if ASKS_NOTHING.contains(&value) => {
            Some(Answer::WithoutEffect("and with this value it asks for nothing"))
        }
        told => Some(told),
    }
}

/// Every name that has an answer, the experimental ones included.
pub fn answered() -> impl Iterator<Item = String> {
    let names = || REFUSED.iter().chain(WITHOUT_EFFECT).flat_map(|(_, names)| names.iter());
    names()
        .map(|name| (*name).to_owned())
        .chain(names().map(|name| format!("{EXPERIMENTAL}{name}")))
}

#[cfg(test)]
/// Two tables in Markdown: what is refused, and what does nothing.
pub(super) fn tables() -> [String; 2] {
    [REFUSED, WITHOUT_EFFECT].map(|table| {
        let row = |(why, names): &(&str, &[&str])| {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("| {} | {why} |\n", names.join(", "))
        };
        let rows: String = table.iter().map(row).collect();
        format!("| flags | why |\n|---|---|\n{rows}")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::keys::Key;
    use super::*;

    #[test]
    fn each_name_has_one_answer_and_no_key_is_among_them() {
        let all: Vec<String> = answered().collect();
        let unique: BTreeSet<&String> = all.iter().collect();
        assert_eq!(all.len(), unique.len());
        for name in &all {
            assert!(Key::find(name).is_none(), "{name} is a key");
            assert!(answer(name).is_some());
        }
    }

    #[test]
    fn a_value_that_asks_for_nothing_is_no_reason_to_refuse() {
        let refuses = |name, value| matches!(answer_to(name, value), Some(Answer::Refused(_)));
        for (name, value) in [
            ("unsafe-no-fsync", "false"),
            ("experimental-enable-v2v3", ""),
            ("experimental-compact-hash-check-enabled", "true"),
        ] {
            assert!(!refuses(name, value) && answer_to(name, value).is_some(), "{name}={value}");
        }
        for (name, value) in [("experimental-enable-v2v3", "/v2"), ("unsafe-no-fsync", "true")] {
            assert!(refuses(name, value), "{name}={value}");
        }
        assert_eq!(answer_to("nmae", ""), None);
    }

    #[test]
    fn every_flag_of_etcd_has_an_answer() {
        // As `etcd --help` lists them, 3.4 to 3.6.
        let flags = "name data-dir wal-dir snapshot-count heartbeat-interval election-timeout \
             initial-election-tick-advance listen-peer-urls listen-client-urls listen-client-http-urls max-snapshots \
             max-wals memory-mlock quota-backend-bytes backend-bbolt-freelist-type backend-batch-interval \
             backend-batch-limit max-txn-ops max-request-bytes max-concurrent-streams grpc-keepalive-min-time \
             grpc-keepalive-interval grpc-keepalive-timeout socket-reuse-port socket-reuse-address enable-grpc-gateway \
             raft-read-timeout raft-write-timeout feature-gates initial-advertise-peer-urls initial-cluster \
             initial-cluster-state initial-cluster-token advertise-client-urls discovery discovery-token \
             discovery-endpoints discovery-dial-timeout discovery-request-timeout discovery-keepalive-time \
             discovery-keepalive-timeout discovery-insecure-transport discovery-insecure-skip-tls-verify discovery-cert \
             discovery-key discovery-cacert discovery-user discovery-password discovery-fallback discovery-proxy \
             discovery-srv discovery-srv-name strict-reconfig-check pre-vote auto-compaction-retention \
             auto-compaction-mode v2-deprecation max-learners proxy proxy-failure-wait proxy-refresh-interval \
             proxy-dial-timeout proxy-write-timeout proxy-read-timeout cert-file key-file client-cert-file \
             client-key-file client-cert-auth client-cert-allowed-hostname client-crl-file trusted-ca-file auto-tls \
             peer-cert-file peer-key-file peer-client-cert-file peer-client-key-file peer-client-cert-auth \
             peer-trusted-ca-file peer-cert-allowed-cn peer-cert-allowed-hostname peer-auto-tls \
             self-signed-cert-validity peer-crl-file cipher-suites cors host-whitelist tls-min-version tls-max-version \
             peer-skip-client-san-verification experimental-peer-skip-client-san-verification auth-token bcrypt-cost \
             auth-token-ttl enable-pprof metrics listen-metrics-urls logger log-outputs log-level log-format \
             enable-log-rotation log-rotation-config-json debug log-package-levels enable-distributed-tracing \
             distributed-tracing-address distributed-tracing-service-name distributed-tracing-instance-id \
             distributed-tracing-sampling-rate experimental-enable-distributed-tracing \
             experimental-distributed-tracing-address enable-v2 experimental-enable-v2v3 \
             experimental-initial-corrupt-check corrupt-check-time experimental-corrupt-check-time \
             experimental-compact-hash-check-enabled compact-hash-check-time experimental-compact-hash-check-time \
             experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist compaction-batch-limit \
             experimental-compaction-batch-limit compaction-sleep-interval experimental-compaction-sleep-interval \
             downgrade-check-time experimental-downgrade-check-time watch-progress-notify-interval \
             experimental-watch-progress-notify-interval warning-apply-duration \
             experimental-warning-apply-duration warning-unary-request-duration \
             experimental-warning-unary-request-duration bootstrap-defrag-threshold-megabytes \
             experimental-bootstrap-defrag-threshold-megabytes experimental-max-learners \
             experimental-memory-mlock experimental-backend-bbolt-freelist-type snapshot-catchup-entries \
             experimental-snapshot-catchup-entries experimental-stop-grpc-service-on-defrag \
             experimental-txn-mode-write-with-shared-buffer next-cluster-version-compatible unsafe-no-fsync \
             force-new-cluster ca-file peer-ca-file wal-dir v vv config test.coverprofile test.outputdir";
        for flag in flags.split_whitespace() {
            let is_known = Key::find(flag).is_some()
                || answer(flag).is_some()
                || super::super::other_names().any(|name| name == flag);
            assert!(is_known, "{flag} has no answer");
        }
        for name in SWITCHES {
            assert!(answer(name).is_some() || *name == "debug", "{name}");
        }
    }

    #[test]
    fn nothing_is_refused_but_what_may_be() {
        // What would be untrue or unsafe.
        let may_be = ["enable-v2v3", "enable-distributed-tracing", "unsafe-no-fsync"];
        for name in REFUSED.iter().flat_map(|(_, names)| names.iter()) {
            assert!(may_be.contains(name), "{name}");
        }
    }
}
