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

use crate::client::{
    Client, ClientFiles, Delete, Error, Op, Put, SortOrder, SortTarget, prefix_end,
};
use crate::proto::mvccpb::{Event, event::EventType};

use super::args::path_parser;
use super::connect::{Session, login};
use super::exit::Exit;
use super::go::parse_bool;
use super::kv;

/// Keys of a page (etcdctl's).
const PAGE_KEYS: i64 = 1_000;

/// Bytes of values in one transaction, well below what a server takes.
const TXN_BYTES_MAX: usize = 512 * 1024;

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

/// Operations that wait to be written together.
#[derive(Default)]
struct Batch {
    ops: Vec<Op>,
    bytes: usize,
    revision: i64,
}

impl Mirror {
    /// Everything that is there now; the revision of that.
    async fn copy(&self) -> Result<i64, Error> {
        let now = self.from.get(self.as_key(&self.prefix)).await?;
        let revision = now.header.map_or(0, |header| header.revision);
        let end = prefix_end(&self.prefix);
        let mut key = self.as_key(&self.prefix);
        loop {
            let page = self
                .from
                .get(key)
                .range(end.clone())
                .limit(PAGE_KEYS)
                .revision(revision)
                .sort(SortTarget::Key, SortOrder::Ascend)
                .await?;
            let mut batch = Batch::default();
            for kv in &page.kvs {
                let bytes = kv.key.len() + kv.value.len();
                if batch.ops.len() == self.max || batch.bytes + bytes > TXN_BYTES_MAX {
                    self.write(&mut batch).await?;
                }
                batch.bytes += bytes;
                batch.ops.push(Put::new(self.renamed(&kv.key), kv.value.clone()).into());
            }
            self.write(&mut batch).await?;
            let Some(last) = page.kvs.last().filter(|_| page.more) else { return Ok(revision) };
            // The very next key there could be.
            key = [&last.key[..], b"\0"].concat().into();
        }
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
            let mut batch = Batch::default();
            for event in response.events {
                self.add(&mut batch, event).await?;
            }
            self.write(&mut batch).await?;
        }
        Err(Exit::error("the watch has ended"))
    }

    /// A transaction never has operations of two revisions: a key may occur in both.
    async fn add(&self, batch: &mut Batch, event: Event) -> Result<(), Error> {
        let is_deletion = event.r#type() == EventType::Delete;
        let Some(kv) = event.kv else { return Ok(()) };
        if batch.revision != kv.mod_revision || batch.ops.len() == self.max {
            self.write(batch).await?;
        }
        batch.revision = kv.mod_revision;
        let key = self.renamed(&kv.key);
        batch.ops.push(match is_deletion {
            true => Delete::new(key).into(),
            false => Put::new(key, kv.value).into(),
        });
        Ok(())
    }

    async fn write(&self, batch: &mut Batch) -> Result<(), Error> {
        if batch.ops.is_empty() {
            return Ok(());
        }
        let Batch { ops, .. } = std::mem::take(batch);
        let count = ops.len() as u64;
        ops.into_iter().fold(self.to.txn(), |txn, op| txn.then(op)).await?;
        self.copied.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    fn renamed(&self, key: &Bytes) -> Bytes {
        let rest = key.strip_prefix(&self.prefix[..]).unwrap_or(key);
        [&self.as_prefix[..], rest].concat().into()
    }

    /// No key is empty: the smallest is a zero byte.
    fn as_key(&self, prefix: &Bytes) -> Bytes {
        if prefix.is_empty() { Bytes::from_static(b"\0") } else { prefix.clone() }
    }
}
