//! A saved snapshot becomes a cluster of its own: keys, leases and revisions stay, membership is new.

use crate::program::{Cluster, Folder, Output, Process, free_port, until};

/// A cluster whose store is saved in `one.snap`, and where its restored twin will live.
struct Saved {
    cluster: Cluster,
    lease: String,
    hash: String,
    url: String,
}

impl Saved {
    fn new() -> Self {
        let cluster = Cluster::start();
        cluster.ask_all(&["put", "a", "1"]).ok();
        cluster.ask_all(&["put", "a", "2"]).ok();
        let granted = cluster.ask_all(&["lease", "grant", "5000"]).ok();
        let lease = granted.split(' ').nth(1).unwrap_or_default().to_owned();
        cluster.ask_all(&["put", "leased", "x", "--lease", &lease]).ok();
        // This member has applied all of it when it answers.
        assert_eq!(cluster.ask(0, &["get", "leased"]).ok(), "leased\nx\n");
        let hash = hash(&cluster.ask(0, &["endpoint", "hashkv"]).ok());
        cluster.ask(0, &["snapshot", "save", "one.snap"]).ok();
        Self { cluster, lease, hash, url: format!("http://127.0.0.1:{}", free_port()) }
    }

    fn folder(&self) -> &Folder {
        &self.cluster.folder
    }

    fn restore(&self, file: &str, dir: &str, more: &[&str]) -> Output {
        let initial = format!("r1={}", self.url);
        let mut words = vec!["snapshot", "restore", file, "--name", "r1", "--data-dir", dir];
        words.extend(["--initial-cluster", &initial, "--initial-advertise-peer-urls", &self.url]);
        words.extend(more);
        self.folder().run(&words)
    }

    /// The restored member, once it serves.
    fn serve(&self, dir: &str) -> Process {
        let initial = format!("r1={}", self.url);
        let mut words = vec!["serve", "--name", "r1", "--data-dir", dir];
        words.extend(["--initial-cluster", &initial]);
        for flag in [
            "--listen-peer-urls",
            "--initial-advertise-peer-urls",
            "--listen-client-urls",
            "--advertise-client-urls",
        ] {
            words.extend([flag, &self.url]);
        }
        let mut server = self.folder().spawn(dir, &words);
        until("the restored member serves", || {
            assert!(!server.has_ended(), "{}", server.stderr());
            server.stderr().contains("ready to serve client requests").then_some(())
        });
        server
    }

    fn ask(&self, words: &[&str]) -> Output {
        let mut all = vec!["--endpoints", &self.url];
        all.extend(words);
        self.folder().run(&all)
    }
}

fn hash(told: &str) -> String {
    told.trim().split(", ").nth(1).unwrap_or_else(|| panic!("{told}")).to_owned()
}

#[test]
fn a_saved_cluster_is_restored_with_new_members_and_damage_is_refused_by_name() {
    let saved = Saved::new();
    let status = saved.folder().run(&["snapshot", "status", "one.snap", "-w", "json"]).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["revision"], 4, "{status}");
    assert!(status["totalKey"].as_u64() > Some(4), "{status}");
    as_it_was(&saved);
    at_a_higher_revision(&saved);
    damage_is_refused(&saved);
    mistaken_words(&saved);
}

fn as_it_was(saved: &Saved) {
    let told = saved.restore("one.snap", "plain", &[]).ok();
    assert!(told.starts_with("Snapshot restored at plain: revision 4, member "), "{told}");
    let again = saved.restore("one.snap", "plain", &[]);
    assert!(again.stderr.contains("data-dir \"plain\" not empty"), "{again:?}");
    assert_eq!(again.code, 1);

    let _server = saved.serve("plain");
    assert_eq!(saved.ask(&["get", "a", "--rev", "2"]).ok(), "a\n1\n");
    assert_eq!(saved.ask(&["get", "a"]).ok(), "a\n2\n");
    assert_eq!(hash(&saved.ask(&["endpoint", "hashkv"]).ok()), saved.hash);
    let members = saved.ask(&["member", "list"]).ok();
    assert!(members.contains(&format!(", started, r1, {}, ", saved.url)), "{members}");
    assert_eq!(members.lines().count(), 1, "{members}");
    let keys = saved.ask(&["lease", "timetolive", &saved.lease, "--keys"]).ok();
    assert!(keys.contains("attached keys([leased])"), "{keys}");
    let put = saved.ask(&["put", "b", "1", "-w", "json"]).ok();
    assert!(put.contains("\"revision\":5,"), "{put}");
}

fn at_a_higher_revision(saved: &Saved) {
    let bump = ["--bump-revision", "1000", "--mark-compacted"];
    saved.restore("one.snap", "bumped", &bump).ok();
    let _server = saved.serve("bumped");
    let put = saved.ask(&["put", "b", "1", "-w", "json"]).ok();
    assert!(put.contains("\"revision\":1005,"), "{put}");
    let old = saved.ask(&["get", "a", "--rev", "4"]);
    assert!(old.stderr.contains("required revision has been compacted"), "{old:?}");
    assert_eq!(saved.ask(&["get", "a", "--rev", "1004"]).ok(), "a\n2\n");
}

fn damage_is_refused(saved: &Saved) {
    let place = |name: &str| saved.folder().path().join(name);
    let whole = std::fs::read(place("one.snap")).unwrap();
    let refused = |bytes: &[u8], why: &str, more: &[&str]| {
        std::fs::write(place("bad.snap"), bytes).unwrap();
        let output = saved.restore("bad.snap", "bad", more);
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stderr.contains("bad.snap") && output.stderr.contains(why), "{output:?}");
        assert!(!place("bad").exists() && !place("bad.part").exists());
    };
    for at in [0, 20, 5_000, whole.len() / 2, whole.len() - 40, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        refused(&bytes, "damaged", &[]);
    }
    let status = saved.folder().run(&["snapshot", "status", "bad.snap"]);
    assert!(status.code == 1 && status.stderr.contains("bad.snap is damaged"), "{status:?}");
    let cut = &whole[..whole.len() - 32];
    refused(cut, "missing hash", &[]);
    saved.restore("bad.snap", "cut", &["--skip-hash-check"]).ok();
    refused(&cut[..8_192], "missing hash", &[]);
    refused(&cut[..8_192], "bytes instead of", &["--skip-hash-check"]);
    refused(&[b'x'; 20_000], "no database", &["--skip-hash-check"]);
}

fn mistaken_words(saved: &Saved) {
    let output = saved.restore("one.snap", "half", &["--bump-revision", "5"]);
    assert!(output.stderr.contains("missing [mark-compacted]"), "{output:?}");
    let output = saved.folder().run(&["snapshot", "status", "nothing.snap"]);
    assert_eq!(output.code, 1);
    assert!(output.stderr.starts_with("Error: cannot read nothing.snap"), "{output:?}");
}
