//! A cluster by static initial cluster, with TOML files and certificates made by `quorate cert`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use quorate::client::{Client, ClientFiles, Config};

use super::machines::Machines;
use super::process::{Process, quorate, stdout};
use super::seats::Seat;
use super::{SOON, eventually, free_ports, run};

/// One member: its settings, and its process while it runs.
pub(crate) struct Member {
    pub name: String,
    pub url: String,
    pub config: PathBuf,
    pub data: PathBuf,
    pub process: Option<Process>,
}

/// See the module.
pub(crate) struct Cluster {
    pub members: Vec<Member>,
    dir: tempfile::TempDir,
    /// Where the members run; none for all on this one.
    machines: Option<Arc<Machines>>,
    // Behind the members: they end before somebody else may start.
    _seat: Seat,
}

impl Cluster {
    /// Founds a cluster of `count` members and waits until each knows a leader.
    pub(crate) fn start(count: usize) -> Self {
        let mut cluster = Self::prepare(count);
        for index in 0..count {
            cluster.spawn(index);
        }
        run(async { _ = cluster.leader().await });
        cluster
    }

    /// Files and ports, but no process.
    pub(crate) fn prepare(count: usize) -> Self {
        let addresses = free_ports(count).into_iter().map(|port| format!("127.0.0.1:{port}"));
        Self::prepare_at(addresses.collect(), None)
    }

    /// The same with each member on a machine of its own.
    pub(crate) fn prepare_on(machines: &Arc<Machines>, count: usize) -> Self {
        let addresses = (0..count).map(|at| format!("{}:2379", machines.address(at)));
        Self::prepare_at(addresses.collect(), Some(Arc::clone(machines)))
    }

    fn prepare_at(addresses: Vec<String>, machines: Option<Arc<Machines>>) -> Self {
        let seat = Seat::take();
        let dir = tempfile::tempdir().unwrap();
        cert(dir.path(), &["ca"]);
        cert(dir.path(), &["client", "root"]);
        let urls = addresses.iter().map(|address| format!("https://{address}"));
        let initial: Vec<(String, String)> =
            urls.enumerate().map(|(at, url)| (format!("n{}", at + 1), url)).collect();
        let mut cluster = Self { members: Vec::new(), dir, machines, _seat: seat };
        for (name, url) in initial.clone() {
            cluster.write_member(&name, &url, &initial, "new");
        }
        cluster
    }

    /// Settings for one more member, which joins a running cluster; not started.
    pub(crate) fn prepare_joiner(&mut self, name: &str) -> (usize, String) {
        let url = format!("https://127.0.0.1:{}", free_ports(1)[0]);
        let mut initial: Vec<(String, String)> =
            self.members.iter().map(|m| (m.name.clone(), m.url.clone())).collect();
        initial.push((name.to_owned(), url.clone()));
        self.write_member(name, &url, &initial, "existing");
        (self.members.len() - 1, url)
    }

