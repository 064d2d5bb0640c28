//! Members that find each other at a real etcd, by the protocols that it has: 3.5 by a URL, 3.6 by a token.

use std::path::PathBuf;
use std::process::Command;

use super::nodes::{Node, are_one, ask};
use crate::harness::Seat;
use crate::interop::made;
use crate::program::{Folder, Process, free_port, until};

/// A real etcd alone, in clear.
struct Etcd {
    process: Option<Process>,
    program: PathBuf,
    flags: &'static [&'static str],
    client: u16,
    peer: u16,
}

impl Etcd {
    fn start(folder: &Folder, program: PathBuf, flags: &'static [&'static str]) -> Self {
        let (client, peer) = (free_port(), free_port());
        let mut etcd = Self { process: None, program, flags, client, peer };
        etcd.run(folder);
        etcd
    }

    fn run(&mut self, folder: &Folder) {
        let (client, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peer));
        let mut command = Command::new(&self.program);
        command.current_dir(folder.path()).args(["--name", "etcd", "--data-dir", "etcd.data"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("etcd={peer}")]).args(self.flags);
        self.process = Some(folder.spawn_command("etcd", command));
        until("the real etcd serves", || {
            std::net::TcpStream::connect(("127.0.0.1", self.client)).ok()?;
            ask(self.client, "GET", "/health", "").1.contains("true").then_some(())
        });
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }
}

/// Two wait, etcd is restarted, and the third makes them one.
fn three_form(folder: &Folder, etcd: &mut Etcd, words: &[&str]) {
    let mut nodes = ["n1", "n2", "n3"].map(|name| Node::new(name, words));
    for node in &mut nodes[..2] {
        node.start(folder);
    }
    for node in &nodes[..2] {
        node.says("\"missing\":1");
    }
    etcd.process = None;
    nodes[0].says("the service does not answer as it should");
    etcd.run(folder);
    nodes[1].kill();
    nodes[1].start(folder);
    nodes[1].says("this member is registered already");
    nodes[2].start(folder);
    are_one(folder, &nodes);
    let mut surplus = Node::new("n4", words);
    surplus.start(folder);
    surplus.says("the cluster is full: falling back to a proxy");
    surplus.serves();
}

#[test]
fn members_meet_at_an_etcd_3_5_by_a_url() {
    let Some(program) = made("etcd-3.5") else { return };
    let (_seat, folder) = (Seat::take(), Folder::new());
    let mut etcd = Etcd::start(&folder, program, &["--enable-v2=true"]);
    let path = "/v2/keys/_etcd/registry/test";
    let (code, body) = ask(etcd.client, "PUT", &format!("{path}/_config/size"), "value=3");
    assert_eq!(code, 201, "{body}");
    let url = format!("{}{path}", etcd.url());
    three_form(&folder, &mut etcd, &["--discovery", &url]);
    let (_, listed) = ask(etcd.client, "GET", path, "");
    assert_eq!(listed.matches("=http://").count(), 3, "{listed}");
    let nowhere = format!("{}/v2/keys/_etcd/registry/none", etcd.url());
    let mut lost = Node::new("lost", &["--discovery", &nowhere]);
    lost.start(&folder);
    let said = lost.gives_up();
    assert!(said.contains("discovery: size key not found"), "{said}");
}

/// Calls of etcd's JSON gateway.
fn post(etcd: &Etcd, path: &str, body: &str) -> String {
    let (code, answer) = ask(etcd.client, "POST", path, body);
    assert_eq!(code, 200, "{path} {body}: {answer}");
    answer
}

#[test]
fn members_meet_at_an_etcd_3_6_by_a_token_and_as_a_user() {
    let Some(program) = made("etcd-3.6") else { return };
    let (_seat, folder) = (Seat::take(), Folder::new());
    let mut etcd = Etcd::start(&folder, program, &[]);
    let put = |token: &str| {
        let key = format!("/_etcd/registry/{token}/_config/size");
        serde_json::json!({ "key": base64(&key), "value": base64("3") }).to_string()
    };
    post(&etcd, "/v3/kv/put", &put("test"));
    let endpoint = etcd.url();
    let by = |token| ["--discovery-token", token, "--discovery-endpoints", &endpoint];
    three_form(&folder, &mut etcd, &by("test"));

    // With users: one of them may come, and nobody else.
    post(&etcd, "/v3/kv/put", &put("users").replace(&base64("3"), &base64("1")));
    post(&etcd, "/v3/auth/user/add", r#"{"name":"root","password":"secret"}"#);
    post(&etcd, "/v3/auth/role/add", r#"{"name":"root"}"#);
    post(&etcd, "/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#);
    post(&etcd, "/v3/auth/enable", "{}");
    let mut nobody = Node::new("nobody", &by("users"));
    nobody.start(&folder);
    let said = nobody.gives_up();
    assert!(said.contains("discovery-user"), "{said}");
    let wrong = [&by("users")[..], &["--discovery-user=root:wrong"]].concat();
    let mut wrong = Node::new("wrong", &wrong);
    wrong.start(&folder);
    let said = wrong.gives_up();
    assert!(said.contains("authentication failed"), "{said}");
    let user = ["--discovery-user=root", "--discovery-password=secret"];
    let mut user = Node::new("user", &[&by("users")[..], &user].concat());
    user.start(&folder);
    user.serves();
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
