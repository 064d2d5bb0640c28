//! Three nodes by the static initial cluster, from the files of `config/three` and certificates of `quorate cert`.

use std::cell::RefCell;
use std::process::Command;
use std::sync::{Arc, Weak};

use rustix::process::Signal;

use super::{Folder, Output, Process, free_port, until};
use crate::harness::Seat;

pub(crate) struct Cluster {
    pub folder: Folder,
    nodes: Vec<Node>,
    // Behind the nodes: they end before somebody else may start.
    _seat: Arc<Seat>,
}

thread_local! {
    /// The seat of this thread's test: one for all its clusters, so that no test holds one while it waits for another.
    static SEAT: RefCell<Weak<Seat>> = const { RefCell::new(Weak::new()) };
}

fn seat() -> Arc<Seat> {
    SEAT.with_borrow_mut(|held| {
        held.upgrade().unwrap_or_else(|| {
            let seat = Arc::new(Seat::take());
            *held = Arc::downgrade(&seat);
            seat
        })
    })
}

struct Node {
    name: String,
    port: u16,
    process: Option<Process>,
}

/// The ports that the files of `config/three` have.
const PORTS: [u16; 3] = [2379, 22379, 32379];

impl Cluster {
    /// Certificates, files, three nodes, and a leader.
    pub(crate) fn start() -> Self {
        let mut cluster = Self::prepare();
        for at in 0..cluster.nodes.len() {
            cluster.start_node(at);
        }
        cluster.leader();
        cluster
    }

    /// Everything but running nodes.
    pub(crate) fn prepare() -> Self {
        let seat = seat();
        let folder = Folder::new();
        folder.run(&["cert", "ca"]).ok();
        folder.run(&["cert", "client", "root"]).ok();
        let ports = PORTS.map(|_| free_port());
        let mut nodes = Vec::new();
        for (at, port) in ports.into_iter().enumerate() {
            let name = format!("n{}", at + 1);
            make_certificates(&folder, &name);
            let sample = format!("{}/config/three/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            let mut text = std::fs::read_to_string(sample).unwrap();
            for (written, free) in PORTS.iter().zip(ports) {
                text = text.replace(&format!(":{written}"), &format!(":{free}"));
            }
            std::fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
            nodes.push(Node { name, port, process: None });
        }
        Self { folder, nodes, _seat: seat }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn name(&self, at: usize) -> &str {
        &self.nodes[at].name
    }

    pub(crate) fn endpoint(&self, at: usize) -> String {
        format!("https://127.0.0.1:{}", self.nodes[at].port)
    }

    pub(crate) fn start_node(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let file = format!("{}.toml", node.name);
        node.process = Some(self.folder.spawn(&node.name, &["serve", "--config-file", &file]));
    }

    /// A node that is told what to do by `command`.
    pub(crate) fn adopt(&mut self, name: &str, port: u16, command: Command) -> usize {
        let process = self.folder.spawn_command(name, command);
        self.nodes.push(Node { name: name.to_owned(), port, process: Some(process) });
        self.nodes.len() - 1
    }

    pub(crate) fn process(&mut self, at: usize) -> &mut Process {
        self.nodes[at].process.as_mut().unwrap()
    }

    pub(crate) fn is_running(&self, at: usize) -> bool {
        self.nodes[at].process.is_some()
    }

    /// SIGTERM, and the end.
    pub(crate) fn stop(&mut self, at: usize) {
        let mut process = self.nodes[at].process.take().unwrap();
        process.signal(Signal::TERM);
        let status = process.wait();
        assert!(status.success(), "{status}: {}", process.stderr());
    }

    /// A command to one node alone.
    pub(crate) fn ask(&self, at: usize, words: &[&str]) -> Output {
        let mut command = self.client_command(words);
        command.env("ETCDCTL_ENDPOINTS", self.endpoint(at));
        super::finish(&mut command)
    }

    /// A command to whoever runs.
    pub(crate) fn ask_all(&self, words: &[&str]) -> Output {
        super::finish(&mut self.client_command(words))
    }

    pub(crate) fn client_command(&self, words: &[&str]) -> Command {
        let running: Vec<String> =
            (0..self.len()).filter(|at| self.is_running(*at)).map(|at| self.endpoint(at)).collect();
        let mut command = self.folder.command(words);
        command
            .env("ETCDCTL_ENDPOINTS", running.join(","))
            .env("ETCDCTL_CACERT", "certs/ca.crt")
            .env("ETCDCTL_CERT", "certs/client-root.crt")
            .env("ETCDCTL_KEY", "certs/client-root.key");
        command
    }

    /// Waits until every running node names the same running leader.
    #[track_caller]
    pub(crate) fn leader(&self) -> usize {
        let running: Vec<usize> = (0..self.len()).filter(|at| self.is_running(*at)).collect();
        until("every running node names one leader", || {
            let mut leaders = Vec::new();
            for at in &running {
                let status = self.status(*at)?;
                leaders.push((status.leader, status.member));
            }
            let leader = leaders[0].0;
            let agreed = leader != 0 && leaders.iter().all(|(named, _)| *named == leader);
            let place = leaders.iter().position(|(_, member)| *member == leader)?;
            agreed.then(|| running[place])
        })
    }

    /// What a node says of itself; none if it does not answer.
    pub(crate) fn status(&self, at: usize) -> Option<Status> {
        let output = self.ask(at, &["endpoint", "status", "-w", "json", "--command-timeout", "2s"]);
        let found: serde_json::Value = serde_json::from_str(output.stdout.trim()).ok()?;
        let status = found.get(0)?.get("Status")?;
        let number = |value: &serde_json::Value| value.as_u64().unwrap_or_default();
        Some(Status {
            member: number(&status["header"]["member_id"]),
            leader: number(&status["leader"]),
            revision: number(&status["header"]["revision"]),
            is_learner: status["isLearner"].as_bool().unwrap_or_default(),
        })
    }

    /// Waits until all running nodes have the same revision and the same hash over their history.
    #[track_caller]
    pub(crate) fn same_hash(&self) {
        let running: Vec<usize> = (0..self.len()).filter(|at| self.is_running(*at)).collect();
        until("HashKV is equal on all running nodes", || {
            let mut hashes = Vec::new();
            for at in &running {
                let output = self.ask(*at, &["endpoint", "hashkv", "-w", "json"]);
                let found: serde_json::Value = serde_json::from_str(output.stdout.trim()).ok()?;
                let hash = found.get(0)?.get("HashKV")?;
                let revision = hash["hash_revision"].as_i64()?;
                hashes.push((revision, hash["hash"].as_i64()?));
            }
            hashes.dedup();
            (hashes.len() == 1).then_some(())
        });
    }
}

/// One node's own words.
#[derive(Debug)]
pub(crate) struct Status {
    pub member: u64,
    pub leader: u64,
    pub revision: u64,
    pub is_learner: bool,
}

pub(crate) fn make_certificates(folder: &Folder, name: &str) {
    folder.run(&["cert", "peer", name]).ok();
    folder.run(&["cert", "server", name]).ok();
}
