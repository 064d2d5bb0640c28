//! `alarm list|disarm`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use crate::proto::etcdserverpb as pb;

use super::connect::Session;
use super::exit::Exit;
use super::print::Alarms;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum Alarm {
    /// Show all alarms
    #[command(after_help = "Examples:\n  quorate alarm list\n  quorate alarm list -w json")]
    List(Nothing),
    /// Take back all alarms
    #[command(after_help = "Examples:\n  quorate alarm disarm\n\n\
        The alarm NOSPACE comes back with the next write while the store is over its quota:\n\
        `quorate compaction` and `quorate defrag` first.")]
    Disarm(Nothing),
}

#[derive(Args, Clone, Debug)]
pub(super) struct Nothing {
    #[arg(hide = true)]
    more: Vec<OsString>,
}

impl Alarm {
    pub(super) async fn run(self, session: &Session) -> Result<(), Exit> {
        let (name, more) = match &self {
            Self::List(Nothing { more }) => ("list", more),
            Self::Disarm(Nothing { more }) => ("disarm", more),
        };
        if !more.is_empty() {
            return Err(Exit::bad_args(format!("alarm {name} command accepts no arguments")));
        }
        let client = session.client().await?;
        let listed = client.alarm_list().await?;
        if matches!(self, Self::List(_)) {
            return session.printer.print(&Alarms(&listed));
        }
        let mut disarmed = pb::AlarmResponse::default();
        for alarm in listed.alarms {
            let answer = client.alarm_disarm(alarm).await?;
            disarmed.header = answer.header;
            disarmed.alarms.extend(answer.alarms);
        }
        session.printer.print(&Alarms(&disarmed))
    }
}
