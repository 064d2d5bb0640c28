//! Every client command by hand: what it prints, and what it says to each kind of mistake, with etcdctl's exit codes.
//!
//! The tables run against one cluster. In a pattern `*` stands for anything; `{lease}` and `{member}` in a command are
//! what an earlier one told.

use std::collections::BTreeMap;
use std::thread;

use crate::program::{Cluster, Folder, Output, finish, free_port, until};

/// Words, stdin, exit code, stdout, stderr.
type Case = (&'static str, &'static str, i32, &'static str, &'static str);

/// What each command does when nothing is wrong with it, and when its words are.
const CASES: &[Case] = &[
    ("put a 1", "", 0, "OK\n", ""),
    ("put a 2 --prev-kv", "", 0, "OK\na\n1\n", ""),
    ("put a", "from stdin", 0, "OK\n", ""),
    (
        "put a",
        "",
        128,
        "",
        "Error: put command needs 1 argument and input from stdin or 2 arguments\n",
    ),
    (
        "put a 1 --ignore-value",
        "",
        128,
        "",
        "Error: put command needs only 1 argument when 'ignore-value' is set\n",
    ),
    ("put nothing --ignore-value", "", 1, "", "Error: etcdserver: key not found\n"),
    (
        "put a 1 --lease zz",
        "",
        128,
        "",
        "Error: bad lease ID (strconv.ParseInt: parsing \"zz\": invalid syntax), expecting ID in Hex\n",
    ),
    ("put a 1 --lease 77", "", 1, "", "Error: etcdserver: requested lease not found\n"),
    ("put a 1 2", "", 0, "OK\n", "Warning: 2 is one word too many and ignored\n"),
    ("get a", "", 0, "a\n1\n", ""),
    ("get a --hex", "", 0, "\\x61\n\\x31\n", ""),
    ("get a --print-value-only", "", 0, "1\n", ""),
    ("get a --keys-only", "", 0, "a\n\n", ""),
    ("get a --count-only -w fields", "", 0, "*\"More\" : false\n\"Count\" : 1\n", ""),
    (
        "get a -w json",
        "",
        0,
        "{\"header\":{\"cluster_id\":*,\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":2,*}],\"count\":1}\n",
        "",
    ),
    (
        "get a -w fields",
        "",
        0,
        "\"ClusterID\" : *\"Key\" : \"a\"\n\"CreateRevision\" : 2\n*\"Lease\" : 0\n\"More\" : false\n\"Count\" : 1\n",
        "",
    ),
    ("get a -w table", "", 4, "", "Error: table not supported as output format\n"),
    ("get a -w protobuf", "", 0, "*", ""),
    ("get a --count-only", "", 128, "", "Error: --count-only is only for `--write-out=fields`\n"),
    (
        "get a --print-value-only -w json",
        "",
        128,
        "",
        "Error: print-value-only is only for `--write-out=simple`\n",
    ),
    ("get a --rev 1", "", 0, "", ""),
    (
        "get a --rev 9999",
        "",
        1,
        "",
        "Error: etcdserver: mvcc: required revision is a future revision\n",
    ),
    ("get a --consistency x", "", 4, "", "Error: unknown consistency flag \"x\"\n"),
    (
        "get a b --prefix",
        "",
        128,
        "",
        "Error: too many arguments, only accept one argument when `--prefix` or `--from-key` is set\n",
    ),
    (
        "get a --min-mod-rev 5 --max-mod-rev 2",
        "",
        4,
        "",
        "Error: getMinModRev(=5) > getMaxModRev(=2)\n",
    ),
    (
        "txn",
        "value(\"a\") = \"1\"\n\nput b 1\nget a\ndel none\n\nput b 2\n\n",
        0,
        "SUCCESS\n\nOK\n\na\n1\n\n0\n",
        "",
    ),
    (
        "txn -i",
        "mod(\"a\") = \"0\"\n\n\nget b --print-value-only\n\n",
        0,
        "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\nFAILURE\n\nb\n1\n",
        "",
    ),
    ("txn", "bad\n\n\n\n", 3, "", "Error: malformed comparison: bad\n"),
    ("txn", "\nput b 3\n", 3, "", "Error: EOF*\n"),
    ("txn x", "", 128, "", "Error: txn command does not accept argument\n"),
    (
        "watch a --rev 2 -- sh -c exit\\ 3",
        "",
        1,
        "PUT\na\n1\n",
        "command [\"sh\" \"-c\" \"exit 3\"] error (exit status 3)\n",
    ),
    (
        "watch -i",
        "wacth a\nwatch\n",
        3,
        "",
        "Invalid command wacth a (only support watch)\nInvalid command watch (command type or key is not provided)\nError: error reading watch request line: EOF\n",
    ),
    ("watch", "", 128, "", "Error: bad number of arguments\n"),
    (
        "watch a --",
        "",
        128,
        "",
        "Error: bad number of arguments (found separator --, but no commands)\n",
    ),
    (
        "watch a b --prefix",
        "",
        128,
        "",
        "Error: `range_end` and `--prefix` are mutually exclusive\n",
    ),
    ("del b --prev-kv", "", 0, "1\nb\n1\n", ""),
    ("del x z --range", "", 0, "0\n", ""),
    (
        "del a b c",
        "",
        128,
        "",
        "Error: del command needs one argument as key and an optional argument as range_end\n",
    ),
    ("lease grant 500", "", 0, "lease * granted with TTL(500s)\n", ""),
    (
        "lease grant x",
        "",
        128,
        "",
        "Error: bad TTL (strconv.ParseInt: parsing \"x\": invalid syntax)\n",
    ),
    ("put leased 1 --lease {lease}", "", 0, "OK\n", ""),
    (
        "lease timetolive {lease} --keys",
        "",
        0,
        "lease {lease} granted with TTL(500s), remaining(*s), attached keys([leased])\n",
        "",
    ),
    ("lease timetolive 1234", "", 0, "lease 0000000000001234 already expired\n", ""),
    ("lease list", "", 0, "found 1 leases\n{lease}\n", ""),
    ("lease keep-alive --once {lease}", "", 0, "lease {lease} keepalived with TTL(500)\n", ""),
    ("lease keep-alive --once 1234", "", 2, "", "Error: etcdserver: requested lease not found\n"),
    ("lease keep-alive 1234", "", 0, "lease 0000000000001234 expired or revoked.\n", ""),
    ("lease revoke {lease}", "", 0, "lease {lease} revoked\n", ""),
    (
        "lease revoke 1234",
        "",
        1,
        "",
        "Error: failed to revoke lease (etcdserver: requested lease not found)\n",
    ),
    ("lease revoke", "", 128, "", "Error: lease revoke command needs 1 argument\n"),
    ("member list", "", 0, "*, started, n*, https://*, false\n", ""),
    (
        "member list -w table",
        "",
        0,
        "+-*+\n|        ID        | STATUS  | NAME |*| IS LEARNER |\n*",
        "",
    ),
    ("member add", "", 128, "", "Error: member name not provided\n"),
    ("member add n9", "", 128, "", "Error: member peer urls not provided\n"),
    (
        "member add n9 http://127.0.0.1:9",
        "",
        128,
        "",
        "Error: too many arguments, did you mean --peer-urls=http://127.0.0.1:9\n",
    ),
    (
        "member update {member} --peer-urls 127.0.0.1",
        "",
        1,
        "",
        "Error: URL scheme must be http, https, unix, or unixs: 127.0.0.1\n",
    ),
    ("member update", "", 128, "", "Error: member ID is not provided\n"),
    (
        "member promote {member}",
        "",
        1,
        "",
        "Error: etcdserver: can only promote a learner member\n",
    ),
    ("member promote 1234", "", 1, "", "Error: etcdserver: member not found\n"),
    ("member remove 1234", "", 1, "", "Error: etcdserver: member not found\n"),
    (
        "member remove zz",
        "",
        128,
        "",
        "Error: bad member ID arg (strconv.ParseUint: parsing \"zz\": invalid syntax), expecting ID in Hex\n",
    ),
    ("endpoint health", "", 0, "*is healthy: successfully committed proposal: took = *\n", ""),
    (
        "endpoint health --cluster -w json",
        "",
        0,
        "[{\"endpoint\":\"https://*\",\"health\":true,\"took\":\"*\"},*]\n",
        "",
    ),
    ("endpoint status --cluster", "", 0, "https://*, *\nhttps://*, *\nhttps://*, *\n", ""),
    ("endpoint hashkv --cluster -w table", "", 0, "+-*| HASH REVISION |\n*", ""),
    ("move-leader", "", 128, "", "Error: move-leader command needs 1 argument\n"),
    ("move-leader zz", "", 128, "", "Error: strconv.ParseUint: parsing \"zz\": invalid syntax\n"),
    ("move-leader 1234", "", 1, "", "Error: etcdserver: bad leader transferee\n"),
    ("compaction 3", "", 0, "compacted revision 3\n", ""),
    ("compaction 3", "", 1, "", "Error: etcdserver: mvcc: required revision has been compacted\n"),
    (
        "compaction 9999 --physical",
        "",
        1,
        "",
        "Error: etcdserver: mvcc: required revision is a future revision\n",
    ),
    ("compaction x", "", 1, "", "Error: strconv.ParseInt: parsing \"x\": invalid syntax\n"),
    ("compaction", "", 128, "", "Error: compaction command needs 1 argument\n"),
    (
        "watch a --rev 1",
        "",
        5,
        "",
        "watch was canceled (etcdserver: mvcc: required revision has been compacted)\nError: watch is canceled by the server\n",
    ),
    ("alarm list", "", 0, "", ""),
    ("alarm disarm", "", 0, "", ""),
    ("alarm list x", "", 128, "", "Error: alarm list command accepts no arguments\n"),
    ("snapshot save", "", 128, "", "Error: snapshot save expects one argument <filename>\n"),
    (
        "snapshot save all.snap",
        "",
        5,
        "",
        "Error: snapshot must be requested to one selected node, not multiple [https://*]\n",
    ),
    ("snapshot status", "", 128, "", "Error: snapshot status requires exactly one argument\n"),
    ("snapshot restore", "", 128, "", "Error: snapshot restore requires exactly one argument\n"),
    ("version", "", 0, "quorate version: *\nAPI version: 3.6\n", ""),
    ("completion fish", "", 0, "*keep-alive*", ""),
    ("completion tcsh", "", 1, "", "Error: invalid argument \"tcsh\" for \"quorate completion\"*"),
    ("help lease grant", "", 0, "*Examples:\n  quorate lease grant 60\n*", ""),
    ("lease", "", 0, "*keep-alive*", ""),
    ("", "", 0, "*Begin here:*Keys:*", ""),
];