    fn write_member(&mut self, name: &str, url: &str, initial: &[(String, String)], state: &str) {
        let dir = self.dir.path();
        let host = url.trim_start_matches("https://").split(':').next().unwrap();
        for kind in ["peer", "server"] {
            cert(dir, &[kind, name, "--host", &format!("localhost,{host}")]);
        }
        let certs = dir.join("certs");
        let certs = certs.display();
        let data = dir.join(format!("data-{name}"));
        let mut text = format!(
            "name = \"{name}\"\ndata-dir = \"{data}\"\n\
             listen-peer-urls = \"{url}\"\nlisten-client-urls = \"{url}\"\n\
             initial-advertise-peer-urls = \"{url}\"\nadvertise-client-urls = \"{url}\"\n\
             initial-cluster-token = \"it\"\ninitial-cluster-state = \"{state}\"\n\
             peer-cert-file = \"{certs}/peer-{name}.crt\"\n\
             peer-key-file = \"{certs}/peer-{name}.key\"\n\
             peer-trusted-ca-file = \"{certs}/ca.crt\"\npeer-client-cert-auth = true\n\
             cert-file = \"{certs}/server-{name}.crt\"\nkey-file = \"{certs}/server-{name}.key\"\n\
             trusted-ca-file = \"{certs}/ca.crt\"\nclient-cert-auth = true\n\
             [initial-cluster]\n",
            data = data.display(),
        );
        for (name, url) in initial {
            writeln!(text, "{name} = \"{url}\"").unwrap();
        }
        let config = dir.join(format!("{name}.toml"));
        std::fs::write(&config, text).unwrap();
        let (name, url) = (name.to_owned(), url.to_owned());
        self.members.push(Member { name, url, config, data, process: None });
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts, or starts again, a member.
    pub(crate) fn spawn(&mut self, index: usize) {
        let command = self.serve(index);
        let log = self.log_path(index);
        self.members[index].process = Some(Process::spawn(command, &log));
    }

    /// This member's data is to be somewhere else; before its first start.
    pub(crate) fn place(&mut self, index: usize, data: &Path) {
        let member = &mut self.members[index];
        let text = std::fs::read_to_string(&member.config).unwrap();
        let (from, to) = (member.data.to_str().unwrap(), data.to_str().unwrap());
        std::fs::write(&member.config, text.replace(from, to)).unwrap();
        member.data = data.to_owned();
    }

    /// This member is to listen somewhere else than where the others reach it: behind its public port, which is
    /// returned. Before its first start.
    pub(crate) fn listens(&mut self, index: usize, own: &str) -> u16 {
        let member = &mut self.members[index];
        let mut text = std::fs::read_to_string(&member.config).unwrap();
        for key in ["listen-peer-urls", "listen-client-urls"] {
            let public = format!("\n{key} = \"{}\"", member.url);
            assert!(text.contains(&public), "{text}");
            text = text.replace(&public, &format!("\n{key} = \"{own}\""));
        }
        std::fs::write(&member.config, text).unwrap();
        member.url.rsplit(':').next().unwrap().parse().unwrap()
    }

    /// One more setting of all members, a line of TOML; before their first start.
    pub(crate) fn set(&self, line: &str) {
        for member in &self.members {
            let text = std::fs::read_to_string(&member.config).unwrap();
            std::fs::write(&member.config, format!("{line}\n{text}")).unwrap();
        }
    }

    /// Process ids; none for a member that does not run.
    pub(crate) fn processes(&self) -> Vec<Option<u32>> {
        let id = |member: &Member| member.process.as_ref().map(Process::id);
        self.members.iter().map(id).collect()
    }

    /// From now on this member's settings say that the cluster is there already.
    pub(crate) fn joins(&self, index: usize) {
        let config = &self.members[index].config;
        let text = std::fs::read_to_string(config).unwrap();
        std::fs::write(config, text.replace("state = \"new\"", "state = \"existing\"")).unwrap();
    }

    /// The same, and who is in it now, with names and URLs.
    pub(crate) fn joins_as(&self, index: usize, roster: &[(String, String)]) {
        self.joins(index);
        let config = &self.members[index].config;
        let text = std::fs::read_to_string(config).unwrap();
        let mut text = text.split("[initial-cluster]\n").next().unwrap().to_owned();
        text.push_str("[initial-cluster]\n");
        for (name, url) in roster {
            writeln!(text, "{name} = \"{url}\"").unwrap();
        }
        std::fs::write(config, text).unwrap();
    }

    /// The command that runs a member.
    pub(crate) fn serve(&self, index: usize) -> Command {
        let words = ["serve", "--config-file", self.members[index].config.to_str().unwrap()];
        let mut command = match &self.machines {
            Some(machines) => machines.command(index, &[&["quorate"], &words[..]].concat()),
            None => {
                let mut command = quorate();
                command.args(words);
                command
            }
        };
        command.current_dir(self.dir.path());
        command
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("{}.log", self.members[index].name))
    }

