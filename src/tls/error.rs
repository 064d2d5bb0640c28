//! What can be wrong with certificates, each with the file it is about.

use std::io;
use std::path::{Path, PathBuf};

/// A file that is missing, unreadable or not what it should be; or settings that contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error("{0}")]
    Settings(String),
    #[error("cannot make a certificate: {0}")]
    Make(String),
}

impl Error {
    pub(super) fn file(path: &Path, what: impl Into<String>) -> Self {
        Self::File { path: path.to_owned(), what: what.into() }
    }
}

/// rustls' errors of settings that its provider cannot serve; none of ours can cause it.
impl From<rustls::Error> for Error {
    fn from(error: rustls::Error) -> Self {
        Self::Settings(error.to_string())
    }
}
