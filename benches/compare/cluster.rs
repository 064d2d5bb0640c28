//! Servers of both kinds: started with the same words, ended by their id.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use quorate::client::{Client, ClientFiles, Config, etcdserverpb as pb};

use crate::Outcome;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum System {
    Etcd,
    Quorate,
}

impl System {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Quorate => "Quorate",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub etcd: PathBuf,
    pub etcd_load: PathBuf,
    pub quorate: PathBuf,
}

/// Room in the database for all rows: the default of 2 GiB is filled by the fastest of them.
const QUOTA_BYTES: u64 = 16 << 30;
/// Time for a cluster to elect a leader, on a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(30);
const MEMBERS: [&str; 3] = ["n1", "n2", "n3"];

/// One authority, and a certificate for each member and for the client.
pub(crate) fn certificates(programs: &Programs, dir: &Path) -> Outcome<()> {
    let mut orders = vec![vec!["cert", "ca"], vec!["cert", "client", "root"]];
    orders.extend(MEMBERS.map(|name| vec!["cert", "peer", name]));
    for words in orders {
        let made = Command::new(&programs.quorate).args(&words).current_dir(dir).output()?;
        if !made.status.success() {
            return Err(format!("{words:?}: {}", String::from_utf8_lossy(&made.stderr)).into());
        }
    }
    Ok(())
}

/// A cluster that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub system: System,
    pub programs: Programs,
    pub dir: PathBuf,
    members: Vec<Member>,
    /// The leader's first, then the others: one call in flight goes to the leader in both systems.
    pub endpoints: Vec<String>,
}

#[derive(Debug)]
struct Member {
    command: Vec<String>,
    data: PathBuf,
    log: PathBuf,
    child: Child,
}

impl Cluster {
    /// Starts `count` members with empty data, and waits for their leader.
    pub(crate) fn start(
        programs: &Programs,
        system: System,
        dir: &Path,
        count: usize,
    ) -> Outcome<Self> {
        let home = dir.join(format!("{}-{count}", system.name()));
        if home.exists() {
            std::fs::remove_dir_all(&home)?;
        }
        std::fs::create_dir_all(&home)?;
        let ports: Vec<(u16, u16)> =
            (0..count).map(|_| Ok((free_port()?, free_port()?))).collect::<Outcome<_>>()?;
        let mut members = Vec::new();
        for (name, ports_of) in MEMBERS.iter().zip(&ports) {
            let data = home.join(name);
            let command = words(system, programs, dir, (name, &data), *ports_of, &ports);
            let log = home.join(format!("{name}.log"));
            let child = spawn(&command, &log)?;
            members.push(Member { command, data, log, child });
        }
        let endpoints = ports.iter().map(|(client, _)| url(*client)).collect();
        let dir = dir.to_owned();
        let mut cluster = Self { system, programs: programs.clone(), dir, members, endpoints };
        cluster.lead()?;
        Ok(cluster)
    }

    pub(crate) fn pids(&self) -> Vec<u32> {
        self.members.iter().map(|member| member.child.id()).collect()
    }

    /// Bytes of the data directories.
    pub(crate) fn disk_bytes(&self) -> Outcome<u64> {
        self.members.iter().map(|member| disk_bytes(&member.data)).sum()
    }

    /// The words for TLS of the client commands.
    pub(crate) fn tls_words(&self) -> Vec<String> {
        let certs = self.dir.join("certs");
        [("--cacert", "ca.crt"), ("--cert", "client-root.crt"), ("--key", "client-root.key")]
            .into_iter()
            .flat_map(|(flag, file)| [flag.to_owned(), certs.join(file).display().to_string()])
            .collect()
    }

    /// The settings of a client in this process; only of Quorate.
    pub(crate) fn config(&self, endpoint: &str) -> Config {
        let certs = self.dir.join("certs");
        Config::new([endpoint]).tls(ClientFiles {
            trusted_ca: Some(certs.join("ca.crt")),
            cert: Some(certs.join("client-root.crt")),
            key: Some(certs.join("client-root.key")),
            ..ClientFiles::default()
        })
    }

    pub(crate) fn kill(&mut self) -> Outcome<()> {
        for member in &mut self.members {
            member.child.kill()?;
            member.child.wait()?;
        }
        Ok(())
    }

    /// Starts the members again with their data.
    pub(crate) fn start_again(&mut self) -> Outcome<()> {
        for member in &mut self.members {
            member.child = spawn(&member.command, &member.log)?;
        }
        Ok(())
    }

