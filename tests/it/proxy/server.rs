//! A server that is told to be a proxy: etcd's flags, on both wires with TLS, and what it remembers.

use super::super::harness::{Cluster, eventually, failure, run};

#[test]
fn a_server_with_proxy_is_none_of_the_members() {
    let mut cluster = Cluster::start(3);
    let (index, url) = cluster.prepare_joiner("p1");
    let config = cluster.members[index].config.clone();
    let text = std::fs::read_to_string(&config).unwrap();
    super::write(&config, &format!("proxy = \"on\"\nproxy-refresh-interval = 500\n{text}"));
    cluster.spawn(index);
    run(async {
        let client = cluster.client_of(&[index]);
        eventually("a proxy that serves", || async { client.put("k", "v").await.ok() }).await;
        assert_eq!(client.get("k").await.unwrap().kvs[0].value, "v");
        let members = client.member_list(true).await.unwrap().members;
        assert_eq!(members.len(), 3);
        assert!(members.iter().all(|member| !member.client_ur_ls.contains(&url)));
        // It remembers who they are, whatever its settings say the next time.
        let kept = cluster.members[index].data.join("proxy/cluster");
        let text =
            eventually("a file of the members", || async { std::fs::read_to_string(&kept).ok() })
                .await;
        assert!(cluster.members[..3].iter().all(|it| text.contains(&it.url)), "{text}");
        assert!(!text.contains(&url), "{text}");
    });
    assert!(cluster.stop(index).success());
    let text = std::fs::read_to_string(&config).unwrap();
    let settings = text.split("[initial-cluster]").next().unwrap();
    let nobody =
        format!("{}[initial-cluster]\np1 = \"{url}\"\n", settings.replace("\"on\"", "\"off\""));
    super::write(&config, &nobody);
    cluster.spawn(index);
    run(async {
        let client = cluster.client_of(&[index]);
        eventually("a proxy that serves again", || async { client.get("k").await.ok() }).await;
    });
    cluster.kill(index);
    // A directory is a member's or a proxy's.
    std::fs::create_dir(cluster.members[0].data.join("proxy")).unwrap();
    cluster.kill(0);
    let said = failure(cluster.serve(0).output().unwrap());
    assert!(said.contains("holds a member and a proxy"), "{said}");
}
