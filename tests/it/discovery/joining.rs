//! Members that find each other at a discovery service: by a URL, by a token, over QUIC; and what they say where they
//! cannot.

use super::nodes::{Node, are_one};
use crate::harness::Seat;
use crate::program::{Folder, free_port};

/// Not started; each with the same words.
fn nodes(names: &[&str], words: &[&str]) -> Vec<Node> {
    names.iter().map(|name| Node::new(name, words)).collect()
}

#[test]
fn three_form_by_a_url_with_the_third_and_not_before() {
    let (_seat, folder) = (Seat::take(), Folder::new());
    let mut service = Node::service(&folder);
    let url = service.size("test", "3");
    let words = ["--discovery", url.as_str()];
    let mut nodes = nodes(&["test1", "test2", "test3"], &words);
    nodes[0].start(&folder);
    nodes[0].says("\"missing\":2");
    nodes[1].start(&folder);
    let here = format!("test1={} test2={}", nodes[0].peer_url(), nodes[1].peer_url());
    for node in &nodes[..2] {
        node.says(&format!("\"here\":\"{here}\",\"missing\":1,\"size\":3"));
    }
    // Whoever is ended meanwhile goes on where it was: a member, and the service.
    nodes[1].kill();
    nodes[1].start(&folder);
    nodes[1].says("this member is registered already");
    service.kill();
    nodes[0].says("the service does not answer as it should");
    service.start(&folder);
    service.serves();
    for node in &nodes[..2] {
        node.serves_nobody();
    }
    nodes[2].start(&folder);
    let cluster = are_one(&folder, &nodes);

    let mut surplus = Node::new("test4", &[&words[..], &["--discovery-fallback=exit"]].concat());
    surplus.start(&folder);
    let said = surplus.gives_up();
    let full =
        "discovery: cluster is full: the token was used by its 3 members (test1, test2, test3)";
    assert!(said.contains(full), "{said}");

    // Where nobody forbids it, the surplus one serves as a proxy of the others, and remembers them.
    let mut proxy = Node::new("test5", &words);
    proxy.start(&folder);
    proxy.serves();
    let told = proxy.ask("PUT", "/v2/keys/by", "value=proxy");
    assert_eq!(told.0, 201, "{told:?}");
    let told = nodes[0].ask("GET", "/v2/keys/by?quorum=true", "");
    assert!(told.1.contains("\"value\":\"proxy\""), "{told:?}");

    // From then on the service is not needed.
    service.kill();
    proxy.kill();
    proxy.start(&folder);
    proxy.says("the data directory is a proxy's: it starts as one");
    proxy.serves();
    nodes[0].kill();
    nodes[0].start(&folder);
    assert_eq!(are_one(&folder, &nodes), cluster);
    assert!(nodes[0].log().contains("discovery and their like are ignored"), "{}", nodes[0].log());
}

#[test]
fn three_form_by_a_token_over_grpc_and_quic() {
    let (_seat, folder) = (Seat::take(), Folder::new());
    let mut service = Node::service(&folder);
    service.size_of_token(&folder, "t", "3");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let endpoints = format!("{nobody},{}", service.url());
    let by_token = ["--discovery-token", "t", "--discovery-endpoints", &endpoints];
    let mut nodes = nodes(&["n1", "n2"], &by_token);
    let quic = format!("quic://127.0.0.1:{}/t", service.client);
    nodes.push(Node::new(
        "n3",
        &["--discovery", &quic, "--discovery-insecure-skip-tls-verify=true"],
    ));
    nodes[2].start(&folder);
    nodes[2].says("\"missing\":2");
    nodes[0].start(&folder);
    for node in [&nodes[0], &nodes[2]] {
        node.says("\"missing\":1");
    }
    service.kill();
    for node in [&nodes[0], &nodes[2]] {
        node.says("the service does not answer as it should");
    }
    service.start(&folder);
    service.serves();
    nodes[0].kill();
    nodes[0].start(&folder);
    nodes[0].says("this member is registered already");
    nodes[0].serves_nobody();
    nodes[1].start(&folder);
    are_one(&folder, &nodes);
    let mut surplus = Node::new("n4", &by_token);
    surplus.start(&folder);
    surplus.says("the cluster is full: falling back to a proxy");
    surplus.serves();
    let forbidden = [&by_token[..], &["--discovery-fallback=exit"]].concat();
    let mut forbidden = Node::new("n5", &forbidden);
    forbidden.start(&folder);
    let said = forbidden.gives_up();
    assert!(said.contains("discovery: cluster is full"), "{said}");
}