    /// Everything that a member has logged, in all its lives.
    pub(crate) fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.log_path(index)).unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(mut process) = self.members[index].process.take() {
            process.kill();
        }
    }

    /// A signal that it does not end by.
    pub(crate) fn signal(&self, index: usize, name: &str) {
        self.members[index].process.as_ref().expect("it runs").signal(name);
    }

    /// SIGTERM; how it ended.
    pub(crate) fn stop(&mut self, index: usize) -> ExitStatus {
        self.members[index].process.as_ref().expect("it runs").signal("TERM");
        self.ended(index)
    }

    /// Waits for a member that ends by itself.
    pub(crate) fn ended(&mut self, index: usize) -> ExitStatus {
        let mut process = self.members[index].process.take().expect("it runs");
        process.wait(SOON).unwrap_or_else(|| panic!("it goes on:\n{}", process.log()))
    }

    /// How it ended, if it has ended by itself.
    pub(crate) fn has_ended(&mut self, index: usize) -> Option<ExitStatus> {
        let process = self.members[index].process.as_mut().expect("it ran");
        let status = process.wait(Duration::from_millis(50))?;
        self.members[index].process = None;
        Some(status)
    }

    pub(crate) fn is_running(&self, index: usize) -> bool {
        self.members[index].process.is_some()
    }

    /// A client of all members.
    pub(crate) fn client(&self) -> Client {
        self.client_of(&(0..self.members.len()).collect::<Vec<_>>())
    }

    /// A client of these members alone, in this order.
    pub(crate) fn client_of(&self, indexes: &[usize]) -> Client {
        let config = Config { writes_to_leader: false, ..self.client_config(indexes) };
        Client::lazy(config).unwrap()
    }

    /// What a client is told of these members; its writes find the leader, whoever that is.
    pub(crate) fn client_config(&self, indexes: &[usize]) -> Config {
        let urls = indexes.iter().map(|&index| self.members[index].url.clone());
        Config::new(urls).tls(self.client_files())
    }

    pub(crate) fn client_files(&self) -> ClientFiles {
        let certs = self.dir.path().join("certs");
        ClientFiles {
            trusted_ca: Some(certs.join("ca.crt")),
            cert: Some(certs.join("client-root.crt")),
            key: Some(certs.join("client-root.key")),
            ..ClientFiles::default()
        }
    }

    /// The CLI with the flags that reach these members.
    pub(crate) fn cli(&self, indexes: &[usize]) -> Command {
        let certs = self.dir.path().join("certs");
        let urls: Vec<&str> =
            indexes.iter().map(|&index| self.members[index].url.as_str()).collect();
        let mut command = quorate();
        command
            .current_dir(self.dir.path())
            .arg("--endpoints")
            .arg(urls.join(","))
            .arg("--cacert")
            .arg(certs.join("ca.crt"))
            .arg("--cert")
            .arg(certs.join("client-root.crt"))
            .arg("--key")
            .arg(certs.join("client-root.key"));
        command
    }

    /// What the CLI prints; it must succeed.
    pub(crate) fn ask(&self, indexes: &[usize], args: &[&str]) -> String {
        stdout(self.cli(indexes).args(args).output().unwrap())
    }

    /// The member on which all running members agree as leader: its place here and its id.
    pub(crate) async fn leader(&self) -> (usize, u64) {
        eventually("agreement on one leader", || async {
            let mut leaders = BTreeSet::new();
            let mut ids = Vec::new();
            for index in (0..self.members.len()).filter(|&index| self.is_running(index)) {
                let status = self.client_of(&[index]).status().await.ok()?;
                leaders.insert(status.leader);
                ids.push((index, status.header?.member_id));
            }
            let leader = *leaders.first().filter(|&&leader| leader != 0)?;
            let place = ids.iter().find(|(_, id)| *id == leader)?.0;
            (leaders.len() == 1).then_some((place, leader))
        })
        .await
    }

    /// Waits until every running member has the same history, and returns its hash.
    pub(crate) async fn same_hash(&self) -> u32 {
        let client = self.client_of(&self.running());
        let revision = client.get("").from_key().count_only().await;
        let revision = match revision {
            Ok(response) => response.header.unwrap().revision,
            Err(_) => {
                let response = client.get("\0").from_key().count_only().await.unwrap();
                response.header.unwrap().revision
            }
        };
        eventually("equal hashes on all members", || async {
            let mut hashes = BTreeSet::new();
            for index in self.running() {
                let response = self.client_of(&[index]).hash_kv(revision).await.ok()?;
                hashes.insert(response.hash);
            }
            (hashes.len() == 1).then(|| hashes.pop_first()).flatten()
        })
        .await
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&index| self.is_running(index)).collect()
    }
}

/// Of a test that failed its members' logs are kept: what a machine did once it may not do again.
impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let name = self.dir.path().file_name().expect("a folder with a name").to_string_lossy();
        let kept = std::env::temp_dir().join(format!("quorate-logs{name}"));
        let copied = std::fs::create_dir_all(&kept).and_then(|()| {
            (0..self.members.len())
                .map(|index| self.log_path(index))
                .filter(|log| log.exists())
                .try_for_each(|log| {
                    std::fs::copy(&log, kept.join(log.file_name().expect("a file")))
                        .map(|_bytes| ())
                })
        });
        match copied {
            Ok(()) => eprintln!("the members' logs: {}", kept.display()),
            Err(error) => {
                eprintln!("the members' logs could not be kept in {}: {error}", kept.display())
            }
        }
    }
}

/// `quorate cert ...` in the cluster's folder.
pub(crate) fn cert(dir: &Path, args: &[&str]) -> String {
    stdout(quorate().current_dir(dir).arg("cert").args(args).output().unwrap())
}
