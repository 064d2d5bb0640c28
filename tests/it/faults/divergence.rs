//! One member has another history than the others: they find it, it serves nobody, they go on, and one command gives it
//! theirs.

use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use quorate::base::Moment;
use quorate::proto::etcdserverpb::AlarmType;
use quorate::storage::{Direction, Read as _, Rows, Store, StoreConfig, Table};

use super::resync::{OTHERS, VICTIM, resync};
use crate::harness::{Cluster, Process, eventually, run};

const TRUE: &[u8] = b"what everybody has acknowledged";
const FALSE: &[u8] = b"what one of them made of it, or";

#[test]
fn a_member_with_another_history_is_found_and_serves_nobody() {
    let mut cluster = Cluster::prepare(3);
    cluster.set("corrupt-check-time = \"300ms\"");
    (0..3).for_each(|index| cluster.spawn(index));
    run(async {
        let client = cluster.client_of(&OTHERS);
        client.put("precious", TRUE).await.unwrap();
        cluster.same_hash().await;
        let members = client.member_list(true).await.unwrap().members;
        let victim = members.iter().find(|member| member.name == "n3").unwrap().id;
        assert!(client.alarm_list().await.unwrap().alarms.is_empty());
        assert!(cluster.stop(VICTIM).success());
        diverge(&cluster.members[VICTIM].data.join("db"));

        cluster.spawn(VICTIM);
        let alarms = eventually("the alarm", || async {
            Some(client.alarm_list().await.ok()?.alarms).filter(|alarms| !alarms.is_empty())
        })
        .await;
        assert_eq!((alarms.len(), alarms[0].member_id), (1, victim));
        assert_eq!(alarms[0].alarm(), AlarmType::Corrupt);
        let told = OTHERS.iter().any(|index| cluster.log(*index).contains("it is corrupt"));
        assert!(told, "whoever led says so");
        let own = cluster.client_of(&[VICTIM]).within(Duration::from_millis(500));
        let refused = eventually("the member has heard of it", || async {
            own.get("precious").serializable().await.err()
        })
        .await;
        assert!(refused.to_string().contains("etcdserver: corrupt cluster"), "{refused}");
        assert!(own.put("precious", FALSE).await.is_err());
        assert!(own.get("precious").await.is_err());
        client.put("goes on", "").await.unwrap();
        let leader = eventually("it leads no longer", || async {
            Some(client.status().await.ok()?.leader).filter(|leader| *leader != victim)
        })
        .await;
        assert_ne!(leader, 0);

        // Told at its start, it does not stay.
        assert!(cluster.stop(VICTIM).success());
        let mut checking = cluster.serve(VICTIM);
        checking.arg("--initial-corrupt-check");
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut checking = Process::spawn(checking, log.path());
        let status = checking.wait(Duration::from_secs(60));
        let last = checking.log();
        assert!(status.is_some_and(|status| !status.success()), "{last}");
        assert!(last.contains("it is corrupt; run `quorate member resync`"), "{last}");

        resync(&mut cluster).await;
        cluster.same_hash().await;
        assert!(client.alarm_list().await.unwrap().alarms.is_empty());
        let read = cluster.client_of(&[VICTIM]).get("precious").serializable().await.unwrap();
        assert_eq!(read.kvs[0].value, TRUE);
    });
}

/// Writes another value in place of the true one, as whoever has a bug would: every checksum is right.
fn diverge(database: &Path) {
    let store = Store::open(database, StoreConfig::default()).unwrap();
    let mut found = None;
    let all = (Bound::Unbounded, Bound::Unbounded);
    let view = store.view().unwrap();
    view.scan(Table::Revisions, all.0, all.1, Direction::Ascending, &mut |row| {
        if row.value.ends_with(TRUE) {
            found = Some((Bytes::copy_from_slice(row.key), row.value.to_vec()));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    drop(view);
    let (key, mut value) = found.expect("a stop writes a checkpoint");
    let begin = value.len() - TRUE.len();
    value[begin..].copy_from_slice(FALSE);
    let rows = Rows::from([((Table::Revisions, key), Some(value.into()))]);
    store.merge(rows, store.stamp(), Moment::ZERO);
    let _ = store.checkpoint(store.seal().unwrap()).unwrap();
}
