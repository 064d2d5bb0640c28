//! `downgrade validate|enable|cancel`: a cluster on its way to an older version, of which there is none of ours.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::proto::etcdserverpb::downgrade_request::DowngradeAction;

use super::connect::Session;
use super::exit::Exit;
use super::print::Downgraded;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Downgrade {
    /// Ask whether the cluster could go to an older version
    #[command(after_help = "Examples:\n  quorate downgrade validate 3.5")]
    Validate(Target),
    /// Send the cluster to an older version
    #[command(after_help = "Examples:\n  quorate downgrade enable 3.5")]
    Enable(Target),
    /// Take that back
    #[command(after_help = "Examples:\n  quorate downgrade cancel")]
    Cancel(Target),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Target {
    /// The version, such as 3.5
    #[arg(value_name = "TARGET_VERSION")]
    version: Option<String>,
    #[arg(hide = true)]
    more: Vec<OsString>,
}

impl Downgrade {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let (action, what, target) = match self {
            Self::Validate(target) => (DowngradeAction::Validate, "validate", Some(target)),
            Self::Enable(target) => (DowngradeAction::Enable, "enable", Some(target)),
            // As etcdctl, which does not look at a version here.
            Self::Cancel(_) => (DowngradeAction::Cancel, "cancel", None),
        };
        let version = match target {
            None => String::new(),
            Some(Target { version: None, .. }) => {
                return Err(Exit::bad_args("TARGET_VERSION not provided"));
            }
            Some(Target { more, .. }) if !more.is_empty() => {
                return Err(Exit::bad_args("too many arguments"));
            }
            Some(Target { version: Some(version), .. }) => version,
        };
        let client = session.client().await?;
        let answer = client.downgrade(action, version).await?;
        session.printer.print(&Downgraded { what, answer: &answer })
    }
}
