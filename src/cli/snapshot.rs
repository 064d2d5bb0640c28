//! `snapshot save`: one member's store as a file.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::connect::Session;
use super::exit::{Code, Exit};
use super::progress::Progress;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Snapshot {
    /// Save the store of one endpoint, with its checksum
    Save(Save),
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

impl Snapshot {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        match self {
            Self::Save(save) => save.run(session).await,
        }
    }
}

impl Save {
    async fn run(self, session: &Session) -> Result<(), Exit> {
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
            let snapshot = session.client_at(endpoint).await?.snapshot().await?;
            let saved = snapshot.save_with(&file, |done, total| progress.bytes(done, total));
            Ok::<_, Exit>(saved.await?)
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
