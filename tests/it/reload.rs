//! Certificates, authorities and revocation lists change under load, without a restart: no request fails but those of
//! the client that was revoked.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::client::{Client, ClientFiles, Config, Error};
use tokio::task::JoinHandle;

use super::harness::{Cluster, SOON, cert, eventually, failure, run};
use crate::program::output;

const READ_ANEW: &str = "were read anew";
const CONNECTED_ANEW: &str = "connected to the member anew";

#[test]
fn certificates_authorities_and_revocations_change_under_load() {
    let mut world = World::start();
    run(async {
        let load = Load::start("root", (0..3).map(|first| world.client("root", first)));
        let (count, mallory) = let_in(world.client("mallory", 0).within(Duration::from_secs(10)));
        let of_mallory = || count.load(Ordering::Relaxed);
        eventually("load", || async { (load.count() > 100 && of_mallory() > 10).then_some(()) })
            .await;

        world.revoke_mallory().await;
        let cut_off = tokio::time::timeout(SOON, mallory).await.expect("mallory is not cut off");
        let text = cut_off.unwrap().to_string();
        assert!(text.to_lowercase().contains("revoked"), "{text}");
        world.is_refused("mallory", "revoked").await;
        load.goes_on().await;

        world.renew_certificates(".").await;
        load.goes_on().await;
        world.trust_both().await;
        load.goes_on().await;
        world.renew_certificates("next").await;
        load.goes_on().await;
        world.trust_next().await;
        load.goes_on().await;
        world.the_old_authority_is_nobody().await;
        world.half_a_pair_changes_nothing(&load).await;

        let written = load.stop().await;
        let client = world.client("root", 0);
        for (key, value) in written {
            let read = client.get(key.clone()).await.unwrap();
            assert_eq!(read.kvs[0].value, value, "{key}");
        }
        world.clients_follow();
        world.cluster.same_hash().await;
    });
    assert!(world.cluster.stop(0).success());
}

/// Three members that believe `certs/trust.crt` but for what is in `certs/revoked.crl`; `ca` is the authority of the
/// beginning, `next/ca` the one of the end.
struct World {
    cluster: Cluster,
}

impl World {
    fn start() -> Self {
        let mut cluster = Cluster::prepare(3);
        let dir = cluster.dir().to_owned();
        cert(&dir, &["client", "mallory"]);
        cert(&dir, &["revoke"]);
        cert(&dir, &["ca", "--dir", "next", "--name", "the next CA"]);
        cert(&dir, &["revoke", "--dir", "next"]);
        std::fs::copy(dir.join("certs/ca.crt"), dir.join("certs/trust.crt")).unwrap();
        std::fs::copy(dir.join("certs/ca.crl"), dir.join("certs/revoked.crl")).unwrap();
        for member in &cluster.members {
            let text = std::fs::read_to_string(&member.config).unwrap();
            let certs = dir.join("certs");
            let certs = certs.display();
            let text = text.replace("/ca.crt\"", "/trust.crt\"");
            // A starved machine is no reason for an election: it would make writes ambiguous.
            let more = format!(
                "heartbeat-interval = 300\nelection-timeout = 3000\n\
                 peer-crl-file = \"{certs}/revoked.crl\"\nclient-crl-file = \"{certs}/revoked.crl\"\n"
            );
            std::fs::write(&member.config, more + &text).unwrap();
        }
        for index in 0..3 {
            cluster.spawn(index);
        }
        let world = Self { cluster };
        run(async {
            let client = world.client("root", 0);
            eventually("a leader", || async { client.put("k", "v").await.ok() }).await;
        });
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.cluster.dir().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Beside, then renamed, as whoever rotates certificates should.
    fn write(&self, name: &str, text: &str) {
        let fresh = self.path("fresh");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.path(name)).unwrap();
    }

    fn files(&self, certs: &Path, name: &str) -> ClientFiles {
        ClientFiles {
            trusted_ca: Some(self.path("certs/trust.crt")),
            cert: Some(certs.join(format!("client-{name}.crt"))),
            key: Some(certs.join(format!("client-{name}.key"))),
            ..ClientFiles::default()
        }
    }

