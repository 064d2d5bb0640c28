//! `snapshot save|status|restore`: one member's store as a file, and a cluster of its own out of it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config;
use crate::node::{self, RestoreError};

use super::connect::Session;
use super::exit::{Code, Exit};
use super::go::parse_int;
use super::print::{Inspected, Printer};
use super::progress::Progress;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Snapshot {
    /// Save the store of one endpoint, with its checksum
    Save(Save),
    /// Check a saved file and show what it holds
    Status(Status),
    /// Make a data directory of a new cluster out of a saved file
    Restore(Restore),
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate snapshot save [OPTIONS] FILE",
    after_help = "Examples:\n  quorate snapshot save backup.snap\n  \
        quorate snapshot save --endpoints https://10.0.0.1:2379 backup.snap\n\n\
        It takes as long as it takes, unless --command-timeout is given."
)]
pub(super) struct Save {
    /// The file to write; it appears when it is whole
    file: Option<PathBuf>,
    #[arg(hide = true)]
    more: Vec<OsString>,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate snapshot status [OPTIONS] FILE",
    after_help = "Examples:\n  quorate snapshot status backup.snap\n  \
        quorate snapshot status backup.snap -w table\n\n\
        It is unpacked below TMPDIR meanwhile."
)]
pub(super) struct Status {
    /// A file that `snapshot save` wrote
    file: Option<PathBuf>,
    #[arg(hide = true)]
    more: Vec<OsString>,
}

#[derive(Args, Clone, Debug)]
#[command(
    override_usage = "quorate snapshot restore [OPTIONS] FILE",
    after_help = "Examples:\n  \
        quorate snapshot restore backup.snap --name n1 --data-dir n1.etcd \\\n    \
        --initial-cluster n1=https://10.0.0.1:2380,n2=https://10.0.0.2:2380 \\\n    \
        --initial-advertise-peer-urls https://10.0.0.1:2380\n\n\
        Restore each member from the same file with the same --initial-cluster, then start all of them with `quorate serve`."
)]
pub(super) struct Restore {
    /// A file that `snapshot save` wrote
    file: Option<PathBuf>,
    #[arg(hide = true)]
    more: Vec<OsString>,
    /// What this member is called
    #[arg(long, default_value = "default")]
    name: String,
    /// Every member of the new cluster, as name=url with commas
    #[arg(long, value_name = "NAME=URL", default_value = "default=http://localhost:2380")]
    initial_cluster: String,
    /// Tells clusters with the same URLs apart
    #[arg(long, value_name = "TOKEN", default_value = "etcd-cluster")]
    initial_cluster_token: String,
    /// Where the others will dial this member, with commas
    #[arg(long, value_name = "URLS", default_value = "http://localhost:2380")]
    initial_advertise_peer_urls: String,
    /// The directory to make [default: NAME.etcd]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Accept a file without its checksum, such as a copy of a data directory's data.mdb
    #[arg(long)]
    skip_hash_check: bool,
    /// Add so much to the newest revision, so that no client sees one again (with --mark-compacted)
    #[arg(long, value_name = "N", value_parser = parse_int, default_value = "0", hide_default_value = true)]
    bump_revision: i64,
    /// Cancel every watch from before the restore, as compacted (with --bump-revision)
    #[arg(long)]
    mark_compacted: bool,
    /// Where the log is put, if it is to lie on another disk [default: in the data directory]
    #[arg(long, value_name = "DIR")]
    wal_dir: Option<PathBuf>,
    #[arg(long, value_name = "BYTES", hide = true)]
    initial_memory_map_size: Option<u64>,
}

impl Status {
    /// Asks no server.
    pub(super) fn run(self, printer: Printer) -> Result<(), Exit> {
        let file = self
            .file
            .filter(|_| self.more.is_empty())
            .ok_or_else(|| Exit::bad_args("snapshot status requires exactly one argument"))?;
        let mut progress = Progress::new("checking");
        let found = node::inspect(&file, &mut |done, total| progress.bytes(done, total));
        drop(progress);
        printer.print(&Inspected(&found.map_err(failed)?))
    }
}

impl Restore {
    /// Asks no server.
    pub(super) fn run(self) -> Result<(), Exit> {
        let file = self
            .file
            .filter(|_| self.more.is_empty())
            .ok_or_else(|| Exit::bad_args("snapshot restore requires exactly one argument"))?;
        let missing = match (self.bump_revision != 0, self.mark_compacted) {
            (true, false) => Some("mark-compacted"),
            (false, true) => Some("bump-revision"),
            _ => None,
        };
        if let Some(missing) = missing {
            return Err(Exit::error(format!(
                "if any flags in the group [bump-revision mark-compacted] are set they must all be set; missing [{missing}]"
            )));
        }
        let roster = config::founders(&self.initial_cluster, &self.initial_cluster_token);
        let urls: Result<Vec<_>, _> =
            self.initial_advertise_peer_urls.split(',').map(|url| url.trim().parse()).collect();
        let data_dir =
            self.data_dir.unwrap_or_else(|| PathBuf::from(format!("{}.etcd", self.name)));
        let plan = node::Restore {
            file,
            data_dir: data_dir.clone(),
            wal_dir: self.wal_dir,
            name: self.name,
            roster: roster.map_err(|mistakes| Exit::bad_args(mistakes.to_string()))?,
            advertise_peer_urls: urls
                .map_err(|error| Exit::bad_args(format!("initial-advertise-peer-urls: {error}")))?,
            skip_hash_check: self.skip_hash_check,
            bump_revision: self.bump_revision,
            mark_compacted: self.mark_compacted,
        };
        let mut progress = Progress::new("restoring");
        let restored = node::restore(&plan, &mut |done, total| progress.bytes(done, total));
        drop(progress);
        let restored = restored.map_err(failed)?;
        println!(
            "Snapshot restored at {}: revision {}, member {} of cluster {}",
            data_dir.display(),
            restored.stamp.revision,
            restored.member,
            restored.cluster
        );
        Ok(())
    }
}

/// etcdutl's code for whatever went wrong.
fn failed(error: RestoreError) -> Exit {
    Exit::error(error.to_string())
}

impl Save {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let file = self.file.filter(|_| self.more.is_empty());
        let file =
            file.ok_or_else(|| Exit::bad_args("snapshot save expects one argument <filename>"))?;
        let endpoint = match session.endpoints.as_slice() {
            [first, ..] if session.is_profile => first,
            [only] => only,
            many => {
                let many = many.join(" ");
                return Err(Exit::new(
                    Code::Interrupted,
                    format!(
                        "snapshot must be requested to one selected node, not multiple [{many}]"
                    ),
                ));
            }
        };
        let saving = async {
            let mut progress = Progress::new("saving");
            let snapshot = session.client_at(endpoint).await?.snapshot().await;
            let snapshot = snapshot.map_err(Exit::raw)?;
            let saved = snapshot.save_with(&file, |done, total| progress.bytes(done, total));
            saved.await.map_err(Exit::raw)
        };
        let saved = if session.is_command_timeout_set {
            let after = session.command_timeout;
            let timed = tokio::time::timeout(after, saving).await;
            timed.unwrap_or_else(|_| Err(Exit::error(format!("not saved within {after:?}"))))
        } else {
            saving.await
        };
        // etcdctl's code, whatever the reason was.
        let saved = saved.map_err(|exit| Exit::new(Code::Interrupted, exit.text))?;
        println!("Snapshot saved at {}", file.display());
        if !saved.version.is_empty() {
            println!("Server version {}", saved.version);
        }
        Ok(())
    }
}
