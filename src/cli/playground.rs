//! `playground`: a whole cluster in one process, with everything it needs in one folder.
//!
//! ```text
//!   <dir>/certs/      a CA, one certificate for members, one for servers, one for clients
//!   <dir>/n1 .. nN/   the members' data
//!   <dir>/profile.toml  endpoints and certificates, for the commands; the ports are remembered by it
//! ```

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::config::{LogFormat, Logging, Profile};
use crate::node::{Config, Node, RosterMember, Stopped};
use crate::transport::{Listener, Url};

use super::exit::{Code, Exit};
use super::logging;
use super::profile::{self, DIR_DEFAULT, note};
use super::selfmade::{self, CERTS};
use super::serve::asked_to_stop;

#[derive(Args, Clone, Debug)]
pub(super) struct Playground {
    /// How many nodes; 3 survive the loss of one, 5 of two
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Where data, certificates and profile lie
    #[arg(long, value_name = "DIR", default_value = DIR_DEFAULT)]
    dir: PathBuf,
    /// Throw away what an earlier playground left in the folder
    #[arg(long)]
    fresh: bool,
    /// Logs: a level such as info, or a filter such as warn,quorate::engine=debug
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log_level: String,
}

/// The first port that is tried: etcd's for clients.
const PORT_FIRST: u16 = 2379;
const LEADER_PATIENCE: Duration = Duration::from_secs(30);

impl Playground {
    pub(super) fn run(self) -> Result<(), Exit> {
        logging::start(&Logging::new(self.log_level.clone(), LogFormat::Console))?;
        let folder = std::env::current_dir()?;
        let dir = folder.join(&self.dir);
        if self.fresh {
            remove(&dir)?;
        }
        make_dir(&dir)?;
        let profile = self.profile(&dir)?;
        selfmade::certificates(&dir.join(CERTS))?;
        profile.write(&dir).map_err(|error| unwritable(&dir, &error))?;
        note(&folder, &self.dir).map_err(|error| unwritable(&folder, &error))?;
        let nodes = start(configs(&dir, &profile)?)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let ended = runtime.block_on(self.play(&nodes, &profile));
        println!("\nStopping; the data stays in {}.", self.dir.display());
        for node in nodes {
            node.drain();
        }
        ended
    }

    async fn play(&self, nodes: &[Node], profile: &Profile) -> Result<(), Exit> {
        let all_ready = async {
            for node in nodes {
                node.ready().await;
            }
        };
        tokio::select! {
            () = all_ready => {}
            _ = asked_to_stop() => return Ok(()),
            stopped = any_stopped(nodes) => return Err(why(&stopped)),
            () = tokio::time::sleep(LEADER_PATIENCE) => {
                return Err(Exit::error("no leader was elected; run it again with --log-level info to see why"));
            }
        }
        print!("{}", self.glance(nodes, profile));
        tokio::select! {
            _ = asked_to_stop() => Ok(()),
            stopped = any_stopped(nodes) => Err(why(&stopped)),
        }
    }

    /// The profile of the last run, if it is about as many nodes, so that the data fits; else a new one on free ports.
    fn profile(&self, dir: &Path) -> Result<Profile, Exit> {
        if let Some(profile) = profile::read(dir)? {
            if profile.endpoints.len() != usize::from(self.nodes) {
                return Err(Exit::bad_args(format!(
                    "the playground in {} has {} nodes: run it with --nodes {}, or throw it away with --fresh",
                    dir.display(),
                    profile.endpoints.len(),
                    profile.endpoints.len()
                )));
            }
            return Ok(selfmade::profile(profile.endpoints));
        }
        let mut endpoints = Vec::new();
        let mut port = PORT_FIRST;
        while endpoints.len() < usize::from(self.nodes) {
            if is_free(port) {
                endpoints.push(format!("https://127.0.0.1:{port}"));
            }
            port = port.checked_add(1).ok_or_else(|| Exit::error("no free UDP port was found"))?;
        }
        Ok(selfmade::profile(endpoints))
    }