    fn client(&self, name: &str, first: usize) -> Client {
        let urls = (0..3).map(|n| self.cluster.members[(first + n) % 3].url.clone());
        let files = self.files(&self.path("certs"), name);
        Client::lazy(Config::new(urls).tls(files)).unwrap().within(Duration::from_secs(30))
    }

    fn counts(&self, line: &str) -> Vec<usize> {
        (0..3).map(|index| self.cluster.log(index).matches(line).count()).collect()
    }

    /// Waits until every member has logged `line` so many times more.
    async fn logged(&self, line: &str, before: &[usize], more: usize) {
        eventually(line, || async {
            let counts = self.counts(line);
            counts.iter().zip(before).all(|(now, before)| *now >= before + more).then_some(())
        })
        .await;
    }

    async fn revoke_mallory(&self) {
        let before = self.counts(READ_ANEW);
        cert(self.cluster.dir(), &["revoke", "certs/client-mallory.crt"]);
        self.write("certs/revoked.crl", &self.read("certs/ca.crl"));
        self.logged(READ_ANEW, &before, 1).await;
    }

    /// New certificates for members, servers and the client, signed by the authority of `folder`.
    async fn renew_certificates(&self, folder: &str) {
        let signer = if folder == "." { "certs".to_owned() } else { folder.to_owned() };
        let (ca, key) = (format!("{signer}/ca.crt"), format!("{signer}/ca.key"));
        let make = |kind: &str, name: &str| {
            let words = ["--dir", "fresh-certs", "--force", "--ca-cert", &ca, "--ca-key", &key];
            cert(self.cluster.dir(), &[&[kind, name], &words[..]].concat());
        };
        for name in ["n1", "n2", "n3"] {
            make("peer", name);
            make("server", name);
        }
        make("client", "root");
        let before = (self.counts(READ_ANEW), self.counts(CONNECTED_ANEW));
        for entry in std::fs::read_dir(self.path("fresh-certs")).unwrap() {
            let entry = entry.unwrap();
            std::fs::rename(entry.path(), self.path("certs").join(entry.file_name())).unwrap();
        }
        self.logged(READ_ANEW, &before.0, 1).await;
        // To each of the two others, so that they have seen it.
        self.logged(CONNECTED_ANEW, &before.1, 2).await;
    }

    async fn trust_both(&self) {
        let before = self.counts(READ_ANEW);
        let both = |old: &str, next: &str| self.read(old) + &self.read(next);
        self.write("certs/revoked.crl", &both("certs/ca.crl", "next/ca.crl"));
        self.write("certs/trust.crt", &both("certs/ca.crt", "next/ca.crt"));
        self.logged(READ_ANEW, &before, 1).await;
    }

    async fn trust_next(&self) {
        let before = self.counts(READ_ANEW);
        self.write("certs/trust.crt", &self.read("next/ca.crt"));
        self.write("certs/revoked.crl", &self.read("next/ca.crl"));
        self.logged(READ_ANEW, &before, 1).await;
    }

    async fn the_old_authority_is_nobody(&self) {
        cert(self.cluster.dir(), &["client", "late"]);
        self.is_refused("late", "certificate").await;
    }

    /// A busy machine may not answer in time at first; but nobody lets this client in.
    async fn is_refused(&self, name: &str, why: &str) {
        let client = self.client(name, 0).within(Duration::from_secs(2));
        eventually(why, || async {
            let text = client.get("k").await.unwrap_err().to_string().to_lowercase();
            text.contains(why).then_some(())
        })
        .await;
    }

    async fn half_a_pair_changes_nothing(&mut self, load: &Load) {
        let old = self.read("certs/server-n1.crt");
        let other = self.read("certs/server-n2.crt");
        // Files that were renewed one after the other may have been warned of, too: earlier.
        let warnings = || {
            let log = self.cluster.log(0);
            let is_warning = |line: &&str| {
                line.contains("cannot use the new certificate files")
                    && line.contains("server-n1.key: is not the key of the certificate in")
            };
            log.lines().filter(is_warning).count()
        };
        let earlier = warnings();
        self.write("certs/server-n1.crt", &other);
        eventually("a warning", || async { (warnings() > earlier).then_some(()) }).await;
        load.goes_on().await;
        // Asked for, it is told again; and then it is right.
        let earlier = warnings();
        self.cluster.members[0].process.as_ref().unwrap().signal("HUP");
        eventually("a second warning", || async { (warnings() > earlier).then_some(()) }).await;
        let before = self.counts(READ_ANEW)[0];
        self.write("certs/server-n1.crt", &old);
        eventually("the right pair", || async {
            (self.counts(READ_ANEW)[0] > before).then_some(())
        })
        .await;
        load.goes_on().await;
    }

