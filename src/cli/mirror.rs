//! `make-mirror`: copies keys to another cluster, and goes on with every change.
//!
//! ```text
//!   the keys at one revision, page by page --puts--> destination
//!   every change behind it, as watched ----txns----> one per revision, or more if it has too many operations
//! ```
//!
//! It ends with the first error: a write to the destination whose outcome is unknown is not repeated. Leases are not
//! copied.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use tokio::time::sleep;

use crate::client::{Client, ClientFiles, Error, prefix_end};

use super::args::path_parser;
use super::changes::{Change, Pages, TXN_BYTES_MAX, parcels, steps};
use super::connect::{Session, login};
use super::exit::Exit;
use super::go::parse_bool;
use super::kv;

/// Between two lines that tell how much was copied.
const TELL_EVERY: Duration = Duration::from_secs(30);

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Every 30 seconds it tells how many keys it has written. It goes on until it is stopped.\n\n\
    Examples:\n  \
        quorate make-mirror 10.0.0.9:2379\n  \
        quorate make-mirror --prefix app/ --dest-prefix backup/app/ https://10.0.0.9:2379 --dest-cacert ca.crt"
)]
pub(super) struct MakeMirror {
    /// The endpoint of the cluster to copy to; several with commas
    destination: String,
    /// Only keys that begin with it
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: OsString,
    /// Go on from this revision, without a copy of what was there before
    #[arg(long, value_name = "REVISION", default_value_t = 0)]
    rev: i64,
    /// Operations of one transaction at the destination
    #[arg(long, value_name = "N", default_value_t = 128)]
    max_txn_ops: usize,
    /// Write PREFIX as this [default: as it is]
    #[arg(long, value_name = "PREFIX", default_value = "")]
    dest_prefix: OsString,
    /// Write keys without PREFIX
    #[arg(long)]
    no_dest_prefix: bool,
    /// Believe the destination with a certificate of this CA (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    dest_cacert: Option<PathBuf>,
    /// Certificate to show to the destination (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    dest_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    dest_key: Option<PathBuf>,
    /// Who writes there, where the destination wants to know
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    dest_user: Option<String>,
    /// The user's password, which --dest-user then does not have
    #[arg(long, value_name = "PASSWORD")]
    dest_password: Option<String>,
    /// Whether a destination without a scheme is http:// [default: true without --dest-cacert, --dest-cert]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool, hide = true)]
    dest_insecure_transport: Option<bool>,
}

impl MakeMirror {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        if self.no_dest_prefix && !self.dest_prefix.is_empty() {
            return Err(Exit::bad_args(
                "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one",
            ));
        }
        if self.max_txn_ops == 0 {
            return Err(Exit::bad_args("--max-txn-ops 0 copies nothing: it is 1 or more"));
        }
        let (to, from) = (self.destination(session).await?, session.client().await?);
        let prefix = kv::bytes(&self.prefix);
        let as_prefix = match (self.no_dest_prefix, self.dest_prefix.is_empty()) {
            (true, _) => Bytes::new(),
            (false, true) => prefix.clone(),
            (false, false) => kv::bytes(&self.dest_prefix),
        };
        let max = self.max_txn_ops;
        let mirror = Mirror { from, to, prefix, as_prefix, max, copied: Arc::default() };
        let copied = Arc::clone(&mirror.copied);
        tokio::spawn(async move {
            loop {
                sleep(TELL_EVERY).await;
                println!("{}", copied.load(Ordering::Relaxed));
            }
        });
        let start = match self.rev {
            0 | 1 => mirror.copy().await? + 1,
            revision => revision,
        };
        mirror.follow(start).await
    }

    async fn destination(&self, session: &Session) -> Result<Client, Exit> {
        let files = ClientFiles {
            trusted_ca: self.dest_cacert.clone(),
            cert: self.dest_cert.clone(),
            key: self.dest_key.clone(),
            ..ClientFiles::default()
        };
        let insecure = self.dest_insecure_transport;
        let mut destination = session.destination(&self.destination, files, insecure)?;
        destination.login = login(self.dest_user.clone(), self.dest_password.clone())?;
        destination.client().await
    }
}

struct Mirror {
    from: Client,
    to: Client,
    prefix: Bytes,
    as_prefix: Bytes,
    /// Operations of a transaction.
    max: usize,
    copied: Arc<AtomicU64>,
}

impl Mirror {
    /// Everything that is there now; the revision of that.
    async fn copy(&self) -> Result<i64, Error> {
        let now = self.from.get(self.as_key(&self.prefix)).await?;
        let revision = now.header.map_or(0, |header| header.revision);
        let end = prefix_end(&self.prefix);
        let mut pages = Pages::new(&self.from, self.prefix.clone(), end, revision);
        while let Some(page) = pages.next().await? {
            self.write(page.kvs.into_iter().map(Change::from).collect()).await?;
        }
        Ok(revision)
    }

    /// Every change from `start` on.
    async fn follow(&self, start: i64) -> Result<(), Exit> {
        let mut watcher =
            self.from.watch(self.prefix.clone()).prefix().start_revision(start).await?;
        while let Some(response) = watcher.next().await {
            let response = response.map_err(|error| match error {
                Error::Compacted { .. } => {
                    Exit::error("etcdserver: mvcc: required revision has been compacted")
                }
                error => error.into(),
            })?;
            // A transaction never has operations of two revisions: a key may occur in both.
            for step in steps(response.events) {
                self.write(step.changes).await?;
            }
        }
        Err(Exit::error("the watch has ended"))
    }

    async fn write(&self, changes: Vec<Change>) -> Result<(), Error> {
        let renamed = changes.into_iter().map(|change| self.renamed(change));
        for parcel in parcels(renamed, self.max, TXN_BYTES_MAX) {
            let count = parcel.len() as u64;
            parcel.into_iter().fold(self.to.txn(), |txn, change| txn.then(change)).await?;
            self.copied.fetch_add(count, Ordering::Relaxed);
        }
        Ok(())
    }

    /// As it is called there, and without its lease.
    fn renamed(&self, change: Change) -> Change {
        let rest = change.key().strip_prefix(&self.prefix[..]).unwrap_or(change.key());
        let key = [&self.as_prefix[..], rest].concat().into();
        match change {
            Change::Put(_, value, _) => Change::Put(key, value, 0),
            Change::Delete(_) => Change::Delete(key),
        }
    }

    /// No key is empty: the smallest is a zero byte.
    fn as_key(&self, prefix: &Bytes) -> Bytes {
        if prefix.is_empty() { Bytes::from_static(b"\0") } else { prefix.clone() }
    }
}
