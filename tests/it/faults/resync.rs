//! `member resync`: one command gives a member everything anew, also where it is interrupted, begun again, or told
//! nothing by the member's own files.

use std::fs;
use std::time::Duration;

use crate::harness::{Cluster, Process, eventually, failure, run};

/// Always the same: the logs of the others stay whole, and are the truth.
pub(super) const VICTIM: usize = 2;
pub(super) const OTHERS: [usize; 2] = [0, 1];

/// The command, beside the members that go on; what it tells stands in the file.
fn begin(cluster: &Cluster) -> (Process, tempfile::NamedTempFile) {
    let mut command = cluster.cli(&OTHERS);
    command.args(["member", "resync", "--config-file"]).arg(&cluster.members[VICTIM].config);
    let log = tempfile::NamedTempFile::new().unwrap();
    (Process::spawn(command, log.path()), log)
}

/// Waits until it has told this, or that nothing is left to be done before the start.
async fn told(resyncing: &Process, words: &str) {
    eventually(words, || async {
        let told = resyncing.log();
        assert!(!told.contains("Error"), "{told}");
        (told.contains(words) || told.contains("start it now")).then_some(())
    })
    .await;
}

fn ends_well(mut resyncing: Process) -> String {
    let status = resyncing.wait(Duration::from_secs(60));
    let told = resyncing.log();
    assert!(status.is_some_and(|status| status.success()), "{told}");
    assert!(told.contains("has caught up and votes"), "{told}");
    told
}

/// The whole of it; the member is started when the command says so, and votes when this returns. What was told.
pub(super) async fn resync(cluster: &mut Cluster) -> String {
    let (resyncing, _log) = begin(cluster);
    told(&resyncing, "start it now").await;
    cluster.spawn(VICTIM);
    ends_well(resyncing)
}

/// A cluster with something in it, whose victim has stopped.
async fn stopped(cluster: &mut Cluster) {
    let client = cluster.client_of(&OTHERS);
    for count in 0..50 {
        client.put(format!("precious/{count}"), "value").await.unwrap();
    }
    cluster.same_hash().await;
    assert!(cluster.stop(VICTIM).success());
}

/// Three voters under their old names, the victim under another id, with the same data on all.
async fn is_whole_again(cluster: &Cluster, old: u64) {
    cluster.leader().await;
    cluster.same_hash().await;
    let client = cluster.client_of(&[VICTIM]);
    let read = client.get("precious/").prefix().serializable().await.unwrap();
    assert_eq!(read.kvs.len(), 50);
    let mut members = client.member_list(true).await.unwrap().members;
    members.sort_by(|one, other| one.name.cmp(&other.name));
    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["n1", "n2", "n3"]);
    assert!(members.iter().all(|member| !member.is_learner && member.id != old));
}

async fn id_of_victim(cluster: &Cluster) -> u64 {
    cluster.client_of(&[VICTIM]).status().await.unwrap().header.unwrap().member_id
}

#[test]
fn a_resync_that_is_interrupted_goes_on_where_it_was() {
    let mut cluster = Cluster::start(3);
    run(async {
        let old = id_of_victim(&cluster).await;
        stopped(&mut cluster).await;
        // Killed at once, after each step, and twice after the last one.
        for step in ["", "Removed", "old data", "start it now", "start it now"] {
            let (mut resyncing, _log) = begin(&cluster);
            told(&resyncing, step).await;
            resyncing.kill();
        }
        // Whoever starts it does not know that nobody waits for it.
        cluster.spawn(VICTIM);
        eventually("the learner is there", || async {
            let status = cluster.client_of(&[VICTIM]).status().await.ok()?;
            status.is_learner.then_some(())
        })
        .await;
        let (resyncing, _log) = begin(&cluster);
        ends_well(resyncing);
        is_whole_again(&cluster, old).await;
        let data = &cluster.members[VICTIM].data;
        let aside = fs::read_dir(data).unwrap().map(|entry| entry.unwrap().path());
        let mut aside = aside.filter(|path| path.join("identity").exists());
        assert!(aside.any(|path| path.to_str().unwrap().contains(&format!("/damaged-{old:x}"))));
        assert!(!data.join("resync").exists(), "nothing is left to be done");
    });
}

#[test]
fn a_damaged_identity_is_named_and_the_member_resynced() {
    let mut cluster = Cluster::start(3);
    run(async {
        let old = id_of_victim(&cluster).await;
        stopped(&mut cluster).await;
        let identity = cluster.members[VICTIM].data.join("identity");
        let mut bytes = fs::read(&identity).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 0x10;
        fs::write(&identity, bytes).unwrap();
        cluster.spawn(VICTIM);
        assert!(!cluster.ended(VICTIM).success());
        let log = cluster.log(VICTIM);
        let last = log.lines().last().unwrap_or_default();
        let named = format!("a damaged identity in {}", identity.display());
        assert!(last.contains(&named) && last.contains("`quorate member resync`"), "{last}");
        cluster.client_of(&OTHERS).put("goes on", "").await.unwrap();
        let told = resync(&mut cluster).await;
        assert!(told.contains("the member is told by its peer URLs"), "{told}");
        is_whole_again(&cluster, old).await;
    });
}

#[test]
fn a_member_that_runs_is_not_resynced() {
    let cluster = Cluster::start(3);
    let config = cluster.members[VICTIM].config.to_str().unwrap().to_owned();
    let words = ["member", "resync", "--config-file", &config];
    let told = failure(cluster.cli(&OTHERS).args(words).output().unwrap());
    assert!(told.contains("the member must have stopped: n3"), "{told}");
    // Somebody else's machine, with the member's settings.
    let elsewhere = cluster.dir().join("elsewhere");
    let elsewhere = ["--data-dir", elsewhere.to_str().unwrap()];
    let words = [&words[..], &elsewhere[..]].concat();
    let told = failure(cluster.cli(&OTHERS).args(words).output().unwrap());
    assert!(told.contains("it runs, on another data directory"), "{told}");
}
