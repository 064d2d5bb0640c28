//! From the words to a report.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::cli::connect::Session;
use crate::cli::exit::Exit;

use super::args::{Bench, KeySpace, Load};
use super::calls::{Calls, Kind};
use super::processes::Servers;
use super::report::{Measured, Report};
use super::{drive, keys, lease, watch};

/// Calls in flight when nothing else is said.
const IN_FLIGHT: usize = 64;

impl Bench {
    pub(crate) fn run(self, session: &Session) -> Result<(), Exit> {
        let load = match &self {
            Self::Put(put) => &put.load,
            Self::Get(get) => &get.load,
            Self::Mixed(mixed) => &mixed.load,
            Self::Txn(txn) => &txn.load,
            Self::Watch(watch) => &watch.load,
            Self::Lease(lease) => &lease.load,
        };
        let servers = Servers::find(&load.pid, &session.endpoints)?;
        let report = match &self {
            Self::Put(put) => calls(session, "put", load, &put.keys, Kind::Put, &servers),
            Self::Get(get) => {
                let kind = Kind::Get { serializable: get.serializable, page: get.page };
                let name = match (get.page, get.serializable) {
                    (0, false) => "get",
                    (0, true) => "get (serializable)",
                    (_, false) => "page",
                    (_, true) => "page (serializable)",
                };
                calls(session, name, load, &get.keys, kind, &servers)
            }
            Self::Mixed(mixed) => {
                let kind = Kind::Mixed { serializable: mixed.serializable, reads: mixed.reads };
                calls(session, "mixed", load, &mixed.keys, kind, &servers)
            }
            Self::Txn(txn) => calls(session, "txn", load, &txn.keys, Kind::Txn, &servers),
            Self::Watch(watch) => watch::run(session, watch, &servers),
            Self::Lease(lease) => lease::run(session, lease, &servers),
        }?;
        session.printer.print(&report)
    }
}

fn calls(
    session: &Session,
    name: &'static str,
    load: &Load,
    space: &KeySpace,
    kind: Kind,
    servers: &Servers,
) -> Result<Report, Exit> {
    let calls = Arc::new(Calls {
        kind,
        keys: space.keys()?,
        value: keys::value(space.value_bytes),
        order: AtomicU64::new(0),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = session.client().await?;
        calls.prepare(&client).await?;
        client.close().await;
        Ok::<(), Exit>(())
    })?;
    let in_flight = load.in_flight(IN_FLIGHT);
    let run = drive::drive(session, load, in_flight, servers, &calls)?;
    Ok(Report {
        name,
        load: load.clone(),
        in_flight,
        connections: load.connections(in_flight),
        measured: Measured::Calls,
        setting: format!(
            "{} keys of {} bytes, values of {} bytes",
            space.keys, space.key_bytes, space.value_bytes
        ),
        written: calls.written(),
        servers: servers.count(),
        run,
    })
}
