//! Leases granted and kept alive: how many renewals a second, at what cost, and whether one was lost.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::base::Clock;
use crate::cli::connect::Session;
use crate::cli::exit::Exit;
use crate::client::Client;

use super::args::Lease;
use super::drive::{self, Counts, connect};
use super::pace::Window;
use super::processes::Servers;
use super::report::{Measured, Report};
use super::tally::Tally;

/// Grants that wait for their answer at the same time.
const GRANTS_IN_FLIGHT: usize = 64;
/// Leases for which one connection is opened when nothing else is said.
const LEASES_PER_CONNECTION: usize = 10_000;

pub(super) fn run(session: &Session, lease: &Lease, servers: &Servers) -> Result<Report, Exit> {
    if lease.load.total.is_some() || lease.load.rate.is_some() {
        return Err(Exit::bad_args(
            "leases are renewed at a third of their --ttl for a --duration: --total and --rate say nothing here",
        ));
    }
    let threads = usize::from(lease.load.threads);
    let connections = lease.load.connections_of(lease.leases, LEASES_PER_CONNECTION);
    let in_flight = lease.load.in_flight(GRANTS_IN_FLIGHT);
    let window = Arc::new(Window::new(None));
    let run = drive::run(
        &lease.load,
        servers,
        &window,
        || (),
        |thread| {
            let window = Arc::clone(&window);
            async move {
                let clients = connect(session, thread.number, threads, connections).await?;
                let counts = Arc::new(Counts::default());
                let mut keeping = JoinSet::new();
                let mut granting = JoinSet::new();
                for number in (thread.number..lease.leases).step_by(threads) {
                    let client = &clients[number / threads % clients.len()];
                    if granting.len() >= in_flight.div_ceil(threads) {
                        keep(granting.join_next().await, &window, &counts, &mut keeping).await?;
                    }
                    granting.spawn(grant(client.clone(), lease.ttl, Arc::clone(&window)));
                }
                while let Some(granted) = granting.join_next().await {
                    keep(Some(granted), &window, &counts, &mut keeping).await?;
                }
                if !thread.wait() {
                    return Ok(Tally::default());
                }
                window.over().await;
                Ok(counts.take())
            }
        },
    )?;
    Ok(Report {
        name: "lease",
        load: lease.load.clone(),
        in_flight,
        connections,
        measured: Measured::Renewals,
        setting: format!("{} leases of {} s", lease.leases, lease.ttl),
        written: None,
        servers: servers.count(),
        run,
    })
}

type Granted = Result<(Client, i64, std::time::Duration), Exit>;

async fn grant(client: Client, ttl: i64, window: Arc<Window>) -> Granted {
    let began = window.clock.now();
    let id = client.lease_grant(ttl, 0).await?.id;
    Ok((client, id, window.clock.now() - began))
}

/// A lease that was granted is kept alive by a task of its own, as a program's would be.
async fn keep(
    granted: Option<Result<Granted, tokio::task::JoinError>>,
    window: &Arc<Window>,
    counts: &Arc<Counts>,
    keeping: &mut JoinSet<()>,
) -> Result<(), Exit> {
    let Some(granted) = granted else { return Ok(()) };
    let (client, id, took) = granted.map_err(|error| Exit::error(error.to_string()))??;
    counts.with(|tally| tally.time(took));
    let mut keeper = client.lease_keep_alive(id).await?;
    let (window, counts) = (Arc::clone(window), Arc::clone(counts));
    keeping.spawn(async move {
        // The client's connection lives as long as a lease needs it.
        let _client = client;
        loop {
            let renewed = keeper.next().await;
            let now = window.clock.now();
            match renewed {
                Ok(_) => {
                    let began = window.holds(now);
                    if let Some(began) = began {
                        counts.with(|tally| tally.count_in_second(began, now));
                    }
                }
                // Whenever it was lost.
                Err(error) => return counts.with(|tally| tally.fail(error.to_string())),
            }
        }
    });
    Ok(())
}
