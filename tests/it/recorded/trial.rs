//! A cluster on trial: clients and watchers that write everything down while the test breaks things, and the verdict.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use quorate::base::Moment;
use quorate::client::{Client, Config};
use quorate::proto::etcdserverpb::PutRequest;
use quorate::state::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::asking::{Asker, ask, everything};
use super::recorder::{Answer, Note, Recorder};
use super::tally::Tally;
use super::truth;
use super::verdict::judge;
use super::watching::{KINDS, Listener};
use crate::dice::Dice;
use crate::harness::{Cluster, eventually};
use crate::workload::Op;

/// Clients that ask, as in etcd's robustness suite.
const CLIENTS: u64 = 8;

/// Time for one call, retries included: short, so that a fault is met by many calls.
const CALL: Duration = Duration::from_secs(1);

/// The last keys, one that watchers hear of and one that they do not.
const HEARD: &str = "k/end";
const UNHEARD: &str = "end";

/// What [`Trial::grow`] writes.
const GROWING: &str = "growing/";
const LARGE_BYTES: usize = 512 << 10;

/// See the module.
pub(crate) struct Trial {
    recorder: Arc<Recorder>,
    running: Arc<AtomicBool>,
    end: watch::Sender<Option<i64>>,
    askers: Vec<JoinHandle<()>>,
    listeners: Vec<JoinHandle<()>>,
    last: Client,
    grown: AtomicUsize,
}

impl Trial {
    /// Clients of these members; every other one sends all it has to the member that it is connected to.
    pub(crate) fn start(configs: impl Fn(usize) -> Config, seed: u64) -> Self {
        let recorder = Arc::new(Recorder::new());
        let running = Arc::new(AtomicBool::new(true));
        let (end, ending) = watch::channel(None);
        let client = |number: u64| {
            let number = usize::try_from(number).unwrap();
            let config = Config { writes_to_leader: number % 2 == 0, ..configs(number) };
            Client::lazy(config).unwrap().within(CALL)
        };
        let askers = (0..CLIENTS).map(|number| {
            let dice = Dice::new(seed * CLIENTS + number);
            let asker = Asker::new(number, client(number), Arc::clone(&recorder), dice);
            tokio::spawn(asker.run(Arc::clone(&running)))
        });
        let askers = askers.collect();
        let listeners = (0..KINDS).map(|number| {
            let listener = Listener::new(number, client(number), Arc::clone(&recorder));
            tokio::spawn(listener.run(ending.clone()))
        });
        let listeners = listeners.collect();
        let last = client(0).within(Duration::from_secs(20));
        Self { recorder, running, end, askers, listeners, last, grown: AtomicUsize::new(0) }
    }

    /// All of a cluster's members, each client beginning with another.
    pub(crate) fn of(cluster: &Cluster, seed: u64) -> Self {
        let count = cluster.members.len();
        let from = |number: usize| {
            let order: Vec<usize> = (0..count).map(|place| (number + place) % count).collect();
            cluster.client_config(&order)
        };
        Self::start(from, seed)
    }

    /// Commands acknowledged so far.
    pub(crate) fn writes(&self) -> u64 {
        self.recorder.writes()
    }

    /// One large value more, for which every disk needs room. Whether it is acknowledged does not matter.
    pub(crate) async fn grow(&self) {
        let number = self.grown.fetch_add(1, Ordering::Relaxed);
        let mut value = number.to_string().into_bytes();
        value.resize(LARGE_BYTES, b' ');
        // A key of its own: what is there once stays, and no compaction frees a page.
        let (key, value) = (format!("{GROWING}{number}").into(), value.into());
        let put = PutRequest { key, value, ..PutRequest::default() };
        ask(&self.recorder, &self.last, Op::Command(Command::Put(put))).await;
    }

    /// Waits until so many more commands were acknowledged.
    pub(crate) async fn goes_on(&self, more: u64) {
        let wanted = self.writes() + more;
        eventually("the cluster serves", || async { (self.writes() >= wanted).then_some(()) })
            .await;
    }

    /// Ends the clients, lets the watchers hear everything, and reads all keys once more. The members may stop then.
    pub(crate) async fn end(self) -> Recorded {
        self.running.store(false, Ordering::Relaxed);
        for asker in self.askers {
            asker.await.unwrap();
        }
        let marked = mark(&self.recorder, &self.last, HEARD).await;
        self.end.send_replace(Some(marked));
        for listener in self.listeners {
            listener.await.unwrap();
        }
        let all = ask(&self.recorder, &self.last, Op::Range(everything())).await;
        assert!(matches!(all, Answer::Range(_)), "{all:?}");
        // The truth is known up to here: everything that anybody was told comes before.
        mark(&self.recorder, &self.last, UNHEARD).await;
        Recorded { notes: self.recorder.take() }
    }
}

/// A last write; its revision.
async fn mark(recorder: &Recorder, client: &Client, key: &'static str) -> i64 {
    let put = |attempt: usize| PutRequest {
        key: key.into(),
        value: attempt.to_string().into(),
        ..PutRequest::default()
    };
    for attempt in 0..10 {
        let answer = ask(recorder, client, Op::Command(Command::Put(put(attempt)))).await;
        if let Answer::Reply { revision, .. } = answer {
            return revision;
        }
    }
    panic!("a cluster that is whole does not take a write");
}

/// Everything that was written down.
pub(crate) struct Recorded {
    notes: Vec<(Moment, Note)>,
}

impl Recorded {
    /// Reads the logs of these members' data directories, which must have stopped, and judges. What is found bad stays
    /// behind in a file for whoever looks into it.
    pub(crate) fn judge(&self, dirs: &[&Path]) -> Tally {
        let verdict = truth::read(dirs).and_then(|logs| judge(&self.notes, &logs));
        match verdict {
            Ok(tally) => tally,
            Err(violation) => panic!("{violation}\nthe history: {}", self.keep(dirs).display()),
        }
    }

    fn keep(&self, dirs: &[&Path]) -> PathBuf {
        let mut text = String::new();
        for (now, note) in &self.notes {
            text.push_str(&format!("{now} {note:?}\n"));
        }
        for (number, log) in truth::read(dirs).unwrap_or_default().iter().enumerate() {
            for entry in log {
                text.push_str(&format!("log {number} {entry:?}\n"));
            }
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("quorate-history-{}-{number}.txt", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}
