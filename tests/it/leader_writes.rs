//! A client's writes find the leader, follow it, and need none; a server that falls silent is left.

use std::time::Duration;

use quorate::client::{Client, Config, Error, Retry, Watcher, Wire};

use super::harness::{Cluster, Line, Party, eventually, relayed, run};

/// The member that answered.
fn member(header: Option<quorate::client::etcdserverpb::ResponseHeader>) -> u64 {
    header.unwrap().member_id
}

/// Who answers a write; none while its outcome is unknown, as it may be when a leader ends.
async fn writes_to(client: &Client) -> Option<u64> {
    match client.put("who", "writes").await {
        Ok(response) => Some(member(response.header)),
        Err(error) => {
            assert_ne!(error.retry(), Retry::Never, "{error}");
            None
        }
    }
}

/// Waits until writes are answered by the member that leads, whoever that is by then: its place and its id.
async fn finds(cluster: &Cluster, client: &Client) -> (usize, u64) {
    eventually("writes at the leader", || async {
        let (leader, id) = cluster.leader().await;
        (writes_to(client).await == Some(id)).then_some((leader, id))
    })
    .await
}

#[test]
fn writes_go_to_the_leader_and_follow_it() {
    let mut cluster = Cluster::start(3);
    run(async {
        let (leader, _) = cluster.leader().await;
        let (asked, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let asked_id = member(cluster.client_of(&[asked]).status().await.unwrap().header);
        let client = Client::connect(cluster.client_config(&[asked, leader, other])).await.unwrap();
        let (leader, _) = finds(&cluster, &client).await;
        assert_eq!(client.leader_endpoint().as_deref(), Some(&*cluster.members[leader].url));
        let reads_from = member(client.get("who").await.unwrap().header);
        assert_eq!(reads_from, asked_id, "reads stay where they are");

        // The leader is no endpoint of this one, which learns it from the member list.
        let learning = Client::connect(cluster.client_config(&[asked, other])).await.unwrap();
        finds(&cluster, &learning).await;
        // Whoever was given one endpoint stays there.
        let faithful = Client::connect(cluster.client_config(&[asked])).await.unwrap();
        for _ in 0..20 {
            let answered = writes_to(&faithful).await;
            assert!(answered.is_none_or(|id| id == asked_id), "{answered:?}");
        }
        assert_eq!(faithful.leader_endpoint(), None);

        // Handed over: a newer term in an answer says so, though the old leader still takes writes.
        eventually("the asked one to lead", || async {
            let (at, id) = cluster.leader().await;
            if id == asked_id {
                return Some(());
            }
            cluster.client_of(&[at]).move_leader(asked_id).await.ok().map(drop)
        })
        .await;
        let (leader, _) = finds(&cluster, &client).await;
        // Killed: any member takes writes meanwhile.
        cluster.kill(leader);
        let (next, _) = finds(&cluster, &client).await;
        eventually("the next leader to be known", || async {
            writes_to(&client).await;
            (client.leader_endpoint()? == cluster.members[next].url).then_some(())
        })
        .await;
    });
}

#[test]
fn a_write_at_a_server_that_fell_silent_is_told_so_and_reads_go_elsewhere() {
    let cluster = Cluster::start(3);
    run(async {
        let (leader, _) = cluster.leader().await;
        let (silent, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let client = cluster.client_of(&[silent, other]).within(Duration::from_secs(60));
        client.put("a", "1").await.unwrap();
        assert_eq!(client.endpoint().as_deref(), Some(&*cluster.members[silent].url));
        cluster.members[silent].process.as_ref().unwrap().signal("STOP");
        let (write, read) = tokio::join!(client.put("a", "2"), client.get("a"));
        let error = write.unwrap_err();
        assert!(matches!(error, Error::Lost { retry: Retry::Ambiguous, .. }), "{error}");
        // Long before the connection counts as idle.
        assert!(error.to_string().contains("it has not answered for 3s"), "{error}");
        assert_eq!(read.unwrap().kvs.len(), 1);
        client.put("a", "3").await.unwrap();
        assert_eq!(client.endpoint().as_deref(), Some(&*cluster.members[other].url));
    });
}

/// A client over gRPC, at the first of these members. Relays carry no TCP: it asks where the members themselves listen.
async fn over_grpc(cluster: &Cluster, members: &[usize]) -> Client {
    let own = |&index: &usize| {
        let text = std::fs::read_to_string(&cluster.members[index].config).unwrap();
        let url = text.split("\nlisten-client-urls = \"").nth(1).unwrap();
        url.split('"').next().unwrap().to_owned()
    };
    let urls: Vec<String> = members.iter().map(own).collect();
    let mut config = Config::new(urls.clone()).tls(cluster.client_files());
    config.wire = Wire::Grpc;
    let client = Client::connect(config).await.unwrap();
    assert_eq!(client.endpoint(), urls.first().cloned());
    client
}

/// It knows no leader, and says so only when a call's own time is over.
#[test]
fn a_member_that_is_cut_off_is_left_by_calls_that_end_before_it_finds_a_leader() {
    let (cluster, relays) = relayed(3);
    run(async {
        let (leader, _) = cluster.leader().await;
        let (cut, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let mut clients = Vec::new();
        for writes_to_leader in [false, true] {
            let config = cluster.client_config(&[cut, leader, other]);
            let client = Client::connect(Config { writes_to_leader, ..config }).await.unwrap();
            assert_eq!(client.endpoint().as_deref(), Some(&*cluster.members[cut].url));
            clients.push(client.within(Duration::from_secs(1)));
        }
        let client = over_grpc(&cluster, &[cut, leader, other]).await;
        clients.push(client.within(Duration::from_secs(1)));
        for index in [leader, other] {
            relays.set(Party::Member(cut), Party::Member(index), Line::CUT);
            relays.set(Party::Member(index), Party::Member(cut), Line::CUT);
        }
        eventually("the cut one to know no leader", || async {
            (cluster.client_of(&[cut]).status().await.ok()?.leader == 0).then_some(())
        })
        .await;
        for client in &clients {
            eventually("reads and writes at the others", || async {
                client.put("where", "elsewhere").await.ok()?;
                client.get("where").await.ok()
            })
            .await;
        }
    });
}

/// Nobody would be told anything there; whoever knows no other member waits for this one.
#[test]
fn a_watch_over_grpc_leaves_a_member_that_is_cut_off_and_goes_on() {
    let (cluster, relays) = relayed(3);
    run(async {
        let (leader, _) = cluster.leader().await;
        let (cut, other) = ((leader + 1) % 3, (leader + 2) % 3);
        let leaving = over_grpc(&cluster, &[cut, leader, other]).await;
        let faithful = over_grpc(&cluster, &[cut]).await;
        let mut leaves = leaving.watch("k").await.unwrap();
        let mut stays = faithful.watch("k").await.unwrap();
        for index in [leader, other] {
            relays.set(Party::Member(cut), Party::Member(index), Line::CUT);
            relays.set(Party::Member(index), Party::Member(cut), Line::CUT);
        }
        let writer = cluster.client_of(&[leader, other]);
        for number in ["1", "2"] {
            eventually("a write", || async { writer.put("k", number).await.ok() }).await;
        }
        assert_eq!(values(&mut leaves).await, ["1", "2"]);
        relays.heal();
        assert_eq!(values(&mut stays).await, ["1", "2"]);
    });
}

/// The values up to the last; a write whose outcome was unknown may have been made twice.
async fn values(watcher: &mut Watcher) -> Vec<String> {
    let mut values = Vec::new();
    while values.last().is_none_or(|last| last != "2") {
        for event in watcher.next().await.unwrap().unwrap().events {
            values.push(String::from_utf8(event.kv.unwrap().value.to_vec()).unwrap());
        }
    }
    values.dedup();
    values
}
