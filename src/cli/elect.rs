//! `elect`: campaigns until it leads and then holds on, or looks on.

use std::ffi::OsString;

use clap::Args;

use crate::client::{Client, Election, Leader, Session as Lease};
use crate::proto::etcdserverpb as pb;

use super::connect::Session;
use super::exit::Exit;
use super::kv;
use super::print::Got;
use super::stopped::Stopped;

/// Seconds for which others wait when a leader vanishes (etcd's).
const TTL: i64 = 60;

#[derive(Args, Clone, Debug)]
#[command(after_help = "Examples:\n  \
        quorate elect scheduler host-7     wait until we lead, and lead until Ctrl-C\n  \
        quorate elect -l scheduler         show each leader")]
pub(super) struct Elect {
    /// The election
    name: OsString,
    /// What the leader says of itself
    value: Option<OsString>,
    /// Look on
    #[arg(short = 'l', long)]
    listen: bool,
}

impl Elect {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let value = match (&self.value, self.listen) {
            (None, false) => return Err(Exit::bad_args("no proposal argument but -l not set")),
            (Some(_), true) => return Err(Exit::bad_args("proposal given but -l is set")),
            (value, _) => value,
        };
        let client = session.client().await?;
        let mut stopped = Stopped::listen()?;
        let election = Election::new(&client, kv::bytes(&self.name));
        let Some(value) = value else {
            return look_on(session, &election, &mut stopped).await;
        };
        let lease = Lease::start(&client, TTL).await?;
        let value = kv::bytes(value);
        let done = lead(session, &client, &election, &lease, value, &mut stopped).await;
        // Whoever was stopped while it waited withdraws with the lease.
        let closed = lease.close().await;
        done?;
        Ok(closed?)
    }
}

async fn look_on(
    session: &Session,
    election: &Election,
    stopped: &mut Stopped,
) -> Result<(), Exit> {
    let mut observer = election.observe();
    loop {
        let Leader { kv, header } = tokio::select! {
            leader = observer.next() => leader.map_err(|error| {
                Exit::error(format!("elect: observer lost: {}", error.text()))
            })?,
            _ = stopped.next() => return Ok(()),
        };
        let shown = pb::RangeResponse { header: Some(header), kvs: vec![kv], ..Default::default() };
        session.printer.print(&Got(&shown))?;
    }
}

async fn lead(
    session: &Session,
    client: &Client,
    election: &Election,
    lease: &Lease,
    value: bytes::Bytes,
    stopped: &mut Stopped,
) -> Result<(), Exit> {
    let leadership = tokio::select! {
        leadership = election.campaign(lease, value) => leadership?,
        _ = stopped.next() => return Err(Exit::error("context canceled")),
    };
    let shown = client.get(leadership.key().clone()).await?;
    session.printer.print(&Got(&shown))?;
    tokio::select! {
        _ = leadership.lost() => return Err(Exit::error("elect: session expired")),
        _ = stopped.next() => {}
    }
    Ok(leadership.resign().await?)
}
