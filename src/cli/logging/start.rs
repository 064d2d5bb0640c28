//! From settings to the log of this process; a second start changes nothing.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging, Place};

use super::places::Places;
use super::zap::Zap;

/// The log of this process. A file that cannot be opened is the error.
pub(in crate::cli) fn start(logging: &Logging) -> io::Result<()> {
    begin(logging, false)
}

/// The same with an etcd's lines: JSON unless somebody asks for something else.
pub(in crate::cli) fn start_as_etcd(logging: &Logging) -> io::Result<()> {
    begin(logging, true)
}

fn begin(logging: &Logging, is_etcd: bool) -> io::Result<()> {
    // The filter was checked with the settings; a client's --debug is one of ours.
    let filter = EnvFilter::try_new(&logging.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    // Of each reset too many it would warn, as often as a flood likes; what matters of it is counted and told by us.
    let filter = match "h2=error".parse() {
        Ok(quiet) if !logging.filter.contains("h2") => filter.add_directive(quiet),
        _ => filter,
    };
    let is_terminal = logging.outputs.places == [Place::Stderr] && io::stderr().is_terminal();
    let is_console = match logging.format {
        LogFormat::Auto => is_terminal && !is_etcd,
        LogFormat::Console => true,
        LogFormat::Json => false,
    };
    let places = Places::open(&logging.outputs)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(places);
    // Somebody may have started a log already (a test that plays several nodes): then that one counts.
    let _ = if is_console {
        subscriber.with_ansi(is_terminal).try_init()
    } else if is_etcd {
        subscriber.with_ansi(false).event_format(Zap).try_init()
    } else {
        subscriber.json().flatten_event(true).try_init()
    };
    Ok(())
}
