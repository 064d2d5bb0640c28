//! The tables of docs/configuration.md, and the one of etcd's flags in docs/compatibility.md, made from the keys; tests
//! keep the pages true.

use super::keys::{KEYS, Key, Kind, Section, Settings};
use super::other_names::{meant, other_names};
use super::unbuilt::{self, Answer, answer};

const MARK: &str =
    "<!-- From here on written by a test: UPDATE_CONFIG=1 cargo test --lib config:: -->\n";

fn tables() -> String {
    let mut text = MARK.to_owned();
    let defaults = serde_json::to_value(Settings::default()).unwrap();
    for section in Section::ALL {
        text.push_str(&format!("\n## {}\n\n", section.title()));
        text.push_str("| key | takes | default | meaning |\n|---|---|---|---|\n");
        for key in KEYS.iter().filter(|key| key.section == section) {
            let takes = match key.kind {
                Kind::Text => "text",
                Kind::List => "list",
                Kind::Initial => "name=URL, ..",
                Kind::Number => "number",
                Kind::Switch => "true, false",
            };
            let default = match &defaults[key.name] {
                serde_json::Value::String(text) if text.is_empty() => String::new(),
                serde_json::Value::String(text) => format!("`{text}`"),
                other => format!("`{other}`"),
            };
            let meaning = key.help.trim().replace('<', "&lt;");
            text.push_str(&format!("| `{}` | {takes} | {default} | {meaning} |\n", key.name));
        }
    }
    let [refused, without_effect] = unbuilt::tables();
    text.push_str(&format!(
        "\n## etcd's flags that are refused\n\nA server does not start with them, in whatever place they stand, and says \
         why, unless their value asks for nothing (`false`, `off`, 0, etcd's default). So it is with their names that begin \
         with `experimental-`.\n\n{refused}\n\
         ## etcd's flags that do nothing here\n\nA server starts with them, and warns of each.\n\n{without_effect}"
    ));
    text
}

#[test]
fn the_page_states_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (prose, written) = page.split_once(MARK).expect("the mark stands in the page");
    let right = tables();
    if std::env::var_os("UPDATE_CONFIG").is_some() {
        std::fs::write(path, format!("{prose}{right}")).unwrap();
    } else {
        let advice = "run once with UPDATE_CONFIG=1 and look at the diff";
        assert_eq!(format!("{MARK}{written}"), right, "{advice}");
    }
}

/// Every server flag of etcd 3.4 to 3.7, by what it is about.
const FLAGS: &[(&str, &str)] = &[
    (
        "Member",
        "name data-dir wal-dir snapshot-count snapshot-catchup-entries heartbeat-interval election-timeout \
         initial-election-tick-advance listen-peer-urls listen-client-urls listen-client-http-urls listen-metrics-urls \
         max-snapshots max-wals memory-mlock quota-backend-bytes backend-bbolt-freelist-type backend-batch-interval \
         backend-batch-limit max-txn-ops max-request-bytes max-concurrent-streams grpc-keepalive-min-time \
         grpc-keepalive-interval grpc-keepalive-timeout socket-reuse-port socket-reuse-address enable-grpc-gateway \
         raft-read-timeout raft-write-timeout feature-gates config-file",
    ),
    (
        "Clustering",
        "initial-advertise-peer-urls initial-cluster initial-cluster-state initial-cluster-token advertise-client-urls \
         discovery discovery-fallback discovery-proxy discovery-srv discovery-srv-name discovery-token \
         discovery-endpoints discovery-dial-timeout discovery-request-timeout discovery-keepalive-time \
         discovery-keepalive-timeout discovery-insecure-transport discovery-insecure-skip-tls-verify discovery-cert \
         discovery-key discovery-cacert discovery-user discovery-password strict-reconfig-check pre-vote \
         auto-compaction-retention auto-compaction-mode max-learners experimental-max-learners enable-v2 \
         experimental-enable-v2v3 v2-deprecation next-cluster-version-compatible",
    ),
    (
        "Proxy",
        "proxy proxy-failure-wait proxy-refresh-interval proxy-dial-timeout proxy-write-timeout proxy-read-timeout",
    ),
    (
        "Security",
        "cert-file key-file client-cert-file client-key-file client-cert-auth trusted-ca-file auto-tls client-crl-file \
         client-cert-allowed-hostname peer-cert-file peer-key-file peer-client-cert-file peer-client-key-file \
         peer-client-cert-auth peer-trusted-ca-file peer-auto-tls peer-crl-file peer-cert-allowed-cn \
         peer-cert-allowed-hostname peer-skip-client-san-verification experimental-peer-skip-client-san-verification \
         self-signed-cert-validity cipher-suites tls-min-version tls-max-version cors host-whitelist ca-file peer-ca-file",
    ),
    ("Authentication", "auth-token auth-token-ttl bcrypt-cost"),
    (
        "Logging and profiling",
        "logger log-outputs log-level log-format enable-log-rotation log-rotation-config-json debug log-package-levels \
         enable-pprof metrics",
    ),
    (
        "Tracing",
        "enable-distributed-tracing experimental-enable-distributed-tracing distributed-tracing-address \
         experimental-distributed-tracing-address distributed-tracing-service-name \
         experimental-distributed-tracing-service-name distributed-tracing-instance-id \
         experimental-distributed-tracing-instance-id distributed-tracing-sampling-rate \
         experimental-distributed-tracing-sampling-rate",
    ),
    (
        "Features",
        "corrupt-check-time experimental-corrupt-check-time compact-hash-check-time experimental-compact-hash-check-time \
         compaction-batch-limit experimental-compaction-batch-limit compaction-sleep-interval \
         experimental-compaction-sleep-interval watch-progress-notify-interval \
         experimental-watch-progress-notify-interval warning-apply-duration experimental-warning-apply-duration \
         warning-unary-request-duration experimental-warning-unary-request-duration \
         bootstrap-defrag-threshold-megabytes experimental-bootstrap-defrag-threshold-megabytes downgrade-check-time \
         experimental-downgrade-check-time experimental-initial-corrupt-check experimental-compact-hash-check-enabled \
         experimental-enable-lease-checkpoint experimental-enable-lease-checkpoint-persist \
         experimental-stop-grpc-service-on-defrag experimental-txn-mode-write-with-shared-buffer \
         experimental-memory-mlock experimental-backend-bbolt-freelist-type experimental-snapshot-catchup-entries",
    ),
    ("Unsafe", "force-new-cluster unsafe-no-fsync"),
    (
        "Of 0.4 and 2.x, which etcd passes over",
        "cluster-active-size cluster-remove-delay cluster-sync-interval config force max-result-buffer max-retry-attempts \
         peer-heartbeat-interval peer-election-timeout retry-interval snapshot v vv test.coverprofile test.outputdir",
    ),
];