/// The commands of the articles that people learn from, as they stand there.
const AS_WRITTEN: &[Case] = &[
    ("-w table endpoint health", "", 0, "+-*| HEALTH |*|   true |*", ""),
    ("-w table member list", "", 0, "+-*| STATUS  |*", ""),
    ("-w json endpoint status", "", 0, "[{\"Endpoint\":\"https://*", ""),
    ("put hello word", "", 0, "OK\n", ""),
    ("get hello", "", 0, "hello\nword\n", ""),
    ("get --prefix=true hello", "", 0, "hello\nword\n", ""),
    ("watch --prefix=true hello -- false", "", 1, "PUT\nhello\nmore\n*", "command*"),
    ("del hello", "", 0, "1\n", ""),
    ("--endpoint {endpoint} --dial-timeout 2s member list", "", 0, "*, started, n*", ""),
    ("--endpoints={endpoint} endpoint health", "", 0, "*is healthy*", ""),
];

/// One sound call of each command that asks a server, which must not change anything.
const ASKING: &[(&str, &str)] = &[
    ("put a 1", ""),
    ("get a", ""),
    ("del a", ""),
    ("txn", "\nget a\n\n\n"),
    ("watch a", ""),
    ("compaction 1", ""),
    ("lease grant 5", ""),
    ("lease revoke 1", ""),
    ("lease timetolive 1", ""),
    ("lease list", ""),
    ("lease keep-alive --once 1", ""),
    ("member list", ""),
    ("member add n9 --peer-urls http://127.0.0.1:9", ""),
    ("member promote 1", ""),
    ("member update 1 --peer-urls http://127.0.0.1:9", ""),
    ("member remove 1", ""),
    ("endpoint health", ""),
    ("endpoint status", ""),
    ("endpoint hashkv", ""),
    ("move-leader 1", ""),
    ("defrag", ""),
    ("alarm list", ""),
    ("alarm disarm", ""),
    ("snapshot save x.snap", ""),
];

