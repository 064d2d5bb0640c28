//! Many watchers of one prefix: how many events a second reach them, how long after their put, and at what cost.
//!
//! Every value begins with the moment its put was due, on this process's clock; so a watcher knows how late it is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::base::{Clock, Moment};
use crate::cli::connect::Session;
use crate::cli::exit::Exit;
use crate::client::{Client, Watcher};

use super::args::Watch;
use super::drive::{self, AFTER_ERROR, Counts, Thread, connect};
use super::keys::{self, Dice, Keys};
use super::pace::{Due, Window, keep_time};
use super::processes::Servers;
use super::report::{Measured, Report};
use super::tally::Tally;

/// Watchers for which one connection is opened when nothing else is said.
const WATCHERS_PER_CONNECTION: usize = 1_000;
/// Of a value: the moment its put was due.
const STAMP_BYTES: usize = 8;

/// What putters and watchers of a run share.
struct Shared {
    window: Window,
    keys: Keys,
    value: Bytes,
    order: AtomicU64,
    watchers: u64,
    /// Puts whose events nobody waits for.
    ahead: u64,
    put: AtomicU64,
    delivered: AtomicU64,
    all_told: Notify,
}

pub(super) fn run(session: &Session, watch: &Watch, servers: &Servers) -> Result<Report, Exit> {
    let threads = usize::from(watch.load.threads);
    let connections = watch.load.connections_of(watch.watchers, WATCHERS_PER_CONNECTION);
    // In an open loop every thread has its share of what is due.
    let writers = if watch.load.rate.is_some() { threads } else { 1 };
    let in_flight = watch.load.in_flight(1);
    let value_bytes = watch.keys.value_bytes.max(STAMP_BYTES);
    let shared = Arc::new(Shared {
        window: Window::new(watch.load.total),
        keys: watch.keys.keys()?,
        value: keys::value(value_bytes),
        order: AtomicU64::new(0),
        watchers: watch.watchers as u64,
        ahead: in_flight as u64 - 1,
        put: AtomicU64::new(0),
        delivered: AtomicU64::new(0),
        all_told: Notify::new(),
    });
    let dues = drive::dues(&watch.load);
    let timing = (Arc::clone(&shared), dues.clone());
    let opened = move || {
        if !timing.1.is_empty() {
            std::thread::spawn(move || keep_time(&timing.0.window, &timing.1));
        }
    };
    let run = drive::run(&watch.load, servers, &shared.window, opened, |thread| {
        let (shared, due) = (Arc::clone(&shared), dues.get(thread.number).cloned());
        async move {
            let clients = connect(session, thread.number, threads, connections).await?;
            let writer = match thread.number < writers {
                true => Some(session.client_from(thread.number).await?),
                false => None,
            };
            let own = (thread.number..watch.watchers).step_by(threads).count();
            work(thread, &shared, due, (&clients, own), writer).await
        }
    })?;
    Ok(Report {
        name: "watch",
        load: watch.load.clone(),
        in_flight,
        connections: connections + writers,
        measured: Measured::Events,
        setting: format!(
            "{} watchers of one prefix, values of {value_bytes} bytes",
            watch.watchers
        ),
        written: None,
        servers: servers.count(),
        run,
    })
}

/// One thread: its watchers; and its puts, if it has a writer.
async fn work(
    thread: Thread,
    shared: &Arc<Shared>,
    due: Option<Arc<Due>>,
    (clients, watchers): (&[Client], usize),
    writer: Option<Client>,
) -> Result<Tally, Exit> {
    let counts = Arc::new(Counts::default());
    let mut watching = JoinSet::new();
    for number in 0..watchers {
        let client = &clients[number % clients.len()];
        let watcher = client.watch(shared.keys.prefix.clone()).prefix().await?;
        watching.spawn(follow(watcher, Arc::clone(shared), Arc::clone(&counts)));
    }
    if !thread.wait() {
        return Ok(Tally::default());
    }
    if let Some(writer) = writer {
        put(shared, due, &writer, &counts).await;
    }
    shared.window.over().await;
    Ok(counts.take())
}

async fn put(shared: &Shared, due: Option<Arc<Due>>, writer: &Client, counts: &Counts) {
    let mut dice = Dice::new(0);
    while !shared.window.is_over() {
        let due = match &due {
            Some(due) => due.next().await,
            None => shared.told().await.then(|| shared.window.clock.now()),
        };
        let Some(due) = due else { return };
        if !shared.window.takes_one() {
            break;
        }
        let mut value = BytesMut::with_capacity(shared.value.len());
        value.put_u64(due.0);
        value.put_slice(&shared.value[STAMP_BYTES..]);
        let key = shared.keys.key(shared.keys.pick(&shared.order, &mut dice));
        shared.put.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = writer.put(key, value.freeze()).await {
            shared.put.fetch_sub(1, Ordering::Relaxed);
            counts.with(|tally| tally.fail(error.to_string()));
            sleep(AFTER_ERROR).await;
        }
    }
    // Of so many puts the last was made: it is over when its events have arrived.
    if shared.told_of(shared.put.load(Ordering::Relaxed)).await {
        shared.window.end();
    }
}

async fn follow(mut watcher: Watcher, shared: Arc<Shared>, counts: Arc<Counts>) {
    while let Some(response) = watcher.next().await {
        let response = match response {
            Ok(response) => response,
            Err(error) => {
                counts.with(|tally| tally.fail(error.to_string()));
                break;
            }
        };
        let now = shared.window.clock.now();
        let began = shared.window.holds(now);
        for event in &response.events {
            let stamp = event.kv.as_ref().and_then(|kv| kv.value.first_chunk());
            if let (Some(began), Some(stamp)) = (began, stamp) {
                let due = Moment(u64::from_be_bytes(*stamp));
                counts.with(|tally| tally.count(began, due, now));
            }
        }
        shared.tell(response.events.len() as u64);
    }
    // What one watcher never hears, nobody must wait for: the run is over.
    shared.window.end();
}

impl Shared {
    fn tell(&self, events: u64) {
        let delivered = self.delivered.fetch_add(events, Ordering::Relaxed) + events;
        let put = self.put.load(Ordering::Relaxed);
        if delivered >= put.saturating_sub(self.ahead) * self.watchers {
            self.all_told.notify_one();
        }
    }

    /// Waits until the watchers have seen all that they must before another put. False when the run is over.
    async fn told(&self) -> bool {
        self.told_of(self.put.load(Ordering::Relaxed).saturating_sub(self.ahead)).await
    }

    async fn told_of(&self, puts: u64) -> bool {
        while self.delivered.load(Ordering::Relaxed) < puts * self.watchers {
            tokio::select! {
                () = self.all_told.notified() => {}
                () = self.window.over() => return false,
            }
        }
        true
    }
}
