//! Threads, connections and tasks of a load, and the window in which all is counted.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::base::{Clock, Moment};
use crate::cli::connect::Session;
use crate::cli::exit::Exit;
use crate::client::{Client, Error};

use super::args::Load;
use super::calls::Calls;
use super::keys::Dice;
use super::pace::{Due, Schedule, Window, keep_time};
use super::processes::{Servers, Usage};
use super::tally::Tally;

/// A call that failed at once is not begun again at once.
pub(super) const AFTER_ERROR: Duration = Duration::from_millis(10);

/// What a run came to.
#[derive(Debug)]
pub(super) struct Run {
    pub elapsed: Duration,
    pub tally: Tally,
    /// This process.
    pub client: Option<Usage>,
    /// All local servers together.
    pub servers: Option<Usage>,
}

/// One thread of a run. It prepares, waits at the gate for the others, and then works until the window is over.
#[derive(Debug)]
pub(super) struct Thread {
    pub number: usize,
    ready: mpsc::SyncSender<()>,
    gate: mpsc::Receiver<()>,
}

impl Thread {
    /// Everything is prepared: waits for the others. False if one of them failed.
    pub(super) fn wait(&self) -> bool {
        self.ready.send(()).is_ok() && self.gate.recv().is_ok()
    }
}

/// The counts of one thread, written by its tasks.
#[derive(Debug, Default)]
pub(super) struct Counts(Mutex<Tally>);

impl Counts {
    pub(super) fn with(&self, change: impl FnOnce(&mut Tally)) {
        // A tally is whole after every change.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A call's end, if it is inside the window.
    pub(super) fn end(&self, window: &Window, due: Moment, outcome: Result<(), Error>) {
        let now = window.clock.now();
        let Some(began) = window.holds(now) else { return };
        self.with(|tally| match outcome {
            Ok(()) => tally.count(began, due, now),
            Err(error) => tally.fail(error.to_string()),
        });
    }

    pub(super) fn take(&self) -> Tally {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Runs `body` on every thread, and measures from the end of the warm-up to the end of the window.
pub(super) fn run<F, B>(
    load: &Load,
    servers: &Servers,
    window: &Window,
    opened: impl FnOnce(),
    body: B,
) -> Result<Run, Exit>
where
    F: Future<Output = Result<Tally, Exit>>,
    B: Fn(Thread) -> F + Sync,
{
    std::thread::scope(|scope| {
        let (ready, all_ready) = mpsc::sync_channel(usize::from(load.threads));
        let mut gates = Vec::new();
        let mut threads = Vec::new();
        for number in 0..usize::from(load.threads) {
            let (open, gate) = mpsc::sync_channel(1);
            let thread = Thread { number, ready: ready.clone(), gate };
            let body = &body;
            threads.push(scope.spawn(move || -> Result<Tally, Exit> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let done = runtime.block_on(body(thread));
                runtime.shutdown_background();
                done
            }));
            gates.push(open);
        }
        drop(ready);
        let are_ready = (0..threads.len()).all(|_| all_ready.recv().is_ok());
        let measured = are_ready.then(|| {
            // A thread that has ended already tells why when it is joined.
            let open = || {
                opened();
                for gate in &gates {
                    let _ended = gate.send(());
                }
            };
            let join = || {
                while threads.iter().any(|thread| !thread.is_finished()) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            measure(load, servers, window, open, join)
        });
        drop(gates);
        let mut tally = Tally::default();
        for thread in threads {
            let ended = thread.join().map_err(|_| Exit::error("a thread of the load panicked"))?;
            tally.add(&ended?);
        }
        let (elapsed, client, servers) =
            measured.ok_or_else(|| Exit::error("the load could not be prepared"))?;
        Ok(Run { elapsed, tally, client, servers })
    })
}

type Measured = (Duration, Option<Usage>, Option<Usage>);

fn measure(
    load: &Load,
    servers: &Servers,
    window: &Window,
    open: impl FnOnce(),
    join: impl FnOnce(),
) -> Measured {
    let now = || (Usage::of("self"), servers.usage());
    let (before, began);
    if load.total.is_none() {
        open();
        std::thread::sleep(load.warm_up);
        (before, began) = (now(), window.begin());
        std::thread::sleep(load.duration);
    } else {
        (before, began) = (now(), window.begin());
        open();
        join();
    }
    let ended = window.end();
    let after = now();
    let spent = |before: Option<Usage>, after: Option<Usage>| Some(after?.since(before?));
    (ended - began, spent(before.0, after.0), spent(before.1, after.1))
}

/// Drives `calls` as `load` says.
pub(super) fn drive(
    session: &Session,
    load: &Load,
    in_flight: usize,
    servers: &Servers,
    calls: &Arc<Calls>,
) -> Result<Run, Exit> {
    let window = Arc::new(Window::new(load.total));
    let connections = load.connections(in_flight);
    let threads = usize::from(load.threads);
    let dues = dues(load);
    let timing = (Arc::clone(&window), dues.clone());
    let opened = move || {
        if !timing.1.is_empty() {
            std::thread::spawn(move || keep_time(&timing.0, &timing.1));
        }
    };
    run(load, servers, &window, opened, |thread| {
        let (window, calls) = (Arc::clone(&window), Arc::clone(calls));
        let due = dues.get(thread.number).cloned();
        async move {
            let clients = connect(session, thread.number, threads, connections).await?;
            let counts = Arc::new(Counts::default());
            let mut workers = JoinSet::new();
            if !thread.wait() {
                return Ok(Tally::default());
            }
            for number in (thread.number..in_flight).step_by(threads) {
                let worker = Worker {
                    window: Arc::clone(&window),
                    due: due.clone(),
                    calls: Arc::clone(&calls),
                    counts: Arc::clone(&counts),
                    client: clients[number / threads % clients.len()].clone(),
                    dice: Dice::new(number as u64),
                };
                workers.spawn(worker.run());
            }
            workers.join_all().await;
            Ok(counts.take())
        }
    })
}

/// For each thread of an open loop what is due; nothing in a closed one.
pub(super) fn dues(load: &Load) -> Vec<Arc<Due>> {
    let threads = u64::from(load.threads);
    let due = |rate| {
        let schedule = Schedule { rate, threads };
        (0..threads).map(move |thread| Arc::new(Due::new(schedule, thread)))
    };
    load.rate.into_iter().flat_map(due).collect()
}

/// The connections of one thread; each begins with another endpoint. There are as many as threads, or more.
pub(super) async fn connect(
    session: &Session,
    thread: usize,
    threads: usize,
    connections: usize,
) -> Result<Vec<Client>, Exit> {
    let mut clients = Vec::new();
    for turn in (thread..connections).step_by(threads) {
        clients.push(session.client_from(turn).await?);
    }
    Ok(clients)
}

/// One call in flight after the other.
struct Worker {
    window: Arc<Window>,
    due: Option<Arc<Due>>,
    calls: Arc<Calls>,
    counts: Arc<Counts>,
    client: Client,
    dice: Dice,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let due = match &self.due {
                Some(due) => due.next().await,
                None => Some(self.window.clock.now()),
            };
            let Some(due) = due else { return };
            if !self.window.takes_one() {
                return;
            }
            let outcome = self.calls.call(&self.client, &mut self.dice).await;
            let is_error = outcome.is_err();
            self.counts.end(&self.window, due, outcome);
            if is_error {
                sleep(AFTER_ERROR).await;
            }
        }
    }
}
