//! The real etcdctl, as it is found on this machine: 3.4 and newer.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::super::harness::{Process, eventually, run};
use super::alone::Alone;

/// Where the tool is: `QUORATE_ETCDCTL`, or on the path. None, and a line that says so, where it is not.
fn etcdctl() -> Option<String> {
    let tool = std::env::var("QUORATE_ETCDCTL").unwrap_or_else(|_| "etcdctl".to_owned());
    let found = Command::new(&tool).arg("version").env("ETCDCTL_API", "3").output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(tool);
    }
    let is_required = std::env::var("QUORATE_CLIENTS").is_ok_and(|value| value == "required");
    assert!(!is_required, "{tool} is not here, and QUORATE_CLIENTS says that it must be");
    // Not by println: that of a test that passes is not shown.
    let _ = writeln!(std::io::stderr(), "SKIPPED: etcd's clients need {tool}");
    None
}

struct Tool<'a> {
    path: &'a str,
    alone: &'a Alone,
}

impl Tool<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.path);
        command.env("ETCDCTL_API", "3").args(["--endpoints", &self.address()]).args(words);
        command.current_dir(self.alone.dir.path()).stdin(Stdio::null());
        command
    }

    /// Without `http://`, which 3.4 would send as a part of the authority (docs/compatibility.md).
    fn address(&self) -> String {
        self.alone.url().trim_start_matches("http://").to_owned()
    }

    /// What it prints, and it must succeed.
    fn ok(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {out}{err}");
        out.into_owned()
    }

    /// The last line of what it says when it fails.
    fn fails(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        err.lines().rfind(|line| line.starts_with("Error")).unwrap_or_default().to_owned()
    }
}

#[test]
fn etcdctl_does_its_everyday_work() {
    let Some(path) = etcdctl() else { return };
    run(async {
        let (alone, _client) = Alone::start(&[]).await;
        let tool = Tool { path: &path, alone: &alone };
        assert_eq!(tool.ok(&["put", "foo", "bar"]), "OK\n");
        assert_eq!(tool.ok(&["get", "foo"]), "foo\nbar\n");
        assert_eq!(tool.ok(&["put", "foo", "baz", "--prev-kv"]), "OK\nfoo\nbar\n");
        assert_eq!(tool.ok(&["get", "--rev", "3", "foo", "--print-value-only"]), "bar\n");
        assert_eq!(tool.ok(&["--user", "root:pw", "get", "foo"]), "foo\nbaz\n");
        let lease = tool.ok(&["lease", "grant", "60"]);
        let id = lease.split(' ').nth(1).unwrap();
        assert_eq!(tool.ok(&["put", "leased", "x", "--lease", id]), "OK\n");
        assert!(
            tool.ok(&["lease", "timetolive", id, "--keys"]).contains("attached keys([leased])")
        );
        assert!(
            tool.ok(&["lease", "keep-alive", "--once", id]).contains("keepalived with TTL(60)")
        );
        assert!(tool.ok(&["lease", "revoke", id]).contains("revoked"));
        assert_eq!(tool.ok(&["get", "leased"]), "");
        assert!(tool.ok(&["member", "list"]).contains("started, n0"));
        tool.ok(&["endpoint", "health"]);
        assert!(tool.ok(&["endpoint", "status"]).contains("3.6.0"));
        assert!(tool.ok(&["endpoint", "hashkv"]).contains(&tool.address()));
        tool.ok(&["snapshot", "save", "s.db"]);
        assert_eq!(alone.dir.path().join("s.db").metadata().unwrap().len() % 512, 32);
        assert_eq!(tool.ok(&["compact", "3"]), "compacted revision 3\n");
        let gone = tool.fails(&["get", "--rev", "2", "foo"]);
        assert!(gone.ends_with("mvcc: required revision has been compacted"), "{gone}");
        assert!(tool.ok(&["defrag"]).contains("Finished defragmenting"));
        assert_eq!(tool.ok(&["alarm", "list"]), "");
        assert_eq!(tool.ok(&["lock", "l", "echo", "held"]), "held\n");
        let refused = tool.fails(&["move-leader", "1"]);
        assert!(refused.contains("bad leader transferee"), "{refused}");
        watches(&tool).await;
        assert_eq!(tool.ok(&["del", "foo"]), "1\n");
    });
}

async fn watches(tool: &Tool<'_>) {
    let log = tool.alone.dir.path().join("watch.log");
    let watch = Process::spawn(tool.command(&["watch", "--prefix", "w"]), &log);
    eventually("the watch", || async {
        tool.ok(&["put", "w probe", ""]);
        watch.log().contains("probe").then_some(())
    })
    .await;
    tool.ok(&["put", "w", "1"]);
    tool.ok(&["del", "w"]);
    let expected = "PUT\nw\n1\nDELETE\nw\n\n";
    eventually("its events", || async { watch.log().ends_with(expected).then_some(()) }).await;
}