#[test]
fn each_mistake_is_told_with_what_to_do() {
    let (_seat, folder) = (Seat::take(), Folder::new());
    let service = Node::service(&folder);
    let told = |node: &mut Node, parts: &[&str]| {
        node.start(&folder);
        let said = node.gives_up();
        for part in parts {
            assert!(said.contains(part), "{part} in {said}");
        }
    };
    let nothing = format!("{}/v2/keys/_etcd/registry/nothing", service.url());
    let mut lost = Node::new("lost", &["--discovery", &nothing]);
    told(&mut lost, &["discovery: size key not found", "quorate discovery new"]);
    let endpoint = service.url();
    let by_token = |token| ["--discovery-token", token, "--discovery-endpoints", &endpoint];
    let mut lost = Node::new("lost", &by_token("nothing"));
    told(&mut lost, &["discovery: size key not found: token nothing at http"]);

    let page = format!("{}/health", service.url());
    let mut elsewhere = Node::new("elsewhere", &["--discovery", &page]);
    told(&mut elsewhere, &["discovery: bad discovery endpoint", "answers 404"]);

    service.size_of_token(&folder, "three", "3");
    let mut first = Node::new("first", &by_token("three"));
    first.start(&folder);
    first.says("\"missing\":2");
    let mut twin = Node::new("first", &by_token("three"));
    told(&mut twin, &["discovery: found duplicate name", "both named"]);
    // The same URLs under another name.
    let mut same = Node::new("second", &by_token("three"));
    same.peer = first.peer;
    told(&mut same, &["discovery: found duplicate id", "is registered as"]);
    first.kill();

    // The same place by another name: the ids would not be each other's.
    let url = service.size("two", "2");
    let mut first = Node::new("first", &["--discovery", &url]);
    first.start(&folder);
    first.says("\"missing\":1");
    let other = url.replace("127.0.0.1", "localhost");
    let mut second = Node::new("second", &["--discovery", &other]);
    told(&mut second, &["did not come to http://localhost", "the very same discovery"]);
    first.kill();

    // What does not speak at all is waited for.
    let port = free_port();
    let nobody = format!("http://127.0.0.1:{port}/v2/keys/t");
    let mut waits = Node::new("waits", &["--discovery", &nobody]);
    waits.start(&folder);
    waits.says(&format!("http://127.0.0.1:{port}: Connection refused"));
    waits.stops();
}

#[test]
fn settings_that_contradict_each_other_are_told_at_once() {
    let folder = Folder::new();
    let told = |words: &[&str], part: &str| {
        let output = folder.run(&[&["serve"], words].concat());
        assert_eq!(output.code, 3, "{output:?}");
        assert!(output.stderr.contains(part), "{output:?}");
    };
    let url = "http://h:1/v2/keys/t";
    told(&["--discovery", url, "--discovery-token", "t"], "multiple discovery or bootstrap flags");
    told(&["--discovery", url, "--discovery-srv", "x.y"], "multiple discovery or bootstrap flags");
    told(&["--discovery", url, "--initial-cluster-state", "existing"], "member add");
    told(&["--discovery-token", "t"], "--discovery-token: discovery-token and discovery-endpoints");
    told(&["--discovery", "h/t"], "--discovery: discovery is \"h/t\", and it has no scheme");
    told(
        &["--discovery-token", "t", "--discovery-endpoints", "h:x"],
        "discovery-endpoints: \"h:x\"",
    );
    let shown = folder.run(&[
        "config",
        "show",
        "--discovery=http://a:secret@h/t",
        "--discovery-user=b:secret",
        "--discovery-password=secret",
        "--discovery-proxy=http://c:secret@p:1",
    ]);
    let shown = shown.ok();
    assert!(!shown.contains("secret") && shown.contains("http://h/t"), "{shown}");
}
