//! The two sides of a migration: a real etcd, a member of ours; and whether they hold the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use quorate::client::{Client, Config, Wire};

use crate::harness::{Seat, eventually};
use crate::program::{Folder, Output, Process, finish, free_port, until};

/// Where a migration stands, until it is finished.
pub(super) const MARK: &[u8] = b"\0quorate/migrate";

/// A real etcd alone, and the folder in which a migration from it runs.
pub(super) struct Etcd {
    pub folder: Folder,
    pub url: String,
    _process: Process,
    _seat: Seat,
}

impl Etcd {
    /// In clear.
    pub(super) fn start(program: PathBuf) -> Self {
        let (seat, folder) = (Seat::take(), Folder::new());
        let url = free_url();
        let process = spawn(&folder, Command::new(program), "etcd", [&url, &free_url()], &[]);
        Self { folder, url, _process: process, _seat: seat }
    }

    pub(super) fn client(&self) -> Client {
        self.client_with(|config| config)
    }

    pub(super) fn client_with(&self, with: impl FnOnce(Config) -> Config) -> Client {
        let mut config = Config::new([&self.url]);
        config.wire = Wire::Grpc;
        Client::lazy(with(config)).unwrap()
    }
}

/// A member of ours alone, in clear, in a folder that it does not own.
pub(super) struct Here {
    pub url: String,
    _process: Process,
}

impl Here {
    pub(super) fn start(folder: &Folder, name: &str, more: &[&str]) -> Self {
        Self::start_at(folder, name, &free_url(), more)
    }

    /// One that other members would find at `peer`.
    pub(super) fn start_at(folder: &Folder, name: &str, peer: &str, more: &[&str]) -> Self {
        let url = free_url();
        let process = spawn(folder, folder.command(&["serve"]), name, [&url, peer], more);
        Self { url, _process: process }
    }

    pub(super) fn client(&self) -> Client {
        Client::lazy(Config::new([&self.url])).unwrap()
    }

    /// `quorate migrate WORDS` from there to here.
    pub(super) fn migrating(&self, from: &Etcd, words: &[&str]) -> Command {
        let mut command = from.folder.command(&["migrate"]);
        command.args(words).args(["--from", &from.url, "--endpoints", &self.url]);
        command
    }

    pub(super) fn migrate(&self, from: &Etcd, words: &[&str]) -> Output {
        finish(&mut self.migrating(from, words))
    }

    /// One that goes on.
    pub(super) fn begin(&self, from: &Etcd, name: &str, words: &[&str]) -> Process {
        from.folder.spawn_command(name, self.migrating(from, words))
    }

    /// Waits until so many keys have come, the mark not counted.
    pub(super) async fn has(&self, keys: i64) {
        let client = self.client();
        eventually(&format!("{keys} keys have come"), || async {
            let found = client.get("\x01").from_key().count_only().await.ok()?;
            (found.count >= keys).then_some(())
        })
        .await;
    }
}

pub(super) fn free_url() -> String {
    format!("http://127.0.0.1:{}", free_port())
}

/// One member alone, etcd's or ours, once it serves: clients at the first URL, members at the other.
fn spawn(
    folder: &Folder,
    mut command: Command,
    name: &str,
    [url, peer]: [&str; 2],
    more: &[&str],
) -> Process {
    command.current_dir(folder.path()).args(["--name", name, "--data-dir", name]);
    command.args(["--listen-client-urls", url, "--advertise-client-urls", url]);
    command.args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]);
    command.args(["--initial-cluster", &format!("{name}={peer}")]).args(more);
    let mut process = folder.spawn_command(name, command);
    until("it says that it is ready", || {
        assert!(!process.has_ended(), "it ended: {}", process.stderr());
        process.stderr().contains("ready to serve client requests").then_some(())
    });
    process
}

/// Everything that a migration carries.
#[derive(Debug, PartialEq)]
pub(super) struct Held {
    /// With values and leases.
    pub keys: BTreeMap<Bytes, (Bytes, i64)>,
    /// With the time they are granted for.
    pub leases: BTreeMap<i64, i64>,
    pub users: BTreeMap<String, BTreeSet<String>>,
    /// Each permission as text.
    pub roles: BTreeMap<String, BTreeSet<String>>,
}

impl Held {
    pub(super) async fn by(client: &Client) -> Self {
        let mut held = Self {
            keys: keys(client).await,
            leases: BTreeMap::new(),
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
        };
        for lease in client.lease_list().await.unwrap().leases {
            let asked = client.lease_time_to_live(lease.id, false).await.unwrap();
            held.leases.insert(lease.id, asked.granted_ttl);
        }
        for user in client.user_list().await.unwrap().users {
            let roles = client.user_get(&user).await.unwrap().roles;
            held.users.insert(user, roles.into_iter().collect());
        }
        for role in client.role_list().await.unwrap().roles {
            let mut permissions = client.role_get(&role).await.unwrap().perm;
            if role == "root" {
                // It may everything; etcd 3.5 lists nothing of that.
                permissions.clear();
            }
            let texts = permissions.iter().map(|permission| format!("{permission:?}"));
            held.roles.insert(role, texts.collect());
        }
        held
    }

    /// Both hold the same, but for the mark. Told short: there may be a hundred thousand keys.
    #[track_caller]
    pub(super) fn assert_same(&self, other: &Self) {
        let mut here = other.keys.clone();
        here.remove(MARK);
        let differing = |one: &BTreeMap<Bytes, (Bytes, i64)>, two: &BTreeMap<_, _>| {
            let differing: Vec<_> =
                one.iter().filter(|(key, kv)| two.get(*key) != Some(*kv)).collect();
            (differing.len(), format!("{:?}", differing.first()))
        };
        assert!(
            self.keys == here,
            "{:?} {:?}",
            differing(&self.keys, &here),
            differing(&here, &self.keys)
        );
        assert!(self.leases == other.leases, "{} {}", self.leases.len(), other.leases.len());
        assert_eq!((&self.users, &self.roles), (&other.users, &other.roles));
    }
}

async fn keys(client: &Client) -> BTreeMap<Bytes, (Bytes, i64)> {
    let mut found = BTreeMap::new();
    let mut from = Bytes::from_static(b"\0");
    loop {
        let page = client.get(from).from_key().limit(1_000).await.unwrap();
        let last = page.kvs.last().map(|kv| kv.key.clone());
        found.extend(page.kvs.into_iter().map(|kv| (kv.key, (kv.value, kv.lease))));
        let Some(last) = last.filter(|_| page.more) else { return found };
        from = [&last[..], b"\0"].concat().into();
    }
}
