//! Who is a stranger to a discovery service, and what he gets: over QUIC from another machine, behind a proxy, over HTTPS,
//! many at once; and tokens where users guard the tree.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use base64::Engine as _;

use super::nodes::{Node, are_one};
use super::service::{CA, KEYS, Service, ask};
use crate::harness::{Machines, Process, Seat};
use crate::program::{Folder, Output, finish, free_port, until};

const REFUSED: &str = "this is a discovery service";

#[test]
fn over_quic_only_its_own_machine_is_the_operator() {
    let _seat = Seat::take();
    let plan = [("service", "10.0.0.1"), ("stranger", "10.0.0.2")];
    let Some(machines) = Machines::connect(&plan) else { return };
    let url = "http://10.0.0.1:2379";
    let serve = [
        "quorate",
        "discovery",
        "--listen-client-urls=http://0.0.0.0:2379",
        "--advertise-client-urls=http://10.0.0.1:2379",
    ];
    let service = Process::spawn(machines.command(0, &serve), &machines.log(0));
    until("the service serves", || service.log().contains("ready to serve").then_some(()));
    let on = |at: usize, endpoint: &str, words: &[&str]| -> Output {
        let words = [&["quorate", "--endpoints", endpoint][..], words].concat();
        finish(&mut machines.command(at, &words))
    };
    let stranger = |words: &[&str]| on(1, url, words);
    what_a_stranger_may(&stranger);

    // A member of another machine founds its cluster by it.
    let member = [
        "quorate",
        "serve",
        "--name=n1",
        "--discovery=quic://10.0.0.1:2379/t",
        "--discovery-insecure-skip-tls-verify=true",
        "--listen-peer-urls=http://10.0.0.2:2380",
        "--initial-advertise-peer-urls=http://10.0.0.2:2380",
        "--listen-client-urls=http://10.0.0.2:2379",
        "--advertise-client-urls=http://10.0.0.2:2379",
    ];
    let member = Process::spawn(machines.command(1, &member), &machines.log(1));
    until("the member serves", || member.log().contains("ready to serve").then_some(()));

    // On the service's own machine it is the operator who asks; by another address of it nobody is believed.
    let told = on(0, "http://127.0.0.1:2379", &["discovery", "list"]).ok();
    assert!(told.contains("t, 1 of 1, ") && told.contains("staging, 0 of 3, "), "{told}");
    let refused = on(0, url, &["discovery", "list"]);
    assert!(refused.stderr.contains(REFUSED), "{refused:?}");
}

/// He is refused what only the operator may; of what a member that bootstraps does he may all, and it is looked at.
fn what_a_stranger_may(stranger: &dyn Fn(&[&str]) -> Output) {
    for words in [
        &["put", "foo", "1"][..],
        &["get", "foo"],
        &["get", "--prefix", ""],
        &["get", "--prefix", "/_etcd/registry/"],
        &["watch", "--prefix", ""],
        &["del", "--prefix", "/_etcd/registry/t/"],
        &["lease", "grant", "60"],
        &["discovery", "list"],
        &["discovery", "revoke", "t"],
        &["member", "add", "n9", "--peer-urls=http://10.0.0.2:2380"],
        &["snapshot", "save", "all.db"],
        &["compact", "1"],
    ] {
        let refused = stranger(words);
        assert_ne!(refused.code, 0, "{words:?}: {refused:?}");
        assert!(refused.stderr.contains(REFUSED), "{words:?}: {refused:?}");
    }
    let size = "/_etcd/registry/t/_config/size";
    for wrong in ["-1", "0", "1000000", "three"] {
        let refused = stranger(&["put", "--", size, wrong]);
        assert!(refused.stderr.contains("a size is from 1 to 31"), "{refused:?}");
    }
    stranger(&["put", size, "1"]).ok();
    assert_eq!(stranger(&["get", size, "--print-value-only"]).ok(), "1\n");
    let register = |id: &str, entry: &str| {
        stranger(&["put", &format!("/_etcd/registry/t/members/{id}"), entry])
    };
    let id = |url: &str| {
        quorate::base::MemberId::from_peer_urls(&[url.to_owned()], "t", None).to_string()
    };
    for (id, entry, part) in [
        ("abc".to_owned(), "n1=http://h:1".to_owned(), "is not that of these URLs"),
        (id("http://h:1"), "n1".to_owned(), "is not name=url"),
        (id("http://h:1"), "n\t1=http://h:1".to_owned(), "is no name of a member"),
        (id("http://h:1"), format!("{}=http://h:1", "n".repeat(300)), "is no name of a member"),
    ] {
        let refused = register(&id, &entry);
        assert!(refused.stderr.contains(part), "{refused:?}");
    }
    stranger(&["discovery", "new", "--size", "3", "staging"]).ok();
    let taken = stranger(&["discovery", "new", "--size", "5", "staging"]);
    assert!(taken.stderr.contains("the token staging is taken"), "{taken:?}");
}