    /// A client that still has the first authority's certificate believes nobody; with the next one's, it does.
    fn clients_follow(&self) {
        let get = || output(self.cluster.cli(&[0]).args(["get", "k"]));
        let stranger = failure(get());
        assert!(stranger.contains("certificate"), "{stranger}");
        self.write("certs/ca.crt", &self.read("next/ca.crt"));
        assert!(get().status.success());
    }
}

/// Clients that write, read what they wrote, and watch it, one after the other and without a pause.
struct Load {
    running: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    failures: Arc<Mutex<Vec<Error>>>,
    workers: Vec<JoinHandle<Vec<(String, String)>>>,
}

impl Load {
    fn start(name: &str, clients: impl IntoIterator<Item = Client>) -> Self {
        let running = Arc::new(AtomicBool::new(true));
        let (count, failures) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<Error>>>::default());
        let workers = clients
            .into_iter()
            .enumerate()
            .map(|(worker, client)| {
                let (running, count) = (Arc::clone(&running), Arc::clone(&count));
                let failures = Arc::clone(&failures);
                let prefix = format!("{name}/{worker}/");
                tokio::spawn(async move {
                    let mut written = Vec::new();
                    let work = work(&prefix, &client, &running, &count, &mut written).await;
                    if let Err(error) = work {
                        failures.lock().unwrap().push(error);
                    }
                    written
                })
            })
            .collect();
        Self { running, count, failures, workers }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn first_failure(&self) -> Option<String> {
        self.failures.lock().unwrap().first().map(ToString::to_string)
    }

    /// It has done more since, and nothing failed.
    async fn goes_on(&self) {
        let before = self.count();
        eventually("load goes on", || async {
            assert_eq!(self.first_failure(), None);
            (self.count() > before + 100).then_some(())
        })
        .await;
    }

    /// What was written.
    async fn stop(self) -> Vec<(String, String)> {
        self.running.store(false, Ordering::Relaxed);
        let mut written = Vec::new();
        for worker in self.workers {
            written.extend(worker.await.unwrap());
        }
        assert!(self.failures.lock().unwrap().is_empty(), "{:?}", self.failures);
        written
    }
}

/// Puts without a pause until one fails: how many there were, and why it ended.
fn let_in(client: Client) -> (Arc<AtomicU64>, JoinHandle<Error>) {
    let count = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&count);
    let putting = tokio::spawn(async move {
        loop {
            match client.put("mallory", "was here").await {
                Ok(_) => counted.fetch_add(1, Ordering::Relaxed),
                Err(error) => return error,
            };
        }
    });
    (count, putting)
}

/// Until it is told to stop, or the first failure.
async fn work(
    prefix: &str,
    client: &Client,
    running: &AtomicBool,
    count: &AtomicU64,
    written: &mut Vec<(String, String)>,
) -> Result<(), Error> {
    let mut watch = client.watch(prefix.to_owned()).prefix().await?;
    let mut number = 0;
    while running.load(Ordering::Relaxed) {
        number += 1;
        let (key, value) = (format!("{prefix}{}", number % 10), number.to_string());
        client.put(key.clone(), value.clone()).await?;
        let read = client.get(key.clone()).await?;
        assert_eq!(read.kvs[0].value, value);
        // Each event once, and in order, over all connections.
        let seen = loop {
            let Some(response) = watch.next().await else { panic!("the watch has ended") };
            if let [event] = &response?.events[..] {
                break event.kv.clone().unwrap();
            }
        };
        assert_eq!((seen.key, seen.value), (key.clone().into(), value.clone().into()));
        written.retain(|(other, _)| *other != key);
        written.push((key, value));
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
