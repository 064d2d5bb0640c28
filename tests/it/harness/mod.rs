//! Real members as child processes, and what the tests ask of them.
//!
//! Every cluster has its own folder, its own free ports on loopback and its own certificates. A child is ended by its
//! own handle, never by name. Nothing here sleeps for luck: what is waited for is a condition with a deadline.

mod cluster;
mod load;
mod machines;
mod process;
mod relay;
mod seats;
mod tls;

pub(crate) use super::ports::free_ports;
pub(crate) use cluster::{Cluster, cert};
pub(crate) use load::{Load, check_all};
pub(crate) use machines::Machines;
pub(crate) use process::{Process, failure, quorate, stdout};
pub(crate) use relay::{Line, Party, Relays, relayed};
pub(crate) use seats::Seat;
pub(crate) use tls::tls_config;

use std::future::Future;
use std::time::{Duration, Instant};

/// Longest wait for anything that should happen soon; generous, because machines are shared.
pub(crate) const SOON: Duration = Duration::from_secs(40);

/// Asks `probe` again and again until it gives something; fails with `what` after [`SOON`].
pub(crate) async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(began.elapsed() < SOON, "{what} did not happen within {SOON:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Longest time for a whole test.
const TEST_MAX: Duration = Duration::from_secs(300);

/// Runs a test's future on a runtime of its own.
pub(crate) fn run(test: impl Future<Output = ()>) {
    run_within(TEST_MAX, test);
}

/// The same for one that may take longer, or must not take so long.
pub(crate) fn run_within(limit: Duration, test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(async { tokio::time::timeout(limit, test).await })
        .expect("the test did not end");
}
