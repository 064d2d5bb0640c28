//! Why a request to the tree changed nothing: etcd's number, the path or comparison that caused it, the tree's index.

use std::fmt;

use bytes::Bytes;

use crate::storage::Fault;

/// An error as etcd's v2 clients know it; the same on every member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    /// One of etcd's.
    pub code: u16,
    pub cause: Bytes,
    /// The tree's index when it was said; 0 when the tree was not asked.
    pub index: u64,
}

impl Error {
    pub const KEY_NOT_FOUND: u16 = 100;
    pub const TEST_FAILED: u16 = 101;
    pub const NOT_FILE: u16 = 102;
    pub const NOT_DIR: u16 = 104;
    pub const NODE_EXIST: u16 = 105;
    pub const ROOT_READ_ONLY: u16 = 107;
    pub const DIR_NOT_EMPTY: u16 = 108;
    pub const UNAUTHORIZED: u16 = 110;
    pub const PREV_VALUE_REQUIRED: u16 = 201;
    pub const TTL_NAN: u16 = 202;
    pub const INDEX_NAN: u16 = 203;
    pub const INVALID_FIELD: u16 = 209;
    pub const INVALID_FORM: u16 = 210;
    pub const REFRESH_VALUE: u16 = 211;
    pub const REFRESH_TTL_REQUIRED: u16 = 212;
    pub const RAFT_INTERNAL: u16 = 300;
    pub const LEADER_ELECTION: u16 = 301;
    pub const EVENT_INDEX_CLEARED: u16 = 401;

    pub fn new(code: u16, cause: impl Into<Bytes>, index: u64) -> Self {
        Self { code, cause: cause.into(), index }
    }

    /// The text that belongs to the number.
    pub const fn message(&self) -> &'static str {
        match self.code {
            Self::KEY_NOT_FOUND => "Key not found",
            Self::TEST_FAILED => "Compare failed",
            Self::NOT_FILE => "Not a file",
            Self::NOT_DIR => "Not a directory",
            Self::NODE_EXIST => "Key already exists",
            Self::ROOT_READ_ONLY => "Root is read only",
            Self::DIR_NOT_EMPTY => "Directory not empty",
            Self::UNAUTHORIZED => "The request requires user authentication",
            Self::PREV_VALUE_REQUIRED => "PrevValue is Required in POST form",
            Self::TTL_NAN => "The given TTL in POST form is not a number",
            Self::INDEX_NAN => "The given index in POST form is not a number",
            Self::INVALID_FIELD => "Invalid field",
            Self::INVALID_FORM => "Invalid POST form",
            Self::REFRESH_VALUE => "Value provided on refresh",
            Self::REFRESH_TTL_REQUIRED => "A TTL must be provided on refresh",
            Self::LEADER_ELECTION => "During Leader Election",
            Self::EVENT_INDEX_CLEARED => "The event in requested index is outdated and cleared",
            _ => "Raft Internal Error",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = String::from_utf8_lossy(&self.cause);
        write!(f, "{} {} ({cause}) at {}", self.code, self.message(), self.index)
    }
}

/// The two ways in which work on the tree ends early.
#[derive(Debug)]
pub(super) enum Stop {
    Refused(Error),
    Fault(Fault),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
