//! How a command ends: etcdctl's exit codes, and a text for people.

use std::fmt;
use std::io;

use crate::client;

/// etcdctl's exit codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Code {
    Error,
    BadConnection,
    /// Who connects is not who he says: no server would let him in.
    Refused,
    InvalidInput,
    BadFeature,
    Interrupted,
    Io,
    BadArgs,
    /// That of a command which was run for the caller.
    Child(u8),
}

impl Code {
    pub fn number(self) -> u8 {
        match self {
            Self::Error => 1,
            Self::BadConnection | Self::Refused => 2,
            Self::InvalidInput => 3,
            Self::BadFeature => 4,
            Self::Interrupted => 5,
            Self::Io => 6,
            Self::BadArgs => 128,
            Self::Child(number) => number,
        }
    }
}

/// A command that did not do what it was asked; the text goes to stderr after `Error: `.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exit {
    pub code: Code,
    pub text: String,
}

impl Exit {
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    pub fn error(text: impl Into<String>) -> Self {
        Self::new(Code::Error, text)
    }

    pub fn bad_args(text: impl Into<String>) -> Self {
        Self::new(Code::BadArgs, text)
    }

    /// With the server's words as grpc-go puts them where nobody translates them.
    pub fn raw(error: client::Error) -> Self {
        match error {
            client::Error::Server { status, .. } => {
                let text = format!("rpc error: code = {} desc = {}", status.code, status.text);
                Self::error(text)
            }
            other => other.into(),
        }
    }

    /// Nothing is left to say: it was told line by line.
    pub fn silent(code: Code) -> Self {
        Self::new(code, "")
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<client::Error> for Exit {
    fn from(error: client::Error) -> Self {
        // etcdctl translates etcd's own texts and no others.
        let is_foreign = |text: &str| ["auth: ", "bcrypt: "].iter().any(|it| text.starts_with(it));
        if let client::Error::Server { status, .. } = &error
            && is_foreign(&status.text)
        {
            return Self::raw(error);
        }
        let code = match &error {
            client::Error::Config(_) => Code::BadArgs,
            client::Error::Connect { .. } => Code::BadConnection,
            _ => Code::Error,
        };
        // A server's refusal is etcd's text and nothing else: scripts compare it.
        Self::new(code, error.text())
    }
}

impl From<io::Error> for Exit {
    fn from(error: io::Error) -> Self {
        Self::new(Code::Io, error.to_string())
    }
}
