//! The words of `migrate`: where the keys come from. Where they go to is said as in every command.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::base::limits::TXN_OPS_MAX;
use crate::cli::args::path_parser;
use crate::cli::connect::{Session, login};
use crate::cli::exit::Exit;
use crate::client::ClientFiles;

#[derive(Clone, Debug, Subcommand)]
pub(in crate::cli) enum Migrate {
    /// Copy all keys, leases, users and roles of one moment to an empty cluster
    Copy(Copy),
    /// Go on with every change from there on
    Follow(Follow),
    /// Compare the clusters, and write nothing
    Verify(Verify),
    /// Write what is left, compare, and let the new cluster go
    Finish(Finish),
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "The destination is named as in every command, and must be empty or hold this migration's own unfinished copy: \
    then it goes on.\n\nExamples:\n  \
        quorate migrate copy --from http://10.0.0.9:2379 --endpoints http://10.0.0.1:2379\n  \
        quorate migrate copy --from https://10.0.0.9:2379 --from-cacert etcd/ca.crt --from-cert etcd/root.crt \\\n    \
        --from-key etcd/root.key --endpoints https://10.0.0.1:2379 --cacert ca.crt --cert root.crt --key root.key"
)]
pub(in crate::cli) struct Copy {
    /// Go on with every change afterwards, as `migrate follow` does
    #[arg(long)]
    pub follow: bool,
    #[command(flatten)]
    pub origin: Origin,
    #[command(flatten)]
    pub users: Users,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Every 10 seconds it tells how many revisions it is behind. It goes on until it is stopped (Ctrl-C, SIGTERM), and \
    may be called again.\n\nExamples:\n  \
        quorate migrate follow --from http://10.0.0.9:2379 --endpoints http://10.0.0.1:2379\n  \
        quorate migrate follow --until-caught-up --from http://10.0.0.9:2379 --endpoints http://10.0.0.1:2379"
)]
pub(in crate::cli) struct Follow {
    /// End when nothing is left to be written
    #[arg(long)]
    pub until_caught_up: bool,
    #[command(flatten)]
    pub origin: Origin,
    #[command(flatten)]
    pub users: Users,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Before `migrate finish` the source is compared as it was at the revision that was written last, so it may go on; \
    afterwards as it is. Nobody may write to the destination meanwhile, nor follow.\n\nExamples:\n  \
        quorate migrate verify --from http://10.0.0.9:2379 --endpoints http://10.0.0.1:2379"
)]
pub(in crate::cli) struct Verify {
    /// Compare no users and no roles
    #[arg(long)]
    pub skip_users: bool,
    #[command(flatten)]
    pub origin: Origin,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Stop the source's clients first, and whoever follows. Start them again, with the new endpoints, when it has \
    ended well.\n\nExamples:\n  \
        quorate migrate finish --from http://10.0.0.9:2379 --endpoints http://10.0.0.1:2379\n  \
        quorate migrate finish --auth-enable --passwords passwords.txt --from http://10.0.0.9:2379 --endpoints http://10.0.0.1:2379"
)]
pub(in crate::cli) struct Finish {
    /// From then on the new cluster asks who asks; root's password must stand in --passwords
    #[arg(long)]
    pub auth_enable: bool,
    #[command(flatten)]
    pub origin: Origin,
    #[command(flatten)]
    pub users: Users,
}

/// Where the keys come from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Source")]
pub(in crate::cli) struct Origin {
    /// Servers of the cluster to leave, with commas; asked over gRPC
    #[arg(long, value_name = "URLS")]
    from: String,
    /// Believe them with a certificate of this CA (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    from_cacert: Option<PathBuf>,
    /// Certificate to show them (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    from_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    from_key: Option<PathBuf>,
    /// Believe any server there
    #[arg(long)]
    from_insecure_skip_tls_verify: bool,
    /// Who reads there, where they want to know: one with the role root
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    from_user: Option<String>,
    /// The user's password, which --from-user then does not have
    #[arg(long, value_name = "PASSWORD")]
    from_password: Option<String>,
    /// Operations of one transaction there, the migration's own included: its max-txn-ops
    #[arg(long, value_name = "N", default_value_t = TXN_OPS_MAX, help_heading = "Destination")]
    max_txn_ops: usize,
}

/// Who may do what there.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Users")]
pub(in crate::cli) struct Users {
    /// A file of `name:password` lines: what no API tells
    #[arg(long, value_name = "FILE", value_parser = path_parser())]
    pub passwords: Option<PathBuf>,
    /// Carry no users and no roles
    #[arg(long, conflicts_with = "passwords")]
    pub skip_users: bool,
}

impl Origin {
    pub(super) fn session(&self, session: &Session) -> Result<Session, Exit> {
        let files = ClientFiles {
            trusted_ca: self.from_cacert.clone(),
            cert: self.from_cert.clone(),
            key: self.from_key.clone(),
            insecure_skip_verify: self.from_insecure_skip_tls_verify,
            server_name: None,
        };
        let mut source = session.source(&self.from, files)?;
        source.login = login(self.from_user.clone(), self.from_password.clone())?;
        Ok(source)
    }

    /// Changes of one transaction, beside the mark.
    pub(super) fn ops_max(&self) -> Result<usize, Exit> {
        match self.max_txn_ops {
            0 | 1 => Err(Exit::bad_args(
                "--max-txn-ops is 2 or more: the migration's own mark is an operation, too",
            )),
            many => Ok(many - 1),
        }
    }
}
