//! Nodes in clear on loopback, each told by its words how to find the others; and HTTP by hand.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use crate::program::{Folder, Process, free_port, until};

pub(super) struct Node {
    pub name: String,
    pub client: u16,
    pub peer: u16,
    words: Vec<String>,
    starts: usize,
    process: Option<Process>,
}

/// HTTP's number, and what came with it.
pub(super) type Page = (u16, String);

impl Node {
    /// Not started yet.
    pub(super) fn new(name: &str, words: &[&str]) -> Self {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        let (client, peer) = (free_port(), free_port());
        Self { name: name.to_owned(), client, peer, words, starts: 0, process: None }
    }

    /// Others than those it was made with.
    pub(super) fn words(&mut self, words: &[&str]) {
        self.words = words.iter().map(|word| (*word).to_owned()).collect();
    }

    /// A member alone, which serves: a discovery service as any cluster is one.
    pub(super) fn service(folder: &Folder) -> Self {
        let mut service = Self::new("service", &[]);
        service.start(folder);
        service.serves();
        service
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client)
    }

    pub(super) fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.peer)
    }

    /// It starts, or starts again.
    pub(super) fn start(&mut self, folder: &Folder) {
        self.starts += 1;
        let (name, client, peer) = (&self.name, self.url(), self.peer_url());
        let mut words = vec![
            format!("--name={name}"),
            format!("--data-dir={name}-{}.etcd", self.peer),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
        ];
        words.extend(self.words.iter().cloned());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let log = format!("{name}-{}-{}", self.peer, self.starts);
        self.process = Some(folder.spawn(&log, &words));
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// Of its last start.
    pub(super) fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }

    #[track_caller]
    pub(super) fn says(&self, text: &str) {
        until(&format!("{} says {text}; it says {}", self.name, self.log()), || {
            self.log().contains(text).then_some(())
        });
    }

    #[track_caller]
    pub(super) fn serves(&self) {
        self.says("ready to serve client requests");
    }

    /// It has not begun to serve: nobody listens.
    #[track_caller]
    pub(super) fn serves_nobody(&self) {
        assert!(TcpStream::connect(("127.0.0.1", self.client)).is_err(), "{}", self.log());
    }

    /// It ends by itself, and not well; what it said.
    #[track_caller]
    pub(super) fn gives_up(&mut self) -> String {
        let process = self.process.as_mut().unwrap();
        assert!(!process.wait().success());
        let said = process.stderr();
        assert!(!said.contains("panicked") && !said.contains("RUST_BACKTRACE"), "{said}");
        said
    }

    /// It is asked to end, and does, well.
    #[track_caller]
    pub(super) fn stops(&mut self) {
        let process = self.process.as_mut().unwrap();
        process.signal(Signal::TERM);
        assert!(process.wait().success(), "{}", process.stderr());
    }

    /// The cluster that it says to have started in.
    pub(super) fn cluster(&self) -> Option<String> {
        cluster_of(&self.log())
    }

    pub(super) fn ask(&self, method: &str, path: &str, form: &str) -> Page {
        ask(self.client, method, path, form)
    }

    /// Says how many are to come, in the v2 tree; the URL of the token.
    pub(super) fn size(&self, token: &str, size: &str) -> String {
        let path = format!("/v2/keys/_etcd/registry/{token}");
        let (code, body) =
            self.ask("PUT", &format!("{path}/_config/size"), &format!("value={size}"));
        assert_eq!(code, 201, "{body}");
        format!("{}{path}", self.url())
    }

    /// The same in the keys of v3.
    pub(super) fn size_of_token(&self, folder: &Folder, token: &str, size: &str) {
        let key = format!("/_etcd/registry/{token}/_config/size");
        folder.run(&["--endpoints", &self.url(), "put", &key, size]).ok();
    }
}

/// The cluster in which a member says to have started.
pub(super) fn cluster_of(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("\"message\":\"started\""))?;
    let (_, rest) = line.split_once("\"cluster\":\"")?;
    Some(rest.split('"').next()?.to_owned())
}

/// A test that fails shows what its nodes said last.
impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("==== {} said\n{}", self.name, self.log());
        }
    }
}

/// All of them serve, know each other and are one cluster; its id.
#[track_caller]
pub(super) fn are_one(folder: &Folder, nodes: &[Node]) -> String {
    for node in nodes {
        node.serves();
    }
    let found: BTreeSet<String> = nodes.iter().filter_map(Node::cluster).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    for node in nodes {
        let listed = until("every member is started", || {
            let listed = folder.run(&["--endpoints", &node.url(), "member", "list"]).stdout;
            (listed.matches(", started, ").count() == nodes.len()).then_some(listed)
        });
        for other in nodes {
            let (name, port) =
                (format!(", started, {}, http://", other.name), format!(":{}, ", other.peer));
            let is_it = |line: &str| line.contains(&name) && line.contains(&port);
            assert!(listed.lines().any(is_it), "{listed}");
        }
    }
    found.into_iter().next().unwrap()
}

pub(super) fn ask(port: u16, method: &str, path: &str, form: &str) -> Page {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let length = form.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
