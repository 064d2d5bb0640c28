//! Who may do what: a service above one that does what it is told.
//!
//! ```text
//!   service     Guard: every call and stream passes here; as long as users are not asked for, as they came
//!   rules       what each method takes: nobody, anybody known, root, or the keys it names (no method without a line)
//!   identity    token or certificate -> user; a token is simple (the engine knows it) or a JWT (its keys do)
//!   check       a request's body against the rules and the permissions of its user
//!   after       what is looked at once more when the answer is there
//!   streams     watches and renewals, message by message
//!   accounts    users, roles, their switch: into the log, and read
//!   login       a password -> a token
//!   passwords   bcrypt, on few threads
//!   tokens      --auth-token: which kind, and the keys of a JWT, read again when they change
//!   jwt         signing and verifying
//! ```
//!
//! A refusal counts only after a barrier: a member that is behind must not refuse what was granted at another one. What is
//! allowed here travels into the log with the user's name and the revision of users and roles, and is looked at again when
//! it is applied (`state`). Reads are looked at again when they are answered.
//!
//! Knows nothing of: wires, what the methods do.

mod accounts;
mod after;
mod check;
mod identity;
mod jwt;
mod login;
mod passwords;
mod rules;
mod service;
mod streams;
mod tokens;

pub use service::{Config, Guard};
pub use tokens::{Error as TokenError, TokenKeys, TokenKind};
