//! A fresh cluster of any program with etcd's flags, in clear.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use quorate::proto::etcdserverpb as pb;

use super::super::super::harness::{Process, Seat, eventually, free_ports, quorate};
use super::super::calls::{RANGE, get};
use super::super::client::Client;

/// See the module.
pub(super) struct Place {
    program: Option<PathBuf>,
    pub members: Vec<Member>,
    // Behind the members, whose logs are in it.
    dir: tempfile::TempDir,
    _seat: Seat,
}

pub(super) struct Member {
    pub peer: String,
    pub client: SocketAddr,
    process: Option<Process>,
}

impl Member {
    fn new() -> Self {
        let ports = free_ports(2);
        let peer = format!("http://127.0.0.1:{}", ports[0]);
        Self { peer, client: SocketAddr::from(([127, 0, 0, 1], ports[1])), process: None }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.client)
    }
}

impl Place {
    /// Founds a cluster of `count` members of `program`, ours if it is none, and waits until each serves.
    pub(super) async fn start(program: Option<PathBuf>, count: usize) -> Self {
        let seat = Seat::take();
        let dir = tempfile::tempdir().unwrap();
        let members = (0..count).map(|_| Member::new()).collect();
        let mut place = Self { program, members, dir, _seat: seat };
        for index in 0..count {
            place.spawn(index, "new");
        }
        for index in 0..count {
            place.serves(index).await;
        }
        place
    }

    /// Whether this is not our own program.
    pub(super) fn is_recorded(&self) -> bool {
        self.program.is_some()
    }

    /// One more member, which somebody has announced with this URL for its peers.
    pub(super) async fn join(&mut self, peer: &str) {
        self.members.push(Member { peer: peer.to_owned(), ..Member::new() });
        let index = self.members.len() - 1;
        self.spawn(index, "existing");
        eventually("the member that joined tells how it is", || async { self.status(index).await })
            .await;
    }

    fn spawn(&mut self, index: usize, state: &str) {
        let initial: Vec<String> = (0..)
            .zip(&self.members)
            .map(|(number, member): (usize, _)| format!("n{number}={}", member.peer))
            .collect();
        let member = &self.members[index];
        let mut command = self.program.as_ref().map_or_else(quorate, Command::new);
        command.current_dir(self.dir.path()).args(["--name", &format!("n{index}")]);
        command.args(["--initial-cluster", &initial.join(","), "--initial-cluster-state", state]);
        for flag in ["--listen-peer-urls", "--initial-advertise-peer-urls"] {
            command.args([flag, &member.peer]);
        }
        for flag in ["--listen-client-urls", "--advertise-client-urls"] {
            command.args([flag, &member.url()]);
        }
        let log = self.dir.path().join(format!("n{index}.log"));
        self.members[index].process = Some(Process::spawn(command, &log));
    }

    /// Waits until it serves, and all others know where.
    async fn serves(&self, index: usize) {
        eventually("a member serves", || async {
            let client = self.client(index).await?;
            client.call::<pb::RangeResponse>(RANGE, &[], &get("ready")).await.ok()?;
            let members = self.list(index).await?;
            members.iter().all(|member| !member.client_ur_ls.is_empty()).then_some(())
        })
        .await;
    }

    async fn list(&self, index: usize) -> Option<Vec<pb::Member>> {
        let request = pb::MemberListRequest { linearizable: false };
        let path = "/etcdserverpb.Cluster/MemberList";
        let answer: pb::MemberListResponse =
            self.client(index).await?.call(path, &[], &request).await.ok()?;
        Some(answer.members)
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self, index: usize) {
        self.members[index].process.take().unwrap().kill();
    }

    /// A connection, if the member takes one.
    async fn client(&self, index: usize) -> Option<Client> {
        let stream = tokio::net::TcpStream::connect(self.members[index].client).await.ok()?;
        Some(Client::over(stream).await)
    }

    async fn status(&self, index: usize) -> Option<pb::StatusResponse> {
        let client = self.client(index).await?;
        client.call("/etcdserverpb.Maintenance/Status", &[], &pb::StatusRequest {}).await.ok()
    }

    /// A running member's id.
    pub(super) async fn id(&self, index: usize) -> u64 {
        eventually("a member tells who it is", || async { self.status(index).await?.header })
            .await
            .member_id
    }

    /// The member on which all that run agree.
    pub(super) async fn leader(&self) -> usize {
        eventually("all know one leader", || async {
            let mut found = Vec::new();
            for index in self.running() {
                let status = self.status(index).await?;
                found.push((index, status.header?.member_id, status.leader));
            }
            let leader = found[0].2;
            let place = found.iter().find(|(_, id, _)| *id == leader)?.0;
            found.iter().all(|(.., it)| *it == leader).then_some(place)
        })
        .await
    }

    /// Waits until a member knows none.
    pub(super) async fn leaderless(&self, index: usize) {
        eventually("a member knows no leader", || async {
            (self.status(index).await?.leader == 0).then_some(())
        })
        .await;
    }

    /// Waits until a member has what the leader has, and is what it is to the leader.
    pub(super) async fn caught_up(&self, index: usize) {
        let leader = self.leader().await;
        eventually("a member has caught up", || async {
            let (one, other) = (self.status(leader).await?, self.status(index).await?);
            let members = self.list(leader).await?;
            let known =
                members.iter().find(|it| Some(it.id) == other.header.map(|it| it.member_id));
            (one.header?.revision == other.header?.revision
                && other.raft_applied_index >= one.raft_applied_index
                && known?.is_learner == other.is_learner)
                .then_some(())
        })
        .await;
    }

    fn running(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&index| self.members[index].process.is_some()).collect()
    }
}
