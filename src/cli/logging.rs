//! Logs on stderr: for people on a terminal, JSON otherwise.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Logging};

/// Starts the log of this process; a second call changes nothing.
pub(super) fn start(logging: &Logging) {
    // The filter was checked with the settings; a client's --debug is one of ours.
    let filter = EnvFilter::try_new(&logging.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let is_console = match logging.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Console => true,
        LogFormat::Json => false,
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Somebody may have started a log already (a test that plays several nodes): then that one counts.
    let _ = if is_console {
        subscriber.with_ansi(std::io::stderr().is_terminal()).try_init()
    } else {
        subscriber.json().flatten_event(true).try_init()
    };
}