    /// Waits for the leader and puts its endpoint first.
    fn lead(&mut self) -> Outcome<()> {
        let wait = Duration::from_millis(100);
        for _ in 0..PATIENCE.as_millis() / wait.as_millis() {
            let leader = match self.system {
                System::Etcd => self.leader_of_etcd()?,
                System::Quorate => self.leader_of_quorate()?,
            };
            if let Some(at) = leader {
                self.endpoints.rotate_left(at);
                return Ok(());
            }
            std::thread::sleep(wait);
        }
        let log = std::fs::read_to_string(&self.members[0].log).unwrap_or_default();
        Err(format!(
            "{} elected no leader; the log of its first member:\n{log}",
            self.system.name()
        )
        .into())
    }

    fn leader_of_quorate(&self) -> Outcome<Option<usize>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            for (at, endpoint) in self.endpoints.iter().enumerate() {
                let Ok(client) = Client::connect(self.config(endpoint)).await else {
                    return Ok(None);
                };
                let status = client.send(pb::StatusRequest {}).await;
                let header =
                    |status: &pb::StatusResponse| status.header.as_ref().map(|h| h.member_id);
                if status.is_ok_and(|status| Some(status.leader) == header(&status)) {
                    return Ok(Some(at));
                }
            }
            Ok(None)
        })
    }

    fn leader_of_etcd(&self) -> Outcome<Option<usize>> {
        let asked = Command::new(&self.programs.etcd_load)
            .arg("leader")
            .arg("-endpoints")
            .arg(self.endpoints.join(","))
            .args(self.tls_words())
            .output()?;
        Ok(String::from_utf8(asked.stdout)?.trim().parse().ok())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A member that ended by itself needs no end.
        let _ended = self.kill();
    }
}

fn words(
    system: System,
    programs: &Programs,
    dir: &Path,
    (name, data): (&str, &Path),
    (client, peer): (u16, u16),
    all: &[(u16, u16)],
) -> Vec<String> {
    // As each system's samples do: etcd has a port for peers, Quorate one for everybody.
    let peer_of = |(client, peer): (u16, u16)| match system {
        System::Etcd => url(peer),
        System::Quorate => url(client),
    };
    let roster: Vec<String> = MEMBERS
        .iter()
        .zip(all)
        .map(|(name, ports)| format!("{name}={}", peer_of(*ports)))
        .collect();
    let certs = dir.join("certs");
    let file = |name: String| certs.join(name).display().to_string();
    let (cert, key, ca) = (
        file(format!("peer-{name}.crt")),
        file(format!("peer-{name}.key")),
        file("ca.crt".to_owned()),
    );
    let peer_url = peer_of((client, peer));
    let mut words = match system {
        System::Etcd => vec![programs.etcd.display().to_string()],
        System::Quorate => vec![programs.quorate.display().to_string(), "serve".to_owned()],
    };
    for (flag, value) in [
        ("name", name.to_owned()),
        ("data-dir", data.display().to_string()),
        ("listen-client-urls", url(client)),
        ("advertise-client-urls", url(client)),
        ("listen-peer-urls", peer_url.clone()),
        ("initial-advertise-peer-urls", peer_url),
        ("initial-cluster", roster.join(",")),
        ("initial-cluster-token", "compare".to_owned()),
        ("cert-file", cert.clone()),
        ("key-file", key.clone()),
        ("trusted-ca-file", ca.clone()),
        ("client-cert-auth", "true".to_owned()),
        ("peer-cert-file", cert),
        ("peer-key-file", key),
        ("peer-trusted-ca-file", ca),
        ("peer-client-cert-auth", "true".to_owned()),
        ("quota-backend-bytes", QUOTA_BYTES.to_string()),
        ("log-level", "error".to_owned()),
    ] {
        words.push(format!("--{flag}={value}"));
    }
    words
}

fn spawn(command: &[String], log: &Path) -> Outcome<Child> {
    let log = File::options().create(true).append(true).open(log)?;
    let (program, words) = command.split_first().ok_or("a command without a program")?;
    let child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    Ok(child)
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

/// A port that is free for TCP and UDP.
fn free_port() -> Outcome<u16> {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
}

/// Bytes on the disk, holes not counted.
fn disk_bytes(path: &Path) -> Outcome<u64> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let about = entry.metadata()?;
        bytes += if about.is_dir() { disk_bytes(&entry.path())? } else { about.blocks() * 512 };
    }
    Ok(bytes)
}
