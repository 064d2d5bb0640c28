//! SIGINT and SIGTERM: a person or a supervisor wants a command that holds something to let go.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Which of the two it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stop {
    Interrupt,
    Terminate,
}

/// Listens from its making on.
pub(super) struct Stopped {
    interrupt: Signal,
    terminate: Signal,
}

impl Stopped {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal. Safe to drop while it waits.
    pub(super) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}