    /// What a person wants to know, at a glance.
    fn glance(&self, nodes: &[Node], profile: &Profile) -> String {
        let leader = nodes.iter().find_map(|node| node.status()?.raft.leader);
        let mut text = format!(
            "\n  Quorate playground: {} node{}, one leader, mutual TLS over QUIC\n\n",
            nodes.len(),
            if nodes.len() == 1 { "" } else { "s" }
        );
        for (node, endpoint) in nodes.iter().zip(&profile.endpoints) {
            let role = if leader == Some(node.member()) { "leader" } else { "" };
            text.push_str(&format!(
                "    {:<4} {endpoint}   {:>16}   {role}\n",
                node.name(),
                node.member().to_string()
            ));
        }
        let dir = self.dir.display();
        let program = program();
        text.push_str(&format!(
            "\n  data          {dir}/n1 ..\n  certificates  {dir}/{CERTS}/   ca.crt, client.crt, client.key\n\n  \
             Try next, in a second terminal in this folder:\n\n"
        ));
        for line in [
            "put greeting hello",
            "get greeting",
            "watch --prefix \"\"",
            "endpoint status -w table",
            "member list -w table",
        ] {
            text.push_str(&format!("    {program} {line}\n"));
        }
        text.push_str("\n  Ctrl-C stops it; started again, it continues with its data.\n");
        text
    }
}

/// How this program was called, so that the commands can be copied.
fn program() -> String {
    let called = std::env::args().next().unwrap_or_default();
    if called.is_empty() { "quorate".to_owned() } else { called }
}

/// Side by side, as machines would: each asks the others whether they know it.
fn start(configs: Vec<Config>) -> Result<Vec<Node>, Exit> {
    let starting: Vec<_> =
        configs.into_iter().map(|config| std::thread::spawn(move || Node::start(config))).collect();
    starting
        .into_iter()
        .map(|thread| match thread.join() {
            Ok(started) => started.map_err(|error| Exit::error(error.to_string())),
            Err(_) => Err(Exit::error("a node panicked while it started")),
        })
        .collect()
}

async fn any_stopped(nodes: &[Node]) -> Stopped {
    let mut stops: Vec<_> = nodes.iter().map(|node| Box::pin(node.stopped())).collect();
    std::future::poll_fn(|context| {
        for stop in &mut stops {
            if let std::task::Poll::Ready(stopped) = stop.as_mut().poll(context) {
                return std::task::Poll::Ready(stopped);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

fn why(stopped: &Stopped) -> Exit {
    match stopped {
        Stopped::Removed => {
            Exit::error("a node was removed from the cluster: run it again with --fresh")
        }
        Stopped::Fault(fault) => Exit::error(fault.clone()),
    }
}

fn is_free(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    UdpSocket::bind(address).is_ok() && TcpListener::bind(address).is_ok()
}

/// Only what a playground made is removed: its profile says that it is one.
fn remove(dir: &Path) -> Result<(), Exit> {
    if !dir.exists() {
        return Ok(());
    }
    let is_empty = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    if !is_empty && profile::read(dir)?.is_none() {
        return Err(Exit::new(
            Code::InvalidInput,
            format!(
                "{} was not made by a playground: --fresh removes nothing there",
                dir.display()
            ),
        ));
    }
    std::fs::remove_dir_all(dir)
        .map_err(|error| Exit::new(Code::Io, format!("cannot remove {}: {error}", dir.display())))
}

fn make_dir(dir: &Path) -> Result<(), Exit> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| unwritable(dir, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Exit {
    Exit::new(Code::Io, format!("cannot write into {}: {error}", path.display()))
}

fn configs(dir: &Path, profile: &Profile) -> Result<Vec<Config>, Exit> {
    let keychain = selfmade::keychain(&dir.join(CERTS));
    let mut members = Vec::new();
    for (at, endpoint) in profile.endpoints.iter().enumerate() {
        let url: Url = endpoint.parse().map_err(|error| {
            Exit::new(Code::InvalidInput, format!("the playground's profile: {error}"))
        })?;
        members.push(RosterMember { name: format!("n{}", at + 1), peer_urls: vec![url] });
    }
    members
        .iter()
        .map(|member| {
            let urls = &member.peer_urls;
            let listeners =
                Listener::of(urls, urls).map_err(|error| Exit::error(error.to_string()))?;
            let mut config = Config::new(&member.name, dir.join(&member.name));
            config.roster.members.clone_from(&members);
            config.roster.token = "playground".to_owned();
            config.listeners = listeners;
            config.advertise_peer_urls.clone_from(urls);
            config.advertise_client_urls.clone_from(urls);
            config.keychain = keychain.clone();
            Ok(config)
        })
        .collect()
}