#[test]
fn behind_a_proxy_on_its_machine_may_be_anybody() {
    let service = Service::start();
    let proxy = format!("http://127.0.0.1:{}", free_port());
    let words = ["proxy", "--listen", &proxy, "--endpoints", &service.url(0)];
    let running = service.folder.spawn("proxy", &words);
    until("the proxy serves", || running.stderr().contains("ready to serve").then_some(()));
    let by_proxy = |words: &[&str]| service.folder.run(&[&["--endpoints", &proxy], words].concat());
    for words in [&["put", "foo", "1"][..], &["discovery", "list"], &["get", "--prefix", ""]] {
        let refused = by_proxy(words);
        assert!(refused.stderr.contains(REFUSED), "{words:?}: {refused:?}");
    }
    by_proxy(&["put", "/_etcd/registry/t/_config/size", "3"]).ok();
    assert!(service.command(&["discovery", "list"]).ok().starts_with("t, 0 of 3, "));
}

#[test]
fn members_meet_by_a_url_over_https() {
    let service = Service::secure();
    let made = service.command(&["discovery", "new", "safe", "--size", "2"]).ok();
    let url = made.lines().nth(1).unwrap();
    assert!(url.starts_with("--discovery https://127.0.0.1:"), "{url}");
    let words: Vec<&str> = url.split(' ').chain(["--discovery-cacert", CA]).collect();
    let mut nodes = ["n1", "n2"].map(|name| Node::new(name, &words));
    nodes[0].start(&service.folder);
    nodes[0].says("\"missing\":1");
    let mut wary = Node::new("wary", &words[..2]);
    wary.start(&service.folder);
    wary.says("invalid peer certificate");
    nodes[1].start(&service.folder);
    are_one(&service.folder, &nodes);
    let told = service.command(&["discovery", "list"]).ok();
    assert!(told.starts_with("safe, 2 of 2, "), "{told}");
}

/// A request as a user of the v2 API, and what is answered.
fn as_root(port: u16, method: &str, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let login = base64::engine::general_purpose::STANDARD.encode("root:secret");
    let kind = match body.starts_with('{') {
        true => "application/json",
        false => "application/x-www-form-urlencoded",
    };
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {login}\r\nConnection: close\r\n\
         Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn where_users_guard_the_tree_tokens_are_theirs() {
    let (_seat, folder) = (Seat::take(), Folder::new());
    let service = Node::service(&folder);
    let port = service.client;
    let before = ask(port, "GET", "/new?size=1", "");
    assert_eq!(before.code, 200, "{before:?}");
    let made =
        as_root(port, "PUT", "/v2/auth/users/root", r#"{"user":"root","password":"secret"}"#);
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let enabled = as_root(port, "PUT", "/v2/auth/enable", "");
    assert!(enabled.starts_with("HTTP/1.1 200"), "{enabled}");
    let revoked = r#"{"role":"guest","revoke":{"kv":{"read":["/*"],"write":["/*"]}}}"#;
    let revoked = as_root(port, "PUT", "/v2/auth/roles/guest", revoked);
    assert!(revoked.starts_with("HTTP/1.1 200"), "{revoked}");

    // In nobody's name no token is made, seen or taken back, by any door.
    let new = ask(port, "GET", "/new?size=1", "");
    assert_eq!(new.code, 403, "{new:?}");
    assert!(new.body.contains("users of the v2 API are enabled"), "{new:?}");
    let endpoint = service.url();
    for words in [&["new"][..], &["list"], &["revoke", "t"]] {
        let words = [&["--endpoints", &endpoint, "discovery"], words].concat();
        let refused = folder.run(&words);
        assert!(refused.stderr.contains("users of the v2 API are enabled"), "{refused:?}");
    }
    let path = format!("{KEYS}/t/_config/size");
    assert_eq!(service.ask("PUT", &path, "value=1").0, 401);
    let written = as_root(port, "PUT", &path, "value=1");
    assert!(written.starts_with("HTTP/1.1 201"), "{written}");

    // Who may not come is told what to write; who may founds its cluster.
    let url = format!("{}{KEYS}/t", service.url());
    let mut nobody = Node::new("nobody", &["--discovery", &url]);
    nobody.start(&folder);
    let said = nobody.gives_up();
    assert!(said.contains("discovery-user"), "{said}");
    let mut user = Node::new(
        "user",
        &["--discovery", &url, "--discovery-user=root", "--discovery-password=secret"],
    );
    user.start(&folder);
    user.serves();
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long real processes take is what is tested")]
fn many_strangers_are_told_in_time_that_nothing_can_be_written() {
    const STRANGERS: usize = 10;
    let mut service = Service::of(3, &["discovery"]);
    let port = service.port();
    assert_eq!(ask(port, "PUT", &format!("{KEYS}/t/_config/size"), "value=3").code, 201);
    for at in 1..3 {
        service.kill(at);
    }
    let began = std::time::Instant::now();
    let asking: Vec<_> = (0..STRANGERS)
        .map(|n| {
            let path = format!("{KEYS}/t/a{n}?prevExist=false");
            let form = format!("value=n{n}=http://h:{n}");
            thread::spawn(move || ask(port, "PUT", &path, &form))
        })
        .collect();
    for asked in asking {
        let answer = asked.join().unwrap();
        assert!(answer.code >= 500, "{answer:?}");
    }
    // One after the other waits for as long as the first one, and no longer.
    let seconds = began.elapsed().as_secs();
    println!("{STRANGERS} strangers were told after {seconds} s");
    assert!(seconds < 35, "{seconds} s");
}
