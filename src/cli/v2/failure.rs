//! How a v2 command ends that did not do what it was asked; and its output.

use std::fmt::Display;
use std::io::{self, Write as _};

use super::super::exit::Exit;
use super::cluster::Error;

/// etcdctl's exit codes.
pub(super) const ERROR: u8 = 1;
pub(super) const BAD_CONNECTION: u8 = 2;
pub(super) const BAD_ARGS: u8 = 1;
pub(super) const SERVER_ERROR: u8 = 4;
pub(super) const CLUSTER_NOT_HEALTHY: u8 = 5;
/// Where the help knows nothing of a word.
pub(super) const NO_TOPIC: u8 = 3;

/// An exit code, and what goes to stderr as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Failure {
    pub code: u8,
    pub text: String,
}

impl Failure {
    /// The commands of keys: `Error:  what`, and what is known of each endpoint.
    pub(super) fn error(code: u8, error: &Error) -> Self {
        let detail = error.detail().map(|detail| format!("{detail}\n")).unwrap_or_default();
        Self { code, text: format!("Error:  {error}\n{detail}") }
    }

    pub(super) fn bad_args(what: &str) -> Self {
        Self { code: BAD_ARGS, text: format!("Error:  {what}\n") }
    }

    /// The other commands: a line.
    pub(super) fn told(what: impl Display) -> Self {
        Self { code: ERROR, text: format!("{what}\n") }
    }

    pub(super) fn silent(code: u8) -> Self {
        Self { code, text: String::new() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        // Whoever reads no further needs no word: `ls | head -1`.
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::silent(ERROR),
            _ => Self::told(error),
        }
    }
}

impl From<Exit> for Failure {
    fn from(exit: Exit) -> Self {
        Self::told(exit)
    }
}

/// To stdout, at once.
pub(super) fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}

/// The same, with an end of line.
pub(super) fn say(line: impl Display) -> Result<(), Failure> {
    print(format_args!("{line}\n"))
}