/// The same of those that wait or work for long once they reach somebody.
const LASTING: &[(&str, &str)] = &[
    ("lock l", ""),
    ("elect e me", ""),
    ("elect -l e", ""),
    ("check perf --load s", ""),
    ("check datascale --load s", ""),
    ("bench put --duration 1s", ""),
    ("bench get --duration 1s", ""),
    ("bench watch --duration 1s", ""),
    ("bench lease --duration 1s", ""),
];

/// Blanks separate words; a backslash keeps one.
fn words(line: &str) -> Vec<String> {
    let kept = line.replace("\\ ", "\0");
    kept.split_whitespace().map(|word| word.replace('\0', " ")).collect()
}

fn is_like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

fn ask(cluster: &Cluster, line: &str, input: &str) -> Output {
    let line = words(line);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    crate::program::finish_with(&mut cluster.client_command(&line), input)
}

fn no_panic(output: &Output) {
    for word in ["panicked", "RUST_BACKTRACE", "Err(", "Some("] {
        assert!(!output.stderr.contains(word), "{word:?} in {output:?}");
    }
}

#[test]
fn every_command_answers_as_etcdctl_does_until_the_quorum_is_lost() {
    let mut cluster = Cluster::start();
    let mut told: BTreeMap<&str, String> = BTreeMap::new();
    let members = cluster.ask_all(&["member", "list"]).ok();
    told.insert("{member}", members.split(',').next().unwrap_or_default().to_owned());
    let mut wrong = Vec::new();
    for (line, input, code, stdout, stderr) in CASES {
        let fill = |text: &str| {
            told.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
        };
        let output = ask(&cluster, &fill(line), input);
        no_panic(&output);
        if output.code != *code
            || !is_like(&fill(stdout), &output.stdout)
            || !is_like(&fill(stderr), &output.stderr)
        {
            wrong.push(format!("{line}: {output:#?}\nexpected {code} {stdout:?} {stderr:?}"));
        }
        if let Some(found) = output.stdout.strip_prefix("lease ").filter(|_| line.contains("grant"))
        {
            told.insert("{lease}", found.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    as_written(&cluster);
    one_of_many(&cluster);
    without_quorum(&mut cluster);
}

fn as_written(cluster: &Cluster) {
    for (line, input, code, stdout, stderr) in AS_WRITTEN {
        let line = line.replace("{endpoint}", &cluster.endpoint(0));
        let output = thread::scope(|scope| {
            let asked = scope.spawn(|| ask(cluster, &line, input));
            if line.starts_with("watch") {
                until("the watch ends", || {
                    // It may begin after the first of them.
                    cluster.ask_all(&["put", "hello", "more"]).ok();
                    asked.is_finished().then_some(())
                });
            }
            asked.join().unwrap()
        });
        assert_eq!(output.code, *code, "{line}: {output:?}");
        assert!(is_like(stdout, &output.stdout), "{line}: {output:?}");
        assert!(is_like(stderr, &output.stderr), "{line}: {output:?}");
    }
}

/// What is said of one endpoint alone.
fn one_of_many(cluster: &Cluster) {
    let saved = cluster.ask(0, &["snapshot", "save", "one.snap"]).ok();
    assert!(is_like("Snapshot saved at one.snap\n*", &saved), "{saved}");
    let leader = cluster.leader();
    let follower = (leader + 1) % cluster.len();
    let to = format!("{:x}", cluster.status(follower).unwrap().member);
    let refused = cluster.ask(follower, &["move-leader", &to]);
    assert!(
        is_like("Error: no leader endpoint given at [https://*]\n", &refused.stderr),
        "{refused:?}"
    );
    assert_eq!(refused.code, 128);
    let moved = cluster.ask(leader, &["move-leader", &to]).ok();
    assert!(is_like(&format!("Leadership transferred from * to {to}\n"), &moved), "{moved}");
}

/// Two of three are stopped: what needs the quorum fails with the reason within its time, and the rest answers.
fn without_quorum(cluster: &mut Cluster) {
    cluster.leader();
    cluster.stop(1);
    cluster.stop(2);
    let needs: Vec<&(&str, &str)> = ASKING
        .iter()
        .filter(|(line, _)| {
            ![
                "watch",
                "lease list",
                "endpoint status",
                "endpoint hashkv",
                "move-leader",
                "snapshot",
                "defrag",
            ]
            .iter()
            .any(|start| line.starts_with(start))
        })
        .collect();
    let cluster = &*cluster;
    all(&needs, |line, input| {
        let line = format!("--command-timeout 1500ms {line}");
        let output = ask(cluster, &line, input);
        no_panic(&output);
        assert!([1, 2].contains(&output.code), "{line}: {output:?}");
        let reasons = [
            "no leader",
            "request timed out",
            "no answer from",
            "unhealthy cluster",
            "too many",
            "unhealthy",
        ];
        assert!(reasons.iter().any(|reason| output.stderr.contains(reason)), "{line}: {output:?}");
    });
    for line in ["get a --consistency s", "member list --consistency s", "endpoint status"] {
        let output = ask(cluster, line, "");
        assert_eq!(output.code, 0, "{line}: {output:?}");
    }
}

/// Runs `check` for each call, a few at a time.
fn all(calls: &[&(&str, &str)], check: impl Fn(&str, &str) + Sync) {
    for some in calls.chunks(6) {
        thread::scope(|scope| {
            for (line, input) in some {
                let check = &check;
                scope.spawn(move || check(line, input));
            }
        });
    }
}

#[test]
fn commands_that_ask_nobody_need_no_sound_connection() {
    let folder = Folder::new();
    for (words, told) in [
        (["snapshot", "status", "no.snap"], "Error: cannot read no.snap"),
        (["snapshot", "restore", "no.snap"], "Error: cannot read no.snap"),
    ] {
        let mut command = folder.command(&[&["--key", "nothing.key"][..], &words[..]].concat());
        command.env("ETCDCTL_CACERT", "nothing.crt").env("ETCDCTL_DIAL_TIMEOUT", "soon");
        let output = finish(&mut command);
        no_panic(&output);
        assert!(output.code == 1 && output.stderr.starts_with(told), "{words:?}: {output:?}");
    }
}

#[test]
fn every_command_says_what_is_wrong_with_a_flag_a_server_and_a_certificate() {
    let mut cluster = Cluster::prepare();
    cluster.start_node(0);
    // Alone it never has a leader, which these mistakes do not need.
    let strangers = Folder::new();
    strangers.run(&["cert", "ca"]).ok();
    let other_ca = strangers.path().join("certs/ca.crt").display().to_string();
    until("it listens", || (ask(&cluster, "endpoint status", "").code == 0).then_some(()));
    let port = free_port();
    let calls: Vec<&(&str, &str)> = ASKING.iter().chain(LASTING).collect();
    let cluster = &cluster;
    all(&calls, |line, input| {
        let output = ask(cluster, &format!("{line} --no-such-flag"), input);
        let first = output.stderr.lines().next();
        assert_eq!(first, Some("Error: unknown flag: --no-such-flag"), "{line}");
        assert_eq!(output.code, 1, "{line}: {output:?}");

        let nobody = format!(
            "--endpoints https://127.0.0.1:{port} --dial-timeout 200ms --command-timeout 2s {line}"
        );
        let output = ask(cluster, &nobody, input);
        no_panic(&output);
        assert!(output.stderr.contains(&format!("127.0.0.1:{port}")), "{line}: {output:?}");
        assert!([1, 2, 5].contains(&output.code), "{line}: {output:?}");

        let output = ask(cluster, &format!("--cacert {other_ca} {line}"), input);
        no_panic(&output);
        assert!(output.stderr.contains("certificate"), "{line}: {output:?}");
        assert!([1, 2, 5].contains(&output.code), "{line}: {output:?}");
    });
}
