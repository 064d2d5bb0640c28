//! `auth enable|disable|status`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::client::{Client, Error};
use crate::proto::etcdserverpb as pb;

use super::connect::Session;
use super::exit::Exit;
use super::print::AuthStatus;

/// The user who enables, and the role that may do everything.
const ROOT: &str = "root";

const NO_ROOT_ROLE: &str = "etcdserver: root user does not have root role";

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Auth {
    /// From now on requests must say who asks; there must be a user `root`
    #[command(after_help = "Examples:\n  quorate user add root\n  quorate auth enable\n  \
        quorate --user root get greeting")]
    Enable(Nothing),
    /// From now on everybody may do everything
    #[command(after_help = "Examples:\n  quorate --user root auth disable")]
    Disable(Nothing),
    /// Show whether requests must say who asks
    #[command(
        after_help = "Examples:\n  quorate auth status\n  quorate --user root auth status -w json"
    )]
    Status(Nothing),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Nothing {
    #[arg(hide = true)]
    more: Vec<OsString>,
}

impl Auth {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let (name, more) = match &self {
            Self::Enable(Nothing { more }) => ("enable", more),
            Self::Disable(Nothing { more }) => ("disable", more),
            Self::Status(Nothing { more }) => ("status", more),
        };
        if !more.is_empty() {
            let text = format!("auth {name} command does not accept any arguments");
            return Err(Exit::bad_args(text));
        }
        let client = session.client().await?;
        match self {
            Self::Enable(_) => {
                enable(&client).await?;
                println!("Authentication Enabled");
            }
            Self::Disable(_) => {
                client.auth_disable().await?;
                println!("Authentication Disabled");
            }
            Self::Status(_) => {
                return session.printer.print(&AuthStatus(&client.auth_status().await?));
            }
        }
        Ok(())
    }
}

/// Root gets its role where it has none yet, as etcdctl gives it.
async fn enable(client: &Client) -> Result<(), Error> {
    match client.auth_enable().await {
        Err(Error::Server { status, .. }) if status.text == NO_ROOT_ROLE => {}
        other => return other.map(|_: pb::AuthEnableResponse| ()),
    }
    client.role_add(ROOT).await?;
    client.user_grant_role(ROOT, ROOT).await?;
    client.auth_enable().await.map(|_| ())
}
