//! kill -9: nothing acknowledged is lost, and the cluster is soon itself again.

use std::time::{Duration, Instant};

use super::harness::{Cluster, Load, check_all, eventually, run};

/// The default election timeout of a member.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(1);

#[test]
fn the_leader_is_killed_under_load() {
    let mut cluster = Cluster::start(3);
    run(async {
        let (leader, _) = cluster.leader().await;
        let load = Load::start("load", vec![cluster.client(), cluster.client()]);
        eventually("load", || async { (load.count() > 200).then_some(()) }).await;
        let killed = Instant::now();
        cluster.kill(leader);
        let (next, _) = cluster.leader().await;
        let took = killed.elapsed();
        assert_ne!(next, leader);
        println!("a new leader after {took:?}");
        // Two election timeouts, and what this harness takes to ask: a promise of the release build on a machine that
        // is not busy with other tests.
        let bound = match cfg!(debug_assertions) {
            true => ELECTION_TIMEOUT * 10,
            false => ELECTION_TIMEOUT * 2 + Duration::from_secs(1),
        };
        assert!(took < bound, "a new leader took {took:?}");
        let before = load.count();
        eventually("load goes on", || async { (load.count() > before + 100).then_some(()) }).await;
        cluster.spawn(leader);
        cluster.leader().await;
        let acknowledged = load.stop().await;
        check_all(&cluster.client_of(&[leader]), &acknowledged).await;
        cluster.same_hash().await;
        println!("{} writes acknowledged", acknowledged.len());
    });
}