/// What is otherwise about those that count.
const OTHERWISE: &[(&str, &str)] = &[
    (
        "config-file",
        "YAML and JSON for the program `etcd`, where the file counts alone; TOML for `quorate serve`",
    ),
    (
        "wal-dir",
        "the data directory's `wal` is a link to it; a member that has a log keeps its place",
    ),
    (
        "feature-gates",
        "InitialCorruptCheck is initial-corrupt-check; each other known gate is answered with why it changes nothing; an unknown one is a mistake",
    ),
    ("strict-reconfig-check", "always on; `false` is warned of"),
    ("pre-vote", "always on; `false` is warned of"),
    ("grpc-keepalive-interval", "1m by default"),
    ("max-concurrent-streams", "10000 by default"),
    ("discovery-fallback", "exit by default, as in 3.6"),
    ("enable-v2", "on by default"),
    (
        "log-format",
        "JSON in zap's form for the program `etcd`; for `quorate` console on a terminal, else JSON",
    ),
    ("log-level", "also a filter; panic and fatal are error"),
    (
        "log-rotation-config-json",
        "old files are not compressed, and their names tell the time in UTC",
    ),
    ("trusted-ca-file", "as etcd: every client needs a certificate of it then"),
    (
        "client-crl-file",
        "strict: an authority without a list, and a list that is out of date, refuse",
    ),
    ("peer-crl-file", "strict, likewise"),
    (
        "peer-trusted-ca-file",
        "a member's certificate needs both key usages, serverAuth and clientAuth",
    ),
    ("cipher-suites", "of TLS 1.2 over TCP; weak ones are not here; QUIC has its own"),
    ("tls-min-version", "over TCP; QUIC is TLS 1.3"),
    ("tls-max-version", "over TCP; QUIC is TLS 1.3"),
    ("self-signed-cert-validity", "a certificate that has ended is made anew at a start"),
];

const FLAGS_HEADING: &str = "\n## Every flag of the server\n\n";

fn state(flag: &str) -> String {
    let otherwise = OTHERWISE.iter().find(|(name, _)| *name == flag).map(|(_, why)| *why);
    let told = |why: &str| why.replace('|', "\\|");
    if let Some((key, _)) = meant(flag, "true") {
        let counts = if flag == "debug" { "log-level=debug" } else { key };
        return format!("counts, as `{counts}`");
    }
    match (Key::find(flag), answer(flag)) {
        (Some(_), _) => {
            otherwise.map_or_else(|| "counts".to_owned(), |why| format!("counts; {why}"))
        }
        (None, Some(Answer::WithoutEffect(why))) => {
            format!("taken, and changes nothing: {}", told(why))
        }
        (None, Some(Answer::Refused(why))) => format!("refused: {}", told(why)),
        (None, None) if flag == "config-file" => {
            format!("counts; {}", otherwise.unwrap_or_default())
        }
        (None, None) => panic!("{flag} has no answer"),
    }
}

fn flags() -> String {
    let mut text = FLAGS_HEADING.to_owned();
    text.push_str(
        "Those of etcd 3.4 to 3.7, as flags, variables (`ETCD_*`) and keys of a file. Made and checked by a test:\n\
         UPDATE_CONFIG=1 cargo test --lib config::\n\n| About | Flag | State |\n|---|---|---|\n",
    );
    for (about, flags) in FLAGS {
        for flag in flags.split_whitespace() {
            text.push_str(&format!("| {about} | `{flag}` | {} |\n", state(flag)));
        }
    }
    text
}

#[test]
fn the_page_states_every_flag_of_etcd() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(FLAGS_HEADING).unwrap_or_else(|| (page.trim_end(), ""));
    let after = rest.find("\n## ").map_or("", |at| &rest[at..]);
    let right = format!("{before}{}{after}", flags());
    if std::env::var_os("UPDATE_CONFIG").is_some() {
        std::fs::write(path, right).unwrap();
    } else {
        assert!(page == right, "run once with UPDATE_CONFIG=1 and look at the diff");
    }
}

#[test]
fn no_key_that_is_otherwise_is_unknown_and_every_other_name_is_listed() {
    for (name, _) in OTHERWISE {
        assert!(Key::find(name).is_some() || *name == "config-file", "{name}");
    }
    let listed = |name: &str| FLAGS.iter().any(|(_, flags)| flags.split(' ').any(|it| it == name));
    for name in other_names() {
        assert!(listed(&name), "{name}");
    }
}
