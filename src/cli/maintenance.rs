//! `alarm list|disarm` and `snapshot save`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::connect::Session;
use super::exit::Exit;
use super::print::Alarms;

#[derive(Clone, Copy, Debug, Subcommand)]
pub(super) enum Alarm {
    /// Show all alarms
    List,
    /// Take back all alarms
    Disarm,
}

impl Alarm {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let client = session.client().await?;
        let listed = client.alarm_list().await?;
        match self {
            Self::List => session.printer.print(&Alarms(&listed)),
            Self::Disarm => {
                for alarm in listed.alarms {
                    let answer = client.alarm_disarm(alarm).await?;
                    session.printer.print(&Alarms(&answer))?;
                }
                Ok(())
            }
        }
    }
}

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Snapshot {
    /// Save the store of one endpoint, with its checksum
    Save(Save),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Save {
    /// The file to write; it appears when it is whole
    file: PathBuf,
}

impl Snapshot {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let Self::Save(Save { file }) = self;
        let endpoint = match session.endpoints.as_slice() {
            [first, ..] if session.is_profile => first,
            [only] => only,
            many => {
                return Err(Exit::bad_args(format!(
                    "snapshot must be requested to one selected node, not multiple: name one of {} in --endpoints",
                    many.join(", ")
                )));
            }
        };
        session.client_at(endpoint).await?.snapshot().await?.save(&file).await?;
        println!("Snapshot saved at {}", file.display());
        Ok(())
    }
}
