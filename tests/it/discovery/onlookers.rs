//! Nodes that are told to be proxies, and ask a discovery service or DNS whose: they are none of the founders.

use super::nodes::{Node, are_one};
use super::zone::{Zone, host, srv};
use crate::harness::Seat;
use crate::program::{Folder, until};

/// What is written by one is read by another.
fn answers(folder: &Folder, proxy: &Node, member: &Node) {
    let put = ["--endpoints", &proxy.url(), "put", "by", &proxy.name];
    until("a write through the proxy", || (folder.run(&put).code == 0).then_some(()));
    let read = folder.run(&["--endpoints", &member.url(), "get", "by"]).ok();
    assert_eq!(read, format!("by\n{}\n", proxy.name));
}

#[test]
fn a_proxy_looks_who_founds_and_is_none_of_them() {
    let (_seat, folder) = (Seat::take(), Folder::new());
    let mut service = Node::service(&folder);
    let url = service.size("test", "2");
    service.size_of_token(&folder, "test", "2");
    let endpoint = service.url();
    let by_url = ["--discovery", url.as_str()];
    let by_token = ["--discovery-token", "test", "--discovery-endpoints", endpoint.as_str()];
    let quic = format!("quic://127.0.0.1:{}/test", service.client);
    let by_quic = ["--discovery", &quic, "--discovery-insecure-skip-tls-verify=true"];
    let proxy = |name: &str, words: &[&str]| {
        let mut proxy = Node::new(name, &[words, &["--proxy=on"]].concat());
        proxy.start(&folder);
        proxy
    };
    let members = |prefix: &str, words: &[&str]| {
        let mut nodes = [1, 2].map(|n| Node::new(&format!("{prefix}{n}"), words));
        for node in &mut nodes {
            node.start(&folder);
        }
        are_one(&folder, &nodes);
        nodes
    };
    // Each comes before the founders, and takes nobody's place.
    let mut early = proxy("early", &by_url);
    early.says("\"missing\":2");
    early.serves_nobody();
    let founders = members("url", &by_url);
    answers(&folder, &early, &founders[0]);
    let (grpc, native) = (proxy("grpc", &by_token), proxy("native", &by_quic));
    for proxy in [&grpc, &native] {
        proxy.says("\"missing\":2");
    }
    let others = members("token", &by_token);
    answers(&folder, &grpc, &others[1]);
    answers(&folder, &native, &others[0]);
    let (_, listed) = service.ask("GET", "/v2/keys/_etcd/registry/test", "");
    assert_eq!(listed.matches("=http://").count(), 2, "{listed}");
    let prefix = "/_etcd/registry/test/members/";
    let listed = folder.run(&["--endpoints", &endpoint, "get", "--prefix", prefix]).ok();
    assert_eq!(listed.matches("=http://").count(), 2, "{listed}");
    // What it knows it needs nobody for.
    service.kill();
    early.kill();
    early.start(&folder);
    early.serves();
    answers(&folder, &early, &founders[1]);
}

#[test]
fn a_surplus_node_remembers_members_that_it_has_not_met() {
    let (_seat, folder) = (Seat::take(), Folder::new());
    let mut service = Node::service(&folder);
    let url = service.size("one", "1");
    let mut member = Node::new("n1", &["--discovery", &url]);
    member.start(&folder);
    member.serves();
    member.kill();
    let mut surplus = Node::new("n2", &["--discovery", &url]);
    surplus.start(&folder);
    surplus.says("nobody says who the members are; asking on");
    surplus.kill();
    service.kill();
    member.start(&folder);
    member.serves();
    surplus.start(&folder);
    surplus.serves();
    answers(&folder, &surplus, &member);
}

#[test]
fn a_proxy_finds_the_members_by_srv_records() {
    let Some(mut zone) = Zone::serve(&[]) else { return };
    let (_seat, folder) = (Seat::take(), Folder::new());
    let server = zone.server.to_string();
    let words = ["--discovery-srv", "q.test", "--dns-server", server.as_str()];
    let mut proxy = Node::new("p1", &[&words[..], &["--proxy=on"]].concat());
    proxy.start(&folder);
    proxy.says("waiting for DNS: no SRV records of q.test");
    let mut nodes = ["n1", "n2"].map(|name| Node::new(name, &words));
    let mut records = vec![host("here.q.test", "127.0.0.1")];
    records.extend(nodes.iter().map(|it| srv("_etcd-server._tcp.q.test", "here.q.test", it.peer)));
    zone.write(&records);
    for node in &mut nodes {
        node.start(&folder);
    }
    are_one(&folder, &nodes);
    proxy.serves();
    answers(&folder, &proxy, &nodes[1]);
    // From then on it needs the hosts alone.
    zone.write(&records[..1]);
    proxy.kill();
    proxy.start(&folder);
    answers(&folder, &proxy, &nodes[0]);
}
