//! A bit flips in what one member has on its disk: it is found and named, the others go on, and one command gives the
//! member everything anew.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use super::resync::{OTHERS, VICTIM, resync};
use super::{Stage, rounds, trials};
use crate::dice::Dice;
use crate::harness::{Cluster, SOON, run};
use crate::recorded::Trial;

/// Commands that the others are to acknowledge meanwhile.
const WITHOUT_IT: u64 = 20;

#[test]
fn a_bit_that_flips_in_the_log_is_named_and_the_member_is_resynced() {
    let flip = async |stage: &mut Stage<()>, trial: &Trial, dice: &mut Dice, _: usize| {
        let cluster = &mut stage.cluster;
        cluster.kill(VICTIM);
        let data = cluster.members[VICTIM].data.clone();
        let name = flip_in_log(&data.join("wal"), dice);
        cluster.spawn(VICTIM);
        let status = cluster.ended(VICTIM);
        let log = cluster.log(VICTIM);
        let last = log.lines().last().unwrap_or_default();
        assert!(!status.success() && last.contains(&format!("{name} at offset")), "{last}");
        assert!(last.contains("`quorate member resync`"), "{last}");
        trial.goes_on(WITHOUT_IT).await;
        resync(cluster).await;
    };
    let three = || Some(Stage { cluster: Cluster::start(3), extra: () });
    trials("bit flipped in the log", rounds("QUORATE_FLIP_ROUNDS", 1), three, flip);
}

/// One bit in the body of a batch that others follow; the segment's name.
fn flip_in_log(wal: &Path, dice: &mut Dice) -> String {
    let newest = files(wal, "wal").pop().unwrap();
    let bytes = std::fs::read(&newest).unwrap();
    let mut batches = Vec::new();
    // docs/storage.md: a header of 512 bytes, then batches of 32 bytes and a body, each at a multiple of 8.
    let mut at = 512;
    while bytes.get(at..at + 4) == Some(b"QWB1") {
        let length = u64::from_le_bytes(bytes[at + 24..at + 32].try_into().unwrap());
        batches.push((at + 32, length));
        at += 32 + usize::try_from(length).unwrap().next_multiple_of(8);
    }
    let (body, length) = batches[dice.below(batches.len() / 2)];
    let place = body as u64 + dice.between(0, length - 1);
    flip_bit(&newest, place, dice.below(8));
    newest.file_name().unwrap().to_str().unwrap().to_owned()
}

#[test]
fn a_bit_that_flips_in_the_database_is_named_and_the_member_is_resynced() {
    const VALUE: &[u8] = b"what nobody else ever wrote, and everybody wants to read again";
    let mut cluster = Cluster::start(3);
    run(async {
        let client = cluster.client_of(&OTHERS);
        client.put("precious", VALUE).await.unwrap();
        cluster.same_hash().await;
        assert!(cluster.stop(VICTIM).success());
        let data = cluster.members[VICTIM].data.clone();
        let database = files(&data.join("db/1"), "mdb");
        let database = database.iter().find(|path| path.ends_with("data.mdb")).unwrap();
        let bytes = std::fs::read(database).unwrap();
        // A page may have copies that nobody reads any more.
        let found = bytes.windows(VALUE.len()).enumerate().filter(|(_, seen)| *seen == VALUE);
        let found: Vec<usize> = found.map(|(at, _)| at).collect();
        assert!(!found.is_empty(), "a stop writes a checkpoint");
        for at in found {
            flip_bit(database, at as u64 + 20, 3);
        }
        cluster.spawn(VICTIM);
        let status = whoever_reads_it_ends_it(&mut cluster).await;
        let log = cluster.log(VICTIM);
        let last = log.lines().last().unwrap_or_default();
        let named = "a row of table revisions fails its checksum";
        assert!(!status.success() && last.contains(named), "{status}: {last}");
        assert!(last.contains("data.mdb") && last.contains("`quorate member resync`"), "{last}");
        client.put("goes on", "").await.unwrap();
        resync(&mut cluster).await;
        cluster.leader().await;
        cluster.same_hash().await;
        let read = cluster.client_of(&[VICTIM]).get("precious").serializable().await.unwrap();
        assert_eq!(read.kvs[0].value, VALUE);
        let members = client.member_list(true).await.unwrap().members;
        assert!(members.len() == 3 && members.iter().all(|member| !member.is_learner));
        let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["n1", "n2", "n3"]));
    });
}

/// Reads the damaged row until the member has ended.
async fn whoever_reads_it_ends_it(cluster: &mut Cluster) -> ExitStatus {
    let client = cluster.client_of(&[VICTIM]).within(Duration::from_millis(500));
    let began = Instant::now();
    loop {
        if let Ok(read) = client.get("precious").serializable().await {
            panic!("damage is served: {:?}", read.kvs);
        }
        let process = cluster.members[VICTIM].process.as_mut().unwrap();
        if let Some(status) = process.wait(Duration::from_millis(50)) {
            cluster.members[VICTIM].process = None;
            return status;
        }
        assert!(began.elapsed() < SOON, "it goes on");
    }
}

fn files(dir: &Path, kind: &str) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|found| found == kind)).collect();
    paths.sort();
    paths
}

fn flip_bit(path: &Path, offset: u64, bit: usize) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << bit], offset).unwrap();
}
